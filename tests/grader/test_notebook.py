"""The notebook: what it holds, what its calls do with a learner's work, and that it runs from its first cell
to its last."""

import csv
import json
import os
import shutil
import subprocess
import sys
from functools import partial

import pytest

from grader.author import notebook as author
from grader.author.sheets import SHEETS
from grader.learner import files, notebook
from grader.workbook import REPOSITORY
from tests import exercises
from tests.grader.attempts import SOLUTION

FOUR = [exercises.EXERCISES[name] for name in exercises.FOUR]
EX1 = exercises.EXERCISES["ex1"]
WHY = 'an optional extra that is not installed: pip install -e ".[notebook]"'


@pytest.mark.parametrize(
    "path, book", [(author.PATH, author.notebook), (author.MENU_PATH, author.menu)], ids=["four", "menu"]
)
def test_the_notebooks_hold_the_stubs_as_they_are(path, book):
    written = path.read_text(encoding="utf-8")
    assert written == author.as_json(book()), "run python -m grader.author.notebook"


def test_every_exercise_has_a_sheet_with_formulas_and_a_drawing():
    assert set(SHEETS) == set(exercises.EXERCISES)
    for name, shown in SHEETS.items():
        assert shown.formulas.count("$$") == 2, name
        assert max(map(len, shown.drawing.splitlines())) <= 110, name


@pytest.mark.parametrize("name", [name for name, shown in SHEETS.items() if shown.tries])
def test_what_a_sheet_tries_works_with_the_solution_and_is_not_written_in_the_stub(name, capsys):
    exercise, tries = exercises.EXERCISES[name], SHEETS[name].tries
    assert run_here(exercise.solution_path, tries) is None and capsys.readouterr().out
    with pytest.raises(NotImplementedError):
        run_here(exercise.stub_path, tries)


def run_here(path: str, tries: str) -> None:
    module: dict = {"__name__": "tried"}
    exec(compile((REPOSITORY / path).read_text(encoding="utf-8"), path, "exec"), module)
    exec(compile(tries, "what is tried", "exec"), module)


def test_the_badge_opens_the_notebook_where_the_workbook_has_an_address():
    at = "https://github.com/someone/workbook.git"
    assert author.colab(author.PATH, at).endswith("/someone/workbook/blob/main/exercises/workbook.ipynb")
    assert author.colab(author.PATH, "").endswith("/github/")
    first = author.notebook()["cells"][0]["source"]
    assert first[0].startswith(f"[![Open in Colab]({author.BADGE})](https://colab.research.google.com/")


