"""The checks of exercise 4, one mechanism each: the angles; what holds for every rotation; that the rotation
is the paper's; then the attention, with the batteries of a module and of an attention, and its positions."""

import itertools
import math
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from tests.exercises.battery import attention, devices, dropout, module
from tests.exercises.battery.attention import attention_matrix, matrix_fails
from tests.exercises.battery.module import OUTPUT_AXES, Size, checks_of, expect, forward, same_bfloat16
from tests.exercises.ex4 import readings
from tests.exercises.ex4.readings import (
    UNIT,
    allowed_angle,
    exact_angles,
    exactly_rotated,
    random_angles,
    random_x,
)
from tests.exercises.exam import CheckFailed, Numbers, check, fail, for_all, look, same_reading
from tests.exercises.numbers import EPSILON, bfloat16, tolerance, wrong

ANGLE_AXES = ("position number", "pair")
ROPE_AXES = ("sequence", "head", "token", "channel")
CHANNEL_AXES = ("channel in", "channel out")


test_runs = module.runs("rope_angles", "apply_rope", UNIT.name)


# The angles.

# Beside the call that failed: two head sizes tell a base from an exponent, other bases whether they are used.
TELLING = (((0, 1, 2, 7), 8), ((0, 1, 5), 12))
TELLING_BASES = (((0, 1, 3), 8, 500.0), ((0, 2, 4, 6, 9), 4, 2e6))


def angle_numbers(exam, call: tuple, got: np.ndarray) -> Numbers:
    """The angles of a call that failed, and of further ones, in a row."""
    calls, came = [call], [got]
    for more in (TELLING, TELLING_BASES):
        if found := exam.further(readings.angles, *more):
            calls, came = [*calls, *more], [*came, *found.values()]
    expected = [exact_angles(*one) for one in calls]
    facts = {"calls": tuple((*one, None)[:3] for one in calls)}
    farthest = np.array([max(positions) for positions, *_ in calls])
    joined = (np.concatenate([table.ravel() for table in tables]) for tables in (expected, came))
    return Numbers("angles", *joined, allowed_angle(farthest), facts)


def right_angles(exam, positions: tuple, D: int, message: str, *base: float, allowed=None):
    """Fail where rope_angles(positions, D, *base) gives other angles than the paper's."""
    case = {"positions": list(positions), "head_size": D} | ({"base": base[0]} if base else {})
    call = (positions, D, *base)
    expected, got = exact_angles(*call), look(exam, case, readings.angles, call)["0"]
    allowed = allowed_angle(np.array(positions)) if allowed is None else allowed
    expect(
        expected, got, allowed, case, message, ANGLE_AXES, numbers=lambda *_: angle_numbers(exam, call, got)
    )


@check("angles_form", "rope_angles gives (T, D / 2) float32, on the device of the positions", ("runs",))
def test_angles_form(exam):
    # T = 8 and D / 2 = 3: neither a transposed table nor one angle per channel has this shape.
    look(exam, {"T": 8, "head_size": 6}, readings.angles, (tuple(range(8)), 6))


OWN = (3, 1, 4, 0, 9, 2, 6)  # seven, and seven in no other check: what is cached by their number is from here


@check("angles_own", "each position has its own angle, whatever the calls before", ("angles_form",))
def test_angles_own(exam):
    # Whatever the formula is: the same positions in reverse have the same angles in reverse.
    case = {"positions": list(OWN[::-1]), "head_size": 10, "before": list(OWN)}
    got = look(exam, case, readings.angles, (OWN, 10), (OWN[::-1], 10))
    expect(
        got["0"][::-1].astype(np.float64),
        got["1"],
        allowed_angle(np.array(OWN)),
        case,
        "Asked for the same positions in reverse order, rope_angles must give the same rows in reverse. Do "
        "you use the values in `positions`, or only how many there are? Is something kept from the call "
        "before?",
        ANGLE_AXES,
    )
    # The same ends and the same sum: what is kept under those is of other positions.
    swapped = [0, 2, 1, 3]
    case = {"positions": swapped, "head_size": 10, "before": sorted(swapped)}
    got = look(exam, case, readings.angles, (sorted(swapped), 10), (swapped, 10))
    expect(
        got["0"][swapped].astype(np.float64),
        got["1"],
        allowed_angle(np.array(swapped)),
        case,
        "Asked for the same positions in another order, rope_angles must give the same rows in that order. "
        "Is something kept from the call before, under less than all of the positions?",
        ANGLE_AXES,
    )


@check("angles_odd", "rope_angles refuses an odd head size", ("angles_form",))
def test_angles_odd(exam):
    sizes = (5, 7, 1)
    for head_size, came in look(exam, {"head_size": sizes[0]}, readings.odd_head_size, sizes).items():
        if came != "ValueError":
            fail(
                {"head_size": int(head_size)},
                f"Channels are rotated in pairs, so a head size of {head_size} must be a ValueError; yours "
                f"{came}. No later step fails: with an odd head size one channel would silently have no "
                "partner.",
            )


@check("angles_zero", "position 0 has the angle 0", ("angles_own",))
def test_angles_zero(exam):
    message = (
        "m * theta is 0 for m = 0, whatever theta is. Do your positions count from 1, or is something added?"
    )
    right_angles(exam, (0,), 8, message)


