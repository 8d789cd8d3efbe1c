"""The release for students, used in a folder of its own: what it holds, what works there, what it refuses."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from grader.classroom import student
from grader.cli import main
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY
from tests.grader.classroom.classes import EX1


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The release, unpacked."""
    place = tmp_path_factory.mktemp("release")
    assert main(["--export", "student", "--out", str(place / "it.zip")]) == 0
    with zipfile.ZipFile(place / "it.zip") as archive:
        archive.extractall(place)
    return place / student.NAME


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Python in a release, which knows nothing of this workbook."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=kept, capture_output=True, text=True, timeout=120
    )


def telling(text: str) -> set[str]:
    """Lines of code that are long enough to be somebody's own."""
    return {line.strip() for line in text.splitlines() if len(line.strip()) > 40 and "import" not in line}


def test_no_line_of_a_solution_or_of_a_catalogue_is_in_it(release):
    files = {path.relative_to(release).as_posix(): path for path in release.rglob("*") if path.is_file()}
    there = set().union(*(telling(path.read_text(encoding="utf-8")) for path in files.values()))
    known = set()  # what the workbook gives to everybody
    for path in [
        file for folder in ("gpt_core", "data", "docs") for file in REPOSITORY.glob(f"{folder}/**/*.py")
    ]:
        known |= telling(path.read_text(encoding="utf-8"))
    for exercise in EXERCISES.values():
        known |= telling((REPOSITORY / exercise.stub_path).read_text(encoding="utf-8"))
    for exercise in EXERCISES.values():
        solution = telling((REPOSITORY / exercise.solution_path).read_text(encoding="utf-8"))
        assert len(solution) > 10 and not (solution - known) & there, exercise.name
        for mistake in exercise.mistakes():
            put = set().union(*(telling(put) for _, put in mistake.patches))
            assert not (put - known) & there, (exercise.name, mistake.id)
    assert not [name for name in files if re.search(r"solutions|mistakes|checks\.py|styles|right_ways", name)]


def test_its_exercises_are_the_stubs_and_its_pages_link_to_what_is_there(release):
    for exercise in EXERCISES.values():
        stub = (REPOSITORY / exercise.stub_path).read_bytes()
        assert (release / exercise.attempt_path).read_bytes() == stub
        assert exercise.attempt_path in (release / "README.md").read_text()
    pages = [release / "README.md", *(release / "docs").rglob("*.md")]
    assert len(pages) > 10
    for page in pages:
        for link in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), (page.name, link)


@pytest.mark.parametrize(
    "arguments", [[], ["ex1"], ["all"], ["ex1", "--hint"], ["ex1", "--solution", "--force"],
                  ["--demo"], ["--selftest"], ["ex1", "--class", ".", "--out", "x"],
                  ["--export", "student", "--out", "x"]],
)  # fmt: skip
def test_what_would_need_the_solutions_is_refused_in_one_sentence(release, arguments):
    done = run(release, "grade.py", *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "release for students" in done.stderr and "your instructor grades" in done.stderr


@pytest.mark.slow
def test_a_student_can_work_in_it(release):
    path = release / EX1.attempt_path
    path.write_text("import torch.nn as nn\n\nclass FusedMultiHeadAttention(nn.Module):\n    pass\n")
    assert run(release, "-c", f"import exercises.{path.stem}, gpt_core, data.addition").returncode == 0
    assert run(release, "grade.py", "ex1", "--reset").returncode == 0
    assert path.read_bytes() == (release / EX1.stub_path).read_bytes()
    assert "Not written yet" in run(release, str(path)).stdout


@pytest.mark.slow
def test_a_model_is_trained_in_it(release):
    done = run(release, "-m", "gpt_core.train", "toy", "--steps", "2", "--out", "runs/toy")
    assert done.returncode == 0, done.stderr


def test_a_folder_is_written_that_is_not_there_yet(tmp_path, capsys):
    assert main(["--export", "student", "--out", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "README.md").is_file()
    assert main(["--export", "student", "--out", str(tmp_path / "new")]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["ex1", "--export", "student", "--out", "x"], "the whole workbook"),
        (["--export", "student"], "--out"),
        (["--export", "student", "--seed", "1", "--out", "x"], "--out alone"),
        (["--export", "student", "--out", "no/such/x.zip"], "no folder"),
        (["--export", "gradescope", "--out", "x"], "needs an exercise"),
    ],
)
def test_a_wrong_call_is_refused_in_one_sentence(arguments, words, capsys):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err and not Path("x").exists()
