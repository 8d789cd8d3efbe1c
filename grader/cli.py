"""The command line: reads the call, and hands it to the part that does it.

Exit status: 0 everything asked for passed, 1 something failed, 2 the call or the installation is at
fault. Nothing slow is imported before the call is known to be right, so that --help, a wrong call and
the overview answer at once.
"""

import argparse
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from grader.judge.processes import Starter, worker_environment
from grader.workbook import (
    FAILED,
    FAULT,
    INTERRUPTED,
    PASSED,
    REPOSITORY,
    Call,
    InstallationError,
    UsageError,
    is_special,
    keep_copy,
    shown,
    write_atomically,
)
from tests.exercises import EXERCISES, FOUR, MENU

# What can be asked for, one thing at a time ("": a grade, or without an exercise the overview), and the
# options that go with it.
MODES = {
    "": ("attempt", "with", "device", "seed", "html", "json", "junit", "quick", "verbose", "no-names"),
    "watch": ("attempt", "with", "device", "seed", "html", "json", "junit", "quick", "verbose"),
    "hint": (),
    "solution": ("attempt", "force"),
    "reset": (),
    "replay": ("attempt", "with"),
    "demo": ("device", "seed", "verbose"),
    "selftest": ("device", "seed", "part"),
    "class": (
        "out", "jobs", "device", "seed", "quick", "no-names", "roster", "weights", "trust", "shard",
    ),
    "merge": ("out", "weights"),
    "export": ("out", "weights", "seed", "quick", "no-names"),
}  # fmt: skip
WITHOUT_EXERCISE = ("replay", "demo", "selftest", "merge")
STUDENT = "student"  # behind --export, and then without an exercise: the workbook without its solutions
STYLES = "styles"  # behind --selftest, instead of an exercise: the mistakes in other styles
OF_ONE = ("attempt", "with", "watch", "hint", "solution", "reset", "class", "export")  # not of all
# Every option by the name of its value in what the parser gives.
OPTIONS = {
    name: "helpers" if name == "with" else name.replace("-", "_")
    for name in dict.fromkeys(name for takes in MODES.values() for name in takes)
}
MODE_VALUES = {"class": "folder"}  # where the value of a mode has another name


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{message}; python grade.py --help lists the options.")


def parser() -> argparse.ArgumentParser:
    """The options, as `python grade.py --help` shows them."""
    names = ", ".join(FOUR)
    made = _Parser(
        allow_abbrev=False,
        prog="python grade.py",
        description="Check an exercise of the workbook, and say which mistake was made.",
        epilog="Exit status: 0 passed, 1 failed, 2 the call or the installation is at fault.",
    )
    made.add_argument(
        "exercise",
        nargs="?",
        help=f"{names}, or all of these; of the menu {', '.join(exercise.name for exercise in MENU)}; "
        "nothing shows what is done and what is next",
    )
    made.add_argument("--attempt", metavar="FILE", help="check this file instead of the one in exercises/")
    made.add_argument(
        "--with",
        dest="helpers",
        metavar="FILE",
        action="append",
        default=[],
        help="a Python file that the attempt may import; repeatable",
    )
    made.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="default: auto")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="decides every drawn case; default: 0")
    made.add_argument("--html", metavar="FILE", help="write the report with pictures, as one HTML file")
    made.add_argument("--json", metavar="FILE", help="write the verdict as JSON")
    made.add_argument("--junit", metavar="FILE", help="write the verdict as JUnit XML")
    made.add_argument("--quick", action="store_true", help="leave out training runs")
    made.add_argument("--verbose", action="store_true", help="a line for every check, and all details")
    made.add_argument("--no-names", action="store_true", help="for exams: name no mistake, and give no hints")
    made.add_argument("--watch", action="store_true", help="check again on every save, without training runs")
    made.add_argument("--hint", action="store_true", help="one more hint each time")
    made.add_argument("--solution", action="store_true", help="show the solution, and where yours differs")
    made.add_argument("--force", action="store_true", help="with --solution: before the first attempt, too")
    made.add_argument("--reset", action="store_true", help="put the stub back, and keep your attempt")
    made.add_argument(
        "--replay", metavar="TOKEN", help="write a script that calls your code on a failing case"
    )
    made.add_argument(
        "--demo", action="store_true", help="grade an example with a mistake, then the reference"
    )
    made.add_argument(
        "--selftest",
        action="store_true",
        help="prove that every known mistake is found and named; --selftest styles: also in other styles",
    )
    made.add_argument("--part", metavar="K/N", help="with --selftest: only the K-th of N equal parts")
    made.add_argument(
        "--class", dest="folder", metavar="FOLDER", help="grade every hand-in in a folder, and write tables"
    )
    made.add_argument("--out", metavar="RESULTS", help="with --class: the folder for verdicts and tables")
    made.add_argument(
        "--jobs", type=int, metavar="N", help="with --class: judges at a time; default: by cores"
    )
    made.add_argument("--roster", metavar="FILE", help="with --class: a CSV file with student, name, entry")
    made.add_argument("--weights", metavar="FILE", help="with --class: a CSV file with check, points")
    made.add_argument(
        "--trust", action="store_true", help="with --class: also where hand-ins cannot be kept apart"
    )
    made.add_argument("--shard", metavar="I/N", help="with --class: only the I-th of N parts")
    made.add_argument(
        "--export",
        metavar="PLATFORM",
        help="write what gradescope, classroom50 or github needs to grade it; --export student: the workbook "
        "without its solutions",
    )
    made.add_argument("--merge", nargs="+", metavar="RESULTS", help="put the parts of a class together")
    return made