@check("angles_spectrum", "at position 1 the angles are theta_i = 10000 ** (-2i / D)", ("angles_own",))
def test_angles_spectrum(exam):
    # Norms, position 0 and shifts are right for every set of frequencies; this is what tells them apart.
    for D in (8, 2, 64):
        right_angles(
            exam,
            (1,),
            D,
            "Pair i rotates by theta_i = base ** (-2i / D) radians per token: from 1 for pair 0 down to "
            f"{exact_angles((1,), D)[0, -1]:.3g} for the last. What are your base, your exponent (2i is the "
            "number of the pair's first channel) and its sign?",
        )


POSITIONS = (0, 1, 2, 3, 4, 5, 6, 11, 3, 0, 97, 1)


@check(
    "angles_steps",
    "the angles are proportional to the position, whatever positions are given",
    ("angles_own",),
)
def test_angles_steps(exam):
    # Against the attempt's own theta, so that a wrong spectrum is not found twice; out of order and with a
    # gap, as the positions of a cache or of a packed batch are.
    case = {"positions": list(POSITIONS), "head_size": 8}
    got = look(exam, case, readings.angles, ((1,), 8), (POSITIONS, 8))
    expected = np.array(POSITIONS)[:, None] * got["0"].astype(np.float64)
    allowed = allowed_angle(np.array(POSITIONS))
    expect(
        expected,
        got["1"],
        allowed,
        case,
        "The angle at position m must be m times the one at position 1. Are positions counted from 0, and "
        "not divided by anything?",
        ANGLE_AXES,
        numbers=lambda *_: angle_numbers(exam, (POSITIONS, 8), got["1"]),
    )


@check("angles_base", "another base gives other frequencies", ("angles_spectrum",))
def test_angles_base(exam):
    for base in (500.0, 1e6, 2.5):  # 2.5: an int() somewhere would show
        message = (
            f"With base {base:g} theta_i is {base:g} ** (-2i / D). Is the argument used, or is 10000 fixed?"
        )
        right_angles(exam, (1,), 8, message, base)


# bfloat16 counts to 256, float16 to 2048 and ends at 65504
FAR = (1_000_000, 100_000, 99_999, 65_537, 2_049, 300, 257)


@check(
    "angles_large",
    "position 100,000 still has the right angle, and so has a million",
    ("angles_steps", "angles_spectrum"),
)
def test_angles_large(exam):
    right_angles(
        exam,
        FAR,
        8,
        "Angles must be right for large positions too. In which dtype do you multiply positions and theta? "
        "bfloat16 cannot count beyond 256, float16 ends at 65504.",
        allowed=np.array([[allowed_angle(np.array([p]))] for p in FAR]),
    )


@st.composite
def angle_cases(draw):
    """(positions, head_size, base)"""
    positions = draw(st.lists(st.integers(0, 3000), min_size=1, max_size=6))
    return tuple(positions), 2 * draw(st.integers(1, 40)), float(draw(st.sampled_from((10000, 100, 500000))))


@check(
    "angles_any",
    "for any positions, head size and base, the angles are the paper's",
    ("angles_base", "angles_steps", "angles_zero"),
)
def test_angles_any(exam):
    def body(exam, drawn):
        positions, D, base = drawn
        right_angles(
            exam,
            positions,
            D,
            "The angle of pair i at position m must be m * base ** (-2i / D); this is the smallest case "
            "found where it is not. What is special about it?",
            base,
        )

    for_all(exam, angle_cases(), body)


@check(
    "angles_calls",
    "rope_angles changes nothing, and keeps nothing from one call for the next",
    ("angles_any",),
)
def test_angles_calls(exam):
    three, five = (0, 1, 2), (0, 1, 2, 3, 4)
    cases = ((three, 8), ((5, 6), 8), (five, 8), ((0, 1), 4), (three, 8, 100.0), (three, 8))
    got = look(exam, {"calls": len(cases)}, readings.angles, *cases)
    for i, (positions, *rest) in enumerate(cases):
        case = {"call": i, "positions": list(positions), "head_size": rest[0]}
        expect(
            exact_angles(positions, *rest),
            got[str(i)],
            allowed_angle(np.array(positions)),
            case,
            "After calls with other positions, head sizes or bases the angles are wrong. What is cached, "
            "and under which key?",
            ANGLE_AXES,
        )
    positions = (4, 2, 7)
    kept = look(exam, {"positions": list(positions)}, readings.angles_kept, positions)["positions"]
    if tuple(kept) != positions:
        fail(
            {"positions": list(positions)},
            "rope_angles changed the positions that it was given. Which operation works in place?",
        )


@check("angles_devices", devices.TITLE, ("angles_form",))
def test_angles_devices(exam):
    positions = tuple(range(97))  # as many as in no other check: what is kept for as many was not watched
    asked = readings.LOOKS("angles", cases=[(positions, 12), (positions, 12, 100.0)])
    case = {"T": len(positions), "head_size": 12}
    devices.check_devices(exam, case, "The angles", "the positions", asked)


# What is true of every rotation.

SHOWN = [0.7, -1.9, 2.6, 0.3]  # for D = 8: no two alike, none near a multiple of pi / 2
PAIRS = np.array(SHOWN, dtype=np.float32)


