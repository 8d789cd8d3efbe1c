"""One head as a function, torch.vmap over the heads; float64 inside; a dataclass for the sizes."""
from __future__ import annotations

import dataclasses

import torch
import torch.nn as nn


@dataclasses.dataclass
class Sizes:
    heads: int
    width: int

    @property
    def head(self) -> int:
        return self.width // self.heads


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.sizes = Sizes(config.n_head, config.n_embd)
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.weight_dropout = nn.Dropout(config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("tril", torch.tril(torch.ones(config.block_size, config.block_size, dtype=torch.bool)))

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).double().view(B, T, 3, self.sizes.heads, self.sizes.head).unbind(2)

        def weights(q, k):
            s = q @ k.transpose(-2, -1) / self.sizes.head**0.5
            return s.masked_fill(~self.tril[:T, :T], -torch.inf).softmax(-1)

        w = torch.vmap(weights, in_dims=2, out_dims=1)(q, k)
        y = torch.vmap(torch.matmul, in_dims=(1, 2), out_dims=2)(self.weight_dropout(w), v)
        return self.dropout(self.proj(y.reshape(B, T, C).to(x.dtype)))


def fuse_heads(baseline):
    heads = list(baseline.heads)
    fused = FusedMultiHeadAttention(baseline.config).to(baseline.proj.weight.device, baseline.proj.weight.dtype)
    new = torch.cat([getattr(head, kind).weight for kind in ("query", "key", "value") for head in heads]).detach()
    for target, value in zip((fused.qkv.weight, fused.proj.weight, fused.proj.bias), (new, baseline.proj.weight, baseline.proj.bias)):
        target.data.copy_(value.data)
    fused.train(baseline.training)
    return fused
