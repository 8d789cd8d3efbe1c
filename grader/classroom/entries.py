"""What lies in a folder of hand-ins: one entry for each thing in it, and what can be read of it.

Nothing is run, and no link, pipe or device is ever opened.
"""

import csv
import hashlib
import io
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from grader.judge import sources
from grader.judge.grade import Source, read_source
from grader.workbook import UsageError
from tests.exercises import Exercise

COLUMNS = ("student", "name", "entry")  # of a roster
LARGEST_ROSTER = 4 << 20  # bytes
KINDS = (".py", ".ipynb", ".zip")  # of a file that is taken for a hand-in, whatever is in it
SPECIAL = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True)
class Entry:
    """One row of the class.

    student: as the roster calls them, else the beginning of the entry's name. full_name: from the roster.
    name: of the file or folder, "" where nothing was handed in. note: what the instructor should know of it.
    """

    student: str
    name: str = ""
    full_name: str = ""
    note: str = ""


@dataclass(frozen=True)
class HandIn:
    """What was read of an entry. status: "" where it can be graded, else refused, not_gradable or not_graded,
    and then `reason` says why. digest: of all that was handed in."""

    status: str = ""
    reason: str = ""
    source: Source | None = None
    digest: str = ""


def visible(name: str) -> str:
    """A file's name in one line that can be printed and written anywhere; other characters as in Python."""
    odd = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in odd else c for c in name)


def student_of(name: str) -> str:
    """The student by an entry's name: what stands before the first blank, underscore or dot."""
    return visible(re.split(r"[\s_.]", name, maxsplit=1)[0] or name)


