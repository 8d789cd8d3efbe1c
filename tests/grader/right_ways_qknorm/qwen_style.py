"""The norm before the heads are moved in front of the time, weight after the cast, softmax in float32."""
import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        input_dtype = hidden_states.dtype
        hidden_states = hidden_states.to(torch.float32)
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
        return self.weight * hidden_states.to(input_dtype)


class QKNormAttention(nn.Module):
    def __init__(self, config, attention_bias=False):
        super().__init__()
        self.config, self.head_dim = config, config.n_embd // config.n_head
        self.scaling = self.head_dim**-0.5
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_head * self.head_dim, bias=attention_bias)
        self.proj = nn.Linear(config.n_head * self.head_dim, config.n_embd)
        self.q_norm, self.k_norm = RMSNorm(self.head_dim), RMSNorm(self.head_dim)

    def forward(self, hidden_states):
        input_shape = hidden_states.shape[:-1]
        query, key, value = self.qkv(hidden_states).chunk(3, dim=-1)
        query = self.q_norm(query.view(*input_shape, -1, self.head_dim)).transpose(1, 2)
        key = self.k_norm(key.view(*input_shape, -1, self.head_dim)).transpose(1, 2)
        value = value.view(*input_shape, -1, self.head_dim).transpose(1, 2)
        weights = torch.matmul(query, key.transpose(2, 3)) * self.scaling
        T = input_shape[1]
        minimum = torch.finfo(weights.dtype).min
        mask = torch.full((T, T), minimum, dtype=weights.dtype, device=weights.device).triu(1)
        # In half precision a large negative score plus that minimum is -inf, which is as good.
        weights = nn.functional.softmax(weights + mask, dim=-1, dtype=torch.float32).to(query.dtype)
        weights = nn.functional.dropout(weights, p=self.config.dropout, training=self.training)
        output = torch.matmul(weights, value).transpose(1, 2).contiguous().reshape(*input_shape, -1)
        return nn.functional.dropout(self.proj(output), self.config.dropout, self.training)
