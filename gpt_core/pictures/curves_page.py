"""Curves of losses as a page of HTML: one SVG, and a table that says the same in numbers."""

import math
from collections.abc import Iterable

from gpt_core.pictures.curves import AXES, COLOURS, DASHES, LOSS, Curve, Point
from gpt_core.pictures.document import document, text

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 46  # margins
MOST_POINTS = 800  # of a line: more than the picture has pixels only make the file large
STYLE = """
.grid{stroke:var(--faint);stroke-width:1}.chart text{text-anchor:middle}
.chart .y text{text-anchor:end}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.train{fill:none;stroke-width:1;opacity:.45}.band{stroke:none;opacity:.18}.best{fill:none;stroke-width:2}
.chart{min-width:36rem}.sample{width:2.5rem;height:.8rem;display:inline-block}
th{vertical-align:bottom}td{white-space:nowrap}
@media (prefers-color-scheme:dark){.line,.train,.best,circle{filter:brightness(1.35)}}
""" + "".join(f".s{n}{{stroke:{colour}}}.f{n}{{fill:{colour}}}" for n, colour in enumerate(COLOURS))


def page(
    found: list[Curve], x: str, title: str, notes: Iterable[str] = (), refresh: int | None = None
) -> str:
    """The page as HTML. x: a key of AXES; notes: sentences below the picture; refresh: seconds, where it is
    to load itself again."""
    sections = [
        f'<div class="wide">{svg(found, x)}</div>',
        _table(found, any(curve.state for curve in found)),
        f'<p class="note">{KEY}</p>',
        *(f"<p>{text(note)}</p>" for note in notes),
    ]
    return document(title, sections, style=STYLE, refresh=refresh)


KEY = (
    "Thick with dots: exhaustive validation loss, a ring around its lowest point. Thin: training loss, the "
    "mean since the line before it in the log. A band reaches from the lowest to the highest seed."
)


def svg(found: list[Curve], x: str) -> str:
    """The picture alone. A point says its numbers to whoever points at it."""
    scale = _Scale.around([point for curve in found for point in _points(curve)])
    parts = [*scale.axes(AXES[x])]
    for curve in found:
        if curve.band:
            upper = [(place, high) for (place, _), (_, high) in zip(curve.val, curve.band)]
            lower = [(place, low) for (place, _), (low, _) in zip(curve.val, curve.band)]
            around = scale.path([*upper, *reversed(lower)])
            parts.append(f'<polygon class="band f{curve.colour}" points="{around}"/>')
    for curve in found:
        dash = f' stroke-dasharray="{" ".join(map(str, DASHES[curve.dash]))}"' if DASHES[curve.dash] else ""
        for kind, points in (("train", thinned(curve.train)), ("line", curve.val)):
            if len(points) > 1:
                line = scale.path(points)
                parts.append(f'<polyline class="{kind} s{curve.colour}"{dash} points="{line}"/>')
        for place, loss in curve.val:
            at = f'cx="{scale.x(place):.1f}" cy="{scale.y(loss):.1f}"'
            said = text(f"{curve.name}: validation loss {loss:.4f} at {place:,.0f} {x}")
            parts.append(f'<circle class="f{curve.colour}" {at} r="2.6"><title>{said}</title></circle>')
            if (place, loss) == curve.best:
                parts.append(f'<circle class="best s{curve.colour}" {at} r="6"/>')
    described = text("Losses: " + "; ".join(curve.label for curve in found))
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{described}">{"".join(parts)}</svg>'
    )


def thinned(points: list[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most so many points: neighbours are averaged."""
    if len(points) <= most:
        return points
    edges = [round(n * len(points) / most) for n in range(most + 1)]
    parts = [points[a:b] for a, b in zip(edges, edges[1:])]
    return [tuple(sum(values) / len(part) for values in zip(*part)) for part in parts]


def _points(curve: Curve) -> list[Point]:
    ends = [(place, loss) for (place, _), pair in zip(curve.val, curve.band) for loss in pair]
    return [point for point in [*thinned(curve.train), *curve.val, *ends] if all(map(math.isfinite, point))]


class _Scale:
    """From steps and losses to the places in the picture."""

    def __init__(self, low: Point, high: Point):
        self.low, self.high = low, high

    @classmethod
    def around(cls, points: list[Point]) -> "_Scale":
        """A scale that shows all points; of nothing, where there is none."""
        xs, ys = zip(*points) if points else ((0, 1), (0, 1))
        room = 0.03 * (max(ys) - min(ys)) or 0.1
        return cls((min(0, *xs), min(ys) - room), (max(xs) or 1, max(ys) + room))

    def x(self, place: float) -> float:
        return LEFT + (place - self.low[0]) / (self.high[0] - self.low[0]) * (WIDTH - LEFT - RIGHT)

    def y(self, loss: float) -> float:
        return HEIGHT - BOTTOM - (loss - self.low[1]) / (self.high[1] - self.low[1]) * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Iterable[Point]) -> str:
        return " ".join(
            f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points if math.isfinite(a) and math.isfinite(b)
        )

    def axes(self, name: str) -> Iterable[str]:
        """Grid, numbers and names."""
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for tick in ticks(self.low[0], self.high[0], 7):
            at = f"{self.x(tick):.1f}"
            yield f'<path class="grid" d="M{at} {TOP}V{bottom}"/>'
            yield f'<text x="{at}" y="{bottom + 17}">{_number(tick)}</text>'
        yield '<g class="y">'
        for tick in ticks(self.low[1], self.high[1], 8):
            at = self.y(tick)
            yield f'<path class="grid" d="M{LEFT} {at:.1f}H{right}"/>'
            yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}">{tick:g}</text>'
        yield "</g>"
        yield f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}">{name}</text>'
        middle = (TOP + bottom) / 2
        yield f'<text x="13" y="{middle}" transform="rotate(-90 13 {middle})">{LOSS}</text>'


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, roughly so many of them."""
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    return [round(n * step, 10) for n in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 10 * size or (size == 1e3 and abs(value) >= 1e4):
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _table(found: list[Curve], states: bool) -> str:
    rows = []
    for curve in found:
        dash = f' stroke-dasharray="{" ".join(map(str, DASHES[curve.dash]))}"' if DASHES[curve.dash] else ""
        sample = (
            '<svg class="sample" viewBox="0 0 40 12" aria-hidden="true"><path class="line '
            f's{curve.colour}"{dash} d="M0 6H40"/></svg>'
        )
        seeds = f" (mean of {curve.seeds} seeds)" if curve.band else ""
        cells = [f"{curve.best[1]:.4f}", str(curve.best_step)] if curve.best else ["", ""]
        cells.append(f"{curve.val[-1][1]:.4f}" if curve.val else "")
        cells.append(f"{curve.train[-1][1]:.4f}" if curve.train else "")
        cells += [text(curve.state)] * states
        name = f"{text(curve.name)}{seeds}"
        rows.append(f"<tr><td>{sample} {name}" + "".join(f"<td>{cell}" for cell in cells))
    heads = ["run", "lowest validation loss", "at step", "last", "last training loss", *["so far"] * states]
    head = "".join(f"<th>{name}" for name in heads)
    return f'<div class="wide"><table><thead><tr>{head}<tbody>{"".join(rows)}</table></div>'
