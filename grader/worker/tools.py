"""Helpers of looks: make tensors and modules of known numbers, and read what a learner's code gave.

A look is a plain function of torch (grader/worker/look.py)."""

import contextlib
import math
import os
import time

import numpy as np
import torch
from torch.autograd import profiler
from torch.utils._python_dispatch import TorchDispatchMode

import gpt_core
from grader.worker import devices, probes
from grader.worker.errors import StepError
from grader.worker.look import BENCH, MAX_PARAMETERS, describe, is_plain_tensor
from grader.worker.seeds import seed_all


def _within(tensor: torch.Tensor, wide: torch.Tensor, part: tuple) -> torch.Tensor:
    """The numbers of a tensor as a part of a wider one."""
    wide[part] = tensor
    return wide[part]


def _of_qkv(heads: torch.Tensor) -> torch.Tensor:
    """(B, H, T, D) as the keys that attention takes out of (B, T, 3C): a slice, viewed, then transposed."""
    tokens = heads.transpose(-3, -2)
    B, T, H, D = tokens.shape
    joined = tokens.new_zeros(B, T, 3 * H * D)
    joined[..., H * D : 2 * H * D] = tokens.reshape(B, T, H * D)
    return joined.split(H * D, dim=-1)[1].view(B, T, H, D).transpose(1, 2)


# How a tensor of the same numbers may lie in memory. The last dimension has stride 1, but for transposed,
# sliced and batch last.
LAYOUTS = {
    "contiguous": lambda t: t,
    "transposed": lambda t: t.transpose(-2, -1).contiguous().transpose(-2, -1),
    "sliced": lambda t: _within(t, t.new_zeros(*t.shape[:-1], 2 * t.shape[-1]), (..., slice(None, None, 2))),
    "batch last": lambda t: t.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "time first": lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
    "heads moved": lambda t: t.transpose(-3, -2).contiguous().transpose(-3, -2),
    "part of wider rows": lambda t: _within(
        t, t.new_zeros(*t.shape[:-1], 3 * t.shape[-1]), (..., slice(t.shape[-1], 2 * t.shape[-1]))
    ),
    "part of qkv": _of_qkv,
    "some of the tokens": lambda t: _within(
        t, t.new_zeros(*t.shape[:-2], t.shape[-2] + 3, t.shape[-1]), (..., slice(2, -1), slice(None))
    ),
    # the beginning of a longer one
    "cut": lambda t: _within(
        t, t.new_zeros(len(t), t.shape[1] + 3, *t.shape[2:]), (slice(None), slice(0, t.shape[1]))
    ),
    "expanded batch": lambda t: t[:1].expand_as(t),  # of numbers that are the same in the whole batch
}


def tensor(array, dtype="float32", layout="contiguous", requires_grad=False) -> torch.Tensor:
    """The numbers of an array or a list on the device, in a layout (LAYOUTS) that does not show in the
    numbers.

    A copy: what a learner's code writes into it reaches no other tensor of the same array.
    """
    found = torch.from_numpy(np.array(array, order="C")).to(device=BENCH.device, dtype=getattr(torch, dtype))
    found = LAYOUTS[layout](found)
    return found.requires_grad_() if requires_grad else found


def config(**fields) -> gpt_core.GPTConfig:
    """A GPTConfig."""
    return gpt_core.GPTConfig(**fields)


def build(make, *args, parameters=None, dtype="float32", train=False, **kwargs) -> torch.nn.Module:
    """The module that make(*args, **kwargs) gives, with this dtype, mode and these weights (arrays by
    parameter name).

    StepError where no module came, or one that lacks such a parameter.
    """
    built = make(*args, **kwargs)
    if not isinstance(built, torch.nn.Module):
        raise StepError("not a module", type=type(built).__name__)
    if dtype != "float32":
        built.to(getattr(torch, dtype))
    if BENCH.device.type != "cpu":
        built.to(BENCH.device)
    devices.place(*built.parameters(), *built.buffers())
    built.train(train)
    set_parameters(built, parameters or {})
    return built


