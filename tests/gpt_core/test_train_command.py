import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpt_core import checkpoint, train
from gpt_core.presets import preset
from gpt_core.terminal import TrainingDisplay
from gpt_core.train_config import TrainConfig
from gpt_core.trainer import Progress
from tests.gpt_core.tiny import assert_same_run

ROOT = Path(__file__).parents[2]
VALUES = [
    "toy", "--block-size", "8", "--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--batch-size", "4",
    "--steps", "12", "--warmup", "3", "--eval-interval", "5", "--eval-iters", "2", "--log-interval", "3",
    "--dropout", "0.3", "--device", "cpu", "--threads", "1",
]


def call(*arguments):
    """The exit status, also where argparse ends the call."""
    try:
        return train.main([str(a) for a in arguments])
    except SystemExit as end:
        return end.code


def test_ctrl_c_saves_and_resume_goes_on_bit_for_bit(tmp_path, monkeypatch, capsys):
    assert call(*VALUES, "--out", tmp_path / "whole") == 0
    real = TrainingDisplay.report

    def press_ctrl_c(self, event):
        real(self, event)
        if isinstance(event, Progress) and event.step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingDisplay, "report", press_ctrl_c)
        assert call(*VALUES, "--out", tmp_path / "run") == 130
    assert signal.getsignal(signal.SIGINT) is handler
    out = capsys.readouterr().out
    assert "Stopped after step 7, saved." in out and f"--resume {tmp_path / 'run'}" in out
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == 7
    assert call("--resume", tmp_path / "run") == 0
    assert "going on after step 7" in capsys.readouterr().out
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_second_ctrl_c_stops_at_once(tmp_path, monkeypatch, capsys):
    def press_twice(self, event):
        if isinstance(event, Progress):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingDisplay, "report", press_twice)
    assert call(*VALUES, "--out", tmp_path / "run") == 130
    assert "without saving" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == 0


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["lectrue"], "there is no preset 'lectrue'; the presets are toy, bigram"),
        (["toy", "--corpus", "hamlet"], "no corpus and no file named 'hamlet'"),
        (["toy", "--corpus", "EMPTY"], "holds no text"),
        (["toy", "--corpus", "SHORT"], "use a longer text or a smaller block_size"),
        (["toy", "--n-embd", "30"], "n_embd is 30 and n_head is 4"),
        (["toy", "--steps", "0"], "steps is 0; it must be at least 1"),
        (["toy", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["toy", "--lr", "nan"], "lr is nan; it must be a finite number"),
        (["toy", "--lr", "1e-9"], "min_lr is 0.0001; it must be at most lr"),
        (["toy", "--dropout", "1"], "dropout is 1.0; it must be at least 0 and below 1"),
        (["toy", "--warmup", "9999"], "warmup is 9999; it must be below steps"),
        (["toy", "--ema", "1"], "ema is 1.0; it must be at least 0 and below 1"),
        (["toy", "--precision", "half"], "precision is 'half'; it must be auto, float32 or bfloat16"),
        (["toy", "--device", "quantum"], "device is 'quantum'; it must be auto, cpu, cuda, cuda:N or mps"),
        (["toy", "--attention", "no.such:Part"], "no.such cannot be imported"),
        (["bigram", "--corpus", "toy", "--attention", "a:B"], "attention is 'a:B'; it must be left out unless"),
        (["toy", "--out", "EXISTS"], "exists, and holds no run to go on with: name another one with --out"),
        (["toy", "--out", "EMPTY"], "cannot be made, since a file is in the way"),
        (["toy", "--out", "EMPTY/below"], "cannot be made, since a file is in the way"),
        (["toy", "--out", "x" * 300], "cannot be made: File name too long"),
        (["toy", "--corpus", "x" * 5000], "there is no corpus and no file named"),
        (["toy", "--corpus", "EXISTS"], "EXISTS is a folder; name one UTF-8 text file"),
        (["toy", "--device", "meta"], "device is 'meta', which holds no numbers"),
        (["toy", "--batch-size", "1" + "0" * 30], "must be a whole number below 2**31"),
        (["toy", "--threads", "5000"], "threads is 5000; it must be at most 1024"),
        (["toy", "--nonsense"], "there is no option --nonsense; --help"),
        (["--resume", "NOWHERE"], "there is no run"),
        (["--resume", "EXISTS"], "EXISTS holds no checkpoint, since the run stopped before its first one"),
        (["--resume", "EMPTY"], "is damaged or is no checkpoint"),
        (["cpu", "--resume", "EXISTS"], "so cpu cannot be given with it"),
        (["--resume", "EXISTS", "--eval-iters", "3"], "so --eval-iters cannot be given with it"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(tmp_path, capsys, arguments, sentence):
    files = {name: tmp_path / name for name in ("EMPTY", "SHORT", "EXISTS", "NOWHERE")}
    files["EMPTY"].touch()
    files["SHORT"].write_text("To be, or not to be.")
    files["EXISTS"].mkdir()
    arguments = [files.get(a, tmp_path / a if a.startswith("EMPTY") or len(a) == 300 else a) for a in arguments]
    if "--resume" not in arguments and "--out" not in arguments:
        arguments += ["--out", tmp_path / "run"]
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and not (tmp_path / "run").exists()
    assert sentence in " ".join(err.split())
    assert "Traceback" not in err
    assert all(len(line) <= 100 for line in err.splitlines() if str(tmp_path) not in line and "xxx" not in line)


def test_a_loss_that_explodes_is_one_sentence_and_exit_status_1(tmp_path, capsys):
    assert call(*VALUES, "--lr", "1e30", "--warmup", "0", "--grad-clip", "0", "--out", tmp_path / "run") == 1
    err = " ".join(capsys.readouterr().err.split())
    assert err.startswith("step ") and "Try a lower lr (it is 1e+30)" in err


def test_the_output_fits_a_hundred_columns_and_ends_with_the_next_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*VALUES) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[-1] == 'next: python -m gpt_core.sample runs/toy --prompt "ANNE:" --temperature 0.7'
    assert "1 CPU thread, fused AdamW, 32 tokens per step" in lines[1]
    assert [line.split()[0] for line in lines[4:8]] == ["0", "5", "10", "12"]


def test_a_finished_run_resumed_stays_as_it_is_and_says_so(tmp_path, capsys):
    assert call(*VALUES, "--out", tmp_path / "run") == 0
    before = (tmp_path / "run" / checkpoint.LAST).read_bytes()
    capsys.readouterr()
    assert call("--resume", tmp_path / "run") == 0
    assert "is finished: it has made its 12 steps." in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "run" / checkpoint.LAST).read_bytes() == before


