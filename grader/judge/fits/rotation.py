"""Rotations of exercise 4 that are not the paper's: which layout, which signs and which angles they take.

The numbers are what becomes of each channel alone, for two sets of angles: (2, D, D), [angles, in, out].
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from grader.judge.fits import Fit, left_over
from grader.judge.fits.shared import differs, known, plain
from tests.exercises.exam import Numbers

# How a pair is read, and how it is written back: side by side, or from two halves.
LAYOUTS = {
    "": ("neighbours", "neighbours"),
    "half_split": ("halves", "halves"),
    "put_back_in_halves": ("neighbours", "halves"),
    "taken_as_halves": ("halves", "neighbours"),
}
# (x0, x1) becomes (p x0 C + q x1 S, r x0 S + s x1 C): p, q, r, s, and whether C is cos and S is sin.
TURNS = {
    "": (1, -1, 1, 1, True),
    "rotated_backwards": (1, 1, -1, 1, True),
    "sign_missing": (1, 1, 1, 1, True),
    "sign_twice": (1, -1, -1, 1, True),
    "cos_and_sin_swapped": (1, -1, 1, 1, False),
    "first_cos_negative": (-1, -1, 1, 1, True),
    "second_cos_negative": (1, -1, 1, -1, True),
    "all_negative": (-1, 1, -1, -1, True),
}
WORDS = {
    "half_split": "the pairs are (i, i + D / 2): a valid RoPE of another layout",
    "put_back_in_halves": "the rotated pairs are put back as two halves",
    "taken_as_halves": "the pairs are taken from two halves and put back side by side",
    "rotated_backwards": "pairs are rotated in the other direction",
    "sign_missing": "both sin terms have a plus",
    "sign_twice": "both sin terms have a minus",
    "cos_and_sin_swapped": "cos and sin are swapped",
    "first_cos_negative": "the cos term of the first channel has a minus",
    "second_cos_negative": "the cos term of the second channel has a minus",
    "all_negative": "all terms have the opposite sign",
    "angles_in_two_layouts": "neighbours are paired, and get the angles of the half-split layout",
    "halves_with_angles_of_neighbours": "halves are paired, and get the angles of the paper's layout",
    "nothing_rotated": "x comes back as it is",
    "last_pair_skipped": "the last pair is not rotated",
    "half_of_the_channels": "only the first half of the channels is rotated",
    "scaled_by_cos": "the channels are only multiplied by cos",
}
UNLISTED = {  # why, of what no catalogue holds
    "sign_twice": "Yours is (x0 cos - x1 sin, -x0 sin + x1 cos), which is no rotation: it changes norms. One "
    "of the two sin terms is negative, the one in the first channel.",
    "first_cos_negative": "Yours is (-x0 cos - x1 sin, x0 sin + x1 cos): at the angle 0 the first channel "
    "changes its sign. The only minus stands before the sin of the first channel.",
    "second_cos_negative": "Yours is (x0 cos - x1 sin, x0 sin - x1 cos), a mirror and no rotation: at the "
    "angle 0 the second channel changes its sign. The only minus stands before the sin of the first channel.",
    "all_negative": "Yours is minus the rotated pair, so that even the angle 0 turns x around. No dot "
    "product changes, and weights that were trained with the paper's rotation mean the opposite. Which minus "
    "is too many?",
}


def of_rotation(numbers: Numbers) -> list[Fit]:
    """kind "rotation": the matrices (2, D, D) for the two rows of facts["angles"] (2, D / 2)."""
    if not differs(numbers):
        return []
    angles, got = np.asarray(numbers.facts["angles"], dtype=np.float64), numbers.got.astype(np.float64)
    found = []
    for fit, matrices in _proposals(angles, got):
        left = left_over([(numbers.expected, got, matrices, numbers.allowed)])
        if left is not None:
            found.append(replace(fit, left=left))
    return found


def _proposals(angles: np.ndarray, got: np.ndarray) -> Iterator[tuple[Fit, np.ndarray]]:
    for layout, turn in ((layout, turn) for layout in LAYOUTS for turn in TURNS):
        if layout and turn and layout != "half_split":
            continue
        if layout or turn:
            fit = _of_halves(turn) if layout and turn else _named(layout or turn)
            yield fit, turned(angles, angles, layout, turn)
    P = angles.shape[1]
    tiled, repeated = np.tile(angles, 2), np.repeat(angles, 2, axis=1)
    yield _named("angles_in_two_layouts"), turned(tiled[:, 0::2], tiled[:, 1::2])
    yield (_named("halves_with_angles_of_neighbours"), turned(repeated[:, :P], repeated[:, P:], "half_split"))
    yield (
        Fit(
            "angles_of_pairs_reversed",
            "the pairs get the angles in reverse order",
            "Your first pair is rotated by the last angle and your last pair by the first. Pair i, the "
            "channels 2i and 2i + 1, takes column i of the angles. Look for a flip, or for an index that "
            "counts from the end.",
        ),
        turned(angles[:, ::-1], angles[:, ::-1]),
    )
    yield from _multiples(angles, got)
    yield from _left_out(angles, got)


def turned(first: np.ndarray, second: np.ndarray, layout: str = "", turn: str = "") -> np.ndarray:
    """(n, D, D): what becomes of each channel, where the first channel of pair i is made with first[:, i]
    (n, D / 2) and the second one with second[:, i]."""
    n, P = first.shape
    read, write = LAYOUTS[layout]
    p, q, r, s, plain_ones = TURNS[turn]
    C, S = (np.cos, np.sin) if plain_ones else (np.sin, np.cos)
    x = np.eye(2 * P)
    x0, x1 = (x[:, 0::2], x[:, 1::2]) if read == "neighbours" else (x[:, :P], x[:, P:])
    one = p * x0 * C(first)[:, None] + q * x1 * S(first)[:, None]  # (n, D, P)
    other = r * x0 * S(second)[:, None] + s * x1 * C(second)[:, None]
    if write == "halves":
        return np.concatenate([one, other], axis=-1)
    return np.stack([one, other], axis=-1).reshape(n, 2 * P, 2 * P)


def _named(id: str) -> Fit:
    return Fit(id, WORDS[id], UNLISTED[id]) if id in UNLISTED else known("ex4", id, WORDS[id])


def _of_halves(turn: str) -> Fit:
    return Fit(
        "half_split_backwards" if turn == "rotated_backwards" else "half_split_with_other_signs",
        f"the pairs are (i, i + D / 2), and {WORDS[turn]}",
        "Two things differ from the paper. You take channel i and channel i + D / 2 for a pair (rotate_half "
        "does), where the contract's pairs are the neighbours (2i, 2i + 1). And a pair (x0, x1) must become "
        "(x0 cos - x1 sin, x0 sin + x1 cos): check each sign and each partner.",
        simpler=2,
    )


def _multiples(angles: np.ndarray, got: np.ndarray) -> Iterator[tuple[Fit, np.ndarray]]:
    """Rotated by a multiple of the angle, and a rotation that is multiplied by a number."""
    smallest = np.unravel_index(int(np.abs(angles).argmin()), angles.shape)
    n, i = (int(index) for index in smallest)
    size = float(np.hypot(got[n, 2 * i, 2 * i], got[n, 2 * i, 2 * i + 1]))
    fitted = float(np.arctan2(got[n, 2 * i, 2 * i + 1], got[n, 2 * i, 2 * i])) / float(angles[smallest])
    factors = ((math.pi / 180, "pi / 180"), (180 / math.pi, "180 / pi"), (2 * math.pi, "2 pi"))
    near = [(times, plain(times)) for times in (round(2 * fitted) / 2, fitted)]
    for times, words in (*factors, *near):
        if abs(times) > 1e-3 and min(abs(times - 1), abs(times + 1)) > 1e-3:
            fit = Fit(
                "rotated_by_a_multiple",
                f"each pair is rotated by {words} times its angle",
                f"The pair is turned by {words} times the angle that comes with its token. The angles are in "
                "radians and ready for cos and sin. Is the rotation applied more than once, or are the "
                "angles converted or scaled on the way?",
            )
            yield fit, turned(times * angles, times * angles)
    if abs(size - 1) > 1e-3:
        fit = Fit(
            "rotation_scaled",
            f"the rotated x is {plain(float(f'{size:.4g}'))} times as long as x",
            "The directions are right, and every vector changes its length. A rotation keeps norms: cos and "
            "sin of one angle are all that a pair is multiplied with. Which factor stands beside them?",
        )
        yield fit, float(f"{size:.5g}") * turned(angles, angles)
    yield _named("scaled_by_cos"), turned(angles, angles) * np.eye(2 * angles.shape[1])


def _left_out(angles: np.ndarray, got: np.ndarray) -> Iterator[tuple[Fit, np.ndarray]]:
    """Some pairs as they were, and the others rotated."""
    P = angles.shape[1]
    kept = [
        all(np.abs(got[:, c] - np.eye(2 * P)[c]).max() < 1e-4 for c in (2 * i, 2 * i + 1)) for i in range(P)
    ]
    if not any(kept):
        return
    some = np.where(kept, 0.0, angles)
    which = [str(i) for i in range(P) if kept[i]]
    if all(kept):
        fit = _named("nothing_rotated")
    elif kept == [i == P - 1 for i in range(P)]:
        fit = _named("last_pair_skipped")
    elif kept == [i >= P // 2 for i in range(P)]:
        fit = _named("half_of_the_channels")
    else:
        pairs = (
            f"pair {which[0]} of 0 to {P - 1} is" if len(which) == 1 else f"the pairs {', '.join(which)} are"
        )
        fit = Fit(
            "pairs_left_out",
            f"{pairs} not rotated",
            "Some channels come back as they were, and carry no position. All D / 2 pairs are rotated, from "
            "channel 0 to channel D - 1. Where do your slices or your loop begin and end?",
        )
    yield fit, turned(some, some)
