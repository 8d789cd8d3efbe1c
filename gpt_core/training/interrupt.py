"""Ctrl-C while a command of this package is still being imported: torch alone takes a second or more.

Imported first of all by `gpt_core` itself, where that is a command's start (`python -m gpt_core.train`).
"""

import os
import signal
import sys


def _stop(number, frame):
    # At once: a KeyboardInterrupt would be swallowed, or made another error, by the C code of some modules.
    print("Stopped before anything was done.", file=sys.stderr, flush=True)
    os._exit(130)


def imports_begin() -> None:
    """From now on Ctrl-C ends the process with one sentence and exit status 130."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


def imports_ended() -> None:
    """From now on Ctrl-C is KeyboardInterrupt again: the command deals with it."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
