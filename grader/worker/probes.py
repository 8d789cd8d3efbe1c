"""What checks need beyond a plain call: a test model whose answers the judge knows, an observer of a training
run, the state that a call may not change in a model, and greedy decoding.
"""

import functools
import hashlib
import random
import time
import weakref
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

import gpt_core
from grader.worker.devices import is_stray
from grader.worker.seeds import seed_all

MAX_CALLS = 200  # of a test model, that are recorded
MAX_ROWS = 1 << 17  # of training input, that are kept
ROWS_PER_CALL = 1024
MAX_LOOKED = 1 << 13  # rows of input, trained on or not, that are kept; LOOKED_PER_CALL of each pass
LOOKED_PER_CALL = 64
NO_TOKEN = 255  # stands behind the last token of a row that is shorter than the others
PROGRESS_SECONDS = 0.25
MOST_POINTS = 400  # of what was reported
DROPOUT = ("the model is in eval mode", "a part is in eval mode", "some p is not the config's", "on")
SLACK = 6  # updates beyond what was asked for, after which a run is ended


_GPTS: list[weakref.ref] = []  # every GPT that there is, the newest last


def _remember_gpts() -> None:
    """Keep _GPTS from here on. To look for them among all objects when a run begins takes longer than the
    run."""
    init = gpt_core.GPT.__init__

    def known(model):
        if len(_GPTS) > 100:  # copies come and go
            _GPTS[:] = [reference for reference in _GPTS if reference() is not None]
        _GPTS.append(weakref.ref(model))

    @functools.wraps(init)
    def new(model, *args, **kwargs):
        known(model)
        init(model, *args, **kwargs)

    def restored(model, state):  # of a copy, or out of a file
        known(model)
        torch.nn.Module.__setstate__(model, state)

    gpt_core.GPT.__init__, gpt_core.GPT.__setstate__ = new, restored


