"""Reads a hand-in of any kind: gives its Python source, or one sentence that says why there is none.

    code = sources.read("mine.ipynb", data, exercise)      # bytes
    code = sources.choose({"a/mine.py": data, ..}, exercise)      # the files of a folder

A Python file is taken as it is. A notebook is taken by its code cells, a zip and a folder by the one file in
them that is the exercise, Markdown by its one block of code. Nothing is run, imported or parsed by Python
here, nothing is printed, and nothing is read but what is given.
"""

import io
import json
import re
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tests.exercises import Exercise

LARGEST_SOURCE = 1 << 20  # bytes of Python
LARGEST_FILE = 32 << 20  # bytes of a notebook or a zip, which may hold pictures
MOST_FILES = 1000  # in a zip or a folder
MOST_SHOWN = 5  # names in a sentence
LARGEST_RATIO = 200  # of what is packed in a zip to its packed size
KINDS = (".py", ".ipynb")  # what is looked at in a zip or a folder
SKIPPED = re.compile(r"(^|/)(\.|__MACOSX/|__pycache__/|node_modules/|site-packages/)")

# How other kinds of file begin, and what each is called.
OTHER_KINDS = (
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"{\\rtf", "a text with formatting (RTF)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0", "a Word document"),
    (b"<!DOCTYPE html", "a web page"),
    (b"<html", "a web page"),
    (b"\x7fELF", "a program"),
    (b"SQLite format", "a database"),
)
WIDE = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


@dataclass(frozen=True)
class Code:
    """Python source that was found in a hand-in; `problem` says why there is none instead.

    name:    of the file that it stands in.
    places:  of each of its lines, where that stands: "cell 3, line 5"; empty where they are simply its lines.
    remarks: what was done to get it, a sentence each.
    helpers: modules that were handed in with it, and that it may import: file name to bytes.
    refused: whether the problem is that it is unsafe to read: too much in it, or paths that lead elsewhere.
    """

    name: str
    data: bytes = b""
    places: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    helpers: Mapping[str, bytes] = field(default_factory=dict)
    problem: str = ""
    refused: bool = False

    def place(self, line: int) -> str:
        """Where a line stands, as the person who wrote it would say."""
        return self.places[line - 1] if 0 < line <= len(self.places) else f"line {line}"


def read(name: str, data: bytes, exercise: Exercise) -> Code:
    """The Python source in one file."""
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _unzip(name, data, exercise)
    found = next(
        (kind for start, kind in OTHER_KINDS if data[:64].lstrip().lower().startswith(start.lower())), None
    )
    if found:
        return Code(
            name,
            problem=f"it is {found}, whatever its name says; hand in a Python file (.py) or a notebook "
            f"(.ipynb)",
        )
    wide = _wide(data)
    if wide:
        return Code(
            name, problem=f"it is text in {wide}; save it as UTF-8 (in the editor: Save As, encoding UTF-8)"
        )
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    # of the first two lines: no UTF-8, or an encoding that there is not, which Python says best
    except SyntaxError:
        encoding = "utf-8"
    if encoding not in ("utf-8", "utf-8-sig"):
        return _sized(Code(name, data))  # Python reads it as its coding line says
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        return Code(name, problem=_undecodable(data, error))
    if name.lower().endswith(".ipynb") or text.lstrip()[:1] == "{" and '"cells"' in text:
        return _sized(_notebook(name, text, exercise))
    if re.search(r"^ {0,3}(```|~~~)", text, re.M):
        return _sized(_markdown(name, data, text, exercise))
    return _sized(Code(name, data))


def _sized(code: Code) -> Code:
    if len(code.data) <= LARGEST_SOURCE:
        return code
    return Code(
        code.name, problem=f"its Python source is larger than {LARGEST_SOURCE:,} bytes; expected one exercise"
    )


def _wide(data: bytes) -> str:
    """The encoding of text with two or four bytes a character, "" for other text."""
    for start, encoding in WIDE:
        if data.startswith(start):
            return encoding
    zeros = [data[:1000][offset::2].count(0) for offset in (0, 1)]
    half = len(data[:1000]) // 2
    return "UTF-16" if half and max(zeros) > 0.9 * half and min(zeros) < 0.1 * half else ""


