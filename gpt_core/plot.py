"""Draw the losses of one or several runs to a PNG: python -m gpt_core.plot RUN... --out losses.png

Needs matplotlib, which is an optional extra: pip install -e ".[plot]"
"""

import argparse
import sys
from pathlib import Path

from gpt_core.run_log import read
from gpt_core.terminal import fail

OK, FAILED, BAD_INPUT = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(fail(f"{message}; --help lists what there is.", BAD_INPUT))


def draw(runs: list[Path], out: Path) -> None:
    """One colour per run: training loss thin, exhaustive validation loss thick with dots.

    runs: folders with a log.jsonl. Raises ValueError for a folder without one or without a row, OSError
    where `out` cannot be written, ImportError without matplotlib.
    """
    logs = {run: read(run) for run in runs}
    for run, rows in logs.items():
        if not rows:
            raise ValueError(f"the log of {run} is empty; train it for a few steps first.")
    from matplotlib.figure import Figure  # not pyplot, which looks for a display

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for number, (run, rows) in enumerate(logs.items()):
        colour = f"C{number}"
        train = [(row["step"], row["loss"]) for row in rows if row["kind"] == "train"]
        val = [(row["step"], row["val_loss"]) for row in rows if row["kind"] == "eval"]
        if train:
            axes.plot(*zip(*train), color=colour, linewidth=0.8, alpha=0.6, label=f"{run.name}, training")
        if val:
            label = f"{run.name}, validation (lowest {min(loss for _, loss in val):.4f})"
            axes.plot(*zip(*val), color=colour, marker="o", markersize=3, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per character)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, format="png")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 drawn, 1 no matplotlib, 2 bad input."""
    p = _Parser(prog="python -m gpt_core.plot", description="Draw the losses of runs to a PNG.")
    p.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run")
    p.add_argument("--out", type=Path, default=Path("losses.png"), help="default: losses.png")
    options = p.parse_args(arguments)
    try:
        draw(options.runs, options.out)
    except ValueError as error:
        return fail(str(error), BAD_INPUT)
    except ImportError:
        return fail('matplotlib is not installed; get it with: pip install -e ".[plot]"', FAILED)
    except OSError as error:
        return fail(f"{options.out} cannot be written: {error.strerror}.", BAD_INPUT)
    print(f"drew {len(options.runs)} run{'s' if len(options.runs) > 1 else ''} to {options.out}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
