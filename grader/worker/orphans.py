"""Ends what a learner's code started and left behind (Linux).

A process whose parent ended becomes a child of the nearest ancestor that asked for such orphans
(sandbox.adopt_orphans), whatever session or group it moved to: so it is found, and can be ended.
"""

import os
import signal
import time
from collections.abc import Container


def end_orphans(keep: Container[int] = ()) -> None:
    """End every child of this process that is not in `keep`.

    Ending one hands its own children to us, so look again until there are none; a fork bomb gets two seconds
    of this."""
    until = time.monotonic() + 2
    while time.monotonic() < until:
        orphans = [pid for pid in children() if pid not in keep]
        if not orphans:
            return
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for pid in orphans:
            wait(pid)


def end_group(pid: int) -> None:
    """SIGKILL to a child that leads a process group, and to that group."""
    for end in (os.killpg, os.kill):
        try:
            end(pid, signal.SIGKILL)
        except OSError:
            pass  # it leads no process group, or no longer does


def wait(pid: int) -> int:
    """The exit status of a child, negative for a signal."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return -signal.SIGKILL


def children() -> list[int]:
    """The process ids of this process's children, dead ones that were not waited for included."""
    me, found = os.getpid(), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The second field is the name in parentheses, and may hold anything.
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == me:
                found.append(int(name))
    return found
