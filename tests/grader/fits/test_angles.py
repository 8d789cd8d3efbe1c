"""Angles and rotations are explained by the parameter that gives all of them, or by nothing."""

import math
import time

import numpy as np
import pytest

from grader.judge.fits import explain
from grader.judge.fits.rotation import turned
from tests.exercises.ex4.readings import allowed_angle, exact_angles
from tests.exercises.exam import Numbers
from tests.grader.fits.attempts import fitted, mistakes_of

CALLS = (((1,), 8, None), ((0, 1, 2, 7), 8, None), ((0, 1, 5), 12, None), ((0, 1, 3), 8, 500.0))
THETA, ANGLES = "base ** (-channels / head_size)", "return positions.float()[:, None] * frequencies"
TURN = "torch.complex(angles.cos(), angles.sin())"
PAIRS, JOIN = (
    "torch.complex(wide[..., 0::2], wide[..., 1::2])",
    "torch.view_as_real(rotated).flatten(-2).to(x.dtype)",
)
HALVES = (
    (PAIRS, "torch.complex(*wide.chunk(2, dim=-1))"),
    (JOIN, "torch.cat([rotated.real, rotated.imag], dim=-1).to(x.dtype)"),
)


def numbers_of(formula, calls=CALLS, noise=0.0):
    """Numbers as a check hands them over; formula(m (T, 1), i (D / 2,), D, the base that was asked for)."""
    rng, expected, got = np.random.default_rng(3), [], []
    for positions, D, base in calls:
        m, i = np.array(positions, dtype=float)[:, None], np.arange(D // 2)
        expected.append(exact_angles(positions, D, base or 10000.0).ravel())
        got.append(np.asarray(formula(m, i, D, base or 10000.0), dtype=np.float64).ravel())
    got = np.concatenate(got)
    got = (got * (1 + noise * rng.uniform(-1, 1, got.shape))).astype(np.float32)
    return Numbers("angles", np.concatenate(expected), got, allowed_angle(np.array([7])), {"calls": calls})


def name_of(numbers):
    fit = explain(numbers)
    return fit and (fit.id, fit.name)


def right(m, i, D, base):
    return m * base ** (-2 * i / D)


def with_default(other):
    """The right formula with another default base."""
    return lambda m, i, D, base: right(m, i, D, other if base == 10000 else base)


@pytest.mark.parametrize(
    "formula, id, said",
    [
        (with_default(777.0), "other_base", "777, not 10,000"),
        (with_default(1000.0), "base_1000", "1,000, not 10,000"),
        (with_default(100.0), "other_base", "100, not 10,000"),
        (lambda m, i, D, base: right(m, i, D, 1e4), "base_ignored", "10,000 whatever"),
        (lambda m, i, D, base: right(m, i, D, 123.4), "base_fixed", "123.4 whatever"),
        (lambda m, i, D, base: right(m, i, D, 3 * base), "base_scaled", "3 times"),
        (lambda m, i, D, base: m * base ** (-i / D), "exponent_halved", "-i / D"),
        (lambda m, i, D, base: m * base ** (-3 * i / D), "exponent_factor", "-3i / D"),
        (lambda m, i, D, base: m * base ** (-(2 * i + 1) / D), "exponent_offset", "-(2i + 1) / D"),
        (lambda m, i, D, base: m * base ** (-2 * i / (D - 1)), "exponent_denominator", "-2i / (D - 1)"),
        (lambda m, i, D, base: m * base ** (-i / (D / 2 - 1)), "exponent_to_the_end", "both ends"),
        (lambda m, i, D, base: m * base ** (-2 * i / 32), "exponent_of_one_size", "-2i / 32"),
        (lambda m, i, D, base: m * base ** (-(i + 1) / D), "exponent_wrong", "-(i + 1) / D"),
        (lambda m, i, D, base: right(m, i, D, base)[:, ::-1], "frequencies_reversed", "reverse"),
        (lambda m, i, D, base: right(-m, i, D, base), "angles_negative", "negative"),
        (lambda m, i, D, base: right(m + 1, i, D, base), "positions_from_one", "from 1"),
        (lambda m, i, D, base: right(m + 2, i, D, base), "positions_moved", "from 2"),
        (lambda m, i, D, base: right(m * 180 / math.pi, i, D, base), "angles_in_degrees", "degrees"),
        (lambda m, i, D, base: right(m * 2 * math.pi, i, D, base), "angles_scaled", "2 pi times"),
        (lambda m, i, D, base: right(m * 0.125, i, D, base), "angles_scaled", "0.125 times"),
        (lambda m, i, D, base: right(m / len(m), i, D, base), "positions_normalised", "number of positions"),
    ],
)  # fmt: skip
def test_the_parameter_of_wrong_angles_is_found(formula, id, said):
    found = name_of(numbers_of(formula))
    assert found is not None and found[0] == id and said in found[1]


@pytest.mark.parametrize("noise", [0.0, 1e-7, 5e-7])
def test_right_angles_have_no_fit(noise):
    assert explain(numbers_of(right, noise=noise)) is None


@pytest.mark.parametrize("seed", range(20))
def test_random_angles_have_no_fit(seed):
    rng = np.random.default_rng(seed)
    some = rng.uniform(0.1, 10.0, size=8)  # each pair at a frequency of its own
    assert explain(numbers_of(lambda m, i, D, base: rng.normal(size=(len(m), len(i))))) is None
    assert explain(numbers_of(lambda m, i, D, base: right(m, i, D, base) * some[: len(i)])) is None


def test_angles_that_only_nearly_follow_a_formula_have_no_fit():
    assert explain(numbers_of(lambda m, i, D, base: right(m, i, D, 777.0), noise=1e-3)) is None
    # two mistakes at once, of which no single parameter gives all numbers
    assert explain(numbers_of(lambda m, i, D, base: 0.5 * m * 777.0 ** (-3 * i / D))) is None


def test_one_table_alone_does_not_tell_a_base_from_an_exponent():
    numbers = numbers_of(lambda m, i, D, base: m * base ** (-i / D), CALLS[:2])
    assert explain(numbers) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1e30, 3e38])
