"""One worker process as the judge sees it: ask it, and it answers within the deadline or is killed.

Three streams per worker: requests in, answers out, and whatever the learner's code prints, which is
drained and capped. Threads read them, since Windows cannot wait on a pipe in any other way.
"""

import os
import queue
import re
import shutil
import subprocess
import threading
import time

from grader import protocol
from grader.worker import sandbox

KEPT_OUTPUT = 16 << 10  # bytes of a worker's output that are kept: the last ones
FRAMES = 4  # that wait to be taken; the worker has to wait before it sends more
LOOK = 0.5  # seconds between two looks at the scratch folder
MOST_FILES = 20_000  # in the scratch folder


class WorkerDied(Exception):
    """A worker stopped answering: it was killed at its deadline, ended itself, or broke the protocol.

    kind: "deadline", "exit", "protocol" or "scratch"; status: the exit status, negative for a signal.
    line: (line number, function) of the learner's file that was running, where it is known.
    """

    def __init__(self, kind: str, detail: str, status: int | None = None, line=None):
        super().__init__(detail)
        self.kind, self.detail, self.status, self.line = kind, detail, status, line


class Worker:
    """One worker process: ask it, and it answers within the deadline or is killed."""

    def __init__(self, setup: dict, requests: int, answers: int, output: int, kill, place: str = ""):
        """place: under which name this process reaches the scratch folder, if not by the worker's name."""
        self.setup, self.hello = setup, {}
        self._place = place or setup["scratch"]
        self._requests, self._answers, self._output = requests, answers, output
        self._kill = kill
        self._arrived: queue.Queue = queue.Queue()
        self._room = threading.Semaphore(FRAMES)
        self._looked = 0.0
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
            while self._room.acquire() and self.alive:
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
        """The process has ended (called by the thread that waits for it)."""
        self.status = status
        self._ended.set()
        # Answers that it wrote before it ended may still be on their way through the pipe, and a
        # descendant that holds the pipe open would hide its end from the reader.
        threading.Timer(0.3, self._arrived.put, [WorkerDied("exit", "it ended itself")]).start()

    # What the judge calls.

    def ask(self, header: dict, arrays: dict, deadline: float, progress=None) -> tuple[dict, dict]:
        """The answer to one request, as (header, arrays). WorkerDied where there is none in time.

        progress: called with what a long request reports while it runs; untrusted.
        """
        self._next += 1
        header = header | {"id": self._next, "deadline": deadline}
        self._outgoing.put(protocol.pack(header, arrays))
        ends = time.monotonic() + deadline
        answer = self.receive(deadline)
        while "progress" in answer[0] and answer[0].get("id") == self._next:
            if progress is not None:
                progress(answer[0]["progress"])
            answer = self.receive(deadline, max(ends - time.monotonic(), 0.0))
        if answer[0].get("id") != self._next:
            self.kill()
            raise WorkerDied("protocol", "it answered something that was not asked")
        return answer

    def receive(self, deadline: float, left: float | None = None) -> tuple[dict, dict]:
        """The next frame, or WorkerDied (the worker is killed then); left: what the deadline has left."""
        arrived = self._next_frame(deadline, deadline if left is None else left)
        if isinstance(arrived, WorkerDied):
            self.kill()
            raise WorkerDied(arrived.kind, arrived.detail, self.status, self._last_line())
        return arrived

    def _next_frame(self, deadline: float, left: float):
        """The next frame, or the WorkerDied that came in its place; meanwhile the scratch folder is
        watched."""
        ends = time.monotonic() + left
        while True:
            if time.monotonic() - self._looked > LOOK:
                self._looked = time.monotonic()
                if _holds_too_much(self._place):
                    return WorkerDied(
                        "scratch", f"it wrote more than {sandbox.SCRATCH >> 30} GiB or {MOST_FILES:,} files"
                    )
            wait = max(ends - time.monotonic(), 0.0)
            try:
                arrived = self._arrived.get(timeout=min(wait, LOOK))
            except queue.Empty:
                if wait <= LOOK:
                    return WorkerDied("deadline", f"no answer within {deadline:g} s")
            else:
                self._room.release()
                return arrived

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.alive:
            self.alive = False
            self._room.release()  # a reader that waits for room is to end
            if not self._ended.is_set():
                self._kill()
                self._ended.wait(10)

    def abandon(self) -> None:
        """From another thread: a call that waits for an answer raises WorkerDied."""
        self._arrived.put(WorkerDied("stopped", "the grade was stopped"))

    def close(self) -> None:
        """End it and remove its scratch folder."""
        self.kill()
        self._outgoing.put(None)
        self._drained.join(1)
        remove(self._place)

    def output_tail(self) -> str:
        """The end of what the worker's code printed."""
        self._drained.join(0 if self.alive else 1)
        return self._tail.decode("utf-8", errors="replace")

    def _last_line(self) -> tuple[int, str] | None:
        """The learner's line that ran when faulthandler last wrote a stack, innermost first."""
        stack = re.split(r"Timeout \(|Fatal Python error", self.output_tail())[-1]
        for file, line, function in re.findall(r'File "(.*?)", line (\d{1,7}) in (.*)', stack):
            if file == self.setup.get("filename"):
                return int(line), function.strip()[:80]
        return None


def _holds_too_much(folder: str) -> bool:
    """Whether there is more in a scratch folder than an attempt may write."""
    size, count, folders = 0, 0, [folder]
    while folders and count <= MOST_FILES:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        at = entry.stat(follow_symlinks=False)
                        # a file with holes takes little
                        size += getattr(at, "st_blocks", at.st_size // 512) * 512
        except OSError:
            pass  # removed meanwhile, or too deep; the limit of a file's size holds anyway
    return count > MOST_FILES or size > sandbox.SCRATCH


def remove(folder: str) -> None:
    """Remove a scratch folder, also one that a learner's code made unreadable."""

    def allow_and_retry(function, path, _):
        try:
            for locked in (os.path.dirname(path), path):
                if not os.path.islink(locked):  # chmod would follow it out of the folder
                    os.chmod(locked, 0o700)
            function(path)
        except OSError:
            pass

    for _ in range(3):
        try:
            shutil.rmtree(folder, onerror=allow_and_retry)
        except (RecursionError, OSError):  # deeper than Python can walk
            if os.name == "posix":
                subprocess.run(["rm", "-rf", folder], stderr=subprocess.DEVNULL)
        if not os.path.exists(folder):
            return
        time.sleep(0.05)
