"""Presets, the training configuration, and the choice of device, precision and threads."""

import dataclasses

import pytest
import torch

from gpt_core.batches import Batches
from gpt_core.models import GPT
from gpt_core.training.device import (
    choose_device,
    choose_precision,
    choose_threads,
    generator_states,
    set_generator_states,
    trial_step,
)
from gpt_core.training.events import Notice
from gpt_core.training.optimizer import adamw
from gpt_core.training.plugins import build_model
from gpt_core.training.presets import PRESETS, preset
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trainer import Trainer
from tests.gpt_core.tiny import TEXT, tiny_config


def parameters(config, vocab_size=65):
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(config, vocab_size).parameters())


# (block, batch, layers, heads, width, steps, dropout, lr) as they were published.
@pytest.mark.parametrize(
    "name, published",
    [
        ("cpu", (64, 12, 4, 4, 128, 2000, 0.0, 1e-3)),
        ("lecture", (256, 64, 6, 6, 384, 5000, 0.2, 3e-4)),
        ("p100", (32, 256, 8, 8, 128, 10_000, 0.1, 3e-4)),
        ("a100", (256, 128, 10, 8, 512, 5000, 0.2, 1e-4)),
    ],
)
def test_a_preset_has_the_published_values(name, published):
    c = preset(name)
    assert (c.block_size, c.batch_size, c.n_layer, c.n_head, c.n_embd, c.steps, c.dropout, c.lr) == published


def test_the_ladder_has_five_rungs_that_differ_in_the_model_alone():
    rungs = [preset(n) for n in ("bigram", "single-head", "multi-head", "transformer", "gpt")]
    assert [c.model for c in rungs] == ["bigram", "single-head", "multi-head", "transformer", "gpt"]
    assert len({dataclasses.replace(c, model="gpt") for c in rungs}) == 1
    assert (rungs[0].block_size, rungs[0].batch_size, rungs[0].n_embd, rungs[0].steps) == (8, 32, 32, 5000)


def test_the_best_preset_keeps_to_the_budget_of_the_lecture():
    assert parameters(preset("best")) == parameters(preset("lecture")) == 10_788_929


def test_every_preset_can_be_built():
    for name, config in PRESETS.items():
        assert parameters(config) > 0, name


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"steps": 1.5}, "steps is 1.5; it must be a whole number"),
        ({"steps": True}, "steps is True"),
        ({"lr": "fast"}, "lr is 'fast'; it must be a finite number"),
        ({"lr": 0.0}, "lr is 0.0; it must be above 0"),
        ({"compile": 1}, "compile is 1; it must be True or False"),
        ({"model": "rnn"}, "one of bigram"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"grad_clip": -1.0}, "grad_clip is -1.0"),
        ({"beta2": 1.0}, "beta2 is 1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"block_size": 0}, "block_size is 0"),
        ({"model": "bigram", "position_embedding": False}, "position_embedding is False"),
    ],
)
def test_a_value_that_cannot_be_trained_with_is_refused_by_name(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        TrainConfig(**values)


def test_a_configuration_cannot_be_changed_after_it_was_validated():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().lr = 1.0


def test_the_rule_for_threads_gives_small_models_one_and_shares_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert choose_threads(preset("gpt")) == choose_threads(preset("cpu")) == 1
    assert choose_threads(preset("lecture")) == 8
    assert choose_threads(preset("lecture"), processes_here=4) == 2
    assert choose_threads(preset("lecture"), processes_here=16) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose_threads(preset("lecture")) == 3
    assert choose_threads(dataclasses.replace(preset("lecture"), threads=5)) == 5
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")  # torchrun's own OMP_NUM_THREADS is nobody's wish
    assert choose_threads(preset("lecture"), processes_here=4) == 2


def test_a_gpu_is_chosen_by_rank_and_bfloat16_where_it_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    gpu = choose_device("auto", local_rank=1)
    assert gpu == torch.device("cuda", 1) == choose_device("cuda", local_rank=1)
    assert choose_device("cuda:0", local_rank=1) == torch.device("cuda", 0)
    assert choose_precision("auto", gpu) == torch.bfloat16
    assert choose_precision("float32", gpu) == torch.float32
    assert choose_precision("auto", torch.device("cpu")) == torch.float32
    with pytest.raises(ValueError, match="cuda:2, and there are 2 GPUs"):
        choose_device("auto", local_rank=2)


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="torch sees no GPU here; use --device cpu"):
        choose_device("cuda")


