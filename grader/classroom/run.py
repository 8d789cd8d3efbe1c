"""Hands hand-ins to judges, each a process of its own, and takes what comes of them.

A judge that dies or does not come to an end is replaced, and its hand-in is tried once more. Whatever ends
this process, its judges end with it, and they end their workers.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from grader.classroom.store import Record, Settings
from grader.judge import namespaces
from grader.judge.connection import remove
from grader.judge.host import Deadlines
from grader.workbook import REPOSITORY, InstallationError, UsageError
from grader.worker import orphans, sandbox
from tests.exercises import EXERCISES

LIMIT, LIMIT_TRAINING = 600.0, 7200.0  # seconds for one hand-in; GRADE_PATIENCE multiplies them
CLOSING = 15.0  # seconds that a judge may take to end its workers
TRIES = 2
FIRST_USER = 60801  # root's attempts: one user for each judge, numbers that systems leave unused
RUNNING = "running.json"  # says where the scratch folders of a run are, for the next one to remove


@dataclass(frozen=True)
class Task:
    """One hand-in to grade: the entry's name, and the digest of what was read of it."""

    name: str
    digest: str


class _Died(Exception):
    """A judge ended, or was ended, without an answer."""


class _Judge:
    """One judge's process."""

    def __init__(self, setup: dict, scratch: Path):
        self.log = tempfile.TemporaryFile(dir=scratch)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "grader.classroom.job"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": _with_repository()},
            start_new_session=True,  # Ctrl-C is for the parent alone
        )
        self.isolation: list[str] = []
        self._send(setup)

    def begin(self, seconds: float) -> None:
        """Wait until it can grade. InstallationError where it cannot."""
        try:
            answer = self.answer(seconds)
        except _Died as died:
            raise InstallationError(f"a judge did not start ({died})") from None
        if "broken" in answer:
            raise InstallationError(answer["broken"])
        self.isolation = answer["isolation"]

    def _send(self, what: dict) -> None:
        with contextlib.suppress(BrokenPipeError):  # the answer that does not come says it
            self.process.stdin.write(json.dumps(what).encode() + b"\n")
            self.process.stdin.flush()

    def grade(self, task: Task, seconds: float) -> Record:
        """What comes of a hand-in. _Died where the judge gives no answer."""
        self._send(asdict(task))
        answer = self.answer(seconds)
        if "broken" in answer:
            raise _Died(answer["broken"])
        return Record(**answer)

    def answer(self, seconds: float) -> dict:
        """The next answer; the judge is ended where it takes longer."""
        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), self.process.kill()))
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            return json.loads(line)
        if late.is_set():
            raise _Died(f"the judge took longer than {seconds:g} s")
        status = self.process.wait()
        ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        said = self._said()
        raise _Died(f"the judge {ended}" + (f": {said}" if said else ""))

    def _said(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else ""

    def stop(self) -> None:
        """Ask it to end at once; its workers end with it."""
        with contextlib.suppress(OSError):
            self.process.terminate()

    def close(self) -> None:
        """End it, at the latest after a few seconds."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(CLOSING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Run:
    """The judges of one class, and the folder for their workers' scratch; used in a with statement."""

    def __init__(self, settings: Settings, folder: Path, results: Path, hidden: list[Path], jobs: int):
        """hidden: what no attempt may read, the hand-ins and the results among it."""
        patience = Deadlines.from_environment().patience
        training = EXERCISES[settings.exercise].training and not settings.quick
        self.limit = (LIMIT_TRAINING if training else LIMIT) * patience
        self.start_limit = LIMIT * patience
        self.settings, self.folder, self.results, self.jobs = settings, folder.resolve(), results, jobs
        self.hidden = [str(path.resolve()) for path in hidden]
        self.judges: dict[int, _Judge] = {}
        self.stopped = False
        self._lock = threading.Lock()

    def __enter__(self):
        self._remove_scratch()  # of a run that was killed
        self.scratch = Path(tempfile.mkdtemp(prefix="grade-class-"))
        self.scratch.chmod(
            0o711
        )  # workers that run as another user find their own folder in it, and no other
        (self.results / RUNNING).write_text(json.dumps({"scratch": str(self.scratch)}))
        sandbox.adopt_orphans()
        self.others = set(orphans.children()) if sys.platform == "linux" else set()
        self.as_user = can_become(FIRST_USER, self.scratch)
        self.namespaces = namespaces.work(self.settings.device)
        return self

    def __exit__(self, *_):
        self.stop()
        self._end_orphans()
        self._remove_scratch()

    def stop(self) -> None:
        """End every judge; nothing further is graded."""
        with self._lock:
            self.stopped = True
            judges = list(self.judges.values())
        for judge in judges:
            judge.stop()
        for judge in judges:
            judge.close()

    def _remove_scratch(self) -> None:
        note = self.results / RUNNING
        try:
            scratch = Path(json.loads(note.read_text())["scratch"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        # The note may have come with results of another machine: only what looks like a run's own is removed.
        if scratch.name.startswith("grade-class-") and scratch.is_dir() and not scratch.is_symlink():
            if not hasattr(os, "getuid") or scratch.stat().st_uid == os.getuid():
                remove(str(scratch))
        note.unlink(missing_ok=True)

    def _begin(self, number: int) -> _Judge:
        user = FIRST_USER + number if self.as_user else None
        setup = {
            "settings": asdict(self.settings),
            "folder": str(self.folder),
            "hidden": self.hidden,
            "user": user,
            "namespaces": self.namespaces,
        }
        with self._lock:
            if self.stopped:
                raise InstallationError("stopped")
            judge = self.judges[number] = _Judge(setup, self.scratch)
        judge.begin(self.start_limit)
        return judge

    def grade(self, tasks: list[Task], trust: bool, note: Callable[[str], None]) -> Iterator:
        """(task, record) for each task as soon as it is known.

        trust: grade although attempts can reach files or the network. note: called with the isolation.
        UsageError where they can and `trust` is false; InstallationError where no judge can be started.
        """
        left, came = queue.SimpleQueue(), queue.Queue()
        for task in tasks:
            left.put(task)
        for number in range(min(self.jobs, len(tasks))):
            threading.Thread(target=self._follow, args=(number, left, came, trust), daemon=True).start()
        missing = len(tasks)
        while missing:
            what = came.get()
            if isinstance(what, BaseException):
                raise what
            if isinstance(what, str):
                note(what)
                continue
            missing -= 1
            yield what

    def _follow(self, number: int, left, came, trust: bool) -> None:
        """What one thread does: keep a judge busy."""
        try:
            judge = self._begin(number)
            refuse_below(judge.isolation, trust)
            came.put(", ".join(judge.isolation))
            while not self.stopped:
                try:
                    task = left.get_nowait()
                except queue.Empty:
                    break
                record, reasons = None, []
                while record is None and len(reasons) < TRIES and not self.stopped:
                    try:
                        judge = judge or self._begin(number)
                        record = judge.grade(task, self.limit)
                    except (_Died, InstallationError, ValueError, TypeError, OSError) as error:
                        reasons.append(str(error))
                        judge = self._replace(number)
                if not self.stopped:
                    came.put((task, record or Record("not_graded", _why(reasons))))
            if judge is not None and not self.stopped:
                judge.close()
        except BaseException as error:  # the main thread raises it
            came.put(error)

    def _replace(self, number: int) -> None:
        """End a judge that gave no answer, and what it has left behind."""
        with self._lock:
            judge = self.judges.pop(number, None)
        if judge is not None:
            judge.stop()
            judge.close()
        self._end_orphans()

    def _end_orphans(self) -> None:
        """End what was left behind by judges that were killed: it became a child of this process."""
        if sys.platform == "linux":
            with self._lock:  # no judge begins meanwhile
                judges = {judge.process.pid for judge in self.judges.values()}
                orphans.end_orphans(keep=judges | self.others)


def can_become(user: int, scratch: Path) -> bool:
    """Whether root can run attempts as another user, who must be able to read Python, torch and the
    workbook."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    code = (
        "import importlib.util, os, sys\n"
        "for name in ('torch', 'numpy', 'safetensors'):\n"
        "    open(importlib.util.find_spec(name).origin).close()\n"
        "for name in ('gpt_core/__init__.py', 'grader/worker/main.py'):\n"
        "    open(os.path.join(sys.argv[1], name)).close()\n"
        "os.stat(sys.argv[2])"
    )
    call = [sys.executable, "-c", code, str(REPOSITORY), str(scratch)]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        done = subprocess.run(call, cwd="/", user=user, group=user, extra_groups=[], timeout=60, **quiet)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def refuse_below(isolation: list[str], trust: bool) -> None:
    """UsageError where attempts could reach files or the network, unless they are trusted."""
    missing = []
    if "solutions hidden" not in isolation:
        missing.append("hide your files")
    if not any(word.startswith("no network") for word in isolation):
        missing.append("close the network")
    if missing and not trust:
        raise UsageError(
            f"this system cannot {' and '.join(missing)} while strangers' files run (reached: "
            f"{', '.join(isolation)}); grade on Linux 5.13 or later, or in a container, or say --trust."
        )


def _why(reasons: list[str]) -> str:
    """Why a hand-in has no verdict, in a sentence."""
    said = list(dict.fromkeys(reasons))
    return f"the grader itself failed, {TRIES} times: {'; then '.join(said)}"[:500]


def _with_repository() -> str:
    return os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
