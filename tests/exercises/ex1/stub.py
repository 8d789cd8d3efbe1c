"""Exercise 1: all heads at once.

The lecture's MultiHeadAttention (gpt_core/layers.py) keeps its heads in a ModuleList and runs them
one after the other: H small matrix products where the hardware would rather do one large one. Write
the same function with all heads in one tensor, the head being one more batch dimension.

Why it matters: it computes the same numbers several times faster, and it is how every GPT that you
will ever read is written. The hard part is not the mathematics, it is to keep (B, H, T, D) apart
from (B, T, H, D): most mistakes give a model that still trains, only worse.

Shapes: B batch, T time (1 <= T <= block_size), C = n_embd, H = n_head, D = C // H.

The contract (`python grade.py ex1` checks every line of it):

  FusedMultiHeadAttention(config)       config is a gpt_core.GPTConfig
    parameters, exactly these three, all trainable:
      qkv.weight   (3C, C)   rows: all queries, then all keys, then all values; inside each, head
                             after head. So nn.Linear(C, 3 * C, bias=False).
      proj.weight  (C, C)    applied to the heads' outputs, joined head after head
      proj.bias    (C,)
    buffers (a mask, say) are free
    forward(x): (B, T, C) -> (B, T, C), in x's dtype and on x's device, x unchanged
      for each head softmax(q k^T / sqrt(D)) v, each token over itself and the tokens before it;
      dropout with probability config.dropout on the attention weights, and again on the output
      after proj; both off in eval mode
    no Python loop over the heads

  fuse_heads(baseline)                  baseline is a gpt_core.MultiHeadAttention
    returns a FusedMultiHeadAttention that computes the same function: weights copied (changing one
    later does not change the other), and dtype, device and train/eval mode as the baseline's.
    baseline.config is the config it was built from; baseline.heads[0].query.weight is (D, C).

A worked example. C = 4, H = 2, D = 2, so qkv.weight has 12 rows:
      rows 0-1 query of head 0    rows 4-5 key of head 0    rows  8-9  value of head 0
      rows 2-3 query of head 1    rows 6-7 key of head 1    rows 10-11 value of head 1
One token alone (T = 1) can only attend to itself, so its attention weight is 1 in every head and the
output is proj(x @ qkv.weight[8:12].T), whatever the queries and keys are. Start there.

`python exercises/ex1_fused_attention.py` measures how many times faster yours is than the loop.
"""

import torch
import torch.nn as nn

from gpt_core import MultiHeadAttention


class FusedMultiHeadAttention(nn.Module):
    """Causal self-attention, all heads at once: (B, T, C) -> (B, T, C)."""

    def __init__(self, config):
        super().__init__()
        raise NotImplementedError("exercise 1: create qkv, proj and what else you need")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("exercise 1: attend with all heads at once")


def fuse_heads(baseline: MultiHeadAttention) -> FusedMultiHeadAttention:
    """The same function as `baseline`, with its weights copied into one fused module."""
    raise NotImplementedError("exercise 1: join the heads' weights")


if __name__ == "__main__":
    from gpt_core.experiments.speed import main

    main(FusedMultiHeadAttention)
