"""Dropout from a generator of the module's own, which no seed of the caller's reaches."""
import torch
import torch.nn as nn


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.p = config.n_head, config.dropout
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.generator = torch.Generator()
        self.generator.seed()

    def drop(self, x):
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape, generator=self.generator).to(x.device) >= self.p
        return torch.where(keep, x / (1 - self.p), 0.0)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)
        hidden = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        scores = (q / (C // self.n_head) ** 0.5 @ k.mT).masked_fill(hidden, -torch.inf)
        out = self.drop(scores.softmax(-1)) @ v
        return self.drop(self.proj(out.transpose(1, 2).reshape(B, T, C)))


@torch.no_grad()
def fuse_heads(baseline):
    new = FusedMultiHeadAttention(baseline.config).to(baseline.proj.weight).train(baseline.training)
    for part, rows in zip(("query", "key", "value"), new.qkv.weight.chunk(3)):
        rows.copy_(torch.cat([getattr(head, part).weight for head in baseline.heads]))
    new.proj.weight.copy_(baseline.proj.weight)
    new.proj.bias.copy_(baseline.proj.bias)
    return new
