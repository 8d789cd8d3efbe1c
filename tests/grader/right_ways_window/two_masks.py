"""The weights of all pairs first; what is hidden is then filled by torch.where, and masks are kept by length."""
import torch
from torch import nn


class SlidingWindowAttention(nn.Module):
    def __init__(self, config, window=64):
        super().__init__()
        if window < 1:
            raise ValueError("window < 1")
        self.H, self.D, self.window, self.masks = config.n_head, config.head_size, window, {}
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.drop = nn.Dropout(config.dropout)

    def seen(self, T, device):
        if (T, device) not in self.masks:
            causal = torch.ones(T, T, device=device).tril().bool()
            near = torch.ones(T, T, device=device).triu(1 - self.window).bool()
            self.masks[T, device] = causal.logical_and(near)
        return self.masks[T, device]

    def forward(self, x):
        qkv = torch.einsum("btc,khdc->kbhtd", x, self.qkv.weight.view(3, self.H, self.D, -1))
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = torch.einsum("bhqd,bhkd->bhqk", q * self.D**-0.5, k)
        nothing = torch.full_like(scores, float("-inf"))
        weights = torch.where(self.seen(x.shape[1], x.device), scores, nothing).softmax(dim=-1)
        out = torch.einsum("bhqk,bhkd->bqhd", self.drop(weights), v)
        return self.drop(self.proj(out.flatten(-2)))
