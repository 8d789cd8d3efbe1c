"""Corpora by name, each file pinned by its sha256 and downloaded once.

    tinyshakespeare   the lecture's 1,115,394 characters
    plays             42 files of Shakespeare's plays and poems
    novels            100 English novels of the 19th and early 20th century
    toy               a synthetic play, no download (data.toy)
    a path            a UTF-8 text file of your own

`registry.txt` holds "file sha256:... url" for each file. Files are kept in the folder that the
environment variable GPT_DATA_DIR names, data/cache beside this file where it is not set, in the
layout of the registry; a file that is there with the right sha256 is never downloaded again.

What a loaded text went through, so that two people have the same characters:
- every text: a byte order mark at its start is left out, and line ends become "\\n";
- files of one corpus are joined in the order of their names, an empty line between two;
- `novels` is folded to printable ASCII (`fold_to_ascii`): its editions hold 253 different characters,
  most of them typographic quotes, accents and a little Greek, too rare for a character model to learn.
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from data import toy

CACHE_VARIABLE = "GPT_DATA_DIR"
REGISTRY = Path(__file__).with_name("registry.txt")
NAMES = ("tinyshakespeare", "plays", "novels", "toy")
TRAIN_FRACTION = 0.9
Sliceable = TypeVar("Sliceable")  # a str, or a tensor of its tokens
RETRIES = 3
PIECE = 2**20  # characters that are hashed at a time


class CorpusUnavailable(OSError):
    """A corpus file is not in the cache and could not be downloaded; the message says what to do."""


@dataclass(frozen=True)
class Download:
    """How far one file's download is: `done` of `total` bytes (0 where the server does not say)."""

    file: str
    done: int
    total: int


def cache_folder() -> Path:
    """Where corpus files are kept: GPT_DATA_DIR, or data/cache."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path(__file__).with_name("cache")


def load(
    name: str,
    *,
    cache: Path | None = None,
    registry: Path = REGISTRY,
    retries: int = RETRIES,
    report: Callable[[Download], None] | None = None,
) -> str:
    """The text of a corpus by name, or of a UTF-8 file by path; normalised as the module says.

    cache:   the folder of the files; `cache_folder()` where it is None.
    retries: how often a failed download is tried again, with a growing pause.
    report:  called with a Download as bytes arrive.

    Raises ValueError for a name that is neither a corpus nor a file, for a file that is not UTF-8
    and for an empty text; CorpusUnavailable where a file is missing and cannot be downloaded.
    """
    if name == "toy":
        return toy.generate()
    if name in NAMES:
        files = _fetch(name, cache or cache_folder(), registry, retries, report)
    elif _is(Path.is_file, name):
        files = [Path(name)]
    elif _is(Path.is_dir, name):
        raise ValueError(f"{name} is a folder; name one UTF-8 text file, or a corpus: {', '.join(NAMES)}.")
    else:
        raise ValueError(
            f"there is no corpus and no file named {name[:200]!r}; the corpora are {', '.join(NAMES)}, "
            f"and the path of a UTF-8 text file is the other choice."
        )
    text = "\n".join(read(file) for file in files)
    if name == "novels":
        text = fold_to_ascii(text)
    if not text or text.isspace():
        raise ValueError(f"{name} holds no text; choose a file with characters to learn from.")
    return text


def path_of(name: str) -> Path | None:
    """The absolute path of the file that `name` means; None where it means a corpus, or no file."""
    return Path(name).absolute() if name not in NAMES and _is(Path.is_file, name) else None


def _is(kind: Callable[[Path], bool], name: str) -> bool:
    try:
        return kind(Path(name))
    except (OSError, ValueError):  # a name too long for a path, a folder that may not be looked into
        return False


def split(text: Sliceable) -> tuple[Sliceable, Sliceable]:
    """(training text, validation text): the first 90 % and the last 10 %, by position; of a text or its
    tokens.

    By position and not at random: neighbouring windows share most of their characters, so a random
    split would put nearly all of the validation text into the training text too.
    """
    border = int(TRAIN_FRACTION * len(text))
    return text[:border], text[border:]


def sha256(text: str) -> str:
    """The sha256 of the text as UTF-8, in hex; taken in pieces, since a corpus may nearly fill the memory."""
    digest = hashlib.sha256()
    for start in range(0, len(text), PIECE):
        digest.update(text[start : start + PIECE].encode())
    return digest.hexdigest()


def normalise(text: str) -> str:
    """No byte order mark, and "\\n" as the only line end."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


