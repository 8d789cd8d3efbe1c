"""Only the keys that are seen are multiplied: for each token its window, unfolded from padded keys."""
import math

import torch
from torch import nn
from torch.nn import functional as F


class SlidingWindowAttention(nn.Module):
    def __init__(self, config, *, window=64):
        super().__init__()
        if not window >= 1:
            raise ValueError("a token sees itself at least")
        self.h, self.window = config.n_head, int(window)
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.drop_weights, self.drop = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, x):
        B, T, C = x.shape
        w = min(self.window, T)
        q, k, v = self.qkv(x).reshape(B, T, 3, self.h, -1).permute(2, 0, 3, 1, 4)
        k, v = (F.pad(m, (0, 0, w - 1, 0)).unfold(2, w, 1) for m in (k, v))  # (B, H, T, D, w)
        scores = torch.einsum("bhtd,bhtdw->bhtw", q, k) / math.sqrt(q.size(-1))
        at = torch.arange(T, device=x.device)[:, None] - torch.arange(w - 1, -1, -1, device=x.device)
        scores = scores.masked_fill(at < 0, -math.inf)
        weights = self.drop_weights(torch.softmax(scores, -1))
        y = torch.einsum("bhtw,bhtdw->bhtd", weights, v)
        return self.drop(self.proj(y.transpose(1, 2).reshape(B, T, C)))
