"""What is right and worth knowing: it never fails, a passed report lists it, and the JSON holds it."""

import pytest

from grader.judge.grade import Source, grade
from grader.learner import report
from grader.workbook import REPOSITORY, Call
from tests.exercises import EXERCISES, Mistake
from tests.grader.attempts import SOLUTION, at_import, in_init

SDPA = (REPOSITORY / "tests/grader/right_ways_ex1/sdpa_causal.py").read_text(encoding="utf-8")
REMARKED = {
    "seeds torch's generator": at_import("import torch\ntorch.manual_seed(1337)"),
    "changes torch's default dtype": at_import("import torch\ntorch.set_default_dtype(torch.float64)"),
    "starts as zeros": in_init("self.late = True").replace(
        "        self.proj = nn.Linear(config.n_embd, config.n_embd)\n",
        "        self.proj = nn.Linear(config.n_embd, config.n_embd)\n"
        "        nn.init.zeros_(self.proj.weight)\n",
    ),
    "starts with NaN in it": SOLUTION.replace(
        "        self.proj = nn.Linear(config.n_embd, config.n_embd)\n",
        "        self.proj = nn.Linear(config.n_embd, config.n_embd)\n"
        "        nn.init.constant_(self.proj.weight, float('nan'))\n",
    ),
    "stores the (T, T) weights": SOLUTION,
}


@pytest.mark.slow
@pytest.mark.parametrize("what", REMARKED)
def test_what_is_worth_knowing_is_said_of_a_file_that_passes(graded, capsys, what):
    verdict = graded(REMARKED[what])
    assert verdict.passed and any(what in remark for remark in verdict.remarks), verdict.remarks
    report.show(report.console(), verdict, call=Call("ex1"))
    said = " ".join(capsys.readouterr().out.split())
    assert "Worth knowing:" in said and what in said
    assert verdict.as_json()["remarks"] == verdict.remarks


def test_of_a_file_that_stores_no_squares_and_starts_well_nothing_is_said(graded, capsys):
    verdict = graded(SDPA)
    assert verdict.passed and verdict.remarks == []
    report.show(report.console(), verdict, call=Call("ex1"))
    assert "Worth knowing" not in capsys.readouterr().out


def test_a_sampler_that_takes_seconds_is_right_and_remarked_on(session, monkeypatch):
    from tests.exercises.battery import sampling

    monkeypatch.setattr(sampling, "SLOW", 0.05)
    solution = (REPOSITORY / EXERCISES["ex2"].solution_path).read_text(encoding="utf-8")
    slow = (
        "    kept, missing = [], count\n",
        "    import time\n    time.sleep(0.1)\n    kept, missing = [], count\n",
    )
    source = Source(REPOSITORY / "slow.py", Mistake("slow", "slow", "", (slow,)).apply(solution).encode())
    verdict = grade(session, "ex2", source, device="cpu", only=["sample_uniform"])
    assert any("sample_problems takes" in remark for remark in verdict.remarks)
