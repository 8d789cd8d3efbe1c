"""What every function that draws problems must pass, whatever the exercise: small draws are as good as large
ones; and the statistics by which draws are judged."""

import re

import numpy as np

from tests.exercises.exam import fail, look, of_readings

SECONDS = 60.0  # a sampler that loops in Python is slow and right
SLOW = 2.0  # seconds for a large draw that are worth a remark
LIMIT = 5.5  # standard deviations: a right sampler fails such a test in 4 of 10**8 seeds
STRONGEST = 7.5  # standard deviations: of 125,000 correlations, one above it comes in 1 of 10**8 seeds
SMALL_CALLS = 240


def deviation(counts: np.ndarray, expected: np.ndarray, freedom: int) -> float:
    """How far counts are from what is expected, as standard deviations of a normal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(expected > 0, (counts - expected) ** 2 / expected, np.where(counts > 0, np.inf, 0.0))
    return deviation_of(float(terms.sum()), freedom)


def deviation_of(chi_square: float, freedom: int) -> float:
    """The chi-square statistic as standard deviations of a normal (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return float(((chi_square / freedom) ** (1 / 3) - (1 - spread)) / np.sqrt(spread))


def farthest(alike: float) -> float:
    """How far from `alike`, the expected number of draws that are as an earlier one, chance comes in fewer
    than 1 of 10**9 seeds: their number is a Poisson one."""
    return 8 * alike**0.5 + 10


def close(key: str, allowed: float):
    """Whether two readings' numbers under `key` are near each other: shares of random draws."""

    @of_readings
    def same(one, other):
        return bool(
            np.abs(np.asarray(one[key], dtype=float) - np.asarray(other[key], dtype=float)).max() <= allowed
        )

    return same


def strongest(series: dict[str, np.ndarray]) -> tuple[float, str]:
    """The strongest correlation, in standard deviations, of any two of these numbers of each draw, any number
    of draws apart, or in reverse order; and of which.

    All are sums over all draws, so that independent ones give each of them a standard deviation of 1.
    """
    names = list(series)
    series = {key: values - values.mean() for key, values in series.items()}
    series = {key: values / max(values.std(), 1e-9) for key, values in series.items()}
    N = len(series[names[0]])
    spectra = {key: np.fft.rfft(values) for key, values in series.items()}
    found = []
    with_itself = [(name, name) for name in names]
    for one, other in (
        *with_itself,
        *((one, other) for i, one in enumerate(names) for other in names[i + 1 :]),
    ):
        along = np.fft.irfft(np.conj(spectra[one]) * spectra[other], N) / np.sqrt(N)
        back = np.fft.irfft(spectra[one] * spectra[other], N) / np.sqrt(N)
        if one == other:
            along[0] = 0.0  # with itself
            back /= np.sqrt(2)  # each product comes twice
        for values, words in (
            (along, "the {} {} pairs later"),
            (back, "the {} as many pairs before pair {}"),
        ):
            at = int(np.abs(values).argmax())
            where = (
                f"the {other} of the same pair"
                if one != other and at == 0 and values is along
                else words.format(other, at)
            )
            found.append((float(abs(values[at])), f"{one} with {where}"))
    return max(found)


def place(where: str, count: int) -> str:
    """The place of a correlation of a and b, where n pairs later is n pairs earlier: in a sequence that goes
    round, chance decides which of the two is the stronger."""
    found = re.fullmatch(r"a with the b (\d+) pairs later", where)
    return f"{min(int(found[1]), count - int(found[1]))} pairs away" if found else where


def problem(example: list) -> str:
    """[a, b] or [a, operator, b] as a problem."""
    a, *op, b = example
    return f"{a} {op[0] if op else '+'} {b}"


def remark_slow(exam, count: int) -> None:
    """A remark where the last look, a draw of `count` problems, took long."""
    if (seconds := exam.evidence[-1].seconds) > SLOW:
        exam.remark(
            f"sample_problems takes {seconds:.0f} s for {count:,} problems. Draw many at once, and throw the "
            f"held-out ones away together: that takes milliseconds."
        )


def check_small_calls(exam, case: dict, reading, *arguments, most: int) -> None:
    """A reading of SMALL_CALLS draws of one problem each from one generator: how many calls gave none
    (short), how many problems are held_out, with an example, and how many came before (again).

    most: of these, which a right sampler exceeds in fewer than 1 of 10**7 seeds."""

    @of_readings
    def same(one, other):
        return all(
            (one[key] > least) == (other[key] > least)
            for key, least in (("short", 0), ("held_out", 0), ("again", most))
        )

    got = look(exam, case, reading, *arguments, same=same)
    if got["short"]:
        fail(
            case,
            f"{got['short']} of the calls gave fewer problems than were asked for. The number left after "
            "throwing held-out ones away is random: are more drawn until there are enough?",
        )
    if got["held_out"]:
        a, *_, b = got["example"]
        fail(
            case | {"a": a, "b": b},
            f"{got['held_out']} of the problems are held out, such as {problem(got['example'])}; in a large "
            f"draw none was. Where do the last ones of a draw come from?",
        )
    if got["again"] > most:
        fail(
            case,
            f"{got['again']} of the problems came before, and about none should: calls with one generator "
            "must go on where the last one ended. Is the generator used for all numbers, or only to seed "
            "another?",
        )
