import math
import torch
import torch.nn as nn
from torch.nn import functional as F


class FusedMultiHeadAttention(nn.Module):

    def __init__(self, config):
        super().__init__()
        assert config.n_embd % config.n_head == 0
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=True)
        self.attn_dropout = nn.Dropout(config.dropout)
        self.resid_dropout = nn.Dropout(config.dropout)
        self.n_head = config.n_head
        self.n_embd = config.n_embd
        # persistent, and four-dimensional: buffers are free
        self.register_buffer("bias", torch.tril(torch.ones(config.block_size, config.block_size))
                             .view(1, 1, config.block_size, config.block_size))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.qkv(x).split(self.n_embd, dim=2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float('-inf'))
        att = F.softmax(att, dim=-1)
        att = self.attn_dropout(att)
        y = att @ v
        y = y.transpose(1, 2).contiguous().view(B, T, C)
        return self.resid_dropout(self.proj(y))


def fuse_heads(baseline):
    fused = FusedMultiHeadAttention(baseline.config)
    state = {
        "qkv.weight": torch.cat([getattr(h, n).weight for n in ("query", "key", "value") for h in baseline.heads]),
        "proj.weight": baseline.proj.weight,
        "proj.bias": baseline.proj.bias,
    }
    fused.load_state_dict({k: v.detach().clone() for k, v in state.items()}, strict=False)
    fused = fused.to(device=baseline.proj.weight.device, dtype=baseline.proj.weight.dtype)
    with torch.no_grad():
        for name, p in fused.named_parameters():
            p.copy_(state[name])
    return fused.train() if baseline.training else fused.eval()
