import torch.nn as nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right


class Cache:
    k = v = None
    n = 0


class CachedAttention(nn.Module):
    """Room that doubles, keys as (B, H, D, T), and the mask of torch that is aligned at the lower right."""

    def __init__(self, config):
        super().__init__()
        self.H, self.max, self.p = config.n_head, config.block_size, config.dropout
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.drop = nn.Dropout(config.dropout)

    def split(self, x):
        B, T, C = x.shape
        return self.qkv(x).reshape(B, T, 3, self.H, C // self.H).permute(2, 0, 3, 1, 4)

    def out(self, y):
        return self.drop(self.proj(y.transpose(1, 2).flatten(-2)))

    def forward(self, x):
        q, k, v = self.split(x)
        p = self.p if self.training else 0.0
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p))

    def new_cache(self):
        return Cache()

    def forward_cached(self, x, cache):
        new, n = x.size(1), cache.n + x.size(1)
        if n > self.max:
            raise ValueError("too many tokens for one cache")
        q, k, v = self.split(x)
        if cache.k is None or n > cache.v.size(2):
            room = min(self.max, max(2 * n, 16))
            keys, values = k.new_zeros(*k.shape[:2], k.size(3), room), v.new_zeros(*v.shape[:2], room, v.size(3))
            if cache.k is not None:
                keys[..., : cache.n], values[:, :, : cache.n] = cache.k[..., : cache.n], cache.v[:, :, : cache.n]
            cache.k, cache.v = keys, values
        cache.k[..., cache.n : n], cache.v[:, :, cache.n : n] = k.mT, v
        cache.n = n
        keys, values = cache.k[..., :n].mT, cache.v[:, :, :n]
        bias = None if new == 1 else causal_lower_right(new, n)
        return self.out(F.scaled_dot_product_attention(q, keys, values, attn_mask=bias))
