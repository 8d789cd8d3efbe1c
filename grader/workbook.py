"""What all parts of the grader share: where the workbook stands, exit statuses, what is at fault, commands,
paths and times as shown, copies, files that are written whole."""

import os
import shlex
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PASSED, FAILED, FAULT, INTERRUPTED = 0, 1, 2, 130


class UsageError(Exception):
    """The call is at fault; the text is one sentence that says what to do."""


class InstallationError(Exception):
    """The grader itself cannot run here; the text is one sentence for the user."""


@dataclass(frozen=True)
class Call:
    """A grade as it was asked for; from it comes every command that a report suggests.

    attempt: the file as it was typed after --attempt, "" for the learner's own file of the exercise.
    helpers: the files as they were typed after --with.
    """

    exercise: str
    attempt: str = ""
    device: str = "auto"
    seed: int = 0
    quick: bool = False
    helpers: tuple[str, ...] = ()
    no_names: bool = False

    @property
    def again(self) -> str:
        """The command that makes the same grade again."""
        words = ["python grade.py", self.exercise, *self._file()]
        words += [f"--device {self.device}"] * (self.device != "auto")
        words += [f"--seed {self.seed}"] * (self.seed != 0)
        return " ".join(words + ["--quick"] * self.quick + ["--no-names"] * self.no_names)

    @property
    def whole(self) -> str:
        """The same with the training runs."""
        return replace(self, quick=False).again

    def replay(self, token: str) -> str:
        """The command that writes a failing case as a script; seed and device are in the token."""
        return " ".join(["python grade.py --replay", token, *self._file()])

    def _file(self) -> list[str]:
        words = [f"--attempt {shlex.quote(self.attempt)}"] if self.attempt else []
        return words + [f"--with {shlex.quote(helper)}" for helper in self.helpers]


def shown(path: Path) -> Path:
    """A path as a person would type it here."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def now() -> str:
    """The local time to the second, in a form that sorts and can stand in a file's name on every system."""
    return time.strftime("%Y-%m-%dT%H-%M-%S")


def keep_copy(data: bytes, folder: Path, name: str) -> Path:
    """Write a dated copy into `folder`, which is made where it is missing; never over another one.

    name: of the file that is kept, mine.py becomes mine.2026-11-21T10-20-30.py. OSError where that fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem, suffix = os.path.splitext(name)
    for number in range(1, 1000):
        path = folder / f"{stem}.{now()}{f'-{number}' if number > 1 else ''}{suffix}"
        try:
            with open(path, "xb") as file:
                file.write(data)
            return path
        except FileExistsError:
            continue
    raise OSError(f"{folder} has too many copies of this second")


def is_special(path: Path) -> bool:
    """Whether a path is there and no regular file: /dev/null, /dev/stdout, a pipe. Such a one is written to,
    and never replaced."""
    return path.exists() and not path.is_file()


def write_atomically(path: Path, text: str) -> None:
    """The whole file or none: written beside its place, then moved there. A link stays, and what it leads to
    is written."""
    if is_special(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    path = path.resolve()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # as an ordinary file; mkstemp's are private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
