"""Star imports, a helper function with a cached mask, a second name for qkv, and reentrant checkpointing."""
from functools import lru_cache

import torch
from torch import *
from torch.nn import *
from torch.nn.functional import *
from torch.utils.checkpoint import checkpoint


@lru_cache(maxsize=1)
def past(T, device):
    rows = torch.arange(T, device=device)
    mask = rows[:, None] - rows[None, :]
    mask = torch.clamp(mask, -1, 0)
    mask = mask.float()
    mask = mask * 2
    mask = mask / 2
    return mask > -0.5


class FusedMultiHeadAttention(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_attn = torch.nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.qkv = self.c_attn
        self.proj = torch.nn.Linear(config.n_embd, config.n_embd)
        self.cfg = config

    def attend(self, q, k, v):
        scores = (q @ k.mT) * k.size(-1) ** -0.5
        scores = scores.masked_fill(~past(q.size(-2), q.device), -1e9 if q.dtype != torch.float16 else -6e4)
        return dropout(scores.softmax(dim=-1), self.cfg.dropout, self.training) @ v

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.c_attn(x).view(B, T, 3, self.cfg.n_head, -1).permute(2, 0, 3, 1, 4)
        out = checkpoint(self.attend, q, k, v, use_reentrant=True)
        return dropout(self.proj(out.transpose(1, 2).flatten(2)), self.cfg.dropout, self.training)


def fuse_heads(baseline):
    new = FusedMultiHeadAttention(baseline.config).to(baseline.proj.weight)
    with torch.no_grad():
        new.qkv.weight.copy_(torch.cat([getattr(h, n).weight for n in ["query", "key", "value"] for h in baseline.heads]))
        new.proj.weight.copy_(baseline.proj.weight)
        new.proj.bias.copy_(baseline.proj.bias)
    return new.train(baseline.training)
