"""Tokens per second of generation with and without the KV cache, in one run.

    OMP_NUM_THREADS=1 python tests/bench/bench_sampling.py

The lecture's model (6 layers, 6 heads, 384 wide, random weights), batch 1, one thread, from 1 to 256
tokens. Runs alternate and the medians are compared. The goal is a ratio of at least 6.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from gpt_core import GPT, GPTConfig  # noqa: E402
from gpt_core.sampling import generate  # noqa: E402

TOKENS = 255


def seconds(model: GPT, cache: bool) -> float:
    start = time.perf_counter()
    generate(
        model,
        torch.zeros(1, 1, dtype=torch.long),
        TOKENS,
        cache=cache,
        generator=torch.Generator().manual_seed(1),
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = GPT(GPTConfig(vocab_size=65, dropout=0.0))
    times = {True: [], False: []}
    for _ in range(repeats):
        for cache in times:
            times[cache].append(seconds(model, cache))
    rate = {cache: TOKENS / statistics.median(t) for cache, t in times.items()}
    print(f"cached   {rate[True]:8.1f} tokens/s")
    print(f"uncached {rate[False]:8.1f} tokens/s")
    print(f"ratio    {rate[True] / rate[False]:8.2f}")


if __name__ == "__main__":
    main()
