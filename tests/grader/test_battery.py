"""The batteries: what they compare with is right. That of a module serves what is no attention as well: the
example of CONTRIBUTING.md (test_contributing.py)."""

import numpy as np
import torch

from gpt_core import GPTConfig, MultiHeadAttention
from tests.exercises.battery.module import Size
from tests.exercises.battery.optimizer import how_far
from tests.exercises.ex1.checks import UNIT as UNIT_OF_EX1
from tests.exercises.ex1.checks import per_head
from tests.exercises.numbers import pattern


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


def test_scattered_indices_that_are_wrong_are_counted_where_not_all_are_listed():
    def said(size, bad):
        right = np.random.default_rng(0).normal(size=size)
        return pattern(right, np.where(np.isin(np.arange(size), bad), right + 9, right), 1e-6, ("token",))

    assert said(9, [0, 1, 4]) == ["wrong only at token 0, 1, 4"]
    assert said(60, range(0, 60, 3)) == ["wrong only at token 0, 3, 6, 9, 12, 15, 18, 21 .. (20 of 60)"]
    assert said(60, [*range(40), *range(42, 60)]) == []  # nearly all


def test_how_far_an_update_is_off_is_one_sentence():
    right, other = np.random.default_rng(1).normal(size=(2, 4, 3))
    assert how_far(right, -0.5 * right, 0.12) == "the parameter moves by the right update times -0.5"
    assert "NaN" in how_far(right, np.nan * right, 0.12) and "is 0" in how_far(0 * right, other, 0.12)
    assert "by 100% of its norm; 12% are allowed" in how_far(right, 0 * right, 0.12)