def rotation_allowed(x):
    return tolerance("float32", 2, float(np.abs(x).max()))


OTHERS = np.array([1.3, 0.4, -0.9, 2.1], dtype=np.float32)  # a second set, which a fit must explain as well


def rotation_numbers(exam) -> Numbers | None:
    """What becomes of each channel alone; None where it cannot be seen."""
    angles = np.stack([PAIRS, OTHERS]).astype(np.float64)
    seen = [exam.further(readings.matrix, row) for row in (PAIRS, OTHERS)]
    if None in seen:
        return None
    expected = np.stack([exactly_rotated(np.eye(8)[:, None], row[None])[:, 0] for row in angles])
    got = np.stack([found["matrix"] for found in seen])
    return Numbers("rotation", expected, got, rotation_allowed(np.ones(1)), {"angles": angles})


def expect_rotated(exam, expected, got, allowed, case, message, axes):
    """expect, and where it fails, the numbers from which the mistake may be read off."""
    expect(expected, got, allowed, case, message, axes, numbers=lambda *_: rotation_numbers(exam))


def dimensions(x) -> tuple[str, ...]:
    return tuple(f"dimension {i}" for i in range(x.ndim))


def right_rotation(exam, x, angles, message, axes=None, dtype="float32", **more):
    """Fail where apply_rope(x, angles) gives another rotation than the paper's."""
    case = {"x": list(x.shape), "dtype": dtype} | more
    got = look(exam, case, readings.rotated, x, angles, dtype)["y"]
    expected = exactly_rotated(x, angles)
    allowed = rotation_allowed(x) + rounded_once(expected, dtype)
    expect_rotated(exam, expected, got, allowed, case, message, axes or dimensions(x))


def rounded_once(exact, dtype):
    """Half of the last place of the result. In float64 float32's exactness is enough."""
    return 0.0 if dtype in ("float32", "float64") else np.abs(exact) * EPSILON[dtype] / 2


@check("rope_form", "apply_rope gives a tensor of x's shape, dtype and device", ("runs",))
def test_rope_form(exam):
    # A shape of its own, like that of the next check: what is cached by shape would be this one's later.
    x = random_x((2, 3, 9, 14), 0)
    got = look(exam, {"x": list(x.shape)}, readings.rotated, x, random_angles(9, 14, 0))["y"]
    if not np.isfinite(got).all():
        fail({"x": list(x.shape)}, "apply_rope gives NaN or infinity for plain numbers. Is anything divided?")


@check(
    "rope_own",
    "each token is rotated by the angles that are given with it, whatever the calls before",
    ("rope_form",),
)
def test_rope_own(exam):
    # Whatever the rotation is: tokens in reverse, with their angles in reverse, give the same in reverse.
    x, angles = random_x((2, 3, 7, 10), 18), random_angles(7, 10, 18)
    case = {"x": list(x.shape)}
    got = look(exam, case, readings.several, (x, angles), (x[:, :, ::-1], angles[::-1]))
    expect(
        got["0"][:, :, ::-1],
        got["1"],
        2 * rotation_allowed(x),
        case,
        "The same tokens in reverse order, with their angles in reverse too, must come out the same in "
        "reverse. Are cos and sin those of the angles that are given now, or kept from a call before?",
        ROPE_AXES,
    )


@check("rope_zero", "the angle 0 leaves x as it is", ("rope_own",))
def test_rope_zero(exam):
    x = random_x((2, 3, 5, 8), 1)
    right_rotation(
        exam,
        x,
        np.zeros((5, 4), np.float32),
        "cos 0 = 1 and sin 0 = 0, so nothing may change. Are cos and sin swapped, or the channels put back "
        "in another order?",
        ROPE_AXES,
        all_angles=0,
    )


@check("rope_norms", "a rotation keeps the norm of every token", ("rope_own",))
def test_rope_norms(exam):
    x = random_x((2, 3, 5, 8), 2)
    got = look(exam, {"x": list(x.shape)}, readings.rotated, x, random_angles(5, 8, 2))["y"]
    expected, came = (np.linalg.norm(m.astype(np.float64), axis=-1) for m in (x, got))
    expect_rotated(
        exam,
        expected,
        came,
        4 * rotation_allowed(x),
        {"x": list(x.shape)},
        "A rotation changes directions and no lengths. Does every pair get "
        "cos and sin of one and the same angle, once with + and once with -?",
        ("sequence", "head", "token"),
    )


@check("rope_linear", "a rotation is linear and orthogonal", ("rope_own",))
def test_rope_linear(exam):
    a, b, angles = random_x((2, 3, 5, 8), 3), random_x((2, 3, 5, 8), 4), random_angles(5, 8, 3)
    case = {"x": list(a.shape)}
    got = look(exam, case, readings.several, (a, angles), (b, angles), (2 * a - 3 * b, angles))
    expect_rotated(
        exam,
        2.0 * got["0"] - 3.0 * got["1"],
        got["2"],
        8 * rotation_allowed(a),
        case,
        "apply_rope(2 a - 3 b) must be 2 apply_rope(a) - 3 apply_rope(b). What is added or normalised on "
        "the way?",
        ROPE_AXES,
    )
    rows = look(exam, {"head_size": 8}, readings.matrix, PAIRS)["matrix"].astype(np.float64)
    expect_rotated(
        exam,
        np.eye(8),
        rows @ rows.T,
        rotation_allowed(np.ones(1)),
        {"head_size": 8, "angles": SHOWN},
        "Two channels that are at right angles before must be so after (the matrix of the rotation times its "
        "transpose is the identity). Which sign stands before each sin?",
        ("channel", "channel"),
    )


