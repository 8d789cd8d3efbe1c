import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gpt_core import GPT, BigramLM, GPTConfig, Head, MultiHeadLM, SingleHeadLM, TransformerLM
from gpt_core.pictures.attention_weights import attention_weights
from solutions.ex1_fused_attention import FusedMultiHeadAttention
from solutions.ex4_rope import RotaryAttention, apply_rope, rope_angles
from solutions.more.gqa import GroupedQueryAttention
from solutions.more.kvcache import CachedAttention
from solutions.more.qknorm import QKNormAttention
from solutions.more.tying import TiedGPT
from solutions.more.window import Window16

# More tokens than a head has channels, so that a matrix takes several reads, and the last is not a full one.
CONFIG = GPTConfig(vocab_size=11, block_size=24, n_layer=2, n_head=4, n_embd=24, dropout=0.3)
TEXT = torch.randint(11, (1, 20), generator=torch.Generator().manual_seed(0))


def built(kind=GPT, **parts):
    """A model with weights large enough that its heads prefer some tokens."""
    torch.manual_seed(1)
    model = kind(CONFIG, **parts).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.5)
    return model


def lectures(head: Head, x: torch.Tensor) -> torch.Tensor:
    """The matrix as the lecture writes it, (T, T)."""
    q, k = head.query(x)[0], head.key(x)[0]
    scores = q @ k.T * k.shape[-1] ** -0.5
    return F.softmax(scores.masked_fill(~torch.ones(scores.shape).tril().bool(), float("-inf")), dim=-1)


@torch.no_grad()
def test_the_matrices_are_the_ones_that_the_lectures_heads_compute():
    model = built()
    found = attention_weights(model, TEXT)
    x = model.embed(TEXT)
    for block, weights in zip(model.blocks, found, strict=True):
        expected = torch.stack([lectures(head, block.ln1(x)) for head in block.attention.heads])
        torch.testing.assert_close(weights, expected, atol=1e-6, rtol=1e-5)
        x = block(x)


@torch.no_grad()
@pytest.mark.parametrize("kind, name", [(SingleHeadLM, "sa_head"), (MultiHeadLM, "sa_heads")])
def test_the_rungs_of_the_ladder_show_their_heads_too(kind, name):
    model = built(kind)
    (weights,) = attention_weights(model, TEXT)
    part = getattr(model, name)
    heads = [part] if isinstance(part, Head) else part.heads
    expected = torch.stack([lectures(head, model.embed(TEXT)) for head in heads])
    torch.testing.assert_close(weights, expected, atol=1e-6, rtol=1e-5)
    assert len(attention_weights(built(TransformerLM), TEXT)) == 2


@torch.no_grad()
def test_a_rotary_attention_shows_the_matrix_of_its_rotated_queries_and_keys():
    model = built(attention=RotaryAttention, position_embedding=False)
    block, x = model.blocks[0], model.embed(TEXT)
    q, k, _ = block.attention.qkv(block.ln1(x)).view(20, 3, 4, 6).transpose(0, 2).unbind(1)  # (4, 20, 6)
    angles = rope_angles(torch.arange(20), 6)
    scores = apply_rope(q, angles) @ apply_rope(k, angles).transpose(1, 2) * 6**-0.5
    expected = scores.masked_fill(~torch.ones(20, 20).tril().bool(), float("-inf")).softmax(-1)
    torch.testing.assert_close(attention_weights(model, TEXT)[0], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "attention", [FusedMultiHeadAttention, GroupedQueryAttention, CachedAttention, QKNormAttention, Window16]
)
def test_an_attention_of_the_exercises_is_read_and_sees_nothing_that_comes_later(attention):
    for weights in attention_weights(built(attention=attention), TEXT):
        assert weights.shape == (4, 20, 20) and not weights.triu(1).any()
        torch.testing.assert_close(weights.sum(-1), torch.ones(4, 20))
        assert weights.std() > 0.02  # it is no plain average
    if attention is Window16:
        assert not weights.tril(-16).any() and (weights.tril(-15) > 0).any()


def test_a_gpt_of_ones_own_is_read_as_the_workbooks():
    assert len(attention_weights(built(TiedGPT), TEXT)) == 2


class Torchs(FusedMultiHeadAttention):
    """Through torch's kernel, which never has the matrix."""

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (self.split_heads(part) for part in self.qkv(x).split(C, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(out.transpose(1, 2).reshape(B, T, C))


def test_the_matrix_of_a_kernel_that_never_stores_it_is_read_all_the_same():
    one, other = built(attention=Torchs), built(attention=FusedMultiHeadAttention)
    for a, b in zip(attention_weights(one, TEXT), attention_weights(other, TEXT)):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


class SquaredValues(FusedMultiHeadAttention):
    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (self.split_heads(part) for part in self.qkv(x).split(C, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v * v, is_causal=True)
        return self.proj(out.transpose(1, 2).reshape(B, T, C))


class Average(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.mix = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x):
        return self.mix(x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None])


@pytest.mark.parametrize("attention", [SquaredValues, Average])
def test_an_attention_that_is_no_mean_of_its_values_is_refused_in_one_sentence(attention):
    with pytest.raises(ValueError, match=f"layer 1 is {attention.__name__}, whose weights cannot be read"):
        attention_weights(built(attention=attention), TEXT)


def test_a_bigram_model_has_no_attention_to_show():
    with pytest.raises(ValueError, match="BigramLM has no attention"):
        attention_weights(BigramLM(CONFIG), TEXT)


def test_a_model_that_was_read_computes_as_before_and_has_no_hooks_left():
    model = built(attention=FusedMultiHeadAttention)
    before = model(TEXT)[0]
    attention_weights(model, TEXT)
    assert torch.equal(model(TEXT)[0], before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_one_token_gives_all_its_weight_to_itself():
    for weights in attention_weights(built(), TEXT[:, :1]):
        assert torch.equal(weights, torch.ones(4, 1, 1))
