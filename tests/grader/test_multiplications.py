"""The count by which a KV cache shows that nothing is computed twice (grader/worker/tools.py)."""

import pytest
import torch
from torch.nn import functional as F

from grader.worker.tools import count_multiplications

# (B, H, T, D): two queries that see nine keys, and x (B, T, C) with a weight (C_out, C).
Q, K, V = torch.randn(2, 3, 2, 4), torch.randn(2, 3, 9, 4), torch.randn(2, 3, 9, 4)
X, W, BIAS = torch.randn(2, 5, 8), torch.randn(7, 8), torch.randn(7)
PROJECTED, ATTENDED = 2 * 5 * 8 * 7, 2 * (2 * 3 * 2 * 9 * 4)


@pytest.mark.parametrize(
    "function, count",
    [
        (lambda: F.linear(X, W), PROJECTED),
        (lambda: F.linear(X, W, BIAS), PROJECTED),
        (lambda: torch.einsum("btc,oc->bto", X, W), PROJECTED),
        (lambda: (X[:, :, None] * W).sum(-1), PROJECTED),
        (lambda: W @ X[0, 0], 8 * 7),
        (lambda: (Q @ K.mT).softmax(-1) @ V, ATTENDED),
        (lambda: F.scaled_dot_product_attention(Q, K, V), ATTENDED),
        (lambda: F.scaled_dot_product_attention(Q, K, V, attn_mask=torch.ones(2, 9).bool()), ATTENDED),
        (lambda: torch.cat((K, V), 2).softmax(-1), 0),
    ],
)
@torch.no_grad()
def test_the_same_products_count_the_same_however_they_are_written(function, count):
    assert count_multiplications(function) == count
