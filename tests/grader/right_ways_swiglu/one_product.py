"""Both of the first layers in one product, and silu written out."""
import math

import torch
import torch.nn.functional as F
from torch import nn


def hidden_size(n_embd: int) -> int:
    return math.ceil(math.ceil(8 * n_embd / 3) / 8) * 8


class Matrix(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.xavier_uniform_(self.weight)


class SwiGLU(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.p, hidden = config.dropout, hidden_size(config.n_embd)
        self.down = Matrix(config.n_embd, hidden)
        self.up, self.gate = Matrix(hidden, config.n_embd), Matrix(hidden, config.n_embd)

    def forward(self, x):
        gate, up = F.linear(x, torch.cat([self.gate.weight, self.up.weight])).chunk(2, dim=-1)
        y = torch.einsum("btf,cf->btc", gate / (1 + (-gate).exp()) * up, self.down.weight)
        return F.dropout(y, self.p, self.training)