def main(arguments: list[str]) -> int:
    """Run one call; returns the exit status. Only the command line prints."""
    try:
        return _run(arguments)
    except (UsageError, InstallationError) as error:
        print(f"grade.py: {error}", file=sys.stderr)
        return FAULT
    except ModuleNotFoundError as error:
        print(
            f"grade.py: {error.name} is not installed for {sys.executable}; install the workbook with: "
            f"python -m pip install -c constraints.txt -e .",
            file=sys.stderr,
        )
        return FAULT
    except BrokenPipeError:
        # The reader of our output is gone (`| head`), so nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAULT
    except (MemoryError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "can't start new thread" not in str(error):
            raise
        print(
            f"grade.py: this process was refused what it needs ({error or type(error).__name__}), and gives "
            "no verdict; are its memory, open files or disk limited (ulimit -a)?",
            file=sys.stderr,
        )
        return FAULT
    except KeyboardInterrupt:
        print("\ngrade.py: stopped; nothing was changed.", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    mode = _mode(options)
    if mode != "reset" and not (REPOSITORY / "solutions").is_dir():
        raise UsageError(
            "this is the release for students: a grade compares with the solutions, which are not in it, so "
            "your instructor grades what you hand in; --reset alone works here."
        )
    for helper in options.helpers:
        _check_helper(Path(helper))
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"--seed is {options.seed}; it must be a whole number from 0 to {2**32 - 1}.")
    files = {name: Path(path) for name in ("html", "json", "junit") if (path := getattr(options, name))}
    for name, path in files.items():
        _check_writable(path)
        same = next((other for other in files if other != name and files[other] == path), None)
        if same:
            raise UsageError(f"--{name} and --{same} both name {path}; each needs a file of its own.")
    if options.html and files["html"].suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html is {options.html}; it is a page, so its name must end in .html.")
    if mode in ("class", "merge", "export") and not options.out:
        raise UsageError(f"--{mode} needs a place for what comes of it: --out RESULTS.")
    if mode == "replay":
        return _replay(options)
    if mode == "merge":
        return _merge(options)
    if mode == "demo":
        with _starter() as starter:
            return _demo(starter, options)
    if mode == "selftest" and options.exercise == STYLES:
        return _selftest_in_styles(options)
    if mode == "selftest":  # without an exercise: of the menu too
        return _selftest(options, _exercises(options.exercise) if options.exercise else list(EXERCISES))
    if mode == "export" and options.export == STUDENT:
        return _export_student(Path(options.out))
    exercises = _exercises(options.exercise or "all")
    if options.exercise is None:
        from grader.learner import status

        status.show(_note)
        return PASSED
    if mode in ("hint", "solution", "reset"):
        return _help_with(mode, options, exercises[0])
    if mode == "class":
        return _class(options, exercises[0])
    if mode == "export":
        return _export(options, exercises[0])
    paths = [_path(options, exercise) for exercise in exercises]
    for path in paths:
        _check_readable(path)
    # With --quick a file trains for a few steps at the end, if at all: not worth a second at the beginning.
    trains = not options.quick and any(EXERCISES[name].training for name in exercises)
    with _starter(trains=trains) as starter:
        if mode == "watch":
            return _watch(starter, options, exercises[0], paths[0])
        return _grade(starter, options, list(zip(exercises, paths)))


def _mode(options) -> str:
    """What is asked for, a key of MODES. UsageError for two things at once, and where an option does not go
    with it."""
    asked = [
        mode for mode in MODES if mode and getattr(options, MODE_VALUES.get(mode, mode)) not in (None, False)
    ]
    if len(asked) > 1:
        raise UsageError(f"--{asked[0]} and --{asked[1]} are two different things; call each alone.")
    mode = asked[0] if asked else ""
    given = [
        name for name in OPTIONS if getattr(options, OPTIONS[name]) != parser().get_default(OPTIONS[name])
    ]
    for name in given:
        if name not in MODES[mode]:
            with_ = " or ".join(
                f"--{other}" if other else "a plain grade" for other, takes in MODES.items() if name in takes
            )
            raise UsageError(
                f"--{name} goes with {with_}, and not with {f'--{mode}' if mode else 'a plain grade'}; leave "
                f"it away."
            )
    whole = mode == "export" and options.export == STUDENT
    if whole and (options.exercise or set(given) - {"out"}):
        raise UsageError("--export student takes the whole workbook: it needs no exercise, and --out alone.")
    if options.exercise is None and mode not in WITHOUT_EXERCISE and not whole and (asked or given):
        name = (asked or given)[0]
        file = " FILE" if name in ("attempt", "with", "html", "json", "junit") else ""
        raise UsageError(f"--{name} needs an exercise: python grade.py ex1 --{name}{file}.")
    for name in (*asked, *given):
        if options.exercise == "all" and name in OF_ONE:
            raise UsageError(f"--{name} is for one exercise; name the exercise instead of all.")
    return mode


def _exercises(name: str) -> list[str]:
    if name == "all":
        return list(FOUR)
    if name not in EXERCISES:
        meant = [known for known in EXERCISES if known in name.lower() or known.removeprefix("ex") == name]
        if meant:
            way = (
                f" (and for a file of your own: python grade.py {meant[0]} --attempt FILE)"
                if "." in name
                else ""
            )
            raise UsageError(f"there is no exercise {name!r}; did you mean {meant[0]}?{way}")
        raise UsageError(f"there is no exercise {name!r}; choose {', '.join(EXERCISES)} or all.")
    return [name]


def _path(options, exercise: str) -> Path:
    """The file that is meant: the learner's own, or the one of --attempt."""
    return Path(options.attempt) if options.attempt else REPOSITORY / EXERCISES[exercise].attempt_path


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path} cannot be written: it is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}; make it first.")
    if is_special(path):
        if not os.access(path, os.W_OK):
            raise UsageError(f"{path} cannot be written (you may not); choose another place.")
        return
    if path.suffix in (".py", ".ipynb"):
        raise UsageError(
            f"{path} is not overwritten with a verdict: it looks like source code; give another name."
        )
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); choose another place.") from None


