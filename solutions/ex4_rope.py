"""Exercise 4, solved: rotary position embeddings.

The one idea: write a position as an angle. Take the channels of a query two by two, (x0, x1), (x2, x3),
.., read each pair as a point in the plane, and rotate it by an angle that is proportional to the position:
pair i of the token at position m by m * theta_i, with theta_i = base ** (-2i / D). Keys are rotated in
the same way. Rotating both sides of a dot product by the same angle changes nothing, so what is left of
q . k is the difference of the angles:

    (R_m q) . (R_n k) = q . (R_{n-m} k)

Attention then knows how far apart two tokens are, and nothing else: no parameter, no table that ends,
norms as they were. The first pair rotates by a radian per token and tells neighbours apart; the last one
hardly rotates within a page and can carry what does not depend on positions (Su et al. 2021, arXiv
2104.09864, eq. 34).

A rotation in the plane is a product of complex numbers, (x0 + i x1) * exp(i a); written out, the pair
becomes (x0 cos a - x1 sin a, x0 sin a + x1 cos a). The product is one operation where that is six, and
faster.

What one tries first:
- Rotate the values too. Values are passed on, not compared: nothing undoes their
  rotation, and the output would depend on where the text stands.
- Rotate channel i with channel i + D / 2, as many libraries do, since two halves are cheaper to take than
  every other channel. That is a RoPE as well, the same up to a permutation of the rows of the query and
  key weights, and it cannot read weights that were trained with the other. The contract takes the
  paper's pairs.
- Keep the angles in a buffer. `model.to(torch.bfloat16)` casts it with everything else, and bfloat16 has
  8 significant bits: beyond 256 it cannot count, so neighbours get the same angle. Here they are made
  anew in float32 in each call, (T, D / 2) of them, which costs little beside (B, H, T, D).

Does it improve the GPT? `python solutions/ex4_rope.py`, the sizes of the preset `cpu` on tiny Shakespeare,
3 seeds and 500 steps each, against exercise 1's attention with a position table:

    validation loss    2.2320 with the table, 2.0058 with RoPE (nats per character)
    difference         -0.2262, 95 % interval -0.2544 to -0.1981

At this budget, yes: all three differences lie near -0.23, and the interval is far from 0. It is a short
budget, in which a table must first learn what RoPE has built in; what is left of the difference after ten
times the steps, or at another size, is another experiment (`--steps`, `--preset`).

And beyond the length of training, for which RoPE is loved and misjudged? It has an angle for every
position, but a model that never saw a distance of 100 has not learned what to make of it:

    positions          0-15   16-31   32-63   64-79   80-95  96-127  128-191  192-255   cropped
    table             2.246   2.210   2.243   2.625   2.677   2.755    2.807    2.825     2.282
    RoPE              2.088   1.977   1.988   1.990   2.017   2.332    2.427    2.563     1.997

Trained on 64 positions, RoPE goes on well for half as many again, then worsens; the table, whose rows
beyond 63 nothing ever trained, breaks at once. Cropping the context to the last 64 tokens, as sampling
does, is better than either at four times the length. Going further takes more than RoPE alone.
"""

import torch
import torch.nn as nn
from torch.nn import functional as F


def rope_angles(positions: torch.Tensor, head_size: int, base: float = 10000.0) -> torch.Tensor:
    """The angle of each pair at each position, in radians: positions (T,) -> (T, D / 2) float32.

    Pair i at position m: m * base ** (-2i / D). ValueError for an odd head size.
    """
    if head_size % 2:
        raise ValueError(f"head_size is {head_size}; channels are rotated in pairs, so it must be even.")
    channels = torch.arange(0, head_size, 2, dtype=torch.float32, device=positions.device)  # 2i
    frequencies = base ** (-channels / head_size)  # theta_i, from 1 down to almost 1 / base
    return positions.float()[:, None] * frequencies


def apply_rope(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotate each pair of channels by its angle: x (.., T, D), angles (T, D / 2) -> (.., T, D), x's dtype."""
    # Half precision would lose the small angles of the last pairs; float64 stays what it is.
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    points = torch.complex(wide[..., 0::2], wide[..., 1::2])  # (.., T, D / 2): x0 + i x1, x2 + i x3, ..
    rotated = points * torch.complex(angles.cos(), angles.sin())  # times exp(i angle)
    return torch.view_as_real(rotated).flatten(-2).to(x.dtype)  # the two of a pair side by side again


class RotaryAttention(nn.Module):
    """Causal self-attention with rotary positions: (B, T, C) -> (B, T, C) for any T <= block_size.

    Exercise 1's attention, its queries and keys rotated by the position of their token. Parameters:
    qkv.weight (3C, C), proj.weight (C, C), proj.bias (C,). ValueError for an odd head size.
    """

    def __init__(self, config):
        super().__init__()
        if config.head_size % 2:
            raise ValueError(
                f"the head size n_embd / n_head is {config.head_size}; channels are rotated in pairs, so it "
                f"must be even: change n_embd or n_head."
            )
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

    def forward(self, x: torch.Tensor, offset: int = 0) -> torch.Tensor:
        """The first token of x stands at position `offset`; the output is the same for every offset."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=-1)  # (B, T, C) each
        q, k, v = self.split_heads(q), self.split_heads(k), self.split_heads(v)  # (B, H, T, D)

        positions = torch.arange(offset, offset + T, device=x.device)
        angles = rope_angles(positions, C // self.n_head)
        q, k = apply_rope(q, angles), apply_rope(k, angles)

        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # (B, H, T, T): [query, key]
        scores = scores.masked_fill(self.future[:T, :T], float("-inf"))
        weights = F.softmax(scores, dim=-1)  # each query shares out 1 among its keys
        weights = self.weight_dropout(weights)
        out = weights @ v  # (B, H, T, D)

        out = out.transpose(1, 2).reshape(B, T, C)  # the heads of one token side by side again
        return self.output_dropout(self.proj(out))


if __name__ == "__main__":
    from gpt_core.experiment import main

    # Against the fused attention of exercise 1 with a position table, so that the speeds show what the
    # rotation costs.
    fused = "solutions.ex1_fused_attention:FusedMultiHeadAttention"
    feature = ["--attention", "solutions.ex4_rope:RotaryAttention", "--no-position-embedding"]
    raise SystemExit(main(["--baseline-attention", fused, *feature]))
