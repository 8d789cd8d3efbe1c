"""Does a feature improve the GPT? python -m gpt_core.experiment --attention MODULE:CLASS

    python -m gpt_core.experiment --attention solutions.ex4_rope:RotaryAttention --no-position-embedding
    python -m gpt_core.experiment --feed-forward mine:SwiGLU --seeds 5
    python -m gpt_core.experiment --norm mine:RMSNorm --preset toy            no download, a minute

Trains the baseline and the same model with the feature, with equal budgets and over several seeds, and
compares their exhaustive validation losses after the last step in pairs (gpt_core/experiments/paired.py). A run that
is finished is never trained again, one that was stopped goes on; a changed source is another feature.
"""

import argparse
import dataclasses
import hashlib
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from data import corpora
from gpt_core import plot
from gpt_core.batches import encode_text
from gpt_core.experiments.extrapolation import cropped_loss, loss_by_position, stretch
from gpt_core.experiments.paired import conclusion, paired_difference
from gpt_core.training import checkpoint
from gpt_core.training.command import (
    BAD_INPUT, ERRORS_OF_A_RUN, ERRORS_OF_INPUT, FAILED, INTERRUPTED, OK, Parser, begin,
)  # fmt: skip
from gpt_core.training.device import choose_device
from gpt_core.training.interrupt import stop_requested
from gpt_core.training.out_of_memory import memory_for
from gpt_core.training.plugins import build_model, failure_in_part, source_digests
from gpt_core.training.presets import PRESETS, preset
from gpt_core.training.run_log import read
from gpt_core.training.state import load_run
from gpt_core.training.terminal import ExperimentDisplay, fail, load_corpus, note, sentence
from gpt_core.training.train_config import PARTS, TrainConfig
from gpt_core.training.trained import load_trained
from gpt_core.training.trainer import Trainer

BASELINE = "baseline"
EVALUATIONS = 5  # of a run, for the curve; each costs as much as some 60 steps of the preset cpu
CPU_STEPS = 500  # of the preset cpu: a quarter of its own, so that six runs take minutes


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
    # By the optimizer's state: the model's holds persistent buffers too.
    trained = [t.numel() for name, t in saved.part("optimizer").items() if name.endswith(".exp_avg")]
    return Run(folder, seed, saved.info["last_eval"][0], statistics.median(rates), sum(trained))


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


def position_ranges(block_size: int, factor: int) -> list[tuple[int, int]]:
    """The rows of the table: fine around the end of training, coarse elsewhere."""
    quarter = max(1, block_size // 4)
    edges = [0, quarter, 2 * quarter, block_size, block_size + quarter, block_size + 2 * quarter]
    edges += [n * block_size for n in range(2, factor + 1)]
    edges = sorted({edge for edge in edges if edge <= factor * block_size})
    return list(zip(edges, edges[1:]))


def _made_of(config: TrainConfig) -> str:
    """The attention, and every other part that is not the workbook's."""
    parts = [f"{part.replace('_', '-')} {spec.partition(':')[2]}" for part, spec in config.own_parts().items()]
    if not config.attention:
        parts.insert(0, "attention head by head")
    return ", ".join(parts if config.position_embedding else [*parts, "no position table"])


# The command line.


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m gpt_core.experiment",
        description="Train the GPT with and without a feature over paired seeds, and say what that shows.",
        epilog="The presets: " + ", ".join(PRESETS) + ".",
    )
    for part in PARTS:
        flag = "--" + part.replace("_", "-")
        p.add_argument(flag, default="", metavar="MODULE:CLASS", help=f"the feature: your own {flag[2:]}")
    p.add_argument(
        "--position-embedding", action=argparse.BooleanOptionalAction, default=True,
        help="whether the model with the feature keeps the position table",
    )
    p.add_argument(
        "--baseline-attention", default="", metavar="MODULE:CLASS",
        help="the baseline's attention; default: the lecture's, head by head",
    )
    p.add_argument("--preset", default="cpu", help="sizes and schedule of both; default: cpu")
    p.add_argument("--corpus", help="the text; default: the preset's. toy needs no download")
    p.add_argument("--steps", type=int, help="updates of each run; default: 500 for cpu, else the preset's")
    p.add_argument("--seeds", type=int, default=3, metavar="N", help="pairs of runs; default: 3")
    p.add_argument(
        "--stretch", type=int, default=4, metavar="N",
        help="without a position table: the loss by position up to N x block_size; 1 for none; default: 4",
    )
    p.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    p.add_argument("--threads", type=int, default=0, help="CPU threads; default: the trainer's choice")
    p.add_argument("--out", type=Path, default=Path("runs/experiments"), help="default: runs/experiments")
    return p


