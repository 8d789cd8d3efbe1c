"""Memory that runs out: each place says what it needed it for, and what takes less."""

import contextlib
import re
from collections.abc import Iterator

from safetensors import SafetensorError


class OutOfMemory(MemoryError):
    """There is not enough memory; the message is one sentence."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, numpy, torch or safetensors ran out of memory; torch has a class
    of its own for GPUs alone."""
    said = "can.?t allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc"
    others = isinstance(error, RuntimeError | OSError | SafetensorError)
    return isinstance(error, MemoryError) or (others and re.search(said, str(error), re.I) is not None)


@contextlib.contextmanager
def memory_for(what: str, way: str) -> Iterator[None]:
    """Turns an error of too little memory inside into OutOfMemory; one that already says what for stays.

    what: what the memory is for, behind "not enough memory"; way: what to do.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"There is not enough memory {what}: {way}.") from error
