"""What --export writes, run as its platform would run it: in a fresh folder, on one core, under a limit."""

import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from grader.classroom import platforms
from grader.classroom.export import workbook as exported_files
from grader.classroom.store import Record
from grader.cli import main
from grader.judge.results import CheckResult
from tests.bench.bench_class import memory, tree
from tests.grader.attempts import SOLUTION, with_mistake
from tests.grader.classroom.classes import EX1, record

WRONG = with_mistake(EX1, "no_scale")
LIMIT = 12 << 20  # KiB of address space: torch maps much that it never touches
CONTAINER = 768 << 20  # bytes that Gradescope's smallest container has
RUNNER = {
    "CLASSROOM": "cs", "ASSIGNMENT": "ex1", "SUBMISSION_TAG": "submit/1", "COMMIT_URL": "https://x/1",
    "RELEASE_URL": "https://x/r", "REVIEW_URL": "",
}  # fmt: skip


def exported(platform: str, folder: Path, *options: str) -> Path:
    """What was exported, unpacked."""
    folder.mkdir()
    assert main(["ex1", "--export", platform, "--out", str(folder / "it.zip"), *options]) == 0
    with zipfile.ZipFile(folder / "it.zip") as archive:
        archive.extractall(folder)
    return folder


def run(command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """A shell command on one core, with a limit on memory, and without this workbook in its environment."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "GPT_DATA_DIR")}
    core = "taskset -c 0 " if sys.platform == "linux" else ""
    return subprocess.run(
        ["bash", "-c", f"ulimit -v {LIMIT}; exec {core}{command}"],
        cwd=cwd,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


class Watched:
    """In a with statement: the most that processes which begin meanwhile hold together, in bytes."""

    def __enter__(self):
        self.peak, self._over, self._before = 0, threading.Event(), set(tree(os.getpid()))
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, memory([p for p in tree(os.getpid()) if p not in self._before]))

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def on_gradescope(place: Path, source: str | None, *options: str):
    """(the exit status, results.json) as Gradescope has it."""
    exported("gradescope", place / "source", *options)
    for name in ("submission", "results"):
        (place / name).mkdir()
    if source is not None:
        (place / "submission" / "my work.py").write_text(source)
    script = place / "source" / "run_autograder"
    done = run(f"bash {script}", place, AUTOGRADER=str(place), AUTOGRADER_PYTHON=sys.executable)
    result = place / "results" / "results.json"
    return done, json.loads(result.read_text()) if result.exists() else None


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Gradescope runs on Linux")
def test_gradescope_gets_points_for_each_check_and_the_mistake(tmp_path):
    (tmp_path / "points.csv").write_text("*,1\nscale,5\n")
    with Watched() as watched:
        done, result = on_gradescope(tmp_path, WRONG, "--weights", str(tmp_path / "points.csv"))
    assert done.returncode == 0, done.stderr
    assert watched.peak < CONTAINER / 1.5, f"{watched.peak >> 20} MB"
    assert watched.peak > 100 << 20 or sys.platform != "linux"  # so this test would see it
    tests = {test["tags"][0]: test for test in result["tests"]}
    assert list(tests) == list(EX1.checks)
    assert tests["scale"]["max_score"] == 5 and tests["scale"]["score"] == 0
    assert tests["scale"]["status"] == "failed" and tests["scale"]["extra_data"]["mistake"] == "no_scale"
    assert tests["runs"]["score"] == 1 and tests["runs"]["status"] == "passed"
    assert "not scaled" in result["output"] and result["extra_data"]["isolation"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Gradescope runs on Linux")
def test_gradescope_is_told_what_is_wrong_with_an_empty_hand_in(tmp_path):
    done, result = on_gradescope(tmp_path, None)
    assert done.returncode == 0, done.stderr
    assert result["tests"][0]["score"] == 0 and result["tests"][0]["max_score"] == len(EX1.checks)
    assert EX1.file in result["tests"][0]["output"]


@pytest.mark.slow
@pytest.mark.parametrize("source, whole", [(SOLUTION, True), (WRONG, False)])
def test_classroom_50_gets_its_schema_with_the_mistake_in_each_test(tmp_path, source, whole):
    bundle = exported("classroom50", tmp_path / "bundle")
    checkout = tmp_path / "checkout"
    (checkout / "exercises").mkdir(parents=True)
    (checkout / EX1.attempt_path).write_text(source)
    done = run(f"{sys.executable} {bundle / 'autograder.py'}", checkout, **RUNNER)
    assert done.returncode == 0, done.stderr
    result = json.loads((checkout / "result.json").read_text())
    assert result["schema"] == "classroom50/result/v1" and result["review"] == RUNNER["COMMIT_URL"]
    assert type(result["score"]) is int and result["max-score"] == len(EX1.checks) == len(result["tests"])
    assert (result["score"] == result["max-score"]) == whole
    assert {"no_scale"} == {test["mistake"] for test in result["tests"] if not test["passed"]} - {
        None
    } or whole


@pytest.mark.slow
def test_the_workflow_for_github_writes_junit_a_summary_and_annotations(workbook, tmp_path):
    assert main(["ex1", "--export", "github", "--out", str(tmp_path / "grade.yml")]) == 0
    text = (tmp_path / "grade.yml").read_text()
    script = re.search(r"run: \|\n((?: {10}.*\n)+)", text)[1].replace(" " * 10, "")
    (workbook / EX1.attempt_path).write_text("import torch\n\nclass FusedMultiHeadAttention(\n")
    (tmp_path / "job.sh").write_text(script.replace("python -m", f"{sys.executable} -m"))
    summary = tmp_path / "summary.md"
    done = run(
        f"bash {tmp_path / 'job.sh'}", workbook, RUNNER_TEMP=str(tmp_path), GITHUB_STEP_SUMMARY=str(summary)
    )
    assert done.returncode == 1, done.stderr
    assert f"::error file={EX1.attempt_path},line=3,title=runs" in done.stdout
    assert "Not all checks pass yet." in summary.read_text()
    assert "<testsuite" in (workbook / "junit.xml").read_text()


def test_annotations_are_at_most_nine_and_no_text_of_a_hand_in_is_a_command():
    failed = record(*EX1.checks[:15])
    for check in failed.verdict["checks"]:
        check["message"] = "line 7: wrong\n::set-output name=x::y\r\n::error::z%0A"
    lines = platforms.annotations(failed, "a:b,c.py\n::stop")
    assert len(lines) == platforms.MOST_ANNOTATIONS < 10
    for line in lines:
        assert (
            "\n" not in line
            and "\r" not in line
            and line.startswith("::error file=a%3Ab%2Cc.py %3A%3Astop,line=7,")
        )


def test_what_did_not_run_in_time_has_no_points_and_says_so():
    done = [CheckResult(id, id, "passed") for id in EX1.checks[:3]]
    partial = platforms._partial(platforms.Settings("ex1"), done)
    result = platforms.gradescope(partial, dict.fromkeys(EX1.checks, 1.0))
    assert sum(test["score"] for test in result["tests"]) == 3 and len(result["tests"]) == len(EX1.checks)
    assert result["tests"][-1]["output"] == platforms.UNFINISHED


def test_a_fault_of_the_grader_is_no_result(tmp_path, monkeypatch, capsys):
    def broken(*arguments):
        raise platforms.InstallationError("torch is gone")

    monkeypatch.setattr(platforms, "grade_here", broken)
    config = {"platform": "gradescope", "settings": {"exercise": "ex1"}, "weights": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "results.json").write_text("a part of it")
    call = [str(tmp_path / name) for name in ("config.json", "work.py", "results.json")]
    assert platforms.main(call) == 2
    assert not (tmp_path / "results.json").exists() and "torch is gone" in capsys.readouterr().err


@pytest.mark.parametrize("environment", [{}, {name: "x" for name in RUNNER if name != "COMMIT_URL"}])
def test_without_the_runners_variables_there_is_no_result_for_classroom_50(environment):
    with pytest.raises(platforms.InstallationError, match="Classroom 50"):
        platforms.classroom50(Record("refused", "a link"), {"runs": 1}, environment)


def test_an_export_holds_what_a_grade_needs_and_no_work_of_the_instructors():
    names = exported_files()
    assert "tests/exercises/ex1/checks.py" in names and "solutions/ex1_fused_attention.py" in names
    assert not [name for name in names if name.startswith((".git", ".workbook", "runs", "docs"))]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--export", "moodle", "--out", "x.zip"], "one of gradescope"),
        (["--export", "gradescope"], "--out"),
        (["--export", "gradescope", "--out", "no/such/x.zip"], "no folder"),
    ],
)
def test_a_wrong_export_is_refused_in_one_sentence(arguments, words, capsys):
    assert main(["ex1", *arguments]) == 2
    assert words in capsys.readouterr().err and not Path("x.zip").exists()
