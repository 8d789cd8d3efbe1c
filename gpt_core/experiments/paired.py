"""Does a change help? The same seeds with and without it, and what their differences can show.

Losses of one model scatter from seed to seed, often by more than a feature is worth. Paired runs see
the same batches in the same order, so that part of the scatter cancels in the difference of a pair; what
is left of it says how far the mean difference may be off (Student 1908, "The probable error of a mean").
"""

import math
import statistics
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences, feature minus baseline, and its confidence interval."""

    mean: float
    low: float
    high: float
    pairs: int

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def paired_difference(baseline: list[float], feature: list[float]) -> Difference:
    """The mean of feature[i] - baseline[i], with Student's 95 % interval.

    ValueError for lists of different lengths, or fewer than two pairs, which show no scatter.
    """
    if len(baseline) != len(feature) or len(baseline) < 2:
        raise ValueError(
            f"there are {len(baseline)} baseline runs and {len(feature)} with the feature; an interval takes "
            f"as many of each, two or more: --seeds 3."
        )
    differences = [f - b for b, f in zip(baseline, feature)]
    n, mean = len(differences), statistics.fmean(differences)
    half = student_quantile(n - 1) * statistics.stdev(differences) / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


def conclusion(name: str, difference: Difference) -> str:
    """What a difference of validation losses shows, in one sentence."""
    d = difference
    interval = f"the 95 % interval {d.low:+.4f} to {d.high:+.4f}"
    if not d.shown:
        return (
            f"No difference shown: over {d.pairs} paired seeds the mean is {d.mean:+.4f}, and {interval} "
            f"contains 0; more --seeds would narrow it (finished runs are used again)."
        )
    kind = "lower" if d.mean < 0 else "higher"
    return (
        f"{name} has the {kind} validation loss here: by {abs(d.mean):.4f} on average over {d.pairs} paired "
        f"seeds, and {interval} does not contain 0."
    )


def student_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The t that |t| exceeds with probability 1 - confidence, for Student's t with whole degrees of freedom.

    4.303 for 2 degrees and 95 %. ValueError for degrees below 1 or a confidence not between 0 and 1.
    """
    if degrees < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"degrees is {degrees} and confidence {confidence}; they must be at least 1, and between 0 and 1."
        )
    low, high = 0.0, math.pi / 2  # of theta, t = sqrt(degrees) tan(theta)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(theta: float, degrees: int) -> float:
    """P(|t| < sqrt(degrees) tan(theta)): a finite sum (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4)."""
    sin, cos = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term, total = cos if odd else 1.0, 0.0
    for i in range(1 + odd, degrees, 2):
        total += term
        term *= i / (i + 1) * cos * cos
    return 2 / math.pi * (theta + sin * total) if odd else sin * total
