"""A boolean band mask made in forward by tril and triu, handed to torch's attention."""
import torch
from torch import nn
from torch.nn import functional as F


class SlidingWindowAttention(nn.Module):
    def __init__(self, config, window=64):
        if window <= 0:
            raise ValueError("window must be positive")
        super().__init__()
        self.n_head, self.p, self.window = config.n_head, config.dropout, window
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (m.view(B, T, self.n_head, -1).transpose(1, 2) for m in self.qkv(x).split(C, dim=2))
        band = torch.ones(T, T, dtype=torch.bool, device=x.device).tril().triu(-(self.window - 1))
        p = self.p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=band, dropout_p=p)
        return F.dropout(self.proj(y.transpose(1, 2).reshape(B, T, C)), self.p, self.training)
