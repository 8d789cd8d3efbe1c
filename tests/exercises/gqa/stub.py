"""Grouped-query attention: fewer keys and values than heads.

While a GPT writes, each step reads the keys and values of all tokens so far, of every head: at length that is
most of what it reads, and most of the memory that a text takes. So let several heads share them. H heads of
queries, G heads of keys and values: neighbouring heads form a group that asks the same keys (Ainslie et al.
2023, arXiv 2305.13245). Llama 2 and 3, Mistral, Gemma and Qwen do. G = H is exercise 1's attention, G = 1 is
multi-query attention (Shazeer 2019, arXiv 1911.02150).

Shapes: B batch, T time, C = n_embd, H = n_head, D = C // H, G = n_kv_head.

The contract (`python grade.py gqa` checks every line of it):

  GroupedQueryAttention(config, n_kv_head=2)      config is a gpt_core.GPTConfig
    ValueError, when built, unless G is at least 1 and divides H
    parameters, exactly these four, all trainable; buffers are free:
      q.weight     (C, C)        the queries, head after head
      kv.weight    (2 G D, C)    rows: all keys, group after group, then all values, group after group
      proj.weight  (C, C)        applied to the heads' outputs, joined head after head
      proj.bias    (C,)
    forward(x): (B, T, C) -> (B, T, C), as in exercise 1: x's dtype and device, x unchanged, any
      T <= block_size, causal, scaled by 1 / sqrt(D), dropout on the attention weights and on the output;
      query head h uses the keys and values of group h // (H / G)
    no Python loop over heads or groups

  group_heads(fused, config, n_kv_head=2)         fused is an attention with exercise 1's parameters
    qkv.weight (3C, C), proj.weight and proj.bias, built from this config; it comes back as a
    GroupedQueryAttention: queries and proj are copied, the keys of each group are the mean of those of its
    H / G heads, and so are the values; the mean is taken in float32 at least
    nothing is shared with fused, which stays as it was; dtype, device and train/eval mode are kept

A worked example. C = 12, H = 6, G = 2, so D = 2 and H / G = 3: heads 0, 1, 2 are group 0, heads 3, 4, 5 are
group 1. kv.weight has 8 rows:
      rows 0-1 key of group 0      rows 4-5 value of group 0
      rows 2-3 key of group 1      rows 6-7 value of group 1
One token alone attends to itself, so the joined heads are its values, v0 v0 v0 v1 v1 v1. Start there.

The question: how much faster does a GPT write, and how much smaller is its cache?
`python exercises/more/gqa.py` measures it with 8, 2 and 1 groups for 8 heads.
"""

import torch
import torch.nn as nn


class GroupedQueryAttention(nn.Module):
    """Causal self-attention whose heads share n_kv_head heads of keys and values: (B, T, C) -> (B, T, C)."""

    def __init__(self, config, n_kv_head=2):
        super().__init__()
        raise NotImplementedError("exercise gqa: create q, kv, proj and what else you need")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("exercise gqa: let each head attend with its group's keys and values")


def group_heads(fused: nn.Module, config, n_kv_head=2) -> GroupedQueryAttention:
    """The attention `fused`, with the mean of each group's keys and values."""
    raise NotImplementedError("exercise gqa: average neighbouring heads")


if __name__ == "__main__":
    from gpt_core.experiments.generation import fewer_keys_and_values

    raise SystemExit(fewer_keys_and_values(GroupedQueryAttention))
