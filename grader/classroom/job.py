"""A judge of its own process that grades one hand-in after another, with workers that stay warm.

The first line that it reads says how to grade, as JSON; it answers with the isolation that it reached. Each
further line names an entry, and its record goes out. It ends when its input ends.
"""

import io
import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from grader.classroom.entries import HandIn, read_entry
from grader.classroom.store import Record, Settings
from grader.judge.diagnosis import name_mistakes
from grader.judge.grade import Session, grade
from grader.judge.host import Host
from grader.judge.processes import Starter
from grader.judge.results import Verdict
from grader.learner import report
from grader.workbook import Call, InstallationError
from grader.worker import sandbox
from tests.exercises import EXERCISES

LONGEST_SOURCE = 64 << 10  # bytes of a hand-in that are kept


def main() -> None:
    """Serve until the input ends; on SIGTERM, and where the parent is gone, end everything at once."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what anything prints goes to the log
    asked = json.loads(sys.stdin.readline())
    settings, ending = Settings(**asked["settings"]), threading.Event()

    def say(what: dict) -> None:
        if not ending.is_set():
            print(json.dumps(what), file=answers, flush=True)

    # trains: what some files of a class import is imported once, before the first of them.
    starter = Starter(
        trains=True, hidden=tuple(asked["hidden"]), user=asked["user"], namespaces=asked["namespaces"]
    )
    _end_with(starter, ending)
    sandbox.die_with_parent(signal.SIGTERM)
    try:
        with Session(starter, thorough=True) as session:
            say({"isolation": _isolation(session, settings)})
            for line in sys.stdin:
                say(asdict(_record(session, settings, Path(asked["folder"]), json.loads(line))))
    except InstallationError as error:
        say({"broken": str(error)})


def _end_with(starter: Starter, ending: threading.Event) -> None:
    """From here on SIGTERM ends the workers and this process. In a thread: the running check may hold any
    lock, and pytest would take an exception for a failure of the check."""

    def end() -> None:
        try:
            starter.close()
        finally:
            os._exit(128 + signal.SIGTERM)

    def terminate(*_) -> None:
        if not ending.is_set():
            ending.set()
            threading.Thread(target=end).start()

    signal.signal(signal.SIGTERM, terminate)


def _isolation(session: Session, settings: Settings) -> list[str]:
    """What an attempt's worker says that it cannot do."""
    exercise = EXERCISES[settings.exercise]
    device = session.choose_device(settings.device, exercise)
    host = Host(session.starter, "attempt", device, session.deadlines, ".")
    try:
        return host.started().hello["isolation"]
    finally:
        host.close()


def _record(session: Session, settings: Settings, folder: Path, asked: dict) -> Record:
    """What comes of one entry."""
    hand_in = read_entry(folder, asked["name"], EXERCISES[settings.exercise])
    if hand_in.status:
        return Record(hand_in.status, hand_in.reason)
    if hand_in.digest != asked["digest"]:
        return Record("not_graded", "it was changed while the class was graded; the same command grades it")
    return record_of(session, settings, hand_in)


def record_of(session: Session, settings: Settings, hand_in: HandIn, report=None) -> Record:
    """The verdict on a hand-in that can be graded. report: called with each check's result."""
    exercise = EXERCISES[settings.exercise]
    verdict = grade(
        session,
        settings.exercise,
        hand_in.source,
        device=settings.device,
        seed=settings.seed,
        quick=settings.quick,
        report=report,
        diagnose=None if settings.no_names else name_mistakes,
    )
    known = {mistake.id: mistake for mistake in exercise.mistakes()}
    named = [check for check in verdict.checks if check.mistake and check.explained(known)]
    return Record(
        "pass" if verdict.passed else "fail",
        "it is the exercise's stub, or as empty" if verdict.not_started else "",
        verdict=verdict.as_json(),
        report=_report(verdict, settings),
        explained={check.mistake: list(check.explained(known)) for check in named},
        source=hand_in.source.code(exercise).data[:LONGEST_SOURCE].decode("utf-8", "replace"),
    )


def _report(verdict: Verdict, settings: Settings) -> str:
    """What the student would see at home."""
    text = io.StringIO()
    call = Call(
        verdict.exercise,
        device=settings.device,
        seed=settings.seed,
        quick=settings.quick,
        no_names=settings.no_names,
    )
    report.show(report.console(file=text, force_terminal=False), verdict, call=call)
    return text.getvalue()


if __name__ == "__main__":
    main()
