"""The forward pass that the loop calls: the model in its precision, compiled or spread over processes where
the configuration asks for it."""

import contextlib
import inspect

import torch
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel

from gpt_core.training.device import generators_kept
from gpt_core.training.distributed import World
from gpt_core.training.events import Notice, Report
from gpt_core.training.train_config import TrainConfig


def autocast(device: torch.device, precision: torch.dtype):
    """Around a forward pass: matrix products in this precision."""
    return (
        contextlib.nullcontext()
        if precision == torch.float32
        else torch.autocast(device.type, dtype=precision)
    )


def prepare_forward(
    model: nn.Module,
    config: TrainConfig,
    device: torch.device,
    precision: torch.dtype,
    world: World,
    report: Report,
) -> nn.Module:
    """What the loop calls as forward(x, y): the model itself, or what computes as it does with the same
    weights."""
    forward = _compiled(model, config, device, precision, report) if config.compile else model
    if world.size == 1:
        return forward
    # The buffers are constants (masks); sending them before every pass would only cost time.
    known = inspect.signature(DistributedDataParallel).parameters
    sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DistributedDataParallel(
        forward,
        device_ids=[device.index] if device.type == "cuda" else None,
        find_unused_parameters=_has_unused_parameters(model, config, device),
        **{sync: False},
    )


def _has_unused_parameters(model: nn.Module, config: TrainConfig, device: torch.device) -> bool:
    """Whether a part of your own has a parameter that the loss does not depend on: the sum of the gradients
    over the processes has to know. No random number is used."""
    if not config.own_classes():
        return False
    x = torch.zeros(1, min(config.block_size, 2), dtype=torch.long, device=device)
    model.train()
    with generators_kept(device):
        model(x, x)[1].backward()
    unused = any(p.grad is None for p in model.parameters() if p.requires_grad)
    model.zero_grad(set_to_none=True)
    return unused


def _compiled(
    model: nn.Module, config: TrainConfig, device: torch.device, precision: torch.dtype, report: Report
) -> nn.Module:
    """torch.compile's model, or the plain one where a trial pass fails; no random number is used."""
    x = torch.zeros(config.batch_size, config.block_size, dtype=torch.long, device=device)
    model.train()
    with generators_kept(device):
        try:
            compiled = torch.compile(model)
            with autocast(device, precision):
                _, loss = compiled(x, x)
            loss.backward()
        except Exception as error:  # a missing compiler, an unsupported operation, a bug in there
            reason = str(error).strip().splitlines()
            report(
                Notice(
                    f"torch.compile does not work here ({reason[0] if reason else type(error).__name__}); "
                    f"training goes on without it."
                )
            )
            compiled = model
    model.zero_grad(set_to_none=True)
    return compiled
