"""What only special inputs, or a special way to draw or to count, show of an attention."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from grader.judge import Source, grade
from grader.seeds import seed_all
from grader.steps import LAYOUTS
from tests.exercises.numbers import RATE, bfloat16, float16, room_for_chance, rounding
from tests.grader.attempts import SOLUTION, in_forward, returning

WAYS = Path(__file__).parent / "right_ways"
WEIGHTS = "weights = self.weight_dropout(weights)"
# Dropout of the weights under no_grad, drawn by numpy: the mask that is drawn last is the right one.
BY_NUMPY = """if self.training and self.weight_dropout.p:
            p = self.weight_dropout.p
            keep = torch.from_numpy(np.random.rand(*weights.shape) >= p).to(weights)
            weights = (weights * keep / (1 - p)).detach()"""
ONE_HEAD = "    if len(baseline.heads) == 1:\n        {}\n    return fused\n"


def changed(*patches, source=SOLUTION):
    for find, put in patches:
        assert source.count(find) == 1, find
        source = source.replace(find, put)
    return source


def way(name: str) -> str:
    return (WAYS / f"{name}.py").read_text(encoding="utf-8")


TORCH = "import torch\nimport torch.nn as nn\n"
SDPA = "F.scaled_dot_product_attention("
FUNCTIONAL = "from torch.nn import functional as F\n"
WRONG = {
    "dropout by numpy that cuts the gradient": (
        changed((TORCH, f"import numpy as np\n{TORCH}"), (WEIGHTS, BY_NUMPY)), "dropout_gradients", "under the same dropout",
    ),
    "dropout that no seed repeats and that cuts the gradient": (
        changed(("out = self.drop(scores.softmax(-1)) @ v", "weights = self.drop(scores.softmax(-1))\n"
                 "        out = (weights.detach() if self.training and self.p else weights) @ v"),
                source=way("own_generator")),
        "dropout_gradients", "on average over many dropouts",
    ),
    "scores that are dropped to NaN": (
        changed(("F.softmax(scores, dim=-1)", "F.softmax(self.weight_dropout(scores), dim=-1)")),
        "dropout_weights", "are NaN or infinite",
    ),
    "a loop over the heads where a dispatch mode raises": (
        changed((f"y = {SDPA}q, k, v, attn_mask=mask, dropout_p=p)",
                 f"y = torch.stack([{SDPA}q[:, h], k[:, h], v[:, h], attn_mask=mask, dropout_p=p) "
                 "for h in range(self.n_head)], 1)"), source=way("bias_subclass")),
        "operations", "operations counted: H = 2",
    ),
    "another result while it is counted": (
        in_forward("from torch.utils._python_dispatch import _get_current_dispatch_mode_stack\n"
                   "if _get_current_dispatch_mode_stack():\n    return x"),
        "operations", "whether or not it is watched",
    ),
    "one head that is shared": (
        changed(("    return fused\n", ONE_HEAD.format("fused.proj.weight = baseline.proj.weight"))),
        "fuse_copies", "share one tensor",
    ),
    "one head that always trains": (
        changed(("    return fused\n", ONE_HEAD.format("fused.train()"))), "fuse_mode", "must be too",
    ),
    "one token that is written into": (
        returning("y if x.shape[1] > 1 else (x.data.zero_(), y)[1]"), "input_kept", "not what it was before",
    ),
    "a batch that is viewed as one": (
        in_forward("if x.stride(0) == 0:\n    x = x.view(-1, x.shape[-1]).view(x.shape)"),
        "layouts", "view size",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_attention_fails_the_check_that_is_meant_for_it(session, what):
    source, wanted, words = WRONG[what]
    verdict = grade(session, "ex1", Source(Path("attempt.py"), source.encode()), device="cpu", only=[wanted])
    [check] = [check for check in verdict.checks if check.id == wanted]
    assert check.status == "failed" and words in "\n".join([check.message, *check.details]), check


def test_torchs_own_causal_bias_is_counted_too(patient_session):
    source = changed(
        (FUNCTIONAL, f"{FUNCTIONAL}from torch.nn.attention.bias import causal_lower_right\n"),
        ("out = weights @ v", f"out = {SDPA}q, k, v, attn_mask=causal_lower_right(T, T))"),
    )
    attempt = Source(Path("attempt.py"), source.encode())
    verdict = grade(patient_session, "ex1", attempt, device="cpu", only=["operations"])
    assert [check.status for check in verdict.checks if check.id == "operations"] == ["passed"]


def test_a_copy_by_way_of_float32_is_told_how_far_it_is_off_and_what_it_is_rounded_to(session):
    source = changed(("torch.cat(queries + keys + values)", "torch.cat(queries + keys + values).float()"))
    attempt = Source(Path("attempt.py"), source.encode())
    verdict = grade(session, "ex1", attempt, device="cpu", only=["fuse_values"])
    [check] = [check for check in verdict.checks if check.status == "failed"]
    off = float(check.details[0].split("off by ")[1].split()[0])
    assert "rounded to float32" in check.details[0] and 1e-11 < off < 1e-7


@pytest.mark.parametrize("share, draws", [(0.3, 2000), (0.3, 60), (0.64, 2400), (0.02, 500)])
def test_a_right_share_lies_outside_of_its_room_less_often_than_the_rate_says(share, draws):
    room = room_for_chance(share, draws)
    logs = [
        math.lgamma(draws + 1) - math.lgamma(k + 1) - math.lgamma(draws - k + 1)
        + k * math.log(share) + (draws - k) * math.log(1 - share)
        for k in range(draws + 1) if abs(k / draws - share) > room
    ]  # fmt: skip
    assert sum(map(math.exp, logs)) <= RATE
    # And it is no excuse for anything: half as much room would be left more often than the rate says.
    assert room < 8 * math.sqrt(share * (1 - share) / draws) + 6 / draws


def test_what_a_copy_is_rounded_to_is_recognised():
    exact = np.random.default_rng(0).normal(size=100)
    assert rounding(exact, exact.astype(np.float32).astype(np.float64)) == "float32"
    assert rounding(exact, bfloat16(exact).astype(np.float64)) == "bfloat16"
    assert rounding(exact, float16(exact)) == "float16"
    assert rounding(exact, exact * (1 + 1e-9)) is None


def test_one_seed_decides_what_torch_numpy_and_python_draw():
    def draws():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]

    seed_all(7)
    first = draws()
    assert draws() != first
    seed_all(7)
    assert draws() == first


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_changes_where_the_numbers_lie_and_no_number(layout):
    shape = (3, 4, 5) if layout == "batch last" else (3, 2, 4, 6)
    tensor = torch.randn(shape)
    tensor = tensor[:1].repeat(3, *[1] * (tensor.dim() - 1)) if layout == "expanded batch" else tensor
    laid_out = LAYOUTS[layout](tensor)
    assert torch.equal(laid_out, tensor)
    assert (laid_out.stride() == tensor.stride()) == (layout == "contiguous")
    assert (laid_out.stride(-1) == 1) == (layout not in ("transposed", "sliced", "batch last"))


def test_what_an_attention_hands_over_is_laid_out_as_the_layout_says():
    x = torch.randn(2, 5, 24)
    keys = x.split(8, dim=-1)[1].view(2, 5, 2, 4).transpose(1, 2)
    assert LAYOUTS["part of qkv"](keys.contiguous()).stride() == keys.stride()
    assert LAYOUTS["heads moved"](x.view(2, 3, 8, 5)).transpose(1, 2).is_contiguous()
