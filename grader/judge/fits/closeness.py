"""When a fit explains what came, and the words of a fit that is a mistake of a catalogue."""

import functools

import numpy as np

from grader.judge.fits import MARGIN, ROOM, Fit
from tests.exercises import EXERCISES
from tests.exercises.exam import Numbers
from tests.exercises.numbers import wrong

UNEXPLAINED = 1 / MARGIN  # of the difference between expected and got


def differs(numbers: Numbers) -> bool:
    """Whether there is a difference to explain, and only finite numbers to explain it by."""
    expected, got = numbers.expected, numbers.got
    if expected.shape != got.shape or got.size == 0 or not np.isfinite(got).all():
        return False
    return bool(wrong(expected, got, numbers.allowed).any())


def left_over(expected, got, fitted, allowed) -> float | None:
    """How much of the difference a fit leaves unexplained, from 0 to UNEXPLAINED; None where it does not
    explain every number.

    allowed: how far two right results may lie apart, one number or one for each element. Differences are
    compared in units of it, so that one large element does not hide what is wrong in a small one.
    """
    with np.errstate(all="ignore"):
        unit = np.maximum(np.asarray(allowed, dtype=np.float64), 1e-300)
        left = np.abs(np.asarray(got, dtype=np.float64) - fitted) / unit
        whole = np.abs(np.asarray(got, dtype=np.float64) - expected) / unit
        if not (np.isfinite(left).all() and np.isfinite(whole).all()) or left.max() > ROOM:
            return None
        share = float(left.max() / max(whole.max(), 1e-300))
    return share if share <= UNEXPLAINED else None


@functools.cache
def _why(exercise: str) -> dict[str, str]:
    return {mistake.id: mistake.why for mistake in EXERCISES[exercise].mistakes()}


def known(exercise: str, id: str, name: str, **more) -> Fit:
    """A fit that is a mistake of this exercise's catalogue, explained in its words."""
    return Fit(id, name, _why(exercise)[id], **more)


def plain(number: float) -> str:
    """A fitted number as one would write it: 500,000, 777, 0.1 or 57.296."""
    rounded = float(f"{number:.5g}")
    if rounded == int(rounded) and abs(rounded) < 1e12:
        return f"{int(rounded):,}"
    return f"{rounded:.5g}"