@pytest.fixture
def apple(monkeypatch):
    """A machine that says it has an mps device; apple(place): a trial on it computes on `place` instead."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    trial_step.cache_clear()
    yield lambda place: monkeypatch.setattr(
        "gpt_core.training.device.trial_step", lambda device: trial_step(place)
    )
    trial_step.cache_clear()


def test_auto_takes_an_apple_gpu_where_a_trial_step_goes_well_and_computes_in_float32(apple, monkeypatch):
    apple("cpu")
    monkeypatch.setattr(torch, "zeros", lambda *size, device: None)  # there is none to put a tensor on
    notes = []
    device = choose_device("auto", note=notes.append)
    assert device == torch.device("mps") and notes == []
    assert choose_precision("auto", device) == torch.float32


def test_an_apple_gpu_on_which_a_trial_step_raises_is_left_for_the_cpu_with_a_note(apple):
    notes = []
    assert choose_device("auto", note=notes.append) == torch.device("cpu")  # torch here was built without mps
    assert len(notes) == 1 and notes[0].startswith("A trial step on the device mps goes wrong (")
    assert notes[0].endswith("), so this is computed on the CPU.")


def test_a_device_with_wrong_numbers_fails_its_trial_and_the_cpu_does_not(monkeypatch):
    assert trial_step("cpu") is None
    trial_step.cache_clear()
    real, calls = GPT.forward, []

    def wrong_the_second_time(self, idx, targets):
        calls.append(1)
        logits, loss = real(self, idx, targets)
        return logits, loss * (1.01 if len(calls) == 2 else 1)

    monkeypatch.setattr(GPT, "forward", wrong_the_second_time)
    assert trial_step("cpu") == "it gives other numbers than the CPU"
    trial_step.cache_clear()


def test_processes_that_train_together_do_not_share_an_apple_gpu(apple):
    apple("cpu")
    assert choose_device("auto", processes=2) == torch.device("cpu")


def test_a_run_says_once_that_the_apple_gpu_was_not_taken_and_trains_on_the_cpu(apple, tmp_path):
    events = []
    config = tiny_config(device="auto", steps=4, warmup=0)
    Trainer.start(config, TEXT, tmp_path / "run", report=events.append).run()
    notes = [event.text for event in events if isinstance(event, Notice)]
    assert len(notes) == 1 and "computed on the CPU" in notes[0]


def test_the_generator_of_an_apple_gpu_is_saved_and_set_beside_that_of_the_cpu(monkeypatch):
    there, states = torch.device("mps"), [torch.tensor([7], dtype=torch.uint8)]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", states.append)
    kept = generator_states(there)
    assert kept.keys() == {"cpu", "mps"}
    set_generator_states(kept, there)
    set_generator_states({"cpu": kept["cpu"]}, there)  # of a run that was on a CPU before
    assert len(states) == 2 and states[1] is kept["mps"]
    assert generator_states(torch.device("cpu")).keys() == {"cpu"}


def test_a_trial_step_moves_no_generator():
    trial_step.cache_clear()
    before = torch.get_rng_state()
    trial_step("cpu")
    assert torch.equal(before, torch.get_rng_state())


def test_batches_model_and_optimizer_stay_on_the_device_of_the_tokens():
    config = tiny_config()
    model = build_model(config, vocab_size=5).to("meta")
    batches = Batches(torch.zeros(100, dtype=torch.uint8, device="meta"), config.block_size, seed=1)
    x, y = batches.take(batches.draw(4))
    assert x.device.type == y.device.type == "meta"
    logits, loss = model(x, y)
    loss.backward()
    assert logits.device.type == loss.device.type == "meta"
    adamw(list(model.parameters()), config).step()
    assert all(p.device.type == "meta" for p in model.parameters())


def test_bfloat16_training_keeps_float32_weights_and_differs_from_float32(tmp_path):
    from tests.gpt_core.tiny import losses, trained

    t = trained(tmp_path / "bf16", precision="bfloat16")
    trained(tmp_path / "fp32")
    assert all(p.dtype == torch.float32 for p in t.model.parameters())
    a, b = (
        [r["val_loss"] for r in losses(tmp_path / name) if r["kind"] == "eval"][-1]
        for name in ("bf16", "fp32")
    )
    assert a != b and a == pytest.approx(b, abs=0.02)
