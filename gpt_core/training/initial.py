"""Begin a run with the weights of another one, in place of random ones: --init-from RUN.

Only weights are taken: the new run has a step, a schedule, averages and batches of its own. That is the
difference to --resume, which goes on with the same run.
"""

from pathlib import Path

import torch

from gpt_core.models import LanguageModel
from gpt_core.tokenizer import CharTokenizer
from gpt_core.training.plugins import load_attribute
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trained import TrainedModel, load_trained
from gpt_core.training.trial import first_line, line_in

TRANSFER = "exercises.ex3_pretrain_finetune:transfer_weights"


def initialise(model: LanguageModel, tokenizer: CharTokenizer, config: TrainConfig) -> str:
    """Write the weights of `config.init_from`, its best ones, into a model on the CPU; what was done, in a
    sentence.

    With `config.transfer` your own function of exercise 3 carries them over. Without it, both vocabularies
    must be the same, and so must the shape of each weight.

    Raises checkpoint.CheckpointError where there is no such run, ValueError where its weights do not fit.
    """
    source = load_trained(Path(config.init_from))
    begun = f"The weights are those of {config.init_from} after step {source.step}"
    if config.transfer:
        unknown = _transferred(source, model, tokenizer, config)
        return f"{begun}, carried over by {config.transfer}" + _fresh(unknown)
    if source.tokenizer.chars != tokenizer.chars:
        raise ValueError(_other_vocabulary(source, tokenizer, config))
    weights = source.model.state_dict()
    _check_shapes(weights, model, config)
    model.load_state_dict(weights)
    return begun + "."


def _transferred(source: TrainedModel, model, tokenizer, config: TrainConfig) -> list[str]:
    """The characters that the function of exercise 3 says are new."""
    function = load_attribute(config.transfer)
    if not callable(function) or isinstance(function, type):
        raise ValueError(f"{config.transfer} is no function; name one such as {TRANSFER}.")
    try:
        unknown = function(source.model, source.tokenizer, model, tokenizer)
    except (Exception, SystemExit) as error:  # a function of a learner's own
        raise ValueError(
            f"{config.transfer} fails: {first_line(error)}{line_in(function, error)}."
        ) from error
    given = isinstance(unknown, (list, tuple)) and all(isinstance(char, str) for char in unknown)
    return list(unknown) if given else []


def _fresh(unknown: list[str]) -> str:
    if not unknown:
        return "."
    shown = ", ".join(repr(char) for char in unknown[:5]) + (" .." if len(unknown) > 5 else "")
    return f"; {len(unknown)} characters are new ({shown}), and begin with random weights."


def _other_vocabulary(source: TrainedModel, tokenizer: CharTokenizer, config: TrainConfig) -> str:
    new = [char for char in tokenizer.chars if char not in source.tokenizer.chars]
    differs = f"{config.corpus} has characters that it does not know ({''.join(new[:5])!r})"
    if not new:
        differs = f"it knows characters that {config.corpus} does not have"
    return (
        f"{config.init_from} has another vocabulary: {differs}. Your function of exercise 3 carries the "
        f"weights over: --transfer {TRANSFER}."
    )


def _check_shapes(weights: dict[str, torch.Tensor], model: LanguageModel, config: TrainConfig) -> None:
    """ValueError for the first weight that one of both models does not have, or has in another shape."""
    own = model.state_dict()
    parameters = dict.fromkeys(name for name, _ in model.named_parameters())
    for name in {**parameters, **own, **weights}:  # a parameter says more than a buffer
        there, here = (tuple(of[name].shape) if name in of else None for of in (weights, own))
        if there != here:
            raise ValueError(
                f"the weights of {config.init_from} do not fit this model: {name} is {there or 'missing'} "
                f"there and {here or 'missing'} here; begin with the same sizes and "
                f"parts."
            )
