"""Attention matrices in a terminal: expected and got side by side, two columns a cell, what differs marked.

In a terminal of 256 colours a cell is coloured, from dark blue for 0 to yellow for 1. With fewer colours, and
in a file, shades stand for the weight, and where even those cannot be written, ASCII does.
"""

import numpy as np
from rich.console import Console
from rich.text import Text

from tests.exercises.shown import Matrices, telling_part

INDENT, LABEL = 6, 12
MOST_ROWS, MOST_COLUMNS = 13, 14  # cells; so many columns, twice, fit 80 characters
MOST_LINES = MOST_ROWS + 4  # with those above and below
LEAST_ROWS = 3  # fewer show nothing
SHADES, ASCII = " ░▒▓█", " .:+#"
# Of the 256 colours of a terminal, each lighter than the one before it: it is read without the eye for
# colours, too.
COLOURS = (
    "#00005f", "#5f0087", "#005faf", "#0087af", "#00af87", "#00d75f", "#87d700", "#d7d700", "#ffff00",
)  # fmt: skip
ZERO = 0.005  # what is below is shown as nothing


def lines(out: Console, shown: Matrices, rows: int = MOST_LINES) -> list[Text]:
    """The worst head, expected and got, 80 characters wide and in at most `rows` lines; none where those are
    too few."""
    head = shown.worst
    bad, (H, T, S) = shown.wrong[head], shown.sizes
    legend = [shown.what, f"row: {shown.row}, column: {shown.column}", "x: not as expected"]
    if shown.case:
        legend.append(
            "in a call with " + ", ".join(f"{name} = {value}" for name, value in shown.case.items())
        )
    left = 80 - INDENT - LABEL - 2 * (2 * min(S, MOST_COLUMNS) + 3)
    beside = left >= max(map(len, legend)) and T >= len(legend)
    under = [] if beside else list(Text(", ".join(legend)).wrap(out, 80 - INDENT))
    room = min(max(rows - 1 - len(under), 1), MOST_ROWS)
    part = telling_part(bad, room, MOST_COLUMNS)
    if part[0].stop - part[0].start < T or part[1].stop - part[1].start < S:
        part = telling_part(bad, min(max(rows - 2 - len(under), 1), MOST_ROWS), MOST_COLUMNS)
        queries, keys = _span(part[0], shown.queries, T), _span(part[1], shown.keys, S)
        under.append(Text(f"Shown: {shown.row} {queries}, {shown.column} {keys}; --html FILE shows more."))
    if part[0].stop - part[0].start < min(LEAST_ROWS, T):
        return []
    name = f"head {head + shown.heads} of {H}" if H > 1 else ""
    width = 2 * (part[1].stop - part[1].start) + 3
    found = [Text(f"{'':{INDENT}}{name:{LABEL}}{'expected':{width}}got")]
    sides = (shown.expected[head], np.zeros_like(bad)), (shown.got[head], bad)
    for number, (one, other) in enumerate(zip(*(_cells(out, m[part], marks[part]) for m, marks in sides))):
        label = f"{shown.row} {number + part[0].start + shown.queries}"
        said = legend[number] if beside and number < len(legend) else ""
        found.append(Text(f"{'':{INDENT}}{label:{LABEL}}") + one + Text(" ") + other)
        found[-1].append(f"  {said}" if said else "", style="dim")
    found += [Text(" " * INDENT) + line for line in under]
    return found if len(found) <= rows else []


def _span(part: slice, first: int, size: int) -> str:
    return f"{first + part.start} to {first + part.stop - 1} of {size}"


def _cells(out: Console, matrix: np.ndarray, bad: np.ndarray) -> list[Text]:
    """Each row of a matrix between two bars."""
    colours = out.color_system in ("256", "truecolor")
    bar, shades = ("│", SHADES) if _can_write(out, SHADES + "│") else ("|", ASCII)
    rows = []
    for values, marks in zip(matrix, bad):
        row = Text().append(bar, style="dim")
        for value, mark in zip(values, marks):
            if not np.isfinite(value):
                row.append("?x" if mark else "??", style="bold red")
                continue
            level = min(max(float(value), 0.0), 1.0)
            if colours:
                ground = COLOURS[0 if level < ZERO else max(1, round(level * (len(COLOURS) - 1)))]
                ink = "#000000" if level > 0.4 else "#ffffff"
                row.append(" x" if mark else "  ", style=f"bold {ink} on {ground}")
            else:
                shade = shades[0 if level < ZERO else max(1, round(level * (len(shades) - 1)))]
                row.append(shade + ("x" if mark else shade), style="bold red" if mark else "")
        row.append(bar, style="dim")
        rows.append(row)
    return rows


def _can_write(out: Console, text: str) -> bool:
    """Whether the encoding of where it goes has these characters."""
    try:
        text.encode(out.encoding or "utf-8")
        return True
    except (LookupError, UnicodeEncodeError):
        return False
