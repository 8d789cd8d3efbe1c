"""A factor on the scores, on the weights or on the output is recognised by the size that it goes with."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from grader.judge import fits
from grader.judge.fits.factor import SCALES, scaled
from tests.exercises.battery.attention import SCALED, SHOWN, TELLING
from tests.exercises.exam import Numbers
from tests.grader.fits import made

ROOT = "q.shape[-1] ** -0.5"
SOFTMAX = "F.softmax(scores, dim=-1)"


def with_scale(of):
    """Attention whose scores are multiplied by of(size)."""
    return made.numbers(weights=lambda s, size: made.right_weights(s * of(size) * np.sqrt(size.D), size))


@pytest.mark.parametrize(
    "id, of",
    (
        ("no_scale", lambda size: 1.0),
        ("scale_by_width", lambda size: size.n_embd**-0.5),
        ("scale_by_length", lambda size: size.T**-2.0),
        ("scale_by_block_size", lambda size: size.block_size**-0.5),
        ("scale_by_heads", lambda size: size.n_head**-1.0),
        ("scale_by_pairs", lambda size: (size.D / 2) ** -0.5),
        ("scale_times_number", lambda size: np.log(10) / np.sqrt(size.D)),
        ("scale_written_as_number", lambda size: 0.17),
        ("scores_unused", lambda size: 0.0),
    ),
    ids=lambda part: part if isinstance(part, str) else "of",
)
def test_the_scale_of_the_scores_is_named_by_what_it_goes_with(id, of):
    assert made.id_of(with_scale(of)) == id


def test_the_name_holds_the_fitted_value_and_the_right_one():
    fit = fits.explain(with_scale(lambda size: size.n_embd**-0.5))
    assert fit.name == (
        f"the scores are multiplied by 1 / sqrt(C) = {30**-0.5:.4g}, not by 1 / sqrt(D) = {6**-0.5:.4g}"
    )
    assert fit.left < 1 / fits.MARGIN


@pytest.mark.parametrize("power", (-0.4, -0.6, 0.1))
def test_a_power_of_d_that_nobody_would_write_gets_no_name(power):
    assert made.id_of(with_scale(lambda size: size.D**power)) is None


def test_a_factor_behind_the_softmax_is_told_from_one_on_the_scores():
    def moved(scores, size):
        return made.right_weights(scores * np.sqrt(size.D), size) / np.sqrt(size.D)

    def twice(scores, size):
        return made.right_weights(scores, size) / np.sqrt(size.D)

    assert made.id_of(made.numbers(weights=moved)) == "scale_after_softmax"
    assert made.id_of(made.numbers(weights=twice)) == "weights_multiplied"


def test_right_numbers_with_noise_and_random_ones_have_no_factor():
    assert made.id_of(made.numbers(noise=0.5)) is None
    assert made.id_of(made.numbers(noise=50)) is None


@pytest.mark.parametrize("sizes", (SCALED, (*TELLING, SHOWN)), ids=("of the check", "of the looks beside"))
def test_no_two_scales_are_one_for_all_sizes_that_are_looked_at(sizes):
    facts = [SimpleNamespace(**size.facts()) for size in sizes]
    values = {law.words: np.array([float(law.of(one)) for one in facts]) for law in SCALES}
    for (one, first), (other, second) in itertools.combinations(values.items(), 2):
        assert np.abs(first / second - 1).max() > 1e-3, (one, other)


def measured(of, noise=0.0):
    facts = {key: np.array([size.facts()[key] for size in SCALED]) for key in SCALED[0].facts()}
    got = of(SimpleNamespace(**facts)) * np.ones(len(SCALED))
    got = got + noise * np.random.default_rng(0).normal(size=len(got))
    return Numbers("scale", facts["D"] ** -0.5, got, 1e-5, facts)


def test_measured_scales_are_named_and_noisy_ones_are_not():
    for law in SCALES:
        assert made.id_of(measured(law.of)) == law.id, law.words
        assert scaled(law).why.endswith((".", "?"))
    assert made.id_of(measured(lambda sizes: 0.2)) == "scale_written_as_number"
    assert made.id_of(measured(lambda sizes: sizes.D**-0.5)) is None
    assert made.id_of(measured(lambda sizes: sizes.D**-0.4)) is None
    assert made.id_of(measured(lambda sizes: sizes.T**-0.5, noise=1e-3)) is None


def plain(factor, **facts):
    """An output of a module that is no attention, multiplied."""
    expected = np.random.default_rng(0).normal(size=(2, 3, 4))
    return Numbers("output", expected, (expected * factor).astype(np.float32), 1e-5, facts)


def test_whatever_comes_out_is_compared_with_sizes_constants_and_the_share_that_dropout_keeps():
    assert "1 / sqrt(C)" in fits.explain(plain(7**-0.5, C=7)).name
    assert "multiplied by 1 - p = 0.7" in fits.explain(plain(0.7, C=7, p=0.3)).name
    assert "pi / 180" in fits.explain(plain(np.pi / 180)).name
    assert made.id_of(plain(1.234, C=7)) is None


def test_a_factor_with_two_readings_gets_no_name():
    assert made.id_of(plain(2.0, C=7)) == "output_multiplied"
    assert made.id_of(plain(2.0, H=2)) is None


@pytest.mark.parametrize(
    "exercise, id, put",
    (
        ("ex1", "scale_by_length", "T ** -2.0"),
        ("ex4", "scale_by_block_size", "self.future.shape[0] ** -0.5"),
        ("ex1", "scale_written_as_number", "0.3"),
        ("ex4", "scale_times_number", "q.shape[-1] ** -0.5 * 2"),
    ),
)
def test_an_attempt_with_another_scale_is_named_in_every_check_that_hands_numbers_over(
    session, exercise, id, put
):
    found = made.read_off(session, exercise, ((ROOT, put),))
    assert found and {fit and fit.id for fit in found.values()} == {id}


def test_an_attempt_that_divides_the_softmax_is_named(session):
    patches = ((f" * {ROOT}", ""), (SOFTMAX, f"{SOFTMAX} / q.shape[-1] ** 0.5"))
    found = made.read_off(session, "ex1", patches)
    assert {fit and fit.id for fit in found.values()} - {None} == {"scale_after_softmax"}
    # The value is that of the case which the report shows, where D = 8.
    assert f"1 / sqrt(D) = {8**-0.5:.4g}" in found["one_token"].name and found["values"]


@pytest.mark.slow
def test_in_a_whole_grade_the_fit_is_the_one_mistake(session):
    assert made.mistakes(session, "ex1", ((ROOT, "T ** -2.0"),)) == ["scale_by_length"]
