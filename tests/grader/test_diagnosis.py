"""What is named, and what is better left unnamed."""

from pathlib import Path

import pytest

from grader.judge.diagnosis import Budget
from grader.judge.grade import Source, grade
from grader.judge.host import Host
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY

# Mistakes that no catalogue holds; in ex3 each fails checks that some known mistake fails with the same short
# answer.
UNKNOWN = {
    "a scale that is a little off": ("ex1", (("q.shape[-1] ** -0.5", "q.shape[-1] ** -0.4"),)),
    "a run takes three characters more": (
        "ex3",
        (("    heldout = fold(heldout_text)\n", "    window += 3\n    heldout = fold(heldout_text)\n"),),
    ),
    "the blocks come smaller": ("ex3", (("parameter.copy_(weight)", "parameter.copy_(weight * 0.9)"),)),
}


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
    both = ("answer_not_reversed", "loss_summed")
    verdict = verdict_of(session, "ex2", patches_of("ex2", *both))
    assert verdict.mistakes == list(both)


def test_a_known_mistake_keeps_its_name_beside_an_unknown_one_in_a_later_function(session):
    [known] = [mistake for mistake in EXERCISES["ex3"].mistakes() if mistake.id == "overlap_case_sensitive"]
    verdict = verdict_of(session, "ex3", (*known.patches, *UNKNOWN["the blocks come smaller"][1]))
    assert verdict.mistakes == ["overlap_case_sensitive"]


def patches_of(exercise, *ids):
    known = {mistake.id: mistake for mistake in EXERCISES[exercise].mistakes()}
    return [patch for id in ids for patch in known[id].patches]


BOTH = patches_of("ex3", "overlap_case_sensitive", "trains_in_eval_mode")


def test_where_the_budget_is_used_up_the_verdict_is_the_same_and_says_what_was_not_looked_at(
    session, monkeypatch
):
    monkeypatch.setattr(session, "budget", Budget(plain=0.0, training=0.0))
    verdict = verdict_of(session, "ex3", BOTH)
    failed = {check.id: check for check in verdict.checks if check.status == "failed"}
    assert {"overlap_case", "finetune_modes"} <= failed.keys() and not verdict.passed
    assert verdict.mistakes == []
    assert all("were not compared" in check.details[-1] for check in failed.values())


def test_training_runs_have_a_budget_of_their_own(session, monkeypatch):
    monkeypatch.setattr(session, "budget", Budget(plain=60.0, training=0.0))
    verdict = verdict_of(session, "ex3", BOTH)
    assert verdict.mistakes == ["overlap_case_sensitive"]
    [modes] = [check for check in verdict.checks if check.id == "finetune_modes"]
    assert "were not compared" in modes.details[-1]


def test_a_check_that_needs_no_training_is_named_without_one(session, monkeypatch):
    asked = []
    original = Host.run

    def run(host, subject, program, seed):
        if host.role == "reference":
            asked.append(program.seconds)
        return original(host, subject, program, seed)

    monkeypatch.setattr(Host, "run", run)
    assert verdict_of(session, "ex3", patches_of("ex3", "decay_swapped")).mistakes == ["decay_swapped"]
    assert asked and not any(asked)


def test_the_likeliest_mistakes_come_first(session):
    from grader.judge.diagnosis import _Suspects
    from grader.judge.results import CheckResult

    suspects = _Suspects(EXERCISES["ex3"], session.reference(EXERCISES["ex3"]), Budget(), {})
    check = CheckResult(
        "finetune_modes",
        "it trains in train mode, and evaluates in eval mode",
        "failed",
        message="It trains without the dropout that its config asks for: the model is in eval mode.",
    )
    order = suspects.likeliest_first(check)
    assert sorted(order) == sorted(suspects.of(check.id))
    assert {"stays_in_eval_mode", "trains_in_eval_mode", "mode_of_pretrained"} <= set(order[:8])
