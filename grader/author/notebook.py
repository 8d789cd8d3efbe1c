"""`python -m grader.author.notebook` writes exercises/workbook.ipynb and exercises/more/menu.ipynb, from the
stubs: the four exercises, and the menu.

Each exercise is a sheet, a cell that is the learner's file, a cell to try it in, and a cell that grades it in
a process of its own. What the cells call is in grader/learner/notebook.py. A notebook is JSON, so nothing but
the standard library is needed to write it (https://nbformat.readthedocs.io, format 4.5).
"""

import json
import tomllib

from grader.author.sheets import NOTHING, SHEETS
from grader.learner.notebook import sheet
from grader.workbook import REPOSITORY
from tests.exercises import EXERCISES, FOUR, MENU, Exercise

PATH = REPOSITORY / "exercises" / "workbook.ipynb"
MENU_PATH = REPOSITORY / "exercises" / "more" / "menu.ipynb"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"

WELCOME = """[![Open in Colab]({badge})]({colab})

# The workbook for "Let's build GPT"

Exercises, and a grader that says *which* mistake you made. Run the next cell first: it finds the
workbook, or clones it, and installs what is missing. It keeps the torch that is there. You can run it
again at any time: it changes nothing that you wrote.

On Colab choose a GPU under *Runtime > Change runtime type*, or do without: everything works on a CPU.

Each exercise has four cells:

| cell | what it does |
|---|---|
| `%%exercise ex1` and your code | runs here, so that you can use what it defines, and is saved as your file |
| *Try it* | yours to change: print shapes, call your code |
| `check(..)` | grades the saved file in a process of its own, and shows the report here |
| `hint("ex1")`, `solution("ex1")` | take the `#` away from what you want to see |

`%%grade ex1` in the place of `%%exercise ex1` runs, saves and grades at once. `work("ex1")` puts what stands
in your file into a new cell. To hand in, save the notebook: the grader takes it as it is."""

SET_UP = """REPOSITORY_URL = "{address}"  # the address from which you would clone the workbook

import importlib.util, os, pathlib, subprocess, sys

here = pathlib.Path.cwd()
found = [folder for folder in (here, *here.parents, here / "workbook") if (folder / "grade.py").is_file()]
if not found:
    if not REPOSITORY_URL:
        raise SystemExit("The workbook is not here: write its address into REPOSITORY_URL, and run me again.")
    subprocess.run(["git", "clone", "--depth", "1", REPOSITORY_URL, "workbook"], check=True)
    found = [here / "workbook"]
os.chdir(found[0])
sys.path[:] = [str(found[0]), *(path for path in sys.path if path != str(found[0]))]

# What is there is kept, torch above all: Colab's fits its GPU.
needed = ("torch", "numpy", "pytest", "hypothesis", "rich", "safetensors", "pooch", "filelock", "matplotlib")
missing = [name for name in needed if importlib.util.find_spec(name) is None]
if missing:
    install = [sys.executable, "-m", "pip", "install", "-q", "-c", "constraints.txt", *missing]
    if subprocess.run(install).returncode:
        raise SystemExit(f"pip could not install {', '.join(missing)}; its message is above.")

from grader.learner import notebook
from grader.learner.notebook import check, hint, run, solution, work

notebook.begin(*EXERCISES)"""

DEMO = """## What a grade looks like

An example with a mistake in it, and what the grader says of it; then the solution of the same exercise."""

AFTER = """## Your attention in a real model

Train the small model with your own attention in it, for a minute at most, and look at the losses.
The corpus is synthetic and needs no download; `cpu` in the place of `toy` is Shakespeare, and takes some
minutes."""

TRAIN = """shutil.rmtree("runs/notebook", ignore_errors=True)  # of the last time that this cell ran
run("-m", "gpt_core.train", "toy", "--steps", "200", "--out", "runs/notebook",
    "--attention", "exercises.ex1_fused_attention:FusedMultiHeadAttention")
run("-m", "gpt_core.sample", "runs/notebook", "--prompt", "ANNE:", "--tokens", "200");"""

PLOT = """from IPython.display import Image, display

if run("-m", "gpt_core.plot", "runs/notebook", "--out", "runs/notebook.png") == 0:
    display(Image("runs/notebook.png"))"""


def address() -> str:
    """Where the workbook can be cloned from: [project.urls] Repository in pyproject.toml; "" without one."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def colab(path, at: str) -> str:
    """The page that opens a notebook of the repository in Colab; without an address on GitHub, the page on
    which one is looked for."""
    github = "https://github.com/"
    if not at.startswith(github):
        return "https://colab.research.google.com/github/"
    repository = at.removeprefix(github).removesuffix(".git").strip("/")
    name = path.relative_to(REPOSITORY).as_posix()
    return f"https://colab.research.google.com/github/{repository}/blob/main/{name}"


def notebook() -> dict:
    """The notebook of the four exercises as it is stored, its stubs as they are now."""
    cells = [_text(DEMO), _code('run("grade.py", "--demo");')]
    for name in FOUR:
        cells += _exercise(EXERCISES[name])
    cells += [_text(AFTER), _code("import shutil\n\n" + TRAIN), _code(PLOT)]
    return _book(PATH, FOUR, cells)


def menu() -> dict:
    """The same for the exercises of the menu."""
    return _book(
        MENU_PATH, [exercise.name for exercise in MENU], [cell for e in MENU for cell in _exercise(e)]
    )


def _book(path, exercises, cells: list[dict]) -> dict:
    at = address()
    names = ", ".join(f'"{name}"' for name in exercises)
    set_up = SET_UP.replace("{address}", at).replace("*EXERCISES", names)
    cells = [_text(WELCOME.format(badge=BADGE, colab=colab(path, at))), _code(set_up), *cells]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _exercise(exercise: Exercise) -> list[dict]:
    text, code, _ = sheet(exercise)
    cells = [_text(_sheet(exercise, text)), _code(f"%%exercise {exercise.name}\n{code}")]
    tries = SHEETS.get(exercise.name, NOTHING).tries.strip("\n")
    if tries:
        # As long as the exercise is not written this cell fails, and what follows is to run all the same.
        cells.append(_code(f"# Try it.\n{tries}", tags=["raises-exception"]))
    call = f"check({', '.join(exercise.defines)})"
    if exercise.training:
        call = f"{call}  # training=True makes the training runs, too"
    return [*cells, _code(call), _code(f'# hint("{exercise.name}")\n# solution("{exercise.name}")')]


def _sheet(exercise: Exercise, docstring: str) -> str:
    """The stub's docstring: what comes before the contract as text, formulas, shapes, and the contract as it
    is."""
    heading = exercise.title if exercise.of_menu else f"Exercise {exercise.name[2:]}, {exercise.title}"
    _, _, after_title = docstring.partition("\n")
    introduction, _, contract = after_title.partition("The contract (")
    shown = SHEETS.get(exercise.name, NOTHING)
    return (
        f"## {heading}\n\n{introduction.strip()}\n\n{shown.formulas}\n\n"
        f"```text\n{shown.drawing.strip(chr(10))}\n```\n\n"
        f"```text\nThe contract ({contract.strip()}\n```"
    )


def _text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str, tags: list[str] | None = None) -> dict:
    return {
        "cell_type": "code",
        "metadata": {"tags": tags} if tags else {},
        "execution_count": None,
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def as_json(book: dict) -> str:
    """What stands in the file."""
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(as_json(notebook()), encoding="utf-8")
    MENU_PATH.write_text(as_json(menu()), encoding="utf-8")
