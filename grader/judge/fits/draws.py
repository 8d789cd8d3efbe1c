"""Numbers of exercise 2's sampler that are not uniform from 0 to 10 ** n - 1: too many short ones, or other
bounds."""

import numpy as np

from grader.judge.fits import Fit
from grader.judge.fits.shared import known
from tests.exercises.exam import Numbers
from tests.exercises.numbers import room_for_chance

PARTS = 8  # of a range, in which numbers that are uniform come equally often


def of_draws(numbers: Numbers) -> list[Fit]:
    """kind "drawn": a and b (2, N), drawn for facts["n_digits"]."""
    n, (a, b) = numbers.facts["n_digits"], numbers.got
    if n < 2 or len(a) < 1000 or min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= 10**n:
        return []
    return [fit for fit in (_lengths(a, b, n), _bounds(a, b, n)) if fit is not None]


def _near(shares: np.ndarray, wanted: np.ndarray, draws: int) -> bool:
    return all(abs(came - share) <= room_for_chance(share, draws) for came, share in zip(shares, wanted))


def _lengths(a: np.ndarray, b: np.ndarray, n: int) -> Fit | None:
    """The fit where a length is drawn first, and then a number of that many digits, or of up to as many."""
    lengths = np.arange(1, n + 1)
    exactly = np.full(n, 1 / n)
    # Below 10 ** L for each L: the share of numbers that have at most so many digits.
    at_most = np.minimum(1.0, 10.0 ** (lengths[:, None] - lengths)).mean(axis=1)
    up_to = np.diff(at_most, prepend=0.0)
    digits = [np.searchsorted(10 ** lengths[:-1], side, side="right") for side in (a, b)]
    shares = [np.bincount(of_side, minlength=n) / len(a) for of_side in digits]
    if not any(all(_near(side, wanted, len(a)) for side in shares) for wanted in (exactly, up_to)):
        return None
    together = " and is the same for both" if (digits[0] == digits[1]).mean() > 0.95 else ""
    return known("ex2", "lengths_drawn_first", f"the number of digits is drawn first{together}")


def _bounds(a: np.ndarray, b: np.ndarray, n: int) -> Fit | None:
    """The fit where a number is uniform between other bounds than 0 and 10 ** n - 1."""
    if 20 * 10**n > len(a):  # the bounds themselves may not have come
        return None
    sides = {}
    for name, side in (("a", a), ("b", b)):
        low, high = int(side.min()), int(side.max())
        if high - low + 1 < PARTS or len(np.unique(side)) < high - low + 1:
            return None
        edges = np.linspace(low, high + 1, PARTS + 1).round()
        shares = np.histogram(side, bins=edges)[0] / len(side)
        if not _near(shares, np.diff(edges) / (high + 1 - low), len(side)):
            return None
        sides[name] = (low, high)
    odd = {name: bounds for name, bounds in sides.items() if bounds != (0, 10**n - 1)}
    if not odd or len(set(odd.values())) > 1:
        return None
    if set(odd.values()) == {(0, 10**n - 2)}:
        return known("ex2", "largest_never_drawn", "the largest number is never drawn")
    if set(odd.values()) == {(1, 10**n - 1)}:
        return known("ex2", "zero_never_drawn", "0 is never drawn")
    (low, high), who = next(iter(odd.values())), "numbers are" if len(odd) == 2 else f"{next(iter(odd))} is"
    return Fit(
        "drawn_in_other_bounds",
        f"{who} drawn from {low:,} to {high:,}, not from 0 to {10**n - 1:,}",
        f"With n_digits = {n} nothing below {low:,} or above {high:,} comes, and a model never sees such "
        "problems. Every number of up to n digits is as likely as any other: torch.randint(0, 10**n_digits, "
        ".., generator=generator), whose upper bound is left out.",
    )
