"""Keys and values of the tokens so far, so that generating a token computes that token alone.

A token's key and value depend on the tokens before it only, so they never change while the text
grows at its end: what a step without a cache computes anew for T tokens is looked up here.

    cache = KVCache(model)
    cache.logits(prompt)    of all its tokens, (B, T, V)
    cache.logits(token)     of one more token, (B, 1, V)

The lecture's MultiHeadAttention needs nothing for it. An attention of your own supports the cache by two
methods beside forward: `new_cache()` gives it an empty one of any kind, and `forward_cached(x, cache)` takes
the new tokens alone and keeps in `cache` what the next call needs. With forward(x) alone it works as before,
without a cache.
"""

import torch
import torch.nn as nn
from torch.nn import functional as F

from gpt_core.layers import Block, Head, MultiHeadAttention
from gpt_core.models import GPT, LanguageModel


class KVCache:
    """A model for tokens that come one after the other; `length` tokens are in it.

    It is good until the weights change. Only for a model that `supports_cache` accepts.
    """

    def __init__(self, model: GPT):
        self.model = model
        self.attentions = [cache_of(block.attention) for block in model.blocks]
        self.length = 0

    def logits(self, idx: torch.Tensor) -> torch.Tensor:
        """The logits of new tokens alone: idx (B, T_new) long, the tokens that follow those in the cache,
        -> (B, T_new, V); they are added to it.

        Together they may be at most block_size tokens, else ValueError.
        """
        model, count = self.model, idx.shape[1]
        if self.length + count > model.config.block_size:
            raise ValueError(
                f"the cache holds {self.length} tokens and gets {count} more; this model takes at most "
                f"block_size = {model.config.block_size}: begin a new cache with the last tokens."
            )
        x = model.embed(idx, first=self.length)  # (B, T_new, C)
        self.length += count
        # As GPT.body and Block.forward, which have no cache.
        for block, attention in zip(model.blocks, self.attentions):
            x = x + attention.outputs(block.ln1(x))
            x = x + block.feed_forward(block.ln2(x))
        return model.lm_head(model.ln_f(x))


class HeadsCache:
    """The lecture's MultiHeadAttention for new tokens alone."""

    def __init__(self, attention: MultiHeadAttention):
        self.attention = attention
        self.length = 0
        # One product for one token instead of 3H: at that size a call costs more than its numbers.
        parts = [getattr(head, part).weight for part in ("query", "key", "value") for head in attention.heads]
        self.weight = torch.cat(parts)  # 3H of (D, C) -> (3C, C)

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T_new, C), which is added to the cache, -> the outputs of these tokens, (B, T_new, C)."""
        B, T_new, C = x.shape
        head = self.attention.heads[0]  # the mask and the dropout of all heads are alike
        qkv = F.linear(x, self.weight).view(B, T_new, 3, len(self.attention.heads), -1)
        q, k, v = qkv.transpose(1, 3).unbind(2)  # (B, H, T_new, D) each
        k, v = self._append(k, v)  # (B, H, T, D) each, of all tokens so far
        T = k.shape[2]
        scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5  # (B, H, T_new, T)
        if T_new > 1:  # the last token alone sees all of them
            scores = scores.masked_fill(~head.tril[T - T_new : T, :T], float("-inf"))
        weights = head.dropout(F.softmax(scores, dim=-1))
        out = (weights @ v).transpose(1, 2).reshape(B, T_new, C)  # head after head
        return self.attention.dropout(self.attention.proj(out))

    def _append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.length == 0:
            B, H, _, D = k.shape
            # All room at once: growing by concatenation would copy the whole cache for every token.
            self.keys = k.new_empty(B, H, self.attention.config.block_size, D)
            self.values = torch.empty_like(self.keys)
        end = self.length + k.shape[2]
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class OwnCache:
    """An attention of your own for new tokens alone, by the two methods that it has for that."""

    def __init__(self, attention: nn.Module):
        self.attention, self.cache = attention, attention.new_cache()

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """As HeadsCache.outputs."""
        return self.attention.forward_cached(x, self.cache)


def cache_of(attention: nn.Module) -> HeadsCache | OwnCache:
    """An empty cache for an attention that `can_use_cache` accepts."""
    return OwnCache(attention) if _has_methods_for_it(attention) else HeadsCache(attention)


def supports_cache(model: LanguageModel) -> bool:
    """Whether a model can generate with a cache and give the very tokens that it gives without.

    It can where it is a GPT that computes as written in models.py and layers.py, with attentions that can.
    """
    return _computes_as(GPT, model, "forward", "logits", "embed", "body") and all(
        _computes_as(Block, block, "forward") and can_use_cache(block.attention) for block in model.blocks
    )


def can_use_cache(attention: nn.Module) -> bool:
    """Whether an attention is the lecture's, or has the two methods for the cache."""
    return _has_methods_for_it(attention) or _is_the_lectures(attention)


def _is_the_lectures(attention: nn.Module) -> bool:
    """All heads are computed at once, so they must be plain Heads: one of another class, or with another
    projection, may compute something else."""
    return _computes_as(MultiHeadAttention, attention, "forward") and all(
        type(head) is Head
        and _computes_as(Head, head, "forward")
        and all(type(part) is nn.Linear and part.bias is None for part in (head.query, head.key, head.value))
        for head in attention.heads
    )


def _computes_as(kind: type, module: nn.Module, *methods: str) -> bool:
    """Whether a module is of this kind, and neither its class nor the module itself has other methods."""
    return isinstance(module, kind) and all(
        getattr(type(module), name) is getattr(kind, name) and name not in vars(module) for name in methods
    )


def _has_methods_for_it(attention: nn.Module) -> bool:
    """Whether both methods are there and belong to the forward: no subclass wrote a forward of its own
    below them, and none was exchanged on the instance."""
    if (
        not callable(getattr(attention, "new_cache", None))
        or {"forward", "forward_cached"} & vars(attention).keys()
    ):
        return False
    kinds = type(attention).__mro__  # the class itself first
    cached, forward = (
        next((place for place, kind in enumerate(kinds) if name in vars(kind)), len(kinds))
        for name in ("forward_cached", "forward")
    )
    return cached < len(kinds) and cached <= forward
