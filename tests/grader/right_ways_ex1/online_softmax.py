"""Key blocks with a running maximum and a running sum, as FlashAttention does. Dropout needs the weights
themselves, so training takes the plain way."""
import torch
import torch.nn as nn
import torch.nn.functional as F

BLOCK = 4


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x):
        B, T, C = x.shape
        H, p = self.config.n_head, self.config.dropout
        q, k, v = self.qkv(x).view(B, T, 3, H, C // H).permute(2, 0, 3, 1, 4).unbind(0)
        q = q * (C // H) ** -0.5
        rows = torch.arange(T, device=x.device)[:, None]
        if self.training and p > 0:
            w = (q @ k.mT).masked_fill(rows < rows.T, -torch.inf).softmax(-1)
            y = F.dropout(w, p) @ v
            return F.dropout(self.proj(y.transpose(1, 2).flatten(2)), p)
        top = torch.full((B, H, T, 1), -1e30, device=x.device, dtype=x.dtype)
        total, y = torch.zeros_like(top), torch.zeros_like(q)
        for start in range(0, T, BLOCK):
            keys = slice(start, min(start + BLOCK, T))
            s = (q @ k[:, :, keys].mT).masked_fill(rows < rows.T[:, keys], -torch.inf)
            new = torch.maximum(top, s.amax(-1, keepdim=True))
            e, shrink = torch.exp(s - new), torch.exp(top - new)
            total, y, top = total * shrink + e.sum(-1, keepdim=True), y * shrink + e @ v[:, :, keys], new
        return self.proj((y / total).transpose(1, 2).flatten(2))


def fuse_heads(baseline):
    fused = FusedMultiHeadAttention(baseline.config).to(baseline.proj.weight)
    with torch.no_grad():
        rows = [m.weight for part in zip(*[(h.query, h.key, h.value) for h in baseline.heads]) for m in part]
        torch.cat(rows, out=fused.qkv.weight.data)
        fused.proj.weight.copy_(baseline.proj.weight), fused.proj.bias.copy_(baseline.proj.bias)
    fused.train(baseline.training)
    return fused
