"""A process that has imported torch and does nothing but fork workers, so that a fresh one costs
milliseconds instead of seconds.

It never computes and never touches CUDA: a fork of a process with running OpenMP or CUDA threads
would hang. It is the parent of every worker, so it alone may end them without hitting a recycled
process id, and it adopts and ends whatever a learner's code leaves running.

On the control socket, one JSON object per message:
    judge -> zygote   {"fork": n, "setup": {..}} with three file descriptors, {"kill": n}
    zygote -> judge   {"forked": n}, {"exited": n, "status": s}; where the second argument names a folder for
                      scratch, ahead of all others {"scratch": true} with a file descriptor of that folder:
                      it lies in memory, and under its name the judge would find another.
"""

import json
import os
import select
import signal
import socket
import sys
import traceback

from grader.worker import orphans

MAX_MESSAGE = 1 << 16


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    if len(sys.argv) > 2:
        folder = os.open(sys.argv[2], os.O_RDONLY)
        socket.send_fds(control, [json.dumps({"scratch": True}).encode()], [folder])
        os.close(folder)
    from grader.worker import main as worker  # the slow part: this imports torch
    from grader.worker import reach, sandbox

    if os.environ.pop("GRADE_TRAINS", None):
        import torch._dynamo  # noqa: F401 (see processes.Starter)

    sandbox.die_with_parent()
    sandbox.adopt_orphans()
    # Ctrl-C reaches the whole process group; only the judge decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reach.python_folders()  # once, for all workers
    worker.freeze()
    Zygote(control, worker.main).serve()


class Zygote:
    def __init__(self, control: socket.socket, work):
        self.control = control
        self.work = work
        self.workers: dict[int, int] = {}  # process id to the judge's number
        self.reads_children, self.writes_children = os.pipe()

    def serve(self) -> None:
        """Until the judge's end is closed; then every worker is ended."""
        os.set_blocking(self.writes_children, False)
        signal.set_wakeup_fd(self.writes_children, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while True:
                ready, _, _ = select.select([self.control, self.reads_children], [], [])
                if self.reads_children in ready:
                    os.read(self.reads_children, 4096)
                self._reap()
                if self.control in ready:
                    data, fds, _, _ = socket.recv_fds(self.control, MAX_MESSAGE, 3)
                    if not data:
                        break
                    message = json.loads(data)
                    if "fork" in message:
                        self._fork(message["fork"], message["setup"], fds)
                    else:
                        self._kill(message["kill"])
        except (BrokenPipeError, ConnectionResetError):
            pass  # the judge is gone
        finally:
            for number in list(self.workers.values()):
                self._kill(number, report=False)
            os._exit(0)

    def _send(self, message: dict) -> None:
        self.control.send(json.dumps(message).encode())

    def _fork(self, number: int, setup: dict, fds: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.setpgid(0, 0)
                self.control.close()
                os.close(self.reads_children)
                os.close(self.writes_children)
                self.work(*fds, setup)
            except BaseException:
                traceback.print_exc()  # the judge shows its last line
            finally:
                os._exit(70)
        for fd in fds:
            os.close(fd)
        self.workers[pid] = number
        self._send({"forked": number})

    def _kill(self, number: int, report: bool = True) -> None:
        pid = next((p for p, n in self.workers.items() if n == number), None)
        if pid is not None:
            orphans.end_group(pid)
            status = orphans.wait(pid)
            del self.workers[pid]
            if report:
                self._send({"exited": number, "status": status})
        orphans.end_orphans(keep=self.workers)

    def _reap(self) -> None:
        """Collect the dead, and report the workers among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self.workers.pop(pid, None)
            if number is not None:
                orphans.end_orphans(keep=self.workers)
                self._send({"exited": number, "status": os.waitstatus_to_exitcode(status)})


if __name__ == "__main__":
    main()
