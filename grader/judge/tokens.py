"""A failing case in a few characters, so that it can be built again, here or on another machine.

    ex1.running_mean.0.1.3fa9c1                           exercise, check, seed, look, checksum
    ex1.values.0.1-1.Size-1-3-128-2-4-0.52d01b            the same within a case that was drawn
    ex1.values.0.1-1.Size-1-3-128-2-4-0.cuda.9be41f       on a GPU

The checksum covers the token and the sources of the checks: with other checks it would be another case.
"""

import base64
import binascii
import functools
import hashlib
import json
import re
from dataclasses import dataclass, fields, is_dataclass

from grader.workbook import REPOSITORY, UsageError
from tests.exercises import EXERCISES

LONGEST = 4000  # characters
LARGEST = 10**10  # of a whole number in a case: 9 digits are added in exercise 2
FORM = re.compile(
    r"(?P<exercise>\w{1,20})\.(?P<check>\w{1,60})\.(?P<seed>\d{1,10})\.(?P<look>\d{1,4})"
    r"(-(?P<series>\d{1,2})\.(?P<type>[A-Za-z]\w*)-(?P<items>[\w-]*))?"
    r"(?P<cuda>\.cuda)?\.(?P<sum>[0-9a-f]{6})",
    re.ASCII,
)


@dataclass(frozen=True)
class Token:
    """What a token says. series is 0 where no case was drawn; type: the name of the drawn case's dataclass,
    "tuple" or "value"; items: its fields as JSON values."""

    exercise: str
    check: str
    seed: int
    look: int
    series: int = 0
    type: str = ""
    items: tuple = ()
    device: str = "cpu"


@functools.cache
def _version() -> bytes:
    """Changes with any source that has a part in what a check asks; line ends do not count."""
    digest = hashlib.sha256()
    for path in sorted((REPOSITORY / "tests" / "exercises").rglob("*.py")):
        if path.name not in ("mistakes.py", "hints.py", "stub.py"):
            digest.update(path.read_text(encoding="utf-8").encode())
    return digest.digest()


def _sum(text: str) -> str:
    return hashlib.sha256(_version() + text.encode()).hexdigest()[:6]


def write(exercise: str, check: str, seed: int, device: str, location) -> str:
    """The token of a failing case; location: exam.Location."""
    text = f"{exercise}.{check}.{seed}.{location.look}"
    if location.series:
        case = location.case
        if is_dataclass(case):
            name, items = type(case).__name__, [getattr(case, field.name) for field in fields(case)]
        else:
            name, items = ("tuple", list(case)) if isinstance(case, tuple) else ("value", [case])
        text += f"-{location.series}.{name}-{_items_text(items)}"
    text += ".cuda" if device == "cuda" else ""
    return f"{text}.{_sum(text)}"


def _items_text(items: list) -> str:
    if items and all(type(item) is int and item >= 0 for item in items):
        return "-".join(map(str, items))
    data = json.dumps(items, separators=(",", ":")).encode()
    return "j" + base64.urlsafe_b64encode(data).decode().rstrip("=")


def read(text: str) -> Token:
    """What a token says. UsageError where it is none, is damaged, or belongs to other checks."""
    found = FORM.fullmatch(text) if len(text) <= LONGEST else None
    if found is None or found["exercise"] not in EXERCISES:
        raise UsageError(
            f"{text[:60]!r} is no token; copy one from a report: it stands after --replay, at the end of a "
            f"report that fails, and below every failing case with --verbose."
        )
    exercise = EXERCISES[found["exercise"]]
    if found["sum"] != _sum(text[: -len(".123456")]) or found["check"] not in exercise.checks:
        raise UsageError(
            f"the token {text[:60]!r} is damaged, or comes from another version of the checks; "
            f"copy it whole, or grade again for a new one: python grade.py {exercise.name}."
        )
    items = _items(found["items"]) if found["series"] else ()
    return Token(
        exercise.name,
        found["check"],
        int(found["seed"]),
        int(found["look"]),
        int(found["series"] or 0),
        found["type"] or "",
        items,
        "cuda" if found["cuda"] else "cpu",
    )


def _items(text: str) -> tuple:
    try:
        if text.startswith("j"):
            items = json.loads(base64.urlsafe_b64decode(text[1:] + "=" * (-len(text[1:]) % 4)))
        else:
            items = [int(item) for item in text.split("-")]
    except (ValueError, binascii.Error, RecursionError):
        items = None
    if not isinstance(items, list) or any(isinstance(item, int) and abs(item) > LARGEST for item in items):
        raise UsageError("the case in the token cannot be read; grade again for a new one.")
    return _frozen(items)


def _frozen(value):
    """JSON's lists as tuples: a drawn case can be hashed."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
