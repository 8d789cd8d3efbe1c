"""The checks of the sliding window: the batteries with the default window, then windows of other sizes."""

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
        return {} if self.window == DEFAULT or self.name == "Window16" else {"window": self.window}

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


@check("window", "token t sees the tokens t - window + 1 to t, for any window", ("one_token", "refused"))
def test_window(exam):
    got = {}  # of both sizes before they are compared, since some mistakes differ in one of them only
    for of_size in WINDOWS:
        weights = with_scores(UNIT, of_size, np.zeros((of_size.T, of_size.T), np.float32))
        case = of_size.as_case(windows=list(WINDOWS[of_size]))
        got[of_size] = look(exam, case, matrices, of_size, weights, positions(of_size))
    for size, key in [(size, key) for size, found in got.items() for key in found]:
        window, matrix = int(key.split()[0]), got[size][key]
        seen = of(window).seen(np.arange(size.T), size.T)
        right = np.broadcast_to(seen / seen.sum(1, keepdims=True), matrix.shape)
        case, room = size.as_case(window=window, mode=key.split()[1]), tolerance("float32", size.T, 1.0)
        question = (
            f"With window = {window} a token sees the distances 0 to {window - 1} back. Which do yours?"
        )
        matrix_fails(right, matrix, room, case, question)


def windowed(size: Size, window: int) -> Windowed:
    return Windowed(**size.as_case(window=window))


# Of 150 tokens, and of 2050.
LONG = [windowed(attention.CORNERS[2], window) for window in (1, 65, 149, 150)]
LONG += [windowed(attention.CORNERS[-1], window) for window in (100, 1500)]


@check("window_values", "the right output with windows of any size, for any B, T, C and H", ("window",))
def test_window_values(exam):
    def body(exam, case):
        module.same_values(exam, of(case.window), case)

    for_all(exam, st.builds(windowed, sizes(UNIT), st.integers(1, 14)), body, always=tuple(LONG))


@check("window16", "Window16, which the experiment trains, has a window of 16", ("window_values",))
def test_window16(exam):
    if "Window16" in exam.names:  # the question's, not the contract's
        module.same_values(exam, replace(of(16), name="Window16"), Size(B=1, T=40, block_size=40, seed=33))


@check("window_gradients", "with a short window, the right gradients, and bfloat16", ("window_values",))
def test_window_gradients(exam):
    for case in (Windowed(T=7, seed=32, window=3), windowed(attention.LONG_TEXT, 3)):
        compare_gradients(exam, of(case.window), case, ("train", "eval"), "float32")
        module.same_values_in_bfloat16(exam, of(case.window), case)


@check("refused", "a window of less than 1 is refused when built, and no other", ("parameters",))
def test_refused(exam):
    wrong, right = (tuple({"window": w} for w in windows) for windows in ((0, -1, -64), (1, 3, 8, 9, 1000)))
    module.must_refuse(exam, UNIT, Size(), wrong, "a token sees itself at least.", but=right)
