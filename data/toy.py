"""A small synthetic play, written by a seeded grammar: it needs no download and no licence.

It has what a character model can learn in a minute: spelling, who speaks, verbs that agree with
their subjects, line ends. Its entropy is far below that of English, so a falling loss shows within
a few hundred steps.
"""

import random

SPEAKERS = ("ANNE", "BRUNO", "CLARA", "DUKE", "EDGAR", "FOOL")
SUBJECTS = (
    ("the king", False), ("my lady", False), ("a poor fool", False), ("the night", False),
    ("our friends", True), ("the soldiers", True), ("these walls", True), ("all men", True),
)  # (subject, is it plural)
VERBS = (("sleeps", "sleep"), ("waits", "wait"), ("speaks", "speak"), ("falls", "fall"), ("knows", "know"))
PLACES = ("by the river", "in the garden", "at the gate", "under the moon", "in the tower")
OPENINGS = ("", "Alas, ", "Good sir, ", "I tell thee, ", "Hark! ")
ENDINGS = (".", "!", "?", "; and so do I.")


def generate(length: int = 60_000, seed: int = 1337) -> str:
    """A play of exactly `length` characters; the same length and seed give the same text everywhere.

    Raises ValueError for a length below 1.
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError(f"length is {length!r}; it must be a whole number of characters, at least 1.")
    source = random.Random(seed)

    def choose(options):
        # Only random() is promised to give the same numbers in every version of Python.
        return options[int(source.random() * len(options))]

    parts, written = [], 0
    while written < length:
        lines = [f"{choose(SPEAKERS)}:"]
        for _ in range(1 + int(source.random() * 3)):
            subject, plural = choose(SUBJECTS)
            sentence = f"{choose(OPENINGS)}{subject} {choose(VERBS)[plural]} {choose(PLACES)}{choose(ENDINGS)}"
            lines.append(sentence[0].upper() + sentence[1:])
        speech = "\n".join(lines) + "\n\n"
        parts.append(speech)
        written += len(speech)
    return "".join(parts)[:length]
