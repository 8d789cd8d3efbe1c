import torch
import torch.nn as nn


class RMSNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.eps, self.weight = 1e-5, nn.Parameter(torch.empty(config.n_embd))
        nn.init.ones_(self.weight)

    def _norm(self, x):
        return x / torch.sqrt(torch.mean(x * x, dim=-1, keepdim=True) + self.eps)

    def forward(self, x):
        return (self._norm(x.float()) * self.weight.float()).type_as(x)
