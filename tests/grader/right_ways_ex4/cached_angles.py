"""Ignores the offset, which is right: nothing but distances counts. Angles are cached by what decides them."""
from functools import lru_cache

import torch
import torch.nn as nn


def rope_angles(positions: torch.Tensor, head_size: int, base: float = 10000.0) -> torch.Tensor:
    if head_size % 2:
        raise ValueError("odd head size")
    i = torch.arange(1, head_size // 2 + 1, dtype=torch.float64, device=positions.device)
    theta = base ** (-2 * (i - 1) / head_size)  # the paper counts pairs from 1
    return (positions[:, None] * theta[None, :]).float()


@lru_cache(maxsize=None)
def table(length, head_size, device):
    return rope_angles(torch.arange(length, device=device), head_size)


def apply_rope(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    dtype = x.dtype
    x = x.clone().to(torch.float64)
    a, b = x[..., 0::2].clone(), x[..., 1::2].clone()
    x[..., 0::2] = a * angles.cos() - b * angles.sin()
    x[..., 1::2] = a * angles.sin() + b * angles.cos()
    return x.to(dtype)


class RotaryAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.drop1 = nn.Dropout(config.dropout)
        self.drop2 = nn.Dropout(config.dropout)

    def forward(self, x, offset=0):
        B, T, C = x.shape
        D = C // self.n_head
        angles = table(T, D, x.device)
        q, k, v = self.qkv(x).split(C, dim=2)
        # heads into the batch: (B * H, T, D)
        q, k, v = (m.view(B, T, self.n_head, D).permute(0, 2, 1, 3).reshape(-1, T, D) for m in (q, k, v))
        q, k = apply_rope(q, angles), apply_rope(k, angles)
        att = torch.bmm(q, k.transpose(1, 2)) / D**0.5
        att = att + torch.full((T, T), float("-inf"), dtype=att.dtype, device=att.device).triu(1)
        y = torch.bmm(self.drop1(att.softmax(dim=-1)), v)
        y = y.view(B, self.n_head, T, D).transpose(1, 2).reshape(B, T, C)
        return self.drop2(self.proj(y))
