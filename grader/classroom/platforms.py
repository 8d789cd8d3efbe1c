"""One hand-in graded where a platform runs us: Gradescope, Classroom 50, GitHub Actions.

    python -m grader.classroom.platforms CONFIG HAND_IN RESULT

CONFIG is what --export wrote: the platform, how to grade, and the points. The exit status is 0 for every
verdict (on GitHub 1 where something failed). Where the grader itself fails it is 2, and there is no result,
since a fault of ours is no reason for 0 points.
"""

import datetime
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from grader.classroom.entries import read_entry
from grader.classroom.job import record_of
from grader.classroom.run import FIRST_USER, can_become
from grader.classroom.store import Record, Settings
from grader.judge.grade import Session
from grader.judge.processes import Starter
from grader.judge.results import CheckResult, junit_of
from grader.judge.text import clean, one_line
from grader.workbook import FAULT, InstallationError, UsageError, write_atomically
from tests.exercises import EXERCISES

PLATFORMS = ("gradescope", "classroom50", "github")
MOST_ANNOTATIONS = 9  # of ten that GitHub shows for a step; the rest is in the summary
LONGEST_OUTPUT = 20_000  # characters of a report that a platform gets
UNFINISHED = "It was not graded: the time ran out before it."


def gradescope(record: Record, weights: Mapping[str, float]) -> dict:
    """results.json, as gradescope-autograders.readthedocs.io/specs describes it."""
    checks = record.verdict["checks"] if record.verdict else _none(record)
    tests = [
        {
            "name": check["title"],
            "score": weights.get(check["id"], 0.0) if check["status"] == "passed" else 0.0,
            "max_score": weights.get(check["id"], 0.0),
            "status": "passed" if check["status"] == "passed" else "failed",
            "output": clean(check["message"]),
            "output_format": "text",
            "tags": [check["id"]],
            "extra_data": {"mistake": check["mistake"], "status": check["status"]},
        }
        for check in checks
    ]
    if not record.verdict:
        tests[0]["max_score"] = sum(weights.values())
    return {
        "tests": tests,
        "output": clean(record.report or record.reason, LONGEST_OUTPUT),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": _facts(record),
    }


def classroom50(record: Record, weights: Mapping[str, float], environment: Mapping[str, str]) -> dict:
    """result.json by the schema classroom50/result/v1; the runner's variables say whose it is."""
    checks = record.verdict["checks"] if record.verdict else _none(record)
    tests = [
        {
            "test-name": check["id"],
            "passed": check["status"] == "passed",
            "score": int(weights.get(check["id"], 0)) if check["status"] == "passed" else 0,
            "max-score": int(weights.get(check["id"], 0)),
            "mistake": check["mistake"],
            "message": clean(check["message"]),
        }
        for check in checks
    ]
    if not record.verdict:
        tests[0]["max-score"] = int(sum(weights.values()))
    try:
        commit = environment["COMMIT_URL"]
        named = {
            "classroom": environment["CLASSROOM"],
            "assignment": environment["ASSIGNMENT"],
            "submission": environment["SUBMISSION_TAG"],
            "commit": commit,
            "release": environment["RELEASE_URL"],
            "review": environment.get("REVIEW_URL") or commit,
        }
    except KeyError as error:
        raise InstallationError(
            f"the runner of Classroom 50 did not set {error}; is this run by anything else?"
        ) from None
    return {
        "schema": "classroom50/result/v1",
        **named,
        "datetime": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "score": sum(test["score"] for test in tests),
        "max-score": sum(test["max-score"] for test in tests),
        "tests": tests,
        "grader": _facts(record),
    }


def _none(record: Record) -> list[dict]:
    """The one check of a hand-in that could not be graded."""
    check = CheckResult("hand_in", "the hand-in can be graded", "failed", message=record.reason)
    return [{name: getattr(check, name) for name in ("id", "title", "status", "message", "mistake")}]


def _facts(record: Record) -> dict:
    verdict = record.verdict or {}
    named = {name: verdict.get(name) for name in ("exercise", "isolation", "seed", "device", "complete")}
    return named | {"status": record.status, "reason": record.reason}


