"""The proof of the checks: every mistake is failed and named as itself, every stub is unfinished, every
solution passes; and the proof would notice."""

import pytest

from grader.mistake_list import with_list
from grader.selftest import in_parallel, selftest
from tests.exercises import EXERCISES, Exercise, Mistake
from tests.grader.attempts import REPOSITORY, SOLUTION


def test_every_mistake_is_failed_and_named_every_stub_is_unfinished_and_every_solution_passes():
    rows = in_parallel(list(EXERCISES), device="cpu", seed=0)
    for exercise in EXERCISES.values():
        assert sum(row.exercise == exercise.name for row in rows) == len(exercise.mistakes()) + 2
    assert [(row.exercise, row.graded, row.came) for row in rows if not row.ok] == []
    for exercise in EXERCISES:
        assert {"solution", "stub"} <= {row.graded for row in rows if row.exercise == exercise}


def test_the_catalogue_of_exercise_1_has_at_least_40_mistakes_with_names_of_their_own():
    mistakes = EXERCISES["ex1"].mistakes()
    assert len(mistakes) >= 40
    assert len({mistake.id for mistake in mistakes}) == len({mistake.name for mistake in mistakes}) == len(mistakes)
    assert all(len(mistake.why) > 60 for mistake in mistakes)


def test_the_readme_lists_the_mistakes_of_the_catalogue():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert with_list(readme) == readme, "README.md is out of date: python -m grader.mistake_list"


def test_the_self_test_notices_a_mistake_that_the_checks_let_pass(session, monkeypatch):
    harmless = Mistake("harmless", "no mistake at all", "It only renames a variable.", (("ones = torch", "ones = torch"),))
    monkeypatch.setattr(Exercise, "mistakes", lambda self: (harmless,))
    rows = selftest(session, ["ex1"], device="cpu", seed=0)
    assert [(row.graded, row.came) for row in rows if not row.ok] == [("harmless", "passed")]


def test_a_patch_that_no_longer_fits_the_solution_is_an_error():
    with pytest.raises(ValueError, match="stale.*fits in 0"):
        Mistake("stale", "name", "why", (("no such line", ""),)).apply(SOLUTION)
