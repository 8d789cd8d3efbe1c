"""The checks of Muon: the Newton-Schulz steps, the battery of an optimizer, and who gets it.

A result may be computed in bfloat16, which is off by up to 8 % of its norm: each is compared within 12 %."""

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery import function, optimizer
from tests.exercises.battery.devices import TITLE, check_devices
from tests.exercises.battery.model import SIZES
from tests.exercises.battery.module import checks_of, runs
from tests.exercises.battery.optimizer import SHAPES, Rule, alike, gradients, matrices, off
from tests.exercises.exam import Reading, check, fail, look
from tests.exercises.numbers import bfloat16

LOOKS = Looks.named("tests.exercises.muon.looks")
ALLOWED = 0.12  # of the norm


def newton_schulz(g: np.ndarray, steps: int = 5) -> np.ndarray:
    """What orthogonalise must give, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.astype(np.float64)
    x = x / max(np.linalg.norm(x), 1e-300)
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x


UNIT = Rule(
    name="Muon",
    direction=lambda m, g, momentum: newton_schulz(g + momentum * m) * max(1, len(g) / len(g.T)) ** 0.5,
    defaults={"lr": 0.02, "momentum": 0.95, "weight_decay": 0.0},
    allowed=ALLOWED,
    asks={
        "update": "The first update is another one. Look at its sign, at lr, and at max(1, R / S)**0.5.",
        "momentum": "The first update is right, and this one is not. m = momentum * m + g comes first, then "
        "u = g + momentum * m, and u is made orthogonal. What does your code keep, and of what?",
        "decay": "With weight_decay the update is another one. Is it added to the gradient, or scaled with "
        "R / S?",
    },
)
AFTER = {"update": ("five", "any_scale")}

test_runs = runs("orthogonalise", UNIT.name, "split_parameters")
globals().update(checks_of(UNIT, optimizer.CHECKS, after=AFTER))


def orthogonalised(subject, given, dtype="float32", steps=None) -> Reading:
    """{"INDEX": the result, of its matrix's shape and dtype}"""
    answer = subject.run(LOOKS("orthogonalised", given=given, dtype=dtype, steps=steps))
    what = "orthogonalise(g)"
    return {str(i): answer.tensor(str(i), g.shape, what, dtype, subject.device) for i, g in enumerate(given)}


def singular_values(x: np.ndarray) -> str:
    return ", ".join(f"{value:.2f}" for value in np.linalg.svd(np.nan_to_num(x), compute_uv=False)[:4])


def compare(exam, given, question, dtype="float32", steps=None):
    """Each result with the formula's."""
    got = look(exam, {"dtype": dtype, "steps": steps}, orthogonalised, given, dtype, steps, same=alike)
    for i, g in enumerate(given):
        expected, came = newton_schulz(g, 5 if steps is None else steps), got[str(i)]
        if not off(expected, came) <= ALLOWED:
            case = {"shape": list(g.shape), "dtype": dtype, "steps": "left out" if steps is None else steps}
            values = f"{singular_values(came)}; expected {singular_values(expected)}"
            fail(case, question, f"its largest singular values are {values}")


@check("step", "one Newton-Schulz step, and two: a x + (b s + c s s) x of g / ||g||", ("runs",))
def test_step(exam):
    for steps in (1, 2):
        question = (
            f"With steps = {steps} the result is not the formula's. Look at the norm, at a, b, c and at "
            "s = x x^T."
        )
        compare(exam, matrices(1), question, steps=steps)


@check("five", "five steps bring all singular values to about 1, for tall and for wide matrices", ("step",))
def test_five(exam):
    compare(exam, matrices(2), "How many steps are made where none are asked for?")
    compare(exam, matrices(3), "Are there as many steps as are asked for?", steps=3)


@check("any_scale", "the size of g does not matter, and 0 gives 0", ("step",))
def test_any_scale(exam):
    for scale in (1e-3, 1e4):
        compare(exam, matrices(4, scale=scale), "g and c g must give the same. What do you divide by?")
    zeros = [np.zeros(shape, np.float32) for shape in SHAPES[:3]]
    got = look(exam, {"g": 0}, orthogonalised, zeros, same=alike)
    if not all(np.array_equal(y, np.zeros_like(y)) for y in got.values()):
        fail({"g": 0}, "For g = 0 the result must be 0. Where do you divide by a norm of 0?")


@check("dtypes", "the result has g's dtype, and g is as it was", ("step",))
def test_dtypes(exam):
    for dtype in ("float64", "bfloat16"):
        compare(exam, [bfloat16(g) for g in matrices(5)], f"In {dtype} the result is another one.", dtype)
    for g in matrices(6)[:3]:
        function.all_kept(exam, {"shape": list(g.shape)}, "orthogonalise", kept, g)


def kept(subject, g) -> Reading:
    """As function.kept."""
    return function.kept(subject, "orthogonalise", g=g)


@check("devices", TITLE, ("step",))
def test_devices(exam):
    given = {"groups": None, "options": {"lr": 0.5}, "schedule": gradients(7, 3)}
    asked = optimizer.LOOKS("updates", unit=UNIT.name, weights=matrices(8), **given)
    check_devices(exam, {}, "The result", "g", LOOKS("orthogonalised", given=matrices(7)), asked)


def split(subject, parts, frozen, options) -> Reading:
    """{"0", "1": the sorted names of each list, "lists": whether they are lists, "frozen": how many}"""
    answer = subject.run(LOOKS("split", config=SIZES, parts=parts, frozen=frozen, **options))
    found = {key: answer.plain(key) for key in answer.values}
    return {key: sorted(value) if isinstance(value, list) else value for key, value in found.items()}


# Parts of its own, which of the parameters are frozen, and further arguments of the GPT.
MODELS = (
    ((), 0, {}),
    (("attention", "feed_forward"), 0, {}),
    (("norm",), 0, {"position_embedding": False}),
    ((), 3, {}),
)


@check("split", "matrices are the blocks' 2-D weights, others all the rest, each once", ("runs",))
def test_split(exam):
    for parts, frozen, options in MODELS:
        case = SIZES | {"own parts": list(parts), "every nth is frozen": frozen, **options}
        got = look(exam, case, split, parts, frozen, options)
        right = exam.expected(split, parts, frozen, options)
        if got["lists"] is not True:
            fail(case, "split_parameters must return two lists of Parameters, (matrices, others).")
        for index, name in (("0", "matrices"), ("1", "others")):
            came, wanted = got[index], right[index]
            lines = [f"missing: {n}" for n in sorted(set(wanted) - set(came))]
            lines += [f"should not be there: {n}" for n in sorted(set(came) - set(wanted))]
            lines += [f"twice: {n}" for n in sorted(set(came)) if came.count(n) > 1]
            if lines:
                question = "Which parameters do you go through, and how do you tell a matrix of a block?"
                fail(case, f"{name} is not the right list. {question}", lines[:6])
        if got["frozen"] != right["frozen"]:
            fail(case, "split_parameters must leave requires_grad as it is.")
