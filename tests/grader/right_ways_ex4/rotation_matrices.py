import torch
import torch.nn as nn
from torch.nn import functional as F


def rope_angles(positions, head_size, base=10000.0):
    if head_size % 2:
        raise ValueError("RoPE pairs channels; the head size must be even")
    theta = torch.pow(torch.tensor(base, device=positions.device), -torch.arange(head_size // 2, device=positions.device) * 2 / head_size)
    return torch.einsum("t,i->ti", positions.to(theta.dtype), theta)


def rotations(angles):
    """(T, D/2, 2, 2)"""
    c, s = angles.cos(), angles.sin()
    return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)


def apply_rope(x, angles):
    pairs = x.float().reshape(*x.shape[:-1], -1, 2)
    return torch.einsum("tiab,...tib->...tia", rotations(angles), pairs).reshape(x.shape).to(x.dtype)


class RotaryAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        if (config.n_embd // config.n_head) % 2:
            raise ValueError("odd head size")
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.dropout = config.dropout

    def forward(self, x, offset=0):
        B, T, C = x.shape
        w = self.qkv.weight.view(3, self.n_head, -1, C)
        q, k, v = torch.einsum("btc,shdc->sbhtd", x, w)
        turns = rope_angles(torch.arange(T, device=x.device).add(offset), q.shape[-1])
        q, k = apply_rope(torch.stack([q, k]), turns)  # both at once: five dimensions
        bias = torch.zeros(T, T, dtype=x.dtype, device=x.device).masked_fill(
            torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1), float("-inf"))
        p = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5 + bias).softmax(3)
        p = F.dropout(p, self.dropout, self.training)
        y = (p @ v).permute(0, 2, 1, 3).reshape(B, T, C)
        return F.dropout(F.linear(y, self.proj.weight, self.proj.bias), self.dropout, self.training)
