"""exp and sum by hand, a multiplied mask after exp, scale shared out between queries and keys."""
import torch
from torch.nn import Dropout, Linear, Module


class FusedMultiHeadAttention(Module):
    def __init__(self, config):
        super().__init__()
        self.H = config.n_head
        self.qkv = Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = Linear(config.n_embd, config.n_embd)
        self.dropout = Dropout(config.dropout)
        self.out_dropout = Dropout(config.dropout)

    def forward(self, x):
        B, T, C = x.shape
        D = C // self.H
        q, k, v = self.qkv(x).tensor_split(3, dim=-1)
        split = lambda m: m.reshape(B, T, self.H, D).swapdims(1, 2)
        q, k, v = split(q * D ** -0.25), split(k * D ** -0.25), split(v)
        seen = torch.ones(T, T, device=x.device, dtype=torch.bool).tril()
        s = torch.matmul(q, k.mT)
        top = s.where(seen, s.new_tensor(-torch.inf)).amax(-1, keepdim=True).detach()
        e = torch.where(seen, s - top, s.new_tensor(-torch.inf)).exp()
        w = e / e.sum(-1, keepdim=True)
        y = torch.matmul(self.dropout(w), v)
        return self.out_dropout(self.proj(torch.cat(torch.unbind(y, 1), -1)))


def fuse_heads(baseline):
    fused = FusedMultiHeadAttention(baseline.config)
    reference = baseline.proj.weight
    fused = fused.to(dtype=reference.dtype, device=reference.device)
    names = ["query", "key", "value"]
    for p, name in zip(fused.qkv.weight.data.chunk(3), names):
        for q, head in zip(p.chunk(len(baseline.heads)), baseline.heads):
            q.copy_(getattr(head, name).weight.data)
    fused.proj.weight.data.copy_(reference.data)
    fused.proj.bias.data.copy_(baseline.proj.bias.data)
    fused.train(baseline.training)
    return fused