def annotations(record: Record, file: str) -> list[str]:
    """Commands of GitHub Actions that write what failed beside the learner's lines."""
    lines = []
    for check in record.verdict["checks"] if record.verdict else _none(record):
        if check["status"] == "failed":
            place = re.search(r"\bline (\d{1,6})\b", check["message"])
            at = f",line={place[1]}" if place else ""
            title = _property(f"{check['id']}: {check['title']}")
            lines.append(f"::error file={_property(file)}{at},title={title}::{_data(check['message'])}")
    return lines[:MOST_ANNOTATIONS]


def _data(text: str) -> str:
    """The text of a command: in one line, whatever is in it."""
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(one_line(text)).replace(":", "%3A").replace(",", "%2C")


def grade_here(settings: Settings, hand_in: Path, report=None) -> Record:
    """Grade one hand-in, a file or a folder, in this process. InstallationError where that cannot be done.

    report: called with each check's result."""
    found = read_entry(hand_in.resolve().parent, hand_in.resolve().name, EXERCISES[settings.exercise])
    if found.status == "not_graded":
        raise InstallationError(found.reason)
    if found.status:
        return Record(found.status, found.reason)
    with tempfile.TemporaryDirectory(prefix="grade-platform-") as scratch:
        os.chmod(scratch, 0o711)
        tempfile.tempdir = scratch
        try:
            user = FIRST_USER if can_become(FIRST_USER, Path(scratch)) else None
            # What an optimizer imports is held once, and not by each worker: 768 MB are to be enough.
            trains = bool(EXERCISES[settings.exercise].training)
            starter = Starter(trains=trains, hidden=(str(hand_in.resolve()),), user=user)
            with Session(starter) as session:
                return record_of(session, settings, found, report=report)
        finally:
            tempfile.tempdir = None


def _partial(settings: Settings, results: list[CheckResult]) -> Record:
    """What is known before the end; what did not run counts as failed."""
    exercise = EXERCISES[settings.exercise]
    known = {check.id: check for check in results}
    checks = [known.get(id) or CheckResult(id, id, "not_run", message=UNFINISHED) for id in exercise.checks]
    names = ("id", "title", "status", "message", "mistake")
    listed = [{name: getattr(check, name) for name in names} for check in checks]
    return Record("fail", UNFINISHED, {"exercise": exercise.name, "checks": listed, "complete": False})


def _result(platform: str, record: Record, weights: Mapping[str, float]) -> str:
    if platform == "gradescope":
        return json.dumps(gradescope(record, weights), indent=1) + "\n"
    if platform == "classroom50":
        return json.dumps(classroom50(record, weights, os.environ), indent=1) + "\n"
    return junit_of([record.verdict] if record.verdict else [])


def main(arguments: list[str]) -> int:
    """Grade, and write the result; on Gradescope also while it grades."""
    config = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    platform, weights = config["platform"], config["weights"]
    settings, hand_in, result = Settings(**config["settings"]), Path(arguments[1]), Path(arguments[2])
    so_far: list[CheckResult] = []

    def came(check: CheckResult) -> None:
        so_far.append(replace(check))
        if platform == "gradescope":
            write_atomically(result, _result(platform, _partial(settings, so_far), weights))

    try:
        record = grade_here(settings, hand_in, came)
        write_atomically(result, _result(platform, record, weights))
    except (InstallationError, UsageError) as error:
        result.unlink(missing_ok=True)
        print(f"the grader could not work here: {error}", file=sys.stderr)
        return FAULT
    if platform == "github":
        from grader.classroom.entries import Entry
        from grader.classroom.summary import Result, feedback

        print("\n".join(annotations(record, str(hand_in))))
        text = feedback(EXERCISES[settings.exercise], Result(Entry("", ""), record))
        with open(os.environ.get("GITHUB_STEP_SUMMARY") or os.devnull, "a", encoding="utf-8") as summary:
            summary.write(text[: 900 << 10])
        return 0 if record.status == "pass" else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
