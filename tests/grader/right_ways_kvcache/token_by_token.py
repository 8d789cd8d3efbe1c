import torch
from torch import nn


class CachedAttention(nn.Module):
    """Nothing but a table of keys and values in one tensor, (B, T, 2 C); a chunk is fed token by token."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.one, self.two = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def heads(self, m):
        return m.reshape(*m.shape[:2], self.config.n_head, -1).movedim(2, 1)

    def finish(self, weights, v):
        return self.two(self.proj((self.one(weights) @ v).movedim(1, 2).flatten(2)))

    def forward(self, x):
        q, k, v = (self.heads(m) for m in self.qkv(x).tensor_split(3, dim=-1))
        scores = (q @ k.mT) / q.size(-1) ** 0.5
        hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
        return self.finish(scores.masked_fill(hidden, float("-inf")).softmax(-1), v)

    def new_cache(self):
        return {}

    def forward_cached(self, x, cache):
        if cache.get("rows", x[:, :0]).size(1) + x.size(1) > self.config.block_size:
            raise ValueError
        return torch.cat([self.step(token, cache) for token in x.split(1, dim=1)], dim=1)

    def step(self, x, cache):
        q, rows = self.qkv(x).split([x.size(-1), 2 * x.size(-1)], dim=-1)
        cache["rows"] = rows if not cache else torch.cat([cache["rows"], rows], dim=1)
        q = self.heads(q) / (self.config.n_embd // self.config.n_head) ** 0.5
        k, v = (self.heads(m) for m in cache["rows"].chunk(2, dim=-1))
        return self.finish(torch.softmax((q * k).sum(-1, keepdim=True).mT, dim=-1), v)
