"""The addition problems: a fixed tenth is held out, balanced, and the same everywhere."""

import pytest
import torch

from data.addition import VOCABULARY, carry_chain, is_held_out, sample_held_out


def all_problems(n):
    numbers = torch.arange(10**n)
    return torch.meshgrid(numbers, numbers, indexing="ij")


def carry_patterns(a, b, n):
    carry, pattern = torch.zeros_like(a), torch.zeros_like(a)
    for place in range(n):
        carry = (a // 10**place % 10 + b // 10**place % 10 + carry) // 10
        pattern = 2 * pattern + carry
    return pattern


def test_the_vocabulary_is_the_digits_plus_and_equals():
    assert VOCABULARY == "0123456789+="


def test_the_split_is_the_one_that_saved_models_were_measured_with():
    # Literal values: another torch, platform or device must give the same.
    a = torch.arange(40)
    assert is_held_out(a, a + 3, 3).nonzero().flatten().tolist() == [0, 14, 31, 34, 38]
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randint(0, 10**9, (2, 100_000), generator=generator)
    assert int(is_held_out(a, b, 9).sum()) == 10085


@pytest.mark.parametrize("n, allowed", [(1, 0.06), (2, 0.02), (3, 0.004)])
def test_a_tenth_is_held_out_of_every_carry_pattern_and_of_every_first_digit(n, allowed):
    a, b = all_problems(n)
    held = is_held_out(a, b, n).float()
    assert abs(held.mean() - 0.1) < allowed / 3
    patterns = carry_patterns(a, b, n)
    assert sorted(patterns.unique().tolist()) == list(range(2**n))
    for pattern in range(2**n):
        share = held[patterns == pattern].mean()
        assert 0 < share < 1 and abs(share - 0.1) < allowed
    if n > 1:
        for digit in range(10):
            assert abs(held[a // 10 ** (n - 1) == digit].mean() - 0.1) < 0.02


def test_the_order_of_a_and_b_makes_no_difference():
    a, b = all_problems(2)
    assert torch.equal(is_held_out(a, b, 2), is_held_out(b, a, 2))


def test_any_shape_is_taken_and_nothing_is_changed():
    a, b = torch.randint(0, 1000, (2, 3, 1, 4))
    before = a.clone(), b.clone()
    held = is_held_out(a, b, 3)
    assert held.shape == (3, 1, 4) and held.dtype == torch.bool
    assert torch.equal(a, before[0]) and torch.equal(b, before[1])
    assert is_held_out(a[:0], b[:0], 3).shape == (0, 1, 4)
    assert is_held_out(torch.tensor(5), torch.tensor(5), 1).shape == ()


def test_large_numbers_differ_in_their_upper_digits_too():
    a = torch.arange(2000) * 10**14
    share = is_held_out(a, torch.zeros_like(a), 18).float().mean()
    assert 0.05 < share < 0.15


@pytest.mark.parametrize(
    "a, b, n, words",
    [
        (torch.tensor([100]), torch.tensor([1]), 2, "from 0 to 99"),
        (torch.tensor([-1]), torch.tensor([1]), 2, "from 0 to 99"),
        (torch.tensor([1], dtype=torch.int32), torch.tensor([1]), 2, "long"),
        (torch.tensor([1.0]), torch.tensor([1]), 2, "long"),
        ([1], torch.tensor([1]), 2, "long"),
        (torch.tensor([1, 2]), torch.tensor([1]), 2, "agree"),
        (torch.tensor([1]), torch.tensor([1]), 0, "n_digits is 0"),
        (torch.tensor([1]), torch.tensor([1]), 19, "n_digits is 19"),
    ],
)
def test_wrong_numbers_are_one_clear_sentence(a, b, n, words):
    for function in (is_held_out, carry_chain):
        with pytest.raises(ValueError, match=words):
            function(a, b, n)


def test_the_sampler_draws_held_out_problems_alone_and_all_of_them():
    a, b = sample_held_out(5000, 1, torch.Generator().manual_seed(0))
    assert a.shape == b.shape == (5000,) and a.dtype == torch.int64
    assert is_held_out(a, b, 1).all()
    one, other = all_problems(1)
    held = is_held_out(one, other, 1)
    drawn = torch.bincount(a * 10 + b, minlength=100)
    assert torch.equal(drawn > 0, held.flatten())
    expected = 5000 / held.sum()
    assert (drawn[held.flatten()] - expected).abs().max() < 6 * expected.sqrt()


def test_the_generator_decides_and_advances():
    first, again = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    one, other = sample_held_out(50, 4, first), sample_held_out(50, 4, again)
    assert all(torch.equal(x, y) for x, y in zip(one, other))
    assert not torch.equal(sample_held_out(50, 4, first)[0], one[0])


def test_the_sampler_refuses_a_count_below_one():
    with pytest.raises(ValueError, match="count is 0"):
        sample_held_out(0, 3, torch.Generator())


def test_a_carry_chain_is_the_longest_run_of_neighbouring_carries():
    a = torch.tensor([999, 909, 123, 555, 190, 95])
    b = torch.tensor([1, 101, 456, 555, 20, 5])
    assert carry_chain(a, b, 3).tolist() == [3, 1, 0, 3, 1, 2]