def _check_helper(path: Path) -> None:
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise UsageError(
            f"--with {path} is no module; it takes a Python file that can be imported by its name, such as "
            f"helper.py."
        )
    _check_readable(path)
    if path.is_dir():
        raise UsageError(f"--with {path} is a folder; name each file of it that may be imported.")


def _check_readable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        # opening a pipe would wait for its writer
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise UsageError(f"{path} is a pipe or a device; give the path of a Python file.")
        if stat.S_ISREG(mode):
            with open(path, "rb"):
                pass
    except FileNotFoundError as error:
        name = next((name for name, e in EXERCISES.items() if path == REPOSITORY / e.attempt_path), None)
        what = (
            f"put the stub back: python grade.py {name} --reset" if name else "give the path of a Python file"
        )
        raise UsageError(f"{path} cannot be read ({error.strerror}); {what}.") from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}); give the path of a Python file."
        ) from None


class _starter:
    """The starter of the workers, ended whatever happens."""

    def __init__(self, trains: bool = False):
        self.trains = trains

    def __enter__(self) -> Starter:
        self.starter = Starter(trains=self.trains)
        return self.starter

    def __exit__(self, *_):
        self.starter.close()


def _note(text: str) -> None:
    print(f"grade.py: {text}", file=sys.stderr)


