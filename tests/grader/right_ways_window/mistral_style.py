"""An additive mask out of positions, as in HF's models: the smallest number of the dtype, softmax in float32."""
import torch
from torch import nn


class SlidingWindowAttention(nn.Module):
    def __init__(self, config, window: int = 64):
        super().__init__()
        self.config, self.sliding_window = config, window
        if self.sliding_window < 1:
            raise ValueError(f"`window` has to be at least 1, but is {window}.")
        self.head_dim = config.n_embd // config.n_head
        self.qkv = nn.Linear(config.n_embd, config.n_embd * 3, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=True)

    def _mask(self, length, dtype, device):
        positions = torch.arange(length, device=device)
        reverse = positions[None, :] - positions[:, None]
        allowed = (reverse <= 0) & (reverse > -self.sliding_window)
        mask = torch.zeros(length, length, dtype=dtype, device=device)
        return mask.masked_fill(~allowed, torch.finfo(dtype).min)

    def forward(self, hidden_states):
        bsz, q_len, _ = hidden_states.size()
        states = self.qkv(hidden_states).view(bsz, q_len, 3, -1, self.head_dim).transpose(1, 3)
        query_states, key_states, value_states = states.unbind(2)
        weights = query_states @ key_states.mT / self.head_dim**0.5
        # Far below 0 a score plus that number is -inf, which is as good: the diagonal always stays.
        weights = weights + self._mask(q_len, weights.dtype, weights.device)
        weights = torch.softmax(weights, dim=-1, dtype=torch.float32).to(query_states.dtype)
        weights = nn.functional.dropout(weights, self.config.dropout, self.training)
        output = (weights @ value_states).transpose(1, 2).flatten(2)
        return nn.functional.dropout(self.proj(output), p=self.config.dropout, training=self.training)
