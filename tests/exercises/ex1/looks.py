"""How the checks look at an attention: a black box whose weights we choose so that it shows its inside.

With the values one-hot in the position and `proj` the identity, the output of a head is its attention
matrix. With the queries and keys zero, the attention is uniform over what the mask leaves. Each look
takes a subject and returns a reading (see exam.py). A subclass of Size says in what the attention of
another exercise differs, so that it is looked at and checked in the same way.
"""

import functools
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np

from tests.exercises.exam import CheckFailed, Reading, Subject
from tests.exercises.numbers import bfloat16, room_for_chance
from tests.exercises.program import Program, Ref, gpt_core, name

CLASS = "FusedMultiHeadAttention"
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Size:
    """The sizes of one case: B, T, C = n_embd, H = n_head, block_size, and the seed of its numbers."""

    B: int = 2
    T: int = 6
    n_embd: int = 32
    n_head: int = 4
    block_size: int = 8
    seed: int = 0

    attention: ClassVar[str] = CLASS  # the class in the graded file
    per_head: ClassVar[bool] = True  # the reference is gpt_core's own attention, head by head; else the solution's
    head_step: ClassVar[int] = 1  # head sizes are multiples of it
    same_as: ClassVar[str] = "gpt_core.MultiHeadAttention's"

    def turned(self, x: np.ndarray, back: bool = False) -> np.ndarray:
        """Queries or keys (.., T, D) as they meet; back: those that meet as x. Here they meet as they are."""
        return x

    def placed(self, offset: int) -> dict:
        """The keyword arguments of a call whose first token stands at `offset`. Here there is no such thing."""
        return {}

    def of_angles(self, weights: "Weights", x: np.ndarray) -> float:
        """How far right outputs may differ, as a part of the largest, for their angles. Here there are none."""
        return 0.0

    @property
    def D(self) -> int:
        return self.n_embd // self.n_head

    def as_case(self, **more) -> dict:
        """For the report and the JSON."""
        return asdict(self) | more

    def config(self, program: Program, dropout: float = 0.0) -> Ref:
        """The GPTConfig of this size."""
        return program.config(
            vocab_size=11, block_size=self.block_size, n_layer=1, n_head=self.n_head,
            n_embd=self.n_embd, dropout=dropout,
        )  # fmt: skip


# C = 32, H = 4, D = 8 and T = 6 below block_size = 8: no two sizes coincide, so that a scale by C, H, T
# or D, or a reshape that mixes them, cannot be right by chance.
PLAIN = Size()


@functools.lru_cache(1000)
def normal(seed, *shapes: tuple) -> tuple[np.ndarray, ...]:
    """Standard normal float32 numbers of each shape, which nobody may write into: they are kept."""
    rng = np.random.default_rng(seed)
    drawn = tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)
    for array in drawn:
        array.flags.writeable = False
    return drawn


def random_weights(size: Size) -> Weights:
    """Weights that give queries, keys and values of variance about 1, and a bias that shows."""
    C = size.n_embd
    qkv, proj, bias = normal(size.seed, (3 * C, C), (C, C), (C,))
    root = np.float32(np.sqrt(C))
    return {"qkv.weight": qkv / root, "proj.weight": proj / root, "proj.bias": bias.copy()}


def random_input(size: Size, stream: int = 1) -> np.ndarray:
    """x (B, T, C) float32, standard normal; a copy is what may be written into."""
    return normal((size.seed, stream), (size.B, size.T, size.n_embd))[0]


def per_head(weights: Weights, n_head: int, prefix: str = "") -> Weights:
    """The fused weights as the parameters of gpt_core.MultiHeadAttention."""
    C = weights["qkv.weight"].shape[1]
    D = C // n_head
    split = {f"{prefix}proj.weight": weights["proj.weight"], f"{prefix}proj.bias": weights["proj.bias"]}
    for part, rows in zip(("query", "key", "value"), np.split(weights["qkv.weight"], 3)):
        for head in range(n_head):
            split[f"{prefix}heads.{head}.{part}.weight"] = rows[head * D : (head + 1) * D]
    return split


def build(program: Program, subject: Subject, size: Size, weights: Weights, *, dropout=0.0, **options) -> Ref:
    """The subject's attention with these weights; for the reference, the lecture's own where it is the same."""
    config = size.config(program, dropout)
    if subject.role == "reference" and size.per_head:
        return program.build(
            gpt_core("MultiHeadAttention"), config, parameters=per_head(weights, size.n_head), **options
        )
    return program.build(name(size.attention), config, parameters=weights, **options)


