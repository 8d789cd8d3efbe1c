"""Synthetic texts from seeds: they need no download and no licence.

`generate` writes a small play. It has what a character model can learn in a minute: spelling, who
speaks, verbs that agree with their subjects, line ends. Its entropy is far below that of English, so
a falling loss shows within a few hundred steps.

`invented` and `noise` are for comparisons of pretraining. Two texts in one invented language share its
words and which word may follow which, so what a model learns from a long one helps on a short one. Noise
shares the alphabet alone: each character is drawn independently, so a model cannot learn from it what comes
next in any text.
"""

import random

SPEAKERS = ("ANNE", "BRUNO", "CLARA", "DUKE", "EDGAR", "FOOL")
# (subject, is it plural)
SUBJECTS = (
    ("the king", False),
    ("my lady", False),
    ("a poor fool", False),
    ("the night", False),
    ("our friends", True),
    ("the soldiers", True),
    ("these walls", True),
    ("all men", True),
)
VERBS = (("sleeps", "sleep"), ("waits", "wait"), ("speaks", "speak"), ("falls", "fall"), ("knows", "know"))
PLACES = ("by the river", "in the garden", "at the gate", "under the moon", "in the tower")
OPENINGS = ("", "Alas, ", "Good sir, ", "I tell thee, ", "Hark! ")
ENDINGS = (".", "!", "?", "; and so do I.")


def generate(length: int = 60_000, seed: int = 1337) -> str:
    """A play of exactly `length` characters; the same length and seed give the same text everywhere.

    Raises ValueError for a length below 1.
    """
    _check_length(length)
    source = random.Random(seed)

    def choose(options):
        return _choice(source, options)

    parts, written = [], 0
    while written < length:
        lines = [f"{choose(SPEAKERS)}:"]
        for _ in range(1 + int(source.random() * 3)):
            subject, plural = choose(SUBJECTS)
            sentence = (
                f"{choose(OPENINGS)}{subject} {choose(VERBS)[plural]} {choose(PLACES)}{choose(ENDINGS)}"
            )
            lines.append(sentence[0].upper() + sentence[1:])
        speech = "\n".join(lines) + "\n\n"
        parts.append(speech)
        written += len(speech)
    return "".join(parts)[:length]


LETTERS = "abdegiklmnorstu"
WORDS, FOLLOWERS = 40, 3  # of an invented language, and how many words may follow one


def invented(length: int, *, language: int, seed: int, stop: str = ".") -> str:
    """Exactly `length` characters in an invented language: words of 3 to 6 letters, 4 to 7 in a line.

    language: decides the words, and the three that may follow each. seed: decides what is said with them.
    stop: the character that ends each line, before its newline.

    Raises ValueError for a length below 1.
    """
    _check_length(length)
    maker, speaker = random.Random(f"language {language}"), random.Random(f"{language}, text {seed}")
    words: list[str] = []
    while len(words) < WORDS:
        word = "".join(_choice(maker, LETTERS) for _ in range(3 + int(maker.random() * 4)))
        if word not in words:
            words.append(word)
    following = {word: [_choice(maker, words) for _ in range(FOLLOWERS)] for word in words}
    lines, written, word = [], 0, words[0]
    while written < length:
        said = []
        for _ in range(4 + int(speaker.random() * 4)):
            word = _choice(speaker, following[word])
            said.append(word)
        lines.append(" ".join(said) + stop + "\n")
        written += len(lines[-1])
    return "".join(lines)[:length]


def noise(length: int, *, alphabet: str, seed: int) -> str:
    """Exactly `length` characters of `alphabet`, each drawn by itself, all equally likely.

    Its entropy is ln(len(alphabet)) nats per character: no model that has not seen it does better, except by
    chance.

    Raises ValueError for a length below 1 and for an empty alphabet.
    """
    _check_length(length)
    if not alphabet:
        raise ValueError("the alphabet is empty; noise takes at least one character to draw from.")
    source = random.Random(f"noise {seed}")
    return "".join(_choice(source, alphabet) for _ in range(length))


def _choice(source: random.Random, options):
    # Only random() is promised to give the same numbers in every version of Python.
    return options[int(source.random() * len(options))]


def _check_length(length: int) -> None:
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError(f"length is {length!r}; it must be a whole number of characters, at least 1.")