def _grade(starter: Starter, options, graded: list[tuple[str, Path]]) -> int:
    from grader.judge.diagnosis import name_mistakes
    from grader.judge.grade import Session, grade, read_source
    from grader.learner import progress, report

    out, session, verdicts = report.console(), Session(starter), []
    for name, path in graded:
        with _ProgressLine(name) as line:
            verdict = grade(
                session,
                name,
                read_source(shown(path), list(map(Path, options.helpers))),
                device=options.device,
                seed=options.seed,
                quick=options.quick,
                report=line.step,
                note=line.note,
                trained=progress.FOLDER / "trained",
                diagnose=None if options.no_names else name_mistakes,
            )
        verdicts.append(verdict)
        report.show(out, verdict, call=_call(name, options), verbose=options.verbose)
        out.print()
        _record(verdict, path, _note)
    if len(verdicts) > 1:
        report.show_all(out, [(verdict, _call(verdict.exercise, options)) for verdict in verdicts])
    _write_files(options, verdicts)
    if options.html:
        out.print(f"The report with pictures: {options.html}", markup=False, highlight=False, soft_wrap=True)
    return PASSED if all(verdict.passed for verdict in verdicts) else FAILED


def _record(verdict, path: Path, note) -> None:
    """Record a grade of the learner's own file; a grade of another file changes no record."""
    from grader.learner import progress

    if path.resolve() == (REPOSITORY / EXERCISES[verdict.exercise].attempt_path).resolve():
        progress.record(verdict, note)


def _write_files(options, verdicts: list) -> None:
    from grader.judge.results import json_text, junit_text

    def html(verdicts: list) -> str:
        from grader.learner import page  # what draws is loaded for whoever asks for it alone

        return page.html([(verdict, _call(verdict.exercise, options)) for verdict in verdicts])

    for path, text in ((options.html, html), (options.json, json_text), (options.junit, junit_text)):
        if path:
            try:
                write_atomically(Path(path), text(verdicts))
            except OSError as error:
                raise UsageError(f"{path} could not be written ({error.strerror}).") from None


def _call(name: str, options) -> Call:
    file, helpers = options.attempt or "", tuple(options.helpers)
    return Call(name, file, options.device, options.seed, options.quick, helpers, options.no_names)


def _watch(starter: Starter, options, name: str, path: Path) -> int:
    from grader.learner.watch import watch

    def graded(verdict, note) -> None:
        _record(verdict, path, note)
        _write_files(options, [verdict])

    return watch(
        starter,
        EXERCISES[name],
        path,
        device=options.device,
        seed=options.seed,
        call=_call(name, options),
        verbose=options.verbose,
        graded=graded,
        helpers=list(map(Path, options.helpers)),
    )


def _help_with(mode: str, options, name: str) -> int:
    from grader.learner import files, hints, progress, report

    exercise, out = EXERCISES[name], report.console()
    if mode == "hint":
        hints.show(out, exercise, hints.give(exercise, _note))
    elif mode == "reset":
        files.reset(out, exercise, _note)
    else:
        files.solution(out, exercise, _path(options, name), progress.read(name, _note), force=options.force)
    return PASSED


def _class(options, name: str) -> int:
    from grader.classroom.command import Class, grade_class
    from grader.classroom.shards import folder_of, read_shard, shard_of
    from grader.classroom.store import Settings
    from grader.classroom.summary import read_weights
    from grader.learner import report

    folder, results = Path(options.folder), Path(options.out)
    if not folder.is_dir():
        raise UsageError(f"--class {folder} is no folder; it takes the folder with the hand-ins in it.")
    inner, outer = results.resolve(), folder.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise UsageError(f"--out {results} and --class {folder} lie in each other; give two folders apart.")
    jobs = options.jobs
    if jobs is None:
        jobs = 1 if options.device == "cuda" else min(4, os.cpu_count() or 1)
    if not 1 <= jobs <= 64:
        raise UsageError(f"--jobs is {jobs}; it must be a whole number from 1 to 64.")
    shard = read_shard(options.shard) if options.shard else shard_of(os.environ)
    asked = Class(
        Settings(name, options.seed, options.quick, options.device, options.no_names),
        folder,
        folder_of(results, shard),
        jobs,
        roster=Path(options.roster) if options.roster else None,
        weights=read_weights(Path(options.weights), EXERCISES[name]) if options.weights else None,
        trust=options.trust,
        shard=shard,
    )
    return grade_class(asked, report.console())


