"""The two arms of an experiment, baseline and feature: their runs with several seeds, and the results."""

import dataclasses
import hashlib
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from data import corpora
from gpt_core.batches import encode_text
from gpt_core.experiments.extrapolation import cropped_loss, loss_by_position, stretch
from gpt_core.training import checkpoint
from gpt_core.training.plugins import source_digests
from gpt_core.training.run_log import read
from gpt_core.training.state import load_run
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trained import load_trained
from gpt_core.training.trainer import Trainer


@dataclass(frozen=True)
class Arm:
    """One side of the comparison; the seed in its configuration is replaced by that of each run."""

    name: str
    config: TrainConfig
    folder: Path

    def run_folder(self, seed: int) -> Path:
        return self.folder / f"seed{seed}"


@dataclass(frozen=True)
class Run:
    """A finished run; val_loss in nats after its last step, tokens_per_second the median of its log.

    is_new: whether it was trained in this call, from its first step to its last.
    """

    folder: Path
    seed: int
    val_loss: float
    tokens_per_second: float
    parameters: int
    is_new: bool = False


def make_arm(name: str, config: TrainConfig, out: Path) -> Arm:
    """An arm whose folder is named by all that decides its runs: the values, and the sources of its parts.

    ValueError where a part cannot be imported.
    """
    decides = dataclasses.asdict(config) | {"seed": None} | {"sources": source_digests(config)}
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return Arm(name, config, out / f"{name}-{digest[:8]}")


def train(arm: Arm, seed: int, text: str, report, should_stop) -> Run | None:
    """The run of an arm with this seed: trained, finished where it was stopped, or read where it is done.

    None where it was told to stop. Raises ValueError, TrainingFailed as the trainer does.
    """
    folder = arm.run_folder(seed)
    config = dataclasses.replace(arm.config, seed=seed)
    checkpoint.remove_if_empty(folder)  # of a run that was killed before its first checkpoint
    is_new = not folder.exists()
    if is_new:
        trainer = Trainer.start(config, text, folder, report=report)
    else:
        saved = load_run(checkpoint.find(folder)).info
        if saved["text_sha256"] != corpora.sha256(text):
            raise ValueError(
                f"{config.corpus} is not the text that {folder} was trained on; put that text back, or name "
                f"another folder with --out."
            )
        trainer = Trainer.resume(folder, text, report=report) if saved["step"] < config.steps else None
    if trainer is not None and not trainer.run(should_stop=should_stop).finished:
        return None
    return dataclasses.replace(finished(folder, seed), is_new=is_new)


def finished(folder: Path, seed: int) -> Run:
    """What a finished run came to."""
    saved = checkpoint.load(checkpoint.find(folder))
    rates = [row["tokens_per_second"] for row in read(folder) if row["kind"] == "train"]
    parameters = saved.info.get("parameters")
    if parameters is None:  # by AdamW's state, in checkpoints from before they were counted there
        averages = [t for name, t in saved.part("optimizer").items() if name.endswith(".exp_avg")]
        parameters = sum(t.numel() for t in averages)
    return Run(folder, seed, saved.info["last_eval"][0], statistics.median(rates), parameters)


@dataclass(frozen=True)
class ByPosition:
    """An arm's losses by position, one list per run, and with the context cropped to block_size."""

    runs: list[list[float]]
    cropped: float

    def mean(self, first: int, last: int) -> float:
        """Over the positions first to last - 1 of all runs."""
        return statistics.fmean(loss for run in self.runs for loss in run[first:last])


def by_position(runs: list[Run], text: str, factor: int, device: str) -> ByPosition:
    """Loss by position of windows of factor * block_size, on the validation text."""
    losses, cropped = [], []
    for run in runs:
        trained = load_trained(run.folder, name=checkpoint.LAST, device=device)
        tokens = encode_text(trained.tokenizer, corpora.split(text)[1])
        losses.append(loss_by_position(stretch(trained, factor), tokens).tolist())
        cropped.append(cropped_loss(trained.model, tokens))
    return ByPosition(losses, statistics.fmean(cropped))
