import torch
from torch import nn
from torch.nn import functional as F


def repeat_kv(hidden_states, n_rep):
    batch, kv_heads, slen, head_dim = hidden_states.shape
    if n_rep == 1:
        return hidden_states
    hidden_states = hidden_states[:, :, None, :, :].expand(batch, kv_heads, n_rep, slen, head_dim)
    return hidden_states.reshape(batch, kv_heads * n_rep, slen, head_dim)


class GroupedQueryAttention(nn.Module):
    def __init__(self, config, n_kv_head=2):
        super().__init__()
        self.n_local_heads, self.n_local_kv_heads = config.n_head, n_kv_head
        if n_kv_head <= 0 or self.n_local_heads // n_kv_head * n_kv_head != self.n_local_heads:
            raise ValueError(f"{n_kv_head=} and {config.n_head=} do not go together")
        self.head_dim = config.n_embd // config.n_head
        self.p = config.dropout
        self.q = nn.Linear(config.n_embd, config.n_head * self.head_dim, bias=False)
        self.kv = nn.Linear(config.n_embd, n_kv_head * self.head_dim * 2, bias=False)
        self.proj = nn.Linear(config.n_head * self.head_dim, config.n_embd, bias=True)

    def forward(self, x):
        bsz, seqlen, _ = x.shape
        xq = self.q(x).view(bsz, seqlen, self.n_local_heads, self.head_dim).transpose(1, 2)
        xk, xv = self.kv(x).chunk(2, dim=-1)
        xk = xk.reshape(bsz, seqlen, self.n_local_kv_heads, self.head_dim).transpose(1, 2)
        xv = xv.reshape(bsz, seqlen, self.n_local_kv_heads, self.head_dim).transpose(1, 2)
        n_rep = self.n_local_heads // self.n_local_kv_heads
        keys, values = repeat_kv(xk, n_rep), repeat_kv(xv, n_rep)
        p = self.p if self.training else 0.0
        out = F.scaled_dot_product_attention(xq, keys, values, dropout_p=p, is_causal=True)
        return F.dropout(self.proj(out.transpose(1, 2).contiguous().view(bsz, seqlen, -1)), self.p, self.training)


def group_heads(fused, config, n_kv_head=2):
    state = {name: value.detach() for name, value in fused.named_parameters()}
    q, k, v = state.pop("qkv.weight").chunk(3)
    acc = torch.float64
    mean = [m.to(acc).unflatten(0, (n_kv_head, -1, config.head_size)).mean(1).flatten(0, 1) for m in (k, v)]
    state |= {"q.weight": q, "kv.weight": torch.cat(mean).to(q.dtype)}
    out = GroupedQueryAttention(config, n_kv_head=n_kv_head).to(device=q.device, dtype=q.dtype)
    out.load_state_dict(state)
    return out.train(mode=fused.training)
