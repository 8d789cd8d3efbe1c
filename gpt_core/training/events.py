"""What a training run reports as it goes: one object for each thing that happened."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Started:
    """A run begins, or goes on after `step`."""

    step: int
    steps: int
    parameters: int
    vocab_size: int
    train_tokens: int
    val_tokens: int
    device: str
    precision: str
    threads: int
    processes: int
    tokens_per_step: int
    optimizer: str


@dataclass(frozen=True)
class Updated:
    """Updates were made; `loss` is the mean over those since the last report, in nats."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    tokens_per_second: float
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """val_loss is exhaustive, the sampled ones are the lecture's estimate; all in nats."""

    step: int
    val_loss: float
    sampled_val_loss: float
    sampled_train_loss: float
    seconds: float
    is_best: bool


@dataclass(frozen=True)
class Notice:
    """Something a user should know, in one sentence."""

    text: str


@dataclass(frozen=True)
class Result:
    """How a run ended: step < steps where it was told to stop."""

    step: int
    finished: bool
    val_loss: float | None
    best_step: int | None
    best_val_loss: float | None
    seconds: float


class TrainingFailed(RuntimeError):
    """The loss or its gradient is no longer a number; the message says at which step."""


Report = Callable[[object], None]  # takes any of the above


def ignore(event: object) -> None:
    """A report that does nothing."""
