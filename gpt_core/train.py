"""Train a model of the ladder: python -m gpt_core.train PRESET

    python -m gpt_core.train toy                     half a minute, no download
    python -m gpt_core.train cpu --steps 500         a preset, one value changed
    python -m gpt_core.train --resume runs/cpu       go on as if it had never stopped
    torchrun --nproc_per_node=4 -m gpt_core.train lecture
"""

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

from data import corpora
from gpt_core import checkpoint
from gpt_core.device import choose_device
from gpt_core.distributed import World
from gpt_core.presets import PRESETS, preset
from gpt_core.terminal import DownloadDisplay, TrainingDisplay, fail
from gpt_core.train_config import TrainConfig
from gpt_core.trainer import Notice, Trainer, TrainingFailed, ignore

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
DEFAULT = "cpu"  # the preset


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(fail(f"{message}; --help lists what there is.", BAD_INPUT))


def parser() -> argparse.ArgumentParser:
    """Every field of TrainConfig is an option, under its name with dashes."""
    p = _Parser(
        prog="python -m gpt_core.train", description="Train a model of the ladder.",
        epilog="The presets: " + ", ".join(PRESETS) + ". gpt_core/train_config.py says what each value is.",
    )
    p.add_argument("preset", nargs="?", help=f"where the values come from (default: {DEFAULT})")
    p.add_argument("--out", type=Path, help="the folder of the run (default: runs/PRESET)")
    p.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run, or from a checkpoint of one")
    group = p.add_argument_group("values of the run, each in place of the preset's")
    for field in dataclasses.fields(TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        kind = {"action": argparse.BooleanOptionalAction} if field.type is bool else {"type": field.type}
        group.add_argument(flag, dest=field.name, default=argparse.SUPPRESS, **kind)
    return p


@record
def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 trained to the end, 1 training failed, 2 bad input, 130 stopped by Ctrl-C, saved."""
    options = vars(parser().parse_args(arguments))
    world = World.from_environment()
    name, out, resume = options.pop("preset"), options.pop("out"), options.pop("resume")
    display = TrainingDisplay() if world.is_first else None
    report = display.report if display else ignore
    trainer = None
    try:
        if not (name or resume):
            report(Notice(f"No preset was named, so this is {DEFAULT}; there are {', '.join(PRESETS)}."))
        trainer = _set_up(name, out, resume, options, world, report)
        if trainer.step >= trainer.config.steps:
            report(Notice(
                f"{trainer.folder} is finished: it has made its {trainer.step} steps. For a longer run, begin a new one "
                f"with more --steps and another --out."
            ))
            return OK
        with stop_requested(world) as should_stop, display or contextlib.nullcontext():
            result = trainer.run(should_stop=should_stop)
    except (ValueError, corpora.CorpusUnavailable) as error:
        return fail(str(error), BAD_INPUT, world.rank, world.size)
    except (TrainingFailed, checkpoint.NoSpace) as error:
        return fail(str(error), FAILED, world.rank, world.size)
    except KeyboardInterrupt:
        how = "at once, without saving; --resume goes on from the last checkpoint"
        return fail(f"Stopped {how if trainer else 'before the training began'}.", INTERRUPTED)
    world.leave()
    if display:
        display.ended(result, trainer.folder, trainer.config.corpus)
    return OK if result.finished else INTERRUPTED


def _set_up(name, out, resume, options, world, report) -> Trainer:
    if resume:
        allowed = {"device": options.pop("device", None)}
        if name or out or options:
            given = name or (f"--out {out}" if out else "--" + next(iter(options)).replace("_", "-"))
            raise ValueError(f"--resume takes all values from the run, so {given} cannot be given with it.")
        path = checkpoint.find(resume)
        corpus = checkpoint.load(path).info["train_config"]["corpus"]
        device = allowed["device"]
    else:
        config = dataclasses.replace(preset(name or DEFAULT), **options)
        out = out or Path("runs") / (name or DEFAULT)
        corpus, device = config.corpus, config.device
    world.connect(choose_device(device or "auto", world.local_rank))
    text = _load_text(corpus, world)
    if resume:
        return Trainer.resume(path, text, report=report, world=world, device=device)
    return Trainer.start(config, text, out, report=report, world=world)


def _load_text(corpus: str, world: World) -> str:
    """One process of each machine downloads, then the others find the files there."""
    if world.local_rank == 0:
        with DownloadDisplay() as download:
            text = corpora.load(corpus, report=download.report)
    world.wait()
    return text if world.local_rank == 0 else corpora.load(corpus)


@contextlib.contextmanager
def stop_requested(world: World = World()):
    """Yields a function that says whether Ctrl-C was pressed; the second one interrupts at once.

    SIGTERM counts too, since clusters send it before they take a machine away; not under torchrun,
    which sends it to the healthy processes after one has failed.
    """
    signals = [signal.SIGINT] + ([signal.SIGTERM] if world.size == 1 else [])
    received = []

    def note(number, frame):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    before = {s: signal.signal(s, note) for s in signals}
    try:
        yield lambda: bool(received)
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


if __name__ == "__main__":
    status = main()
    if World.from_environment().size > 1:
        # Past the interpreter's tidying up: a failed process would wait there for the ones it has left,
        # and gloo's threads can abort it even after a run that went well.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
