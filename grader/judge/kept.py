"""What a training run of minutes gave, kept on the disk: the same file is not trained twice.

A run is the same where all that decides it is: the hand-in with its helpers, the exercise, the look and its
arguments (steps and seed among them), the device, torch's version, and the workbook's own code. What is kept
is the answer as it came, numbers and plain values; it is checked again as if it came now.
"""

import functools
import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np

from grader.workbook import REPOSITORY

MOST = 24  # files; the oldest make room
# The code that decides what a run gives, besides the hand-in itself.
CODE = ("data", "gpt_core", "grader/worker", "tests/exercises")
FORMAT = "gpt-workbook answer 1"


@functools.cache
def workbook_version(folders: tuple[str, ...] = CODE) -> str:
    """A hash of the workbook's code: of what is run, and of what it is checked with."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            digest.update(
                path.relative_to(REPOSITORY).as_posix().encode() + b"\0" + path.read_bytes() + b"\0"
            )
    return digest.hexdigest()


class Kept:
    """The answers of one hand-in's training runs. For AttemptSubject: find and keep.

    Only looks that were asked with keep=True are kept, and no failure is. A folder that cannot be written or
    a file that cannot be read is as good as none. used: whether an answer was found.
    """

    def __init__(self, folder: Path, source, exercise: str, device: str):
        self.folder, self.used = folder, False
        helpers = [name.encode() + b"\0" + data for name, data in sorted(source.helpers.items())]
        parts = [
            source.sha256.encode(),
            exercise.encode(),
            device.encode(),
            version("torch").encode(),
            *helpers,
        ]
        self._digest = hashlib.sha256(b"\0".join(parts))

    def find(self, asked, seed: int) -> tuple[dict, dict[str, np.ndarray]] | None:
        """The answer to a look where it is kept."""
        if not asked.keeps:
            return None
        from safetensors import SafetensorError, safe_open  # not for a grade that trains nothing

        try:
            with safe_open(self._path(asked, seed), framework="numpy") as file:
                facts = file.metadata() or {}
                if facts.get("format") != FORMAT:
                    return None
                found = json.loads(facts["answer"]), {key: file.get_tensor(key) for key in file.keys()}
            self.used = True
            return found
        except (OSError, SafetensorError, ValueError, KeyError):
            return None

    def keep(self, asked, seed: int, found: tuple[dict, dict[str, np.ndarray]]) -> None:
        """Keep an answer."""
        answer, arrays = found
        if not asked.keeps or "error" in answer:
            return
        from safetensors import SafetensorError
        from safetensors.numpy import save

        path = self._path(asked, seed)
        try:
            data = save(
                {key: np.ascontiguousarray(array) for key, array in arrays.items()},
                {"format": FORMAT, "answer": json.dumps(answer)},
            )
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}")
            beside.write_bytes(data)
            os.replace(beside, path)
            old = sorted(self.folder.glob("*.safetensors"), key=lambda one: one.stat().st_mtime)[:-MOST]
            for one in old:
                one.unlink()
        except (OSError, SafetensorError, ValueError):
            return

    def _path(self, asked, seed: int) -> Path:
        digest = self._digest.copy()
        digest.update(f"\0{asked.digest()}\0{seed}\0{workbook_version()}".encode())
        return self.folder / f"{digest.hexdigest()[:32]}.safetensors"
