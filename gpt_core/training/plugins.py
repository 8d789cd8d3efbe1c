"""Classes of your own by name: "module:Class" to a class, a TrainConfig to a model and its optimizers.

This is how an attention that you wrote becomes part of the real model:
`--attention exercises.ex1_fused_attention:FusedMultiHeadAttention`. A GPT and an optimizer of your own come
in the same way: `--model exercises.more.tying:TiedGPT`, `--optimizer exercises.more.muon:Muon`.
"""

import hashlib
import importlib
import inspect
import sys
from pathlib import Path

import torch
import torch.nn as nn

from gpt_core.models import GPT, BigramLM, LanguageModel, MultiHeadLM, SingleHeadLM, TransformerLM
from gpt_core.training.optimizer import Optimizers, adamw
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trial import explained, first_line, line_in, try_model, try_part
from gpt_core.training.trial_of_optimizer import try_optimizer

_RUNG = {
    "bigram": BigramLM,
    "single-head": SingleHeadLM,
    "multi-head": MultiHeadLM,
    "transformer": TransformerLM,
}
_KINDS = {nn.Module: "torch.nn.Module", GPT: "gpt_core.GPT", torch.optim.Optimizer: "torch.optim.Optimizer"}


def load_class(spec: str, kind: type = nn.Module) -> type:
    """The class that "module:Class" names, a subclass of `kind`.

    Raises ValueError, saying what is missing, where there is no such module or class.
    """
    part = load_attribute(spec)
    if not (isinstance(part, type) and issubclass(part, kind)):
        wanted = _KINDS[kind]
        found = "nothing of that name" if part is None else f"something that is no {wanted} class"
        module_name = spec.partition(":")[0]
        raise ValueError(f"{spec!r}: {module_name} has {found}; name a class that is a {wanted}.")
    return part


def load_attribute(spec: str):
    """What "module:Name" names; None where the module has nothing of that name.

    Raises ValueError where there is no such module, or it cannot be imported.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
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
    return getattr(module, name, None)


def build_model(config: TrainConfig, vocab_size: int) -> LanguageModel:
    """The model of a run, on the CPU in float32, drawn from torch's global generator.

    A part of your own is tried first (trial.py). Raises ValueError, naming the part and what is wrong with
    it."""
    sizes = config.gpt_config(vocab_size)
    if config.model in _RUNG:
        return _RUNG[config.model](sizes)
    parts = {}
    for name, spec in config.own_parts().items():
        parts[name] = load_class(spec)
        with torch.random.fork_rng(devices=[]):  # a trial must not move the seed's numbers
            try_part(spec, parts[name], sizes)
    if config.model == "gpt":
        return GPT(sizes, position_embedding=config.position_embedding, **parts)
    own = load_class(config.model, GPT)
    with explained(config.model, own, "cannot be built", "; it takes the arguments of gpt_core.GPT"):
        model = own(sizes, position_embedding=config.position_embedding, **parts)
    with torch.random.fork_rng(devices=[]):
        try_model(config.model, model)
    return model


def build_optimizers(model: nn.Module, config: TrainConfig) -> Optimizers:
    """AdamW for all parameters of the model; or your own optimizer, and AdamW for what it leaves.

    Your own is tried first (trial_of_optimizer.py). Raises ValueError, naming it and what is wrong with it.
    """
    if not config.optimizer:
        return Optimizers([adamw(list(model.parameters()), config)], config)
    own = load_class(config.optimizer, torch.optim.Optimizer)
    split = getattr(sys.modules[config.optimizer.partition(":")[0]], "split_parameters", None)
    rate = {"lr": config.optimizer_lr} if config.optimizer_lr else {}
    with torch.random.fork_rng(devices=[]):
        try_optimizer(config.optimizer, own, lambda parameters: own(parameters, **rate), split)
    with explained(config.optimizer, own, "cannot be built"):
        mine, others = split(model) if split else (list(model.parameters()), [])
        each = [own([p for p in mine if p.requires_grad], **rate)]
    if any(p.requires_grad for p in others):
        each.append(adamw(others, config))
    return Optimizers(each, config)


def failure_in_part(config: TrainConfig, error: Exception) -> str | None:
    """Which part of your own failed, and in which line; None for an error that arose elsewhere."""
    for field, spec in config.own_classes().items():
        if line := line_in(_class_of(field, spec), error):
            return f"{spec} fails: {first_line(error)}{line}."
    return None


def source_digests(config: TrainConfig) -> dict[str, str]:
    """The sha256 of the file of each class of your own, by the name of its field. ValueError where one cannot
    be imported."""
    own = config.own_classes().items()
    sources = {field: Path(inspect.getfile(_class_of(field, spec))) for field, spec in own}
    return {field: hashlib.sha256(source.read_bytes()).hexdigest() for field, source in sources.items()}


def _class_of(field: str, spec: str) -> type:
    return load_class(spec, {"model": GPT, "optimizer": torch.optim.Optimizer}.get(field, nn.Module))


def _way_to(module_name: str) -> str:
    """What to do where there is no such module."""
    if "/" in module_name or module_name.endswith(".py"):
        return "; write it with dots: " + module_name.removesuffix(".py").strip("./").replace("/", ".")
    return f"; {module_name.replace('.', '/')}.py was looked for in {Path.cwd()}"
