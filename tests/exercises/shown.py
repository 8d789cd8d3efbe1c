"""What a check has measured that says more to the eye than in words. A check hands it over, and a report
draws it (grader/learner/blocks.py, grader/learner/page.py).

The numbers may come from an attempt, so everything here is cut to sizes that can be drawn.
"""

from dataclasses import dataclass

import numpy as np

from tests.exercises.numbers import picture, wrong

MOST_HEADS, MOST_TOKENS = 64, 64
MOST_CELLS = 20  # of an error map, each way
WEIGHTS = "attention weights"


@dataclass(frozen=True, eq=False)
class Matrices:
    """Matrices (H, T, S) of the heads of one sequence, a query a row and a key a column: what was expected
    and what came.

    what:    what the numbers are. row, column: what a row and a column belong to.
    allowed: how far two right results may lie apart.
    case:    the sizes of the call, where it is another one than the check's message speaks of.
    heads:   the number of the first head. queries and keys: of the first row and column, where the matrices
    were cut, and sizes: (H, T, S) before.
    """

    expected: np.ndarray
    got: np.ndarray
    allowed: float
    what: str = WEIGHTS
    row: str = "query"
    column: str = "key"
    case: dict | None = None
    heads: int = 0
    queries: int = 0
    keys: int = 0
    sizes: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of(cls, expected: np.ndarray, got: np.ndarray, allowed: float, **more) -> "Matrices":
        """Those of the worst sequence of (B, H, T, S), or of one sequence (H, T, S), cut to what can be
        drawn."""
        expected, got = (np.asarray(m, dtype=np.float64) for m in (expected, got))
        if expected.ndim == 4:
            b = int(distance(expected, got).reshape(len(expected), -1).max(axis=1).argmax())
            expected, got = expected[b], got[b]
        sizes = expected.shape
        whole = cls(expected, got, allowed, **more)
        heads = min(max(whole.worst - MOST_HEADS + 1, 0), max(sizes[0] - MOST_HEADS, 0))
        rows, columns = telling_part(whole.wrong.any(axis=0), MOST_TOKENS, MOST_TOKENS)
        part = slice(heads, heads + MOST_HEADS), rows, columns
        cut = {"heads": heads, "queries": rows.start, "keys": columns.start, "sizes": sizes}
        return cls(expected[part].copy(), got[part].copy(), allowed, **more, **cut)

    @property
    def wrong(self) -> np.ndarray:
        """(H, T, S) bool: which numbers are not as expected."""
        return wrong(self.expected, self.got, self.allowed)

    @property
    def worst(self) -> int:
        """The index of the head with the worst number."""
        return int(distance(self.expected, self.got).reshape(len(self.got), -1).max(axis=1).argmax())

    def lines(self) -> list[str]:
        """The numbers of the worst head, at most six rows and columns of them."""
        head = self.worst
        return picture(self.expected[head], self.got[head], f"head {head + self.heads}:")


def distance(expected: np.ndarray, got: np.ndarray) -> np.ndarray:
    """How far each number is off; infinitely where it is NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.nan_to_num(np.abs(got - expected), nan=np.inf)


def telling_part(bad: np.ndarray, rows: int, columns: int) -> tuple[slice, slice]:
    """The part of a matrix (T, S), of at most so many rows and columns, with the most that is wrong in it."""
    rows, columns = min(rows, bad.shape[0]), min(columns, bad.shape[1])
    sums = np.zeros((bad.shape[0] + 1, bad.shape[1] + 1), dtype=np.int64)
    sums[1:, 1:] = bad.cumsum(0).cumsum(1)
    inside = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return slice(int(top), int(top) + rows), slice(int(left), int(left) + columns)


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """How many problems there were with a in a range and b in one, and how many of them were answered wrong.

    wrong, total: (rows, columns). rows and columns: the borders of the ranges, one more than there are.
    """

    title: str
    wrong: np.ndarray
    total: np.ndarray
    rows: list[int]
    columns: list[int]
    row: str = "a"
    column: str = "b"

    @classmethod
    def of(cls, title: str, a, b, wrong, tops: tuple[int, int]):
        """From problems (N,) with a < tops[0] and b < tops[1], and which of them were answered wrong.

        A cell holds some eight problems, so that its share is no chance."""
        cells = min(max(int((len(a) / 8) ** 0.5), 4), MOST_CELLS)
        borders = [np.unique(np.linspace(0, top, cells + 1).astype(int)) for top in tops]
        a, b, wrong = np.asarray(a), np.asarray(b), np.asarray(wrong, dtype=bool)
        total, bad = (np.histogram2d(one, other, borders)[0] for one, other in ((a, b), (a[wrong], b[wrong])))
        return cls(title, bad, total, *(border.tolist() for border in borders))


@dataclass(frozen=True)
class Shares:
    """Shares from 0 to 1 by name, and of how many each is: right by digit, right by carries."""

    title: str
    rows: tuple[tuple[str, float, int], ...]


@dataclass(frozen=True)
class Table:
    """Numbers by name."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True)
class Curves:
    """Lines of points (x, y) by name."""

    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
