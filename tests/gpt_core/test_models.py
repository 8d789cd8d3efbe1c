"""The ladder of models: shapes, causality, the first loss, that each can learn, and the plug-in points."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn as nn

from gpt_core import (
    GPT,
    BigramLM,
    Block,
    CharTokenizer,
    FeedForward,
    GPTConfig,
    Head,
    MultiHeadAttention,
    MultiHeadLM,
    SingleHeadLM,
    TransformerLM,
)
from solutions.ex1_fused_attention import FusedMultiHeadAttention, fuse_heads

LADDER = (BigramLM, SingleHeadLM, MultiHeadLM, TransformerLM, GPT)
CONFIG = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=4, n_embd=32, dropout=0.0)


def tokens(batch=3, time=8, seed=0):
    return torch.randint(11, (batch, time), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("model", LADDER)
@pytest.mark.parametrize("time", [1, 5, 8])
def test_every_rung_gives_logits_for_every_token_and_a_loss_only_with_targets(model, time):
    idx = tokens(time=time)
    logits, loss = model(CONFIG)(idx)
    assert logits.shape == (3, time, 11) and loss is None
    logits, loss = model(CONFIG)(idx, idx)
    assert logits.shape == (3, time, 11) and loss.shape == ()


@pytest.mark.parametrize("model", LADDER)
def test_no_rung_sees_the_tokens_after_it(model):
    made = model(CONFIG).eval()
    idx = tokens(batch=1)
    for position in range(1, 8):
        other = idx.clone()
        other[:, position:] = (other[:, position:] + 1) % 11
        with torch.no_grad():
            assert torch.equal(made(idx)[0][:, :position], made(other)[0][:, :position])


@pytest.mark.parametrize("model", LADDER[1:])
def test_every_rung_above_the_bigram_sees_the_tokens_before_it(model):
    made = model(CONFIG).eval()
    idx = tokens(batch=1)
    other = idx.clone()
    other[:, 0] = (other[:, 0] + 1) % 11
    assert not torch.equal(made(idx)[0][:, -1], made(other)[0][:, -1])


@pytest.mark.parametrize("model", LADDER)
@pytest.mark.parametrize("vocab_size", [11, 65])
def test_the_first_loss_is_within_a_tenth_of_a_nat_of_knowing_nothing(model, vocab_size):
    config = GPTConfig(vocab_size, block_size=32, n_layer=4, n_head=4, n_embd=64, dropout=0.0)
    idx = torch.randint(vocab_size, (16, 33))
    _, loss = model(config)(idx[:, :-1], idx[:, 1:])
    assert abs(loss.item() - math.log(vocab_size)) < 0.1


# Each token is followed by its successor, which even the bigram's table can hold.
@pytest.mark.slow
@pytest.mark.parametrize("model", LADDER)
def test_every_rung_can_overfit_one_batch(model):
    idx = torch.arange(9).repeat(4, 1) + torch.arange(4)[:, None]
    idx = idx % 11
    made = model(CONFIG)
    # A table's entries are its logits: they have further to go than the weights of a network.
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-1 if model is BigramLM else 1e-2)
    for _ in range(250):
        _, loss = made(idx[:, :-1], idx[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_targets_of_minus_one_carry_no_loss():
    model = GPT(CONFIG)
    idx, targets = tokens(), tokens(seed=1)
    ignored = targets.clone()
    ignored[:, ::2] = -1
    logits, loss = model(idx, ignored)
    kept = ignored != -1
    expected = nn.functional.cross_entropy(logits[kept], targets[kept])
    assert torch.allclose(loss, expected)


def test_a_batch_of_ignored_targets_alone_has_a_loss_of_zero_that_can_be_differentiated():
    model = GPT(CONFIG)
    _, loss = model(tokens(), torch.full((3, 8), -1))
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


def test_a_gpt_with_the_fused_attention_gives_the_logits_of_the_gpt_with_the_baseline():
    baseline = GPT(CONFIG).eval()
    fused = GPT(CONFIG, attention=FusedMultiHeadAttention).eval()
    state = {name: value for name, value in baseline.state_dict().items() if ".heads." not in name}
    for number, block in enumerate(baseline.blocks):
        state[f"blocks.{number}.attention.qkv.weight"] = fuse_heads(block.attention).qkv.weight
    fused.load_state_dict(state)
    idx = tokens()
    torch.testing.assert_close(fused(idx)[0], baseline(idx)[0], rtol=0, atol=1e-5)


def test_each_part_of_gpt_can_be_exchanged():
    class Zero(nn.Module):
        def __init__(self, config):
            super().__init__()
            assert config is CONFIG

        def forward(self, x):
            return torch.zeros_like(x)

    model = GPT(CONFIG, attention=Zero, norm=lambda config: nn.RMSNorm(config.n_embd), feed_forward=Zero)
    assert isinstance(model.ln_f, nn.RMSNorm)
    assert all(
        isinstance(block.attention, Zero) and isinstance(block.feed_forward, Zero) for block in model.blocks
    )
    assert model(tokens())[0].shape == (3, 8, 11)


def test_without_position_embedding_the_table_is_none_and_order_alone_changes_nothing():
    # One layer: deeper ones learn an order from the mask, which lets a token see fewer than the next.
    model = GPT(replace(CONFIG, n_layer=1), position_embedding=False).eval()
    assert model.position_embedding_table is None
    assert not any("position" in name for name, _ in model.named_parameters())
    idx = torch.tensor([[1, 2, 3, 4]])
    swapped = torch.tensor([[2, 1, 3, 4]])
    # The last token attends to a set: without positions the order of what came before cannot matter.
    torch.testing.assert_close(model(idx)[0][:, -1], model(swapped)[0][:, -1])


def test_gpt_has_the_parts_and_parameters_of_the_contract():
    model = GPT(CONFIG)
    assert model.config == CONFIG
    assert model.token_embedding_table.weight.shape == (11, 32)
    assert model.position_embedding_table.weight.shape == (8, 32)
    assert model.lm_head.weight.shape == (11, 32) and model.lm_head.bias.shape == (11,)
    assert model.lm_head.weight is not model.token_embedding_table.weight
    assert len(model.blocks) == 2 and isinstance(model.ln_f, nn.LayerNorm)
    # Masks are constants: no checkpoint carries them.
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_attention_has_the_parts_of_the_contract():
    attention = MultiHeadAttention(CONFIG)
    assert attention.config is CONFIG
    assert len(attention.heads) == 4 and all(isinstance(head, Head) for head in attention.heads)
    for part in ("key", "query", "value"):
        linear = getattr(attention.heads[0], part)
        assert linear.weight.shape == (8, 32) and linear.bias is None
    assert attention.proj.weight.shape == (32, 32) and attention.proj.bias.shape == (32,)


@pytest.mark.parametrize("part", [MultiHeadAttention, FeedForward, Block])
def test_every_part_keeps_the_shape_for_any_time_up_to_block_size(part):
    made = part(CONFIG)
    for time in (1, 3, 8):
        assert made(torch.randn(2, time, 32)).shape == (2, time, 32)


def test_a_head_is_the_softmax_of_scaled_scores_over_what_came_before():
    head = Head(CONFIG).eval()
    x = torch.randn(1, 4, 32)
    q, k, v = (part(x)[0].detach() for part in (head.query, head.key, head.value))
    for t in range(4):
        scores = torch.tensor([q[t] @ k[s] / math.sqrt(8) for s in range(t + 1)])
        expected = scores.softmax(0) @ v[: t + 1]
        torch.testing.assert_close(head(x)[0, t], expected)


def test_dropout_is_active_in_training_only():
    config = GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=4, n_embd=32, dropout=0.5)
    model, idx = GPT(config), tokens()
    assert not torch.equal(model.train()(idx)[0], model(idx)[0])
    assert torch.equal(model.eval()(idx)[0], model(idx)[0])


def test_too_many_tokens_are_refused_with_the_limit():
    with pytest.raises(ValueError, match="T = 9.*block_size = 8"):
        GPT(CONFIG)(tokens(time=9))


def test_a_model_runs_on_the_meta_device_without_touching_the_cpu():
    with torch.device("meta"):
        model = GPT(CONFIG)
    logits, loss = model(
        torch.zeros(2, 5, dtype=torch.long, device="meta"), torch.zeros(2, 5, dtype=torch.long, device="meta")
    )
    assert logits.device.type == "meta" and loss.device.type == "meta"


def test_a_model_works_in_bfloat16():
    model = GPT(CONFIG).to(torch.bfloat16).eval()
    exact = GPT(CONFIG).eval()
    exact.load_state_dict({k: v.float() for k, v in model.state_dict().items()})
    logits = model(tokens())[0]
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), exact(tokens())[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "field, value",
    [
        ("n_embd", 30),
        ("n_head", 0),
        ("n_layer", -1),
        ("block_size", 2.5),
        ("vocab_size", True),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", "x"),
    ],
)
def test_a_config_that_no_model_can_have_is_refused_with_the_value(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value!r}"):
        GPTConfig(**({"vocab_size": 11, "n_head": 4, "n_embd": 32} | {field: value}))


def test_a_config_cannot_be_changed_afterwards():
    with pytest.raises(AttributeError):
        CONFIG.n_head = 2


def test_a_text_comes_back_from_its_tokens():
    text = "To be, or not to be\n"
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.vocab_size == len(set(text))
    assert tokenizer.chars == tuple(sorted(set(text)))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(torch.tensor(tokenizer.encode("be"))) == "be"


def test_the_ids_follow_the_order_of_the_chars():
    assert CharTokenizer("zyx").encode("xyz") == [2, 1, 0]


def test_an_unknown_character_is_named_with_its_position():
    with pytest.raises(ValueError, match=r"'!' at position 2"):
        CharTokenizer("abc").encode("ab!c")


@pytest.mark.parametrize("token", [-1, 3])
def test_an_unknown_id_is_named_with_its_position(token):
    with pytest.raises(ValueError, match=f"token {token} at position 1"):
        CharTokenizer("abc").decode([0, token])


def test_a_character_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="'a' stands in chars twice"):
        CharTokenizer("abca")
