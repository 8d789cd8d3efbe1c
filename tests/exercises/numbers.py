"""Comparing numbers: how far apart two right answers may be, and where a wrong one is wrong."""

import math

import numpy as np

# The distance from 1 to the next number.
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}


def tolerance(dtype: str, terms: int, scale: float, spread: float = 1.0, roundings: int = 8) -> float:
    """The largest difference between two right results of one formula, each rounded in its own way.

    dtype:  what the results are stored in; every stored intermediate is rounded to it.
    terms:  how many products are summed for one element; their errors add up like a random walk, in
            float32 or better whatever the dtype (matrix products accumulate so).
    scale:  the largest element.
    spread: the largest exponent of a softmax inside; exp turns its absolute error into a relative one.
    roundings: how many stored intermediates there are, generously.
    """
    stored = EPSILON[dtype]
    summed = min(stored, EPSILON["float32"]) * math.sqrt(terms)
    return roundings * (stored + summed) * (1.0 + spread) * max(scale, 1e-30)


def bfloat16(array: np.ndarray) -> np.ndarray:
    """The nearest numbers that bfloat16 can hold (ties to even), as float32."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (rounded & 0xFFFF0000).astype(np.uint32).view(np.float32)


def float16(array: np.ndarray) -> np.ndarray:
    """The nearest numbers that float16 can hold, in the array's dtype."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(array.dtype)


def rounding(exact: np.ndarray, got: np.ndarray) -> str | None:
    """The shorter dtype to which `got` is `exact` rounded; None where it is not rounded to any."""
    rounded = {"float32": exact.astype(np.float32), "bfloat16": bfloat16(exact), "float16": float16(exact)}
    return next((dtype for dtype, values in rounded.items() if np.array_equal(values, got)), None)


def rounded_to(got: np.ndarray | None, exact: np.ndarray) -> str:
    """How far copied numbers are off, and to which dtype they look rounded; "" where they are right or far
    off."""
    if got is None or got.shape != exact.shape or not np.allclose(got, exact, rtol=0.01, atol=1e-6):
        return ""
    off = float(np.abs(got - exact).max())
    if off == 0:
        return ""
    dtype = rounding(exact, got)
    if dtype is None:
        return f"the values are off by {off:.1e} at most; what is computed with them?"
    return f"the values are off by {off:.1e} at most: rounded to {dtype}. What goes through {dtype}?"


RATE = 1e-7  # how often a right attempt may fall outside such a range by chance


def room_for_chance(share: float, draws: float, rate: float = RATE) -> float:
    """How far the share of `draws` independent events of probability `share` may lie from it.

    Bernstein's inequality, two-sided: farther out lie fewer than `rate` of all right attempts.
    """
    log = math.log(2 / rate)
    return log / (3 * draws) + math.sqrt((log / (3 * draws)) ** 2 + 2 * log * share * (1 - share) / draws)


def wrong(expected: np.ndarray, got: np.ndarray, allowed: float) -> np.ndarray:
    """Where `got` is not `expected` within `allowed`; NaN and infinity are wrong unless expected."""
    with np.errstate(invalid="ignore"):
        return ~((np.abs(got.astype(np.float64) - expected) <= allowed) | (got == expected))


def worst(expected: np.ndarray, got: np.ndarray, axes: tuple[str, ...]) -> str:
    """The worst element: its place, what was expected and what came."""
    with np.errstate(invalid="ignore"):
        distance = np.abs(got.astype(np.float64) - expected)
    distance = np.where(np.isnan(distance), np.inf, distance)
    place = np.unravel_index(int(np.argmax(distance)), distance.shape)
    where = ", ".join(f"{axis} {index}" for axis, index in zip(axes, place))
    return f"worst at {where}: expected {expected[place]:.6g}, got {got[place]:.6g}"


def pattern(expected: np.ndarray, got: np.ndarray, allowed: float, axes: tuple[str, ...]) -> list[str]:
    """What the wrong elements have in common, in words; empty where nothing plain does.

    A factor or an offset in common; non-finite numbers; along each axis, the only indices that are wrong.
    """
    bad = wrong(expected, got, allowed)
    lines = []
    if not np.isfinite(got).all():
        count = int((~np.isfinite(got)).sum())
        lines.append(f"{count} of {got.size} elements are NaN or infinite")
    elif bad.mean() > 0.5 and got.size >= 4:  # any number is another one times something
        factor = float((got * expected).sum() / max(float((expected * expected).sum()), 1e-300))
        shift = float((got - expected).mean())
        if abs(factor - 1) > 1e-3 and not wrong(expected * factor, got, 4 * allowed).any():
            lines.append(f"every element is the right one times {factor:.5g}")
        elif not wrong(expected + shift, got, 4 * allowed).any():
            lines.append(f"every element is the right one plus {shift:.5g}")
    for axis, name in enumerate(axes):
        size = expected.shape[axis]
        hit = bad.any(axis=tuple(other for other in range(bad.ndim) if other != axis))
        indices = np.flatnonzero(hit)
        words = _ranges(indices, size) if 0 < len(indices) < size else ""
        if words:
            lines.append(f"wrong only at {name} {words}")
    return lines


def _ranges(indices: np.ndarray, size: int) -> str:
    """The indices in words; "" for many that are scattered and nearly all."""
    first, last = int(indices[0]), int(indices[-1])
    if len(indices) == 1:
        return f"{first} (of 0 to {size - 1})"
    if len(indices) == last - first + 1:
        return f">= {first}" if last == size - 1 else f"{first} to {last} (of 0 to {size - 1})"
    listed = ", ".join(str(int(i)) for i in indices[:8])
    if len(indices) <= 8:
        return listed
    return "" if len(indices) > 0.75 * size else f"{listed} .. ({len(indices)} of {size})"


def picture(expected: np.ndarray, got: np.ndarray, title: str) -> list[str]:
    """Two small matrices side by side, rows are queries and columns keys; at most 6 of each, so that they
    fit 80 columns."""
    rows, columns = min(expected.shape[0], 6), min(expected.shape[1], 6)
    width = 5 * columns
    lines = [f"{title}   {'expected'.ljust(width)}  got"]
    for row in range(rows):
        one, other = ("".join(_cell(m[row, column]) for column in range(columns)) for m in (expected, got))
        lines.append(f"{' ' * len(title)}  {one.ljust(width)}  {other}")
    return lines


def _cell(number: float) -> str:
    text = f"{number:.2f}" if abs(number) < 100 else f"{number:.0e}"
    return text.rjust(5)
