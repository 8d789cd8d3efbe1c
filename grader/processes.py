"""The judge's side of the workers: start them, ask them, end them.

Linux forks workers from one zygote (`zygote.py`); elsewhere each is a process of its own. The
environment variable GRADE_START_METHOD (fork, spawn) overrides the choice. Both ways give three
streams per worker: requests in, answers out, and whatever the learner's code prints, which is
drained and capped. Threads read them, since Windows cannot wait on a pipe in any other way.
"""

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from grader import protocol

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 120  # importing torch from a cold disk can take a minute
KEPT_OUTPUT = 16 << 10  # bytes of a worker's output that are kept: the last ones


class InstallationError(Exception):
    """The grader itself cannot run here; the text is one sentence for the user."""


class WorkerDied(Exception):
    """A worker stopped answering: it was killed at its deadline, ended itself, or broke the protocol.

    kind: "deadline", "exit" or "protocol"; status: the exit status, negative for a signal.
    line: (line number, function) of the learner's file that was running, where it is known.
    """

    def __init__(self, kind: str, detail: str, status: int | None = None, line=None):
        super().__init__(detail)
        self.kind, self.detail, self.status, self.line = kind, detail, status, line


def start_method() -> str:
    """"fork" on Linux, else "spawn"; GRADE_START_METHOD overrides."""
    method = os.environ.get("GRADE_START_METHOD") or ("fork" if sys.platform == "linux" else "spawn")
    if method not in ("fork", "spawn") or (method == "fork" and not hasattr(os, "fork")):
        raise InstallationError(f"GRADE_START_METHOD is {method!r}; it must be fork (Linux only) or spawn.")
    return method


def worker_environment() -> dict[str, str]:
    """One thread each: the tensors are small, and idle OpenMP threads that spin steal the other's core."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return os.environ | dict.fromkeys(names, "1") | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


class Starter:
    """Starts workers, by the method of this system; close() ends everything it started."""

    def __init__(self, method: str | None = None):
        self.method = method or start_method()
        self._zygote = None
        self.workers: list[Worker] = []
        if self.method == "fork":
            self._start_zygote()

    def _start_zygote(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = tempfile.TemporaryFile()
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "grader.zygote", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=worker_environment(),
            cwd=REPOSITORY,
            start_new_session=True,
        )
        theirs.close()
        self._control, self._numbers, self._forked = ours, 0, queue.Queue()
        self._by_number: dict[int, Worker] = {}
        threading.Thread(target=self._listen, args=(ours,), daemon=True).start()

    def _listen(self, control: socket.socket) -> None:
        """Pass on what the zygote reports, until it is gone; then all of its workers are."""
        while True:
            try:
                data = control.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            message = json.loads(data)
            if "forked" in message:
                self._forked.put(message["forked"])
            else:
                self._by_number.pop(message["exited"]).exited(message["status"])
        self._forked.put(None)
        for worker in list(self._by_number.values()):
            worker.exited(None)

    def start(self, role: str, device: str, threads: int = 1) -> "Worker":
        """A fresh worker, ready for requests. InstallationError where none can be started."""
        scratch = tempfile.mkdtemp(prefix="grade-")
        setup = {"role": role, "device": device, "scratch": scratch, "threads": threads}
        worker = self._fork(setup) if self.method == "fork" else self._spawn(setup)
        self.workers.append(worker)
        try:
            worker.hello = worker.receive(START_SECONDS)[0]
        except WorkerDied as death:
            said = worker.output_tail().strip().splitlines()
            raise InstallationError(
                f"a worker did not start ({death.detail}): {said[-1] if said else 'it said nothing'}; "
                f'check the installation with: python -c "import torch"'
            ) from None
        return worker

    def _fork(self, setup: dict) -> "Worker":
        if self._zygote.poll() is not None:  # a learner's code may have found and ended it
            self._control.close()
            self._start_zygote()
        (request_read, request_write), (answer_read, answer_write) = os.pipe(), os.pipe()
        output_read, output_write = os.pipe()
        self._numbers += 1
        number = self._numbers
        worker = Worker(
            setup, request_write, answer_read, output_read, kill=lambda: self._tell({"kill": number})
        )
        self._by_number[number] = worker
        theirs = [request_read, answer_write, output_write]
        message = json.dumps({"fork": number, "setup": setup}).encode()
        try:
            socket.send_fds(self._control, [message], theirs)
        except OSError:
            pass  # the zygote is gone; the next line notices
        for fd in theirs:
            os.close(fd)
        if self._forked.get(timeout=START_SECONDS) is None:
            self._log.seek(0)
            said = self._log.read().decode(errors="replace").strip().splitlines()
            raise InstallationError(
                f"the grader could not start: {said[-1] if said else 'its worker process ended at once'}; "
                f"install it with: python -m pip install -c constraints.txt -e ."
            )
        return worker

    def _tell(self, message: dict) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            pass  # gone, and its workers with it

    def _spawn(self, setup: dict) -> "Worker":
        process = subprocess.Popen(
            [sys.executable, "-m", "grader.spawned", json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=worker_environment(),
            cwd=REPOSITORY,
            start_new_session=True,
        )
        fds = [os.dup(stream.fileno()) for stream in (process.stdin, process.stdout, process.stderr)]
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
        worker = Worker(setup, *fds, kill=lambda: _kill_tree(process))
        threading.Thread(target=lambda: worker.exited(process.wait()), daemon=True).start()
        return worker

    def close(self) -> None:
        """End every worker and the zygote; afterwards no process of this grader is left."""
        for worker in self.workers:
            worker.close()
        self.workers.clear()
        if self._zygote is not None:
            self._control.shutdown(socket.SHUT_RDWR)
            self._control.close()
            try:
                self._zygote.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._zygote.kill()
                self._zygote.wait()
            self._log.close()
            self._zygote = None


def _kill_tree(process: subprocess.Popen) -> None:
    """SIGKILL to a spawned worker and to its process group."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True)
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()


