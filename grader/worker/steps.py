"""The steps of a `run` request, as a worker carries them out. `program.py` writes them down.

Each step is {"do": name, ...}; its result has the step's number, and later steps refer to it:

    {"ref": 3}                   the result of step 3
    {"ref": 3, "attr": "config"} an attribute of it
    {"name": "fuse_heads"}       what the graded module calls by that name
    {"gpt_core": "GPT"}          what gpt_core calls by that name
    {"addition": "is_held_out"}  what data.addition calls by that name
    {"probe": "unheard"}         what grader/worker/probes.py calls by that name
    {"list": [..]}, plain JSON   themselves

Learner's code runs inside `call`, `build` and `count_operations`, and, since a tensor may be anything,
is never trusted to return what it should: `describe` says what came without calling into it.
"""

import contextlib
import os

import numpy as np
import torch
from torch.autograd import profiler
from torch.utils._python_dispatch import TorchDispatchMode

import gpt_core
from data import addition
from gpt_core.evaluation import exhaustive_loss
from grader.worker import probes
from grader.worker.seeds import seed_all

MAX_ELEMENTS = 1 << 26  # of one returned tensor
MAX_PARAMETERS = 2000  # of one returned model
PLAIN = (bool, int, float, str, type(None))


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
    "cut": lambda t: _within(
        t, t.new_zeros(len(t), t.shape[1] + 3, *t.shape[2:]), (slice(None), slice(0, t.shape[1]))
    ),  # the beginning of a longer one
    "expanded batch": lambda t: t[:1].expand_as(t),  # of numbers that are the same in the whole batch
}


class StepError(Exception):
    """A step that cannot be done with what the learner's code gave; `description` is for the judge."""

    def __init__(self, kind: str, **details):
        super().__init__(kind)
        self.description = {"kind": kind, **details}


class LearnerError(Exception):
    """Whatever a learner's code raised, SystemExit included."""

    def __init__(self, cause: BaseException):
        super().__init__()
        self.cause = cause


def run_steps(
    steps: list, give: dict, arrays: dict, module, device: str, send=None
) -> tuple[dict, dict, bool]:
    """Carry out the steps; returns the values asked for (JSON), the arrays that belong to them, and whether
    a step put anything on the device.

    send: takes what a long step has to say while it runs.
    """
    context = Context(arrays, module, torch.device(device), send)
    for step in steps:
        context.results.append(getattr(context, "do_" + step["do"])(**{k: v for k, v in step.items() if k != "do"}))
    values, results = {}, {}
    for name, expression in give.items():
        values[name] = describe(context.value(expression), name, results)
    return values, results, context.on_device