def _undecodable(data: bytes, error: UnicodeDecodeError) -> str:
    line = data.count(b"\n", 0, error.start) + 1
    byte = data[error.start]
    looks = bytes([byte]).decode("latin-1")
    looks = f' (in Latin-1 it is "{looks}")' if looks.isprintable() else ""
    return (
        f"line {line} has the byte 0x{byte:02X}{looks}, which is no UTF-8, and Python refuses such a file; "
        f"save it as UTF-8, or name its encoding in the first line: # -*- coding: latin-1 -*-"
    )


# Notebooks. IPython's commands are no Python; where they begin is decided outside of strings and brackets
# alone.

_COMMAND = re.compile(r"(\s*)(?:[%!].*|[\w.]+\?{1,2}\s*$|\?{1,2}[\w.]+\s*$|[\w, ]+=\s*(?:!|%[a-z]).*)")
_OPENING = re.compile(
    r"""\#.*|(?P<long>\"{3}|'{3})|(?P<quote>["'])(?:\\.|(?!(?P=quote)).)*(?P=quote)?|(?P<bracket>[()\[\]{}])""",
    re.S,
)
_MAGIC = re.compile(r"\s*%%(\w+)[ \t]*([^\n]*)\n?")
_RUNS_PYTHON = ("time", "timeit", "capture", "prun", "python", "python3", "debug")


