"""A file is graded alone: it gets a copy of itself and of the helpers that were named, and reaches nothing
else."""

import os
import subprocess
import sys

import pytest

from grader.cli import main
from grader.judge.grade import grade, read_source
from grader.judge.results import OTHER_FILE_READ
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY, SOLUTION, at_import

OTHER = SOLUTION.replace("Exercise 1", "Somebody else's exercise 1")


@pytest.fixture
def handed_in(tmp_path, session):
    """handed_in(text, helpers=..) -> the verdict on a file beside which somebody else's solution and a helper
    lie."""
    (tmp_path / "bob_ex1.py").write_text(OTHER)
    (tmp_path / "helper.py").write_text("SIZE = 3\n")
    (tmp_path / "random.py").write_text("raise RuntimeError('the wrong module')\n")
    (tmp_path / "notes.txt").write_text("42")

    def run(text, helpers=(), name="mine.py"):
        (tmp_path / name).write_text(text)
        source = read_source(tmp_path / name, [tmp_path / helper for helper in helpers])
        return grade(session, "ex1", source, device="cpu")

    return run


ROUTES = {
    "its text": "exec(open({bob!r}).read())",
    "its text, through a link": "import os\nos.symlink({bob!r}, 'x')\nexec(open('x').read())",
    "a loader": "import importlib.util as u\ns = u.spec_from_file_location('b', {bob!r})\nm = "
    "u.module_from_spec(s)\ns.loader.exec_module(m)\nfrom b import *",
    "the path of imports": "import os, sys\nsys.path.insert(0, os.path.dirname({bob!r}))\nfrom bob_ex1 "
    "import *",
    "runpy": "import runpy\nglobals().update(runpy.run_path({bob!r}))",
    "another exercise": "from exercises.ex2_addition import *",
    "the same exercise of the learner's own": "from exercises import ex1_fused_attention\n"
    "FusedMultiHeadAttention = "
    "ex1_fused_attention.FusedMultiHeadAttention",
    "caught": "try:\n    open({bob!r})\nexcept OSError:\n    pass\n" + SOLUTION,
}


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_a_file_that_reaches_for_another_is_told_so(handed_in, tmp_path, route):
    verdict = handed_in(
        ROUTES[route].format(bob=str(tmp_path / "bob_ex1.py")) if "{bob" in ROUTES[route] else ROUTES[route]
    )
    assert not verdict.passed
    if "ModuleNotFoundError" not in verdict.checks[0].message:  # a folder that is hidden has nothing to find
        assert verdict.checks[0].mistake == OTHER_FILE_READ
        assert "reached for another Python file" in verdict.checks[0].message
    else:
        assert route == "the path of imports"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a kernel that hides files")
def test_the_folder_of_the_file_is_hidden_from_other_programs_too(handed_in, tmp_path):
    code = f"import ctypes\nassert ctypes.CDLL(None).open({str(tmp_path / 'notes.txt').encode()!r}, 0) >= 0"
    verdict = handed_in(at_import(code))
    assert not verdict.passed or "NOT hidden" in verdict.isolation


@pytest.mark.slow
def test_a_neighbour_is_not_found_unless_it_is_named(handed_in):
    text = "import helper, random\nassert helper.SIZE == 3\nfrom exercises.helper import SIZE\n" + SOLUTION
    verdict = handed_in(text)
    assert "--with FILE" in verdict.checks[0].message
    assert handed_in(text, helpers=["helper.py"]).passed
    assert handed_in(text, helpers=["helper.py", "random.py"]).passed  # which is no other random


def test_a_file_knows_its_name_and_its_lines(handed_in):
    text = at_import(
        "import inspect, os\nassert os.path.basename(__file__) == 'mine.py'\nassert open(__file__).read() == "
        "open('mine.py').read()\nassert 'def fuse_heads' in inspect.getsource(fuse_heads)\nassert "
        "inspect.getsourcefile(FusedMultiHeadAttention.forward) == __file__"
    )
    verdict = handed_in(text)
    assert verdict.passed, verdict.checks[0].message
    assert verdict.path.endswith("mine.py")
    verdict = handed_in(at_import("import warnings\nwarnings.warn('careful')\nraise ValueError"))
    assert verdict.printed.startswith("mine.py:")


@pytest.mark.slow
def test_the_learners_own_file_has_the_helpers_of_its_folder_but_no_other_exercise(workbook):
    exercise = EXERCISES["ex1"]
    (workbook / "exercises" / "my_helper.py").write_text("SIZE = 3\n")
    own = workbook / exercise.attempt_path

    def grades(text: str) -> str:
        own.write_text(text)
        return subprocess.run(
            [sys.executable, "grade.py", "ex1", "--device", "cpu"],
            cwd=workbook,
            capture_output=True,
            text=True,
        ).stdout

    assert "Done: " in grades("import my_helper\nfrom exercises.my_helper import SIZE\n" + SOLUTION)
    assert "exercises/ex2_addition.py" in grades("import exercises.ex2_addition\n" + SOLUTION)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_to_the_solutions_is_refused_and_any_other_is_followed(tmp_path, session):
    exercise = EXERCISES["ex1"]
    (tmp_path / "file.py").symlink_to(REPOSITORY / exercise.solution_path)
    (tmp_path / "folder").symlink_to(REPOSITORY / "solutions")
    (tmp_path / "twice.py").symlink_to(tmp_path / "file.py")
    (tmp_path / "mine.py").write_text(SOLUTION)
    (tmp_path / "good.py").symlink_to(tmp_path / "mine.py")
    for path in ("file.py", "twice.py", f"folder/{exercise.file}"):
        problem = read_source(tmp_path / path).problem
        assert problem == f"it is a link to {exercise.solution_path}; expected a file of your own"
    assert "helper file.py is a link" in read_source(tmp_path / "mine.py", [tmp_path / "file.py"]).problem
    assert grade(session, "ex1", read_source(tmp_path / "good.py"), device="cpu").passed
    assert read_source(REPOSITORY / exercise.solution_path).problem == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_pipe_or_a_device_is_a_wrong_call_at_once(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.py")
    for path in (tmp_path / "pipe.py", "/dev/zero"):
        assert main(["ex1", "--attempt", str(path)]) == 2
        assert "is a pipe or a device" in capsys.readouterr().err
        assert read_source(type(tmp_path)(path)).problem


@pytest.mark.parametrize(
    "call", [["--with", "no_such.py"], ["--with", "notes.txt"], ["--hint", "--with", "grade.py"]]
)
def test_a_wrong_helper_is_a_wrong_call(call, capsys):
    assert main(["ex1", *call]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_a_helper_is_named_again_in_the_command_to_type_next(tmp_path, capsys):
    (tmp_path / "helper.py").write_text("SIZE = 3\n")
    (tmp_path / "mine.py").write_text(
        "import helper\n" + SOLUTION.replace("scores, dim=-1", "scores, dim=-2")
    )
    call = ["--attempt", str(tmp_path / "mine.py"), "--with", str(tmp_path / "helper.py")]
    assert main(["ex1", *call, "--device", "cpu"]) == 1
    said = " ".join(capsys.readouterr().out.replace("\\\n", " ").split())
    assert " ".join(call) in said
