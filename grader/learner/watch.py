"""`--watch`: grades again on every save, in warm processes.

The grade runs in a thread, so that this one always hears keys, saves and Ctrl-C. A save during a grade stops
it: its verdict would be of a file that is no more. Saves are found by polling every few milliseconds, since
editors save in many ways (in place, by renaming, by removing first) and systems report these differently.
"""

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

from rich.text import Text

from grader.judge.grade import Session, Source, Stop, Stopped, grade, read_source
from grader.judge.processes import Starter
from grader.judge.results import Verdict
from grader.learner import files, hints, report
from grader.learner.keyboard import Keyboard
from grader.learner.progress import ExerciseRecord, read, update
from grader.workbook import INTERRUPTED, PASSED, REPOSITORY, Call, UsageError, shown
from tests.exercises import Exercise

TICK = 0.01  # seconds between two looks
SETTLED = 0.03  # a file that has not changed for this long is written to its end
READ_AGAIN = 1.0  # for a change that shows neither in the time nor in the size
MISSING = 1.0  # an editor that removes a file first is back long before
BUSY = 0.3  # a grade that takes longer says so
KEYS = "h hint   s solution   r run again   q quit"
ASK = "The solution? Press s again to see it, any other key to go on without."


class File:
    """A file that is saved now and then."""

    def __init__(self, path: Path, helpers: list[Path]):
        self.path, self.helpers = path, helpers
        self._seen, self._since, self._read_at = None, 0.0, 0.0
        self._source: Source | None = None
        self.missing_for = 0.0

    def saved(self) -> Source | None:
        """What was saved since the last call, once it is whole; None where nothing was.

        A save that changes nothing is a save as well.
        """
        now = time.monotonic()
        try:
            at = self.path.stat()
            stamp = (at.st_mtime_ns, at.st_size, at.st_ino)
        except OSError:
            self.missing_for = self.missing_for or now
            return None
        self.missing_for = 0.0
        if stamp != self._seen:
            self._seen, self._since, self._read_at = stamp, now, 0.0
        due = now - self._read_at > READ_AGAIN
        if now - self._since < SETTLED or not due:
            return None
        try:
            source = read_source(shown(self.path), self.helpers)
        except OSError:
            return None
        new, self._read_at = self._read_at == 0.0, now
        changed, self._source = source != self._source, source
        return source if new or changed else None

    @property
    def missing(self) -> bool:
        """Whether it is gone, and not only for the moment that an editor takes."""
        return bool(self.missing_for) and time.monotonic() - self.missing_for > MISSING


class Grading:
    """One grade in another thread; verdict or error are there when it is over. The thread then goes on for a
    moment, to prepare the next grade."""

    def __init__(
        self, executor, session: Session, exercise: Exercise, source: Source, device: str, seed: int
    ):
        self.source, self.began = source, time.monotonic()
        self.checked, self.verdict, self.error, self.over = 0, None, None, False
        self.stop = Stop()
        self._work = (session, exercise.name, source, device, seed)
        self._future = executor.submit(self._run)

    def _run(self) -> None:
        session, name, source, device, seed = self._work
        try:
            if self.stop.asked:  # before it could begin
                raise Stopped
            self.verdict = grade(
                session, name, source, device=device, seed=seed, quick=True, report=self._step, stop=self.stop
            )
            self.over = True
            if not self.stop.asked:
                session.prepare("cuda" if self.verdict.device != "cpu" else "cpu", source.folder)
        except Stopped:
            pass
        except BaseException as error:  # raised again where the loop sees it
            self.error = error
        self.over = True

    def _step(self, result) -> None:
        self.checked += 1

    def end(self, seconds: float) -> None:
        """Stop it, and wait until it has ended, at most so long."""
        self.stop()
        futures.wait([self._future], seconds)


