"""The checks of the sliding window: the batteries of a module and of an attention with the default window,
then windows of other sizes."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from tests.exercises.asked import Looks
from tests.exercises.battery import attention, dropout, module
from tests.exercises.battery.attention import Attention, by_head, matrix_fails, positions, with_scores
from tests.exercises.battery.module import Size, checks_of, compare_gradients, outputs, sizes
from tests.exercises.exam import Reading, check, for_all, look
from tests.exercises.numbers import tolerance

LOOKS = Looks.named("tests.exercises.window.looks")
DEFAULT = 64


@dataclass(frozen=True, eq=False)
class Window(Attention):
    window: int = DEFAULT

    def arguments(self, size):
        return {} if self.window == DEFAULT else {"window": self.window}

    def seen(self, queries, T):
        return super().seen(queries, T) & (np.arange(T) > queries[:, None] - self.window)


UNIT = Window(
    name="SlidingWindowAttention",
    part="attention",
    same_as="that of exercise 1's attention with a window of 64 tokens",
    asks=attention.ASKS
    | {
        "values": "T below block_size, T above the window, one head, head size 1",
        "in_gpt": "GPT(config, attention=SlidingWindowAttention) must work, and alone yours is right. Is "
        "anything else needed than config and x?",
    },
    corners=attention.CORNERS,
    long=attention.LONG_TEXT,
    by_name=False,
    fits=False,
)
TITLES = attention.TITLES | {
    "causality": "a token never sees the tokens after it, and with a long window all before it",
    "values": "the right output with the default window, for any B, T, C and H, in both modes",
}
AFTER = {"in_gpt": ("values", "dropout_eval")}

test_runs = module.runs(UNIT.name)
globals().update(checks_of(UNIT, (*module.CHECKS, *attention.CHECKS, *dropout.CHECKS), TITLES, AFTER))


def of(window: int) -> Window:
    """The unit with another window."""
    return replace(UNIT, window=window, same_as=f"that of exercise 1's attention with window = {window}")


@dataclass(frozen=True)
class Windowed(Size):
    window: int = DEFAULT


# 11 tokens, as in no earlier check, with windows that are shorter, as long, and longer; and the default.
WINDOWS = {Size(2, 11, 36, 3, 13): (1, 3, 5, 10, 11, 12, 1000, 2), Size(1, 66, 66, 1, 66): (DEFAULT,)}


def matrices(subject, size, weights, x) -> Reading:
    """{"W MODE": the attention matrices (B, H, T, T) with a window of W}"""
    asked = UNIT.asked("with_windows", size, weights, looks=LOOKS, x=x, windows=WINDOWS[size])
    given = {f"{window} {mode}": x for window in WINDOWS[size] for mode in module.MODES}
    return {key: by_head(size, y) for key, y in outputs(subject, subject.run(asked), given).items()}


@check("window", "token t sees the tokens t - window + 1 to t, for windows of any size", ("one_token",))
def test_window(exam):
    got = {}  # of both sizes before they are compared, since some mistakes differ in one of them only
    for of_size in WINDOWS:
        weights = with_scores(UNIT, of_size, np.zeros((of_size.T, of_size.T), np.float32))
        got[of_size] = look(exam, of_size.as_case(), matrices, of_size, weights, positions(of_size))
    for size, key in [(size, key) for size, found in got.items() for key in found]:
        window, matrix = int(key.split()[0]), got[size][key]
        seen = of(window).seen(np.arange(size.T), size.T)
        matrix_fails(
            np.broadcast_to(seen / seen.sum(1, keepdims=True), matrix.shape),
            matrix,
            tolerance("float32", size.T, 1.0),
            size.as_case(window=window, mode=key.split()[1]),
            f"With window = {window} a token sees the keys at the distances 0 to {window - 1} before it, and "
            "here the weights of these are equal. Which distances does your mask keep?",
        )


def windowed(size: Size, window: int) -> Windowed:
    return Windowed(**size.as_case(window=window))


# Of 150 tokens, and of 2050.
LONG = [windowed(attention.CORNERS[2], window) for window in (1, 65, 149, 150)]
LONG += [windowed(attention.CORNERS[-1], window) for window in (100, 1500)]


@check("window_values", "the right output with windows of any size, for any B, T, C and H", ("window",))
def test_window_values(exam):
    cases = st.builds(windowed, sizes(UNIT), st.integers(1, 14))
    for_all(
        exam, cases, lambda exam, case: module.same_values(exam, of(case.window), case), always=tuple(LONG)
    )


@check("window_gradients", "with a short window, the right gradients, and bfloat16", ("window_values",))
def test_window_gradients(exam):
    for case in (Windowed(T=7, seed=32, window=3), windowed(attention.LONG_TEXT, 3)):
        compare_gradients(exam, of(case.window), case, ("train", "eval"), "float32")
        module.same_values_in_bfloat16(exam, of(case.window), case)


@check("refused", "a window of less than 1 is refused when built", ("parameters",))
def test_refused(exam):
    each = tuple({"window": window} for window in (0, -1, -64))
    module.must_refuse(exam, UNIT, Size(), each, "a token sees itself at least.")