def main(defaults: list[str] | None = None, arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 training failed, 2 bad input, 130 stopped by Ctrl-C, saved.

    defaults: options that come before those of the command line, which win.
    """
    begin()
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args([*(defaults or []), *given])
    arms: list[Arm] = []
    try:
        arms += _arms(options)
        return _experiment(options, arms)
    except ERRORS_OF_A_RUN as error:
        return fail(str(error), FAILED)
    except Exception as error:
        # Whatever a part of your own may raise while it trains, a ValueError too.
        if reason := next((failure for arm in arms if (failure := failure_in_part(arm.config, error))), None):
            return fail(reason, FAILED)
        if isinstance(error, ERRORS_OF_INPUT):
            return fail(str(error), BAD_INPUT)
        if isinstance(error, OSError):
            return fail(f"{error.filename or options.out} cannot be written: {error.strerror or error}.", FAILED)
        raise
    except KeyboardInterrupt:
        return fail("Stopped at once; the same command goes on from the last checkpoint.", INTERRUPTED)


def _arms(options) -> list[Arm]:
    """The baseline and the feature; ValueError for a bad value and where one of them cannot be built."""
    for name, least in (("seeds", 2), ("stretch", 1), ("steps", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} is {value}; it must be at least {least}.")
    config = preset(options.preset)
    steps = options.steps or (CPU_STEPS if options.preset == "cpu" else config.steps)
    config = dataclasses.replace(
        config, corpus=options.corpus or config.corpus, steps=steps, warmup=min(config.warmup, steps - 1),
        eval_interval=-(-steps // EVALUATIONS), attention=options.baseline_attention,
        device=str(choose_device(options.device, note=note)), threads=options.threads,
    )
    parts = {part: spec for part in PARTS if (spec := getattr(options, part))}
    changed = dataclasses.replace(config, **parts, position_embedding=options.position_embedding)
    if changed == config:
        raise ValueError(
            "there is nothing to compare: name a feature with --attention, --norm, --feed-forward or "
            "--no-position-embedding."
        )
    name = "+".join(spec.partition(":")[2] for spec in parts.values()) or "no-positions"
    for each in (config, changed):
        build_model(each, vocab_size=2)  # before anything is trained: raises, saying which part fails
    return [make_arm(BASELINE, config, options.out), make_arm(name, changed, options.out)]


def _experiment(options, arms: list[Arm]) -> int:
    text = load_corpus(arms[0].config.corpus)
    stretched = options.stretch if not arms[1].config.position_embedding else 1
    length, held_out = stretched * arms[0].config.block_size, len(corpora.split(text)[1])
    if held_out <= length:
        raise ValueError(
            f"the validation text has {held_out} characters, and the loss by position takes {length + 1}: a "
            f"smaller --stretch, or a longer text."
        )
    with stop_requested() as should_stop, ExperimentDisplay() as display:
        runs = _train_all(arms, options.seeds, text, display, should_stop)
    if runs is None:
        display.say("Stopped, and saved; the same command goes on.")
        return INTERRUPTED
    results = Results(arms, runs)
    results.show(display.say)
    if stretched > 1:
        display.say()
        display.say(f"measuring the loss by position, up to {stretched} x block_size ..")
        with memory_for(f"for windows of {stretched} x block_size", "a smaller --stretch takes less"):
            positions = [by_position(of_arm, text, stretched, arms[0].config.device) for of_arm in runs]
        results = dataclasses.replace(results, positions=positions, stretch=stretched)
        results.show_positions(display.say)
    display.say()
    results.write(display.say)
    return OK


def _train_all(arms: list[Arm], seeds: int, text: str, display, should_stop) -> list[list[Run]] | None:
    """The runs of each arm, in the order of the seeds; None where it was told to stop."""
    runs: dict[Arm, list[Run]] = {arm: [] for arm in arms}
    display.say(f"{2 * seeds} runs of {arms[0].config.steps} steps; what is finished is kept in {arms[0].folder.parent}")
    for seed in range(1, seeds + 1):
        # The first of a pair changes from seed to seed: a machine that slows down does so to both arms.
        for arm in arms if seed % 2 else arms[::-1]:
            display.name = f"{arm.name}, seed {seed}"
            run = train(arm, seed, text, display.report, should_stop)
            if run is None:
                return None
            runs[arm].append(run)
            rate = f"{run.tokens_per_second:,.0f} tokens/s"
            before = "" if run.is_new else "   from before"
            display.say(f"{display.name:<32} validation loss {run.val_loss:.4f} {rate:>18}{before}")
    return list(runs.values())


@dataclass(frozen=True)
class Results:
    """What an experiment found; arms, runs and positions hold the baseline first, then the feature."""

    arms: list[Arm]
    runs: list[list[Run]]
    positions: list[ByPosition] = dataclasses.field(default_factory=list)
    stretch: int = 1

    def losses(self) -> list[list[float]]:
        return [[run.val_loss for run in of_arm] for of_arm in self.runs]

    def rates(self) -> list[float]:
        return [statistics.median(run.tokens_per_second for run in of_arm) for of_arm in self.runs]

    def speed_ratio(self) -> float | None:
        """The feature's speed over the baseline's, of the pairs that were trained in this call; None without one.

        A stored speed is that of another hour, when the machine may have had other things to do.
        """
        rates = [[run.tokens_per_second for run in pair] for pair in zip(*self.runs) if all(run.is_new for run in pair)]
        return statistics.median(feature for _, feature in rates) / statistics.median(base for base, _ in rates) if rates else None

    def show(self, say) -> None:
        """The losses in pairs, the speeds and the conclusion."""
        name, config = self.arms[1].name, self.arms[0].config
        losses, rates = self.losses(), self.rates()
        say()
        say(f"exhaustive validation loss after {config.steps} steps, in nats per character ({config.corpus})")
        wide = max(20, len(name) + 2)
        say(f"{'seed':>6}{BASELINE:>14}{name:>{wide}}{'difference':>14}   negative: {name} is better")
        for run, b, f in zip(self.runs[0], *losses):
            say(f"{run.seed:>6}{b:>14.4f}{f:>{wide}.4f}{f - b:>+14.4f}")
        difference = paired_difference(*losses)
        means = [statistics.fmean(of_arm) for of_arm in losses]
        interval = f"95 % interval {difference.low:+.4f} to {difference.high:+.4f}"
        say(f"{'mean':>6}{means[0]:>14.4f}{means[1]:>{wide}.4f}{difference.mean:>+14.4f}   {interval}")
        say()
        for arm, of_arm, rate in zip(self.arms, self.runs, rates):
            say(f"{arm.name:>{wide}}: {rate:>9,.0f} tokens/s, {of_arm[0].parameters:,} parameters, {_made_of(arm.config)}")
        if ratio := self.speed_ratio():
            say(f"{name} trains {ratio:.2f} x as fast as the baseline")
        else:
            say(sentence(
                "The speeds are from different times, so they are not compared: another --out measures them side by side."
            ))
        say()
        say(sentence(conclusion(name, difference)))

    def show_positions(self, say) -> None:
        """The losses by position, and where the context is cropped."""
        length, wide = self.arms[0].config.block_size, max(20, len(self.arms[1].name) + 2)
        say()
        say(f"validation loss by position, trained on {length} positions (mean of {len(self.runs[0])} runs)")
        say(f"{'positions':>14}{BASELINE:>14}{self.arms[1].name:>{wide}}")
        for first, last in position_ranges(length, self.stretch):
            values = [of_arm.mean(first, last) for of_arm in self.positions]
            mark = "" if last <= length else "   beyond the length of training"
            say(f"{f'{first} to {last - 1}':>14}{values[0]:>14.4f}{values[1]:>{wide}.4f}{mark}")
        values = [of_arm.cropped for of_arm in self.positions]
        say(f"{'cropped':>14}{values[0]:>14.4f}{values[1]:>{wide}.4f}   the last {length} tokens as context")
        say(sentence(
            "The baseline's position table ends where its training did: beyond it the rows are as they were "
            "first drawn, and nothing ever trained them."
        ))

    def write(self, say) -> None:
        """results.json and, with matplotlib, the plots, in the folder of the feature's runs."""
        folder = self.arms[1].folder
        found = {
            "arms": [dataclasses.asdict(arm.config) for arm in self.arms],
            "seeds": [run.seed for run in self.runs[0]],
            "losses": self.losses(),
            "tokens_per_second": self.rates(),
            "speed_ratio": self.speed_ratio(),
            "difference": dataclasses.asdict(paired_difference(*self.losses())),
            "positions": [dataclasses.asdict(of_arm) for of_arm in self.positions],
        }
        (folder / "results.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        try:
            names = [arm.name for arm in self.arms]
            folders = [[run.folder for run in of_arm] for of_arm in self.runs]
            plot.draw_bands(dict(zip(names, folders)), folder / "losses.png")
            if self.positions:
                length = self.arms[0].config.block_size
                plot.draw_positions(
                    dict(zip(names, (of_arm.runs for of_arm in self.positions))),
                    dict(zip(names, (of_arm.cropped for of_arm in self.positions))),
                    length, folder / "positions.png", bin=max(1, length // 8),
                )  # fmt: skip
        except ImportError:
            say('No plots: matplotlib is not installed; get it with: pip install -e ".[plot]"')
        say(f"in {folder}: {', '.join(sorted(path.name for path in folder.iterdir() if path.is_file()))}")


if __name__ == "__main__":
    sys.exit(main())