def set_parameters(module, parameters: dict) -> None:
    """Write arrays into parameters by name; never a strict load, since buffers are free."""
    own = dict(module.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, array in parameters.items():
            if name not in own:
                raise StepError("missing parameter", name=name)
            own[name].copy_(torch.from_numpy(np.asarray(array)))


def copy_parameters(source, target) -> None:
    """Write the parameters of one module into those of the same names and shapes of another."""
    found = dict(source.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, parameter in target.named_parameters(remove_duplicate=False):
            if name in found and found[name].shape == parameter.shape:
                parameter.copy_(found[name])


def gradients(output, cotangent, **wrt) -> dict[str, torch.Tensor | None]:
    """Vector-Jacobian product: the gradients of sum(output * cotangent), None where there is none.

    wrt: tensors by name; a module stands for all of its parameters. StepError where the output is no tensor.
    """
    if not is_plain_tensor(output):
        raise StepError("not a tensor", type=type(output).__name__)
    inputs = {}
    for name, value in wrt.items():
        module = isinstance(value, torch.nn.Module)
        inputs |= dict(value.named_parameters(remove_duplicate=False)) if module else {name: value}
    if not output.requires_grad:
        return dict.fromkeys(inputs)
    wanted = {name: value for name, value in inputs.items() if value.requires_grad}
    # A scalar's gradient and not grad_outputs, for which torch imports half a second of symbolic shapes.
    total = (output * torch.from_numpy(np.asarray(cotangent)).to(output)).sum()
    for value in wanted.values():
        value.grad = None
    total.backward()  # and not autograd.grad, which some checkpointing refuses
    return dict.fromkeys(inputs) | {name: value.grad for name, value in wanted.items()}


def count_operations(function, *args) -> dict:
    """{"count": how many tensor operations a call dispatches, "same": whether it gives the same as when not
    counted}.

    The third call is counted, so that what is made once is not. The first two tell whether calls repeat.
    """

    def seeded():
        seed_all(0)
        return function(*args)

    first, second = seeded(), seeded()
    try:
        with _Counter() as counter:
            counted = seeded()
        count = counter.count
    except Exception:
        # Some tensor subclasses, torch's own causal bias is one, cannot be made under a dispatch mode.
        with _no_standard_error(), profiler.profile() as profile:
            counted = seeded()
        count = _outermost_operations(profile)
    return {"count": count, "same": _close(second, counted) or not _close(first, second)}


def _close(one, other) -> bool:
    """Whether two results are the same within rounding, or are no tensors that could be compared."""
    if not (is_plain_tensor(one) and is_plain_tensor(other)):
        return True
    if one.shape != other.shape:
        return False
    return torch.allclose(one.double(), other.double(), atol=1e-4, equal_nan=True)


@contextlib.contextmanager
def _no_standard_error():
    """Some builds of torch's profiler write to descriptor 2, which would be shown as the learner's output."""
    kept = os.dup(2)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _outermost_operations(profile) -> int:
    """How many tensor operations a profile holds that no other one called, as a dispatch mode counts them."""
    # The raw events: to make torch's FunctionEvents of some thousands takes a second.
    operations = [event for event in profile.kineto_results.events() if event.name().startswith("aten::")]
    count, end = 0, -1
    for event in sorted(operations, key=lambda event: (event.start_ns(), -event.duration_ns())):
        if event.start_ns() >= end:
            count, end = count + 1, event.start_ns() + event.duration_ns()
    return count


def count_multiplications(function, *args) -> int:
    """How many multiplications of numbers a call takes: in matrix products, in attention, and element by
    element."""
    with _no_standard_error(), profiler.profile(record_shapes=True) as profile:
        function(*args)
    return sum(_multiplications(event) for event in profile.kineto_results.events())


PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "addmv", "dot", "vdot")


def _multiplications(event) -> int:
    """Of one operation without those that it calls."""
    name = event.name().removeprefix("aten::").rstrip("_")
    shapes = [tuple(shape) for shape in event.shapes()]
    if name in PRODUCTS:
        one, other = [shape for shape in shapes if shape][-2:]
        return math.prod(one) * (other[-1] if len(other) > 1 else 1)
    if name.startswith("_scaled_dot_product") and not name.endswith("_math"):  # that one calls others
        queries, keys = shapes[:2]
        return 2 * math.prod(queries) * keys[-2]  # with the keys, and with the values
    return math.prod(np.broadcast_shapes(*shapes[:2])) if name == "mul" else 0


class _Counter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler here, a second's worth, to keep it out

    def __torch_dispatch__(self, operation, kinds, args=(), kwargs=None):
        self.count += 1
        return operation(*args, **(kwargs or {}))


def parameters(module) -> dict[str, dict]:
    """What named_parameters lists: name to shape, dtype, device, requires_grad, the first name of the same
    object, and whether all of its numbers are 0 and any of them NaN."""
    listed = list(module.named_parameters(remove_duplicate=False))[:200]
    first = {id(p): name for name, p in reversed(listed)}
    return {
        name: {
            "same_as": first[id(p)],
            "shape": list(p.shape),
            "dtype": str(p.dtype).removeprefix("torch."),
            "device": p.device.type,
            "requires_grad": p.requires_grad,
            "zero": bool((p == 0).all()),
            "nan": bool(p.isnan().any()),
        }
        for name, p in listed
    }


def cost(module, x, rounds: int = 5) -> dict:
    """What a forward of an attention costs: {"seconds": the least, under no_grad, "bytes": kept for the
    backward pass, "squares": whether a (T, T) matrix is among that}.

    On the CPU they are seconds of the processor: what else the machine does makes no difference to what is
    said.
    """
    T, kept, squares = x.shape[1], {}, []

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        squares.append(tensor.shape[-2:] == (T, T) and tensor.is_floating_point())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x.clone().requires_grad_())
    seconds, clock = [], time.process_time if x.device.type == "cpu" else time.perf_counter
    for _ in range(rounds):
        began = clock()
        with torch.no_grad():
            module(x)
        seconds.append(clock() - began)
    return {"seconds": min(seconds), "bytes": sum(kept.values()), "squares": any(squares)}


