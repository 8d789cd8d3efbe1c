"""`python grade.py --selftest`: proves the checks. Every known mistake must fail and be named as itself,
every stub must fail because it is not written yet, every solution must pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grader.judge import Session, Source, grade, read_source
from grader.processes import REPOSITORY
from grader.results import Verdict
from tests.exercises import EXERCISES, Exercise


@dataclass(frozen=True)
class Row:
    """One line of the kill matrix: what was graded, what should come of it, and what did."""

    exercise: str
    graded: str
    wanted: str
    came: str
    failed_checks: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        return self.wanted == self.came or self.came == "needs cuda"


def outcome(verdict: Verdict) -> str:
    """A verdict in a few words: passed, not started, or the mistakes that it names."""
    if verdict.passed:
        return "passed"
    if verdict.not_started:
        return "not started"
    return ", ".join(verdict.mistakes) or "failed, unnamed"


def selftest(
    session: Session, exercises: list[str], *, device: str, seed: int, report: Callable[[Row], None] | None = None
) -> list[Row]:
    """Grade every solution, stub and mistake; a row for each, reported as it comes."""
    rows = []
    for exercise in (EXERCISES[name] for name in exercises):
        chosen = session.choose_device(device, exercise)
        for graded, wanted, source in cases(exercise, chosen):
            if source is None:
                row = Row(exercise.name, graded, wanted, "needs cuda", (), 0.0)
            else:
                verdict = grade(session, exercise.name, source, device=chosen, seed=seed)
                failed = tuple(check.id for check in verdict.checks if check.status == "failed")
                row = Row(exercise.name, graded, wanted, outcome(verdict), failed, verdict.seconds)
            rows.append(row)
            if report is not None:
                report(row)
    return rows


def cases(exercise: Exercise, device: str):
    """(what, wanted outcome, source) for the solution, the stub and each mistake; the source is None
    where the mistake only shows on another device."""
    solution = read_source(REPOSITORY / exercise.solution_path)
    yield "solution", "passed", solution
    stub = REPOSITORY / "tests" / "exercises" / exercise.name / "stub.py"
    yield "stub", "not started", read_source(stub if stub.exists() else REPOSITORY / exercise.attempt_path)
    text = solution.data.decode("utf-8")
    for mistake in exercise.mistakes():
        if mistake.needs == "cuda" and device != "cuda":
            yield mistake.id, mistake.id, None
        else:
            yield mistake.id, mistake.id, Source(Path(f"{mistake.id}.py"), mistake.apply(text).encode())
