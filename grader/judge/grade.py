"""One grade: run an exercise's checks on a learner's file, and say what was found.

The judge draws cases and compares numbers. It imports no torch and never the learner's file; what
computes are two workers (`processes.py`). pytest runs the checks and hypothesis draws their cases.
"""

import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from grader.judge import diagnosis, runner, sources, tokens
from grader.judge.connection import WorkerDied
from grader.judge.failures import attempt_death, read_answer
from grader.judge.host import AttemptSubject, Deadlines, Host, reference_subject
from grader.judge.kept import Kept
from grader.judge.processes import Starter
from grader.judge.results import OTHER_FILE_READ, SOLUTION_READ, CheckResult, Verdict
from grader.judge.sources import Code
from grader.judge.text import clean, one_line
from grader.workbook import REPOSITORY, InstallationError, shown
from grader.worker.reach import SOLVED
from tests.exercises import EXERCISES, Exercise
from tests.exercises.exam import Answer, CheckFailed, Exam, Subject

MODULE = "attempt"  # the learner's module in sys.modules


@dataclass(frozen=True)
class Source:
    """A hand-in as it was read: where it stands, and its bytes; or why it cannot be read.

    helpers: modules that it may import, file name to bytes. members: the files of a folder, instead of
    `data`. refused: whether the problem is that there is too much of it."""

    path: Path
    data: bytes = b""
    problem: str = ""
    helpers: Mapping[str, bytes] = field(default_factory=dict)
    members: Mapping[str, bytes] | None = None
    refused: bool = False

    @property
    def sha256(self) -> str:
        """Of the file; of a folder, of all that was read of it."""
        files = (
            [self.data]
            if self.members is None
            else [name.encode() + b"\0" + self.members[name] for name in self.members]
        )
        return hashlib.sha256(b"".join(files)).hexdigest()

    @property
    def folder(self) -> str:
        """Where it was handed in from."""
        return str(self.path.resolve().parent if self.members is None else self.path.resolve())

    def code(self, exercise: Exercise) -> Code:
        """The Python source in it."""
        if self.problem:
            return Code(self.path.name, problem=self.problem)
        if self.members is not None:
            found = sources.choose(self.members, exercise)
        else:
            found = sources.read(self.path.name, self.data, exercise)
        return replace(found, helpers={**self.helpers, **found.helpers})


def read_source(path: Path, helpers: Collection[Path] = ()) -> Source:
    """The bytes of a hand-in; something that cannot be graded has a `problem` instead.

    helpers: further Python files that it may import. A learner's own file in exercises/ has the other modules
    of its folder as well, but no other exercise.
    OSError where there is nothing, or it may not be read. A pipe or a device is never opened.
    """
    link = _solved_link(path)
    if link:
        return Source(path, problem=f"it is a link to {link}; expected a file of your own")
    mode = path.stat().st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        return Source(path, problem="it is no regular file; expected one Python file")
    allowed, own = list(helpers), {REPOSITORY / exercise.attempt_path for exercise in EXERCISES.values()}
    here = path.resolve()
    if here in own:
        beside = sorted(here.parent.glob("*.py"))
        allowed += [other for other in beside if other not in own and other.name != "__init__.py"]
    for helper in allowed:
        if _solved_link(helper):
            return Source(path, problem=f"its helper {helper.name} is a link to {_solved_link(helper)}")
    source = _read_folder(path) if stat.S_ISDIR(mode) else _read_file(path)
    return replace(source, helpers={helper.name: _read(helper) for helper in allowed if helper.is_file()})


def _read_file(path: Path) -> Source:
    data = _read(path)
    if len(data) > sources.LARGEST_FILE:
        return Source(
            path,
            data,
            problem=f"it is larger than {sources.LARGEST_FILE:,} bytes; expected one Python file",
            refused=True,
        )
    return Source(path, data)


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(sources.LARGEST_FILE + 1)


