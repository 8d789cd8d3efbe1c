import torch
import torch.nn as nn
from torch.nn import functional as F


class CachedAttention(nn.Module):
    """GPT-2 as a library has it: a pair of tensors that is joined anew in each call."""

    def __init__(self, config):
        super().__init__()
        self.n_head, self.block_size, self.p = config.n_head, config.block_size, config.dropout
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)

    def new_cache(self):
        return []

    def forward_cached(self, x, cache):
        return self._attn(x, cache)

    def forward(self, x):
        return self._attn(x, [])

    def _attn(self, hidden_states, layer_past):
        past = layer_past[0].size(-2) if layer_past else 0
        bsz, q_len, width = hidden_states.size()
        if past + q_len > self.block_size:
            raise ValueError(f"{past} + {q_len} tokens exceed the context of {self.block_size}")
        query, key, value = (
            t.unflatten(-1, (self.n_head, -1)).transpose(1, 2)
            for t in self.qkv(hidden_states).split(width, dim=2)
        )
        if layer_past:
            key, value = torch.cat([layer_past[0], key], dim=-2), torch.cat([layer_past[1], value], dim=-2)
        layer_past[:] = key, value
        mask = torch.ones(q_len, past + q_len, dtype=torch.bool, device=key.device).tril(past)
        p = self.p if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=p)
        return F.dropout(self.proj(out.transpose(1, 2).reshape(bsz, q_len, width)), self.p, self.training)
