"""The problems of the calculator: the vocabulary, the sizes, and which problems are held out of training.

A problem is a triple (a, operator, b). A fixed tenth of each operator's problems is never trained on, so that
a model that calculates can be told from one that memorised its problems.
"""

from typing import NamedTuple

import torch

VOCABULARY = "0123456789+-*/=,;"  # a token's id is its place here
OPERATORS = "+-*/"


class Range(NamedTuple):
    """The operands of one operator: a from 0 to largest_a, b from smallest_b to largest_b."""

    largest_a: int
    smallest_b: int
    largest_b: int


RANGES = {"+": Range(999, 0, 999), "-": Range(999, 0, 999), "*": Range(99, 0, 99), "/": Range(9999, 1, 99)}
_PARTS = 10  # one part in so many is held out
_SALT = 505  # chosen so that a tenth of the products is held out for every digit of a, too: they are few


def check(a: int, op: str, b: int) -> None:
    """ValueError, with a sentence, for what is no problem."""
    if op not in RANGES:
        raise ValueError(f"the operator is {op!r}; it must be one of {', '.join(OPERATORS)}.")
    largest_a, smallest_b, largest_b = RANGES[op]
    for name, number, least, most in (("a", a, 0, largest_a), ("b", b, smallest_b, largest_b)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(f"{name} is {number!r}; it must be a whole number (an int).")
        if not least <= number <= most:
            raise ValueError(f"{name} is {number}; with {op!r} it must lie from {least} to {most}.")


def is_held_out(a: int, op: str, b: int) -> bool:
    """Whether a problem is held out of training: a fixed tenth of each operator's problems is.

    A hash decides: of the *unordered* pair for + and *, since with (a, b) held out (b, a) would give the
    answer away; of the ordered pair for - and /. Problems whose operands are both below 10 are for training:
    there are few of them, and all others are built from them. ValueError for what is no problem.
    """
    check(a, op, b)
    if op in "+*":
        a, b = min(a, b), max(a, b)
    return (a >= 10 or b >= 10) and _hash(a, op, b) % _PARTS == 0


def held_out(a: torch.Tensor, op: str, b: torch.Tensor) -> torch.Tensor:
    """`is_held_out` for many problems of one operator: a, b long tensors of one shape -> bool, that shape.

    The numbers are not looked at: they must lie in the operator's ranges.
    """
    if op in "+*":
        a, b = torch.minimum(a, b), torch.maximum(a, b)
    return ((a >= 10) | (b >= 10)) & (_hash(a, op, b) % _PARTS == 0)


def sample_held_out(op: str, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` held-out problems of one operator, drawn with replacement, uniform over its ordered pairs.

    generator: a CPU generator; it decides, and advances. -> a, b: (count,) long on the CPU. ValueError for an
    unknown operator and for a count below 1.
    """
    if op not in RANGES:
        raise ValueError(f"the operator is {op!r}; it must be one of {', '.join(OPERATORS)}.")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count is {count!r}; it must be a whole number of at least 1.")
    largest_a, smallest_b, largest_b = RANGES[op]
    found, missing = [], count
    while missing > 0:
        size = (2 * _PARTS * missing + 100,)
        a = torch.randint(0, largest_a + 1, size, generator=generator)
        b = torch.randint(smallest_b, largest_b + 1, size, generator=generator)
        kept = held_out(a, op, b)
        found.append(torch.stack([a[kept], b[kept]]))
        missing -= int(kept.sum())
    a, b = torch.cat(found, dim=1)[:, :count]
    return a.clone(), b.clone()


def _hash(a, op: str, b):
    """A hash on 32 bits of a problem: of ints an int, of long tensors a long tensor."""
    h = 0 * a + (_SALT ^ VOCABULARY.index(op))
    for number in (a, b):
        h = _mix(_mix(h ^ number) + 0x9E3779B9 & 0xFFFFFFFF)
    return h


def _mix(h):
    """One round of an integer hash on 32 bits; int64 holds every product."""
    h = ((h >> 16) ^ h) * 0x45D9F3B & 0xFFFFFFFF
    return (h >> 15) ^ h