# What Unicode's own decomposition does not bring to ASCII, or brings to something else.
_TYPEWRITER = {
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "«": '"',
    "»": '"',
    "–": "-",
    "—": "--",
    "£": "L",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
}


def fold_to_ascii(text: str) -> str:
    """Typography to its typewriter form, accents off; what has no ASCII form (Greek) is left out."""

    def fold(match):
        return "".join(folded[char] for char in match.group())

    text = text.replace("\f", "\n")  # a page break of the printed edition
    folded = {char: _fold_character(char) for char in set(text) if not char.isascii()}
    # Only what is not ASCII is touched, 2 % of the novels: translating every character is 5 x slower.
    return re.sub("[^\x00-\x7f]+", fold, text)


def _fold_character(char: str) -> str:
    plain = _TYPEWRITER.get(char) or unicodedata.normalize("NFKD", char)
    return plain.encode("ascii", "ignore").decode("ascii")


def read(file: Path) -> str:
    """The text of a UTF-8 file, normalised; ValueError, one sentence, where it cannot be read as one."""
    try:
        # newline is left to `normalise`, which treats bytes from a file and from a test alike.
        return normalise(file.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8 and try again."
        ) from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}.") from None


def _fetch(name, cache, registry, retries, report) -> list[Path]:
    """The paths of a corpus' files, downloaded where the cache does not have them."""
    import pooch  # here and not above: it brings in requests, and most imports of `data` need neither

    pooch.get_logger().setLevel("ERROR")  # progress is reported by callback, nothing is printed here
    shelf = pooch.create(path=cache, base_url="", registry=None, retry_if_failed=retries)
    shelf.load_registry(registry)
    wanted = sorted(f for f in shelf.registry if f == f"{name}.txt" or f.startswith(f"{name}/"))
    return [_fetch_file(shelf, file, cache, report) for file in wanted]


def _fetch_file(shelf, file, cache, report) -> Path:
    import pooch

    progress = _DownloadProgress(file, report) if report else False
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=30)
    try:
        return Path(shelf.fetch(file, downloader=downloader))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong sha256 is a ValueError
        raise CorpusUnavailable(
            f"{_state(Path(cache) / file)} and could not be downloaded ({_reason(error)}): download "
            f"{shelf.get_url(file)} yourself and save it as {Path(cache) / file}, "
            f"or let {CACHE_VARIABLE} name a folder that has it."
        ) from error


def _state(path: Path) -> str:
    """What is wrong with the cache's own file."""
    if path.is_dir():
        return f"{path} is a folder"
    if not path.exists():
        return f"{path.name} is not in {path.parent}"
    return (
        f"{path} {'has another sha256 than the registry' if os.access(path, os.R_OK) else 'cannot be read'}"
    )


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError):
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, ValueError):
        return "what was downloaded has another sha256 than the registry"
    return getattr(error, "strerror", None) or type(error).__name__


class _DownloadProgress:
    """The interface of pooch's progress bar; calls `report`."""

    def __init__(self, file, report):
        self.file, self.report = file, report
        self.total, self.done = 0, 0

    def update(self, count):
        self.done = min(self.done + count, self.total) if self.total else self.done + count
        self.report(Download(self.file, self.done, self.total))

    def reset(self):
        self.done = 0

    def close(self):
        pass
