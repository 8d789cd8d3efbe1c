"""Draw the losses of runs: python -m gpt_core.plot RUN...

python -m gpt_core.plot runs/toy runs/cpu --out losses.png          needs: pip install -e ".[plot]"
python -m gpt_core.plot runs/cpu --html losses.html                 a page, without matplotlib
python -m gpt_core.plot runs/cpu --live                             a page that follows a run as it trains
python -m gpt_core.plot runs/experiments/*                          an arm of several seeds is a band
python -m gpt_core.plot --compare runs/a runs/b --x tokens          one colour, solid and dashed
"""

import argparse
import sys
from pathlib import Path

from gpt_core.pictures import curves_page
from gpt_core.pictures.curves import AXES, COLOURS, DASHES, LOSS, Curve, curves, each_run
from gpt_core.pictures.document import write
from gpt_core.pictures.live import follow
from gpt_core.training.command import BAD_INPUT, FAILED, INTERRUPTED, OK, Parser, begin
from gpt_core.training.terminal import NO_MATPLOTLIB, fail, note, printable

PNG, PAGE = Path("losses.png"), Path("losses.html")
PAGES = (".html", ".htm")
EVERY = 3  # seconds between two pages of --live


def draw(found: list[Curve], out: Path, x: str = "steps") -> None:
    """Draw curves to a PNG: validation losses thick with dots and a ring around the lowest, training losses
    thin; a band reaches from the lowest to the highest of several seeds.

    x: a key of AXES, what their points are over. Raises ValueError where `out` is no PNG, OSError where it
    cannot be written, ImportError without matplotlib.
    """
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out is {out}; the plot is a PNG file, so its name must end in .png.")
    figure, axes = _figure(AXES[x], LOSS)
    for curve in found:
        colour, dash = COLOURS[curve.colour], (0, DASHES[curve.dash] or None)
        label = _literal(curve.label)
        if curve.train:
            alone = not curve.val
            axes.plot(
                *zip(*curve.train),
                color=colour,
                linestyle=dash,
                linewidth=0.8,
                alpha=0.5,
                label=f"{label}, training" if alone else None,
            )
        if curve.val:
            axes.plot(*zip(*curve.val), color=colour, linestyle=dash, marker="o", markersize=3, label=label)
            axes.plot(*curve.best, color=colour, marker="o", markersize=9, fillstyle="none")
        if curve.band:
            lows, highs = zip(*curve.band)
            axes.fill_between([place for place, _ in curve.val], lows, highs, color=colour, alpha=0.2)
    axes.legend(fontsize="small", handlelength=4)  # long enough to see the dashes
    axes.set_title("thick: validation, a ring at the lowest; thin: training", fontsize="small")
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
        values = list(zip(*means))  # of all runs, for each place
        colour = f"C{number}"
        axes.plot(places, [sum(v) / len(v) for v in values], color=colour, label=name)
        axes.fill_between(places, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.2)
        axes.plot(
            [block_size, length],
            [cropped[name]] * 2,
            color=colour,
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


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m gpt_core.plot", description="Draw the losses of runs.")
    p.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="the folder of a run; of the runs seed1, seed2, .., which become a band; or of other runs",
    )
    p.add_argument(
        "--compare",
        nargs="+",
        action="append",
        default=[],
        type=Path,
        metavar="RUN",
        help="runs in one colour, the first one solid, the others dashed; repeatable",
    )
    p.add_argument("--x", choices=AXES, default="steps", help="what the axis counts; default: steps")
    p.add_argument("--out", type=Path, metavar="FILE", help=f"the PNG (default: {PNG}, without --html)")
    p.add_argument(
        "--html", nargs="?", type=Path, const=PAGE, metavar="FILE", help=f"a page (default: {PAGE})"
    )
    p.add_argument(
        "--live",
        nargs="?",
        type=int,
        const=EVERY,
        metavar="SECONDS",
        help=f"write the page anew every so many seconds until the runs end (default: {EVERY})",
    )
    return p


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 drawn, 1 it could not be, 2 bad input, 130 stopped by Ctrl-C."""
    begin()
    options = parser().parse_args(arguments)
    if options.out and options.out.suffix.lower() in PAGES and options.html in (None, PAGE):
        options.html, options.out = options.out, None  # a page is meant
    out = options.out or (None if options.html or options.live is not None else PNG)
    try:
        return _draw(options, out)
    except ValueError as error:
        return fail(str(error), BAD_INPUT)
    except ImportError:
        return fail(NO_MATPLOTLIB, FAILED)
    except OSError as error:
        return fail(f"{error.filename or out} cannot be written: {error.strerror}.", BAD_INPUT)


def _draw(options, out: Path | None) -> int:
    groups = [*([run] for folder in options.runs for run in each_run(folder)), *options.compare]
    if not groups:
        raise ValueError("there is nothing to draw: name the folder of a run, such as runs/cpu.")
    html = options.html or (PAGE if options.live is not None else None)
    if html and html.suffix.lower() not in PAGES:
        raise ValueError(f"--html is {html}; the page's name must end in .html.")
    for path in filter(None, (html, out)):
        if not path.parent.is_dir():
            raise ValueError(f"there is no folder {path.parent} for {path.name}; make it first.")
    status = OK
    if options.live is not None:
        if options.live < 1:
            raise ValueError(f"--live is {options.live}; it must be at least 1 second.")
        status = OK if follow(groups, options.x, html, options.live, note) else INTERRUPTED
    elif html:
        found = curves(groups, options.x)
        write(curves_page.page(found, options.x, "Losses"), html)
        print(printable(f"drew {_count(found)} to {html}"))
    if out:
        found = curves(groups, options.x)
        draw(found, out, options.x)
        print(printable(f"drew {_count(found)} to {out}"))
    return status


def _count(found: list[Curve]) -> str:
    return f"{len(found)} curve{'' if len(found) == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
