"""The checks of dropout in an attention: on its weights, after the softmax, and on its output, after proj.

One token shows what happens to one weight, since its attention weight is 1 or dropped. Shares are measured
over many heads: a share that is dropped may lie as far from the right one as that of 1 in 10 ** 7 right
attempts does (numbers.py). In all fewer than 1 in 10 ** 6 right attempts fail a check for this.
"""

import functools
from dataclasses import replace

import numpy as np

from tests.exercises.battery.attention import LOOKS, Attention, P, by_head, positions, with_scores
from tests.exercises.battery.module import OFFSET, Size, in_modes, of_shapes, outputs
from tests.exercises.exam import (
    CheckFailed,
    Numbers,
    Reading,
    Subject,
    check,
    fail,
    in_parts,
    look,
    of_readings,
)
from tests.exercises.numbers import room_for_chance

SEQUENCES = 500
LEVEL_DIGITS = 3


def weights_seen(heads: int, channels: int) -> float:
    """As how many independent draws the share of dropped weights counts that channels of a kept output show.

    A head shows its weight once for each of its channels that is kept, and the number of these is drawn too.
    """
    return heads / (1 + P / ((1 - P) * channels))


def without_nan(y: np.ndarray, numbers: Numbers | None = None) -> np.ndarray:
    """An output in train mode; CheckFailed where it holds NaN, of which no share can be measured."""
    if not np.isfinite(y).all():
        count = int((~np.isfinite(y)).sum())
        raise CheckFailed(
            f"In train mode, with dropout, {count} of {y.size} elements of the output are NaN or infinite. "
            f"Is something divided by 0 there, or is a row of scores left without any key? Dropout "
            f"multiplies the weights, after the softmax.",
            same=("not finite in training",),
            numbers=numbers,
        )
    return y


def few_tokens(unit: Attention, tokens: int, n_head: int = 4, D: int = 8) -> tuple[Size, dict, np.ndarray]:
    """Size, weights and x for which the output shows the dropped elements.

    The values are 1 at position 0 and 3 at position 1, the same for all channels of a head; proj is the
    identity with a bias of 1.
    """
    size = Size(B=SEQUENCES, T=tokens, n_embd=n_head * D, n_head=n_head, block_size=8)
    scores = np.zeros((tokens, tokens), dtype=np.float32)
    scores[-1, 0] = 1.0  # so that dropping a score changes the weights
    weights = with_scores(unit, size, scores)
    C = size.n_embd
    weights["qkv.weight"][2 * C :] = 0.0
    weights["qkv.weight"][2 * C :, :tokens] = np.array([1.0, 3.0], dtype=np.float32)[:tokens]
    weights["proj.bias"] = np.ones(C, dtype=np.float32)
    return size, weights, positions(size)


def levels_of(size: Size, y: np.ndarray) -> Reading:
    """What dropout does to an output of few_tokens. Reading, for the last token:

    levels:   the different values of the output, 0 left out
    zeros:    the share of zeros (what is dropped after proj)
    low:      among the nonzero elements, the share of the lowest level (with one token: weights dropped)
    coherent: the share of heads whose channels, zeros aside, agree (weights, not values, are dropped)
    """
    nan = np.isnan(y).any(axis=2).mean(axis=0)
    facts = {"p": P, "H": size.n_head, "draws": size.B}
    y = without_nan(y, Numbers("dropout_nan", np.zeros(size.T), nan, facts=facts))
    y = y[:, -1].reshape(size.B, size.n_head, size.D)
    kept = np.abs(y) > 1e-6
    levels = np.unique(np.round(y[kept], LEVEL_DIGITS)) if kept.any() else np.zeros(0, np.float32)
    levels = levels[np.append(True, np.diff(levels) > 2e-3)][:40] if len(levels) else levels
    lowest = np.abs(y - (levels[0] if len(levels) else 0)) < 2e-3
    high = np.where(kept, y, -np.inf).max(axis=2)
    low = np.where(kept, y, np.inf).min(axis=2)
    return {
        "levels": levels.astype(np.float32),
        "zeros": float((~kept).mean()),
        "low": float(lowest[kept].mean()) if kept.any() else 0.0,
        "coherent": float((high - low < 2e-3).mean()),
    }