def list_entries(folder: Path, roster: Path | None = None) -> list[Entry]:
    """Everything in a folder as entries, in a fixed order; a roster adds those who handed in nothing.

    UsageError where the folder or the roster cannot be read.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise UsageError(f"--class {folder} cannot be read ({error.strerror}); it takes a folder.") from None
    if roster is None:
        found = [Entry(student_of(name), name) for name in names]
    else:
        if roster.resolve().parent == folder.resolve():
            names = [name for name in names if name != roster.name]
        found = list(_with_roster(names, _read_roster(roster)))
    return sorted(found, key=order)


def order(entry: Entry) -> tuple:
    """Entries are sorted by this."""
    return entry.student.casefold(), entry.student, os.fsencode(entry.name), entry.full_name


def _with_roster(names: list[str], rows: list[dict[str, str]]) -> Iterator[Entry]:
    """The entries of a folder by a roster: each of its rows at least once, then what is in none of them."""
    # macOS takes names apart: an umlaut is two characters there, and one in the roster.
    by_name, by_student = {}, {}
    for name in sorted(names, key=os.fsencode):
        by_name.setdefault(_composed(name), []).append(name)
        by_student.setdefault(_composed(student_of(name)).casefold(), []).append(name)
    taken, students = set(), {_composed(row["student"]).casefold() for row in rows}
    for row in rows:
        student, full_name = visible(row["student"]), visible(row["name"])
        if row["entry"]:
            found = by_name.get(_composed(row["entry"]), [])
            missing = f"the roster names {visible(row['entry'])}, and there is no such entry"
        else:
            found = by_student.get(_composed(row["student"]).casefold(), [])
            missing = ""
        taken |= set(found)
        yield from (Entry(student, name, full_name) for name in found)
        if not found:
            yield Entry(student, "", full_name, missing)
    for name in names:
        if name not in taken:
            known = _composed(student_of(name)).casefold() in students
            note = "the roster names another entry of this student" if known else "not in the roster"
            yield Entry(student_of(name), name, note=note)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def _read_roster(path: Path) -> list[dict[str, str]]:
    """The rows of a roster by its columns. UsageError where it is none."""
    try:
        if not path.is_file():
            raise UsageError(f"--roster {path} is no file; it takes a CSV file.")
        with open(path, "rb") as file:
            text = file.read(LARGEST_ROSTER).decode("utf-8-sig")
        dialect = csv.excel()
        dialect.delimiter = ";" if text.partition("\n")[0].count(";") else ","
        reader = csv.DictReader(io.StringIO(text, newline=""), dialect=dialect)
        columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        if "student" not in columns:
            raise UsageError(
                f"--roster {path} has the columns {', '.join(columns)[:80] or 'of an empty file'}; "
                f"it needs student, and may have name and entry."
            )
        reader.fieldnames = columns
        rows = [{column: (row.get(column) or "").strip() for column in COLUMNS} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--roster {path} cannot be read ({error}); save it as CSV in UTF-8.") from None
    return [row for row in rows if row["student"]]


def read_entry(folder: Path, name: str, exercise: Exercise) -> HandIn:
    """What can be graded of an entry, or why nothing can."""
    path = folder / name
    try:
        path, status, reason = _checked(path)
        if status:
            return HandIn(status, reason)
        source = read_source(path)
    except OSError as error:
        return HandIn("not_graded", f"it cannot be read ({error.strerror})")
    ending = path.suffix.lower()
    suffix = "" if path.is_dir() else ending if ending in KINDS else ".py"
    # Graded under the name of the exercise's own file: a student's name can be anything, and has no place in
    # a report that another student may get for the same file.
    source = replace(source, path=Path(exercise.attempt_path).with_suffix(suffix))
    code = source.code(exercise)
    if code.problem:
        return HandIn("refused" if code.refused or source.refused else "not_gradable", code.problem)
    if path.is_file() and ending not in KINDS and not sources.defines(code.data, exercise):
        kind = f"ends in {visible(ending)[:20]}" if ending else "has no ending"
        return HandIn(
            "not_gradable", f"its name {kind}; expected a Python file, a notebook, a zip or a folder"
        )
    return HandIn(source=source, digest=_digest(source, suffix))


def _checked(path: Path) -> tuple[Path, str, str]:
    """The path of a hand-in, or (path, status, reason) of one that is not to be opened."""
    kind = _special(path)
    if kind:
        return path, "refused", f"it is {kind}; hand in the file itself"
    if path.name.startswith("."):
        return path, "not_gradable", "its name begins with a dot: it is hidden, and no hand-in"
    if not path.is_dir():
        return path, "", ""
    inside = [name for name in os.listdir(path) if not sources.SKIPPED.search(name)]
    if len(inside) == 1 and inside[0].lower().endswith(".zip"):  # as some platforms hand them out
        path = path / inside[0]
        kind = _special(path)
        return path, "refused" if kind else "", f"the zip in it is {kind}" if kind else ""
    for place, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not _skipped(place, name)]
        for name in sorted(folders + names):
            kind = _special(Path(place, name))
            if kind:
                inner = visible(os.path.relpath(os.path.join(place, name), path))[:80]
                return path, "refused", f"there is {kind} in it ({inner}); hand in the files themselves"
    return path, "", ""


def _skipped(place: str, name: str) -> bool:
    """Whether a folder in a hand-in is never looked at: hidden, or an environment of other people's code."""
    return bool(sources.SKIPPED.search(f"{name}/")) or os.path.exists(os.path.join(place, name, "pyvenv.cfg"))


def _special(path: Path) -> str:
    """What a path is that is neither a file nor a folder; "" for these."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"a symbolic link to {visible(os.readlink(path))[:80]}"
    return next((words for test, words in SPECIAL if test(mode)), "")


def _digest(source: Source, suffix: str) -> str:
    """A hash of all that was handed in, and of the kind of file that it is read as."""
    digest = hashlib.sha256(suffix.encode())
    files = {"": source.data} if source.members is None else source.members
    for name, data in sorted({**files, **source.helpers}.items()):
        digest.update(f"{len(name)} {len(data)} {name}".encode("utf-8", "surrogateescape") + data)
    return digest.hexdigest()
