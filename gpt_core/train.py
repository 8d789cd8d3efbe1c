"""Train a model of the ladder: python -m gpt_core.train PRESET

python -m gpt_core.train toy                     half a minute, no download
python -m gpt_core.train cpu --steps 500         a preset, one value changed
python -m gpt_core.train --resume runs/cpu       go on as if it had never stopped
python -m gpt_core.train --resume runs/cpu --extend 4000            beyond its last step
python -m gpt_core.train cpu --init-from runs/cpu --out runs/more   a new run that begins with its weights
torchrun --nproc_per_node=4 -m gpt_core.train lecture
"""

import argparse
import contextlib
import dataclasses
import os
import re
import shlex
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

from gpt_core.training import checkpoint
from gpt_core.training.command import (
    BAD_INPUT,
    ERRORS_OF_A_RUN,
    ERRORS_OF_INPUT,
    FAILED,
    INTERRUPTED,
    OK,
    Parser,
    begin,
)
from gpt_core.training.device import choose_device
from gpt_core.training.distributed import World
from gpt_core.training.events import Notice, ignore
from gpt_core.training.interrupt import stop_requested
from gpt_core.training.out_of_memory import is_out_of_memory
from gpt_core.training.plugins import failure_in_part
from gpt_core.training.presets import PRESETS, preset
from gpt_core.training.state import find_corpus, load_run
from gpt_core.training.terminal import TrainingDisplay, fail, load_text
from gpt_core.training.token_file import TokenFile
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trainer import Trainer

DEFAULT = "cpu"  # the preset


