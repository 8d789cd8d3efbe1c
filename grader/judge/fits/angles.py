"""Angles of exercise 4 that are not m * base ** (-2i / D): the base, exponent or positions they come from.

One table cannot tell a base of 100 from an exponent that is half as large. So the numbers are those of
several calls of rope_angles, with other head sizes, positions and bases, and a fit explains all of them.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from grader.judge.fits import Fit, left_over
from grader.judge.fits.shared import differs, known, plain
from tests.exercises.exam import Numbers

BASE = 10000.0
# What right float32 formulas make of one angle, as a part of it: theta is an exponential.
RELATIVE, LEAST = 2.5e-6, 1e-10
Formula = Callable[["Table"], np.ndarray]


@dataclass(frozen=True, eq=False)
class Table:
    """One call: positions m (T,), the head size, the base that was asked for or None; and its angles
    (T, D / 2)."""

    m: np.ndarray
    D: int
    base: float | None
    angles: np.ndarray

    @property
    def i(self) -> np.ndarray:
        return np.arange(self.D // 2)

    @property
    def asked(self) -> float:
        """The base that is right here."""
        return BASE if self.base is None else self.base

    def right(self, m: np.ndarray | None = None, base: float | None = None) -> np.ndarray:
        """The paper's angles, of other positions or of another base where these are given."""
        theta = (base or self.asked) ** (-2.0 * self.i / self.D)
        return (self.m if m is None else m)[:, None] * theta

    def theta(self) -> np.ndarray:
        """(D / 2,): how fast each pair rotates, by the farthest position."""
        farthest = int(self.m.argmax())
        return self.angles[farthest] / max(self.m[farthest], 1.0)