# That it is the paper's.


def half_split(angles: np.ndarray) -> np.ndarray:
    """The matrix of the other layout, pair i being the channels i and i + D / 2."""
    D = 2 * len(angles)
    order = np.arange(D).reshape(2, -1).T.reshape(-1)  # 0, D / 2, 1, D / 2 + 1, ..
    matrix = np.zeros((D, D))
    matrix[np.ix_(order, order)] = exactly_rotated(np.eye(D)[:, None], angles[None].astype(np.float64))[:, 0]
    return matrix


@check("rope_pairs", "the pairs are the channels 2i and 2i + 1", ("rope_own",))
def test_rope_pairs(exam):
    case = {"head_size": 8, "angles": SHOWN}
    got = look(exam, case, readings.matrix, PAIRS)["matrix"]
    pairs = np.arange(8) // 2
    reached = np.abs(got) > 1e-3  # [in, out]; cos and sin of these angles are all larger
    if not wrong(half_split(PAIRS), got, rotation_allowed(np.ones(1))).any():
        fail(
            case,
            "Yours is a valid RoPE, but of another layout: it rotates channel i with channel i + D / 2, as "
            "GPT-NeoX and many Llama files do; the contract, as the paper, rotates 2i with 2i + 1. Norms, "
            "shifts and training come out the same: one is the other with the rows of q and k in another "
            "order. Weights trained with one are noise for the other.",
            "the paper:  (x0, x1), (x2, x3), (x4, x5), (x6, x7)",
            "yours:      (x0, x4), (x1, x5), (x2, x6), (x3, x7)",
        )
    if (reached != (pairs[:, None] == pairs)).any():
        lines = [
            f"channel {j} goes to {', '.join(map(str, np.flatnonzero(reached[j]))) or 'none'}; expected "
            f"{j // 2 * 2}, {j // 2 * 2 + 1}"
            for j in range(8)
            if (reached[j] != (pairs == pairs[j])).any()
        ]
        fail(
            case,
            "Channels 2i and 2i + 1 must be mixed with each other, and with nothing else. Which channels "
            "does your code mix, and are they put back where they came from?",
            lines[:4],
            numbers=rotation_numbers(exam),
        )


@check(
    "rope_direction",
    "each pair is rotated by its own angle, from the first channel towards the second",
    ("rope_pairs",),
)
def test_rope_direction(exam):
    case = {"head_size": 8, "angles": SHOWN}
    expected = exactly_rotated(np.eye(8)[:, None], PAIRS[None])[:, 0]
    got = look(exam, case, readings.matrix, PAIRS)["matrix"]
    opposite = not wrong(expected.T, got, rotation_allowed(np.ones(1))).any()
    expect_rotated(
        exam,
        expected,
        got,
        rotation_allowed(np.ones(1)),
        case,
        "(1, 0) rotated by a must be (cos a, sin a), and (0, 1) must be (-sin a, cos a), with angle i for "
        "pair i. "
        + ("Yours rotates the other way." if opposite else "Which angle does each pair get, and which sign?"),
        CHANNEL_AXES,
    )


SHIFTS = (0, 1, 7, 100, 2000)


@check(
    "rope_relative",
    "q . k depends on the distance only: shifting both changes nothing",
    ("angles_own", "rope_own"),
)
def test_rope_relative(exam):
    # With the attempt's own angles: true of every RoPE, also of one with other frequencies or pairs.
    q, k = random_x((8,), 5), random_x((8,), 6)
    case = {"T": 6, "head_size": 8, "shifts": list(SHIFTS)}
    got = look(exam, case, readings.dot_products, q, k, SHIFTS)
    size = float(np.linalg.norm(q) * np.linalg.norm(k))
    first, distance = got["0"], np.subtract.outer(np.arange(6), np.arange(6))
    for shift in SHIFTS:
        allowed = size * (rotation_allowed(np.ones(1)) + 2 * allowed_angle(np.array([shift + 6])))
        expect(
            first,
            got[str(shift)],
            allowed,
            case | {"shift": shift},
            f"With all positions {shift} further, every q . k must be what it was. Is "
            "something added that depends on the position itself, or are the angles not "
            "proportional to it?",
            ("query", "key"),
        )
    for d in range(-5, 6):
        same = first[distance == d]
        expect(
            np.full(len(same), same[0]),
            same,
            2 * size * allowed_angle(np.array([12])),
            case | {"distance": d},
            "Two pairs of tokens at the same distance must have the same q . k, since their contents are "
            "the same here.",
            ("pair of tokens",),
        )


@check(
    "rope_tokens",
    "token t is rotated by row t of the angles, in every sequence and head",
    ("rope_direction",),
)
def test_rope_tokens(exam):
    # B, H and T all different, then all equal: there a rotation along another dimension has the right shape.
    for shape in ((2, 3, 5, 8), (4, 4, 4, 8)):
        right_rotation(
            exam,
            random_x(shape, 7),
            random_angles(shape[2], 8, 7),
            "x is (B, H, T, D) and angles (T, D / 2): the angles belong to the dimension before the last, "
            "and are the same for every sequence and head. Along which dimension do yours run?",
            ROPE_AXES,
        )


