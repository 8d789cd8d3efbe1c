import torch
import torch.nn as nn
from torch.nn import functional as F


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)

    @torch.compile(dynamic=True)
    def forward(self, x):
        p = self.config.dropout if self.training else 0.0
        heads = self.qkv(x).unflatten(-1, (3, self.config.n_head, -1))  # (B, T, 3, H, D)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return F.dropout(self.proj(mixed.movedim(1, 2).flatten(-2)), p)


def fuse_heads(baseline):
    fused = FusedMultiHeadAttention(baseline.config).to(baseline.proj.weight)
    for name in ("query", "key", "value"):
        rows = torch.cat([getattr(head, name).weight.data for head in baseline.heads])
        start = ("query", "key", "value").index(name) * len(rows)
        fused.qkv.weight.data[start : start + len(rows)] = rows
    fused.proj.weight.data.copy_(baseline.proj.weight.data)
    fused.proj.bias.data.copy_(baseline.proj.bias.data)
    return fused.train(baseline.training)
