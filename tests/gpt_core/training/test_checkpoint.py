import json
import sys

import pytest
import torch
from safetensors.torch import save_file

from gpt_core.evaluation import exhaustive_loss
from gpt_core.training import checkpoint
from gpt_core.training.checkpoint import CheckpointError
from gpt_core.training.events import Notice, TrainingFailed
from gpt_core.training.trained import load_trained
from gpt_core.training.trainer import Trainer
from tests.gpt_core.tiny import TEXT, assert_same_run, tiny_config, trained


@pytest.fixture
def run(tmp_path):
    trained(tmp_path / "run", stop_at=7)
    return tmp_path / "run"


@pytest.mark.parametrize("kept", [0, 5, 100, 2000, -1])
def test_a_checkpoint_cut_off_anywhere_is_refused_and_the_one_before_it_goes_on(run, tmp_path, kept):
    last = run / checkpoint.LAST
    last.write_bytes(last.read_bytes()[:kept])
    with pytest.raises(CheckpointError) as caught:
        Trainer.resume(run, TEXT)
    message = str(caught.value)
    assert "is damaged or is no checkpoint" in message and "\n" not in message
    assert str(run / checkpoint.PREVIOUS) in message
    Trainer.resume(run / checkpoint.PREVIOUS, TEXT).run()
    trained(tmp_path / "whole")
    assert_same_run(tmp_path / "whole", run)


@pytest.mark.parametrize(
    "metadata",
    [None, {"format": "pt"}, {"checkpoint": "{}"}, {"checkpoint": "[1]"}, {"checkpoint": "no json"}],
)
def test_a_safetensors_file_of_someone_else_is_refused(tmp_path, metadata):
    save_file({"w": torch.zeros(2)}, tmp_path / "x.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match="x.safetensors is a safetensors file, but no checkpoint of"):
        checkpoint.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a pickle in a zip", b"\xff" * 64, b"\x08" + bytes(7) + b"{}      "]
)
def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="x.pt is "):
        checkpoint.load(tmp_path / "x.pt")


def test_a_checkpoint_of_a_later_version_is_refused_by_its_number(tmp_path):
    document = json.dumps({"format": checkpoint.FORMAT, "version": 3})
    save_file({"w": torch.zeros(2)}, tmp_path / "x", metadata={"checkpoint": document})
    with pytest.raises(CheckpointError, match="format version 3, and this trainer reads 2"):
        checkpoint.load(tmp_path / "x")


def test_a_run_without_a_checkpoint_and_no_run_at_all_are_told_apart(tmp_path):
    with pytest.raises(CheckpointError, match="there is no run"):
        checkpoint.find(tmp_path / "nothing")
    with pytest.raises(
        CheckpointError, match="holds no checkpoint, since the run stopped before its first one"
    ):
        checkpoint.find(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CheckpointError, match="is not the folder of a run: it has no checkpoint"):
        checkpoint.find(tmp_path)


def test_a_flipped_bit_anywhere_is_found_and_the_one_before_goes_on(run):
    last = run / checkpoint.LAST
    whole = last.read_bytes()
    places = torch.randint(len(whole), (40,), generator=torch.Generator().manual_seed(1)).tolist()
    for place in [*places, 8, 9, len(whole) - 1]:
        last.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=f"--resume .*{checkpoint.PREVIOUS}") as caught:
            Trainer.resume(run, TEXT)
        assert "\n" not in str(caught.value)
    Trainer.resume(run / checkpoint.PREVIOUS, TEXT)


