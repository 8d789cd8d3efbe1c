import pytest
import torch

from gpt_core.batches import encode_text
from gpt_core.evaluation import exhaustive_loss
from gpt_core.experiments.extrapolation import cropped_loss, loss_by_position, stretch
from gpt_core.training import checkpoint
from gpt_core.training.trained import load_trained
from tests.gpt_core.tiny import TEXT, trained

ROTARY = {"attention": "solutions.ex4_rope:RotaryAttention", "position_embedding": False}


@pytest.fixture(scope="module", params=["table", "rotary"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / request.param
    trained(folder, ema=0.0, **(ROTARY if request.param == "rotary" else {}))
    return load_trained(folder, name=checkpoint.LAST)


def tokens_of(model):
    return encode_text(model.tokenizer, TEXT)


def test_a_stretched_model_is_the_same_within_the_length_of_training(model):
    stretched, x = stretch(model, 4), tokens_of(model)[None, :8].long()
    assert stretched.config.block_size == 32
    with torch.no_grad():
        assert torch.allclose(stretched(x)[0], model.model(x)[0], atol=1e-6)


def test_a_stretched_position_table_keeps_its_rows_and_gets_fresh_ones_of_its_seed(tmp_path):
    trained(tmp_path / "run", ema=0.0)
    model = load_trained(tmp_path / "run", name=checkpoint.LAST)
    torch.manual_seed(1)
    one = stretch(model, 3).position_embedding_table.weight
    torch.manual_seed(2)
    other = stretch(model, 3).position_embedding_table.weight
    assert one.shape == (24, 8) and torch.equal(one, other)
    assert torch.equal(one[:8], model.model.position_embedding_table.weight)
    assert 0.005 < one[8:].std() < 0.05


def test_losses_by_position_average_to_the_loss_of_all_whole_windows(model):
    tokens = tokens_of(model)[: 8 * 50 + 1]
    losses = loss_by_position(model.model, tokens)
    assert losses.shape == (8,)
    assert losses.mean().item() == pytest.approx(exhaustive_loss(model.model, tokens), abs=1e-6)


def test_the_loss_of_a_position_is_that_of_the_token_that_follows_it(model):
    tokens = tokens_of(model)[:9]
    with torch.no_grad():
        logits, _ = model.model(tokens[None, :8].long())
    expected = -logits[0].log_softmax(-1)[torch.arange(8), tokens[1:].long()]
    assert torch.allclose(loss_by_position(model.model, tokens).float(), expected, atol=1e-5)


def test_a_cropped_context_is_always_full(model):
    # Two targets, both after 8 tokens: the last positions of the windows that start at 0 and at 4.
    tokens = tokens_of(model)[:13]
    expected = [loss_by_position(model.model, tokens[start : start + 9])[-1] for start in (0, 4)]
    assert cropped_loss(model.model, tokens, stride=4) == pytest.approx(sum(expected).item() / 2, abs=1e-6)


def test_a_text_that_is_too_short_is_refused(model):
    with pytest.raises(ValueError, match="a longer text or a smaller stretch"):
        loss_by_position(stretch(model, 4), tokens_of(model)[:32])
    with pytest.raises(ValueError, match="block_size \\+ 1 = 9"):
        cropped_loss(model.model, tokens_of(model)[:8])
