"""Strangers' files in a class: none reads another's, ends another's grade, or leaves anything behind."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from grader.judge import namespaces
from grader.judge.processes import Starter
from tests.grader.attempts import REPOSITORY, SOLUTION, at_import
from tests.grader.classroom import hostile
from tests.grader.classroom.classes import EX1, rows_of
from tests.grader.classroom.test_class import call

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs Landlock")]


@pytest.mark.parametrize("shape", ["a file", "a folder"])
def test_no_hand_in_reads_its_neighbours_the_results_or_the_roster(tmp_path, shape):
    """Even where all of them lie in a folder that attempts may otherwise read."""
    folder, results, roster = tmp_path / "in", tmp_path / "out", tmp_path / "roster.csv"
    folder.mkdir()
    roster.write_text("student,name,entry\nada,A,\neve,E,\n")
    free = tmp_path / "free.txt"
    free.write_text("anybody may read this")
    (folder / "ada.py").write_text(SOLUTION)
    files = [folder / "ada.py", roster, results / "summary.csv", results / ".lock", results / "running.json"]
    attack = hostile.reading(files, [folder, results, results / "verdicts"])
    attack += f"\nassert len(reads({str(free)!r})) == 5, reads({str(free)!r})\n"
    if shape == "a file":
        (folder / "eve.py").write_text(attack)
    else:
        (folder / "eve").mkdir()
        (folder / "eve" / EX1.file).write_text(attack)
    open_to_all = os.environ | {"GPT_DATA_DIR": str(tmp_path)}
    done = call("--class", folder, "--out", results, "--roster", roster, "--jobs", "2", env=open_to_all)
    assert done.returncode == 0, done.stderr
    for row in rows_of(results):
        assert row["status"] == "pass", (results / "feedback" / f"{row['student']}.md").read_text()


ATTACKS = {
    "processes": (hostile.LEAVES_PROCESSES, {"pass"}),
    "scratch": (hostile.FILLS_SCRATCH, {"fail"}),
    "many": (hostile.MANY_FILES, {"fail"}),
    "prints": (hostile.PRINTS, {"pass", "fail"}),
    "others": (hostile.ENDS_OTHERS, {"pass", "fail"}),
    "hangs": (hostile.HANGS, {"fail"}),
    "memory": (hostile.TAKES_MEMORY, {"fail"}),
    "forges": (hostile.FORGES, {"fail"}),
    "ends": (hostile.ENDS_ITSELF, {"fail"}),
}


def test_a_class_of_attacks_gets_its_verdicts_and_leaves_nothing(tmp_path, leftovers):
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, (source, _) in ATTACKS.items():
        (folder / f"{name}.py").write_text(source)
    (folder / "ada.py").write_text(SOLUTION)
    os.mkfifo(folder / "pipe.py")
    (folder / "link.py").symlink_to(folder / "ada.py")
    scratch = Path(os.environ["TMPDIR"])
    before, others = leftovers(), set(scratch.glob("grade-class-*"))  # of classes that tests have killed
    done = call("--class", folder, "--out", results, "--jobs", "1", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    came = {row["student"]: row["status"] for row in rows_of(results)}
    wanted = {name: allowed for name, (_, allowed) in ATTACKS.items()}
    wanted |= {"ada": {"pass"}, "pipe": {"refused"}, "link": {"refused"}}
    assert came.keys() == wanted.keys()
    assert {name: status for name, status in came.items() if status not in wanted[name]} == {}
    assert leftovers() == before
    assert set(scratch.glob("grade-class-*")) <= others
    assert max(path.stat().st_size for path in results.rglob("*") if path.is_file()) < 1 << 20


@pytest.mark.skipif(not namespaces.work("cpu"), reason="bubblewrap cannot make namespaces here")
def test_in_namespaces_of_its_own_a_hand_in_sees_nothing_of_the_machine(tmp_path, leftovers):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "eve.py").write_text(hostile.LOOKS_AROUND)
    (tmp_path / "in" / "fay.py").write_text(hostile.MANY_FILES)
    before = leftovers()
    call("--class", tmp_path / "in", "--out", tmp_path / "out", "--jobs", "1")
    eve, fay = rows_of(tmp_path / "out")
    assert eve["status"] == "pass", (tmp_path / "out" / "feedback" / "eve.md").read_text()
    assert "own namespaces" in eve["isolation"] and fay["first_failure"] == "runs"
    assert "20,000 files" in (tmp_path / "out" / "feedback" / "fay.md").read_text()
    assert leftovers() == before


def test_where_bubblewrap_fails_the_class_is_graded_without_it(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions' >&2\nexit 1\n")
    (tmp_path / "bin" / "bwrap").chmod(0o755)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.py").write_text(SOLUTION)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    call("--class", tmp_path / "in", "--out", tmp_path / "out", env=os.environ | {"PATH": path})
    row = rows_of(tmp_path / "out")[0]
    assert row["status"] == "pass"
    assert "namespaces" not in row["isolation"] and "solutions hidden" in row["isolation"]


def test_a_zygote_that_ends_takes_its_namespaces_along_and_is_replaced():
    if not namespaces.work("cpu"):
        pytest.skip("bubblewrap cannot make namespaces here")
    starter = Starter("fork", namespaces=True)
    try:
        first = starter.start("attempt", "cpu", folder=".")
        assert "own namespaces" in first.hello["isolation"]
        starter._zygote.kill()
        starter._zygote.wait()
        first.kill()
        second = starter.start("attempt", "cpu", folder=".")
        assert second.alive and second.setup["scratch"] != first.setup["scratch"]
    finally:
        starter.close()
    assert not list(Path(tempfile.gettempdir()).glob(Path(second.setup["scratch"]).name))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes another user")
def test_root_becomes_another_user_and_cannot_go_back():
    code = (
        "import os\nfrom grader.worker import sandbox\n"
        "assert sandbox.become(60801)\n"
        "assert os.getresuid() == os.getresgid() == (60801,) * 3 and os.getgroups() == []\n"
        "open('/proc/self/environ', 'rb').read()\n"
        "try: os.setuid(0)\nexcept PermissionError: pass\nelse: raise AssertionError\n"
        "try: open('/etc/shadow')\nexcept PermissionError: pass\nelse: raise AssertionError\n"
        "assert not sandbox.become(60802)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes another user")
def test_roots_attempts_run_as_another_user_where_that_one_can_read_python(tmp_path):
    """Where Python is out of reach for such a user, the row says nothing of one; Landlock alone holds."""
    (tmp_path / "in").mkdir()
    code = "import os\nprint('user', os.getuid())\nassert False"
    (tmp_path / "in" / "eve.py").write_text(at_import(code))
    call("--class", tmp_path / "in", "--out", tmp_path / "out")
    report, row = (tmp_path / "out" / "feedback" / "eve.md").read_text(), rows_of(tmp_path / "out")[0]
    assert ("own user" in row["isolation"]) == ("user 60801" in report) == ("user 0" not in report)
