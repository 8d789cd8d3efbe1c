"""Text that comes from a learner's code, made safe to show."""

import unicodedata

# Cc: control characters and terminal escapes. Cf: invisible ones, that reorder text. Cs: lone surrogates.
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")


def clean(text: str, limit: int = 2000) -> str:
    """The text without control characters, terminal escapes and invisible marks, cut at `limit`.

    Line ends and tabs stay. Markup is no danger: what is shown goes through rich's Text, never through
    its markup.
    """
    kept = []
    for character in text[: 4 * limit]:
        if character in "\n\t" or unicodedata.category(character) not in _UNSEEN:
            kept.append(character)
        elif character != "\r":
            kept.append("\N{REPLACEMENT CHARACTER}")
    shown = "".join(kept)
    return shown if len(shown) <= limit else shown[:limit] + " [cut]"


def one_line(text: str, limit: int = 300) -> str:
    """The same on a single line."""
    return " ".join(clean(text, limit).split())
