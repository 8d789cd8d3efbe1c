"""What the rotation costs: RotaryAttention against exercise 1's fused attention, in one run.

    OMP_NUM_THREADS=1 python tests/bench/bench_rope.py

Forward and backward on the CPU at the sizes of the preset `cpu`, one thread. The two alternate in rounds,
and the ratio of their medians is printed. The goal: at most 1.25.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402

from gpt_core.training.presets import preset  # noqa: E402
from solutions.ex1_fused_attention import FusedMultiHeadAttention  # noqa: E402
from solutions.ex4_rope import RotaryAttention  # noqa: E402


def seconds(attention: torch.nn.Module, x: torch.Tensor, calls: int) -> float:
    """Of one forward and backward pass, gradients of x and of all weights included."""
    start = time.perf_counter()
    for _ in range(calls):
        attention(x).sum().backward()
    return (time.perf_counter() - start) / calls


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--calls", type=int, default=20, help="passes of each in a round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = preset("cpu")
    sizes = config.gpt_config(vocab_size=65)
    x = torch.randn(config.batch_size, config.block_size, config.n_embd, requires_grad=True)
    attentions = {"without": FusedMultiHeadAttention(sizes), "with RoPE": RotaryAttention(sizes)}
    times = {name: [] for name in attentions}
    for attention in attentions.values():
        seconds(attention, x, 5)  # warm
    for round_ in range(options.rounds):
        for name in list(attentions)[:: 1 if round_ % 2 else -1]:
            times[name].append(seconds(attentions[name], x, options.calls))
    medians = {name: statistics.median(of_name) for name, of_name in times.items()}
    for name, median in medians.items():
        print(f"{name:<10}{1000 * median:>8.3f} ms forward and backward")
    print(f"ratio {medians['with RoPE'] / medians['without']:.3f}")


if __name__ == "__main__":
    main()
