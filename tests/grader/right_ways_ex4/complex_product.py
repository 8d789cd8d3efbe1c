import torch
import torch.nn as nn
import torch.nn.functional as F


def rope_angles(positions, head_size, base=10000.0):
    if head_size % 2 != 0:
        raise ValueError("odd")
    freqs = 1.0 / (base ** (torch.arange(0, head_size, 2, device=positions.device)[: (head_size // 2)].float() / head_size))
    return torch.outer(positions.float(), freqs)


def apply_rope(x, angles):
    freqs_cis = torch.polar(torch.ones_like(angles), angles)
    x_ = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(x_ * freqs_cis).flatten(-2).type_as(x)


class RotaryAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.H = config.n_head
        self.D = config.n_embd // config.n_head
        if self.D % 2:
            raise ValueError(f"head size {self.D} is odd")
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.p = config.dropout

    def forward(self, x, offset=0):
        B, T, C = x.size()
        q, k, v = self.qkv(x).view(B, T, 3, self.H, self.D).permute(2, 0, 3, 1, 4)
        a = rope_angles(torch.arange(T, device=x.device) + offset, self.D)
        q, k = apply_rope(q, a), apply_rope(k, a)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.p if self.training else 0.0)
        y = y.transpose(1, 2).reshape(B, T, C)
        return F.dropout(self.proj(y), self.p, self.training)
