"""The tables of a class, and what each student gets: written from entries and records alone."""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from grader.classroom.entries import Entry, visible
from grader.classroom.store import GRADED, Record, Settings, checks_version
from grader.judge.results import add_suite
from grader.judge.text import clean, one_line
from grader.workbook import UsageError
from tests.exercises import EXERCISES, Exercise

SCHEMA = 1
STATUSES = ("pass", "fail", "not_gradable", "refused", "missing", "not_graded")
LONGEST_NAME = 80  # characters of a file's name in feedback/
# What a spreadsheet takes for a formula, and would run.
_FORMULA = re.compile(r"^\s*[=+\-@]")


@dataclass(frozen=True)
class Result:
    """One row of the class: the entry, what came of it, and under which key its verdict is kept."""

    entry: Entry
    record: Record
    key: str = ""


@dataclass(frozen=True)
class Row:
    """A line of summary.csv. passed: true, false, or empty where there is no verdict. points: of the checks
    that pass; empty without --weights, and where the grader itself failed."""

    student: str
    name: str
    file: str
    status: str
    passed: str
    checks_passed: int
    checks: int
    first_failure: str
    mistakes: str
    remarks: str
    seconds: float
    points: str
    points_of: str
    reason: str
    isolation: str
    device: str
    seed: int
    sha256: str
    verdict: str


@dataclass(frozen=True)
class Summary:
    """A whole class. shard: (I, N) where these are the I-th of N parts; total: entries of the whole class."""

    settings: Settings
    results: list[Result]
    weights: dict[str, float] = field(default_factory=dict)
    shard: tuple[int, int] = (1, 1)
    total: int = 0
    stopped: bool = False

    @property
    def exercise(self) -> Exercise:
        return EXERCISES[self.settings.exercise]

    def counts(self) -> dict[str, int]:
        """How many rows have each status."""
        count = Counter(result.record.status for result in self.results)
        return {status: count[status] for status in STATUSES if count[status]}

    def rows(self) -> list[Row]:
        """A line for each result."""
        several = Counter(result.entry.student for result in self.results if result.entry.name)
        return [self._row(result, several[result.entry.student]) for result in self.results]

    def _row(self, result: Result, entries: int) -> Row:
        entry, record = result.entry, result.record
        verdict = record.verdict or {"checks": [], "remarks": [], "attempt": {}}
        checks = verdict["checks"]
        failed = [check for check in checks if check["status"] == "failed"]
        first = min(failed, key=lambda check: check["mistake"] is None, default=None)
        mistakes = dict.fromkeys(check["mistake"] for check in failed if check["mistake"])
        remarks = [entry.note] * bool(entry.note)
        if entries > 1:
            remarks.append(f"{entries} entries are of this student")
        remarks += map(one_line, verdict["remarks"])
        points, of = self._points(record, checks)
        return Row(
            student=visible(entry.student),
            name=visible(entry.full_name),
            file=visible(entry.name),
            status=record.status,
            passed={"pass": "true", "fail": "false"}.get(record.status, ""),
            checks_passed=sum(check["status"] == "passed" for check in checks),
            checks=len(checks),
            first_failure=first["id"] if first else "",
            mistakes=" ".join(mistakes),
            remarks="; ".join(remarks),
            seconds=round(verdict.get("seconds", 0.0), 2),
            points=points,
            points_of=of,
            reason=one_line(record.reason, 500),
            isolation=verdict.get("isolation", "not run"),
            device=verdict.get("device", ""),
            seed=self.settings.seed,
            sha256=verdict["attempt"].get("sha256", ""),
            verdict=result.key,
        )

    def _points(self, record: Record, checks: list[dict]) -> tuple[str, str]:
        """The points and how many there are to be had; none where the grader itself failed."""
        if not self.weights or record.status == "not_graded":
            return "", ""
        passed = (self.weights[check["id"]] for check in checks if check["status"] == "passed")
        return f"{sum(passed):g}", f"{sum(self.weights.values()):g}"


