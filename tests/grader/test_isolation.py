"""What an attempt cannot reach. What the report claims of the isolation must be so: where this system
cannot hide files or refuse signals, the report must not say that it does.
"""

import os
import sys
import time
from pathlib import Path

import pytest

from grader.judge import Deadlines, Session
from grader.processes import Starter
from tests.grader.attempts import REPOSITORY, SOLUTION, at_import, in_forward

FILE = REPOSITORY / "solutions" / "ex1_fused_attention.py"
# Ways round an audit hook: another program, the C library, a link, this process's own root.
ROUTES = {
    "another program": f"import subprocess\nsubprocess.run(['cat', {str(FILE)!r}], check=True, stdout=subprocess.DEVNULL)",
    "the C library": f"import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.open({str(FILE).encode()!r}, 0) >= 0",
    "the history": f"import subprocess\nsubprocess.run(['git', '-C', {str(REPOSITORY)!r}, 'show', 'HEAD:solutions/ex1_fused_attention.py'], check=True, stdout=subprocess.DEVNULL)",
    "the checks": f"open({str(REPOSITORY / 'tests' / 'exercises' / 'ex1' / 'mistakes.py')!r}).read()",
    "a link": f"import os, ctypes\nos.symlink({str(FILE)!r}, 'link')\nassert ctypes.CDLL(None).open(b'link', 0) >= 0",
    "the root of this process": f"import ctypes\nassert ctypes.CDLL(None).open(b'/proc/self/root' + {str(FILE).encode()!r}, 0) >= 0",
    "another Python": f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import solutions.ex1_fused_attention'], cwd={str(REPOSITORY)!r}, check=True, stderr=subprocess.DEVNULL)",
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_no_route_leads_to_the_solution_where_the_report_says_that_it_is_hidden(graded, route):
    verdict = graded(at_import(ROUTES[route]))
    hidden = "solutions hidden" in verdict.isolation
    assert hidden or sys.platform != "linux" or not _has_landlock()
    if hidden:
        assert not verdict.passed
        assert verdict.checks[0].status == "failed"


def _has_landlock() -> bool:
    import ctypes

    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1) >= 1


def test_an_attempt_cannot_end_the_processes_that_judge_it(graded):
    # It would: the judge is the process that holds the other ends of its pipes.
    verdict = graded(
        at_import(
            "import os, signal\nkilled = []\n"
            "for entry in os.listdir('/proc') if os.path.isdir('/proc') else ():\n"
            "    try:\n"
            "        if entry.isdigit() and b'grader' in open(f'/proc/{entry}/cmdline', 'rb').read() and int(entry) != os.getpid():\n"
            "            os.kill(int(entry), signal.SIGTERM)\n"
            "            killed.append(entry)\n"
            "    except OSError: pass\n"
            "assert not killed, killed"
        )
    )
    assert verdict.checks  # a verdict in any case
    assert graded(SOLUTION).passed


def test_a_process_that_an_attempt_leaves_behind_is_ended(session, graded, tmp_path):
    if session.starter.method != "fork":
        return  # only a parent that adopts orphans can find them
    marker = f"left-behind-{os.getpid()}"
    graded(
        in_forward(
            "import subprocess, sys\n"
            f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}], start_new_session=True)"
        )
    )
    deadline = time.monotonic() + 5
    while _running(marker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _running(marker)


def _running(marker: str) -> bool:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                return True
        except OSError:
            pass  # it ended while we looked
    return False


@pytest.mark.parametrize("method", ["fork", "spawn"] if sys.platform == "linux" else ["spawn"])
def test_closing_a_session_leaves_no_process_and_no_folder(leftovers, method):
    before = leftovers()
    with Session(Starter(method), Deadlines(load=10, run=3)) as session:
        from grader.judge import Source, grade

        assert grade(session, "ex1", Source(Path("a.py"), SOLUTION.encode()), device="cpu").passed
        assert leftovers()[1] - before[1]
    after = leftovers()
    assert after[0] - before[0] == set()
    assert after[1] - before[1] == set()


SPAWNED = {
    "the solution": (SOLUTION, None),
    "a crash": (in_forward("import os; os.abort()"), "output"),
    "an endless loop": (in_forward("while True: pass"), "output"),
    "an exit at import": (at_import("import os; os._exit(0)"), "runs"),
    "an import of the solution": ("from solutions.ex1_fused_attention import *", "runs"),
}


@pytest.mark.parametrize("name", SPAWNED)
def test_spawned_workers_give_the_same_verdicts_as_forked_ones(spawning_session, name):
    from grader.judge import Source, grade

    source, failing = SPAWNED[name]
    verdict = grade(spawning_session, "ex1", Source(Path("a.py"), source.encode()), device="cpu")
    failed = [check.id for check in verdict.checks if check.status == "failed"]
    assert verdict.passed == (failing is None)
    assert failed[:1] == ([failing] if failing else [])
