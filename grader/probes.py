"""What a worker holds for checks that a plain call cannot make: a test model whose every answer is known
to the judge, an observer of a training run, what a call may not change in a model, and greedy decoding.
"""

import hashlib
import random
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

import gpt_core

MAX_CALLS = 200  # of a test model, that are recorded
MAX_ROWS = 1 << 17  # of training input, that are kept
ROWS_PER_CALL = 1024
MAX_LOOKED = 1 << 13  # rows of input, trained on or not, that are kept
NO_TOKEN = 255  # stands behind the last token of a row that is shorter than the others
PROGRESS_SECONDS = 0.25
DROPOUT = ("the model is in eval mode", "a part is in eval mode", "some p is not the config's", "on")
SLACK = 6  # updates beyond what was asked for, after which a run is ended


class Record:
    """The calls of one test model; a deep copy of the model writes into the same record."""

    def __init__(self):
        self.tokens, self.grad, self.training = [], [], []

    def __deepcopy__(self, memo):
        return self


class Oracle(gpt_core.GPT):
    """A causal GPT whose logits come from tables: the prefix sums up to a state, the state has its logits.

    steps (T, V) long: what a token at a position adds to the state, modulo the number of states.
    table (T, S, V) float32: the logits at a position in a state.
    Its `logits` are as attached to a graph as those of any model.
    """

    def __init__(self, steps: torch.Tensor, table: torch.Tensor):
        T, V = steps.shape
        super().__init__(gpt_core.GPTConfig(vocab_size=V, block_size=T, n_layer=1, n_head=1, n_embd=4, dropout=0.5))
        self.register_buffer("steps", steps, persistent=False)
        self.register_buffer("table", table, persistent=False)
        self.record = Record()

    def logits(self, idx: torch.Tensor) -> torch.Tensor:
        """idx (B, T) long -> logits (B, T, V)."""
        logits = self._logits(idx)
        if len(self.record.tokens) < MAX_CALLS:
            self.record.tokens.append(idx.detach().to("cpu", copy=True))
            self.record.grad.append(logits.requires_grad)
            self.record.training.append(self.training)
        return logits

    def _logits(self, idx):
        self.token_embedding_table(idx)  # refuses what is no token, as any model does
        places = torch.arange(idx.shape[1], device=idx.device)
        states = self.steps[places, idx].cumsum(dim=1) % self.table.shape[1]  # (B, T)
        return self.table[places, states] + 0.0 * self.lm_head.weight.sum()


# What stands for the result of a training run that was ended.
ENDED = object()


class TooManyUpdates(BaseException):
    """Ends a training run that goes on beyond its steps; not an Exception, which a run may catch."""


@dataclass
class Training:
    """What a training run was seen to do.

    model:      what it returned; ENDED where it was ended.
    optimizers: the number of steps of each torch optimizer. changes: how often the weights were found
                changed between one forward pass with gradients and the next, or at the end.
    ended:      whether it was stopped for going on too long.
    rates:      the highest learning rate of each step of a torch optimizer.
    rows:       (N, width) uint8, the beginnings of training input whose loss reached the model; a shorter
                row is filled up with NO_TOKEN. rows_mode: (N,) uint8, what of DROPOUT held then.
    targets:    (N, width) uint8, what each token of `rows` was taught to be followed by; NO_TOKEN for nothing.
    looked, looked_mode: the input of all forward passes, trained on or not, the first of it; and 1 where the
                model or any dropout in it was in train mode.
    reports:    how often `report` was called; report_kinds: the first call that gave other things than
                a whole number and a number, as two type names.
    """

    model: object = None
    optimizers: list[int] = field(default_factory=list)
    changes: int = 0
    ended: bool = False
    rates: list[float] = field(default_factory=list)
    rows: torch.Tensor | None = None
    rows_mode: torch.Tensor | None = None
    targets: torch.Tensor | None = None
    looked: torch.Tensor | None = None
    looked_mode: torch.Tensor | None = None
    reports: int = 0
    report_kinds: list[str] | None = None
    parameter_device: str = ""


