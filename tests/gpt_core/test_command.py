"""What all commands of gpt_core do alike: mistyped options, suggested commands, Ctrl-C before they begin."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gpt_core
from gpt_core import attention, experiment, plot, sample, train
from gpt_core.experiments import pretraining
from gpt_core.training.interrupt import imports_begin
from gpt_core.training.presets import PRESETS
from gpt_core.training.terminal import printable, sentence
from tests.gpt_core.tiny import call

ROOT = Path(__file__).parents[2]
COMMANDS = {"train": train, "sample": sample, "plot": plot, "experiment": experiment, "attention": attention}


@pytest.mark.parametrize(
    "command, arguments, meant",
    [
        (train, ["toy", "--block_size", "8"], "--block_size (did you mean --block-size?)"),
        (train, ["toy", "--batch_size=8"], "--batch_size (did you mean --batch-size?)"),
        (train, ["--max-iters", "100"], "--max-iters (did you mean --steps?)"),
        (train, ["toy", "--max_iters=100"], "--max_iters (did you mean --steps?)"),
        (train, ["toy", "--learning_rate", "1e-3"], "--learning_rate (did you mean --lr?)"),
        (train, ["toy", "--gradient_accumulation_steps", "2"], "did you mean --accumulation?"),
        (train, ["toy", "--dataset", "plays"], "--dataset (did you mean --corpus?)"),
        (train, ["toy", "--n-embed", "64"], "--n-embed (did you mean --n-embd?)"),
        (train, ["toy", "-steps", "9"], "-steps (did you mean --steps?)"),
        (train, ["toy", "--quantum"], "there is no option --quantum; --help lists"),
        (train, ["toy", "--compile=False"], "--compile/--no-compile takes no value"),
        (train, ["toy", "cpu"], "'cpu'"),
        (sample, ["run", "--max_new_tokens", "9"], "--max_new_tokens (did you mean --tokens?)"),
        (sample, ["run", "--num_samples=2"], "--num_samples (did you mean --samples?)"),
        (sample, ["run", "--start", "A"], "--start (did you mean --prompt?)"),
        (sample, ["run", "--topk", "3"], "--topk (did you mean --top-k?)"),
        (plot, ["run", "--output", "x.png"], "--output (did you mean --out?)"),
        (attention, ["run", "--start", "A"], "--start (did you mean --prompt?)"),
        (experiment, ["--feed_forward", "a:B"], "--feed_forward (did you mean --feed-forward?)"),
        (experiment, ["--max-iters", "9"], "--max-iters (did you mean --steps?)"),
    ],
)
def test_a_mistyped_option_is_told_which_one_is_meant(monkeypatch, capsys, command, arguments, meant):
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert meant in " ".join(capsys.readouterr().err.split())


def test_the_experiment_of_exercise_3_answers_a_mistyped_option_too(capsys):
    with pytest.raises(SystemExit) as ended:
        pretraining.main(None, None, ["--sise", "toy"])
    assert ended.value.code == 2 and "did you mean --size?" in capsys.readouterr().err


def test_every_command_that_the_pages_and_the_modules_show_is_one_that_there_is():
    texts = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *Path(gpt_core.__file__).parent.rglob("*.py"),
    ]
    shown = {
        (name, re.split(r" {2,}|#|`|\n", rest)[0].strip())
        for text in texts
        for name, rest in re.findall(
            r"python -m gpt_core\.(\w+) ((?:[-./\w\"]).*)", re.sub(r"\\\n\s*", "", text.read_text())
        )
    }
    is_pattern = re.compile(r"\b[A-Z]{3,}\b|\{")  # RUN, MODULE:CLASS, an f-string
    written = [(name, rest) for name, rest in shown if not is_pattern.search(re.sub(r'"[^"]*"', "", rest))]
    assert len(written) >= 12 and {name for name, _ in written} == set(COMMANDS)
    for name, rest in written:
        options = COMMANDS[name].parser().parse_args(shlex.split(rest))
        assert getattr(options, "preset", None) in (None, *PRESETS), rest


def test_no_word_of_shakespeare_is_suggested_for_another_text():
    for path in Path(gpt_core.__file__).parent.rglob("*.py"):
        lines = [line for line in path.read_text().splitlines() if "ROMEO" in line]
        assert all(re.match(r' *"(tinyshakespeare|plays)": ', line) for line in lines), path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_while_torch_is_imported_is_one_sentence(tmp_path, command):
    (tmp_path / "torch.py").write_text("import time\nprint('begins', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", f"gpt_core.{command}", "toy"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begins\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert said == "Stopped before anything was done.\n"
    assert process.returncode == 130


@pytest.mark.slow
def test_importing_the_package_in_a_program_leaves_ctrl_c_as_it_is():
    code = "import gpt_core; from signal import *; exit(getsignal(SIGINT) is not default_int_handler)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_once_a_command_runs_ctrl_c_is_its_own_again():
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        imports_begin()
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert call(sample, "nowhere") == 2
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_control_characters_are_written_out_and_letters_stay():
    assert printable("a\x1b[2J\x07\x9b\u202e\ud800\r") == "a\\x1b[2J\\x07\\x9b\\u202e\\ud800\\r"
    assert printable("Żółw λ 日本 \U0001f600\t\n") == "Żółw λ 日本 \U0001f600\t\n"
    assert sentence("no\x1b[31m such  file") == "no\\x1b[31m such file"


def test_a_file_name_with_control_characters_is_shown_without_them(capsys):
    assert call(plot, "no\x1b]0;such\x07run") == 2
    assert "no\\x1b]0;such\\x07run" in capsys.readouterr().err
