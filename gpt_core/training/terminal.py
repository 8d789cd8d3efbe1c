"""What the command lines print: a progress bar, a table of losses, a sparkline, one-sentence errors."""

import os
import re
import shlex
import shutil
import sys
import textwrap

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from data import corpora
from gpt_core.training.events import Evaluated, Notice, Result, Started, Updated
from gpt_core.training.out_of_memory import memory_for
from gpt_core.training.run_log import read
from gpt_core.training.token_file import TokenFile, is_large, open_tokens

WIDTH = 100
BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.,-~:=#"
# What to write on from, where the corpus is known to have it; a model that was trained for seconds writes
# better a little bolder. Without it a model goes on from a line end, or from its corpus' first character.
PROMPTS = {
    "tinyshakespeare": '--prompt "ROMEO:"',
    "plays": '--prompt "ROMEO:"',
    "toy": '--prompt "ANNE:" --temperature 0.7',
}
NO_MATPLOTLIB = 'matplotlib is not installed; get it with: pip install -e ".[plot]"'

# Control characters but for the tab and the line end; marks that change the direction of writing; half
# characters.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with its control characters written out ("\\x1b"): printed, they could move the cursor."""
    return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)


def sentence(text: str) -> str:
    """`text` in lines of at most 100 columns, or as many as the terminal has; a path or an address is never
    broken."""
    words = " ".join(printable(text).split())
    columns = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stderr.isatty() else WIDTH
    return textwrap.fill(words, min(columns, WIDTH), break_long_words=False, break_on_hyphens=False)


def fail(text: str, status: int, rank: int = 0, processes: int = 1) -> int:
    """Print an error as one sentence and return the exit status."""
    who = f"rank {rank}: " if processes > 1 else ""
    print(sentence(who + text), file=sys.stderr, flush=True)
    return status


def note(text: str) -> None:
    """Print a sentence that is no error, beside what a command writes."""
    print(sentence(text), file=sys.stderr, flush=True)


def load_corpus(name: str) -> str:
    """The text of a corpus (data.corpora.load), with a bar while it is downloaded.

    Raises OutOfMemory where it is too long."""
    with DownloadDisplay() as download, memory_for(f"to read {name}", "take a shorter text"):
        return corpora.load(name, report=download.report)


def load_text(name: str) -> str | TokenFile:
    """The same; a file that is too large for memory as tokens, with a bar while it is encoded."""
    if not is_large(name):
        return load_corpus(name)
    with DownloadDisplay() as encoding:
        return open_tokens(corpora.path_of(name), report=encoding.report)


def forgive_output() -> None:
    """Write a `?` for what the terminal cannot show, instead of failing over it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def leave_output() -> None:
    """Send what is still to be printed nowhere: the reader, such as `head`, has seen enough, or the disk is
    full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def sparkline(values: list[float], width: int = 60) -> str:
    """One character per value, from lowest to highest; neighbours are averaged where there are more
    than `width`. An empty list gives an empty string."""
    if len(values) > width:
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in zip(edges, edges[1:])]
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0
    return "".join(BARS[round((value - low) * scale)] for value in values)


class _Display:
    """A console of at most 100 columns and, on a terminal, a bar that says how far a run is."""

    def __init__(self):
        self.console = Console(highlight=False, markup=False)
        if not self.console.is_terminal or self.console.width > WIDTH:
            self.console.width = WIDTH
        self.bar = Progress(
            TextColumn("{task.description}step {task.completed}/{task.total}"),
            BarColumn(bar_width=24),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[rate]} tokens/s"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = None
        self.processes = 1

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *error):
        self.bar.stop()

    def say(self, text: str = "") -> None:
        try:
            self.console.print(printable(text), soft_wrap=True)
        # rich makes the latter of a broken pipe; the log has all of it without a reader too
        except (OSError, SystemExit):
            leave_output()

    def updated(self, event: Updated) -> None:
        self.bar.update(
            self.task, completed=event.step, loss=f"{event.loss:.4f}", rate=f"{event.tokens_per_second:,.0f}"
        )