LEADING = ((5, 8), (3, 5, 8), (2, 3, 5, 8), (2, 1, 3, 5, 8), (5, 5, 8), (1, 1, 1, 5, 8))


@check("rope_leading", "any number of dimensions before T, none included", ("rope_direction",))
def test_rope_leading(exam):
    angles = random_angles(5, 8, 8)
    for shape in LEADING:
        right_rotation(
            exam,
            random_x(shape, 8),
            angles,
            "x is (.., T, D) with any number of dimensions in front. Do you count dimensions from the front, "
            "where -1 and -2 would do?",
        )


@check(
    "rope_row", "one token with the angles of its position is its row of the whole sequence", ("rope_tokens",)
)
def test_rope_row(exam):
    # What a cache needs: it rotates the new token alone, and never the old ones again.
    x, angles = random_x((2, 3, 5, 8), 9), random_angles(5, 8, 9)
    got = look(exam, {"x": list(x.shape)}, readings.one_by_one, x, angles)
    expect(
        got["whole"],
        got["rows"],
        2 * rotation_allowed(x),
        {"x": list(x.shape)},
        "apply_rope of token t alone, with angles[t : t + 1], must equal row t of the whole. "
        "Does your code use a token's place other than through the angles?",
        ROPE_AXES,
    )


@check("rope_large", "a rotation by large angles is as exact as one by small angles", ("rope_direction",))
def test_rope_large(exam):
    x = random_x((2, len(FAR), 8), 10)
    # The angles are given in float32: what is right is the rotation by just these numbers.
    angles = exact_angles(FAR, 8).astype(np.float32)
    right_rotation(
        exam,
        x,
        angles,
        "These are the angles of positions up to 1,000,000. In which dtype are they when you take cos and "
        "sin? Half precision keeps nothing of them.",
        OUTPUT_AXES,
        angles_up_to=float(angles.max()),
    )


@st.composite
def rotation_cases(draw):
    """(shape of x, seed)"""
    front = draw(st.lists(st.integers(1, 4), min_size=0, max_size=3))
    return (*front, draw(st.integers(1, 6)), 2 * draw(st.integers(1, 9))), draw(st.integers(0, 99))


@check(
    "rope_any",
    "for any shape, apply_rope is the paper's rotation",
    ("rope_tokens", "rope_leading", "rope_zero", "rope_linear"),
)
def test_rope_any(exam):
    def body(exam, drawn):
        shape, seed = drawn
        right_rotation(
            exam,
            random_x(shape, seed),
            random_angles(*shape[-2:], seed),
            "This is the smallest shape found where the result is wrong. What is special about it: one "
            "token, one pair, a dimension of 1?",
            seed=seed,
        )

    for_all(exam, rotation_cases(), body)


@check("rope_dtypes", "x's dtype comes back, and half precision is computed in float32", ("rope_any",))
def test_rope_dtypes(exam):
    # Positions up to 300, and beyond 1024: cos and sin of angles that were rounded to bfloat16 are far off.
    # Each dtype has a length of its own, so that what is kept by length from one of them cannot serve
    # another.
    for dtype, T in (
        ("bfloat16", 300),
        ("float16", 301),
        ("float64", 302),
        ("bfloat16", 1100),
        ("float32", 1101),
    ):
        x, angles = random_x((2, T, 8), 11), exact_angles(np.arange(T), 8).astype(np.float32)
        # Numbers that this dtype holds, and no shorter one does.
        given = bfloat16(x) if dtype == "bfloat16" else x.astype(dtype).astype(x.dtype)
        right_rotation(
            exam,
            given,
            angles,
            f"For {dtype} the rotation must be computed in float32 at least, and rounded to {dtype} once, at "
            f"the end. Where do x or the angles become shorter than that?",
            OUTPUT_AXES,
            dtype,
        )


# Heads that are moved in front of the time, and what else an attention hands over; also with one of each.
FORMS = ((2, 3, 5, 8), (2, 1, 5, 8), (2, 3, 1, 8), (1, 3, 5, 8), (3, 3, 3, 2))
AS_ATTENTION_HANDS_OVER = ("heads moved", "part of qkv", "part of wider rows", "some of the tokens")


@check("rope_layouts", "however an attention hands x over, the result is the same", ("rope_dtypes",))
def test_rope_layouts(exam):
    for shape, dtype in itertools.product(FORMS, ("float32", "bfloat16")):
        x, angles = random_x(shape, 12), random_angles(*shape[-2:], 12)
        x = bfloat16(x) if dtype == "bfloat16" else x
        given = dict.fromkeys(AS_ATTENTION_HANDS_OVER, x)
        given["expanded batch"] = x[:1].repeat(shape[0], axis=0)
        case = {"x": list(shape), "dtype": dtype}
        got = look(exam, case, readings.in_layouts, given, angles, dtype)
        for layout, numbers in given.items():
            if not np.array_equal(got[f"x {layout}"], numbers):
                fail(
                    case | {"layout": layout},
                    f"x ({layout}) is not what it was before apply_rope. What works in place (x[..] = .., "
                    f"+=, mul_)?",
                )
            expected = exactly_rotated(numbers, angles)
            allowed = rotation_allowed(x) + rounded_once(expected, dtype)
            expect(
                expected,
                got[layout],
                allowed,
                case | {"layout": layout},
                f"The result must not depend on how x lies in memory ({layout}); its last dimension has "
                f"stride 1 here. Do you view where only reshape can join dimensions, or write into memory "
                f"that is shared?",
                dimensions(x),
            )


