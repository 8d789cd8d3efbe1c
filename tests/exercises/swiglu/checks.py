"""The checks of SwiGLU: the hidden size, the battery of a module, what the gate does, and dropout."""

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery import module, output_dropout
from tests.exercises.battery.module import Size, Unit, checks_of, forward
from tests.exercises.exam import Reading, check, fail, look
from tests.exercises.numbers import wrong

LOOKS = Looks.named("tests.exercises.swiglu.looks")


def hidden_size(C: int) -> int:
    """The smallest multiple of 8 that is at least 8 C / 3."""
    return 8 * ((C + 2) // 3)


def silu(z: np.ndarray) -> np.ndarray:
    return z * (0.5 + 0.5 * np.tanh(z / 2))  # no exp that overflows


class FeedForward(Unit):
    def parameters(self, size):
        C, F = size.n_embd, hidden_size(size.n_embd)
        return {"gate.weight": (F, C), "up.weight": (F, C), "down.weight": (C, F)}

    def reference(self, size, weights, x, rows):
        x = x[:, rows].astype(np.float64)
        gate, up, down = (weights[f"{name}.weight"].astype(np.float64) for name in ("gate", "up", "down"))
        return (silu(x @ gate.T) * (x @ up.T)) @ down.T

    def terms(self, size):
        return size.n_embd + hidden_size(size.n_embd)


UNIT = FeedForward(
    name="SwiGLU",
    part="feed_forward",
    same_as="the paper's",
    asks={
        "output": "What is divided by 0, or overflows?",
        "values": "one token, one channel, one sequence",
        "calls": "What do you keep on self?",
        "bfloat16": "What is cast, or made in another dtype, on the way?",
        "in_gpt": "GPT(config, feed_forward=SwiGLU) must work. Does it need anything else than config and x?",
    },
    corners=(
        Size(B=1, T=1, n_embd=1, n_head=1),
        Size(n_embd=256),
        Size(B=1, T=520, n_embd=4, block_size=520),
    ),
    long=Size(B=1, T=310, n_embd=6, n_head=2, block_size=310),
    by_name=False,
)
AFTER = {"parameters": ("hidden",), "values": ("gate",), "in_gpt": ("values", "dropout")}

test_runs = module.runs("hidden_size", UNIT.name)
globals().update(checks_of(UNIT, (*module.CHECKS, *output_dropout.CHECKS), after=AFTER))

# All small widths, and those of models: where C is a multiple of 3 nothing is left to round.
WIDTHS = (*range(1, 65), 384, 512, 768, 1000, 1024, 4096, 8192, 12_288)


def hidden(subject) -> Reading:
    """{"sizes": (N,) hidden_size of each of WIDTHS, -1 where it is no whole number}"""
    answer = subject.run(LOOKS("hidden", widths=WIDTHS))
    came = [answer.plain(str(C)) for C in WIDTHS]
    return {"sizes": np.array([F if type(F) is int and 0 <= F < 2**53 else -1 for F in came])}


@check("hidden", "hidden_size is the smallest multiple of 8 that is at least 8 C / 3", ("runs",))
def test_hidden(exam):
    got = look(exam, {"n_embd": list(WIDTHS)}, hidden)["sizes"]
    for C, F in zip(WIDTHS, got):
        if F != hidden_size(C):
            yours = "no whole number: does / give you a float?" if F < 0 else f"{F}. How is it rounded?"
            wanted = f"8 * {C} / 3 is {8 * C / 3:.5g}, so hidden_size({C}) must be {hidden_size(C)}"
            fail({"n_embd": C}, f"{wanted}; yours is {yours}")


@check("gate", "a hidden unit is silu(gate) * up, with silu(z) = z * sigmoid(z)", ("output",))
def test_gate(exam):
    # Output channel j is hidden unit j, with x0 for its gate and x1 for its up: tokens show silu(x0) * x1.
    gate = np.r_[np.linspace(-3, 3, 21), -300, 300].astype(np.float32)  # far out exp overflows
    up = np.resize(np.array([1, -2], np.float32), len(gate))
    size = Size(B=1, T=len(gate), n_embd=6, n_head=2, block_size=len(gate))
    weights = {key: np.zeros(shape, np.float32) for key, shape in UNIT.parameters(size).items()}
    weights["gate.weight"][:, 0] = weights["up.weight"][:, 1] = 1
    weights["down.weight"][:, :6] = np.eye(6)
    x = np.tile(np.stack([gate, up], axis=1), 3)[None]  # (1, T, 6)
    right = UNIT.right(size, weights, x)
    got = look(exam, size.as_case(), forward, UNIT, size, weights, x)["y"]
    allowed = 1e-6 * np.maximum(1, np.abs(right))
    for t, c in np.argwhere(wrong(right, got, allowed)[0])[:1]:
        z, yours = f"{gate[t]:.4g}", f"{right[0, t, c]:.4g}; yours is {got[0, t, c]:.4g}"
        must = f"Where gate(x) is {z} and up(x) is {up[t]:g}, a hidden unit must be silu({z}) * {up[t]:g}"
        fail(size.as_case(), f"{must} = {yours}. Which function do you take, and of which of the two?")
