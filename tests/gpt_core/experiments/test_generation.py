from dataclasses import replace

import pytest
import torch

from gpt_core import GPT, GPTConfig
from gpt_core.experiments import generation
from gpt_core.experiments.generation import (
    GroupedCache,
    cache_bytes,
    fewer_keys_and_values,
    with_and_without_cache,
)
from gpt_core.sampling import GREEDY, generate
from solutions.ex1_fused_attention import FusedMultiHeadAttention
from solutions.more.gqa import GroupedQueryAttention
from solutions.more.kvcache import CachedAttention

SIZES = GPTConfig(vocab_size=13, block_size=12, n_layer=2, n_head=4, n_embd=16, dropout=0.0)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(generation, "CONFIG", replace(SIZES, n_head=8))


def test_both_ways_are_measured_at_each_length_and_the_cache_is_weighed(capsys):
    assert with_and_without_cache(CachedAttention, ["--tokens", "4", "12", "--rounds", "2"]) == 0
    said = capsys.readouterr()
    assert said.out.count("without the cache") == said.out.count("with the cache") == 2
    assert (
        said.out.count(f"the cache {2 * 2 * 12 * 16 * 4 / 2**20:8.2f} MiB") == 2
    )  # 2 layers, keys and values
    assert "texts of 12 tokens, round 2 of 2" in said.err.lower()


@pytest.mark.parametrize(
    "option", [("--tokens", "13"), ("--rounds", "0"), ("--batch", "0"), ("--device", "no")]
)
def test_a_bad_option_is_a_sentence(capsys, option):
    assert with_and_without_cache(CachedAttention, ["--tokens", "4", *option]) == 2
    assert option[0][2:] in capsys.readouterr().err


def test_an_attention_that_is_not_written_or_has_no_cache_is_told_so(capsys):
    assert with_and_without_cache(NotWritten, ["--tokens", "4"]) == 1
    assert "Not written yet" in capsys.readouterr().err
    assert with_and_without_cache(FusedMultiHeadAttention, ["--tokens", "4"]) == 2
    assert "without a KV cache" in capsys.readouterr().err


class NotWritten(CachedAttention):
    def __init__(self, config):
        raise NotImplementedError("exercise kvcache: begin")


class Joined(CachedAttention):
    """A cache that grows, with tensors in containers, and a parameter that is none of it."""

    def new_cache(self):
        cache = {"parts": []}
        return cache | {"again": cache}

    def forward(self, x):
        return super().forward(x)

    def forward_cached(self, x, cache):
        cache["parts"].append(([{"k": x.clone(), "x": x}], x[:, :1], self.proj.weight, cache))
        return x


def test_the_bytes_of_a_cache_are_those_of_all_its_tensors_each_counted_once():
    config = replace(SIZES, block_size=8)
    assert cache_bytes(CachedAttention(config), tokens=3, batch=2) == 2 * 2 * 8 * 16 * 4
    half = CachedAttention(config).bfloat16()
    assert cache_bytes(half, tokens=3, batch=2) == 2 * 2 * 8 * 16 * 2
    assert cache_bytes(Joined(config), tokens=3, batch=2) == 2 * (2 * 3 * 16 * 4)


def test_a_text_is_the_same_whichever_way_it_is_written():
    torch.manual_seed(2)
    model = GPT(SIZES, attention=CachedAttention)
    idx = torch.zeros(1, 1, dtype=torch.long)
    texts = [generate(model, idx, 11, cache=c, sampling=GREEDY, generator=torch.Generator()) for c in (0, 1)]
    assert torch.equal(*texts)


@pytest.mark.parametrize("G", [1, 2, 4])
def test_the_cache_of_grouped_queries_gives_what_their_forward_gives(G):
    torch.manual_seed(3)
    attention = GroupedCache(GroupedQueryAttention(SIZES, n_kv_head=G), SIZES, G).eval().double()
    x, cache = torch.randn(3, 12, 16, dtype=torch.float64), attention.new_cache()
    parts = [attention.forward_cached(part, cache) for part in x.split([4, 1, 1, 5, 1], dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), attention(x))
    assert cache_bytes(attention, tokens=5, batch=3) == 2 * 3 * G * 12 * 4 * 8


def test_fewer_keys_and_values_are_measured_and_weigh_less(capsys):
    assert (
        fewer_keys_and_values(GroupedQueryAttention, ["--tokens", "4", "--rounds", "1", "--batch", "2"]) == 0
    )
    said = capsys.readouterr().out
    for G in (8, 2, 1):  # 2 layers of keys and values, 2 texts, room for 12 tokens, heads of size 2
        assert f"{G} of 8 keys and values" in said
        assert f"{2 * 2 * 2 * G * 12 * 2 * 4 / 2**20:8.2f} MiB" in said
