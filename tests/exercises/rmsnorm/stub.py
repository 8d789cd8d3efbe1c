"""RMSNorm: a norm without a mean.

LayerNorm takes the mean off each token's channels, divides by their standard deviation, and adds a bias.
Zhang & Sennrich (2019, arXiv 1910.07467) found that dividing by the root mean square alone does as well.
Llama and most models since then leave the rest out: one reduction less in every norm, twice a block.

The contract (`python grade.py rmsnorm` checks every line of it):

  RMSNorm(config)                       config is a gpt_core.GPTConfig, C = config.n_embd
    its one parameter is weight (C,), which begins as ones
    forward(x): (B, T, C) -> (B, T, C), in x's dtype and on x's device; x is not changed
      weight * x / sqrt(mean(x ** 2) + 1e-5), the mean over the C channels of each token
      computed in float32 at least: in float16 the square of 300 is infinite already
      whether you go back to x's dtype before you multiply with weight, or after, is up to you

A worked example. C = 2, x = [3, 4], weight = [1, 1]: the mean of the squares is 12.5, so the output is
[0.849, 1.131].

The question: does it improve your GPT? `python exercises/more/rmsnorm.py` trains the baseline and the same
model with your norm (`--preset`, `--seeds`, `--steps`), and says what that shows.
"""

import torch
import torch.nn as nn


class RMSNorm(nn.Module):
    """Each token divided by the root mean square of its channels: (B, T, C) -> (B, T, C)."""

    def __init__(self, config):
        super().__init__()
        raise NotImplementedError("exercise rmsnorm: create weight")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("exercise rmsnorm: divide by the root mean square")


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--norm", "exercises.more.rmsnorm:RMSNorm"]))
