"""A training run of minutes is kept: the same file is not trained twice, another one always is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grader.cli import main
from grader.judge import kept
from grader.judge.grade import Source, grade
from grader.judge.kept import Kept
from grader.learner import progress
from grader.workbook import REPOSITORY, InstallationError
from tests.exercises import EXERCISES
from tests.exercises.asked import Looks
from tests.exercises.ex2 import training

LOOKS = Looks.named("tests.exercises.battery.training_looks")
SOURCE = Source(Path("mine.py"), b"x = 1")
FOUND = {"sizes": {"kind": "plain", "value": 3}}, {"a": np.arange(6, dtype=np.int64).reshape(2, 3)}


def asked(keep=True, **given):
    return LOOKS("trained", keep=keep, **given)


def found(folder, source=SOURCE, device="cpu", seed=0, exercise="ex2", **given):
    return Kept(folder, source, exercise, device).find(asked(**given), seed)


@pytest.fixture
def folder(tmp_path):
    Kept(tmp_path, SOURCE, "ex2", "cpu").keep(asked(), 0, FOUND)
    return tmp_path


def test_what_was_kept_is_found_as_it_was(folder):
    answer, arrays = found(folder)
    assert answer == FOUND[0] and arrays["a"].dtype == np.int64 and np.array_equal(arrays["a"], FOUND[1]["a"])


@pytest.mark.parametrize(
    "change",
    [
        {"source": Source(Path("mine.py"), b"x = 2")},
        {"source": replace(SOURCE, helpers={"helper.py": b"y = 1"})},
        {"device": "cuda"},
        {"seed": 1},
        {"exercise": "calculator"},
        {"steps": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_decides_the_run_decides_what_is_found(folder, change):
    assert found(folder) is not None and found(folder, **change) is None


def test_another_version_of_the_workbook_finds_nothing(folder, monkeypatch):
    monkeypatch.setattr(kept, "workbook_version", lambda: "another")
    assert found(folder) is None


def test_failures_and_short_looks_are_not_kept(tmp_path):
    keeper = Kept(tmp_path, SOURCE, "ex2", "cpu")
    keeper.keep(asked(), 0, ({"error": "ValueError"}, {}))
    keeper.keep(asked(keep=False), 0, FOUND)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_and_a_folder_that_cannot_be_written_are_as_good_as_none(folder):
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    assert found(folder) is None
    (folder / "file").write_text("")
    Kept(folder / "file", SOURCE, "ex2", "cpu").keep(asked(), 0, FOUND)


def test_the_oldest_make_room(folder, monkeypatch):
    monkeypatch.setattr(kept, "MOST", 2)
    for seed in (1, 2):
        Kept(folder, SOURCE, "ex2", "cpu").keep(asked(), seed, FOUND)
    assert len(list(folder.iterdir())) == 2 and found(folder, seed=2) is not None


@pytest.mark.slow
def test_the_same_file_is_not_trained_twice_and_gets_the_same_verdict(session, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "STEPS", 30)
    monkeypatch.setattr(training, "WANTED", 0.0)
    data = (REPOSITORY / EXERCISES["ex2"].solution_path).read_bytes()

    def graded(data, **options):
        notes, source = [], Source(Path("mine.py"), data)
        verdict = grade(
            session, "ex2", source, device="cpu", note=notes.append, trained=tmp_path, only=only, **options
        )
        return verdict, any("training, step" in note for note in notes)

    only = ("train_adds",)
    first, trained = graded(data)
    again, trained_again = graded(data)
    assert trained and not trained_again
    assert first.checks[-1].status == again.checks[-1].status == "passed"
    assert first.checks[-1].message == again.checks[-1].message
    assert not first.remarks and "not repeated" in again.remarks[0] and str(tmp_path) in again.remarks[0]
    assert graded(data + b"\n# changed\n")[1] and graded(data, seed=1)[1]


def test_the_command_line_keeps_what_it_trained(monkeypatch, capsys):
    given = {}

    def stopped(*_, **options):
        given.update(options)
        raise InstallationError("as far as this test goes.")

    monkeypatch.setattr("grader.judge.grade.grade", stopped)
    assert (
        main(["ex2", "--device", "cpu", "--attempt", str(REPOSITORY / EXERCISES["ex2"].solution_path)]) == 2
    )
    assert given["trained"] == progress.FOLDER / "trained"
