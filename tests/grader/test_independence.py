"""Draws that are not independent, in ways that leave every number as likely as it should be: each must
show."""

import numpy as np
import pytest
import torch

from solutions.ex2_addition import sample_problems
from tests.exercises.ex2 import checks, readings

N = checks.DRAWS


def drawn(seed, count=N, n=3):
    return [side.numpy() for side in sample_problems(count, n, torch.Generator().manual_seed(seed))]


def first_half(a, b):
    return a[: N // 2], b[: N // 2]


def then(one, other):
    return tuple(np.concatenate(pair) for pair in zip(one, other))


def repeated_after(k):
    return lambda a, b: (np.resize(a[:k], N), np.resize(b[:k], N))


def turned_after(k):
    """Blocks of k, each followed by itself turned round."""

    def change(a, b):
        blocks = [side[: N // 2].reshape(-1, k) for side in (a, b)]
        return tuple(np.concatenate(pair, axis=1).ravel() for pair in (blocks, blocks[::-1]))

    return change


def in_calls_of_100(change):
    return lambda a, b: tuple(
        np.concatenate(side)
        for side in zip(*(change(a[i : i + 100], b[i : i + 100]) for i in range(0, N, 100)))
    )


def sorted_by(key):
    return lambda a, b: (a[key(a, b).argsort()], b[key(a, b).argsort()])


table = np.random.default_rng(0).permutation(1000)
DEPENDENT = {
    "the second half turned round": lambda a, b: then(first_half(a, b), first_half(a, b)[::-1]),
    "the second half is the first": lambda a, b: then(first_half(a, b), first_half(a, b)),
    "the second half is the first, last pair first": lambda a, b: then(
        first_half(a, b), [s[::-1] for s in first_half(a, b)]
    ),
    "the second half counted from the end": lambda a, b: then(
        first_half(a, b), [999 - s for s in first_half(a, b)]
    ),
    "a of the second half looked up in the first": lambda a, b: then(
        first_half(a, b), (table[a[: N // 2]], b[N // 2 :])
    ),
    "a tenth turned round at the end": lambda a, b: (
        np.append(a[: -N // 10], b[: N // 10]),
        np.append(b[: -N // 10], a[: N // 10]),
    ),
    "blocks of 32 turned round": turned_after(40),
    "repeated after 5000": repeated_after(5000),
    "repeated after 19,000": repeated_after(19_000),
    "sorted by a": sorted_by(lambda a, b: a),
    "sorted by the sum": sorted_by(lambda a, b: a + b),
    "calls sorted by a": in_calls_of_100(sorted_by(lambda a, b: a)),
    "b is the a before it": lambda a, b: (a, np.roll(a, 1)),
    "b is the a of 777 pairs before": lambda a, b: (a, np.roll(a, 777)),
    "b is a table of the a before it": lambda a, b: (a, table[np.roll(a, 1)]),
    "b is a table of a": lambda a, b: (a, table[a]),
    "the sum is even": lambda a, b: (a, b - (a + b) % 2 * np.where(b > 0, 1, -1)),
    "a goes through a shuffled list of all numbers": lambda a, b: (
        np.concatenate([np.random.default_rng(i).permutation(1000) for i in range(20)]),
        b,
    ),
    "a goes round": lambda a, b: (np.arange(N) % 1000, b),
}


def far(monkeypatch, a, b, calls, n=3):
    monkeypatch.setattr(readings, "drawn", lambda *_: (a, b))
    return {
        key
        for key, value in checks.dependence(readings.independence(None, len(a), calls, n), len(a), n).items()
        if value > 1
    }


@pytest.mark.parametrize("name", DEPENDENT)
def test_a_dependence_between_draws_shows(monkeypatch, name):
    a, b = DEPENDENT[name](*drawn(1))
    assert len(a) == N and far(monkeypatch, a, b, 200 if "calls" in name else 1)
    if "calls" in name:  # as the check asks for them
        assert far(monkeypatch, a[:5000], b[:5000], 50)


@pytest.mark.parametrize("seed", range(5))
def test_independent_draws_show_none(monkeypatch, seed):
    for count, calls, n in checks.LOTS:
        assert not far(monkeypatch, *drawn(seed, count, n), calls, n)
