"""The checks of exercise 1, one mechanism each: first what an attention shows of its inside, then that it
is the lecture's function for any shape, then dropout, cost, and fuse_heads.

Up to fuse_heads a check takes the class of its sizes, so that exercise 4 asks the same of its attention.
"""

import functools
import itertools
import math
from dataclasses import asdict, replace

import numpy as np
from hypothesis import strategies as st

from tests.exercises import models
from tests.exercises.ex1 import looks
from tests.exercises.ex1.looks import CLASS, Size, build, forward, random_input, random_weights
from tests.exercises.exam import CheckFailed, check, fail, for_all, in_parts, look, of_readings, same_reading
from tests.exercises.numbers import (
    EPSILON, bfloat16, pattern, picture, room_for_chance, rounded_to, tolerance, worst, wrong,
)  # fmt: skip
from tests.exercises.program import Program, gpt_core, name

OUTPUT_AXES = ("sequence", "token", "channel")


@st.composite
def sizes(draw, largest_T=12, Size=Size):
    """Small attentions of every shape: T from 1 to block_size, one head, the smallest head size, odd sizes."""
    n_head, D = draw(st.integers(1, 5)), draw(st.integers(1, 9 // Size.head_step)) * Size.head_step
    T = draw(st.integers(1, largest_T))
    return Size(
        B=draw(st.integers(1, 3)),
        T=T,
        n_embd=n_head * D,
        n_head=n_head,
        block_size=T + draw(st.integers(0, 4)),
    )


def expect(expected, got, allowed, case, message, axes=OUTPUT_AXES, **more):
    """Fail where `got` is further than `allowed` from `expected`."""
    if wrong(expected, got, allowed).any():
        fail(case, message, worst(expected, got, axes), pattern(expected, got, allowed, axes), **more)


def allowance(size: Size, weights, x, y, dtype="float32", roundings=8) -> float:
    """The tolerance for an output y (B, T, C) of this attention."""
    terms = size.n_embd + size.D + size.T
    spread = looks.largest_logit(size, weights, x)
    return tolerance(dtype, terms, max(1.0, float(np.abs(y).max())), spread, roundings)


# What it is.


@check("runs", f"the file runs, and defines {CLASS} and fuse_heads")
def test_runs(exam):
    if exam.load_error is not None:
        raise exam.load_error
    for wanted in (CLASS, "fuse_heads"):
        if wanted not in exam.names:
            raise CheckFailed(f"Your file does not define {wanted}; the contract names it so. A typing error?")


def parameters(subject, size):
    program = Program()
    attention = program.build(name(size.attention), kwargs={"config": size.config(program)})
    found = subject.run(program.give(p=program.parameters(attention))).plain("p")
    for p in found.values():  # a KeyError or TypeError here is the subject's doing, see Exam.observe
        p["same_as"], p["requires_grad"], tuple(p["shape"])
    return {"parameters": found}


NAMES = ("qkv.weight", "proj.weight", "proj.bias")


def without_second_names(found):
    """The listed parameters; a second name of one of the three is no further parameter."""
    known = {found[key]["same_as"] for key in NAMES if key in found}
    return {key: p for key, p in found.items() if key in NAMES or p["same_as"] not in known}


def shapes_of(reading):
    return {key: tuple(p["shape"]) for key, p in without_second_names(reading["parameters"]).items()}


@of_readings
def same_shapes(one, other):
    """Names, shapes and requires_grad; initial values are free."""
    trainable = [{key: p["requires_grad"] for key, p in r["parameters"].items()} for r in (one, other)]
    return shapes_of(one) == shapes_of(other) and trainable[0] == trainable[1]


@check("parameters", "its parameters are qkv.weight, proj.weight and proj.bias, and no others", ("runs",))
def test_parameters(exam, Size=Size):
    size = Size()
    C = size.n_embd
    got = shapes_of(look(exam, size.as_case(), parameters, size, same=same_shapes))
    expected = {"qkv.weight": (3 * C, C), "proj.weight": (C, C), "proj.bias": (C,)}
    if got == expected:
        return
    lines = [f"missing: {key} {shape}" for key, shape in expected.items() if key not in got]
    lines += [f"not in the contract: {key} {shape}" for key, shape in got.items() if key not in expected]
    lines += [f"{key} is {got[key]}, expected {expected[key]}" for key in expected if got.get(key, expected[key]) != expected[key]]
    fail(
        size.as_case(),
        f"With C = {C} the parameters must be qkv.weight ({3 * C}, {C}), proj.weight ({C}, {C}) and proj.bias "
        f"({C},): saved weights are loaded by these names. What else did you create, or leave out?",
        lines,
    )


@check("trainable", "all three parameters are trainable", ("parameters",))
def test_trainable(exam, Size=Size):
    size = Size()
    got = look(exam, size.as_case(), parameters, size, same=same_shapes)["parameters"]
    frozen = [key for key in NAMES if not got[key]["requires_grad"]]
    if frozen:
        fail(
            size.as_case(),
            f"{', '.join(frozen)} has requires_grad False: an optimizer would never change it. Where is that switched off?",
        )


def plain_forward(subject, size):
    y = forward(subject, size, random_weights(size), random_input(size))["y"]
    return {"y": y}


@check("output", "the output is an ordinary tensor of x's shape and dtype, without NaN", ("parameters",))
def test_output(exam, Size=Size):
    size = Size()
    case = size.as_case()
    y = look(exam, case, plain_forward, size)["y"]
    if not np.isfinite(y).all():
        fail(
            case,
            f"{int((~np.isfinite(y)).sum())} of {y.size} elements of the output are NaN or infinite. Is there a row "
            f"of scores in which everything is masked? softmax of nothing but -inf is NaN.",
            pattern(np.zeros_like(y), np.where(np.isfinite(y), 0, y), 1e-30, OUTPUT_AXES),
        )


# What it shows of its inside.


@check("one_token", "one token alone gives proj(value): the value and output path", ("output",))
def test_one_token(exam, Size=Size):
    # T = 1: the one attention weight is 1 whatever the mask, the scale and the softmax do.
    size = Size(B=3, T=1)
    weights, x = random_weights(size), random_input(size)
    expected = exam.expected(forward, size, weights, x)["y"]
    got = look(exam, size.as_case(), forward, size, weights, x)["y"]
    expect(
        expected, got, allowance(size, weights, x, expected), size.as_case(),
        "With one token every attention weight is 1, so the output must be proj(v). Are the value's rows the last "
        "third of qkv.weight, head after head? Is proj applied once, with its bias?",
    )  # fmt: skip


def first_row(subject, size, weights, x):
    return {"y0": forward(subject, size, weights, x)["y"][:, :1]}


@check("first_token", "the first token attends to itself alone: the mask", ("one_token",))
def test_first_token(exam, Size=Size):
    size = Size()
    weights, x = random_weights(size), random_input(size)
    expected = exam.expected(first_row, size, weights, x)["y0"]
    got = look(exam, size.as_case(), first_row, size, weights, x)["y0"]
    expect(
        expected, got, allowance(size, weights, x, expected), size.as_case(),
        "Token 0 has only itself to attend to, so its output must be proj(v) of token 0. Which keys does query 0 "
        "see in your code, and what do the masked ones weigh? If the mask is right: do the split into heads and the join "
        "keep the numbers of one token together?",
    )  # fmt: skip


def matrix_fails(expected, got, allowed, case, message):
    """Fail with a picture of the worst head's matrix."""
    if not wrong(expected, got, allowed).any():
        return
    with np.errstate(invalid="ignore"):
        distance = np.nan_to_num(np.abs(got - expected), nan=np.inf)
    b, h = np.unravel_index(int(distance.max(axis=(2, 3)).argmax()), distance.shape[:2])
    axes = ("sequence", "head", "query", "key")
    lines = [worst(expected, got, axes), *pattern(expected, got, allowed, axes), *matrix_words(expected, got, allowed)]
    fail(case, message, lines, picture(expected[b, h], got[b, h], f"head {h}:"))


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
            lines.append(f"rows do not sum to 1 (the first row sums to {rows[0, 0, 0]:.3g}, the last to {rows[0, 0, -1]:.3g})")
            if np.abs(columns - 1).max() <= 10 * allowed:
                lines.append("columns do: the softmax shares out over the queries")
    if got.shape[1] > 1 and not wrong(expected, got[:, ::-1], allowed).any():
        lines.append("the heads are right, in reverse order")
    return lines


@check("running_mean", "with q = k = 0 each token takes the mean of what it sees", ("one_token",))
def test_running_mean(exam, Size=Size):
    # Equal scores: the scale and the order of the rows of q and k cannot matter, mask and softmax can.
    size = Size(T=6, seed=1)
    weights = looks.with_scores(size, np.zeros((size.T, size.T), dtype=np.float32))
    x = looks.positions(size)
    lower = np.tril(np.ones((size.T, size.T)))
    expected = np.broadcast_to(lower / lower.sum(1, keepdims=True), (size.B, size.n_head, size.T, size.T))
    got = look(exam, size.as_case(), looks.attention_matrix, size, weights, x)["attention"]
    matrix_fails(
        expected, got, tolerance("float32", size.T, 1.0), size.as_case(),
        "With equal scores, token t must give 1 / (t + 1) to each of the tokens 0 to t. Over which dimension does "
        "your softmax run, and is the mask applied before it?",
    )  # fmt: skip


def scale_of(subject, size, difference):
    """The factor on the scores, read from the odds of two keys whose q . k differ by `difference`."""
    scores = np.zeros((2, 2), dtype=np.float32)
    scores[1, 0] = difference / np.sqrt(size.D)
    weights = looks.with_scores(size, scores)
    attention = looks.attention_matrix(subject, size, weights, looks.positions(size))["attention"][0, 0]
    first, second = float(attention[1, 0]), float(attention[1, 1])
    if not (first > 0 and second > 0 and math.isfinite(first) and math.isfinite(second)):
        return {"scale": math.nan}
    return {"scale": math.log(first / second) / difference}


@check("scale", "the scores are scaled by 1 / sqrt(D)", ("one_token", "running_mean"))
def test_scale(exam, Size=Size):
    # Token 1 sees two keys: its odds are exp(scale * (q . k0 - q . k1)), whatever else is right or wrong.
    size, difference = Size(T=2), 0.5
    case = size.as_case()
    got = look(exam, case, scale_of, size, difference, same=same_scale)["scale"]
    expected = size.D**-0.5
    if not abs(got - expected) <= 1e-4:
        C, H, D = size.n_embd, size.n_head, size.D
        known = {
            "1": 1.0, "1 / sqrt(C)": C**-0.5, "1 / C": 1 / C, "1 / D": 1 / D, "sqrt(D)": D**0.5,
            "1 / sqrt(H)": H**-0.5, "1 / sqrt(T)": size.T**-0.5, "1 / D**0.25": D**-0.25,
        }  # fmt: skip
        is_ = [f"which is {words}" for words, value in known.items() if abs(got - value) <= 1e-4]
        wanted = f"The scores q . k must be multiplied by 1 / sqrt(D) = {expected:.4f} (D = {D}, C = {C}); yours "
        again = scale_when(exam.attempt, size, 2 * difference)
        if not abs(got) > 1e-3:
            fail(case, wanted + "do not follow it. Do q and k come from the rows that they should, and does q . k reach the softmax?")
        if not abs(again - got) <= 1e-3 * abs(got):
            fail(
                case,
                wanted + f"are no multiple of it: {got:.4f} times where q . k differs by {difference}, and {again:.4f} times where it "
                "differs by twice as much. Is something normalised, clipped or rounded on the way to the softmax?",
            )
        is_ = is_ or [f"{got / expected:.3g} times as much as it should be"]
        fail(case, wanted + f"are multiplied by {got:.4f}, {is_[0]}. What is the size that you divide by?")


def scale_when(subject, size, difference) -> float:
    try:
        return scale_of(subject, size, difference)["scale"]
    except CheckFailed:
        return math.nan


def same_scale(one, other):
    if isinstance(one, CheckFailed) or isinstance(other, CheckFailed):
        return False
    return abs(one["scale"] - other["scale"]) <= 1e-4 or one["scale"] != one["scale"] and other["scale"] != other["scale"]


@check("attention_matrix", "each head's attention matrix is softmax(q k^T / sqrt(D)) under the mask", ("one_token",))
def test_attention_matrix(exam, Size=Size):
    size = Size(T=6, seed=2)
    weights = looks.show_attention(size, random_weights(size))
    x = looks.positions(size)
    expected = exam.expected(looks.attention_matrix, size, weights, x)["attention"]
    got = look(exam, size.as_case(), looks.attention_matrix, size, weights, x)["attention"]
    spread = looks.largest_logit(size, weights, x)
    matrix_fails(
        expected, got, tolerance("float32", size.n_embd + size.D, 1.0, spread), size.as_case(),
        "With the values one-hot in the position, the output of each head is its attention matrix. Do queries and "
        "keys of the same head meet, and is the first dimension of each matrix the query?",
    )  # fmt: skip


@check("heads_apart", "the rows of one head of qkv move that head's output and no other", ("one_token",))
def test_heads_apart(exam, Size=Size):
    size = Size(B=1, T=5, seed=3)
    got = look(exam, size.as_case(), looks.head_influence, size, random_weights(size), random_input(size))["moved"]
    pairs = [(i, j) for i in range(size.n_head) for j in range(size.n_head) if got[i, j] != (i == j)]
    if pairs:
        i, j = pairs[0]
        what = "moves" if got[i, j] else "does not move"
        fail(
            size.as_case(),
            f"The rows of head {i} in qkv.weight must move channels {i * size.D} to {(i + 1) * size.D - 1} of the joined "
            f"heads, and nothing else; changing them {what} the slice of head {j}. Does a view or a reshape mix heads "
            f"with tokens?",
        )


@check("causality", "a token never sees the tokens after it, and sees all before it", ("output",))
def test_causality(exam, Size=Size):
    size = Size(B=1, T=7, seed=4)
    got = look(exam, size.as_case(), looks.influence, size, random_weights(size), random_input(size))["moved"]
    for t in range(size.T):
        for s in range(size.T):
            if got[t, s] != (s <= t):
                fail(
                    size.as_case(),
                    f"Changing token {s} must {'' if s <= t else 'not '}change the output of token {t}, and it does"
                    f"{'' if got[t, s] else ' not'}. " + (
                        "Which keys does your mask take away from a query?" if s <= t else
                        "Which side of the diagonal does your mask keep, and is it applied before the softmax?"
                    ),
                )  # fmt: skip


# That it is the lecture's function.


CORNERS = (
    Size(B=9, T=21, n_embd=36, n_head=12, block_size=22),  # more heads, tokens and sequences than ten
    Size(B=1, T=3, n_embd=256, n_head=2, block_size=4),  # heads as wide as in a real model, and wider
    Size(B=1, T=150, n_embd=4, n_head=2, block_size=200),  # more tokens than a short window sees
    Size(B=2, T=8, n_embd=32, n_head=4, block_size=8),  # T = block_size
    Size(B=1, T=3, n_embd=32, n_head=4, block_size=8),  # T below block_size
    Size(B=2, T=5, n_embd=6, n_head=1, block_size=5),  # one head
    Size(B=2, T=5, n_embd=3, n_head=3, block_size=6),  # head size 1
    Size(B=4, T=4, n_embd=16, n_head=4, block_size=4),  # B = T = H = D
)
# bfloat16 cannot count beyond 256. A length that no check in float32 has: what is kept by length would hide
# it.
LONG = Size(B=1, T=310, n_embd=6, n_head=2, block_size=310, seed=11)
# Longer than masks, windows and tables of 256, 384, 512, 1024 or 2048 tokens.
LONGEST = Size(B=1, T=2050, n_embd=2, n_head=1, block_size=2050)
MEDIUM = 500  # above are the cases that cost too much to be looked at in every way
# The same for what costs more than a forward.
LONGER = Size(B=1, T=520, n_embd=2, n_head=1, block_size=520)

def kinds(Size=Size, **more) -> tuple:
    """One size of each kind for which somebody may take another way.

    Nothing special, one head, one sequence, one token, T = block_size.
    """
    plain = Size(B=3, T=5, block_size=8, **more)
    special = {"n_head": 1}, {"B": 1}, {"T": 1}, {"block_size": plain.T}
    return plain, *(replace(plain, **change) for change in special)


MANY_HEADS = Size(B=4, T=9, n_embd=24, n_head=12, block_size=10)


def is_many_heads(size):
    """Whether these sizes are MANY_HEADS, of whichever attention."""
    return asdict(size) == asdict(MANY_HEADS)


@check("values", "the same output as the lecture's attention, for any B, T, C and H, in both modes", ("output",))
def test_values(exam, Size=Size, corners=(*CORNERS, LONGEST)):
    try:
        for_all(exam, sizes(Size=Size), same_values, max_examples=10, always=corners)
    except CheckFailed as failure:
        kept = exam.evidence[-1]
        if failure.case and failure.case.get("mode") == "train":  # eval comes first, so it is right
            failure.details.append("right in eval mode, wrong in train mode, and dropout is 0: is a probability written as a number?")
        else:
            failure.details += where_it_is_right(exam, Size, failure.case or {})
        exam.evidence.append(kept)  # the last look is the failing case's
        raise


def where_it_is_right(exam, Size, failing: dict) -> list[str]:
    """What a wrong attempt's shapes have in common: one plain size, and the same with one thing special.

    failing: the case that failed, which nothing that is said may contradict.
    """
    plain, step = Size(B=2, T=5, n_embd=12, n_head=3, block_size=8), Size.head_step
    B, T, C, H, block = (failing.get(key) for key in ("B", "T", "n_embd", "n_head", "block_size"))
    special = {  # the size, and whether the failing case is such a one
        "T = block_size": (replace(plain, block_size=5), T == block),
        "one token (T = 1)": (replace(plain, T=1), T == 1),
        "one head (H = 1)": (replace(plain, n_head=1), H == 1),
        f"head size {step} (D = {step})": (replace(plain, n_embd=3 * step), H is not None and C == step * H),
        "one sequence (B = 1)": (replace(plain, B=1), B == 1),
    }

    def is_right(size):
        try:
            same_values(exam, size)
        except CheckFailed:
            return False
        return True

    usually = is_right(plain)
    odd = [words for words, (size, _) in special.items() if is_right(size) != usually]
    if len(odd) == len(special) or usually != any(special[words][1] for words in odd):
        return []
    if usually:
        return [f"wrong only with {' or '.join(odd)}, of the shapes tried"]
    return [f"right with {' or '.join(odd)}, wrong otherwise"] if odd else ["wrong for every kind of shape tried"]


def same_values(exam, size):
    weights, x = random_weights(size), random_input(size)
    # Of a long text some tokens in eval mode, most of them late, which are quickly done in numpy.
    rows, modes = np.r_[1 : size.T : 64, max(size.T - 128, 0) : size.T], looks.MODES[: 1 if size.T > MEDIUM else 2]
    expected = looks.exact(size, weights, x, rows) if size.T > MEDIUM else exam.expected(forward, size, weights, x)["y"]
    got = look(exam, size.as_case(), looks.both_modes, size, weights, x, "float32", modes)
    for mode, y in got.items():
        right = expected
        if size.T > MEDIUM:
            right = y.astype(np.float64)
            right[:, rows] = expected
        expect(
            right, y, allowance(size, weights, x, expected) + size.of_angles(weights, x) * float(np.abs(expected).max()),
            size.as_case(mode=mode, dropout=0),
            f"The output must equal {size.same_as} with the same weights; this is the smallest shape found where it "
            f"does not. What is special about it: T below block_size, one head, head size {size.head_step}, train mode?",
        )  # fmt: skip


def scores_apart(T):
    """(T, T) scores of which a query's neighbours differ by 200 at least, and which of them a query may see."""
    steps = [[200.0 * ((3 * s + t) % T) for s in range(T)] for t in range(T)]
    return np.array(steps, dtype=np.float32), np.tril(np.ones((T, T), dtype=bool))


@check("large_logits", "large scores stay exact: a masked key weighs exactly 0", ("first_token", "values"))
def test_large_logits(exam, Size=Size):
    # The seen scores are around -30000 and the masked ones +30000, so a mask of -1e4 is no mask at all; then
    # the seen ones around +30000, where exp overflows without the maximum taken off first; then so far out that
    # float16's -65504 is no mask either. Neighbouring scores differ by 200, so the right weights are exactly 0 and 1.
    # In both modes, and with more tokens once: a mask may be another one there.
    few, many = Size(B=1, T=5, seed=5), Size(B=1, T=40, n_embd=80, n_head=2, block_size=40, seed=5)
    for size, low, high in (
        (few, -30000.0, 30000.0), (few, 30000.0, 60000.0), (few, -200000.0, 200000.0), (many, -30000.0, 30000.0),
    ):  # fmt: skip
        steps, seen = scores_apart(size.T)
        scores = np.where(seen, low + steps, high).astype(np.float32)
        weights = looks.with_scores(size, scores)
        x = looks.positions(size)
        best = np.where(seen, steps, -1).argmax(axis=1)
        expected = np.broadcast_to(np.eye(size.T)[best], (1, size.n_head, size.T, size.T))
        case = size.as_case(seen_scores=low, masked_scores=high)
        got = look(exam, case, looks.in_both_modes, size, weights, x)
        for mode, attention in got.items():
            matrix_fails(
                expected, attention, tolerance("float32", size.T, 1.0), case | {"mode": mode},
                f"With scores near {low:g} for the keys that a query may see and {high:g} for those it may not, all "
                f"weight must go to the largest that it may see. What does your mask put in the place of a masked "
                f"score, and can exp overflow?",
            )  # fmt: skip

    # The same in bfloat16, for whoever masks it with another number, and with a length of its own: a mask that is
    # kept by length is float32's. Scores of 2 ** 18 are rounded to 2 ** 11, and the rotation of the fourth exercise
    # adds some of that: neighbours differ by more.
    size, reach = Size(B=1, T=13, n_embd=64, block_size=13, seed=5), 2.0**18
    steps, seen = scores_apart(size.T)
    scores = np.where(seen, steps * (reach / 3200) - reach, reach).astype(np.float32)
    case = size.as_case(seen_scores=-reach, masked_scores=reach, dtype="bfloat16")
    weights, x = looks.with_scores(size, scores), looks.positions(size)
    got = look(exam, case, looks.in_both_modes, size, weights, x, "bfloat16", same=same_bfloat16)
    for mode, attention in got.items():
        matrix_fails(
            np.broadcast_to(np.eye(size.T)[np.where(seen, steps, -1).argmax(axis=1)], attention.shape), attention,
            tolerance("bfloat16", size.T, 1.0), case | {"mode": mode},
            "In float32 your mask holds, in bfloat16 masked keys get weight: all of it must go to the largest score that a "
            "query may see. Do you mask half precision with another number? float('-inf') is one in every dtype.",
        )  # fmt: skip


@check("gradients", "the same gradients for x and for every parameter, in train and in eval mode", ("values",))
def test_gradients(exam, Size=Size):
    _, one_head, _, one_token, _ = kinds(Size)
    many_heads = Size(**asdict(MANY_HEADS))
    long = Size(B=1, T=150, n_embd=4, n_head=2, block_size=200)
    always = (many_heads, one_head, replace(one_token, B=1), long, Size(**asdict(LONGER)))
    for_all(exam, sizes(6, Size), same_gradients, max_examples=4, always=always)


def same_gradients(exam, size):
    # Dropout is 0, so that training is the same function; some attempts take another path for it.
    for of in ("all", "x", "parameters") if is_many_heads(size) else ("all",):
        compare_gradients(exam, size, ("train", "eval") if size.T < MEDIUM else ("train",), "float32", of)


def compare_gradients(exam, size, modes, dtype, of="all", roundings=16):
    """Compare the gradients in each of the modes; of: what requires one, see looks.gradients."""
    weights, x = random_weights(size), random_input(size)
    if dtype == "bfloat16":  # numbers that it holds exactly
        weights, x = {key: bfloat16(value) for key, value in weights.items()}, bfloat16(x)
    expected = exam.expected(looks.gradients, size, weights, x, ("train",), "float64", of)["train"]
    case = size.as_case(dtype=dtype, gradients_of=of)
    same = same_reading if dtype == "float32" else same_bfloat16
    got = look(exam, case, looks.gradients, size, weights, x, modes, dtype, of, same=same)
    spread = looks.largest_logit(size, weights, x)
    for mode in modes:
        right_gradients(size, expected, got[mode], case | {"mode": mode}, spread, dtype, roundings)


def right_gradients(size, expected, got, case, spread, dtype, roundings):
    """Fail where a gradient is missing, is there for nothing, or is not the expected one."""
    known = {key: right for key, right in expected.items() if right is not None}
    for key in expected.keys() - known.keys():
        if got[key] is not None:
            fail(case, f"{key} needs no gradient here and has one after the way back. What in forward changes requires_grad?")
    for key, right in known.items():
        if got[key] is None:
            fail(
                case,
                f"No gradient reaches {key}. Is something detached, computed under no_grad, or rebuilt from .data?",
            )
        # A weight's gradient sums over all B * T tokens.
        terms = size.n_embd + size.D + size.T + size.B * size.T
        largest = max(float(np.abs(g).max()) for g in known.values())
        allowed = tolerance(dtype, terms, max(1.0, largest), spread, roundings)
        axes = OUTPUT_AXES if key == "x" else ("row", "column") if right.ndim == 2 else ("element",)
        expect(
            right, got[key], allowed, case,
            f"The gradient of {key} must equal the baseline's; the output does, so something cuts or bends the path "
            f"backwards. Is a part of it detached?", axes,
        )  # fmt: skip


def alone(subject, size, weights, x):
    """Every sequence of the batch on its own, joined."""
    program = Program()
    attention = build(program, subject, size, weights)
    outputs = {f"y{b}": program.call(attention, program.tensor(x[b : b + 1])) for b in range(size.B)}
    outputs["y"] = program.call(attention, program.tensor(x))
    answer = subject.run(program.give(**outputs))
    shape = (1, size.T, size.n_embd)
    rows = [answer.tensor(f"y{b}", shape, "the output", "float32", subject.device) for b in range(size.B)]
    y = answer.tensor("y", x.shape, "the output", "float32", subject.device)
    return {"alone": np.concatenate(rows), "together": y}


@check("batch_rows", "the sequences of a batch do not mix", ("output",))
def test_batch_rows(exam, Size=Size):
    size = Size(B=3, T=5, seed=6)
    weights, x = random_weights(size), random_input(size)
    got = look(exam, size.as_case(), alone, size, weights, x)
    expect(
        got["alone"], got["together"], 2 * allowance(size, weights, x, got["alone"]), size.as_case(),
        "A sequence must give the same output alone and in a batch. Which of your dimensions holds B, and does any "
        "sum, softmax or reshape run over it?",
    )  # fmt: skip


# (T, offset): one more token, as many others, the next ones after as many before, and others there.
GROWING = ((3, 0), (4, 0), (4, 0), (4, 4), (4, 4))
CHANGE = 0.25  # added to all weights, and taken away again


def growing_input(size, call, T):
    """The input of one of the calls with which a text grows."""
    return random_input(size, 5 + call)[:, :T]


def life(subject, size, other, inputs, other_input):
    """A module's calls, in turn with those of another size, in both modes; all outputs are read at the end."""
    program = Program()
    dtype = "float64" if subject.role == "reference" else "float32"
    first = build(program, subject, size, random_weights(size), dtype=dtype)
    second = build(program, subject, other, random_weights(other), dtype=dtype)
    outputs = {}
    for i, x in enumerate(inputs):
        program.train(first, i == 1)
        # Under no_grad some take another path, or write into what they have.
        outputs[f"y{i}"] = program.call(first, program.tensor(x, dtype=dtype), no_grad=i in (0, 1, 4))
        outputs[f"z{i}"] = program.call(second, kwargs={"x": program.tensor(other_input, dtype=dtype)})
    # While a text is written it grows by one token a call; and then the weights change.
    grown = {}
    for mode in ("eval", "train"):
        program.train(first, mode == "train")
        for i, (T, offset) in enumerate(GROWING):
            grown[f"{mode} {i}"] = program.call(
                first, program.tensor(growing_input(size, i, T), dtype=dtype), no_grad=True, kwargs=size.placed(offset)
            )
        program.add_to_parameters(first, CHANGE)
        grown[f"{mode} changed"] = program.call(first, program.tensor(growing_input(size, i, T), dtype=dtype), no_grad=True)
        program.add_to_parameters(first, -CHANGE)
    outputs |= grown
    program.train(first, False)
    program.to(first, "float64")
    outputs["moved"] = program.call(first, program.tensor(inputs[0], dtype="float64"))
    answer = subject.run(program.give(**outputs))
    wanted = {f"y{i}": (x.shape, dtype) for i, x in enumerate(inputs)}
    lengths = [T for T, _ in GROWING]
    wanted |= {key: ((size.B, T, size.n_embd), dtype) for key, T in zip(grown, 2 * [*lengths, lengths[-1]])}
    wanted |= {f"z{i}": (other_input.shape, dtype) for i in range(len(inputs))} | {"moved": (inputs[0].shape, "float64")}
    return {key: answer.tensor(key, *wanted[key][:1], "the output", wanted[key][1], subject.device) for key in wanted}


@check("calls", "a call leaves nothing behind for the next one", ("values",))
def test_calls(exam, Size=Size):
    # Another input in train mode, another T, another B, the first input again, and again, some of them under no_grad; a
    # second module of another size in between; at the end the same module in float64.
    size, other = Size(B=2, T=7, seed=7), Size(B=1, T=5, n_embd=18, n_head=3, block_size=6, seed=8)
    first = random_input(size)
    inputs = (first, random_input(size, 2), random_input(size, 3)[:, :4], random_input(size, 4)[:1], first, first)
    expected = exam.expected(life, size, other, inputs, random_input(other))
    got = look(exam, size.as_case(), life, size, other, inputs, random_input(other))
    for key, right in expected.items():
        about = other if key[0] == "z" else size
        x = random_input(other) if key[0] == "z" else inputs[int(key[1])] if key[0] == "y" else random_input(size)
        weights = {name: w + CHANGE * ("changed" in key) for name, w in random_weights(about).items()}
        expect(
            right, got[key], allowance(about, weights, x, right), size.as_case(call=key),
            "After other calls (another T, train mode, a module of another size, another dtype, other weights) the output is not what a "
            "fresh module gives. What do you keep on self, on the class or in the module: keys, a mask of the first length?",
        )  # fmt: skip


WRITTEN = "is not what it was before forward. Which operation works in place (a name that ends in _, +=, masked_fill_)?"
OF_INPUT = ("transposed", "sliced", "batch last", "time first", "part of wider rows", "some of the tokens")


def in_layouts(subject, size, weights, x):
    """{layout: the output for x in it, "x LAYOUT": x after that}.

    An expanded batch is the first sequence only, again and again.
    """
    program = Program()
    attention = build(program, subject, size, weights)
    given = {layout: x for layout in OF_INPUT} | {"expanded batch": x[:1].repeat(size.B, axis=0)}
    for layout, numbers in given.items():
        tensor = program.tensor(numbers, layout=layout)
        program.give(**{layout: program.call(attention, tensor), f"x {layout}": tensor})
    answer = subject.run(program)
    return {key: answer.tensor(key, x.shape, "the output", device=subject.device) for key in program.gives}


@check("layouts", "a non-contiguous input gives the same output", ("values",))
def test_layouts(exam, Size=Size):
    # The same numbers, laid out in memory in another order: as after x.transpose, x[..., ::2], x[:, 2:-1], or
    # x.expand, for a prompt that stands for a whole batch.
    for size in kinds(Size, seed=8):
        weights, x = random_weights(size), random_input(size)
        expected = exam.expected(forward, size, weights, x)["y"]
        got = look(exam, size.as_case(), in_layouts, size, weights, x)
        for layout in (*OF_INPUT, "expanded batch"):
            given, right = (m if layout != "expanded batch" else m[:1].repeat(size.B, axis=0) for m in (x, expected))
            if not np.array_equal(got[f"x {layout}"], given):
                fail(size.as_case(layout=layout), f"x ({layout}) {WRITTEN}")
            expect(
                right, got[layout], allowance(size, weights, x, expected), size.as_case(layout=layout),
                f"The output must not depend on how x lies in memory ({layout}). Do you view, or read "
                f"strides, where you should reshape?",
            )  # fmt: skip


def input_after(subject, size, weights, x, dtype):
    program = Program()
    attention = build(program, subject, size, weights, dtype=dtype)
    inputs = {"x": program.tensor(x, dtype), "x, not contiguous,": program.tensor(x, dtype, "transposed")}
    for tensor in inputs.values():
        program.train(attention, False)
        program.call(attention, tensor)
        program.call(attention, tensor, no_grad=True)
        program.train(attention, True)
        program.call(attention, tensor)
    program.give(**inputs, parameters=program.values(attention), settings=program.settings())
    answer = subject.run(program)
    kept = {key: answer.tensor(key, x.shape, "x", dtype, subject.device) for key in inputs}
    return kept | answer.tensors("parameters") | {"settings": answer.plain("settings")}


def settings(subject):
    """Torch's settings where nothing was called yet that could change them."""
    return subject.run((program := Program()).give(settings=program.settings())).plain("settings")


def same_settings(exam, case, got, what):
    """Fail where torch's settings are not those that a worker begins with."""
    changed = [key for key, value in exam.expected(settings).items() if got[key] != value]
    if changed:
        fail(case, f"After {what} {', '.join(changed)} is another than before: that holds for all of a program. Leave it as it is.")


@check("input_kept", "forward changes neither its input nor the weights", ("output",))
def test_input_kept(exam, Size=Size):
    # In other dtypes, too: what is cast on the way is a copy, and then another dtype is changed in place.
    plain, *special = kinds(Size, seed=9)
    for size, dtype in ((plain, "float32"), (plain, "float64"), (plain, "bfloat16"), *((size, "float32") for size in special)):
        weights, x = {key: bfloat16(value) for key, value in random_weights(size).items()}, bfloat16(random_input(size))
        case = size.as_case(dtype=dtype)
        got = look(exam, case, input_after, size, weights, x, dtype)
        same_settings(exam, case, got["settings"], "forward")
        for key, before in ({"x": x, "x, not contiguous,": x} | weights).items():
            if got.get(key) is None or not np.array_equal(got[key], before):
                fail(case, f"{key} {WRITTEN}")


def dtype_of(subject, size, dtype):
    program = Program()
    attention = build(program, subject, size, random_weights(size), dtype=dtype)
    y = program.call(attention, program.tensor(random_input(size), dtype=dtype))
    answer = subject.run(program.give(y=y))
    return {"y": answer.tensor("y", (size.B, size.T, size.n_embd), "the output", dtype, subject.device)}


@check("dtypes", "the output has x's dtype and device: float64 and bfloat16 too", ("values",))
def test_dtypes(exam, Size=Size):
    # Lengths of their own: what an earlier call in float32 left for this length cannot serve here.
    for dtype, T in (("float64", 17), ("bfloat16", 19)):
        size = Size(T=T, block_size=T + 2)
        weights, x = random_weights(size), random_input(size)
        expected = exam.expected(forward, size, weights, x)["y"]
        same = same_reading if dtype == "float64" else same_bfloat16
        got = look(exam, size.as_case(dtype=dtype), dtype_of, size, dtype, same=same)["y"]
        if dtype == "float64":
            # As in float32: a softmax in float32 is a fair choice for any input.
            expect(
                expected, got, allowance(size, weights, x, expected), size.as_case(dtype=dtype),
                "In float64 the output must be at least as exact as in float32. Is there a .half() or .bfloat16() inside?",
            )  # fmt: skip


@check("bfloat16", "the same output and gradients in bfloat16, within its rounding", ("dtypes",))
def test_bfloat16(exam, Size=Size, long=LONG):
    many_heads = Size(**asdict(MANY_HEADS))
    for_all(exam, sizes(8, Size), same_values_in_bfloat16, max_examples=2, always=(many_heads, long))


def same_values_in_bfloat16(exam, size):
    # Weights and inputs that bfloat16 holds exactly: what differs is computed, not copied.
    weights = {key: bfloat16(value) for key, value in random_weights(size).items()}
    x = bfloat16(random_input(size))
    expected = exam.expected(forward, size, weights, x)["y"]
    case = size.as_case(dtype="bfloat16")
    got = look(exam, case, in_bfloat16, size, weights, x, same=same_bfloat16)["y"]
    message = (
        "In bfloat16 the output must be the float32 one, rounded; in float32 yours is right. Which constant or buffer does "
        "not survive bfloat16 (a mask value, a position, a count above 256)?"
    )
    expect(expected, got, allowance(size, weights, x, expected, "bfloat16", roundings=2), case, message)
    if got.size >= 200:
        # Rounding goes up as often as down, so a common factor is seen long before single elements tell.
        factor = float((got * expected).sum() / (expected * expected).sum())
        if abs(factor - 1) > 0.02:
            fail(case, message, f"on the whole the output is the right one times {factor:.3f}")
    compare_gradients(exam, size, ("train",), "bfloat16", roundings=4)


def in_bfloat16(subject, size, weights, x):
    return forward(subject, size, weights, x, dtype="bfloat16")


def same_bfloat16(one, other):
    """Whether two readings agree within what bfloat16 rounds away."""
    return same_reading(one, other, tolerance=8 * EPSILON["bfloat16"])


# Dropout. A share of weights that is dropped may lie as far from P as that of 1 in 10 ** 7 right attempts
# does (numbers.py), of 2000 heads here. In all fewer than 1 in 10 ** 6 right attempts fail a check for this.

SHARE = room_for_chance(looks.P, looks.weights_seen(4 * looks.SEQUENCES, 8))


@functools.cache
def dropout_in_training(Size):
    """The look at dropout that two checks share: without a case, so that it is taken once."""

    return in_parts(
        one=lambda subject: looks.dropout(subject, True, 1, Size=Size),
        two=lambda subject: looks.dropout(subject, True, 2, Size=Size),
        together=lambda subject: looks.dropped_together(subject, looks.right_attention(6, 14), Size),
    )


@functools.cache
def long_in_training(Size):
    """The look at dropout in longer texts, which two checks share as well."""
    return lambda subject: looks.dropped_in_long(subject, Size)


LENGTHS_CASE = dict(zip(("T", "B", "n_head", "dtype"), map(list, zip(*looks.LENGTHS)))) | {"dropout": looks.P, "mode": "train"}
LENGTHS_HERE = "In the short texts before it is so, here it is not. What depends on T, on B or on the dtype?"


@of_readings
def same_in_training(one, other):
    same_levels = all(looks.same_dropout(one[key], other[key]) for key in one if key != "together")
    return same_levels and one.get("together") == other.get("together")


@of_readings
def same_in_long(one, other):
    return all(one[key] == other[key] for key in ("wrong", "kept", "wrong zeros"))


DROPOUT_CASE = {"dropout": looks.P, "mode": "train", "B": looks.SEQUENCES, "n_embd": 32, "n_head": 4}


@check("dropout_weights", "in training, dropout on the attention weights", ("running_mean",))
def test_dropout_weights(exam, Size=Size):
    p = looks.P
    got = look(exam, DROPOUT_CASE, dropout_in_training(Size), same=same_in_training)
    one, two = got["one"], got["two"]
    lines = [f"different values of the output: {_numbers(one['levels'])}; with two tokens: {_numbers(two['levels'])}"]
    if len(one["levels"]) > 1:  # one value alone shows nothing dropped
        lines.insert(0, f"one token: {one['low']:.0%} of what is not 0 shows a dropped weight (expected {p:.0%})")
    question = (
        f"In train mode each attention weight must be dropped with probability config.dropout = {p}, after the "
        f"softmax, and the others divided by 1 - {p}. "
    )
    if len(one["levels"]) == 1 and len(two["levels"]) == 1:
        fail(DROPOUT_CASE, question + "Nothing is dropped there. Is dropout applied between the softmax and v?")
    if abs(one["low"] - p) > SHARE or len(one["levels"]) != 2:
        fail(DROPOUT_CASE, question + "Another share is dropped. Before or after the softmax, and with which p?", lines)
    if one["coherent"] < 1 - 1e-9:
        fail(
            DROPOUT_CASE,
            question + "Here channels of one head are dropped apart from each other: that is dropout on the values.",
            lines,
        )
    ratio = (one["levels"][1] - one["levels"][0]) / one["levels"][0]
    if abs(ratio - 1 / (1 - p)) > 0.01:
        fail(
            DROPOUT_CASE,
            question + f"A weight that is kept is multiplied by {ratio:.3f}, not by {1 / (1 - p):.3f}.",
            lines,
        )
    if len(two["levels"]) != 4:
        fail(DROPOUT_CASE, question + "With two tokens the kept weights are not those of the softmax.", lines)
    together = got["together"]
    if not together["kept"] or together["cells"]:
        where = f"at these (query, key): {' '.join(together['cells'][:6])}" if together["cells"] else "in the weights that are kept"
        fail(
            DROPOUT_CASE | {"T": 6, "dropout": looks.Q},
            question + f"With 6 tokens and p = {looks.Q} the attention matrix in train mode is not that of eval mode with "
            f"weights dropped and the others divided by 1 - p. Does anything else depend on the mode, or on T?",
            f"it differs {where}",
        )
    if together["weights"] and not together["output"]:  # the weights are seen through the output's mask
        axes = " and ".join(together["weights"])
        fail(DROPOUT_CASE, question + f"Yours drops the same weights in all {axes}: in which shape is the mask drawn?", lines)
    long = look(exam, LENGTHS_CASE, long_in_training(Size), same=same_in_long)
    lines = [f"{key}: {share:.0%} of the weights are dropped" for key, share in long["shares"].items()]
    if long["wrong"]:
        fail(LENGTHS_CASE, question + LENGTHS_HERE, lines)
    if not long["kept"] and not long["wrong zeros"]:  # they are seen through the output's dropout
        fail(LENGTHS_CASE, question + "Here those that are kept are not the softmax's. What depends on T, B or dtype?", lines)


@check("dropout_output", "in training, dropout on the output, after proj", ("one_token",))
def test_dropout_output(exam, Size=Size):
    p = looks.P
    reading = look(exam, DROPOUT_CASE, dropout_in_training(Size), same=same_in_training)
    got = reading["one"]
    lines = [
        f"{got['zeros']:.0%} of the output is 0 (expected {p:.0%})",
        f"different values of the output: {_numbers(got['levels'])}",
    ]
    question = (
        f"In train mode each element of the output must become 0 with probability config.dropout = {p}, and the "
        f"others be divided by 1 - {p}. "
    )
    if abs(got["zeros"] - p) > SHARE:
        fail(DROPOUT_CASE, question + "Is dropout the last thing that happens, after proj, with config.dropout?", lines)
    # proj adds a bias of 1, so a head whose weight is dropped shows the output's factor alone.
    if len(got["levels"]) and abs(got["levels"][0] * (1 - p) - 1) > 0.01 and abs(got["levels"][0] * (1 - p) - 2) > 0.01:
        fail(DROPOUT_CASE, question + "What is kept has another size.", lines)
    if not reading["together"]["last"]:
        fail(
            DROPOUT_CASE | {"T": 6, "dropout": looks.Q},
            question + "With a proj that mixes all channels and a bias yours does not: what comes after your dropout?",
        )
    long = look(exam, LENGTHS_CASE, long_in_training(Size), same=same_in_long)
    if long["wrong zeros"]:
        lines = [f"{key}: {share:.0%} of the output is 0" for key, share in long["zeros"].items()]
        fail(LENGTHS_CASE, question + LENGTHS_HERE, lines)
    if reading["together"]["output"]:
        axes = " and ".join(reading["together"]["output"])
        fail(DROPOUT_CASE, question + f"Yours drops the same places in all {axes}: in which shape is the mask drawn?", lines)


@check("dropout_gradients", "in training, the gradients are those of the dropped-out function", ("gradients", "dropout_weights", "dropout_output"))
def test_dropout_gradients(exam, Size=Size):
    # The same seed drops the same places, so that a small step tells the slope.
    case = {"dropout": looks.P, "mode": "train", "B": 3, "T": 5, "n_embd": 32, "n_head": 4}
    got = look(exam, case, looks.dropout_gradients, Size)
    known = "the slopes of the output under the same dropout"
    if not got["repeats"]:  # drawn from a generator that no seed reaches
        case |= {"B": looks.MANY}
        got = look(exam, case, looks.average_gradients, Size) | {"repeats": False}
        known = "those of eval mode, on average over many dropouts"
    bad = [key for key, right in got.items() if key != "repeats" and not right]
    if bad:
        fail(
            case,
            f"In train mode the gradients of {', '.join(bad)} are not {known}; without dropout they are "
            f"right. Is dropout applied under no_grad, or to something detached?",
        )


def dropout_in_eval(subject, Size):
    return {key: looks.dropout(subject, False, tokens, Size=Size) for key, tokens in (("one", 1), ("two", 2))}


@check("dropout_eval", "in eval mode nothing is dropped", ("one_token",))
def test_dropout_eval(exam, Size=Size):
    case = DROPOUT_CASE | {"mode": "eval"}
    got = look(exam, case, dropout_in_eval, Size, same=same_in_training)["one"]
    if got["zeros"] > 0 or len(got["levels"]) != 1 or abs(float(got["levels"][0]) - 2.0) > 1e-3:
        fail(
            case,
            "In eval mode the output must be exact: nothing dropped, nothing rescaled. Does every dropout know the mode "
            "(nn.Dropout does; F.dropout needs training=self.training, and so does dropout_p of an attention)?",
            f"{got['zeros']:.0%} of the output is 0; different values: {_numbers(got['levels'])} (expected 2)",
        )


@check("dropout_modes", "dropout follows the mode whenever it is switched, under no_grad and in bfloat16 too", ("dropout_weights", "dropout_output", "dropout_eval"))
def test_dropout_modes(exam, Size=Size):
    case = {"dropout": looks.P, "B": 120, "T": 3, "n_embd": 32, "n_head": 4}
    got = look(exam, case, looks.switched, Size)
    bad = [what for what, right in got.items() if not right]
    if bad:
        fail(
            case,
            "One module is called in eval mode, in train mode, in eval and in train mode again, another one with dropout 0 is "
            f"built beside it, a third is in bfloat16, and a fourth has one head. Wrong: {'; '.join(bad)}. Each call must look at the mode that the "
            "module is in then, and at its own config: what do you remember, or look at instead?",
        )


def _numbers(levels):
    return ", ".join(f"{level:.3g}" for level in levels[:8]) + (", .." if len(levels) > 8 else "") or "none"


# What it costs, and that it fits where it belongs.

HEADS = (2, 3, 64)
FEW, MANY = 24, 130  # tokens
EXTRA = 8  # operations that may come on top with more heads: a copy here and there


ENOUGH = (2, 6)
# {how: (B, T, D, dtype, whether for all of HEADS)}. As few sequences and tokens as show a mask: a loop over those is
# slow, but it is not the question. And more of everything, for whoever has another way for it.
COUNTED = {
    "eval": (1, 2, 2, "float32", True),
    "train": (1, 2, 2, "float32", True),
    "longer": (2, FEW, 2, "float32", True),
    "large": (3, MANY, 16, "float32", False),
    "no_grad": (20, 2, 2, "float32", False),
    "bfloat16": (1, 2, 2, "bfloat16", False),
}


def operations(subject, Size, counts):
    program = Program()
    given_back = {}
    for how, (B, T, D, dtype, all_counts) in COUNTED.items():
        for n_head in counts if all_counts else ENOUGH:
            size = Size(B=B, T=T, n_embd=D * n_head, n_head=n_head, block_size=max(T, FEW))
            train, no_grad = how == "train", how.startswith("no_grad")
            dropout = looks.P if train else 0.0
            attention = build(program, subject, size, random_weights(size), train=train, dropout=dropout, dtype=dtype)
            x = program.tensor(random_input(size), dtype=dtype)
            given_back[f"{how} H{n_head}"] = program.count_operations(attention, x, no_grad=no_grad)
    answer = subject.run(program.give(**given_back))
    found = {}
    for key in given_back:
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
def test_operations(exam, Size=Size):
    # The head size stays the same. A loop padded to a fixed number of heads does not grow, but it is as long.
    case = {"B": [1, 2, 3, 20], "T": [2, FEW, MANY], "head_size": [2, 16], "n_head": list(HEADS)}
    got = look(exam, case, operations, Size, HEADS, same=same_loop)
    if any(loop(got)):
        how = (growing(got) or ["longer"])[-1]
        B, T, D, dtype, all_counts = COUNTED[how]
        counts = ", ".join(f"H = {h}: {got[f'{how} H{h}']}" for h in (HEADS if all_counts else ENOUGH))
        where = f"B = {B}, T = {T}, head size {D}, {dtype}" + {"train": ", train mode", "no_grad": ", under no_grad"}.get(how, "")
        fail(
            case,
            "One forward must take the same number of tensor operations however many heads there are: that is what the "
            "exercise is about. Where does Python go over the heads one by one?",
            f"operations counted: {counts} ({where})",
        )


def gpt_logits(subject, parameters, idx, n_head):
    size = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": n_head, "n_embd": 12, "dropout": 0.2}
    program = Program()
    config = program.config(**size)
    if subject.role == "reference":
        model = program.build(gpt_core("GPT"), config, parameters=parameters)
    else:
        fused = {}
        for key, value in parameters.items():
            if ".heads." not in key:
                fused[key] = value
        for layer in range(2):
            prefix = f"blocks.{layer}.attention."
            rows = [
                parameters[f"{prefix}heads.{h}.{part}.weight"]
                for part in ("query", "key", "value") for h in range(n_head)
            ]  # fmt: skip
            fused[prefix + "qkv.weight"] = np.concatenate(rows)
        model = program.build(
            gpt_core("GPT"), config, kwargs={"attention": name(CLASS)}, parameters=fused
        )  # fmt: skip
    output = program.call(model, program.tensor(idx, dtype="int64"))
    answer = subject.run(program.give(output=output))
    logits = answer.values["output"]["items"][0]
    return {"logits": answer.arrays[logits["sent"]]}


def fresh_gpt(subject, n_head):
    program = Program()
    config = program.config(vocab_size=11, block_size=8, n_layer=2, n_head=n_head, n_embd=12, dropout=0.2)
    model = program.build(gpt_core("GPT"), config)
    return subject.run(program.give(values=program.values(model)), seed=3).tensors("values")


@check("in_gpt", "plugged into GPT it gives the baseline GPT's logits", ("values", "dropout_eval"))
def test_in_gpt(exam):
    # Larger weights than at initialisation, so that the attention matters to the logits.
    parameters = {key: 5 * value for key, value in fresh_gpt(exam.reference, 3).items()}
    idx = np.random.default_rng(0).integers(0, 11, size=(2, 7))
    expected = exam.expected(gpt_logits, parameters, idx, 3)["logits"]
    case = {"B": 2, "T": 7, "n_embd": 12, "n_head": 3, "n_layer": 2}
    got = look(exam, case, gpt_logits, parameters, idx, 3)["logits"]
    allowed = tolerance("float32", 4 * 12 * 2, max(1.0, float(np.abs(expected).max())), 4.0, 32)
    expect(
        expected, got, allowed, case,
        "GPT(config, attention=FusedMultiHeadAttention) must give the baseline's logits, and alone your attention is "
        "right. Does it need anything else than config and x?", ("sequence", "token", "logit"),
    )  # fmt: skip


# fuse_heads.

# One of each kind for which somebody may take another way: nothing special, one head, heads of size 1.
BASELINES = (
    Size(B=2, T=5, n_embd=12, n_head=3, seed=17), Size(B=2, T=5, n_embd=6, n_head=1, seed=15),
    Size(B=2, T=5, n_embd=4, n_head=4, seed=16),
)  # fmt: skip


def fuse(program, subject, size, weights, *, dropout=0.0, dtype="float32", train=False):
    """A baseline with known weights, and what fuse_heads makes of it."""
    config = size.config(program, dropout)
    baseline = program.build(
        gpt_core("MultiHeadAttention"), config, parameters=looks.per_head(weights, size.n_head), dtype=dtype, train=train
    )
    return baseline, program.call(name("fuse_heads"), baseline)


def fused_module(subject, size, weights, x, dtype, train):
    """What fuse_heads gave: where each row of its parameters comes from (-1: not from the baseline), what is
    trainable, and whether it computes what a FusedMultiHeadAttention with its weights does."""
    program = Program()
    _, fused = fuse(program, subject, size, weights, dtype=dtype, train=train)
    program.require(fused, CLASS)
    program.train(fused, False)
    values, parameters = program.values(fused), program.parameters(fused)
    # Beside it, one that is built anew and given its weights; then both with other weights.
    again = program.build(name(CLASS), size.config(program), dtype=dtype)
    program.copy_parameters(fused, again)
    tensor = program.tensor(x, dtype=dtype)
    outputs = {"y": program.call(fused, tensor), "own y": program.call(again, tensor)}
    for module in (fused, again):
        program.set_parameters(module, {key: np.roll(value, 1, axis=0) for key, value in weights.items()})
    outputs |= {"later": program.call(fused, tensor), "own later": program.call(again, tensor)}
    answer = subject.run(program.give(values=values, parameters=parameters, **outputs))
    values, parameters = answer.tensors("values"), answer.plain("parameters")
    what = "the output of the fused module"
    y = {key: answer.tensor(key, x.shape, what, dtype, subject.device) for key in outputs}
    loose = 0.05 if dtype == "bfloat16" else 1e-5
    return {
        "rows": {key: source_rows(values.get(key), right) for key, right in weights.items()},
        "rounded": {key: rounded_to(values.get(key), right) for key, right in weights.items()},
        "trainable": {key: p["requires_grad"] for key, p in without_second_names(parameters).items()},
        "as_its_weights": all(
            bool(np.allclose(y[key], y[f"own {key}"], atol=loose * max(1.0, float(np.abs(y[f"own {key}"]).max()))))
            for key in ("y", "later")
        ),
    }


def source_rows(value, right):
    """For each row of a parameter, the row of `right` that it equals, or -1."""
    rows = np.full(len(right), -1)
    if value is not None and np.array_equal(value, right):
        return np.arange(len(right))
    if value is not None and value.shape == right.shape:
        equal = (value.reshape(len(right), 1, -1) == right.reshape(1, len(right), -1)).all(axis=2)
        rows = np.where(equal.any(axis=1), equal.argmax(axis=1), -1)
        rows[np.diagonal(equal)] = np.arange(len(right))[np.diagonal(equal)]
    return rows


@check("fuse_values", "fuse_heads copies each weight to where it belongs", ("output",))
def test_fuse_values(exam):
    for_all(exam, sizes(largest_T=6), same_weights, max_examples=4, always=(MANY_HEADS, *BASELINES))


def same_weights(exam, size):
    compare_fused(exam, size, "float32", False)
    if size in BASELINES:
        compare_fused(exam, size, "float64", True)
        compare_fused(exam, size, "bfloat16", True)


def compare_fused(exam, size, dtype, train):
    # Numbers that the dtype holds exactly, and float64 ones that float32 does not.
    weights, x = random_weights(size), bfloat16(random_input(size))
    weights = {
        key: bfloat16(value) if dtype == "bfloat16" else value * np.float64(1 + 1e-9) if dtype == "float64" else value
        for key, value in weights.items()
    }
    case = size.as_case(dtype=dtype, mode="train" if train else "eval")
    got = look(exam, case, fused_module, size, weights, x, dtype, train)
    C = size.n_embd
    for key, rows in got["rows"].items():
        bad = np.flatnonzero(rows != np.arange(len(rows)))
        if len(bad) and got["rounded"][key]:
            fail(
                case,
                f"{key} of the fused module must hold exactly the baseline's weights, which are {dtype} "
                f"here. {len(bad)} of its {len(rows)} rows are only close to them.",
                got["rounded"][key],
            )
        if len(bad):
            first, came = int(bad[0]), int(rows[bad[0]])
            source = f"it is row {came} of the joined weights" if came >= 0 else "it is no row of the baseline"
            fail(
                case,
                f"{key} of the fused module must hold the baseline's weights: in qkv all queries, then all keys, then all "
                f"values, head after head (queries are rows 0 to {C - 1}); proj as it is. What did you join in which order, "
                f"and did you copy all three?",
                f"{len(bad)} of {len(rows)} rows of {key} are wrong; the first is row {first}, and {source}",
            )
    frozen = [key for key in weights if got["trainable"].get(key) is not True]
    if frozen:
        fail(case, f"{', '.join(frozen)} of the fused module is not trainable (requires_grad is False).")
    extra = sorted(set(got["trainable"]) - set(weights))
    if extra:
        fail(case, f"The fused module has further parameters: {', '.join(extra)}. What of the baseline does it keep?")
    if not got["as_its_weights"]:
        fail(
            case,
            f"The fused module holds the right weights, and gives another output than a {CLASS} with them. Is there "
            f"another copy of the weights, or another config?",
        )


def fused_then_changed(subject, size, weights, train):
    program = Program()
    config = size.config(program)
    baseline = program.build(gpt_core("MultiHeadAttention"), config, parameters=looks.per_head(weights, size.n_head), train=train)
    program.condition(baseline, train=[train], grad=0.5)
    states = {"state": program.state(baseline)} if train else {}
    fused = program.call(name("fuse_heads"), kwargs={"baseline": baseline})
    states |= {"state_then": program.state(baseline)} if train else {}
    program.give(**states, settings=program.settings())
    kept = program.values(baseline)
    before = program.values(fused)
    program.add_to_parameters(baseline, 1.0)
    after = program.values(fused)
    changed = program.values(baseline)
    again = program.values(program.call(name("fuse_heads"), kwargs={"baseline": baseline}))
    program.add_to_parameters(fused, 1.0)
    last = program.values(baseline)
    modes, listed, fused_modes = program.modes(baseline), program.parameters(baseline), program.modes(fused)
    program.train(baseline, not train)
    answer = subject.run(
        program.give(
            kept=kept, before=before, after=after, changed=changed, again=again, last=last, modes=modes, parameters=listed,
            fused_modes=fused_modes, fused_modes_then=program.modes(fused),
        )
    )  # fmt: skip
    tables = {key: answer.tensors(key) for key in ("kept", "before", "after", "changed", "again", "last")}
    same = models.same_state(*(models.state_of(answer, key) for key in states)) if train else {}

    def differ(one, other):
        return sorted(
            key for key in tables[one]
            if tables[one][key] is None or not np.array_equal(tables[one][key], tables[other].get(key))
        )  # fmt: skip

    split = looks.per_head(weights, size.n_head)
    return {
        "moved_by_baseline": differ("before", "after"),
        "moved_by_fused": differ("changed", "last"),
        "baseline_kept": all(np.array_equal(tables["kept"].get(key), value) for key, value in split.items()),
        "baseline_mode": sorted(set(map(bool, answer.plain("modes").values()))),
        "baseline_trainable": all(p["requires_grad"] for p in answer.plain("parameters").values()),
        "again": all(np.array_equal(tables["again"].get(key), value + np.float32(1)) for key, value in weights.items()),
        "state_changed": [models.WHAT[key] for key, kept in same.items() if not kept],
        "settings": answer.plain("settings"),
        "follows": answer.plain("fused_modes") != answer.plain("fused_modes_then"),
    }


@check("fuse_copies", "fuse_heads copies: changing one module leaves the other as it is", ("fuse_values",))
def test_fuse_copies(exam):
    for size, train in itertools.product(BASELINES, (True, False)):
        is_a_copy(exam, size, train)


def is_a_copy(exam, size, train):
    case = size.as_case(training=train)
    got = look(exam, case, fused_then_changed, size, random_weights(size), train)
    if not got["baseline_kept"]:
        fail(case, "fuse_heads changed the weights of the baseline that it was given.")
    if got["baseline_mode"] != [train] or not got["baseline_trainable"]:
        fail(case, "fuse_heads changed the mode of the baseline that it was given, or froze it. Change the new module only.")
    if got["state_changed"]:
        fail(case, f"fuse_heads changed the baseline that it was given: its {', '.join(got['state_changed'])}. Change the new module only.")
    same_settings(exam, case, got["settings"], "fuse_heads")
    if not got["again"]:
        fail(
            case,
            "The baseline's weights were changed and it was fused again: the new module does not hold the new weights. What "
            "do you keep from the call before?",
        )
    if got["follows"]:
        fail(case, "Putting the baseline into the other mode put a part of the fused module there too. Which module do they share?")
    shared = got["moved_by_baseline"] or got["moved_by_fused"]
    if shared:
        fail(
            case,
            f"Training the baseline must not change the fused module, nor the other way round; {', '.join(shared)} "
            f"changed with the other module. Do they share one tensor, where the values should be copied?",
        )


def fused_dtypes(subject, size, dtype):
    program = Program()
    baseline, fused = fuse(program, subject, size, random_weights(size), dtype=dtype)
    y = program.call(fused, program.tensor(random_input(size), dtype=dtype))
    answer = subject.run(program.give(p=program.parameters(fused), of_baseline=program.parameters(baseline), y=y))
    found = {key: [p["dtype"], p["device"]] for key, p in answer.plain("p").items()}
    for key, p in answer.plain("of_baseline").items():
        found[f"the baseline's {key}"] = [p["dtype"], p["device"]]
    y = answer.values["y"]
    return found | {"its output": [y.get("dtype"), y.get("device")]}


@check("fuse_dtype", "fuse_heads keeps the dtype and the device", ("fuse_values",))
def test_fuse_dtype(exam):
    for dtype, size in itertools.product(("float64", "bfloat16", "float32"), BASELINES):
        case = size.as_case(dtype=dtype, device=exam.device)
        got = look(exam, case, fused_dtypes, size, dtype)
        for key, came in got.items():
            if came != [dtype, exam.device]:
                fail(
                    case,
                    f"The baseline was in {dtype} on {exam.device}, so it must stay there and the fused module must be there too; "
                    f"{key} is {came[0]} on {came[1]}. A new module starts in float32 on the CPU: what moves it?",
                )


def fused_modes(subject, size, train):
    program = Program()
    _, fused = fuse(program, subject, size, random_weights(size), dropout=looks.P, train=train)
    modes = subject.run(program.give(modes=program.modes(fused))).plain("modes")
    return {"modes": sorted(set(map(bool, modes.values())))}


@check("fuse_mode", "fuse_heads keeps train or eval mode", ("fuse_values",))
def test_fuse_mode(exam):
    for train, size in itertools.product((False, True), BASELINES):
        case = size.as_case(training=train)
        got = look(exam, case, fused_modes, size, train)["modes"]
        if got != [train]:
            mode = "train" if train else "eval"
            fail(
                case,
                f"The baseline is in {mode} mode, so the fused module and everything in it must be too. A new module starts "
                f"in train mode: a forgotten eval() drops out at test time. What passes baseline.training on?",
            )


def fused_dropout(subject, n_head, D):
    def make(program, subject, size, weights, *, dropout, train):
        _, fused = fuse(program, subject, size, weights, dropout=dropout, train=train)
        program.train(fused, train)
        return fused

    return looks.dropout(subject, True, 1, make, heads=(n_head, D))


@check("fuse_dropout", "fuse_heads keeps the dropout probability", ("fuse_values", "dropout_weights", "dropout_output"))
def test_fuse_dropout(exam):
    for n_head, D in ((4, 8), (1, 8), (4, 1)):
        keeps_dropout(exam, n_head, D)


def keeps_dropout(exam, n_head, D):
    case, p = DROPOUT_CASE | {"n_head": n_head, "n_embd": n_head * D}, looks.P
    got = look(exam, case, fused_dropout, n_head, D, same=looks.same_dropout)
    room = room_for_chance(p, looks.weights_seen(n_head * looks.SEQUENCES, D))
    if abs(got["zeros"] - p) > room or abs(got["low"] - p) > room:
        fail(
            case,
            f"The baseline drops {p:.0%} of its attention weights and of its output in train mode, so the fused module must "
            f"too; it drops {got['low']:.0%} and {got['zeros']:.0%}. Which config is it built from?",
        )


def fused_block(subject, size, weights, x):
    program = Program()
    _, fused = fuse(program, subject, size, weights)
    answer = subject.run(program.give(y=program.call(fused, program.tensor(x))))
    return {"y": answer.tensor("y", x.shape, "the output of the fused module", device=subject.device)}


@check("fuse_block_size", "fuse_heads keeps block_size", ("fuse_values", "values"))
def test_fuse_block_size(exam):
    # Longer than any default: 256 is GPTConfig's, so 300 tokens need the baseline's own block_size.
    for n_head, C in ((2, 6), (1, 3), (3, 3)):
        size = Size(B=1, T=300, n_embd=C, n_head=n_head, block_size=300, seed=11)
        weights, x = random_weights(size), random_input(size)
        expected = exam.expected(forward, size, weights, x)["y"]
        got = look(exam, size.as_case(), fused_block, size, weights, x)["y"]
        expect(
            expected, got, allowance(size, weights, x, expected), size.as_case(),
            f"The baseline takes up to block_size = {size.block_size} tokens, so the fused module must too. Which config is "
            f"it built from?",
        )  # fmt: skip