class Context:
    """What the steps of one program work with; each step is a method do_NAME."""

    def __init__(self, arrays, module, device, send):
        self.arrays, self.module, self.send = arrays, module, send
        self._device, self.on_device = device, False
        self.results = []
        self.kept = []  # parameters that must not be collected before the request ends

    @property
    def device(self) -> torch.device:
        """Where tensors and modules go. Whoever asks puts something there: text and samplers never do."""
        self.on_device = True
        return self._device

    def value(self, expression):
        if isinstance(expression, list):
            return [self.value(item) for item in expression]
        if not isinstance(expression, dict):
            return expression
        if "name" in expression:
            found = getattr(self.module, expression["name"], None)
            if found is None:
                raise StepError("missing name", name=expression["name"])
            return found
        if "gpt_core" in expression:
            return getattr(gpt_core, expression["gpt_core"])
        if "addition" in expression:
            return getattr(addition, expression["addition"])
        if "probe" in expression:
            return getattr(probes, expression["probe"])
        result = self.results[expression["ref"]]
        for attribute in expression.get("attr", "").split("."):
            if attribute:
                result = self._guarded(getattr, result, attribute)
        if result is probes.ENDED:
            raise StepError("too many updates")
        return result

    def _guarded(self, function, *args, **kwargs):
        enabled, defaults = torch.is_grad_enabled(), _defaults()
        try:
            result = function(*args, **kwargs)
        except StepError:
            raise
        except BaseException as error:
            raise LearnerError(error) from None
        if torch.is_grad_enabled() != enabled:
            torch.set_grad_enabled(enabled)
            raise StepError("grad mode")
        if (now := _defaults()) != defaults:
            raise StepError("defaults", was=list(defaults), now=list(now))  # the next request starts with torch's own
        return result

    def _call(self, function, args, kwargs):
        # Evaluated outside the guard: a mistake in the request is ours, not the learner's.
        args = [self.value(item) for item in args]
        kwargs = {name: self.value(item) for name, item in kwargs.items()}
        return self._guarded(self.value(function), *args, **kwargs)

    # The steps.

    def do_config(self, **fields):
        return gpt_core.GPTConfig(**fields)

    def do_tensor(self, array, dtype, layout="contiguous", requires_grad=False):
        """A tensor of the array's numbers, in a layout that does not show in the numbers."""
        tensor = torch.from_numpy(np.ascontiguousarray(self.arrays[array]))
        tensor = LAYOUTS[layout](tensor.to(device=self.device, dtype=getattr(torch, dtype)))
        return tensor.requires_grad_() if requires_grad else tensor

    def do_call(self, function, args=(), kwargs=None, no_grad=False):
        # no_grad and never inference_mode: an inference tensor kept by a module could not be differentiated later.
        with torch.set_grad_enabled(not no_grad):
            return self._call(function, args, kwargs or {})

    def do_build(self, function, args=(), kwargs=None, parameters=None, dtype="float32", train=False):
        """Call a class, check that a module came, and give it the dtype, mode and weights asked for."""
        built = self._call(function, args, kwargs or {})
        if not isinstance(built, torch.nn.Module):
            raise StepError("not a module", type=type(built).__name__)
        self._guarded(self._prepare, built, parameters or {}, getattr(torch, dtype), train)
        return built

    def _prepare(self, module, parameters, dtype, train):
        if dtype != torch.float32:
            module.to(dtype)
        if self.device.type != "cpu":
            module.to(self.device)
        module.train(train)
        self._set_parameters(module, parameters)

    def do_set_parameters(self, module, parameters):
        self._guarded(self._set_parameters, self.value(module), parameters)

    def _set_parameters(self, module, parameters):
        """Write arrays into parameters by name; never a strict load, since buffers are free."""
        own = dict(module.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            for name, array in parameters.items():
                if name not in own:
                    raise StepError("missing parameter", name=name)
                own[name].copy_(torch.from_numpy(self.arrays[array]))

    def do_seed(self, seed):
        """Seed the global generators again, within a request."""
        seed_all(seed)

    def do_to(self, module, dtype):
        self._guarded(self.value(module).to, getattr(torch, dtype))

    def do_train(self, module, train):
        self._guarded(self.value(module).train, train)

    def do_gradients(self, output, cotangent, wrt):
        """Vector-Jacobian product: the gradients of sum(output * cotangent), None where there is none.

        wrt: names to expressions; a module stands for all of its parameters.
        """
        output = self.value(output)
        if not _is_plain_tensor(output):
            raise StepError("not a tensor", type=type(output).__name__)
        inputs = {}
        for name, expression in wrt.items():
            value = self.value(expression)
            if isinstance(value, torch.nn.Module):
                inputs |= dict(value.named_parameters(remove_duplicate=False))
            else:
                inputs[name] = value
        if not output.requires_grad:
            return dict.fromkeys(inputs)
        wanted = {name: tensor for name, tensor in inputs.items() if tensor.requires_grad}
        cotangent = torch.from_numpy(self.arrays[cotangent]).to(output)
        # A scalar's gradient and not grad_outputs, for which torch imports half a second of symbolic shapes.
        total = (output * cotangent).sum()
        for tensor in wanted.values():
            tensor.grad = None
        self._guarded(total.backward)  # and not autograd.grad, which some checkpointing refuses
        return dict.fromkeys(inputs) | {name: tensor.grad for name, tensor in wanted.items()}

    def do_add_in_place(self, tensor, amount):
        """Change a tensor in place, as a caller may that owns it."""
        with torch.no_grad():
            self.value(tensor).add_(amount)

    def do_count_operations(self, function, args=(), no_grad=False):
        """{"count": how many tensor operations a call dispatches, "same": as when not counted}.

        The third call is counted, so that what is made once is not. The first two tell whether calls repeat.
        """
        with torch.set_grad_enabled(not no_grad):
            return self._counted(function, args)

    def _counted(self, function, args):
        first, second = (self._seeded_call(function, args) for _ in range(2))
        counter = _Counter()
        try:
            with counter:
                counted = self._seeded_call(function, args)
            count = counter.count
        except LearnerError:
            # Some tensor subclasses, torch's own causal bias is one, cannot be made under a dispatch mode.
            with _no_standard_error(), profiler.profile() as profile:
                counted = self._seeded_call(function, args)
            count = _outermost_operations(profile)
        return {"count": count, "same": _close(second, counted) or not _close(first, second)}

    def _seeded_call(self, function, args):
        seed_all(0)
        return self._call(function, args, {})

    def do_parameters(self, module):
        """What `named_parameters` of a module lists: name to shape, dtype, device, requires_grad, and the
        first name under which the same object stands."""
        listed = list(self.value(module).named_parameters(remove_duplicate=False))[:200]
        first = {id(p): name for name, p in reversed(listed)}
        return {
            name: {
                "same_as": first[id(p)],
                "shape": list(p.shape),
                "dtype": str(p.dtype).removeprefix("torch."),
                "device": p.device.type,
                "requires_grad": p.requires_grad,
            }
            for name, p in listed
        }

    def do_values(self, module):
        """The values of a module's parameters, by name, as they are now."""
        listed = list(self.value(module).named_parameters(remove_duplicate=False))[:200]
        return {name: p.detach().clone() for name, p in listed}

    def do_modes(self, module):
        """`training` of a module and of everything in it, by name."""
        return {name: m.training for name, m in list(self.value(module).named_modules())[:200]}

    def do_add_to_parameters(self, module, amount):
        """Change every parameter in place, as an optimizer would."""
        with torch.no_grad():
            for parameter in self.value(module).parameters():
                parameter.add_(amount)

    def do_require(self, value, name):
        """The value must be an instance of what the graded module calls by that name."""
        value = self.value(value)
        if not self._guarded(isinstance, value, self.value({"name": name})):
            raise StepError("another kind", name=name, came=describe(value, "", {}))

    def do_copy_parameters(self, source, target):
        """Write the parameters of one module into those of the same names and shapes of another."""
        found = dict(self.value(source).named_parameters(remove_duplicate=False))
        with torch.no_grad():
            for name, parameter in self.value(target).named_parameters(remove_duplicate=False):
                if name in found and found[name].shape == parameter.shape:
                    parameter.copy_(found[name])

    def do_item(self, value, index, count):
        """One item of a tuple or list that must have `count` of them."""
        value = self.value(value)
        if not isinstance(value, (tuple, list)) or len(value) != count:
            raise StepError("not so many", type=type(value).__name__, count=count)
        return value[index]

    def do_outcome(self, function, args, kwargs=None):
        """What a call gives, or which built-in exceptions what it raises is one of."""
        try:
            return {"value": self._call(function, args, kwargs or {})}
        except LearnerError as error:
            kinds = [kind.__name__ for kind in type(error.cause).__mro__ if kind.__module__ == "builtins"]
            if "NotImplementedError" in kinds:
                raise
            return {"raised": kinds}

    def do_generator(self, seed):
        return torch.Generator().manual_seed(seed)

    # For models that answer with digits (probes.py).

    def do_oracle(self, steps, table, train):
        """A test model; train: the modes of it and of each module in it, in order, repeated."""
        model = probes.Oracle(torch.from_numpy(self.arrays[steps]), torch.from_numpy(self.arrays[table])).to(self.device)
        for index, module in enumerate(model.modules()):
            module.training = bool(train[index % len(train)])
        return model

    def do_record(self, model):
        """What a test model was called with."""
        record = self.value(model).record
        return {"tokens": list(record.tokens), "grad": list(record.grad), "training": list(record.training)}

    def do_observe(self, function, args, kwargs, width, shake, sampled):
        """Call a function that trains, on this worker's device, and watch it (probes.Training)."""
        args = [self.value(item) for item in args]
        kwargs = kwargs | {"device": self.device.type}
        return self._guarded(
            probes.observe, self.value(function), args, kwargs, width, shake, sampled, self.send
        )

    def _gpt(self, value):
        model = self.value(value)
        if not isinstance(model, gpt_core.GPT):
            raise StepError("not a GPT", type=type(model).__name__)
        return model

    def do_difference(self, one, other):
        return self._guarded(probes.difference, self._gpt(one), self._gpt(other))

    def do_default_difference(self, model):
        return self._guarded(probes.default_difference, self._gpt(model), 0)

    def do_sizes(self, model):
        """A GPT's config, and how many parameters it has."""
        model = self._gpt(model)
        fields = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "dropout")
        sizes = {name: self._guarded(getattr, model.config, name) for name in fields}
        return sizes | {"parameters": sum(p.numel() for p in model.parameters())}

    def do_weights(self, model, largest):
        """The parameters of a GPT with at most `largest` numbers."""
        parameters = dict(self._gpt(model).named_parameters())
        if sum(p.numel() for p in parameters.values()) > largest or len(parameters) > MAX_PARAMETERS:
            raise StepError("too large", shape=[sum(p.numel() for p in parameters.values())])
        return {name: p.detach().float() for name, p in parameters.items()}

    # For models that go on from others.

    def do_condition(self, model, train, frozen, grad):
        """Modes, frozen parameters and gradients of a model, as a caller may have left them."""
        probes.condition(self.value(model), train, frozen, grad)

    def do_state(self, model):
        """What a call may not change in a model."""
        return self._guarded(probes.state_of, self.value(model), self.kept)

    def do_attributes(self, value):
        """The attributes of an object, as text."""
        return {name: repr(found)[:2000] for name, found in vars(self.value(value)).items()}

    def do_settings(self):
        """Torch's global settings, which no call may change."""
        return probes.settings()

    def do_generators(self):
        """A fingerprint of each global generator."""
        return probes.generators()

    def do_tie(self, model):
        """Let the output weights of a GPT be its embedding's."""
        model = self.value(model)
        model.lm_head.weight = model.token_embedding_table.weight

    def do_register(self, model, shapes):
        """Give a model parameters of its own, which stand in no Linear and no Embedding."""
        for name, shape in shapes.items():
            owner, _, last = name.rpartition(".")
            owner = self.value(model).get_submodule(owner)
            owner.register_parameter(last, torch.nn.Parameter(torch.ones(shape)))

    def do_groups(self, optimizer, model):
        """{"type", "groups", "state": how many parameters it has a state for} of an optimizer."""
        optimizer = self.value(optimizer)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise StepError("not an optimizer", type=type(optimizer).__name__)
        groups = self._guarded(probes.groups, optimizer, self.value(model))
        kind = "AdamW" if isinstance(optimizer, torch.optim.AdamW) else type(optimizer).__name__
        if any(group.get("maximize") for group in optimizer.param_groups):
            kind += " with maximize=True"
        return {"type": kind, "groups": groups, "state": len(optimizer.state)}

    def do_update(self, optimizer, model):
        """One update of a model, with a gradient of 1 for every parameter."""
        for parameter in self.value(model).parameters():
            parameter.grad = torch.ones_like(parameter)
        self._guarded(self.value(optimizer).step)

    def do_chars(self, tokenizer):
        """The characters of a CharTokenizer."""
        tokenizer = self.value(tokenizer)
        if not isinstance(tokenizer, gpt_core.CharTokenizer):
            raise StepError("not a tokenizer", type=type(tokenizer).__name__)
        return [str(char) for char in tokenizer.chars]

    def do_exhaustive_loss(self, model, tokens):
        """The mean cross entropy of a model over every target of the tokens."""
        return self._guarded(exhaustive_loss, self.value(model), self.value(tokens))

    def do_generate(self, model, prompts, count):
        return self._guarded(probes.generate, self.value(model), self.value(prompts), count)


