"""The checks of any causal attention with heads and the parameters qkv and proj: its attention matrix, mask
and scale, and the number of its operations.

An attention is a black box whose weights we choose so that it shows its inside. With the values one-hot in
the position and `proj` the identity, the output of a head is its attention matrix. With the queries and keys
zero, the attention is uniform over what the mask leaves.
"""

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery.module import (
    Size,
    Unit,
    Weights,
    expect,
    forward,
    in_modes,
    outputs,
    same_bfloat16,
)
from tests.exercises.exam import (
    CheckFailed,
    Numbers,
    Reading,
    Subject,
    check,
    fail,
    look,
    of_readings,
    same_reading,
)
from tests.exercises.numbers import pattern, tolerance, worst, wrong
from tests.exercises.shown import Matrices

LOOKS = Looks.named("tests.exercises.battery.attention_looks")
P = 0.3  # of dropout; not 0.5: dropping with 1 - p would look the same

# What may be wrong in an attention, by check (Unit.asks).
ASKS = {
    "output": "Is there a row of scores in which everything is masked? softmax of nothing but -inf is NaN.",
    "calls": "What do you keep on self, on the class or in the module: keys, a mask of the first length?",
    "bfloat16": "Which constant or buffer does not survive bfloat16 (a mask value, a position, a count above "
    "256)?",
}
TITLES = {
    "parameters": "its parameters are qkv.weight, proj.weight and proj.bias, and no others",
    "trainable": "all three parameters are trainable",
}
# Sizes of Attention.corners, and its `long`.
CORNERS = (
    Size(B=9, T=21, n_embd=36, n_head=12, block_size=22),  # more heads, tokens and sequences than ten
    Size(B=1, T=3, n_embd=256, n_head=2, block_size=4),  # heads as wide as in a real model, and wider
    Size(B=1, T=150, n_embd=4, n_head=2, block_size=200),  # more tokens than a short window sees
    Size(B=2, T=8, n_embd=32, n_head=4, block_size=8),  # T = block_size
    Size(B=1, T=3, n_embd=32, n_head=4, block_size=8),  # T below block_size
    Size(B=2, T=5, n_embd=6, n_head=1, block_size=5),  # one head
    Size(B=2, T=5, n_embd=3, n_head=3, block_size=6),  # head size 1
    Size(B=4, T=4, n_embd=16, n_head=4, block_size=4),  # B = T = H = D
    # Longer than masks, windows and tables of 256, 384, 512, 1024 or 2048 tokens.
    Size(B=1, T=2050, n_embd=2, n_head=1, block_size=2050),
)
LONG_TEXT = Size(B=1, T=310, n_embd=6, n_head=2, block_size=310, seed=11)


