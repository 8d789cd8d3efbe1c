"""The learner's file beside the solution and the stub: --solution and --reset."""

import difflib
import io
import os
import shlex
import tokenize
from pathlib import Path

from rich.text import Text

from grader.learner import hints, progress, report
from grader.workbook import REPOSITORY, UsageError, keep_copy, shown, write_atomically
from tests.exercises import EXERCISES, Exercise

STYLES = {"+": "green", "-": "red", "@": "cyan"}


def backups() -> Path:
    """Where files are kept before they are replaced."""
    return progress.FOLDER / "backups"


def is_stub(exercise: Exercise) -> bool:
    """Whether the learner's file is the untouched stub, whatever its line ends, or is not there."""
    try:
        own = (REPOSITORY / exercise.attempt_path).read_bytes()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return _plain(own) == _plain((REPOSITORY / exercise.stub_path).read_bytes())


def _plain(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def keep(*names: str, quietly: bool = False) -> None:
    """Write the stubs of these exercises that are missing, and a dated copy of each file that is none.

    For a notebook, whose cells write the files anew when they run. Nothing that stands there is changed.
    quietly: do not say that there is work.
    """
    for exercise in map(EXERCISES.__getitem__, names):
        path = REPOSITORY / exercise.attempt_path
        if not path.exists():
            write_atomically(path, (REPOSITORY / exercise.stub_path).read_text(encoding="utf-8"))
        elif not is_stub(exercise):
            own = path.read_bytes()
            copies = backups().glob(f"{path.stem}.*{path.suffix}")
            if not any(copy.read_bytes() == own for copy in copies):
                keep_copy(own, backups(), path.name)
            if not quietly:
                print(f"{shown(path)} holds your work; a copy of it is in {shown(backups())}.")


def reset(out, exercise: Exercise, note) -> None:
    """Put the stub back; what stood there is kept, dated. UsageError where that cannot be."""
    path = REPOSITORY / exercise.attempt_path
    stub = (REPOSITORY / exercise.stub_path).read_text(encoding="utf-8")
    try:
        if not path.exists():
            write_atomically(path, stub)
            out.print(f"{shown(path)} was missing; the stub stands there again.", soft_wrap=True)
            return
        if is_stub(exercise):
            out.print(f"{shown(path)} is the untouched stub already; nothing was changed.", soft_wrap=True)
            return
        kept = keep_copy(path.read_bytes(), backups(), path.name)
        write_atomically(path, stub)
    except OSError as error:
        raise UsageError(f"{shown(path)} could not be reset ({error.strerror}); it is as it was.") from None

    def forget(done: progress.ExerciseRecord) -> None:
        """Forget the checks and hints of the old file; the number of attempts and the date of success
        stay."""
        done.passed, done.checks, done.failed, done.mistakes, done.hint_of, done.hints = 0, 0, [], [], "", 0

    progress.change(exercise.name, forget, note)
    out.print(f"{shown(path)} is the stub again.", soft_wrap=True)
    out.print(f"Your attempt is kept: {shown(kept)}", soft_wrap=True)
    report.next_step(
        out, "begin anew; to have your attempt back, copy it over the stub:", _copy_command(kept, path)
    )


def _copy_command(kept: Path, path: Path) -> str:
    return (
        f"{'copy' if os.name == 'nt' else 'cp'} {shlex.quote(str(shown(kept)))} "
        f"{shlex.quote(str(shown(path)))}"
    )


def solution(
    out, exercise: Exercise, attempt: Path, done: progress.ExerciseRecord, *, force: bool = False
) -> None:
    """Print the solution, then what it does differently from the attempt.

    UsageError before the first graded attempt, unless `force`.
    """
    if not (done.attempts or force):
        raise UsageError(
            f"{exercise.name} has no graded attempt yet, and a solution says most after a try of one's own; "
            f"first python grade.py {exercise.name}, or see it all the same with --solution --force."
        )
    right = (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")
    out.print(Text(exercise.solution_path, style="bold"))
    out.print()
    for line in right.splitlines():
        out.print(Text(f"  {line}".rstrip()), soft_wrap=True)
    out.print()
    own = read_text(attempt, exercise)
    is_own = attempt == REPOSITORY / exercise.attempt_path
    if own is None or is_own and is_stub(exercise):
        out.print(f"There is nothing of yours in {shown(attempt)} to compare with.", soft_wrap=True)
    else:
        _show_difference(out, own, right, attempt, exercise)
    if is_own and done.passes and not is_stub(exercise):
        out.print(Text("Yours passed when it was last graded. What to compare:", style="bold"))
        for line in hints.compare(exercise):
            report.hanging(out, Text("  - "), Text(line))
    else:
        report.next_step(out, "close this, write it yourself, then:", f"python grade.py {exercise.name}")


def read_text(path: Path, exercise: Exercise) -> str | None:
    """The Python source of a hand-in by Python's own rules, unreadable characters replaced; None where there
    is none."""
    from grader.judge.grade import read_source

    try:
        source = read_source(path)
        data = source.code(exercise).data or source.data
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except OSError:
        return None
    except SyntaxError:
        encoding = "utf-8"
    return "\n".join(data.decode(encoding, errors="replace").splitlines())


def _show_difference(out, own: str, right: str, attempt: Path, exercise: Exercise) -> None:
    """A unified diff from the attempt to the solution; the docstrings at the top differ anyway."""
    one, other = (_code(text) for text in (own, right))
    lines = list(
        difflib.unified_diff(one, other, str(shown(attempt)), exercise.solution_path, n=2, lineterm="")
    )
    if not lines:
        out.print("Your code is the solution's, line for line.\n")
        return
    out.print(Text("From yours (-) to the solution (+):", style="bold"))
    out.print()
    for line in lines:
        out.print(
            Text(f"  {report.clean_line(line)}".rstrip(), style=STYLES.get(line[:1], "")), soft_wrap=True
        )
    out.print()


def _code(text: str) -> list[str]:
    """The lines after the module's docstring."""
    lines = text.splitlines()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.STRING:
                lines = lines[token.end[0] :]
                break
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING):
                break
    except (tokenize.TokenError, SyntaxError):
        pass
    return "\n".join(line.rstrip() for line in lines).strip("\n").split("\n")
