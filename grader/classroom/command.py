"""`python grade.py ex1 --class FOLDER --out RESULTS`: grades what is not graded yet, shows how far it is, and
writes the tables."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from grader.classroom import files, shards, summary
from grader.classroom.entries import Entry, list_entries, read_entry, visible
from grader.classroom.run import Run, Task
from grader.classroom.store import GRADED, Record, Settings, Store
from grader.classroom.summary import Result, Summary
from grader.judge.text import one_line
from grader.workbook import FAILED, INTERRUPTED, PASSED, UsageError, shown
from tests.exercises import EXERCISES

LAST_SHOWN = 5  # verdicts above the bar
STYLES = {"pass": "green", "fail": "red", "not_graded": "bold red"}
STOPPED = Record("not_graded", "the class was stopped before its turn; the same command goes on")


@dataclass(frozen=True)
class Class:
    """What is asked for on the command line. hidden: further files that no attempt may read."""

    settings: Settings
    folder: Path
    results: Path
    jobs: int
    roster: Path | None = None
    weights: dict[str, float] | None = None
    trust: bool = False
    shard: tuple[int, int] = (1, 1)

    @property
    def hidden(self) -> list[Path]:
        """What no attempt may read: the other hand-ins, the results, the roster."""
        results = self.results if self.shard[1] == 1 else self.results.parent  # with the other parts'
        return [self.folder, results, *filter(None, [self.roster])]


def grade_class(asked: Class, out: Console) -> int:
    """Grade a class. Exit status 0: every row has its verdict, or the reason why there can be none; 1: the
    grader failed on some, and the same command tries them again; 130: stopped."""
    with _alone_in(asked.results, inside=asked.shard[1] > 1):
        return _grade_class(asked, out)


def merge(folders: list[Path], results: Path, weights: Path | None, out: Console) -> int:
    """Put the parts of a class together; the exit status is that of a class."""
    began = time.monotonic()
    parts = shards.read_parts(folders)
    points = None
    if weights is not None:
        points = summary.read_weights(weights, EXERCISES[parts[0][1]["settings"]["exercise"]])
    with _alone_in(results):
        done = shards.merged(parts, results)
        if points is not None:
            done = replace(done, weights=points)
        files.write(results, done)
    _say_what_came(out, done, results, time.monotonic() - began)
    return FAILED if "not_graded" in done.counts() else PASSED


def _grade_class(asked: Class, out: Console) -> int:
    began, exercise = time.monotonic(), EXERCISES[asked.settings.exercise]
    everything = list_entries(asked.folder, asked.roster)
    if not everything:
        raise UsageError(f"--class {asked.folder} is empty; it takes a folder with the hand-ins in it.")
    number, of = asked.shard
    entries = everything[number - 1 :: of]
    store = Store(asked.results / "verdicts")
    keys: dict[str, str] = {}  # by the entry's name
    records: dict[str, Record] = {}
    tasks: dict[str, Task] = {}  # by key: equal hand-ins are graded once
    for name in dict.fromkeys(entry.name for entry in entries if entry.name):
        hand_in = read_entry(asked.folder, name, exercise)
        if hand_in.status:
            records[name] = Record(hand_in.status, hand_in.reason)
            continue
        key = keys[name] = asked.settings.key(hand_in.digest)
        record = store.find(key)
        if record is None:
            tasks.setdefault(key, Task(name, hand_in.digest))
        else:
            records[name] = record
    _say_what_there_is(out, entries, records, len(tasks), asked)
    stopped = False
    graded: dict[str, Record] = {}
    try:
        if tasks:
            for key, record in _graded(asked, tasks, store, out):
                graded[key] = record
    except KeyboardInterrupt:
        stopped = True

    def result(entry: Entry) -> Result:
        key = keys.get(entry.name, "")
        if not entry.name:
            return Result(entry, Record("missing", entry.note or "nothing was handed in"))
        record = records.get(entry.name) or graded.get(key, STOPPED)
        return Result(entry, record, key if record.status in GRADED else "")

    done = Summary(
        asked.settings,
        [result(entry) for entry in entries],
        asked.weights or {},
        asked.shard,
        len(everything),
        stopped,
    )
    files.write(asked.results, done)
    _say_what_came(out, done, asked.results, time.monotonic() - began)
    if stopped:
        return INTERRUPTED
    return FAILED if "not_graded" in done.counts() else PASSED


@contextlib.contextmanager
def _alone_in(results: Path, inside: bool = False) -> Iterator[None]:
    """Make the folder of results, for its owner alone, and keep other graders out of it. inside: it lies in
    that of the whole class."""
    try:
        if inside:
            results.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        results.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(results / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"--out {results} is in use by another grade.py; wait for it, or give another."
        ) from None
    except OSError as error:
        raise UsageError(f"--out {results} cannot be written ({error.strerror}); give another.") from None
    try:
        yield
    finally:
        lock.release()


def _graded(asked: Class, tasks: dict[str, Task], store: Store, out: Console) -> Iterator[tuple[str, Record]]:
    """(key, record) for each task as it is graded and kept."""
    key_of = {task: key for key, task in tasks.items()}
    with (
        Run(asked.settings, asked.folder, asked.results, asked.hidden, asked.jobs) as run,
        _Shown(out, len(tasks)) as shown_,
    ):
        for task, record in run.grade(list(key_of), asked.trust, shown_.isolation):
            if record.status in GRADED:
                store.keep(key_of[task], record)
            shown_.came(task, record)
            yield key_of[task], record


def _say_what_there_is(out: Console, entries: list[Entry], records: dict, to_do: int, asked: Class) -> None:
    handed_in = sum(bool(entry.name) for entry in entries)
    done = sum(record.status in GRADED for record in records.values())
    part = "" if asked.shard == (1, 1) else f", part {asked.shard[0]} of {asked.shard[1]}"
    before = f", {done} graded before" if done else ""
    _say(out, f"{visible(str(asked.folder))}{part}: {handed_in} entries, {to_do} to grade{before}.")


def _say_what_came(out: Console, done: Summary, results: Path, seconds: float) -> None:
    counts = ", ".join(f"{count} {status}" for status, count in done.counts().items())
    _say(out, f"{counts}; {seconds:.0f} s.")
    failed = [result for result in done.results if result.record.status == "not_graded"]
    for result in failed[:LAST_SHOWN] if not done.stopped else ():
        _say(out, f"  not graded: {visible(result.entry.name)}: {one_line(result.record.reason)}")
    if done.stopped:
        _say(out, "Stopped. What was graded is kept; the same command goes on.")
    _say(
        out,
        f"Written to {shown(results)}: report.html, similar.html, summary.csv, summary.json, junit.xml, "
        f"feedback{os.sep}",
    )


def _say(out: Console, text: str) -> None:
    out.print(Text(text), soft_wrap=True)


class _Shown:
    """How far the class is: on a terminal a bar below the last verdicts, elsewhere a line for each."""

    def __init__(self, out: Console, total: int):
        self.out, self.total, self.done, self.failed = out, total, 0, 0
        self.began, self.last, self.live, self.level = time.monotonic(), [], None, ""
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=out,
        )

    def __enter__(self):
        self.task = self.bar.add_task("importing torch", total=self.total)
        if self.out.is_terminal:
            self.live = Live(self.bar, console=self.out, transient=True, refresh_per_second=4)
            self.live.start()
        return self

    def __exit__(self, *_):
        if self.live is not None:
            self.live.stop()

    def isolation(self, level: str) -> None:
        """The first judge is ready."""
        if level != self.level:
            self.level = level
            _say(self.out, f"Isolation: {level}")
            self.bar.update(self.task, description="0 failed")

    def came(self, task: Task, record: Record) -> None:
        """A hand-in has its verdict."""
        self.done += 1
        self.failed += record.status != "pass"
        line = Text(f"{one_line(visible(task.name), 48):48} ", no_wrap=True, overflow="ellipsis")
        line.append(record.status, STYLES.get(record.status, "yellow"))
        line.append(f"  {_in_short(record)}")
        if self.live is None:
            left = (time.monotonic() - self.began) / self.done * (self.total - self.done)
            head = Text(f"[{self.done}/{self.total}, {self.failed} failed, {left:.0f} s left] ")
            self.out.print(head + line, soft_wrap=True)
            return
        self.last = [*self.last, line][-LAST_SHOWN:]
        self.bar.update(self.task, advance=1, description=f"{self.failed} failed")
        self.live.update(Group(*self.last, self.bar))


def _in_short(record: Record) -> str:
    """The mistakes, else the first failed check, else the reason."""
    failed = [check for check in (record.verdict or {}).get("checks", ()) if check["status"] == "failed"]
    mistakes = dict.fromkeys(check["mistake"] for check in failed if check["mistake"])
    return ", ".join(mistakes) or (failed[0]["id"] if failed else one_line(record.reason, 120))
