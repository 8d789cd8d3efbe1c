"""A factor in the wrong place: what came is what was expected, or has scores, times a size or a constant."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from grader.judge.fits import Fit, left_over
from grader.judge.fits.hypotheses import Case, Variation, cases, fits_of
from tests.exercises.exam import Numbers

SIZES = {
    "D": "the head size", "C": "the width n_embd", "H": "the number of heads", "T": "the number of tokens",
    "block_size": "block_size",
}  # fmt: skip
CONSTANTS = {
    "2": 2.0, "3": 3.0, "10": 10.0, "pi": math.pi, "2 pi": 2 * math.pi, "pi / 180": math.pi / 180,
    "ln(2)": math.log(2), "ln(10)": math.log(10),
}  # fmt: skip
POWERS = (-2, -1, -0.5, 0.5, 1, 2)
SAME = 1e-4  # two numbers closer than this, as a part of them, are one where they are read off float32


@dataclass(frozen=True)
class Law:
    """A factor: its mistake's id, how it is written, and its value for sizes (an object with D, C, H, T and
    block_size)."""

    id: str
    words: str
    of: Callable


def written(base: str, power: float) -> str:
    """A power as one writes it: 1 / sqrt(D)."""
    if " " in base and power not in (-0.5, 0.5, 1):
        base = f"({base})"
    text = {0.5: f"sqrt({base})", 1: base}.get(abs(power), f"{base} ** {abs(power):g}")
    return f"1 / {text}" if power < 0 else text


def size_to(base: str, power: float) -> Callable:
    """A power of a size, as a function of the sizes."""
    return lambda sizes: np.asarray(getattr(sizes, base), dtype=np.float64) ** power


def constant_to(value: float, power: float) -> Callable:
    """A power of a constant, as a function of the sizes."""
    return lambda sizes: value**power


# The scale of the scores.

RIGHT = size_to("D", -0.5)
OF_D = {
    -2: "scale_without_root", -1: "scale_without_root", -0.75: "scale_on_both", -0.25: "scale_fourth_root",
    0.5: "scale_multiplied", 1: "scale_multiplied", 2: "scale_multiplied",
}  # fmt: skip
OF_SIZES = {
    "C": "scale_by_width", "H": "scale_by_heads", "T": "scale_by_length", "block_size": "scale_by_block_size",
}  # fmt: skip
_BELONGS = (
    "q . k sums D products of numbers of variance 1, so its standard deviation is sqrt(D), D being the size "
    "of one head: that is what the scores are to be divided by."
)
_LOOK = "Look at what q @ k.transpose(-2, -1) is multiplied with."


def _scale_laws() -> Iterator[Law]:
    """What the scores may be multiplied with instead of 1 / sqrt(D)."""
    yield Law("no_scale", "1", lambda sizes: 1.0)
    yield Law("scale_negative", "-1 / sqrt(D)", lambda sizes: -RIGHT(sizes))
    yield Law("scale_by_pairs", "1 / sqrt(D / 2)", _beside(constant_to(2, 0.5)))
    for power, id in OF_D.items():
        yield Law(id, written("D", power), size_to("D", power))
    for base, id in OF_SIZES.items():
        for power in POWERS:
            yield Law(id, written(base, power), size_to(base, power))
            # sqrt(D H) is sqrt(C), which is listed already, and so the other way round.
            if (base, power) not in (("H", -0.5), ("C", 0.5)):
                words = f"1 / sqrt(D) and by {written(base, power)}"
                yield Law(id, words, _beside(size_to(base, power)))
    for base, value in CONSTANTS.items():
        for power in POWERS:
            if (base, power) != ("2", 0.5):  # see scale_by_pairs
                words = f"1 / sqrt(D) and by {written(base, power)}"
                yield Law("scale_times_number", words, _beside(constant_to(value, power)))


def _beside(law: Callable) -> Callable:
    """A factor on top of the right scale."""
    return lambda sizes: RIGHT(sizes) * law(sizes)


SCALES = tuple(_scale_laws())


def scaled(law: Law) -> Variation:
    """The mistake to scale by this law."""
    asks = {
        "no_scale": "Is there no scale, or is its result not used?",
        "scale_negative": "Yours has the wrong sign, so that a token attends most to what fits it least.",
        "scale_by_pairs": "All D channels are summed, not half of them.",
        "scale_times_number": "Where does the number come from?",
    } | dict.fromkeys(OF_D.values(), "The exponent of D is -0.5.")
    asks |= {id: f"What does {base}, {SIZES[base]}, do there?" for base, id in OF_SIZES.items()}

    def name(case):
        right = f"1 / sqrt(D) = {case.D**-0.5:.4g}"
        if law.id == "no_scale":
            return f"the scores are not scaled: nothing multiplies them by {right}"
        value = f"{law.words} = {float(law.of(case)):.4g}"
        if " and by " in law.words:
            value = f"{law.words}, together {float(law.of(case)):.4g}"
        return f"the scores are multiplied by {value}, not by {right}"

    return Variation(law.id, name, f"{_BELONGS} {_LOOK} {asks[law.id]}", {"scale": law.of})


def scaled_by_number(value: float) -> Variation:
    """The mistake to scale by a number that is the same for all sizes."""
    return Variation(
        "scale_written_as_number",
        f"the scores are multiplied by {value:.4g} whatever the head size D is",
        f"The scale is a number in your code, which is right for one head size at most. {_BELONGS} Take the "
        "last dimension of q after the split into heads.",
        {"scale": lambda case: value},
    )


SCORES_UNUSED = Variation(
    "scores_unused",
    "each token takes the plain mean of the values that it sees: q . k has no influence",
    "The mask is right, and within it every key gets the same weight, so the scores are lost on the way: "
    "multiplied by 0, replaced by a mask, or computed and then not used. Follow q @ k.transpose(-2, -1) to "
    "the softmax, and the softmax's result to the product with v.",
    {"scale": lambda case: 0.0},
)


def scales(numbers: Numbers) -> list[Fit]:
    """What the scores are multiplied with, of the factor measured for several sizes (kind "scale").

    expected, got, and D, C, H, T and block_size in the facts: an element for each size.
    """
    got, others = numbers.got, cases(numbers)
    sizes = SimpleNamespace(**{key: np.asarray(numbers.facts[key]) for key in SIZES})
    first = SimpleNamespace(**{key: int(value[0]) for key, value in vars(sizes).items()})
    if len(got) < 2 or not np.isfinite(got).all():
        return []
    fits = []
    for variation in (*map(scaled, SCALES), SCORES_UNUSED, scaled_by_number(_short(float(got.mean())))):
        measured = np.broadcast_to(variation.does["scale"](sizes), got.shape)
        compared = (case.compare(variation.does) for case in others)
        left = left_over([(numbers.expected, got, measured, numbers.allowed)])
        if left is not None and (not others or left_over(compared) is not None):
            simpler = 2 if variation.id == "scale_written_as_number" else 1
            fits.append(Fit(variation.id, variation.named(first), variation.why, left, simpler))
    return fits


def _short(value: float) -> float:
    """The number that was probably written, where this one is read off float32 numbers."""
    short = float(f"{value:.3g}")
    return short if abs(short - value) <= SAME * abs(value) else value


def scale_read(case: Case) -> float | None:
    """The factor on q . k, read off an attention matrix: how the odds of two keys before the query follow
    their scores. None where they do not."""
    if not case.matrix or case.long or len(case.rows) != case.T:
        return None
    with np.errstate(all="ignore"):
        logs = np.log(case.got.astype(np.float64))
        odds = logs - np.einsum("bhtt->bht", logs)[..., None]
        of_itself = logs - odds
    scores = case.products - np.einsum("bhtt->bht", case.products)[..., None]
    # Both weights must be large enough to have digits.
    use = np.isfinite(odds) & np.tri(case.T, k=-1, dtype=bool) & (logs > -7) & (of_itself > -7)
    x, y = scores[use], odds[use]
    if len(x) < 3 or not x.any():
        return None
    value = float((x * y).sum() / (x * x).sum())
    return value if np.abs(y - value * x).max() <= 0.01 * max(1.0, float(np.abs(y).max())) else None


# A factor behind the softmax.

_NOT_ONE = "Each query shares out exactly 1 among the keys that it sees, so that its output is their mean. "


def weights_times(words: str, law: Callable) -> tuple[Variation, Variation]:
    """A factor on the attention weights, in the place of the scale and beside it."""
    times = {"weights": lambda weights, case: weights * law(case)}
    moved = Variation(
        "scale_after_softmax",
        lambda case: (
            f"the softmax is multiplied by {words} = {float(law(case)):.4g}, and the scores by nothing"
        ),
        f"{_NOT_ONE}Yours sum to {words}, and the softmax gets q . k as it is, so that with wide heads it is "
        "nearly a maximum. The scale belongs on the scores: divide, then mask, then take the softmax.",
        times | {"scale": lambda case: 1.0},
    )
    further = Variation(
        "weights_multiplied",
        lambda case: (
            f"the attention weights are multiplied by {words} = {float(law(case)):.4g} after the softmax"
        ),
        f"{_NOT_ONE}Yours sum to {words}. The scores are scaled right, before the softmax; is there a second "
        "scale, or a mean where a sum should be, between the softmax and proj?",
        times,
    )
    return moved, further


# (the factor, the mistakes to have it on the weights)
WEIGHTS_TIMES = tuple(
    (law, weights_times(words, law))
    for words, law in (
        *((written(base, power), size_to(base, power)) for base in SIZES for power in POWERS),
        *(
            (written(base, power), constant_to(CONSTANTS[base], power))
            for base in CONSTANTS
            for power in POWERS
        ),
    )
)


def weights_times_number(value: float) -> Variation:
    """A number that no size explains on the attention weights."""
    return Variation(
        "weights_multiplied",
        f"the attention weights of each query sum to {value:.4g}, not to 1",
        f"{_NOT_ONE}Yours are multiplied by {value:.4g} after the softmax, whatever the sizes are. What "
        "stands between the softmax and the product with v? Dropout does nothing in eval mode.",
        {"weights": lambda weights, case: weights * value},
    )


def factors(numbers: Numbers) -> list[Fit]:
    """Factors on the scores and on the weights of an attention (kinds "output" and "attention")."""
    found = cases(numbers)
    return [*_on_scores(found), *_on_weights(found)]


def _on_scores(found: list[Case]) -> list[Fit]:
    laws = SCALES
    of_matrix = [case for case in found if case.matrix and case.products.any()]
    read = [(case, scale_read(case)) for case in of_matrix]
    for case, value in read:  # a matrix tells the factor, and only laws that give it are tried
        laws = [law for law in laws if value is not None and _near(law.of(case), value)]
    fits = fits_of(found, (*map(scaled, laws), SCORES_UNUSED))
    if fits or not read or read[0][1] is None or not _sizes_differ(found):
        return fits
    return fits_of(found, [scaled_by_number(_short(read[0][1]))], 2)


def _on_weights(found: list[Case]) -> list[Fit]:
    variations = WEIGHTS_TIMES
    sums = [(case, case.got.sum(-1)) for case in found if case.matrix]
    for case, of_rows in sums:  # the same for all queries, and not 1
        mean = float(of_rows.mean())
        uneven = not math.isfinite(mean) or np.ptp(of_rows) >= 0.01 * abs(mean)
        if uneven or _near(mean, 1, 0.01):
            return []
        variations = [(law, both) for law, both in variations if _near(law(case), mean)]
    fits = fits_of(found, (variation for _, both in variations for variation in both))
    if fits or not sums or not _sizes_differ(found):
        return fits
    return fits_of(found, [weights_times_number(_short(float(sums[0][1].mean())))], 2)


def _near(one: float, other: float, part: float = 10 * SAME) -> bool:
    return abs(one - other) <= part * abs(other)


def _sizes_differ(found: list[Case]) -> bool:
    """Whether a number can be told from a power of D."""
    return len({case.D for case in found}) > 1


# Whatever the numbers are.


def multiples(numbers: Numbers) -> list[Fit]:
    """What came is what was expected, times one size or constant to some power (any kind).

    The sizes are those of the facts, which may hold p, of dropout: 1 - p.
    """
    alike = [one for one in (numbers, *numbers.facts.get("again", ())) if one.kind == numbers.kind]
    laws = {written(b, power): (b, value, power) for b, value in CONSTANTS.items() for power in POWERS}
    laws |= {written(b, power): (b, None, power) for b in (*SIZES, "1 - p") for power in POWERS}
    found, norm = {}, float((numbers.expected.astype(np.float64) ** 2).sum())
    factor = float((numbers.got * numbers.expected).sum(dtype=np.float64)) / max(norm, 1e-300)
    for words, (base, value, power) in laws.items():
        values = [value or _size(base, one.facts) for one in alike]
        if all(values) and _near(values[0] ** power, factor, 0.01):
            compared = ((n.expected, n.got, n.expected * v**power, n.allowed) for n, v in zip(alike, values))
            left = left_over(compared)
            if left is not None:
                found[words] = values[0] ** power, left
    if len(found) != 1:
        return []  # none, or two readings of one number
    [(words, (value, left))] = found.items()
    why = (
        f"Nothing else is wrong with it. Look in the last steps of the computation for {words}, or for a "
        "factor that is there twice, not at all, or upside down."
    )
    name = f"all that comes out is multiplied by {words}"
    name += "" if words == f"{value:g}" else f" = {value:.4g}"
    return [Fit(f"{numbers.kind}_multiplied", name, why, left)]


def _size(base: str, facts: dict) -> float:
    """A size that the facts hold as one number; 0 where they do not."""
    value = facts.get(base, 0)
    if base == "1 - p":
        value = 1 - facts["p"] if facts.get("p") else 0
    elif base == "D" and "D" not in facts and "C" in facts and "H" in facts:
        value = facts["C"] // facts["H"]
    return float(value) if np.ndim(value) == 0 and value != 1 else 0.0


# What pairs of mistakes are made of.
USUAL = tuple(
    scaled(law)
    for law in SCALES
    if law.words
    in ("1", "1 / D", "sqrt(D)", "1 / sqrt(C)", "1 / sqrt(H)", "1 / sqrt(T)", "1 / sqrt(block_size)")
)