def _notebook(name: str, text: str, exercise: Exercise) -> Code:
    """The code cells one after another, without IPython's commands."""
    try:
        content = json.loads(text)
        cells = content["cells"] if "cells" in content else content["worksheets"][0]["cells"]
        language = str(((content.get("metadata") or {}).get("kernelspec") or {}).get("language") or "python")
        codes = [_cell_text(cell) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return Code(
            name,
            problem="it is named as a notebook, and cannot be read as one; open it, save it again, or hand "
            "in a .py",
        )
    if not language.lower().startswith("python"):
        return Code(name, problem=f"its language is {language[:40]}; the exercise is written in Python")
    codes = [code for code in codes if code.strip()]  # IPython does not count empty ones either
    lines, places, left_out, dropped, helpers = [], [], 0, [], {}
    own = max((number for number, code in enumerate(codes, 1) if _is_exercise(code, exercise)), default=0)
    for number, code in enumerate(codes, 1):
        magic = _MAGIC.match(code)
        if number == own:
            body = code[magic.end() :]
            if magic[1] != "writefile":
                body = "\n".join(python_lines(body))
            at = code[: magic.end()].count("\n")
            return Code(
                name,
                body.encode("utf-8", "replace"),
                tuple(f"cell {number}, line {at + line}" for line in range(1, body.count("\n") + 2)),
                (f"Of the notebook, code cell {number} was taken: {_why_taken(magic, exercise)}.",),
                helpers,
            )
        if magic and magic[1] == "writefile" and _target(magic).endswith(".py"):
            helpers[_target(magic)] = code[magic.end() :].encode("utf-8", "replace")
            continue
        if magic and magic[1] not in _RUNS_PYTHON:
            dropped.append(f"%%{magic[1]}")
            continue
        for at, line in enumerate(_without_commands(code), 1):
            left_out += line is None
            places.append(f"cell {number}, line {at}")
            lines.append(_nothing(code, at) if line is None else line)
    remarks = [
        f"It is a notebook: its {len(codes)} code cells are run from the first to the last, and counted so."
    ]
    if left_out:
        remarks.append(
            f"{left_out} line{'s' * (left_out > 1)} with commands for notebooks (%, ! or ?) left out."
        )
    if dropped:
        remarks.append(f"Cells left out: {', '.join(dropped[:MOST_SHOWN])}.")
    return Code(name, "\n".join(lines).encode("utf-8", "replace"), tuple(places), tuple(remarks), helpers)


def _is_exercise(code: str, exercise: Exercise) -> bool:
    """Whether a cell says in its first line that it is this exercise, as in the workbook's notebook."""
    magic = _MAGIC.match(code)
    if magic is None:
        return False
    if magic[1] == "writefile":
        return _target(magic) == exercise.file
    return magic[1] in ("exercise", "grade") and magic[2].split()[:1] == [exercise.name]


def _target(magic: re.Match) -> str:
    """The name of the file that %%writefile writes."""
    return PurePosixPath(magic[2].replace("\\", "/").split()[-1] if magic[2].split() else "").name


def _why_taken(magic: re.Match, exercise: Exercise) -> str:
    if magic[1] == "writefile":
        return f"it writes {exercise.file}"
    return f"it begins with %%{magic[1]} {exercise.name}"


def _cell_text(cell: dict) -> str:
    source = cell.get("source", cell.get("input", ""))
    return "".join(source) if isinstance(source, list) else str(source)


def python_lines(code: str) -> list[str]:
    """The lines of a cell as Python: `pass` in the place of a command of IPython's."""
    return [
        _nothing(code, at) if line is None else line for at, line in enumerate(_without_commands(code), 1)
    ]


def _nothing(code: str, line: int) -> str:
    return re.match(r"\s*", code.split("\n")[line - 1])[0] + "pass"


def _without_commands(code: str) -> list[str | None]:
    """The lines of a cell; None for one that is a command of IPython's, or goes on with one."""
    states = _states(code, _COMMAND)
    return [None if state == "command" else line for line, state in zip(code.split("\n"), states)]


def _states(text: str, command: re.Pattern | None = None) -> list[str]:
    """Where each line begins: in "code", in a long "string", "inside" brackets or after a backslash; or it is
    a "command", which matches the pattern or goes on with one that does."""
    states, string, depth, goes_on, commanded = [], "", 0, False, False
    for line in text.split("\n"):
        state = "string" if string else "inside" if depth or goes_on else "code"
        commanded = commanded or bool(command and state == "code" and command.fullmatch(line))
        states.append("command" if commanded else state)
        if commanded:
            commanded = line.endswith("\\")
            continue
        at = 0
        while at < len(line):
            if string:
                end = re.compile(rf"(?:\\.|(?!{string}).)*{string}").match(line, at)
                if end is None:
                    break
                at, string = end.end(), ""
                continue
            token = _OPENING.search(line, at)
            if token is None:
                break
            at, string = token.end(), token["long"] or ""
            if token["bracket"]:
                depth = max(depth + (1 if token["bracket"] in "([{" else -1), 0)
        goes_on = line.endswith("\\") and not string
    return states


# Markdown, as a chat writes it.


def _markdown(name: str, data: bytes, text: str, exercise: Exercise) -> Code:
    """The block of Python between fences that is the exercise; the file itself where its fences stand in
    strings."""
    text = text.replace("\r\n", "\n")
    lines, blocks, fence = text.split("\n"), [], None
    for number, (line, state) in enumerate(zip(lines, _states(text))):
        mark = re.match(r" {0,3}(```+|~~~+)\s*(\w*)", line)
        if not mark or state == "string" and fence is None:
            continue
        if fence is None:
            fence = (number + 1, mark[2].lower(), mark[1])
        elif mark[1].startswith(fence[2]):
            if fence[1] in ("", "python", "py", "python3"):
                blocks.append((fence[0], number))
            fence = None
    if fence is not None:  # never closed
        blocks.append((fence[0], len(lines)))
    if not blocks:
        return Code(name, data)
    defined = [defines("\n".join(lines[start:end]).encode(), exercise) for start, end in blocks]
    best = [block for block, count in zip(blocks, defined) if count == max(defined)]
    if len(best) > 1:
        where = ", ".join(str(start) for start, _ in best[:MOST_SHOWN])
        return Code(
            name,
            problem=f"it is text with {len(best)} blocks of code between ``` (at the lines {where}); hand in "
            f"one Python file",
        )
    start, end = best[0]
    return Code(
        name,
        "\n".join(lines[start:end]).encode(),
        tuple(f"line {number}" for number in range(start + 1, end + 1)),
        (f"The code between ``` was taken, lines {start + 1} to {end}; the text around it is no Python.",),
    )


# Zips and folders.


def _unzip(name: str, data: bytes, exercise: Exercise) -> Code:
    """The one file in a zip that is the exercise; a zip that is unsafe to unpack is refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            if names & {"[Content_Types].xml", "mimetype"}:
                return Code(
                    name,
                    problem="it is a document of an office program; hand in a Python file (.py) or a "
                    "notebook (.ipynb)",
                )
            if len(entries) > MOST_FILES:
                return Code(
                    name,
                    problem=f"it is a zip of {len(entries):,} files; at most {MOST_FILES:,} are taken",
                    refused=True,
                )
            for why_not, refused in ((_unsafe, True), (_unreadable, False)):
                problem = next(filter(None, map(why_not, entries)), "")
                if problem:
                    return Code(name, problem=problem, refused=refused)
            members, left = {}, LARGEST_FILE
            for entry in entries:
                if (
                    not entry.is_dir()
                    and entry.filename.lower().endswith(KINDS)
                    and not SKIPPED.search(entry.filename)
                ):
                    with archive.open(entry) as file:
                        members[entry.filename] = file.read(left + 1)  # whatever its header says of the size
                    left -= len(members[entry.filename])
                    if left < 0:
                        return Code(
                            name,
                            problem=f"it is a zip with more than {LARGEST_FILE:,} bytes in it; hand in one "
                            f"Python file",
                            refused=True,
                        )
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        MemoryError,
    ) as error:
        return Code(
            name,
            problem=f"it is a zip that cannot be unpacked ({type(error).__name__}); pack it again, or hand "
            f"in the Python file",
        )
    return choose(members, exercise, f"zip {name}")


def _unsafe(entry: zipfile.ZipInfo) -> str:
    """Why a zip with this member is refused; "" where it is harmless."""
    path = entry.filename
    if path.startswith(("/", "\\")) or ":" in path or ".." in re.split(r"[/\\]", path):
        return (
            f"it is a zip with a file that leads out of its folder ({path[:80]!r}); pack it again, or hand "
            f"in the Python file"
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        return (
            f"it is a zip with a symbolic link in it ({path[:80]!r}); pack the file itself, or hand in the "
            f"Python file"
        )
    if entry.file_size > LARGEST_FILE or entry.file_size > LARGEST_RATIO * max(entry.compress_size, 1 << 12):
        return (
            f"it is a zip with a file of {entry.file_size:,} bytes ({path[:80]!r}); hand in the Python file"
        )
    return ""


def _unreadable(entry: zipfile.ZipInfo) -> str:
    """Why a zip with this member cannot be unpacked; "" where it can."""
    if entry.flag_bits & 1:
        return "it is a zip with a password; pack it without one, or hand in the Python file"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return (
            "it is a zip that is packed in an unusual way; pack it with your system's own program, or hand "
            "in the Python file"
        )
    return ""


def choose(members: Mapping[str, bytes], exercise: Exercise, where: str = "folder") -> Code:
    """The one file that is the exercise among those of a folder (paths with / to bytes): named as the
    exercise's, else the only one that defines what it asks for. Its neighbours come along as helpers."""
    members = {
        path: data
        for path, data in members.items()
        if path.lower().endswith(KINDS) and not SKIPPED.search(path)
    }
    found = sorted(path for path in members if PurePosixPath(path).name == exercise.file)
    if not found:
        defined = {path: defines(data, exercise) for path, data in members.items()}
        most = max(defined.values(), default=0)
        found = sorted(path for path, count in defined.items() if count == most > 0)
    wanted = f"{exercise.file}, or the one file that defines {', '.join(exercise.defines)}"
    if len(found) != 1:
        names = sorted(found or members)
        listed = ", ".join(names[:MOST_SHOWN]) + (
            f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
        )
        has = (
            f"has {len(found)} such files ({listed})"
            if found
            else f"has none (it has {listed or 'no Python file'})"
        )
        return Code(
            PurePosixPath(where).name,
            problem=f"it is a {where.split()[0]}; expected in it {wanted}; it {has}. Hand in that file",
        )
    path = PurePosixPath(found[0])
    code = read(path.name, members[found[0]], exercise)
    beside = {
        PurePosixPath(other).name: data for other, data in members.items()
        if PurePosixPath(other).parent == path.parent and other.endswith(".py") and other != found[0]
    }  # fmt: skip
    remarks = [f"Of the {where}, {path} was taken."]
    if beside:
        remarks.append(f"It may import what lies beside it: {', '.join(sorted(beside)[:MOST_SHOWN])}.")
    problem = f"{path}: {code.problem}" if code.problem else ""
    return Code(
        code.name, code.data, code.places, (*remarks, *code.remarks), {**beside, **code.helpers}, problem
    )


def defines(data: bytes, exercise: Exercise) -> int:
    """How many of the names that the exercise asks for a file seems to define at its top."""
    # In a notebook the lines are strings; and Python's own parser can be crashed by what it is given.
    text = data.decode("utf-8", "replace")
    return sum(
        bool(re.search(rf"""(?:^|"|\\n)(?:(?:class|def|async def) +{name}\b|{name} *=)""", text, re.M))
        for name in exercise.defines
    )
