"""Numbers in another order: rows of qkv, heads, tokens or sequences that are swapped, read in another shape,
or used in the place of others."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from grader.judge.fits import Fit
from grader.judge.fits.hypotheses import Case, Variation, as_heads, cases, fits_of, merge
from tests.exercises.exam import Numbers

# The rows of qkv.weight.

PARTS = ("queries", "keys", "values")
_ORDER = "The rows of qkv.weight are all queries, then all keys, then all values. "
# What queries, keys and values are read from, where the catalogue knows it.
KNOWN = {
    (1, 0, 2): "rows_key_first", (2, 1, 0): "rows_value_first", (0, 2, 1): "rows_value_second",
    (2, 0, 1): "rows_rotated", (1, 2, 0): "rows_value_query_key", (0, 0, 2): "key_is_query",
    (1, 1, 2): "query_is_key", (0, 1, 1): "value_is_key", (0, 1, 0): "value_is_query",
}  # fmt: skip


def rows(order: tuple[int, int, int]) -> Variation:
    """Queries, keys and values are read from these thirds."""
    words = ", ".join(f"{part} from the {PARTS[third]}' rows" for part, third in zip(PARTS, order))
    left = [PARTS[third] for third in range(3) if third not in order]
    unused = f"The rows of the {' and '.join(left)} are never used. " if left else ""

    def split(projected, case):
        thirds = np.split(projected, 3, axis=-1)
        return tuple(as_heads(thirds[third], case) for third in order)

    return Variation(
        KNOWN.get(order, "rows_used_twice"),
        f"the parts are read in another order: {words}",
        f"{_ORDER}{unused}Look at the order of the names where qkv(x) is split, and whether one name stands "
        "for two parts.",
        {"split": split},
    )


def rows_by_head(order: tuple[int, int, int]) -> Variation:
    """qkv(x) is viewed as (B, T, H, 3 D), the three parts of a head in this order."""

    def split(projected, case):
        heads = projected.reshape(case.B, case.T, case.H, 3, case.D).transpose(3, 0, 2, 1, 4)
        return tuple(heads[third] for third in order)

    of_head = ", ".join(PARTS[order.index(third)] for third in range(3))
    return Variation(
        "rows_by_head",
        f"the rows of qkv are read head by head, in each {of_head}",
        f"You view qkv's output as (B, T, H, 3 D). {_ORDER}Split the last dimension in three first, then "
        "each part in heads.",
        {"split": split},
    )


INTERLEAVED = Variation(
    "rows_interleaved",
    "the rows of qkv are read alternately: query, key, value, query, ..",
    f"You view qkv's output as (B, T, C, 3), so that its rows go query, key, value, query, .. {_ORDER}",
    {"split": lambda m, case: tuple(as_heads(m[..., part::3], case) for part in range(3))},
)
VALUE_IS_INPUT = Variation(
    "value_is_input",
    "the input is averaged instead of the values",
    "You apply the attention weights to x itself. What a token passes on is its value, the last third of "
    "qkv.",
    {"values": lambda weights, v, case: weights @ as_heads(case.x.astype(np.float64), case)},
)

# The split into heads, and back.


def _as_viewed(m: np.ndarray, case: Case) -> np.ndarray:
    return m.reshape(case.B, case.H, case.T, case.D)


def _channels_first(m: np.ndarray, case: Case) -> np.ndarray:
    return m.reshape(case.B, case.T, case.D, case.H).transpose(0, 3, 1, 2)


def _each(of_third: Callable) -> Callable:
    return lambda projected, case: tuple(of_third(m, case) for m in np.split(projected, 3, axis=-1))


# Views of all of qkv(x) without a transpose: {what is written: (the parts)}
VIEWS = {
    "(B, H, T, D)": _each(_as_viewed),
    "(B, H, T, 3 D)": lambda m, case: tuple(np.split(m.reshape(case.B, case.H, case.T, -1), 3, axis=-1)),
    "(B, 3, H, T, D)": lambda m, case: tuple(
        m.reshape(case.B, 3, case.H, case.T, case.D).transpose(1, 0, 2, 3, 4)
    ),
    "(3, B, H, T, D)": lambda m, case: tuple(m.reshape(3, case.B, case.H, case.T, case.D)),
}
NOT_BACK = {"merge": lambda out, case: out.reshape(case.B, case.T, case.C)}
_MEMORY = (
    "view and reshape never move a number: memory holds token after token, so read as (.., H, T, D) the "
    "first head gets all channels of the first tokens. "
)


def viewed(shape: str, back: bool) -> Variation:
    """The split is a view in this shape; back: the join is right."""
    join = "" if back else ", and joined again by a view as (B, T, C)"
    after = "" if back else " On the way back transpose(1, 2) first, then reshape to (B, T, C)."
    return Variation(
        "split_without_transpose",
        f"the split into heads is a view as {shape}{join}",
        f"{_MEMORY}View as (B, T, H, D), then transpose(1, 2).{after}",
        {"split": VIEWS[shape]} | ({} if back else NOT_BACK),
    )


JOINED_AS_IT_IS = Variation(
    "merge_without_transpose",
    "the heads are joined without moving time back",
    "out is (B, H, T, D); reshaping it to (B, T, C) as it is mixes tokens with heads, though the shape is "
    "right. transpose(1, 2) first, so that the H heads of one token lie side by side.",
    NOT_BACK,
)


def _by_channel(out: np.ndarray, case: Case) -> np.ndarray:
    return out.transpose(0, 2, 3, 1).reshape(case.B, case.T, case.C)


_SIDE_BY_SIDE = "The D channels of one head stand side by side, head after head: (H, D), not (D, H). "
BY_CHANNEL = Variation(
    "merge_channel_first",
    "the heads are joined channel by channel",
    f"You order the channels as (D, H): channel 0 of every head, then channel 1. {_SIDE_BY_SIDE}"
    "transpose(1, 2), not permute(0, 2, 3, 1).",
    {"merge": _by_channel},
)


def head_fastest(back: bool) -> Variation:
    """The channels are read as (D, H), and, where `back` is true, written so."""
    also = ", and so does the join" if back else ""
    return Variation(
        "head_index_fastest",
        f"the split reads the channels as (D, H){also}",
        f"A head gets every H-th channel. {_SIDE_BY_SIDE}View as (B, T, H, D).",
        {"split": _each(_channels_first)} | ({"merge": _by_channel} if back else {}),
    )


# Heads, tokens and sequences that stand where others should.

# {id: (in words, the indices of n things in the order in which they stand)}; a roll and a flip of two heads
# are one, which the case with three of them tells apart.
ORDERS = {
    "reversed": ("in reverse order", lambda n: np.arange(n)[::-1]),
    "shifted": ("moved by one", lambda n: np.roll(np.arange(n), 1)),
    "shifted_back": ("moved back by one", lambda n: np.roll(np.arange(n), -1)),
    "first": ("all the first one", lambda n: np.zeros(n, dtype=int)),
    "last": ("all the last one", lambda n: np.full(n, n - 1)),
}
IDS = {"shifted_back": "shifted", "first": "one_for_all", "last": "one_for_all"}
_STAYS = {
    "heads": "Head 0 owns the first D channels of the joined heads, head 1 the next D, as in torch.cat.",
    "weights": "Each head averages its own values with its own attention weights.",
    "tokens": "The output of token t stands at place t.",
    "sequences": "Each sequence of a batch is computed for itself, and stays in its place.",
}


def moved(what: str, order: str) -> Variation:
    """These stand in another order than they should."""
    words, indices = ORDERS[order]
    does = {
        "heads": {"merge": lambda out, case: merge(out[:, indices(case.H)], case)},
        "weights": {"weights": lambda weights, case: weights[:, indices(case.H)]},
        "tokens": {"output": lambda y, case: y[:, indices(case.T)]},
        "sequences": {"output": lambda y, case: y[indices(case.B)]},
    }[what]
    name = {"weights": "the heads of the attention weights"}.get(what, f"the {what} in the output")
    return Variation(
        f"{what}_{IDS.get(order, order)}",
        f"{name} are {words}",
        f"{_STAYS[what]} Look for flip, roll, an index, or a broadcast of one for all, on that dimension.",
        does,
    )


def all_of_them() -> Iterator[Variation]:
    """Every order that is looked for."""
    for order in itertools.product(range(3), repeat=3):
        if order != (0, 1, 2):
            yield rows(order)
    for order in itertools.permutations(range(3)):
        yield rows_by_head(order)
    yield from (
        INTERLEAVED,
        VALUE_IS_INPUT,
        JOINED_AS_IT_IS,
        BY_CHANNEL,
        head_fastest(True),
        head_fastest(False),
    )
    for shape, back in itertools.product(VIEWS, (True, False)):
        yield viewed(shape, back)
    for what, order in itertools.product(_STAYS, ORDERS):
        yield moved(what, order)


ALL = tuple(all_of_them())


def orders(numbers: Numbers) -> list[Fit]:
    """Rows, heads, tokens and sequences in another order (kinds "output" and "attention")."""
    return fits_of(cases(numbers), ALL)


# What pairs of mistakes are made of.
USUAL = (
    rows((1, 0, 2)), rows_by_head((0, 1, 2)), INTERLEAVED, viewed("(B, H, T, D)", True), JOINED_AS_IT_IS,
    viewed("(B, H, T, D)", False), BY_CHANNEL,
)  # fmt: skip
