"""Namespaces of their own for the processes that run strangers' files, as a second layer beside what a worker
gives up itself (Linux with bubblewrap).

In them there are no other processes than the zygote and its workers, no network but a loopback that is down,
no shared memory of others and no devices but /dev/null and its like; everything is read-only but a scratch
folder in memory, which is full at its limit. All of it ends with the zygote.
"""

import subprocess
import sys
import tempfile

from grader.worker import sandbox

# Writes to its scratch folder and to /dev/null, and sees no process but bubblewrap's and itself.
_TRIAL = (
    "import os, sys, tempfile\n"
    "open('/dev/null', 'w').close()\n"
    "tempfile.TemporaryFile(dir=sys.argv[1]).close()\n"
    "sys.exit(len([name for name in os.listdir('/proc') if name.isdigit()]) > 2)\n"
)


def around(command: list[str], scratch: str) -> list[str]:
    """A command in namespaces of its own. scratch: a folder in whose place it finds its scratch folder."""
    return [
        "bwrap",
        *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent"),
        *("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        # It names the machine's networks and disks; torch reads how many cores there are.
        *("--tmpfs", "/sys", "--ro-bind-try", "/sys/devices/system", "/sys/devices/system"),
        *("--remount-ro", "/sys", "--size", str(sandbox.SCRATCH_IN_MEMORY), "--tmpfs", scratch),
        *("--", *command),
    ]


def work(device: str) -> bool:
    """Whether such namespaces can be had here: tried by starting a process in them.

    device: auto, cpu or cuda. Never where attempts may run on a GPU, which needs its devices."""
    if sys.platform != "linux" or (device != "cpu" and any(sandbox.gpus())):
        return False
    with tempfile.TemporaryDirectory(prefix="grade-trial-") as scratch:
        command = around([sys.executable, "-I", "-S", "-c", _TRIAL, scratch], scratch)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            return subprocess.run(command, timeout=20, **quiet).returncode == 0
        except (OSError, subprocess.SubprocessError):
            return False
