"""What a learner has done so far: one small JSON file in a folder that git ignores.

It is a convenience and never in the way: a file that cannot be read is set aside, a folder that cannot be
written gets a note, and a grade goes on. Two graders at once lose nothing: each reads, changes and writes the
file under a lock of the operating system, which ends with the process that holds it.

Imports nothing slow: `python grade.py` alone shows it at once.
"""

import contextlib
import errno
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from grader.workbook import REPOSITORY, keep_copy, write_atomically

FOLDER = REPOSITORY / ".workbook"
SCHEMA = 1
LOCK_SECONDS = 5.0  # a change takes milliseconds
NO_LOCKS = (errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)  # file systems that have none


@dataclass
class ExerciseRecord:
    """One exercise. attempts: grades of more than the stub; passed of checks: in the last of them; failed and
    mistakes: the ids of its failed checks and of the mistakes that were named, in order; solved: the time
    of the first complete pass, "" before; hint_of and hints: which hints were given, and how many."""

    attempts: int = 0
    passed: int = 0
    checks: int = 0
    failed: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    solved: str = ""
    hint_of: str = ""
    hints: int = 0

    @property
    def passes(self) -> bool:
        """Whether the last grade found nothing wrong, and left nothing out."""
        return 0 < self.checks == self.passed


Note = Callable[[str], None]  # takes one sentence for the learner


def read(exercise: str, note: Note) -> ExerciseRecord:
    """The record of one exercise, empty where there is none."""
    return _read(note).get(exercise, ExerciseRecord())


def change(exercise: str, edit: Callable[[ExerciseRecord], None], note: Note) -> ExerciseRecord:
    """Let `edit` change the record of one exercise, and write it; the changed record.

    Where it cannot be written, `note` is told why, and that is all.
    """
    try:
        FOLDER.mkdir(exist_ok=True)
        with _locked():
            everything = _read(note)
            done = everything.setdefault(exercise, ExerciseRecord())
            edit(done)
            entries = {name: asdict(entry) for name, entry in everything.items()}
            write_atomically(_file(), json.dumps({"schema": SCHEMA, "exercises": entries}, indent=2) + "\n")
    except OSError as error:
        done = ExerciseRecord()
        edit(done)
        note(
            f"your progress could not be saved in {FOLDER} ({error.strerror or error}); "
            f"the grade is not affected."
        )
    return done


def record(verdict, note: Note) -> ExerciseRecord:
    """Keep what one grade of the learner's own file came to (grader.judge.results.Verdict)."""
    return change(verdict.exercise, lambda done: update(done, verdict), note)


def update(done: ExerciseRecord, verdict) -> None:
    """Add a grade to an exercise's record; the stub is no attempt."""
    if verdict.not_started:
        return
    done.attempts += 1
    done.checks = len(verdict.checks)
    done.passed = sum(check.status == "passed" for check in verdict.checks)
    first = verdict.first_to_mend
    failed = [check for check in verdict.checks if check.status == "failed" and check is not first]
    done.failed = [check.id for check in ([first] if first else []) + failed]
    done.mistakes = verdict.mistakes
    if verdict.passed and verdict.complete and not done.solved:
        done.solved = time.strftime("%Y-%m-%d %H:%M")


def _file() -> Path:
    return FOLDER / "progress.json"


def _read(note: Note) -> dict[str, ExerciseRecord]:
    """Everything; where the file makes no sense it is set aside, and the progress begins anew."""
    try:
        data = _file().read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        note(f"your progress in {_file()} cannot be read ({error.strerror}); it is shown as empty.")
        return {}
    try:
        read = json.loads(data)
        if read["schema"] != SCHEMA:
            raise ValueError
        return {name: _checked(entry) for name, entry in read["exercises"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    try:
        kept = keep_copy(data, FOLDER, "damaged-progress.json")
        _file().unlink(missing_ok=True)
        note(
            f"{_file()} was damaged and is kept as {kept.name}; "
            f"your progress begins anew, your files are untouched."
        )
    except OSError as error:
        note(f"{_file()} is damaged, and cannot be set aside ({error.strerror}); remove it.")
    return {}


def _checked(entry: dict) -> ExerciseRecord:
    """An entry of the file; TypeError or ValueError where a value is not what it should be."""
    done = ExerciseRecord(**entry)
    for one in fields(ExerciseRecord):
        value, wanted = getattr(done, one.name), type(getattr(ExerciseRecord(), one.name))
        if type(value) is not wanted or wanted is int and value < 0:
            raise ValueError(one.name)
        if wanted is list and not all(isinstance(item, str) for item in value):
            raise ValueError(one.name)
    return done


@contextlib.contextmanager
def _locked():
    """Alone with the file; OSError where another process does not let go of it."""
    from filelock import FileLock, Timeout  # here and not above: who only reads needs no lock

    lock = FileLock(FOLDER / "lock", timeout=LOCK_SECONDS)
    try:
        lock.acquire(poll_interval=0.01)
    except Timeout:
        raise OSError(errno.EAGAIN, "another grader holds it") from None
    except (OSError, NotImplementedError) as error:  # the latter is how some versions say ENOSYS
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise  # else go on: better without than not at all
    try:
        yield
    finally:
        lock.release()
