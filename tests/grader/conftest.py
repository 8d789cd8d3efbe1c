"""Graders for the tests: one warm session for all, and a short way to grade a source."""

import os
import shutil
import signal
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

from grader.judge.grade import Deadlines, Session, Source, grade
from grader.judge.processes import Starter
from grader.learner import progress
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY

# Windows has no pseudo-terminals to test with.
collect_ignore = ["test_watch.py", "test_progress_line.py"] if sys.platform == "win32" else []

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that; some tests press
# it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

QUICK = Deadlines(load=6.0, run=3.0, impatient=1.0)


@pytest.fixture(scope="session")
def session(own_temporary_folder):
    # Thorough: on a machine that is busy with other tests, the time to name a mistake would otherwise run
    # out.
    with Session(Starter(trains=True), deadlines=QUICK, thorough=True) as session:
        yield session


@pytest.fixture(scope="session")
def patient_session(own_temporary_folder):
    """With the deadlines of a real grade: right code may be slow."""
    with Session(Starter(trains=True), deadlines=Deadlines(), thorough=True) as session:
        yield session


@pytest.fixture(scope="session")
def spawning_session(own_temporary_folder):
    """The way of macOS and Windows: every worker a process of its own."""
    with Session(Starter("spawn"), deadlines=QUICK) as session:
        yield session


@pytest.fixture
def graded(session):
    """graded(text or bytes) -> the verdict of exercise 1; named: also the mistakes, which takes longer."""

    def run(source, name="attempt.py", named=False, **options):
        data = source.encode() if isinstance(source, str) else source
        if not named:
            options["diagnose"] = lambda *_: None
        return grade(session, "ex1", Source(Path(name), data), device="cpu", **options)

    return run


# Every process that these tests start inherits it, so that they are told from other people's graders.
MARK = f"GRADE_TEST={uuid.uuid4()}"
os.environ.update([MARK.split("=")])


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(tmp_path_factory):
    """So that the scratch folders of these tests are told from other people's as well."""
    tempfile.tempdir = os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("scratch"))
    yield
    del os.environ["TMPDIR"]
    tempfile.tempdir = None


@pytest.fixture
def workbook(tmp_path):
    """A copy of the workbook as a learner has it after cloning: its folder."""
    names = (".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "cache", "replay_*.py")
    left_out = shutil.ignore_patterns(*names)
    folder = tmp_path / "workbook"
    shutil.copytree(REPOSITORY, folder, ignore=left_out)
    for exercise in EXERCISES.values():  # the ones here may have been worked on
        shutil.copy(folder / exercise.stub_path, folder / exercise.attempt_path)
    return folder


@pytest.fixture
def own_progress(tmp_path, monkeypatch):
    """Progress in a folder of this test's own: that folder, which does not exist yet."""
    monkeypatch.setattr(progress, "FOLDER", tmp_path / "progress")
    return tmp_path / "progress"


@pytest.fixture
def leftovers():
    """A function that lists the scratch folders of graders, and the processes of these tests, that exist."""

    def scratch():
        return {path.name for path in Path(tempfile.gettempdir()).glob("grade-*")}

    def processes():
        found = set()
        for entry in Path("/proc").iterdir() if Path("/proc").exists() else ():
            try:
                if entry.name.isdigit() and MARK.encode() in (entry / "environ").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                pass
        return found - {os.getpid()}

    return lambda: (scratch(), processes())
