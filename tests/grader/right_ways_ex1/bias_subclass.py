"""A mask that is a tensor subclass, which no dispatch mode lets be made; the output's dropout is numpy's."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class Causal(torch.Tensor):
    """A mask (T, T) to be added to the scores; made as torch.nn.attention.bias makes its own."""

    def __init__(self, T, S):
        super().__init__()
        self.fill_(-torch.inf).triu_(1)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.p = config.n_head, config.dropout
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.n_head, -1).transpose(1, 2) for part in self.qkv(x).split(C, dim=-1))
        p = self.p if self.training else 0.0
        mask = Causal(T, T).to(q)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
        y = self.proj(y.transpose(1, 2).reshape(B, T, C))
        if p == 0:
            return y
        return y * torch.from_numpy(np.random.rand(B, T, C) >= p).to(y) / (1 - p)


def fuse_heads(baseline):
    new = FusedMultiHeadAttention(baseline.config).to(baseline.proj.weight).train(baseline.training)
    parts = [torch.cat([getattr(h, n).weight for h in baseline.heads]) for n in ("query", "key", "value")]
    with torch.no_grad():
        new.qkv.weight.copy_(torch.cat(parts))
    new.proj.load_state_dict(baseline.proj.state_dict())
    return new
