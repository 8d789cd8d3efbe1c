"""What an attempt cannot reach. What the report claims of the isolation must be so: where this system
cannot hide files or refuse signals, the report must not say that it does.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader.judge.grade import Deadlines, Session
from grader.judge.processes import Starter
from tests.grader.attempts import REPOSITORY, SOLUTION, at_import, in_forward

FILE = REPOSITORY / "solutions" / "ex1_fused_attention.py"
# Ways round an audit hook: another program, the C library, a link, this process's own root.
ROUTES = {
    "another program": f"import subprocess\nsubprocess.run(['cat', {str(FILE)!r}], check=True, "
    f"stdout=subprocess.DEVNULL)",
    "the C library": f"import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.open({str(FILE).encode()!r}, 0) "
    f">= 0",
    "the history": f"import subprocess\nsubprocess.run(['git', '-C', {str(REPOSITORY)!r}, 'show', "
    f"'HEAD:solutions/ex1_fused_attention.py'], check=True, stdout=subprocess.DEVNULL)",
    "the checks": f"open({str(REPOSITORY / 'tests' / 'exercises' / 'ex1' / 'mistakes.py')!r}).read()",
    "a link": f"import os, ctypes\nos.symlink({str(FILE)!r}, 'link')\nassert ctypes.CDLL(None).open(b'link', "
    f"0) >= 0",
    "the root of this process": f"import ctypes\nassert ctypes.CDLL(None).open(b'/proc/self/root' + "
    f"{str(FILE).encode()!r}, 0) >= 0",
    "another Python": f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import "
    f"solutions.ex1_fused_attention'], cwd={str(REPOSITORY)!r}, check=True, "
    f"stderr=subprocess.DEVNULL)",
}


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


@pytest.mark.slow
def test_an_attempt_cannot_end_the_processes_that_judge_it(graded):
    # It would: the judge is the process that holds the other ends of its pipes.
    verdict = graded(
        at_import(
            "import os, signal\nkilled = []\nfor entry in os.listdir('/proc') if os.path.isdir('/proc') else "
            "():\n    try:\n        if entry.isdigit() and b'grader' in open(f'/proc/{entry}/cmdline', "
            "'rb').read() and int(entry) != os.getpid():\n            os.kill(int(entry), signal.SIGTERM)\n  "
            "          killed.append(entry)\n    except OSError: pass\nassert not killed, killed"
        )
    )
    assert verdict.checks  # a verdict in any case
    assert graded(SOLUTION).passed


LEAVES_BEHIND = {
    "a session of its own": "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; "
    "time.sleep(600)', {marker!r}], start_new_session=True)",
    "forked twice, with an empty environment": (
        "import os, sys\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        "
        "os.execve(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}], "
        "{{}})\n    os._exit(0)"
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only a parent that adopts orphans can find them")
@pytest.mark.parametrize("way", LEAVES_BEHIND)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_that_an_attempt_leaves_behind_is_ended(session, spawning_session, method, way):
    from grader.judge.grade import Source, grade

    marker = f"left-behind-{method}-{os.getpid()}"
    code = LEAVES_BEHIND[way].format(marker=marker)
    grading = session if method == "fork" else spawning_session
    verdict = grade(
        grading, "ex1", Source(Path("a.py"), at_import(code).encode()), device="cpu", only=["runs"]
    )
    assert verdict.passed, verdict.checks[0].message
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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"] if sys.platform == "linux" else ["spawn"])
def test_closing_a_session_leaves_no_process_and_no_folder(leftovers, method):
    before = leftovers()
    with Session(Starter(method), Deadlines(load=10, run=3)) as session:
        from grader.judge.grade import Source, grade

        assert grade(session, "ex1", Source(Path("a.py"), SOLUTION.encode()), device="cpu").passed
        assert leftovers()[1] - before[1]
    after = leftovers()
    assert after[0] - before[0] == set()
    assert after[1] - before[1] == set()


@pytest.mark.slow
def test_a_killed_spawned_worker_says_how_it_ended(spawning_session):
    from grader.judge.grade import Source, grade

    verdict = grade(
        spawning_session,
        "ex1",
        Source(Path("a.py"), at_import("import os\nos._exit(7)").encode()),
        device="cpu",
        only=["runs"],
    )
    assert "exit status 7" in verdict.checks[0].message
    verdict = grade(
        spawning_session,
        "ex1",
        Source(Path("a.py"), at_import("import os\nos.abort()").encode()),
        device="cpu",
        only=["runs"],
    )
    assert sys.platform == "win32" or "signal 6" in verdict.checks[0].message


# What the isolation line says, and code that succeeds only where it does not hold. {victim}: a file of the
# user's.
CLAIMS = {
    "a file's mode": (
        "files read-only",
        "os.chmod({victim!r}, 0o600)\nassert os.stat({victim!r}).st_mode & 0o777 == 0o600",
    ),
    "a file's times": (
        "files read-only",
        "os.utime({victim!r}, (1, 1))\nassert os.stat({victim!r}).st_mtime == 1",
    ),
    "a file's attributes": (
        "files read-only",
        "os.setxattr({victim!r}, 'user.x', b'1')\nassert os.listxattr({victim!r})",
    ),
    "a file's length": ("files read-only", "os.truncate({victim!r}, 0)"),
    "a file's name": ("files read-only", "os.rename({victim!r}, {victim!r} + '.moved')"),
    "a file's place": ("files read-only", "os.unlink({victim!r})"),
    "a link to a file": ("files read-only", "os.link({victim!r}, 'link')\nopen('link', 'w')"),
    "TCP": ("no network", "socket.create_connection(('127.0.0.1', {port}), 1)"),
    "UDP": ("no network", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"),
    "a Unix socket": ("no network", "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect({socket!r})"),
    "the C library's socket": ("no network", "import ctypes\nassert ctypes.CDLL(None).socket(2, 2, 0) >= 0"),
    "io_uring": (
        "no network",
        "import ctypes\nassert ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)) >= 0",
    ),
    "the judge's limits": (
        "no network",
        "import resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NPROC, (9, 9))",
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the claims are made on Linux")
@pytest.mark.parametrize("what", CLAIMS)
def test_what_the_isolation_line_claims_holds(graded, tmp_path, what):
    import socket

    victim = tmp_path / "victim"
    victim.write_text("x")
    victim.chmod(0o640)
    before = victim.stat()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        claim, code = CLAIMS[what]
        code = code.format(victim=str(victim), port=server.getsockname()[1], socket=str(tmp_path / "s"))
        verdict = graded(at_import(f"import os, socket\n{code}"), only=["runs"])
    if claim in verdict.isolation:
        assert not verdict.passed
        after = victim.stat()
        assert (after.st_mode, after.st_mtime, after.st_size) == (
            before.st_mode,
            before.st_mtime,
            before.st_size,
        )
        assert not os.listxattr(victim)
    assert claim in verdict.isolation or not _has_landlock()


def test_the_line_claims_no_more_than_the_system_gives():
    from grader.worker.sandbox import words

    assert words(0, False) == ["solutions NOT hidden"]
    assert words(0, True) == ["solutions NOT hidden", "no network"]
    assert words(1, False) == words(2, False) == ["solutions hidden"]
    assert words(3, False) == ["solutions hidden", "contents of files read-only"]
    assert words(4, False) == ["solutions hidden", "contents of files read-only", "no TCP"]
    assert words(7, True) == ["solutions hidden", "files read-only", "no network"]
    assert words(7, True, unix_sockets=True)[-1] == "no network but Unix sockets"


def _filtered(program: bytes, machine: int, number: int, *arguments: int) -> int:
    """What the kernel would make of a call: the filter's program, carried out here."""
    import struct

    lines = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    data = struct.pack("=IIQ6Q", number, machine, 0, *(*arguments, *[0] * (6 - len(arguments))))
    at, loaded = 0, 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
        elif code == 0x15:
            at += yes if loaded == value else no
        elif code == 0x35:
            at += yes if loaded >= value else no
        else:
            return value


