"""The log of a run: log.jsonl, one JSON object per line.

    {"kind": "train", "step", "loss", "lr", "grad_norm", "tokens_per_second", "seconds"}
    {"kind": "eval", "step", "val_loss", "sampled_val_loss", "sampled_train_loss", "seconds"}

Losses in nats per character, seconds since the run began (stops left out).
"""

import json
import os
from pathlib import Path

NAME = "log.jsonl"
ALWAYS = {"train": ("loss",), "eval": ("val_loss",)}  # what a row of a kind cannot be without


class RunLog:
    """Appends rows to the log of a run folder; each row is on its way to the disk when `write` returns."""

    def __init__(self, folder: Path):
        self.path = folder / NAME

    def write(self, row: dict) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:  # an error of writing, unlike one of opening, does not name the file
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def cut_after(self, step: int) -> None:
        """Drop the rows after `step`: a resumed run writes them again."""
        if self.path.exists():
            kept = [row for row in read(self.path.parent) if row["step"] <= step]
            temporary = self.path.with_name(NAME + ".writing")
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
            os.replace(temporary, self.path)


def read(folder: Path) -> list[dict]:
    """The rows of a run's log, in order; a last line that a kill cut off is left out.

    Raises ValueError where the folder has no log, or its log is none of ours.
    """
    path = folder / NAME
    if not folder.exists():
        raise ValueError(f"there is no run {folder}; give the folder of a run.")
    if not path.is_file():
        raise ValueError(f"{folder} has no {NAME}; give the folder of a run.")
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            if line:
                row = json.loads(line)
                numbers = [row["step"], *(row[key] for key in ALWAYS.get(row["kind"], ()))]
                if not all(isinstance(number, (int, float)) for number in numbers):
                    raise TypeError("a loss that is no number")
                rows.append(row)
        except (json.JSONDecodeError, TypeError, KeyError):
            if number < len(lines):
                raise ValueError(
                    f"line {number} of {path} is no row of a training log; take it out."
                ) from None
    return rows