def values(module) -> dict[str, torch.Tensor]:
    """The values of a module's parameters, by name, as they are now."""
    listed = list(module.named_parameters(remove_duplicate=False))[:200]
    return {name: p.detach().clone() for name, p in listed}


def modes(module) -> dict[str, bool]:
    """`training` of a module and of everything in it, by name."""
    return {name: m.training for name, m in list(module.named_modules())[:200]}


def add_to_parameters(module, amount: float) -> None:
    """Change every parameter in place, as an optimizer would."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(amount)


def item(value, index: int, count: int):
    """One item of a tuple or list that must have `count` of them, else a StepError."""
    if not isinstance(value, (tuple, list)) or len(value) != count:
        raise StepError("not so many", type=type(value).__name__, count=count)
    return value[index]


def outcome(function, *args, **kwargs) -> dict:
    """{"value": what a call gives} or {"raised": [the built-in exceptions that what it raises is one of]}."""
    try:
        return {"value": function(*args, **kwargs)}
    except StepError:
        raise
    except BaseException as error:
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        if "NotImplementedError" in kinds:
            raise
        return {"raised": kinds}


def require(value, kind: type, name: str):
    """The value, which must be of this type; StepError names it where it is not."""
    if not isinstance(value, kind):
        raise StepError("another kind", name=name, came=describe(value, "", {}))
    return value


def generator(seed: int) -> torch.Generator:
    """A torch.Generator on the CPU."""
    return torch.Generator().manual_seed(seed)


# Models that answer with digits, and models that are trained.


def oracle(steps, table, train) -> probes.Oracle:
    """A test model whose every answer is known; train: the modes of it and of each module in it, in order,
    repeated."""
    model = probes.Oracle(torch.from_numpy(steps), torch.from_numpy(table)).to(BENCH.device)
    for index, module in enumerate(model.modules()):
        module.training = bool(train[index % len(train)])
    return model


def record(model: probes.Oracle) -> dict:
    """What a test model was called with."""
    return {
        "tokens": list(model.record.tokens),
        "grad": list(model.record.grad),
        "training": list(model.record.training),
    }


def observe(function, *args, width: int, shake: int = 0, sampled: int = 1024, **kwargs) -> probes.Training:
    """Call a function that trains, on the device, and watch it. StepError where it was ended for too many
    updates and the model is asked for (`trained`)."""
    kwargs |= {"device": BENCH.device.type}
    return probes.observe(function, args, kwargs, width, shake, sampled, BENCH.send)


def gpt(value) -> gpt_core.GPT:
    """The value, which must be a GPT; StepError where it is none, or where its training was ended."""
    if value is probes.ENDED:
        raise StepError("too many updates")
    if not isinstance(value, gpt_core.GPT):
        raise StepError("not a GPT", type=type(value).__name__)
    return value


def sizes(model) -> dict:
    """A GPT's config, and how many parameters it has."""
    model = gpt(model)
    fields = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "dropout")
    return {name: getattr(model.config, name) for name in fields} | {
        "parameters": sum(p.numel() for p in model.parameters())
    }


def weights(model, largest: int) -> dict[str, torch.Tensor]:
    """The parameters of a GPT with at most `largest` numbers."""
    named = dict(gpt(model).named_parameters())
    if sum(p.numel() for p in named.values()) > largest or len(named) > MAX_PARAMETERS:
        raise StepError("too large", shape=[sum(p.numel() for p in named.values())])
    return {name: p.detach().float() for name, p in named.items()}


def state(model) -> dict:
    """What a call may not change in a model (probes.state_of)."""
    return probes.state_of(model, BENCH.kept)


def attributes(value) -> dict[str, str]:
    """The attributes of an object, as text."""
    return {name: repr(found)[:2000] for name, found in vars(value).items()}


def observable(model, **objects) -> dict:
    """All that a call may not change: the state of a model, torch's settings, and the attributes of other
    objects."""
    found = {"model": state(model), "settings": probes.settings()}
    return found | {key: attributes(value) for key, value in objects.items()}


def tie(model) -> None:
    """Let the output weights of a GPT be its embedding's."""
    model.lm_head.weight = model.token_embedding_table.weight


def groups(optimizer, model) -> dict:
    """{"type", "groups", "state": how many parameters it has a state for} of an optimizer."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise StepError("not an optimizer", type=type(optimizer).__name__)
    kind = "AdamW" if isinstance(optimizer, torch.optim.AdamW) else type(optimizer).__name__
    if any(group.get("maximize") for group in optimizer.param_groups):
        kind += " with maximize=True"
    return {"type": kind, "groups": probes.groups(optimizer, model), "state": len(optimizer.state)}


def update(optimizer, model) -> None:
    """One update of a model, with a gradient of 1 for every parameter."""
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def chars(tokenizer) -> list[str]:
    """The characters of a CharTokenizer; StepError where it is none."""
    if not isinstance(tokenizer, gpt_core.CharTokenizer):
        raise StepError("not a tokenizer", type=type(tokenizer).__name__)
    return [str(char) for char in tokenizer.chars]
