"""A token builds its failing case again: the script fails where the attempt does, and else ends well."""

import dataclasses
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from grader.cli import main
from grader.judge import tokens
from grader.judge.grade import Source, grade
from grader.learner import files
from grader.learner.replay import FailingCase, script
from grader.workbook import UsageError
from tests.exercises import EXERCISES
from tests.exercises.battery.module import Size
from tests.exercises.exam import Location
from tests.grader.attempts import REPOSITORY, SOLUTION, with_mistake

RIGHT = "Nothing is wrong with this case now"
# Of every kind: drawn shapes, dropout, counted operations, text, batches, samplers, test models, training.
MISTAKES = {
    "ex1": (
        "softmax_over_queries",
        "mask_not_cropped",
        "dropout_on_values",
        "loop_over_heads",
        "fuse_shares_projection",
        "mask_is_no_buffer",
    ),
    "ex2": (
        "answer_not_reversed",
        "loss_summed",
        "held_out_drawn",
        "mode_always_train",
        "one_step_more",
        "batch_on_cpu",
    ),
}


def failing(session, exercise, source: str):
    verdict = grade(
        session, exercise.name, Source(Path("attempt.py"), source.encode()), device="cpu", quick=False
    )
    return [check for check in verdict.checks if check.status == "failed"]


def outcome(path: Path, capsys) -> str:
    """Run a script in this process; what it ends in."""
    before = list(sys.path)
    try:
        runpy.run_path(str(path))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        sys.path[:] = before
    return capsys.readouterr().out


def says_the_same(came: str, check) -> bool:
    """The check's own words, or the exception that the report quotes, by its name."""
    kind, said = came.split(": ", 1)
    return (
        " ".join(check.message.split())[:80] in " ".join(said.split()) or f"raised {kind}:" in check.message
    )


@pytest.mark.slow
@pytest.mark.parametrize("name, mistake", [(name, id) for name, ids in MISTAKES.items() for id in ids])
def test_the_script_of_each_failing_case_shows_the_difference_and_ends_well_with_the_solution(
    session, tmp_path, capsys, name, mistake
):
    exercise = EXERCISES[name]
    source = with_mistake(exercise, mistake)
    wrong, right = tmp_path / "wrong.py", tmp_path / "right.py"
    wrong.write_text(source)
    right.write_text((REPOSITORY / exercise.solution_path).read_text())
    checks = failing(session, exercise, source)
    assert checks
    for check in checks:
        case = FailingCase(check.replay)
        for file in (wrong, right):
            text = script(case, file, "replay.py")
            assert len(text.splitlines()) < 48 and max(map(len, text.splitlines())) <= 160
            assert "python -m pdb replay.py" in text
            (tmp_path / "replay.py").write_text(text)
            came = outcome(tmp_path / "replay.py", capsys)
            if file == right:
                assert RIGHT in came, (check.replay, came)
            else:
                assert says_the_same(came, check), (check.replay, came)


@pytest.mark.slow
def test_a_script_of_several_looks_shows_the_one_in_which_a_device_is_missing(session, tmp_path, capsys):
    find = "self.future[:T, :T]"
    table = "torch.ones(T, T).triu(1).bool()"  # for shorter texts alone
    source = SOLUTION.replace(find, f"(self.future if T == len(self.future) else {table})")
    assert source != SOLUTION
    [check] = failing(session, EXERCISES["ex1"], source)
    (tmp_path / "wrong.py").write_text(source)
    (tmp_path / "replay.py").write_text(script(FailingCase(check.replay), tmp_path / "wrong.py", "replay.py"))
    assert says_the_same(outcome(tmp_path / "replay.py", capsys), check)


# Tokens.


