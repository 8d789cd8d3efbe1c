"""A terminal for the tests: a program that runs in a pseudo-terminal, and what it shows."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time


class Terminal:
    """Runs a command in a pseudo-terminal of its own session; used in a with statement, which ends it."""

    def __init__(self, command: list[str], cwd, columns=100, rows=40, **environment: str):
        self.ours, self.theirs = os.openpty()  # theirs stays open, so that its modes can be read at the end
        self.resize(columns, rows)
        self.shown = ""
        self.modes = termios.tcgetattr(self.theirs)
        kept = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env=kept | {"TERM": "xterm-256color"} | environment,
            preexec_fn=self._become_leader,
        )

    def _become_leader(self):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C becomes a signal

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)

    def resize(self, columns: int, rows: int) -> None:
        """As when a window is pulled; the kernel then tells the foreground process."""
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self.ours, keys.encode())

    def read(self, seconds: float) -> str:
        """What comes within this time, as soon as something does."""
        ready, _, _ = select.select([self.ours], [], [], seconds)
        if not ready:
            return ""
        try:
            part = os.read(self.ours, 1 << 16).decode(errors="replace")
        except OSError:
            part = ""
        self.shown += part
        return part

    def until(self, pattern: str, seconds: float = 60) -> str:
        """Wait for text that comes from now on; everything since. AssertionError where it does not come."""
        since, ends = len(self.shown), time.monotonic() + seconds
        while not re.search(pattern, plain(self.shown[since:])):
            if time.monotonic() > ends:
                raise AssertionError(
                    f"{pattern!r} did not come within {seconds} s:\n{plain(self.shown[since:])}"
                )
            self.read(0.01)
        return self.shown[since:]

    def wait(self, seconds: float = 30) -> int:
        """Until the program has ended; its exit status."""
        ends = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < ends:
            self.read(0.05)
        while self.read(0.05):
            pass
        return self.process.wait(0.1)

    @property
    def restored(self) -> bool:
        """Whether the terminal echoes and waits for lines as it did before."""
        return termios.tcgetattr(self.theirs) == self.modes

    def interrupt(self) -> None:
        """Ctrl-C, as a key."""
        self.send("\x03")

    def hang_up(self) -> None:
        """Tell the program to end, as `kill` does."""
        self.process.send_signal(signal.SIGTERM)


def plain(text: str) -> str:
    """The text without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")


def screen(text: str) -> list[str]:
    """The lines that stand on the terminal: those after it was last cleared."""
    return plain(re.split(r"\x1b\[2J", text)[-1]).splitlines()