@pytest.fixture
def shell(tmp_path, monkeypatch, own_progress):
    """A notebook's shell without a notebook, in a workbook of this test's own; a grade only says its call."""
    interactive = pytest.importorskip("IPython.core.interactiveshell", reason=WHY)
    for path in (EX1.attempt_path, EX1.stub_path):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((REPOSITORY / EX1.stub_path).read_bytes())
    for name in ("grader.learner.files", "grader.learner.notebook"):
        monkeypatch.setattr(f"{name}.REPOSITORY", tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    made = interactive.InteractiveShell()
    made.history_manager.enabled = False
    monkeypatch.setattr(notebook, "_has_pictures", lambda: False)
    monkeypatch.setattr(notebook, "_ip", lambda: made)
    monkeypatch.setattr(notebook, "run", lambda *arguments: print("run", *arguments))
    monkeypatch.setattr(notebook, "_defined", {})
    made.user_ns |= {"check": notebook.check}
    notebook.begin("ex1")
    yield made
    made.history_manager.end_session()


def cell(shell, text: str) -> None:
    assert shell.run_cell(text).success


def own_file() -> str:
    return (notebook.REPOSITORY / EX1.attempt_path).read_text(encoding="utf-8")


def copies() -> list[str]:
    return sorted(path.read_text(encoding="utf-8") for path in files.backups().glob("*"))


TWO = "class FusedMultiHeadAttention:\n    size = 3\n\n\ndef fuse_heads(baseline):\n    return {}\n"


def test_a_cell_of_an_exercise_runs_in_the_kernel_and_is_its_file_line_by_line(shell, capsys):
    text = TWO.format(1)
    cell(shell, "%%exercise ex1\n" + text)
    assert shell.user_ns["FusedMultiHeadAttention"].size == 3
    assert own_file().splitlines()[1 : 1 + len(text.splitlines())] == text.splitlines()
    assert "speed import main" in own_file()  # what the script does is still at its end
    assert f"Saved as {EX1.attempt_path}." in capsys.readouterr().out
    cell(shell, "check(FusedMultiHeadAttention, fuse_heads)")
    assert "run grade.py ex1" in capsys.readouterr().out


def test_what_only_a_script_does_is_not_done_in_the_kernel_and_stays_in_the_file(shell, capsys):
    cell(
        shell, "%%exercise ex1\n" + TWO.format(1) + '\nif __name__ == "__main__":\n    print("as a script")\n'
    )
    assert "as a script" not in capsys.readouterr().out
    assert own_file().count('print("as a script")') == 1 and "speed import main" not in own_file()


def test_commands_of_a_notebook_are_run_and_not_saved(shell):
    cell(shell, "%%exercise ex1\n%config InlineBackend\n" + TWO.format(1))
    assert "%config" not in own_file() and own_file().splitlines()[1] == "pass"


def test_no_cell_replaces_work_without_a_copy_and_the_empty_sheet_replaces_nothing(shell, capsys):
    path = notebook.REPOSITORY / EX1.attempt_path
    path.write_text("work = 1\n")
    notebook.begin("ex1")  # the first cell once more
    assert own_file() == "work = 1\n" and copies() == ["work = 1\n"]
    cell(shell, f"%%exercise ex1\n{notebook.sheet(EX1)[1]}")
    assert own_file() == "work = 1\n"
    assert 'work("ex1") puts it into a cell' in capsys.readouterr().out
    cell(shell, "%%exercise ex1\n" + TWO.format(1))
    mine = own_file()
    cell(shell, "%%exercise ex1\n" + TWO.format(2))
    assert copies() == sorted(["work = 1\n", mine])
    cell(shell, f"%%writefile {EX1.attempt_path}\nother = 1\n")
    assert own_file() == "other = 1\n" and len(copies()) == 3


def test_work_puts_the_file_into_a_new_cell_which_gives_the_same_file_again(shell):
    cell(shell, "%%exercise ex1\n" + TWO.format(1))
    before = own_file()
    shown = []
    shell.set_next_input = shown.append
    notebook.work("ex1")
    cell(shell, shown[0])
    assert own_file().split() == before.split()


def test_what_was_not_saved_is_not_graded_and_is_told_how_to_be(shell, capsys):
    cell(shell, TWO.format(1))  # without the first line
    cell(shell, "check(FusedMultiHeadAttention, fuse_heads)")
    said = capsys.readouterr().out
    assert "run grade.py" not in said and "%%exercise ex1" in said
    cell(shell, "%%exercise ex1\n" + TWO.format(1))
    cell(shell, TWO.format(2))  # defined anew beside it
    cell(shell, "check(FusedMultiHeadAttention)")
    assert "run grade.py" not in capsys.readouterr().out
    cell(shell, "check('ex1')")
    assert "run grade.py ex1" in capsys.readouterr().out
    cell(shell, "check(print)")
    assert "No exercise defines print" in capsys.readouterr().out
    cell(shell, "%%exercise ex99\nx = 1")
    assert "no exercise 'ex99'" in capsys.readouterr().out


def test_a_cell_that_does_not_run_is_saved_all_the_same_since_its_grade_says_why(shell, capsys):
    cell(shell, "%%exercise ex1\n" + TWO.format(1))
    cell(shell, "%%exercise ex1\nclass FusedMultiHeadAttention(:\n")
    assert "class FusedMultiHeadAttention(:" in own_file()
    assert "FusedMultiHeadAttention" not in shell.user_ns  # the one of the earlier cell does not pass for it
    cell(shell, "check('ex1')")
    assert "run grade.py ex1" in capsys.readouterr().out


def test_one_line_runs_saves_and_grades_with_training_runs_on_request(shell, capsys):
    cell(shell, "%%grade ex1\n" + TWO.format(1))
    assert "run grade.py ex1" in capsys.readouterr().out and "size = 3" in own_file()
    ex2 = exercises.EXERCISES["ex2"]
    notebook.show_grade(ex2, training=False)
    notebook.show_grade(ex2, training=True)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("run")]
    assert "--quick" in said[0] and "--quick" not in said[1]


