"""QK-norm: queries and keys of a bounded length.

Nothing bounds the scores of attention. In long training runs queries and keys may grow until one key takes
all the weight, the softmax passes no gradient on, and the loss jumps. Dehghani et al. (2023, arXiv
2302.05442) trained 22 billion parameters without that by a norm on q and k. The norm of most models since
then is RMSNorm, over the channels of each head. Henry et al. (2020, arXiv 2010.04245) had the idea first,
with a learned scale in place of 1 / sqrt(D): here the scale stays.

The contract (`python grade.py qknorm` checks every line of it):

  QKNormAttention(config)               config is a gpt_core.GPTConfig; C = n_embd, H = n_head, D = C / H
    exercise 1's contract: qkv.weight (3 C, C) (queries, keys, values, head after head), proj.weight (C, C),
    proj.bias (C,); forward(x): (B, T, C) -> (B, T, C) for any T <= block_size; causal; dropout on the
    attention weights and on the output; no loop over the heads; x is not changed
    and two more parameters, q_norm.weight (D,) and k_norm.weight (D,), which begin as ones and which all
    heads share
    before the dot product, for each head of each token:
      q becomes q_norm.weight * q / sqrt(mean(q ** 2) + 1e-6), the mean over the D channels
      k likewise, with k_norm.weight; v stays as it is
      computed in float32 at least: in float16 the square of 300 is infinite already
      whether you go back to x's dtype before you multiply with the weight, or after, is up to you
    then the usual softmax(q k^T / sqrt(D)) v

A worked example. D = 2, both weights ones, q = [3, 4], k = [1, 0]. The mean of q ** 2 is 12.5, so q becomes
[0.849, 1.131]; that of k ** 2 is 0.5, so k becomes [1.414, 0]. The score is 0.849 * 1.414 / sqrt(2) = 0.849.
With q = [300, 400] it is the same. No score is larger than sqrt(2) now, whatever q and k are.

The question: does it improve your GPT? `python exercises/more/qknorm.py` trains the baseline and the same
model with your attention (`--preset`, `--seeds`, `--steps`), and says what that shows.
"""

import torch
import torch.nn as nn


class QKNormAttention(nn.Module):
    """Causal self-attention with normed queries and keys: (B, T, C) -> (B, T, C)."""

    def __init__(self, config):
        super().__init__()
        raise NotImplementedError(
            "exercise qknorm: create what exercise 1's attention has, q_norm and k_norm"
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("exercise qknorm: attend, with queries and keys normed")


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--attention", "exercises.more.qknorm:QKNormAttention"]))
