"""The scripts of docs/instructor.md for more than one machine, with a stand-in for the scheduler."""

import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from grader.cli import main
from tests.grader.attempts import REPOSITORY
from tests.grader.classroom.classes import rows_of, rows_without_times

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the scripts are for a shell")]
TEXT = (REPOSITORY / "docs" / "instructor.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n)+", TEXT, re.M)]


def script(part: str) -> str:
    """The block of the page in which this stands."""
    return next(block for block in BLOCKS if part in block)


@pytest.fixture
def place(tmp_path):
    """A folder with a class of three in it."""
    (tmp_path / "handed_in").mkdir()
    for name in ("ada.py", "bob.py", "cy.py"):
        (tmp_path / "handed_in" / name).write_text(f"name = {name!r}\n")
    return tmp_path


def run(text: str, place, **variables: str) -> None:
    text = text.replace("python grade.py", f"{sys.executable} {REPOSITORY / 'grade.py'}")
    done = subprocess.run(
        ["bash", "-c", text], cwd=place, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scripts_for_slurm_and_for_parallel_give_the_rows_of_one_machine(place):
    call = ["ex1", "--class", str(place / "handed_in"), "--out", str(place / "whole")]
    assert main([*call, "--jobs", "1"]) == 0
    whole = rows_without_times(place / "whole")
    assert len(whole) == 3
    merge = script("--merge")

    slurm = script("#SBATCH")
    tasks = re.search(r"--array=1-(\d+)", slurm)[1]
    for number in ("1", "2", "3"):  # three tasks are as good as eight here
        run(slurm, place, SLURM_ARRAY_TASK_ID=number, SLURM_ARRAY_TASK_COUNT="3", SLURM_ARRAY_TASK_MIN="1")
    assert int(tasks) > 1
    run(merge, place)
    assert rows_without_times(place / "results") == whole

    shutil.rmtree(place / "results")
    parallel = script("| parallel").replace("seq 8", "seq 2").replace("{}/8", "{}/2")
    if not shutil.which("parallel"):  # xargs replaces {} alike
        parallel = parallel.replace("| parallel", "| xargs -I{}")
    run(parallel, place)
    run(merge, place)
    assert rows_without_times(place / "results") == whole
    assert [row["student"] for row in rows_of(place / "results")] == ["ada", "bob", "cy"]


def test_the_pod_of_a_kubernetes_job_takes_its_part(place):
    line = script("JOB_COMPLETION_INDEX").splitlines()[-1].strip().replace("/8", "/3")
    line = line.replace("/class", str(place / "handed_in")).replace("/results", str(place / "results"))
    run(line, place, JOB_COMPLETION_INDEX="2")
    assert [row["student"] for row in rows_of(place / "results" / "shard-3-of-3")] == ["cy"]