def _export(options, name: str) -> int:
    from grader.classroom.export import export
    from grader.classroom.store import Settings
    from grader.classroom.summary import read_weights

    out = Path(options.out)
    _check_writable(out)
    weights = read_weights(Path(options.weights), EXERCISES[name]) if options.weights else None
    settings = Settings(name, options.seed, options.quick, "cpu", options.no_names)
    export(options.export, settings, weights, out)
    print(f"Written: {out}. What to do with it: docs/instructor.md")
    return PASSED


def _export_student(out: Path) -> int:
    from grader.classroom import student

    if out.suffix.lower() == ".zip":
        _check_writable(out)
    student.export(out)
    print(f"Written: {out}, without solutions, checks and mistakes. Its README.md says what works there.")
    return PASSED


def _merge(options) -> int:
    from grader.classroom.command import merge
    from grader.learner import report

    weights = Path(options.weights) if options.weights else None
    return merge(list(map(Path, options.merge)), Path(options.out), weights, report.console())


def _replay(options) -> int:
    """Write the script of a failing case; a process of its own makes it, since that takes torch."""
    from grader.judge import tokens
    from grader.learner import files

    token = tokens.read(options.replay)
    if options.exercise not in (None, token.exercise):
        raise UsageError(
            f"the token is of {token.exercise}, and not of {options.exercise}; leave the exercise away."
        )
    path = _path(options, token.exercise)
    _check_readable(path)
    script = Path.cwd() / f"replay_{token.exercise}_{token.check}.py"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "grader.learner.replay",
            options.replay,
            str(path.resolve()),
            script.name,
            *(str(Path(helper).resolve()) for helper in options.helpers),
        ],
        cwd=REPOSITORY,
        env=worker_environment(),
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == FAULT:
        raise UsageError(said[-1])
    if done.returncode:
        raise InstallationError(f"the script could not be made ({said[-1] if said else 'no reason given'}).")
    try:
        if script.exists() and script.read_bytes() != done.stdout:
            kept = keep_copy(script.read_bytes(), files.backups(), script.name)
            print(f"Your last one is kept: {shown(kept)}")
        write_atomically(script, done.stdout.decode("utf-8"))
    except OSError as error:
        raise UsageError(
            f"{script} cannot be written ({error.strerror}); call it from a folder of yours."
        ) from None
    print(
        f"Written: {script.name}. It calls your code on the case that failed, and stops where the "
        f"difference shows:"
    )
    print(f"      python {script.name}")
    print(f"      python -m pdb {script.name}")
    return PASSED


class _ProgressLine:
    """A line on a terminal that says what is going on; nothing where there is no terminal."""

    def __init__(self, name: str):
        from rich.console import Console

        # The stream of now: pytest, which runs the checks, has sys.stderr redirected meanwhile.
        self._console = Console(file=sys.stderr, markup=False)
        self._name, self._status = name, None

    def __enter__(self):
        if self._console.is_terminal:
            self._status = self._console.status(f"{self._name}: importing torch")
            self._status.start()
        return self

    def step(self, result) -> None:
        """A check has reported."""
        ids = EXERCISES[self._name].checks
        self.note(f"{ids.index(result.id) + 1} of {len(ids)} checks")

    def note(self, text: str) -> None:
        """What the running check has come to."""
        if self._status is not None:
            self._status.update(f"{self._name}: {text}")

    def __exit__(self, *_):
        if self._status is not None:
            self._status.stop()


