"""Text to one tensor of tokens, and that to random batches of windows."""

import numpy as np
import torch

from gpt_core.tokenizer import CharTokenizer

ORDERS = ("random", "epochs")
PIECE = 2**16  # characters that are encoded at a time: what they take for a moment stays in the cache


def encode_text(tokenizer: CharTokenizer, text: str) -> torch.Tensor:
    """The tokens of a whole corpus, (N,), in the smallest signed or 8-bit dtype that holds the vocabulary.

    uint8 for up to 256 characters, int16 for up to 32,768, else int32; other unsigned integers can do little
    in torch. The same ids as `tokenizer.encode`, through one table look-up for all characters of a piece:
    fast enough for the 77 million characters of the novels, and without a second copy of them in memory.
    ValueError for an unknown character, as there.
    """
    V = tokenizer.vocab_size
    dtype = np.uint8 if V <= 2**8 else np.int16 if V <= 2**15 else np.int32
    id_of_code = np.full(0x110000, -1, dtype=np.int32)
    id_of_code[[ord(char) for char in tokenizer.chars]] = np.arange(V)
    tokens = np.empty(len(text), dtype=dtype)
    for start in range(0, len(text), PIECE):
        piece = text[start : start + PIECE].encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(piece, dtype=np.uint32)
        ids = id_of_code[codes]
        if (ids < 0).any():
            first = start + int((ids < 0).argmax())
            raise tokenizer.unknown(text[first], first)
        tokens[start : start + PIECE] = ids
    return torch.from_numpy(tokens)


class Batches:
    """Windows of a token tensor: the lecture's get_batch, drawn by a generator whose state can be saved.

    tokens:     (N,); where they stay on the model's device, a batch is one indexing operation and no copy
                from the host.
    block_size: T; N must be at least T + 1, else ValueError.
    seed:       decides all batches. The generator lives on the CPU, so that every device draws the same.
    part:       what the tokens are, for the message.
    order:      "random", the lecture's: each window starts anywhere, and may come again. "epochs": the text
                is cut into windows that do not overlap, and each comes once before any comes again; every
                epoch cuts at another place and has another order.
    device:     of the batches, where it is another one than that of the tokens.
    """

    def __init__(
        self,
        tokens: torch.Tensor,
        block_size: int,
        seed: int,
        part: str = "this part of the text",
        order: str = "random",
        device: torch.device | None = None,
    ):
        if len(tokens) < block_size + 1:
            raise ValueError(
                f"{part} has {len(tokens)} characters, and a window with its targets takes "
                f"block_size + 1 = {block_size + 1}: use a longer text or a smaller block_size."
            )
        if order not in ORDERS:
            raise ValueError(f"order is {order!r}; it must be {' or '.join(ORDERS)}.")
        # A view (N - T, T + 1) of all windows: row i starts at token i, and no token is copied.
        self.windows = tokens.unfold(0, block_size + 1, 1)
        self.order, self.device = order, device or tokens.device
        self.generator = torch.Generator().manual_seed(seed)
        self._epoch, self._offset, self._drawn = torch.empty(0, dtype=torch.int32), 0, 0
        self._before = self.generator.get_state()  # the generator's state before the epoch was drawn

    def draw(self, count: int) -> torch.Tensor:
        """The starts of the next `count` windows, (count,) long on the CPU."""
        if self.order == "random":
            return torch.randint(len(self.windows), (count,), generator=self.generator)
        parts = [torch.empty(0, dtype=torch.long)]
        while count > 0:
            if self._drawn == len(self._epoch):
                self._begin_epoch()
            T = self.windows.shape[1] - 1
            parts.append(self._offset + T * self._epoch[self._drawn : self._drawn + count].long())
            self._drawn += len(parts[-1])
            count -= len(parts[-1])
        return torch.cat(parts)

    def _begin_epoch(self) -> None:
        """Another offset, and another order of the windows that follow from it."""
        self._before = self.generator.get_state()
        T, starts = self.windows.shape[1] - 1, len(self.windows)
        self._offset = int(torch.randint(min(T, starts), (1,), generator=self.generator))
        whole = (starts - 1 - self._offset) // T + 1
        # 4 bytes a window: of a text of gigabytes there are many.
        self._epoch = torch.randperm(whole, generator=self.generator, dtype=torch.int32)
        self._drawn = 0

    def state(self) -> tuple[torch.Tensor, int]:
        """What decides all further windows: the state of the generator, uint8, and how many windows were
        drawn from the epoch that it begins (0 in the order "random")."""
        if self.order == "random":
            return self.generator.get_state(), 0
        return self._before, self._drawn

    def restore(self, generator: torch.Tensor, drawn: int) -> None:
        """Set what `state` gave."""
        self.generator.set_state(generator)
        if self.order == "epochs":
            self._begin_epoch()
            self._drawn = drawn

    def take(self, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """starts (B,) -> inputs x (B, T) and targets y (B, T), long; y is x one token later."""
        if self.windows.is_cuda:
            # From pinned memory the copy does not hold up the host, which goes on queueing work.
            starts = starts.pin_memory().to(self.windows.device, non_blocking=True)
        rows = self.windows[starts.to(self.windows.device)].to(self.device).long()  # (B, T + 1)
        return rows[:, :-1], rows[:, 1:]
