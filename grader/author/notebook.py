"""`python -m grader.author.notebook` writes exercises/workbook.ipynb and exercises/more/menu.ipynb, from the
stubs: the four exercises, and the menu.

The notebook is for Colab and for those who like one: each exercise is a cell that writes the learner's file,
and a cell that grades it in a process of its own, as the command line does. A notebook is JSON, so nothing
but the standard library is needed to write it (https://nbformat.readthedocs.io, format 4.5).
"""

import json

from grader.workbook import REPOSITORY
from tests.exercises import EXERCISES, FOUR, MENU, Exercise

PATH = REPOSITORY / "exercises" / "workbook.ipynb"
MENU_PATH = REPOSITORY / "exercises" / "more" / "menu.ipynb"

WELCOME = """# The workbook for "Let's build GPT"

Exercises, and a grader that says *which* mistake you made. Run the next cell first: it finds the
workbook, or clones it, and installs what is missing. It keeps the torch that is there.

On Colab choose a GPU under *Runtime > Change runtime type*, or do without: everything works on a CPU."""

SET_UP = '''REPOSITORY_URL = ""  # on Colab: the address from which you would clone the workbook

import importlib.util, os, pathlib, subprocess, sys

def run(*arguments):
    """python ARGUMENTS in a process of its own; shows what it prints, and returns its exit status."""
    # Notebooks ask programs for colours, and would get the moving parts of a terminal with them.
    coloured = ("FORCE_COLOR", "COLOR_FORCE")
    plain = {name: value for name, value in os.environ.items() if not name.endswith(coloured)}
    command = subprocess.Popen(
        [sys.executable, "-u", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8", env={**plain, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"},
    )
    for line in command.stdout:
        print(line, end="", flush=True)
    return command.wait()

here = pathlib.Path.cwd()
found = [folder for folder in (here, *here.parents, here / "workbook") if (folder / "grade.py").is_file()]
if not found:
    if not REPOSITORY_URL:
        raise SystemExit("The workbook is not here: write its address into REPOSITORY_URL, and run me again.")
    subprocess.run(["git", "clone", "--depth", "1", REPOSITORY_URL, "workbook"], check=True)
    found = [here / "workbook"]
os.chdir(found[0])

needed = ("torch", "numpy", "pytest", "hypothesis", "rich", "safetensors", "pooch", "matplotlib")
missing = [name for name in needed if importlib.util.find_spec(name) is None]
if missing and run("-m", "pip", "install", "-q", "-c", "constraints.txt", *missing):
    raise SystemExit(f"pip could not install {', '.join(missing)}; its message is above.")

# A cell below writes its file anew when you run it. A copy of what you wrote there before is kept.
run("-c", "import sys; from grader.learner.files import keep; keep(*sys.argv[1:])", *EXERCISES)
print("The workbook is in", found[0])'''

DEMO = """## What a grade looks like

An example with a mistake in it, and what the grader says of it; then the solution of the same exercise."""

AFTER = """## Your attention in a real model

Train the small model with your own attention in it, for a minute at most, and look at the losses.
The corpus is synthetic and needs no download; `cpu` in the place of `toy` is Shakespeare, and takes some
minutes."""

TRAIN = """shutil.rmtree("runs/notebook", ignore_errors=True)  # of the last time that this cell ran
run("-m", "gpt_core.train", "toy", "--steps", "200", "--out", "runs/notebook",
    "--attention", "exercises.ex1_fused_attention:FusedMultiHeadAttention")
run("-m", "gpt_core.sample", "runs/notebook", "--prompt", "ANNE:", "--tokens", "200")"""

PLOT = """from IPython.display import Image, display

if run("-m", "gpt_core.plot", "runs/notebook", "--out", "runs/notebook.png") == 0:
    display(Image("runs/notebook.png"))"""


def notebook() -> dict:
    """The notebook of the four exercises as it is stored, its stubs as they are now."""
    cells = [_text(DEMO), _code('run("grade.py", "--demo")')]
    for name in FOUR:
        cells += _exercise(EXERCISES[name])
    cells += [_text(AFTER), _code("import shutil\n\n" + TRAIN), _code(PLOT)]
    return _book(FOUR, cells)


def menu() -> dict:
    """The same for the exercises of the menu."""
    return _book([exercise.name for exercise in MENU], [cell for e in MENU for cell in _exercise(e)])


def _book(exercises, cells: list[dict]) -> dict:
    names = ", ".join(repr(name) for name in exercises)
    cells = [_text(WELCOME), _code(SET_UP.replace("*EXERCISES", names)), *cells]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _exercise(exercise: Exercise) -> list[dict]:
    asks = "\n".join(f"- {line}" for line in exercise.asks)
    heading = exercise.title if exercise.of_menu else f"Exercise {exercise.name[2:]}, {exercise.title}"
    stub = (REPOSITORY / exercise.stub_path).read_text(encoding="utf-8").rstrip("\n")
    grade = f'run("grade.py", "{exercise.name}"{", " + repr("--quick") if exercise.training else ""})'
    if exercise.training:
        grade = (
            f'# "--quick" leaves the training runs out: take it away when everything else passes.\n{grade}'
        )
    return [
        _text(
            f"## {heading}\n\n{asks}\n\nThe sheet is at the top of the cell. Write "
            f"your "
            f"code into the cell, run it, and run the one below; repeat. A hint: "
            f'`run("grade.py", "{exercise.name}", "--hint")`. When it passes, or when you give up: '
            f"`--solution`."
        ),
        _code(f"%%writefile {exercise.attempt_path}\n{stub}"),
        _code(grade),
    ]


def _text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str) -> dict:
    return {
        "cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [],
        "source": source.splitlines(keepends=True),
    }  # fmt: skip


def as_json(book: dict) -> str:
    """What stands in the file."""
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(as_json(notebook()), encoding="utf-8")
    MENU_PATH.write_text(as_json(menu()), encoding="utf-8")
