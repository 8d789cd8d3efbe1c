"""A text larger than memory: encoded once, in pieces, to a file of token ids that windows are read from.

The file lies in the data directory, beside a JSON file that says which text it is of and holds the
vocabulary. It is made anew where the text, its time or the vocabulary has changed.

It is read and not mapped: each window that is touched in a mapped file keeps up to a megabyte around it in
the memory of the process.
"""

import contextlib
import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from data import corpora
from gpt_core.batches import encode_text
from gpt_core.tokenizer import CharTokenizer
from gpt_core.training.checkpoint import NoSpace, write_file

LARGE = 2**28  # bytes of a text from which on it is not read into memory
PIECE = 2**20  # characters that are read at a time
FORMAT = 1


@dataclass(frozen=True)
class Encoding:
    """How far the encoding of a text is: `done` of `total` bytes. The text is read twice: first for its
    vocabulary."""

    file: str
    done: int
    total: int


class FileTokens:
    """The tokens of a file, (N,), with what a run asks of a tensor of tokens: length, slices, windows.

    Numbers are read where a slice is made a tensor, or windows are taken."""

    device = torch.device("cpu")

    def __init__(self, path: Path, dtype: str):
        self.path, self.dtype = path, np.dtype(dtype)
        self.file = open(path, "rb", buffering=0)  # all slices read from it
        self.bounds = range(path.stat().st_size // self.dtype.itemsize)

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, part: slice) -> "FileTokens":
        bounds = self.bounds[part]
        if bounds.step != 1:
            raise ValueError(f"the step of a slice of tokens is {bounds.step}; it must be 1.")
        sliced = copy.copy(self)
        sliced.bounds = bounds
        return sliced

    def __iter__(self) -> Iterator[int]:
        return iter(self.tensor().tolist())

    def tensor(self) -> torch.Tensor:
        """All of them, (N,), in the dtype of the file."""
        return torch.from_numpy(self.read(0, len(self)))

    def read(self, start: int, count: int) -> np.ndarray:
        """`count` tokens from `start` on."""
        found = np.empty(count, dtype=self.dtype)
        self.file.seek((self.bounds.start + start) * self.dtype.itemsize)
        if self.file.readinto(found) != found.nbytes:
            raise OSError(f"{self.path} has become shorter; delete it, and it is made again.")
        return found

    def unfold(self, dimension: int, size: int, step: int) -> "FileWindows":
        """All windows of `size` tokens, as torch.Tensor.unfold(0, size, 1)."""
        return FileWindows(self, size)


class FileWindows:
    """The windows of a file of tokens, (N - size + 1, size)."""

    device, is_cuda = torch.device("cpu"), False

    def __init__(self, tokens: FileTokens, size: int):
        self.tokens, self.shape = tokens, (len(tokens) - size + 1, size)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, starts: torch.Tensor) -> torch.Tensor:
        """starts (B,) -> (B, size)."""
        rows = [self.tokens.read(start, self.shape[1]) for start in starts.tolist()]
        return torch.from_numpy(np.stack(rows))


@dataclass(frozen=True)
class TokenFile:
    """A text as tokens (N,) that lie in a file; sha256: of the text, as data.corpora.sha256."""

    tokens: FileTokens
    tokenizer: CharTokenizer
    sha256: str

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class _Known:
    """What stands in the JSON file."""

    format: int
    text: str  # the path of the text
    bytes: int
    changed_ns: int
    sha256: str
    characters: int
    vocabulary: str
    vocabulary_sha256: str
    dtype: str


def is_large(corpus: str) -> bool:
    """Whether a corpus is a file that is not to be read into memory."""
    path = corpora.path_of(corpus)
    return path is not None and path.stat().st_size >= LARGE


