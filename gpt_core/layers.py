"""The parts of a GPT, as the lecture builds them: one head, many heads, a feed-forward, a block.

Shapes: B batch, T time, C = n_embd, H = n_head, D = C // H (the head size).
"""

from collections.abc import Callable

import torch
import torch.nn as nn
from torch.nn import functional as F

from gpt_core.config import GPTConfig

# What a plug-in point takes: anything that builds a module from the config.
Factory = Callable[[GPTConfig], nn.Module]


class Head(nn.Module):
    """One head of causal self-attention: (B, T, C) -> (B, T, D) for any T <= block_size.

    softmax(q k^T / sqrt(D)) v, each token over itself and the tokens before it
    (Vaswani et al. 2017, arXiv 1706.03762, eq. 1); dropout on the attention weights.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.key = nn.Linear(config.n_embd, config.head_size, bias=False)
        self.query = nn.Linear(config.n_embd, config.head_size, bias=False)
        self.value = nn.Linear(config.n_embd, config.head_size, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        # A buffer moves with the module; non-persistent, since a constant has no place in a checkpoint.
        ones = torch.ones(config.block_size, config.block_size, dtype=torch.bool)
        self.register_buffer("tril", torch.tril(ones), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        T = x.shape[-2]
        q, k, v = self.query(x), self.key(x), self.value(x)  # (B, T, D) each
        # q . k grows with sqrt(D) for unit-variance inputs; undoing that keeps the softmax soft.
        scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5  # (B, T, T)
        scores = scores.masked_fill(~self.tril[:T, :T], float("-inf"))
        weights = self.dropout(F.softmax(scores, dim=-1))  # (B, T, T), rows sum to 1
        return weights @ v  # (B, T, D)


class MultiHeadAttention(nn.Module):
    """H heads side by side, then a projection: (B, T, C) -> (B, T, C) for any T <= block_size.

    `config` is the GPTConfig that it was built from.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.heads = nn.ModuleList(Head(config) for _ in range(config.n_head))
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.cat([head(x) for head in self.heads], dim=-1)  # (B, T, C), head after head
        return self.dropout(self.proj(out))


class FeedForward(nn.Module):
    """Applied to each token alone: C -> 4C -> ReLU -> C, then dropout. (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(config.n_embd, 4 * config.n_embd),
            nn.ReLU(),
            nn.Linear(4 * config.n_embd, config.n_embd),
            nn.Dropout(config.dropout),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def layer_norm(config: GPTConfig) -> nn.Module:
    """The default `norm`: LayerNorm over the C channels of each token."""
    return nn.LayerNorm(config.n_embd)


def no_norm(config: GPTConfig) -> nn.Module:
    """A `norm` that does nothing, for the rung of the ladder that has none yet."""
    return nn.Identity()


class Block(nn.Module):
    """Communication, then computation, each added to the residual stream. (B, T, C) -> (B, T, C).

    Pre-norm: the norm stands before each part and not after the sum, so the residual stream runs
    from the embedding to the head untouched and deep stacks train without warm-up tricks
    (Xiong et al. 2020, arXiv 2002.04745).

    attention, norm, feed_forward: factories, each called with the config.
    """

    def __init__(
        self,
        config: GPTConfig,
        *,
        attention: Factory = MultiHeadAttention,
        norm: Factory = layer_norm,
        feed_forward: Factory = FeedForward,
    ):
        super().__init__()
        self.ln1 = norm(config)
        self.attention = attention(config)
        self.ln2 = norm(config)
        self.feed_forward = feed_forward(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.ln1(x))
        return x + self.feed_forward(self.ln2(x))
