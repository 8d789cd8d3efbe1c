"""Sliding-window attention: each token sees the last few tokens, and no others.

In a long text most of a token's weight lies on its neighbours. Beltagy et al. (2020, arXiv 2004.05150, the
Longformer) let it see those alone: T * window scores in place of T * T. A stack of such layers still reaches
far: what a token sees has seen tokens before it, so that L layers reach L * (window - 1) tokens back. Mistral
has it and, in some of their layers, Gemma and gpt-oss.

The contract (`python grade.py window` checks every line of it):

  SlidingWindowAttention(config, window=64)     config is a gpt_core.GPTConfig, window any int of at least 1
    ValueError, when it is built, for a window of less than 1
    exercise 1's contract: qkv.weight (3 C, C) (queries, keys, values, head after head), proj.weight (C, C),
    proj.bias (C,); forward(x): (B, T, C) -> (B, T, C) for any T <= block_size; causal; dropout on the
    attention weights and on the output; no loop over the heads; x is not changed
    but token t sees only the tokens t - window + 1 to t: `window` of them, itself counted, and fewer where
    the text has not that many
    so with a window of T or more it is exercise 1's attention, and with a window of 1 it is proj(v)

The paper's w counts both sides: there a token sees w / 2 tokens before itself and w / 2 after. Here nothing
after the token is seen, and window counts the token itself: with the paper's w it would be w / 2 + 1.

A worked example. window = 3 and T = 5; rows are queries, columns are keys:

      1 0 0 0 0
      1 1 0 0 0
      1 1 1 0 0
      0 1 1 1 0
      0 0 1 1 1

A mask is all that is asked for. With it the scores are computed and then thrown away, so nothing is faster
yet: that takes a kernel which leaves them out.

The question: does it improve your GPT, or cost little? `python exercises/more/window.py` trains the baseline
and the same model with your attention (`--preset`, `--seeds`, `--steps`), and says what that shows. It takes
Window16 below, since the preset's texts have 64 tokens: the default window would hide nothing.
"""

import torch
import torch.nn as nn


class SlidingWindowAttention(nn.Module):
    """Causal self-attention over the last `window` tokens: (B, T, C) -> (B, T, C)."""

    def __init__(self, config, window: int = 64):
        super().__init__()
        raise NotImplementedError("exercise window: create what exercise 1's attention has, and the mask")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("exercise window: attend to the last tokens")


class Window16(SlidingWindowAttention):
    """The attention of the experiment; it stays as it is."""

    def __init__(self, config):
        super().__init__(config, window=16)


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--attention", "exercises.more.window:Window16"]))
