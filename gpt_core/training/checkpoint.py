"""Checkpoints that survive: one file each, replaced as a whole or not at all, nothing pickled.

A checkpoint is a safetensors file. Its tensors are named by what they are:

    model.<parameter>               the weights, as in the model's state_dict
    ema.<parameter>                 the averaged weights, where the run keeps them
    optimizer.<parameter>.<what>    AdamW's state: exp_avg, exp_avg_sq, step; or your own optimizer's
    rng.batches                     the generator of the batches, uint8
    rng.<kind>.<rank>               torch's global generators (dropout) of each process, uint8;
                                    cpu, and cuda or mps

and its metadata holds one JSON object, the configuration, the tokenizer, the step, the best loss so far, and
the sha256 of all of it: without it a flipped bit would go unnoticed. One file and not two, because two files
cannot be replaced in one step.
"""

import contextlib
import hashlib
import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from gpt_core.training import run_log
from gpt_core.training.out_of_memory import is_out_of_memory

FORMAT = "gpt-workbook checkpoint"
VERSION = 2

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
        """The tensors whose name starts with `prefix` and a dot, by the part of their name after it."""
        start = prefix + "."
        return {name[len(start) :]: t for name, t in self.tensors.items() if name.startswith(start)}


def save(path: Path, tensors: dict[str, torch.Tensor], info: dict, *, keep_old: Path | None = None) -> None:
    """Write a checkpoint to `path`; at every moment `path` is the old file or the complete new one.

    Written beside it, flushed to the disk, then renamed over it: a rename within a folder is atomic,
    a write is not. keep_old: the name that the old file gets, once the new one is on the disk.

    Raises NoSpace, and leaves `path` and `keep_old` alone, where the disk is full or not writable.
    """
    temporary = path.with_name(path.name + ".writing")
    # Copies on the CPU: safetensors refuses tensors that share memory, and a plugged-in part may.
    copies = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    document = json.dumps({"format": FORMAT, "version": VERSION, **info})
    try:
        write_file(
            temporary,
            to_bytes(copies, metadata={"checkpoint": document, "sha256": _digest(copies, document)}),
        )
        if keep_old and path.exists():
            _rename_keeping(path, keep_old)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise NoSpace(
            f"{path} could not be written ({error.strerror or error}); what was saved before is untouched."
        ) from error


def write_file(path: Path, content: bytes) -> None:
    """Write a file to the disk and not to a buffer: else a power cut may leave a name on an empty file."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _rename_keeping(path: Path, name: Path) -> None:
    """Give a file a second name, in place of the file that had it."""
    temporary = name.with_name(name.name + ".writing")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)  # `path` is there at every moment, and no byte is copied
    except OSError:  # a file system without hard links
        os.replace(path, name)
    else:
        os.replace(temporary, name)
        temporary.unlink(missing_ok=True)  # it is still there where both were one file already


def _digest(tensors: dict[str, torch.Tensor], document: str) -> str:
    """The sha256 of a checkpoint's JSON and tensors (on the CPU, contiguous)."""
    found = hashlib.sha256(document.encode())
    for name, t in sorted(tensors.items()):
        found.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
        found.update(t.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def load(path: Path) -> Checkpoint:
    """Read a checkpoint written by `save`.

    Raises CheckpointError, one sentence, where the file is missing, cut off, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            info = _read_info(path, metadata)
            # Clones: a tensor may be a view of the mapped file, which the run will write again.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}.") from None
    except (SafetensorError, OSError) as error:
        if is_out_of_memory(error):  # the file may be as good as ever
            raise
        raise CheckpointError(f"{path} is damaged or is no checkpoint ({error}).{_way_out(path)}") from None
    if metadata.get("sha256") != _digest(tensors, metadata["checkpoint"]):
        raise CheckpointError(
            f"{path} is damaged: it has another sha256 than when it was written.{_way_out(path)}"
        )
    return Checkpoint(tensors, info)


def read_info(path: Path) -> dict:
    """What a checkpoint says of its run, without reading its tensors or its sha256.

    Raises CheckpointError as `load` does.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return _read_info(path, file.metadata() or {})
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or is no checkpoint ({error}).") from None


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
    # A kill can leave only the previous name, on file systems without hard links, or only the best one, at
    # step 0.
    for other in (PREVIOUS, BEST) if name == LAST else ():
        if (run / other).is_file():
            return run / other
    files = {path.name for path in run.iterdir()}
    if others := files & {LAST, PREVIOUS, BEST}:
        raise CheckpointError(f"{run} has no {name}, but {', '.join(sorted(others))}; name that file.")
    if files <= {run_log.NAME} | {f"{of}.writing" for of in (LAST, PREVIOUS, BEST)}:
        raise CheckpointError(
            f"{run} holds no checkpoint, since the run stopped before its first one; remove the folder."
        )
    within = sorted(path.name for path in run.iterdir() if (path / run_log.NAME).is_file())
    raise CheckpointError(
        f"{run} is not the folder of a run"
        + (f"; the runs in it are {_listed(within)}." if within else ": it has no checkpoint.")
    )


def remove_if_empty(run: Path) -> None:
    """Remove the folder of a run that has no checkpoint; it holds nothing to go on from."""
    if run.is_dir() and {path.name for path in run.iterdir()} <= {run_log.NAME}:
        with contextlib.suppress(OSError):
            (run / run_log.NAME).unlink(missing_ok=True)
            run.rmdir()


def _listed(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _read_info(path, metadata) -> dict:
    try:
        info = json.loads(metadata["checkpoint"])
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
    previous, last = path.with_name(PREVIOUS), path.with_name(LAST)
    if path.name == LAST and previous.exists():
        return (
            f" Go on from the one before it: python -m gpt_core.train --resume {shlex.quote(str(previous))}"
        )
    return f" There is {last} too." if path.name == BEST and last.exists() else ""


def _flush_folder(folder: Path) -> None:
    """Bring the rename itself to the disk; systems that cannot open a folder need no such thing."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
