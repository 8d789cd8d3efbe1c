"""Masks, softmaxes and weights that are not used are read off attention matrices and outputs."""

import numpy as np
import pytest

from grader.judge import fits
from grader.judge.fits import attention
from grader.judge.fits.hypotheses import cases
from tests.exercises.battery.module import Size
from tests.grader.fits import made

MASK = 'scores.masked_fill(self.future[:T, :T], float("-inf"))'
LINE = f"        scores = {MASK}\n"
SOFTMAX = "F.softmax(scores, dim=-1)"
SCALE = "q.shape[-1] ** -0.5"
OUT = "out = weights @ v"


def with_mask(seen=None, fill=-np.inf):
    """Attention whose mask keeps `seen` (T, T), or fills with another number."""

    def weights(scores, size):
        kept = np.tri(size.T, dtype=bool) if seen is None else seen(size.T)
        with np.errstate(all="ignore"):
            scores = np.where(kept, scores / np.sqrt(size.D), fill)
            return np.array([made.softmax(row) for row in scores])

    return weights


def after(value):
    def weights(scores, size):
        all_seen = with_mask(lambda T: np.ones((T, T)))(scores, size)
        return np.where(np.tri(size.T), all_seen, value)

    return weights


@pytest.mark.parametrize(
    "id, weights, words",
    (
        ("no_mask", with_mask(lambda T: np.ones((T, T), dtype=bool)), "no causal mask"),
        ("mask_transposed", with_mask(lambda T: np.tri(T, dtype=bool).T), "transposed"),
        ("mask_one_ahead", with_mask(lambda T: np.tri(T, k=1, dtype=bool)), "the next one"),
        ("mask_shifted", with_mask(lambda T: np.tri(T, k=2, dtype=bool)), "the next 2"),
        ("mask_hides_itself", with_mask(lambda T: np.tri(T, k=-1, dtype=bool)), "does not see itself"),
        ("window_of_few_tokens", with_mask(lambda T: np.tri(T) - np.tri(T, k=-3) > 0), "last 3 tokens"),
        ("sees_itself_only", with_mask(lambda T: np.eye(T, dtype=bool)), "its own value"),
        ("mask_filled_with_zero", with_mask(fill=0.0), "set to 0"),
        ("mask_filled_with_number", with_mask(fill=-5.0), "set to -5"),
        ("mask_filled_with_number", with_mask(fill=-2.35), "set to -2.35"),
        ("mask_after_softmax", after(0.0), "set to 0"),
        ("mask_after_softmax", after(0.25), "set to 0.25"),
        (
            "mean_of_all_tokens",
            lambda scores, size: np.full((size.T, size.T), 1 / size.T),
            "plain mean of all",
        ),
        ("values_summed", lambda scores, size: np.tri(size.T), "without weights"),
        ("weights_transposed", lambda scores, size: made.right_weights(scores, size).T, "transposed"),
        ("softmax_over_queries", lambda scores, size: over_queries(scores, size), "over the queries"),
    ),
)
def test_what_the_weights_are_is_named_with_its_parameter(id, weights, words):
    fit = fits.explain(made.numbers(weights=weights))
    assert fit is not None and fit.id == id and words in fit.name
    assert fit.why.endswith((".", "?"))


def over_queries(scores, size):
    masked = np.where(np.tri(size.T), scores / np.sqrt(size.D), -np.inf)
    return np.array([made.softmax(column) for column in masked.T]).T


def test_two_mistakes_at_once_are_named_by_the_one_to_be_mended_first():
    def weights(scores, size):
        return with_mask(lambda T: np.ones((T, T), dtype=bool))(scores * np.sqrt(size.D), size)

    fit = fits.explain(made.numbers(weights=weights))
    assert fit.id == "no_mask" and "not scaled" in fit.name