@check(
    "rope_kept",
    "apply_rope changes neither x nor the angles, and keeps nothing for the next call",
    ("rope_any",),
)
def test_rope_kept(exam):
    x, angles = random_x((2, 3, 5, 8), 13), random_angles(5, 8, 13)
    case = {"x": list(x.shape)}
    for dtype in ("float32", "float64", "bfloat16"):
        given = bfloat16(x)  # what is cast on the way is a copy, and then another dtype is changed in place
        kept = look(exam, case | {"dtype": dtype}, readings.arguments_kept, given, angles, dtype)
        for key, before in (("x", given), ("angles", angles)):
            if not np.array_equal(kept[key], before):
                fail(
                    case | {"dtype": dtype},
                    f"{key} is not what it was before apply_rope. What works in place (x[..] = .., +=, "
                    f"mul_)?",
                )
    shorter, other = angles[:2], random_angles(5, 8, 14)
    small = random_x((5, 4), 15), random_angles(5, 4, 15)
    cases = ((x, angles), (x[..., :2, :], shorter), (x, other), small, (x, angles))
    got = look(exam, case | {"calls": len(cases)}, readings.several, *cases)
    for i, (given, by) in enumerate(cases):
        expect(
            exactly_rotated(given, by),
            got[str(i)],
            rotation_allowed(given),
            case | {"call": i},
            "After calls with other angles the result is wrong. What is cached, and for which angles?",
            dimensions(given),
        )
    got = look(exam, case | {"angles": "+= 1"}, readings.with_changed_angles, x, angles)["y"]
    expect(
        exactly_rotated(x, angles + 1),
        got,
        2 * rotation_allowed(x),
        case | {"angles": "+= 1"},
        "After the same tensor of angles was changed in place the result is that of the old ones. What do "
        "you keep by the tensor, its address or its name, and not by its numbers?",
        ROPE_AXES,
    )


@check("rope_gradients", "the gradient of x is rotated back", ("rope_any",))
def test_rope_gradients(exam):
    x, angles, cotangent = random_x((2, 5, 8), 16), random_angles(5, 8, 16), random_x((2, 5, 8), 17)
    case = {"x": list(x.shape)}
    got = look(exam, case, readings.rotation_gradient, x, angles, cotangent)["x"]
    if got is None:
        fail(case, "No gradient reaches x: queries and keys would not learn. Is it detached or from .data?")
    expect(
        exactly_rotated(cotangent, -angles),
        got,
        rotation_allowed(cotangent),
        case,
        "The backward pass rotates by minus the angle. Is a part of the path detached or "
        "computed under no_grad?",
        OUTPUT_AXES,
    )


@check("rope_devices", devices.TITLE, ("rope_form",))
def test_rope_devices(exam):
    x, angles = random_x((2, 3, 97, 6), 19), random_angles(97, 6, 19)  # see angles_devices
    asked = readings.LOOKS("rotated", cases=[(x, angles)])
    devices.check_devices(exam, {"x": list(x.shape)}, "The result of apply_rope", "x", asked)


# The attention: what the batteries ask of one.

AFTER_THE_FUNCTIONS, AFTER_ROTATED = ("running_mean", "angles_any", "rope_any"), ("rotated",)
TITLES = attention.TITLES | {
    # Positions cannot matter where all scores are 0, unless the values are rotated as well.
    "running_mean": "with q = k = 0 each token takes the mean of what it sees: values are not rotated",
    "attention_matrix": "each head's attention matrix is softmax(q k^T / sqrt(D)) of rotated q and k",
    "values": "the same output as a rotary attention's, for any B, T, C and H, in both modes",
    "in_gpt": "GPT(config, attention=RotaryAttention, position_embedding=False) gives the right logits",
}
AFTER = {
    "scale": AFTER_ROTATED,
    # Beside `rotated` and not after it: where all tokens have the same content, queries rotated alone look
    # like keys rotated alone.
    "attention_matrix": AFTER_THE_FUNCTIONS,
    "values": AFTER_ROTATED,
    "bfloat16": ("bfloat16_rotation",),
    "dropout_weights": AFTER_ROTATED,
    "in_gpt": ("values", "dropout_eval"),
}
globals().update(checks_of(UNIT, (*module.CHECKS, *attention.CHECKS, *dropout.CHECKS), TITLES, AFTER))


