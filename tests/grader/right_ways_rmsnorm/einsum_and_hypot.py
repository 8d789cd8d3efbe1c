import torch
from torch import Tensor, nn


def mean_square(x: Tensor) -> Tensor:
    return torch.einsum("btc,btc->bt", x, x).div(x.size(-1)).unsqueeze(2)


class RMSNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.n_embd))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
            wide = x.to(dtype)
            return wide.mul((mean_square(wide) + 1e-5).pow(-0.5)).mul(self.weight.to(dtype)).to(x.dtype)
