"""The proof of the checks: every mistake is failed and named as itself, every stub is unfinished, every
solution passes; and the proof would notice."""

import subprocess

import pytest

from grader.author.selftest import cases, in_parallel, portions, selftest
from grader.judge.grade import grade, read_source
from grader.judge.host import Host
from tests.exercises import EXERCISES, Exercise, Mistake
from tests.grader.attempts import REPOSITORY, SOLUTION


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_solution_passes_its_checks(session, exercise):
    verdict = grade(
        session,
        exercise,
        read_source(REPOSITORY / EXERCISES[exercise].solution_path),
        device="cpu",
        quick=True,
    )
    assert verdict.passed, [(check.id, check.message) for check in verdict.checks if check.status == "failed"]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_stub_is_not_started(session, exercise):
    path = REPOSITORY / EXERCISES[exercise].stub_path
    verdict = grade(session, exercise, read_source(path), device="cpu")
    assert verdict.not_started and not verdict.passed


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_the_stub_that_ships_is_the_one_that_is_kept(exercise):
    shipped = subprocess.run(
        ["git", "show", f"HEAD:{exercise.attempt_path}"], cwd=REPOSITORY, capture_output=True, text=True
    )
    if shipped.returncode:
        pytest.skip("there is no history here, and the file itself may be a learner's")
    assert shipped.stdout == (REPOSITORY / exercise.stub_path).read_text(encoding="utf-8")


@pytest.mark.slow
def test_shared_out_among_processes_the_self_test_grades_each_case_once(monkeypatch):
    # A few cases of the kill matrix: the whole takes minutes, and CI runs it by itself (`grade.py
    # --selftest`).
    monkeypatch.setenv("GRADE_PATIENCE", "2")
    rows = in_parallel(["ex1"], device="cpu", seed=1, part=(1, 60))
    graded = [row.graded for row in rows]
    wanted = [graded for graded, _, _ in cases(EXERCISES["ex1"])][::60]
    assert sorted(graded) == sorted(wanted)
    assert all(row.ok for row in rows)


def test_the_parts_of_a_self_test_are_together_the_whole():
    whole = [(name, id) for name, exercise in EXERCISES.items() for id, _, _ in cases(exercise)]
    parts = [portions(list(EXERCISES), (k, 4)) for k in range(1, 5)]
    graded = [(exercise, id) for part in parts for exercise, ids in part for id in ids]
    assert sorted(graded) == sorted(whole)
    assert max(map(len, parts)) > 1 and len(set(graded)) == len(graded)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_of_a_catalogue_has_a_name_of_its_own_and_an_explanation(exercise):
    mistakes = EXERCISES[exercise].mistakes()
    assert (
        len({mistake.id for mistake in mistakes})
        == len({mistake.name for mistake in mistakes})
        == len(mistakes)
    )
    assert all(mistake.why.endswith((".", "?")) for mistake in mistakes)


@pytest.mark.slow
def test_the_self_test_notices_a_mistake_that_the_checks_let_pass(session, monkeypatch):
    harmless = Mistake(
        "harmless", "no mistake at all", "It only renames a variable.", (("ones = torch", "ones = torch"),)
    )
    monkeypatch.setattr(Exercise, "mistakes", lambda self: (harmless,))
    rows = selftest(session, "ex1", device="cpu", seed=0)
    assert [(row.graded, row.came) for row in rows if not row.ok] == [("harmless", "passed")]


def test_a_mistake_is_diagnosed_by_answers_of_the_reference_and_not_by_its_own(session, monkeypatch):
    run, asked = Host.run, []

    def watched(host, subject, look, seed):
        asked.append((host.role, subject))
        return run(host, subject, look, seed)

    monkeypatch.setattr(Host, "run", watched)
    [row] = selftest(session, "ex1", device="cpu", seed=2, only=["scale_by_heads"])
    assert row.ok and ("reference", "mistake_scale_by_heads") in asked


def test_a_patch_that_no_longer_fits_the_solution_is_an_error():
    with pytest.raises(ValueError, match="stale.*fits in 0"):
        Mistake("stale", "name", "why", (("no such line", ""),)).apply(SOLUTION)
