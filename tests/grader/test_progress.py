"""What a learner has done so far: nothing is lost, and nothing is ever in the way of a grade."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from grader.cli import main
from grader.learner import progress
from grader.learner.progress import ExerciseRecord
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY, SOLUTION, verdict_of

EX1, EX2 = EXERCISES["ex1"], EXERCISES["ex2"]


def must_not_note(text):
    raise AssertionError(text)


def test_a_grade_is_remembered_with_its_failures_and_mistakes(own_progress):
    progress.record(verdict_of(EX1, ("scale", "values"), ("no_scale", "no_scale")), must_not_note)
    done = progress.read("ex1", must_not_note)
    assert asdict(done) == asdict(
        ExerciseRecord(1, len(EX1.checks) - 2, len(EX1.checks), ["scale", "values"], ["no_scale"])
    )
    assert progress.read("ex2", must_not_note) == ExerciseRecord()


def test_the_time_of_the_first_complete_pass_stays(own_progress):
    first = progress.record(verdict_of(EX1), must_not_note)
    later = progress.record(verdict_of(EX1, ("scale",)), must_not_note)
    assert first.solved and later.solved == first.solved
    assert (later.attempts, later.failed) == (2, ["scale"])


def test_checks_without_the_training_run_do_not_solve_an_exercise(own_progress):
    assert progress.record(verdict_of(EX2, complete=False), must_not_note).solved == ""


def test_the_stub_is_no_attempt(own_progress):
    assert progress.record(verdict_of(EX1, ("runs",), not_started=True), must_not_note).attempts == 0


def test_graders_at_once_lose_nothing(own_progress):
    code = (
        "import sys, pathlib\nfrom grader.learner import progress\nprogress.FOLDER = "
        "pathlib.Path(sys.argv[1])\ndef edit(done): done.attempts += 1\nfor _ in range(25): "
        "progress.change(sys.argv[2], edit, sys.exit)"
    )
    calls = [[sys.executable, "-c", code, str(own_progress), name] for name in ("ex1", "ex1", "ex2", "ex1")]
    processes = [subprocess.Popen(call, cwd=REPOSITORY) for call in calls]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert progress.read("ex1", must_not_note).attempts == 75
    assert progress.read("ex2", must_not_note).attempts == 25


DAMAGED = {
    "an empty file": b"",
    "half a file": b'{"schema": 1, "exercises": {"ex1": {"att',
    "bytes that are no text": b"\xff\xfe\x00\x01",
    "a list": b"[]",
    "a schema of the future": b'{"schema": 2, "exercises": {}}',
    "an exercise that is no object": b'{"schema": 1, "exercises": {"ex1": 3}}',
    "a field that nobody knows": b'{"schema": 1, "exercises": {"ex1": {"points": 3}}}',
    "a number that is text": b'{"schema": 1, "exercises": {"ex1": {"attempts": "3"}}}',
    "a number below 0": b'{"schema": 1, "exercises": {"ex1": {"attempts": -3}}}',
    "a list of numbers": b'{"schema": 1, "exercises": {"ex1": {"failed": [1]}}}',
    "lists without end": b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_set_aside_and_the_progress_begins_anew(own_progress, damage):
    own_progress.mkdir()
    (own_progress / "progress.json").write_bytes(DAMAGED[damage])
    said = []
    assert progress.record(verdict_of(EX1), said.append).attempts == 1
    (kept,) = own_progress.glob("damaged-progress.*.json")
    assert kept.read_bytes() == DAMAGED[damage]
    assert len(said) == 1 and kept.name in said[0]
    assert progress.read("ex1", must_not_note).attempts == 1


def test_a_folder_that_cannot_be_written_gets_one_note_and_no_more(own_progress):
    own_progress.write_text("a file where the folder should be")
    said = []
    assert progress.record(verdict_of(EX1), said.append).attempts == 1
    assert len(said) == 1 and "could not be saved" in said[0]


def test_a_lock_that_is_not_given_back_gets_a_note(own_progress, monkeypatch):
    monkeypatch.setattr(progress, "LOCK_SECONDS", 0.1)
    progress.record(verdict_of(EX1), must_not_note)
    said = []
    with progress._locked():
        progress.record(verdict_of(EX1), said.append)
    assert len(said) == 1 and "another grader" in said[0]
    assert progress.read("ex1", must_not_note).attempts == 1


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("error", (*progress.NO_LOCKS, errno.ENOSYS), ids=errno.errorcode.get)
def test_on_a_file_system_without_locks_progress_is_kept_all_the_same(own_progress, monkeypatch, error):
    def has_none(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", has_none)
    for attempts in (1, 2):
        assert progress.record(verdict_of(EX1), must_not_note).attempts == attempts


def test_the_lock_of_a_grader_that_was_killed_holds_nobody_up(own_progress):
    progress.record(verdict_of(EX1), must_not_note)
    code = "import os, sys, pathlib\nfrom grader.learner import progress\n"
    code += "progress.FOLDER = pathlib.Path(sys.argv[1])\nwith progress._locked(): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(own_progress)], cwd=REPOSITORY).returncode == 9
    assert progress.record(verdict_of(EX1), must_not_note).attempts == 2


@pytest.mark.slow
def test_a_grade_of_another_file_leaves_the_learners_progress_alone(own_progress, tmp_path, capsys):
    (tmp_path / "theirs.py").write_text(SOLUTION)
    assert main(["ex1", "--attempt", str(tmp_path / "theirs.py"), "--device", "cpu"]) == 0
    assert not own_progress.exists()


@pytest.mark.slow
def test_a_grade_of_the_learners_own_file_moves_it_and_shows_in_the_overview(workbook):
    def grade_py(*arguments):
        return subprocess.run(
            [sys.executable, "grade.py", *arguments],
            cwd=workbook,
            capture_output=True,
            text=True,
            timeout=100,
        )

    before = grade_py().stdout
    assert before.count("not started") == len(EXERCISES)
    own = workbook / EX1.attempt_path
    own.write_text(SOLUTION.replace("q.shape[-1] ** -0.5", "1.0"))
    assert "begun, not graded yet" in grade_py().stdout
    assert grade_py("ex1", "--device", "cpu").returncode == 1
    overview = grade_py().stdout
    assert "not yet, 1 attempt" in overview and f"of {len(EX1.checks)}" in overview
    assert 'mend "scale"' in overview and "python grade.py ex1 --watch" in overview
    own.write_text(SOLUTION)
    assert grade_py("ex1", "--device", "cpu", "--attempt", str(own)).returncode == 0
    overview = grade_py().stdout
    assert "solved, 2 attempts" in overview and f"{len(EX1.checks)} of {len(EX1.checks)}" in overview
    solved = json.loads((workbook / ".workbook" / "progress.json").read_text())["exercises"]["ex1"]["solved"]
    assert solved in overview
    assert "open exercises/ex2_addition.py" in overview


def test_the_overview_imports_nothing_slow(workbook):
    code = "import sys; from grader.cli import main; main([])\n"
    code += "assert not {'torch', 'pytest', 'hypothesis', 'numpy', 'filelock'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=workbook, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
