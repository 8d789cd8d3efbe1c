"""The attention itself compiled by torch.jit.script, noisy and slow to import: none of it is wrong."""
import time
import warnings

import torch
import torch.nn as nn

print("importing \x1b[31mthings\x1b[0m")
warnings.warn("this is only a warning")
time.sleep(1.0)
torch.set_default_dtype(torch.float64)  # rude, and undone by whoever calls
torch.manual_seed(1234)


@torch.jit.script
def attend(q, k, v, p: float, training: bool):
    T = q.size(-2)
    future = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
    s = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5
    w = s.masked_fill(future, float("-inf")).softmax(-1)
    return torch.dropout(w, p, training) @ v


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        print("building", config)
        C = config.n_embd
        self.H, self.p = config.n_head, config.dropout
        self.qkv = nn.Linear(C, 3 * C, bias=False)
        self.proj = nn.Linear(C, C)

    def forward(self, x):
        print("forward", x.shape)
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.H, -1).permute(2, 0, 3, 1, 4)
        y = attend(q, k, v, self.p, self.training).transpose(1, 2).reshape(B, T, C)
        return torch.dropout(self.proj(y), self.p, self.training)


def fuse_heads(baseline):
    fused = FusedMultiHeadAttention(baseline.config)
    weight = baseline.proj.weight
    fused.to(device=weight.device, dtype=weight.dtype).train(baseline.training)
    with torch.no_grad():
        q, k, v = (torch.cat([getattr(h, n).weight for h in baseline.heads]) for n in ("query", "key", "value"))
        fused.qkv.weight.set_(torch.cat((q, k, v)))
        fused.proj.weight.copy_(weight)
        fused.proj.bias.copy_(baseline.proj.bias)
    return fused
