import torch as t
import torch.nn as nn


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.d = config.n_head, config.n_embd // config.n_head
        self.qkv, self.proj = nn.Linear(config.n_embd, 3 * config.n_embd, False), nn.Linear(config.n_embd, config.n_embd)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x):
        w = self.qkv.weight.view(3, self.n_head, self.d, -1)
        q, k, v = t.einsum("btc,khdc->kbhtd", x, w)
        s = t.einsum("bhqd,bhkd->bhqk", q, k) / self.d**0.5
        T = x.shape[1]
        s = s + t.full((T, T), float("-inf"), device=x.device, dtype=x.dtype).triu(1)
        a = self.drop(s.softmax(-1))
        o = t.einsum("bhqk,bhkd->bqhd", a, v)
        p = self.proj.weight.view(-1, self.n_head, self.d)
        return self.drop(t.einsum("bqhd,chd->bqc", o, p) + self.proj.bias)


def fuse_heads(baseline):
    m = FusedMultiHeadAttention(baseline.config)
    m.to(device=baseline.proj.bias.device, dtype=baseline.proj.bias.dtype)
    D = m.d
    C = baseline.config.n_embd
    with t.no_grad():
        for i, head in enumerate(baseline.heads):
            m.qkv.weight[i * D:(i + 1) * D] = head.query.weight
            m.qkv.weight[C + i * D:C + (i + 1) * D] = head.key.weight
            m.qkv.weight[2 * C + i * D:2 * C + (i + 1) * D] = head.value.weight
    m.proj.load_state_dict(baseline.proj.state_dict())
    return m.train(mode=baseline.training)
