"""The line on a terminal that says what is going on while a file is graded."""

import re
import shutil
import sys

import pytest

from tests.exercises import EXERCISES
from tests.grader.attempts import SOLUTION
from tests.grader.terminal import Terminal, plain


def start(workbook, name, **options) -> Terminal:
    return Terminal([sys.executable, "grade.py", name, "--device", "cpu"], workbook, **options)


@pytest.mark.slow
def test_the_line_counts_the_checks_while_they_run(workbook):
    (workbook / EXERCISES["ex1"].attempt_path).write_text(SOLUTION)
    count = len(EXERCISES["ex1"].checks)
    with start(workbook, "ex1", columns=80) as terminal:
        assert terminal.wait(60) == 0
        counts = {
            int(number) for number in re.findall(rf"ex1: (\d+) of {count} checks", plain(terminal.shown))
        }
    # It is drawn some ten times a second; that it moves is what counts.
    assert len(counts) >= 3 and min(counts) < 20


@pytest.mark.slow
def test_the_line_shows_step_and_loss_while_a_model_trains(workbook):
    exercise = EXERCISES["ex2"]
    shutil.copy(workbook / exercise.solution_path, workbook / exercise.attempt_path)
    with start(workbook, "ex2", columns=80) as terminal:
        terminal.until(r"step \d+ of 2000, loss \d", 100)
        steps = re.findall(
            r"step (\d+) of 2000", plain(terminal.until(r"step [1-9]\d+ of 2000, loss \d", 60))
        )
        assert steps
        terminal.interrupt()
        assert terminal.wait() == 130
