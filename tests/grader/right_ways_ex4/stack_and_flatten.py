import math

import torch
from torch import nn


def rope_angles(positions, head_size, base=10000.0):
    if head_size & 1:
        raise ValueError("head_size must be even")
    # exp-log, as in the sinusoidal embedding of the first transformer
    inverse = torch.exp(torch.arange(0, head_size, 2, device=positions.device) * -(math.log(base) / head_size))
    return positions.unsqueeze(1).to(torch.float32) * inverse.unsqueeze(0)


def rotate_every_two(x):
    return torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)


def apply_rope(x, angles):
    cos = angles.cos().repeat_interleave(2, dim=-1)
    sin = angles.sin().repeat_interleave(2, dim=-1)
    wide = x if x.dtype == torch.float64 else x.float()
    return (wide * cos + rotate_every_two(wide) * sin).to(x.dtype)


class RotaryAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.attn_drop, self.resid_drop = nn.Dropout(config.dropout), nn.Dropout(config.dropout)
        self.register_buffer("mask", torch.tril(torch.ones(config.block_size, config.block_size)))

    def forward(self, x, offset=0):
        B, T, C = x.shape
        H = self.config.n_head
        q, k, v = (t.reshape(B, T, H, C // H).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        angles = rope_angles(torch.arange(offset, offset + T, device=x.device), C // H)  # refuses odd ones
        q, k = (apply_rope(t, angles) for t in (q, k))
        att = q @ k.mT / math.sqrt(C // H)
        att = att.masked_fill(self.mask[:T, :T] == 0, -math.inf).softmax(-1)
        y = self.attn_drop(att) @ v
        return self.resid_drop(self.proj(y.transpose(1, 2).flatten(2)))