class Worker:
    """One worker process: ask it, and it answers within the deadline or is killed."""

    def __init__(self, setup: dict, requests: int, answers: int, output: int, kill):
        self.setup, self.hello = setup, {}
        self._requests, self._answers, self._output = requests, answers, output
        self._kill = kill
        self._arrived: queue.Queue = queue.Queue()
        self._outgoing: queue.Queue = queue.Queue()
        self._tail = bytearray()
        self._ended = threading.Event()
        self._next = 0
        self.status: int | None = None
        self.alive = True
        self._drained = threading.Thread(target=self._drain, daemon=True)
        self._drained.start()
        for target in (self._read, self._write):
            threading.Thread(target=target, daemon=True).start()

    # The threads: each ends when the worker's end of its pipe is closed.

    def _read(self) -> None:
        try:
            while True:
                self._arrived.put(protocol.read_frame(self._answers))
        except EOFError:
            self._arrived.put(WorkerDied("exit", "it ended itself"))
        except (protocol.ProtocolError, OSError) as error:
            self._arrived.put(WorkerDied("protocol", str(error)))
        finally:
            os.close(self._answers)

    def _write(self) -> None:
        try:
            while (data := self._outgoing.get()) is not None:
                protocol.write_all(self._requests, data)
        except OSError:
            pass  # a dead worker; the reader reports it
        finally:
            os.close(self._requests)

    def _drain(self) -> None:
        while data := os.read(self._output, 1 << 16):
            self._tail += data
            del self._tail[:-KEPT_OUTPUT]
        os.close(self._output)

    def exited(self, status: int | None) -> None:
        """The process is gone (called by whoever waits for it)."""
        self.status = status
        self._ended.set()
        # Answers that it wrote before it ended may still be on their way through the pipe, and a
        # descendant that holds the pipe open would hide its end from the reader.
        threading.Timer(0.3, self._arrived.put, [WorkerDied("exit", "it ended itself")]).start()

    # What the judge calls.

    def ask(self, header: dict, arrays: dict, deadline: float) -> tuple[dict, dict]:
        """The answer to one request, as (header, arrays). WorkerDied where there is none in time."""
        self._next += 1
        header = header | {"id": self._next, "deadline": deadline}
        self._outgoing.put(protocol.pack(header, arrays))
        answer = self.receive(deadline)
        if answer[0].get("id") != self._next:
            self.kill()
            raise WorkerDied("protocol", "it answered something that was not asked")
        return answer

    def receive(self, deadline: float) -> tuple[dict, dict]:
        """The next frame, or WorkerDied (the worker is killed then)."""
        try:
            arrived = self._arrived.get(timeout=deadline)
        except queue.Empty:
            arrived = WorkerDied("deadline", f"no answer within {deadline:g} s")
        if isinstance(arrived, WorkerDied):
            self.kill()
            raise WorkerDied(arrived.kind, arrived.detail, self.status, self._last_line())
        return arrived

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.alive:
            self.alive = False
            if not self._ended.is_set():
                self._kill()
                self._ended.wait(10)

    def close(self) -> None:
        """End it and remove its scratch folder."""
        self.kill()
        self._outgoing.put(None)
        self._drained.join(1)
        _remove(self.setup["scratch"])

    def output_tail(self) -> str:
        """The end of what the worker's code printed."""
        self._drained.join(0 if self.alive else 1)
        return self._tail.decode("utf-8", errors="replace")

    def _last_line(self) -> tuple[int, str] | None:
        """The learner's line that ran when faulthandler last wrote a stack, innermost first."""
        stack = re.split(r"Timeout \(|Fatal Python error", self.output_tail())[-1]
        for file, line, function in re.findall(r'File "(.*?)", line (\d+) in (.*)', stack):
            if file == self.setup.get("filename"):
                return int(line), function.strip()[:80]
        return None


def _remove(folder: str) -> None:
    """Remove a scratch folder, also one that a learner's code made unreadable."""

    def allow_and_retry(function, path, _):
        try:
            os.chmod(os.path.dirname(path), 0o700)
            os.chmod(path, 0o700)
            function(path)
        except OSError:
            pass

    for _ in range(3):
        shutil.rmtree(folder, onerror=allow_and_retry)
        if not os.path.exists(folder):
            return
        time.sleep(0.05)
