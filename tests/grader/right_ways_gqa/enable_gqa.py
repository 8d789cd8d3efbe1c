import copy

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


class GroupedQueryAttention(nn.Module):
    def __init__(self, config, n_kv_head=2):
        if n_kv_head not in [g for g in range(1, config.n_head + 1) if config.n_head % g == 0]:
            raise ValueError("n_kv_head must divide n_head")
        super().__init__()
        self.cfg = config
        self.G = n_kv_head
        self.q = nn.Linear(config.n_embd, config.n_embd, False)
        self.kv = nn.Linear(config.n_embd, 2 * config.n_embd * n_kv_head // config.n_head, False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x):
        D = self.cfg.n_embd // self.cfg.n_head
        q, kv = (m(x).unflatten(-1, (-1, D)).transpose(1, 2) for m in (self.q, self.kv))
        k, v = kv.tensor_split(2, dim=1)
        p = self.drop.p * self.training
        y = scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p, enable_gqa=True)
        return self.drop(self.proj(y.transpose(1, 2).flatten(2)))


def group_heads(fused, config, n_kv_head=2):
    with torch.no_grad():
        new = GroupedQueryAttention(config, n_kv_head)
        new.proj = copy.deepcopy(fused.proj).requires_grad_(True)
        C, D = config.n_embd, config.head_size
        rows = fused.qkv.weight.double()
        new.q = nn.Linear(C, C, bias=False).to(fused.qkv.weight)
        new.q.weight.copy_(fused.qkv.weight[:C])
        # an averaging matrix (G, H), for keys and values at once
        mix = torch.eye(n_kv_head, dtype=rows.dtype, device=rows.device).repeat_interleave(config.n_head // n_kv_head, 1)
        mix = mix / mix.sum(1, keepdim=True)
        kv = torch.einsum("gh,phdc->pgdc", mix, rows[C:].view(2, config.n_head, D, C)).reshape(-1, C)
        new.kv = nn.Linear(C, len(kv), bias=False, device=kv.device, dtype=fused.qkv.weight.dtype)
        new.kv.weight.copy_(kv)
    new.proj.weight.grad = new.proj.bias.grad = None
    return new.train() if fused.training else new.eval()