def of_angles(numbers: Numbers) -> list[Fit]:
    """kind "angles": the angles of all facts["calls"] in a row, each of them (positions, head size, base or
    None)."""
    if not differs(numbers):
        return []
    tables, at = [], 0
    for positions, D, base in numbers.facts["calls"]:
        size = len(positions) * (D // 2)
        angles = numbers.got[at : at + size].astype(np.float64).reshape(len(positions), D // 2)
        tables.append(Table(np.array(positions, dtype=np.float64), D, base, angles))
        at += size
    found = []
    with np.errstate(all="ignore"):
        for propose in (_bases, _exponents, _positions):
            for fit, formula in propose(tables):
                fitted = np.concatenate([formula(table).ravel() for table in tables])
                allowed = RELATIVE * np.abs(fitted) + LEAST
                left = left_over([(numbers.expected, numbers.got, fitted, allowed)])
                if left is not None:
                    found.append(replace(fit, left=left))
    return found


def _roundest(number: float, digits: int = 4) -> tuple[float, float]:
    """The number that someone may have written, and the fitted one in case it is no round one."""
    return float(f"{number:.{digits}g}"), number


# The base.


def _bases(tables: list[Table]) -> Iterator[tuple[Fit, Formula]]:
    yield _base_ignored(BASE)
    plain_ones = [table for table in tables if table.base is None and table.D > 2]
    if not plain_ones:
        return
    widest = max(plain_ones, key=lambda table: table.D)
    last = int(widest.i[-1])
    fitted = float(widest.theta()[last] ** (-widest.D / (2.0 * last)))
    if not (math.isfinite(fitted) and 0 < fitted < 1e12) or abs(fitted / BASE - 1) < 1e-4:
        return
    listed = next((known for known in (1000, 500000) if abs(fitted / known - 1) < 1e-3), None)
    for base in _roundest(fitted):
        of_default = (
            f"base_{listed}" if listed else "other_base",
            f"the default base is {plain(base)}, not 10,000",
            f"Where no base is given, theta_i is {plain(base)} ** (-2i / D) in yours. The contract, as the "
            "paper, takes 10,000 there. Look at the default of the argument `base`.",
        )
        yield Fit(*of_default), lambda t, base=base: t.right(base=base if t.base is None else t.base)
        yield _base_ignored(base)
        factor = plain(base / BASE)
        of_factor = (
            "base_scaled",
            f"the base is {factor} times the one that is asked for",
            f"Your frequencies are those of {factor} * base. The contract's theta_i is base ** (-2i / D), "
            "with the base as it is given. What is the base multiplied or divided by, before the power?",
        )
        yield Fit(*of_factor), lambda t, base=base: t.right(base=t.asked * base / BASE)


def _base_ignored(base: float) -> tuple[Fit, Formula]:
    if base == BASE:
        fit = known("ex4", "base_ignored", "the base is 10,000 whatever is asked for")
    elif abs(base - math.e) < 1e-3:
        base, fit = math.e, known("ex4", "base_is_e", "the base is e")
    else:
        fit = Fit(
            "base_fixed",
            f"the base is {plain(base)} whatever is asked for",
            f"theta_i is {plain(base)} ** (-2i / D) in yours, with every `base`. That number stands where "
            "the argument belongs; its default is 10,000. Look at the line with the power, or with exp and "
            "log.",
        )
    return fit, lambda t: t.right(base=base)


# The exponent.


def _exponents(tables: list[Table]) -> Iterator[tuple[Fit, Formula]]:
    """The exponent of the base as -(k i + j) / (D + d), or with one number for every D."""
    reversed_ = known("ex4", "frequencies_reversed", "the frequencies are in reverse order")
    yield reversed_, lambda t: t.right()[:, ::-1]
    lines = {}  # by D: slope and intercept of the exponent over i
    for table in tables:
        if table.base is None and table.D > 2 and (table.theta() > 0).all():
            lines[table.D] = np.polyfit(table.i, -np.log(table.theta()) / math.log(BASE), 1)
    if len(lines) < 2 or not all(np.isfinite(line).all() for line in lines.values()):
        return
    (D, (slope, start)), *_, (other, (other_slope, _)) = sorted(lines.items())
    if abs(slope) < 1e-4:
        yield known("ex4", "one_frequency", "all pairs rotate equally fast"), _power(0, 0, 0)
    elif abs(slope - other_slope) < 1e-3 * abs(slope):
        for size in _roundest(2 / slope, 3):
            yield (
                Fit(
                    "exponent_of_one_size",
                    f"the exponent is -2i / {plain(size)} whatever the head size is",
                    f"You divide by {plain(size)} where the head size D belongs, so that the slowest pair of "
                    "another head size rotates too fast or too slowly. Is it a number that you wrote, or "
                    "another size of the model?",
                ),
                lambda t, size=size: t.m[:, None] * t.asked ** (-2.0 * t.i / size),
            )
    else:
        more = (other * other_slope - D * slope) / (slope - other_slope)
        d = round(more)
        k, j = (round(2 * value * (D + d)) / 2 for value in (slope, start))
        if abs(d) <= 8 and (k, j, d) != (2, 0, 0):
            yield _exponent(k, j, d), _power(k, j, d)


def _power(k: float, j: float, d: float) -> Formula:
    return lambda t: t.m[:, None] * t.asked ** (-(k * t.i + j) / (t.D + d))


def _exponent(k: float, j: float, d: int) -> Fit:
    """The fit for -(k i + j) / (D + d)."""
    known_ones = {
        (1, 0, 0): ("exponent_halved", "the exponent is -i / D instead of -2i / D"),
        (-2, 0, 0): ("exponent_positive", "the exponent has lost its minus"),
        (2, 0, -2): ("exponent_to_the_end", "the exponents run from 0 to -1, with both ends"),
        (2, 2, 0): ("exponent_from_one", "the pairs are counted from 1"),
    }
    if (k, j, d) in known_ones:
        return known("ex4", *known_ones[k, j, d])
    sign, k_, j_ = ("-", k, j) if k >= 0 else ("+", -k, -j)
    over = f"{'' if k_ == 1 else plain(k_)}i" if k_ else ""
    if j_:
        joined = f"{over} {'+' if j_ > 0 else '-'} {plain(abs(j_))}" if over else plain(j_)
        over = f"({joined})" if over else joined
    under = f"(D {'+' if d > 0 else '-'} {abs(d)})" if d else "D"
    changed = [
        what for what, is_so in (("factor", k != 2), ("offset", j != 0), ("denominator", d != 0)) if is_so
    ]
    asks = {
        "factor": "2i is the number of the pair's first channel, so that the exponents of all pairs run "
        "from 0 to almost -1.",
        "offset": "Pair 0 has the exponent 0, so that it rotates by exactly one radian per token.",
        "denominator": "What is divided by is the head size D itself, and neither one less nor the number of "
        "steps.",
    }
    return Fit(
        f"exponent_{changed[0]}" if len(changed) == 1 else "exponent_wrong",
        f"the exponent is {sign}{over} / {under}, not -2i / D",
        f"theta_i is base ** ({sign}{over} / {under}) in yours. "
        + " ".join(asks[what] for what in changed)
        + " Look at the arange behind theta, and at what it is divided by.",
        simpler=1 if len(changed) == 1 else 2,
    )


# The positions.

TIMES = (
    (-1.0, "angles_negative", "the angles are negative", ""),
    (180 / math.pi, "angles_in_degrees", "the angles are in degrees", ""),
    (math.pi / 180, "", "", "pi / 180"),
    (2 * math.pi, "", "", "2 pi"),
    (math.pi, "", "", "pi"),
    (1 / (2 * math.pi), "", "", "1 / (2 pi)"),
)
LENGTHS = (
    (lambda m: len(m), "the number of positions"),
    (lambda m: len(m) - 1, "the number of positions less 1"),
    (lambda m: m.max(), "the last position"),
    (lambda m: m.max() + 1, "the last position plus 1"),
)


def _positions(tables: list[Table]) -> Iterator[tuple[Fit, Formula]]:
    """Positions that are moved, or multiplied, in front of the right theta."""
    m = np.concatenate([table.m for table in tables])
    first = np.concatenate([table.angles[:, 0] for table in tables])  # theta_0 is 1
    offset = round(float((first - m).mean()))
    if offset:
        name = f"positions are counted from {offset}"
        fit = (
            known("ex4", "positions_from_one", name)
            if offset == 1
            else Fit(
                "positions_moved",
                name,
                f"You add {offset} to the positions. No dot product changes, since both sides move; the "
                "contract's position 0 has the angle 0, and a cache that counts from 0 would be off.",
            )
        )
        yield fit, lambda t: t.right(t.m + offset)
    yield from _factors(float(first @ m / max(float(m @ m), 1e-300)))
    for length, words in LENGTHS:
        yield (
            known("ex4", "positions_normalised", f"positions are divided by {words}"),
            lambda t, length=length: t.right(t.m / max(float(length(t.m)), 1e-300)),
        )


def _factors(fitted: float) -> Iterator[tuple[Fit, Formula]]:
    if not math.isfinite(fitted) or abs(fitted) < 1e-6 or abs(fitted - 1) < 1e-4:
        return
    for factor, id, name, words in TIMES:
        if abs(fitted / factor - 1) < 1e-4:
            fit = known("ex4", id, name) if id else _scaled(words)
            yield fit, lambda t, factor=factor: factor * t.right()
            return
    for factor in _roundest(fitted):
        yield _scaled(plain(factor)), lambda t, factor=factor: factor * t.right()


def _scaled(words: str) -> Fit:
    return Fit(
        "angles_scaled",
        f"the angles are {words} times the right ones",
        f"Your angle of pair i at position m is {words} * m * theta_i. In the contract pair 0 rotates by "
        "exactly one radian per token. What are the positions multiplied or divided by?",
    )
