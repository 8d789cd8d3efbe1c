"""The script that measures how often right code fails draws other numbers each time, and counts failures."""

import sys
import types

import pytest
import torch

from gpt_core import GPTConfig
from grader.worker.seeds import seed_all
from tests.bench import false_fails
from tests.exercises import EXERCISES
from tests.exercises.battery import dropout


def loaded(exercise: str, stream: int):
    module = types.ModuleType("attempt")
    source = false_fails.right_attempts(EXERCISES[exercise], "solutions")["solution"]
    exec(false_fails.in_stream(EXERCISES[exercise], source, stream), vars(module))
    return module


def test_each_stream_drops_something_else_under_one_seed_and_the_same_again():
    x, seen = torch.ones(4, 6, 32), []
    for stream in (0, 1, 2, 1):
        attention = loaded("ex1", stream).FusedMultiHeadAttention(GPTConfig(11, 8, 1, 4, 32, 0.3))
        seed_all(3)
        seen.append(attention(x) == 0)
    assert torch.equal(seen[1], seen[3])
    assert not any(torch.equal(seen[a], seen[b]) for a, b in ((0, 1), (1, 2), (0, 2)))


def test_each_stream_samples_other_problems_from_one_seed():
    draws = []
    for stream in (0, 1, 2):
        a, _ = loaded("ex2", stream).sample_problems(50, 3, torch.Generator().manual_seed(1))
        draws.append(a)
    assert not any(torch.equal(draws[a], draws[b]) for a, b in ((0, 1), (1, 2), (0, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("share, status", [(None, 0), (0.0, 1)])
def test_what_fails_is_counted_and_is_the_exit_status(share, status, monkeypatch, capsys):
    if share is not None:
        monkeypatch.setattr(dropout, "SHARE", share)  # leaves no room for chance
    arguments = ["--exercise", "ex1", "--files", "solutions", "--streams", "2", "--checks", "dropout_output"]
    monkeypatch.setattr(sys, "argv", ["false_fails", *arguments])
    assert false_fails.main() == status
    assert f"{2 * status} failures in 2 grades" in capsys.readouterr().out
