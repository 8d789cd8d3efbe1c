"""Characters to token ids and back: the lecture's tokenizer."""

from collections.abc import Iterable


class CharTokenizer:
    """One token per character; a character's id is its place in `chars`.

    chars: the vocabulary in id order, a string or a sequence of one-character strings.

    Raises ValueError where an entry is not exactly one character, or stands there twice.

    >>> tokenizer = CharTokenizer("abc")
    >>> tokenizer.encode("cab")
    [2, 0, 1]
    >>> tokenizer.decode([2, 0, 1])
    'cab'
    """

    def __init__(self, chars: Iterable[str]):
        self.chars = tuple(chars)
        self._id_of = {}
        for token, char in enumerate(self.chars):
            if not isinstance(char, str) or len(char) != 1:
                raise ValueError(f"entry {token} of chars is {char!r}; each must be one character.")
            if char in self._id_of:
                raise ValueError(
                    f"{char!r} stands in chars twice, at {self._id_of[char]} and {token}; "
                    f"a character can have one id only, so remove one of them."
                )
            self._id_of[char] = token

    @classmethod
    def from_text(cls, text: str) -> "CharTokenizer":
        """The tokenizer of every character of `text`, in code-point order (the lecture's choice)."""
        return cls(sorted(set(text)))

    @property
    def vocab_size(self) -> int:
        """V, the number of characters."""
        return len(self.chars)

    def encode(self, text: str) -> list[int]:
        """The id of each character. ValueError names the first unknown one and its position."""
        try:
            return [self._id_of[char] for char in text]
        except KeyError:
            position, char = next((i, c) for i, c in enumerate(text) if c not in self._id_of)
            raise self.unknown(char, position) from None

    def unknown(self, char: str, position: int) -> ValueError:
        """The error for a character at this position of a text that is not in the vocabulary."""
        return ValueError(
            f"character {char!r} at position {position} is not in the vocabulary of "
            f"{self.vocab_size} characters; build the tokenizer from a text that has it, or remove it."
        )

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of the ids (ints, or a 1-D tensor of them). ValueError names the first unknown id."""
        characters = []
        for position, token in enumerate(tokens):
            token = int(token)
            # A negative id would silently count from the end of the tuple.
            if not 0 <= token < self.vocab_size:
                raise ValueError(
                    f"token {token} at position {position} has no character; ids go from 0 to "
                    f"{self.vocab_size - 1}."
                )
            characters.append(self.chars[token])
        return "".join(characters)
