"""Both gains and the scale in one factor, on queries of length sqrt(D); scores by einsum, in float32."""
import torch
from torch import nn


class Gain(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.weight = nn.Parameter(torch.full((D,), 1.0))


def directions(m):
    wide = m.double() if m.dtype == torch.float64 else m.float()
    return wide / torch.sqrt((wide * wide).mean(-1, keepdim=True) + 1e-6)


class QKNormAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.D = config.n_head, config.head_size
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.k_norm, self.q_norm = Gain(self.D), Gain(self.D)
        self.drops = nn.ModuleList([nn.Dropout(config.dropout), nn.Dropout(config.dropout)])
        self.register_buffer("steps", torch.arange(config.block_size))

    def forward(self, x):
        T = x.size(1)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_head, self.D)).unbind(2)  # (B, T, H, D)
        q, k = directions(q), directions(k)
        gain = (self.q_norm.weight.to(q) * self.k_norm.weight.to(q)) / self.D**0.5
        scores = torch.einsum("bthd,bshd->bhts", q * gain, k)
        at = self.steps[:T]
        scores = scores.where(at[:, None] >= at, -torch.inf)
        weights = self.drops[0]((scores - scores.amax(-1, keepdim=True)).softmax(-1).to(x.dtype))
        return self.drops[1](self.proj(torch.einsum("bhts,bshd->bthd", weights, v).flatten(2)))