def open_tokens(
    path: Path, *, folder: Path | None = None, report: Callable[[Encoding], None] | None = None
) -> TokenFile:
    """The tokens of a UTF-8 text file; encoded where that was not done before, or the text has changed.

    folder: for the tokens; "tokens" in the data directory where it is None. The text is normalised as every
    corpus (data.corpora). Memory: some tens of megabytes, whatever the size of the text.

    Raises ValueError for a file that is no UTF-8 text or holds none; NoSpace where the tokens cannot be
    written.
    """
    path = path.resolve()
    folder = folder or corpora.cache_folder() / "tokens"
    name = f"{path.stem[:60]}-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    tokens, notes = folder / f"{name}.bin", folder / f"{name}.json"
    found = path.stat()
    known = _read(notes)
    if known is None or not _is_of(known, path, found, tokens):
        known = _encode(path, found, tokens, notes, report or (lambda progress: None))
    return TokenFile(FileTokens(tokens, known.dtype), CharTokenizer(known.vocabulary), known.sha256)


def _read(notes: Path) -> _Known | None:
    try:
        return _Known(**json.loads(notes.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_of(known: _Known, path: Path, found: os.stat_result, tokens: Path) -> bool:
    """Whether the tokens are those of this text, whole, and of this vocabulary."""
    try:
        size = tokens.stat().st_size
    except OSError:
        return False
    same_text = (known.text, known.bytes, known.changed_ns) == (str(path), found.st_size, found.st_mtime_ns)
    whole = size == known.characters * np.dtype(known.dtype).itemsize
    vocabulary = known.vocabulary_sha256 == corpora.sha256(known.vocabulary)
    return known.format == FORMAT and same_text and whole and vocabulary


def _encode(path: Path, found: os.stat_result, tokens: Path, notes: Path, report) -> _Known:
    seen, digest, characters = np.zeros(0x110000, dtype=bool), hashlib.sha256(), 0
    for piece, done in _pieces(path):
        seen[np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)] = True
        digest.update(piece.encode())
        characters += len(piece)
        report(Encoding(path.name, done, 2 * found.st_size))
    vocabulary = "".join(map(chr, np.flatnonzero(seen).tolist()))
    if not vocabulary.strip():
        raise ValueError(f"{path} holds no text; choose a file with characters to learn from.")
    tokenizer = CharTokenizer(vocabulary)
    writing = tokens.with_name(tokens.name + ".writing")
    try:
        tokens.parent.mkdir(parents=True, exist_ok=True)
        with open(writing, "wb") as file:
            for piece, done in _pieces(path):
                ids = encode_text(tokenizer, piece).numpy()
                file.write(ids)
                report(Encoding(path.name, found.st_size + done, 2 * found.st_size))
            file.flush()
            os.fsync(file.fileno())
        os.replace(writing, tokens)
        known = _Known(
            format=FORMAT,
            text=str(path),
            bytes=found.st_size,
            changed_ns=found.st_mtime_ns,
            sha256=digest.hexdigest(),
            characters=characters,
            vocabulary=vocabulary,
            vocabulary_sha256=corpora.sha256(vocabulary),
            dtype=ids.dtype.name,
        )
        temporary = notes.with_name(notes.name + ".writing")
        write_file(temporary, json.dumps(asdict(known)).encode())
        os.replace(temporary, notes)
    except OSError as error:
        with contextlib.suppress(OSError):
            writing.unlink()
        raise NoSpace(
            f"{tokens} could not be written ({error.strerror or error}): it takes a byte for each character; "
            f"let {corpora.CACHE_VARIABLE} name a folder that has room."
        ) from error
    return known


def _pieces(path: Path) -> Iterator[tuple[str, int]]:
    """The text, normalised, in pieces; with each, how many bytes have been read."""
    try:
        # Without a byte order mark, and with "\n" for every line end: as corpora.normalise.
        with open(path, encoding="utf-8-sig", newline=None) as file:
            while piece := file.read(PIECE):
                yield piece, file.buffer.tell()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; save it as UTF-8 and try again.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None