def forward(
    subject: Subject, size: Size, weights: Weights, x: np.ndarray, *, dtype="float32", layout="contiguous"
) -> Reading:
    """The output for one input, in eval mode without dropout: {"y": (B, T, C)}.

    The reference computes in float64, whatever the dtype: it stands for the exact result.
    """
    program = Program()
    computed = "float64" if subject.role == "reference" else dtype
    attention = build(program, subject, size, weights, dtype=computed)
    y = program.call(attention, program.tensor(x, dtype=computed, layout=layout))
    answer = subject.run(program.give(y=y))
    return {"y": answer.tensor("y", x.shape, "the output", computed, subject.device)}


MODES = ("eval", "train")


def both_modes(
    subject: Subject, size: Size, weights: Weights, x: np.ndarray, dtype="float32", modes=MODES
) -> Reading:
    """The output in eval and in train mode, without dropout: {"eval": (B, T, C), "train": (B, T, C)}, of `modes`."""
    program = Program()
    attention = build(program, subject, size, weights, dtype=dtype)
    tensor = program.tensor(x, dtype=dtype)
    for mode in modes:
        if mode == "train":
            program.train(attention, True)
        program.give(**{mode: program.call(attention, tensor)})
    answer = subject.run(program)
    return {mode: answer.tensor(mode, x.shape, "the output", dtype, subject.device) for mode in modes}


def largest_logit(size: Size, weights: Weights, x: np.ndarray) -> float:
    """max |q . k| / sqrt(D) over the pairs of the first 300 tokens: how much the softmax enlarges an error."""
    q, k, _ = np.split(x[:, :300] @ weights["qkv.weight"].T, 3, axis=-1)
    q, k = (size.turned(m.reshape(*m.shape[:2], size.n_head, size.D).transpose(0, 2, 1, 3)) for m in (q, k))
    return float(np.abs(q @ k.swapaxes(-1, -2)).max() / np.sqrt(size.D))


