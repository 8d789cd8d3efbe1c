"""From logits to text: which tokens may come next, which one does, and one after the other.

Pure functions: every random choice comes from the generator that is passed in.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from gpt_core.evaluation import eval_mode
from gpt_core.kv_cache import KVCache, supports_cache
from gpt_core.models import LanguageModel


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; the filters apply in this order, each to what the last one left.

    temperature: the logits are divided by it; below 1 is bolder, above 1 wilder, 0 is greedy.
    top_k:       only the k most probable tokens.
    top_p:       only the fewest tokens whose probabilities reach p together (nucleus sampling, Holtzman
                 et al. 2020, arXiv 1904.09751), 0 < p <= 1.
    min_p:       only tokens at least min_p times as probable as the most probable one (Nguyen et al.
                 2024, arXiv 2407.01082), 0 <= min_p <= 1.

    Raises ValueError for a value out of its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self):
        # Comparisons are written so that nan fails them.
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(
                f"temperature is {self.temperature!r}; it must be 0 (greedy) or above, and finite."
            )
        if self.top_k is not None and not self.top_k >= 1:
            raise ValueError(f"top_k is {self.top_k!r}; it must be at least 1.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p!r}; it must be above 0 and at most 1.")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p is {self.min_p!r}; it must be from 0 to 1.")


GREEDY = Sampling(temperature=0.0)
SMALLEST = 1e-30  # a temperature that float32 can divide by


def next_probabilities(logits: torch.Tensor, sampling: Sampling = Sampling()) -> torch.Tensor:
    """The probabilities to draw from: logits (B, V) -> (B, V) float32, each row sums to 1.

    Greedy puts all of it on the most probable token, the first of equals.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).float()
    # From the largest one down, so that the smallest temperatures make no infinity of it.
    logits = (logits - logits.amax(dim=-1, keepdim=True)) / max(sampling.temperature, SMALLEST)
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        # By rank and not by value: of several tokens that tie for the last place one is taken.
        best = logits.topk(sampling.top_k, dim=-1).indices
        keep = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best, True)
        logits = logits.masked_fill(~keep, float("-inf"))
    if sampling.top_p is not None:
        p, order = F.softmax(logits, dim=-1).sort(dim=-1, descending=True, stable=True)
        # A token stays while those before it fall short of p, so the one that reaches p stays too.
        short = p.cumsum(dim=-1) - p < sampling.top_p
        short[..., 0] = True  # for a top_p that float32 rounds to 0
        keep = torch.zeros_like(short).scatter(-1, order, short)
        logits = logits.masked_fill(~keep, float("-inf"))
    probabilities = F.softmax(logits, dim=-1)
    if sampling.min_p is not None:
        floor = sampling.min_p * probabilities.amax(dim=-1, keepdim=True)
        probabilities = probabilities.masked_fill(probabilities < floor, 0.0)
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities


def draw(probabilities: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One token per row: (B, V) -> (B,) long. The generator is on the device of the probabilities."""
    return torch.multinomial(probabilities, num_samples=1, generator=generator).squeeze(-1)


def stream(
    model: LanguageModel,
    idx: torch.Tensor,
    count: int,
    *,
    generator: torch.Generator,
    sampling: Sampling = Sampling(),
    cache: bool | None = None,
    stop: Sequence[int] = (),
) -> Iterator[torch.Tensor]:
    """Yield the next `count` tokens of each sequence as they are chosen, (B,) long each.

    idx: (B, T) long, T >= 1, on the device of the model; of a longer one the last block_size count.
    cache: None uses a KV cache where the model supports one, False never does, True insists.
    stop: tokens that end the text earlier, once every sequence has had them, in this order, among its new
        ones; () ends it after `count` only.

    With or without the cache the tokens are the same. Up to block_size tokens a step with the cache
    computes one token. Past block_size the window slides: every token moves to another position and
    the oldest leaves, so no key or value of the step before is still right, and each step computes
    the whole window, cache or not.

    The model is in eval mode until the iterator is exhausted or closed. Raises ValueError for an
    empty idx, a negative count, and for cache=True with a model that does not support it.
    """
    if idx.ndim != 2 or 0 in idx.shape:
        raise ValueError(f"idx has shape {tuple(idx.shape)}; it must be (B, T) with B and T at least 1.")
    if count < 0:
        raise ValueError(f"count is {count}; it must be 0 or more tokens.")
    supported = supports_cache(model)
    if cache and not supported:
        raise ValueError(
            "this model has a part without a KV cache (no forward_cached(x, cache) that belongs to its "
            "forward); leave cache out to generate without one."
        )
    tokens = _stream(model, idx, count, generator, sampling, supported if cache is None else cache)
    return _until(stop, tokens) if len(stop) else tokens


def _until(stop: Sequence[int], tokens: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The tokens, (B,) each, up to the one with which the last sequence has had all of `stop` in a row."""
    recent, ended = [], False
    with contextlib.closing(tokens):  # gives the model its mode back
        for token in tokens:
            yield token
            recent = [*recent, token][-len(stop) :]
            if len(recent) == len(stop):
                ended = ended | torch.stack([new == wanted for new, wanted in zip(recent, stop)]).all(dim=0)
                if ended.all():
                    return


def _stream(model, idx, count, generator, sampling, cached):
    block_size = model.config.block_size
    with eval_mode(model):
        idx = idx[:, -block_size:]
        cache, new = (KVCache(model), idx) if cached else (None, None)
        for _ in range(count):
            # Entered anew for each token: a no_grad around the yield would reach into the caller's code.
            with torch.no_grad():
                if cache is not None and cache.length + new.shape[1] <= block_size:
                    logits = cache.logits(new)
                else:
                    cache = None
                    logits, _ = model(idx)
                token = draw(next_probabilities(logits[:, -1], sampling), generator)
            new = token[:, None]
            idx = torch.cat([idx, new], dim=1)[:, -block_size:]
            yield token


def generate(model: LanguageModel, idx: torch.Tensor, count: int, **settings) -> torch.Tensor:
    """The sequences with `count` new tokens behind them, (B, T + count) long; settings as in `stream`, where
    `stop` can make it fewer."""
    new = list(stream(model, idx, count, **settings))
    return torch.cat([idx, *(token[:, None] for token in new)], dim=1)
