import errno
import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpt_core.layers import MultiHeadAttention
from gpt_core.training import checkpoint, plugins
from gpt_core.training import trainer as trainer_module
from gpt_core.training.checkpoint import NoSpace
from gpt_core.training.events import Notice, TrainingFailed, Updated
from gpt_core.training.optimizer import adamw, learning_rate
from gpt_core.training.presets import preset
from gpt_core.training.trainer import Trainer
from tests.gpt_core.tiny import TEXT, assert_same_run, losses, tiny_config, trained

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that never stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    trained(folder)
    return folder


# Step 5 is an evaluation, 6 a line of the log, 4 and 7 neither, 1 lies in the warm-up.
@pytest.mark.parametrize("stop_at", [1, 4, 5, 6, 7, 11])
def test_a_run_stopped_and_resumed_is_bit_for_bit_the_run_that_never_stopped(whole, tmp_path, stop_at):
    trained(tmp_path / "run", stop_at)
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == stop_at
    torch.manual_seed(99)  # what happened to the global generator in between must not matter
    resumed = Trainer.resume(tmp_path / "run", TEXT)
    result = resumed.run()
    assert result.finished and result.step == 12
    assert_same_run(whole, tmp_path / "run")


@pytest.mark.parametrize("stop_at", [4, 7, 11])
def test_a_run_in_epochs_goes_on_bit_for_bit_in_the_middle_of_one(tmp_path, stop_at):
    epochs = {"windows": "epochs", "block_size": 64}  # an epoch of 2,700 characters has 42 windows
    trained(tmp_path / "whole", **epochs)
    trained(tmp_path / "run", stop_at, **epochs)
    assert Trainer.resume(tmp_path / "run", TEXT).run().finished
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_the_same_seed_gives_the_same_run_and_another_seed_another(whole, tmp_path):
    trained(tmp_path / "again")
    assert_same_run(whole, tmp_path / "again")
    trained(tmp_path / "other", seed=2)
    assert losses(tmp_path / "other") != losses(whole)


