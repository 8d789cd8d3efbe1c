"""Curves for the HTML report, as SVG."""

import math
from html import escape

from tests.exercises.shown import Curves

WIDTH, HEIGHT, LEFT, BELOW = 640, 260, 48, 34
MOST_POINTS = 200  # of one line
LARGEST = 1e30  # of a number: differences of what an attempt reports must stay finite
# Each line is told from the others by its dashes as well as by its colour (class c0, c1, ..).
DASHES = ("", "6 3", "2 3", "8 3 2 3")


def curves(shown: Curves) -> str:
    """A figure with every line, axes with their ends, and what the lines are."""
    lines = {name: _thinned(points) for name, points in shown.lines.items()}
    lines = {name: points for name, points in lines.items() if len(points) > 1}
    if not lines:
        return ""
    xs, ys = zip(*(point for points in lines.values() for point in points))
    low, high, bottom, top = min(xs), max(xs), min(0.0, min(ys)), max(ys)

    def place(x: float, y: float) -> str:
        across = LEFT + (WIDTH - LEFT - 8) * (x - low) / max(high - low, 1e-9)
        up = HEIGHT - BELOW - (HEIGHT - BELOW - 10) * (y - bottom) / max(top - bottom, 1e-9)
        return f"{across:.1f},{up:.1f}"

    made, keys = [], []
    for number, (name, points) in enumerate(lines.items()):
        style = f'class="c{number % 4}" stroke-dasharray="{DASHES[number // 4 % 4]}"'
        made.append(f'<polyline {style} points="{" ".join(place(*point) for point in points)}"/>')
        line = f'<line {style} x1="0" y1="6" x2="30" y2="6"/>'
        keys.append(f'<span><svg class=key viewBox="0 0 30 12">{line}</svg> {escape(name)}</span>')
    axis = f"M{LEFT} 6V{HEIGHT - BELOW}H{WIDTH - 8}"
    words = [
        (LEFT - 4, 14, f"{top:.3g}", "e"),
        (LEFT - 4, HEIGHT - BELOW, f"{bottom:.3g}", "e"),
        (LEFT - 4, HEIGHT // 2, shown.y, "e"),
        (LEFT, HEIGHT - BELOW + 16, f"{low:.6g}", "s"),
        (WIDTH - 8, HEIGHT - BELOW + 16, f"{high:.6g}", "e"),
        (WIDTH // 2, HEIGHT - BELOW + 16, shown.x, "m"),
    ]
    made += [f'<text x="{x}" y="{y}" class={at}>{escape(said)}</text>' for x, y, said, at in words]
    ends = "; ".join(f"{name} ends at {points[-1][1]:.4g}" for name, points in lines.items())
    return (
        f"<figure class=curves><figcaption>{escape(shown.title)}</figcaption><p class=legend>{' '.join(keys)}"
        f'</p><svg viewBox="0 0 {WIDTH} {HEIGHT}" role=img aria-label="{escape(f"{shown.title}: {ends}")}">'
        f'<path class=axis d="{axis}"/>{"".join(made)}</svg></figure>'
    )


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that can be drawn, each the mean of its neighbours where there are too many."""
    points = [point for point in points if all(abs(value) < LARGEST for value in point)]  # NaN is not
    size = math.ceil(len(points) / MOST_POINTS) or 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [tuple(sum(values) / len(values) for values in zip(*group)) for group in groups]
