"""What a head looks at, measured: how much of its weight goes to the previous character, to the start of the
line, to the same letter.

Many heads of small models do one such thing. Which, nobody tells them. A head that looks at what followed
an earlier copy of the letter is half of an induction head (Olsson et al. 2022, arXiv 2209.11895).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

SHARE = 0.3  # of a head's weight that makes it worth a sentence,
TIMES = 2.0  # and how many times what it would be if the weight were spread evenly


def _previous(text: str) -> torch.Tensor:
    return torch.eye(len(text), dtype=torch.bool).roll(-1, dims=1).tril(-1)


def _itself(text: str) -> torch.Tensor:
    return torch.eye(len(text), dtype=torch.bool)


def _near(text: str) -> torch.Tensor:
    distance = torch.arange(len(text))[:, None] - torch.arange(len(text))
    return (distance >= 2) & (distance <= 4)


def _starts(text: str, borders: str) -> torch.Tensor:
    """The first character after the last border, and that border, for queries two or more places on."""
    found = torch.zeros(len(text), len(text), dtype=torch.bool)
    for i in range(len(text)):
        start = 1 + max(text.rfind(border, 0, i) for border in borders)
        if i >= start + 2:
            found[i, max(0, start - 1) : start + 1] = True
    return found


def _line_start(text: str) -> torch.Tensor:
    return _starts(text, "\n")


def _word_start(text: str) -> torch.Tensor:
    return _starts(text, " \n")


def _each(char: str) -> Callable[[str], torch.Tensor]:
    return lambda text: torch.tensor([one == char for one in text]).expand(len(text), -1)


def _same(text: str) -> torch.Tensor:
    codes = torch.tensor([ord(char) for char in text])
    return codes[:, None] == codes


def _after_same(text: str) -> torch.Tensor:
    return _same(text).roll(1, dims=1) & (torch.arange(len(text)) > 0)


@dataclass(frozen=True)
class Pattern:
    """Something that a head may look at.

    name: as it stands after "looks at"; short: for a table; looked_at: the text to a mask (T, T) bool,
    [query, key]; among: of which keys, by their distance to the query: from this one on.
    """

    name: str
    short: str
    looked_at: Callable[[str], torch.Tensor]
    among: int = 0


PATTERNS = (
    Pattern("the previous character", "previous", _previous, 1),
    # The others begin two places back: else those of the previous character would show them as well.
    Pattern("the characters two to four places back", "2 to 4 back", _near),
    Pattern("the start of the word", "word start", _word_start),
    Pattern("the start of the line", "line start", _line_start),
    Pattern("spaces", "spaces", _each(" "), 2),
    Pattern("line ends", "line ends", _each("\n"), 2),
    Pattern("the same letter, earlier in the text", "same letter", _same, 2),
    Pattern("what followed the same letter earlier", "after same", _after_same, 2),
    Pattern("the character itself", "itself", _itself),
)


@dataclass(frozen=True)
class Measured:
    """How much of its weight a head gives to a pattern: a mean over the queries that have such a key.

    share: from 0 to 1; even: what it would be if each query spread its weight evenly.
    """

    pattern: Pattern
    share: float
    even: float

    @property
    def stands_out(self) -> bool:
        return self.share >= SHARE and self.share >= TIMES * self.even


def measure(weights: torch.Tensor, text: str) -> list[list[Measured]]:
    """For each head, in the order of PATTERNS: weights (H, T, T), of a text of T characters.

    A pattern that the text has no place for is left out: it takes two lines, or a letter that comes twice.
    """
    T = len(text)
    distance = torch.arange(T)[:, None] - torch.arange(T)
    even = (1.0 / torch.arange(1, T + 1))[:, None]
    found: list[list[Measured]] = [[] for _ in weights]
    for pattern in PATTERNS:
        mask = pattern.looked_at(text) & (distance >= pattern.among)
        queries = mask.any(dim=1)
        # The first character has nothing but itself to look at.
        queries[0] = False
        if not queries.any():
            continue
        share = (weights * mask).sum(-1)[:, queries].mean(-1)  # (H,)
        spread = (even * mask).sum(-1)[queries].mean().item()
        for measured, one in zip(found, share.tolist()):
            measured.append(Measured(pattern, one, spread))
    return found


def strongest(measured: list[Measured]) -> Measured | None:
    """The pattern that a head shows, the one with the most weight; None where no pattern stands out."""
    return max((one for one in measured if one.stands_out), key=lambda one: one.share, default=None)


def in_words(layer: int, head: int, found: Measured) -> str:
    """One sentence; layer and head count from 1."""
    return (
        f"Head {head} of layer {layer} looks at {found.pattern.name}: {found.share:.0%} of its weight "
        f"(spread evenly it would be {found.even:.0%})."
    ).replace("%", " %")
