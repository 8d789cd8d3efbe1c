"""The weights of GPT, made shorter after they were tied."""

from torch import no_grad

from gpt_core import GPT


class TiedGPT(GPT):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.tie_weights()
        with no_grad():
            self.get_output_embeddings().mul_(8 / self.config.n_embd)

    def tie_weights(self):
        self.lm_head.weight = self.token_embedding_table.weight

    def get_output_embeddings(self):
        return self.lm_head.weight
