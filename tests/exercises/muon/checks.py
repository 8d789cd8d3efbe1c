"""The checks of Muon: the Newton-Schulz steps, and the batteries of a matrix function and of an optimizer.

A result may be computed in bfloat16, which is off by up to 8 % of its norm: each is compared within 12 %."""

import numpy as np

from tests.exercises.battery import matrix, optimizer
from tests.exercises.battery.matrix import Function, compare, matrices
from tests.exercises.battery.module import checks_of, runs
from tests.exercises.battery.optimizer import Rule
from tests.exercises.exam import check

ALLOWED = 0.12  # of the norm


def newton_schulz(x: np.ndarray, steps: int = 5) -> np.ndarray:
    """What orthogonalise must give, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = x / max(np.linalg.norm(x), 1e-300)
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x


ORTHOGONALISE = Function("orthogonalise", newton_schulz, ALLOWED)
MUON = Rule(
    name="Muon",
    direction=lambda m, g, momentum: newton_schulz(g + momentum * m) * max(1, len(g) / len(g.T)) ** 0.5,
    defaults={"lr": 0.02, "momentum": 0.95, "weight_decay": 0.0},
    allowed=ALLOWED,
    asks={
        "update": "The first update is another one. Look at its sign, at lr, at max(1, R / S)**0.5, and at "
        "whose momentum it is.",
        "momentum": "The first update is right, and this one is not. Is u = g + momentum * m with the sum "
        "m = momentum * m + g, or momentum * m + (1 - momentum) * g with the mean, which is m = momentum * m "
        "+ (1 - momentum) * g? Which m do you keep, and of what?",
        "decay": "With weight_decay it is another one. Is it left out, in the gradient, or times R / S?",
        "split": "Which parameters do you go through, and how do you tell a matrix of a block?",
    },
    beside=(ORTHOGONALISE.asked(matrices(7)),),
    split=("split_parameters", ("matrices", "others")),
)
AFTER = {"any_scale": ("step",), "dtypes": ("step",), "update": ("five", "any_scale"), "devices": ("step",)}
TITLES = {
    "any_scale": "the size of g does not matter, and 0 gives 0",
    "dtypes": "the result has g's dtype, and g is as it was",
    "split": "matrices are the blocks' 2-D weights, others all the rest, each once",
}

test_runs = runs(ORTHOGONALISE.name, MUON.name, "split_parameters")
globals().update(checks_of(ORTHOGONALISE, matrix.CHECKS, TITLES, AFTER))
globals().update(checks_of(MUON, (*optimizer.CHECKS, optimizer.sorts_the_parameters), TITLES, AFTER))


@check("step", "one Newton-Schulz step, and two: a x + (b s + c s @ s) x of g / ||g||", ("runs",))
def test_step(exam):
    question = "Look at the norm, at a, b, c, at s = x @ x.T and s @ s, and at how many steps are made."
    for steps in (1, 2):
        compare(exam, ORTHOGONALISE, matrices(1), f"That is not the formula's. {question}", steps=steps)


@check("five", "five steps bring all singular values to about 1, for tall and for wide matrices", ("step",))
def test_five(exam):
    compare(exam, ORTHOGONALISE, matrices(2), "How many steps are made where none are asked for?")
    compare(exam, ORTHOGONALISE, matrices(3), "Are there as many steps as are asked for?", steps=3)
