"""What the families share: whether there is something to explain, and the words of a fit."""

import functools

import numpy as np

from grader.judge.fits import Fit
from tests.exercises import EXERCISES
from tests.exercises.exam import Numbers
from tests.exercises.numbers import wrong


def differs(numbers: Numbers) -> bool:
    """Whether there is a difference to explain, and only finite numbers to explain it by."""
    expected, got = numbers.expected, numbers.got
    if expected.shape != got.shape or got.size == 0 or not np.isfinite(got).all():
        return False
    return bool(wrong(expected, got, numbers.allowed).any())


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
