"""A class in parts, on machines that know nothing of each other, and the parts put together again.

Part I of N takes every N-th entry from the I-th on, in the order of the whole class. Each part has a folder
of its own in RESULTS, so all of them may be given the same one.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from grader.classroom.entries import Entry, order
from grader.classroom.store import Record, Settings, Store
from grader.classroom.summary import SCHEMA, Result, Summary
from grader.workbook import UsageError


def read_shard(text: str) -> tuple[int, int]:
    """(I, N) of "I/N". UsageError for anything else."""
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 100_000):
        raise UsageError(f"--shard is {text!r}; it must be I/N with I from 1 to N, such as 2/8.")
    return int(number), int(of)


def shard_of(environment: Mapping[str, str]) -> tuple[int, int]:
    """The part that a task of a SLURM array is to take; (1, 1), the whole class, outside of one."""
    names = ("ID", "COUNT", "MIN", "STEP")
    found = {name: environment.get(f"SLURM_ARRAY_TASK_{name}", "") for name in names}
    if not found["ID"] or not found["COUNT"]:
        return 1, 1
    try:
        number, of = int(found["ID"]), int(found["COUNT"])
        place = (number - int(found["MIN"] or 1)) / int(found["STEP"] or 1)
        if place != int(place) or not 0 <= place < of:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"SLURM_ARRAY_TASK_ID={found['ID']} is no place in an array of {found['COUNT']} tasks "
            f"without gaps; say which part this one takes: --shard I/N."
        ) from None
    return int(place) + 1, of


def folder_of(results: Path, shard: tuple[int, int]) -> Path:
    """Where a part's results are."""
    number, of = shard
    return results if of == 1 else results / f"shard-{number}-of-{of}"


def read_parts(folders: list[Path]) -> list[tuple[Path, dict]]:
    """The parts of a class, each with its folder.

    UsageError where one is missing, is not of the same class, or was stopped.
    """
    parts = [(path, _read(path)) for folder in folders for path in _parts(folder)]
    first = parts[0][1]
    for path, part in parts:
        for what in ("settings", "workbook"):
            if part[what] != first[what]:
                raise UsageError(f"{path} was graded with other {what} than {parts[0][0]}; grade it anew.")
        if part["stopped"]:
            raise UsageError(f"{path} was stopped before its end; the same command there goes on.")
    _check_complete(parts)
    return parts


def merged(parts: list[tuple[Path, dict]], out: Path) -> Summary:
    """The parts of a class as one, with the verdicts copied to `out`. UsageError where a verdict is lost."""
    first = parts[0][1]
    store, results = Store(out / "verdicts"), []
    for path, part in parts:
        there = Store(path / "verdicts")
        for row in part["rows"]:
            key, record = row["verdict"], Record(row["status"], row["reason"])
            if key:
                record = there.find(key)
                if record is None:
                    raise UsageError(f"{path} lacks the verdict {key} of its table, or it was damaged.")
                if store.find(key) != record:
                    store.keep(key, record)
            results.append(Result(Entry(**row["entry"]), record, key))
    results.sort(key=lambda result: order(result.entry))
    weights = first["weights"] if all(part["weights"] == first["weights"] for _, part in parts) else {}
    return Summary(Settings(**first["settings"]), results, weights, total=len(results))


def _parts(folder: Path) -> list[Path]:
    """A folder of results, or those of the parts in it."""
    inside = sorted(path.parent for path in folder.glob("shard-*/summary.json"))
    if inside:
        return inside
    if (folder / "summary.json").is_file():
        return [folder]
    raise UsageError(f"--merge {folder} holds no summary.json, and no shard-I-of-N with one.")


def _read(folder: Path) -> dict:
    """The summary of a part. UsageError where it is none."""
    try:
        found = json.loads((folder / "summary.json").read_bytes())
        if found["schema"] != SCHEMA:
            raise ValueError(f"schema {found['schema']}")
        Settings(**found["settings"])
        [Entry(**row["entry"]) for row in found["rows"]]
        return {
            name: found[name]
            for name in ("settings", "workbook", "shard", "total", "stopped", "weights", "rows")
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / 'summary.json'} is no summary of a class ({error}).") from None


def _check_complete(parts: list[tuple[Path, dict]]) -> None:
    """UsageError unless these are all parts of one class, or whole classes."""
    shards = [tuple(part["shard"]) for _, part in parts]
    of = shards[0][1]
    if any(shard[1] != of for shard in shards):
        raise UsageError(f"the parts were not split alike: {_listed(shards)}.")
    missing = sorted(set(range(1, of + 1)) - {number for number, _ in shards})
    if missing:
        raise UsageError(f"of {of} parts these are missing: {', '.join(map(str, missing[:20]))}.")
    if of > 1 and len(shards) > of:
        raise UsageError(f"a part is there twice: {_listed(shards)}.")
    found = sum(len(part["rows"]) for _, part in parts)
    if of > 1 and found != parts[0][1]["total"]:
        raise UsageError(
            f"the parts hold {found} entries together, and the class had {parts[0][1]['total']}; were "
            f"hand-ins added while it was graded? Grade all parts again, what is done is kept."
        )


def _listed(shards: list[tuple[int, int]]) -> str:
    return ", ".join(f"{number}/{of}" for number, of in sorted(shards)[:20])
