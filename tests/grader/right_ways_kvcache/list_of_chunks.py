from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Past:
    """Everything that came, chunk by chunk, in the layout (B, T, H, D)."""

    keys: list = field(default_factory=list)
    values: list = field(default_factory=list)

    def __len__(self):
        return sum(k.shape[1] for k in self.keys)


class CachedAttention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.qkv = nn.Linear(cfg.n_embd, 3 * cfg.n_embd, bias=False)
        self.proj = nn.Linear(cfg.n_embd, cfg.n_embd)

    def forward(self, x):
        return self.forward_cached(x, self.new_cache())

    def new_cache(self):
        return Past()

    def forward_cached(self, x, cache):
        total = len(cache) + x.shape[1]
        if total > self.cfg.block_size:
            raise ValueError(f"{total} tokens")
        q, k, v = self.qkv(x).unflatten(2, (3, self.cfg.n_head, -1)).unbind(2)
        cache.keys.append(k)
        cache.values.append(v)
        k, v = torch.cat(cache.keys, 1), torch.cat(cache.values, 1)
        att = torch.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
        age = torch.arange(total, device=x.device) - torch.arange(total - x.shape[1], total, device=x.device)[:, None]
        att = att.masked_fill(age > 0, -torch.inf).softmax(-1)
        y = torch.einsum("bhqk,bkhd->bqhd", F.dropout(att, self.cfg.dropout, self.training), v).flatten(2)
        return F.dropout(self.proj(y), self.cfg.dropout, self.training)