def test_a_report_with_pictures_is_shown_in_a_frame_and_one_without_as_text(shell, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(notebook, "_has_pictures", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    script = (
        "import pathlib, sys; print('<b>text</b>');"
        "pathlib.Path(sys.argv[-1]).write_text('<p onclick=\"x\">') if {} else 0"
    )
    for writes in (True, False):
        called = partial(notebook._started, "-c", script.format(writes))
        with monkeypatch.context() as m:
            m.setattr(notebook, "_started", called)
            notebook.show_grade(EX1, training=False)
    [data] = shown
    assert 'srcdoc="&lt;p onclick=&quot;x&quot;&gt;"' in data["text/html"]
    assert "<pre>&lt;b&gt;text" in data["text/html"] and data["text/plain"] == "<b>text</b>\n"
    assert capsys.readouterr().out.count("<b>text</b>") == 1


@pytest.fixture
def workbook(tmp_path):
    """A copy of the repository, since the notebook writes into exercises/."""
    copy = tmp_path / "workbook"
    left_out = shutil.ignore_patterns(
        ".git",
        ".venv",
        "runs",
        "cache",
        "__pycache__",
        ".workbook",
        ".hypothesis",
        "*.egg-info",
        ".pytest_cache",
    )
    shutil.copytree(REPOSITORY, copy, ignore=left_out)
    return copy


def code(text: str) -> dict:
    return {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": text}


@pytest.mark.slow
def test_the_notebook_runs_with_a_failing_attempt_and_passes_with_the_solutions(workbook, monkeypatch):
    nbclient, nbformat, _ = (
        pytest.importorskip(name, reason=WHY) for name in ("nbclient", "nbformat", "ipykernel")
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setenv("GRADE_PATIENCE", "10")  # a busy machine is no failure
    # What is typed into the cells is what counts: no exercise may be found solved already.
    for exercise in FOUR:
        (workbook / exercise.attempt_path).write_text("print('an earlier attempt')\n", encoding="utf-8")
    book = nbformat.read(workbook / "exercises" / "workbook.ipynb", as_version=4)
    nbformat.validate(book)
    set_up = next(cell for cell in book.cells if cell.cell_type == "code")
    cells = []
    for cell in book.cells:
        for exercise in FOUR:
            if cell.source.startswith(f"%%exercise {exercise.name}\n"):
                solution = (workbook / exercise.solution_path).read_text(encoding="utf-8")
                if exercise.name == "ex1":
                    wrong = solution.replace("scores, dim=-1)", "scores, dim=-2)")
                    assert wrong != solution
                    cells += [nbformat.from_dict(code(f"%%grade ex1\n{wrong}"))]
                cell.source = f"%%exercise {exercise.name}\n{solution}"
        cells.append(cell)
    book.cells = [*cells, nbformat.from_dict(code(set_up.source)), nbformat.from_dict(code('hint("ex1")'))]
    client = nbclient.NotebookClient(
        book, timeout=400, resources={"metadata": {"path": workbook / "exercises"}}
    )
    client.execute()

    def shown(cell) -> str:
        return "".join(
            output.get("text", output.get("data", {}).get("text/plain", "")) for output in cell.outputs
        )

    codes = [cell for cell in book.cells if cell.cell_type == "code"]
    [failed] = [shown(cell) for cell in codes if cell.source.startswith("%%grade ex1")]
    assert "FAIL" in failed and "the softmax runs over the queries" in failed
    for exercise in FOUR:
        [verdict] = [shown(c) for c in codes if c.source.startswith(f"check({exercise.defines[0]}")]
        assert "FAIL" not in verdict
        count = len(exercise.checks) - len(exercise.training)
        assert f"{count} of {len(exercise.checks)} checks pass" in " ".join(verdict.split()), verdict
        saved = (workbook / exercise.attempt_path).read_text(encoding="utf-8")
        solution = (workbook / exercise.solution_path).read_text(encoding="utf-8")
        assert saved.partition("\n")[2].strip() == solution.strip()  # after the first cell ran once more
    tried = [cell for cell in codes if cell.source.startswith("# Try it.")]
    assert len(tried) == len(FOUR) and all(shown(cell) for cell in tried)
    assert not any(output.output_type == "error" for cell in codes for output in cell.outputs)
    kept = [path.read_text(encoding="utf-8") for path in (workbook / ".workbook" / "backups").iterdir()]
    assert kept.count("print('an earlier attempt')\n") == len(FOUR)
    assert "ANNE:" in [shown(cell) for cell in codes if "gpt_core.sample" in cell.source][0]
    [pictures] = [cell.outputs for cell in codes if "display(Image" in cell.source]
    assert any("image/png" in output.get("data", {}) for output in pictures)


def saved_notebook(text: str) -> str:
    """The workbook's notebook as a learner saves it, with this code in the cell of exercise 1."""
    book = json.loads(author.PATH.read_text(encoding="utf-8"))
    for each in book["cells"]:
        if "".join(each["source"]).startswith("%%exercise ex1\n"):
            each["source"] = f"%%exercise ex1\n{text}"
    return json.dumps(book)


@pytest.mark.slow
def test_the_saved_notebook_is_a_hand_in_that_a_class_takes(tmp_path):
    handed_in = tmp_path / "handed_in"
    handed_in.mkdir()
    wrong = SOLUTION.replace("scores, dim=-1)", "scores, dim=-2)")
    (handed_in / "right.ipynb").write_text(saved_notebook(SOLUTION), encoding="utf-8")
    (handed_in / "wrong.ipynb").write_text(saved_notebook(wrong), encoding="utf-8")
    (handed_in / "empty.ipynb").write_text(author.PATH.read_text(encoding="utf-8"), encoding="utf-8")
    call = ["grade.py", "ex1", "--class", str(handed_in), "--out", str(tmp_path / "results"), "--trust"]
    done = subprocess.run(
        [sys.executable, *call, "--jobs", "1"], cwd=REPOSITORY, capture_output=True, text=True
    )
    with open(tmp_path / "results" / "summary.csv", encoding="utf-8", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"right", "wrong", "empty"}, done.stdout + done.stderr
    assert rows["right"]["status"] == "pass"
    assert rows["wrong"]["mistakes"] == "softmax_over_queries"
    assert "stub" in rows["empty"]["reason"]
