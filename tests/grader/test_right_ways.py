"""Right attempts in styles that nobody here would choose: every one must pass."""

from pathlib import Path

import pytest

from grader.judge.grade import grade, read_source
from grader.workbook import REPOSITORY
from tests.exercises import EXERCISES, Mistake
from tests.grader import right_changes

HERE = Path(__file__).parent
WAYS = [
    (name, path)
    for name, exercise in EXERCISES.items()
    for path in sorted((HERE / f"right_ways_{name}").glob("*.py"))
    if not exercise.training
]
WAYS_TO_ADD = sorted(
    [path.stem for path in (HERE / "right_ways_ex2").glob("*.py")] + list(right_changes.TO_ADD)
)
WAYS_TO_CALCULATE = sorted((HERE / "right_ways_calculator").glob("*.py"))
WAYS_TO_FINETUNE = sorted((HERE / "right_ways_ex3").glob("*.py"))


def not_passed(verdict):
    return {check.id: [check.message, *check.details] for check in verdict.checks if check.status != "passed"}


@pytest.mark.parametrize("exercise, path", WAYS, ids=lambda part: getattr(part, "stem", part))
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_right_attempt_in_an_unusual_style_passes(session, exercise, path, seed):
    verdict = grade(session, exercise, read_source(path), device="cpu", seed=seed)
    assert verdict.passed, not_passed(verdict)


def source_of(exercise, way, changes, folder):
    """A right attempt: a file of its own, or the solution with some places changed."""
    if way not in changes:
        return read_source(HERE / f"right_ways_{exercise}" / f"{way}.py")
    solution = (REPOSITORY / EXERCISES[exercise].solution_path).read_text(encoding="utf-8")
    path = folder / f"{way}.py"
    path.write_text(Mistake(way, way, "none at all", changes[way]).apply(solution), encoding="utf-8")
    return read_source(path)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS_TO_ADD)
def test_a_right_adder_in_an_unusual_style_passes_all_but_the_training_run(
    session, way, monkeypatch, tmp_path
):
    # Eight full training runs would take minutes; a twentieth of the steps shows that it trains and returns.
    from tests.exercises.ex2 import training

    short = []
    monkeypatch.setattr(training, "STEPS", 20)
    monkeypatch.setattr(training, "WANTED", 0.0)
    attempt = source_of("ex2", way, right_changes.TO_ADD, tmp_path)
    verdict = grade(session, "ex2", attempt, device="cpu", seed=1, note=short.append)
    assert verdict.passed, not_passed(verdict)
    assert any("decoding held-out problems" in text for text in short)


@pytest.mark.slow
@pytest.mark.parametrize("path", WAYS_TO_CALCULATE, ids=lambda path: path.stem)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_right_calculator_in_an_unusual_style_passes_with_a_short_training_run(
    session, path, seed, monkeypatch
):
    from tests.exercises.calculator import training

    for name, value in {"STEPS": 8, "WANTED": 0.0, "PROBLEMS": 8}.items():
        monkeypatch.setattr(training, name, value)
    verdict = grade(session, "calculator", read_source(path), device="cpu", seed=seed)
    assert verdict.passed and verdict.complete, not_passed(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("path", WAYS_TO_FINETUNE, ids=lambda path: path.stem)
def test_a_right_way_to_finetune_in_an_unusual_style_passes_all_but_the_training_runs(session, path):
    verdict = grade(session, "ex3", read_source(path), device="cpu", seed=2, quick=True)
    assert verdict.passed, not_passed(verdict)


@pytest.mark.slow
def test_a_right_way_to_finetune_in_an_unusual_style_gains(patient_session, monkeypatch):
    from tests.exercises.ex3 import training

    monkeypatch.setattr(training, "SEEDS", 1)  # of four pairs one: that it trains and gains shows in each
    [path] = [path for path in WAYS_TO_FINETUNE if path.stem == "functional"]
    runs = EXERCISES["ex3"].training  # the test above has passed the others
    verdict = grade(patient_session, "ex3", read_source(path), device="cpu", seed=2, only=runs)
    assert [check.id for check in verdict.checks if check.status == "passed"] == list(runs), not_passed(
        verdict
    )


def test_there_are_at_least_eight_styles_and_six_to_finetune():
    styles = [sum(name == exercise for exercise, _ in WAYS) for name in ("ex1", "ex4")]
    assert min(*styles, len(WAYS_TO_ADD)) >= 8 and len(WAYS_TO_FINETUNE) >= 6
