"""Single keys from the terminal, without Enter; none where standard input is no terminal of ours."""

import os
import re
import sys
import time

# An arrow or function key, which means nothing here: several characters, the first being Escape.
SEQUENCE = re.compile(r"\x1b(\[[0-9;]*[A-Za-z~]|O.|.)?")


class Keyboard:
    """Used in a with statement, which leaves the terminal as it was.

    available: whether there are keys at all (a pipe, a file and a background job have none).
    """

    def __init__(self):
        self.available = False
        self._saved, self._typed = None, ""

    def __enter__(self):
        if not sys.stdin.isatty():
            return self
        if os.name == "nt":
            self.available = True
            return self
        import termios

        self._fd = sys.stdin.fileno()
        try:
            # In the background a change of the terminal would stop this process.
            self.available = os.tcgetpgrp(self._fd) == os.getpgrp()
            self._saved = termios.tcgetattr(self._fd) if self.available else None
            self.resume()
        except (OSError, termios.error):
            self.available = False
        return self

    def resume(self) -> None:
        """Keys at once and without echo, also after a stop (Ctrl-Z); Ctrl-C stays Ctrl-C."""
        if self._saved is not None:
            import tty

            tty.setcbreak(self._fd)

    def __exit__(self, *_):
        if self._saved is not None:
            import termios

            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)
            except termios.error:
                pass  # the terminal is gone

    def key(self, seconds: float) -> str:
        """The key that is pressed within this time, or ""; "q" where the terminal is gone."""
        if not self.available:
            time.sleep(seconds)
            return ""
        if os.name == "nt":
            import msvcrt

            ends = time.monotonic() + seconds
            while not msvcrt.kbhit():
                if time.monotonic() > ends:
                    return ""
                time.sleep(0.01)
            return msvcrt.getwch()
        import select

        if not self._typed and select.select([self._fd], [], [], seconds)[0]:
            try:
                read = os.read(self._fd, 64)
            except OSError:
                read = b""
            self._typed = SEQUENCE.sub("", read.decode(errors="replace")) if read else "q"
        key, self._typed = self._typed[:1], self._typed[1:]
        return key
