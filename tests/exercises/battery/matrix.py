"""The checks of a function of one matrix, which keeps its shape and dtype: large and small matrices, zeros,
dtypes, and that its argument stays as it is. An exercise adds `compare` for what its own arguments do.

    globals().update(checks_of(Function("orthogonalise", ..), CHECKS))          in an exercise's checks.py
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.exercises.asked import Asked, Looks
from tests.exercises.battery import function
from tests.exercises.battery.module import normal
from tests.exercises.exam import Reading, check, fail, look, of_readings
from tests.exercises.numbers import bfloat16

LOOKS = Looks.named("tests.exercises.battery.matrix_looks")
SHAPES = (6, 4), (4, 10), (12, 3), (5, 5), (1, 7), (7, 1), (6, 4)  # one twice: of two parameters


@dataclass(frozen=True)
class Function:
    """A function of a matrix under examination.

    reference: (matrix, **its further arguments) -> what is right, in float64
    allowed:   how far a right result may be off, as a part of its norm
    """

    name: str
    reference: Callable
    allowed: float

    def asked(self, given: list[np.ndarray], dtype="float32", **more) -> Asked:
        """A look at the results for these matrices."""
        return LOOKS("results", unit=self.name, given=given, dtype=dtype, more=more)


def matrices(seed, shapes=SHAPES, scale=1.0) -> list[np.ndarray]:
    """Standard normal float32 matrices, times scale."""
    return [np.float32(scale) * g for g in normal((seed, 23), *shapes)]


def off(expected: np.ndarray, got: np.ndarray) -> float:
    """The distance, as a part of the norm of what is expected; infinite for NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.linalg.norm(got.astype(np.float64) - expected)
        length = max(np.linalg.norm(expected), 1e-9)
    return float(distance / length) if np.isfinite(distance) else np.inf


@of_readings
def alike(one, other) -> bool:
    """Two readings are the same within what bfloat16 is off."""

    def same(a, b) -> bool:
        if not isinstance(a, np.ndarray):
            return a == b
        nan = np.isnan(a)
        return np.array_equal(nan, np.isnan(b)) and off(np.where(nan, 0, a), np.where(nan, 0, b)) < 0.05

    return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)


def results(subject, unit, given, dtype="float32", more=None) -> Reading:
    """{"INDEX": the result, of its matrix's shape and dtype}"""
    answer, what = subject.run(unit.asked(given, dtype, **more or {})), f"{unit.name}(g)"
    return {str(i): answer.tensor(str(i), g.shape, what, dtype, subject.device) for i, g in enumerate(given)}


def singular_values(x: np.ndarray) -> str:
    return ", ".join(f"{value:.2f}" for value in np.linalg.svd(np.nan_to_num(x), compute_uv=False)[:4])


def compare(exam, unit, given, question, dtype="float32", **more):
    """Each result with the reference's; more: further arguments of the function."""
    got = look(exam, {"dtype": dtype, **more}, results, unit, given, dtype, more, same=alike)
    for i, g in enumerate(given):
        expected, came = unit.reference(g.astype(np.float64), **more), got[str(i)]
        if not off(expected, came) <= unit.allowed:
            values = f"{singular_values(came)}; expected {singular_values(expected)}"
            case = {"shape": list(g.shape), "dtype": dtype, **more}
            fail(case, question, f"its largest singular values are {values}")


@check("any_scale", "large and small matrices, and 0 gives 0", ("runs",))
def is_right_at_any_scale(exam, unit):
    for scale in (1e-3, 1e4):
        question = f"For g of the size {scale:g} the result is not the right one. What do you divide by?"
        compare(exam, unit, matrices(4, scale=scale), question)
    zeros = [np.zeros(shape, np.float32) for shape in SHAPES[:3]]
    got = look(exam, {"g": 0}, results, unit, zeros, same=alike)
    if any(y.any() for y in got.values()):
        fail({"g": 0}, "For g = 0 the result must be 0. Where do you divide by a norm of 0?")


def kept(subject, unit, g) -> Reading:
    """As function.kept."""
    return function.kept(subject, unit.name, g=g)


@check("dtypes", "the result has its matrix's dtype, and the matrix is as it was", ("runs",))
def keeps_the_dtype(exam, unit):
    for dtype in ("float64", "bfloat16"):
        question = f"In {dtype} the result is another one."
        compare(exam, unit, [bfloat16(g) for g in matrices(5)], question, dtype)
    for g in matrices(6)[:3]:
        function.all_kept(exam, {"shape": list(g.shape)}, unit.name, kept, unit, g)


CHECKS = is_right_at_any_scale, keeps_the_dtype
