"""Heat maps for the HTML report: attention matrices, expected | got | difference on one scale, and where a
trained model errs. The cells are one picture, what is written beside them is SVG."""

from html import escape

import numpy as np

from grader.learner.png import Palette, data_uri
from tests.exercises.shown import ErrorMap, Matrices, distance

CELL = 10  # units of the SVG
LABELS, TOP = 22, 12  # units left of and above the cells
NUMBERED = 16  # tokens; more have no room for a number each
MOST_RUNS = 300  # lines of the outlines in one picture
LEVELS, APART = 16, 8  # colours of a weight, and of a difference each way
# matplotlib's viridis, which is read in light, in the dark, and without the eye for colours
VIRIDIS = (
    "440154481a6c472f7d41448739568c31688e2a788e23888e"
    "1f988b22a88435b77954c5687ad151a5db36d2e21bfde725"
)  # fmt: skip


def _rgb(text: str) -> tuple[int, int, int]:
    return tuple(bytes.fromhex(text))


CLEAR, NAN = 0, 1
WEIGHT, LESS, MORE = 2, 2 + LEVELS, 2 + LEVELS + APART  # the first index of each kind
PALETTE: Palette = (
    (0, 0, 0, 0),
    (255, 0, 255, 255),
    *((*_rgb(VIRIDIS[6 * level : 6 * level + 6]), 255) for level in range(LEVELS)),
    *((30, 100, 255, 80 + 25 * level) for level in range(APART)),
    *((235, 60, 20, 80 + 25 * level) for level in range(APART)),
)
# Of an error map: no problem there, none wrong, and from few to all wrong.
ERRORS: Palette = (
    (0, 0, 0, 0), (128, 128, 128, 70), *((255, 190 - 12 * n, 40 - 2 * n, 255) for n in range(LEVELS))
)  # fmt: skip


def weights(matrix: np.ndarray) -> np.ndarray:
    """Indices of the colours of numbers from 0 to 1; what lies beyond has the nearest."""
    level = np.clip(np.nan_to_num(matrix), 0, 1) * (LEVELS - 1)
    # What is no longer 0 is told from 0.
    level = np.where((matrix > 0.005) & (level < 1), 1, np.round(level))
    return np.where(np.isnan(matrix), NAN, WEIGHT + level).astype(np.uint8)


def differences(apart: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Indices of the colours of differences from -1 to 1; clear where nothing is wrong."""
    level = np.minimum(np.abs(np.nan_to_num(apart)) * APART, APART - 1)
    index = np.where(apart < 0, LESS, MORE) + np.floor(level)
    return np.where(np.isnan(apart), NAN, np.where(bad, index, CLEAR)).astype(np.uint8)


def with_sums(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The cells, and beside a gap their sums, each a cell of its own."""
    T, S = cells.shape
    made = np.full((T + 2, S + 2), CLEAR, dtype=np.uint8)
    made[:T, :S], made[:T, -1], made[-1, :S] = cells, rows, columns
    return made


def heads(shown: Matrices, id: str) -> str:
    """All heads small, and one of them, the worst, large; a click makes another one large. id: no other
    figure's on the page."""
    _, T, S = shown.sizes
    parts = [f"{shown.what}: expected, got and the difference (got - expected) on one scale"]
    parts.append(f"a row is {_a(shown.row)}, a column {_a(shown.column)}")
    parts.append("beside each row and column is its sum")
    if shown.case:
        parts.append("in a call with " + ", ".join(f"{key} = {value}" for key, value in shown.case.items()))
    if shown.got.shape != shown.sizes:
        count, rows, columns = (
            f"{first} to {first + size - 1} of {whole}"
            for first, size, whole in zip(
                (shown.heads, shown.queries, shown.keys), shown.got.shape, shown.sizes
            )
        )
        parts.append(f"shown are heads {count}, rows {rows} and columns {columns}, where most is wrong")
    bad, worst = shown.wrong, shown.worst
    outlines: dict[str, str] = {}
    drawn = [_head(shown, index, bad[index], index == worst, outlines, id) for index in range(len(shown.got))]
    click = " Click a head to see it large." if len(drawn) > 1 else ""
    return (
        f"<figure><figcaption>{escape('; '.join(parts))}.{click}</figcaption>"
        f"<p class=legend>{LEGEND}{OUTLINED if outlines else ''}"
        f"{PINK if np.isnan(shown.got).any() else ''}</p>"
        f"<div class=heads>{''.join(drawn)}</div></figure>"
    )


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _head(shown: Matrices, index: int, bad, large: bool, outlines: dict[str, str], id: str) -> str:
    """One head. outlines: those of the figure's heads so far, path to id: the same one is drawn again."""
    expected, got = shown.expected[index], shown.got[index]
    number, (T, S) = index + shown.heads, got.shape
    with np.errstate(invalid="ignore", over="ignore"):
        apart = got - expected
        sums = [(m.sum(axis=1), m.sum(axis=0)) for m in (expected, got, apart)]
    differ = shown.allowed * max(T, S)
    panels = [with_sums(weights(m), *map(weights, of)) for m, of in zip((expected, got), sums)]
    panels.append(
        with_sums(differences(apart, bad), *(differences(s, ~(np.abs(s) <= differ)) for s in sums[2]))
    )
    gap = np.full((T + 2, GAP), CLEAR, dtype=np.uint8)
    pixels = np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)
    cell = CELL * min(1.0, NUMBERED / max(T, S))  # so that what is written has one size, whatever T is
    step = (S + 2 + GAP) * cell
    across, down = (size * cell for size in reversed(pixels.shape))
    future = _outlines(shown, bad, got)
    marks = [
        f'<text x="{LABELS + n * step:g}" y="8" class=t>{name}</text>'
        f'<rect x="{LABELS + n * step:g}" y="{TOP}" width="{S * cell:g}" height="{T * cell:g}"/>'
        for n, name in enumerate(("expected", "got", "difference"))
    ]
    if future:
        place = f'transform="translate({LABELS + step:g} {TOP})scale({cell:g})"'
        if future in outlines:
            marks.append(f'<use href="#{outlines[future]}"/>')
        else:
            outlines[future] = f"{id}o{len(outlines)}"
            marks.append(f'<path id="{outlines[future]}" {place} d="{future}"/>')
    marks.append(_numbers(shown, sums, cell, step))
    said = _said(shown, index, bad, sums, bool(future))
    name = f"head {number}" if shown.sizes[0] > 1 else shown.what
    view = f"0 0 {LABELS + across + 20:g} {TOP + down + 10:g}"
    return (
        f'<button type=button class="head{" large" * large}" aria-expanded={"true" if large else "false"}>'
        f'<svg viewBox="{view}" role=img aria-label="{escape(f"{name}: {said}")}">'
        f'<image x="{LABELS}" y="{TOP}" width="{across:g}" height="{down:g}" '
        f'preserveAspectRatio=none href="{data_uri(pixels, PALETTE)}"/>{"".join(marks)}</svg>'
        f"<span><b>{escape(name)}</b><i> {escape(said)}</i></span></button>"
    )