@check("odd_attention", "an odd head size is refused, when built or in forward", ("output",))
def test_odd_attention(exam):
    for n_embd, n_head in ((15, 3), (5, 5), (6, 2), (12, 4), (5, 1)):
        case = {"n_embd": n_embd, "n_head": n_head, "head_size": n_embd // n_head}
        came = look(exam, case, readings.odd_attention, n_embd, n_head)["came"]
        if came != "ValueError":
            fail(
                case,
                f"With C = {n_embd} and H = {n_head} a head has {n_embd // n_head} channels, which cannot "
                f"be paired: that must be a ValueError, in __init__ or in forward. Yours {came}.",
            )


@check(
    "rotated",
    "queries and keys are rotated, so that a token's weight depends on its distance",
    AFTER_THE_FUNCTIONS,
)
def test_rotated(exam):
    # The same query and the same key everywhere: only where a token stands can tell it from the others.
    # D / 2 is not H here, or two wrong scales would be one.
    size = Size(T=6, n_embd=36, n_head=3, seed=20)
    q, k = (2 * random_x((size.D,), seed) for seed in (20, 21))
    weights, x = readings.same_content(size, q, k)
    scores = (
        UNIT.rotated(np.tile(q, (size.T, 1))) @ UNIT.rotated(np.tile(k, (size.T, 1))).T / math.sqrt(size.D)
    )
    seen = np.tril(np.exp(scores - scores.max()))
    expected = np.broadcast_to(seen / seen.sum(1, keepdims=True), (size.B, size.n_head, size.T, size.T))
    got = look(exam, size.as_case(), attention_matrix, UNIT, size, weights, x)["attention"]
    spread = float(np.abs(scores).max())
    message = (
        "All tokens have the same query and the same key here, so the weights may depend on the distance "
        "alone, and must be softmax((R_m q) . (R_n k) / sqrt(D)). "
    )
    distances = got[:, :, 1:, :]
    if not wrong(1 / np.arange(2, size.T + 1)[:, None] * np.tri(size.T)[1:], distances, 1e-4).any():
        message += "Yours does not depend on positions. Where are q and k rotated, and is the result used?"
    else:
        message += (
            "Are both rotated by the same angles, before the dot product, along the time and not the heads?"
        )
    allowed = tolerance("float32", size.n_embd + size.D, 1.0, spread)
    numbers = UNIT.numbers(exam, size, weights, x, "attention")
    matrix_fails(expected, got, allowed, size.as_case(), message, numbers)


OFFSETS = (0, 1, 5, 8, 100)
FAR_OFFSETS = (1021, 2045, 4093, 8189, 65_533, 140_000)  # across the ends of tables of usual lengths


def same_far(one, other):
    """Whether two readings agree within what right formulas make of angles of 140,000 radians."""
    return same_reading(one, other, tolerance=0.05)


@check("offset", "the output is the same for every offset, beyond block_size too", ("values",))
def test_offset(exam):
    size = Size(T=6, seed=22)
    weights, x = UNIT.weights(size), size.x()
    expected = UNIT.right(size, weights, x)
    got = look(exam, size.as_case(offset=list(OFFSETS)), readings.at_offsets, size, OFFSETS)
    far = size.as_case(offset=list(FAR_OFFSETS))
    got = got | look(exam, far, readings.at_offsets, size, FAR_OFFSETS, same=same_far)
    for offset, y in got.items():
        last = size.T + (0 if offset == "none" else int(offset.removeprefix("train ")))
        of_angles = readings.score_doubt(size, weights, x, last) * np.abs(expected).max()
        allowed = UNIT.allowance(size, weights, x, expected) + of_angles
        expect(
            expected,
            y,
            allowed,
            size.as_case(offset=offset),
            "offset says where the first token stands, and only distances count: the output must not "
            "change. Do queries and keys get the same positions, offset to offset + T - 1?",
        )


LONG = Size(B=1, T=303, n_embd=32, n_head=2, block_size=304, seed=23)
WIDE = Size(B=1, T=305, n_embd=56, n_head=2, block_size=306, seed=23)
COUNTED = 256  # bfloat16 holds every whole number up to here
SHARE = 0.15


def far_neighbours(size, distance):
    """Weights and x, exact in bfloat16: every query is the same vector and every key too, so that weights
    depend on the distance and are largest at this one; the values are noise."""
    rng = np.random.default_rng(size.seed)
    C, D = size.n_embd, size.D
    if distance == 1:
        key = np.tile([3.0, 0.0], D // 2)
    else:
        # Pair 1 alone: D = 28 gives it theta = 0.51795, which bfloat16 rounds to 0.51953, and 256 tokens on
        # that is 0.4 radians. Pair 0 has theta = 1, exact in every dtype.
        key = np.zeros(D)
        key[2] = 6.0
    query = exactly_rotated(key[None], -exact_angles([distance], D))[
        0
    ]  # scores highest with a key that far back
    x = rng.normal(size=(size.B, size.T, C))
    x[..., 0] = 1.0
    qkv = np.zeros((3 * C, C))
    qkv[: 2 * C, 0] = np.concatenate([np.tile(query, size.n_head), np.tile(key, size.n_head)])
    qkv[2 * C :] = rng.normal(size=(C, C)) / math.sqrt(C)
    weights = {"qkv.weight": qkv, "proj.weight": np.eye(C), "proj.bias": np.zeros(C)}
    return {name: bfloat16(value) for name, value in weights.items()}, bfloat16(x)


@check("bfloat16_late", "in bfloat16 too, tokens beyond position 256 keep distinct positions", ("dtypes",))
def test_bfloat16_late(exam):
    for (size, distance), first in itertools.product(((LONG, 1), (WIDE, COUNTED)), ("float32", "bfloat16")):
        if first == "bfloat16":  # a length that has had no call yet: what is kept by length is made now
            size = replace(size, T=size.T + 1)
        case = size.as_case(dtype="bfloat16", tokens=f">= {COUNTED}", distance=distance, first_call_in=first)
        weights, x = far_neighbours(size, distance)
        expected = UNIT.reference(size, weights, x, np.arange(COUNTED, size.T))
        got = look(exam, case, readings.after_a_cast, size, weights, x, first, COUNTED, same=same_bfloat16)[
            "late"
        ]
        # Rounding q, k and the scores to bfloat16 moves these outputs by a fiftieth of their size; angles,
        # positions or frequencies that are rounded to it, by more than a quarter.
        share = float(np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected**2)))
        if not share <= SHARE:
            fail(
                case,
                "After model.to(torch.bfloat16) the tokens after position 256 attend elsewhere than in "
                "float32. A buffer of angles, positions or frequencies is cast with the model, and bfloat16 "
                "has 8 significant bits: what of yours is kept in a buffer, or made in x's dtype, if only "
                "in the first call?",
                f"the outputs differ by {share:.0%} of their size; rounding alone gives about 2%",
            )