class Screen:
    """The contents of the terminal, redrawn as a whole; without a terminal, or on a dumb one, a log."""

    def __init__(self, keys: bool):
        self.file = sys.stdout  # a grade in another thread may have standard output redirected
        self.size = self._size()
        self._draw: dict[str, Callable] = {}
        self._footer, self._status = KEYS if keys else "Ctrl-C ends it", ""
        self.path = ""

    def _size(self):
        return shutil.get_terminal_size()

    def show(self, draw: Callable) -> None:
        """Replace everything; `draw` prints on a console."""
        self._draw = {}
        self.add("", draw)

    def add(self, name: str, draw: Callable) -> None:
        """Print one part more, instead of the part that was added by this name before."""
        self._draw.pop(name, None)
        self._draw[name] = draw
        self.redraw()

    def remove(self, name: str) -> None:
        """Take a part away."""
        if self._draw.pop(name, None):
            self.redraw()

    def redraw(self) -> None:
        """Clear, and print all parts at the width of now."""
        self.size, self._status = self._size(), ""
        out = report.console(file=self.file)
        clears = out.is_terminal and not out.is_dumb_terminal
        if clears:
            out.clear()
        else:
            out.print(f"-- {time.strftime('%H:%M:%S')} --")
        for draw in self._draw.values():
            draw(out)
            out.print()
        report.hanging(out, Text(""), Text(f"Watching {self.path}: save it, and it is checked.", style="dim"))
        out.print(Text(self._footer, style="dim"), end="" if clears else "\n")
        self.file.flush()

    def redraw_if_resized(self) -> None:
        """A terminal of another width breaks lines in other places."""
        if self._size() != self.size:
            self.redraw()

    def status(self, text: str) -> None:
        """One line under everything, replaced by the next; a log has none."""
        out = report.console(file=self.file)
        if text != self._status and out.is_terminal and not out.is_dumb_terminal:
            self._status = text
            self.file.write("\r\x1b[2K" + text[: out.width - 1])
            self.file.flush()


def watch(
    starter: Starter,
    exercise: Exercise,
    path: Path,
    *,
    device: str,
    seed: int,
    call: Call,
    verbose: bool,
    graded: Callable,
    helpers: list[Path],
) -> int:
    """Grade `path` on every save until q (exit status 0) or Ctrl-C (130).

    helpers: files that it may import. graded: takes each new verdict, and a function that takes a sentence
    for the learner. Training runs take minutes and are left out.
    """
    errors = sys.stderr  # a grade in another thread may have it redirected
    with contextlib.ExitStack() as stack:
        keyboard = stack.enter_context(Keyboard())
        loop = _Loop(starter, exercise, path, device, seed, call, verbose, graded, keyboard, helpers)
        stack.callback(loop.close)
        resumed = stack.enter_context(_signals())
        try:
            while True:
                if resumed:
                    resumed.clear()
                    keyboard.resume()
                    loop.screen.redraw()
                if not loop.step(keyboard.key(TICK)):
                    loop.screen.status("")
                    print(file=loop.screen.file)  # the shell's prompt gets a line of its own
                    return PASSED
        except KeyboardInterrupt:
            loop.screen.status("")
            print("\ngrade.py: stopped.", file=errors)
            return INTERRUPTED


