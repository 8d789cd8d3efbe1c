"""The figures of a GPU: how fast the preset `lecture` trains, and how low `lecture` and `best` come.

    python tests/bench/bench_gpu.py speed [--compile]      ms per step, tokens/s and model FLOPs utilisation
                                                           of the trainer, and its ratio to a bare loop
                                                           (bare_loop.py)
    python tests/bench/bench_gpu.py losses [--seeds 3]     whole runs: `lecture`, nanoGPT's setting, and
                                                           `best` with several seeds; their best losses, and
                                                           when

All with the fused attention of the first exercise, in bfloat16 where the card has it. A token takes 6 N + 12
L d T FLOPs, N parameters without the position table (Chowdhery et al. 2022, arXiv 2204.02311, appendix B).
The goals: an exhaustive loss of `best` below 1.4603, and its time to nanoGPT's 1.4697 well below that of
nanoGPT's setting."""

import argparse
import dataclasses
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from data import corpora  # noqa: E402
from gpt_core.training import run_log  # noqa: E402
from gpt_core.training.events import Updated  # noqa: E402
from gpt_core.training.presets import preset  # noqa: E402
from gpt_core.training.trainer import Trainer  # noqa: E402
from tests.bench.bare_loop import BareLoop  # noqa: E402

FUSED = "solutions.ex1_fused_attention:FusedMultiHeadAttention"
# dense FLOP/s, bf16 (T4: fp16)
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12}
NANOGPT_LOSS = 1.4697  # its README, sampled
# config/train_shakespeare_char.py; the rest is what the lecture has too.
NANOGPT = {
    "lr": 1e-3,
    "min_lr": 1e-4,
    "warmup": 100,
    "weight_decay": 0.1,
    "beta2": 0.99,
    "grad_clip": 1.0,
    "eval_interval": 250,
    "eval_iters": 20,  # as many as `best`, since the time of evaluations counts
}


def speed(options) -> None:
    config = dataclasses.replace(
        preset("lecture"),
        attention=FUSED,
        device=options.device,
        compile=options.compile,
        corpus=options.corpus,
        batch_size=options.batch_size,
        log_interval=options.steps,
        eval_interval=10**6,
        steps=10**6,
        eval_iters=1,
        val_chars=2000,
    )
    text, ours = corpora.load(options.corpus), []
    rounds = options.rounds + 1  # the first warms up
    with tempfile.TemporaryDirectory() as folder:
        loop = BareLoop(config, text, Path(folder) / "train.bin", options.device, options.compile)
        bare = [loop.run(options.steps) for _ in range(rounds)][1:]
        del loop

        def note(event):
            if isinstance(event, Updated):
                ours.append(event.tokens_per_second)

        trainer = Trainer.start(config, text, Path(folder) / "run", report=note)
        trainer.run(should_stop=lambda: len(ours) >= rounds)
    tokens = config.batch_size * config.block_size
    rate, bare_rate = statistics.median(ours[1:rounds]), tokens * options.steps / statistics.median(bare)
    model = trainer.model
    parameters = sum(p.numel() for p in model.parameters()) - model.position_embedding_table.weight.numel()
    flops = 6 * parameters + 12 * config.n_layer * config.n_embd * config.block_size
    card = torch.cuda.get_device_name() if trainer.device.type == "cuda" else "CPU"
    peak = next((peak for name, peak in PEAK.items() if name in card), None)
    share = f"{rate * flops / peak:.1%} of {peak / 1e12:.0f}" if peak else "of an unknown peak"
    print(
        f"{card}, {str(trainer.precision).removeprefix('torch.')}: {1e3 * tokens / rate:.1f} ms per step, "
        f"{rate:,.0f} tokens/s"
    )
    print(
        f"{rate * flops / 1e12:.2f} TFLOP/s, {share}; {rate / bare_rate:.3f} x the bare loop "
        f"({bare_rate:,.0f} tokens/s)"
    )


def losses(options) -> None:
    plans = {"lecture": ("lecture", {}), "nanoGPT's setting": ("lecture", NANOGPT)}
    plans |= {f"best, seed {seed}": ("best", {"seed": seed}) for seed in range(1337, 1337 + options.seeds)}
    reached = {}
    for number, (name, (of, values)) in enumerate(plans.items()):
        out = options.out / f"{number}_{of}"
        if not out.exists():
            values = {
                "attention": FUSED,
                "corpus": options.corpus,
                "device": options.device,
                "compile": options.compile,
            } | values
            if options.total_steps:
                values |= {"steps": options.total_steps, "warmup": 0}
            flags = [
                f"--{key.replace('_', '-')}={value}"
                for key, value in values.items()
                if not isinstance(value, bool)
            ]
            flags += [f"--{key}" for key, value in values.items() if value is True]
            subprocess.run([sys.executable, "-m", "gpt_core.train", of, f"--out={out}", *flags], check=True)
        rows = [row for row in run_log.read(out) if row["kind"] == "eval"]
        best, sampled = (min(rows, key=lambda row: row[key]) for key in ("val_loss", "sampled_val_loss"))
        # without luck in the sample
        below = [row["seconds"] for row in rows if row["val_loss"] <= NANOGPT_LOSS]
        reached[name] = below[0] if below else None
        print(
            f"{name}: exhaustive {best['val_loss']:.4f} at step {best['step']} ({best['seconds']:.0f} s), "
            f"sampled {sampled['sampled_val_loss']:.4f} at step {sampled['step']}; {NANOGPT_LOSS} "
            + (f"after {below[0]:.0f} s" if below else "never reached")
        )
    plain = reached["nanoGPT's setting"]
    times = [seconds for name, seconds in reached.items() if name.startswith("best") and seconds]
    if plain and times:
        print(
            f"time to {NANOGPT_LOSS}: best takes {statistics.median(times) / plain:.2f} x that of nanoGPT's "
            f"setting"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("speed", "losses"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--corpus", default="tinyshakespeare")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=5, help="speed: how many to take the median of")
    parser.add_argument("--steps", type=int, default=50, help="speed: steps of a round")
    parser.add_argument(
        "--batch-size", type=int, default=64, help="speed: sequences, to try it on a small machine"
    )
    parser.add_argument("--seeds", type=int, default=3, help="losses: runs of `best`")
    parser.add_argument(
        "--total-steps", type=int, default=0, help="losses: of each run, to try it on a small machine"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench_gpu"), help="losses: kept, and used again"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)  # for the bare loop; the trainer chooses its own
    {"speed": speed, "losses": losses}[options.what](options)


if __name__ == "__main__":
    main()
