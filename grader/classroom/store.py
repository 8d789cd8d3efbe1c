"""The verdicts of a class on the disk: one JSON file for each hand-in, written whole or not at all.

A file's name is a hash of all that decides the verdict, so that the same command finds what is done, and a
changed hand-in or a newer workbook is graded anew.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from grader.judge import kept
from grader.judge.results import STATUSES
from grader.workbook import write_atomically
from tests.exercises import EXERCISES

SCHEMA = 1
GRADED = ("pass", "fail")
# Of what a verdict depends on besides the hand-in: what is checked, how, and how a mistake is named.
CODE = (*kept.CODE, "grader/judge", "solutions")


def checks_version() -> str:
    """A hash of the code that decides a verdict."""
    return kept.workbook_version(CODE)


@dataclass(frozen=True)
class Settings:
    """How a class is graded; all of it decides the verdicts."""

    exercise: str
    seed: int = 0
    quick: bool = False
    device: str = "auto"
    no_names: bool = False

    def key(self, digest: str) -> str:
        """The name under which the verdict on a hand-in is kept. digest: of all that was handed in."""
        parts = [digest, checks_version(), version("torch"), asdict(self)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


@dataclass(frozen=True)
class Record:
    """What came of a hand-in.

    status: pass or fail; refused, not_gradable, not_graded or missing, and then `reason` says why.
    verdict: as --json writes it. report: what the student is to see. explained: of each mistake in the
    verdict its name, and what to tell a student of it. source: the Python that was graded, as far as it is
    compared with that of others.
    """

    status: str
    reason: str = ""
    verdict: dict | None = None
    report: str = ""
    explained: dict[str, list[str]] = field(default_factory=dict)
    source: str = ""


class Store:
    """The folder of verdicts."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Record | None:
        """What is kept under a key; None where there is nothing, or not what was written."""
        try:
            found = json.loads((self.folder / f"{key}.json").read_bytes())
            record = Record(**found["record"])
            right = (found["schema"], found["key"], found["check"]) == (SCHEMA, key, _check(record))
            return record if right and _is_whole(record) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def keep(self, key: str, record: Record) -> None:
        """Write a verdict, and read it back. OSError where that fails."""
        content = {"schema": SCHEMA, "key": key, "check": _check(record), "record": asdict(record)}
        path = self.folder / f"{key}.json"
        write_atomically(path, json.dumps(content, indent=1) + "\n")
        if os.name == "posix":  # the new name as well, before the machine may lose power
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        if self.find(key) is None:
            raise OSError(f"{path} does not hold what was written to it")


def _check(record: Record) -> str:
    """A hash of what is written."""
    return hashlib.sha256(json.dumps(asdict(record), sort_keys=True).encode()).hexdigest()


def _is_whole(record: Record) -> bool:
    """Whether it is a verdict on every check of its exercise."""
    if record.status not in GRADED or not record.verdict:
        return False
    checks = record.verdict["checks"]
    ids = tuple(check["id"] for check in checks)
    passed = all(check["status"] in ("passed", "not_run") for check in checks)
    return (
        ids == EXERCISES[record.verdict["exercise"]].checks
        and all(check["status"] in STATUSES for check in checks)
        and record.verdict["passed"] == (record.status == "pass") == passed
    )