@pytest.mark.parametrize("machine, column", [("x86_64", 0), ("aarch64", 1)])
def test_the_filter_on_system_calls_refuses_what_is_listed_and_nothing_else(machine, column):
    from grader.worker import system_calls as calls

    name, program = calls._MACHINES[machine][1], calls.program(machine)
    allowed, errno_of = 0x7FFF0000, 0x00050000
    listed = [calls.DO_NOTHING, calls.NO_NETWORK, calls.REFUSED]
    refused = {numbers[column] for group in listed for numbers in group.values()} - {None} | {
        calls._SOCKET[column]
    }
    for number in range(600):
        answer = _filtered(program, name, number)  # with arguments of 0
        assert (answer == allowed) == (number not in refused), number
    assert all(
        _filtered(program, name, n[column]) == errno_of
        for n in calls.DO_NOTHING.values()
        if n[column] is not None
    )
    with_unix, unix, inet = calls.program(machine, unix_sockets=True), 1, 2
    for family in (unix, inet):
        assert _filtered(program, name, calls._SOCKET[column], family) == errno_of | 13
    assert _filtered(with_unix, name, calls._SOCKET[column], unix) == allowed
    assert _filtered(with_unix, name, calls._SOCKET[column], inet) == errno_of | 13
    limits, control = calls._PRLIMIT[column], calls._IOCTL[column]
    assert (
        _filtered(program, name, limits, 0) == allowed
        and _filtered(program, name, limits, 123) == errno_of | 1
    )
    assert (
        _filtered(program, name, control, 1, 0x40086602) == errno_of | 1
        and _filtered(program, name, control, 1, 0x541B) == allowed
    )
    assert _filtered(program, 0x40000003, 1) == _filtered(program, name, 0x40000001) == errno_of | 38


