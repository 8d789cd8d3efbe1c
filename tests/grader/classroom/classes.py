"""Classes for the tests: records without a grade, and folders of hand-ins."""

import csv
import json
from pathlib import Path

from grader.classroom.entries import Entry
from grader.classroom.store import Record, Settings
from grader.classroom.summary import Result, Summary
from tests.exercises import EXERCISES
from tests.grader.attempts import verdict_of

EX1 = EXERCISES["ex1"]


def record(*failed: str, mistakes=(), report="the report") -> Record:
    """A record as a judge gives it, where these checks failed."""
    verdict = verdict_of(EX1, failed, mistakes).as_json()
    return Record("fail" if failed else "pass", verdict=json.loads(json.dumps(verdict)), report=report)


def summary_of(*results: Result, **options) -> Summary:
    """A class of ex1 with these results."""
    return Summary(Settings("ex1"), list(results), total=len(results), **options)


def result(student: str, name: str = "", what: Record | None = None, key: str = "") -> Result:
    """A row of a class."""
    return Result(Entry(student, name), what or Record("missing", "nothing was handed in"), key)


def rows_of(results: Path) -> list[dict[str, str]]:
    """The lines of summary.csv."""
    with open(results / "summary.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows_without_times(results: Path) -> list[dict[str, str]]:
    """The same, each without its seconds, and without what is said of memory."""
    return [{**row, "seconds": ""} for row in rows_of(results)]