class ExperimentDisplay(_Display):
    """Shows the runs of an experiment, one bar at a time; `report` takes the trainer's events."""

    name = ""  # of the run that goes on

    def report(self, event) -> None:
        if isinstance(event, Started):
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.task = self.bar.add_task(
                f"{self.name}, ", total=event.steps, completed=event.step, loss="-", rate="-"
            )
        elif isinstance(event, Updated):
            self.updated(event)
        elif isinstance(event, Notice):
            self.say(sentence(event.text))


class TrainingDisplay(_Display):
    """Shows a run as it goes; `report` takes the trainer's events. Used in a with statement."""

    def report(self, event) -> None:
        if isinstance(event, Started):
            self._started(event)
        elif isinstance(event, Updated):
            self.updated(event)
        elif isinstance(event, Evaluated):
            mark = "  best" if event.is_best else ""
            self.say(
                f"{event.step:>7}{event.val_loss:>12.4f}{event.sampled_val_loss:>14.4f}"
                f"{event.sampled_train_loss:>16.4f}{_clock(event.seconds):>10}{mark}"
            )
        elif isinstance(event, Notice):
            self.say(sentence(event.text))

    def curve(self, values: list[float]) -> str:
        """A sparkline in what the terminal can show."""
        line = sparkline(values)
        try:
            line.encode(self.console.encoding)
        except (UnicodeEncodeError, LookupError):
            return line.translate(dict(zip(map(ord, BARS), ASCII_BARS)))
        return line

    def _started(self, event) -> None:
        self.processes = event.processes
        self.say(
            f"{event.parameters:,} parameters, {event.vocab_size} characters, {event.train_tokens:,} "
            f"tokens to train on, {event.val_tokens:,} to validate"
        )
        processes = f"{event.processes} processes, " if event.processes > 1 else ""
        self.say(
            f"{processes}{event.device}, {event.precision}, {event.threads} CPU thread"
            f"{'' if event.threads == 1 else 's'}, {event.optimizer}, "
            f"{event.tokens_per_step:,} tokens per step"
        )
        if event.step:
            self.say(f"going on after step {event.step}")
        self.say()
        self.say(f"{'step':>7}{'val loss':>12}{'val sampled':>14}{'train sampled':>16}{'time':>10}")
        self.task = self.bar.add_task("", total=event.steps, completed=event.step, loss="-", rate="-")

    def ended(self, result: Result, folder, corpus: str) -> None:
        """The last lines: the curve, the best loss, what to do next."""
        losses = [row["loss"] for row in read(folder) if row["kind"] == "train"]
        if len(losses) > 1:
            self.say()
            self.say(f"training loss {losses[0]:.2f} {self.curve(losses)} {losses[-1]:.2f}")
        named = shlex.quote(str(folder))
        if not result.finished:
            start = f"torchrun --nproc_per_node={self.processes}" if self.processes > 1 else "python"
            self.say(
                f"Stopped after step {result.step}, saved. Go on with: {start} -m gpt_core.train --resume "
                f"{named}"
            )
            return
        self.say(
            f"best validation loss {result.best_val_loss:.4f} at step {result.best_step}, "
            f"in {folder}/best.safetensors"
        )
        self.say(f"next: python -m gpt_core.sample {named} {PROMPTS.get(corpus, '')}".rstrip())


class StepsDisplay:
    """A progress bar for a function that reports (step, loss): what a with statement gives is its
    `report`."""

    def __init__(self, title: str, steps: int):
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn(title),
            BarColumn(bar_width=24),
            TextColumn("step {task.completed}/{task.total}"),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=steps, loss="-")

    def __enter__(self):
        self.bar.start()
        return lambda step, loss: self.bar.update(self.task, completed=step, loss=f"{loss:.4f}")

    def __exit__(self, *error):
        self.bar.stop()


class DownloadDisplay:
    """A progress bar per file that is downloaded or encoded; `report` takes the events of data.corpora and of
    token_file.py."""

    def __init__(self):
        self.bar = Progress(console=Console(stderr=True), transient=True)
        self.tasks = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.tasks:  # stopping a bar that never started prints an empty line
            self.bar.stop()

    def report(self, event) -> None:
        if event.file not in self.tasks:
            self.bar.start()
            self.tasks = {event.file: self.bar.add_task(event.file, total=event.total or None)}
        self.bar.update(self.tasks[event.file], completed=event.done, total=event.total or None)


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
