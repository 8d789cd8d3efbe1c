"""The command line: what it says to a wrong call, exit statuses, files, and what it costs to ask."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader.cli import main
from grader.judge.grade import Source, grade
from grader.workbook import write_atomically
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY, SOLUTION, in_forward


def grade_py(*arguments, **options):
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "grade.py"), *arguments], capture_output=True, text=True, **options
    )


@pytest.mark.skipif(os.name == "nt", reason="its special files have other names")
def test_a_special_file_is_written_to_and_never_replaced(tmp_path):
    pipe, target, link = tmp_path / "pipe", tmp_path / "target.json", tmp_path / "link.json"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "verdict")
    assert os.read(reader, 100) == b"verdict" and pipe.is_fifo()
    os.close(reader)
    link.symlink_to(target)
    write_atomically(link, "verdict")
    assert link.is_symlink() and target.read_text() == "verdict"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["ex99"], "no exercise 'ex99'"),
        (["ex1", "--attempt", "no/such/file.py"], "no/such/file.py cannot be read"),
        (["ex1", "--json", "no/such/folder/v.json"], "v.json cannot be written"),
        (["ex1", "--junit", "/"], "cannot be written"),
        (["ex1", "--device", "tpu"], "invalid choice: 'tpu'"),
        (["ex1", "--seed", "x"], "--seed"),
        (["ex1", "--seed", "-1"], "--seed is -1"),
        (["--attempt", "x.py"], "needs an exercise"),
        (["all", "--attempt", "x.py"], "one exercise"),
        (["ex1", "--html", "report"], "it is a page, so its name must end in .html"),
        (["ex1", "--html", "r.html", "--json", "r.html"], "both name r.html; each needs a file of its own"),
        (["--json", "x.json"], "needs an exercise"),
        (["ex1", "--json", "mine.py"], "looks like source code"),
        (["EX1"], "did you mean ex1?"),
        (["ex1_fused_attention.py"], "--attempt FILE"),
        (["ex1", "--no-such-option"], "--no-such-option"),
        (["--demo", "--selftest"], "alone"),
        (["--hint"], "needs an exercise: python grade.py ex1 --hint."),
        (["--watch"], "needs an exercise"),
        (["all", "--reset"], "one exercise"),
        (["ex1", "--hint", "--solution"], "two different things"),
        (["ex1", "--force"], "--force goes with --solution"),
        (
            ["ex1", "--reset", "--attempt", "x.py"],
            "--attempt goes with a plain grade or --watch or --solution or --replay, and not",
        ),
        (
            ["ex1", "--hint", "--json", "v.json"],
            "--json goes with a plain grade or --watch, and not with --hint",
        ),
        (["ex1", "--reset", "--quick"], "--quick goes with"),
        (["ex1", "--class", "tests"], "--out RESULTS"),
        (["ex1", "--class", "no/such/folder", "--out", "x"], "no/such/folder is no folder"),
        (["--class", "tests", "--out", "x"], "--class needs an exercise"),
        (["all", "--class", "tests", "--out", "x"], "one exercise"),
        (["ex1", "--class", "tests", "--out", "tests/x"], "lie in each other"),
        (["ex1", "--class", "tests", "--out", "x", "--jobs", "0"], "--jobs is 0"),
        (["ex1", "--class", "tests", "--out", "x", "--shard", "3/2"], "--shard is '3/2'"),
        (["ex1", "--class", "tests", "--out", "x", "--attempt", "y.py"], "--attempt goes with"),
        (["ex1", "--jobs", "2"], "--jobs goes with --class"),
        (["--merge", "no/such/results", "--out", "no/such"], "no/such/results"),
    ],
)
def test_a_wrong_call_gets_one_sentence_and_status_2(arguments, words, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err and said.err.count("\n") == 1
    assert not Path("no/such").exists()


def test_cuda_where_there_is_none_gets_one_sentence_and_status_2(capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here; test_devices.py grades on it")
    assert main(["ex1", "--device", "cuda"]) == 2
    said = capsys.readouterr()
    assert "no CUDA device" in said.err and said.err.count("\n") == 1


def test_help_and_wrong_calls_import_neither_torch_nor_pytest():
    code = "import sys; from grader.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'pytest', 'hypothesis', 'numpy'} & set(sys.modules)"
    for arguments in (["--help"], ["ex99"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_judge_never_imports_torch():
    stub_path = EXERCISES["ex1"].stub_path
    code = (
        f"import sys; from grader.cli import main\nstatus = main(['ex1', '--device', 'cpu', '--attempt', "
        f"{stub_path!r}])\n"
    )
    code += "assert status == 1 and 'torch' not in sys.modules and 'pytest' in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def stub():
    return (REPOSITORY / EXERCISES["ex1"].stub_path).read_text()


@pytest.mark.slow
def test_the_stub_is_not_started_and_says_what_to_do(tmp_path):
    path = tmp_path / "stub.py"
    path.write_text(stub())
    done = grade_py("ex1", "--attempt", str(path), "--device", "cpu")
    assert done.returncode == 1
    assert "not started yet" in done.stdout
    assert str(path) in re.sub(r"\n\s+", "", done.stdout)
    assert "python grade.py ex1" in done.stdout
    assert "FAIL" not in done.stdout


@pytest.mark.slow
def test_the_solution_passes_with_status_0_and_a_report_that_says_what_was_graded(tmp_path):
    out = tmp_path / "verdict.json"
    done = grade_py(
        "ex1",
        "--attempt",
        "solutions/ex1_fused_attention.py",
        "--json",
        str(out),
        "--seed",
        "3",
        "--quick",
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(out.read_text())
    assert verdict["passed"] and verdict["complete"] and verdict["seed"] == 3
    assert verdict["attempt"]["path"] == "solutions/ex1_fused_attention.py"
    assert verdict["attempt"]["sha256"][:12] in done.stdout
    assert set(verdict) == {
        "schema",
        "exercise",
        "passed",
        "complete",
        "attempt",
        "device",
        "isolation",
        "seed",
        "seconds",
        "checks",
        "remarks",
    }
    for check in verdict["checks"]:
        assert set(check) == {"id", "title", "status", "seconds", "message", "mistake", "case"}
        assert check["status"] == "passed"
    for part in (verdict["device"], verdict["isolation"], "seed 3"):
        assert part in done.stdout


@pytest.mark.slow
def test_a_wrong_attempt_gets_its_mistake_explained_in_plain_text_of_100_columns(tmp_path):
    path, out = tmp_path / "mine.py", tmp_path / "verdict.json"
    path.write_text(SOLUTION.replace("q.shape[-1] ** -0.5", "C ** -0.5"))
    done = grade_py("ex1", "--attempt", "mine.py", "--json", str(out), cwd=tmp_path)
    assert done.returncode == 1
    assert "scaled by C instead of D" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert re.search(r"^Next: ", done.stdout, re.M)
    failed = [check for check in json.loads(out.read_text())["checks"] if check["status"] == "failed"]
    assert {check["mistake"] for check in failed} == {"scale_by_width"}
    assert all(check["case"] for check in failed)


@pytest.mark.slow
def test_the_demo_shows_a_diagnosis_then_the_reference_and_ends_with_the_first_step():
    done = grade_py("--demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the softmax runs over the queries" in done.stdout
    assert done.stdout.index("Not yet") < done.stdout.index("Done: ")
    assert (
        done.stdout.rstrip()
        .splitlines()[-1]
        .startswith("Your first step: open exercises/ex1_fused_attention.py")
    )


def test_without_arguments_it_says_what_there_is_and_what_is_next(capsys, own_progress):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(exercise.title.split(":")[0] in said for exercise in EXERCISES.values())
    assert "python grade.py ex1" in said


@pytest.mark.slow
def test_it_can_be_called_from_any_directory(tmp_path):
    (tmp_path / "mine.py").write_text(SOLUTION)
    done = grade_py("ex1", "--attempt", "mine.py", "--json", "v.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "v.json").read_text())["attempt"]["path"] == "mine.py"
    assert {path.name for path in Path(tmp_path).iterdir()} == {"mine.py", "v.json"}


def test_a_wrong_environment_variable_gets_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("GRADE_START_METHOD", "teleport")
    assert main(["ex1"]) == 2
    assert "teleport" in capsys.readouterr().err
    monkeypatch.setenv("GRADE_START_METHOD", "spawn")
    monkeypatch.setenv("GRADE_PATIENCE", "none")
    assert main(["ex1"]) == 2
    assert "GRADE_PATIENCE" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.0, 6.0])
def test_ctrl_c_ends_with_one_line_and_leaves_nothing_behind(tmp_path, leftovers, seconds):
    # While the modules are imported, while torch is, and while a check hangs.
    path = tmp_path / "stuck.py"
    path.write_text(in_forward("while True: pass"))
    before = leftovers()
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "grade.py"), "ex1", "--attempt", str(path), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "stopped" in err
    assert not list(tmp_path.glob("grade-*"))
    assert leftovers()[1] - before[1] == set()


@pytest.mark.slow
def test_what_the_file_prints_is_shown_where_it_fails(tmp_path):
    (tmp_path / "mine.py").write_text(in_forward("print('the shape is', tuple(x.shape))\nreturn None"))
    done = grade_py("ex1", "--attempt", "mine.py", cwd=tmp_path)
    assert "Your file printed" in done.stdout
    assert "the shape is (2, 6, 32)" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_terminal_cuts_nothing_off(tmp_path, columns):
    if sys.platform == "win32":
        pytest.skip("Windows has no pseudo-terminal")
    (tmp_path / "mine.py").write_text(
        SOLUTION.replace("dim=-1)\n        weights", "dim=-2)\n        weights").replace(
            "F.softmax(scores, dim=-1)", "F.softmax(scores, dim=-2)"
        )
    )
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "grade.py"), "ex1", "--attempt", "mine.py", "--device", "cpu"],
        cwd=tmp_path,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"COLUMNS": str(columns), "NO_COLOR": "1"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    process.wait()
    os.close(ours)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).splitlines()
    assert max(map(len, lines)) <= columns
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(lines)
    assert "the softmax runs over the queries" in "\n".join(lines)


def without(source: str, name: str) -> str:
    """A source in which the function or class `name` raises NotImplementedError, as the stub's does."""
    lines = source.splitlines()
    node = next(node for node in ast.parse(source).body if getattr(node, "name", "") == name)
    node = next((inner for inner in node.body if getattr(inner, "name", "") == "__init__"), node)
    lines[node.body[0].lineno - 1 : node.end_lineno] = [
        " " * node.body[0].col_offset + "raise NotImplementedError('later')"
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", EXERCISES)
def test_an_unwritten_part_is_to_do_without_the_training_runs_too(patient_session, name):
    # The last part that each sheet asks for: what trains, where the exercise trains something.
    part = EXERCISES[name].defines[-1]
    source = without((REPOSITORY / EXERCISES[name].solution_path).read_text(), part)
    verdict = grade(patient_session, name, Source(Path("a.py"), source.encode()), device="cpu", quick=True)
    assert not verdict.passed
    todo = [check for check in verdict.checks if check.unfinished]
    assert todo and all(
        check.status == "failed" and "Not written yet: later" in check.message for check in todo
    )
    assert [check for check in verdict.checks if check.status == "failed"] == todo


def test_nan_is_called_so_before_anything_is_counted(graded):
    verdict = graded(in_forward("if self.training: return x * float('nan')"))
    failed = [check for check in verdict.checks if check.status == "failed"]
    assert failed and all("NaN" in check.message for check in failed), [(c.id, c.message) for c in failed]


LONG = "first = 1; second = 2; third = 3; fourth = 4; fifth = 5; sixth = 6; seventh = 7; "


@pytest.mark.parametrize("after", ["", "; " + LONG])
def test_a_long_line_is_shown_where_its_error_is(graded, after):
    for source, shown in (
        (
            in_forward(LONG + "name = 'é' * 30; broken = self.qkv(x[..., :-1])" + after),
            "self.qkv(x[..., :-1])",
        ),
        (SOLUTION + LONG + "broken = (1 + 2]" + after + "\n", "(1 + 2]"),
    ):
        (check, *_) = [check for check in graded(source).checks if check.status == "failed"]
        assert shown in check.details[0] and len(check.details[0]) < 110


@pytest.mark.slow
def test_with_no_names_an_exam_gets_the_verdict_without_mistakes_and_hints(tmp_path, capsys):
    verdict = tmp_path / "verdict.json"
    file = str(REPOSITORY / "tests" / "exercises" / "ex1" / "example_attempt.py")
    options = ["ex1", "--attempt", file, "--device", "cpu", "--no-names", "--json", str(verdict)]
    assert main(options) == 1
    said, checks = capsys.readouterr().out, json.loads(verdict.read_text())["checks"]
    failed = [check for check in checks if check["status"] == "failed"]
    assert failed and all(check["mistake"] is None for check in failed)
    assert "mistake" not in said and "--hint" not in said and "--no-names" in said
