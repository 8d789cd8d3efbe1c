"""The working baseline: the lecture's GPT, from bigram to transformer, written to be read beside it.

Start with `layers.py` (one head, many heads, a block), then `models.py` (the ladder of models), `batches.py`
and `evaluation.py` (what it is trained and measured on), `sampling.py` (from logits to text) and
`kv_cache.py`. The training loop is `training/trainer.py`, with all that a run needs beside it; `experiments/`
compares runs, `pictures/` draws them. The commands are `train.py`, `sample.py`, `attention.py`, `plot.py` and
`experiment.py`.
"""

import sys

if sys.argv[:1] == ["-m"]:  # a command is on its way, such as `python -m gpt_core.train`
    from gpt_core.training.interrupt import imports_begin

    imports_begin()

from gpt_core.config import GPTConfig
from gpt_core.layers import Block, FeedForward, Head, MultiHeadAttention
from gpt_core.models import GPT, BigramLM, MultiHeadLM, SingleHeadLM, TransformerLM
from gpt_core.tokenizer import CharTokenizer

__all__ = [
    "GPTConfig",
    "CharTokenizer",
    "Head",
    "MultiHeadAttention",
    "FeedForward",
    "Block",
    "BigramLM",
    "SingleHeadLM",
    "MultiHeadLM",
    "TransformerLM",
    "GPT",
]
