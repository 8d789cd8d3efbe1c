"""The lecture's ladder, from bigram to GPT: each model adds one idea to the one before it.

Every model takes idx (B, T) long, and optionally targets (B, T) long, and returns
(logits (B, T, V), loss). The loss is None without targets.
"""

from dataclasses import replace

import torch
import torch.nn as nn
from torch.nn import functional as F

from gpt_core.config import GPTConfig
from gpt_core.layers import Block, Factory, FeedForward, Head, MultiHeadAttention, layer_norm, no_norm

IGNORED = -1  # a target that carries no loss


def next_token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy, in nats, over the targets that are not -1; 0 where there is none.

    logits (B, T, V), targets (B, T) long -> scalar.
    """
    losses = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )
    # reduction="mean" would divide 0 by 0 when every target is ignored.
    return losses / (targets != IGNORED).sum().clamp(min=1)


def init_weights(module: nn.Module) -> None:
    """GPT-2's initialisation: small weights, so that the first logits are near 0 and the first loss
    near ln(V), the loss of uniform predictions (Radford et al. 2019)."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, mean=0.0, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class LanguageModel(nn.Module):
    """What all rungs share: a rung defines how tokens become logits, this class how logits become a loss."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config

    def logits(self, idx: torch.Tensor) -> torch.Tensor:
        """idx (B, T) long -> logits (B, T, V)."""
        raise NotImplementedError("a rung of the ladder defines logits(idx)")

    def forward(self, idx: torch.Tensor, targets: torch.Tensor | None = None):
        if idx.shape[1] > self.config.block_size:
            raise ValueError(
                f"idx has T = {idx.shape[1]} tokens; this model takes 1 to block_size = "
                f"{self.config.block_size}: pass idx[:, -block_size:], or build it with a larger block_size."
            )
        logits = self.logits(idx)
        return logits, None if targets is None else next_token_loss(logits, targets)


class BigramLM(LanguageModel):
    """Rung 1: the next token from this token alone, a table of V x V logits."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.token_embedding_table = nn.Embedding(config.vocab_size, config.vocab_size)
        self.apply(init_weights)

    def logits(self, idx):
        return self.token_embedding_table(idx)  # (B, T, V)


class _Embedded(LanguageModel):
    """Tokens and positions to vectors of C channels, `body` over them, and a linear map to logits."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.token_embedding_table = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding_table = nn.Embedding(config.block_size, config.n_embd)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) -> (B, T, C)."""
        raise NotImplementedError("a rung of the ladder defines body(x)")

    def embed(self, idx: torch.Tensor, first: int = 0) -> torch.Tensor:
        """idx (B, T) long, its tokens at the positions first, first + 1, ... -> (B, T, C)."""
        x = self.token_embedding_table(idx)  # (B, T, C)
        if self.position_embedding_table is not None:
            # Attention alone sees a set, not a sequence: without this the order of the tokens is lost.
            positions = torch.arange(first, first + idx.shape[1], device=idx.device)
            x = x + self.position_embedding_table(positions)  # (T, C), the same for every sequence
        return x

    def logits(self, idx):
        return self.lm_head(self.body(self.embed(idx)))  # (B, T, V)


class SingleHeadLM(_Embedded):
    """Rung 2: tokens talk to each other, through one head as wide as the model."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.sa_head = Head(replace(config, n_head=1))
        self.apply(init_weights)

    def body(self, x):
        return self.sa_head(x)


class MultiHeadLM(_Embedded):
    """Rung 3: several conversations at once, at the same width."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.sa_heads = MultiHeadAttention(config)
        self.apply(init_weights)

    def body(self, x):
        return self.sa_heads(x)


class TransformerLM(_Embedded):
    """Rung 4: blocks of attention and feed-forward, stacked on a residual stream, still without norms."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.blocks = nn.Sequential(*(Block(config, norm=no_norm) for _ in range(config.n_layer)))
        self.apply(init_weights)

    def body(self, x):
        return self.blocks(x)


class GPT(_Embedded):
    """Rung 5: norms, so that it can be deep; and every part can be exchanged for one of your own.

    attention, norm, feed_forward: factories, each called with the config, for each Block (and `norm`
    once more for `ln_f`). position_embedding=False leaves the position table out (it is None then),
    for an attention that encodes positions itself, such as RoPE.

    Linear and Embedding weights, those of exchanged parts included, are drawn by `init_weights`.
    """

    def __init__(
        self,
        config: GPTConfig,
        *,
        attention: Factory = MultiHeadAttention,
        norm: Factory = layer_norm,
        feed_forward: Factory = FeedForward,
        position_embedding: bool = True,
    ):
        super().__init__(config)
        if not position_embedding:
            self.position_embedding_table = None
        self.blocks = nn.Sequential(
            *(
                Block(config, attention=attention, norm=norm, feed_forward=feed_forward)
                for _ in range(config.n_layer)
            )
        )
        self.ln_f = norm(config)
        self.apply(init_weights)

    def body(self, x):
        return self.ln_f(self.blocks(x))