_remember_gpts()


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
        super().__init__(
            gpt_core.GPTConfig(vocab_size=V, block_size=T, n_layer=1, n_head=1, n_embd=4, dropout=0.5)
        )
        self.register_buffer("steps", steps, persistent=False)
        self.register_buffer("table", table, persistent=False)
        self.record = Record()

    def logits(self, idx: torch.Tensor) -> torch.Tensor:
        """idx (B, T) long -> logits (B, T, V)."""
        logits = self._logits(idx)
        if len(self.record.tokens) < MAX_CALLS:
            self.record.tokens.append(idx.detach().to("cpu", copy=True))
            self.record.grad.append(logits.requires_grad)
            self.record.training.append(
                self.training or any(m.training for m in self.modules() if _is_dropout(m))
            )
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
    updates:    how often weights were updated, over all models and optimizers together. Optimizers that step
                after the same backward pass make one update; so does a change of a model's weights, by hand,
                after its own, unless it is taken back before an optimizer steps.
    models, optimizers: how many of them were trained, and stepped.
    ended:      whether it was stopped for going on too long.
    rates:      the highest learning rate of each step of a torch optimizer.
    rows:       (N, width) uint8, the beginnings of training input whose loss reached the model; a shorter
                row is filled up with NO_TOKEN. rows_mode: (N,) uint8, what of DROPOUT held then.
    targets:    (N, width) uint8, what each token of `rows` was taught to be followed by; NO_TOKEN for
    nothing.
    longest:    the tokens of the longest row that was trained on.
    looked, looked_mode: the input of all forward passes, trained on or not, the first of it; and 1 where the
                model or any dropout in it was in train mode.
    parameter_device: the device of the trained model; "stray" where devices are traced (devices.py) and it
                was moved to none.
    reports:    how often `report` was called; report_kinds: the first call that gave other things than
                a whole number and a number, as two type names.
    curve:      (step, loss) as they were reported, every second one left out as often as there were too many.
    """

    model: object = None
    updates: int = 0
    models: int = 0
    optimizers: int = 0
    ended: bool = False
    rates: list[float] = field(default_factory=list)
    rows: torch.Tensor | None = None
    rows_mode: torch.Tensor | None = None
    targets: torch.Tensor | None = None
    longest: int = 0
    looked: torch.Tensor | None = None
    looked_mode: torch.Tensor | None = None
    reports: int = 0
    report_kinds: list[str] | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    parameter_device: str = ""


class Seen:
    """A model that was seen in a training run: its weights' fingerprint, and whether a gradient has reached
    it since."""

    def __init__(self, model):
        self.model = model  # kept alive, so that its id stands for it
        # parameters: what they were then, since a functional call exchanges them
        self.print, self.parameters = (None, [])
        self.reached, self.trained = False, False
        # the fingerprint before a change that was counted as an update by hand
        self.moved: list[float] | None = None

    def changed(self) -> bool:
        """Whether the weights are others than at the last call."""
        self.parameters = list(self.model.parameters())
        with torch.no_grad():
            now = torch.stack(torch._foreach_norm([p.detach() for p in self.parameters])).tolist()
        before, self.print = self.print, now
        return before is not None and now != before

    def is_back(self) -> bool:
        """Whether a gradient was taken after the change by hand and the change taken back, as in
        sharpness-aware training."""
        moved, there, self.moved = self.moved, self.print, None
        if moved is None or not self.reached:
            return False
        self.changed()
        return all(
            abs(now - old) <= 1e-3 * abs(far - old) + 1e-6 * old
            for now, old, far in zip(self.print, moved, there)
        )


class Pass:
    """A forward pass: its tokens, what of DROPOUT held, and whether it is among the rows that were trained
    on."""

    def __init__(self, seen: Seen, rows: torch.Tensor, mode: int, shape: tuple, first: slice):
        self.seen, self.rows, self.mode, self.shape, self.first = seen, rows, mode, shape, first
        self.answered, self.kept = False, False  # answered: its logits were seen


class Observer:
    """Watches a training run: a context manager around it, and the `report` to give to it.

    A forward pass is seen where tokens are looked up in a GPT's token table, and its logits where they come
    out of the output layer: so a loop that calls the parts one by one is seen like one that calls the model.
    """

    def __init__(self, width: int, steps: int, send=None, sampled: int = ROWS_PER_CALL):
        self.width, self.limit, self.send, self.sampled = width, steps + SLACK, send, sampled
        self.seen = Training()
        # optimizers and models of the update that goes on, by id
        self._now: tuple[set[int], set[int]] = (set(), set())
        self._inside = False  # a step of one of torch's own optimizers
        self._optimizers: dict[int, object] = {}  # kept alive, so that an id stands for one of them
        self._models: dict[int, Seen] = {}
        self._open: dict[int, Pass] = {}  # a model's id to its last pass
        self._rows: list[tuple[torch.Tensor, int]] = []  # and in which mode
        self._looked: list[tuple[torch.Tensor, int]] = []
        self._targets: list[tuple[torch.Tensor, int]] = []
        self._kept, self._kept_looked, self._passes, self._loss, self._sent = 0, 0, 0, None, 0.0

    def __enter__(self):
        observer, F = self, torch.nn.functional
        self._originals = (F.embedding, F.linear)
        embedding, linear = self._originals

        def looked_up(input, weight, *args, **kwargs):
            found = embedding(input, weight, *args, **kwargs)
            if (
                getattr(input, "dim", int)()
                and (model := observer._owner(weight, "token_embedding_table")) is not None
            ):
                # Rows of tokens in whatever shape; one row alone may come without its dimension.
                observer._looks(model, input.reshape(-1, input.shape[-1]), found)
            return found

        def applied(input, weight, bias=None):
            found = linear(input, weight, bias)
            if (
                torch.is_grad_enabled()
                and bias is not None  # most have none, or are wider
                and observer._open
                and (model := observer._owner(weight, "lm_head")) is not None
            ):
                observer._answers(model, found)
            return found

        F.embedding, F.linear = looked_up, applied
        self._hooks = (
            register_optimizer_step_pre_hook(self._steps),
            register_optimizer_step_post_hook(self._stepped),
        )
        return self

    def __exit__(self, *_):
        torch.nn.functional.embedding, torch.nn.functional.linear = self._originals
        for hook in self._hooks:
            hook.remove()
        if not self.seen.ended:
            self.seen.updates += sum(seen.changed() and seen.reached for seen in self._models.values())
        trained = [seen for seen in self._models.values() if seen.trained]
        self.seen.models, self.seen.optimizers = len(trained), len(self._optimizers)
        self.seen.rows, self.seen.rows_mode = self._joined(self._rows)
        self.seen.targets, _ = self._joined(self._targets)
        self.seen.looked, self.seen.looked_mode = self._joined(self._looked)
        for seen in (trained or list(self._models.values()))[:1]:
            first = next(seen.model.parameters())
            self.seen.parameter_device = "stray" if is_stray(first) else first.device.type
        self._models, self._open = {}, {}

    def _owner(self, weight, part: str):
        """The GPT of which a tensor is the weight of a part."""
        for reference in reversed(_GPTS):
            model = reference()
            found = None if model is None else vars(model).get("_modules", {}).get(part)
            if found is not None and found._parameters.get("weight") is weight:
                return model
        return None

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
        self.seen.curve.append((float(min(max(int(step), -1), 10**9)), self._loss))
        if len(self.seen.curve) > MOST_POINTS:
            del self.seen.curve[1:-1:2]
        self._progress(int(step))

    def _progress(self, step: int) -> None:
        now = time.monotonic()
        if self.send is not None and now - self._sent >= PROGRESS_SECONDS:
            self._sent = now
            self.send({"step": step, "loss": self._loss})

    # Updates.

    def _steps(self, optimizer, args, kwargs) -> None:
        """Before an optimizer's step. One of torch's own may change weights more than once in it (LBFGS, for
        its line search), and it is still one step; what another does inside counts."""
        self._inside = type(optimizer).__module__.startswith("torch.optim.")
        self.seen.updates -= sum(seen.is_back() for seen in self._models.values())

    def _stepped(self, optimizer, args, kwargs) -> None:
        self._inside = False
        self._optimizers[id(optimizer)] = optimizer
        if len(self.seen.rates) <= self.limit:
            self.seen.rates.append(max((float(group["lr"]) for group in optimizer.param_groups), default=0.0))
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        reached = {key: seen for key, seen in self._models.items() if seen.reached}
        own = {key: seen for key, seen in reached.items() if any(id(p) in held for p in seen.parameters)}
        for seen in (own or reached).values():  # without own: it may hold copies, which are written back
            seen.changed()  # what has changed is this step's work
            seen.reached = False
        optimizers, models = self._now
        if not optimizers or id(optimizer) in optimizers:  # a second step of the same one is another update
            optimizers, models = self._now = set(), set()
            new = max(1, len(own))
        else:  # several that step together make one update of a model
            new = len(own.keys() - models) - (not models and bool(own))
        optimizers.add(id(optimizer))
        models.update(own)
        self._updated(new)

    def _updated(self, times: int = 1) -> None:
        self.seen.updates += times
        self._progress(self.seen.updates)
        if self.seen.updates > self.limit:
            self.seen.ended = True
            raise TooManyUpdates

    def _compare(self, seen: Seen) -> None:
        """A change after a gradient reached the model, and which no optimizer explains, is an update by hand.
        One before is a copy: weights that are loaded, averaged or transferred."""
        before = seen.print
        if seen.changed() and seen.reached and not self._inside:
            seen.reached, seen.moved = False, before
            self._updated()

    def _reached(self, seen: Seen) -> None:
        """A gradient has reached the model: what steps from here on is another update."""
        seen.reached = seen.trained = True
        if not self._inside:
            self._now = set(), set()

    # What it is trained on.

    def _joined(self, parts: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """All rows, and for each the mode of its batch."""
        rows = torch.cat([rows for rows, _ in parts] or [torch.zeros(0, self.width, dtype=torch.uint8)])
        return rows, torch.tensor([mode for rows, mode in parts for _ in range(len(rows))], dtype=torch.uint8)

    def _beginnings(self, idx, first: slice) -> torch.Tensor:
        """The first tokens of some rows, (n, width) uint8 on the CPU."""
        found = idx.detach()[first, : self.width].to("cpu", torch.uint8)
        rows = torch.full((len(found), self.width), NO_TOKEN, dtype=torch.uint8)
        rows[:, : found.shape[1]] = found
        return rows

    @staticmethod
    def _dropouts(model) -> list[torch.nn.Module]:
        return [module for module in model.modules() if _is_dropout(module)]

    def _drops(self, model) -> int:
        """An index of DROPOUT: a part may be in another mode than the whole, or have another p."""
        if not model.training:
            return 0
        parts = self._dropouts(model)
        if not all(part.training for part in parts):
            return 1
        return 3 if all(part.p == model.config.dropout for part in parts) else 2

    def _taught(self, gradient) -> torch.Tensor:
        """The targets that a gradient of logits (n, T, V) shows, (n, width) uint8.

        Cross entropy raises one logit at each place: its gradient is softmax - 1, that of the others softmax,
        or with smoothed labels a little less. Where several are raised alike it is another loss, or one with
        the opposite sign, and shows no target."""
        lowest, tokens = gradient.topk(min(2, gradient.shape[-1]), dim=-1, largest=False)
        clear = (lowest[..., 0] < 0) & (lowest[..., 0] < 2 * lowest[..., -1])
        found = torch.where(clear, tokens[..., 0], NO_TOKEN)[:, : self.width].to("cpu", torch.uint8)
        targets = torch.full((len(found), self.width), NO_TOKEN, dtype=torch.uint8)
        targets[:, : found.shape[1]] = found
        return targets

    def _looks(self, model, idx, embedded) -> None:
        """Tokens are looked up: a forward pass, of whatever kind."""
        seen = self._models.setdefault(id(model), Seen(model))
        self._compare(seen)
        B, T = idx.shape
        if self._kept_looked < MAX_LOOKED:
            drops = any(module.training for module in self._dropouts(model))
            self._looked.append(
                (
                    self._beginnings(idx, slice(None, None, -(-B // LOOKED_PER_CALL) or 1)),
                    model.training or drops,
                )
            )
            self._kept_looked += len(self._looked[-1][0])
        self._open.pop(id(model), None)
        if not torch.is_grad_enabled():
            return
        # Where there are more rows than are kept, other ones of each batch.
        every = -(-B // self.sampled) if B else 1
        self._passes += 1
        first = slice(self._passes % every, None, every)
        this = self._open[id(model)] = Pass(
            seen, self._beginnings(idx, first), self._drops(model), (B, T), first
        )
        if embedded.requires_grad:
            embedded.register_hook(
                lambda gradient: None if this.answered else self._trains(this, gradient, False)
            )

    def _answers(self, model, logits) -> None:
        """Logits come out of a GPT, of the tokens that it looked up last."""
        this = self._open.pop(id(model), None)
        if this is not None and logits.requires_grad:
            this.answered = True
            logits.register_hook(lambda gradient: self._trains(this, gradient, True))

    def _trains(self, this: Pass, gradient, of_logits: bool) -> None:
        """A gradient reaches a pass: only what a loss comes from is trained on, since evaluating needs no
        gradients off."""
        if not (gradient != 0).any():
            return
        self._reached(this.seen)
        if self._kept >= MAX_ROWS or this.kept:
            return
        this.kept = True
        (B, T), width = this.shape, gradient.shape[-1]
        self.seen.longest = max(self.seen.longest, T)
        if whole := gradient.numel() == B * T * width:
            gradient = gradient.reshape(B, T, width)[this.first]
            used = (gradient != 0).flatten(1).any(dim=1).cpu()
        else:  # the logits of some places alone
            used = torch.ones(len(this.rows), dtype=torch.bool)
        targets = self._taught(gradient) if of_logits and whole else torch.full_like(this.rows, NO_TOKEN)
        self._rows.append((this.rows[used], this.mode))
        self._targets.append((targets[used], this.mode))
        self._kept += len(this.rows)


def observe(function, args, kwargs, width: int, shake: int, sampled: int, send) -> Training:
    """Call a function that trains for kwargs["steps"] updates and reports, and watch.

    width, sampled: how many tokens are kept of a row of input, and how many rows of a batch.
    shake: seeds every generator that the run is not to depend on.
    """
    seed_all(shake)
    observer = Observer(width, kwargs["steps"], send, sampled)
    with observer:
        try:
            observer.seen.model = function(*args, **kwargs, report=observer.report)
        except TooManyUpdates:
            observer.seen.ended, observer.seen.model = True, ENDED
    return observer.seen


def unheard(step, loss) -> None:
    """A `report` that does nothing."""


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
    "objects": of each parameter; "dropout": p of each dropout; "config", "hooks", "modules", "attributes": as
    text}.

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
    """Torch's global settings, which no call may leave changed, as plain values by their names in a
    message."""
    every = torch.nn.modules.module
    hooks = [
        name for name in vars(every) if name.startswith("_global_") and isinstance(vars(every)[name], dict)
    ]
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
    """A fingerprint of each global generator: none may be seeded or drawn from where a call is given its
    own."""
    states = {"torch": torch.get_rng_state().numpy().tobytes(), "random": repr(random.getstate()).encode()}
    states["numpy"] = repr(
        [part if isinstance(part, (str, int, float)) else part.tobytes() for part in np.random.get_state()]
    ).encode()
    return {
        f"the generator of {name}": hashlib.sha256(state).hexdigest()[:16] for name, state in states.items()
    }


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
        return max(
            (float((p.double() - second[k].to(p.device).double()).abs().max()) for k, p in first.items()),
            default=0.0,
        )


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