def _solved_link(path: Path) -> str:
    """Where a path leads that reaches the solutions or the checks through a symbolic link; "" for every
    other."""
    for place in (path.absolute(), *path.absolute().parents):
        if place.is_symlink():
            leads, stands = place.resolve(), place.parent.resolve()
            for hidden in (REPOSITORY / name for name in SOLVED):
                if leads.is_relative_to(hidden) and not stands.is_relative_to(hidden):
                    return str(path.resolve().relative_to(REPOSITORY))
    return ""


def _read_folder(path: Path) -> Source:
    """The Python files and notebooks in a folder; links in it are not followed."""
    members, left, seen = {}, sources.LARGEST_FILE, 0
    for folder, folders, names in os.walk(path):
        relative = Path(folder).relative_to(path)
        folders[:] = sorted(
            name
            for name in folders
            if not sources.SKIPPED.search(f"{name}/")
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        )
        for name in sorted(names):
            seen += 1
            if seen > sources.MOST_FILES:
                return Source(
                    path,
                    problem=f"it is a folder of more than {sources.MOST_FILES:,} files; name the one that is "
                    f"meant",
                    refused=True,
                )
            file = Path(folder, name)
            if name.lower().endswith(sources.KINDS) and not file.is_symlink() and file.is_file():
                with open(file, "rb") as opened:
                    data = opened.read(left + 1)
                left -= len(data)
                if left < 0:
                    return Source(
                        path,
                        problem=f"it is a folder with more than {sources.LARGEST_FILE:,} bytes in it; name "
                        f"the file that is meant",
                        refused=True,
                    )
                members[(relative / name).as_posix()] = data
    return Source(path, members=members)


class Session:
    """Workers that can grade more than once: the zygote stays warm between grades."""

    def __init__(
        self, starter: Starter | None = None, deadlines: Deadlines | None = None, *, thorough: bool = False
    ):
        """thorough: take as long as it takes to name a mistake (diagnosis.Budget)."""
        self.deadlines = deadlines or Deadlines.from_environment()
        self.starter = starter or Starter()
        self.budget = diagnosis.Budget.of(self.deadlines.patience, thorough)
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
    left_out: Collection[str] = (),
    only: Collection[str] | None = None,
    report: Callable[[CheckResult], None] | None = None,
    note: Callable[[str], None] | None = None,
    stop: Stop | None = None,
    known=None,
    trained: Path | None = None,
    diagnose: Callable | None = diagnosis.name_mistakes,
) -> Verdict:
    """Grade one file; always a verdict, whatever the file does.

    device: auto, cpu or cuda. seed: decides every drawn case.
    quick: leave out the training runs. left_out: and these checks. only: run these checks and no others,
    whatever they build on, and name no mistake.
    report: called with each check's result as soon as it is known.
    note: called with a line of progress from a long check. known: see host.AttemptSubject. trained: the
    folder in which the results of long training runs are kept (kept.py); None: none are. diagnose: what names
    the mistakes in the results (diagnosis.name_mistakes); None: no mistake is named, not even by the
    check that fails.
    InstallationError where the grader itself cannot work; Stopped where `stop` was called.
    """
    began = time.monotonic()
    exercise = EXERCISES[exercise_name]
    device = session.choose_device(device, exercise)
    stop = stop or Stop()
    if trained is not None and known is None:
        known = Kept(trained, source, exercise_name, device)
    sitting = _Sitting(
        session, exercise, source, device, seed, note or (lambda text: None), stop, known, diagnose
    )
    left_out = {*left_out, *(exercise.training if quick else ())}
    results = sitting.run(left_out, only=only, report=report)
    failed = [check for check in results if check.status == "failed"]
    finished = [check for check in failed if not check.unfinished]
    repeated = [check for check in finished if check.id not in exercise.training]  # these take minutes
    if device != "cpu" and repeated:
        compare_devices(repeated, _on_cpu(sitting, stop, only), device)
    sitting.name_mistakes(only)
    if diagnose is None:
        for check in failed:
            if check.mistake not in (SOLUTION_READ, OTHER_FILE_READ):
                check.mistake, check.fit, check.candidates = None, None, []
    if stop.asked:
        raise Stopped
    for check in finished:
        # else no code to call
        if check.id != exercise.checks[0] and check.mistake not in (SOLUTION_READ, OTHER_FILE_READ):
            check.replay = tokens.write(exercise.name, check.id, seed, device, check.location)
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
        not_started=bool(failed)
        and not finished
        and sum(check.status == "passed" for check in results) <= 1,  # the first: that the file runs
        printed=sitting.printed,
        read_as=list(sitting.code.remarks),
        remarks=sitting.remarks,
        named=diagnose is not None,
    )


