"""What is named, and what is better left unnamed."""

from dataclasses import replace
from pathlib import Path

import pytest

from grader.judge.diagnosis import Budget
from grader.judge.failures import attempt_error
from grader.judge.grade import Source, grade
from grader.judge.host import Host
from tests.exercises import EXERCISES, Exercise
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


@pytest.mark.slow
@pytest.mark.parametrize("what", UNKNOWN)
def test_a_mistake_that_nobody_knows_gets_no_name_by_chance(session, what):
    verdict = verdict_of(session, *UNKNOWN[what])
    assert not verdict.passed and verdict.mistakes == []


def test_where_much_is_unexplained_no_known_mistake_is_said_to_be_possible(session):
    # Query 0 sees the future, as without a mask and with a transposed one; the others do not.
    mask = ("self.future[:T, :T]", "self.future[:T, :T].roll(1, 0)")
    verdict = verdict_of(session, "ex1", (mask,))
    failed = {check.id: check for check in verdict.checks if check.status == "failed"}
    assert {"first_token", "running_mean", "attention_matrix"} <= failed.keys()
    assert not any(check.mistake or check.candidates for check in failed.values())


def test_two_known_mistakes_in_two_functions_are_both_named(session):
    both = ("answer_not_reversed", "loss_summed")
    verdict = verdict_of(session, "ex2", patches_of("ex2", *both))
    assert verdict.mistakes == list(both)


@pytest.mark.slow
def test_a_known_mistake_keeps_its_name_beside_an_unknown_one_in_a_later_function(session):
    [known] = [mistake for mistake in EXERCISES["ex3"].mistakes() if mistake.id == "overlap_case_sensitive"]
    verdict = verdict_of(session, "ex3", (*known.patches, *UNKNOWN["the blocks come smaller"][1]))
    assert verdict.mistakes == ["overlap_case_sensitive"]


def test_a_cache_that_refuses_too_early_is_named_whatever_its_error_says(session):
    words = ("the cache holds {self.length} tokens and gets {k.shape[2]} more", "too long")
    verdict = verdict_of(session, "kvcache", (*patches_of("kvcache", "last_token_refused"), words))
    assert verdict.mistakes == ["last_token_refused"]
    [check] = [check for check in verdict.checks if check.status == "failed"]
    assert "Call 0 must not be refused: cache a holds 0 tokens and gets 8 more" in check.message


def patches_of(exercise, *ids):
    known = {mistake.id: mistake for mistake in EXERCISES[exercise].mistakes()}
    return [patch for id in ids for patch in known[id].patches]


BOTH = patches_of("ex3", "overlap_case_sensitive", "trains_in_eval_mode")


@pytest.mark.slow
def test_where_the_budget_is_used_up_the_verdict_is_the_same_and_says_what_was_not_looked_at(
    session, monkeypatch
):
    monkeypatch.setattr(session, "budget", Budget(plain=0.0, training=0.0))
    verdict = verdict_of(session, "ex3", BOTH)
    failed = {check.id: check for check in verdict.checks if check.status == "failed"}
    assert {"overlap_case", "finetune_modes"} <= failed.keys() and not verdict.passed
    assert verdict.mistakes == []
    assert all("were not compared" in check.details[-1] for check in failed.values())


@pytest.mark.slow
def test_training_runs_have_a_budget_of_their_own(session, monkeypatch):
    monkeypatch.setattr(session, "budget", Budget(plain=60.0, training=0.0))
    verdict = verdict_of(session, "ex3", BOTH)
    assert verdict.mistakes == ["overlap_case_sensitive"]
    [modes] = [check for check in verdict.checks if check.id == "finetune_modes"]
    assert "were not compared" in modes.details[-1]


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "type_, one, other",
    [
        (
            "RuntimeError",
            "The size of tensor a (3) must match the size of tensor b (8) at non-singleton dimension 3",
            "mat1 and mat2 shapes cannot be multiplied (6x8 and 3x8)",
        ),
        (
            "RuntimeError",
            "expected scalar type Float but found BFloat16",
            "expected m1 and m2 to have the same dtype, but got: float != c10::BFloat16",
        ),
        ("IndexError", "Target 12 is out of bounds.", "index 5 is out of bounds for dimension 0 with size 4"),
        (
            "RuntimeError",
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
            "Expected all tensors to be on the same device, but got mat2 is on cpu, different from other "
            "tensors on cuda:0",
        ),
        (
            "RuntimeError",
            "a leaf Variable that requires grad is being used in an in-place operation.",
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            "[torch.FloatTensor [3]] is at version 1; expected version 0 instead.",
        ),
        (
            "AttributeError",
            "'GPT' object has no attribute 'heads'",
            "'Linear' object has no attribute 'wight'",
        ),
        (
            "ValueError",
            "n_layer is 3 in one model and 2 in 'b'",
            "n_layer is 1 in one model and 12 in 'target'",
        ),
    ],
)
def test_exceptions_of_one_kind_agree_whatever_their_words_are(type_, one, other):
    assert failure_of(type_, one).same == failure_of(type_, other).same
    assert failure_of(type_, one).words != failure_of(type_, other).words


