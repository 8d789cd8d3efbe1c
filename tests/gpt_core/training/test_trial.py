"""Parts with one mistake each, as a learner writes them, and what they are told."""

import pytest
import torch
import torch.nn as nn
from torch.nn import functional as F

from gpt_core import GPTConfig, MultiHeadAttention
from gpt_core.layers import FeedForward, layer_norm
from gpt_core.training.trial import try_part
from solutions.ex1_fused_attention import FusedMultiHeadAttention
from solutions.ex4_rope import RotaryAttention

SIZES = GPTConfig(vocab_size=7, block_size=12, n_layer=1, n_head=2, n_embd=8, dropout=0.3)


class Fused(FusedMultiHeadAttention):
    """A right one, to be made wrong below."""


class SeesAll(FusedMultiHeadAttention):
    def forward(self, x):
        q, k, v = (self.split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class NormOverTime(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, x):
        return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)


class NormOverBatch(NormOverTime):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


class PlainList(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = [nn.Linear(config.n_embd, config.n_embd) for _ in range(2)]

    def forward(self, x):
        return self.layers[1](self.layers[0](x))


class MasksEverything(MultiHeadAttention):
    def forward(self, x):
        return super().forward(x) * float("nan")


class OfWidth(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))


class ShortMask(FusedMultiHeadAttention):
    def forward(self, x):
        T = x.shape[1]
        if T > 8:
            raise IndexError("the mask has 8 rows")
        return super().forward(x)


class Doubles(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, x):
        return x.double()


class WrongCache(MultiHeadAttention):
    def forward(self, x):
        return super().forward(x)

    def new_cache(self):
        return None

    def forward_cached(self, x, cache):
        return self.forward(x)


class CacheOfOtherArguments(WrongCache):
    def forward_cached(self, x):
        return x


class ExtraState(FeedForward):
    def get_extra_state(self):
        return {"a": 1}


@pytest.mark.parametrize(
    "part, sentence",
    [
        (
            SeesAll,
            r"lets a token see later ones \(token 1 moves the outputs before it\), so a loss with it means "
            r"nothing",
        ),
        (NormOverTime, "lets a token see later ones"),
        (NormOverBatch, "mixes the sequences of a batch"),
        (PlainList, "has weights that torch does not know of, .* nn.ModuleList"),
        (MasksEverything, "gives nan before it has learned anything"),
        (
            OfWidth,
            r"cannot be built: TypeError: .* \(test_trial.py, line \d+\); it is built as OfWidth\(config\)",
        ),
        (
            ShortMask,
            r"fails on an input of shape \(1, 12, 8\): IndexError: the mask has 8 rows \(test_trial.py, line "
            r"\d+\)",
        ),
        (Doubles, "turns float32 into float64; a part keeps the dtype"),
        (WrongCache, "forward_cached gives other numbers than forward"),
        (
            CacheOfOtherArguments,
            "fails in forward_cached: TypeError.* without that method it generates without a cache",
        ),
        (ExtraState, "has _extra_state in its state_dict"),
    ],
)
def test_a_part_with_a_mistake_is_told_which_before_it_trains(part, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        try_part(f"mine:{part.__name__}", part, SIZES)
    assert str(caught.value).startswith(f"mine:{part.__name__}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "part",
    [
        MultiHeadAttention,
        Fused,
        FusedMultiHeadAttention,
        RotaryAttention,
        FeedForward,
        layer_norm,
        lambda config: nn.RMSNorm(config.n_embd),
        lambda config: nn.Identity(),
    ],
)
@pytest.mark.parametrize("block_size", [1, 2, 12])
def test_a_right_part_passes_at_any_block_size(part, block_size):
    sizes = GPTConfig(vocab_size=7, block_size=block_size, n_layer=1, n_head=2, n_embd=8, dropout=0.3)
    try_part("mine:Right", part, sizes)
