"""Does a feature improve the GPT? python -m gpt_core.experiment --attention MODULE:CLASS

    python -m gpt_core.experiment --attention solutions.ex4_rope:RotaryAttention --no-position-embedding
    python -m gpt_core.experiment --feed-forward mine:SwiGLU --seeds 5
    python -m gpt_core.experiment --norm mine:RMSNorm --preset toy            no download, a minute
    python -m gpt_core.experiment --optimizer mine:Muon --optimizer-lr 0.02

Trains the baseline and the same model with the feature, with equal budgets and over several seeds, and
compares their exhaustive validation losses after the last step in pairs (gpt_core/experiments/paired.py).
A run that is finished is never trained again, one that was stopped goes on; a changed source is another
feature.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from data import corpora
from gpt_core.batches import ORDERS
from gpt_core.experiments.arms import Arm, Run, by_position, make_arm, train
from gpt_core.experiments.results import Results
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
from gpt_core.training.interrupt import stop_requested
from gpt_core.training.out_of_memory import memory_for
from gpt_core.training.plugins import build_model, build_optimizers, failure_in_part
from gpt_core.training.presets import PRESETS, preset
from gpt_core.training.terminal import ExperimentDisplay, fail, load_corpus, note
from gpt_core.training.train_config import PARTS

BASELINE = "baseline"
EVALUATIONS = 5  # of a run, for the curve; each costs as much as some 60 steps of the preset cpu
CPU_STEPS = 500  # of the preset cpu: a quarter of its own, so that six runs take minutes


def parser(of_script: bool = False) -> argparse.ArgumentParser:
    """of_script: a file of one's own begins the experiment, and not this module."""
    p = Parser(
        prog=f"python {sys.argv[0]}" if of_script else "python -m gpt_core.experiment",
        description="Train the GPT with and without a feature over paired seeds, and say what that shows.",
        epilog="The presets: " + ", ".join(PRESETS) + ".",
    )
    for part in PARTS:
        flag = "--" + part.replace("_", "-")
        p.add_argument(flag, default="", metavar="MODULE:CLASS", help=f"the feature: your own {flag[2:]}")
    p.add_argument("--model", default="", metavar="MODULE:CLASS", help="the feature: a GPT of your own")
    p.add_argument(
        "--optimizer",
        default="",
        metavar="MODULE:CLASS",
        help="the feature: an optimizer of your own, beside AdamW where its module has split_parameters",
    )
    p.add_argument(
        "--optimizer-lr", type=float, default=0.0, metavar="RATE", help="its highest rate; default: its own"
    )
    p.add_argument(
        "--position-embedding",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the model with the feature keeps the position table",
    )
    p.add_argument("--windows", choices=ORDERS, help="the feature: how the windows are drawn; epochs, say")
    p.add_argument(
        "--baseline-attention",
        default="",
        metavar="MODULE:CLASS",
        help="the baseline's attention; default: the lecture's, head by head",
    )
    p.add_argument("--preset", default="cpu", help="sizes and schedule of both; default: cpu")
    p.add_argument("--corpus", help="the text; default: the preset's. toy needs no download")
    p.add_argument("--steps", type=int, help="updates of each run; default: 500 for cpu, else the preset's")
    p.add_argument("--seeds", type=int, default=3, metavar="N", help="pairs of runs; default: 3")
    p.add_argument(
        "--stretch",
        type=int,
        default=4,
        metavar="N",
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
    options = parser(defaults is not None).parse_args([*(defaults or []), *given])
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
            return fail(
                f"{error.filename or options.out} cannot be written: {error.strerror or error}.", FAILED
            )
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
        config,
        corpus=options.corpus or config.corpus,
        steps=steps,
        warmup=min(config.warmup, steps - 1),
        eval_interval=-(-steps // EVALUATIONS),
        attention=options.baseline_attention,
        device=str(choose_device(options.device, note=note)),
        threads=options.threads,
    )
    own = {field: spec for field in (*PARTS, "model", "optimizer") if (spec := getattr(options, field))}
    changed = dataclasses.replace(
        config,
        **own,
        optimizer_lr=options.optimizer_lr,
        position_embedding=options.position_embedding,
        windows=options.windows or config.windows,
    )
    if changed == config:
        raise ValueError(
            "there is nothing to compare: name a feature with --attention, --norm, --feed-forward, --model, "
            "--optimizer, --windows or --no-position-embedding."
        )
    named = [spec.partition(":")[2] for spec in own.values()]
    named += [options.windows] if changed.windows != config.windows else []
    name = "+".join(named) or "no-positions"
    for each in (config, changed):
        # Before anything is trained: raises, saying which class fails.
        build_optimizers(build_model(each, vocab_size=2), each)
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
    display.say(
        f"{2 * seeds} runs of {arms[0].config.steps} steps; what is finished is kept in "
        f"{arms[0].folder.parent}"
    )
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


if __name__ == "__main__":
    sys.exit(main())
