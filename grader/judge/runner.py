"""Runs an exercise's checks under pytest and hypothesis, and holds the list of those that must report.

A pass is positive evidence: a check passed if pytest called it and it returned, and in no other case.
"""

import contextlib
import io
import os
from collections.abc import Callable, Collection

import pytest

from grader.judge.results import CheckResult
from grader.judge.text import one_line
from grader.workbook import REPOSITORY, InstallationError
from tests.exercises import Exercise
from tests.exercises.exam import CheckFailed, Evidence, Exam

KEPT = 3  # looks at the attempt that are kept as evidence where a check passed

# pytest's own plugins that a grade has no use for; leaving them out saves time and output.
UNUSED = (
    "cacheprovider", "capture", "terminal", "junitxml", "faulthandler", "warnings", "logging", "doctest",
    "unittest", "tmpdir", "monkeypatch", "recwarn", "pastebin", "setuponly", "setupplan", "stepwise",
    "threadexception", "unraisableexception",
)  # fmt: skip


def run_checks(
    exercise: Exercise,
    exam: Exam,
    renew: Callable[[], None],
    *,
    left_out: Collection[str] = (),
    only: Collection[str] | None = None,
    report: Callable[[CheckResult], None] | None = None,
) -> tuple[list[CheckResult], dict[str, list[Evidence]]]:
    """Every check of the exercise in order, and what each of them saw of the attempt.

    renew: called before each check. left_out: do not run these. only: run no others, and these
    whatever they build on. report: called with each result as soon as it is known.
    InstallationError where a check gave no verdict, or failed in another way than by a CheckFailed.
    """
    plugin = _Checks(exercise, exam, renew, left_out, only, report)
    arguments = [
        "-c",
        os.devnull,
        f"--rootdir={REPOSITORY}",
        "--noconftest",
        *(option for name in UNUSED for option in ("-p", f"no:{name}")),
        str(REPOSITORY / exercise.checks_path),
    ]
    said = io.StringIO()
    with _only_our_plugins(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main(arguments, plugins=[plugin])
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt  # pytest keeps it to itself
    if plugin.broken is not None:
        raise plugin.broken
    missing = [id for id in exercise.checks if id not in plugin.results]
    if missing:
        lines = said.getvalue().strip().splitlines()
        because = f" ({lines[-1][:200]})" if lines else ""
        raise InstallationError(
            f"{len(missing)} of the {len(exercise.checks)} checks of {exercise.name} gave no "
            f"verdict{because}, {missing[0]} first; reinstall the workbook."
        )
    return [plugin.results[id] for id in exercise.checks], plugin.evidence


@contextlib.contextmanager
def _only_our_plugins():
    """Installed pytest plugins have no part in a verdict, and cost time."""
    before = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        else:
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = before


class _Checks:
    """The pytest plugin: orders the checks, gives them the exam, and keeps what they found."""

    def __init__(self, exercise, exam, renew, left_out, only, report):
        self.exercise, self.sat, self.renew, self.report = exercise, exam, renew, report
        self.left_out, self.only = left_out, only
        self.results: dict[str, CheckResult] = {}
        self.evidence: dict[str, list[Evidence]] = {}
        self.broken: BaseException | None = None

    @pytest.fixture
    def exam(self):
        return self.sat

    def pytest_collection_modifyitems(self, items):
        listed = self.exercise.checks
        for item in items:
            id = getattr(item.obj, "check", (None,))[0]
            if id not in listed:
                raise pytest.UsageError(f"the check {item.name} is not in the list of {self.exercise.name}")
        items.sort(key=lambda item: listed.index(item.obj.check[0]))

    def pytest_runtest_setup(self, item):
        self.sat.begin()
        self.renew()
        id, title, after = item.obj.check
        if id in self.left_out:
            self.results[id] = CheckResult(id, title, "not_run", message="Left out by --quick.")
            pytest.skip("left out")
        if self.only is not None:
            if id not in self.only:
                self.results[id] = CheckResult(id, title, "not_run", message="Not asked for.")
                pytest.skip("not asked for")
            return
        for earlier in after:
            if self.results[earlier].status != "passed":
                blocked = self.results[earlier].status == "not_reached"
                reason = "was not reached either" if blocked else "did not pass"
                self.results[id] = CheckResult(
                    id, title, "not_reached", message=f"It builds on the check {earlier}, which {reason}."
                )
                pytest.skip(reason)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item, call):
        """Keep the result ourselves; pytest gets a report without a traceback, which is never shown."""
        id, title, _ = item.obj.check
        error = call.excinfo.value if call.excinfo else None
        if call.when == "call":
            self.results[id] = self._result(id, title, error)
            self.results[id].seconds = round(call.duration, 4)
            if self.report is not None:
                self.report(self.results[id])
        elif error is not None and not isinstance(error, pytest.skip.Exception):
            self.broken = self.broken or error
        outcome = (
            "passed" if error is None else "skipped" if isinstance(error, pytest.skip.Exception) else "failed"
        )
        return pytest.TestReport(
            item.nodeid, item.location, {}, outcome, None, call.when, duration=call.duration
        )

    def _result(self, id, title, error) -> CheckResult:
        if error is None:
            self.evidence[id] = self.sat.evidence[:KEPT]
            return CheckResult(id, title, "passed", message=self.sat.measured, shown=self.sat.shown)
        if isinstance(error, InstallationError):
            self.broken = self.broken or error
            return CheckResult(id, title, "failed")
        if not isinstance(error, CheckFailed):
            # The same check works on the solution and on every known mistake, so what came back was odd.
            what = one_line(f"{type(error).__name__}: {error}", 200)
            error = CheckFailed(
                f"The check could not make sense of what your code gave back ({what}). If your file does "
                "nothing unusual, this is a fault of the grader: please report it."
            )
        message = error.message
        if "nan" not in message.lower() and self.sat.evidence and self.sat.evidence[-1].gave_nan:
            message = (
                f"There is NaN in what your code gives, which counts as wrong in what follows. {message}"
            )
        # The last look is the one that failed. Where cases were drawn, those before it were of other, larger
        # ones.
        location = error.location or self.sat.location
        self.evidence[id] = self.sat.evidence[-1:] if location.series else self.sat.evidence[-KEPT:]
        return CheckResult(
            id,
            title,
            "failed",
            message=message,
            mistake=error.mistake,
            case=error.case,
            details=list(error.details),
            unfinished=error.unfinished,
            location=location,
            numbers=error.numbers,
            shown=[*error.shown, *self.sat.shown],
        )
