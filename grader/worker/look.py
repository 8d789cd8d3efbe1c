"""Carries out a look: a function of plain torch that takes the graded module and returns what it measured.

A check asks for one by name (tests/exercises/asked.py). Its file is sent as text, since an attempt's process
cannot read tests/. It runs beside the learner's code, which may fail inside it, or leave torch changed; what
it gives back is described for the judge, who alone compares.
"""

import contextlib
import importlib
import sys
import types

import numpy as np
import torch

from grader.worker.devices import Tracing, is_stray
from grader.worker.errors import LearnerError, StepError

MAX_ELEMENTS = 1 << 26  # of one returned tensor
MAX_PARAMETERS = 2000  # of one returned model
PLAIN = (bool, int, float, str, type(None))


class Graded:
    """The graded module as a look sees it: m.NAME is what the file calls so; where it does not, the look
    ends."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name: str):
        found = getattr(self._module, name, None)
        if found is None:
            raise StepError("missing name", name=name)
        return found


class Bench:
    """The surroundings of a look: the device of its tensors and modules, and where a long run reports its
    progress."""

    def __init__(self):
        self._device, self.used, self.send = torch.device("cpu"), False, None
        self.kept = []  # objects that must not be collected before the look ends

    def begin(self, device: str, send=None) -> None:
        """Before each look."""
        self._device, self.used, self.send, self.kept = torch.device(device), False, send, []

    @property
    def device(self) -> torch.device:
        """Reading it records that the device is used; looks at text and samplers never read it."""
        self.used = True
        return self._device


BENCH = Bench()


def load_looks(name: str, source: bytes) -> None:
    """Make the text of a module of looks importable under its name; where it can be imported, that is not
    needed."""
    parent = ""
    for part in name.split(".")[:-1]:
        parent = f"{parent}.{part}".strip(".")
        sys.modules.setdefault(parent, types.ModuleType(parent)).__path__ = []
    module = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec", dont_inherit=True), vars(module))
    sys.modules[name] = module


def run_look(
    looks: str, function: str, given: dict, arrays: dict, module, device: str, send=None, traced=False
):
    """What the look `function` of the module `looks` gives back: values (JSON), their arrays, whether the
    device was used.

    given: its arguments; {"array": key} stands for an array. traced: on the CPU, where tensors are watched
    for which no device was named (devices.py). StepError where the look could not go on with what it got or
    the learner's code left torch changed; LearnerError where that raised.
    """
    look = getattr(importlib.import_module(looks), function)
    BENCH.begin("cpu" if traced else device, send)
    with Tracing(module) if traced else contextlib.nullcontext() as tracing:
        found = _carried_out(look, module, unpacked(given, arrays))
        if traced and tracing.found is not None:
            raise tracing.found  # a learner's code has caught it
        results: dict = {}
        values = {name: describe(value, name, results) for name, value in found.items()}
    return values, results, BENCH.used


def _carried_out(look, module, given: dict) -> dict:
    """What the look gives back; the errors of run_look."""
    enabled, defaults = torch.is_grad_enabled(), _defaults()
    failure = None
    try:
        found = look(Graded(module), **given)
    except StepError as error:
        failure = error
    except BaseException as error:
        failure = LearnerError(error)
    if torch.is_grad_enabled() != enabled:
        torch.set_grad_enabled(enabled)
        raise StepError("grad mode")
    if (now := _defaults()) != defaults:
        # the next request starts with torch's own
        raise StepError("defaults", was=list(defaults), now=list(now))
    if failure is not None:
        raise failure from None
    return found


def unpacked(value, arrays: dict):
    """What a look is given, with the arrays in their places."""
    if isinstance(value, list):
        return [unpacked(item, arrays) for item in value]
    if isinstance(value, dict):
        return (
            arrays[value["array"]]
            if value.keys() == {"array"}
            else {k: unpacked(v, arrays) for k, v in value.items()}
        )
    return value


def _defaults() -> tuple[str, str]:
    """The dtype and the device of tensors for which nothing else is said."""
    return str(torch.get_default_dtype()), str(torch.get_default_device())


def is_plain_tensor(value) -> bool:
    # type() and not isinstance: a subclass may lie about itself.
    return type(value) is torch.Tensor or type(value) is torch.nn.Parameter


def describe(value, name: str, results: dict) -> dict:
    """A value as plain data for the judge; its numbers go into `results` under `name`.

    bfloat16 and float16 travel as float32 (exact); numpy has no bfloat16. Where devices are traced, the
    device of a tensor that was made without one is "stray".
    """
    if type(value) in PLAIN:
        return {"kind": "plain", "value": value}
    if type(value) is dict:
        return {
            "kind": "dict",
            "items": {
                str(k): describe(v, f"{name}.{k}", results) for k, v in list(value.items())[:MAX_PARAMETERS]
            },
        }
    if type(value) in (list, tuple):
        items = [describe(v, f"{name}.{i}", results) for i, v in enumerate(value[:500])]
        return {"kind": type(value).__name__, "length": len(value), "items": items}
    if not is_plain_tensor(value):
        subclass = isinstance(value, torch.Tensor)
        return {"kind": "tensor subclass" if subclass else "object", "type": type(value).__name__[:100]}
    described = {
        "kind": "tensor",
        "shape": list(value.shape),
        "dtype": str(value.dtype).removeprefix("torch."),
        "device": "stray" if is_stray(value) else value.device.type,
        "layout": str(value.layout).removeprefix("torch."),
    }
    if (
        value.layout != torch.strided
        or value.device.type == "meta"
        or value.is_complex()
        or value.is_quantized
    ):
        return described
    if value.numel() > MAX_ELEMENTS:
        raise StepError("too large", shape=list(value.shape))
    value = value.detach().to("cpu").resolve_neg()
    if value.dtype in (torch.bfloat16, torch.float16):
        value = value.float()
    if str(value.dtype).removeprefix("torch.") in ("float32", "float64", "int64", "int32", "bool", "uint8"):
        # ascontiguousarray would give a scalar a dimension
        results[name] = np.asarray(value.numpy(), order="C")
        described["sent"] = name
    return described
