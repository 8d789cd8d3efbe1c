"""Dropout is explained by the share that it drops and the factor of what it keeps, where chance leaves no
doubt."""

import time

import numpy as np
import pytest

from grader.judge.fits import explain
from tests.exercises.exam import Numbers
from tests.grader.fits.attempts import fitted, mistakes_of

P = np.array([0.3, 0.4])
HEADS, ELEMENTS = 1900, 16000
RIGHT = (P, 1 / (1 - P))
WEIGHTS = "self.weight_dropout = nn.Dropout(config.dropout)"
OUTPUT = "self.output_dropout = nn.Dropout(config.dropout)"
DROPPED, SOFTMAX = "weights = self.weight_dropout(weights)", "weights = F.softmax(scores, dim=-1)"


def numbers_of(weights=RIGHT, output=RIGHT, seed=0, two=(1.43, 2.1, 2.9, 4.0)):
    """As a check hands them over: shares and factors of both places for each p, the shares drawn."""
    rng, columns = np.random.default_rng(seed), []
    for (shares, factors), draws in ((weights, HEADS), (output, ELEMENTS)):
        columns += [rng.binomial(draws, shares * np.ones(2)) / draws, np.round(factors * np.ones(2), 3)]
    expected = np.stack([P, 1 / (1 - P)] * 2, axis=1)
    facts = {"p": tuple(P), "draws": (HEADS, ELEMENTS), "two": np.array(two)}
    return Numbers("dropout", expected, np.stack(columns, axis=1), facts=facts)


def of(q):
    """Dropout with probability q: its share and its factor."""
    return q * np.ones(2), 1 / (1 - q * np.ones(2))


@pytest.mark.parametrize(
    "weights, output, id, said",
    [
        (of(0.1), of(0.1), "dropout_written_as_number", "written as a number, 0.1"),
        (of(0.5), of(0.5), "dropout_written_as_number", "written as a number, 0.5"),
        (RIGHT, of(0.5), "dropout_default_on_output", "the output is dropped with 0.5"),
        (of(0.5), RIGHT, "dropout_default_on_weights", "the attention weights are dropped with 0.5"),
        (of(0.2), RIGHT, "dropout_written_as_number", "on the attention weights is written as a number, 0.2"),
        (of(1 - P), of(1 - P), "dropout_inverted", "the share that is kept"),
        (of(1 - (1 - P) ** 2), RIGHT, "dropout_twice", "twice to the attention weights"),
        (of(P / 2), of(P / 2), "dropout_p_scaled", "0.5 times"),
        ((P, 1.0), RIGHT, "dropout_weights_not_rescaled", "not divided"),
        ((P, 1.0), (P, 1.0), "dropout_not_rescaled", "neither"),
        (RIGHT, (P, 1 / P), "dropout_rescaled_otherwise", "1 / p"),
        ((1 - P, 1 / (1 - P)), RIGHT, "dropout_mask_inverted", "keeps a share of p"),
        (RIGHT, (0.0, 1.0), "dropout_on_output_missing", "no dropout on the output"),
    ],
)  # fmt: skip
def test_which_dropout_it_is_and_where_is_found(weights, output, id, said):
    for seed in range(5):
        fit = explain(numbers_of(weights, output, seed))
        assert fit is not None and fit.id == id and said in fit.name


def test_right_dropout_has_no_fit_however_the_shares_fall():
    assert not any(explain(numbers_of(seed=seed)) for seed in range(300))


def test_shares_and_factors_that_do_not_belong_together_have_no_fit():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        shares, factors = rng.uniform(0.05, 0.95, size=2), rng.uniform(1.05, 5.0, size=2)
        assert explain(numbers_of((shares, factors), seed=seed)) is None
    # A factor of 1 / 0.9, of which a third and not a tenth is dropped.
    assert explain(numbers_of((P, 1 / 0.9))) is None


def test_two_different_mistakes_in_two_places_have_no_common_name():
    assert explain(numbers_of(of(0.1), of(0.5))) is None


def test_dropped_scores_show_in_the_softmax_of_two_tokens():
    factor, kept = 1 / 0.7, 1 / (1 + np.exp(-1 / 0.9))  # of a score of 1, divided by 0.9
    levels = sorted(factor * (4 - 2 * share) for share in (0.5, kept))
    assert explain(numbers_of((0.0, 1.0), two=levels)).id == "dropout_on_scores"
    levels[1] += 0.1  # the softmax of something else
    assert explain(numbers_of((0.0, 1.0), two=levels)).id == "dropout_on_weights_missing"


def nan_numbers(shares):
    return Numbers("dropout_nan", np.zeros(2), np.array(shares), facts={"p": 0.3, "H": 4, "draws": 500})


def test_nan_is_explained_where_it_comes_as_often_as_a_masked_score_is_dropped():
    assert explain(nan_numbers([0.75, 0.0])).id == "dropout_on_scores"
    for shares in ([1.0, 0.0], [0.3, 0.0], [0.75, 0.1], [0.0, 0.75]):
        assert explain(nan_numbers(shares)) is None


def test_numbers_that_make_no_sense_are_no_fit_and_no_error():
    for value in (np.nan, np.inf, 0.0, -1.0, 1e30):
        numbers = numbers_of()
        numbers.got[:] = value
        assert explain(numbers) is None or value == 0.0


def test_a_fit_takes_less_than_50_ms():
    numbers = numbers_of(of(0.1), of(0.1))
    explain(numbers)
    began = time.process_time()
    explain(numbers)
    assert time.process_time() - began < 0.05


# From an attempt to the name.


def written(number):
    return (
        (WEIGHTS, f"self.weight_dropout = nn.Dropout({number})"),
        (OUTPUT, OUTPUT.replace("config.dropout", number)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", ["0.1"])
def test_a_number_in_the_place_of_config_dropout_is_named_with_its_value(session, number):
    assert mistakes_of(session, "ex1", *written(number)) == ["dropout_written_as_number"]


@pytest.mark.parametrize(
    "id, check, patches",
    [
        ("dropout_written_as_number", "dropout_output", written("0.2")[1:]),
        ("dropout_p_scaled", "dropout_weights", written("config.dropout / 2")),
        (
            "dropout_twice",
            "dropout_weights",
            [(DROPPED, "weights = self.weight_dropout(self.weight_dropout(weights))")],
        ),
        (
            "dropout_on_scores",
            "dropout_weights",
            [(DROPPED, "pass"), (SOFTMAX, f"scores = self.weight_dropout(scores)\n        {SOFTMAX}")],
        ),
    ],
)
def test_a_mistake_of_no_catalogue_is_read_off_a_failed_check(session, id, check, patches):
    assert fitted(session, "ex1", check, *patches).id == id
