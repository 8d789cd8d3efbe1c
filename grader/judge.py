"""One grade: run an exercise's checks on a learner's file, and say what was found.

The judge draws cases and compares numbers. It imports no torch and never the learner's file; what
computes are two workers (`processes.py`). pytest runs the checks and hypothesis draws their cases.
"""

import hashlib
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grader import diagnosis, runner
from grader.hosts import (
    AttemptSubject,
    Deadlines,
    Host,
    attempt_death,
    read_answer,
    reference_subject,
)
from grader.processes import REPOSITORY, InstallationError, Starter
from grader.results import CheckResult, Verdict
from grader.text import clean, one_line
from grader.workers import WorkerDied
from tests.exercises import EXERCISES, Exercise
from tests.exercises.exam import CheckFailed, Exam, Subject

LARGEST_FILE = 1 << 20  # bytes of source
MODULE = "attempt"  # the learner's module in sys.modules


@dataclass(frozen=True)
class Source:
    """A learner's file as it was read: where it stands, and its bytes; or why it cannot be read."""

    path: Path
    data: bytes = b""
    problem: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def read_source(path: Path) -> Source:
    """The bytes of a learner's file; something that is no file of source has a `problem` instead.

    OSError where there is nothing, or it may not be read.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return Source(path, problem="it is a directory; expected one Python file")
    if not stat.S_ISREG(mode):
        return Source(path, problem="it is no regular file; expected one Python file")
    with open(path, "rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        return Source(path, data, problem=f"it is larger than {LARGEST_FILE:,} bytes; expected one Python file")
    return Source(path, data)


class Session:
    """Workers that can grade more than once: the zygote stays warm between grades."""

    def __init__(self, starter: Starter | None = None, deadlines: Deadlines | None = None):
        self.deadlines = deadlines or Deadlines.from_environment()
        self.starter = starter or Starter()
        self._references: dict[str, Host] = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """End every process."""
        self.starter.close()

    def reference(self, exercise: Exercise) -> Host:
        """The reference's worker, kept from grade to grade: no learner's code ever runs in it."""
        host = self._references.get(exercise.name)
        if host is None:
            host = Host(self.starter, "reference", "cpu", self.deadlines)
            path = REPOSITORY / exercise.solution_path
            answer = host.load("solution", "solution", str(path), path.read_bytes())
            if "error" in answer:
                raise InstallationError(f"{exercise.solution_path} does not load: {answer['error']}.")
            self._references[exercise.name] = host
        return host

    def choose_device(self, wanted: str, exercise: Exercise) -> str:
        """cpu or cuda, for auto, cpu or cuda. InstallationError where cuda is wanted and there is none."""
        if wanted == "cpu":
            return "cpu"
        has_cuda = self.reference(exercise).started().hello["cuda"]
        if wanted == "cuda" and not has_cuda:
            raise InstallationError(
                "--device cuda was asked for, and torch sees no CUDA device here; use --device auto or cpu."
            )
        return "cuda" if has_cuda else "cpu"


def grade(
    session: Session,
    exercise_name: str,
    source: Source,
    *,
    device: str = "auto",
    seed: int = 0,
    quick: bool = False,
    report: Callable[[CheckResult], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Verdict:
    """Grade one file; always a verdict, whatever the file does.

    device: auto, cpu or cuda. seed: decides every drawn case.
    quick: leave out the training runs.
    report: called with each check's result as soon as it is known.
    note: called with a line of progress from a long check.
    InstallationError where the grader itself cannot work.
    """
    began = time.monotonic()
    printed = []

    def on_result(result: CheckResult) -> None:
        if result.status == "failed" and not printed and attempt.worker is not None:
            time.sleep(0.02)  # what was printed last may still be in the pipe
            printed.append(clean(attempt.worker.output_tail(), 4000))
        if report is not None:
            report(result)

    exercise = EXERCISES[exercise_name]
    device = session.choose_device(device, exercise)
    reference = session.reference(exercise)
    attempt = Host(session.starter, "attempt", device, session.deadlines, str(source.path.absolute().parent))
    try:
        subject = AttemptSubject(attempt)
        exam = Exam(
            attempt=Subject("attempt", subject, device),
            reference=reference_subject(reference, "solution", "reference"),
            device=device,
            seed=seed,
            note=note or (lambda text: None),
        )
        exam.load_error, exam.names = _load(attempt, source)
        isolation = ", ".join(attempt.worker.hello["isolation"]) if attempt.worker else "not started"
        device_name = attempt.worker.hello["device"] if attempt.worker else device
        results, evidence = runner.run_checks(exercise, exam, subject.renew, quick=quick, report=on_result)
        try:
            diagnosis.name_mistakes(exercise, reference, results, evidence)
        except WorkerDied:
            pass  # a verdict without a name is better than none
    finally:
        attempt.close()
    failed = [check for check in results if check.status == "failed"]
    ran = [check for check in results if check.status != "not_run"]
    return Verdict(
        exercise=exercise.name,
        passed=bool(ran) and all(check.status == "passed" for check in ran),
        complete=len(ran) == len(results),
        path=str(source.path),
        sha256=source.sha256,
        device="cpu" if device == "cpu" else f"cuda ({one_line(device_name, 60)})",
        isolation=isolation,
        seed=seed,
        seconds=time.monotonic() - began,
        checks=results,
        not_started=bool(failed) and all(check.unfinished for check in failed)
        and sum(check.status == "passed" for check in results) <= 1,  # the first: that the file runs
        printed=printed[0] if printed else "",
    )


def _load(attempt: Host, source: Source) -> tuple[CheckFailed | None, tuple[str, ...]]:
    """Load the attempt; the failure or None, and the names that it defines."""
    if source.problem:
        return CheckFailed(f"Your file cannot be graded: {source.problem}."), ()
    if not source.data.strip():
        return CheckFailed("Your file is empty; the docstring of the exercise's stub says what belongs there."), ()
    try:
        answer = attempt.load("attempt", MODULE, str(source.path.absolute()), source.data, siblings=True)
    except WorkerDied as death:
        return attempt_death(death), ()
    if "error" in answer or answer.get("reached"):
        try:
            read_answer(answer, {}, load=True)
        except CheckFailed as failure:
            return failure, ()
    names = answer.get("names")
    return None, tuple(n for n in names if isinstance(n, str)) if isinstance(names, list) else ()