def exact(size: Size, weights: Weights, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(B, some of T, C) float64: what an attention gives at these tokens, in numpy."""

    def heads(m):
        return m.reshape(size.B, size.T, size.n_head, size.D).transpose(0, 2, 1, 3)

    q, k, v = map(heads, np.split(x.astype(np.float64) @ weights["qkv.weight"].T.astype(np.float64), 3, axis=-1))
    scores = size.turned(q)[:, :, rows] @ size.turned(k).swapaxes(-1, -2) / np.sqrt(size.D)
    tokens = np.arange(size.T)
    scores[..., tokens > tokens[rows, None]] = -np.inf
    attention = np.exp(scores - scores.max(axis=-1, keepdims=True))
    attention /= attention.sum(axis=-1, keepdims=True)
    joined = (attention @ v).transpose(0, 2, 1, 3).reshape(size.B, -1, size.n_embd)
    return joined @ weights["proj.weight"].T.astype(np.float64) + weights["proj.bias"]


# Weights that make an attention show its inside. The first T channels of x say where a token stands.


def positions(size: Size, seed: int | None = None) -> np.ndarray:
    """x (B, T, C): the position as a one-hot in the first T channels, and noise in the others."""
    rng = np.random.default_rng((size.seed if seed is None else seed, 7))
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
    return {"qkv.weight": qkv, "proj.weight": np.eye(C, dtype=np.float32), "proj.bias": np.zeros(C, np.float32)}


def with_scores(size: Size, scores: np.ndarray) -> Weights:
    """Weights for which the scaled scores of every head are `scores` (T, T): S[query, key]."""
    weights = show_attention(size, random_weights(size))
    C, D, T = size.n_embd, size.D, size.T
    query, key = np.zeros((D, C), dtype=np.float32), np.zeros((D, C), dtype=np.float32)
    query[:T, :T] = scores.T * np.sqrt(D)  # q of token t is S[t, :], undone by the scale
    np.fill_diagonal(key[:T, :T], 1.0)  # k of token s is one-hot
    for matrix in (query, key):
        matrix[:, :T] = size.turned(matrix[:, :T].T, back=True).T
    weights["qkv.weight"][: 2 * C] = np.concatenate([np.tile(query, (size.n_head, 1)), np.tile(key, (size.n_head, 1))])
    return weights


def attention_matrix(subject: Subject, size: Size, weights: Weights, x: np.ndarray, dtype="float32") -> Reading:
    """{"attention": (B, H, T, T)} of weights that show it; T <= D."""
    y = forward(subject, size, weights, x, dtype=dtype)["y"]
    by_head = y.reshape(size.B, size.T, size.n_head, size.D)[..., : size.T]
    return {"attention": by_head.transpose(0, 2, 1, 3)}


def in_both_modes(subject: Subject, size: Size, weights: Weights, x: np.ndarray, dtype="float32") -> Reading:
    """{mode: (B, H, T, T)} of weights that show it, without dropout; T <= D."""
    y = both_modes(subject, size, weights, x, dtype)
    by_head = {mode: given.reshape(size.B, size.T, size.n_head, size.D)[..., : size.T] for mode, given in y.items()}
    return {mode: given.transpose(0, 2, 1, 3) for mode, given in by_head.items()}


def influence(subject: Subject, size: Size, weights: Weights, x: np.ndarray) -> Reading:
    """{"moved": (T, T) bool}: whether the output of token t moves when token s of the input does.

    Sequence 0 of the batch is x[0]; in sequence s + 1 token s is another one.
    """
    many = np.repeat(x[:1], size.T + 1, axis=0)
    for s in range(size.T):
        many[s + 1, s] += np.random.default_rng((size.seed, s, 3)).normal(size=size.n_embd).astype(np.float32)
    y = forward(subject, replace(size, B=size.T + 1), weights, many)["y"]
    return {"moved": _moved(y[1:], y[:1]).any(axis=2).T}


def head_influence(subject: Subject, size: Size, weights: Weights, x: np.ndarray) -> Reading:
    """{"moved": (H, H) bool}: whether the output slice of head j moves with the rows of head i.

    proj is the identity, so that slice j of the output is head j.
    """
    C, D, H = size.n_embd, size.D, size.n_head
    weights = weights | {"proj.weight": np.eye(C, dtype=np.float32), "proj.bias": np.zeros(C, np.float32)}
    program = Program()
    attention = build(program, subject, size, weights)
    tensor = program.tensor(x)
    outputs = {"y": program.call(attention, tensor)}
    for head in range(H):
        qkv = weights["qkv.weight"].copy()
        for part in range(3):
            rows = slice(part * C + head * D, part * C + (head + 1) * D)
            qkv[rows] = np.random.default_rng((size.seed, head, part)).normal(size=(D, C)) / np.sqrt(C)
        program.set_parameters(attention, {"qkv.weight": qkv})
        outputs[f"y{head}"] = program.call(attention, tensor)
    answer = subject.run(program.give(**outputs))
    y = {key: answer.tensor(key, x.shape, "the output", "float32", subject.device) for key in outputs}
    moved = [_moved(y[f"y{head}"], y["y"]).reshape(-1, H, D).any(axis=(0, 2)) for head in range(H)]
    return {"moved": np.array(moved)}


def _moved(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    # Rounding may differ between two calls; a real influence is of order 1. NaN counts as moved.
    return ~(np.abs(one - other) <= 1e-4 * max(1.0, float(np.nanmax(np.abs(other), initial=0))))


OFFSET = 5  # where a call in eval mode begins, for an attention that is told


def gradients(
    subject: Subject, size: Size, weights: Weights, x: np.ndarray, modes=("train",), dtype="float32", of="all"
) -> Reading:
    """{mode: the gradients of sum(output * cotangent) for x, qkv.weight, proj.weight and proj.bias}; dropout is 0.

    of: "all", or which alone require a gradient: "x" (the weights are frozen) or "parameters"; None for the others.
    Another call comes before the way back, which needs what the first one computed.
    """
    program = Program()
    dtype = "float64" if subject.role == "reference" else dtype
    attention = build(program, subject, size, weights, dtype=dtype, train=True)
    if of == "x":
        program.condition(attention, train=[True], frozen=[True])
    cotangent = bfloat16(random_input(size, stream=2))
    for mode in modes:
        if mode == "eval":
            program.train(attention, False)
        tensor = program.tensor(x, dtype=dtype, requires_grad=of != "parameters")
        y = program.call(attention, tensor, kwargs=size.placed(OFFSET) if mode == "eval" else {})
        if subject.role != "reference":
            program.call(attention, program.tensor(x[:, ::-1, ::-1], dtype=dtype, requires_grad=of != "parameters"))
        program.give(**{mode: program.gradients(y, cotangent, x=tensor, attention=attention)})
    answer = subject.run(program)
    return {mode: _of_one_mode(subject, size, weights, x, answer.tensors(mode), of) for mode in modes}


def _of_one_mode(subject, size, weights, x, found, of) -> Weights:
    if subject.role == "reference" and size.per_head and of != "x":
        joined = [
            np.concatenate([found[f"heads.{h}.{part}.weight"] for h in range(size.n_head)])
            for part in ("query", "key", "value")
        ]
        found["qkv.weight"] = np.concatenate(joined)
    wanted = {"x": x.shape} | {key: value.shape for key, value in weights.items()}
    for key, shape in wanted.items():
        if found.get(key) is not None and found[key].shape != shape:
            raise CheckFailed(f"The gradient of {key} has shape {found[key].shape}, not {shape}.", same=("shape", key))
    return {key: found.get(key) for key in wanted}


# Dropout. One token: its attention weight is 1 or dropped, so it shows what happens to one weight.

P = 0.3  # not 0.5: dropping with 1 - p would look the same
SEQUENCES = 500
LEVEL_DIGITS = 3


def weights_seen(heads: int, channels: int) -> float:
    """As how many independent draws the share of dropped weights counts that channels of a kept output show.

    A head shows its weight once for each of its channels that is kept, and the number of these is drawn too.
    """
    return heads / (1 + P / ((1 - P) * channels))


def dropped_out(answer, key: str, size: Size, subject: Subject, dtype="float32") -> np.ndarray:
    """An output (B, T, C) in train mode; CheckFailed where it holds NaN, which is no share of anything."""
    y = answer.tensor(key, (size.B, size.T, size.n_embd), "the output", dtype, subject.device)
    if not np.isfinite(y).all():
        count = int((~np.isfinite(y)).sum())
        raise CheckFailed(
            f"In train mode, with dropout, {count} of {y.size} elements of the output are NaN or infinite. "
            f"Is something divided by 0 there, or is a row of scores left without any key? Dropout "
            f"multiplies the weights, after the softmax.",
            same=("not finite in training",),
        )
    return y


def dropout(subject: Subject, train: bool, tokens: int, make=None, Size=Size, heads=(4, 8)) -> Reading:
    """What dropout of probability P does to an output that is otherwise known; heads: (H, D).

    The values are 1 at position 0 and 3 at position 1, the same for all channels of a head; proj is the
    identity with a bias of 1. Reading, for the last token:
        levels:   the different values of the output, 0 left out
        zeros:    the share of zeros (what is dropped after proj)
        low:      among the rest, the share of the lowest level (with one token: weights dropped)
        coherent: the share of heads whose channels, zeros aside, agree (weights, not values, are dropped)
    """
    n_head, D = heads
    size = Size(B=SEQUENCES, T=tokens, n_embd=n_head * D, n_head=n_head, block_size=8)
    scores = np.zeros((tokens, tokens), dtype=np.float32)
    scores[-1, 0] = 1.0  # so that dropping a score changes the weights
    weights = with_scores(size, scores)
    C = size.n_embd
    weights["qkv.weight"][2 * C :] = 0.0
    weights["qkv.weight"][2 * C :, :tokens] = np.array([1.0, 3.0], dtype=np.float32)[:tokens]
    weights["proj.bias"] = np.ones(C, dtype=np.float32)
    x = positions(size)
    program = Program()
    attention = (make or build)(program, subject, size, weights, dropout=P, train=train)
    tensor = program.tensor(x)
    answer = subject.run(program.give(y=program.call(attention, tensor)), seed=1)
    y = dropped_out(answer, "y", size, subject)
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


Q = 0.4  # another probability than P, in case one of them is written down somewhere
BIAS = 9.0


def dropped_together(subject: Subject, shown: np.ndarray, Size=Size) -> Reading:
    """What dropout of probability Q does to whole attention matrices, and what is dropped as one.

    shown: the right attention matrix (T, T), the same for all heads and sequences.
    kept:    whether every weight that is not dropped is the right one divided by (1 - Q) ** 2
    cells:   the (query, key) pairs that are dropped in another share than 1 - (1 - Q) ** 2
    last:    whether the share Q of the output is 0, of which no element is 0 before the last dropout
    bias:    whether that share is nothing but proj's bias
    weights: over which of queries, keys, heads, sequences and calls the attention weights share a mask
    output:  over which of tokens, channels, heads, sequences and calls the output does

    Two independent zeros meet with the product of their shares. A shown weight is 0 with 0.64, since its
    output may be dropped too: together 0.41, and 0.50 where the weight's mask is shared. An output (any
    proj, a bias far from 0) is 0 with 0.4: together 0.16, or 0.4. With 4800 pairs and more these shares have standard
    deviations below 0.0072, and a cell's, of 2400, 0.010.
    """
    # T = block_size, as in training; half of B is a multiple of 64, where masks might come again.
    size = Size(B=640, T=6, block_size=6, seed=1)
    weights = with_scores(size, scores_of(shown))
    program = Program()
    attention = build(program, subject, size, weights, dropout=Q, train=True)
    x = program.tensor(positions(size))
    program.give(w0=program.call(attention, x), w1=program.call(attention, x))
    # A proj that mixes all channels: whoever drops before it, or before its bias, has no zero in the output.
    mixing = {"proj.weight": random_weights(size)["proj.weight"], "proj.bias": np.full_like(weights["proj.bias"], BIAS)}
    program.set_parameters(attention, mixing)
    program.give(y0=program.call(attention, x), y1=program.call(attention, x))
    answer = subject.run(program, seed=2)
    given = {key: dropped_out(answer, key, size, subject) for key in ("w0", "w1", "y0", "y1")}
    shown_now = given["w0"].reshape(size.B, size.T, size.n_head, size.D).transpose(0, 2, 1, 3)[..., : size.T]
    seen = np.tril(np.ones((size.T, size.T), dtype=bool))
    kept = np.abs(shown_now - shown / (1 - Q) ** 2) < 1e-4
    share = (shown_now == 0).mean(axis=(0, 1))
    of_cells = room_for_chance(1 - (1 - Q) ** 2, size.B * size.n_head)
    zero = {key: value == 0 for key, value in given.items()}
    # Queries 4 and 5 see keys 0 to 3, all with a weight above 0.
    w, again = (
        zero[key].reshape(size.B, size.T, size.n_head, size.D).transpose(0, 2, 1, 3)[:, :, 4:6, :4] for key in ("w0", "w1")
    )
    y = zero["y0"]
    by_head = y.reshape(size.B, size.T, size.n_head, size.D)
    halves = (1, size.B // 2)  # the next sequence, and the one of the same place in the other half
    together = {
        "queries": met(w, 2), "keys": met(w, 3), "heads": met(w, 1), "sequences": met(w, 0, halves),
        "calls": (w & again).mean(),
    }  # fmt: skip
    output = {
        "tokens": met(y, 1), "channels": met(y, 2, (1,)), "sequences": met(y, 0, halves), "heads": met(by_head, 2),
        "calls": (y & zero["y1"]).mean(),
    }  # fmt: skip
    return {
        "last": bool(abs(y.mean() - Q) < 0.02),
        "bias": bool(abs((given["y0"] == BIAS).mean() - Q) < 0.02),
        "kept": bool((kept | (shown_now == 0)).all()),
        "cells": [f"{t},{s}" for t, s in np.argwhere(seen & (np.abs(share - 1 + (1 - Q) ** 2) > of_cells))],
        "weights": [axis for axis, both in together.items() if both > 0.455],
        "output": [axis for axis, both in output.items() if both > 0.28],
    }


def met(zero: np.ndarray, axis: int, steps=None) -> float:
    """The largest share of pairs that are both zero, over the steps from one to the other along axis (None: all)."""
    n = zero.shape[axis]
    pairs = [(zero.take(range(n - step), axis), zero.take(range(step, n), axis)) for step in steps or range(1, n)]
    return max(float((one & other).mean()) for one, other in pairs)


def scores_of(shown: np.ndarray) -> np.ndarray:
    """Scores whose masked softmax is `shown`."""
    return np.where(shown > 0, np.log(np.maximum(shown, 1e-30)), 0.0).astype(np.float32)


def right_attention(T: int, seed: int) -> np.ndarray:
    """A causal attention matrix (T, T) with weights that are all different and none near 0."""
    weights = np.tril(np.random.default_rng(seed).uniform(1.0, 3.0, size=(T, T)))
    return weights / weights.sum(axis=1, keepdims=True)


# T, B, H and the dtype; one sequence alone is a case of its own. bfloat16 tells the scores of so many tokens apart.
LENGTHS = ((40, 24, 4, "float64"), (44, 24, 2, "bfloat16"), (600, 1, 1, "float32"))
NEAREST = 30.0  # the score of a key above that of the key before it


def dropped_in_long(subject: Subject, Size=Size) -> Reading:
    """Which share of the weights is dropped in longer sequences, for early and for late queries.

    {"wrong": the tokens with another share than P, "shares": {tokens: their share}, "kept": whether the weights that
    are not dropped are right, "zeros": {tokens: the share of the output that is 0}, "wrong zeros": as for the weights}.
    The score grows with the position of the key, so that each token has all of its weight on itself; turning only
    lowers the others. The values grow with the position from 1 to 2, and proj's bias is 1: of an output whose
    weight is dropped, the bias is left.
    """
    reading = {"wrong": [], "shares": {}, "kept": True, "wrong zeros": [], "zeros": {}}
    for T, B, n_head, dtype in LENGTHS:
        size = Size(B=B, T=T, n_embd=2 * n_head, n_head=n_head, block_size=T, seed=14)
        C, D = size.n_embd, size.D
        qkv = np.zeros((3 * C, C), dtype=np.float32)
        qkv[:C:D, 0] = NEAREST * np.sqrt(D)
        qkv[C : 2 * C : D, 1] = 1.0
        qkv[2 * C :, 0] = 1.0
        qkv[2 * C :, 1] = 1.0 / T
        proj, bias = np.eye(C, dtype=np.float32), np.ones(C, np.float32)
        weights = {"qkv.weight": qkv, "proj.weight": proj, "proj.bias": bias}
        x = random_input(size).copy()
        x[..., 0], x[..., 1] = 1.0, np.arange(T)
        program = Program()
        attention = build(program, subject, size, weights, dropout=P, train=True, dtype=dtype)
        answer = subject.run(program.give(y=program.call(attention, program.tensor(x, dtype))), seed=5)
        output = dropped_out(answer, "y", size, subject, dtype)
        y = output.reshape(B, T, n_head, D).max(axis=-1)
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


def switched(subject: Subject, Size=Size) -> Reading:
    """Whether dropout follows the mode as it is switched: {what: whether it was so}.

    All values and proj's bias are 1 and proj is the identity. So the output is 2 where nothing is dropped,
    and 0 in the share P; at the first token, which attends to itself alone, the rest is below 1.75 where its
    weight is dropped, in the share P, and else at least 2.
    """
    size = Size(B=480, T=3, n_embd=32, n_head=4, seed=13)
    one_head = replace(size, B=1920, T=1, n_embd=2, n_head=1)
    program = Program()

    def attend(size, dropout, **options):
        weights, C = random_weights(size), size.n_embd
        weights["qkv.weight"][2 * C :] = np.eye(C)[0]  # v is the input's first channel, which is 1
        weights |= {"proj.weight": np.eye(C, dtype=np.float32), "proj.bias": np.ones(C, np.float32)}
        return build(program, subject, size, weights, dropout=dropout, **options)

    def inputs(size):
        x = random_input(size).copy()
        x[..., 0] = 1.0
        return x

    attention = attend(size, P)
    low, alone = attend(size, P, train=True, dtype="bfloat16"), attend(one_head, P, train=True)
    attend(size, 0.0)  # another one, whose config says something else
    outputs = {}
    for what, train, no_grad in (
        ("eval at first", False, False), ("then train", True, False), ("then eval", False, False),
        ("then train, under no_grad", True, True),
    ):  # fmt: skip
        program.train(attention, train)
        place = size.placed(OFFSET) if what == "then train" else {}
        outputs[what] = program.call(attention, program.tensor(inputs(size)), no_grad=no_grad, kwargs=place)
    outputs["train, in bfloat16"] = program.call(low, program.tensor(inputs(size), dtype="bfloat16"))
    outputs["train, with one head"] = program.call(alone, program.tensor(inputs(one_head)))
    answer = subject.run(program.give(**outputs), seed=4)
    reading = {}
    for what in outputs:
        of = one_head if "one head" in what else size
        dtype = "bfloat16" if "bfloat16" in what else "float32"
        y = dropped_out(answer, what, of, subject, dtype)
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


def dropout_gradients(subject: Subject, Size=Size) -> Reading:
    """How the gradients in train mode, with dropout, agree with differences under the same seed.

    {"repeats": whether the same seed gives the same output; name: whether the two slopes agree in a random
    direction of x, of the rows of q, k and v, and of proj}.
    """
    size = Size(B=3, T=5, seed=12)
    weights = {key: value.astype(np.float64) for key, value in random_weights(size).items()}
    x = random_input(size).astype(np.float64)
    rng = np.random.default_rng(13)
    cotangent = rng.normal(size=x.shape)
    program = Program()
    attention = build(program, subject, size, weights, dropout=P, train=True, dtype="float64")
    tensor = program.tensor(x, dtype="float64", requires_grad=True)

    def call(value):
        program.seed(5)
        return program.call(attention, value)

    first = call(tensor)
    gradients = program.gradients(first, cotangent, x=tensor, attention=attention)
    program.give(first=first, again=call(program.tensor(x, dtype="float64")), gradients=gradients)
    directions = {"x": rng.normal(size=x.shape)}
    for number, part in enumerate(("queries", "keys", "values")):
        directions[part] = np.zeros_like(weights["qkv.weight"])
        rows = slice(number * size.n_embd, (number + 1) * size.n_embd)
        directions[part][rows] = rng.normal(size=(size.n_embd, size.n_embd))
    directions |= {key: rng.normal(size=weights[key].shape) for key in ("proj.weight", "proj.bias")}
    for key, direction in directions.items():
        parameter = "qkv.weight" if key in ("queries", "keys", "values") else key
        for sign, name in ((STEP, "up"), (-STEP, "down")):
            if key == "x":
                value = call(program.tensor(x + sign * direction, dtype="float64"))
            else:
                program.set_parameters(attention, weights | {parameter: weights[parameter] + sign * direction})
                value = call(program.tensor(x, dtype="float64"))
            program.give(**{f"{key} {name}": value})
        program.set_parameters(attention, weights)
    answer = subject.run(program)

    def output(name):
        return answer.tensor(name, x.shape, "the output", "float64", subject.device)

    reading = {"repeats": bool(np.allclose(output("first"), output("again"), atol=1e-6))}
    found = answer.tensors("gradients")
    for key, direction in directions.items():
        measured = float(((output(f"{key} up") - output(f"{key} down")) * cotangent).sum()) / (2 * STEP)
        gradient = found.get("qkv.weight" if key in ("queries", "keys", "values") else key)
        given = 0.0 if gradient is None else float((gradient * direction).sum())
        reading[key] = abs(given - measured) <= APART * max(abs(given), abs(measured), 1.0)
    return reading


MANY = 500
ON_AVERAGE = 0.2


def average_gradients(subject: Subject, Size=Size) -> Reading:
    """{name: whether the gradient in train mode, averaged over MANY dropouts, is that of eval mode}.

    For dropout whose numbers no seed repeats: the output is linear in both masks, and their mean is 1. A
    gradient has many elements, whose mean square hardly depends on the draws: over 200 streams of dropout the
    averages were off by 0.08 of the gradient's size at most; where a gradient is missing they are off by 1.
    """
    size = Size(B=MANY, T=5, seed=12)
    weights = random_weights(size)
    shapes = {"x": (MANY, size.T, size.n_embd)} | {key: value.shape for key, value in weights.items()}
    x = np.repeat(random_input(size)[:1], MANY, axis=0)
    cotangent = np.repeat(random_input(size, stream=2)[:1], MANY, axis=0)
    program = Program()
    attention = build(program, subject, size, weights, dropout=P)
    for mode in (False, True):
        program.train(attention, mode)
        tensor = program.tensor(x, requires_grad=True)
        y = program.call(attention, tensor)
        found = program.gradients(y, cotangent, x=tensor, attention=attention)
        program.give(**{"train" if mode else "eval": found})
    answer = subject.run(program)

    def by_part(name):
        found = answer.tensors(name)
        missing = {key: np.zeros(shape) for key, shape in shapes.items() if found.get(key) is None}
        found = {key: found.get(key) for key in shapes} | missing
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
