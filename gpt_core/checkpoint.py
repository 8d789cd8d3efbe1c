"""Checkpoints that survive: one file each, replaced as a whole or not at all, nothing pickled.

A checkpoint is a safetensors file. Its tensors are named by what they are:

    model.<parameter>               the weights, as in the model's state_dict
    ema.<parameter>                 the averaged weights, where the run keeps them
    optimizer.<parameter>.<what>    AdamW's state: exp_avg, exp_avg_sq, step
    rng.batches                     the generator of the batches, uint8
    rng.cpu.<rank>, rng.cuda.<rank> torch's global generators (dropout) of each process, uint8

and its metadata holds one JSON object: the configuration, the tokenizer, the step, the best loss so
far. One file and not two, because two files cannot be replaced in one step.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FORMAT = "gpt-workbook checkpoint"
VERSION = 1

LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"


class CheckpointError(ValueError):
    """A file is no checkpoint that this version can read; the message is one sentence."""


class NoSpace(OSError):
    """A checkpoint could not be written; what was there before is untouched."""


@dataclass(frozen=True)
class Checkpoint:
    """tensors: by name, on the CPU; info: what the JSON holds."""

    tensors: dict[str, torch.Tensor]
    info: dict

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors whose name starts with `prefix` and a dot, under the rest of their name."""
        start = prefix + "."
        return {name[len(start):]: t for name, t in self.tensors.items() if name.startswith(start)}


def save(path: Path, tensors: dict[str, torch.Tensor], info: dict) -> None:
    """Write a checkpoint to `path`; at every moment `path` is the old file or the complete new one.

    Written beside it, flushed to the disk, then renamed over it: a rename within a folder is atomic,
    a write is not. Raises NoSpace, and leaves `path` alone, where the disk is full or not writable.
    """
    temporary = path.with_name(path.name + ".writing")
    # Copies on the CPU: safetensors refuses tensors that share memory, and a plugged-in part may.
    copies = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    document = json.dumps({"format": FORMAT, "version": VERSION, **info})
    try:
        save_file(copies, temporary, metadata={"checkpoint": document})
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # else a power cut may leave the new name on an empty file
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except (OSError, SafetensorError) as error:  # safetensors wraps the errors of writing in its own
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise NoSpace(f"{path} could not be written ({error}); what was saved before is untouched.") from error


def keep_previous(folder: Path) -> None:
    """Give the last checkpoint of a run a second name, so that one bad file never ends a run."""
    last, previous = folder / LAST, folder / PREVIOUS
    if last.exists():
        temporary = folder / (PREVIOUS + ".writing")
        temporary.unlink(missing_ok=True)
        try:
            os.link(last, temporary)  # `last` is there at every moment, and no byte is copied
        except OSError:  # a file system without hard links
            os.replace(last, previous)
        else:
            os.replace(temporary, previous)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint written by `save`.

    Raises CheckpointError, one sentence, where the file is missing, cut off, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            info = _read_info(path, file.metadata())
            # Clones: a tensor may be a view of the mapped file, which the run will write again.
            return Checkpoint({name: file.get_tensor(name).clone() for name in file.keys()}, info)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or is no checkpoint ({error}).{_way_out(path)}"
        ) from None


def find(run: Path, name: str = LAST) -> Path:
    """The checkpoint that `run` means: itself where it is a file, else `name` in that folder.

    Raises CheckpointError where there is none.
    """
    if run.is_file():
        return run
    if not run.is_dir():
        raise CheckpointError(f"there is no run {run}; give the folder of a run or one of its checkpoints.")
    if (run / name).is_file():
        return run / name
    # A kill between two renames can leave only the previous name, on file systems without hard links.
    if name == LAST and (run / PREVIOUS).is_file():
        return run / PREVIOUS
    raise CheckpointError(f"{run} has no {name}; the run stopped before its first checkpoint; remove the folder.")


def _read_info(path, metadata) -> dict:
    try:
        info = json.loads((metadata or {})["checkpoint"])
        if info["format"] != FORMAT:
            raise KeyError("format")
    except (KeyError, TypeError, json.JSONDecodeError):
        raise CheckpointError(f"{path} is a safetensors file, but no checkpoint of this trainer.") from None
    if info.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has format version {info.get('version')}, and this trainer reads {VERSION}; "
            f"use the version of the workbook that wrote it."
        )
    return info


def _way_out(path: Path) -> str:
    previous = path.with_name(PREVIOUS)
    return f" Go on from the one before it: python -m gpt_core.train --resume {previous}" if path.name == LAST and previous.exists() else ""


def _flush_folder(folder: Path) -> None:
    """Bring the rename itself to the disk; systems that cannot open a folder need no such thing."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
