"""Two mistakes at once: what each gives alone is not what came, and both together give it."""

import itertools

from grader.judge.fits import Fit, attention, factor, permutation
from grader.judge.fits.hypotheses import Case, Variation, cases, fits_of
from tests.exercises.exam import Numbers


def both(one: Variation, other: Variation) -> Variation:
    """Two mistakes in different steps. Its id is that of the first: what comes earlier is to be mended first,
    and the other one then has its own name."""

    def name(case: Case) -> str:
        return f"two things: {one.named(case)}; and {other.named(case)}"

    return Variation(one.id, name, f"The first: {one.why} The second: {other.why}", one.does | other.does)


# A mask or an order shows in checks that no scale can change, so these come first.
PAIRS = tuple(
    both(one, other)
    for group, another in itertools.combinations((permutation.USUAL, attention.USUAL, factor.USUAL), 2)
    for one, other in itertools.product(group, another)
    if not one.does.keys() & other.does.keys()
)


def pairs(numbers: Numbers) -> list[Fit]:
    """Two usual mistakes at once (kinds "output" and "attention")."""
    return fits_of(cases(numbers), PAIRS, simpler=3)
