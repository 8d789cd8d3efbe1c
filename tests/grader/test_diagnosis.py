"""What is named, and what is better left unnamed."""

from pathlib import Path

import pytest

from grader.judge import Source, grade
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY

# Mistakes that no catalogue holds; in ex3 each fails checks that some known mistake fails with the same short answer.
UNKNOWN = {
    "a scale that is a little off": ("ex1", (("q.shape[-1] ** -0.5", "q.shape[-1] ** -0.4"),)),
    "a run takes three characters more": (
        "ex3", (("    heldout = fold(heldout_text)\n", "    window += 3\n    heldout = fold(heldout_text)\n"),),
    ),
    "the blocks come smaller": ("ex3", (("parameter.copy_(weight)", "parameter.copy_(weight * 0.9)"),)),
}  # fmt: skip


def verdict_of(session, exercise, patches):
    source = (REPOSITORY / EXERCISES[exercise].solution_path).read_text(encoding="utf-8")
    for find, put in patches:
        assert source.count(find) == 1, find
        source = source.replace(find, put)
    return grade(session, exercise, Source(Path("attempt.py"), source.encode()), device="cpu", quick=True)


@pytest.mark.parametrize("what", UNKNOWN)
def test_a_mistake_that_nobody_knows_gets_no_name_by_chance(session, what):
    verdict = verdict_of(session, *UNKNOWN[what])
    assert not verdict.passed and verdict.mistakes == []


def test_two_known_mistakes_in_two_functions_are_both_named(session):
    known = {mistake.id: mistake for mistake in EXERCISES["ex2"].mistakes()}
    both = ("answer_not_reversed", "loss_summed")
    verdict = verdict_of(session, "ex2", [patch for id in both for patch in known[id].patches])
    assert verdict.mistakes == list(both)


def test_a_known_mistake_keeps_its_name_beside_an_unknown_one_in_a_later_function(session):
    [known] = [mistake for mistake in EXERCISES["ex3"].mistakes() if mistake.id == "overlap_case_sensitive"]
    verdict = verdict_of(session, "ex3", (*known.patches, *UNKNOWN["the blocks come smaller"][1]))
    assert verdict.mistakes == ["overlap_case_sensitive"]
