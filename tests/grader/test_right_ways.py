"""Right attempts in styles that nobody here would choose: every one must pass."""

from pathlib import Path

import pytest

from grader.judge import grade, read_source

WAYS = sorted((Path(__file__).parent / "right_ways").glob("*.py"))


@pytest.mark.parametrize("path", WAYS, ids=lambda path: path.stem)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_right_attempt_in_an_unusual_style_passes(session, path, seed):
    verdict = grade(session, "ex1", read_source(path), device="cpu", seed=seed)
    failed = {check.id: [check.message, *check.details] for check in verdict.checks if check.status != "passed"}
    assert verdict.passed, failed


def test_there_are_at_least_eight_styles():
    assert len(WAYS) >= 8
