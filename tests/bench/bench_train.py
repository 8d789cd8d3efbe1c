"""Training tokens per second of the trainer against a bare loop, in one run.

    OMP_NUM_THREADS=1 GPT_DATA_DIR=... python tests/bench/bench_train.py

The model, the batch and the AdamW settings are those of the preset `cpu`. The bare loop is nanoGPT's way of
training them (bare_loop.py), with the fused attention of the first exercise. The trainer is timed in its own
loop, its log, checks and callbacks included, evaluation left out. Each loop has a process of its own, since
the trainer also settles how its process keeps memory; the three take turns, and the medians of the rounds'
ratios are printed. The goals: fused at least 1.05, per head at least 0.85.
"""

import argparse
import dataclasses
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from data import corpora  # noqa: E402
from gpt_core.training.events import Evaluated, Updated  # noqa: E402
from gpt_core.training.presets import preset  # noqa: E402
from gpt_core.training.trainer import Trainer  # noqa: E402
from tests.bench.bare_loop import BareLoop  # noqa: E402

FUSED = "solutions.ex1_fused_attention:FusedMultiHeadAttention"
BARE = "bare loop, fused attention"
LOOPS = {BARE: FUSED, "trainer, fused attention": FUSED, "trainer, attention per head": ""}
CONFIG = dataclasses.replace(
    preset("cpu"), steps=1_000_000, eval_interval=1_000_000, attention=FUSED, threads=1, device="cpu"
)


class OurLoop:
    """A run of the trainer, held at the end of each line of its log until it is asked for the next."""

    def __init__(self, folder: Path, text: str, attention: str, steps: int):
        config = dataclasses.replace(CONFIG, attention=attention, log_interval=steps)
        self.trainer = Trainer.start(config, text, folder / "run", report=self._hold)

    def serve(self, answer) -> None:
        self.answer, self.began = answer, None
        self.trainer.run()

    def _hold(self, event) -> None:
        if isinstance(event, Updated):
            self.answer(time.perf_counter() - self.began)
        if isinstance(event, (Evaluated, Updated)):  # the first evaluation comes before the first update
            wait_for_go()
            self.began = time.perf_counter()


def wait_for_go() -> None:
    """Until the other end asks for the next round; the end of this process where it asks for no more."""
    if not sys.stdin.readline():
        sys.exit()


def serve(name: str, steps: int, corpus: str) -> None:
    """In a process of its own: the seconds of each round, one line each."""
    torch.set_num_threads(1)
    text = corpora.load(corpus)
    with tempfile.TemporaryDirectory() as folder:
        if name == BARE:
            loop = BareLoop(CONFIG, text, Path(folder) / "train.bin")
            while True:
                wait_for_go()
                print(loop.run(steps), flush=True)
        OurLoop(Path(folder), text, LOOPS[name], steps).serve(lambda seconds: print(seconds, flush=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="steps of each loop in a round")
    parser.add_argument("--corpus", default="tinyshakespeare")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.steps, options.corpus)
    command = [sys.executable, __file__, *sys.argv[1:], "--serve"]
    processes = {
        name: subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in LOOPS
    }

    def run(name: str) -> float:
        process = processes[name]
        process.stdin.write("go\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    names, times = list(LOOPS), {name: [] for name in LOOPS}
    for name in names:
        run(name)  # warm
    for round_ in range(options.rounds):
        # Each round begins with another loop, so that none always follows the same one.
        for name in names[round_ % 3 :] + names[: round_ % 3]:
            times[name].append(run(name))
    for process in processes.values():
        process.stdin.close()
        process.wait()
    tokens = options.steps * CONFIG.batch_size * CONFIG.block_size
    for name in names:
        ratio = statistics.median(b / t for b, t in zip(times[BARE], times[name]))
        rate = tokens / statistics.median(times[name])
        print(f"{name:<30}{rate:>10,.0f} tokens/s{ratio:>8.3f} x the bare loop")


if __name__ == "__main__":
    main()
