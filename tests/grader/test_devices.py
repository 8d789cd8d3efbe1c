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
from tests.grader.attempts import REPOSITORY, SOLUTION, with_mistake


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


@pytest.mark.slow
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


@pytest.mark.parametrize("right_on_cpu", [True, False])
def test_a_failure_on_a_gpu_takes_the_name_that_was_found_on_the_cpu(right_on_cpu):
    # Dropout draws other numbers there than the known mistakes draw on the CPU.
    check = CheckResult("values", "", "failed")
    on_cpu = [
        CheckResult(
            "values", "", "passed" if right_on_cpu else "failed", mistake=None if right_on_cpu else "it"
        ),
        CheckResult("devices", "", "failed", mistake="mask_is_no_buffer"),
    ]
    compare_devices([check], on_cpu, "cuda")
    assert check.mistake == ("mask_is_no_buffer" if right_on_cpu else "it")


# A table that is kept from call to call, made without a device: the file, what is there, and what is put.
KEPT = "\n\n@functools.lru_cache(None)\ndef kept(*args):\n    return {}\n"
TABLES = {
    "ex1": ("self.future[:T, :T]", "kept(T)", "torch.ones(*args, *args).triu(1).bool()"),
    "ex2": ("10 ** torch.arange(count - 1, -1, -1, device=numbers.device)", "kept(count)",
            "10 ** torch.arange(*args).flip(0)"),
    "ex4": ("torch.arange(offset, offset + T, device=x.device)", "kept(offset, T)",
            "torch.arange(args[0], sum(args))"),
}  # fmt: skip


@pytest.mark.parametrize("exercise", TABLES)
def test_a_table_that_is_kept_from_an_earlier_check_does_not_hide_where_it_was_made(session, exercise):
    find, put, table = TABLES[exercise]
    source = (REPOSITORY / EXERCISES[exercise].solution_path).read_text(encoding="utf-8")
    assert source.count(find) == 1
    source = f"{source.replace(find, put)}\n\nimport functools\n{KEPT.format(table)}"
    verdict = grade(
        session,
        exercise,
        Source(Path("attempt.py"), source.encode()),
        device="cpu",
        quick=True,
        diagnose=None,
    )
    failed = {check.id for check in verdict.checks if check.status == "failed"}
    assert failed == {"ex1": {"devices"}, "ex2": {"batch_devices"}, "ex4": {"devices"}}[exercise]
