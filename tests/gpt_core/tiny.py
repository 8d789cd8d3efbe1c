"""A run that takes less than a second, with everything that a resumed run could get wrong switched on."""

import importlib
import json
import re
import shlex
from pathlib import Path

import torch

from data import toy
from gpt_core.training import checkpoint
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trainer import Trainer

TEXT = toy.generate(3000)


def tiny_config(**changes) -> TrainConfig:
    values = dict(
        corpus="toy",
        block_size=8,
        n_layer=1,
        n_head=2,
        n_embd=8,
        dropout=0.3,
        batch_size=4,
        accumulation=2,
        steps=12,
        lr=1e-2,
        min_lr=1e-3,
        warmup=3,
        grad_clip=0.5,
        ema=0.9,
        eval_interval=5,
        eval_iters=2,
        log_interval=3,
        device="cpu",
        threads=1,
    )
    return TrainConfig(**(values | changes))


def trained(folder: Path, stop_at: int | None = None, **changes) -> Trainer:
    """A run in `folder`, to its end or told to stop at step `stop_at`."""
    trainer = Trainer.start(tiny_config(**changes), TEXT, folder)
    trainer.run(should_stop=lambda: trainer.step == stop_at)
    return trainer


def call(command, *arguments) -> int:
    """The exit status of a command's main, also where argparse ends the call."""
    try:
        return command.main([str(a) for a in arguments])
    except SystemExit as end:
        return end.code


def call_suggested(said: str) -> tuple[str, int]:
    """Call the one command that a text suggests, as a shell would: its name and its exit status."""
    ((name, rest),) = re.findall(r"python -m gpt_core\.(\w+) (.+)", said)
    return name, call(importlib.import_module(f"gpt_core.{name}"), *shlex.split(rest))


def losses(folder: Path) -> list[dict]:
    """The log without its clocks."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second")} for row in rows]


def assert_same_run(one: Path, other: Path) -> None:
    """Bit for bit: every tensor of the last and best checkpoints, the generators' states, and the log."""
    for name in (checkpoint.LAST, checkpoint.BEST):
        a, b = checkpoint.load(one / name), checkpoint.load(other / name)
        assert a.tensors.keys() == b.tensors.keys()
        for key in a.tensors:
            assert torch.equal(a.tensors[key], b.tensors[key]), key
        assert (a.info["step"], a.info["best"]) == (b.info["step"], b.info["best"])
    assert losses(one) == losses(other)
