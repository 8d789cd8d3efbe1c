"""What the lecture tries on its way and gpt_core has not: the past averaged in four ways, and blocks without
sums.

python docs/lecture/tried.py                                     # the four averages of one small input
python -m gpt_core.train gpt --model docs.lecture.tried:NoSums --out runs/no-sums
"""

import torch
from torch import nn
from torch.nn import functional as F

from gpt_core import GPT


def average_by_loops(x: torch.Tensor) -> torch.Tensor:
    """(B, T, C) -> (B, T, C): for each token the mean of the tokens up to and with it."""
    B, T, C = x.shape
    out = torch.zeros(B, T, C, dtype=x.dtype)
    for b in range(B):
        for t in range(T):
            out[b, t] = x[b, : t + 1].mean(dim=0)
    return out


def average_by_product(x: torch.Tensor) -> torch.Tensor:
    """The same with one matrix product: row t of `weights` holds 1 / (t + 1) up to column t, then zeros."""
    T = x.shape[1]
    weights = torch.tril(torch.ones(T, T, dtype=x.dtype))
    weights = weights / weights.sum(dim=-1, keepdim=True)  # (T, T), rows sum to 1
    return weights @ x  # (T, T) @ (B, T, C) -> (B, T, C)


def average_by_softmax(x: torch.Tensor) -> torch.Tensor:
    """The same, the weights made by a softmax: equal scores for the past, -inf for the future."""
    T = x.shape[1]
    past = torch.tril(torch.ones(T, T, dtype=torch.bool))
    scores = torch.zeros(T, T, dtype=x.dtype).masked_fill(~past, float("-inf"))
    return F.softmax(scores, dim=-1) @ x


def average_by_attention(x: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """The same, the scores computed from the tokens; it averages where all of them are equal.

    query, key: (C, D), what turns a token into its query and its key. With zeros all scores are 0.
    """
    T = x.shape[1]
    past = torch.tril(torch.ones(T, T, dtype=torch.bool))
    q, k = x @ query, x @ key  # (B, T, D) each
    scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5  # (B, T, T): every sequence has its own
    return F.softmax(scores.masked_fill(~past, float("-inf")), dim=-1) @ x


class NoSums(GPT):
    """A GPT whose blocks add nothing: x = attention(x), then x = feed_forward(x), as the lecture tries."""

    def body(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block.feed_forward(block.ln2(block.attention(block.ln1(x))))
        return self.ln_f(x)


class NoNormsNoSums(NoSums):
    """The lecture's own first try of a stack: no sums, and no norms yet."""

    def __init__(self, config, **parts):
        super().__init__(config, **(parts | {"norm": lambda _: nn.Identity()}))


def main() -> None:
    torch.manual_seed(1337)
    x = torch.randint(10, (1, 4, 2)).float()
    print("x, 4 tokens of 2 channels:", x[0].tolist())
    for average in (average_by_loops, average_by_product, average_by_softmax):
        print(f"{average.__name__:21}", _rounded(average(x)))
    nothing = torch.zeros(2, 3)
    print("average_by_attention ", _rounded(average_by_attention(x, nothing, nothing)), "(all scores are 0)")
    query, key = torch.randn(2, 3) / 5, torch.randn(2, 3) / 5
    print("                     ", _rounded(average_by_attention(x, query, key)), "(random queries and keys)")


def _rounded(x: torch.Tensor) -> list:
    return [[round(number, 2) for number in row] for row in x[0].tolist()]


if __name__ == "__main__":
    main()
