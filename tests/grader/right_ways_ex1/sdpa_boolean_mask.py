"""SDPA with a boolean mask; the weights are bare Parameters in small holders of their own."""
import torch
from torch import nn


class Weights(nn.Module):
    def __init__(self, rows, columns, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns) * 0.02)
        if bias:
            self.bias = nn.Parameter(torch.zeros(rows))


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, config):
        nn.Module.__init__(self)
        self.config = config
        self.qkv = Weights(3 * config.n_embd, config.n_embd, False)
        self.proj = Weights(config.n_embd, config.n_embd, True)

    def forward(self, x):
        B, T, C = x.shape
        H = self.config.n_head
        qkv = torch.einsum("btc,rc->btr", x, self.qkv.weight)
        qkv = qkv.reshape(B, T, 3, H, C // H).permute(2, 0, 3, 1, 4)
        allowed = torch.arange(T, device=x.device)[:, None] >= torch.arange(T, device=x.device)
        y = nn.functional.scaled_dot_product_attention(
            *qkv, attn_mask=allowed, dropout_p=self.config.dropout * self.training
        )
        y = y.permute(0, 2, 1, 3).reshape(B, T, C)
        return nn.functional.dropout(y @ self.proj.weight.t() + self.proj.bias, self.config.dropout, self.training)


@torch.no_grad()
def fuse_heads(baseline):
    fused = FusedMultiHeadAttention(baseline.config).to(next(baseline.parameters()))
    parts = [torch.stack([getattr(h, part).weight for h in baseline.heads]) for part in ["query", "key", "value"]]
    fused.qkv.weight[:] = torch.stack(parts).flatten(0, 2)
    fused.proj.weight[:] = baseline.proj.weight
    fused.proj.bias[:] = baseline.proj.bias
    fused.training = baseline.training
    for m in fused.modules():
        m.train(baseline.training)
    return fused
