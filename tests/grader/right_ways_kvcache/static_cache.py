import math

import torch
from torch import nn


class KVCache(nn.Module):
    """A cache of fixed size, all of which is read in each step: what is not written yet is masked."""

    def __init__(self, like, size):
        super().__init__()
        B, H, _, D = like.shape
        shape = (B, H, size, D)
        self.register_buffer("k", torch.zeros(shape, dtype=like.dtype, device=like.device))
        self.register_buffer("v", torch.zeros(shape, dtype=like.dtype, device=like.device))

    def update(self, pos, k, v):
        self.k.index_copy_(2, pos, k)
        self.v.index_copy_(2, pos, v)
        return self.k, self.v


class CachedAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        C = config.n_embd
        self.config = config
        self.qkv = nn.Linear(C, C * 3, bias=False)
        self.proj = nn.Linear(C, C)
        self.attn_drop, self.drop = nn.Dropout(config.dropout), nn.Dropout(config.dropout)
        causal = torch.tril(torch.ones(config.block_size, config.block_size, dtype=torch.bool))
        self.register_buffer("causal_mask", causal)

    def _heads(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).chunk(3, -1)
        H, D = self.config.n_head, C // self.config.n_head
        return [m.reshape(B, T, H, D).permute(0, 2, 1, 3) for m in (q, k, v)]

    def _mix(self, q, k, v, seen):
        att = torch.matmul(q, k.mT) / math.sqrt(q.size(-1))
        att = torch.where(seen, att, torch.tensor(float("-inf"), dtype=att.dtype, device=att.device))
        y = self.attn_drop(att.softmax(-1)) @ v
        return self.drop(self.proj(y.permute(0, 2, 1, 3).flatten(2)))

    def forward(self, x):
        T = x.shape[1]
        return self._mix(*self._heads(x), self.causal_mask[:T, :T])

    def new_cache(self):
        return {"pos": 0}

    def forward_cached(self, x, cache):
        start, stop = cache["pos"], cache["pos"] + x.shape[1]
        if stop > self.config.block_size:
            raise ValueError("context is full")
        q, k, v = self._heads(x)
        if "kv" not in cache:
            cache["kv"] = KVCache(k, self.config.block_size)
        input_pos = torch.arange(start, stop, device=x.device)
        k, v = cache["kv"].update(input_pos, k, v)
        cache["pos"] = stop
        return self._mix(q, k, v, self.causal_mask[input_pos])
