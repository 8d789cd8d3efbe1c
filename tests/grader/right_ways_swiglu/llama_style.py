from torch import nn
import torch.nn.functional as F


def hidden_size(n_embd, multiple_of=8):
    hidden_dim = int(2 * (4 * n_embd) / 3)
    return multiple_of * ((hidden_dim + multiple_of - 1) // multiple_of)


class SwiGLU(nn.Module):
    def __init__(self, config, dim=None):
        super().__init__()
        dim = dim or config.n_embd
        for name, sizes in {"gate": (dim, -1), "down": (-1, dim), "up": (dim, -1)}.items():
            setattr(self, name, nn.Linear(*(hidden_size(dim) if n < 0 else n for n in sizes), bias=False))
        self.resid_dropout, self.config = nn.Dropout(p=config.dropout), config

    def forward(self, x):
        return self.resid_dropout(self.down(F.silu(self.gate(x)) * self.up(x)))
