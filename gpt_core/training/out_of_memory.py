"""Memory that runs out: each place says what it needed it for, and what takes less."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from safetensors import SafetensorError

from gpt_core.training.train_config import TrainConfig


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
    """Turns an error of too little memory inside into OutOfMemory; one that already names its purpose stays.

    what: what the memory is for, behind "not enough memory"; way: what to do.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"There is not enough memory {what}: {way}.") from error


LONG_TEXT = 2**26  # characters; a shorter one takes little beside torch itself


@dataclass(frozen=True)
class MemoryOfRun:
    """What the parts of a training run need memory for, and which of its values to make smaller.

    vocab_size, characters: of its text.
    """

    config: TrainConfig
    vocab_size: int
    characters: int

    def for_model(self, what: str):
        """Around what takes memory for each weight."""
        c = self.config
        sizes = f"n_layer {c.n_layer}, n_embd {c.n_embd}, block_size {c.block_size}"
        what = f"for {what} of this size ({sizes}, {self.vocab_size} characters)"
        return self._memory_for(what, "a smaller n_embd or n_layer takes less")

    def for_batch(self):
        """Around what takes memory for each token of a batch."""
        c = self.config
        way = "batch_size, with more accumulation," if c.batch_size > 1 else "block_size, n_embd or n_layer"
        size = f"{c.batch_size} x {c.block_size} characters (batch_size x block_size)"
        return self._memory_for(f"for an update with batches of {size}", f"a smaller {way} takes less")

    def for_evaluation(self):
        """Around both losses: the exhaustive one takes 64 windows at a time, whatever batch_size is."""
        c = self.config
        what = f"to evaluate {max(c.batch_size, 64)} x {c.block_size} characters at a time"
        return self._memory_for(what, "a smaller block_size, n_embd or n_layer takes less")

    def _memory_for(self, what: str, way: str):
        """As memory_for; a long text is named too, since it may be the reason why too little memory is
        left."""
        if self.characters >= LONG_TEXT:
            text = f"{self.characters:,} characters of {self.config.corpus}"
            way += f", and so does a shorter text, since the {text} stay in memory"
        return memory_for(what, way)