def test_going_on_from_the_one_before_never_puts_the_damaged_one_in_its_place(run, monkeypatch):
    (run / checkpoint.LAST).write_bytes(b"damaged")
    before = (run / checkpoint.PREVIOUS).read_bytes()
    t = Trainer.resume(run / checkpoint.PREVIOUS, TEXT)

    def full(path, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_file", full)
        with pytest.raises(checkpoint.NoSpace):
            t.run()
    assert (run / checkpoint.PREVIOUS).read_bytes() == before
    real = checkpoint.os.replace

    def killed_at_the_last_rename(source, target):
        if target == run / checkpoint.LAST:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "replace", killed_at_the_last_rename)
        with pytest.raises(KeyboardInterrupt):
            Trainer.resume(run / checkpoint.PREVIOUS, TEXT).run()
    assert (run / checkpoint.PREVIOUS).read_bytes() == before
    Trainer.resume(run / checkpoint.PREVIOUS, TEXT).run()
    assert checkpoint.load(run / checkpoint.LAST).info["step"] == 12
    assert checkpoint.load(run / checkpoint.PREVIOUS).info["step"] == 10


def test_the_checkpoint_that_a_run_went_on_from_becomes_the_one_before(run):
    t = Trainer.resume(run, TEXT)
    assert t.step == 7
    t.run(should_stop=lambda: t.step == 8)
    assert [checkpoint.load(run / name).info["step"] for name in (checkpoint.PREVIOUS, checkpoint.LAST)] == [
        7,
        8,
    ]


