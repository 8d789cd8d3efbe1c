"""Parts of the model by name: "module:Class" to a factory, a TrainConfig to a model.

This is how an attention that you wrote becomes part of the real model:
`--attention exercises.ex1_fused_attention:FusedMultiHeadAttention`.
"""

import importlib

import torch
import torch.nn as nn

from gpt_core.config import GPTConfig
from gpt_core.layers import Factory
from gpt_core.models import GPT, BigramLM, LanguageModel, MultiHeadLM, SingleHeadLM, TransformerLM
from gpt_core.train_config import TrainConfig

_RUNG = {
    "bigram": BigramLM, "single-head": SingleHeadLM, "multi-head": MultiHeadLM,
    "transformer": TransformerLM,
}


def load_part(spec: str) -> Factory:
    """The class that "module:Class" names: a torch.nn.Module to be built from a GPTConfig.

    Raises ValueError, saying what is missing, where there is no such module or class.
    """
    module_name, _, class_name = spec.partition(":")
    if not module_name or not class_name:
        raise ValueError(f"{spec!r} does not name a part; write it as module:Class.")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a learner's module can fail to import in any way there is
        missing = isinstance(error, ModuleNotFoundError) and error.name == module_name.split(".")[0]
        way = "; yours of exercise 1 is exercises.ex1_fused_attention:FusedMultiHeadAttention" if missing else ""
        raise ValueError(f"{module_name} cannot be imported: {_first_line(error)}{way}") from error
    part = getattr(module, class_name, None)
    if not (isinstance(part, type) and issubclass(part, nn.Module)):
        found = "nothing of that name" if part is None else "something that is no torch.nn.Module class"
        raise ValueError(f"{spec!r}: {module_name} has {found}; name a class that is a torch.nn.Module.")
    return part


def build_model(config: TrainConfig, vocab_size: int) -> LanguageModel:
    """The model of a run, on the CPU in float32, drawn from torch's global generator.

    A part of your own is tried on one small batch first. Raises ValueError, naming the part, where
    it cannot be built, is not written yet, or does not give (B, T, C) for (B, T, C).
    """
    sizes = config.gpt_config(vocab_size)
    if config.model != "gpt":
        return _RUNG[config.model](sizes)
    parts = {}
    for name in ("attention", "norm", "feed_forward"):
        if spec := getattr(config, name):
            parts[name] = load_part(spec)
            with torch.random.fork_rng(devices=[]):  # a trial must not move the seed's numbers
                _try_part(spec, parts[name], sizes)
    return GPT(sizes, position_embedding=config.position_embedding, **parts)


def _try_part(spec: str, factory: Factory, sizes: GPTConfig) -> None:
    x = torch.randn(2, min(sizes.block_size, 3), sizes.n_embd)
    try:
        out = factory(sizes)(x)
    except NotImplementedError as error:
        raise ValueError(f"{spec} is not written yet: {_first_line(error)}") from error
    except Exception as error:
        raise ValueError(f"{spec} fails on an input of shape {tuple(x.shape)}: {_first_line(error)}") from error
    if not isinstance(out, torch.Tensor) or out.shape != x.shape:
        got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise ValueError(f"{spec} turns {tuple(x.shape)} into {got}; a part keeps the shape (B, T, C).")


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
