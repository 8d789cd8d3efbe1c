"""Exercise 1, solved: all heads at once.

The one idea: a head is a batch dimension. The H products of the lecture's loop, (T, D) @ (D, T)
each, share nothing and are of one shape, so they are one batched product over (B, H), and the only
real work is to bring the data into the order (B, H, T, D).

First, join the 3H small Linears into one. Stacking the rows of two Linears stacks their outputs, so
with the rows ordered queries, keys, values, and head after head inside each, one product gives the
channels [q0 q1 .. | k0 k1 .. | v0 v1 ..]. Splitting the last dimension in three and reading it as
(H, D) gives every head its own D channels back.

Then move the head in front of the time. What one tries first is q.view(B, H, T, D), which even has
the right shape: but view never moves a number. Memory holds token after token and, in each, head
after head; read as (B, H, T, D) the first head would get all channels of the first T / H tokens.
view(B, T, H, D) says what is there, and transpose(1, 2) then says in which order to read it. On the
way back the same holds: transpose first, so that reshape joins the heads of one token.

Faster still, and the same function: F.scaled_dot_product_attention(q, k, v, is_causal=True,
dropout_p=self.dropout if self.training else 0.0) never stores the (T, T) weights (Dao et al. 2022,
arXiv 2205.14135). It is written out here because the four lines are the exercise.
"""

import torch
import torch.nn as nn
from torch.nn import functional as F

from gpt_core import MultiHeadAttention


class FusedMultiHeadAttention(nn.Module):
    """Causal self-attention, all heads at once: (B, T, C) -> (B, T, C) for any T <= block_size.

    The same function as gpt_core.MultiHeadAttention (Vaswani et al. 2017, arXiv 1706.03762, section
    3.2.2). Parameters: qkv.weight (3C, C), proj.weight (C, C), proj.bias (C,).
    """

    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.weight_dropout = nn.Dropout(config.dropout)
        self.output_dropout = nn.Dropout(config.dropout)
        # True where the key comes after the query. Kept at block_size, cut to T in forward.
        ones = torch.ones(config.block_size, config.block_size, dtype=torch.bool)
        self.register_buffer("future", torch.triu(ones, diagonal=1), persistent=False)

    def split_heads(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) -> (B, H, T, D)."""
        B, T, C = x.shape
        return x.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=-1)  # (B, T, C) each
        q, k, v = self.split_heads(q), self.split_heads(k), self.split_heads(v)  # (B, H, T, D)

        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # (B, H, T, T): [query, key]
        # -inf and not a large number: exp(-inf) is exactly 0, whatever the other scores are.
        scores = scores.masked_fill(self.future[:T, :T], float("-inf"))
        weights = F.softmax(scores, dim=-1)  # each query shares out 1 among its keys
        weights = self.weight_dropout(weights)
        out = weights @ v  # (B, H, T, D)

        out = out.transpose(1, 2).reshape(B, T, C)  # the heads of one token side by side again
        return self.output_dropout(self.proj(out))


@torch.no_grad()
def fuse_heads(baseline: MultiHeadAttention) -> FusedMultiHeadAttention:
    """The same function as `baseline`, its weights copied: dtype, device and mode are kept."""
    fused = FusedMultiHeadAttention(baseline.config)
    fused.to(baseline.proj.weight)  # its dtype and its device
    fused.train(baseline.training)
    queries = [head.query.weight for head in baseline.heads]  # (D, C) each
    keys = [head.key.weight for head in baseline.heads]
    values = [head.value.weight for head in baseline.heads]
    # copy_ writes into the new storage; assigning the Parameter would share it with the baseline.
    fused.qkv.weight.copy_(torch.cat(queries + keys + values))
    fused.proj.weight.copy_(baseline.proj.weight)
    fused.proj.bias.copy_(baseline.proj.bias)
    return fused


if __name__ == "__main__":
    from gpt_core.experiments.speed import main

    main(FusedMultiHeadAttention)
