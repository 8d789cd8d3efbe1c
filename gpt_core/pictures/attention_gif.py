"""An animation of attention: tokens that gather from the past, first as plain averages, then weighted.

It is the lecture's way to self-attention (0:42 to 1:11): a mean over the tokens so far needs no parameter,
and a head is the same with weights that each token chooses. Needs matplotlib, an optional extra.
"""

from pathlib import Path

import numpy as np

LENGTH = 16  # characters at most: more are hard to follow
PER_SECOND, PAUSE = 3, 4  # frames; frames that the last one of a part stays


def draw_gathering(text: str, weights: np.ndarray, name: str, out: Path) -> None:
    """Write a GIF. text: T characters, LENGTH of them are shown; weights: (T, T) of one head, [query, key];
    name: the head's.

    Raises ImportError without matplotlib, OSError where `out` cannot be written.
    """
    from matplotlib.animation import PillowWriter
    from matplotlib.figure import Figure

    chars = [{"\n": "↵", " ": "␣"}.get(char, char).replace("$", r"\$") for char in text[:LENGTH]]
    count = len(chars)
    even = np.tril(np.ones((count, count))) / np.arange(1, count + 1)[:, None]
    figure = Figure(figsize=(9, 4), dpi=80)
    row, matrix = figure.subplots(1, 2, width_ratios=(3, 2))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.09, top=0.92, wspace=0.03)
    writer = PillowWriter(fps=PER_SECOND)
    with writer.saving(figure, str(out), dpi=80):
        for title, of in (
            ("a plain average of the past", even),
            (f"weighted, by {name}", weights[:count, :count]),
        ):
            for query in range(count):
                _arcs(row, chars, of, query, title)
                _matrix(matrix, chars, of, query)
                for _ in range(PAUSE if query == count - 1 else 1):
                    writer.grab_frame()


def _arcs(axes, chars: list[str], weights: np.ndarray, query: int, title: str) -> None:
    """The characters in a row, and from the past ones to the one that gathers an arc each."""
    count = len(chars)
    axes.clear()
    axes.set(xlim=(-0.8, count - 0.2), ylim=(-1.6, count / 2 + 0.5))
    axes.axis("off")
    axes.set_title(title)
    angle = np.linspace(0, np.pi, 40)
    for key in range(query + 1):
        share = float(weights[query, key])
        radius = (query - key) / 2
        line = {"linewidth": 0.5 + 6 * share, "alpha": 0.15 + 0.85 * share, "color": "C0"}
        if radius:
            axes.plot((query + key) / 2 + radius * np.cos(angle), 0.5 + radius * np.sin(angle), **line)
        if query < 8:  # more numbers would run into each other
            axes.text(key, -1, f"{share:.2f}", ha="center", fontsize=8, color="C0")
    for place, char in enumerate(chars):
        axes.text(
            place,
            0,
            char,
            ha="center",
            va="center",
            fontsize=13,
            family="monospace",
            alpha=1 if place <= query else 0.3,
            weight="bold" if place == query else "normal",
        )


def _matrix(axes, chars: list[str], weights: np.ndarray, query: int) -> None:
    """The rows so far."""
    axes.clear()
    shown = np.where(np.arange(len(chars))[:, None] <= query, weights, 0)
    axes.imshow(np.sqrt(shown), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(chars)), chars, family="monospace")
    axes.set_yticks(range(len(chars)), chars, family="monospace")
    axes.set_title("the matrix, row by row")