def _close(one, other) -> bool:
    """Whether two results are the same within rounding, or are no tensors that could be compared."""
    if not (_is_plain_tensor(one) and _is_plain_tensor(other)):
        return True
    if one.shape != other.shape:
        return False
    return torch.allclose(one.double(), other.double(), atol=1e-4, equal_nan=True)


@contextlib.contextmanager
def _no_standard_error():
    """Some builds of torch's profiler write to descriptor 2, which would be taken for the learner's words."""
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


def _defaults() -> tuple[str, str]:
    """The dtype and the device of tensors for which nothing else is said."""
    return str(torch.get_default_dtype()), str(torch.get_default_device())


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


def _is_plain_tensor(value) -> bool:
    # type() and not isinstance: a subclass may answer every question about itself with a lie.
    return type(value) is torch.Tensor or type(value) is torch.nn.Parameter


def describe(value, name: str, results: dict) -> dict:
    """A value as plain data for the judge; its numbers go into `results` under `name`.

    bfloat16 and float16 travel as float32 (exact); numpy has no bfloat16.
    """
    if type(value) in PLAIN:
        return {"kind": "plain", "value": value}
    if type(value) is dict:
        return {
            "kind": "dict",
            "items": {str(k): describe(v, f"{name}.{k}", results) for k, v in list(value.items())[:MAX_PARAMETERS]},
        }
    if type(value) in (list, tuple):
        items = [describe(v, f"{name}.{i}", results) for i, v in enumerate(value[:500])]
        return {"kind": type(value).__name__, "length": len(value), "items": items}
    if not _is_plain_tensor(value):
        subclass = isinstance(value, torch.Tensor)
        return {"kind": "tensor subclass" if subclass else "object", "type": type(value).__name__[:100]}
    described = {
        "kind": "tensor",
        "shape": list(value.shape),
        "dtype": str(value.dtype).removeprefix("torch."),
        "device": value.device.type,
        "layout": str(value.layout).removeprefix("torch."),
    }
    if value.layout != torch.strided or value.device.type == "meta" or value.is_complex() or value.is_quantized:
        return described
    if value.numel() > MAX_ELEMENTS:
        raise StepError("too large", shape=list(value.shape))
    value = value.detach().to("cpu").resolve_neg()
    if value.dtype in (torch.bfloat16, torch.float16):
        value = value.float()
    if str(value.dtype).removeprefix("torch.") in ("float32", "float64", "int64", "int32", "bool", "uint8"):
        results[name] = np.asarray(value.numpy(), order="C")  # ascontiguousarray would give a scalar a dimension
        described["sent"] = name
    return described
