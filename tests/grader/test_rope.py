"""Exercise 4: what it is measured with is right, and mistakes are named in a learner's style too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt_core import GPT, GPTConfig
from gpt_core.sampling import GREEDY, generate
from grader.judge.grade import Source, grade
from solutions.ex4_rope import RotaryAttention, apply_rope, rope_angles
from tests.exercises.battery.module import Size
from tests.exercises.ex4.readings import UNIT, exact_angles, exactly_rotated
from tests.grader.attempts import REPOSITORY

LEARNERS = (Path(__file__).parent / "right_ways_ex4" / "stack_and_flatten.py").read_text(encoding="utf-8")


def test_the_exact_rotation_is_multiplication_by_a_unit_complex_number():
    rng = np.random.default_rng(0)
    x, angles = rng.normal(size=(2, 3, 5, 8)), rng.normal(size=(5, 4))
    z = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
    assert np.allclose(exactly_rotated(x, angles), np.stack([z.real, z.imag], -1).reshape(x.shape))


def test_the_exact_angles_are_those_of_the_paper_written_out():
    angles = exact_angles([0, 1, 7], 6)
    for row, m in enumerate((0, 1, 7)):
        for i in range(3):
            assert angles[row, i] == pytest.approx(m * 10000 ** (-2 * i / 6), rel=1e-12)


def test_the_solution_rotates_as_exactly_as_float32_can():
    positions = torch.tensor([0, 1, 5, 300, 100_000])
    angles = rope_angles(positions, 8)
    assert np.abs(angles.numpy() - exact_angles(positions.numpy(), 8)).max() < 0.06 * 0.2
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    expected = exactly_rotated(x.numpy(), angles.double().numpy())
    assert np.abs(apply_rope(x, angles).numpy() - expected).max() < 2e-6


def test_the_solution_is_softmax_attention_over_rotated_queries_and_keys_head_by_head():
    # In numpy and with a loop, sharing no line with the solution that the other checks compare with.
    size = Size(B=2, T=6, n_embd=24, n_head=3)
    weights, x = UNIT.weights(size), size.x().astype(np.float64)
    q, k, v = np.split(x @ weights["qkv.weight"].T, 3, axis=-1)
    heads = []
    for h in range(size.n_head):
        rows = slice(h * size.D, (h + 1) * size.D)
        scores = UNIT.rotated(q[..., rows]) @ UNIT.rotated(k[..., rows]).swapaxes(1, 2) / np.sqrt(size.D)
        seen = np.exp(scores) * np.tri(size.T)
        heads.append(seen / seen.sum(-1, keepdims=True) @ v[..., rows])
    expected = np.concatenate(heads, -1) @ weights["proj.weight"].T + weights["proj.bias"]
    attention = RotaryAttention(GPTConfig(11, size.block_size, 1, size.n_head, size.n_embd, 0.0))
    attention.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    assert np.allclose(attention(torch.from_numpy(x).float()).detach().numpy(), expected, atol=1e-5)


def test_a_gpt_with_rotary_attention_has_no_position_table_knows_the_order_and_writes():
    torch.manual_seed(0)
    config = GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=16, dropout=0.0)
    model = GPT(config, attention=RotaryAttention, position_embedding=False)
    assert not [name for name, _ in model.named_parameters() if "position" in name]
    blind = GPT(replace(config), position_embedding=False)
    for candidate, knows in ((model, True), (blind, False)):
        for parameter in candidate.parameters():
            parameter.data.normal_(std=0.5)
        one, other = (candidate(torch.tensor([tokens]))[0][0, -1] for tokens in ([1, 2, 3, 4], [2, 1, 3, 4]))
        assert torch.allclose(one, other, atol=1e-5) != knows
    idx = torch.tensor([[1, 2, 3]])
    written = generate(model, idx, 10, generator=torch.Generator().manual_seed(0), sampling=GREEDY)
    assert written.shape == (1, 13)


def changed(*patches):
    """A learner's file, quite unlike the solution, with a mistake."""
    source = LEARNERS
    for find, put in patches:
        assert source.count(find) == 1, find
        source = source.replace(find, put)
    return Source(Path("attempt.py"), source.encode())


STACK = "torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)"
ROTATE_HALF = "torch.cat((-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]), dim=-1)"
HALVES = (
    (STACK, ROTATE_HALF),
    ("angles.cos().repeat_interleave(2, dim=-1)", "torch.cat([angles, angles], -1).cos()"),
    ("angles.sin().repeat_interleave(2, dim=-1)", "torch.cat([angles, angles], -1).sin()"),
)
ROTATE = "q, k = (apply_rope(t, angles) for t in (q, k))"


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake, patches",
    [
        ("half_split", HALVES),
        ("halves_with_angles_of_neighbours", HALVES[:1]),
        ("angles_in_two_layouts", HALVES[1:]),
        ("rotated_backwards", [("(-x[..., 1::2], x[..., ::2])", "(x[..., 1::2], -x[..., ::2])")]),
        ("attention_without_rope", [(ROTATE, "apply_rope(q, angles), apply_rope(k, angles)")]),
        ("values_rotated", [(ROTATE, "q, k, v = (apply_rope(t, angles) for t in (q, k, v))")]),
        ("rope_result_in_float32", [(").to(x.dtype)", ")")]),
        ("exponent_halved", [("-(math.log(base) / head_size)", "-(math.log(base) / head_size / 2)")]),
        ("base_500000", [("base=10000.0", "base=500_000")]),
        (
            "angles_in_a_buffer",
            [
                (
                    'self.register_buffer("mask"',
                    "positions = torch.arange(config.block_size)\n"
                    '        self.register_buffer("a", rope_angles(positions, config.head_size))\n'
                    '        self.register_buffer("mask"',
                ),
                (ROTATE, "q, k = (apply_rope(t, self.a[:T].float()) for t in (q, k))"),
            ],
        ),
    ],
)
def test_a_mistake_is_named_in_a_style_that_is_not_the_solutions(session, mistake, patches):
    verdict = grade(session, "ex4", changed(*patches), device="cpu")
    assert list(verdict.mistakes) == [mistake]