def dropout(subject: Subject, unit: Attention, mode: str, tokens: int, p: float = P) -> Reading:
    """What a dropout of probability p does in this mode."""
    size, weights, x = few_tokens(unit, tokens)
    return levels_of(size, in_modes(subject, unit, size, weights, x, modes=(mode,), dropout=p, seed=1)[mode])


Q = 0.4  # another probability than P, in case one of them is written down somewhere
BIAS = 9.0


def dropped_together(subject: Subject, unit: Attention, shown: np.ndarray) -> Reading:
    """What dropout of probability Q does to whole attention matrices, and which elements share a mask.

    shown: the right attention matrix (T, T), the same for all heads and sequences.
    kept:    whether every weight that is not dropped is the right one divided by (1 - Q) ** 2
    cells:   the (query, key) pairs that are dropped in another share than 1 - (1 - Q) ** 2
    last:    whether the share Q of the output is 0, of which no element is 0 before the last dropout
    bias:    whether that share is nothing but proj's bias
    weights: over which of queries, keys, heads, sequences and calls the attention weights share a mask
    output:  over which of tokens, channels, heads, sequences and calls the output does

    Two independent masks are both 0 with the product of their shares. A shown weight is 0 with 0.64, since
    its output may be dropped too: together 0.41, and 0.50 where the weight's mask is shared. An output (any
    proj, a bias far from 0) is 0 with 0.4: together 0.16, or 0.4. With 4800 pairs and more these shares have
    standard deviations below 0.0072, and a cell's, of 2400, 0.010.
    """
    # T = block_size, as in training; half of B is a multiple of 64, where masks might come again.
    size = Size(B=640, T=6, block_size=6, seed=1)
    weights = with_scores(unit, size, scores_of(shown))
    # A proj that mixes all channels: an attempt that drops before it, or before its bias, has no zero in the
    # output.
    mixing = {
        "proj.weight": unit.weights(size)["proj.weight"],
        "proj.bias": np.full_like(weights["proj.bias"], BIAS),
    }
    x = positions(size)
    answer = subject.run(
        unit.asked("two_calls", size, weights, looks=LOOKS, dropout=Q, x=x, mixing=mixing), seed=2
    )
    given = outputs(subject, answer, dict.fromkeys(["w0", "w1", "y0", "y1"], x))
    given = {key: without_nan(y) for key, y in given.items()}
    shown_now = by_head(size, given["w0"])
    seen = np.tril(np.ones((size.T, size.T), dtype=bool))
    kept = np.abs(shown_now - shown / (1 - Q) ** 2) < 1e-4
    share = (shown_now == 0).mean(axis=(0, 1))
    of_cells = room_for_chance(1 - (1 - Q) ** 2, size.B * size.n_head)
    zero = {key: value == 0 for key, value in given.items()}
    # Queries 4 and 5 see keys 0 to 3, all with a weight above 0.
    w, again = (by_head(size, zero[key])[:, :, 4:6, :4] for key in ("w0", "w1"))
    y = zero["y0"]
    heads = y.reshape(size.B, size.T, size.n_head, size.D)
    halves = (1, size.B // 2)  # the next sequence, and the one of the same place in the other half
    together = {
        "queries": both_zero(w, 2), "keys": both_zero(w, 3), "heads": both_zero(w, 1),
        "sequences": both_zero(w, 0, halves),
        "calls": (w & again).mean(),
    }  # fmt: skip
    output = {
        "tokens": both_zero(y, 1),
        "channels": both_zero(y, 2, (1,)),
        "sequences": both_zero(y, 0, halves),
        "heads": both_zero(heads, 2),
        "calls": (y & zero["y1"]).mean(),
    }
    return {
        "last": bool(abs(y.mean() - Q) < 0.02),
        "bias": bool(abs((given["y0"] == BIAS).mean() - Q) < 0.02),
        "kept": bool((kept | (shown_now == 0)).all()),
        "cells": [f"{t},{s}" for t, s in np.argwhere(seen & (np.abs(share - 1 + (1 - Q) ** 2) > of_cells))],
        "weights": [axis for axis, both in together.items() if both > 0.455],
        "output": [axis for axis, both in output.items() if both > 0.28],
    }


def both_zero(zero: np.ndarray, axis: int, steps=None) -> float:
    """The largest share of pairs that are both zero, over the steps from one to the other along axis (None:
    all)."""
    n = zero.shape[axis]
    pairs = [
        (zero.take(range(n - step), axis), zero.take(range(step, n), axis)) for step in steps or range(1, n)
    ]
    return max(float((one & other).mean()) for one, other in pairs)


def scores_of(shown: np.ndarray) -> np.ndarray:
    """Scores whose masked softmax is `shown`."""
    return np.where(shown > 0, np.log(np.maximum(shown, 1e-30)), 0.0).astype(np.float32)


def right_attention(T: int, seed: int) -> np.ndarray:
    """A causal attention matrix (T, T) with weights that are all different and none near 0."""
    weights = np.tril(np.random.default_rng(seed).uniform(1.0, 3.0, size=(T, T)))
    return weights / weights.sum(axis=1, keepdims=True)


# T, B, H and the dtype; one sequence alone is a case of its own. bfloat16 tells the scores of so many tokens
# apart.
LENGTHS = ((40, 24, 4, "float64"), (44, 24, 2, "bfloat16"), (600, 1, 1, "float32"))
NEAREST = 30.0  # the score of a key above that of the key before it


def dropped_in_long(subject: Subject, unit: Attention) -> Reading:
    """Which share of the weights is dropped in longer sequences, for early and for late queries.

    {"wrong": the tokens with another share than P, "shares": {tokens: their share}, "kept": whether the
    weights that are not dropped are right, "zeros": {tokens: the share of the output that is 0}, "wrong
    zeros": as for the weights}. The score grows with the position of the key, so that each token has all of
    its weight on itself; a rotation only lowers the others. The values grow with the position from 1 to 2,
    and proj's bias is 1: of an output whose weight is dropped, the bias is left.
    """
    reading = {"wrong": [], "shares": {}, "kept": True, "wrong zeros": [], "zeros": {}}
    for T, B, n_head, dtype in LENGTHS:
        size = Size(B=B, T=T, n_embd=2 * n_head, n_head=n_head, block_size=T, seed=14)
        weights = unit.rising(size, NEAREST)
        weights["qkv.weight"][2 * size.n_embd :, :2] = 1.0, 1.0 / T
        x = size.x().copy()
        x[..., 0], x[..., 1] = 1.0, np.arange(T)
        output = in_modes(subject, unit, size, weights, x, dtype, ("train",), dropout=P, seed=5)["train"]
        output = without_nan(output)
        y = output.reshape(B, T, n_head, size.D).max(axis=-1)
        kept = ((1 + np.arange(T) / T) / (1 - P) + 1)[:, None] / (1 - P)
        right = (y * (1 - P) < 1.5) | (np.abs(y - kept) < (0.1 if dtype == "bfloat16" else 1e-3))
        reading["kept"] &= bool(right.all())
        for first, last in ((0, T // 2), (T // 2, T)):
            seen = y[:, first:last][y[:, first:last] != 0]  # else every channel of the output was dropped
            tokens = f"{dtype}, T = {T}, tokens {first} to {last - 1}"
            zero = output[:, first:last] == 0
            reading["zeros"][tokens] = float(zero.mean())
            if not abs(reading["zeros"][tokens] - P) <= room_for_chance(P, zero.size):
                reading["wrong zeros"].append(tokens)
            reading["shares"][tokens] = float((seen * (1 - P) < 1.5).mean()) if len(seen) else 0.0
            if not abs(reading["shares"][tokens] - P) <= room_for_chance(P, max(len(seen), 1)):
                reading["wrong"].append(tokens)
    return reading


SWITCHED = (
    "eval at first",
    "then train",
    "then eval",
    "then train, under no_grad",
    "train, in bfloat16",
    "train, with one head",
)


def switched(subject: Subject, unit: Attention) -> Reading:
    """Whether dropout follows the mode as it is switched: {what: whether it was so}.

    All values and proj's bias are 1 and proj is the identity. So the output is 2 where nothing is dropped,
    and 0 in the share P; at the first token, which attends to itself alone, a nonzero output is below 1.75
    where its weight is dropped, in the share P, and else at least 2.
    """
    size = Size(B=480, T=3, n_embd=32, n_head=4, seed=13)
    one_head = replace(size, B=1920, T=1, n_embd=2, n_head=1)

    def shows(size):
        """config and weights, and x."""
        C, x = size.n_embd, size.x().copy()
        x[..., 0] = 1.0
        weights = unit.weights(size)
        weights["qkv.weight"][2 * C :] = np.eye(C)[0]  # v is the input's first channel
        weights |= {"proj.weight": np.eye(C, dtype=np.float32), "proj.bias": np.ones(C, np.float32)}
        return {"config": unit.config(size, P), "weights": unit.own(size, weights)}, x

    (plain, x), (alone, x_alone) = shows(size), shows(one_head)
    asked = LOOKS(
        "switched",
        unit=unit.name,
        plain=plain,
        one_head=alone,
        x=x,
        x_one_head=x_alone,
        place=unit.placed(OFFSET),
    )
    answer = subject.run(asked, seed=4)
    reading = {}
    for what in SWITCHED:
        of, given = (one_head, x_alone) if "one head" in what else (size, x)
        dtype = "bfloat16" if "bfloat16" in what else "float32"
        y = without_nan(answer.tensor(what, given.shape, "the output", dtype, subject.device))
        if "train" not in what:
            reading[what] = bool((np.abs(y - 2) < 1e-5).all())
            continue
        first = y[:, 0][y[:, 0] != 0]
        share = (first < 1.75).mean() if len(first) else 0.0
        room = room_for_chance(P, weights_seen(of.B * of.n_head, of.D))
        reading[f"{what} (the attention weights)"] = bool(abs(share - P) < room)
        reading[f"{what} (the output)"] = bool(abs((y == 0).mean() - P) < room_for_chance(P, y.size))
    return reading


# Large enough for a softmax in float32, small enough for the curvature: over 800 dropouts, half of them with
# such a softmax, slopes were off by 0.0017 of their size at most (with ten times the step by 0.14, with a
# third by 0.007).
STEP = 1e-3
APART = 0.05  # two slopes that differ by more of their size, or of 1, are not the same


def dropout_gradients(subject: Subject, unit: Attention) -> Reading:
    """How the gradients in train mode, with dropout, agree with differences under the same seed.

    {"repeats": whether the same seed gives the same output; name: whether the two slopes agree in a random
    direction of x, of the rows of q, k and v, and of proj}.
    """
    size = Size(B=3, T=5, seed=12)
    weights = {key: value.astype(np.float64) for key, value in unit.weights(size).items()}
    x = size.x().astype(np.float64)
    rng = np.random.default_rng(13)
    cotangent = rng.normal(size=x.shape)
    directions = {"x": rng.normal(size=x.shape)}
    for number, part in enumerate(("queries", "keys", "values")):
        directions[part] = np.zeros_like(weights["qkv.weight"])
        rows = slice(number * size.n_embd, (number + 1) * size.n_embd)
        directions[part][rows] = rng.normal(size=(size.n_embd, size.n_embd))
    directions |= {key: rng.normal(size=weights[key].shape) for key in ("proj.weight", "proj.bias")}
    changes = {}
    for key, direction in directions.items():
        of = "qkv.weight" if key in ("queries", "keys", "values") else key
        for sign, way in ((STEP, "up"), (-STEP, "down")):
            changed = {of: (weights | {"x": x})[of] + sign * direction}
            changes[f"{key} {way}"] = unit.own(size, changed)
    answer = subject.run(
        unit.asked("slopes", size, weights, looks=LOOKS, dropout=P, x=x, cotangent=cotangent, changes=changes)
    )
    y = outputs(subject, answer, dict.fromkeys(["first", "again", *changes], x), "float64")
    reading = {"repeats": bool(np.allclose(y["first"], y["again"], atol=1e-6))}
    found = unit.as_checked(size, answer.tensors("gradients"))
    for key, direction in directions.items():
        measured = float(((y[f"{key} up"] - y[f"{key} down"]) * cotangent).sum()) / (2 * STEP)
        gradient = found.get("qkv.weight" if key in ("queries", "keys", "values") else key)
        given = 0.0 if gradient is None else float((gradient * direction).sum())
        reading[key] = abs(given - measured) <= APART * max(abs(given), abs(measured), 1.0)
    return reading


MANY = 500
ON_AVERAGE = 0.2


def average_gradients(subject: Subject, unit: Attention) -> Reading:
    """{name: whether the gradient in train mode, averaged over MANY dropouts, is that of eval mode}.

    For dropout whose numbers no seed repeats: the output is linear in both masks, and their mean is 1. A
    gradient has many elements, whose mean square hardly depends on the draws: over 200 streams of dropout the
    averages were off by 0.08 of the gradient's size at most; where a gradient is missing they are off by 1.
    """
    size = Size(B=MANY, T=5, seed=12)
    weights = unit.weights(size)
    x, cotangent = (np.repeat(size.x(stream)[:1], MANY, axis=0) for stream in (1, 2))
    modes, given = {"eval": {}, "train": {}}, {"x": x} | weights
    answer = subject.run(
        unit.asked("gradients", size, weights, dropout=P, x=x, cotangent=cotangent, modes=modes)
    )

    def by_part(name):
        found = of_shapes(unit.as_checked(size, answer.tensors(name)), given)
        found = {
            key: np.zeros(value.shape) if found[key] is None else found[key] for key, value in given.items()
        }
        parts = dict(zip(("queries", "keys", "values"), np.split(found.pop("qkv.weight"), 3)))
        return parts | found | {"x": found["x"].sum(axis=0)}

    train, right = by_part("train"), by_part("eval")
    return {
        key: bool(np.linalg.norm(train[key] - wanted) <= ON_AVERAGE * np.linalg.norm(wanted))
        for key, wanted in right.items()
    }


def same_dropout(one: Reading | CheckFailed, other: Reading | CheckFailed) -> bool:
    """Whether two readings of dropout agree: levels closely, shares within 6 standard deviations."""
    if isinstance(one, CheckFailed) or isinstance(other, CheckFailed):
        return False
    # 2000 heads: a share near 0.5 has a standard deviation of 0.011.
    return (
        len(one["levels"]) == len(other["levels"])
        and bool(np.allclose(one["levels"], other["levels"], atol=4e-3))
        and all(abs(one[key] - other[key]) < 0.07 for key in ("zeros", "low", "coherent"))
    )


# The checks.

SHARE = room_for_chance(P, weights_seen(4 * SEQUENCES, 8))


@functools.cache
def dropout_in_training(unit):
    """The look at dropout that two checks share: without a case, so that it is taken once."""
    return in_parts(
        one=lambda subject: dropout(subject, unit, "train", 1),
        two=lambda subject: dropout(subject, unit, "train", 2),
        together=lambda subject: dropped_together(subject, unit, right_attention(6, 14)),
    )


@functools.cache
def long_in_training(unit):
    """The look at dropout in longer texts, which two checks share as well."""
    return lambda subject: dropped_in_long(subject, unit)


LENGTHS_CASE = dict(zip(("T", "B", "n_head", "dtype"), map(list, zip(*LENGTHS)))) | {
    "dropout": P,
    "mode": "train",
}
LENGTHS_HERE = "Short texts pass, these do not. What in your code depends on T, on B or on the dtype?"


@of_readings
def same_in_training(one, other):
    same_levels = all(same_dropout(one[key], other[key]) for key in one if key != "together")
    return same_levels and one.get("together") == other.get("together")


@of_readings
def same_in_long(one, other):
    return all(one[key] == other[key] for key in ("wrong", "kept", "wrong zeros"))


def shares_and_factors(one: Reading) -> list[float] | None:
    """Of a reading of one token: the share of the weights that is dropped and the factor of those that are
    kept, and the same of the output; None where its levels do not show them.

    A head is proj's bias of 1 and, unless its weight is dropped, a value of 1 times that weight.
    """
    levels = one["levels"].astype(float)
    if len(levels) == 1:  # no weight is dropped
        return [0.0, 1.0, one["zeros"], float(levels[0] / 2)]
    if len(levels) == 2 and one["coherent"] > 1 - 1e-9:
        return [one["low"], float(levels[1] / levels[0] - 1), one["zeros"], float(levels[0])]
    return None


def dropout_numbers(exam, unit, one: Reading, two: Reading) -> Numbers | None:
    """What a dropout of P, and one of Q, does to a single weight and to the output."""
    another = exam.further(dropout, unit, "train", 1, Q)
    got = [shares_and_factors(reading) for reading in (one, another) if reading is not None]
    if len(got) < 2 or None in got:
        return None
    expected = [[p, 1 / (1 - p), p, 1 / (1 - p)] for p in (P, Q)]
    heads, D = 4 * SEQUENCES, 8
    facts = {"p": (P, Q), "draws": (weights_seen(heads, D), heads * D), "two": two["levels"]}
    return Numbers("dropout", np.array(expected), np.array(got), facts=facts)


CASE = {"dropout": P, "mode": "train", "B": SEQUENCES, "n_embd": 32, "n_head": 4}


@check("dropout_weights", "in training, dropout on the attention weights", ("running_mean",))
def drops_weights(exam, unit):
    p = P
    got = look(exam, CASE, dropout_in_training(unit), same=same_in_training)
    one, two = got["one"], got["two"]
    lines = [
        f"different values of the output: {_numbers(one['levels'])}; with two tokens: "
        f"{_numbers(two['levels'])}"
    ]
    if len(one["levels"]) > 1:  # one value alone shows nothing dropped
        lines.insert(
            0, f"one token: {one['low']:.0%} of what is not 0 shows a dropped weight (expected {p:.0%})"
        )
    question = (
        f"In train mode each attention weight must be dropped with probability config.dropout = {p}, after "
        f"the softmax, and the others divided by 1 - {p}. "
    )

    def fails(said: str):
        fail(CASE, question + said, lines, numbers=dropout_numbers(exam, unit, one, two))

    if len(one["levels"]) == 1 and len(two["levels"]) == 1:
        fail(CASE, question + "Nothing is dropped there. Is dropout applied between the softmax and v?")
    if abs(one["low"] - p) > SHARE or len(one["levels"]) != 2:
        fails("Another share is dropped. Before or after the softmax, and with which p?")
    if one["coherent"] < 1 - 1e-9:
        fail(
            CASE,
            question
            + "Here channels of one head are dropped apart from each other: that is dropout on the values.",
            lines,
        )
    ratio = (one["levels"][1] - one["levels"][0]) / one["levels"][0]
    if abs(ratio - 1 / (1 - p)) > 0.01:
        fails(f"A weight that is kept is multiplied by {ratio:.3f}, not by {1 / (1 - p):.3f}.")
    if len(two["levels"]) != 4:
        fails("With two tokens the kept weights are not those of the softmax.")
    together = got["together"]
    if not together["kept"] or together["cells"]:
        where = (
            f"at these (query, key): {' '.join(together['cells'][:6])}"
            if together["cells"]
            else "in the weights that are kept"
        )
        fail(
            CASE | {"T": 6, "dropout": Q},
            question
            + f"With 6 tokens and p = {Q} the attention matrix in train mode is not that of eval mode with "
            "weights dropped and the others divided by 1 - p. Does anything else depend on the mode, or "
            "on T?",
            f"it differs {where}",
            numbers=dropout_numbers(exam, unit, one, two),
        )
    if together["weights"] and not together["output"]:  # the weights are seen through the output's mask
        axes = " and ".join(together["weights"])
        fail(
            CASE,
            question + f"Yours drops the same weights in all {axes}: in which shape is the mask drawn?",
            lines,
        )
    long = look(exam, LENGTHS_CASE, long_in_training(unit), same=same_in_long)
    lines = [f"{key}: {share:.0%} of the weights are dropped" for key, share in long["shares"].items()]
    if long["wrong"]:
        fail(LENGTHS_CASE, question + LENGTHS_HERE, lines)
    if not long["kept"] and not long["wrong zeros"]:  # they are seen through the output's dropout
        fail(
            LENGTHS_CASE,
            question + "Here those that are kept are not the softmax's. What depends on T, B or dtype?",
            lines,
        )


@check("dropout_output", "in training, dropout on the output, after proj", ("one_token",))
def drops_outputs(exam, unit):
    p = P
    reading = look(exam, CASE, dropout_in_training(unit), same=same_in_training)
    got = reading["one"]
    lines = [
        f"{got['zeros']:.0%} of the output is 0 (expected {p:.0%})",
        f"different values of the output: {_numbers(got['levels'])}",
    ]
    question = (
        f"In train mode each element of the output must become 0 with probability config.dropout = {p}, and "
        f"the others be divided by 1 - {p}. "
    )

    def fails(said: str):
        fail(CASE, question + said, lines, numbers=dropout_numbers(exam, unit, got, reading["two"]))

    if abs(got["zeros"] - p) > SHARE:
        fails("Is dropout the last thing that happens, after proj, with config.dropout?")
    # proj adds a bias of 1, so a head whose weight is dropped shows the output's factor alone.
    if (
        len(got["levels"])
        and abs(got["levels"][0] * (1 - p) - 1) > 0.01
        and abs(got["levels"][0] * (1 - p) - 2) > 0.01
    ):
        fails("What is kept has another size.")
    if not reading["together"]["last"]:
        fail(
            CASE | {"T": 6, "dropout": Q},
            question
            + "With a proj that mixes all channels and a bias yours does not: what comes after your dropout?",
        )
    long = look(exam, LENGTHS_CASE, long_in_training(unit), same=same_in_long)
    if long["wrong zeros"]:
        lines = [f"{key}: {share:.0%} of the output is 0" for key, share in long["zeros"].items()]
        fail(LENGTHS_CASE, question + LENGTHS_HERE, lines)
    if reading["together"]["output"]:
        axes = " and ".join(reading["together"]["output"])
        fail(
            CASE,
            question + f"Yours drops the same places in all {axes}: in which shape is the mask drawn?",
            lines,
        )


@check(
    "dropout_gradients",
    "in training, the gradients are those of the dropped-out function",
    ("gradients", "dropout_weights", "dropout_output"),
)
def has_the_gradients_of_what_is_left(exam, unit):
    # The same seed drops the same places, so that a small step tells the slope.
    case = {"dropout": P, "mode": "train", "B": 3, "T": 5, "n_embd": 32, "n_head": 4}
    got = look(exam, case, dropout_gradients, unit)
    known = "the slopes of the output under the same dropout"
    if not got["repeats"]:  # drawn from a generator that no seed reaches
        case |= {"B": MANY}
        got = look(exam, case, average_gradients, unit) | {"repeats": False}
        known = "those of eval mode, on average over many dropouts"
    bad = [key for key, right in got.items() if key != "repeats" and not right]
    if bad:
        fail(
            case,
            f"In train mode the gradients of {', '.join(bad)} are not {known}; without dropout they are "
            f"right. Is dropout applied under no_grad, or to something detached?",
        )


def dropout_in_eval(subject, unit):
    return {key: dropout(subject, unit, "eval", tokens) for key, tokens in (("one", 1), ("two", 2))}


@check("dropout_eval", "in eval mode nothing is dropped", ("one_token",))
def drops_nothing_in_eval_mode(exam, unit):
    case = CASE | {"mode": "eval"}
    got = look(exam, case, dropout_in_eval, unit, same=same_in_training)["one"]
    if got["zeros"] > 0 or len(got["levels"]) != 1 or abs(float(got["levels"][0]) - 2.0) > 1e-3:
        fail(
            case,
            "In eval mode the output must be exact: nothing dropped, nothing rescaled. Does every dropout "
            "depend on the mode? nn.Dropout does; F.dropout needs training=self.training, and so does "
            "dropout_p of scaled_dot_product_attention.",
            f"{got['zeros']:.0%} of the output is 0; different values: {_numbers(got['levels'])} (expected "
            f"2)",
        )


@check(
    "dropout_modes",
    "dropout follows the mode whenever it is switched, under no_grad and in bfloat16 too",
    ("dropout_weights", "dropout_output", "dropout_eval"),
)
def follows_the_mode(exam, unit):
    case = {"dropout": P, "B": 120, "T": 3, "n_embd": 32, "n_head": 4}
    got = look(exam, case, switched, unit)
    bad = [what for what, right in got.items() if not right]
    if bad:
        fail(
            case,
            "One module is called in eval mode, in train mode, in eval and in train mode again, another "
            "one with dropout 0 is built beside it, a third is in bfloat16, and a fourth has one head. "
            f"Wrong: {'; '.join(bad)}. Each call must use the mode that the module is in then, and its own "
            "config. What does your code keep from an earlier call, or use instead?",
        )


def _numbers(levels):
    return ", ".join(f"{level:.3g}" for level in levels[:8]) + (", .." if len(levels) > 8 else "") or "none"


CHECKS = (
    drops_weights,
    drops_outputs,
    has_the_gradients_of_what_is_left,
    drops_nothing_in_eval_mode,
    follows_the_mode,
)
