"""QK-norm, solved.

The one idea: a score may depend on the directions of q and k, not on their lengths. Normed, both have the
length sqrt(D), so with weights of one |q . k| / sqrt(D) is sqrt(D) at most, however large the weights of qkv
grow. How sharp the attention may be is no longer said by C * C weights in passing but by 2 D numbers whose
job it is, q_norm.weight and k_norm.weight.

What one tries first:
- A norm of q and k before they are split into heads. Its mean runs over all C channels, so a head with large
  queries makes those of the others small. Split first; then D is the last dimension, which is the mean's.
- A norm of all of qkv. The values are the content that is passed on, and their length is part of it.
- F.normalize, which divides by the length and not by the root of the mean: scores of at most 1 / sqrt(D), and
  an attention that is uniform until the weights have grown. That is why Henry et al. learn a scale; with the
  root of the mean the usual 1 / sqrt(D) fits.
- Squares in x's own dtype: in float16 the square of 256 is infinite, and the query comes out as zeros.

Does it improve the GPT? Measured with this file, `--preset cpu --seeds 3`: 500 steps, paired seeds,
exhaustive validation loss in nats per character, tiny Shakespeare. Without 2.2366, with the norms 2.0570: a
difference of -0.1797, with a 95 % interval from -0.2208 to -0.1385. It comes to the loss at which the
baseline ends after some 260 of the 500 steps. Stability is not the reason, since a GPT of this size does
not lack it. A likely one: with GPT-2's small initial weights queries and keys begin short, so that the
attention is nearly uniform at first, and normed ones do not.
"""

import torch
import torch.nn as nn
from torch.nn import functional as F

EPS = 1e-6


class HeadNorm(nn.Module):
    """weight * x / sqrt(mean(x ** 2) + EPS), the mean over the channels of a head: (.., D) -> (.., D)."""

    def __init__(self, head_size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(head_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # float64 stays what it is
        mean = wide.pow(2).mean(dim=-1, keepdim=True)  # (.., 1)
        return (wide * torch.rsqrt(mean + EPS)).to(x.dtype) * self.weight


class QKNormAttention(nn.Module):
    """Exercise 1's attention with normed queries and keys (Dehghani et al. 2023, section 2):
    (B, T, C) -> (B, T, C) for any T <= block_size."""

    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.q_norm = HeadNorm(config.head_size)
        self.k_norm = HeadNorm(config.head_size)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.weight_dropout = nn.Dropout(config.dropout)
        self.output_dropout = nn.Dropout(config.dropout)
        ones = torch.ones(config.block_size, config.block_size, dtype=torch.bool)
        self.register_buffer("future", torch.triu(ones, diagonal=1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.shape
        heads = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        q, k = self.q_norm(q), self.k_norm(k)

        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # (B, H, T, T): [query, key]
        scores = scores.masked_fill(self.future[:T, :T], float("-inf"))
        weights = self.weight_dropout(F.softmax(scores, dim=-1))
        out = (weights @ v).transpose(1, 2).reshape(B, T, C)  # the heads of one token side by side again
        return self.output_dropout(self.proj(out))


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--attention", "solutions.more.qknorm:QKNormAttention"]))
