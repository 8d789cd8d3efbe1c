"""The logits by hand, and the head's weight registered under its second name."""

import torch.nn.functional as F

from gpt_core.models import GPT


class TiedGPT(GPT):
    def __init__(self, config, **kwargs):
        GPT.__init__(self, config, **kwargs)
        shared = self.token_embedding_table.weight
        shared.data.uniform_(-1, 1).mul_(0.3 * config.n_embd**-0.5)
        del self.lm_head.weight
        self.lm_head.register_parameter("weight", shared)

    def logits(self, idx):
        x = self.body(self.embed(idx))
        return F.linear(x, self.token_embedding_table.weight) + self.lm_head.bias