def read_weights(path: Path, exercise: Exercise) -> dict[str, float]:
    """The points of each check: from a CSV file with the columns check and points, where fuse_* stands for
    all checks whose id begins so. Later lines overrule earlier ones; what no line names has none.

    UsageError where it makes no sense.
    """
    weights = dict.fromkeys(exercise.checks, 0.0)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--weights {path} cannot be read ({error}).") from None
    delimiter = ";" if lines and ";" in lines[0] else ","
    for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), 1):
        cells = [cell.strip() for cell in cells]
        if not any(cells) or number == 1 and cells[:2] == ["check", "points"]:
            continue
        try:
            name, points = cells[0], float(cells[1].replace(",", "."))
        except (IndexError, ValueError):
            raise UsageError(f"--weights {path}, line {number}: expected a check and its points.") from None
        head = name[:-1] if name.endswith("*") else None
        named = [id for id in exercise.checks if id == name or head is not None and id.startswith(head)]
        if not named or not 0 <= points < 1e6:
            what = f"{points:g} points" if named else f"no check {name[:40]!r}"
            raise UsageError(
                f"--weights {path}, line {number}: {what}; the checks of {exercise.name} are "
                f"{', '.join(exercise.checks)}, and points are numbers from 0."
            )
        weights |= dict.fromkeys(named, points)
    return weights


def csv_text(rows: list[Row]) -> str:
    """The rows for a spreadsheet; no cell is one that it would run."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(Row.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in asdict(row).items()})
    return text.getvalue()


def _cell(value):
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def as_json(summary: Summary, rows: list[Row]) -> dict:
    """What summary.json holds; from it, and from verdicts/, --merge makes the same tables."""
    return {
        "schema": SCHEMA,
        "settings": asdict(summary.settings),
        "workbook": checks_version(),
        "shard": list(summary.shard),
        "total": summary.total,
        "stopped": summary.stopped,
        "counts": summary.counts(),
        "weights": summary.weights,
        # An entry's name may hold bytes that are no text; JSON's escapes keep them.
        "rows": [asdict(row) | {"entry": asdict(result.entry)} for row, result in zip(rows, summary.results)],
    }


def junit_text(summary: Summary) -> str:
    """JUnit XML: a suite for each row; what could not be graded is an error."""
    root = ElementTree.Element("testsuites", name=summary.settings.exercise)
    for result in summary.results:
        name = visible(f"{result.entry.student} {result.entry.name}").strip()
        record = result.record
        if record.verdict:
            add_suite(root, name, record.verdict)
            continue
        error = record.status == "not_graded"
        counts = {"tests": "1", "errors": str(int(error)), "failures": str(int(not error)), "skipped": "0"}
        suite = ElementTree.SubElement(root, "testsuite", name=clean(name), **counts)
        case = ElementTree.SubElement(suite, "testcase", classname=summary.settings.exercise, name="hand_in")
        said = clean(f"{record.status}: {record.reason}")
        ElementTree.SubElement(case, "error" if error else "failure", message=said).text = said
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def feedback_names(entries: Iterable[Entry]) -> list[str]:
    """The name of each row's file in feedback/: the student's; where that is several rows', the entry's."""
    entries = list(entries)
    # Names that differ in capitals alone are one file on some systems.
    count = Counter(_file_name(entry.student).casefold() for entry in entries)
    names, taken = [], set()
    for entry in entries:
        name = _file_name(entry.student)
        if count[name.casefold()] > 1:
            name = _file_name(f"{entry.student} {entry.name}")
        while name.casefold() in taken:
            name += "-" + _hash(f"{entry.student}\0{entry.name}")
        taken.add(name.casefold())
        names.append(f"{name}.md")
    return names


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _file_name(text: str) -> str:
    """Text as a part of a file's name that every system takes: letters, digits and a few marks."""
    kept = re.sub(r"[^\w.@+-]+", "_", visible(text)).strip("._-")
    number = _hash(text)
    if not kept or re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", kept):
        return f"student-{number}"
    return kept if len(kept.encode()) <= LONGEST_NAME else f"{kept[: LONGEST_NAME // 4]}-{number}"


def feedback(exercise: Exercise, result: Result) -> str:
    """What a student is to see, as Markdown: the report of the grade, word for word."""
    record = result.record
    head = f"# {exercise.name}: {exercise.title}\n\n"
    if record.status in GRADED:
        words = "All checks pass." if record.status == "pass" else "Not all checks pass yet."
        report = record.report.rstrip()
        # The report quotes the student's code and output; no fence in it may end ours.
        fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", report)), default=0))
        return f"{head}{words}\n\n{fence}text\n{report}\n{fence}\n".encode("utf-8", "replace").decode()
    words = {
        "missing": "Nothing was handed in.",
        "refused": "Your hand-in was not opened",
        "not_gradable": "Your hand-in could not be graded",
    }.get(record.status, "Your hand-in has not been graded yet; that is not your fault.")
    if record.status in ("refused", "not_gradable"):
        # As code, so that nothing in it is a link or markup.
        said = one_line(record.reason, 500)
        fence = "`" * (1 + max(map(len, re.findall(r"`+", said)), default=0))
        words += f": {fence} {said} {fence}"
    return f"{head}{words}\n".encode("utf-8", "replace").decode()
