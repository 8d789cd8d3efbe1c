"""The KV cache: what makes a GPT write fast.

To write a token, the lecture's `generate` runs the whole text through the model, and throws all outputs away
but the last. The next token does it again. Yet the key and the value of a token depend on nothing that comes
after it: they are the same in every step. Keep them, and a step computes one token (Shazeer 2019, arXiv
1911.02150, section 2.4: incremental decoding). Every GPT that talks to you does.

The contract (`python grade.py kvcache` checks every line of it):

  CachedAttention(config)                  config is a gpt_core.GPTConfig, C = config.n_embd
    parameters and forward(x) are exercise 1's: qkv.weight (3C, C), proj.weight (C, C), proj.bias (C,);
      any T <= block_size, dropout in the same two places, no Python loop over the heads
    new_cache() gives an empty cache, an object of any kind that you like: nobody looks inside
    forward_cached(x, cache): (B, T_new, C) -> (B, T_new, C), in x's dtype and on x's device
      x are the tokens that follow those in the cache; it gives their outputs, and adds them to the cache
      however a text is cut into chunks of one token or more, together they give what forward gives
      one new token computes its own query, key and value, and no old one's; no old query's row again
      more than block_size tokens in all: ValueError, and then the same cache goes on as before
    each cache is a text of its own: two of one module never mix
    what may be left open: forward_cached in train mode, or with gradients; a cache of before the weights,
      the batch size, the dtype or the device changed
    GPT(config, attention=CachedAttention) generates with it (gpt_core/kv_cache.py calls your two methods),
      and writes the very tokens that it writes without

A worked example. Of five tokens three are in the cache, and two come. They have two queries, and five keys
to look at, so the scores are (B, H, 2, 5). Which of them must be masked?

      1 1 1 1 0        token 3 sees the tokens 0 to 3
      1 1 1 1 1        token 4 sees them all

Start with the whole text in one chunk, then go on token by token, then with chunks of two.

The question: how many times faster does your GPT write, and what does the cache weigh?
`python exercises/more/kvcache.py` measures both, for longer and longer texts.
"""

import torch
import torch.nn as nn


class CachedAttention(nn.Module):
    """Causal self-attention that can go on where it stopped: (B, T, C) -> (B, T, C)."""

    def __init__(self, config):
        super().__init__()
        raise NotImplementedError("exercise kvcache: begin with your attention of exercise 1")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("exercise kvcache: attend with all heads at once")

    def new_cache(self):
        """An empty cache, for one batch of texts."""
        raise NotImplementedError("exercise kvcache: what must be kept of the tokens so far?")

    def forward_cached(self, x: torch.Tensor, cache) -> torch.Tensor:
        """The outputs of the tokens that follow those in `cache`, to which they are added."""
        raise NotImplementedError("exercise kvcache: attend to the tokens in the cache and to the new ones")


if __name__ == "__main__":
    from gpt_core.experiments.generation import with_and_without_cache

    raise SystemExit(with_and_without_cache(CachedAttention))
