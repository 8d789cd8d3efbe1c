"""SwiGLU: a feed-forward with a gate.

The lecture's feed-forward is two linear layers with a ReLU between. A gated one has a third layer beside the
first: each hidden unit is multiplied with a number that depends on the token too, its gate. Shazeer (2020,
arXiv 2002.05202, eq. 6) tried several, and the one with silu(z) = z * sigmoid(z) did best or nearly so.
Llama and most models since then have it. Three matrices in place of two: so that the number of parameters
stays what it was, the hidden layer has about 8 C / 3 units in place of 4 C.

The contract (`python grade.py swiglu` checks every line of it):

  hidden_size(n_embd) -> int            the smallest multiple of 8 that is at least 8 n_embd / 3

  SwiGLU(config)                        config is a gpt_core.GPTConfig; C = config.n_embd, F = hidden_size(C)
    its parameters are gate.weight (F, C), up.weight (F, C) and down.weight (C, F); no biases
    forward(x): (B, T, C) -> (B, T, C), in x's dtype and on x's device; x is not changed
      dropout(down(silu(gate(x)) * up(x)))
      dropout with the probability config.dropout, in train mode alone

A worked example. hidden_size(12) = 32 and hidden_size(13) = 40: 8 * 13 / 3 = 34.7, and the next multiple of
8 is 40. A hidden unit whose gate(x) is 2 and whose up(x) is 3: silu(2) = 2 * 0.8808 = 1.7616, so it is 5.285.

The question: does it improve your GPT? `python exercises/more/swiglu.py` trains the baseline and the same
model with your feed-forward (`--preset`, `--seeds`, `--steps`), and says what that shows.
"""

import torch
import torch.nn as nn


def hidden_size(n_embd: int) -> int:
    """F: the smallest multiple of 8 that is at least 8 n_embd / 3."""
    raise NotImplementedError("exercise swiglu: work out the hidden size")


class SwiGLU(nn.Module):
    """A feed-forward with a gate, applied to each token alone: (B, T, C) -> (B, T, C)."""

    def __init__(self, config):
        super().__init__()
        raise NotImplementedError("exercise swiglu: create gate, up and down")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("exercise swiglu: multiply the gate with what it lets through")


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--feed-forward", "exercises.more.swiglu:SwiGLU"]))
