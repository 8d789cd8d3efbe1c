"""Right attempts in styles that nobody here would choose: every one must pass."""

from pathlib import Path

import pytest

from grader.judge import grade, read_source

HERE = Path(__file__).parent
WAYS = sorted((HERE / "right_ways").glob("*.py"))
WAYS_TO_ADD = sorted((HERE / "right_ways_ex2").glob("*.py"))
WAYS_TO_FINETUNE = sorted((HERE / "right_ways_ex3").glob("*.py"))


def not_passed(verdict):
    return {check.id: [check.message, *check.details] for check in verdict.checks if check.status != "passed"}


@pytest.mark.parametrize("path", WAYS, ids=lambda path: path.stem)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_right_attempt_in_an_unusual_style_passes(session, path, seed):
    verdict = grade(session, "ex1", read_source(path), device="cpu", seed=seed)
    assert verdict.passed, not_passed(verdict)


@pytest.mark.parametrize("path", WAYS_TO_ADD, ids=lambda path: path.stem)
def test_a_right_adder_in_an_unusual_style_passes_all_but_the_training_run(session, path, monkeypatch):
    # Eight full training runs would take minutes; a twentieth of the steps shows that it trains and returns.
    from tests.exercises.ex2 import training

    short = []
    monkeypatch.setattr(training, "STEPS", 20)
    monkeypatch.setattr(training, "WANTED", 0.0)
    verdict = grade(session, "ex2", read_source(path), device="cpu", seed=1, note=short.append)
    assert verdict.passed, not_passed(verdict)
    assert any("decoding held-out problems" in text for text in short)


@pytest.mark.parametrize("path", WAYS_TO_FINETUNE, ids=lambda path: path.stem)
def test_a_right_way_to_finetune_in_an_unusual_style_passes_all_and_gains(patient_session, path):
    verdict = grade(patient_session, "ex3", read_source(path), device="cpu", seed=2)
    assert verdict.passed and verdict.complete, not_passed(verdict)


def test_there_are_at_least_eight_styles_and_six_to_finetune():
    assert len(WAYS) >= 8 and len(WAYS_TO_ADD) >= 8 and len(WAYS_TO_FINETUNE) >= 6
