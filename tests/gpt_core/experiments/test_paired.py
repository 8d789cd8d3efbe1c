import pytest

from gpt_core.experiments.paired import conclusion, paired_difference, student_quantile


@pytest.mark.parametrize(
    "degrees, confidence, t",
    [
        (1, 0.95, 12.706),
        (2, 0.95, 4.303),
        (3, 0.95, 3.182),
        (4, 0.95, 2.776),
        (9, 0.95, 2.262),
        (30, 0.95, 2.042),
        (2, 0.99, 9.925),
        (7, 0.9, 1.895),
        (1000, 0.95, 1.962),
    ],
)
def test_student_quantiles_are_those_of_the_printed_tables(degrees, confidence, t):
    assert student_quantile(degrees, confidence) == pytest.approx(t, abs=6e-4)


@pytest.mark.parametrize("degrees, confidence", [(0, 0.95), (2, 0.0), (2, 1.0)])
def test_a_quantile_that_does_not_exist_is_refused(degrees, confidence):
    with pytest.raises(ValueError, match="at least 1, and between 0 and 1"):
        student_quantile(degrees, confidence)


def test_the_interval_is_that_of_the_differences_and_not_of_the_losses():
    # The losses scatter by 1, their differences by 0.1: unpaired, the interval would be ten times as wide.
    difference = paired_difference([1.0, 2.0, 3.0], [0.6, 1.5, 2.4])
    assert difference.mean == pytest.approx(-0.5)
    half = 4.302653 * 0.1 / 3**0.5
    assert (difference.low, difference.high) == pytest.approx((-0.5 - half, -0.5 + half))
    assert difference.shown


def test_where_the_interval_contains_0_the_conclusion_says_that_no_difference_is_shown():
    difference = paired_difference([2.0, 2.0, 2.0], [1.9, 2.1, 1.8])
    assert not difference.shown
    assert conclusion("RotaryAttention", difference).startswith("No difference shown")


@pytest.mark.parametrize("shift, word", [(-0.5, "lower"), (0.5, "higher")])
def test_where_it_does_not_the_conclusion_says_which_way_and_by_how_much(shift, word):
    difference = paired_difference([2.0, 2.1, 2.2], [2.0 + shift, 2.11 + shift, 2.2 + shift])
    said = conclusion("RotaryAttention", difference)
    assert said.startswith(f"RotaryAttention has the {word} validation loss here: by 0.")
    assert "does not contain 0" in said


@pytest.mark.parametrize("baseline, feature", [([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0, 3.0])])
def test_one_pair_shows_no_scatter_and_is_refused(baseline, feature):
    with pytest.raises(ValueError, match="two or more: --seeds 3"):
        paired_difference(baseline, feature)