def test_a_save_that_fails_leaves_both_checkpoints(run, monkeypatch):
    before = {name: (run / name).read_bytes() for name in (checkpoint.LAST, checkpoint.PREVIOUS)}
    assert len(set(before.values())) == 2
    t = Trainer.resume(run, TEXT)
    monkeypatch.setattr(
        checkpoint, "write_file", lambda path, content: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(checkpoint.NoSpace):
        t.run()
    assert before == {name: (run / name).read_bytes() for name in before}


def test_a_run_without_a_checkpoint_leaves_no_folder_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("gpt_core.training.trainer.exhaustive_loss", lambda model, tokens: float("nan"))
    with pytest.raises(TrainingFailed, match="nan before any training"):
        trained(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_saving_that_fails_at_the_rename_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    checkpoint.save(path, {"w": torch.ones(2)}, {"step": 1})

    def refuse(*args):
        raise OSError("no")

    monkeypatch.setattr(checkpoint.os, "replace", refuse)
    with pytest.raises(checkpoint.NoSpace, match="what was saved before is untouched"):
        checkpoint.save(path, {"w": torch.zeros(2)}, {"step": 2})
    assert checkpoint.load(path).info["step"] == 1 and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(checkpoint.os, name)
        monkeypatch.setattr(checkpoint.os, name, lambda *a, n=name, f=real: (order.append(n), f(*a))[1])
    checkpoint.save(tmp_path / "x", {"w": torch.ones(2)}, {})
    assert order[:2] == ["fsync", "replace"]


def test_tensors_keep_their_bits_and_dtypes_shared_memory_included(tmp_path):
    base = torch.arange(6, dtype=torch.uint8)
    tensors = {
        "a": base[:3],
        "b": base[::2],
        "c": torch.tensor(float("nan")),
        "d": torch.ones(2, dtype=torch.bfloat16),
    }
    checkpoint.save(tmp_path / "x", tensors, {"chars": "é\n"})
    loaded = checkpoint.load(tmp_path / "x")
    for name, t in tensors.items():
        assert loaded.tensors[name].dtype == t.dtype
        assert torch.equal(loaded.tensors[name].nan_to_num(7.0), t.nan_to_num(7.0))
    assert loaded.info["chars"] == "é\n"


def test_a_loaded_tensor_can_be_changed_without_changing_the_file(tmp_path):
    checkpoint.save(tmp_path / "x", {"w": torch.ones(2000)}, {})
    checkpoint.load(tmp_path / "x").tensors["w"].zero_()
    assert checkpoint.load(tmp_path / "x").tensors["w"].sum() == 2000


def test_a_trained_model_comes_back_with_its_part_and_in_eval_mode(tmp_path):
    spec = "solutions.ex1_fused_attention:FusedMultiHeadAttention"
    t = trained(tmp_path / "run", attention=spec, ema=0.0)
    loaded = load_trained(tmp_path / "run", name=checkpoint.LAST)
    idx = torch.arange(8)[None]
    t.model.eval()
    assert torch.equal(loaded.model(idx)[0], t.model(idx)[0])
    assert not loaded.model.training and loaded.tokenizer.chars == t.tokenizer.chars and loaded.step == 12


def test_a_part_that_changed_since_the_run_is_told_and_not_half_loaded(tmp_path, monkeypatch):
    trained(tmp_path / "run", attention="solutions.ex1_fused_attention:FusedMultiHeadAttention", steps=4)
    import solutions.ex1_fused_attention as module
    from gpt_core import MultiHeadAttention

    monkeypatch.setattr(module, "FusedMultiHeadAttention", MultiHeadAttention)
    with pytest.raises(ValueError, match="do not fit the model that solutions.ex1"):
        load_trained(tmp_path / "run")


TIED = """
import torch.nn as nn
class Tied(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.one = self.two = nn.Linear(config.n_embd, config.n_embd)
    def forward(self, x):
        return self.two(self.one(x).relu())
"""


def test_the_averages_of_a_shared_parameter_are_those_that_were_evaluated(tmp_path, monkeypatch):
    (tmp_path / "tied_part.py").write_text(TIED)
    monkeypatch.syspath_prepend(str(tmp_path))
    t = trained(tmp_path / "run", feed_forward="tied_part:Tied", ema=0.9)
    loaded = load_trained(tmp_path / "run", name=checkpoint.LAST)
    assert exhaustive_loss(loaded.model, t.val_tokens) == t.last_eval[0]


def test_a_part_whose_file_changed_is_told_when_the_run_goes_on(tmp_path, monkeypatch):
    source = tmp_path / "changing_part.py"
    source.write_text(TIED)
    monkeypatch.syspath_prepend(str(tmp_path))
    trained(tmp_path / "run", stop_at=5, feed_forward="changing_part:Tied")
    said = []
    Trainer.resume(tmp_path / "run", TEXT, report=said.append)
    assert said == []
    source.write_text(TIED + "# changed\n")
    Trainer.resume(tmp_path / "run", TEXT, report=said.append)
    assert [isinstance(notice, Notice) and "changing_part has changed" in notice.text for notice in said] == [
        True
    ]
    sys.modules.pop("changing_part")
    source.write_text(
        TIED.replace("(config.n_embd, config.n_embd)", "(config.n_embd, config.n_embd, bias=False)")
    )
    with pytest.raises(ValueError, match="do not fit the model that changing_part:Tied builds now"):
        Trainer.resume(tmp_path / "run", TEXT)


def test_a_run_resumed_at_step_0_logs_its_first_evaluation_once(tmp_path):
    trained(tmp_path / "whole")
    t = Trainer.start(tiny_config(), TEXT, tmp_path / "run")
    t._train_until_next_eval = lambda should_stop: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        t.run()
    Trainer.resume(tmp_path / "run", TEXT).run()
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_model_without_its_run_can_be_sampled_from_and_not_resumed(run):
    saved = checkpoint.load(run / checkpoint.BEST)
    info = {key: saved.info[key] for key in ("train_config", "tokenizer", "step")}
    checkpoint.save(
        run / "model.safetensors", {f"model.{n}": t for n, t in saved.part("model").items()}, info
    )
    assert load_trained(run / "model.safetensors").step == saved.info["step"]
    with pytest.raises(CheckpointError, match="holds a model, and not the run that made it"):
        Trainer.resume(run / "model.safetensors", TEXT)


def test_what_a_checkpoint_says_of_its_run_is_read_without_its_tensors(run, tmp_path):
    assert checkpoint.read_info(run / "last.safetensors") == checkpoint.load(run / "last.safetensors").info
    (tmp_path / "none.safetensors").write_bytes(b"no checkpoint")
    for name, sentence in (("none.safetensors", "is no checkpoint"), ("gone.safetensors", "there is no")):
        with pytest.raises(CheckpointError, match=sentence):
            checkpoint.read_info(tmp_path / name)
