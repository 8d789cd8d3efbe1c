"""The batteries: what they compare with is right. That of a module serves what is no attention as well: the
example of CONTRIBUTING.md (test_contributing.py)."""

import numpy as np
import torch

from gpt_core import GPTConfig, MultiHeadAttention
from tests.exercises.battery.module import Size
from tests.exercises.ex1.checks import UNIT as UNIT_OF_EX1
from tests.exercises.ex1.checks import per_head


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
