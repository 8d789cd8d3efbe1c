"""An attention in numpy, each step of which can be done in another way: what would come if that were the
mistake.

A step does not see what the mistake is: a family proposes one, and it is the one only if all that came is
what it gives. The steps, in order, and what they get and give:

split    projected (B, T, 3C)     -> queries, keys, values (B, H, T, D) each
scale                             -> the factor on q . k
mask     scores (B, H, T, T)      -> scores
softmax  scores                   -> weights (B, H, T, T)
weights  weights                  -> weights, as they meet the values
values   weights, values          -> (B, H, T, D)
merge    (B, H, T, D)             -> (B, T, C)
output   (B, T, C), after proj    -> (B, T, C)
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grader.judge.fits import Fit, left_over
from tests.exercises.exam import Numbers

# From this length on a few tokens are recomputed: all pairs of 2,000 would take seconds.
LONG = 64
ROWWISE = {"scale", "mask"}  # what changes one token's output whatever the other outputs are


@dataclass(frozen=True, eq=False)
class Variation:
    """A mistake: the steps that it does in another way.

    name: one line, or what gives it for the case that failed. does: by step; each function also gets the
    case.
    """

    id: str
    name: str | Callable[["Case"], str]
    why: str
    does: dict[str, Callable]

    def named(self, case: "Case") -> str:
        """Its name, with the values of this case in it."""
        return self.name if isinstance(self.name, str) else self.name(case)


class Case:
    """One forward of an attention: its sizes, what goes in, what was expected and what came.

    numbers: of the kind "output", (B, T, C), or "attention", (B, H, T, T) of weights that show the matrix
    (tests/exercises/battery/attention.py). rows: the tokens whose outputs these are.
    """

    def __init__(self, numbers: Numbers):
        facts = numbers.facts
        self.B, self.T, self.C, self.H = (facts[key] for key in ("B", "T", "C", "H"))
        self.D, self.block_size = self.C // self.H, facts.get("block_size", self.T)
        self.given, self.x, self.rotated = facts["weights"], facts["x"], facts["rotated"]
        self.kept: dict[Callable, tuple] = {}
        self.matrix, self.allowed = numbers.kind == "attention", numbers.allowed
        rows = facts.get("rows")
        self.rows = np.arange(self.T) if rows is None else rows
        self.expected, self.got = numbers.expected, numbers.got
        self.axis = 2 if self.matrix else 1  # of the tokens
        self.long = self.T > LONG
        if self.long:  # the first tokens that are wrong, and some others
            bad = np.flatnonzero(np.isin(self.rows, self.wrong()))
            some = np.linspace(0, len(self.rows) - 1, 6).astype(int)
            self._keep(np.unique(np.r_[bad[:2], np.maximum(bad[:1] - 1, 0), bad[-1:], some]))

    def _keep(self, kept: np.ndarray) -> None:
        self.rows = self.rows[kept]
        self.expected, self.got = (np.take(m, kept, self.axis) for m in (self.expected, self.got))

    def wrong(self) -> np.ndarray:
        """The tokens whose outputs are wrong."""
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(self.got - self.expected) <= self.allowed)
        return self.rows[bad.any(axis=tuple(i for i in range(bad.ndim) if i != self.axis))]

    def at(self, token: int) -> "Case":
        """The same with the output of one token alone, which costs little in a long text."""
        one = copy.copy(self)
        one.kept = {}
        one._keep(np.flatnonzero(self.rows == token))
        return one

    @cached_property
    def projected(self) -> np.ndarray:
        """qkv(x), (B, T, 3C)."""
        return self.x.astype(np.float64) @ self.given["qkv.weight"].T.astype(np.float64)

    @cached_property
    def out(self) -> np.ndarray:
        """proj.weight, as outputs are multiplied with it."""
        return self.given["proj.weight"].T.astype(np.float64)

    @property
    def tokens(self) -> np.ndarray:
        """The queries that are recomputed: all of them, where the text is short."""
        return self.rows if self.long else np.arange(self.T)

    @property
    def products(self) -> np.ndarray:
        """q . k, (B, H, T, T), of the right queries and keys."""
        return self.parts(split)[0]

    def parts(self, splitting: Callable) -> tuple[np.ndarray, np.ndarray]:
        """(q . k, values) of this split, kept: many mistakes share one."""
        if splitting not in self.kept:
            with np.errstate(all="ignore"):
                q, k, v = splitting(self.projected, self)
                q, k = self.rotated(q)[:, :, self.tokens], self.rotated(k)
                self.kept[splitting] = q @ k.swapaxes(-1, -2), v
        return self.kept[splitting]

    def gives(self, does: dict[str, Callable]) -> np.ndarray:
        """What would come if these steps were done so, in the form of `got`."""
        step = STEPS | does
        with np.errstate(all="ignore"):
            products, v = self.parts(step["split"])
            scores = step["mask"](products * step["scale"](self), self)
            weights = step["weights"](step["softmax"](scores, self), self)
            y = step["merge"](step["values"](weights, v, self), self)
            y = y @ self.out + self.given["proj.bias"]
            y = step["output"](y, self)
            y = y if self.long else y[:, self.rows]
        if not self.matrix:
            return y
        return y.reshape(*y.shape[:2], self.H, self.D)[..., : self.T].transpose(0, 2, 1, 3)

    def compare(self, does: dict[str, Callable]) -> tuple:
        """(expected, got, explained, allowed)"""
        return self.expected, self.got, self.gives(does), self.allowed


def cases(numbers: Numbers) -> list[Case]:
    """What came that can be recomputed: of the failed check first, then of the looks beside it
    (facts["again"]), which the same mistake must explain. Empty where the weights are not known."""
    found = []
    for one in (numbers, *numbers.facts.get("again", ())):
        if one.kind in ("output", "attention") and "qkv.weight" in one.facts.get("weights", ()):
            found.append(Case(one))
    return found


def fits_of(found: list[Case], variations: Iterable[Variation], simpler: int = 1) -> list[Fit]:
    """The variations that give all that came."""
    # The case that takes least time first: it rules out most.
    order = sorted(found, key=lambda case: case.B * case.H * len(case.tokens) * case.T)
    # The name speaks of the case that is shown. Sizes of 1 would make one that says nothing: sqrt(D) = 1.
    named = next((case for case in found if min(case.D, case.H) > 1), found[0] if found else None)
    fits = []
    for variation in variations:
        if any(case.long for case in found) and not variation.does.keys() <= ROWWISE:
            continue
        left = left_over(case.compare(variation.does) for case in order) if found else None
        if left is not None:
            fits.append(Fit(variation.id, variation.named(named), variation.why, left, simpler))
    return fits


# The steps, done right; families use them for the steps beside.


def as_heads(m: np.ndarray, case: Case) -> np.ndarray:
    """(B, T, C) -> (B, H, T, D)"""
    return m.reshape(case.B, case.T, case.H, case.D).transpose(0, 2, 1, 3)


def split(projected: np.ndarray, case: Case) -> tuple[np.ndarray, ...]:
    """The three thirds, each in heads."""
    return tuple(as_heads(m, case) for m in np.split(projected, 3, axis=-1))


def masked(seen: Callable[[np.ndarray, np.ndarray], np.ndarray], fill: float = -np.inf) -> Callable:
    """A mask: where not seen(queries, keys), positions (T, 1) and (1, T), scores are set to `fill`."""

    def mask(scores, case):
        return np.where(seen(case.tokens[:, None], np.arange(case.T)[None]), scores, fill)

    return mask


def causal(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Which keys a query sees."""
    return keys <= queries


def softmax(scores: np.ndarray, case: Case, axis: int = -1) -> np.ndarray:
    """As torch does it: a row of nothing but -inf gives NaN."""
    exp = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return exp / exp.sum(axis=axis, keepdims=True)


def merge(out: np.ndarray, case: Case) -> np.ndarray:
    """(B, H, T, D) -> (B, T, C), the heads of a token side by side."""
    return out.transpose(0, 2, 1, 3).reshape(case.B, -1, case.C)


def unchanged(m: np.ndarray, case: Case) -> np.ndarray:
    """The same numbers."""
    return m


STEPS = {
    "split": split,
    "scale": lambda case: case.D**-0.5,
    "mask": masked(causal),
    "softmax": softmax,
    "weights": unchanged,
    "values": lambda weights, v, case: weights @ v,
    "merge": merge,
    "output": unchanged,
}
