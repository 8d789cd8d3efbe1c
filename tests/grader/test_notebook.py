"""The notebook: what it holds, and that it runs from its first cell to its last."""

import os
import shutil
import sys

import pytest

from grader.author import notebook
from grader.workbook import REPOSITORY
from tests import exercises

FOUR = [exercises.EXERCISES[name] for name in exercises.FOUR]


@pytest.mark.parametrize(
    "path, book",
    [(notebook.PATH, notebook.notebook), (notebook.MENU_PATH, notebook.menu)],
    ids=["four", "menu"],
)
def test_the_notebooks_hold_the_stubs_as_they_are(path, book):
    written = path.read_text(encoding="utf-8")
    assert written == notebook.as_json(book()), "run python -m grader.author.notebook"


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


@pytest.mark.slow
def test_the_notebook_passes_every_exercise_with_the_solutions_in_its_cells(workbook, monkeypatch):
    why = 'an optional extra that is not installed: pip install -e ".[notebook]"'
    nbclient, nbformat, _ = (
        pytest.importorskip(name, reason=why) for name in ("nbclient", "nbformat", "ipykernel")
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    # What is typed into the cells is what counts: no exercise may be found solved already.
    for exercise in FOUR:
        (workbook / exercise.attempt_path).write_text("print('an earlier attempt')\n", encoding="utf-8")
    book = nbformat.read(workbook / "exercises" / "workbook.ipynb", as_version=4)
    nbformat.validate(book)
    for cell in book.cells:
        for exercise in FOUR:
            if cell.source.startswith(f"%%writefile {exercise.attempt_path}\n"):
                solution = (workbook / exercise.solution_path).read_text(encoding="utf-8")
                cell.source = f"%%writefile {exercise.attempt_path}\n{solution}"
    client = nbclient.NotebookClient(
        book, timeout=400, resources={"metadata": {"path": workbook / "exercises"}}
    )
    client.execute()

    printed = {
        cell.source: "".join(o.get("text", "") for o in cell.outputs)
        for cell in book.cells
        if "outputs" in cell
    }
    for exercise in FOUR:
        [verdict] = [
            text for source, text in printed.items() if f'run("grade.py", "{exercise.name}"' in source
        ]
        assert "FAIL" not in verdict
        count = len(exercise.checks) - len(exercise.training)
        assert f"{count} of {len(exercise.checks)} checks pass" in " ".join(verdict.split()), verdict
    kept = list((workbook / ".workbook" / "backups").iterdir())
    assert len(kept) == len(FOUR)
    assert "ANNE:" in [text for source, text in printed.items() if "gpt_core.sample" in source][0]
    [pictures] = [c.outputs for c in book.cells if c.cell_type == "code" and "display(Image" in c.source]
    assert any("image/png" in output.get("data", {}) for output in pictures)
