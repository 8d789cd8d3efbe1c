"""Exercise: RMSNorm, a norm without a mean.

LayerNorm takes the mean off each token's channels, divides by their standard deviation, and adds a bias.
Zhang & Sennrich (2019, arXiv 1910.07467) found that dividing alone does it, and Llama and most models
since leave the rest out: one reduction less in every norm, twice a block.

The contract (`python grade.py mynorm` checks every line of it):

  RMSNorm(config)                       config is a gpt_core.GPTConfig, C = config.n_embd
    its one parameter is weight (C,), which begins as ones
    forward(x): (B, T, C) -> (B, T, C), in x's dtype and on x's device, x unchanged
      x / sqrt(mean(x ** 2) + 1e-5) * weight, the mean over the C channels of each token
      in bfloat16 the squares are summed in float32: their sum has more than 8 bits

A worked example. C = 2, x = [3, 4]: the mean of the squares is 12.5, so the output is [0.849, 1.131].
"""

import torch
import torch.nn as nn


class RMSNorm(nn.Module):
    """Each token divided by the root mean square of its channels: (B, T, C) -> (B, T, C)."""

    def __init__(self, config):
        super().__init__()
        raise NotImplementedError("exercise mynorm: create weight")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("exercise mynorm: divide by the root mean square")