def _on_cpu(sitting: "_Sitting", stop: Stop, only: Collection[str] | None) -> list[CheckResult]:
    """What the same file's checks say on the CPU, without training runs, with the mistakes named."""
    diagnose = sitting.diagnose and diagnosis.name_mistakes
    again = _Sitting(
        sitting.session,
        sitting.exercise,
        sitting.source,
        "cpu",
        sitting.seed,
        sitting.note,
        stop,
        diagnose=diagnose,
    )
    results = again.run(sitting.exercise.training, only=only)
    again.name_mistakes(only)
    return results


def compare_devices(failed: list[CheckResult], on_cpu: list[CheckResult], device: str) -> None:
    """Add to each check that failed on a GPU what the same check says on the CPU, and the mistake that was
    named there: dropout draws other numbers on a GPU than the known mistakes do on the CPU.

    Where a check is right on the CPU, the mistake is one of devices, if one was named there.
    """
    there = {check.id: check for check in on_cpu}
    of_devices = [check.mistake for check in on_cpu if check.id.endswith("devices") and check.mistake]
    for check in failed:
        other = there.get(check.id)
        if other is None:
            continue
        if other.status == "passed":
            said = f"right on the CPU, wrong on {device}: is a tensor made without device=, or moved away?"
            check.mistake = check.mistake or (of_devices[0] if of_devices else None)
        else:
            said = "wrong on the CPU too"
            if check.mistake is None:
                check.mistake, check.fit, check.candidates = other.mistake, other.fit, other.candidates
        check.details.append(said)


# Which of torch's global settings a file may change when it is imported, and what to say of it.
CHANGED_BY_IMPORT = {
    "seed": "Importing your file seeds torch's generator, for everybody who imports it. Seed it in a "
    'function, or under if __name__ == "__main__".',
    "dtype": "Importing your file changes torch's default dtype, for everybody who imports it. Name dtype= "
    "where you make a tensor.",
    "device": "Importing your file changes torch's default device, for everybody who imports it. Name "
    "device= where you make a tensor.",
    "threads": "Importing your file changes how many threads torch uses, for everybody who imports it.",
}


