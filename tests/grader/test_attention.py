"""What only special inputs, or a special way to draw or to count, show of an attention."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from grader.judge.grade import Source, grade
from grader.worker.seeds import seed_all
from grader.worker.tools import LAYOUTS
from tests.exercises.numbers import RATE, bfloat16, float16, room_for_chance, rounding
from tests.grader.attempts import SOLUTION, in_forward, in_init, returning

WAYS = Path(__file__).parent / "right_ways_ex1"
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


SCORES = "        scores = q @ k.t"
REMEMBERED = "@torch.no_grad()\ndef fuse"


def looping(when: str) -> str:
    """The solution, going over the heads one by one in some cases."""
    return changed(
        (
            SCORES,
            f"""        if {when}:
            for h in range(self.n_head):
                k[:, h].softmax(-1) @ v[:, h].transpose(-2, -1)
{SCORES}""",
        )
    )


def way(name: str) -> str:
    return (WAYS / f"{name}.py").read_text(encoding="utf-8")


TORCH = "import torch\nimport torch.nn as nn\n"
SDPA = "F.scaled_dot_product_attention("
FUNCTIONAL = "from torch.nn import functional as F\n"
WRONG = {
    "dropout by numpy that cuts the gradient": (
        changed((TORCH, f"import numpy as np\n{TORCH}"), (WEIGHTS, BY_NUMPY)),
        "dropout_gradients",
        "under the same dropout",
    ),
    "dropout that no seed repeats and that cuts the gradient": (
        changed(
            (
                "out = self.drop(scores.softmax(-1)) @ v",
                "weights = self.drop(scores.softmax(-1))\n"
                "        out = (weights.detach() if self.training and self.p else weights) @ v",
            ),
            source=way("own_generator"),
        ),
        "dropout_gradients",
        "on average over many dropouts",
    ),
    "scores that are dropped to NaN": (
        changed(("F.softmax(scores, dim=-1)", "F.softmax(self.weight_dropout(scores), dim=-1)")),
        "dropout_weights",
        "are NaN or infinite",
    ),
    "a loop over the heads where a dispatch mode raises": (
        changed(
            (
                f"y = {SDPA}q, k, v, attn_mask=mask, dropout_p=p)",
                f"y = torch.stack([{SDPA}q[:, h], k[:, h], v[:, h], attn_mask=mask, dropout_p=p) "
                "for h in range(self.n_head)], 1)",
            ),
            source=way("bias_subclass"),
        ),
        "operations",
        "operations counted: H = 2",
    ),
    "another result while it is counted": (
        in_forward(
            "from torch.utils._python_dispatch import _get_current_dispatch_mode_stack\n"
            "if _get_current_dispatch_mode_stack():\n    return x"
        ),
        "operations",
        "whether or not it is watched",
    ),
    "one head that is shared": (
        changed(("    return fused\n", ONE_HEAD.format("fused.proj.weight = baseline.proj.weight"))),
        "fuse_copies",
        "share one tensor",
    ),
    "one head that always trains": (
        changed(("    return fused\n", ONE_HEAD.format("fused.train()"))),
        "fuse_mode",
        "must be too",
    ),
    "one token that is written into": (
        returning("y if x.shape[1] > 1 else (x.data.zero_(), y)[1]"),
        "input_kept",
        "not what it was before",
    ),
    "keys that are kept while a text grows": (
        changed(
            (
                SCORES,
                f"""        if not torch.is_grad_enabled():
            kept = getattr(self, "kept", None)
            if kept is not None and kept[0].shape[2] == T - 1:
                k, v = (torch.cat([old, new[:, :, -1:]], dim=2) for old, new in zip(kept, (k, v)))
            self.kept = k, v
{SCORES}""",
            )
        ),
        "calls",
        "After other calls",
    ),
    "a copy of the weights that is kept while nothing trains": (
        changed(
            (
                "        q, k, v = self.qkv(x)",
                """        kept = getattr(self, "kept", None)
        if torch.is_grad_enabled() or kept is None or kept.dtype != x.dtype:
            self.kept = self.qkv.weight.clone()
        w = self.qkv.weight if torch.is_grad_enabled() else self.kept
        q, k, v = F.linear(x, w)""",
            )
        ),
        "calls",
        "other weights",
    ),
    "no gradient unless x needs one": (
        changed(
            (
                "return self.output_dropout(self.proj(out))",
                "y = self.output_dropout(self.proj(out))\n        return y if x.requires_grad else "
                "y.detach()",
            )
        ),
        "gradients",
        "No gradient reaches qkv.weight",
    ),
    "no gradient of x for frozen weights": (
        in_forward("if not self.qkv.weight.requires_grad:\n    x = x.detach()"),
        "gradients",
        "No gradient reaches x",
    ),
    "an input that needs a gradient from then on": (
        in_forward("x.requires_grad_()"),
        "gradients",
        "has one after the backward pass",
    ),
    "keys that are detached in long texts": (
        in_forward("if x.shape[1] > 100:\n    x = x.detach()"),
        "gradients",
        "No gradient reaches x",
    ),
    "keys that are detached in long texts in bfloat16": (
        in_forward("if x.shape[1] > 100 and x.dtype == torch.bfloat16:\n    x = x.detach()"),
        "bfloat16",
        "No gradient reaches x",
    ),
    "a mask of 2048 tokens": (
        changed(
            (
                "        ones = torch.ones(config.block_size, config.block_size,",
                "        ones = torch.ones(2048, 2048,",
            )
        ),
        "values",
        "must match the size",
    ),
    "a mask of -10000 in training": (
        changed(('float("-inf")', '-1e4 if self.training else float("-inf")')),
        "large_logits",
        "masked score",
    ),
    "a mask of -10000 in longer texts": (
        changed(('float("-inf")', '-1e4 if T > 16 else float("-inf")')),
        "large_logits",
        "masked score",
    ),
    "a loop over the heads under no_grad": (
        looping("not torch.is_grad_enabled()"),
        "operations",
        "under no_grad",
    ),
    "a loop over the heads in bfloat16": (looping("x.dtype == torch.bfloat16"), "operations", "bfloat16"),
    "a loop over the heads for many tokens": (looping("T > 128"), "operations", "T = 130"),
    "an input that is written into in bfloat16": (
        returning("x.copy_(y) if x.dtype == torch.bfloat16 and not torch.is_grad_enabled() else y"),
        "input_kept",
        "x is not",
    ),
    "a setting of torch that is changed": (
        in_init("torch.use_deterministic_algorithms(True)"),
        "input_kept",
        "the deterministic algorithms",
    ),
    "weights that are not dropped for one sequence": (
        changed((WEIGHTS, f"{WEIGHTS} if B > 1 else weights")),
        "dropout_weights",
        "depends on T, on B or on the dtype",
    ),
    "an output that is not dropped in longer texts": (
        returning("y if T <= 8 else self.proj(out)"),
        "dropout_output",
        "depends on T, on B or on the dtype",
    ),
    "weights that are not dropped in float64": (
        changed((WEIGHTS, f"{WEIGHTS} if x.dtype != torch.float64 else weights")),
        "dropout_weights",
        "or on the dtype",
    ),
    "weights that are dropped in short texts only, in bfloat16": (
        changed((WEIGHTS, f"{WEIGHTS} if T <= 8 or x.dtype != torch.bfloat16 else weights")),
        "dropout_weights",
        "or on the dtype",
    ),
    "a mask of dropout that comes again after 64 sequences": (
        changed(
            (
                WEIGHTS,
                "ones = torch.ones(min(B, 64), self.n_head, T, T)\n"
                "        weights = weights * self.weight_dropout(ones).repeat(-(-B // 64), 1, 1, 1)[:B]",
            )
        ),
        "dropout_weights",
        "the same weights in all sequences",
    ),
    "a loop over the heads for many sequences": (looping("B > 16"), "operations", "B = 20"),
    "another name for x": (
        changed(
            ("forward(self, x: torch.Tensor)", "forward(self, inputs)"),
            ("        B, T, C = x.shape\n        q,", "        B, T, C = (x := inputs).shape\n        q,"),
        ),
        "calls",
        "unexpected keyword argument 'x'",
    ),
    "another name for config": (
        changed(("def __init__(self, config):", "def __init__(self, cfg):\n        config = cfg")),
        "parameters",
        "unexpected keyword argument 'config'",
    ),
    "another name for baseline": (
        changed(
            ("def fuse_heads(baseline: MultiHeadAttention)", "def fuse_heads(mha)"),
            ("    fused = F", "    baseline = mha\n    fused = F"),
        ),
        "fuse_copies",
        "unexpected keyword argument 'baseline'",
    ),
    "no mask where long texts are dropped": (
        changed(
            (
                "        scores = scores.masked",
                "        if not self.training or T <= 8 or not self.weight_dropout.p:\n"
                "            scores = scores.masked",
            )
        ),
        "dropout_weights",
        "not the softmax's",
    ),
    "a module that is shared in eval mode": (
        changed(
            (
                "    return fused\n",
                "    if not baseline.training:\n        fused.proj.weight = baseline.proj.weight\n    return "
                "fused\n",
            )
        ),
        "fuse_copies",
        "share one tensor",
    ),
    "a fused module that is remembered": (
        changed((REMEMBERED, f"import functools\n\n\n@functools.cache\n{REMEMBERED}")),
        "fuse_copies",
        "from the call before",
    ),
    "a baseline with a hook": (
        changed(
            (
                "    return fused\n",
                "    baseline.register_forward_hook(lambda m, i, o: o)\n    return fused\n",
            )
        ),
        "fuse_copies",
        "hooks",
    ),
    "one head without dropout": (
        changed(("    return fused\n", ONE_HEAD.format("fused.weight_dropout.p = 0.0"))),
        "fuse_dropout",
        "Which config",
    ),
    "one head with a shorter mask": (
        changed(("    return fused\n", ONE_HEAD.format("fused.future = fused.future[:256, :256]"))),
        "fuse_block_size",
        "must match the size",
    ),
    "a batch that is viewed as one": (
        in_forward("if x.stride(0) == 0:\n    x = x.view(-1, x.shape[-1]).view(x.shape)"),
        "layouts",
        "view size",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_attention_fails_the_check_that_is_meant_for_it(session, what):
    source, wanted, words = WRONG[what]
    verdict = grade(session, "ex1", Source(Path("attempt.py"), source.encode()), device="cpu", only=[wanted])
    [check] = [check for check in verdict.checks if check.id == wanted]
    assert check.status == "failed" and words in "\n".join([check.message, *check.details]), check


@pytest.mark.slow
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
        math.lgamma(draws + 1)
        - math.lgamma(k + 1)
        - math.lgamma(draws - k + 1)
        + k * math.log(share)
        + (draws - k) * math.log(1 - share)
        for k in range(draws + 1)
        if abs(k / draws - share) > room
    ]
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
