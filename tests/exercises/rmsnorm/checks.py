"""The checks of RMSNorm: the battery of a module, how its weight begins, where eps stands, and large
numbers."""

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery import module
from tests.exercises.battery.module import Size, Unit, checks_of, expect, outputs
from tests.exercises.exam import Reading, check, look
from tests.exercises.numbers import float16

LOOKS = Looks.named("tests.exercises.rmsnorm.looks")
EPS = 1e-5


class Norm(Unit):
    def parameters(self, size):
        return {"weight": (size.n_embd,)}

    def reference(self, size, weights, x, rows):
        x = x[:, rows].astype(np.float64)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPS) * weights["weight"]


UNIT = Norm(
    name="RMSNorm",
    part="norm",
    same_as="the paper's",
    asks={
        "output": "What is divided by 0, or what has no square root?",
        "values": "one token, one channel, one sequence",
        "calls": "What do you keep on self?",
        "bfloat16": "What is squared or summed in bfloat16?",
        "in_gpt": "GPT(config, norm=RMSNorm) must work. Does it need anything else than config and x?",
    },
    corners=(Size(B=1, T=1, n_embd=1, n_head=1), Size(n_embd=256)),
    long=Size(B=1, T=310, n_embd=6, n_head=2, block_size=310),
    by_name=False,
)

test_runs = module.runs(UNIT.name)
TITLES = {"ones": "weight begins as ones"}
globals().update(checks_of(UNIT, (*module.CHECKS, module.begins_as_ones), TITLES))


def scaled(subject, size, weights, x, factors, dtype="float32") -> Reading:
    """{factor: the output for x times this factor}"""
    asked = UNIT.asked("scaled", size, weights, looks=LOOKS, x=x, factors=factors, dtype=dtype)
    return outputs(subject, subject.run(asked), {str(factor): x for factor in factors}, dtype)


def check_scaled(exam, message, factors, dtype="float32", seed=0, roundings=8):
    """The output for x times each of these factors."""
    size = Size(seed=seed)
    weights, x = UNIT.weights(size), float16(size.x())
    got = look(exam, size.as_case(dtype=dtype), scaled, size, weights, x, factors, dtype)
    for factor, y in got.items():
        right = UNIT.right(size, weights, x * np.float32(float(factor)))
        allowed = UNIT.allowance(size, weights, x, right, dtype, roundings)
        expect(right, y, allowed, size.as_case(factor=float(factor), dtype=dtype), message)


@check("epsilon", "eps is 1e-5 and stands under the root; zeros stay zeros", ("output",))
def test_epsilon(exam):
    # Mean squares of 1e-4, where eps shows, of 1e-6, where it decides, and of 0.
    message = "For small x eps decides: is it 1e-5, added to the mean of the squares, under the root?"
    check_scaled(exam, message, (1e-2, 1e-3, 0.0))


@check("large", "a large x gives what a small one gives: only the direction counts", ("values",))
def test_large(exam):
    message = "RMSNorm(c x) is RMSNorm(x) for every large c. What does not grow with x in your divisor?"
    check_scaled(exam, message, (1e3, 1e6))


@check("half", "in float16 the squares do not overflow", ("dtypes",))
def test_half(exam):
    message = (
        "In float16 the largest number is 65504, so a square of 300 is infinite. In which dtype do you "
        "square and sum?"
    )
    check_scaled(exam, message, (1.0, 1e3), "float16", seed=3)
