"""Starts one worker in a process of its own, where there is no zygote to fork it from.

The private pipes are this process's standard streams, so that it works on every system; the worker moves them
away before it runs any learner's code. On Linux the worker is a child of the process that was started, which
ends it, and whatever it left behind, when the judge sends SIGTERM or is gone.
"""

import json
import os
import signal
import sys


def main() -> None:
    if sys.platform == "linux":
        from grader.worker import sandbox

        pid = os.fork()  # before torch: a process with threads must not be forked
        if pid:
            _follow(pid)
        sandbox.die_with_parent()
        os.setpgid(0, 0)
    from grader import protocol
    from grader.worker import main as worker

    requests, answers, output = (protocol.binary(os.dup(stream)) for stream in (0, 1, 2))
    worker.main(requests, answers, output, json.loads(sys.argv[1]))


def _follow(pid: int) -> None:
    """Wait for the worker, end its orphans, and end as it did."""
    from grader.worker import orphans, sandbox

    signal.signal(signal.SIGTERM, lambda *_: orphans.end_group(pid))
    sandbox.die_with_parent(signal.SIGTERM)
    sandbox.adopt_orphans()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # the judge must see the worker's end of each close
        os.dup2(null, stream)
    status = None
    while status is None:
        ended, code = os.waitpid(-1, 0)  # orphans end in between
        status = os.waitstatus_to_exitcode(code) if ended == pid else None
    orphans.end_orphans()
    if status < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -status if -status != signal.SIGSTOP else signal.SIGKILL)
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
