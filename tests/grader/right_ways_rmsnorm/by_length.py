import torch
from torch import nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        C = cfg.n_embd
        self.register_parameter("weight", nn.Parameter(torch.full((C,), 1.0)))
        self.register_buffer("floor", torch.tensor((1e-5 * C) ** 0.5, dtype=torch.float64), persistent=False)

    def forward(self, x):
        B, T, C = x.shape
        wide = x.double().reshape(B * T, C)
        floor = torch.full((B * T, 1), float(self.floor), dtype=wide.dtype, device=x.device)
        length = torch.linalg.vector_norm(torch.cat([wide, floor], dim=1), dim=1, keepdim=True)
        out = F.linear(wide / length, torch.diag(self.weight.double())) * C**0.5
        return out.view(B, T, C).to(x.dtype)
