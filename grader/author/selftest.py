"""`python grade.py --selftest`: proves the checks. Every known mistake must fail and be named as itself,
every stub must fail because it is not written yet, every solution must pass.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass
from pathlib import Path

from grader.judge.changes import changed_names
from grader.judge.connection import WorkerDied
from grader.judge.diagnosis import SOLUTION, name_mistakes
from grader.judge.grade import Session, Source, grade, read_source
from grader.judge.host import Host
from grader.judge.processes import Starter
from grader.judge.results import Verdict
from grader.workbook import REPOSITORY, InstallationError
from tests.exercises import EXERCISES, Exercise, Mistake


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
        return self.wanted == self.came


def outcome(verdict: Verdict) -> str:
    """A verdict in a few words: passed, not started, or the mistakes that it names."""
    if verdict.passed:
        return "passed"
    if verdict.not_started:
        return "not started"
    return ", ".join(verdict.mistakes) or "failed, unnamed"


class Known:
    """Answers that need not be computed again when known mistakes are graded and diagnosed.

    A look that takes nothing of what a mistake changes is answered as by the solution, so the mistakes that
    have it in common share one answer. And a mistake is a suspect where others are diagnosed, which then know
    what it answered when it was graded. Not so in its own diagnosis, which has to find it by answers of the
    reference's worker."""

    def __init__(self, exercise: Exercise, reference: Host, mistake: Mistake):
        self.mistake, self.answers = mistake, reference.answers
        self.subject = f"mistake_{mistake.id}"
        solution = (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")
        self.changed = changed_names(solution, mistake.patches)

    def _common(self, asked) -> bool:
        return self.changed is not None and not asked.names() & self.changed

    def find(self, asked, seed: int):
        """The answer to a look where it is known, else None."""
        return self.answers.get(("common", seed, asked.digest())) if self._common(asked) else None

    def keep(self, asked, seed: int, found) -> None:
        """Remember an answer."""
        if self._common(asked):
            self.answers["common", seed, asked.digest()] = found
        elif not self.mistake.keeps:
            self.answers[self.subject, seed, asked.digest()] = found

    @contextlib.contextmanager
    def forgotten(self):
        """As long as this lasts, nothing is known of what the mistake answered when it was graded."""
        own = {key: self.answers.pop(key) for key in [*self.answers] if key[0] == self.subject}
        try:
            yield
        finally:
            self.answers |= own


def selftest(
    session: Session,
    exercise_name: str,
    *,
    device: str,
    seed: int,
    report: Callable[[Row], None] | None = None,
    graded: Callable[[str], None] | None = None,
    only: Container[str] | None = None,
) -> list[Row]:
    """Grade the solution, the stub and every mistake of an exercise; a row for each, reported as it comes.

    Training runs that take many minutes are left out (Exercise.long). All are graded first, and diagnosed
    afterwards: each is a suspect where another one is diagnosed, and what it does is known by then.

    only: what to grade of them. graded: called with the name of each as soon as it is graded.
    """
    rows, later, exercise = [], [], EXERCISES[exercise_name]
    chosen = session.choose_device(device, exercise)
    mistakes = {mistake.id: mistake for mistake in (SOLUTION, *exercise.mistakes())}

    for name, wanted, source in cases(exercise):
        if only is not None and name not in only:
            continue
        known, diagnosis = None, []
        if chosen == "cpu" and name in mistakes:
            known = Known(exercise, session.reference(exercise), mistakes[name])
        verdict = grade(
            session,
            exercise.name,
            source,
            device=chosen,
            seed=seed,
            left_out=exercise.long,
            known=known,
            diagnose=lambda *arguments, diagnosis=diagnosis: diagnosis.append(arguments),
        )
        later.append((name, wanted, known, verdict, diagnosis))
        if graded is not None:
            graded(name)
    for name, wanted, known, verdict, diagnosis in later:
        began = time.monotonic()
        with contextlib.suppress(WorkerDied), known.forgotten() if known else contextlib.nullcontext():
            for arguments in diagnosis:
                name_mistakes(*arguments)
        failed = tuple(check.id for check in verdict.checks if check.status == "failed")
        seconds = verdict.seconds + time.monotonic() - began
        rows.append(Row(exercise.name, name, wanted, outcome(verdict), failed, seconds))
        if report is not None:
            report(rows[-1])
    return rows


def cases(exercise: Exercise):
    """(what, wanted outcome, source) for the solution, the stub and each mistake."""
    solution = read_source(REPOSITORY / exercise.solution_path)
    yield SOLUTION.id, "passed", solution
    yield "stub", "not started", read_source(REPOSITORY / exercise.stub_path)
    text = solution.data.decode("utf-8")
    for mistake in exercise.mistakes():
        yield mistake.id, mistake.id, Source(Path(f"{mistake.id}.py"), mistake.apply(text).encode())


def portions(exercises: list[str], part: tuple[int, int] = (1, 1)) -> list[tuple[str, list[str]]]:
    """(exercise, what to grade of it) in portions that are graded one after the other in one process.

    The mistakes of one area are suspects in each other's diagnoses, so they stay together. What takes longest
    comes first. part: (k, n) takes the k-th of n equal parts.
    """
    found, (k, n) = [], part
    for name in exercises:
        exercise = EXERCISES[name]
        areas: dict[str, list[str]] = {}
        for graded in [SOLUTION.id, "stub", *(mistake.id for mistake in exercise.mistakes())][k - 1 :: n]:
            area = next((mistake.area for mistake in exercise.mistakes() if mistake.id == graded), "alone")
            areas.setdefault(area, []).append(graded)
        found += [(name, ids) for ids in areas.values()]
    return sorted(
        found,
        key=lambda portion: len(portion[1]) * (4 if EXERCISES[portion[0]].training else 1),
        reverse=True,
    )


def in_parallel(
    exercises: list[str],
    *,
    device: str,
    seed: int,
    report: Callable[[Row], None] | None = None,
    graded: Callable[[str], None] | None = None,
    part: tuple[int, int] = (1, 1),
) -> list[Row]:
    """The same for several exercises, shared out among processes.

    part: (k, n) takes the k-th of n equal parts.
    """
    rows = []

    def came(what: str | dict) -> None:
        if isinstance(what, str):
            if graded is not None:
                graded(what)
            return
        rows.append(Row(**what | {"failed_checks": tuple(what["failed_checks"])}))
        if report is not None:
            report(rows[-1])

    share_out("grader.author.selftest", portions(exercises, part), device, seed, came)
    return rows


def share_out(
    module: str, portions: list, device: str, seed: int, came: Callable[[str | dict], None]
) -> None:
    """Hand portions to processes that run `main` of a module: one per core, four at most, one on a GPU.

    came: called with each thing that they say, one at a time.
    """
    jobs = 1 if device == "cuda" else min(4, os.cpu_count() or 1)
    left, lock, errors = [*portions], threading.Lock(), []

    def follow() -> None:
        command = [sys.executable, "-m", module, device, str(seed)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes) as process:
            with contextlib.suppress(BrokenPipeError):
                for line in _each_portion(left, process):
                    with lock:
                        came(json.loads(line))
            said = process.communicate()[1].strip()
        if process.returncode:
            errors.append(said.splitlines()[-1] if said else f"exit status {process.returncode}")

    threads = [threading.Thread(target=follow) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise InstallationError(f"the self-test broke off: {errors[0]}")


def _each_portion(left: list, process: subprocess.Popen):
    """Hand a process one portion after the other, as long as there are any; the lines of its rows."""
    while left:
        print(json.dumps(left.pop(0)), file=process.stdin, flush=True)
        for line in process.stdout:
            if not line.strip():
                break
            yield line
        else:
            return


def follow_portions(grade_portion: Callable) -> None:
    """What a process of `share_out` does: grade_portion(session, portion, device, seed, say) for each portion
    that comes as a JSON line, in one session. say: prints a JSON line, and an empty one goes out behind each
    portion."""

    def say(what) -> None:
        print(json.dumps(what), flush=True)

    device, seed = sys.argv[1], int(sys.argv[2])
    with Session(Starter(trains=True), thorough=True) as session:
        for line in sys.stdin:
            grade_portion(session, json.loads(line), device, seed, say)
            print(flush=True)


def main() -> None:
    """Grade portions: out go the name of each case that is graded, and each row."""

    def grade_portion(session, portion, device, seed, say) -> None:
        exercise, graded = portion
        selftest(
            session,
            exercise,
            device=device,
            seed=seed,
            only=graded,
            graded=say,
            report=lambda row: say(asdict(row)),
        )

    follow_portions(grade_portion)


if __name__ == "__main__":
    main()
