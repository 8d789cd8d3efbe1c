"""A trained model from its checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import torch

from gpt_core.models import LanguageModel
from gpt_core.tokenizer import CharTokenizer
from gpt_core.training import checkpoint
from gpt_core.training.plugins import build_model
from gpt_core.training.train_config import TrainConfig


@dataclass(frozen=True)
class TrainedModel:
    """model: on the device asked for, in eval mode; step: after how many updates it was saved.

    start: a character that a text can begin with: the line end where the model has it, else the first one of
    its corpus.
    """

    model: LanguageModel
    tokenizer: CharTokenizer
    config: TrainConfig
    step: int
    start: str


def load_trained(
    path: Path, *, name: str = checkpoint.BEST, device: str | torch.device = "cpu"
) -> TrainedModel:
    """The model of a checkpoint: its averaged weights where the run kept them, else its weights.

    path: a checkpoint, or the folder of a run, which means `name` in it. A part of your own that the
    run was given is imported again by its name.

    Raises checkpoint.CheckpointError for a file that is no checkpoint, ValueError where a part
    cannot be imported or no longer has the parameters that were saved.
    """
    path = checkpoint.find(path, name)
    saved = checkpoint.load(path)
    config = TrainConfig(**saved.info["train_config"])
    tokenizer = CharTokenizer(saved.info["tokenizer"])
    model = build_model(config, tokenizer.vocab_size)
    try:
        model.load_state_dict(saved.part("model"))
    except RuntimeError as error:
        raise ValueError(does_not_fit(path, config, error)) from None
    # By parameter, since a state_dict holds one that two modules share under both of their names.
    averages = saved.part("ema")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in averages:
                parameter.copy_(averages[name])
    start = _start(tokenizer, saved.info)
    return TrainedModel(model.to(device).eval(), tokenizer, config, saved.info["step"], start)


def _start(tokenizer: CharTokenizer, info: dict) -> str:
    if "\n" in tokenizer.chars:
        return "\n"
    # A model that was not saved by a training run does not have it.
    return info.get("start") or next(filter(str.isprintable, tokenizer.chars), tokenizer.chars[0])


def does_not_fit(path: Path, config: TrainConfig, error: RuntimeError) -> str:
    """What to say where the parameters of a checkpoint and of the model are not the same ones."""
    return (
        f"the weights in {path} do not fit the model that "
        f"{' and '.join(config.own_classes().values()) or 'the workbook'} builds now "
        f"({str(error).splitlines()[-1].strip()}); put the old source back, or train anew."
    )
