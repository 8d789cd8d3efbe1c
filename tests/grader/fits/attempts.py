"""Attempts with mistakes that no catalogue holds: a solution with some of its text replaced."""

from pathlib import Path

from grader.judge import fits
from grader.judge.grade import Source, grade
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY


def source_of(exercise: str, *patches: tuple[str, str]) -> Source:
    """The solution with each (find, put) done, where `find` stands exactly once."""
    text = (REPOSITORY / EXERCISES[exercise].solution_path).read_text(encoding="utf-8")
    for find, put in patches:
        assert text.count(find) == 1, find
        text = text.replace(find, put)
    return Source(Path("attempt.py"), text.encode())


def mistakes_of(session, exercise: str, *patches: tuple[str, str]) -> list[str]:
    """The ids that a grade names, catalogue and fits together."""
    return grade(session, exercise, source_of(exercise, *patches), device="cpu", quick=True).mistakes


def fitted(session, exercise: str, check: str, *patches: tuple[str, str]) -> fits.Fit | None:
    """What is read off the numbers of one check that fails, without a look at the catalogue."""
    verdict = grade(session, exercise, source_of(exercise, *patches), device="cpu", only=(check,))
    [failed] = [result for result in verdict.checks if result.status == "failed"]
    assert failed.numbers is not None
    return fits.explain(failed.numbers)
