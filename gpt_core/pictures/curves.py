"""What a plot of losses shows, before it is drawn: lines, bands of seeds, the best point of each."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpt_core.training import checkpoint
from gpt_core.training.run_log import NAME, read

AXES = {"steps": "step", "tokens": "tokens trained on", "seconds": "seconds"}
LOSS = "loss (nats per character)"
# They can be told apart on white and on black, and by most who see fewer colours.
COLOURS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#dc2626")
DASHES = ((), (6, 3), (2, 2), (6, 2, 2, 2))  # of the arms of a comparison: the first one is solid
SEED = re.compile(r"seed_?\d+")

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A run, or the runs of several seeds, as it is drawn.

    colour, dash: numbers of COLOURS and DASHES; train, val: points (x, loss); band: for each point of `val`
    the lowest and the highest run; best: the lowest point of `val`, and its step.
    """

    name: str
    colour: int
    dash: int
    train: list[Point] = field(default_factory=list)
    val: list[Point] = field(default_factory=list)
    band: list[Point] = field(default_factory=list)
    best: Point | None = None
    best_step: int | None = None
    seeds: int = 1
    state: str = ""

    @property
    def label(self) -> str:
        """For the legend."""
        seeds = f", mean of {self.seeds} seeds" if self.band else ""
        lowest = f", lowest {self.best[1]:.4f} at step {self.best_step}" if self.best else ""
        return f"{self.name}{seeds}{lowest}"


def curves(groups: Sequence[Sequence[Path]], x: str = "steps", *, waiting: bool = False) -> list[Curve]:
    """The curves of runs; those of a group have one colour, the first one solid, the others dashed.

    groups: folders of runs; a folder of runs that are named seed1, seed2, .. is one curve with a band. x:
    "steps", "tokens" or "seconds" since the run began. waiting: a run without a log, or with an empty one, is
    a curve without points, and no error.

    Raises ValueError for a folder without a log, an empty log, or a log that x cannot be read from.
    """
    return [
        curve_of(_name(folder), runs_in(folder), x, colour, dash, waiting=waiting)
        for colour, group in enumerate(groups)
        for dash, folder in enumerate(group)
    ]


def curve_of(
    name: str,
    runs: Sequence[Path],
    x: str = "steps",
    colour: int = 0,
    dash: int = 0,
    *,
    waiting: bool = False,
) -> Curve:
    """One curve, with a band where there are several runs. Raises ValueError as `curves` does."""
    logs = [_rows(run, waiting) for run in runs]
    if waiting and x == "tokens":  # the first line of a log is there before the first checkpoint
        logs = [rows if _info(run) else [] for run, rows in zip(runs, logs)]
    evaluated = [
        {row["step"]: (_place(run, row, x), row["val_loss"]) for row in rows if row["kind"] == "eval"}
        for run, rows in zip(runs, logs)
    ]
    # Where some runs are not done, as far as all of them have come.
    steps = sorted(set.intersection(*(set(points) for points in evaluated)))
    val, band = [], []
    for step in steps:
        places, losses = zip(*(points[step] for points in evaluated))
        val.append((sum(places) / len(places), sum(losses) / len(losses)))
        band.append((min(losses), max(losses)))
    best = min(range(len(val)), key=lambda n: val[n][1], default=None)
    several = len(runs) > 1
    return Curve(
        name,
        colour % len(COLOURS),
        # Where the colours come round again, the dashes tell two runs of one colour apart.
        (dash + colour // len(COLOURS)) % len(DASHES),
        [] if several else [(_place(runs[0], r, x), r["loss"]) for r in logs[0] if r["kind"] == "train"],
        val,
        band if several else [],
        None if best is None else val[best],
        None if best is None else steps[best],
        len(runs),
        "" if several else _state(runs[0], logs[0]),
    )


def each_run(folder: Path) -> list[Path]:
    """What a folder stands for: itself, be it a run or seeds of one, or the other runs in it."""
    runs = runs_in(folder)
    return runs if runs == [folder] or not all(SEED.fullmatch(run.name) for run in runs) else [folder]


def runs_in(folder: Path) -> list[Path]:
    """The runs that a folder stands for: itself, or those in it where it has no log."""
    if (folder / NAME).exists() or not folder.is_dir():
        return [folder]
    return sorted((path for path in folder.iterdir() if (path / NAME).is_file()), key=_by_number) or [folder]


def _by_number(path: Path) -> list:
    """seed10 comes after seed9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name)]


def _name(folder: Path) -> str:
    return folder.name or folder.resolve().name


def _rows(run: Path, waiting: bool) -> list[dict]:
    if waiting and not (run / NAME).exists():
        return []
    rows = read(run)
    if not rows and not waiting:
        raise ValueError(f"the log of {run} is empty; train it for a few steps first.")
    return rows


def _place(run: Path, row: dict, x: str) -> float:
    if x == "steps":
        return row["step"]
    if x == "tokens":
        return row["step"] * _tokens_per_step(run)
    if not isinstance(row.get("seconds"), (int, float)):
        raise ValueError(f"the log of {run} has no seconds; draw it over --x steps.")
    return row["seconds"]


def planned_steps(run: Path) -> int | None:
    """How many steps a run is to make; None where no checkpoint says so."""
    config = _info(run).get("train_config", {})
    return config.get("steps")


def _tokens_per_step(run: Path) -> int:
    info = _info(run)
    try:
        config = info["train_config"]
        return config["batch_size"] * config["block_size"] * config["accumulation"] * info.get("processes", 1)
    except KeyError:
        raise ValueError(
            f"{run} has no checkpoint, which says how many tokens a step takes; draw it over --x steps."
        ) from None


_known: dict[tuple, dict] = {}


def _info(run: Path) -> dict:
    """What a checkpoint of the run says of it, without its tensors; empty where there is none."""
    for name in (checkpoint.LAST, checkpoint.BEST, checkpoint.PREVIOUS):
        path = run / name
        try:
            key = (path, os.stat(path).st_mtime_ns)
        except OSError:
            continue
        if key not in _known:
            try:
                _known[key] = checkpoint.read_info(path)
            except checkpoint.CheckpointError:
                continue
        return _known[key]
    return {}


def _state(run: Path, rows: list[dict]) -> str:
    """How far a run is, in words; empty where that is not known."""
    steps = planned_steps(run)
    last = next((row for row in reversed(rows) if row["kind"] == "train"), None)
    if not rows or steps is None:
        return "" if rows else "no line in its log yet"
    done = f"step {rows[-1]['step']} of {steps}"
    rate = last.get("tokens_per_second") if last else None
    return f"{done}, {rate:,.0f} tokens/s" if isinstance(rate, (int, float)) else done