WITHOUT_LANDLOCK = """
import os, sys
from grader.worker import reach
import exercises
hook = reach.Reach(reach.Readable({scratch!r}, {folder!r}))
hook.install()
os.chdir({scratch!r})
exercises.__path__ = [{scratch!r}]
try:
    {code}
except (OSError, ImportError):
    pass
print(hook.reached)
"""
REACHES = {
    "import solutions.ex1_fused_attention": "solution",
    "open({repository!r} + '/tests/exercises/ex1/mistakes.py')": "solution",
    "import subprocess; subprocess.run(['cat', {repository!r} + "
    "'/solutions/ex1_fused_attention.py'])": "solution",
    "os.system('cat solutions/ex1_fused_attention.py')": "solution",
    "open({folder!r} + '/bob.py')": "file",
    "sys.path.insert(0, {folder!r}); import bob": "file",
    "import exercises.ex2_addition": "file",
    "open({folder!r} + '/nothing.py')": "",
    "open('own.py', 'w').close(); open('own.py')": "",
    "import this; import torch.utils.data; import data.toy; import gpt_core.sampling": "",
}


@pytest.mark.slow
@pytest.mark.parametrize("code", REACHES)
def test_without_help_of_the_system_what_goes_through_python_is_still_reported(tmp_path, code):
    import subprocess

    scratch, folder = tmp_path / "scratch", tmp_path / "folder"
    scratch.mkdir()
    folder.mkdir()
    (folder / "bob.py").write_text("x = 1\n")
    line = code.format(repository=str(REPOSITORY), folder=str(folder))
    script = WITHOUT_LANDLOCK.format(scratch=str(scratch), folder=str(folder), code=line)
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    reached = eval(done.stdout.splitlines()[-1])
    assert [what for what, _ in reached[:1]] == ([REACHES[code]] if REACHES[code] else [])


