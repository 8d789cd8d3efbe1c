"""Parts of the model by name: "module:Class" to a factory, a TrainConfig to a model.

This is how an attention that you wrote becomes part of the real model:
`--attention exercises.ex1_fused_attention:FusedMultiHeadAttention`.
"""

import hashlib
import importlib
import inspect
from pathlib import Path

import torch
import torch.nn as nn

from gpt_core.layers import Factory
from gpt_core.models import GPT, BigramLM, LanguageModel, MultiHeadLM, SingleHeadLM, TransformerLM
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trial import first_line, line_in, try_part

_RUNG = {
    "bigram": BigramLM,
    "single-head": SingleHeadLM,
    "multi-head": MultiHeadLM,
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
    except (Exception, SystemExit) as error:  # a learner's module can fail to import in any way there is
        way = (
            _way_to(module_name)
            if isinstance(error, ModuleNotFoundError) and error.name in module_name
            else ""
        )
        raise ValueError(f"{module_name} cannot be imported: {first_line(error)}{way}") from error
    part = getattr(module, class_name, None)
    if not (isinstance(part, type) and issubclass(part, nn.Module)):
        found = "nothing of that name" if part is None else "something that is no torch.nn.Module class"
        raise ValueError(f"{spec!r}: {module_name} has {found}; name a class that is a torch.nn.Module.")
    return part


def build_model(config: TrainConfig, vocab_size: int) -> LanguageModel:
    """The model of a run, on the CPU in float32, drawn from torch's global generator.

    A part of your own is tried first (trial.py). Raises ValueError, naming the part and what is wrong with
    it."""
    sizes = config.gpt_config(vocab_size)
    if config.model != "gpt":
        return _RUNG[config.model](sizes)
    parts = {}
    for name, spec in config.own_parts().items():
        parts[name] = load_part(spec)
        with torch.random.fork_rng(devices=[]):  # a trial must not move the seed's numbers
            try_part(spec, parts[name], sizes)
    return GPT(sizes, position_embedding=config.position_embedding, **parts)


def failure_in_part(config: TrainConfig, error: Exception) -> str | None:
    """Which part of your own failed, and in which line; None for an error that arose elsewhere."""
    for spec in config.own_parts().values():
        if line := line_in(load_part(spec), error):
            return f"{spec} fails: {first_line(error)}{line}."
    return None


def source_digests(config: TrainConfig) -> dict[str, str]:
    """The sha256 of the file of each part of your own, by the part's name. ValueError where one cannot be
    imported."""
    sources = {part: Path(inspect.getfile(load_part(spec))) for part, spec in config.own_parts().items()}
    return {part: hashlib.sha256(source.read_bytes()).hexdigest() for part, source in sources.items()}


def _way_to(module_name: str) -> str:
    """What to do where there is no such module."""
    if "/" in module_name or module_name.endswith(".py"):
        return "; write it with dots: " + module_name.removesuffix(".py").strip("./").replace("/", ".")
    return f"; {module_name.replace('.', '/')}.py was looked for in {Path.cwd()}"