GAP = 3  # cells between two matrices, in which the sums of the rows are written


def _outlines(shown: Matrices, bad: np.ndarray, got: np.ndarray) -> str:
    """Round what got weight and must not: keys after their query; a path in cells."""
    queries = np.arange(got.shape[0])[:, None] + shown.queries
    keys = np.arange(got.shape[1])[None] + shown.keys
    wrong = bad & (keys > queries) & ((got > 0) | np.isnan(got))
    around = np.pad(wrong, 1)
    across = around[1:, 1:-1] != around[:-1, 1:-1]  # an edge above the cell
    down = around[1:-1, 1:] != around[1:-1, :-1]  # an edge to the left of it
    path = [f"M{x} {y}h{size}" for y, x, size in _runs(across)]
    path += [f"M{x} {y}v{size}" for x, y, size in _runs(down.T)]
    return "".join(path[:MOST_RUNS])


def _runs(rows: np.ndarray) -> list[tuple[int, int, int]]:
    """The (row, beginning, length) of what is true without a gap."""
    steps = np.diff(np.pad(rows, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    begins, ends = np.argwhere(steps == 1).tolist(), np.argwhere(steps == -1).tolist()
    return [(row, begin, end - begin) for (row, begin), (_, end) in zip(begins, ends)]


def _numbers(shown: Matrices, sums, cell: float, step: float) -> str:
    """The numbers of rows and columns, and their sums where there is room for them."""
    T, S = shown.got.shape[1:]
    every = 1 if T <= NUMBERED else 16
    made = [
        f'<text x="{LABELS - 3}" y="{TOP + t * cell + 7:g}" class=e>{t + shown.queries}</text>'
        for t in range(0, T, every)
    ]
    if max(T, S) <= NUMBERED:
        for n, (rows, columns) in enumerate(sums):
            right, below = LABELS + n * step + (S + 2) * cell + 1, TOP + (T + 2) * cell + 6
            made += [
                f'<text x="{right:g}" y="{TOP + t * cell + 7:g}">{_sum(s)}</text>' for t, s in enumerate(rows)
            ]
            made += [
                f'<text x="{LABELS + n * step + s * cell + 5:g}" y="{below:g}" class="m s">{_sum(c)}</text>'
                for s, c in enumerate(columns)
            ]
    return f"<g>{''.join(made)}</g>"


def _sum(value: float) -> str:
    """A number in three characters or few more: .17, 1.0, -.5."""
    if not np.isfinite(value):
        return "nan" if np.isnan(value) else "inf"
    if abs(value) >= 100:
        return f"{value:.0e}".replace("e+0", "e")
    text = f"{value:.1f}" if abs(value) >= 0.995 or value < 0 else f"{value:.2f}"
    return {"-0.0": "0", "0.00": "0"}.get(text, text.replace("0.", ".", 1) if text[:3] != "0.0" else text[1:])


def _said(shown: Matrices, index: int, bad: np.ndarray, sums, future: bool) -> str:
    """One head in words."""
    expected, got = shown.expected[index], shown.got[index]
    if not bad.any():
        return "is as expected."
    t, s = np.unravel_index(int(distance(expected, got).argmax()), got.shape)
    said = (
        f"{int(bad.sum())} of {bad.size} differ, most at {shown.row} {t + shown.queries}, {shown.column} "
        f"{s + shown.keys}: expected {expected[t, s]:.3g}, got {got[t, s]:.3g}."
    )
    rows, columns = sums[1]
    if shown.got.shape[2] == shown.sizes[2] and np.isfinite(rows).all():  # else they are sums of a part
        said += f" Rows sum to {_between(rows)}, columns to {_between(columns)}."
    return said + (" Outlined: the future got weight." if future else "")


def _between(sums: np.ndarray) -> str:
    low, high = (f"{value:.3g}" for value in (sums.min(), sums.max()))
    return low if low == high else f"{low} .. {high}"


def _sample(index: int) -> str:
    """A spot of one colour."""
    return f'<img class=spot alt="pink" src="{data_uri(np.array([[index]]), PALETTE)}">'


def _scale() -> str:
    """What the colours mean, as a picture with words."""
    weight = np.arange(WEIGHT, WEIGHT + LEVELS)
    less, more = np.arange(LESS, LESS + APART)[::-1], np.arange(MORE, MORE + APART)
    apart = np.concatenate([less, [CLEAR], more])
    pictures = [
        f'<img class=scale alt="{alt}" src="{data_uri(row[None].astype(np.uint8), PALETTE)}">'
        for row, alt in ((weight, "from dark to yellow"), (apart, "from blue over nothing to red"))
    ]
    return f"<span>0 {pictures[0]} 1</span> <span>difference -1 {pictures[1]} +1</span>"


LEGEND = _scale()
PINK = f" <span>{_sample(NAN)} not a number</span>"
OUTLINED = " <span><b class=out></b> weight on the future</span>"


def errors(shown: ErrorMap) -> str:
    """Where a trained model errs: a cell for each range of a and b."""
    share = shown.wrong / np.maximum(shown.total, 1)
    level = np.where(shown.wrong > 0, 2 + np.minimum(np.floor(share * LEVELS), LEVELS - 1), 1)
    pixels = np.where(shown.total > 0, level, CLEAR).astype(np.uint8)
    T, S = pixels.shape
    width, height = LABELS + 8 + S * CELL + 10, TOP + T * CELL + 14
    left = LABELS + 8
    said = f"{int(shown.wrong.sum())} of {int(shown.total.sum())} are wrong"
    if shown.wrong.any():
        t, s = np.unravel_index(int((shown.wrong + share).argmax()), share.shape)
        (r, rows), (c, columns) = (shown.row, shown.rows), (shown.column, shown.columns)
        said += (
            f", most for {r} from {rows[t]} to {rows[t + 1] - 1} and {c} from {columns[s]} to "
            f"{columns[s + 1] - 1}: {int(shown.wrong[t, s])} of {int(shown.total[t, s])}"
        )
    marks = f'<rect x="{left}" y="{TOP}" width="{S * CELL}" height="{T * CELL}"/>'
    for at, value in ((0, shown.rows[0]), (T, shown.rows[-1] - 1)):
        marks += f'<text class=e x="{left - 3}" y="{TOP + at * CELL + (0 if at else 7)}">{value}</text>'
    for at, value in ((0, shown.columns[0]), (S, shown.columns[-1] - 1)):
        anchor = " class=e" if at else ""
        marks += f'<text{anchor} x="{left + at * CELL}" y="{TOP + T * CELL + 9}">{value}</text>'
    marks += f'<text x="{left + S * CELL // 2}" y="{TOP + T * CELL + 9}">{escape(shown.column)}</text>'
    marks += f'<text class=e x="{left - 3}" y="{TOP + T * CELL // 2 + 3}">{escape(shown.row)}</text>'
    return (
        f"<br><figure class=map><figcaption>{escape(shown.title)}: {escape(said)}. Grey: all right; yellow "
        f"to red: few to all wrong; empty: none was asked.</figcaption>"
        f'<svg viewBox="0 0 {width} {height}" role=img aria-label="{escape(shown.title)}: {escape(said)}">'
        f'<image x="{left}" y="{TOP}" width="{S * CELL}" height="{T * CELL}" preserveAspectRatio=none '
        f'href="{data_uri(pixels, ERRORS)}"/>{marks}</svg></figure>'
    )
