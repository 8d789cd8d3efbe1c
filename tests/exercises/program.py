"""What a check asks of a worker, written down step by step.

    program = Program()
    attention = program.build(name("FusedMultiHeadAttention"), program.config(...), parameters=weights)
    y = program.call(attention, program.tensor(x))
    answer = subject.run(program.give(y=y))

Nothing is computed here. The same program runs on the attempt, on the reference and, to find out which
mistake was made, on every mistake of the catalogue.
"""

import hashlib
import json

import numpy as np


class Ref:
    """The result of a step, or an attribute of it."""

    def __init__(self, index: int, attribute: str = ""):
        self.index, self.attribute = index, attribute

    def attr(self, attribute: str) -> "Ref":
        """An attribute of the result, dotted."""
        return Ref(self.index, f"{self.attribute}.{attribute}".strip("."))


def name(of: str) -> dict:
    """What the graded module calls `of`."""
    return {"name": of}


def gpt_core(of: str) -> dict:
    """What gpt_core calls `of`."""
    return {"gpt_core": of}


def addition(of: str) -> dict:
    """What data.addition calls `of`."""
    return {"addition": of}


def probe(of: str) -> dict:
    """What grader/worker/probes.py calls `of`."""
    return {"probe": of}


class Program:
    """Steps for a worker (grader/worker/steps.py), the arrays they use, and the values to give back."""

    def __init__(self):
        self.steps: list[dict] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.gives: dict[str, object] = {}
        self.seconds: float | None = None  # a deadline of its own, for a program that trains
        self.progress = None  # called with what a training step says on the way
        self.asked_once = False  # checks that ask for the same share one answer of the attempt

    def _add(self, do: str, **arguments) -> Ref:
        self.steps.append({"do": do} | {key: _plain(value) for key, value in arguments.items()})
        return Ref(len(self.steps) - 1)

    def _array(self, array: np.ndarray) -> str:
        key = f"a{len(self.arrays)}"
        self.arrays[key] = np.asarray(array, order="C")
        return key

    def _arrays(self, arrays: dict[str, np.ndarray] | None) -> dict[str, str]:
        return {key: self._array(array) for key, array in (arrays or {}).items()}

    def config(self, **fields) -> Ref:
        """A GPTConfig."""
        return self._add("config", **fields)

    def tensor(self, array, dtype="float32", layout="contiguous", requires_grad=False) -> Ref:
        """A tensor of the array's numbers; layout: a name in LAYOUTS of grader/worker/steps.py."""
        return self._add(
            "tensor", array=self._array(array), dtype=dtype, layout=layout, requires_grad=requires_grad
        )

    def call(self, function, *args, kwargs=None, no_grad=False) -> Ref:
        """Call a function, or a module that was built."""
        return self._add("call", function=function, args=list(args), kwargs=kwargs or {}, no_grad=no_grad)

    def build(self, function, *args, kwargs=None, parameters=None, dtype="float32", train=False) -> Ref:
        """Build a module and give it dtype, mode and weights (arrays by parameter name)."""
        return self._add(
            "build", function=function, args=list(args), kwargs=kwargs or {},
            parameters=self._arrays(parameters), dtype=dtype, train=train,
        )  # fmt: skip

    def set_parameters(self, module: Ref, parameters: dict[str, np.ndarray]) -> Ref:
        """Overwrite a module's parameters, by name."""
        return self._add("set_parameters", module=module, parameters=self._arrays(parameters))

    def gradients(self, output: Ref, cotangent: np.ndarray, **wrt) -> Ref:
        """The gradients of sum(output * cotangent); a module stands for all of its parameters."""
        return self._add("gradients", output=output, cotangent=self._array(cotangent), wrt=wrt)

    def count_operations(self, function, *args, no_grad=False) -> Ref:
        """How many tensor operations one call dispatches."""
        return self._add("count_operations", function=function, args=list(args), no_grad=no_grad)

    def add_in_place(self, tensor: Ref, amount: float) -> Ref:
        """Change a tensor in place."""
        return self._add("add_in_place", tensor=tensor, amount=amount)

    def parameters(self, module: Ref) -> Ref:
        """Name to shape, dtype, device and requires_grad of each parameter."""
        return self._add("parameters", module=module)

    def values(self, module: Ref) -> Ref:
        """The parameters' values, by name."""
        return self._add("values", module=module)

    def modes(self, module: Ref) -> Ref:
        """`training` of the module and of everything in it."""
        return self._add("modes", module=module)

    def train(self, module: Ref, train: bool) -> Ref:
        """Put a module into train or eval mode."""
        return self._add("train", module=module, train=train)

    def to(self, module: Ref, dtype: str) -> Ref:
        """Give a module another dtype."""
        return self._add("to", module=module, dtype=dtype)

    def seed(self, seed: int) -> Ref:
        """Seed torch's generators, here and now."""
        return self._add("seed", seed=seed)

    def add_to_parameters(self, module: Ref, amount: float) -> Ref:
        """Change every parameter in place."""
        return self._add("add_to_parameters", module=module, amount=amount)

    def require(self, value: Ref, of: str) -> Ref:
        """Fail unless a value is an instance of what the graded module calls `of`."""
        return self._add("require", value=value, name=of)

    def copy_parameters(self, source: Ref, target: Ref) -> Ref:
        """Write the parameters of one module into those of the same names of another."""
        return self._add("copy_parameters", source=source, target=target)

    def item(self, value: Ref, index: int, count: int) -> Ref:
        """An item of a tuple that must have `count` of them."""
        return self._add("item", value=value, index=index, count=count)

    def outcome(self, function, *args, kwargs=None) -> Ref:
        """{"value": what a call gives} or {"raised": [the built-in exceptions that it is one of]}."""
        return self._add("outcome", function=function, args=list(args), kwargs=kwargs or {})

    def generator(self, seed: int) -> Ref:
        """A torch.Generator on the CPU."""
        return self._add("generator", seed=seed)

    def oracle(self, steps: np.ndarray, table: np.ndarray, train: list[bool]) -> Ref:
        """A test model whose every answer is known (grader/worker/probes.py)."""
        return self._add("oracle", steps=self._array(steps), table=self._array(table), train=train)

    def record(self, model: Ref) -> Ref:
        """What a test model was called with: lists of tokens, grad and training."""
        return self._add("record", model=model)

    def observe(self, function: dict, *args, width: int, shake: int = 0, sampled: int = 1024, **kwargs) -> Ref:
        """Call a function that trains, and watch it; the attributes of the result are those of probes.Training.

        kwargs: steps, seed and what else it takes; device and report are added.
        """
        return self._add(
            "observe", function=function, args=list(args), kwargs=kwargs, width=width, shake=shake, sampled=sampled
        )

    def difference(self, one: Ref, other: Ref) -> Ref:
        """The largest difference between the parameters of two GPTs."""
        return self._add("difference", one=one, other=other)

    def default_difference(self, model: Ref) -> Ref:
        """How far a GPT's logits are from those of default parts with its weights."""
        return self._add("default_difference", model=model)

    def sizes(self, model: Ref) -> Ref:
        """A GPT's config and its number of parameters."""
        return self._add("sizes", model=model)

    def weights(self, model: Ref, largest: int) -> Ref:
        """The parameters of a GPT that has at most `largest` numbers."""
        return self._add("weights", model=model, largest=largest)

    def condition(self, model: Ref, train=(False,), frozen=(False,), grad: float | None = None) -> Ref:
        """Give a model modes, frozen parameters and gradients, the lists in order and repeated."""
        return self._add("condition", model=model, train=list(train), frozen=list(frozen), grad=grad)

    def state(self, model: Ref) -> Ref:
        """What a call may not change in a model (probes.state_of)."""
        return self._add("state", model=model)

    def attributes(self, value: Ref) -> Ref:
        """The attributes of an object, as text."""
        return self._add("attributes", value=value)

    def observable(self, model: Ref, **objects: Ref) -> dict[str, Ref]:
        """All that a call may not change: the state of a model, torch's settings, and the attributes of other objects."""
        found = {"model": self.state(model), "settings": self.settings()}
        return found | {key: self.attributes(value) for key, value in objects.items()}

    def settings(self) -> Ref:
        """Torch's global settings, which no call may change (probes.settings)."""
        return self._add("settings")

    def generators(self) -> Ref:
        """A fingerprint of each global generator (probes.generators)."""
        return self._add("generators")

    def tie(self, model: Ref) -> Ref:
        """Let the output weights of a GPT be its embedding's."""
        return self._add("tie", model=model)

    def register(self, model: Ref, shapes: dict[str, tuple]) -> Ref:
        """Give a model parameters of its own."""
        return self._add("register", model=model, shapes={key: list(shape) for key, shape in shapes.items()})

    def groups(self, optimizer: Ref, model: Ref) -> Ref:
        """{"type", "groups", "state"} of an optimizer."""
        return self._add("groups", optimizer=optimizer, model=model)

    def update(self, optimizer: Ref, model: Ref) -> Ref:
        """One update of a model, with a gradient of 1 everywhere."""
        return self._add("update", optimizer=optimizer, model=model)

    def chars(self, tokenizer: Ref) -> Ref:
        """The characters of a CharTokenizer, in the order of their ids."""
        return self._add("chars", tokenizer=tokenizer)

    def exhaustive_loss(self, model: Ref, tokens: Ref) -> Ref:
        """The mean cross entropy of a model over every target of the tokens."""
        return self._add("exhaustive_loss", model=model, tokens=tokens)

    def generate(self, model: Ref, prompts: Ref, count: int) -> Ref:
        """The `count` tokens that a model writes after each prompt, greedily."""
        return self._add("generate", model=model, prompts=prompts, count=count)

    looks = None

    def request(self) -> dict:
        """The request to a worker, but for the subject and the seed."""
        return {"do": "run", "steps": self.steps, "give": self.gives}

    def digest(self) -> str:
        """Equal for programs that ask for the same."""
        digest = hashlib.sha256(json.dumps([self.steps, self.gives], sort_keys=True).encode())
        for key, array in self.arrays.items():
            digest.update(f"{key} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def names(self) -> frozenset[str]:
        """What the program takes of the graded module."""
        found, left = set(), [self.steps]
        while left:
            value = left.pop()
            if isinstance(value, dict):
                found |= {value["name"]} if isinstance(value.get("name"), str) else set()
                left += value.values()
            elif isinstance(value, list):
                left += value
        return frozenset(found)

    def give(self, **values) -> "Program":
        """Name the values that the worker sends back."""
        self.gives |= {key: _plain(value) for key, value in values.items()}
        return self


def _plain(value):
    if isinstance(value, Ref):
        return {"ref": value.index} | ({"attr": value.attribute} if value.attribute else {})
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