def test_numbers_that_make_no_sense_are_no_error(value):
    assert explain(numbers_of(lambda m, i, D, base: np.full((len(m), len(i)), value))) is None


# Rotations.

GIVEN = np.array([[0.7, -1.9, 2.6, 0.3], [1.3, 0.4, -0.9, 2.1]])


def rotation(got, noise=0.0):
    got = got + noise * np.random.default_rng(1).uniform(-1, 1, got.shape)
    return Numbers("rotation", turned(GIVEN, GIVEN), got.astype(np.float32), 5e-6, {"angles": GIVEN})


@pytest.mark.parametrize(
    "got, id, said",
    [
        (turned(GIVEN, GIVEN, turn="rotated_backwards"), "rotated_backwards", "other direction"),
        (turned(GIVEN, GIVEN, "half_split"), "half_split", "another layout"),
        (turned(GIVEN, GIVEN, "half_split", "rotated_backwards"), "half_split_backwards", "other direction"),
        (turned(GIVEN, GIVEN, "half_split", "sign_missing"), "half_split_with_other_signs", "a plus"),
        (turned(GIVEN, GIVEN, turn="sign_twice"), "sign_twice", "a minus"),
        (turned(GIVEN, GIVEN, turn="second_cos_negative"), "second_cos_negative", "second channel"),
        (turned(2 * GIVEN, 2 * GIVEN), "rotated_by_a_multiple", "2 times"),
        (turned(0.3 * GIVEN, 0.3 * GIVEN), "rotated_by_a_multiple", "0.3 times"),
        (turned(np.deg2rad(GIVEN), np.deg2rad(GIVEN)), "rotated_by_a_multiple", "pi / 180"),
        (turned(GIVEN[:, ::-1], GIVEN[:, ::-1]), "angles_of_pairs_reversed", "reverse"),
        (1.5 * turned(GIVEN, GIVEN), "rotation_scaled", "1.5 times"),
        (turned(GIVEN * [1, 1, 1, 0], GIVEN * [1, 1, 1, 0]), "last_pair_skipped", "last pair"),
        (turned(GIVEN * [0, 1, 1, 0], GIVEN * [0, 1, 1, 0]), "pairs_left_out", "the pairs 0, 3 are"),
    ],
)  # fmt: skip
def test_the_layout_the_signs_and_the_multiple_of_a_rotation_are_found(got, id, said):
    found = name_of(rotation(got, 1e-6))
    assert found is not None and found[0] == id and said in found[1]


def test_right_and_random_rotations_have_no_fit():
    assert explain(rotation(turned(GIVEN, GIVEN), 1e-6)) is None
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert explain(rotation(rng.normal(size=(2, 8, 8)))) is None
        other = rng.uniform(-3, 3, size=(2, 4))  # a rotation, and by none of these angles
        assert explain(rotation(turned(other, other))) is None


def test_a_fit_takes_less_than_50_ms():
    worst = 0.0
    for numbers in (
        numbers_of(lambda m, i, D, base: m * np.sin(i + D)),
        rotation(np.random.default_rng(0).normal(size=(2, 8, 8))),
    ):
        explain(numbers)  # the catalogue is read once
        began = time.process_time()
        explain(numbers)
        worst = max(worst, time.process_time() - began)
    assert worst < 0.05


# From an attempt to the name.


@pytest.mark.slow
def test_a_base_and_a_multiple_of_the_angles_are_both_named(session):
    patches = (
        ("base: float = 10000.0", "base: float = 777.0"),
        (f"points * {TURN}", "points * torch.polar(torch.ones_like(angles), 2 * angles)"),
    )
    assert mistakes_of(session, "ex4", *patches) == ["other_base", "rotated_by_a_multiple"]


def test_positions_from_two_and_halves_that_are_turned_backwards_are_both_named(session):
    patches = (
        (ANGLES, ANGLES.replace("positions.float()", "(positions.float() + 2)")),
        *HALVES,
        (TURN, "torch.complex(angles.cos(), -angles.sin())"),
    )
    assert mistakes_of(session, "ex4", *patches) == ["positions_moved", "half_split_backwards"]


@pytest.mark.parametrize(
    "id, check, find, put",
    [
        ("exponent_factor", "angles_spectrum", THETA, "base ** (-1.5 * channels / head_size)"),
        ("exponent_denominator", "angles_spectrum", THETA, "base ** (-channels / (head_size - 1))"),
        ("base_scaled", "angles_spectrum", THETA, "(2 * base) ** (-channels / head_size)"),
        ("angles_scaled", "angles_spectrum", ANGLES, f"{ANGLES} * 0.25"),
        (
            "pairs_left_out",
            "rope_pairs",
            f"points * {TURN}",
            f"torch.cat([points[..., :1], (points * {TURN})[..., 1:]], -1)",
        ),
        ("rotation_scaled", "rope_norms", f"points * {TURN}", f"2 * points * {TURN}"),
        ("other_base", "angles_spectrum", "base: float = 10000.0", "base: float = 100.0"),
    ],
)
def test_a_mistake_of_no_catalogue_is_read_off_a_failed_check(session, id, check, find, put):
    assert fitted(session, "ex4", check, (find, put)).id == id
