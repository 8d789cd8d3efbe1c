"""What is said of a GPU. There need not be one here: a worker that believes to be on a GPU computes on the
CPU, so that an attempt is right on the CPU and, as its tensors are not where they should be, wrong on "cuda".
"""

import re
from pathlib import Path

import pytest

from grader.judge.grade import Session, Source, compare_devices, grade
from grader.judge.processes import Starter
from grader.judge.results import CheckResult
from grader.learner import report
from grader.workbook import Call
from tests.exercises import EXERCISES
from tests.grader.attempts import SOLUTION, with_mistake


@pytest.fixture
def pretended_gpu(session, monkeypatch):
    """The session, choosing cuda for every attempt."""
    start = Starter.start
    monkeypatch.setattr(Session, "choose_device", lambda self, wanted, exercise: "cuda")
    monkeypatch.setattr(Starter, "start", lambda self, role, device, **more: start(self, role, "cpu", **more))
    return session


def graded(session, source: str, exercise="ex1"):
    return grade(session, exercise, Source(Path("attempt.py"), source.encode()), quick=True)


def shown(verdict, capsys) -> str:
    report.show(report.console(), verdict, call=Call("ex1"))
    return " ".join(capsys.readouterr().out.split())


def test_what_is_right_on_the_cpu_alone_is_said_to_be_so_and_where(pretended_gpu, capsys):
    verdict = graded(pretended_gpu, SOLUTION)
    failed = [check for check in verdict.checks if check.status == "failed"]
    assert not verdict.passed and failed
    assert all("right on the CPU, wrong on cuda" in check.details[-1] for check in failed)
    said = shown(verdict, capsys)
    assert "right on the CPU, wrong on cuda" in said
    assert all(".cuda." in check.replay for check in failed)


def test_what_is_wrong_on_both_is_said_to_be_so(pretended_gpu):
    verdict = graded(pretended_gpu, with_mistake(EXERCISES["ex1"], "qkv_with_bias"))
    failed = {check.id: check for check in verdict.checks if check.status == "failed"}
    assert failed["parameters"].details[-1] == "wrong on the CPU too"


def test_the_report_says_which_checks_ran_on_the_gpu(pretended_gpu, capsys):
    verdict = graded(pretended_gpu, with_mistake(EXERCISES["ex2"], "answer_not_reversed"), "ex2")
    on = {check.id: check.on for check in verdict.checks if check.status != "not_reached"}
    assert on["encode_problem_part"] == "cpu" and on["batch_form"] == "cuda"
    said = shown(verdict, capsys)
    there, of = map(int, re.search(r"(\d+) of (\d+) checks ran on the GPU", said).groups())
    assert 0 < there < of
    assert "nothing to compute there: runs, encode_problem_part" in said


def test_without_a_gpu_one_line_says_so(graded_on_cpu, capsys):
    said = shown(graded_on_cpu, capsys)
    assert said.count("checked on the CPU; devices by tracing") == 1 and "cuda" not in said


@pytest.fixture
def graded_on_cpu(session):
    return grade(session, "ex1", Source(Path("attempt.py"), SOLUTION.encode()), device="cpu")


def test_a_check_that_a_stuck_attempt_never_passed_on_the_cpu_is_no_agreement():
    check, never = CheckResult("scale", "", "failed"), CheckResult("scale", "", "not_reached")
    compare_devices([check], [never], "cuda")
    assert check.details == ["wrong on the CPU too"]
