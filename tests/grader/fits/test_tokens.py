"""Text, batches and draws of exercise 2 are explained by the one thing that is changed in the format."""

import time
from dataclasses import replace

import numpy as np
import pytest

from grader.judge.fits import explain
from grader.judge.fits.tokens import ANSWERS, OPERANDS, RIGHT, part_of
from tests.exercises.ex2.checks import EXAMPLES
from tests.exercises.ex2.readings import Problems, batch, tokens
from tests.exercises.exam import Numbers
from tests.grader.fits.attempts import fitted, mistakes_of

N = 3
A, B = Problems(n_digits=N, B=5).numbers()
ROWS = tokens(A, B, N)
FIRST = 2 * N + 1  # the place of the first target that counts

TEXT = 'f"{a:0{n_digits}d}+{b:0{n_digits}d}={answer}"'
X_AND_Y = "x, y = tokens[:, :-1], tokens[:, 1:].clone()"
MASK = "    y[:, : 2 * n_digits + 1] = -1\n"
MEAN = "total / (flat != -1).sum().clamp(min=1)"
DRAW = "torch.randint(0, 10**n_digits, (2, missing + missing // 4 + 8), generator=generator)"


def text_numbers(part, write):
    parts = [[part_of(one(*problem), part) for problem in EXAMPLES] for one in (RIGHT.write, write)]
    return Numbers("text", *map(np.array, parts), facts={"part": part, "problems": EXAMPLES})


@pytest.mark.parametrize("part, changes", [("problem", OPERANDS), ("answer", ANSWERS)])
def test_each_change_of_the_format_is_told_from_all_others(part, changes):
    for change, id, _, name in changes:
        fit = explain(text_numbers(part, replace(RIGHT, **change).write))
        assert fit is not None and (fit.id, fit.name) == (id, name)


def test_right_text_and_text_that_is_wrong_in_two_ways_have_no_fit():
    for part in ("problem", "answer"):
        assert explain(text_numbers(part, RIGHT.write)) is None
        assert explain(text_numbers(part, lambda a, b, n: f"{b}+{a:>{n}d}={a * b}")) is None


def batch_numbers(x, y):
    expected = np.stack(batch(A, B, N))
    return Numbers("tokens", expected, np.stack([x, y]), facts={"a": A, "b": B, "n_digits": N})


def masked(places, shift=1, value=-1, rows=ROWS):
    """y, where these places have the token `shift` places on, and all others the mask's value."""
    y = np.full((len(rows), 3 * N + 2), value)
    for place in places:
        if place + shift < rows.shape[1]:
            y[:, place] = rows[:, place + shift]
    return y


WIDTH = 3 * N + 2
COUNT = range(FIRST, WIDTH)


@pytest.mark.parametrize(
    "y, id, said",
    [
        (masked(COUNT, shift=2), "targets_shifted_too_far", "shifted by 2 places, not by 1"),
        (masked(COUNT, shift=3), "targets_shifted_too_far", "shifted by 3 places"),
        (masked(COUNT, shift=0), "targets_not_shifted", "the tokens themselves"),
        (masked(COUNT, shift=-1), "targets_shifted_back", "the tokens before"),
        (masked(range(FIRST + 1, WIDTH)), "targets_one_late", "one place late"),
        (masked(range(FIRST + 3, WIDTH)), "targets_late", "three places late"),
        (masked(range(FIRST - 1, WIDTH)), "targets_one_early", "one place early"),
        (masked(range(FIRST - 2, WIDTH)), "mask_without_symbols", 'without "+" and "="'),
        (masked(range(FIRST - 3, WIDTH)), "targets_early", "three places early"),
        (masked(range(WIDTH)), "nothing_masked", "every token"),
        (masked([]), "everything_masked", "no target counts"),
        (masked(range(FIRST)), "mask_inverted", "the problem is taught"),
        (masked(range(FIRST, WIDTH - 2)), "targets_end_early", "the last 2 digits"),
        (masked(range(FIRST - 1, WIDTH - 1)), "targets_moved", "one place early"),
        (masked(COUNT, value=-2), "mask_value", "-2, not -1"),
        (masked(COUNT, value=-100), "mask_minus_100", "-100"),
    ],
)
def test_the_shift_the_places_and_the_value_of_the_mask_are_found(y, id, said):
    fit = explain(batch_numbers(ROWS[:, :-1], y))
    assert fit is not None and fit.id == id and said in fit.name


@pytest.mark.parametrize("change, id, name", [(c[0], c[2], c[3]) for c in (*OPERANDS, *ANSWERS) if c[2]])
def test_a_batch_in_another_format_is_told_from_all_others(change, id, name):
    texts = [replace(RIGHT, **change).write(int(a), int(b), N) for a, b in zip(A, B)]
    rows = np.array([["0123456789+=".index(char) for char in text] for text in texts])
    fit = explain(batch_numbers(rows[:, :-1], masked(COUNT, rows=rows)))
    assert fit is not None and fit.id == id and fit.name.startswith(name)