UNKNOWN = {
    "blocks of three tokens": with_mask(
        lambda T: np.tri(T) * (np.arange(T)[:, None] // 3 == np.arange(T) // 3) > 0
    ),
    "scores that are clipped": lambda scores, size: made.right_weights(np.clip(scores, -1, 1), size),
    "the first half of the scores": lambda scores, size: made.right_weights(
        scores * (np.arange(size.T) < size.T // 2), size
    ),
    "random weights": lambda scores, size: np.random.default_rng(0).normal(size=scores.shape),
    "NaN everywhere": lambda scores, size: np.full(scores.shape, np.nan),
    "zeros": lambda scores, size: 0 * scores,
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_no_family_knows_gets_no_name(what):
    assert made.id_of(made.numbers(weights=UNKNOWN[what])) is None


def test_right_numbers_with_noise_have_no_name_and_a_mistake_with_noise_keeps_its_own():
    assert made.id_of(made.numbers(noise=0.5)) is None
    assert made.id_of(made.numbers(noise=0.5, weights=with_mask(fill=-1.0))) == "mask_filled_with_number"


def test_a_mistake_that_explains_one_case_alone_is_not_named():
    # The mask is missing at one length, and right in the looks beside.
    given = made.numbers(
        weights=lambda scores, size: (
            with_mask(lambda T: np.ones((T, T)) > 0) if size.T == made.SIZE.T else made.right_weights
        )(scores, size)
    )
    assert made.id_of(given) is None


def test_a_window_in_a_long_text_is_found_to_the_token():
    # Shorter texts than the window are right, so that the long one is all there is.
    size = Size(B=1, T=150, n_embd=4, n_head=2, block_size=200)
    weights = with_mask(lambda T: np.tri(T) - np.tri(T, k=-90) > 0)
    fit = fits.explain(made.numbers(size=size, weights=weights))
    assert fit.id == "window_of_few_tokens" and "last 90 tokens" in fit.name
    given = made.numbers(size=size, weights=weights)
    assert all(len(case.rows) < 12 for case in cases(given) if case.long)


def test_every_plain_variation_has_a_name_of_its_own():
    plain = attention.plain()
    named = [variation.name for variation in plain]
    assert len(set(named)) == len(named)


ATTEMPTS = {
    "a window of three tokens": (
        "ex1",
        ((MASK, f'{MASK}.masked_fill(~torch.ones_like(self.future[:T, :T]).triu(-2), float("-inf"))'),),
        "window_of_few_tokens",
    ),
    "a mask value of -5": (
        "ex4",
        ((MASK, MASK.replace('float("-inf")', "-5.0")),),
        "mask_filled_with_number",
    ),
    "one element of the mask": (
        "ex1",
        ((MASK, MASK.replace("[:T, :T]", "[None, None, T - 1, T - 1]")),),
        "no_mask",
    ),
    "one element of the mask hides all": (
        "ex1",
        (
            (
                MASK,
                MASK.replace("self.future[:T, :T]", "~self.future[T - 1, T - 1]").replace('"-inf"', '"-1e9"'),
            ),
        ),
        "mean_of_all_tokens",
    ),
    "masked_fill whose result is not used": ("ex4", ((LINE, f"        {MASK}\n"),), "no_mask"),
    "weights that are never used": ("ex1", ((OUT, "out = v"),), "sees_itself_only"),
    "scores that are never used": ("ex4", ((SCALE, "0.0"),), "scores_unused"),
    "-20 is a number": ("ex1", ((MASK, MASK.replace('float("-inf")', "-200.0")),), "mask_is_a_finite_number"),
}


@pytest.mark.parametrize("what", ATTEMPTS)
def test_an_attempt_is_named_alike_in_every_check_that_hands_numbers_over(session, what):
    made.assert_named_alike(session, *ATTEMPTS[what])


@pytest.mark.slow
def test_in_a_whole_grade_the_fit_is_the_one_mistake(session):
    patches = ((MASK, MASK.replace('float("-inf")', "-5.0")),)
    assert made.mistakes(session, "ex4", patches) == ["mask_filled_with_number"]
