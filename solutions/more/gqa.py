"""Grouped-query attention, solved.

The one idea: a head needs queries of its own, but its keys and values can be those of its neighbours, too.
Where H / G heads share them, what is kept of a token while a text is written is G / H of what it was, and so
is what each step reads. With G = H this is exercise 1's attention, with G = 1 multi-query attention (Shazeer
2019, arXiv 1911.02150).

The heads of a group are one more dimension: (B, H, T, D) read as (B, G, H / G, T, D). Keys and values get a 1
in that place, (B, G, 1, T, D), and the matrix product repeats them over it, as it repeats over the batch. So
query head h meets group h // (H / G), and nothing is written out H / G times by hand.

What one tries first:
- k.repeat(1, H / G, 1, 1). It gives the groups 0 1 0 1 .., where the heads need 0 0 1 1 ..: head 1 then reads
  group 1 and not group 0. repeat_interleave(H / G, dim=1) is right, and so is expand in the right place. The
  model trains with either; only weights that come from elsewhere tell.
- The queries read as (B, H / G, G, T, D), or a k that broadcasts over the wrong of the two: right in shape
  where H / G = G, as with 4 heads and 2 groups. Try 6 and 2.
- group_heads that takes each group's first head. That throws the others away; the mean of all of them is what
  Ainslie et al. found best to go on training from (section 3.2, figure 4).
- The mean as a sum that is divided in bfloat16: the sum of three heads is rounded before it is divided. Take
  the mean in float32, and round once.

How much faster does the GPT write? Measured with this file on one core of a CPU (4 layers, 8 heads, 256
channels, 16 texts at once; medians of 5 rounds that take turns), against 8 groups: 2 groups are 1.2, 1.2
and 1.5 times as fast at 32, 128 and 256 tokens, 1 group 1.1, 1.5 and 1.7 times. The cache is 32 MiB with 8
groups, 8 MiB with 2 and 4 MiB with 1. What it costs, over 3 paired seeds of 500 steps of the preset cpu
(`python -m gpt_core.experiment --attention solutions.more.gqa:GroupedQueryAttention`): a validation loss of
2.2475 against 2.2366, a difference of +0.0109 with a 95 % interval from -0.0068 to +0.0287. No difference
shown.
"""

import torch
import torch.nn as nn
from torch.nn import functional as F


class GroupedQueryAttention(nn.Module):
    """Causal self-attention whose H heads share n_kv_head = G heads of keys and values (Ainslie et al. 2023,
    arXiv 2305.13245, section 2.2): (B, T, C) -> (B, T, C) for any T <= block_size.

    Parameters: q.weight (C, C), kv.weight (2 G D, C), proj.weight (C, C), proj.bias (C,). ValueError unless
    G is at least 1 and divides H.
    """

    def __init__(self, config, n_kv_head=2):
        super().__init__()
        if n_kv_head < 1 or config.n_head % n_kv_head:
            raise ValueError(
                f"n_kv_head is {n_kv_head}; it must be at least 1 and divide n_head = {config.n_head}."
            )
        self.n_head, self.n_kv_head = config.n_head, n_kv_head
        self.q = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.kv = nn.Linear(config.n_embd, 2 * n_kv_head * config.head_size, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.weight_dropout = nn.Dropout(config.dropout)
        self.output_dropout = nn.Dropout(config.dropout)
        # True where the key comes after the query. Kept at block_size, cut to T in forward.
        ones = torch.ones(config.block_size, config.block_size, dtype=torch.bool)
        self.register_buffer("future", torch.triu(ones, diagonal=1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.shape
        H, G, D = self.n_head, self.n_kv_head, C // self.n_head
        q = self.q(x).view(B, T, G, H // G, D).permute(0, 2, 3, 1, 4)  # (B, G, H / G, T, D)
        k, v = self.kv(x).view(B, T, 2, G, 1, D).permute(2, 0, 3, 4, 1, 5)  # (B, G, 1, T, D) each

        scores = q @ k.transpose(-2, -1) * D**-0.5  # (B, G, H / G, T, T): k is the same for a group's heads
        scores = scores.masked_fill(self.future[:T, :T], float("-inf"))
        weights = self.weight_dropout(F.softmax(scores, dim=-1))
        out = weights @ v  # (B, G, H / G, T, D)

        out = out.permute(0, 3, 1, 2, 4).reshape(B, T, C)  # the heads of one token side by side again
        return self.output_dropout(self.proj(out))


@torch.no_grad()
def group_heads(fused: nn.Module, config, n_kv_head=2) -> GroupedQueryAttention:
    """A fused attention (exercise 1's parameters) with its keys and values averaged in groups of H / G
    neighbouring heads (section 2.1); queries and proj are copied, dtype, device and mode are kept."""
    grouped = GroupedQueryAttention(config, n_kv_head)
    grouped.to(fused.proj.weight)  # its dtype and its device
    grouped.train(fused.training)
    C = config.n_embd
    queries, keys_and_values = fused.qkv.weight.split([C, 2 * C])
    heads = keys_and_values.view(2, n_kv_head, -1, config.head_size, C)  # (2, G, H / G, D, C)
    wide = heads.to(torch.promote_types(heads.dtype, torch.float32))
    # copy_ writes into the new storage; assigning a Parameter would share it with the source.
    grouped.q.weight.copy_(queries)
    grouped.kv.weight.copy_(wide.mean(dim=2).reshape(-1, C))
    grouped.proj.weight.copy_(fused.proj.weight)
    grouped.proj.bias.copy_(fused.proj.bias)
    return grouped


if __name__ == "__main__":
    from gpt_core.experiments.generation import fewer_keys_and_values

    raise SystemExit(fewer_keys_and_values(GroupedQueryAttention))
