"""The checks of RMSNorm: the battery of a module, and that eps is what it is and where it is."""

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery import module
from tests.exercises.battery.module import Size, Unit, checks_of, expect, outputs
from tests.exercises.exam import Reading, check, look

LOOKS = Looks.named("tests.exercises.mynorm.looks")
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
)

test_runs = module.runs(UNIT.name)
globals().update(checks_of(UNIT, module.CHECKS))

FACTORS = (1e-2, 1e-3)  # mean squares of 1e-4, where eps shows, and of 1e-6, where it decides


def small(subject, size, weights, x) -> Reading:
    """{factor: the output for x times this factor}"""
    answer = subject.run(UNIT.asked("scaled", size, weights, looks=LOOKS, x=x, factors=FACTORS))
    return outputs(subject, answer, {str(factor): x for factor in FACTORS})


@check("epsilon", "eps is 1e-5 and stands under the root", ("values",))
def test_epsilon(exam):
    size = Size()
    weights, x = UNIT.weights(size), size.x()
    for factor, y in look(exam, size.as_case(), small, size, weights, x).items():
        right = UNIT.right(size, weights, x * np.float32(factor))
        message = "For small x eps decides: is it 1e-5, added to the mean of the squares, under the root?"
        expect(right, y, UNIT.allowance(size, weights, x, right), size.as_case(factor=factor), message)
