"""Hints: from a nudge to nearly the answer, first about the mistake that the last grade named."""

import importlib
import re

import pytest

from grader.cli import main
from grader.learner import hints, progress
from grader.learner.progress import ExerciseRecord
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY, verdict_of

EX1 = EXERCISES["ex1"]


def module(name):
    return importlib.import_module(f"tests.exercises.{name}.hints")


@pytest.mark.parametrize("name", EXERCISES)
def test_every_area_has_at_least_three_hints_and_there_is_something_to_compare(name):
    assert "" in module(name).HINTS and len(module(name).COMPARE) >= 2
    for area, texts in module(name).HINTS.items():
        assert len(texts) >= 3 and len(set(texts)) == len(texts), area
        assert all(len(text) > 60 for text in texts), area


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_every_area_is_of_checks_that_exist(exercise):
    for area in module(exercise.name).HINTS:
        for word in area.split():
            assert any(check.startswith(word) for check in exercise.checks), word


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_every_mistake_has_hints_that_show_where_it_sits(exercise):
    solution = (REPOSITORY / exercise.solution_path).read_text()
    for mistake in exercise.mistakes():
        where, lines = hints.of_mistake(exercise, mistake)
        assert where[0].startswith("The mistake sits in ")
        assert lines[1] and all(line.strip() in solution for line in lines[1]), mistake.id


def numbers(text):
    """The numbers of the hints that are shown, in order."""
    return [int(number) for number in re.findall(r"^Hint (\d+) of", text, re.M)]


def test_each_call_gives_one_more_and_the_solutions_own_line_comes_last(own_progress, capsys):
    progress.record(verdict_of(EX1, ("scale",), ("no_scale",)), pytest.fail)
    count = len(hints.all_of(EX1, progress.read("ex1", pytest.fail))[1])
    said = []
    for _ in range(count + 2):
        assert main(["ex1", "--hint"]) == 0
        said.append(capsys.readouterr().out)
    assert "FusedMultiHeadAttention.forward" in said[0]
    assert [numbers(text) for text in said[:count]] == [list(range(1, n + 1)) for n in range(1, count + 1)]
    line = "* q.shape[-1] ** -0.5"
    assert line in said[count - 1] and line not in said[count - 2]
    for text in said[count:]:  # everything can be seen again
        assert numbers(text) == list(range(1, count + 1))
        assert "that was the last" in text and "--solution" in text
    assert not any("that was the last" in text for text in said[:count])


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_no_hint_repeats_what_the_report_has_said_of_a_mistake(exercise):
    for mistake in exercise.mistakes():
        done = ExerciseRecord(attempts=1, checks=2, failed=[exercise.checks[0]], mistakes=[mistake.id])
        for text, _ in hints.all_of(exercise, done)[1]:
            assert mistake.name not in text and mistake.why not in text, mistake.id


def test_another_outcome_begins_anew_and_the_same_one_goes_on(own_progress):
    progress.record(verdict_of(EX1, ("scale",), ("no_scale",)), pytest.fail)
    assert len(hints.give(EX1, pytest.fail).hints) == 1
    progress.record(verdict_of(EX1, ("scale",), ("no_scale",)), pytest.fail)
    assert len(hints.give(EX1, pytest.fail).hints) == 2
    progress.record(verdict_of(EX1, ("dropout_output",)), pytest.fail)
    (hint,) = hints.give(EX1, pytest.fail).hints
    assert hint.number == 1 and hint.text == module("ex1").HINTS["dropout"][0]


def test_before_the_first_grade_there_are_hints_to_begin_with(own_progress):
    assert hints.give(EX1, pytest.fail).hints[0].text == module("ex1").HINTS[""][0]


def test_where_nothing_is_wrong_there_is_nothing_to_hint_at(own_progress, capsys):
    progress.record(verdict_of(EX1), pytest.fail)
    assert main(["ex1", "--hint"]) == 0
    said = capsys.readouterr().out
    assert "nothing wrong" in said and "--solution" in said


def test_a_mistake_that_the_catalogue_no_longer_has_is_no_hindrance():
    area, texts = hints.all_of(EX1, ExerciseRecord(attempts=1, failed=["scale"], mistakes=["gone"]))
    assert area == "" and len(texts) >= 3
