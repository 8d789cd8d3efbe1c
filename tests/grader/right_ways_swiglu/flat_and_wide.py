"""Tokens in rows, float32 inside whatever came, and a mask of its own drawn for dropout."""
import torch
from torch import nn


def hidden_size(n_embd: int) -> torch.Tensor:
    n = torch.tensor(n_embd)
    return torch.div(n * 8 + 23, 24, rounding_mode="floor") * 8


class SwiGLU(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        C, hidden = config.n_embd, hidden_size(config.n_embd).item()
        self.gate, self.up, self.down = (nn.Linear(*s, bias=False) for s in [(C, hidden), (C, hidden), (hidden, C)])

    def forward(self, x):
        B, T, C = x.shape
        wide = torch.promote_types(x.dtype, torch.float32)
        w1, w3, w2 = (m.weight.to(wide).t() for m in (self.gate, self.up, self.down))
        rows = x.reshape(-1, C).to(wide)
        g = rows @ w1
        y = torch.sigmoid(g).mul(g).mul(rows @ w3) @ w2
        if self.training and self.config.dropout > 0:
            keep = 1 - self.config.dropout
            y = y * torch.bernoulli(torch.full_like(y, keep)) / keep
        return y.to(x.dtype).reshape(B, T, C)