def test_right_batches_random_ones_and_two_changes_at_once_have_no_fit():
    x, y = batch(A, B, N)
    assert explain(batch_numbers(x, y)) is None
    assert explain(batch_numbers(x, masked(range(FIRST + 1, WIDTH), shift=2))) is None
    assert explain(batch_numbers(x, masked(range(FIRST - 1, WIDTH), value=-2))) is None
    for seed in range(100):
        rng = np.random.default_rng(seed)
        assert explain(batch_numbers(rng.integers(0, 12, x.shape), y)) is None
        assert explain(batch_numbers(x, rng.integers(-1, 12, y.shape))) is None


@pytest.mark.parametrize(
    "ahead, id", [(0, "target_is_the_same_token"), (2, "target_two_ahead"), (3, "target_further_ahead")]
)
def test_what_is_taught_is_named_by_its_distance(ahead, id):
    assert explain(Numbers("ahead", np.array([1]), np.array([ahead]))).id == id
    assert explain(Numbers("ahead", np.array([1]), np.array([-1]))) is None


def drawn(draw, seed=0, count=20_000):
    rng = np.random.default_rng(seed)
    return Numbers(
        "drawn", np.array([0, 999]), np.stack([draw(rng, count) for _ in "ab"]), facts={"n_digits": 3}
    )


def with_length(rng, count):
    return rng.integers(0, 10 ** rng.integers(1, 4, count))


def of_length(rng, count):
    length = rng.integers(1, 4, count)
    return rng.integers(np.where(length == 1, 0, 10 ** (length - 1)), 10**length)


@pytest.mark.parametrize(
    "draw, id, said",
    [
        (with_length, "lengths_drawn_first", "digits is drawn first"),
        (of_length, "lengths_drawn_first", "digits is drawn first"),
        (lambda rng, count: rng.integers(0, 500, count), "drawn_in_other_bounds", "from 0 to 499"),
        (lambda rng, count: rng.integers(100, 1000, count), "drawn_in_other_bounds", "from 100 to 999"),
        (lambda rng, count: rng.integers(0, 99, count), "drawn_in_other_bounds", "from 0 to 98"),
        (lambda rng, count: rng.integers(0, 999, count), "largest_never_drawn", "largest number"),
        (lambda rng, count: rng.integers(1, 1000, count), "zero_never_drawn", "0 is never drawn"),
    ],
)
def test_the_way_of_drawing_is_read_off_the_lengths_and_bounds(draw, id, said):
    fit = explain(drawn(draw))
    assert fit is not None and fit.id == id and said in fit.name


def test_right_draws_and_other_distributions_have_no_fit():
    assert not any(
        explain(drawn(lambda rng, count: rng.integers(0, 1000, count), seed)) for seed in range(50)
    )
    assert explain(drawn(lambda rng, count: (1000 * rng.beta(2, 2, count)).astype(int))) is None
    assert explain(drawn(lambda rng, count: rng.integers(0, 1000, count) // 2 * 2)) is None
    assert explain(drawn(lambda rng, count: np.minimum(rng.integers(0, 1000, count), 600))) is None


def test_a_fit_takes_less_than_50_ms():
    x, y = batch(A, B, N)
    for numbers in (
        batch_numbers(x, y[::-1]),
        drawn(with_length),
        text_numbers("problem", lambda a, b, n: "?"),
    ):
        explain(numbers)
        began = time.process_time()
        explain(numbers)
        assert time.process_time() - began < 0.05


# From an attempt to the name.


def test_four_mistakes_of_no_catalogue_in_four_functions_are_all_named(session):
    patches = (
        (TEXT, 'f"{a:0{n_digits}d}+" + f"{b:0{n_digits}d}"[::-1] + f"={answer}"'),
        (X_AND_Y, "x, y = tokens[:, :-1], torch.roll(tokens, -2, 1)[:, :-1].clone()"),
        (MEAN, "3 * total / flat.numel()"),
        (DRAW, DRAW.replace("10**n_digits", "10**n_digits // 2")),
    )
    wanted = [
        "one_operand_reversed",
        "targets_shifted_too_far",
        "loss_over_all_positions",
        "drawn_in_other_bounds",
    ]
    assert mistakes_of(session, "ex2", *patches) == wanted


@pytest.mark.parametrize(
    "id, check, find, put",
    [
        ("mask_without_symbols", "batch_places", MASK, MASK.replace("+ 1", "- 1")),
        ("targets_late", "batch_places", MASK, MASK.replace("+ 1", "+ 3")),
        ("mask_value", "batch_places", MASK, MASK.replace("-1", "-7")),
        (
            "zeros_behind",
            "encode_problem_part",
            TEXT,
            '"{:0<{n}}+{:0<{n}}={}".format(str(a), str(b), answer, n=n_digits)',
        ),
    ],
)
def test_a_mistake_of_no_catalogue_is_read_off_a_failed_check(session, id, check, find, put):
    assert fitted(session, "ex2", check, (find, put)).id == id
