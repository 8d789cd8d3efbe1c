"""One grade: run an exercise's checks on a learner's file, and say what was found.

The judge draws cases and compares numbers. It imports no torch and never the learner's file; what
computes are two workers (`processes.py`). pytest runs the checks and hypothesis draws their cases.
"""

import hashlib
import re
import stat
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from grader import diagnosis, runner, tokens
from grader.hosts import (
    AttemptSubject,
    Deadlines,
    Host,
    attempt_death,
    read_answer,
    reference_subject,
)
from grader.processes import REPOSITORY, InstallationError, Starter
from grader.results import SOLUTION_READ, CheckResult, Verdict
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
        self.budget = diagnosis.Budget.of(self.deadlines.patience, self.starter.many)
        self._references: dict[str, Host] = {}
        self._spare: Host | None = None

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

    def attempt(self, device: str, folder: str) -> Host:
        """A host for one attempt whose file stands in `folder`: the one that was prepared, where it fits."""
        spare, self._spare = self._spare, None
        if spare is not None:
            if (spare.device, spare.folder) == (device, folder) and spare.worker.alive:
                return spare
            spare.close()
        return Host(self.starter, "attempt", device, self.deadlines, folder)

    def prepare(self, device: str, folder: str) -> None:
        """Start the worker of the next attempt ahead of it: where none is forked, that takes seconds."""
        spare = self.attempt(device, folder)
        spare.started()
        self._spare = spare

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


class Stopped(Exception):
    """The grade was stopped from another thread, and has no verdict."""


class Stop:
    """Stops a grade from another thread: stop(). The grade then raises Stopped within moments."""

    def __init__(self):
        self.asked, self._host = False, None

    def __call__(self) -> None:
        self.asked = True
        if self._host is not None:
            self._host.abandon()

    def follow(self, host: Host) -> None:
        """From here on it is this host that is stopped."""
        self._host = host
        if self.asked:
            host.abandon()


def grade(
    session: Session,
    exercise_name: str,
    source: Source,
    *,
    device: str = "auto",
    seed: int = 0,
    quick: bool = False,
    only: Collection[str] | None = None,
    report: Callable[[CheckResult], None] | None = None,
    note: Callable[[str], None] | None = None,
    stop: Stop | None = None,
) -> Verdict:
    """Grade one file; always a verdict, whatever the file does.

    device: auto, cpu or cuda. seed: decides every drawn case.
    quick: leave out the training runs. only: run these checks and no others, whatever they build on, and name no mistake.
    report: called with each check's result as soon as it is known.
    note: called with a line of progress from a long check.
    InstallationError where the grader itself cannot work; Stopped where `stop` was called.
    """
    began = time.monotonic()
    exercise = EXERCISES[exercise_name]
    device = session.choose_device(device, exercise)
    stop = stop or Stop()
    sitting = _Sitting(session, exercise, source, device, seed, note or (lambda text: None), stop)
    results = sitting.run(quick=quick, only=only, report=report)
    failed = [check for check in results if check.status == "failed"]
    finished = [check for check in failed if not check.unfinished]
    repeated = [check for check in finished if check.id not in exercise.training]  # these take minutes
    if device != "cpu" and repeated:
        on_cpu = _Sitting(session, exercise, source, "cpu", seed, note or (lambda text: None), stop)
        compare_devices(repeated, on_cpu.run(only=[check.id for check in repeated]), device)
    if stop.asked:
        raise Stopped
    for check in finished:
        if check.mistake != SOLUTION_READ:
            check.replay = tokens.write(exercise.name, check.id, seed, device, check.position)
    ran = [check for check in results if check.status != "not_run"]
    return Verdict(
        exercise=exercise.name,
        passed=bool(ran) and all(check.status == "passed" for check in ran),
        complete=len(ran) == len(results),
        path=str(source.path),
        sha256=source.sha256,
        device="cpu" if device == "cpu" else f"cuda ({one_line(sitting.device_name, 60)})",
        isolation=sitting.isolation,
        seed=seed,
        seconds=time.monotonic() - began,
        checks=results,
        not_started=bool(failed) and not finished
        and sum(check.status == "passed" for check in results) <= 1,  # the first: that the file runs
        printed=sitting.printed,
    )


def compare_devices(failed: list[CheckResult], on_cpu: list[CheckResult], device: str) -> None:
    """Add to each check that failed on a GPU what the same check says on the CPU."""
    there = {check.id: check.status for check in on_cpu}
    for check in failed:
        if there[check.id] == "passed":
            said = f"right on the CPU, wrong on {device}: is a tensor made without device=, or moved away?"
        else:
            said = "wrong on the CPU too"
        check.details.append(said)


class _Sitting:
    """One attempt's checks on one device, and what there is to say of the circumstances."""

    def __init__(self, session: Session, exercise: Exercise, source: Source, device: str, seed: int, note, stop):
        self.session, self.exercise, self.source = session, exercise, source
        self.device, self.seed = device, seed
        self.note, self.stop = note, stop
        self.isolation, self.device_name, self.printed = "not started", device, ""

    def run(self, *, quick=False, only=None, report=None) -> list[CheckResult]:
        """Every check's result (only: of these alone), with the mistakes named."""
        exercise, reference = self.exercise, self.session.reference(self.exercise)
        folder = str(self.source.path.absolute().parent)
        attempt = self.session.attempt(self.device, folder)
        self.stop.follow(attempt)
        subject = AttemptSubject(attempt)

        def on_result(result: CheckResult) -> None:
            result.on = self.device if subject.on_device else "cpu"
            if result.status == "failed" and not self.printed and attempt.worker is not None:
                time.sleep(0.02)  # what was printed last may still be in the pipe
                # Below what it printed may stand where it was stuck, which the message says already.
                printed = re.split(r"Timeout \(|Fatal Python error", attempt.worker.output_tail())[0]
                self.printed = clean(printed, 4000)
            if report is not None:
                report(result)

        try:
            exam = Exam(
                attempt=Subject("attempt", subject, self.device),
                reference=reference_subject(reference, "solution", "reference"),
                device=self.device,
                seed=self.seed,
                note=self.note,
            )
            exam.load_error, exam.names = _load(attempt, self.source)
            if attempt.worker:
                hello = attempt.worker.hello
                self.isolation, self.device_name = ", ".join(hello["isolation"]), hello["device"]
            results, evidence = runner.run_checks(
                exercise, exam, subject.renew, quick=quick, only=only, report=on_result
            )
            try:
                if not self.stop.asked and only is None:
                    diagnosis.name_mistakes(exercise, reference, results, evidence, self.session.budget)
            except WorkerDied:
                pass  # a verdict without a name is better than none
        finally:
            attempt.close()
        return results


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
