"""Activation and norm as modules, as timm's Mlp has them, with dropouts of probability 0 beside the one."""
import numpy as np
import torch
from torch import nn


def hidden_size(n_embd):
    """A whole number of numpy's."""
    return np.int64(8) * np.ceil(n_embd / 3).astype(np.int64)


class SwiGLU(nn.Module):
    def __init__(self, config, act_layer=nn.SiLU, norm_layer=nn.Identity, bias=False):
        super().__init__()
        features, hidden = config.n_embd, int(hidden_size(config.n_embd))
        self.gate = nn.Linear(features, hidden, bias=bias)
        self.up = nn.Linear(features, hidden, bias=bias)
        self.act = act_layer()
        self.drop1 = nn.Dropout(0.0)
        self.norm = norm_layer(hidden)
        self.down = nn.Linear(hidden, features, bias=bias)
        self.drop2 = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x_gate = self.gate(x)
        x = self.act(x_gate) * self.up(x)
        x = self.drop1(x)
        x = self.norm(x)
        x = self.down(x)
        return self.drop2(x)
