"""A page that follows runs while they train: written anew every few seconds, until they end."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gpt_core.pictures import curves_page
from gpt_core.pictures.curves import curves, planned_steps, runs_in
from gpt_core.pictures.document import write
from gpt_core.training.run_log import NAME, read

PATIENCE = 120.0  # seconds without a new line, after which a run seems to have stopped,
GAPS = 10.0  # or so many times its longest wait for a line, where that is more


def follow(
    groups: Sequence[Sequence[Path]], x: str, out: Path, every: int, say: Callable[[str], None]
) -> bool:
    """Write the page until all runs have made their last step, or seem to have stopped; False where Ctrl-C
    ended it. The last page no longer loads itself again.

    groups, x: as `curves` takes them; a run that has not begun is waited for. say: takes sentences.
    Raises ValueError for a log that is none, OSError where `out` cannot be written.
    """
    say(f"{out} follows the training; open it in a browser. Ctrl-C ends it, and leaves the training alone.")
    began = time.time()
    try:
        while not (ended := _ended(groups, began)):
            _write(groups, x, out, every, f"Still training: this page loads itself again every {every} s.")
            time.sleep(every)
    except KeyboardInterrupt:
        ended = "No longer followed: stopped by Ctrl-C."
        _write(groups, x, out, None, ended)
        say(f"Stopped; {out} stays as it is.")
        return False
    _write(groups, x, out, None, ended)
    say(ended)
    return True


def _write(groups: Sequence[Sequence[Path]], x: str, out: Path, refresh: int | None, said: str) -> None:
    notes = [f"{said} Written at {time.strftime('%H:%M:%S')}."]
    write(curves_page.page(curves(groups, x, waiting=True), x, "Losses", notes, refresh), out)


def _ended(groups: Sequence[Sequence[Path]], began: float) -> str:
    """Why there is nothing to wait for any more; empty while there is. began: when the following did."""
    runs = [run for group in groups for folder in group for run in runs_in(folder)]
    if all(_is_finished(run) for run in runs):
        return "Finished: the last step is made."
    quiet = min(_quiet(run, began) - _patience(run) for run in runs if not _is_finished(run))
    if quiet > 0:
        return "Nothing new for a while: the training seems to have stopped."
    return ""


def _is_finished(run: Path) -> bool:
    """Whether the last step is made and evaluated."""
    steps = planned_steps(run)
    evaluated = [row["step"] for row in _rows(run) if row["kind"] == "eval"]
    return bool(steps is not None and evaluated and evaluated[-1] >= steps)


def _quiet(run: Path, began: float) -> float:
    """Seconds since the last line of the log, or since `began`."""
    try:
        return time.time() - max(began, (run / NAME).stat().st_mtime)
    except OSError:
        return time.time() - began


def _patience(run: Path) -> float:
    """How many seconds without a line are nothing unusual."""
    times = [row["seconds"] for row in _rows(run) if isinstance(row.get("seconds"), (int, float))]
    gaps = [after - before for before, after in zip(times, times[1:])]
    return max(PATIENCE, GAPS * max(gaps, default=0.0))


def _rows(run: Path) -> list[dict]:
    return read(run) if (run / NAME).exists() else []