class Observer:
    """Watches a training run: a context manager around it, and the `report` to give to it."""

    def __init__(self, width: int, steps: int, send=None, sampled: int = ROWS_PER_CALL):
        self.width, self.limit, self.send, self.sampled = width, steps + SLACK, send, sampled
        self.seen = Training()
        self._counts: dict[int, int] = {}
        self._optimizers: list = []  # kept alive, so that an id stands for one of them
        self._prints: dict[int, list] = {}  # model's id to [model, last fingerprint, changes]
        self._rows: list[tuple[torch.Tensor, int]] = []  # and in which mode
        self._looked: list[tuple[torch.Tensor, int]] = []
        self._targets: list[tuple[torch.Tensor, int]] = []
        self._kept, self._kept_looked, self._loss, self._sent = 0, 0, None, 0.0

    def __enter__(self):
        self._original = gpt_core.GPT.logits
        original, observer = self._original, self

        def logits(model, idx):
            found = original(model, idx)
            observer._looks(model, idx)
            if torch.is_grad_enabled() and isinstance(found, torch.Tensor):
                observer._saw(model, idx, found)
            return found

        gpt_core.GPT.logits = logits
        self._hook = register_optimizer_step_post_hook(self._stepped)
        return self

    def __exit__(self, *_):
        gpt_core.GPT.logits = self._original
        self._hook.remove()
        for entry in self._prints.values():
            self._compare(entry)
        self._prints, entries = {}, list(self._prints.values())
        self.seen.changes = max((entry[2] for entry in entries), default=0)
        self.seen.optimizers = list(self._counts.values())[:20]
        self.seen.rows, self.seen.rows_mode = self._joined(self._rows)
        self.seen.targets, _ = self._joined(self._targets)
        self.seen.looked, self.seen.looked_mode = self._joined(self._looked)
        if entries:
            self.seen.parameter_device = next(entries[0][0].parameters()).device.type

    def report(self, step, loss):
        """What the run is given to report to."""
        self.seen.reports += 1
        whole = isinstance(step, (int, np.integer)) and not isinstance(step, bool)
        number = isinstance(loss, (int, float, np.floating)) and not isinstance(loss, bool)
        if not (whole and number):
            if self.seen.report_kinds is None:
                self.seen.report_kinds = [type(step).__name__[:60], type(loss).__name__[:60]]
            return
        self._loss = float(loss)
        self._progress(int(step))

    def _progress(self, step: int) -> None:
        now = time.monotonic()
        if self.send is not None and now - self._sent >= PROGRESS_SECONDS:
            self._sent = now
            self.send({"step": step, "loss": self._loss})

    def _stepped(self, optimizer, args, kwargs) -> None:
        key = id(optimizer)
        if key not in self._counts:
            self._optimizers.append(optimizer)
        self._counts[key] = self._counts.get(key, 0) + 1
        if len(self.seen.rates) <= self.limit:
            self.seen.rates.append(max(float(group["lr"]) for group in optimizer.param_groups))
        self._progress(self._counts[key])
        self._end_if_over(self._counts[key])

    def _end_if_over(self, count: int) -> None:
        if count > self.limit:
            self.seen.ended = True
            raise TooManyUpdates

    @staticmethod
    def _compare(entry: list) -> None:
        with torch.no_grad():
            now = torch.stack(torch._foreach_norm([p.detach() for p in entry[0].parameters()])).tolist()
        entry[2] += entry[1] is not None and now != entry[1]
        entry[1] = now

    def _joined(self, parts: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """All rows, and for each the mode of its batch."""
        rows = torch.cat([rows for rows, _ in parts] or [torch.zeros(0, self.width, dtype=torch.uint8)])
        return rows, torch.tensor([mode for rows, mode in parts for _ in range(len(rows))], dtype=torch.uint8)

    def _beginnings(self, idx) -> torch.Tensor:
        """The first tokens of the first rows, (n, width) uint8 on the CPU."""
        rows = torch.full((min(len(idx), self.sampled), self.width), NO_TOKEN, dtype=torch.uint8)
        rows[:, : idx.shape[1]] = idx.detach()[: self.sampled, : self.width].to("cpu", torch.uint8)
        return rows

    @staticmethod
    def _dropouts(model) -> list[torch.nn.Dropout]:
        return [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]

    def _drops(self, model) -> int:
        """An index of DROPOUT: a part may be in another mode than the whole, or have a p of its own."""
        if not model.training:
            return 0
        parts = self._dropouts(model)
        if not all(part.training for part in parts):
            return 1
        return 3 if all(part.p == model.config.dropout for part in parts) else 2

    def _taught(self, gradient) -> torch.Tensor:
        """The targets that a gradient of logits (n, T, V) shows, (n, width) uint8.

        Cross entropy raises one logit at each place: its gradient is softmax - 1, that of the others softmax. Where several
        are raised it is another loss, or one turned round, and shows no target.
        """
        token, raised = gradient.argmin(dim=-1), (gradient < 0).sum(dim=-1)
        found = torch.where(raised == 1, token, NO_TOKEN)[:, : self.width].to("cpu", torch.uint8)
        targets = torch.full((len(found), self.width), NO_TOKEN, dtype=torch.uint8)
        targets[:, : found.shape[1]] = found
        return targets

    def _looks(self, model, idx) -> None:
        """A forward pass, of whatever kind."""
        if self._kept_looked < MAX_LOOKED:
            drops = any(module.training for module in self._dropouts(model))
            self._looked.append((self._beginnings(idx), model.training or drops))
            self._kept_looked += len(self._looked[-1][0])

    def _saw(self, model, idx, logits) -> None:
        """A forward pass with gradients: has the model changed since the last, and on what is it trained?"""
        entry = self._prints.setdefault(id(model), [model, None, 0])
        self._compare(entry)
        self._end_if_over(entry[2])
        if not logits.requires_grad or self._kept >= MAX_ROWS:
            return
        rows, mode = self._beginnings(idx), self._drops(model)

        def trained(gradient):
            # Only what a loss comes from is trained on: evaluating needs no gradients off.
            gradient = gradient[: len(rows)]
            used = (gradient != 0).flatten(1).any(dim=1).cpu()
            self._rows.append((rows[used], mode))
            self._targets.append((self._taught(gradient)[used], mode))
            self._kept += len(rows)

        logits.register_hook(trained)


def observe(function, args, kwargs, width: int, shake: int, sampled: int, send) -> Training:
    """Call a function that trains for kwargs["steps"] updates and reports, and watch.

    width, sampled: how many tokens are kept of a row of input, and how many rows of a batch.
    shake: seeds every generator that the run is not to depend on.
    """
    torch.manual_seed(shake)
    random.seed(shake)
    np.random.seed(shake)
    observer = Observer(width, kwargs["steps"], send, sampled)
    with observer:
        try:
            observer.seen.model = function(*args, **kwargs, report=observer.report)
        except TooManyUpdates:
            observer.seen.ended, observer.seen.model = True, ENDED
    return observer.seen


def unheard(step, loss) -> None:
    """A `report` that nobody reads."""


def condition(model: torch.nn.Module, train: list[bool], frozen: list[bool], grad: float | None) -> None:
    """Give a model modes and requires_grad, in order and repeated, and gradients, so that a change shows."""
    for index, module in enumerate(model.modules()):
        module.training = bool(train[index % len(train)])
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(not frozen[index % len(frozen)])
        if grad is not None:
            parameter.grad = torch.full_like(parameter, grad + index)


_OWN = frozenset(vars(torch.nn.Module()))  # attributes that torch gives every module
_HOOKS = sorted(name for name in _OWN if "hook" in name)


def state_of(model: torch.nn.Module, kept: list) -> dict:
    """All that can be observed of a model, and that a call which only reads it may not change.

    {"parameters", "grads", "buffers": arrays by name; "modes": `training` of each module; "frozen", "dtypes",
    "objects": of each parameter; "dropout": p of each dropout; "config", "hooks", "modules", "attributes": as text}.

    Objects are compared by their id. kept: holds them alive, or a new object might get an old one's id.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    modules = dict(model.named_modules())
    kept.append((list(parameters.values()), list(modules.values())))

    def shown(value) -> str:
        if type(value) in (bool, int, float, str, type(None)):
            return repr(value)
        kept.append(value)
        return f"{type(value).__name__} {id(value)}"

    def hooks(holder, names) -> str:
        found = {name: list((getattr(holder, name, None) or {}).items()) for name in names}
        return ", ".join(f"{name}: {shown(hook)}" for name, items in found.items() for _, hook in items)

    of_parameters = ("_backward_hooks", "_post_accumulate_grad_hooks")
    extra = {
        f"{name}.{key}": shown(value)
        for name, module in modules.items() for key, value in vars(module).items()
        if key not in _OWN and key != "config" and not (key == "p" and _is_dropout(module))
    }  # fmt: skip
    return {
        "parameters": {name: p.detach().clone() for name, p in parameters.items()},
        "grads": {name: None if p.grad is None else p.grad.clone() for name, p in parameters.items()},
        "buffers": {name: b.to(torch.float32) for name, b in model.named_buffers()},
        "modes": {name: m.training for name, m in modules.items()},
        "frozen": {name: not p.requires_grad for name, p in parameters.items()},
        "dtypes": {name: f"{p.dtype} on {p.device}" for name, p in parameters.items()},
        "objects": {name: id(p) for name, p in parameters.items()},
        "dropout": {name: float(m.p) for name, m in modules.items() if _is_dropout(m)},
        "config": {name: repr(vars(m)["config"])[:500] for name, m in modules.items() if "config" in vars(m)},
        "hooks": {name: hooks(m, _HOOKS) for name, m in modules.items()}
        | {f"{name} (parameter)": hooks(p, of_parameters) for name, p in parameters.items()},
        "modules": {name: f"{shown(m)} of {shown(type(m))}" for name, m in modules.items()},
        "attributes": extra,
    }


def _is_dropout(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.modules.dropout._DropoutNd)


def settings() -> dict:
    """Torch's global settings, which no call may leave changed, as plain values by their names in a message."""
    every = torch.nn.modules.module
    hooks = [name for name in vars(every) if name.startswith("_global_") and isinstance(vars(every)[name], dict)]
    return {
        "the default dtype": str(torch.get_default_dtype()),
        "the default device": str(torch.get_default_device()),
        "the grad mode": torch.is_grad_enabled(),
        "autocast": [torch.is_autocast_enabled(device) for device in ("cpu", "cuda")],
        "the detection of anomalies": torch.is_anomaly_enabled(),
        "the deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the precision of matrix products": torch.get_float32_matmul_precision(),
        "the number of threads": torch.get_num_threads(),
        "hooks of all modules": [len(vars(every)[name]) for name in hooks],
    }


def generators() -> dict:
    """A fingerprint of each global generator: none may be seeded or drawn from where a call is given its own."""
    states = {"torch": torch.get_rng_state().numpy().tobytes(), "random": repr(random.getstate()).encode()}
    states["numpy"] = repr([part if isinstance(part, (str, int, float)) else part.tobytes() for part in np.random.get_state()]).encode()
    return {f"the generator of {name}": hashlib.sha256(state).hexdigest()[:16] for name, state in states.items()}


def groups(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> list[dict]:
    """The groups of an optimizer: the names of their parameters, "?" for one that is not the model's."""
    names = {id(p): name for name, p in model.named_parameters()}
    return [
        {
            "names": [names.get(id(p), "?") for p in group["params"]],
            "lr": float(group["lr"]),
            "weight_decay": float(group["weight_decay"]),
        }
        for group in optimizer.param_groups
    ]


def difference(one: torch.nn.Module, other: torch.nn.Module) -> float | None:
    """The largest difference between two models' parameters; None where names or shapes differ."""
    first, second = dict(one.named_parameters()), dict(other.named_parameters())
    if {k: p.shape for k, p in first.items()} != {k: p.shape for k, p in second.items()}:
        return None
    with torch.no_grad():
        return max((float((p.double() - second[k].to(p.device).double()).abs().max()) for k, p in first.items()), default=0.0)


@torch.no_grad()
def default_difference(model: torch.nn.Module, seed: int) -> dict:
    """How far a model's logits are from those of a GPT with default parts and the same weights.

    {"difference": None where the parameters differ, "missing", "others": the names of some that do}
    """
    config = model.config
    some = next(model.parameters())
    default = gpt_core.GPT(config).to(some)  # its dtype and its device
    own, parameters = dict(model.named_parameters()), dict(default.named_parameters())
    missing, others = (
        [k for k, p in one.items() if k not in other or other[k].shape != p.shape][:5]
        for one, other in ((parameters, own), (own, parameters))
    )
    if missing or others:
        return {"difference": None, "missing": missing, "others": others}
    for name, parameter in parameters.items():
        parameter.copy_(own[name])
    default.eval()
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, config.vocab_size, (4, min(config.block_size, 32)), generator=generator)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    tokens = tokens.to(some.device)
    logits = model(tokens)[0]
    for module, training in modes:
        module.training = training
    difference = float((logits - default(tokens)[0]).float().abs().max())
    return {"difference": difference, "missing": [], "others": []}


@torch.no_grad()
def generate(model: torch.nn.Module, prompts: torch.Tensor, count: int) -> torch.Tensor:
    """Greedy decoding: prompts (B, T) long -> the `count` most likely next tokens, (B, count) long."""
    model.eval()
    for _ in range(count):
        following = model(prompts)[0][:, -1].argmax(dim=-1, keepdim=True)
        prompts = torch.cat([prompts, following], dim=1)
    return prompts[:, -count:]