# At position 15 bfloat16 rounds cos and sin of pair 0 so that every rotated vector is 0.26 % shorter, and a
# score of two of them 0.52 %.
SHORTER = Size(B=512, T=16, n_embd=34, n_head=17, block_size=16, seed=24)


def last_weights(subject, size, weights, x):
    """{"weights": (B, H - 1)}: how much the last token attends to itself, in bfloat16."""
    return weights_in(size, forward(subject, UNIT, size, weights, x, "bfloat16")["y"])


def weights_in(size, y):
    return {"weights": y[:, -1, : size.n_embd - size.D : size.D]}


def itself_alone(size):
    """Weights and x, exact in bfloat16, for which only the last token has a query, a key and a value: in each
    head its query is its key, of a random direction and length, and its value (1, 0), so that the first
    channel of the head's output is its weight. The other keys are 0, as their scores. The last head carries
    a 1 from which the values are made."""
    rng = np.random.default_rng(size.seed)
    C, D, used = size.n_embd, size.D, size.n_embd - size.D
    # weights of about 1/2
    scores = np.log(size.T - 1) + rng.uniform(-0.5, 0.5, size=(size.B, size.n_head - 1))
    directions = rng.uniform(0.0, 2 * np.pi, size=scores.shape)
    lengths = np.sqrt(scores * math.sqrt(D))
    x = np.zeros((size.B, size.T, C))
    vectors = np.stack([np.cos(directions), np.sin(directions)], axis=-1) * lengths[..., None]
    x[:, -1, :used] = vectors.reshape(size.B, used)
    x[:, -1, used] = 1.0
    qkv = np.zeros((3 * C, C))
    qkv[:used, :used] = qkv[C : C + used, :used] = np.eye(used)
    qkv[2 * C : 2 * C + used : D, used] = 1.0
    weights = {"qkv.weight": qkv, "proj.weight": np.eye(C), "proj.bias": np.zeros(C)}
    return {name: bfloat16(value) for name, value in weights.items()}, bfloat16(x)


def same_mean(one, other):
    """Whether two readings are off by the same on average."""
    if isinstance(one, CheckFailed) or isinstance(other, CheckFailed):
        return False
    return abs(float(np.mean(one["weights"] - other["weights"]))) < 4e-4  # a shorter vector makes 35e-4


@check(
    "bfloat16_rotation",
    "in bfloat16 too, queries and keys are rotated in float32: their lengths stay",
    ("bfloat16_late",),
)
def test_bfloat16_rotation(exam):
    size = SHORTER
    case = size.as_case(dtype="bfloat16", token=size.T - 1)
    weights, x = itself_alone(size)
    expected = weights_in(size, UNIT.reference(size, weights, x, np.array([size.T - 1])))["weights"]
    got = look(exam, case, last_weights, size, weights, x, same=same_mean)["weights"]
    # One weight is off by far more than a shorter vector makes it: q, k, the score (twice, with its scale),
    # the softmax (three operations) and the output are rounded to bfloat16, by 0.018 at most in all. But
    # rounding goes up as often as down, and a table of rounded cosines goes one way: so the mean over many
    # directions and lengths is compared. Hoeffding's bound for a right one, 1e-7.
    unit = EPSILON["bfloat16"] / 2
    of_score = (2 * float(np.log(size.T - 1) + 0.5) + 2 * 2.0) * unit
    most = of_score / 4 + 4 * 0.5 * unit
    allowed = most * math.sqrt(2 * math.log(2 / 1e-7) / expected.size)
    off = float(np.mean(got - expected))
    if not abs(off) <= allowed:
        fail(
            case,
            "After model.to(torch.bfloat16) the rotation changes the lengths of queries and keys. Are cos "
            "and sin in a buffer that is cast with the model, or cast to x's dtype? A product with them "
            "must be in float32, and only its result is rounded.",
            f"the last token's weight on itself is off by {off:+.4f} on average over {expected.size:,} "
            f"random queries; rounding alone averages out to less than {allowed:.4f}",
        )
