"""Starts the workers, and ends everything that was started.

Linux forks workers from one zygote (`zygote.py`); elsewhere each is a process of its own. The
environment variable GRADE_START_METHOD (fork, spawn) overrides the choice.

This module imports nothing slow: the zygote imports torch while the judge imports pytest.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

from grader.workbook import REPOSITORY, InstallationError

if TYPE_CHECKING:
    from grader.judge.connection import Worker

# hypothesis keeps a small cache, by default in whatever folder the user stands in.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(REPOSITORY / ".hypothesis"))
START_SECONDS = 120  # importing torch from a cold disk can take a minute


def start_method() -> str:
    """ "fork" on Linux, else "spawn"; GRADE_START_METHOD overrides."""
    method = os.environ.get("GRADE_START_METHOD") or ("fork" if sys.platform == "linux" else "spawn")
    if method not in ("fork", "spawn") or (method == "fork" and not hasattr(os, "fork")):
        raise InstallationError(f"GRADE_START_METHOD is {method!r}; it must be fork (Linux only) or spawn.")
    return method


# All that a worker's environment keeps: what Python, torch and the system need. Everything else, such as
# tokens and keys, is hidden from it.
KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|USERNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP|TERM|LD_LIBRARY_PATH|DYLD_\w+|PYTHON\w*"
    r"|VIRTUAL_ENV|CONDA_PREFIX|SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT|USERPROFILE|PROGRAMDATA|PROCESSOR_\w+"
    r"|NUMBER_OF_PROCESSORS|CUDA_\w+|NVIDIA_\w+|CUBLAS_\w+|OMP_\w+|MKL_\w+|OPENBLAS_\w+|KMP_\w+|GOMP_\w+|TORCH\w*"
    r"|PYTORCH_\w+|GPT_DATA_DIR|GRADE_\w+",
    re.IGNORECASE,  # Windows' names are in capitals or not
)


def worker_environment() -> dict[str, str]:
    """One thread each: the tensors are small, and idle OpenMP threads that spin steal the other's core.

    And torch.compile gives back what it is given: the checks call with hundreds of shapes, and compiling for
    each would take minutes. Plots are drawn, and no window is opened for them, which would wait to be closed.
    """
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    names += ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE")  # the newer and the older name
    return (
        kept | dict.fromkeys(names, "1") | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}
    )


class Starter:
    """Starts workers, by the method of this system; close() ends everything it started."""

    def __init__(
        self,
        method: str | None = None,
        trains: bool = False,
        environment: dict[str, str] | None = None,
        hidden: tuple[str, ...] = (),
        user: int | None = None,
        namespaces: bool = False,
    ):
        """trains: for exercises that train; what torch imports at the first use of an optimizer, a second's
        worth, is then imported once and shared by all workers that are forked.
        environment: variables that its processes get beside those of worker_environment.
        hidden: paths that no attempt may read, wherever they lie.
        user: root's attempts run as the user of this number, and not as root.
        namespaces: workers that are forked get namespaces of their own, see namespaces.py."""
        self.method = method or start_method()
        self.trains = trains
        self.environment = environment or {}
        self.hidden, self.user = hidden, user
        self.namespaces = namespaces and self.method == "fork"
        self._other: Starter | None = None
        self._zygote = None
        self.workers: list = []
        self._folders: list[int] = []  # file descriptors of the zygotes' folders for scratch
        if self.method == "fork":
            self._start_zygote()

    def with_other_hashes(self) -> Starter:
        """A starter like this one in whose processes strings have other hashes; it is closed with this one.

        All workers that one zygote forks share its hashes, so this one has a zygote of its own. It starts in
        the background."""
        if self._other is None:
            seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
            other = {"PYTHONHASHSEED": seed}
            self._other = Starter(self.method, self.trains, other, self.hidden, self.user, self.namespaces)
        return self._other

    def _start_zygote(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = tempfile.TemporaryFile()
        command = [sys.executable, "-m", "grader.worker.zygote", str(theirs.fileno())]
        if self.namespaces:
            from grader.judge import namespaces

            folder = tempfile.gettempdir()
            command = namespaces.around([*command, folder], folder)
        self._zygote = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=worker_environment() | ({"GRADE_TRAINS": "1"} if self.trains else {}) | self.environment,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        theirs.close()
        self._control, self._numbers, self._forked = ours, 0, queue.Queue()
        self._by_number: dict = {}
        self._scratch: queue.Queue = queue.Queue()  # the file descriptor that the zygote sends, or None
        self._folder: int | None = None
        threading.Thread(target=self._listen, args=(ours,), daemon=True).start()

    def _listen(self, control: socket.socket) -> None:
        """Pass on what the zygote reports, until it is gone; then all of its workers are."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(control, 1 << 16, 1)
            except OSError:
                data = b""
            if not data:
                break
            message = json.loads(data)
            if "scratch" in message:
                self._scratch.put(fds[0])
            elif "forked" in message:
                self._forked.put(message["forked"])
            else:
                self._by_number.pop(message["exited"]).exited(message["status"])
        self._forked.put(None)
        self._scratch.put(None)
        for worker in list(self._by_number.values()):
            worker.exited(None)

    def start(self, role: str, device: str, threads: int = 1, folder: str = "") -> Worker:
        """A fresh worker, ready for requests. InstallationError where none can be started."""
        from grader.judge.connection import WorkerDied

        if self.method == "fork" and self._zygote.poll() is not None:
            self._control.close()  # a learner's code may have found and ended the zygote
            self._start_zygote()
        place = tempfile.mkdtemp(prefix="grade-", dir=self._scratch_folder())
        scratch = os.path.join(tempfile.gettempdir(), os.path.basename(place))
        setup = {"role": role, "device": device, "scratch": scratch, "threads": threads, "folder": folder}
        setup |= {"hidden": self.hidden, "user": self.user, "namespaces": self.namespaces}
        try:
            if role == "attempt" and self.user is not None:
                os.chown(place, self.user, self.user)
            worker = self._fork(setup, place) if self.method == "fork" else self._spawn(setup)
        except BaseException:  # Ctrl-C too
            os.rmdir(place)
            raise
        self.workers.append(worker)
        try:
            worker.hello = worker.receive(START_SECONDS)[0]
        except WorkerDied as death:
            said = worker.output_tail().strip().splitlines()
            trial = "import torch"
            if device == "cuda":
                trial += "; print(torch.ones(1, device='cuda'))"
            raise InstallationError(
                f"a worker did not start ({death.detail}): {said[-1] if said else 'it said nothing'}; "
                f'check the installation with: python -c "{trial}"'
                + (", or grade with --device cpu" if device == "cuda" else "")
            ) from None
        return worker

    def _scratch_folder(self) -> str | None:
        """Where this process makes the workers' folders for scratch; None: where it makes its own."""
        if not self.namespaces:
            return None
        if self._folder is None:
            self._folder = self._scratch.get(timeout=START_SECONDS)
            if self._folder is None:
                raise self._not_started()
            self._folders.append(self._folder)
        return f"/proc/{os.getpid()}/fd/{self._folder}"

    def _not_started(self) -> InstallationError:
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        return InstallationError(
            f"the grader could not start: {said[-1] if said else 'its worker process ended at once'}; "
            f"install it with: python -m pip install -c constraints.txt -e ."
        )

    def _fork(self, setup: dict, place: str) -> Worker:
        from grader.judge.connection import Worker

        (request_read, request_write), (answer_read, answer_write) = os.pipe(), os.pipe()
        output_read, output_write = os.pipe()
        self._numbers += 1
        number = self._numbers
        worker = Worker(
            setup, request_write, answer_read, output_read, lambda: self._tell({"kill": number}), place
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
            raise self._not_started()
        return worker

    def _tell(self, message: dict) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            pass  # gone, and its workers with it

    def _spawn(self, setup: dict) -> Worker:
        from grader.judge.connection import Worker
        from grader.protocol import binary

        process = subprocess.Popen(
            [sys.executable, "-m", "grader.worker.spawned", json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=worker_environment() | self.environment,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        streams = (process.stdin, process.stdout, process.stderr)
        fds = [binary(os.dup(stream.fileno())) for stream in streams]
        for stream in streams:
            stream.close()
        worker = Worker(setup, *fds, kill=lambda: _kill_tree(process))
        threading.Thread(target=lambda: worker.exited(process.wait()), daemon=True).start()
        return worker

    def close(self) -> None:
        """End every worker and the zygote; afterwards no process of this grader is left."""
        if self._other is not None:
            self._other.close()
            self._other = None
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
        while self._folders:
            os.close(self._folders.pop())


def _kill_tree(process: subprocess.Popen) -> None:
    """End a spawned worker, its process group and, on Linux, whatever it left behind."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True)
        return
    if sys.platform == "linux":
        process.terminate()  # spawned.py: it ends the worker and its orphans
        try:
            process.wait(5)
            return
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()
