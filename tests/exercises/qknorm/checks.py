"""The checks of QK-norm: the batteries of a module and of an attention, that only directions count, where eps
stands, and float16."""

import numpy as np

from tests.exercises.battery import attention, dropout, module
from tests.exercises.battery.attention import Attention
from tests.exercises.battery.module import Size, checks_of, expect, forward
from tests.exercises.exam import check, look
from tests.exercises.numbers import float16

EPS = 1e-6


def rms(m: np.ndarray) -> np.ndarray:
    """The root mean square over the channels of a head, with eps: (B, H, T, D) -> (B, H, T, 1)."""
    return np.sqrt((m.astype(np.float64) ** 2).mean(-1, keepdims=True) + EPS)


class QKNorm(Attention):
    def parameters(self, size):
        return super().parameters(size) | {"q_norm.weight": (size.D,), "k_norm.weight": (size.D,)}

    def entering(self, size, weights, q, k):
        return q / rms(q) * weights["q_norm.weight"], k / rms(k) * weights["k_norm.weight"]

    def spread(self, size, weights, x):
        # An error in a query that is shorter than the others is enlarged by as much.
        q, k, _ = np.split(x @ weights["qkv.weight"].T, 3, axis=-1)
        lengths = [rms(m.reshape(*m.shape[:2], size.n_head, size.D)) for m in (q, k)]
        return super().spread(size, weights, x) * max(float(m.max() / m.min()) for m in lengths)

    def scored(self, size, weights):
        # One more channel, which no key has, gives all queries the same length; the gain undoes the division
        # by it. Times 100, beside which eps is nothing.
        qkv, C, D, T = weights["qkv.weight"], size.n_embd, size.D, size.T
        squares = (qkv[:D, :T].astype(np.float64) ** 2).sum(0)
        length = np.sqrt(squares.max() + 1)
        qkv[T:C:D, :T] = np.sqrt(length**2 - squares)
        qkv[: 2 * C] *= 100
        return weights | self.gains(D, length / D)

    def rising(self, size, step):
        # All queries are alike, and the keys turn towards them.
        weights, C, D, T = super().rising(size, step), size.n_embd, size.D, size.T
        weights["qkv.weight"][C : 2 * C : D, 0] = -T / 2
        weights["qkv.weight"][C + 1 : 2 * C : D, 0] = T / 2
        return weights | self.gains(D, 1.5 * T * step / np.sqrt(D))

    def gains(self, D, of_queries):
        """The two gains: one number for all channels of the queries, and ones."""
        return {"q_norm.weight": np.full(D, of_queries, np.float32), "k_norm.weight": np.ones(D, np.float32)}


UNIT = QKNorm(
    name="QKNormAttention",
    part="attention",
    same_as="that of exercise 1's attention with queries and keys normed,",
    asks=attention.ASKS
    | {
        "values": "T below block_size, one head, head size 1",
        "in_gpt": "GPT(config, attention=QKNormAttention) must work, and alone your attention is right. Does "
        "it need anything else than config and x?",
    },
    corners=attention.CORNERS,
    long=attention.LONG_TEXT,
    by_name=False,
    fits=False,
)
TITLES = {
    "parameters": "its parameters are exercise 1's, q_norm.weight and k_norm.weight, and no others",
    "running_mean": "with equal scores each token takes the mean of what it sees",
    "attention_matrix": "each head's attention matrix is that of its normed queries and keys, over sqrt(D)",
}
AFTER = {
    "values": ("norms", "epsilon", "attention_matrix"),
    "dropout_weights": ("attention_matrix",),
    "in_gpt": ("values", "dropout_eval"),
}
# Without the check of the scale: what it varies, the length of a query, does not count here.
CHECKS = tuple(c for c in attention.CHECKS if c is not attention.scores_are_scaled)

test_runs = module.runs(UNIT.name)
globals().update(
    checks_of(UNIT, (*module.CHECKS, module.begins_as_ones, *CHECKS, *dropout.CHECKS), TITLES, AFTER)
)


def check_scaled(exam, message, size, factors, dtype="float32", roundings=8):
    """The output where the queries and the keys are so many times as large, for each pair of factors."""
    for of_q, of_k in factors:
        weights, x = UNIT.weights(size), float16(size.x())
        of_rows = np.repeat([of_q, of_k, 1], size.n_embd)[:, None].astype(np.float32)
        weights = {key: float16(w) for key, w in weights.items()}
        weights["qkv.weight"] = weights["qkv.weight"] * of_rows
        case = size.as_case(dtype=dtype, queries_times=of_q, keys_times=of_k)
        right = UNIT.right(size, weights, x)
        got = look(exam, case, forward, UNIT, size, weights, x, dtype)["y"]
        expect(right, got, UNIT.allowance(size, weights, x, right, dtype, roundings), case, message)


@check("norms", "only the directions of queries and keys count", ("one_token",))
def test_norms(exam):
    message = "Are q and k both divided by the root mean square of their own D channels, then multiplied"
    check_scaled(exam, f"{message} with their own weight, each with its own?", Size(seed=21), ((1, 1),))
    message = f"Only the directions of q and k count, unless they are tiny. {message} with their weight?"
    check_scaled(exam, message, Size(seed=21), ((4096, 1), (1, 4096), (4096, 4096)))


@check("epsilon", "eps is 1e-6 and stands under the root; zeros stay zeros", ("one_token",))
def test_epsilon(exam):
    message = "For small q and k eps decides: is it 1e-6, added to the mean of the squares, under the root?"
    small = 2.0**-10  # mean squares of about 1e-6
    check_scaled(exam, message, Size(seed=22), ((small, 1), (1, small), (4 * small, 4 * small), (0, 0)))


@check("half", "in float16 the squares do not overflow", ("dtypes",))
def test_half(exam):
    message = "In float16 the square of 300 is infinite. In which dtype do you square and sum?"
    check_scaled(exam, message, Size(seed=23), ((256, 1), (1, 256)), "float16", 2)
