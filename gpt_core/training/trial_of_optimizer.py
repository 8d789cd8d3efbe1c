"""An optimizer of your own, tried on a tiny model before it trains for minutes.

The mistakes that are looked for here raise no error in training: a rate that does not follow the schedule, a
parameter that nothing trains, a state that a resumed run would begin without.
"""

import copy
import json
from collections.abc import Callable

import torch
import torch.nn as nn

from gpt_core.config import GPTConfig
from gpt_core.models import GPT
from gpt_core.training.optimizer import Optimizers
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trial import explained

SIZES = GPTConfig(vocab_size=7, block_size=6, n_layer=1, n_head=2, n_embd=8, dropout=0.0)
CONFIG = TrainConfig(steps=10)

Build = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
Split = Callable[[nn.Module], tuple[list[nn.Parameter], list[nn.Parameter]]]


def try_optimizer(spec: str, own: type, build: Build, split: Split | None) -> None:
    """Make a few updates with it. spec: its name, for the message; build: makes one of parameters; split: its
    module's split_parameters, where it has one.

    Raises ValueError, one sentence with the line of your file, where it cannot be built or fails; where
    `split` loses a parameter or gives one twice; where it does not follow the rate in its groups, leaves a
    parameter alone that has a gradient, or makes NaN of one; where it goes on differently once its state was
    saved and restored.

    Draws from torch's global generator.
    """
    model = GPT(SIZES)
    one = _Tried(spec, own, build, split, model)
    one.update()
    other = _Tried(spec, own, build, split, copy.deepcopy(model))
    before = [p.detach().clone() for p in one.parameters]
    one.set_rate(0.0)
    one.update()
    if not _equal(one.parameters, before):
        raise ValueError(
            f"{spec} changes parameters while the rate is 0: an update reads lr from its groups, "
            'group["lr"], so that it can follow the schedule.'
        )
    other.take_over(one)
    for each in (one, other):
        each.set_rate(CONFIG.lr)
        torch.manual_seed(1)
        each.update()
    for p, first in zip(one.parameters, before):
        if not p.isfinite().all():
            raise ValueError(f"{spec} makes NaN or inf of a parameter of shape {tuple(p.shape)}.")
        if torch.equal(p, first):
            raise ValueError(
                f"{spec} leaves a parameter of shape {tuple(p.shape)} alone although it has a gradient."
            )
    if not _equal(one.parameters, other.parameters):
        raise ValueError(
            f"{spec} goes on differently after it was saved and resumed: keep what an update needs in "
            "self.state[parameter] or in the group, and nowhere else."
        )


class _Tried:
    """An optimizer of your own over a model's parameters, or over those that `split` gives it."""

    def __init__(self, spec: str, own: type, build: Build, split: Split | None, model: nn.Module):
        self.spec, self.own, self.model = spec, own, model
        self.parameters = list(model.parameters())
        if split:
            self.parameters = self.of_split(split)
        with explained(spec, own, "cannot be built"):
            self.optimizers = Optimizers([build(self.parameters)], CONFIG)

    def of_split(self, split: Split) -> list[nn.Parameter]:
        with explained(self.spec, self.own, "fails in split_parameters"):
            mine, others = split(self.model)
            given = [id(p) for p in (*mine, *others)]
        if sorted(given) != sorted(map(id, self.parameters)):
            raise ValueError(
                f"{self.spec}: split_parameters gives {len(given)} parameters, {len(set(given))} different "
                f"ones, of a model of {len(self.parameters)}; each belongs into one of the two lists, once."
            )
        return list(mine)

    def set_rate(self, lr: float) -> None:
        for group in self.optimizers.each[0].param_groups:
            group["lr"] = lr

    def update(self) -> None:
        for p in self.parameters:
            p.grad = torch.randn_like(p)
        with explained(self.spec, self.own, "fails in step"):
            self.optimizers.step()

    def take_over(self, one: "_Tried") -> None:
        """Its weights and its state, as a checkpoint keeps them."""
        self.model.load_state_dict(one.model.state_dict())
        named = dict(one.model.named_parameters())
        tensors, rest = one.optimizers.state({p: name for name, p in named.items()})
        try:
            rest = json.loads(json.dumps(rest))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.spec} keeps something in its state that cannot be saved ({error}); tensors, numbers "
                "and words can."
            ) from None
        tensors = {key: value.clone() for key, value in tensors.items()}
        self.optimizers.restore(dict(self.model.named_parameters()), tensors, rest)


def _equal(parameters: list[nn.Parameter], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(p, other) for p, other in zip(parameters, others))