def token(look=1, series=0, case=None, *, exercise="ex1", check="values", seed=0, device="cpu"):
    return tokens.write(exercise, check, seed, device, Location(look, series, case))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "case", [Size(1, 3, 128, 2, 4, 0), (9, 10**9 - 1, 3), ("a\n\u00fc", -1.5, (1, (2,)), True, None), 7]
)
def test_a_token_is_read_as_it_was_written(case, device):
    text = token(2, 1, case, seed=2**32 - 1, device=device)
    read = tokens.read(text)
    items = (
        tuple(vars(case).values())
        if dataclasses.is_dataclass(case)
        else case
        if isinstance(case, tuple)
        else (case,)
    )
    assert (read.exercise, read.check, read.seed, read.look, read.series) == (
        "ex1",
        "values",
        2**32 - 1,
        2,
        1,
    )
    assert read.items == items and read.device == device
    assert re.fullmatch(r"[\w.-]+", text, re.ASCII)  # no shell takes any of it for something else


def test_a_token_of_a_case_that_is_not_drawn_is_short():
    assert re.fullmatch(r"ex1\.scale\.0\.1\.[0-9a-f]{6}", token(check="scale"))


def damaged(text: str):
    yield from (
        text[:-1],
        text[:10],
        text + "0",
        text.replace("values", "output"),
        text.replace(".0.", ".1.", 1),
    )
    yield from (
        text.replace("-1.", "-2."),
        text.replace("Size", "Tables"),
        text.replace("128", "129"),
        text.upper(),
    )


@pytest.mark.parametrize("text", list(damaged(token(1, 1, Size(1, 3, 128, 2, 4, 0)))))
def test_a_damaged_token_gets_one_sentence_and_status_2(text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--replay", text]) == 2
    said = capsys.readouterr()
    assert "token" in said.err and said.err.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "ex9.values.0.1.123456",
        "../../etc/passwd",
        "ex1.values.0.1.\u0661\u0662\u0663456",
        "$(id)",
        "a" * 10**6,
    ],
)
def test_what_is_no_token_gets_one_sentence_and_status_2(text, capsys):
    assert main(["--replay", text]) == 2
    said = capsys.readouterr().err
    assert "is no token" in said and said.count("\n") == 1 and len(said) < 300


