"""Heads and sequences in one dimension, a norm by torch.linalg in float64, weights of qkv read in three."""
import torch
from torch import nn
from torch.nn import functional as F


class Norm(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.register_parameter("weight", nn.Parameter(torch.empty(n).fill_(1)))

    def forward(self, m):
        wide = m.double()
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        return (wide * self.weight / (length.square() / m.shape[-1] + 1e-6).sqrt()).to(m.dtype)


class QKNormAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c = config
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.k_norm = Norm(config.head_size)
        self.q_norm = Norm(config.head_size)

    def forward(self, x):
        b, t, c = x.shape
        h, d = self.c.n_head, self.c.head_size
        parts = [F.linear(x, w) for w in self.qkv.weight.chunk(3)]
        q, k, v = (m.reshape(b, t, h, d).transpose(1, 2).reshape(b * h, t, d) for m in parts)
        scores = torch.bmm(self.q_norm(q), self.k_norm(k).transpose(1, 2)) / d**0.5
        past = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        weights = scores.float().masked_fill(~past, float("-inf")).softmax(dim=-1).to(x.dtype)
        weights = F.dropout(weights, self.c.dropout, self.training)
        y = torch.bmm(weights, v).view(b, h, t, d).permute(0, 2, 1, 3).reshape(b, t, c)
        return F.dropout(self.proj(y), self.c.dropout, self.training)