def parser() -> argparse.ArgumentParser:
    """Every field of TrainConfig is an option, under its name with dashes; with the explanation that stands
    there."""
    p = Parser(
        prog="python -m gpt_core.train",
        description="Train a model of the ladder.",
        epilog="The presets: " + ", ".join(PRESETS) + ".",
    )
    p.add_argument("preset", nargs="?", help=f"where the values come from (default: {DEFAULT})")
    p.add_argument("--out", type=Path, help="the folder of the run (default: runs/PRESET)")
    p.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run, or from a checkpoint of one")
    p.add_argument(
        "--extend", type=int, metavar="STEPS", help="with --resume: go on to so many steps, more than it has"
    )
    group = p.add_argument_group("values of the run, each in place of the preset's")
    for field in dataclasses.fields(TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        kind = {"action": argparse.BooleanOptionalAction} if field.type is bool else {"type": field.type}
        group.add_argument(
            flag, dest=field.name, default=argparse.SUPPRESS, help=field.metadata["help"], **kind
        )
    return p


@record
def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 trained to the end, 1 training failed, 2 bad input, 130 stopped by Ctrl-C, saved."""
    begin()
    options = vars(parser().parse_args(arguments))
    world = World.from_environment()
    name, out, resume = options.pop("preset"), options.pop("out"), options.pop("resume")
    extend = options.pop("extend")
    display = TrainingDisplay() if world.is_first else None
    report = display.report if display else ignore
    trainer = None
    try:
        if not (name or resume):
            report(Notice(f"No preset was named, so this is {DEFAULT}; there are {', '.join(PRESETS)}."))
        trainer = _set_up(name, out, resume, extend, options, world, report)
        if trainer.step >= trainer.config.steps:
            report(
                Notice(
                    f"{trainer.folder} is finished: it has made its {trainer.step} steps. For more of them: "
                    f"--resume {shlex.quote(str(trainer.folder))} --extend {2 * trainer.step}"
                )
            )
            return OK
        with (
            stop_requested(by_termination=world.size == 1) as should_stop,
            display or contextlib.nullcontext(),
        ):
            result = trainer.run(should_stop=should_stop)
    except ERRORS_OF_INPUT as error:
        reason = _in_a_part(error, trainer)
        return fail(reason or str(error), FAILED if reason else BAD_INPUT, world.rank, world.size)
    except ERRORS_OF_A_RUN as error:
        return fail(str(error), FAILED, world.rank, world.size)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        left = f"; {_what_is_left(trainer)}" if trainer else ""
        return fail(f"{what}{left}.", FAILED, world.rank, world.size)
    except Exception as error:
        reason = _in_a_part(error, trainer) or _left_alone(error, world)
        if is_out_of_memory(error):
            reason = "There is not enough memory; close what else is running, or take a smaller preset."
        if reason is None:
            raise
        return fail(reason, FAILED, world.rank, world.size)
    except KeyboardInterrupt:
        return fail(f"Stopped {_where_stopped(trainer, resume)}.", INTERRUPTED)
    world.leave()
    if display:
        display.ended(result, trainer.folder, trainer.config.corpus)
    return OK if result.finished else INTERRUPTED


def _set_up(name, out, resume, extend, options, world, report) -> Trainer:
    if extend is not None and not resume:
        raise ValueError("--extend goes on with a run: name it with --resume. A new run takes --steps.")
    if resume:
        device, corpus = options.pop("device", None), options.pop("corpus", None)
        if name or out or options:
            given = name or (f"--out {out}" if out else "--" + next(iter(options)).replace("_", "-"))
            raise ValueError(
                f"--resume takes all values but --device, --corpus and --extend from the run, so {given} "
                f"cannot be given with it."
            )
        path = checkpoint.find(resume)
        return _resume(path, corpus, device, extend, world, report)
    config = _config(preset(name or DEFAULT), options)
    world.connect(choose_device(config.device, world.local_rank, processes=world.size))
    text = _load_text(config.corpus, world)
    return Trainer.start(config, text, out or Path("runs") / (name or DEFAULT), report=report, world=world)


def _resume(path: Path, corpus: str | None, device: str | None, extend: int | None, world, report) -> Trainer:
    """corpus, device, extend: what was asked for; None for those of the run."""
    saved = load_run(path)
    source = corpus or find_corpus(saved)
    device_of_run = saved.info["train_config"]["device"]
    world.connect(choose_device(device or device_of_run, world.local_rank, processes=world.size))
    text = _load_text(source, world)
    moved_to = None if source == saved.info.get("corpus_path") else source
    places = {"device": device, "corpus": moved_to}
    return Trainer.resume(path, text, report=report, world=world, steps=extend, **places)


def _config(of_preset: TrainConfig, options: dict) -> TrainConfig:
    """The preset with the options in place; a run of fewer steps than its warm-up gets a shorter one."""
    steps = options.get("steps", of_preset.steps)
    if "warmup" not in options and 1 <= steps <= of_preset.warmup:
        options = options | {"warmup": steps // 10}
    return dataclasses.replace(of_preset, **options)


def _where_stopped(trainer: Trainer | None, resume: Path | None) -> str:
    """Of a run that was stopped at once: what is left of it."""
    if trainer is None:
        return "before the training went on; the run is as it was" if resume else "before the training began"
    return f"at once, without saving; {_what_is_left(trainer)}"


def _what_is_left(trainer: Trainer) -> str:
    """Of a run that ended before its time."""
    try:
        checkpoint.find(trainer.folder)
    except checkpoint.CheckpointError:
        return "there is no checkpoint yet"
    return "the checkpoints are as they were, and --resume goes on from the last one"


def _in_a_part(error: Exception, trainer: Trainer | None) -> str | None:
    """As failure_in_part, with the step."""
    reason = failure_in_part(trainer.config, error) if trainer else None
    return reason and f"step {trainer.step + 1}: {reason}"


def _left_alone(error: Exception, world: World) -> str | None:
    """What a process says whose partner in an exchange has ended; None for another error."""
    if (
        world.size > 1
        and isinstance(error, RuntimeError)
        and re.search("closed by peer|gloo|nccl", str(error), re.I)
    ):
        return "the connection to the other processes is lost; the one that failed first says why."
    return None


def _load_text(corpus: str, world: World) -> str | TokenFile:
    """One process of each machine downloads or encodes, then the others find the files there."""
    if world.local_rank == 0:
        text = load_text(corpus)
    world.wait()
    return text if world.local_rank == 0 else load_text(corpus)


if __name__ == "__main__":
    status = main()
    if World.from_environment().size > 1:
        # Past the interpreter's tidying up: a failed process would wait there for the ones it has left,
        # and gloo's threads can abort it even after a run that went well.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
