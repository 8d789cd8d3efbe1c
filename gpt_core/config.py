"""The one configuration that every model of this package is built from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT; the defaults are the lecture's final model.

    vocab_size: V, the number of different tokens.
    block_size: the longest context, in tokens; a model takes any T from 1 to block_size.
    n_layer:    how many Blocks are stacked.
    n_head:     H, how many heads each attention has; must divide n_embd.
    n_embd:     C, the width of the residual stream.
    dropout:    the probability of dropping a value while training, 0 <= dropout < 1.

    Raises ValueError, naming the field, for a value that no model can be built from.
    """

    vocab_size: int
    block_size: int = 256
    n_layer: int = 6
    n_head: int = 6
    n_embd: int = 384
    dropout: float = 0.2

    def __post_init__(self):
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1.")
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, (int, float)):
            raise ValueError(f"dropout is {self.dropout!r}; it must be a number, 0 <= dropout < 1.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout!r}; it must be at least 0 and below 1.")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd is {self.n_embd} and n_head is {self.n_head}: every head gets n_embd / n_head "
                f"channels, so n_embd must be a multiple of n_head; change one of the two."
            )

    @property
    def head_size(self) -> int:
        """D = C // H, the number of channels of one head."""
        return self.n_embd // self.n_head
