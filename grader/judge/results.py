"""A verdict as data, and its two files: JSON for programs, JUnit XML for continuous integration."""

import json
from dataclasses import dataclass, field
from xml.etree import ElementTree

from tests.exercises.shown import WEIGHTS, Matrices

STATUSES = ("passed", "failed", "not_reached", "not_run")
SCHEMA = 1
# These stand where a mistake's id would.
SOLUTION_READ = "reads_the_solution"
OTHER_FILE_READ = "reads_another_file"


@dataclass
class CheckResult:
    """What one check found: the message, and further lines that show where it is wrong."""

    id: str
    title: str
    status: str
    seconds: float = 0.0
    message: str = ""
    mistake: str | None = None
    case: dict | None = None
    on: str = "cpu"  # cuda where a step of it ran on the GPU
    details: list[str] = field(default_factory=list)
    unfinished: bool = False
    location: object = None  # exam.Location: where the check looked when it failed
    replay: str = ""  # the token of the failing case (tokens.py)
    numbers: object = None  # exam.Numbers: what was expected and what came
    shown: list = field(default_factory=list)  # what a report may draw (tests/exercises/shown.py)
    fit: object = None  # fits.Fit: the mistake as it was read off them, where no known one was named
    candidates: list[str] = field(default_factory=list)  # ids of known mistakes of which it may be one

    @property
    def text(self) -> str:
        """The message with all further lines, and the numbers of what a report draws."""
        numbers = [line for one in self.shown if isinstance(one, Matrices) for line in one.lines()]
        return "\n".join([self.message, *self.details, *numbers])

    @property
    def matrices(self) -> list[Matrices]:
        """The matrices that may be drawn: those of the check itself; where there are no attention weights
        among them, those that its numbers hold (exam.Numbers), if they are wrong as well."""
        found = [one for one in self.shown if isinstance(one, Matrices)]
        numbers = [self.numbers, *self.numbers.facts.get("again", ())] if self.numbers else []
        for one in numbers:
            if one.kind == "attention" and not any(other.what == WEIGHTS for other in found):
                size = {name: one.facts[name] for name in ("B", "T", "C", "H") if name in one.facts}
                found.append(Matrices.of(one.expected, one.got, one.allowed, case=size))
        return [one for one in found if one.wrong.any()]

    def explained(self, known: dict) -> tuple[str, str] | None:
        """The name of the mistake and what to tell the learner of it; None where it has none. known: the
        mistakes of the catalogue by id."""
        found = self.fit or known.get(self.mistake)
        return (found.name, found.why) if found else None


@dataclass
class Verdict:
    """The outcome of one grade. passed: every check that was asked for reported a pass; complete:
    none was left out; not_started: the file is the untouched stub, or still as empty."""

    exercise: str
    passed: bool
    complete: bool
    path: str
    sha256: str
    device: str
    isolation: str
    seed: int
    seconds: float
    checks: list[CheckResult]
    not_started: bool = False
    read_as: list[str] = field(default_factory=list)  # what was done to read the file
    remarks: list[str] = field(default_factory=list)  # what is right and worth knowing
    named: bool = True  # False: mistakes were not looked for (--no-names)
    printed: str = ""  # the end of what the file had printed when the first check failed

    @property
    def mistakes(self) -> list[str]:
        """The ids of the mistakes that were named, once each, in the order of the checks."""
        return list(dict.fromkeys(check.mistake for check in self.checks if check.mistake))

    @property
    def first_to_mend(self) -> CheckResult | None:
        """The failed check to begin with: one whose mistake is named, else the first, what is unwritten
        last."""
        failed = [check for check in self.checks if check.status == "failed"]
        return min(failed, key=lambda check: (check.mistake is None, check.unfinished), default=None)

    def as_json(self) -> dict:
        """The object that --json writes."""
        checks = [
            {
                "id": check.id,
                "title": check.title,
                "status": check.status,
                "seconds": check.seconds,
                "message": check.text,
                "mistake": check.mistake,
                "case": (check.case or {}) | {"replay": check.replay} if check.replay else check.case,
            }
            for check in self.checks
        ]
        return {
            "schema": SCHEMA,
            "exercise": self.exercise,
            "passed": self.passed,
            "complete": self.complete,
            "attempt": {"path": self.path, "sha256": self.sha256},
            "device": self.device,
            "isolation": self.isolation,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "checks": checks,
            "remarks": self.remarks,
        }


def json_text(verdicts: list[Verdict]) -> str:
    """One verdict as its object; several (`grade.py all`) as one object with a list of them."""
    if len(verdicts) == 1:
        written = verdicts[0].as_json()
    else:
        written = {
            "schema": SCHEMA,
            "exercise": "all",
            "passed": all(verdict.passed for verdict in verdicts),
            "complete": all(verdict.complete for verdict in verdicts),
            "exercises": [verdict.as_json() for verdict in verdicts],
        }
    return json.dumps(written, indent=2) + "\n"


def junit_text(verdicts: list[Verdict]) -> str:
    """JUnit XML: a suite per exercise, a case per check; what was not reached or run is skipped."""
    return junit_of([verdict.as_json() for verdict in verdicts])


def junit_of(verdicts: list[dict]) -> str:
    """The same from verdicts as --json writes them."""
    root = ElementTree.Element("testsuites")
    for verdict in verdicts:
        add_suite(root, verdict["exercise"], verdict)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def add_suite(root: ElementTree.Element, name: str, verdict: dict) -> None:
    """A suite of this name from a verdict as --json writes it. Its properties are seed, device and isolation,
    those of a case its mistake."""
    checks = verdict["checks"]
    count = {status: sum(check["status"] == status for check in checks) for status in STATUSES}
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=_xml(name),
        tests=str(len(checks)),
        failures=str(count["failed"]),
        skipped=str(count["not_reached"] + count["not_run"]),
        errors="0",
        time=f"{verdict['seconds']:.3f}",
    )
    _properties(suite, {key: verdict[key] for key in ("seed", "device", "isolation")})
    for check in checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname=verdict["exercise"], name=check["id"], time=f"{check['seconds']:.3f}"
        )
        if check["mistake"]:
            _properties(case, {"mistake": check["mistake"]})
        message = _xml(check["message"])
        if check["status"] == "failed":
            failure = ElementTree.SubElement(case, "failure", message=message.partition("\n")[0])
            failure.text = message
        elif check["status"] != "passed":
            ElementTree.SubElement(case, "skipped", message=message)


def _properties(element: ElementTree.Element, values: dict) -> None:
    """What JUnit has no attribute for."""
    listed = ElementTree.SubElement(element, "properties")
    for name, value in values.items():
        ElementTree.SubElement(listed, "property", name=name, value=_xml(str(value)))


def _xml(text: str) -> str:
    """XML 1.0 cannot hold every character, not even escaped."""
    return "".join(
        c if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" else "?" for c in text
    )
