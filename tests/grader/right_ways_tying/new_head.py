"""A new head and a new embedding around one small Parameter."""

import torch
import torch.nn as nn

from gpt_core import GPT


class TiedGPT(GPT):
    def __init__(self, config, attention=None, norm=None, feed_forward=None, position_embedding=True):
        given = {"attention": attention, "norm": norm, "feed_forward": feed_forward}
        given = {name: part for name, part in given.items() if part is not None}
        super().__init__(config, position_embedding=position_embedding, **given)
        table = nn.Parameter(torch.randn(config.vocab_size, config.n_embd) * 1e-3)
        self.token_embedding_table = nn.Embedding.from_pretrained(table, freeze=False)
        self.token_embedding_table.weight = table
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size)
        self.lm_head.weight = table
        nn.init.zeros_(self.lm_head.bias)
