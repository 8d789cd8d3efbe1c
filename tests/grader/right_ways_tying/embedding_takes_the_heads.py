"""As nanoGPT ties it: the embedding takes the head's weight, and is drawn anew afterwards."""

import math

import torch

import gpt_core


class TiedGPT(gpt_core.GPT):
    def __init__(self, config, *, attention=gpt_core.MultiHeadAttention, **others):
        super().__init__(config, attention=attention, **others)
        self.token_embedding_table.weight = self.lm_head.weight
        with torch.no_grad():
            self.token_embedding_table.weight.normal_(0.0, 0.1 / math.sqrt(config.n_embd))