@contextlib.contextmanager
def _signals():
    """Ended from outside, leave a clean terminal too; the list fills when a stopped process goes on."""
    resumed: list[int] = []

    def end(number, frame):
        sys.exit(128 + number)

    wanted = {"SIGTERM": end, "SIGHUP": end, "SIGCONT": lambda number, frame: resumed.append(number)}
    handlers = {getattr(signal, name): do for name, do in wanted.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, do) for number, do in handlers.items()}
    try:
        yield resumed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Loop:
    """What happens between two looks at the keyboard."""

    def __init__(
        self,
        starter,
        exercise: Exercise,
        path: Path,
        device: str,
        seed: int,
        call: Call,
        verbose: bool,
        graded,
        keyboard,
        helpers: list[Path],
    ):
        self.session = Session(starter)
        # One thread for all: on Linux a worker that is not forked ends with the thread that started it.
        self.executor = futures.ThreadPoolExecutor(1)
        self.exercise, self.path, self.device, self.seed = exercise, path, device, seed
        self.call, self.verbose, self.graded = call, verbose, graded
        self.file, self.source = File(path, helpers), None
        self.grading: Grading | None = None
        self.latest: Grading | None = None  # which may have its verdict, and still prepare the next
        self.screen = Screen(keyboard.available)
        self.screen.path = str(shown(path))
        self.own = path.resolve() == (REPOSITORY / exercise.attempt_path).resolve()
        self.others = ExerciseRecord()  # of a file that is not the learner's own: for hints, and not kept
        self.last: Verdict | None = None
        self.asked = False  # for the solution, once
        self.told: list[str] = []  # each once, however many verdicts come

    def step(self, key: str) -> bool:
        """One look at keys, file and grade; whether to go on."""
        if key == "q":
            return False
        if key and key != "s":
            self.asked = False
            self.screen.remove("ask")
        if key == "r" and self.source is not None:
            self._start(self.source)
        elif key == "h":
            self._hint()
        elif key == "s":
            self._solution()
        source = self.file.saved()
        # An editor that saves in two steps: the grade that runs is of this very text.
        if source is not None and not (self.grading and self.grading.source == source):
            self._start(source)
        if self.grading is not None and self.grading.over:
            self._finish()
        self.screen.redraw_if_resized()
        self._say()
        return True

    def _start(self, source: Source) -> None:
        """Grade, instead of what is being graded."""
        if self.latest is not None:
            self.latest.stop()
        self.source = source
        self.grading = self.latest = Grading(
            self.executor, self.session, self.exercise, source, self.device, self.seed
        )

    def _finish(self) -> None:
        grading, self.grading = self.grading, None
        if grading.error is not None:
            raise grading.error
        verdict, last, self.last = grading.verdict, self.last, grading.verdict
        again = last is not None and verdict.sha256 == last.sha256

        def draw(out) -> None:
            report.show(out, verdict, call=self.call, watched=True, verbose=self.verbose)
            if last is not None and not again:
                out.print()
                report.show_changes(out, last, verdict)

        self.asked = False
        self.screen.show(draw)
        if not again:  # the same text again is no further attempt
            self.graded(verdict, self._tell)
            update(self.others, verdict)

    def _tell(self, text: str) -> None:
        if text not in self.told:
            self.told.append(text)
            head, said = Text("Note: ", style="bold"), Text(text)
            self.screen.add(text, lambda out: report.hanging(out, head, said))

    def _hint(self) -> None:
        if self.own:
            given = hints.give(self.exercise, self._tell)
        else:
            given = hints.advance(self.exercise, self.others)
        self.screen.add("hints", lambda out: hints.show(out, self.exercise, given))

    def _solution(self) -> None:
        """Ask at the first press, show it at the second; before the first attempt say that it waits."""
        notes: list[str] = []
        done = read(self.exercise.name, notes.append) if self.own else self.others
        if done.attempts and not self.asked:
            self.asked = True
            self.screen.add("ask", lambda out: report.hanging(out, Text(""), Text(ASK, style="bold")))
            return
        self.asked = False

        def draw(out) -> None:
            try:
                files.solution(out, self.exercise, self.path, done)
            except UsageError as error:
                report.hanging(out, Text(""), Text(str(error)))

        self.screen.show(draw)
        for note in notes:
            self._tell(note)

    def _say(self) -> None:
        grading = self.grading
        if self.file.missing:
            self.screen.status(f"{self.screen.path} is gone; waiting for it")
        elif grading is not None and time.monotonic() - grading.began > BUSY:
            of = len(self.exercise.checks) - len(self.exercise.training)
            doing = f"{grading.checked} of {of} checks" if grading.checked else "starting"
            self.screen.status(f"checking: {doing}")

    def close(self) -> None:
        """End a grade that runs, and every process."""
        if self.latest is not None:
            self.latest.stop()
        self.session.close()
        if self.latest is not None:
            self.latest.end(5)
            self.session.close()  # what it started meanwhile
        self.executor.shutdown(wait=False)
