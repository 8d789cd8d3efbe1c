import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, config, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.n_embd))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        input_dtype = hidden_states.dtype
        hidden_states = hidden_states.to(torch.float32)
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
        return self.weight * hidden_states.to(input_dtype)
