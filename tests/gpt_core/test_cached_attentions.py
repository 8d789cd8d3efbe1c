"""A KV cache beside the other features of attention, written as a learner would: each attention here keeps
the keys and values of the tokens so far, and gives with them what it gives without."""

import pytest
import torch
import torch.nn as nn
from torch.nn import functional as F

from gpt_core import GPT, GPTConfig
from gpt_core.kv_cache import KVCache, supports_cache
from gpt_core.sampling import GREEDY, Sampling, generate
from solutions.ex1_fused_attention import FusedMultiHeadAttention
from solutions.ex4_rope import RotaryAttention, apply_rope, rope_angles
from solutions.more.gqa import GroupedQueryAttention
from solutions.more.kvcache import CachedAttention

SIZES = GPTConfig(vocab_size=13, block_size=12, n_layer=3, n_head=6, n_embd=24, dropout=0.5)
WINDOW = 4


def attend(q, k, v, window=10**9):
    """The last T_new of T tokens: q (B, H, T_new, D), k and v (B, H, T, D) -> (B, T_new, C)."""
    T_new, T = q.shape[2], k.shape[2]
    age = torch.arange(T - T_new, T)[:, None] - torch.arange(T)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=(age >= 0) & (age < window))
    return out.transpose(1, 2).flatten(2)


def joined(cache, k, v):
    """Keys and values of all tokens so far, which are kept."""
    if "k" in cache:
        k, v = torch.cat((cache["k"], k), dim=2), torch.cat((cache["v"], v), dim=2)
    cache.update(k=k, v=v)
    return k, v


class CachedRotary(RotaryAttention):
    """Positions count on from the cache's length; keys are kept as they are rotated."""

    window = 10**9

    def rotated(self, x, first):
        q, k, v = map(self.split_heads, self.qkv(x).chunk(3, dim=-1))
        angles = rope_angles(torch.arange(first, first + x.shape[1]), q.shape[-1])
        return apply_rope(q, angles), apply_rope(k, angles), v

    def new_cache(self):
        return {}

    def forward_cached(self, x, cache):
        q, k, v = self.rotated(x, cache["k"].shape[2] if cache else 0)
        return self.output_dropout(self.proj(attend(q, *joined(cache, k, v), self.window)))


class RotaryFromZero(CachedRotary):
    """The mistake: each chunk's positions begin at 0."""

    def rotated(self, x, first):
        return super().rotated(x, 0)


class CachedRotaryWindowed(CachedRotary):
    """Both features."""

    window = WINDOW

    def forward(self, x):
        return self.output_dropout(self.proj(attend(*self.rotated(x, 0), WINDOW)))

    def forward_cached(self, x, cache):
        return super().forward_cached(x, cache)


class CachedGrouped(GroupedQueryAttention):
    """Keys and values of the groups alone are kept."""

    def new_cache(self):
        return {}

    def forward_cached(self, x, cache):
        B, T, _ = x.shape
        q = self.q(x).view(B, T, self.n_head, -1).transpose(1, 2)
        k, v = joined(cache, *self.kv(x).view(B, T, 2, self.n_kv_head, -1).permute(2, 0, 3, 1, 4))
        k, v = (m.repeat_interleave(self.n_head // self.n_kv_head, dim=1) for m in (k, v))
        return self.output_dropout(self.proj(attend(q, k, v)))


class CachedWindowed(FusedMultiHeadAttention):
    """A token sees the last WINDOW tokens, itself counted, and only what the next one can see is kept."""

    def project(self, x):
        return map(self.split_heads, self.qkv(x).chunk(3, dim=-1))

    def forward(self, x):
        return self.output_dropout(self.proj(attend(*self.project(x), WINDOW)))

    def new_cache(self):
        return {}

    def forward_cached(self, x, cache):
        q, k, v = self.project(x)
        k, v = joined(cache, k, v)
        cache.update(k=k[:, :, -(WINDOW - 1) :], v=v[:, :, -(WINDOW - 1) :])
        return self.output_dropout(self.proj(attend(q, k, v, WINDOW)))


KINDS = {
    "plain": (CachedAttention, True),
    "rotary": (CachedRotary, False),
    "grouped": (CachedGrouped, True),
    "windowed": (CachedWindowed, True),
    "rotary and windowed": (CachedRotaryWindowed, False),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def model_of(attention, position_embedding):
    torch.manual_seed(1)
    model = GPT(SIZES, attention=attention, position_embedding=position_embedding)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)  # large weights, so that the text has no easy pattern
    return model


def prompts(B, T):
    return torch.randint(13, (B, T), generator=torch.Generator().manual_seed(3))


# 12 is block_size: 5 + 7 fills it, 5 + 25 goes far past it, and 20 begins there. Past it the text's window
# slides, and each step computes all of it, with the cache or without.
@every_kind
@pytest.mark.parametrize("T, count", [(1, 11), (5, 7), (5, 25), (20, 6)])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.3, top_k=9)])
def test_a_text_is_the_same_with_the_cache_and_without(kind, T, count, sampling):
    model = model_of(*KINDS[kind])
    assert supports_cache(model)

    def text(cache):
        generator = torch.Generator().manual_seed(7)
        return generate(model, prompts(3, T), count, generator=generator, sampling=sampling, cache=cache)

    assert torch.equal(text(True), text(False))
    assert torch.equal(text(None), text(False))


@every_kind
@torch.no_grad()
def test_logits_are_those_of_the_whole_text_however_its_tokens_are_cut(kind):
    model = model_of(*KINDS[kind]).eval().double()
    idx = prompts(2, 12)
    for cuts in ([12], [1] * 12, [5, 7], [3, 1, 8], [6, 1, 1, 4]):
        cache = KVCache(model)
        parts = [cache.logits(part) for part in idx.split(cuts, dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), model(idx)[0], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_rotary_positions_that_begin_anew_in_each_chunk_are_seen():
    model = model_of(RotaryFromZero, False).eval().double()
    idx, cache = prompts(2, 12), KVCache(model)
    parts = [cache.logits(part) for part in idx.split([5, 7], dim=1)]
    right = model(idx)[0]
    torch.testing.assert_close(parts[0], right[:, :5])
    assert (parts[1] - right[:, 5:]).abs().max() > 0.1


@torch.no_grad()
def test_a_window_that_is_full_keeps_no_more_than_it_needs():
    attention = CachedWindowed(SIZES).eval()
    cache = attention.new_cache()
    for part in torch.randn(2, 12, 24).split([7, 1, 4], dim=1):
        attention.forward_cached(part, cache)
        assert cache["k"].shape == cache["v"].shape == (2, 6, WINDOW - 1, 4)


class CacheMixin:
    """The two methods for a cache, to stand before an attention."""

    new_cache, forward_cached = CachedAttention.new_cache, CachedAttention.forward_cached


class Mixed(CacheMixin, CachedAttention):
    pass


class MixedBehind(FusedMultiHeadAttention, CacheMixin):
    """Its forward comes first: whether the cache knows of it, nobody can say."""


class OtherForward(Mixed):
    def forward(self, x):
        return 2 * super().forward(x)


def test_the_methods_for_a_cache_belong_to_the_forward_that_they_stand_before():
    accepted = [supports_cache(GPT(SIZES, attention=kind)) for kind in (Mixed, MixedBehind, OtherForward)]
    assert accepted == [True, False, False]
