"""`python grade.py --selftest`: proves the checks. Every known mistake must fail and be named as itself,
every stub must fail because it is not written yet, every solution must pass.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from grader.judge import Session, Source, grade, read_source
from grader.processes import REPOSITORY, Starter, InstallationError
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
    session: Session,
    exercises: list[str],
    *,
    device: str,
    seed: int,
    report: Callable[[Row], None] | None = None,
    share: tuple[int, int] = (0, 1),
) -> list[Row]:
    """Grade every solution, stub and mistake; a row for each, reported as it comes.

    share: (i, n) takes every n-th of them, from the i-th on.
    """
    rows = []
    for exercise in (EXERCISES[name] for name in exercises):
        chosen = session.choose_device(device, exercise)
        for graded, wanted, source in list(cases(exercise, chosen))[share[0] :: share[1]]:
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
    yield "stub", "not started", read_source(REPOSITORY / exercise.stub_path)
    text = solution.data.decode("utf-8")
    for mistake in exercise.mistakes():
        if mistake.needs == "cuda" and device != "cuda":
            yield mistake.id, mistake.id, None
        else:
            yield mistake.id, mistake.id, Source(Path(f"{mistake.id}.py"), mistake.apply(text).encode())


def in_parallel(
    exercises: list[str],
    *,
    device: str,
    seed: int,
    report: Callable[[Row], None] | None = None,
    every: int = 1,
) -> list[Row]:
    """The same, shared out among processes: one per core, four at most, one on a GPU.

    every: take every n-th case only.
    """
    jobs = 1 if device == "cuda" else min(4, os.cpu_count() or 1)
    rows: list[Row] = []
    lock, errors = threading.Lock(), []

    def follow(number: int) -> None:
        command = [sys.executable, "-m", "grader.selftest", json.dumps([exercises, device, seed, [number * every, jobs * every]])]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                row = Row(**{key: tuple(v) if isinstance(v, list) else v for key, v in json.loads(line).items()})
                with lock:
                    rows.append(row)
                    if report is not None:
                        report(row)
            said = process.stderr.read().strip()
        if process.returncode:
            errors.append(said.splitlines()[-1] if said else f"exit status {process.returncode}")

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise InstallationError(f"the self-test broke off: {errors[0]}")
    return rows


def main() -> None:
    """One process' share; its rows as JSON lines."""
    exercises, device, seed, share = json.loads(sys.argv[1])
    with Session(Starter(trains=True), thorough=True) as session:
        selftest(
            session, exercises, device=device, seed=seed, share=tuple(share),
            report=lambda row: print(json.dumps(asdict(row)), flush=True),
        )  # fmt: skip


if __name__ == "__main__":
    main()
