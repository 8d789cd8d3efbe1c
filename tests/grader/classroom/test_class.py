"""A class from the command line: every row comes, nothing is graded twice, and nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader.classroom.entries import visible
from grader.cli import main
from tests.grader.attempts import REPOSITORY, SOLUTION, with_mistake
from tests.grader.classroom.classes import EX1, rows_of, rows_without_times

pytestmark = pytest.mark.slow

WRONG = with_mistake(EX1, "no_scale")
NAMES = ("ada_1.py", "bob's [final] (2).py", "cy ünï 🙂.py", "dee\nnewline.py", "eve.txt", "fay.py")
CAME = ["pass", "fail", "pass", "fail", "not_gradable", "fail"]


def handed_in(folder: Path) -> Path:
    """A class of six."""
    folder.mkdir()
    for name, text in zip(
        NAMES, (SOLUTION, WRONG, SOLUTION + "\n", "import os\nos._exit(0)\n", "hello", "def (")
    ):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def call(*arguments, **options):
    """The command in a process of its own."""
    command = [sys.executable, str(REPOSITORY / "grade.py"), "ex1", *map(str, arguments), "--device", "cpu"]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def graded_class(tmp_path_factory, own_temporary_folder):
    """A class that was graded: its folder, its results, what was said."""
    place = tmp_path_factory.mktemp("class")
    folder = handed_in(place / "in")
    done = call("--class", folder, "--out", place / "out", "--jobs", "1")
    return folder, place / "out", done


def test_every_entry_has_its_row_and_its_feedback(graded_class):
    _, results, done = graded_class
    assert done.returncode == 0, done.stderr
    found = {row["file"]: (row["status"], row["mistakes"]) for row in rows_of(results)}
    assert found == {
        "ada_1.py": ("pass", ""),
        "bob's [final] (2).py": ("fail", "no_scale"),
        "cy ünï 🙂.py": ("pass", ""),
        "dee\\nnewline.py": ("fail", ""),
        "eve.txt": ("not_gradable", ""),
        "fay.py": ("fail", ""),
    }
    assert len(list((results / "feedback").iterdir())) == 6
    assert "bob" not in (results / "feedback" / "bob's.md".replace("'", "_")).read_text().lower()
    assert "the scores are not scaled" in (results / "feedback" / "bob_s.md").read_text().lower()


def test_the_level_of_isolation_is_said_and_stands_in_every_row(graded_class):
    _, results, done = graded_class
    for row in rows_of(results):
        assert row["isolation"] == "not run" or "solutions hidden" in row["isolation"]
    assert "Isolation: own process" in done.stdout


def test_without_a_terminal_each_verdict_is_a_plain_line(graded_class):
    done = graded_class[2]
    assert "\x1b" not in done.stdout and "dee\\nnewline.py" in done.stdout
    assert sum(line.startswith("[") for line in done.stdout.splitlines()) == 5


def test_the_same_command_again_grades_nothing_and_a_changed_file_alone(graded_class):
    folder, results, _ = graded_class
    before = rows_of(results)
    again = call("--class", folder, "--out", results, "--jobs", "1")
    assert "0 to grade, 5 graded before" in again.stdout and rows_of(results) == before
    (folder / "fay.py").write_text(WRONG + "\n")
    changed = call("--class", folder, "--out", results, "--jobs", "1")
    assert "1 to grade, 4 graded before" in changed.stdout
    assert [row["mistakes"] for row in rows_of(results) if row["student"] == "fay"] == ["no_scale"]


def test_equal_files_are_graded_once_and_each_has_its_row(tmp_path, capfd):
    (tmp_path / "in").mkdir()
    for name in ("ada.py", "bob.py"):
        (tmp_path / "in" / name).write_text("x = 1\n")
    call_ = ["ex1", "--class", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--jobs", "2"]
    assert main(call_) == 0
    assert "2 entries, 1 to grade" in capfd.readouterr().out
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["fail", "fail"]


def facts(verdict: dict) -> list[tuple]:
    """What a verdict says of each check."""
    return [(check["id"], check["status"], check["mistake"], check["message"]) for check in verdict["checks"]]


def facts_of(results: Path) -> dict[str, tuple]:
    """By entry: what its row says, and its verdict of each check; not what depends on the clock (the
    remark on what a forward costs), and not how the workers were kept apart."""
    said = {}
    for row in rows_without_times(results):
        path = results / "verdicts" / f"{row['verdict']}.json"
        verdict = json.loads(path.read_text())["record"]["verdict"] if row["verdict"] else {"checks": []}
        said[row["file"]] = ({**row, "isolation": "", "remarks": ""}, facts(verdict))
    return said


def test_the_verdicts_are_the_same_however_the_class_is_split_and_graded(tmp_path):
    """One job, two jobs, four parts, workers that are not forked, and every file by itself."""
    folder = handed_in(tmp_path / "in")
    for name in ("no_mask", "fuse_shares_projection"):
        (folder / f"{name}.py").write_text(with_mistake(EX1, name))
    call("--class", folder, "--out", tmp_path / "one", "--jobs", "1")
    wanted = facts_of(tmp_path / "one")
    assert len(wanted) == 8 and len({str(said[0]["mistakes"]) for said in wanted.values()}) == 4
    call("--class", folder, "--out", tmp_path / "two", "--jobs", "2")
    assert facts_of(tmp_path / "two") == wanted
    for number in (1, 2, 3, 4):
        environment = os.environ | {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "4"}
        assert call("--class", folder, "--out", tmp_path / "parts", "--jobs", "1", env=environment).stdout
    assert main(["--merge", str(tmp_path / "parts"), "--out", str(tmp_path / "parts")]) == 0
    assert facts_of(tmp_path / "parts") == wanted
    spawning = os.environ | {"GRADE_START_METHOD": "spawn"}
    call("--class", folder, "--out", tmp_path / "spawned", "--jobs", "1", env=spawning)
    assert facts_of(tmp_path / "spawned") == wanted
    # A class takes as long as it takes to name a mistake, one file a few seconds: on a busy machine too few.
    patient = os.environ | {"GRADE_PATIENCE": "20"}
    for name in os.listdir(folder):
        call("--attempt", folder / name, "--json", tmp_path / "one.json", env=patient)
        if name != "eve.txt":  # no Python, but alone it is graded as if it were
            assert facts(json.loads((tmp_path / "one.json").read_text())) == wanted[visible(name)][1], name


def test_an_exam_names_no_mistake(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.py").write_text(WRONG)
    call("--class", tmp_path / "in", "--out", tmp_path / "out", "--no-names")
    assert rows_of(tmp_path / "out")[0]["mistakes"] == ""
    written = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.*") if path.is_file())
    assert "no_scale" not in written and "--hint" not in written


# Whatever ends it.


def started(folder, results, jobs="1"):
    command = [sys.executable, str(REPOSITORY / "grade.py"), "ex1", "--class", str(folder), "--out"]
    return subprocess.Popen(
        [*command, str(results), "--jobs", jobs, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def after_first_verdict(process):
    for line in process.stdout:
        if line.startswith("[1/"):
            return


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_what_ends_it_loses_at_most_the_files_in_flight_and_leaves_nothing(tmp_path, leftovers, number):
    folder, results = handed_in(tmp_path / "in"), tmp_path / "out"
    before = leftovers()[1]
    process = started(folder, results)
    after_first_verdict(process)
    process.send_signal(number)
    process.communicate(timeout=60)
    until = time.monotonic() + 20
    while leftovers()[1] - before and time.monotonic() < until:
        time.sleep(0.1)
    assert not leftovers()[1] - before
    assert len(list((results / "verdicts").iterdir())) >= 1
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "stopped before its turn" in (results / "summary.csv").read_text()
    again = call("--class", folder, "--out", results, "--jobs", "1")
    assert again.returncode == 0 and "0 to grade" not in again.stdout and "5 to grade" not in again.stdout
    assert [row["status"] for row in rows_of(results)] == CAME
    assert not leftovers()[1] - before
    assert not list(Path(os.environ["TMPDIR"]).glob("grade-class-*"))


def judges(of: int) -> list[int]:
    """The judges of a process."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == of and b"grader.classroom.job" in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
            except OSError:
                pass
    return found


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the judges by /proc")
def test_a_judge_that_is_killed_is_replaced_and_no_row_is_lost(tmp_path, leftovers):
    folder, results = handed_in(tmp_path / "in"), tmp_path / "out"
    before = leftovers()[1]
    process = started(folder, results)
    after_first_verdict(process)
    os.kill(judges(process.pid)[0], signal.SIGKILL)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert [row["status"] for row in rows_of(results)] == CAME
    assert not leftovers()[1] - before


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the judges by /proc")
def test_a_hand_in_on_which_judges_die_is_a_row_with_the_reason_and_stops_nothing(tmp_path):
    # No file is known to do that, so a judge is told to.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif sys.argv[:1] == ['-m'] and 'grader.classroom.job' in sys.orig_argv:\n"
        "    import os, grader.classroom.entries as e\n    read = e.read_entry\n"
        "    def dies(folder, name, exercise):\n"
        "        if name == 'bob.py': os.kill(os.getpid(), 9)\n"
        "        return read(folder, name, exercise)\n    e.read_entry = dies\n"
    )
    (tmp_path / "in").mkdir()
    for name in ("ada.py", "bob.py", "cy.py"):
        (tmp_path / "in" / name).write_text(f"x = '{name}'\n")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = call("--class", tmp_path / "in", "--out", tmp_path / "out", env=os.environ | {"PYTHONPATH": path})
    rows = rows_of(tmp_path / "out")
    assert [row["status"] for row in rows] == ["fail", "not_graded", "fail"], done.stdout
    assert "signal 9" in rows[1]["reason"] and rows[1]["points"] == "" and done.returncode == 1
    again = call("--class", tmp_path / "in", "--out", tmp_path / "out")
    assert "1 to grade, 2 graded before" in again.stdout and again.returncode == 0


def test_a_second_grader_in_the_same_results_is_refused(tmp_path):
    folder, results = handed_in(tmp_path / "in"), tmp_path / "out"
    process = started(folder, results)
    after_first_verdict(process)
    assert "in use" in call("--class", folder, "--out", results).stderr
    process.terminate()
    process.communicate(timeout=60)


def test_below_files_hidden_and_no_network_it_refuses_without_trust():
    from grader.classroom.run import refuse_below
    from grader.workbook import UsageError

    whole = ["own process", "solutions hidden", "files read-only", "no network"]
    refuse_below(whole, trust=False)
    for missing in ("solutions hidden", "no network"):
        less = [word for word in whole if word != missing]
        with pytest.raises(UsageError, match="--trust"):
            refuse_below(less, trust=False)
        refuse_below(less, trust=True)
