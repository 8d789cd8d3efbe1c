"""Draw the losses of one or several runs to a PNG: python -m gpt_core.plot RUN... --out losses.png

Needs matplotlib, which is an optional extra: pip install -e ".[plot]"
"""

import argparse
import sys
from pathlib import Path

from gpt_core.training.command import BAD_INPUT, FAILED, OK, Parser, begin
from gpt_core.training.run_log import read
from gpt_core.training.terminal import fail, printable


def draw(runs: list[Path], out: Path) -> None:
    """One colour per run: training loss thin, exhaustive validation loss thick with dots.

    runs: folders with a log.jsonl. Raises ValueError for a folder without one or without a row, OSError
    where `out` cannot be written, ImportError without matplotlib.
    """
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out is {out}; the plot is a PNG file, so its name must end in .png.")
    logs = {run: read(run) for run in runs}
    for run, rows in logs.items():
        if not rows:
            raise ValueError(f"the log of {run} is empty; train it for a few steps first.")
    figure, axes = _figure("step", "loss (nats per character)")
    for number, (run, rows) in enumerate(logs.items()):
        colour = f"C{number}"
        train = [(row["step"], row["loss"]) for row in rows if row["kind"] == "train"]
        val = [(row["step"], row["val_loss"]) for row in rows if row["kind"] == "eval"]
        if train:
            axes.plot(
                *zip(*train), color=colour, linewidth=0.8, alpha=0.6, label=f"{_literal(run.name)}, training"
            )
        if val:
            label = f"{_literal(run.name)}, validation (lowest {min(loss for _, loss in val):.4f})"
            axes.plot(*zip(*val), color=colour, marker="o", markersize=3, label=label)
    axes.legend()
    figure.savefig(out, format="png")


def draw_bands(arms: dict[str, list[Path]], out: Path) -> None:
    """Validation loss over the steps: per arm the mean of its runs, in a band from the lowest to the highest.

    arms: name to the folders of runs that were evaluated at the same steps. Raises as `draw` does.
    """
    figure, axes = _figure("step", "validation loss (nats per character)")
    for number, (name, runs) in enumerate(arms.items()):
        logs = [[row for row in read(run) if row["kind"] == "eval"] for run in runs]
        steps = [row["step"] for row in logs[0]]
        losses = list(zip(*([row["val_loss"] for row in rows] for rows in logs)))
        _band(axes, number, steps, losses, f"{name}, mean and range of {len(runs)} seeds")
    axes.legend()
    figure.savefig(out, format="png")


def draw_positions(
    arms: dict[str, list[list[float]]], cropped: dict[str, float], block_size: int, out: Path, bin: int
) -> None:
    """Loss by position: per arm the mean of its runs, in a band from the lowest to the highest; dashed,
    from block_size on, its loss where the context is cropped to block_size.

    arms: name to one list of losses per run, all of one length; bin: positions that are averaged.
    Raises ImportError without matplotlib, OSError where `out` cannot be written.
    """
    figure, axes = _figure("position", "validation loss (nats per character)")
    for number, (name, runs) in enumerate(arms.items()):
        length = len(runs[0]) // bin * bin
        places = [start + bin / 2 for start in range(0, length, bin)]
        means = [[sum(run[i : i + bin]) / bin for i in range(0, length, bin)] for run in runs]
        _band(axes, number, places, list(zip(*means)), name)
        axes.plot(
            [block_size, length],
            [cropped[name]] * 2,
            color=f"C{number}",
            linestyle="--",
            label=f"{name}, context cropped to {block_size}",
        )
    axes.axvline(block_size, color="grey", linewidth=0.8, label="the length of training")
    figure.legend(loc="outside lower center", ncols=2)  # the curves leave no corner free
    figure.savefig(out, format="png")


def _figure(x: str, y: str):
    from matplotlib.figure import Figure  # not pyplot, which looks for a display

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes


def _literal(name: str) -> str:
    """A name that matplotlib shows as it is: between two $ it would look for a formula."""
    return printable(name).replace("$", r"\$")


def _band(axes, number: int, x: list, values: list[tuple], label: str) -> None:
    """values: of all runs, for each x."""
    axes.plot(x, [sum(v) / len(v) for v in values], color=f"C{number}", label=label)
    axes.fill_between(x, [min(v) for v in values], [max(v) for v in values], color=f"C{number}", alpha=0.2)


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m gpt_core.plot", description="Draw the losses of runs to a PNG.")
    p.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run")
    p.add_argument("--out", type=Path, default=Path("losses.png"), help="default: losses.png")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 drawn, 1 no matplotlib, 2 bad input."""
    begin()
    options = parser().parse_args(arguments)
    try:
        draw(options.runs, options.out)
    except ValueError as error:
        return fail(str(error), BAD_INPUT)
    except ImportError:
        return fail('matplotlib is not installed; get it with: pip install -e ".[plot]"', FAILED)
    except OSError as error:
        return fail(f"{options.out} cannot be written: {error.strerror}.", BAD_INPUT)
    print(printable(f"drew {len(options.runs)} run{'s' if len(options.runs) > 1 else ''} to {options.out}"))
    return OK


if __name__ == "__main__":
    sys.exit(main())