def failure_of(type_, message):
    return attempt_error(
        {"kind": "raised", "type": type_, "kinds": [type_], "message": message, "frames": []}
    )


def test_exceptions_of_different_kinds_do_not_agree():
    said = [
        ("RuntimeError", "The size of tensor a (3) must match the size of tensor b (8)"),
        ("RuntimeError", "expected m1 and m2 to have the same dtype, but got: float != double"),
        ("RuntimeError", "view size is not compatible with input tensor's size and stride"),
        ("RuntimeError", "element 0 of tensors does not require grad and does not have a grad_fn"),
        ("IndexError", "index 5 is out of bounds for dimension 0 with size 4"),
        ("KeyError", "'blocks.0'"),
        ("TypeError", "forward() missing 1 required positional argument: 'offset'"),
        ("TypeError", "'NoneType' object is not subscriptable"),
        ("ValueError", "head_size is 5; it must be even"),
        ("ValueError", "the text is too short"),
    ]
    assert len({failure_of(*each).same for each in said}) == len(said)


def test_an_exception_keeps_its_name_where_other_operations_raise_it(session):
    # Both a sum and masked_fill refuse a mask of another size, each in its own words.
    mask = 'scores.masked_fill(self.future[:T, :T], float("-inf"))'
    added = "scores + torch.zeros(self.future.shape).masked_fill(self.future, -torch.inf)"
    verdict = verdict_of(session, "ex1", ((mask, added),))
    [failed] = [check for check in verdict.checks if check.status == "failed"]
    assert "raised RuntimeError" in failed.message
    assert "mask_not_cropped" in (failed.mistake, *failed.candidates)


def test_of_two_mistakes_that_fail_alike_each_is_a_candidate(session, monkeypatch):
    # One that no fit reads off the numbers.
    [known] = [mistake for mistake in EXERCISES["ex1"].mistakes() if mistake.id == "queries_normalised"]
    twin = replace(known, id="twin", name="the same under another name")
    monkeypatch.setattr(Exercise, "mistakes", lambda self: (known, twin))
    verdict = verdict_of(session, "ex1", known.patches)
    failed = [check for check in verdict.checks if check.status == "failed"]
    assert verdict.mistakes == []
    assert failed and all(sorted(check.candidates) == ["queries_normalised", "twin"] for check in failed)


@pytest.mark.slow
def test_more_candidates_than_three_are_none(session, monkeypatch):
    # One that no fit reads off the numbers.
    [known] = [mistake for mistake in EXERCISES["ex1"].mistakes() if mistake.id == "queries_normalised"]
    four = tuple(replace(known, id=f"twin_{number}") for number in range(4))
    monkeypatch.setattr(Exercise, "mistakes", lambda self: four)
    verdict = verdict_of(session, "ex1", known.patches)
    assert not verdict.passed and not any(check.mistake or check.candidates for check in verdict.checks)


# The first shows by itself in some check, and the second only together with it.
TWO = {
    "a scale and a dropout": ("ex1", "queries_normalised", "dropout_on_values"),
    "a mask and a dropout": ("ex1", "softmax_over_queries", "dropout_output_not_rescaled"),
    "a mode and a mask": ("ex1", "no_mask_in_training", "loop_over_heads"),
    "two functions": ("ex1", "fuse_heads_reversed", "weights_averaged"),
    "two areas": ("ex2", "targets_one_late", "loss_over_rows"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", TWO)
def test_two_mistakes_in_one_file_are_both_named(session, what):
    exercise, *both = TWO[what]
    verdict = verdict_of(session, exercise, patches_of(exercise, *both))
    assert sorted(verdict.mistakes) == sorted(both)
