"""How many times faster an attention is than the lecture's loop over its heads.

`python exercises/ex1_fused_attention.py` ends up here.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from gpt_core.config import GPTConfig
from gpt_core.layers import MultiHeadAttention

B, T, C = 4, 32, 64  # small, so that the number of operations counts more than their size
HEADS = (2, 8, 32)
ROUNDS = 30


def seconds(attention: nn.Module, x: torch.Tensor) -> float:
    """The time of one forward and one backward pass; x: (B, T, C)."""
    if x.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    attention(x).sum().backward()
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compared(attention: Callable, n_head: int, device: str) -> tuple[float, float]:
    """Seconds of the loop and of `attention` (it takes a GPTConfig), medians of rounds that take turns."""
    config = GPTConfig(vocab_size=2, block_size=T, n_head=n_head, n_embd=C, dropout=0.0)
    loop, other = MultiHeadAttention(config).to(device), attention(config).to(device)
    x = torch.randn(B, T, C, device=device)
    times = [(seconds(loop, x), seconds(other, x)) for _ in range(ROUNDS)]
    first, second = zip(*times[ROUNDS // 3 :])  # the first rounds warm up
    return statistics.median(first), statistics.median(second)


def main(attention: Callable) -> None:
    """Measure `attention` against the loop, with more and more heads of the same width, and print."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)  # of such small tensors a second thread only waits for the first
    print(f"forward and backward of a batch ({B}, {T}, {C}) on {device}")
    try:
        for n_head in HEADS:
            loop, other = compared(attention, n_head, device)
            print(
                f"{n_head:4} heads: the loop {1e3 * loop:7.2f} ms, yours {1e3 * other:7.2f} ms: "
                f"{loop / other:.1f} times as fast"
            )
    except NotImplementedError as error:
        print(f"Not written yet: {error}")
        raise SystemExit(1) from None