def _demo(starter: Starter, options) -> int:
    from grader.judge.grade import Session, grade, read_source
    from grader.learner import report

    out, session, exercise = report.console(), Session(starter), EXERCISES["ex1"]

    def graded(path: Path):
        with _ProgressLine("ex1") as progress:
            verdict = grade(
                session,
                "ex1",
                read_source(shown(path)),
                device=options.device,
                seed=options.seed,
                report=progress.step,
                note=progress.note,
            )
        call = Call("ex1", str(shown(path)), options.device, options.seed)
        report.show(out, verdict, call=call, verbose=options.verbose)
        out.print()
        return verdict

    out.print("First, an attempt with a mistake in it, as a learner might hand it in.\n")
    first = graded(REPOSITORY / "tests" / "exercises" / "ex1" / "example_attempt.py")
    out.print("Then the reference solution.\n")
    second = graded(REPOSITORY / exercise.solution_path)
    if first.mistakes != ["softmax_over_queries"] or not second.passed:
        raise InstallationError(
            "the demo did not come out as it should: the example must fail by its mistake, and the reference "
            "must pass; install the tested versions with python -m pip install -c constraints.txt -e ."
        )
    out.print("Both came out as they should: the installation works.")
    out.print(f"Your first step: open {exercise.attempt_path}, then type: python grade.py ex1")
    return PASSED


def _part(text: str) -> tuple[int, int]:
    """(K, N) of "K/N"."""
    k, _, n = text.partition("/")
    if not (k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise UsageError(f"--part is {text!r}; it must be K/N with K from 1 to N, such as 2/3.")
    return int(k), int(n)


def _selftest(options, exercises: list[str]) -> int:
    import time

    from rich.progress import Progress

    from grader.author.selftest import in_parallel, portions
    from grader.learner import report

    began, part = time.monotonic(), _part(options.part or "1/1")
    out = report.console()
    out.print(f"{'':5} {'graded':30} {'came out as':30} failed checks")
    cases = sum(len(names) for _, names in portions(exercises, part))
    count = {"graded": 0, "named": 0}

    def counted(what: str) -> None:
        count[what] += 1
        bar.update(
            task, advance=1, description=f"graded {count['graded']}, named {count['named']} of {cases}"
        )

    def line(row) -> None:
        came = "as wanted" if row.wanted == row.came else row.came
        checks = ", ".join(row.failed_checks[:2]) + (
            f" +{len(row.failed_checks) - 2}" if len(row.failed_checks) > 2 else ""
        )
        out.print(
            f"{'ok' if row.ok else 'BAD':5} {row.graded:30} {came:30} {checks}",
            no_wrap=True,
            overflow="ellipsis",
        )

        counted("named")

    with Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(f"graded 0, named 0 of {cases}", total=2 * cases)
        rows = in_parallel(
            exercises,
            device=options.device,
            seed=options.seed,
            report=line,
            graded=lambda name: counted("graded"),
            part=part,
        )
    bad = [row for row in rows if not row.ok]
    out.print()
    out.print(
        f"{len(rows) - len(bad)} of {len(rows)} came out as wanted in {time.monotonic() - began:.0f} s."
    )
    for exercise in (EXERCISES[name] for name in exercises if EXERCISES[name].long):
        out.print(f"Left out, since it takes many minutes: {', '.join(exercise.long)} of {exercise.name}.")
    return FAILED if bad else PASSED


def _selftest_in_styles(options) -> int:
    import time

    from rich.progress import Progress

    from grader.author import styles
    from grader.learner import report

    began, part = time.monotonic(), _part(options.part or "1/1")
    out, exercises = report.console(), list(EXERCISES)
    cases = sum(len(mistakes) for _, _, mistakes in styles.portions(exercises, part))

    def line(row) -> None:
        if not row.ok:
            mistake = f"{row.mistake or 'nothing'} in {row.style}"
            came = f"{row.outcome}: {row.came}" if row.came else row.outcome
            out.print(f"{row.exercise}  {mistake:52} {came}", no_wrap=True, overflow="ellipsis")
        bar.update(task, advance=1)

    out.print("What is not named as itself:")
    with Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(f"{cases} mistakes in other styles", total=cases)
        rows = styles.in_parallel(exercises, device=options.device, seed=options.seed, report=line, part=part)
    out.print()
    for text in styles.table(rows):
        out.print(text, no_wrap=True)
    left_out = sum(row.outcome == "left out" for row in rows)
    out.print()
    out.print(
        f"{left_out} more can only be seen in a training run, and were left out. "
        f"It took {time.monotonic() - began:.0f} s."
    )
    return PASSED if all(each.good for each in styles.figures(rows)) else FAILED
