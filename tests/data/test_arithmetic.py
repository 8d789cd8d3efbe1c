"""The calculator: a fixed tenth of each operator's problems is held out, balanced, the same everywhere."""

import pytest
import torch

from data.arithmetic import OPERATORS, RANGES, VOCABULARY, held_out, is_held_out, sample_held_out

# How far the share held out of a part of an operator's problems may be from a tenth; products are few.
ALLOWED = {"+": 0.003, "-": 0.003, "*": 0.02, "/": 0.004}


def all_problems(op):
    largest_a, smallest_b, largest_b = RANGES[op]
    return torch.meshgrid(torch.arange(largest_a + 1), torch.arange(smallest_b, largest_b + 1), indexing="ij")


def groups(op, a, b):
    """How problems differ, as {name: (N,) long}: their digits, and what is carried, borrowed or left over."""
    found = {
        "last digit of a": a % 10,
        "last digit of b": b % 10,
        "first digit of a": a // (RANGES[op].largest_a // 9),
    }
    if op in "+-":
        carry, pattern = torch.zeros_like(a), torch.zeros_like(a)
        for power in (1, 10, 100):
            one, other = a // power % 10, b // power % 10
            carry = (one + other + carry) // 10 if op == "+" else (one - other - carry < 0).long()
            pattern = 2 * pattern + carry
        found["carries" if op == "+" else "borrows"] = pattern
    if op == "*":
        found["partial products of three digits"] = (a * (b % 10) >= 100) + 2 * (a * (b // 10) >= 100)
    if op == "/":
        found["zeros in the quotient"] = torch.stack([a // b // 10**k % 10 == 0 for k in range(4)]).sum(0)
        found["whether something is left"] = (a % b > 0).long()
    return found


def test_the_vocabulary_is_the_digits_the_operators_and_the_marks_of_a_trace():
    assert VOCABULARY == "0123456789+-*/=,;" and len(VOCABULARY) == 17


def test_the_split_is_the_one_that_saved_models_were_measured_with():
    # Literal values: another torch, platform or device must give the same.
    assert [a for a in range(60) if is_held_out(a, "+", a + 3)] == [12, 15, 18, 23, 40, 42, 48, 52]
    assert [a for a in range(60) if is_held_out(a, "-", a + 3)] == [28, 48, 55, 58]
    assert [a for a in range(60) if is_held_out(a, "*", a + 3)] == [7, 19, 23, 29, 56]
    assert [a for a in range(9000, 9060) if is_held_out(a, "/", 83)] == [9010, 9023, 9041, 9043, 9050, 9058]


@pytest.mark.parametrize("op", OPERATORS)
def test_a_tenth_is_held_out_whatever_the_digits_and_the_carries(op):
    a, b = all_problems(op)
    counted = (a >= 10) | (b >= 10)
    held = held_out(a, op, b)[counted].float()
    assert abs(held.mean() - 0.1) < ALLOWED[op] / 2
    for name, group in groups(op, a, b).items():
        group = group[counted]
        for value in group.unique():
            share = held[group == value]
            allowed = ALLOWED[op] + 4 * (0.09 / len(share)) ** 0.5
            assert abs(share.mean() - 0.1) < allowed, f"{op}: {name} {value}: {share.mean()}"


@pytest.mark.parametrize("op", "*/")
def test_no_number_loses_too_many_of_its_problems(op):
    a, b = all_problems(op)
    held, counted = held_out(a, op, b).float(), (a >= 10) | (b >= 10)
    shares = held.sum(dim=0) / counted.sum(dim=0)  # by b
    assert 0 < shares.min() and shares.max() < 0.2


def test_the_order_makes_no_difference_to_sums_and_products_alone():
    for op in "+*":
        a, b = all_problems(op)
        assert torch.equal(held_out(a, op, b), held_out(b, op, a))
    a, b = all_problems("-")
    assert not torch.equal(held_out(a, "-", b), held_out(b, "-", a))


@pytest.mark.parametrize("op", OPERATORS)
def test_problems_of_one_digit_are_for_training(op):
    a, b = torch.meshgrid(torch.arange(10), torch.arange(RANGES[op].smallest_b, 10), indexing="ij")
    assert not held_out(a, op, b).any()


@pytest.mark.parametrize("op", OPERATORS)
def test_one_problem_and_many_agree(op):
    a, b = (side.flatten()[::97] for side in all_problems(op))
    assert held_out(a, op, b).tolist() == [is_held_out(i, op, j) for i, j in zip(a.tolist(), b.tolist())]


@pytest.mark.parametrize(
    "a, op, b, words",
    [
        (1, "%", 2, "operator is '%'"),
        (1, "", 2, "operator is ''"),
        (1000, "+", 1, "a is 1000; with '\\+' it must lie from 0 to 999"),
        (1, "-", 1000, "b is 1000"),
        (-1, "-", 1, "a is -1"),
        (100, "*", 1, "from 0 to 99"),
        (10000, "/", 1, "from 0 to 9999"),
        (5, "/", 0, "b is 0; with '/' it must lie from 1 to 99"),
        (5, "/", 100, "b is 100"),
        (1.0, "+", 1, "whole number"),
        (True, "+", 1, "whole number"),
        (torch.tensor(3), "+", 1, "whole number"),
    ],
)
def test_what_is_no_problem_is_one_clear_sentence(a, op, b, words):
    with pytest.raises(ValueError, match=words):
        is_held_out(a, op, b)


@pytest.mark.parametrize("op", OPERATORS)
def test_the_sampler_draws_held_out_problems_alone_and_uniformly(op):
    a, b = sample_held_out(op, 20_000, torch.Generator().manual_seed(0))
    assert a.shape == b.shape == (20_000,) and a.dtype == torch.int64
    assert held_out(a, op, b).all()
    for side, largest in ((a, RANGES[op].largest_a), (b, RANGES[op].largest_b)):
        tenths = torch.bincount(side * 10 // (largest + 1), minlength=10) / 20_000
        assert (tenths - 0.1).abs().max() < 0.03


def test_the_generator_decides_and_advances():
    first, again = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    one, other = sample_held_out("*", 50, first), sample_held_out("*", 50, again)
    assert all(torch.equal(x, y) for x, y in zip(one, other))
    assert not torch.equal(sample_held_out("*", 50, first)[0], one[0])


def test_the_sampler_refuses_a_count_below_one_and_an_unknown_operator():
    with pytest.raises(ValueError, match="count is 0"):
        sample_held_out("+", 0, torch.Generator())
    with pytest.raises(ValueError, match="operator is '%'"):
        sample_held_out("%", 1, torch.Generator())
