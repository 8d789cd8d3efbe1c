"""Exercise 4: a paper's feature, rotary position embeddings, and whether it improves your GPT.

The lecture's GPT adds a learned vector to each token for its position. Rotary embeddings (RoPE; Su et
al. 2021, arXiv 2104.09864, eq. 34) add nothing: they rotate queries and keys by an angle that grows with
the position, so that their dot product depends on the distance alone. Write them, plug them into the GPT
in place of the position table, and find out what they are worth.

Why it matters: nearly every open model since 2022 has RoPE. And "I built in what the paper says, and
the loss is lower" is the most common claim there is, mostly from one run: one seed cannot tell a better
model from a luckier one. So the exercise ends in an experiment.

Shapes: B batch, T time, C = n_embd, H = n_head, D = C // H (the head size, even here).

The contract (`python grade.py ex4` checks every line of it). No function changes its arguments.

  rope_angles(positions, head_size, base=10000.0)     positions: (T,) long -> (T, D / 2) float32
    the angle of pair i at position m: m * base ** (-2i / D), in radians, i = 0 .. D / 2 - 1; on the
    device of positions, which are 0 or more, in any order; right for position 100,000 too
    ValueError for an odd head size

  apply_rope(x, angles)                  x: (.., T, D), angles: (T, D / 2) -> (.., T, D), x's dtype
    channels 2i and 2i + 1 of token t are rotated by angles[t, i]:
      (x0, x1) -> (x0 cos a - x1 sin a, x0 sin a + x1 cos a)
    any number of dimensions before T; x may be any view whose last dimension has stride 1, as attention
    hands it over: heads moved in front of the time by transpose, a slice of qkv, an expanded batch
    computed in float32 at least, also where x is bfloat16

  RotaryAttention(config)                config is a gpt_core.GPTConfig
    exercise 1's contract: parameters qkv.weight (3C, C) (queries, keys, values, head after head),
    proj.weight (C, C), proj.bias (C,); causal; dropout on the attention weights and on the output; no
    loop over the heads; and queries and keys, not values, rotated by the position of their token
    forward(x, offset=0): (B, T, C) -> (B, T, C), T <= block_size, the first token at position `offset`
      (which may lie beyond block_size). Queries and keys shift together, so that the output is the
      same for every offset
    the rotation is computed in float32, also after model.to(torch.bfloat16)
    ValueError for an odd head size, when built or in forward

It is used as GPT(config, attention=RotaryAttention, position_embedding=False).

A worked example. D = 4: two pairs, theta = (1, 10000 ** (-2 / 4)) = (1, 0.01). So

      rope_angles(torch.tensor([0, 1, 2]), 4) = [[0, 0], [1, 0.01], [2, 0.02]]

and a token (1, 0, 1, 0) becomes, at position 1, (cos 1, sin 1, cos 0.01, sin 0.01) =
(0.54030, 0.84147, 0.99995, 0.01000). At position 0 it stays as it is. Start there.

`python exercises/ex4_rope.py` runs the experiment with your class: the lecture's GPT against yours,
equal budgets, three seeds, and the mean difference with its confidence interval. `--help` shows more.
"""

import torch
import torch.nn as nn


def rope_angles(positions: torch.Tensor, head_size: int, base: float = 10000.0) -> torch.Tensor:
    """The angle of each pair at each position, in radians: positions (T,) -> (T, D / 2) float32."""
    raise NotImplementedError("exercise 4: work out the angles")


def apply_rope(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotate each pair of channels by its angle: x (.., T, D), angles (T, D / 2) -> (.., T, D)."""
    raise NotImplementedError("exercise 4: rotate the pairs")


class RotaryAttention(nn.Module):
    """Causal self-attention with rotary positions: (B, T, C) -> (B, T, C)."""

    def __init__(self, config):
        super().__init__()
        raise NotImplementedError("exercise 4: create what exercise 1's attention has")

    def forward(self, x: torch.Tensor, offset: int = 0) -> torch.Tensor:
        raise NotImplementedError("exercise 4: attend, with queries and keys rotated")


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--attention", "exercises.ex4_rope:RotaryAttention", "--no-position-embedding"]))
