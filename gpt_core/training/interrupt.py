"""Ctrl-C, in a command that is still being imported (torch alone takes a second or more), and in one that
trains.

Imported first of all by `gpt_core` itself, where that is a command's start (`python -m gpt_core.train`): so
it imports nothing that takes time.
"""

import contextlib
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


@contextlib.contextmanager
def stop_requested(*, by_termination: bool = True):
    """Yields a function that says whether Ctrl-C was pressed; the second one interrupts at once.

    by_termination: whether SIGTERM counts too, since clusters send it before they take a machine away. Not
    under torchrun, which sends it to the healthy processes after one has failed.
    """
    signals = [signal.SIGINT] + ([signal.SIGTERM] if by_termination else [])
    received = []

    def note(number, frame):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    before = {s: signal.signal(s, note) for s in signals}
    try:
        yield lambda: bool(received)
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
