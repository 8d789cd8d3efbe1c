import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from gpt_core import GPT, BigramLM, CharTokenizer, GPTConfig
from gpt_core.batches import Batches, encode_text
from gpt_core.evaluation import eval_mode, exhaustive_loss, sampled_loss

SIZES = GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.5)


def model(seed=1):
    torch.manual_seed(seed)
    m = GPT(SIZES)
    for p in m.parameters():
        torch.nn.init.normal_(p)  # large weights, so that the context matters
    return m


# 8 divides 16 but not 18; 5 is shorter than one window; 2 is the least.
@pytest.mark.parametrize("n_targets", [16, 18, 5, 1])
def test_the_exhaustive_loss_scores_every_target_once_in_windows_of_block_size(n_targets):
    m = model()
    tokens = torch.randint(11, (n_targets + 1,), generator=torch.Generator().manual_seed(2))
    got = exhaustive_loss(m, tokens, batch_size=1)
    m.eval()
    losses = []
    for i in range(n_targets):  # the target at i + 1, seen from the start of its window
        logits, _ = m(tokens[i // 8 * 8 : i + 1][None])
        losses.append(F.cross_entropy(logits[0, -1], tokens[i + 1]).item())
    assert got == pytest.approx(sum(losses) / n_targets, rel=1e-5)


def test_the_exhaustive_loss_of_a_bigram_does_not_depend_on_windows_or_batches():
    bigram = BigramLM(SIZES)
    torch.nn.init.normal_(bigram.token_embedding_table.weight)
    tokens = torch.randint(11, (1000,))
    expected = F.cross_entropy(bigram.token_embedding_table(tokens[:-1]).double(), tokens[1:]).item()
    for batch_size in (1, 7, 1000):
        assert exhaustive_loss(bigram, tokens, batch_size=batch_size) == pytest.approx(expected, rel=1e-6)


def test_evaluating_uses_no_dropout_no_random_number_and_leaves_every_mode():
    m = model().train()
    m.blocks[0].attention.eval()
    modes = [module.training for module in m.modules()]
    state = torch.get_rng_state()
    tokens = torch.randint(11, (100,), generator=torch.Generator().manual_seed(3))
    once = exhaustive_loss(m, tokens), sampled_loss(m, tokens, batch_size=4, iters=3, seed=5)
    again = exhaustive_loss(m, tokens), sampled_loss(m, tokens, batch_size=4, iters=3, seed=5)
    assert once == again and torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in m.modules()] == modes
    assert all(p.grad is None for p in m.parameters())


def test_eval_mode_is_undone_after_an_error():
    m = model().train()
    with pytest.raises(KeyError), eval_mode(m):
        assert not m.training
        raise KeyError
    assert all(module.training for module in m.modules())


def test_the_sampled_loss_is_near_the_exhaustive_one_of_a_bigram():
    bigram = BigramLM(SIZES)
    torch.nn.init.normal_(bigram.token_embedding_table.weight)
    tokens = torch.randint(11, (3000,), generator=torch.Generator().manual_seed(4))
    sampled = sampled_loss(bigram, tokens, batch_size=64, iters=50, seed=1)
    # 25,600 draws of a loss with a standard deviation near 1.1: 0.007, five of which are 0.035.
    assert sampled == pytest.approx(exhaustive_loss(bigram, tokens), abs=0.035)


def test_one_character_has_no_target_to_score():
    with pytest.raises(ValueError, match="has 1 characters; a loss takes at least 2"):
        exhaustive_loss(model(), torch.zeros(1, dtype=torch.long))


def test_batches_are_windows_of_the_text_with_targets_one_later_and_reach_both_ends():
    tokens = torch.arange(12)
    batches = Batches(tokens, block_size=8, seed=1)
    starts = batches.draw(400)
    x, y = batches.take(starts)
    assert x.dtype == y.dtype == torch.long and x.shape == y.shape == (400, 8)
    assert torch.equal(y, x + 1) and torch.equal(x[:, 0], starts)
    assert set(starts.tolist()) == {0, 1, 2, 3}  # 3 is the last window whose last target exists


def test_windows_of_an_epoch_do_not_overlap_and_none_comes_again_before_all_have_come():
    batches = Batches(torch.arange(1000), block_size=8, seed=1, order="epochs")
    starts = batches.draw(123)  # 992 starts: 124 windows where the offset is 0, else 123 or 124
    assert len({int(start) % 8 for start in starts}) == 1
    assert len(set(starts.tolist())) == 123
    assert 0 <= starts.min() and starts.max() + 8 < 1000
    assert starts.tolist() != sorted(starts.tolist())


def test_each_epoch_cuts_at_another_place_and_has_another_order():
    batches = Batches(torch.arange(200), block_size=8, seed=2, order="epochs")
    drawn, epochs = batches.draw(24 * 40).tolist(), []
    while drawn:
        offset = drawn[0] % 8
        size = next((i for i, start in enumerate(drawn) if start % 8 != offset), len(drawn))
        epochs.append(drawn[:size])
        drawn = drawn[size:]
    assert {epoch[0] % 8 for epoch in epochs} == set(range(8))
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


@pytest.mark.parametrize("order", ["random", "epochs"])
@pytest.mark.parametrize("drawn", [0, 1, 24, 25, 60])
def test_batches_go_on_from_their_state_across_epochs(order, drawn):
    tokens = torch.arange(200)
    one, other = (Batches(tokens, 8, seed=3, order=order) for _ in range(2))
    one.draw(drawn)
    other.restore(*one.state())
    assert torch.equal(one.draw(70), other.draw(70))


def test_a_text_of_one_window_is_an_epoch_of_its_own():
    batches = Batches(torch.arange(9), block_size=8, seed=1, order="epochs")
    assert batches.draw(5).tolist() == [0] * 5


def test_encoding_a_corpus_gives_the_ids_of_the_tokenizer_and_its_error():
    text = "λόγος €1 \U0001f600 abc\n" * 3
    tokenizer = CharTokenizer.from_text(text)
    assert encode_text(tokenizer, text).tolist() == tokenizer.encode(text)
    assert encode_text(tokenizer, text).dtype == torch.uint8
    with pytest.raises(ValueError, match="'z' at position 2"):
        encode_text(tokenizer, "abz")


def test_a_vocabulary_beyond_one_byte_is_encoded_right():
    tokenizer = CharTokenizer(chr(i) for i in range(0x400, 0x400 + 300))
    assert encode_text(tokenizer, chr(0x400 + 299)).tolist() == [299]
    assert encode_text(tokenizer, chr(0x400 + 299)).dtype == torch.int16


def test_each_vocabulary_has_the_smallest_dtype_that_holds_it_and_its_batches_are_long():
    sizes = {256: torch.uint8, 257: torch.int16, 2**15: torch.int16, 2**15 + 1: torch.int32}
    for size, dtype in sizes.items():
        tokenizer = CharTokenizer(chr(0x20000 + i) for i in range(size))
        tokens = encode_text(tokenizer, "".join(tokenizer.chars[-9:]))  # the highest ids
        assert tokens.dtype == dtype and tokens.tolist() == list(range(size - 9, size))
        x, y = Batches(tokens, 8, seed=1).take(torch.tensor([0]))
        assert x.dtype == y.dtype == torch.long and y[0, -1] == size - 1


def test_a_text_is_encoded_in_pieces_without_a_gap_and_an_unknown_character_has_its_place(monkeypatch):
    monkeypatch.setattr("gpt_core.batches.PIECE", 3)
    text = "abcdefgh\U0001f600a"
    tokenizer = CharTokenizer.from_text(text)
    assert encode_text(tokenizer, text).tolist() == tokenizer.encode(text)
    with pytest.raises(ValueError, match="'z' at position 7"):
        encode_text(tokenizer, "abcdefgz")


LITTLE_MEMORY = """
import resource, sys
from gpt_core.batches import encode_text
from gpt_core.tokenizer import CharTokenizer
for characters in (10, 300):
    tokenizer = CharTokenizer(chr(65 + i) for i in range(characters))
    text = "".join(tokenizer.chars) * (30_000_000 // characters)
    size = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1])
    resource.setrlimit(resource.RLIMIT_AS, ((size << 10) + 3 * len(text), resource.RLIM_INFINITY))
    tokens = encode_text(tokenizer, text)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert len(tokens) == len(text) and tokens[-1] == characters - 1
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to RLIMIT_AS")
def test_encoding_takes_at_most_three_bytes_a_character_beside_the_text():
    command = [sys.executable, "-c", LITTLE_MEMORY]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