@dataclass(frozen=True, eq=False)
class Attention(Unit):
    """An attention under examination; the right output is softmax(q k^T / sqrt(D)) v, head by head, then
    proj.

    fits: whether what comes may be explained as in a plain attention, but for `rotated` (grader/judge/fits).
    values_in: where the rows of the values stand.
    """

    fits: bool = True
    values_in: str = "the last third of qkv.weight, head after head"

    def seen(self, queries: np.ndarray, T: int) -> np.ndarray:
        """Which of T keys each of these queries sees: (queries, T) bool."""
        return np.arange(T) <= queries[:, None]

    def entering(self, size: Size, weights: Weights, q: np.ndarray, k: np.ndarray) -> tuple:
        """All queries and keys (B, H, T, D) as they enter the dot product."""
        return self.rotated(q), self.rotated(k)

    def rotated(self, x: np.ndarray, back: bool = False) -> np.ndarray:
        """Queries or keys (.., T, D) of the tokens 0, 1, .. as they enter the dot product; back: the inverse.
        The identity here."""
        return x

    def parameters(self, size: Size) -> dict[str, tuple]:
        C = size.n_embd
        return {"qkv.weight": (3 * C, C), "proj.weight": (C, C), "proj.bias": (C,)}

    def reference(self, size: Size, weights: Weights, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        B, T, C = x.shape

        def heads(m):
            return m.reshape(B, T, size.n_head, size.D).transpose(0, 2, 1, 3)

        q, k, v = map(
            heads, np.split(x.astype(np.float64) @ weights["qkv.weight"].T.astype(np.float64), 3, axis=-1)
        )
        q, k = self.entering(size, weights, q, k)
        scores = q[:, :, rows] @ k.swapaxes(-1, -2) / np.sqrt(size.D)
        scores[..., ~self.seen(rows, T)] = -np.inf
        attention = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attention /= attention.sum(axis=-1, keepdims=True)
        joined = (attention @ v).transpose(0, 2, 1, 3).reshape(B, len(rows), C)
        return joined @ weights["proj.weight"].T.astype(np.float64) + weights["proj.bias"]

    def terms(self, size: Size) -> int:
        return size.n_embd + size.D + size.T

    def spread(self, size: Size, weights: Weights, x: np.ndarray) -> float:
        """max |q . k| / sqrt(D) over the pairs of the first 300 tokens: how much the softmax enlarges an
        error."""
        q, k, _ = np.split(x[:, :300] @ weights["qkv.weight"].T, 3, axis=-1)
        q, k = (m.reshape(*m.shape[:2], size.n_head, size.D).transpose(0, 2, 1, 3) for m in (q, k))
        q, k = self.entering(size, weights, q, k)
        return float(np.abs(q @ k.swapaxes(-1, -2)).max() / np.sqrt(size.D))

    def scored(self, size: Size, weights: Weights) -> Weights:
        """The weights of with_scores, with what it takes beside them that the scores are these."""
        return weights

    def rising(self, size: Size, step: float) -> Weights:
        """Weights for which the score of each key is at least `step` above that of the key before it, for x
        whose first channel is 1 and whose second is the position. A rotation only lowers those before."""
        C, D = size.n_embd, size.D
        qkv = np.zeros((3 * C, C), dtype=np.float32)
        qkv[:C:D, 0] = step * np.sqrt(D)
        qkv[C : 2 * C : D, 1] = 1.0
        return {
            "qkv.weight": qkv,
            "proj.weight": np.eye(C, dtype=np.float32),
            "proj.bias": np.ones(C, np.float32),
        }

    def numbers(self, exam, size: Size, weights: Weights, x, kind="output", rows=None):
        def of(expected, got, allowed):
            facts = size.facts() | {"weights": weights, "x": x, "rotated": self.rotated, "rows": rows}
            again = told(exam, self)
            return again and Numbers(kind, expected, got, allowed, facts | {"again": again})

        return of


# In these no two sizes coincide, and no power of one is a power of another in all: what explains them and the
# case that failed is no coincidence.
TELLING = (
    Size(B=2, T=5, n_embd=30, n_head=3, block_size=7, seed=12),
    Size(B=3, T=4, n_embd=28, n_head=2, block_size=9, seed=13),
)
SHOWN = Size(B=2, T=7, n_embd=40, n_head=5, block_size=13, seed=14)


def told(exam, unit: Attention) -> tuple[Numbers, ...] | None:
    """What else the attempt gives, beside a check that failed: two outputs and an attention matrix, which an
    explanation must explain as well. None where it gives none."""
    if not unit.fits:
        return None
    if unit not in exam.beside:
        exam.beside[unit] = _told(exam, unit) if exam.wants_numbers else None
    return exam.beside[unit]


def _told(exam, unit):
    found = []
    for size in (*TELLING, SHOWN):
        shown = size is SHOWN
        weights = show_attention(size, unit.weights(size)) if shown else unit.weights(size)
        x = positions(size) if shown else size.x()
        expected = unit.right(size, weights, x)
        allowed = unit.allowance(size, weights, x, expected)
        try:
            got = forward(exam.attempt, unit, size, weights, x)["y"]
        except (CheckFailed, KeyError, IndexError, TypeError, ValueError, AttributeError):
            return None
        if shown:
            expected, got = by_head(size, expected), by_head(size, got)
        facts = size.facts() | {"weights": weights, "x": x, "rotated": unit.rotated}
        found.append(Numbers("attention" if shown else "output", expected, got, allowed, facts))
    return tuple(found)


def beside(exam, unit: Attention) -> Numbers | None:
    """The same where the check itself gives no such numbers."""
    again = told(exam, unit)
    return again and replace(again[0], facts=again[0].facts | {"again": again[1:]})


# Weights that make an attention show its inside. The first T channels of x hold the position.


def positions(size: Size) -> np.ndarray:
    """x (B, T, C): the position as a one-hot in the first T channels, and noise in the others."""
    rng = np.random.default_rng((size.seed, 7))
    x = rng.normal(size=(size.B, size.T, size.n_embd)).astype(np.float32)
    x[:, :, : size.T] = np.eye(size.T, dtype=np.float32)
    return x


def show_attention(size: Size, weights: Weights) -> Weights:
    """The same queries and keys, with V one-hot in the position and proj the identity."""
    C, D = size.n_embd, size.D
    qkv = weights["qkv.weight"].copy()
    value = np.zeros((D, C), dtype=np.float32)
    np.fill_diagonal(value[: size.T, : size.T], 1.0)
    qkv[2 * C :] = np.tile(value, (size.n_head, 1))
    return weights | {
        "qkv.weight": qkv,
        "proj.weight": np.eye(C, dtype=np.float32),
        "proj.bias": np.zeros(C, np.float32),
    }


def with_scores(unit: Attention, size: Size, scores: np.ndarray) -> Weights:
    """Weights for which the scaled scores of every head are `scores` (T, T): S[query, key]."""
    weights = show_attention(size, unit.weights(size))
    C, D, T = size.n_embd, size.D, size.T
    query, key = np.zeros((D, C), dtype=np.float32), np.zeros((D, C), dtype=np.float32)
    query[:T, :T] = scores.T * np.sqrt(D)  # q of token t is S[t, :], undone by the scale
    np.fill_diagonal(key[:T, :T], 1.0)  # k of token s is one-hot
    for matrix in (query, key):
        matrix[:, :T] = unit.rotated(matrix[:, :T].T, back=True).T
    weights["qkv.weight"][: 2 * C] = np.concatenate(
        [np.tile(query, (size.n_head, 1)), np.tile(key, (size.n_head, 1))]
    )
    return unit.scored(size, weights)


def by_head(size: Size, y: np.ndarray) -> np.ndarray:
    """(B, T, C) -> (B, H, T, T): the attention matrices, of weights that show them; T <= D."""
    return y.reshape(size.B, size.T, size.n_head, size.D)[..., : size.T].transpose(0, 2, 1, 3)


def attention_matrix(subject: Subject, unit: Unit, size: Size, weights: Weights, x: np.ndarray) -> Reading:
    """{"attention": (B, H, T, T)}"""
    return {"attention": by_head(size, forward(subject, unit, size, weights, x)["y"])}


def matrix_in_modes(
    subject: Subject, unit: Unit, size: Size, weights: Weights, x: np.ndarray, dtype="float32"
) -> Reading:
    """{mode: (B, H, T, T)}, without dropout"""
    return {mode: by_head(size, y) for mode, y in in_modes(subject, unit, size, weights, x, dtype).items()}


# The path of the values, and the mask.


@check("one_token", "one token alone gives proj(value): the value and output path", ("output",))
def one_token_gives_its_value(exam, unit):
    # T = 1: the one attention weight is 1 whatever the mask, the scale and the softmax do.
    size = Size(B=3, T=1)
    weights, x = unit.weights(size), size.x()
    expected = unit.right(size, weights, x)
    got = look(exam, unit.as_case(size), forward, unit, size, weights, x)["y"]
    expect(
        expected,
        got,
        unit.allowance(size, weights, x, expected),
        unit.as_case(size),
        "With one token every attention weight is 1, so the output must be proj(v). Are the value's rows "
        f"{unit.values_in}? Is proj applied once, with its bias?",
        numbers=unit.numbers(exam, size, weights, x),
    )


def first_row(subject, unit, size, weights, x):
    return {"y0": forward(subject, unit, size, weights, x)["y"][:, :1]}


@check("first_token", "the first token attends to itself alone: the mask", ("one_token",))
def first_token_sees_itself(exam, unit):
    size = Size()
    weights, x = unit.weights(size), size.x()
    expected = unit.reference(size, weights, x, np.arange(1))
    got = look(exam, unit.as_case(size), first_row, unit, size, weights, x)["y0"]
    expect(
        expected,
        got,
        unit.allowance(size, weights, x, expected),
        unit.as_case(size),
        "Token 0 has only itself to attend to, so its output must be proj(v) of token 0. Which keys does "
        "query 0 see in your code, and what do the masked ones weigh? If the mask is right: do the split "
        "into heads and the join keep the numbers of one token together?",
        numbers=unit.numbers(exam, size, weights, x, rows=np.arange(1)),
    )


# The attention matrix.


def matrix_fails(expected, got, allowed, case, message, numbers=None):
    """Fail, with the matrices to be drawn. numbers: as in `expect`."""
    if not wrong(expected, got, allowed).any():
        return
    axes = ("sequence", "head", "query", "key")
    lines = [
        worst(expected, got, axes),
        *pattern(expected, got, allowed, axes),
        *matrix_words(expected, got, allowed),
    ]
    read = numbers and numbers(expected, got, allowed)
    fail(case, message, lines, numbers=read, shown=(Matrices.of(expected, got, allowed),))


def matrix_words(expected, got, allowed):
    """What is wrong with an attention matrix, in the terms of attention."""
    T = got.shape[-1]
    future = np.triu(np.ones((T, T), dtype=bool), 1)
    lines = []
    if np.abs(got[..., future]).max(initial=0) > allowed:
        lines.append("queries see keys after them (above the diagonal)")
    if np.isfinite(got).all():
        rows, columns = got.sum(-1), got.sum(-2)
        if np.abs(rows - 1).max() > 10 * allowed:
            lines.append(
                f"rows do not sum to 1 (the first row sums to {rows[0, 0, 0]:.3g}, the last to "
                f"{rows[0, 0, -1]:.3g})"
            )
            if np.abs(columns - 1).max() <= 10 * allowed:
                lines.append("columns do: the softmax shares out over the queries")
    if got.shape[1] > 1 and not wrong(expected, got[:, ::-1], allowed).any():
        lines.append("the heads are right, in reverse order")
    return lines


@check("running_mean", "with q = k = 0 each token takes the mean of what it sees", ("one_token",))
def equal_scores_give_the_mean(exam, unit):
    # Equal scores: the scale and the order of the rows of q and k cannot matter, mask and softmax can.
    size = Size(T=6, seed=1)
    weights = with_scores(unit, size, np.zeros((size.T, size.T), dtype=np.float32))
    x = positions(size)
    lower = np.tril(np.ones((size.T, size.T)))
    expected = np.broadcast_to(lower / lower.sum(1, keepdims=True), (size.B, size.n_head, size.T, size.T))
    got = look(exam, unit.as_case(size), attention_matrix, unit, size, weights, x)["attention"]
    matrix_fails(
        expected,
        got,
        tolerance("float32", size.T, 1.0),
        unit.as_case(size),
        "With equal scores, token t must give 1 / (t + 1) to each of the tokens 0 to t. Over which dimension "
        "does your softmax run, and is the mask applied before it?",
        unit.numbers(exam, size, weights, x, "attention"),
    )


def scale_of(subject, unit, size, difference):
    """The factor on the scores, read from the odds of two keys whose q . k differ by `difference`."""
    scores = np.zeros((size.T, size.T), dtype=np.float32)
    scores[1, 0] = difference / np.sqrt(size.D)
    weights = with_scores(unit, size, scores)
    attention = attention_matrix(subject, unit, size, weights, positions(size))["attention"][0, 0]
    first, second = float(attention[1, 0]), float(attention[1, 1])
    if not (first > 0 and second > 0 and math.isfinite(first) and math.isfinite(second)):
        return {"scale": math.nan}
    return {"scale": math.log(first / second) / difference}


# As in TELLING: no power of one size is one of another.
SCALED = (
    Size(T=3, n_embd=70, n_head=5, block_size=11),
    Size(T=2, n_embd=30, n_head=3, block_size=7),
    Size(T=4, n_embd=36, n_head=2, block_size=13),
)


@check("scale", "the scores are scaled by 1 / sqrt(D)", ("one_token", "running_mean"))
def scores_are_scaled(exam, unit):
    # Token 1 sees two keys: its odds are exp(scale * (q . k0 - q . k1)), whatever else is right or wrong.
    size, difference = SCALED[0], 0.5
    case = unit.as_case(size)
    got = look(exam, case, scale_of, unit, size, difference, same=same_scale)["scale"]
    expected = size.D**-0.5
    if not abs(got - expected) <= 1e-4:
        C, H, D = size.n_embd, size.n_head, size.D
        known = {
            "1": 1.0, "1 / sqrt(C)": C**-0.5, "1 / C": 1 / C, "1 / D": 1 / D, "sqrt(D)": D**0.5,
            "1 / sqrt(H)": H**-0.5, "1 / sqrt(T)": size.T**-0.5, "1 / D**0.25": D**-0.25,
        }  # fmt: skip
        is_ = [f"which is {words}" for words, value in known.items() if abs(got - value) <= 1e-4]
        wanted = (
            f"The scores q . k must be multiplied by 1 / sqrt(D) = {expected:.4f} (D = {D}, C = {C}); yours "
        )
        again = scale_when(exam.attempt, unit, size, 2 * difference)
        numbers = measured_scales(exam, unit, difference)
        if not abs(got) > 1e-3:
            fail(
                case,
                wanted
                + "do not follow it. Do q and k come from the rows that they should, and does q . k reach "
                "the softmax?",
                numbers=numbers,
            )
        if not abs(again - got) <= 1e-3 * abs(got):
            fail(
                case,
                wanted + f"are no multiple of it: {got:.4f} times where q . k differs by {difference}, and "
                f"{again:.4f} times where it differs by twice as much. Is something normalised, clipped "
                "or rounded on the way to the softmax?",
            )
        is_ = is_ or [f"{got / expected:.3g} times as much as it should be"]
        said = f"are multiplied by {got:.4f}, {is_[0]}. What is the size that you divide by?"
        fail(case, wanted + said, numbers=numbers)


def measured_scales(exam, unit, difference) -> Numbers | None:
    """The factor on the scores for each of SCALED, which tells by which size it goes."""
    again = told(exam, unit)
    if again is None:
        return None
    sizes = [size.facts() for size in SCALED]
    facts = {key: np.array([of_one[key] for of_one in sizes]) for key in sizes[0]}
    got = np.array([scale_when(exam.attempt, unit, size, difference) for size in SCALED])
    # A weight of float32 has an error of some 1e-7 of it, and its logarithm is divided by the difference.
    return Numbers("scale", facts["D"] ** -0.5, got, 1e-5, facts | {"again": again})


def scale_when(subject, unit, size, difference) -> float:
    try:
        return scale_of(subject, unit, size, difference)["scale"]
    except CheckFailed:
        return math.nan


def same_scale(one, other):
    if isinstance(one, CheckFailed) or isinstance(other, CheckFailed):
        return False
    return (
        abs(one["scale"] - other["scale"]) <= 1e-4
        or one["scale"] != one["scale"]
        and other["scale"] != other["scale"]
    )


@check(
    "attention_matrix",
    "each head's attention matrix is softmax(q k^T / sqrt(D)) under the mask",
    ("one_token",),
)
def heads_have_their_matrices(exam, unit):
    size = Size(T=6, seed=2)
    weights = show_attention(size, unit.weights(size))
    x = positions(size)
    expected = by_head(size, unit.right(size, weights, x))
    got = look(exam, unit.as_case(size), attention_matrix, unit, size, weights, x)["attention"]
    spread = unit.spread(size, weights, x)
    matrix_fails(
        expected,
        got,
        tolerance("float32", size.n_embd + size.D, 1.0, spread),
        unit.as_case(size),
        "With the values one-hot in the position, the output of each head is its attention matrix. Is each "
        "query multiplied with the keys of its own head, and is the first dimension of each matrix the "
        "query?",
        unit.numbers(exam, size, weights, x, "attention"),
    )


# Which inputs change which outputs.


def moved(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where numbers changed, NaN included. Rounding may differ between two calls; a real influence is of
    order 1."""
    return ~(np.abs(one - other) <= 1e-4 * max(1.0, float(np.nanmax(np.abs(other), initial=0))))


def head_influence(subject: Subject, unit: Unit, size: Size, weights: Weights, x: np.ndarray) -> Reading:
    """{"moved": (H, H) bool}: whether the output slice of head j moves with the rows of head i.

    proj is the identity, so that slice j of the output is head j.
    """
    C, D, H = size.n_embd, size.D, size.n_head
    weights = weights | {"proj.weight": np.eye(C, dtype=np.float32), "proj.bias": np.zeros(C, np.float32)}
    others = {}
    for head in range(H):
        qkv = weights["qkv.weight"].copy()
        for part in range(3):
            rows = slice(part * C + head * D, part * C + (head + 1) * D)
            qkv[rows] = np.random.default_rng((size.seed, head, part)).normal(size=(D, C)) / np.sqrt(C)
        others[f"y{head}"] = {"qkv.weight": qkv}
    answer = subject.run(unit.asked("with_other_weights", size, weights, looks=LOOKS, x=x, others=others))
    y = outputs(subject, answer, dict.fromkeys(["y", *others], x))
    return {"moved": np.array([moved(y[key], y["y"]).reshape(-1, H, D).any(axis=(0, 2)) for key in others])}


@check("heads_apart", "the rows of one head of qkv move that head's output and no other", ("one_token",))
def heads_keep_to_themselves(exam, unit):
    size = Size(B=1, T=5, seed=3)
    got = look(exam, unit.as_case(size), head_influence, unit, size, unit.weights(size), size.x())["moved"]
    pairs = [(i, j) for i in range(size.n_head) for j in range(size.n_head) if got[i, j] != (i == j)]
    if pairs:
        i, j = pairs[0]
        what = "moves" if got[i, j] else "does not move"
        fail(
            unit.as_case(size),
            f"The rows of head {i} in qkv.weight must move channels {i * size.D} to {(i + 1) * size.D - 1} "
            f"of the joined heads, and nothing else; changing them {what} the slice of head {j}. Does a "
            "view or a reshape mix heads with tokens?",
            numbers=beside(exam, unit),
        )


def influence(subject: Subject, unit: Unit, size: Size, weights: Weights, x: np.ndarray) -> Reading:
    """{"moved": (T, T) bool}: whether the output of token t moves when token s of the input does.

    Sequence 0 of the batch is x[0]; in sequence s + 1 token s is another one.
    """
    many = np.repeat(x[:1], size.T + 1, axis=0)
    for s in range(size.T):
        many[s + 1, s] += np.random.default_rng((size.seed, s, 3)).normal(size=size.n_embd).astype(np.float32)
    y = forward(subject, unit, replace(size, B=size.T + 1), weights, many)["y"]
    return {"moved": moved(y[1:], y[:1]).any(axis=2).T}


INFLUENCE = {"what": "which token's output moves with which input", "row": "output", "column": "input"}


@check("causality", "a token never sees the tokens after it, and sees all before it", ("output",))
def no_token_sees_the_future(exam, unit):
    size = Size(B=1, T=7, seed=4)
    got = look(exam, unit.as_case(size), influence, unit, size, unit.weights(size), size.x())["moved"]
    shown = Matrices.of(np.tri(size.T)[None], got[None], 0.0, **INFLUENCE)
    for t in range(size.T):
        for s in range(size.T):
            if got[t, s] != (s <= t):
                fail(
                    unit.as_case(size),
                    f"Changing token {s} must {'' if s <= t else 'not '}change the output of token {t}, and "
                    f"it does{'' if got[t, s] else ' not'}. "
                    + (
                        "Which keys does your mask take away from a query?"
                        if s <= t
                        else "Which side of the diagonal does your mask keep, and is it applied before the "
                        "softmax?"
                    ),
                    numbers=beside(exam, unit),
                    shown=(shown,),
                )


# Large scores.


def scores_apart(T):
    """(T, T) scores of which a query's neighbours differ by 200 at least, and which of them a query may
    see."""
    steps = [[200.0 * ((3 * s + t) % T) for s in range(T)] for t in range(T)]
    return np.array(steps, dtype=np.float32), np.tril(np.ones((T, T), dtype=bool))


# Near 30000 neighbouring float32 numbers are 0.002 apart: scores that are equal differ by some of these, and
# the weights that they share by as much.
same_large = functools.partial(same_reading, tolerance=0.02)


@check("large_logits", "large scores stay exact: a masked key weighs exactly 0", ("first_token", "values"))
def large_scores_stay_exact(exam, unit):
    # The seen scores are around -30000 and the masked ones +30000, so a mask of -1e4 is no mask at all; then
    # the seen ones around +30000, where exp overflows without the maximum taken off first; then so far out
    # that float16's -65504 is no mask either. Neighbouring scores differ by 200, so the right weights are
    # exactly 0 and 1. In both modes, and with more tokens once: a mask may be another one there.
    few, many = Size(B=1, T=5, seed=5), Size(B=1, T=40, n_embd=84, n_head=2, block_size=40, seed=5)
    for size, low, high in (
        (few, -30000.0, 30000.0),
        (few, 30000.0, 60000.0),
        (few, -200000.0, 200000.0),
        (many, -30000.0, 30000.0),
    ):
        steps, seen = scores_apart(size.T)
        scores = np.where(seen, low + steps, high).astype(np.float32)
        weights = with_scores(unit, size, scores)
        x = positions(size)
        best = np.where(seen, steps, -1).argmax(axis=1)
        expected = np.broadcast_to(np.eye(size.T)[best], (1, size.n_head, size.T, size.T))
        case = unit.as_case(size, seen_scores=low, masked_scores=high)
        got = look(exam, case, matrix_in_modes, unit, size, weights, x, same=same_large)
        for mode, attention in got.items():
            matrix_fails(
                expected,
                attention,
                tolerance("float32", size.T, 1.0),
                case | {"mode": mode},
                f"With scores near {low:g} for the keys that a query may see and {high:g} for those it may "
                "not, all weight must go to the largest that it may see. Which number replaces a masked "
                "score, and can exp overflow?",
                # In the others a mask may also be missing because of the mode, or of T = block_size.
                unit.numbers(exam, size, weights, x, "attention") if size is few and mode == "eval" else None,
            )

    # The same in bfloat16, since some attempts mask half precision with another number. No other check has
    # this length: a mask that is cached by length would be float32's. Scores of 2 ** 18 are rounded to 2 **
    # 11, and the rotation of the fourth exercise adds some of that: neighbours differ by more.
    size, reach = Size(B=1, T=13, n_embd=64, block_size=13, seed=5), 2.0**18
    steps, seen = scores_apart(size.T)
    scores = np.where(seen, steps * (reach / 3200) - reach, reach).astype(np.float32)
    case = unit.as_case(size, seen_scores=-reach, masked_scores=reach, dtype="bfloat16")
    weights, x = with_scores(unit, size, scores), positions(size)
    got = look(exam, case, matrix_in_modes, unit, size, weights, x, "bfloat16", same=same_bfloat16)
    for mode, attention in got.items():
        matrix_fails(
            np.broadcast_to(np.eye(size.T)[np.where(seen, steps, -1).argmax(axis=1)], attention.shape),
            attention,
            tolerance("bfloat16", size.T, 1.0),
            case | {"mode": mode},
            "In float32 your mask works, in bfloat16 masked keys get weight: all weight must go to the "
            "largest score that a query may see. Do you mask half precision with another number? "
            "float('-inf') is one in every dtype.",
        )


# What it costs.

HEADS = (2, 3, 64)
FEW, MANY = 24, 130  # tokens
EXTRA = 8  # operations that may come on top with more heads: a copy here and there


ENOUGH = (2, 6)
# {how: (B, T, D, dtype, whether for all of HEADS)}. As few sequences and tokens as show a mask: a loop over
# those is slow, but this check is not about it. The others are larger or in another mode, for which an
# attempt may take another path.
COUNTED = {
    "eval": (1, 2, 2, "float32", True),
    "train": (1, 2, 2, "float32", True),
    "longer": (2, FEW, 2, "float32", True),
    "large": (3, MANY, 16, "float32", False),
    "no_grad": (20, 2, 2, "float32", False),
    "bfloat16": (1, 2, 2, "bfloat16", False),
}


def operations(subject, unit, counts):
    """{"HOW Hn": the operations that a forward dispatches with n heads}"""
    cases = {}
    for how, (B, T, D, dtype, all_counts) in COUNTED.items():
        for n_head in counts if all_counts else ENOUGH:
            size = Size(B=B, T=T, n_embd=D * n_head, n_head=n_head, block_size=max(T, FEW))
            train = how == "train"
            cases[f"{how} H{n_head}"] = {
                "config": unit.config(size, P if train else 0.0),
                "weights": unit.own(size, unit.weights(size)),
                "x": size.x(),
                "train": train,
                "dtype": dtype,
                "no_grad": how == "no_grad",
            }
    answer = subject.run(LOOKS("operations", unit=unit.name, cases=cases))
    found = {}
    for key in cases:
        counted = answer.plain(key)
        if not isinstance(counted["count"], int):
            raise CheckFailed("The operations of your forward could not be counted.", same=("count",))
        if counted["same"] is not True:
            raise CheckFailed(
                f"While its operations are counted your forward gives another output than in the same call "
                f"before ({key}). It must do the same whether or not it is watched: what in your code looks "
                f"at torch's modes, or counts calls?",
                same=("counted",),
            )
        found[key] = counted["count"]
    return found


def counts_of(reading, how) -> list[int]:
    return [count for key, count in reading.items() if key.startswith(f"{how} H")]


def growing(reading) -> list[str]:
    """How a forward is called whose count grows with H."""
    return [how for how in COUNTED if max(counts := counts_of(reading, how)) - min(counts) > EXTRA]


def loop(reading) -> tuple[bool, bool]:
    """Whether the count grows with H, and whether even a few heads cost as much as a loop over many."""
    grows = bool(growing(reading))
    return grows, not grows and min(counts_of(reading, "eval") + counts_of(reading, "train")) > 4 * max(HEADS)


@of_readings
def same_loop(one, other):
    return loop(one) == loop(other)


@check("operations", "no loop over the heads: the number of operations does not grow with H", ("output",))
def no_loop_over_heads(exam, unit):
    # The head size stays the same. A loop padded to a fixed number of heads does not grow, but it is as long.
    case = {"B": [1, 2, 3, 20], "T": [2, FEW, MANY], "head_size": [2, 16], "n_head": list(HEADS)}
    got = look(exam, case, operations, unit, HEADS, same=same_loop)
    if any(loop(got)):
        how = (growing(got) or ["longer"])[-1]
        B, T, D, dtype, all_counts = COUNTED[how]
        counts = ", ".join(f"H = {h}: {got[f'{how} H{h}']}" for h in (HEADS if all_counts else ENOUGH))
        where = f"B = {B}, T = {T}, head size {D}, {dtype}" + {
            "train": ", train mode",
            "no_grad": ", under no_grad",
        }.get(how, "")
        fail(
            case,
            "One forward must take the same number of tensor operations however many heads there are: that "
            "is what the exercise is about. Where does Python go over the heads one by one?",
            f"operations counted: {counts} ({where})",
        )
    remark_cost(exam, unit)


LONG = Size(B=2, T=256, n_embd=64, n_head=4, block_size=256, seed=6)
SLOW = 2.0  # times the solution's seconds: what is less may be the machine's doing


def remark_cost(exam, unit) -> None:
    """Say what a forward of 256 tokens costs, where it is worth knowing."""
    asked = unit.asked("cost", LONG, unit.weights(LONG), looks=LOOKS, x=LONG.x())
    try:
        own, other = exam.attempt.run(asked), exam.reference.run(asked)
        times = own.plain("seconds") / other.plain("seconds")
        kept, right = (answer.plain("bytes") / 2**20 for answer in (own, other))
        squares = own.plain("squares") is True
    except (CheckFailed, ArithmeticError, KeyError, TypeError, ValueError):
        return  # compiled code keeps what it needs unseen; and the numbers are an attempt's word
    said = [
        f"At T = {LONG.T} a forward keeps {kept:.1f} MiB for the backward pass (the solution's {right:.1f})"
    ]
    if times > SLOW:
        said.append(f"and takes {times:.0f} times as long as the solution's")
    if squares:
        exam.remark(
            f"{' '.join(said)}. It stores the (T, T) weights of every head; F.scaled_dot_product_attention "
            f"computes the same without."
        )
    elif times > SLOW or kept > 1.5 * right:
        exam.remark(f"{' '.join(said)}.")


CHECKS = (
    one_token_gives_its_value,
    first_token_sees_itself,
    equal_scores_give_the_mean,
    scores_are_scaled,
    heads_have_their_matrices,
    heads_keep_to_themselves,
    no_token_sees_the_future,
    large_scores_stay_exact,
    no_loop_over_heads,
)