HOSTILE = {
    "more memory than there is": token(1, 1, Size(10**9, 10**9, 10**9, 1, 10**9, 0)),
    "a number beyond all limits": token(1, 1, (10**11, 0, 1)),
    "sizes that do not fit": token(1, 1, Size(1, 3, 0, 0, 4, 0)),
    "a field too many": token(1, 1, (1, 2, 3, 4)).replace("tuple", "Size"),
    "no drawn case in the check": token(1, 3, Size()),
    "a look that never comes": token(999),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_case_that_is_none_of_the_check_does_no_harm(name, tmp_path):
    text = HOSTILE[name]
    text = text[:-6] + tokens._sum(text[:-7])  # whoever makes one up can compute the checksum as well
    try:
        written = script(FailingCase(text), tmp_path / "mine.py", "replay.py")
    except UsageError as error:
        assert "token" in str(error)
    else:  # a script that looks at the check as a whole
        assert "Replay(" in written


def test_tokens_of_other_checks_are_told_apart(monkeypatch):
    text = token()
    monkeypatch.setattr(tokens, "_version", lambda: b"another version")
    with pytest.raises(UsageError, match="another version"):
        tokens.read(text)


def test_the_checksum_is_the_same_whatever_the_line_ends_are(tmp_path, monkeypatch):
    for name, end in (("unix", b"\n"), ("windows", b"\r\n")):
        folder = tmp_path / name / "tests" / "exercises" / "ex1"
        folder.mkdir(parents=True)
        (folder / "checks.py").write_bytes(b"one = 1" + end + b"two = 2" + end)
    sums = set()
    for name in ("unix", "windows"):
        monkeypatch.setattr(tokens, "REPOSITORY", tmp_path / name)
        sums.add(tokens._version.__wrapped__())
    assert len(sums) == 1


# The command.


@pytest.mark.slow
def test_the_report_and_the_json_carry_the_token_and_the_command_writes_the_script(workbook, tmp_path):
    def python(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=100
        )

    grade_py = str(workbook / "grade.py")
    own = workbook / "exercises" / "ex1_fused_attention.py"
    own.write_text(SOLUTION.replace("q.shape[-1] ** -0.5", "1.0"))
    graded = python(grade_py, "ex1", "--device", "cpu", "--json", "verdict.json")
    (text,) = re.findall(r"--replay (ex1\.scale\.\S+)", graded.stdout)
    assert f'"replay": "{text}"' in (tmp_path / "verdict.json").read_text()

    written = python(grade_py, "--replay", text)
    assert written.returncode == 0, written.stderr
    path = tmp_path / "replay_ex1_scale.py"
    assert len(path.read_text().splitlines()) < 40 and str(own) in path.read_text()
    done = python(str(path))
    assert done.returncode == 1 and "AssertionError: The scores q . k must be multiplied by" in done.stderr

    # A debugger stops in the learner's own line, and after it where the difference shows.
    line = 1 + own.read_text().splitlines().index("        weights = self.weight_dropout(weights)")
    commands = [
        "-c",
        f"b {own}:{line}",
        "-c",
        "c",
        "-c",
        "p weights.shape",
        "-c",
        "c",  # a second look: is it a factor?
        "-c",
        "c",
        "-c",
        "p difference[:10]",
        "-c",
        "q",
    ]
    debugged = python("-m", "pdb", *commands, str(path)).stdout
    assert "torch.Size([2, 5, 3, 3])" in debugged and "'The scores" in debugged

    # Written again over what the learner has changed: kept.
    path.write_text("# notes of mine\n")
    again = python(grade_py, "ex1", "--replay", text)
    assert again.returncode == 0 and "is kept" in again.stdout
    kept = list((workbook / ".workbook" / "backups").glob("replay_ex1_scale.*.py"))
    assert [file.read_text() for file in kept] == ["# notes of mine\n"]
    own.write_text(SOLUTION)
    assert RIGHT in python(str(path)).stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["ex2", "--replay", token()], "the token is of ex1"),
        (["--replay", token(), "--attempt", "no/such.py"], "cannot be read"),
        (
            ["--replay", token(), "--json", "v.json"],
            "--json goes with a plain grade or --watch, and not with --replay",
        ),
        (["ex1", "--replay", token(), "--hint"], "two different things"),
    ],
)
def test_a_wrong_call_of_replay_gets_one_sentence(arguments, words, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1


@pytest.mark.slow
def test_a_script_stays_with_the_file_of_the_attempt(tmp_path, monkeypatch, capsys):
    (tmp_path / "theirs.py").write_text(SOLUTION)
    monkeypatch.chdir(tmp_path)
    assert main(["--replay", token(check="scale"), "--attempt", "theirs.py"]) == 0
    assert str(tmp_path / "theirs.py") in (tmp_path / "replay_ex1_scale.py").read_text()
    assert files.backups().name not in os.listdir(tmp_path)


@pytest.mark.slow
def test_the_script_of_a_notebook_and_of_a_file_with_helpers_runs_their_code(tmp_path, monkeypatch, capsys):
    from tests.grader.test_sources import notebook

    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "helper_of_theirs.py").write_text("SIZE = 3\n")
    (tmp_path / "theirs.ipynb").write_bytes(
        notebook(
            "%pip install x", "%%writefile helper_in_cell.py\nSIZE = 3", f"import helper_in_cell\n{SOLUTION}"
        )
    )
    (tmp_path / "theirs.py").write_text("import helper_of_theirs\n" + SOLUTION)
    for call in (["theirs.ipynb"], ["theirs.py", "--with", "elsewhere/helper_of_theirs.py"]):
        assert main(["--replay", token(check="scale"), "--attempt", *call]) == 0
        assert RIGHT in outcome(tmp_path / "replay_ex1_scale.py", capsys)
