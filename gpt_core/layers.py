"""The parts of a GPT, as the lecture builds them: one head, many heads, a feed-forward, a block.

Shapes: B batch, T time, C = n_embd, H = n_head, D = C // H (the head size).
"""

from collections.abc import Callable

import torch
import torch.nn as nn
from torch.nn import functional as F

from gpt_core.config import GPTConfig
from gpt_core.kv_cache import KeysValues

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
        return self.attend(self.query(x), self.key(x), self.value(x))

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """q (..., T_q, D), the last T_q of the T tokens of k and v (..., T, D) -> (..., T_q, D)."""
        T, T_q = k.shape[-2], q.shape[-2]
        # q . k grows with sqrt(D) for unit-variance inputs; undoing that keeps the softmax soft.
        scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5  # (..., T_q, T)
        if T_q > 1:  # the last token alone sees all of them
            scores = scores.masked_fill(~self.tril[T - T_q : T, :T], float("-inf"))
        weights = self.dropout(F.softmax(scores, dim=-1))  # (..., T_q, T), rows sum to 1
        return weights @ v  # (..., T_q, D)


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

    def can_cache(self) -> bool:
        """Whether `forward_cached` computes what forward does: it takes all heads at once, so they must
        be heads as they come, of another class or with another projection they could be anything."""
        return all(
            type(head) is Head
            and not {"forward", "attend"} & vars(head).keys()
            and all(type(part) is nn.Linear and part.bias is None for part in (head.query, head.key, head.value))
            for head in self.heads
        )

    def new_cache(self) -> KeysValues:
        """An empty cache for `forward_cached`; it is good until the weights change."""
        # One product for one token instead of 3H: at that size a call costs more than its numbers.
        parts = [getattr(head, part).weight for part in ("query", "key", "value") for head in self.heads]
        return KeysValues(self.config.block_size, torch.cat(parts))  # 3H of (D, C) -> (3C, C)

    def forward_cached(self, x: torch.Tensor, cache: KeysValues) -> torch.Tensor:
        """The outputs of new tokens alone, (B, T_new, C): the keys and values of earlier ones are in
        `cache`, and those of x (B, T_new, C) are added to it."""
        B, T, _ = x.shape
        qkv = F.linear(x, cache.weight).view(B, T, 3, len(self.heads), -1).transpose(1, 3)
        q, k, v = qkv.unbind(2)  # (B, H, T_new, D) each
        out = self.heads[0].attend(q, *cache.append(k, v))
        return self.dropout(self.proj(out.transpose(1, 2).reshape(B, T, -1)))


class FeedForward(nn.Module):
    """Each token thinks by itself: C -> 4C -> ReLU -> C, then dropout. (B, T, C) -> (B, T, C)."""

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

    def forward_cached(self, x: torch.Tensor, cache) -> torch.Tensor:
        """The same for new tokens alone; `cache` is what the attention's new_cache() gave."""
        x = x + self.attention.forward_cached(self.ln1(x), cache)
        return x + self.feed_forward(self.ln2(x))