def test_every_option_of_a_run_is_explained():
    explained = train._explanations()
    assert set(explained) >= {field.name for field in dataclasses.fields(TrainConfig)} and all(explained.values())


def test_fewer_steps_than_the_warm_up_shorten_it_unless_it_is_given():
    toy = preset("toy")
    assert train._config(toy, {"steps": 60}).warmup == 6 and train._config(toy, {"steps": 101}).warmup == 100
    with pytest.raises(ValueError, match="warmup is 70"):
        train._config(toy, {"steps": 60, "warmup": 70})


def test_a_reader_that_leaves_early_does_not_end_the_training(tmp_path):
    command = f"{sys.executable} -m gpt_core.train {' '.join(VALUES)} --out {tmp_path / 'run'} | head -1"
    ended = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert "parameters" in ended.stdout and ended.stderr == ""
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == 12


def test_where_stdout_knows_no_bars_the_curve_is_ascii(tmp_path):
    command = [sys.executable, "-m", "gpt_core.train", *VALUES, "--out", str(tmp_path / "run")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "latin-1"})
    assert ended.returncode == 0 and ended.stderr == b"" and b"training loss" in ended.stdout


FAILING = """
ERROR = KeyError
from gpt_core import MultiHeadAttention
class Fails(MultiHeadAttention):
    passes = 0
    def forward(self, x):
        Fails.passes += self.training
        if Fails.passes > 3:
            raise ERROR("lost")
        return super().forward(x)
"""


@pytest.mark.parametrize("error, said", [("KeyError", "'lost'"), ("ValueError", "lost")])
def test_a_part_that_fails_while_it_trains_is_named_with_its_step_and_line(tmp_path, monkeypatch, capsys, error, said):
    (tmp_path / f"late_{error}.py").write_text(FAILING.replace("KeyError", error))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert call(*VALUES, "--attention", f"late_{error}:Fails", "--out", tmp_path / "run") == 1
    sentence = f"step 3: late_{error}:Fails fails: {error}: {said} (late_{error}.py, line 9)."
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == 0


def test_what_does_not_fit_into_memory_is_one_sentence(tmp_path, monkeypatch, capsys):
    def refuse(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(train.Trainer, "_update", refuse)
    assert call(*VALUES, "--out", tmp_path / "run") == 1
    assert "There is not enough memory" in " ".join(capsys.readouterr().err.split())


def test_a_disk_that_is_full_for_the_log_is_one_sentence_with_its_name(tmp_path, capsys, monkeypatch):
    def full(self, row):
        raise OSError(28, "No space left on device", str(self.path))

    monkeypatch.setattr("gpt_core.run_log.RunLog.write", full)
    assert call(*VALUES, "--out", tmp_path / "run") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"{tmp_path / 'run' / 'log.jsonl'}: No space left on device; the checkpoints are as they were")


def test_a_process_that_lost_the_others_says_so_and_one_alone_does_not():
    error = RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:4261.")
    assert "the one that failed first says why" in train._left_alone(error, train.World(rank=0, size=2))
    assert train._left_alone(error, train.World()) is None
    assert train._left_alone(RuntimeError("shapes differ"), train.World(rank=0, size=2)) is None
