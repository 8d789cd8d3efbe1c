"""Keys and values of the tokens so far, so that generating a token computes that token alone.

A token's key and value depend on the tokens before it only, so they never change while the text
grows at its end: what a step without a cache computes anew for T tokens is looked up here.

An attention supports the cache by two methods beside forward: `new_cache()` gives it an empty one, and
`forward_cached(x, cache)` takes the new tokens alone. One that has only forward(x) works as before,
without a cache. One that can only sometimes says so by `can_cache()`.
"""

import torch
import torch.nn as nn


class KeysValues:
    """The keys and values of one attention: room for `capacity` tokens, taken when the first come.

    weight: (3C, C), the query, key and value weights of its heads, as they were when the cache was made.
    """

    def __init__(self, capacity: int, weight: torch.Tensor):
        self.capacity = capacity
        self.weight = weight
        self.length = 0

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """k, v (B, H, T_new, D) of the new tokens -> those of all tokens so far, (B, H, T, D) each."""
        if self.length == 0:
            B, H, _, D = k.shape
            # All room at once: growing by concatenation would copy the whole cache for every token.
            self.keys = k.new_empty(B, H, self.capacity, D)
            self.values = v.new_empty(B, H, self.capacity, D)
        end = self.length + k.shape[2]
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class KVCache:
    """The caches of all blocks of a model; `length` tokens are in them."""

    def __init__(self, model: nn.Module):
        self.length = 0
        self.blocks = [block.attention.new_cache() for block in model.blocks]

    def grow(self, count: int, block_size: int) -> None:
        """Count `count` more tokens. ValueError where they would be more than block_size in all."""
        if self.length + count > block_size:
            raise ValueError(
                f"the cache holds {self.length} tokens and gets {count} more; this model takes at most "
                f"block_size = {block_size}: begin a new cache with the last tokens."
            )
        self.length += count


def supports_cache(model: nn.Module) -> bool:
    """Whether a GPT can generate with a cache and give the very tokens that it gives without.

    It can where every part that mixes tokens has a `forward_cached` beside its forward. One that a
    subclass inherited while it wrote a forward of its own does not count: it belongs to the old one.
    """
    if not hasattr(model, "blocks") or not _cached_is_current(model, "forward", "logits", "embed", "body"):
        return False
    return all(
        _cached_is_current(block) and can_use_cache(block.attention) for block in model.blocks
    )


def can_use_cache(attention: nn.Module) -> bool:
    """Whether an attention has a `forward_cached` that belongs to its forward."""
    return _cached_is_current(attention) and getattr(attention, "can_cache", lambda: True)()


def _cached_is_current(module: nn.Module, *plain: str) -> bool:
    """Whether forward_cached is written for the plain methods that the module has now: no subclass
    wrote one of them anew without it, and none was exchanged on the instance."""
    plain = plain or ("forward",)
    if any(name in vars(module) for name in ("forward_cached", *plain)):
        return False
    cached, *others = (
        next((c for c in type(module).__mro__ if name in vars(c)), None)
        for name in ("forward_cached", *plain)
    )
    return cached is not None and all(issubclass(cached, other) for other in others)