class _Sitting:
    """One attempt's checks on one device, and the facts about that grade."""

    def __init__(
        self,
        session: Session,
        exercise: Exercise,
        source: Source,
        device: str,
        seed: int,
        note,
        stop,
        known=None,
        diagnose=diagnosis.name_mistakes,
    ):
        self.session, self.exercise, self.source = session, exercise, source
        self.device, self.seed = device, seed
        self.note, self.stop, self.known, self.diagnose = note, stop, known, diagnose
        self.code = source.code(exercise)
        self.isolation, self.device_name, self.printed = "not started", device, ""
        self.remarks: list[str] = []

    def _elsewhere(self, asked, seed: int = 0, *, other_hashes: bool) -> Answer:
        """The attempt's answer to a look in a fresh process of its own, on the CPU."""
        starter = self.session.starter.with_other_hashes() if other_hashes else self.session.starter
        host = Host(starter, "attempt", "cpu", self.session.deadlines, self.source.folder)
        try:
            failure, *_ = _load(host, self.code)
            if failure is not None:
                raise failure
            return AttemptSubject(host, self.code.place)(asked, seed)
        finally:
            host.close()

    def run(self, left_out: Collection[str] = (), *, only=None, report=None) -> list[CheckResult]:
        """Every check's result but for those left out (only: of these alone)."""
        exercise, reference = self.exercise, self.session.reference(self.exercise)
        attempt = self.session.attempt(self.device, self.source.folder)
        self.stop.follow(attempt)
        subject = AttemptSubject(attempt, self.code.place, self.known)

        def prepare(check: str) -> None:
            if check in (only or exercise.checks) and check not in left_out:
                self.session.starter.with_other_hashes()

        def on_result(result: CheckResult) -> None:
            result.on = self.device if subject.on_device else "cpu"
            if result.status == "failed" and not self.printed and attempt.worker is not None:
                time.sleep(0.02)  # what was printed last may still be in the pipe
                # Below what it printed may stand where it was stuck, which the message says already.
                printed = re.split(r"Timeout \(|Fatal Python error", attempt.worker.output_tail())[0]
                printed = printed.replace(attempt.worker.setup["scratch"] + os.sep, "")  # where the copy lies
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
                elsewhere=self._elsewhere,
                prepare=prepare,
            )
            self.note("running your file")
            exam.load_error, exam.names, changed = _load(attempt, self.code)
            for what, words in CHANGED_BY_IMPORT.items():
                if changed.get(what):
                    exam.remark(words)
            if attempt.worker:
                hello = attempt.worker.hello
                self.isolation, self.device_name = ", ".join(hello["isolation"]), hello["device"]
            results, evidence = runner.run_checks(
                exercise, exam, subject.renew, left_out=left_out, only=only, report=on_result
            )
            if isinstance(self.known, Kept) and self.known.used:
                exam.remark(
                    "The training run was not repeated: an earlier grade of the same file with the same seed "
                    f"has kept its result. Delete {shown(self.known.folder)} to train again."
                )
            self._found, self.remarks = (results, evidence), exam.remarks
        finally:
            attempt.close()
        return results

    def name_mistakes(self, only=None) -> None:
        """Name the mistakes behind the results of the last run that have no name yet."""
        results, evidence = self._found
        try:
            if not self.stop.asked and only is None and self.diagnose is not None:
                if any(result.status == "failed" for result in results):
                    self.note("looking for the mistake (Ctrl-C: the report without its name)")
                reference = self.session.reference(self.exercise)
                self.diagnose(self.exercise, reference, results, evidence, self.session.budget)
        except (WorkerDied, KeyboardInterrupt):
            # Ctrl-C while the mistake is looked for: a verdict without its name is better than none
            pass


def _load(attempt: Host, code: Code) -> tuple[CheckFailed | None, tuple[str, ...], dict]:
    """Load the attempt; the failure or None, the names that it defines, and which of torch's global settings
    it left changed."""
    if code.problem:
        return CheckFailed(f"Your file cannot be graded: {code.problem}."), (), {}
    if not code.data.strip():
        return (
            CheckFailed("Your file is empty; the docstring of the exercise's stub says what belongs there."),
            (),
            {},
        )
    try:
        answer = attempt.load("attempt", MODULE, code.name, code.data, helpers=dict(code.helpers))
    except WorkerDied as death:
        return attempt_death(death, code.place, load=True), (), {}
    if "error" in answer or answer.get("reached"):
        try:
            read_answer(answer, {}, code.place, load=True)
        except CheckFailed as failure:
            return failure, (), {}
    names = answer.get("names")
    changed = answer.get("changed")
    changed = {key: value is True for key, value in changed.items()} if isinstance(changed, dict) else {}
    return None, tuple(n for n in names if isinstance(n, str)) if isinstance(names, list) else (), changed
