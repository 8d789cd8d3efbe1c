"""The layout of two halves, with the channels brought into its order and back."""
import torch
import torch.nn as nn
from torch.nn import functional as F


def rope_angles(positions, head_size, base=10000.0):
    if head_size % 2:
        raise ValueError(head_size)
    inv_freq = 1.0 / base ** (torch.arange(0, head_size, 2, dtype=torch.int64).float().to(positions.device) / head_size)
    return (inv_freq[None, :, None] @ positions[None, None, :].float()).transpose(1, 2)[0]


def rotate_half(x):
    x1, x2 = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)


def apply_rope(x, angles):
    D = x.shape[-1]
    halves = torch.cat([torch.arange(0, D, 2), torch.arange(1, D, 2)]).to(x.device)
    emb = torch.cat((angles, angles), dim=-1)
    y = x[..., halves].to(torch.float32)
    y = y * emb.cos() + rotate_half(y) * emb.sin()
    return y[..., halves.argsort()].to(dtype=x.dtype)


class RotaryAttention(nn.Module):
    """Permutes the weights' rows instead: q and k come out in two halves, and the values as they are."""

    def __init__(self, config):
        super().__init__()
        self.h, self.d = config.n_head, config.n_embd // config.n_head
        if self.d % 2:
            raise ValueError("the head size must be even")
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.p = config.dropout

    def forward(self, x, offset=0):
        b, t, c = x.shape
        w = self.qkv.weight.view(3, self.h, self.d // 2, 2, c)
        wq, wk = (part.transpose(1, 2).reshape(c, c) for part in w[:2])
        q, k, v = (F.linear(x, m).view(b, t, self.h, self.d).transpose(1, 2) for m in (wq, wk, w[2].reshape(c, c)))
        emb = rope_angles(torch.arange(offset, offset + t, device=x.device), self.d).repeat(1, 2)
        cos, sin = emb.cos(), emb.sin()
        q, k = ((m.float() * cos + rotate_half(m.float()) * sin).to(x.dtype) for m in (q, k))
        drop = self.p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=drop, is_causal=True)
        return F.dropout(self.proj(y.transpose(1, 2).reshape(b, t, c)), drop)
