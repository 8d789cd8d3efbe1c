"""The catalogue of known mistakes of weight tying: each a patch on solutions/more/tying.py."""

from tests.exercises import Mistake

_TIE = "self.lm_head.weight = self.token_embedding_table.weight  # the Parameter itself, not its numbers"
_TIED = _TIE.partition("  #")[0]
_TORCH = ("from gpt_core import GPT", "import torch\n\nfrom gpt_core import GPT")
_SUPER = "super().__init__(config, **parts)"
_LOGITS = "\n\n    def logits(self, idx):\n        "

MISTAKES = (
    Mistake(
        "copied_once", "the numbers are copied once",
        "Both matrices begin alike and are two Parameters: the first update takes them apart. Assign the "
        "Parameter.",
        ((_TIE, "self.lm_head.weight.data.copy_(self.token_embedding_table.weight.data)"),),
    ),
    Mistake(
        "data_shared", "two Parameters over one memory",
        "You share .data. Each Parameter has its own gradient, an optimizer changes the numbers twice, and "
        "deepcopy and .to() take them apart.",
        ((_TIE, "self.lm_head.weight.data = self.token_embedding_table.weight.data"),),
    ),
    Mistake(
        "not_tied", "nothing is tied",
        "lm_head.weight is still a matrix of its own.",
        ((_TIE, "pass"),),
    ),
    Mistake(
        "embeddings_initialisation", "the shared matrix is initialised as nn.Embedding does it",
        "Standard normal numbers give rows of length sqrt(C). As output weights they make logits of that "
        "size.",
        ((_TIE, f"{_TIED}\n        self.token_embedding_table.reset_parameters()"),),
    ),
    Mistake(
        "bias_lost", "the head has lost its bias",
        "Your new head has no bias. A GPT's has one, and a character's frequency is learned there.",
        (_TORCH, (_TIE, "self.lm_head = torch.nn.Linear(config.n_embd, config.vocab_size, bias=False)\n"
                        f"        {_TIED}")),
    ),
    Mistake(
        "logits_divided", "the logits are divided by sqrt(C)",
        "That makes the first loss small and is another function: the head's bias is divided too. Choose the "
        "initial weights instead.",
        ((_TIE, f"{_TIED}{_LOGITS}return super().logits(idx) / self.config.n_embd**0.5"),),
    ),
    Mistake(
        "embedding_multiplied", "the embedding is multiplied by sqrt(C)",
        "The first transformer did so. Here it is another function of the same weights than GPT's.",
        ((_TIE, f"{_TIED}\n\n    def embed(self, idx, first=0):\n        tokens = "
                "self.token_embedding_table(idx)\n        more = self.config.n_embd**0.5 - 1\n        "
                "return super().embed(idx, first) + more * tokens"),),
    ),
    Mistake(
        "head_detached", "the head carries no gradient to the matrix",
        "You detach the matrix where the logits are computed, so it learns from reading alone.",
        ((_TIE, f"{_TIED}{_LOGITS}return self.body(self.embed(idx)) @ self.lm_head.weight.detach().T + "
                "self.lm_head.bias"),),
    ),
    Mistake(
        "embedding_detached", "the embedding carries no gradient to the matrix",
        "You detach what was looked up, so the matrix learns from the logits alone, and the position table "
        "not at all.",
        ((_TIE, f"{_TIED}{_LOGITS}return self.lm_head(self.body(self.embed(idx).detach()))"),),
    ),
    Mistake(
        "parts_lost", "GPT's further arguments are not passed on",
        "Your class takes attention, norm, feed_forward and position_embedding and builds the workbook's "
        "parts all the same.",
        ((_SUPER, "super().__init__(config)"),),
    ),
    Mistake(
        "dropout_lost", "the config loses its dropout",
        "Your model is built from another config, in which dropout is 0: it overfits sooner than a GPT.",
        ((_SUPER, "super().__init__(type(config)(**vars(config) | {'dropout': 0.0}), **parts)"),),
    ),
    Mistake(
        "only_three_parts", "position_embedding is not passed on",
        "With position_embedding=False your model still has a position table.",
        ((_SUPER, "parts.pop('position_embedding', None)\n        super().__init__(config, **parts)"),),
    ),
    Mistake(
        "kept_on_the_class", "the matrix is kept on the class",
        "Every model of the same sizes shares one matrix: training one trains all.",
        (("class TiedGPT(GPT):", "SHARED = {}\n\n\nclass TiedGPT(GPT):"),
         (_TIE, "self.token_embedding_table.weight = SHARED.setdefault(\n            (config.vocab_size, "
                f"config.n_embd), self.token_embedding_table.weight\n        )\n        {_TIED}")),
        keeps=True,
    ),
    Mistake(
        "norm_left_out", "the last norm is left out",
        "You compute the logits yourself and forget ln_f, which body(x) ends with.",
        ((_TIE, f"{_TIED}{_LOGITS}return self.lm_head(self.blocks(self.embed(idx)))"),),
    ),
    Mistake(
        "bias_not_used", "the bias is there and not added",
        "You compute the logits as x @ weight.T, without lm_head.bias.",
        ((_TIE, f"{_TIED}{_LOGITS}return self.body(self.embed(idx)) @ self.lm_head.weight.T"),),
    ),
    Mistake(
        "tied_anew_in_forward", "the matrices are tied in forward, and not when the model is built",
        "A model that is built has two Parameters then, which an optimizer or a state_dict finds before the "
        "first call. Tie them once, in __init__.",
        ((_TIE, f"pass{_LOGITS}self.lm_head.weight.data.copy_(self.token_embedding_table.weight.data)\n"
                 "        return super().logits(idx)"),),
    ),
    Mistake(
        "frozen", "the shared matrix is frozen",
        "requires_grad is False for the matrix, so neither use teaches it anything.",
        ((_TIE, f"{_TIED}\n        self.lm_head.weight.requires_grad_(False)"),),
    ),
)  # fmt: skip
