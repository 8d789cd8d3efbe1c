"""--solution and --reset: no work is lost, and the solution comes after a try."""

import re
import subprocess
import sys

import pytest

from grader.cli import main
from grader.learner import files, progress
from tests.exercises import EXERCISES
from tests.grader.attempts import SOLUTION, verdict_of

EX1 = EXERCISES["ex1"]


@pytest.fixture
def own(tmp_path, monkeypatch, own_progress):
    """The learner's file of exercise 1 in a workbook of this test's own; it is the stub."""
    for path in (EX1.attempt_path, EX1.stub_path, EX1.solution_path):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((files.REPOSITORY / path).read_bytes())
    stub = (tmp_path / EX1.stub_path).read_bytes()
    (tmp_path / EX1.attempt_path).write_bytes(stub)
    for name in ("grader.learner.files", "grader.cli", "grader.learner.hints"):
        monkeypatch.setattr(f"{name}.REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / EX1.attempt_path


def backups(own_progress):
    return sorted((own_progress / "backups").glob("*")) if (own_progress / "backups").exists() else []


def test_a_reset_puts_the_stub_back_and_keeps_the_attempt_with_its_date(own, own_progress, capsys):
    stub = own.read_bytes()
    own.write_bytes(b"# all my work\r\n\xff")
    assert main(["ex1", "--reset"]) == 0
    said = capsys.readouterr().out
    (kept,) = backups(own_progress)
    assert own.read_bytes() == stub
    assert kept.read_bytes() == b"# all my work\r\n\xff"
    assert re.fullmatch(r"ex1_fused_attention\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.py", kept.name)
    assert kept.name in said.replace("\n", "")


def test_before_a_notebook_writes_the_files_a_copy_is_kept_and_what_is_there_stays(own, own_progress, capsys):
    stub = own.read_bytes()
    files.keep("ex1")
    assert own.read_bytes() == stub and backups(own_progress) == []
    own.write_bytes(b"# all my work")
    files.keep("ex1")
    files.keep("ex1")  # the first cell once more
    (kept,) = backups(own_progress)
    assert own.read_bytes() == kept.read_bytes() == b"# all my work"
    assert "holds your work" in capsys.readouterr().out
    own.unlink()
    files.keep("ex1")
    assert own.read_bytes() == stub


def test_two_resets_in_one_second_keep_both_attempts(own, own_progress):
    for text in ("one", "two", "three"):
        own.write_text(text)
        assert main(["ex1", "--reset"]) == 0
    assert sorted(path.read_text() for path in backups(own_progress)) == ["one", "three", "two"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_reset_of_the_untouched_stub_does_nothing(own, own_progress, capsys, line_end):
    own.write_bytes(own.read_bytes().replace(b"\n", line_end))
    before, at = own.read_bytes(), own.stat().st_mtime_ns
    assert main(["ex1", "--reset"]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert (own.read_bytes(), own.stat().st_mtime_ns) == (before, at)
    assert backups(own_progress) == []


def test_a_missing_file_is_the_stub_again(own, own_progress, capsys):
    stub = own.read_bytes()
    own.unlink()
    assert main(["ex1"]) == 2
    assert "--reset" in capsys.readouterr().err
    assert main(["ex1", "--reset"]) == 0
    assert own.read_bytes() == stub and backups(own_progress) == []


def test_where_no_backup_can_be_made_the_attempt_stays(own, own_progress, capsys):
    own.write_text("all my work")
    own_progress.write_text("a file where the folder should be")
    assert main(["ex1", "--reset"]) == 2
    assert "could not be reset" in capsys.readouterr().err
    assert own.read_text() == "all my work"


def test_the_solution_waits_for_a_graded_attempt(own, capsys):
    assert main(["ex1", "--solution"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "--force" in said.err and said.err.count("\n") == 1
    assert main(["ex1", "--solution", "--force"]) == 0
    assert "class FusedMultiHeadAttention" in capsys.readouterr().out


def test_the_solution_comes_with_what_differs_from_the_attempt(own, capsys):
    own.write_text(
        '"""A docstring of mine."""\n'
        + SOLUTION.split('"""', 2)[2].replace("scores, dim=-1)", "scores, dim=-2)")
    )
    progress.record(verdict_of(EX1, ("values",)), pytest.fail)
    assert main(["ex1", "--solution"]) == 0
    said = capsys.readouterr().out
    whole, difference = said.split("From yours (-) to the solution (+):")
    assert SOLUTION.splitlines()[0].strip('"') in whole
    assert [line.strip() for line in difference.splitlines() if line.startswith("  -  ")] == [
        "-        weights = F.softmax(scores, dim=-2)  # each query shares out 1 among its keys"
    ]
    assert "A docstring of mine" not in said
    assert "\x1b" not in said


def test_a_notebook_stands_beside_the_solution_as_its_code(own, tmp_path, capsys):
    from tests.grader.test_sources import notebook

    (tmp_path / "theirs.ipynb").write_bytes(
        notebook("%pip install x", SOLUTION.replace("scores, dim=-1)", "scores, dim=-2)"))
    )
    assert main(["ex1", "--solution", "--force", "--attempt", str(tmp_path / "theirs.ipynb")]) == 0
    said = capsys.readouterr().out
    assert "scores, dim=-2)" in said and "cell_type" not in said


def test_after_a_pass_the_solution_says_what_to_compare(own, capsys):
    own.write_text(SOLUTION)
    progress.record(verdict_of(EX1), pytest.fail)
    assert main(["ex1", "--solution"]) == 0
    said = capsys.readouterr().out
    assert "line for line" in said and "What to compare" in said


@pytest.mark.parametrize(
    "data", [b"", b"def (:\n", b"# caf\xe9\n", b"\xef\xbb\xbfx = 1\n", b"\0\x1b[2J", None]
)
def test_any_attempt_can_stand_beside_the_solution(own, capsys, data):
    if data is None:
        own.unlink()
    else:
        own.write_bytes(data)
    assert main(["ex1", "--solution", "--force"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_pass_that_was_broken_since_is_not_called_one(own, own_progress, capsys):
    own.write_text("# mine\n" + SOLUTION)
    progress.record(verdict_of(EX1), print)
    progress.record(verdict_of(EX1, failed=["scale"]), print)
    assert main(["ex1", "--solution"]) == 0
    said = capsys.readouterr().out
    assert "What to compare" not in said and "write it yourself" in said


def test_after_a_reset_the_hints_begin_anew(own, own_progress, capsys):
    own.write_text("# mine\n")
    progress.record(verdict_of(EX1, failed=["scale"]), print)
    assert main(["ex1", "--reset"]) == main(["ex1", "--hint"]) == 0
    said = capsys.readouterr().out
    assert "Hint 1 of" in said and "found nothing wrong" not in said


def test_the_overview_says_that_what_was_solved_fails_now(own, own_progress, capsys):
    for failed in ((), ("scale",)):
        progress.record(verdict_of(EX1, failed=failed), print)
    assert main([]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "fails again, 2 attempts" in said and "check it again: python grade.py ex1" in said


def test_a_command_that_is_too_long_for_a_line_can_be_pasted_as_it_stands(tmp_path):
    import io
    import subprocess
    import sys

    from rich.console import Console

    from grader.learner import report

    out = Console(file=io.StringIO(), width=60)
    path = str(tmp_path / "a file of mine" / "with a name" / "attempt.py")
    report.next_step(out, "then:", f"echo --attempt '{path}' --device cpu --seed 12 --quick")
    lines = out.file.getvalue().splitlines()[1:]
    assert len(lines) > 1
    if sys.platform != "win32":
        said = subprocess.run(["sh", "-c", "\n".join(lines)], capture_output=True, text=True).stdout
        assert said.split() == f"--attempt {path} --device cpu --seed 12 --quick".split()


@pytest.mark.slow
def test_a_file_that_appears_beside_grade_py_between_two_grades_hides_no_module(workbook):
    # Python lists a folder anew when it has changed, and an attempt may not list that one.
    script = (
        "from pathlib import Path\n"
        "from grader.judge.grade import Session, grade, read_source\n"
        "from grader.judge.processes import Starter\n"
        "source = read_source(Path('solutions/ex2_addition.py'))\n"
        "with Session(Starter()) as session:\n"
        "    for name in ('one', 'other'):\n"
        "        print(grade(session, 'ex2', source, device='cpu', only=['runs']).checks[0].status)\n"
        "        Path(name).write_text('x')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=workbook, capture_output=True, text=True)
    assert done.stdout.split() == ["passed", "passed"], done.stderr
