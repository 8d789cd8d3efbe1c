"""Tables of cos and sin made once, kept out of the reach of .to(dtype), and made longer when that is needed."""
import torch
import torch.nn as nn
from torch.nn import functional as F


def rope_angles(positions, head_size, base=10000.0):
    if head_size % 2:
        raise ValueError(f"head_size must be even, not {head_size}")
    return positions.float().view(-1, 1) / base ** torch.linspace(0, 1, head_size // 2 + 1, device=positions.device)[:-1]


def turn(x, cos, sin):
    even, odd = x.float().unflatten(-1, (-1, 2)).movedim(-1, 0)
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).reshape(x.shape).to(x.dtype)


def apply_rope(x, angles):
    return turn(x, torch.cos(angles), torch.sin(angles))


class Table(nn.Module):
    def __init__(self, length, size):
        super().__init__()
        self.size = size
        self.fill(length, "cpu")

    def fill(self, length, device):
        angles = rope_angles(torch.arange(length, device=device), self.size)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def _apply(self, fn, recurse=True):
        # Moves with the module, and stays float32.
        super()._apply(fn, recurse)
        self.fill(len(self.cos), self.cos.device)
        return self

    def forward(self, q, k, offset):
        end = offset + q.shape[-2]
        if end > len(self.cos):
            self.fill(2 * end, q.device)
        cos, sin = self.cos[offset:end], self.sin[offset:end]
        return turn(q, cos, sin), turn(k, cos, sin)


class RotaryAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.table = Table(config.block_size, config.head_size)

    def forward(self, x, offset=0):
        B, T, C = x.shape
        q, k, v = self.qkv(x).reshape(B, T, 3 * self.config.n_head, -1).transpose(1, 2).chunk(3, dim=1)
        q, k = self.table(q, k, offset)
        p = self.config.dropout if self.training else 0
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p)
        return F.dropout(self.proj(y.transpose(1, 2).reshape(B, T, C)), p)
