"""Every command that an output suggests can be typed as it stands, and does what it says."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from grader import cli
from grader.judge.grade import Source, grade
from grader.learner import progress, report
from grader.workbook import Call
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY, SOLUTION, verdict_of

WRONG = SOLUTION.replace("q.shape[-1] ** -0.5", "1.0")
VARIANTS = (
    {}, {"quick": True}, {"seed": 3, "device": "cpu"}, {"attempt": "my file.py"},
    {"attempt": "my file.py", "quick": True, "seed": 3, "device": "cpu"},
)  # fmt: skip


def commands(text: str) -> set[str]:
    """The commands in a text: whole lines that begin with python, and those within a sentence."""
    text = re.sub(r" \\\n\s*", " ", text)
    whole = re.findall(r"^\s*(?:then +)?(python (?:grade\.py|-m|exercises/).*)$", text, re.M)
    joined = " ".join(text.split())
    inside = re.findall(r"python grade\.py(?: (?:ex\d|all)\b| --[a-z]+)*", joined)
    return set(whole) | {command for command in inside if not any(line.startswith(command) for line in whole)}


@pytest.fixture
def typed(monkeypatch, tmp_path, own_progress):
    """typed(command) types a command of grade.py where my file.py stands; its grades are left out."""
    (tmp_path / "my file.py").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    for name in ("_grade", "_watch", "_demo", "_selftest", "_selftest_in_styles"):
        monkeypatch.setattr(cli, name, lambda *arguments: 0)
    monkeypatch.setattr(cli, "_starter", lambda trains=False: contextlib.nullcontext())
    progress.record(verdict_of(EXERCISES["ex1"], ("scale",), ("no_scale",)), pytest.fail)

    def run(command):
        words = shlex.split(command)
        assert words[:2] == ["python", "grade.py"]
        return cli.main(words[2:])

    return run


@pytest.fixture(scope="module")
def verdicts(session):
    """A wrong file, one that passes, the stub, one that passes without its training run."""
    stub = (REPOSITORY / EXERCISES["ex1"].stub_path).read_bytes()
    ex2 = (REPOSITORY / EXERCISES["ex2"].solution_path).read_bytes()

    def graded(name, data):
        return grade(session, name, Source(Path("mine.py"), data), device="cpu", quick=True)

    of_ex1 = [graded("ex1", data) for data in (WRONG.encode(), SOLUTION.encode(), stub)]
    return [*of_ex1, graded("ex2", ex2)]


@pytest.mark.slow
def test_what_a_report_suggests_can_be_typed(verdicts, typed, capsys):
    found = set()
    for verdict in verdicts:
        for variant in VARIANTS:
            for options in ({}, {"watched": True}, {"verbose": True}):
                out = report.console(file=io.StringIO())
                report.show(out, verdict, call=Call(verdict.exercise, **variant), **options)
                found |= commands(out.file.getvalue())
    out = report.console(file=io.StringIO())
    report.show_all(out, [(verdict, Call(verdict.exercise, quick=True)) for verdict in verdicts])
    found |= commands(out.file.getvalue())
    for_grade = {command for command in found if "grade.py" in command}
    assert len([command for command in for_grade if "--replay" in command and "my file.py" in command]) == 1
    assert {"--hint", "--solution", "--quick", "--seed"} <= {word for c in for_grade for word in c.split()}
    for command in sorted(for_grade):
        assert typed(command) == 0, command + capsys.readouterr().err


def test_what_the_other_modes_suggest_can_be_typed(typed, capsys):
    calls = [
        ["--hint"],
        ["ex1", "--hint"],
        *[["ex1", "--hint"]] * 6,
        ["ex2", "--solution"],
        ["ex1", "--solution"],
        [],
        ["--replay", "nothing"],
        ["ex1", "--replay", "ex1.scale.0.1.ffffff"],
    ]
    for call in calls:
        cli.main(call)
    said = capsys.readouterr()
    found = {command for command in commands(said.out) | commands(said.err) if "grade.py" in command}
    assert {"python grade.py ex1 --solution", "python grade.py ex1 --hint"} <= found
    for command in sorted(found):
        assert typed(command) == 0, command + capsys.readouterr().err


SHORTER = {
    "gpt_core.train": ["--steps", "2"], "ex2_": ["--steps", "1", "--digits", "1"],
    "ex3_": ["--help"], "ex4_": ["--help"], "more/": ["--help"],
}  # fmt: skip


def run(workbook, *words):
    """python WORDS in a copy of the workbook."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=workbook,
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | {"PYTHONPATH": str(workbook)},
    )


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_what_a_pass_suggests_runs_with_the_file_that_passes(workbook, exercise):
    (workbook / exercise.attempt_path).write_bytes((REPOSITORY / exercise.solution_path).read_bytes())
    for _, command in exercise.uses:
        _, *words = shlex.split(command)
        shorter = next((more for name, more in SHORTER.items() if name in " ".join(words[:2])), [])
        done = run(workbook, *words, *shorter)
        assert done.returncode == 0, command + done.stdout + done.stderr
        if words[0].startswith("exercises/ex1"):
            measured = r"heads: the loop +[\d.]+ ms, yours +[\d.]+ ms: [\d.]+ times as fast"
            assert len(re.findall(measured, done.stdout)) == 3


def test_the_speed_of_an_unwritten_class_gets_one_line(workbook):
    done = run(workbook, EXERCISES["ex1"].attempt_path)
    assert done.returncode == 1 and done.stderr == "" and "Not written yet" in done.stdout


def test_a_call_is_repeated_with_everything_that_was_asked_for():
    call = Call("ex2", "a b.py", "cpu", 3, quick=True)
    assert call.again == "python grade.py ex2 --attempt 'a b.py' --device cpu --seed 3 --quick"
    assert call.whole == replace(call, quick=False).again
    assert call.replay("T") == "python grade.py --replay T --attempt 'a b.py'"
