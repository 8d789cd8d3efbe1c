"""That gpt_core makes every tensor on the model's device, on a machine without a GPU: torch's functions are
watched for a tensor that was made without a device and meets one that has it (grader/worker/devices.py)."""

import types

import pytest
import torch

import gpt_core
from gpt_core.evaluation import exhaustive_loss
from gpt_core.sampling import Sampling, generate
from gpt_core.training.trainer import Trainer
from grader.worker import devices
from solutions.ex1_fused_attention import FusedMultiHeadAttention
from solutions.ex4_rope import RotaryAttention
from tests.gpt_core.tiny import TEXT, tiny_config

CONFIG = gpt_core.GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8, dropout=0.3)
MODELS = {
    "bigram": lambda: gpt_core.BigramLM(CONFIG),
    "single head": lambda: gpt_core.SingleHeadLM(CONFIG),
    "many heads": lambda: gpt_core.MultiHeadLM(CONFIG),
    "transformer": lambda: gpt_core.TransformerLM(CONFIG),
    "gpt": lambda: gpt_core.GPT(CONFIG),
    "gpt, fused": lambda: gpt_core.GPT(CONFIG, attention=FusedMultiHeadAttention),
    "gpt, rotary": lambda: gpt_core.GPT(CONFIG, attention=RotaryAttention, position_embedding=False),
}


@pytest.fixture
def tracing():
    module = types.ModuleType("nothing_graded")
    module.__file__ = __file__
    with devices.Tracing(module) as tracing:
        yield tracing


def on_the_device(model):
    """A model as .to(device) leaves it: its parameters and buffers lie there."""
    devices.place(*model.parameters(), *model.buffers())
    return model


@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_its_loss_and_gradients_and_writes_where_its_weights_lie(tracing, name):
    model = on_the_device(MODELS[name]())
    idx = torch.randint(11, (2, 8))
    devices.place(idx)
    _, loss = model(idx, idx)
    loss.backward()
    assert tracing.known_of(loss).state == devices.PLACED
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        written = generate(model.eval(), idx[:, :3], 9, generator=generator, sampling=Sampling(top_k=3))
    assert tracing.known_of(written).state == devices.PLACED and tracing.found is None
    assert exhaustive_loss(model, idx.flatten()) > 0


def test_the_trainer_trains_evaluates_and_saves_on_its_device(tracing, tmp_path):
    Trainer.start(tiny_config(), TEXT, tmp_path / "run").run()
    assert tracing.found is None


def test_a_mask_that_is_no_buffer_would_be_seen(tracing):
    model = on_the_device(gpt_core.GPT(CONFIG))
    for head in [part for part in model.modules() if isinstance(part, gpt_core.Head)]:
        mask = torch.ones(8, 8, dtype=torch.bool).tril()
        name = next(iter(dict(head.named_buffers())))
        delattr(head, name)
        setattr(head, name, mask)
    idx = torch.zeros(1, 8, dtype=torch.long)
    devices.place(idx)
    with pytest.raises(devices.StepError):
        model(idx)
