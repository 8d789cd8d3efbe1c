import pytest
import torch
import torch.nn as nn

from gpt_core import GPT, BigramLM, GPTConfig, MultiHeadAttention
from gpt_core.kv_cache import KVCache, supports_cache
from gpt_core.sampling import GREEDY, Sampling, draw, generate, next_probabilities, stream
from solutions.ex1_fused_attention import FusedMultiHeadAttention

SIZES = GPTConfig(vocab_size=13, block_size=12, n_layer=3, n_head=3, n_embd=12, dropout=0.5)


def model(**parts):
    torch.manual_seed(1)
    m = GPT(SIZES, **parts)
    for p in m.parameters():
        nn.init.normal_(p, std=0.5)  # large weights, so that the text has no easy pattern
    return m


def seeded(seed=7):
    return torch.Generator().manual_seed(seed)


def prompts(B, T):
    return torch.randint(13, (B, T), generator=seeded(3))


# 12 is block_size: 5 + 7 fills it, 5 + 30 goes far past it, 12 and 20 begin there.
@pytest.mark.parametrize("T, count", [(1, 11), (5, 7), (5, 8), (5, 30), (12, 3), (20, 5)])
@pytest.mark.parametrize("B", [1, 4])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.5, top_k=9, top_p=0.95, min_p=0.01)])
def test_the_cache_gives_the_very_tokens_of_the_uncached_path(T, count, B, sampling):
    m = model()
    with_cache = generate(m, prompts(B, T), count, generator=seeded(), sampling=sampling, cache=True)
    without = generate(m, prompts(B, T), count, generator=seeded(), sampling=sampling, cache=False)
    assert with_cache.shape == (B, T + count)
    assert torch.equal(with_cache, without)
    assert torch.equal(with_cache[:, :T], prompts(B, T))


def test_a_row_of_a_batch_is_what_it_would_be_alone():
    idx = prompts(3, 4)
    together = generate(model(), idx, 20, generator=seeded(), sampling=GREEDY)
    for i in range(3):
        assert torch.equal(
            together[i : i + 1], generate(model(), idx[i : i + 1], 20, generator=seeded(), sampling=GREEDY)
        )


