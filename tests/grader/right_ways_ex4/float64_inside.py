import numpy as np
import torch
import torch.nn as nn


def rope_angles(positions, head_size, base=10000.0):
    if head_size % 2:
        raise ValueError("the head size is odd")
    m = positions.detach().cpu().numpy().astype(np.float64)
    theta = np.logspace(0, -(head_size - 2) / head_size, head_size // 2, base=base)
    return torch.from_numpy(np.outer(m, theta)).to(positions.device, torch.float32)


def apply_rope(x, angles):
    a, pairs = angles.double(), x.double().unflatten(-1, (-1, 2))
    first, second = pairs.unbind(-1)
    first, second = first * a.cos() - second * a.sin(), first * a.sin() + second * a.cos()
    return torch.cat([first[..., None], second[..., None]], -1).flatten(-2).to(x.dtype)


class RotaryAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.one, self.two = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, x, offset=0):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, -1).unbind(2)  # (B, T, H, D)
        angles = rope_angles(torch.arange(offset, offset + T, device=x.device), q.shape[-1])
        q, k = (apply_rope(m.transpose(1, 2), angles).transpose(1, 2) for m in (q, k))
        s = torch.einsum("bthd,bshd->bhts", q.double(), k.double()) / np.sqrt(q.shape[-1])
        s = s.masked_fill(torch.ones(T, T, device=x.device).triu(1).bool(), float("-inf"))
        a = self.one(s.softmax(dim=-1)).to(v.dtype)
        return self.two(self.proj(torch.einsum("bhts,bshd->bthd", a, v).reshape(B, T, C)))
