import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpt_core import train
from gpt_core.training import checkpoint, state
from gpt_core.training.events import Updated
from gpt_core.training.optimizer import learning_rate
from gpt_core.training.presets import preset
from gpt_core.training.run_log import RunLog
from gpt_core.training.terminal import TrainingDisplay
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trainer import Trainer
from tests.gpt_core.tiny import TEXT, assert_same_run, call_suggested, trained

ROOT = Path(__file__).parents[2]
VALUES = [
    "toy",
    "--block-size",
    "8",
    "--n-layer",
    "1",
    "--n-head",
    "2",
    "--n-embd",
    "8",
    "--batch-size",
    "4",
    "--steps",
    "12",
    "--warmup",
    "3",
    "--eval-interval",
    "5",
    "--eval-iters",
    "2",
    "--log-interval",
    "3",
    "--dropout",
    "0.3",
    "--device",
    "cpu",
    "--threads",
    "1",
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
        if isinstance(event, Updated) and event.step == 6:
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
        if isinstance(event, Updated):
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
        (
            ["bigram", "--corpus", "toy", "--attention", "a:B"],
            "attention is 'a:B'; it must be left out unless",
        ),
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
        (["toy", "--extend", "900"], "--extend goes on with a run: name it with --resume"),
        (["toy", "--init-from", "NOWHERE"], "there is no run"),
        (["toy", "--init-from", "EXISTS"], "EXISTS holds no checkpoint"),
        (["toy", "--transfer", "a:b"], "transfer is 'a:b'; it must be left out unless init_from is given"),
        (["toy", "--windows", "all"], "windows is 'all'; it must be random or epochs"),
        (["--resume", "EXISTS", "--eval-iters", "3"], "so --eval-iters cannot be given with it"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(tmp_path, capsys, arguments, sentence):
    files = {name: tmp_path / name for name in ("EMPTY", "SHORT", "EXISTS", "NOWHERE")}
    files["EMPTY"].touch()
    files["SHORT"].write_text("To be, or not to be.")
    files["EXISTS"].mkdir()
    arguments = [
        files.get(a, tmp_path / a if a.startswith("EMPTY") or len(a) == 300 else a) for a in arguments
    ]
    if "--resume" not in arguments and "--out" not in arguments:
        arguments += ["--out", tmp_path / "run"]
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and not (tmp_path / "run").exists()
    assert sentence in " ".join(err.split())
    assert "Traceback" not in err
    assert all(
        len(line) <= 100 for line in err.splitlines() if str(tmp_path) not in line and "xxx" not in line
    )


def test_a_finished_run_is_extended_and_its_rate_is_that_of_the_longer_run(tmp_path, capsys):
    run = tmp_path / "run"
    assert call(*VALUES, "--min-lr", "1e-4", "--out", run) == 0
    capsys.readouterr()
    assert call("--resume", run) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"For more of them: --resume {run} --extend 24" in said
    assert call("--resume", run, "--extend", "24") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "The run goes on to step 24, with the learning rate of a run of 24 steps: after 0.0001 at step 12"
        in out
    )
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rates = {row["step"]: row["lr"] for row in rows if row["kind"] == "train"}
    longer = dataclasses.replace(preset("toy"), steps=24, warmup=3, min_lr=1e-4)
    assert rates[15] == pytest.approx(learning_rate(15, longer)) and rates[24] == pytest.approx(1e-4)
    info = checkpoint.load(run / checkpoint.LAST).info
    assert info["step"] == 24 and info["train_config"]["steps"] == 24


def test_extending_to_no_more_steps_is_refused(tmp_path, capsys):
    assert call(*VALUES, "--out", tmp_path / "run") == 0
    before = (tmp_path / "run" / checkpoint.LAST).read_bytes()
    assert call("--resume", tmp_path / "run", "--extend", "12") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the run has 12 steps; --extend takes a larger number, their new total." in said
    assert (tmp_path / "run" / checkpoint.LAST).read_bytes() == before


def test_a_run_that_begins_with_the_weights_of_another_has_its_loss_and_steps_of_its_own(tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert call(*VALUES, "--out", first) == 0
    assert call(*VALUES, "--init-from", first, "--ema", "0.9", "--out", second) == 0
    assert f"The weights are those of {first} after step" in " ".join(capsys.readouterr().out.split())
    rows = [json.loads(line) for line in (second / "log.jsonl").read_text().splitlines()]
    best = checkpoint.load(first / checkpoint.BEST).info["best"]
    assert rows[0]["step"] == 0 and rows[0]["val_loss"] == pytest.approx(best[0], abs=1e-5)
    assert checkpoint.load(second / checkpoint.LAST).info["step"] == 12
    (first / checkpoint.BEST).unlink()
    (first / checkpoint.LAST).unlink()
    assert call("--resume", second, "--extend", "15") == 0  # needs the first run no more


def test_weights_that_do_not_fit_are_refused_before_anything_is_made(tmp_path, capsys):
    first = tmp_path / "first"
    assert call(*VALUES, "--out", first) == 0
    begin = [*VALUES, "--init-from", first, "--out", tmp_path / "second"]
    assert call(*begin, "--n-embd", "16") == 2
    assert "do not fit this model: token_embedding_table.weight is" in " ".join(
        capsys.readouterr().err.split()
    )
    (tmp_path / "other.txt").write_text("Wörter. " * 100)
    begin += ["--corpus", tmp_path / "other.txt"]
    assert call(*begin) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "has another vocabulary" in said and "--transfer exercises.ex3_pretrain_finetune:" in said
    assert call(*begin, "--transfer", "exercises.ex3_pretrain_finetune:transfer_weights") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "transfer_weights fails: NotImplementedError" in said
    assert not (tmp_path / "second").exists()


def test_the_function_of_exercise_3_carries_weights_over_to_another_vocabulary(tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert call(*VALUES, "--out", first) == 0
    (tmp_path / "other.txt").write_text("Wörter und Wörter. " * 100)
    transfer = ["--transfer", "solutions.ex3_pretrain_finetune:transfer_weights"]
    begin = [*VALUES, "--init-from", first, *transfer, "--corpus", tmp_path / "other.txt"]
    assert call(*begin, "--out", second) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "carried over by solutions.ex3_pretrain_finetune:transfer_weights; 2 characters are new" in said
    assert "('W', 'ö'), and begin with random weights." in said


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
    explained = {option.dest: option.help for option in train.parser()._actions}
    assert all(len(explained[field.name]) > 5 for field in dataclasses.fields(TrainConfig))


def test_fewer_steps_than_the_warm_up_shorten_it_unless_it_is_given():
    toy = preset("toy")
    assert train._config(toy, {"steps": 60}).warmup == 6 and train._config(toy, {"steps": 101}).warmup == 100
    with pytest.raises(ValueError, match="warmup is 70"):
        train._config(toy, {"steps": 60, "warmup": 70})


@pytest.mark.slow
def test_a_reader_that_leaves_early_does_not_end_the_training(tmp_path):
    command = f"{sys.executable} -m gpt_core.train {' '.join(VALUES)} --out {tmp_path / 'run'} | head -1"
    ended = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert "parameters" in ended.stdout and ended.stderr == ""
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == 12


@pytest.mark.slow
def test_where_stdout_knows_no_bars_the_curve_is_ascii(tmp_path):
    command = [sys.executable, "-m", "gpt_core.train", *VALUES, "--out", str(tmp_path / "run")]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "latin-1"}
    )
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
def test_a_part_that_fails_while_it_trains_is_named_with_its_step_and_line(
    tmp_path, monkeypatch, capsys, error, said
):
    (tmp_path / f"late_{error}.py").write_text(FAILING.replace("KeyError", error))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert call(*VALUES, "--attention", f"late_{error}:Fails", "--out", tmp_path / "run") == 1
    sentence = f"step 3: late_{error}:Fails fails: {error}: {said} (late_{error}.py, line 9)."
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == 0


# Each in another line of the trainer: what is asked for, and what the sentence has to say of it.
@pytest.mark.parametrize(
    "place, sentence",
    [
        ("data.corpora.read", "to read CORPUS: take a shorter text."),
        (
            "gpt_core.training.trainer.encode_text",
            "to encode the 3,000 characters of CORPUS: take a shorter text.",
        ),
        (
            "gpt_core.training.trainer.build_model",
            "for the weights of a model of this size (n_layer 1, n_embd 8, ",
        ),
        ("gpt_core.training.trainer.build_model", "a smaller n_embd or n_layer takes less."),
        (
            "gpt_core.training.trainer.exhaustive_loss",
            "to evaluate 64 x 8 characters at a time: a smaller block_size",
        ),
        ("gpt_core.batches.Batches.take", "to evaluate 64 x 8"),
        ("torch.Tensor.backward", "for an update with batches of 4 x 8 characters (batch_size x block_size)"),
        ("torch.Tensor.backward", "a smaller batch_size, with more accumulation, takes less."),
        ("torch.optim.AdamW.step", "for the gradients and AdamW's averages of a model of this size"),
        ("gpt_core.training.checkpoint.to_bytes", "for a checkpoint of a model of this size"),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: .."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
    ids=["python", "torch", "cuda"],
)
def test_where_memory_runs_out_it_is_said_what_for(tmp_path, monkeypatch, capsys, place, sentence, error):
    def refuse(*args, **kwargs):
        raise error

    (tmp_path / "text").write_text(TEXT)
    monkeypatch.setattr(place, refuse)
    assert call(*VALUES, "--corpus", tmp_path / "text", "--out", tmp_path / "run") == 1
    said = " ".join(capsys.readouterr().err.split()).replace(str(tmp_path / "text"), "CORPUS")
    assert said.startswith("There is not enough memory ") and sentence in said and "None" not in said


def refuse_memory(*args):
    raise MemoryError


def test_a_long_text_is_named_beside_what_there_is_too_little_memory_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gpt_core.training.out_of_memory.LONG_TEXT", 1000)
    monkeypatch.setattr("gpt_core.training.trainer.build_model", refuse_memory)
    assert call(*VALUES, "--out", tmp_path / "run") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "and so does a shorter text, since the 60,000 characters of toy stay in memory." in said


# One process for all cases, since importing torch takes the most of it.
LIMITED = """
import json, resource, sys
import torch
from gpt_core import train
for megabytes, arguments in json.loads(sys.argv[1]):
    size = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1])
    resource.setrlimit(resource.RLIMIT_AS, ((size << 10) + (megabytes << 20), resource.RLIM_INFINITY))
    print("status", train.main(arguments), file=sys.stderr)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to RLIMIT_AS")
def test_under_a_real_limit_twenty_megabytes_train_and_each_cause_has_its_own_sentence(tmp_path):
    block = "".join(random.Random(1).choices("ACGTacgt \n", k=100_000))
    (tmp_path / "long.txt").write_text(block * 200)
    # Beside torch: the text and its bytes while it is read, then the text, its tokens, what training keeps.
    cases = [
        (30, [], "memory to read .*long.txt: take a shorter text. status 1"),
        (250, ["--n-embd", "8192"], "memory for the weights of a model .* n_embd 8192.* status 1"),
        (250, ["--batch-size", "4000000"], "memory to evaluate 4000000 x 8 characters at a time.* status 1"),
        (250, [], "status 0"),
    ]
    fixed = [*VALUES, "--steps", "4", "--val-chars", "1000", "--corpus", str(tmp_path / "long.txt")]
    calls = [
        (megabytes, [*fixed, *values, "--out", str(tmp_path / f"run{n}")])
        for n, (megabytes, values, _) in enumerate(cases)
    ]
    command = [sys.executable, "-c", LIMITED, json.dumps(calls)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = [" ".join(part.split()) for part in re.split(r"(?<=status \d)", ended.stderr)]
    assert len(said) == len(cases) + 1, ended.stderr
    for (_, _, expected), sentence in zip(cases, said):
        assert re.search(expected, sentence), sentence


def test_a_corpus_of_letters_alone_gives_a_suggestion_that_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dna.txt").write_text("T" + "".join(random.Random(1).choices("ACGT", k=2000)))
    assert call(*VALUES, "--corpus", "dna.txt", "--out", "a run") == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "next: python -m gpt_core.sample 'a run'"
    assert call_suggested(said) == ("sample", 0)
    written = capsys.readouterr().out
    assert written.startswith("T") and set(written.strip()) <= set("ACGT")  # on from its start


def test_what_a_run_suggests_when_it_ends_stops_or_exists_already_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    real = TrainingDisplay.report

    def press_ctrl_c(self, event):
        real(self, event)
        if isinstance(event, Updated) and event.step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingDisplay, "report", press_ctrl_c)
        assert call(*VALUES) == 130
    assert call_suggested(capsys.readouterr().out) == ("train", 0)
    assert call_suggested(capsys.readouterr().out) == ("sample", 0)
    assert call(*VALUES) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert call("--resume", said.partition("--resume ")[2].split()[0]) == 0


def test_a_damaged_checkpoint_suggests_the_one_before_it_and_that_works(tmp_path, capsys):
    assert call(*VALUES, "--out", tmp_path / "run") == 0
    last = tmp_path / "run" / checkpoint.LAST
    last.write_bytes(last.read_bytes()[:-9])
    capsys.readouterr()
    assert call("--resume", tmp_path / "run") == 2
    assert call_suggested(" ".join(capsys.readouterr().err.split())) == ("train", 0)


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """The folder of a run that stopped after step 4, of a corpus by a relative path; one is elsewhere now."""
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here" / "play.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path / "here")
    trained(tmp_path / "run", stop_at=4, corpus="play.txt")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "run"


def whole_run(folder):
    trained(folder)
    return folder


def test_a_run_is_resumed_from_another_folder_though_its_corpus_was_a_relative_path(stopped, tmp_path):
    assert call("--resume", stopped) == 0
    assert_same_run(stopped, whole_run(tmp_path / "whole"))


def test_a_corpus_that_has_moved_is_named_once_and_found_from_then_on(stopped, tmp_path, capsys, monkeypatch):
    (tmp_path / "here" / "play.txt").rename(tmp_path / "elsewhere" / "moved.txt")
    assert call("--resume", stopped) == 2
    said = " ".join(capsys.readouterr().err.split())
    place = tmp_path / "here" / "play.txt"
    assert f"is not there any more ({place}): --corpus FILE says where it is now" in said
    monkeypatch.setattr(Trainer, "run", lambda self, **kwargs: state.save(self, checkpoint.LAST) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call("--resume", stopped, "--corpus", "moved.txt")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert call("--resume", stopped) == 0  # it kept the new place
    assert_same_run(stopped, whole_run(tmp_path / "whole"))


def test_a_run_moved_with_its_corpus_finds_it_from_the_folder_one_is_in(stopped, tmp_path, monkeypatch):
    shutil.move(tmp_path / "here", tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    assert call("--resume", stopped) == 0


def test_another_text_than_that_of_the_run_is_refused_in_one_sentence(stopped, tmp_path, capsys):
    (tmp_path / "elsewhere" / "other.txt").write_text(TEXT.replace("king", "kong"))
    before = (stopped / checkpoint.LAST).read_bytes()
    assert call("--resume", stopped, "--corpus", "other.txt") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said == (
        f"other.txt is not the text that {stopped} was trained on; name that text with --corpus, or start a "
        f"new run with --out."
    )
    assert (stopped / checkpoint.LAST).read_bytes() == before


def test_stopped_before_the_first_checkpoint_it_does_not_speak_of_one(tmp_path, monkeypatch, capsys):
    def press(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("gpt_core.training.trainer.exhaustive_loss", press)
    assert call(*VALUES, "--out", tmp_path / "run") == 130
    assert "without saving; there is no checkpoint yet." in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_a_disk_that_is_full_for_the_log_is_one_sentence_with_its_name(tmp_path, capsys, monkeypatch):
    def full(self, row):
        raise OSError(28, "No space left on device", str(self.path))

    monkeypatch.setattr(RunLog, "write", full)
    assert call(*VALUES, "--out", tmp_path / "run") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said == f"{tmp_path / 'run' / 'log.jsonl'}: No space left on device; there is no checkpoint yet."
    monkeypatch.undo()
    real = RunLog.write
    monkeypatch.setattr(
        RunLog, "write", lambda self, row: full(self, row) if row["step"] else real(self, row)
    )
    assert call(*VALUES, "--out", tmp_path / "other") == 1
    assert "the checkpoints are as they were, and --resume" in " ".join(capsys.readouterr().err.split())


def test_a_process_that_lost_the_others_says_so_and_one_alone_does_not():
    error = RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:4261.")
    assert "the one that failed first says why" in train._left_alone(error, train.World(rank=0, size=2))
    assert train._left_alone(error, train.World()) is None
    assert train._left_alone(RuntimeError("shapes differ"), train.World(rank=0, size=2)) is None