@pytest.mark.parametrize("position_embedding", [True, False])
def test_cached_logits_equal_the_whole_forward_pass_however_the_tokens_are_cut(position_embedding):
    m = model(position_embedding=position_embedding).eval().double()
    idx = prompts(2, 12)
    expected = m(idx)[0]
    for cuts in ([1] * 12, [5, 7], [3, 1, 8], [12]):
        cache = KVCache(m)
        parts = [cache.logits(part) for part in idx.split(cuts, dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=1e-10, atol=1e-10)


def test_with_the_cache_a_step_computes_one_token_and_past_block_size_the_whole_window():
    m = model()
    widths = []
    m.lm_head.register_forward_hook(lambda module, args, out: widths.append(args[0].shape[1]))
    generate(m, prompts(1, 3), 13, generator=seeded())
    assert widths == [3] + [1] * 9 + [12] * 3


def test_the_cache_refuses_more_than_block_size_tokens_and_stays_as_it_was():
    m = model().eval()
    cache = KVCache(m)
    cache.logits(prompts(1, 10))
    with pytest.raises(ValueError, match="holds 10 tokens and gets 3 more"):
        cache.logits(prompts(1, 3))
    assert cache.logits(prompts(1, 2)).shape == (1, 2, 13)


def test_an_attention_with_forward_alone_generates_without_a_cache_and_says_so_when_asked():
    m = model(attention=FusedMultiHeadAttention)
    assert not supports_cache(m)
    assert generate(m, prompts(2, 4), 20, generator=seeded()).shape == (2, 24)
    with pytest.raises(ValueError, match="a part without a KV cache"):
        generate(m, prompts(2, 4), 1, generator=seeded(), cache=True)


class Reversed(MultiHeadAttention):
    """Has the heads that the cache knows, but computes something else."""

    def forward(self, x):
        return super().forward(x).flip(-1)


class OneStrangeHead(MultiHeadAttention):
    def __init__(self, config):
        super().__init__(config)

        class Strange(type(self.heads[0])):
            def forward(self, x):
                return super().forward(x) * 2

        self.heads[1] = Strange(config)


class OneBiasedHead(MultiHeadAttention):
    def __init__(self, config):
        super().__init__(config)
        self.heads[2].value = nn.Linear(config.n_embd, config.head_size)


@pytest.mark.parametrize("attention", [Reversed, OneStrangeHead, OneBiasedHead])
def test_an_inherited_cache_is_never_used_for_a_forward_that_was_written_anew(attention):
    m = model(attention=attention)
    assert not supports_cache(m)
    tokens = generate(m, prompts(1, 3), 9, generator=seeded(), sampling=GREEDY)
    expected = prompts(1, 3)
    m.eval()
    for _ in range(9):
        expected = torch.cat([expected, m(expected)[0][:, -1].argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(tokens, expected)


def test_an_exchanged_method_or_a_changed_model_is_not_cached():
    m = model()
    assert supports_cache(m)
    m.blocks[1].attention.heads[0].forward = lambda x: x
    assert not supports_cache(m)

    m = model()
    m.blocks[1].attention.forward = lambda x: x
    assert not supports_cache(m)

    class Louder(GPT):
        def logits(self, idx):
            return 2 * super().logits(idx)

    assert not supports_cache(Louder(SIZES))
    assert not supports_cache(BigramLM(SIZES))


class Cached(MultiHeadAttention):
    """A part of one's own that supports the cache, by both methods: it keeps the inputs."""

    used = 0

    def forward(self, x):
        return super().forward(x)

    def new_cache(self):
        return []

    def forward_cached(self, x, cache):
        Cached.used += 1
        cache.append(x)
        return self.forward(torch.cat(cache, dim=1))[:, -x.shape[1] :]


class CachedAsItsParent(Cached):
    """Inherits both methods, which belong to another forward."""

    def forward(self, x):
        return super().forward(x).flip(-1)


class NothingToKeep(Cached):
    new_cache = None


def test_an_attention_of_ones_own_with_both_methods_is_cached():
    assert supports_cache(model(attention=Cached))
    tokens = generate(model(attention=Cached), prompts(1, 1), 2, generator=seeded())
    assert Cached.used == 2 * 3
    assert torch.equal(tokens, generate(model(), prompts(1, 1), 2, generator=seeded()))


@pytest.mark.parametrize("attention", [CachedAsItsParent, NothingToKeep])
def test_methods_that_do_not_belong_to_the_forward_or_are_not_both_there_are_not_used(attention):
    assert not supports_cache(model(attention=attention))


def test_generating_leaves_every_mode_and_the_gradients_as_they_were():
    m = model().train()
    m.ln_f.eval()
    tokens = stream(m, prompts(1, 2), 5, generator=seeded())
    next(tokens)
    assert torch.is_grad_enabled() and not m.training
    tokens.close()
    assert m.training and not m.ln_f.training


def test_a_text_ends_once_every_sequence_has_had_the_tokens_to_stop_at_and_gives_the_mode_back():
    m = model().train()
    whole = generate(m, prompts(3, 4), 60, generator=seeded())[:, 4:].tolist()
    stop = whole[1][10:12]
    ends = []
    for row in whole:
        places = [i + 2 for i in range(len(row) - 1) if row[i : i + 2] == stop]
        ends.append(places[0] if places else len(row))
    stopped = list(stream(m, prompts(3, 4), 60, generator=seeded(), stop=stop))
    assert torch.stack(stopped, dim=1).tolist() == [row[: max(ends)] for row in whole]
    stop = generate(m, prompts(1, 4), 60, generator=seeded())[0, 14:16].tolist()
    assert len(list(stream(m, prompts(1, 4), 60, generator=seeded(), stop=stop))) <= 12 and m.training


def test_the_generator_alone_decides():
    m = model()
    torch.manual_seed(1)
    one = generate(m, prompts(2, 3), 20, generator=seeded(5))
    torch.manual_seed(2)
    assert torch.equal(one, generate(m, prompts(2, 3), 20, generator=seeded(5)))
    assert not torch.equal(one, generate(m, prompts(2, 3), 20, generator=seeded(6)))


def test_the_cached_path_creates_every_tensor_on_the_device_of_the_model():
    m = model().eval().to("meta")
    cache = KVCache(m)
    for T in (4, 1):
        logits = cache.logits(torch.zeros(2, T, dtype=torch.long, device="meta"))
        assert logits.device.type == "meta" and logits.shape == (2, T, 13)


LOGITS = torch.tensor([[0.5, 0.2, 0.2, 0.07, 0.03]]).log()


@pytest.mark.parametrize(
    "sampling, expected",
    [
        (Sampling(), [0.5, 0.2, 0.2, 0.07, 0.03]),
        (GREEDY, [1, 0, 0, 0, 0]),
        (Sampling(temperature=1e-40), [1, 0, 0, 0, 0]),
        (Sampling(temperature=1e-320), [1, 0, 0, 0, 0]),
        (Sampling(top_p=1e-300), [1, 0, 0, 0, 0]),
        (
            Sampling(temperature=0.5),
            [0.25 / 0.3358, 0.04 / 0.3358, 0.04 / 0.3358, 0.0049 / 0.3358, 0.0009 / 0.3358],
        ),
        (Sampling(top_k=1), [1, 0, 0, 0, 0]),
        (Sampling(top_k=3), [5 / 9, 2 / 9, 2 / 9, 0, 0]),
        (Sampling(top_k=99), [0.5, 0.2, 0.2, 0.07, 0.03]),
        (Sampling(top_p=0.4), [1, 0, 0, 0, 0]),
        (Sampling(top_p=0.6), [5 / 7, 2 / 7, 0, 0, 0]),  # 0.5 falls short of 0.6, so one more stays
        (Sampling(top_p=0.95), [0.5 / 0.97, 0.2 / 0.97, 0.2 / 0.97, 0.07 / 0.97, 0]),
        (Sampling(top_p=1.0), [0.5, 0.2, 0.2, 0.07, 0.03]),
        (Sampling(min_p=0.3), [5 / 9, 2 / 9, 2 / 9, 0, 0]),
        (Sampling(min_p=1.0), [1, 0, 0, 0, 0]),
        (Sampling(top_k=3, top_p=0.5), [1, 0, 0, 0, 0]),  # of the three left, the first has 5/9
    ],
)
def test_a_filter_keeps_the_tokens_that_its_definition_keeps(sampling, expected):
    got = next_probabilities(LOGITS, sampling)
    torch.testing.assert_close(got, torch.tensor([expected], dtype=torch.float32), rtol=1e-4, atol=1e-6)
    shuffled = torch.tensor([3, 0, 4, 2, 1])
    if sampling.top_p != 0.6:  # which of the two equal ones stays is a matter of order
        torch.testing.assert_close(next_probabilities(LOGITS[:, shuffled], sampling), got[:, shuffled])


def test_equal_logits_leave_exactly_k_tokens():
    assert (next_probabilities(torch.zeros(2, 6), Sampling(top_k=2)) > 0).sum(-1).tolist() == [2, 2]


def test_draws_follow_the_probabilities():
    counts = draw(torch.tensor([[0.7, 0.0, 0.3]]).expand(20_000, 3), seeded()).bincount(minlength=3)
    assert counts[1] == 0
    assert abs(counts[0].item() / 20_000 - 0.7) < 0.017  # five standard deviations of 0.0033


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"min_p": -0.1}, "min_p is -0.1"),
    ],
)
def test_a_sampling_value_out_of_its_range_is_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sampling(**values)


@pytest.mark.parametrize("shape", [(3,), (1, 0), (0, 2)])
def test_an_empty_prompt_is_refused_when_called_and_not_at_the_first_token(shape):
    with pytest.raises(ValueError, match="B and T at least 1"):
        stream(model(), torch.zeros(shape, dtype=torch.long), 3, generator=seeded())
