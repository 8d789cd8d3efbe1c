"""The batteries: what they compare with is right, and that of a module serves what is no attention as well:
RMSNorm."""

import types

import numpy as np
import pytest
import torch

from gpt_core import GPTConfig, MultiHeadAttention
from grader.learner.replay import subject
from tests.exercises.battery import module
from tests.exercises.battery.module import Size, Unit, checks_of
from tests.exercises.ex1.checks import UNIT as UNIT_OF_EX1
from tests.exercises.ex1.checks import per_head
from tests.exercises.exam import CheckFailed, Exam


def test_what_is_right_is_the_lectures_attention():
    size = Size(B=2, T=5, n_embd=24, n_head=3)
    weights, x = UNIT_OF_EX1.weights(size), size.x().astype(np.float64)
    lecture = MultiHeadAttention(GPTConfig(**size.config())).double().eval()
    lecture.load_state_dict(
        {name: torch.from_numpy(w).double() for name, w in per_head(weights, size.n_head).items()},
        strict=False,
    )
    with torch.no_grad():
        assert np.allclose(
            UNIT_OF_EX1.right(size, weights, x), lecture(torch.from_numpy(x)).numpy(), atol=1e-12
        )


SOLUTION = """
import torch
import torch.nn as nn


class RMSNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.n_embd))

    def forward(self, x):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = wide.pow(2).mean(dim=-1, keepdim=True)
        return (wide * torch.rsqrt(mean + 1e-5)).to(x.dtype) * self.weight
"""


class Norm(Unit):
    def parameters(self, C):
        return {"weight": (C,)}

    def reference(self, size, weights, x, rows):
        x = x[:, rows].astype(np.float64)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weights["weight"]


UNIT = Norm(
    name="RMSNorm",
    part="norm",
    same_as="the paper's",
    asks=dict.fromkeys(("output", "values", "calls", "bfloat16", "in_gpt"), "?"),
    corners=(Size(B=1, T=1, n_embd=1, n_head=1), Size(n_embd=256)),
    long=Size(B=1, T=310, n_embd=6, n_head=2, block_size=310),
)
CHECKS = checks_of(UNIT, module.CHECKS)


def loaded(source: str):
    found = types.ModuleType("attempt")
    found.__file__ = "attempt.py"
    exec(source, vars(found))
    return found


def failed(source: str) -> list[str]:
    """The checks that a file fails; all of them are tried."""
    attempt = loaded(source)
    exam = Exam(
        subject("attempt", attempt, "cpu"),
        subject("reference", loaded(SOLUTION), "cpu"),
        "cpu",
        names=tuple(vars(attempt)),
    )
    found = []
    for name, check in CHECKS.items():
        exam.begin()
        try:
            check(exam)
        except CheckFailed:
            found.append(name.removeprefix("test_"))
    return found


def test_the_right_one_passes_every_check():
    assert failed(SOLUTION) == []


MEAN, RETURN = (
    "wide.pow(2).mean(dim=-1, keepdim=True)",
    "(wide * torch.rsqrt(mean + 1e-5)).to(x.dtype) * self.weight",
)


@pytest.mark.parametrize(
    "check, find, put",
    [
        (
            "parameters",
            "self.weight = ",
            "self.bias = nn.Parameter(torch.zeros(config.n_embd)); self.weight = ",
        ),
        ("trainable", "torch.ones(config.n_embd)", "torch.ones(config.n_embd), requires_grad=False"),
        ("values", MEAN, "wide.pow(2).mean(dim=1, keepdim=True)"),
        ("values", RETURN, "(wide * torch.rsqrt(mean + 1e-5)).to(x.dtype) * (1 + self.weight)"),
        ("batch_rows", MEAN, "wide.pow(2).mean(dim=(0, 2), keepdim=True)"),
        ("gradients", MEAN, f"{MEAN}.detach()"),
        ("calls", "mean = ", "mean = self.kept = getattr(self, 'kept', None) if hasattr(self, 'kept') else "),
        ("input_kept", RETURN, "x.mul_(torch.rsqrt(mean + 1e-5).to(x.dtype)) * self.weight"),
        ("dtypes", RETURN, "wide * torch.rsqrt(mean + 1e-5) * self.weight.float()"),
    ],
)
def test_a_mistake_fails_the_check_that_is_made_for_it(check, find, put):
    assert SOLUTION.count(find) == 1
    assert check in failed(SOLUTION.replace(find, put))