def test_a_half_split_layout_is_told_to_be_a_valid_rope_of_another_layout_and_how_they_differ(session):
    verdict = grade(session, "ex4", changed(*HALVES), device="cpu")
    failed = [check for check in verdict.checks if check.status == "failed"]
    assert [check.id for check in failed] == ["rope_pairs"]
    assert "valid RoPE, but of another layout" in failed[0].message
    assert failed[0].details[1] == "yours:      (x0, x4), (x1, x5), (x2, x6), (x3, x7)"


def test_right_functions_under_an_unfinished_attention_are_no_reason_to_call_it_not_started(session):
    source = LEARNERS.split("class RotaryAttention")[0]
    stub = (REPOSITORY / "tests" / "exercises" / "ex4" / "stub.py").read_text(encoding="utf-8")
    source += "class RotaryAttention" + stub.split("class RotaryAttention", 1)[1].split("if __name__")[0]
    verdict = grade(session, "ex4", Source(Path("attempt.py"), source.encode()), device="cpu")
    status = {check.id: check.status for check in verdict.checks}
    assert status["angles_any"] == status["rope_gradients"] == "passed" and status["parameters"] == "failed"
    assert not verdict.passed and not verdict.not_started


ROPE = (REPOSITORY / "solutions" / "ex4_rope.py").read_text(encoding="utf-8")
CHANNELS = "    channels = torch.arange(0, head_size"
WIDE = "    wide = x.to(torch.promote_types(x.dtype, torch.float32))\n"
ANGLES = "        angles = rope_angles(positions, C // self.n_head)\n"
DROPPED = "weights = self.weight_dropout(weights)"
ODD = {
    "angles that are kept by their ends and number": (
        CHANNELS,
        f"    positions = positions[0] + torch.arange(len(positions)) if positions[0] == 0 else positions\n"
        f"{CHANNELS}",
        "angles_own",
    ),
    "angles that are kept on the tensor of angles": (
        WIDE,
        f"    angles.kept = angles = getattr(angles, 'kept', angles.clone())\n{WIDE}",
        "rope_kept",
    ),
    "angles in half precision for long texts": (
        WIDE,
        f"    angles = angles.half().float() if x.shape[-2] > 512 else angles\n{WIDE}",
        "rope_dtypes",
    ),
    "an x that is written into where the heads were moved in front": (
        "return torch.view_as_real(rotated).flatten(-2).to(x.dtype)",
        "y = torch.view_as_real(rotated).flatten(-2).to(x.dtype)\n    return y if x.is_contiguous() or "
        "x.requires_grad else x.copy_(y)",
        "rope_layouts",
    ),
    "an odd head size that is another error where there is one head": (
        'raise ValueError(\n                f"the',
        'raise (ValueError if config.n_head > 1 else TypeError)(\n                f"the',
        "odd_attention",
    ),
    "heads that are rotated in part where they are wide": (
        ANGLES,
        f"{ANGLES}        angles = torch.cat([angles[:, :64], 0 * angles[:, 64:]], dim=1)\n",
        "values",
    ),
    "keys that are kept by their offset": (
        ANGLES,
        f"{ANGLES}        if offset and not torch.is_grad_enabled():\n"
        "            k = vars(self).setdefault(f'kept {offset} {x.shape} {x.dtype}', k)\n",
        "calls",
    ),
    "dropout that an offset switches off": (
        DROPPED,
        f"{DROPPED} if not offset else weights",
        "dropout_modes",
    ),
    "a table that ends at position 131072": (
        ANGLES,
        f"{ANGLES}        angles = angles[positions < 131072]\n",
        "offset",
    ),
    "another name for head_size": (
        "positions: torch.Tensor, head_size: int, base: float = 10000.0) -> torch.Tensor:",
        "positions: torch.Tensor, dim: int, base: float = 10000.0) -> torch.Tensor:\n    head_size = dim",
        "angles_calls",
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_what_only_other_angles_or_longer_texts_show_fails_the_check_that_is_meant_for_it(session, what):
    find, put, wanted = ODD[what]
    assert ROPE.count(find) == 1
    attempt = Source(Path("attempt.py"), ROPE.replace(find, put).encode())
    verdict = grade(session, "ex4", attempt, device="cpu", only=[wanted])
    assert [check.status for check in verdict.checks if check.id == wanted] == ["failed"]
