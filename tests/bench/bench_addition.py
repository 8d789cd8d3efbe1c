"""How well and how fast the solution of exercise 2 learns: python tests/bench/bench_addition.py [SEEDS]
[DIGITS] [STEPS]

One thread. Trains with seeds 0 to SEEDS - 1 (default 5), and prints for each the share of 4000 held-out
problems that are right, the seconds it took (wall and processor), then the medians. The bounds at 3 digits
and 1000 steps: at least 99.9 % for every seed, and a median of 20 s.
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402

from data.addition import sample_held_out  # noqa: E402
from solutions.ex2_addition import add, train_adder  # noqa: E402


def main(seeds: int = 5, n_digits: int = 3, steps: int = 1000) -> None:
    torch.set_num_threads(1)
    a, b = sample_held_out(4000, n_digits, torch.Generator().manual_seed(99))
    shares, walls, processors = [], [], []
    for seed in range(seeds):
        wall, processor = time.perf_counter(), time.process_time()
        model = train_adder(n_digits, steps=steps, device="cpu", seed=seed, report=lambda step, loss: None)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
        shares.append((add(model, a, b, n_digits) == a + b).float().mean().item())
        print(
            f"seed {seed}: {shares[-1]:8.2%}   {walls[-1]:6.1f} s, processor {processors[-1]:6.1f} s",
            flush=True,
        )
    print(
        f"{n_digits} digits, {steps} steps: worst {min(shares):.2%}, median {statistics.median(walls):.1f} "
        f"s, processor {statistics.median(processors):.1f} s (ratio to 20 s: "
        f"{statistics.median(walls) / 20:.2f})"
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
