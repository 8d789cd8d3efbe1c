"""Explanations that are fitted: the mistake read off the numbers, where no known one gives them exactly.

A failed check hands over what was expected and what came (exam.Numbers). Each family knows one kind of
mistake with a parameter, such as a factor or a window, finds the parameter that fits best, and answers only
where it explains everything that came, within rounding.
"""

import math
from dataclasses import dataclass

import numpy as np

from tests.exercises.exam import Numbers

# A fit may leave a tenth of the difference between expected and got. Where they differ by little more than
# rounding, too many parameters explain the little that there is.
MARGIN = 10
# How many times `allowed` a fit may be off: `allowed` holds the rounding of the right formula, and a wrong
# one may enlarge it, as a softmax of larger scores does.
ROOM = 4


@dataclass(frozen=True)
class Fit:
    """What explains the numbers that came.

    id:      as a mistake's of the catalogue; the same mistake has the same id whatever its parameter is.
    name:    one line, with the fitted value in it.
    why:     two or three sentences to the learner: what the code now does, why it is wrong, where to look.
    left:    how much of the difference between expected and got stays unexplained: 0 nothing, 1 all of it.
    simpler: of several fits that explain all, the one with the lowest number is taken.
    """

    id: str
    name: str
    why: str
    left: float = 0.0
    simpler: int = 1


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference; NaN and infinity are right where the other array has the same."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other.astype(np.float64))
    largest = float(apart.max(initial=0.0))
    if math.isfinite(largest):
        return largest
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return float(np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart)).max())


def left_over(compared) -> float | None:
    """How much of the difference between expected and got an explanation leaves; None where it explains too
    little.

    compared: (expected, got, explained, allowed) of each case that the one explanation must fit; it is read
    no further than the first that it does not fit. allowed is one number, or one for each element: then a
    large element does not hide what is wrong in a small one. Where NaN came nothing is told by it alone,
    since much else gives NaN: the difference counts where numbers came.
    """
    rest, difference = 0.0, 0.0  # in units of what is allowed
    for expected, got, explained, allowed in compared:
        unit = np.maximum(allowed, 1e-30)
        rest = max(rest, distance(explained / unit, got / unit))
        if rest > ROOM:
            return None
        came = np.isfinite(got)
        difference = max(difference, distance((expected / unit)[came], (got / unit)[came]))
    if difference < MARGIN * max(rest, 1.0):
        return None
    return rest / difference


def families() -> dict[str, tuple]:
    """What may explain the numbers of each kind: functions of Numbers that give fits."""
    # Here, since each family gives a Fit of this module.
    from grader.judge.fits import (
        angles,
        attention,
        counts,
        draws,
        dropout,
        factor,
        pairs,
        permutation,
        rotation,
        tokens,
    )

    of_attention = (factor.factors, attention.weights, permutation.orders, pairs.pairs)
    return {
        # attentions, of exercises 1 and 4
        "scale": (factor.scales,),
        "output": (factor.multiples, *of_attention),
        "attention": of_attention,
        "dropout": (dropout.of_dropout,),
        "dropout_nan": (dropout.of_nan,),
        # exercise 4
        "angles": (angles.of_angles,),
        "rotation": (rotation.of_rotation,),
        # exercises 2 and 3
        "text": (tokens.of_text,),
        "tokens": (tokens.of_batch,),
        "ahead": (tokens.of_ahead,),
        "drawn": (draws.of_draws,),
        "loss": (counts.of_loss,),
        "updates": (counts.of_updates,),
        "rate": (counts.of_rates,),
        "decay": (counts.of_decay,),
    }


def explain(numbers: Numbers) -> Fit | None:
    """The simplest fit that explains the numbers; None where there is none, or two are equally simple and
    differ."""
    fits = [fit for family in families().get(numbers.kind, ()) for fit in family(numbers)]
    best = [fit for fit in fits if fit.simpler == min(fit.simpler for fit in fits)]
    return best[0] if len({fit.id for fit in best}) == 1 else None