KILLED_WHILE_SAVING = """
import os, signal, sys
from gpt_core.training import checkpoint
from tests.gpt_core.tiny import trained
saves = []
def write_file(path, content, real=checkpoint.write_file):
    saves.append(path)
    real(path, content)
    if path.name.startswith("last") and sum(p.name.startswith("last") for p in saves) == 3:
        os.truncate(path, os.path.getsize(path) // 2)  # half of it has reached the disk
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.write_file = write_file
from pathlib import Path
trained(Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_writing_a_checkpoint_goes_on_bit_for_bit(whole, tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, tmp_path / "run"], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "last.safetensors.writing").exists()
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == 5
    Trainer.resume(tmp_path / "run", TEXT).run()
    assert_same_run(whole, tmp_path / "run")


def test_the_loss_falls_and_the_best_checkpoint_is_the_one_with_the_lowest_loss(tmp_path):
    t = trained(tmp_path / "run", steps=60, ema=0.0, dropout=0.0)
    evals = [row for row in losses(tmp_path / "run") if row["kind"] == "eval"]
    assert abs(evals[0]["val_loss"] - math.log(t.tokenizer.vocab_size)) < 0.1
    assert evals[-1]["val_loss"] < evals[0]["val_loss"] - 0.8
    best = min(evals, key=lambda row: row["val_loss"])
    assert checkpoint.load(tmp_path / "run" / checkpoint.BEST).info["best"] == [
        best["val_loss"],
        best["step"],
    ]


def test_two_accumulated_halves_make_the_update_of_the_whole_batch(tmp_path):
    settings = {"dropout": 0.0, "steps": 4, "warmup": 0, "ema": 0.0}
    halves = trained(tmp_path / "halves", batch_size=4, accumulation=2, **settings)
    whole = trained(tmp_path / "whole", batch_size=8, accumulation=1, **settings)
    for a, b in zip(halves.model.parameters(), whole.model.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    # Adam and clipping forget the scale of a gradient, so the weights alone would not show a wrong one.
    for a, b in zip(losses(tmp_path / "halves"), losses(tmp_path / "whole"), strict=True):
        if a["kind"] == "train":
            assert (a["loss"], a["grad_norm"]) == pytest.approx((b["loss"], b["grad_norm"]), rel=1e-4)


def test_a_later_and_higher_loss_leaves_the_best_checkpoint_alone(tmp_path, monkeypatch):
    scripted = iter([3.0, 2.0, 2.5, 2.2])  # at steps 0, 5, 10 and 12
    monkeypatch.setattr(trainer_module, "exhaustive_loss", lambda model, tokens: next(scripted))
    trained(tmp_path / "run")
    best = checkpoint.load(tmp_path / "run" / checkpoint.BEST)
    assert best.info["step"] == 5 and best.info["best"] == [2.0, 5]
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["best"] == [2.0, 5]


class BreaksAtFive(MultiHeadAttention):
    """Gives nan from the fifth training pass on."""

    passes = 0

    def forward(self, x):
        type(self).passes += self.training
        return super().forward(x) * (float("nan") if type(self).passes > 5 else 1.0)


def test_a_loss_that_is_nan_stops_at_its_step_and_keeps_the_last_good_checkpoint(tmp_path):
    BreaksAtFive.passes = -1  # the trial of the part is a pass in train mode too
    run = Trainer.start(
        tiny_config(attention=f"{__name__}:BreaksAtFive", accumulation=1, eval_interval=3),
        TEXT,
        tmp_path / "run",
    )
    with pytest.raises(TrainingFailed, match="^step 6: the loss is nan"):
        run.run()
    last = checkpoint.load(tmp_path / "run" / checkpoint.LAST)
    assert last.info["step"] == 3
    assert all(torch.isfinite(t).all() for t in last.part("model").values())


def test_a_full_disk_ends_the_run_with_one_sentence_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    run = Trainer.start(tiny_config(), TEXT, tmp_path / "run")
    real = checkpoint.write_file

    def full_after_step_5(path, content):
        if run.step > 5:
            path.write_bytes(b"half a check")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    monkeypatch.setattr(checkpoint, "write_file", full_after_step_5)
    with pytest.raises(NoSpace, match="could not be written .*No space left on device"):
        run.run()
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == 5
    assert not list((tmp_path / "run").glob("*.writing"))


def test_where_torch_compile_fails_the_run_says_so_and_is_the_same(whole, tmp_path, monkeypatch):
    def no_compiler(model):
        def forward(*args):
            torch.rand(3)  # a failed trial may have drawn numbers
            raise RuntimeError("no C++ compiler here\nlong story")

        return forward

    monkeypatch.setattr(torch, "compile", no_compiler)
    events = []
    Trainer.start(tiny_config(compile=True), TEXT, tmp_path / "run", report=events.append).run()
    notices = [e.text for e in events if isinstance(e, Notice)]
    assert len(notices) == 1 and "no C++ compiler here" in notices[0] and "long story" not in notices[0]
    assert losses(tmp_path / "run") == losses(whole)


def test_a_compiled_model_is_the_one_that_is_trained(tmp_path, monkeypatch):
    calls = []

    def compile_by_counting(model):
        def forward(*args):
            calls.append(model.training)
            return model(*args)

        return forward

    monkeypatch.setattr(torch, "compile", compile_by_counting)
    trained(tmp_path / "run", compile=True, steps=4, warmup=0)
    assert calls == [True] * (1 + 4 * 2)  # the trial, then four updates of two passes


def test_the_fused_attention_of_the_first_exercise_plugs_in_and_trains(tmp_path):
    t = trained(tmp_path / "run", attention="solutions.ex1_fused_attention:FusedMultiHeadAttention")
    assert all(type(block.attention).__name__ == "FusedMultiHeadAttention" for block in t.model.blocks)
    evals = [row["val_loss"] for row in losses(tmp_path / "run") if row["kind"] == "eval"]
    assert evals[-1] < evals[0]


@pytest.mark.parametrize("rung", ["bigram", "single-head", "multi-head", "transformer"])
def test_every_rung_of_the_ladder_trains(tmp_path, rung):
    trained(tmp_path / rung, model=rung)
    evals = [row["val_loss"] for row in losses(tmp_path / rung) if row["kind"] == "eval"]
    assert evals[-1] < evals[0]


def test_a_run_folder_that_exists_is_never_written_to(tmp_path):
    with pytest.raises(ValueError, match="exists, and holds no run to go on with: name another one"):
        Trainer.start(tiny_config(), TEXT, tmp_path)
    assert list(tmp_path.iterdir()) == []
    trained(tmp_path / "run", stop_at=1)
    with pytest.raises(ValueError, match=f"exists: --resume {tmp_path / 'run'} goes on with that run"):
        Trainer.start(tiny_config(), TEXT, tmp_path / "run")


def test_a_text_shorter_than_a_block_is_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(ValueError, match="8 characters, .* block_size \\+ 1 = 9"):
        Trainer.start(tiny_config(), TEXT[:80], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resuming_on_another_text_is_refused(tmp_path):
    trained(tmp_path / "run", stop_at=1)
    with pytest.raises(ValueError, match="toy is not the text that"):
        Trainer.resume(tmp_path / "run", TEXT + "!")


def test_the_averaged_weights_are_evaluated_and_the_plain_ones_go_on(tmp_path):
    t = trained(tmp_path / "run")
    saved = checkpoint.load(tmp_path / "run" / checkpoint.LAST)
    plain, averaged = saved.part("model"), saved.part("ema")
    assert all(torch.equal(plain[n], p) for n, p in t.model.named_parameters())
    assert not any(torch.equal(plain[n], averaged[n]) for n, _ in t.model.named_parameters())
    from gpt_core.evaluation import exhaustive_loss
    from gpt_core.training.trained import load_trained

    model = load_trained(tmp_path / "run", name=checkpoint.LAST).model
    assert exhaustive_loss(model, t.val_tokens) == saved.info["last_eval"][0]


def test_decay_is_on_matrices_only_and_every_parameter_is_trained_once():
    config = tiny_config(weight_decay=0.3)
    model = plugins.build_model(config, vocab_size=5)
    groups = adamw(list(model.parameters()), config).param_groups
    decayed = {id(p) for g in groups if g["weight_decay"] == 0.3 for p in g["params"]}
    assert decayed == {id(p) for p in model.parameters() if p.ndim >= 2}
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


def test_the_rate_rises_linearly_and_falls_along_a_cosine_to_its_minimum():
    config = tiny_config(steps=110, warmup=10, lr=1.0, min_lr=0.2)
    assert [learning_rate(s, config) for s in (1, 5, 10)] == [0.1, 0.5, 1.0]
    assert learning_rate(60, config) == pytest.approx(0.6)
    assert learning_rate(35, config) == pytest.approx(0.6 + 0.4 * math.cos(math.pi / 4))
    assert learning_rate(110, config) == pytest.approx(0.2)
    constant = preset("lecture")
    assert {learning_rate(s, constant) for s in (1, 2500, 5000)} == {3e-4}


def test_training_leaves_the_thread_count_as_it_was_and_prints_nothing(tmp_path, capfd):
    before = torch.get_num_threads()
    trained(tmp_path / "run", threads=before + 1, steps=4)
    assert torch.get_num_threads() == before
    assert capfd.readouterr() == ("", "")


def test_the_log_reports_each_update_once_in_rows_of_the_documented_keys(tmp_path):
    events = []
    Trainer.start(tiny_config(), TEXT, tmp_path / "run", report=events.append).run()
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    train = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in train] == [3, 5, 6, 9, 10, 12]
    assert set(train[0]) == {"kind", "step", "loss", "lr", "grad_norm", "tokens_per_second", "seconds"}
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [0, 5, 10, 12]
    assert [e.loss for e in events if isinstance(e, Updated)] == [row["loss"] for row in train]


@pytest.mark.parametrize(
    "spec, sentence",
    [
        ("nothing", "write it as module:Class"),
        ("no.such.module:Thing", "no.such.module cannot be imported: ModuleNotFoundError"),
        ("gpt_core:Nothing", "gpt_core has nothing of that name"),
        ("gpt_core:GPTConfig", "something that is no torch.nn.Module"),
        (f"{__name__}:NotWrittenYet", "is not written yet: NotImplementedError: write the forward pass"),
        (f"{__name__}:WrongShape", r"turns \(2, 4, 8\) into \(2, 4, 4\); a part keeps the shape"),
        ("torch.nn:LayerNorm", "torch.nn:LayerNorm cannot be built"),
    ],
)
def test_a_part_that_cannot_be_plugged_in_is_refused_with_the_reason(spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        plugins.build_model(tiny_config(attention=spec), vocab_size=5)


class NotWrittenYet(torch.nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, x):
        raise NotImplementedError("write the forward pass")


class WrongShape(NotWrittenYet):
    def forward(self, x):
        return x[..., :4]


def test_no_published_attribute_of_a_run_is_pickled(whole):
    for path in whole.iterdir():
        head = path.read_bytes()[:2]
        assert head != b"PK" and head[:1] != b"\x80", path  # torch.save's zip, and a pickle
    assert {p.name for p in whole.iterdir()} == {
        "log.jsonl",
        checkpoint.LAST,
        checkpoint.PREVIOUS,
        checkpoint.BEST,
    }
