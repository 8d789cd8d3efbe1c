import torch
import torch.nn as nn
from torch.nn import functional as F


def rope_angles(positions, head_size, base=10000.0):
    if head_size % 2 == 1:
        raise ValueError(f"cannot pair {head_size} channels")
    half = head_size // 2
    table = torch.empty(len(positions), half, device=positions.device)
    for i in range(half):
        table[:, i] = positions * base ** (-2 * i / head_size)
    return table


def apply_rope(x, angles):
    result = torch.empty(x.shape, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    cos, sin = torch.cos(angles), torch.sin(angles)
    result[..., ::2] = x[..., ::2] * cos - x[..., 1::2] * sin
    result[..., 1::2] = x[..., 1::2] * cos + x[..., ::2] * sin
    return result.to(x.dtype)


class RotaryAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.size = config.n_head, config.n_embd // config.n_head
        self.qkv = nn.Linear(config.n_embd, config.n_embd * 3, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x, offset: int = 0):
        B, T, C = x.shape
        angles = rope_angles(torch.arange(offset, offset + T).to(x.device), self.size)
        queries, keys, values = self.qkv(x).tensor_split(3, dim=-1)

        def heads(t):
            return t.reshape(B, T, self.n_head, self.size).movedim(2, 1)

        queries = apply_rope(heads(queries), angles) * self.size**-0.5
        keys = apply_rope(heads(keys), angles)
        scores = torch.einsum("bhqd,bhkd->bhqk", queries, keys)
        future = torch.arange(T, device=x.device)[None, :] > torch.arange(T, device=x.device)[:, None]
        weights = F.softmax(scores.masked_fill(future, torch.finfo(scores.dtype).min), -1)
        out = torch.einsum("bhqk,bhkd->bqhd", self.drop(weights), heads(values)).reshape(B, T, C)
        return self.drop(self.proj(out))