@pytest.mark.slow
def test_a_worker_sees_no_tokens_and_no_keys(monkeypatch, leftovers):
    from grader.judge.grade import Source, grade

    for name in ("GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "a secret")
    code = (
        "import os\nassert 'a secret' not in os.environ.values(), os.environ\nassert b'a secret' not in "
        "open('/proc/self/environ', 'rb').read()\n"
    )
    code = code if sys.platform == "linux" else code.splitlines()[1]
    with Session(Starter()) as session:
        verdict = grade(
            session, "ex1", Source(Path("a.py"), at_import(code).encode()), device="cpu", only=["runs"]
        )
    assert verdict.passed, verdict.checks[0].message


@pytest.mark.skipif(sys.platform != "linux", reason="limits by process are Linux'")
def test_a_judge_whose_limits_were_lowered_ends_with_a_verdict_or_one_sentence(tmp_path):
    import subprocess

    attempt, out = tmp_path / "a.py", tmp_path / "verdict.json"
    attempt.write_text(SOLUTION)
    call = ["ex1", "--attempt", str(attempt), "--json", str(out), "--device", "cpu"]
    for kind, value in (("RLIMIT_NOFILE", 5), ("RLIMIT_FSIZE", 0)):
        program = (
            "import resource, sys\nfrom grader import cli\nfrom grader.judge import grade as judge\nfrom "
            f"grader.learner import report\nresource.setrlimit(resource.{kind}, ({value}, {value}))\n"
            f"sys.exit(cli.main({call!r}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 2 and not out.exists()
        assert done.stderr.startswith("grade.py: ") and done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="sends through a pipe of its own")
def test_frames_that_nobody_asked_for_wait_in_the_worker_and_not_in_the_judge():
    import threading

    from grader import protocol
    from grader.judge import connection as workers

    frame = protocol.pack({"id": 0})
    (reads, requests), (answers, writes), (output, prints) = os.pipe(), os.pipe(), os.pipe()
    worker = workers.Worker({"scratch": "/nowhere"}, requests, answers, output, kill=lambda: None)
    sent = 0

    def flood():
        nonlocal sent
        try:
            while sent < 100_000:
                protocol.write_all(writes, frame)
                sent += 1
        except OSError:
            pass

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    thread.join(1)
    assert thread.is_alive()  # it waits
    assert worker._arrived.qsize() <= workers.FRAMES
    worker.exited(0)
    worker.kill()
    os.close(reads)
    os.close(prints)


WRITES = {
    "one file": "with open('x', 'wb') as file:\n    file.truncate(2 << 30)",
    "many files": "for number in range(21_000):\n    open(f'f{number}', 'w').close()\nimport time\n"
    "time.sleep(60)",
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
@pytest.mark.parametrize("name", WRITES)
def test_what_an_attempt_writes_is_limited(graded, name):
    verdict = graded(at_import(WRITES[name]), only=["runs"])
    assert ("wrote more than" if name == "one file" else "or 20,000 files") in verdict.checks[0].message


SPAWNED = {
    "the solution": (SOLUTION, None),
    "a crash": (in_forward("import os; os.abort()"), "output"),
    "an endless loop": (in_forward("while True: pass"), "output"),
    "an exit at import": (at_import("import os; os._exit(0)"), "runs"),
    "an import of the solution": ("from solutions.ex1_fused_attention import *", "runs"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SPAWNED)
def test_spawned_workers_give_the_same_verdicts_as_forked_ones(spawning_session, name):
    from grader.judge.grade import Source, grade

    source, failing = SPAWNED[name]
    verdict = grade(spawning_session, "ex1", Source(Path("a.py"), source.encode()), device="cpu")
    failed = [check.id for check in verdict.checks if check.status == "failed"]
    assert verdict.passed == (failing is None)
    assert failed[:1] == ([failing] if failing else [])


def test_a_file_that_is_graded_on_the_cpu_sees_no_gpu(graded):
    # What asks for the GPUs in passing, such as fork_rng, would fail where CUDA cannot start.
    verdict = graded(
        at_import(
            "import os\nimport torch\nassert os.environ['CUDA_VISIBLE_DEVICES'] == ''\n"
            "assert torch.cuda.device_count() == 0 and not torch.cuda.is_available()\n"
            "with torch.random.fork_rng():\n    torch.manual_seed(1)\n"
        )
    )
    assert verdict.passed, verdict.checks[0].message


@pytest.mark.skipif(sys.platform != "linux", reason="threads are named in /proc")
@pytest.mark.parametrize("allowed", [True, False])
def test_a_worker_of_a_gpu_may_name_its_threads_and_write_nothing_else(tmp_path, allowed):
    # CUDA does not start where it cannot.
    code = (
        "import sys, threading\nfrom grader.worker import reach, sandbox\n"
        f"readable = reach.Readable({str(tmp_path)!r}, '/nowhere')\n"
        f"held = sandbox.restrict_files({str(tmp_path)!r}, readable, names_threads={allowed})\n"
        "if not held:\n    sys.exit(3)\n"
        "for path in (f'/proc/self/task/{threading.get_native_id()}/comm', '/proc/self/comm'):\n"
        "    try:\n        open(path, 'w').write('name')\n        print(True)\n"
        "    except PermissionError:\n        print(False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("this system has no Landlock")
    assert done.stdout.split() == [str(allowed), "False"], done.stderr
