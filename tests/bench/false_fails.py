"""How often right code fails: grades solutions and right attempts with many streams of random numbers each.

    python -m tests.bench.false_fails --exercise ex1 --streams 200 --files solutions
    python -m tests.bench.false_fails --checks all --streams 50

A stream is another sequence of random numbers in all that the attempt draws, together with another --seed for
the cases that the judge draws. Exit status 1 if any check failed. Without --checks only those run in which
chance decides; `all` runs whole grades, without the training runs, as --quick does.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from grader.judge.grade import Session, Source, grade
from grader.judge.processes import Starter
from grader.workbook import REPOSITORY
from tests.exercises import EXERCISES, Exercise, Mistake
from tests.grader import right_changes

DROPOUT = ("dropout_weights", "dropout_output", "dropout_gradients", "dropout_modes")
# The checks whose verdict depends on what a right attempt draws.
CHANCE = {
    "ex1": (*DROPOUT, "fuse_dropout"),
    "ex2": tuple(id for id in EXERCISES["ex2"].checks if id.startswith("sample_")),
    "ex3": tuple(
        id for id in EXERCISES["ex3"].checks
        if id.startswith(("transfer_fresh", "finetune_")) and id not in EXERCISES["ex3"].training
    ),
    "ex4": DROPOUT,
}  # fmt: skip

# Without int() and the like: an attempt may have imported all of torch over the built-in names.
MIX = "(_torch.randint(2**31, ()).item() * 1_000_003 + {stream}) % 2**31"
# In train mode every generator goes on elsewhere: one seed still gives the same numbers, others than before.
OF_ATTENTION = f"""
import random as _random, numpy as _np, torch as _torch
_forward = {{name}}.forward
def _in_stream(self, *args, **kwargs):
    if self.training:
        _torch.manual_seed({MIX})
        _np.random.seed({MIX})
        _random.seed({MIX})
    return _forward(self, *args, **kwargs)
{{name}}.forward = _in_stream
"""
# Some numbers are drawn ahead. To seed the generator anew in each call would not do: with 2**31 seeds to go
# on from, calls come round to where they were.
OF_SAMPLER = """
import torch as _torch
_sample = sample_problems
def sample_problems(count, n_digits, generator):
    _torch.rand({stream}, generator=generator)
    return _sample(count, n_digits, generator)
"""
OF_RUN = """
_run_{name} = {name}
def {name}(*args, seed, **kwargs):
    return _run_{name}(*args, seed=(seed * 1_000_003 + {stream}) % 2**31, **kwargs)
"""
STREAMS = {
    "ex1": ((OF_ATTENTION, "FusedMultiHeadAttention"),),
    "ex2": ((OF_SAMPLER, "sample_problems"), (OF_RUN, "train_adder")),
    "ex3": ((OF_RUN, "finetune"),),
    "ex4": ((OF_ATTENTION, "RotaryAttention"),),
}


def in_stream(exercise: Exercise, source: str, stream: int) -> bytes:
    """A right attempt that draws other numbers than it would; stream 0 is the attempt as it is."""
    if stream:
        source += "".join(code.format(name=name, stream=stream) for code, name in STREAMS[exercise.name])
    return source.encode()


def right_attempts(exercise: Exercise, which: str) -> dict[str, str]:
    """Name to source: which is solutions, ways, all, or the name of one."""
    solution = (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")
    found = {"solution": solution} if which != "ways" else {}
    if which != "solutions":
        folder = REPOSITORY / "tests" / "grader" / f"right_ways_{exercise.name}"
        found |= {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))}
        changes = right_changes.TO_ADD if exercise.name == "ex2" else {}
        found |= {name: Mistake(name, name, "", patches).apply(solution) for name, patches in changes.items()}
    return found if which in ("all", "solutions", "ways") else {which: found[which]} if which in found else {}


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--streams", type=int, default=50, help="for each file (default 50)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first stream (default 0)")
    parser.add_argument("--exercise", choices=list(CHANCE), nargs="+", default=list(CHANCE))
    parser.add_argument("--checks", nargs="+", default=["chance"], help="their ids, chance (default) or all")
    parser.add_argument("--files", default="all", help="solutions, ways, all (default), or the name of one")
    options = parser.parse_args()
    jobs = [
        (EXERCISES[name], way, source, stream)
        for name in options.exercise
        for way, source in right_attempts(EXERCISES[name], options.files).items()
        for stream in range(options.first, options.first + options.streams)
    ]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    passed, failures = Counter(), []
    with Session(Starter(trains=True)) as session, Progress(*columns) as progress:
        task = progress.add_task("grading", total=len(jobs))
        for exercise, way, source, stream in jobs:
            progress.update(task, description=f"{exercise.name} {way}, {len(failures)} failures")
            only = CHANCE[exercise.name] if options.checks == ["chance"] else options.checks
            attempt = Source(Path(f"{way}_{stream}.py"), in_stream(exercise, source, stream))
            verdict = grade(
                session,
                exercise.name,
                attempt,
                device="cpu",
                seed=stream,
                quick=True,
                only=None if options.checks == ["all"] else only,
            )
            for check in verdict.checks:
                if check.status == "passed":
                    passed[exercise.name, check.id] += 1
                elif check.status != "not_run":
                    failures.append((exercise.name, check.id, way, stream, check.message))
                    said = f"{exercise.name} {way} {stream}: {check.id} {check.status}: {check.message}"
                    progress.console.print(said, markup=False)
            progress.advance(task)
    failed = Counter((name, id) for name, id, *_ in failures)
    for name, id in sorted(passed.keys() | failed.keys()):
        print(f"{name}  {id:24} {failed[name, id]:5} of {passed[name, id] + failed[name, id]} failed")
    print(f"{len(failures)} failures in {len(jobs)} grades")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
