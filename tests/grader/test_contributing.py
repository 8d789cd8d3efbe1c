"""What CONTRIBUTING.md promises, as a newcomer would try it in a copy of the workbook: a mistake in five
lines, a check in about ten, and an exercise in a folder of 200, which one entry makes known everywhere."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.exercises import EXERCISES, Mistake
from tests.grader.attempts import REPOSITORY

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLE = Path(__file__).parent / "example_exercise"


def blocks(heading: str) -> list[str]:
    """The blocks of code below a heading."""
    section = re.search(rf"^## {heading}[^\n]*\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)[1]
    return [textwrap.dedent(block) for block in re.findall(r"^\n((?:    .*\n|\n(?=    ))+)", section, re.M)]


def insert(path: Path, before: str, text: str) -> None:
    """Put lines ahead of the last place in a file where `before` stands."""
    head, found, tail = path.read_text(encoding="utf-8").rpartition(before)
    assert found, before
    path.write_text(f"{head}{text}{found}{tail}", encoding="utf-8")


def patched(source: str, find: str, put: str) -> str:
    """A solution with a mistake in it."""
    return Mistake("made_up", "made up", "Made up.", ((find, put),)).apply(source)


def failed(verdict: dict) -> set[str]:
    """The checks that failed in a verdict."""
    return {check["id"] for check in verdict["checks"] if check["status"] == "failed"}


class Workbook:
    """A copy of the workbook, in which commands are typed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def python(self, *arguments, status: int = 0) -> str:
        """python ARGUMENTS in the copy; what it prints."""
        call = [sys.executable, *arguments]
        done = subprocess.run(call, cwd=self.folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def verdict(self, exercise: str, source: str) -> dict:
        """What `grade.py EXERCISE --attempt FILE` says of this source, in JSON."""
        (self.folder / "mine.py").write_text(source, encoding="utf-8")
        call = ("grade.py", exercise, "--attempt", "mine.py", "--device", "cpu", "--json", "verdict.json")
        subprocess.run([sys.executable, *call], cwd=self.folder, capture_output=True, timeout=300)
        return json.loads((self.folder / "verdict.json").read_text(encoding="utf-8"))

    def add_the_example(self) -> None:
        """The four steps of CONTRIBUTING.md."""
        own = self.folder / "tests" / "exercises" / "mynorm"
        shutil.copytree(EXAMPLE, own, ignore=shutil.ignore_patterns("__pycache__"))
        (own / "solution.py").rename(self.folder / "solutions" / "mynorm.py")
        entry = (own / "entry.py").read_text(encoding="utf-8").partition("\n\n")[2].strip()
        (own / "entry.py").unlink()
        added = textwrap.indent(f"{entry},", " " * 8)
        insert(self.folder / "tests" / "exercises" / "__init__.py", "    )\n}\n", f"{added}\n")
        self.python("grade.py", "mynorm", "--reset")


@pytest.fixture
def copy(workbook):
    return Workbook(workbook)


def test_the_example_is_as_long_as_contributing_says_and_no_longer_than_it_promises():
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in EXAMPLE.glob("*.py"))
    assert lines <= 200 and f"in {lines} lines" in TEXT
    assert "mynorm" not in EXERCISES


@pytest.mark.slow
def test_the_examples_mistakes_are_found_and_named_and_its_stub_is_to_be_done(copy):
    copy.add_the_example()
    rows = [line.split() for line in copy.python("grade.py", "--selftest", "mynorm").splitlines()[1:-2]]
    assert all(row[0] == "ok" for row in rows)
    came = {row[1]: row[4:] for row in rows}
    assert len(came) >= 2 + 8 and came.pop("solution") == [] and came.pop("stub") == ["parameters"]
    assert {"parameters", "values", "gradients,", "input_kept"} <= {id for ids in came.values() for id in ids}


@pytest.mark.slow
def test_one_entry_makes_the_example_known_to_every_command(copy):
    copy.add_the_example()
    sheet, solution = ((EXAMPLE / f"{name}.py").read_text(encoding="utf-8") for name in ("stub", "solution"))
    own = copy.folder / "exercises" / "mynorm.py"
    assert own.read_text(encoding="utf-8") == sheet
    assert re.search(r"^mynorm +RMSNorm +not started", copy.python("grade.py"), re.M)

    own.write_text(patched(solution, "mean(dim=-1", "mean(dim=1"), encoding="utf-8")
    said = copy.python("grade.py", "mynorm", "--device", "cpu", status=1)
    [token] = re.findall(r"--replay (mynorm\.values\S+)", said)
    copy.python("grade.py", "--replay", token)
    said = copy.python("replay_mynorm_values.py", status=1)
    assert "AssertionError: The output must equal the paper's" in said
    assert re.search(r"^mynorm +RMSNorm +not yet, 1 attempt", copy.python("grade.py"), re.M)
    assert "Hint 1 of 5: The mistake sits in what the solution calls RMSNorm.forward" in copy.python(
        "grade.py", "mynorm", "--hint"
    )
    said = copy.python("grade.py", "mynorm", "--solution")
    assert "-        mean = wide.pow(2).mean(dim=1, keepdim=True)" in said
    copy.python("grade.py", "mynorm", "--reset")
    assert own.read_text(encoding="utf-8") == sheet

    about_it = ("-k", "mynorm and (hint or catalogue)")
    tests_of_all = ("tests/grader/test_hints.py", "tests/grader/test_selftest.py")
    assert "5 passed" in copy.python("-m", "pytest", "-n0", *tests_of_all, *about_it)


@pytest.mark.slow
def test_the_check_in_contributing_fails_what_no_other_check_sees(copy):
    copy.add_the_example()
    checks = copy.folder / "tests" / "exercises"
    look, check = blocks("Add a check")
    solution = (EXAMPLE / "solution.py").read_text(encoding="utf-8")
    root = "wide / torch.hypot(mean.sqrt(), mean.new_tensor(EPS).sqrt())"
    mistake = patched(solution, "wide * torch.rsqrt(mean + EPS)", root)
    for file, code in (("looks.py", look), ("checks.py", check)):
        with open(checks / "mynorm" / file, "a", encoding="utf-8") as text:
            text.write(f"\n\n{code}")
    insert(checks / "__init__.py", 'bfloat16 devices in_gpt"""', "zeros ")
    assert failed(copy.verdict("mynorm", mistake)) == {"zeros"}
    assert copy.verdict("mynorm", solution)["passed"]


@pytest.mark.slow
def test_the_five_lines_in_contributing_name_a_mistake(copy):
    [mistake] = [block for block in blocks("Add a mistake") if block.startswith("Mistake(")]
    assert len(mistake.strip().splitlines()) == 5
    insert(copy.folder / "tests/exercises/ex1/mistakes.py", "\n)", "\n" + textwrap.indent(mistake, "    "))
    [made] = eval(mistake, {"Mistake": Mistake})
    verdict = copy.verdict("ex1", made.apply((copy.folder / EXERCISES["ex1"].solution_path).read_text()))
    named = {check["mistake"] for check in verdict["checks"]}
    assert named == {None, "scale_by_length"}
