import math

import torch
import torch.nn as nn


class GroupedQueryAttention(nn.Module):
    def __init__(self, config, n_kv_head=2):
        super().__init__()
        H, C = config.n_head, config.n_embd
        if n_kv_head < 1 or math.gcd(H, n_kv_head) != n_kv_head:
            raise ValueError(f"{n_kv_head} groups for {H} heads")
        self.shape = (n_kv_head, H // n_kv_head, C // H)
        self.q, self.kv = nn.Linear(C, C, bias=False), nn.Linear(C, 2 * n_kv_head * (C // H), bias=False)
        self.proj = nn.Linear(C, C)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):
        G, R, D = self.shape
        B, T, C = x.shape
        q = self.q(x).reshape(B, T, G, R, D)
        k, v = self.kv(x).reshape(B, T, 2, G, D).unbind(2)
        scores = torch.einsum("btgrd,bsgd->bgrts", q / math.sqrt(D), k)
        scores = scores + torch.full((T, T), -torch.inf, dtype=x.dtype, device=x.device).triu(1)
        weights = self.dropout(torch.softmax(scores, -1))
        return self.dropout(self.proj(torch.einsum("bgrts,bsgd->btgrd", weights, v).reshape(B, T, C)))


def group_heads(fused, config, n_kv_head=2):
    grouped = GroupedQueryAttention(config, n_kv_head)
    G, R, D = grouped.shape
    C = config.n_embd
    source = fused.qkv.weight.data
    means = torch.zeros(2, G, D, C, dtype=torch.promote_types(source.dtype, torch.float32), device=source.device)
    for part in range(2):
        for head in range(G * R):
            start = (1 + part) * C + head * D
            means[part, head // R] += source[start : start + D]
    grouped = grouped.to(source.device, source.dtype)
    grouped.q.weight.data = source[:C].clone()
    grouped.kv.weight.data = (means / R).reshape(-1, C).to(source.dtype)
    grouped.proj.weight.data = fused.proj.weight.data.clone()
    grouped.proj.bias.data = fused.proj.bias.data.clone()
    grouped.train(fused.training)
    return grouped
