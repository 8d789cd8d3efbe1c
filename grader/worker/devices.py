"""Mistakes of devices, found without a GPU: which tensors were made without a device, and where one of them
meets a tensor that has a place.

On a GPU the input, the parameters and the registered buffers lie there: they are *placed*. What is computed
from them is placed too, and so is what is made with `device=` or moved with `.to(..)`. A tensor that is made
without a device lies on the CPU: it is *stray*. Where both kinds meet, a GPU would raise a RuntimeError. Here
all of them lie on the CPU, so the numbers are real, and every function of torch is watched.

Of what cannot be told (a tensor from compiled code, a gradient) nothing is claimed: a right file is never
stopped.
"""

import linecache
import re
import sys
from dataclasses import dataclass

import torch
import torch.utils._device
from torch.overrides import TorchFunctionMode

from grader.worker.errors import StepError

PLACED, STRAY, UNKNOWN = "placed", "stray", "unknown"
# Functions in which torch lets both kinds meet: an index may lie on the CPU, and a copy crosses devices.
CROSSING = ("__setitem__", "__get__", "__set__", "copy_", "to", "type_as", "type")
# Functions that take the second tensor for its form, and those inside torch, as nn.Module.to calls them.
OF_ONE = re.compile(r"new_|_[a-z]|.*_like$")
LITERAL_CPU = re.compile(r"""["']cpu["']""")
# What a stray tensor gives as its device. It is the CPU, too; what is moved there stays stray.
OF_STRAY = torch.device("cpu", 0)

_now: "Tracing | None" = None


def place(*tensors: torch.Tensor) -> None:
    """These lie on the device; nothing where devices are not traced."""
    if _now is not None:
        for tensor in tensors:
            _now.note(tensor, Known(PLACED))


def is_stray(value) -> bool:
    """Whether a tensor is known to lie on the CPU whatever the device is."""
    return _now is not None and isinstance(value, torch.Tensor) and _now.known_of(value).state == STRAY


@dataclass(frozen=True)
class Known:
    """What is known of a tensor; of a stray one, the function of the graded file that made it, and its
    line."""

    state: str
    function: str = ""
    line: int = 0


NOTHING = Known(UNKNOWN)


class Tracing(TorchFunctionMode):
    """Watches the functions of torch; raises StepError where a stray tensor meets a placed one.

    module: the graded one, whose tensors were made while it was imported. found: that error, for a learner's
    code may catch it.
    """

    def __init__(self, module):
        super().__init__()
        self.filename = module.__file__
        # By id; and by the address of the memory, for a parameter is another object than the tensor that it
        # is made of. What stands beside it keeps the id and the address from being used again.
        self.by_id: dict[int, tuple[torch.Tensor, Known]] = {}
        self.by_memory: dict[int, tuple[object, Known]] = {}
        self.found: StepError | None = None
        for tensor in _tensors_of(vars(module)):
            self.note(tensor, Known(STRAY, "<module>"))

    def __enter__(self):
        global _now
        _now, self._from_numpy = self, torch.from_numpy
        torch.from_numpy = self._noted_from_numpy  # no mode sees this one
        return super().__enter__()

    def __exit__(self, *details):
        global _now
        _now, torch.from_numpy = None, self._from_numpy
        return super().__exit__(*details)

    def _noted_from_numpy(self, array):
        tensor = self._from_numpy(array)
        self.note(tensor, self._made_here())
        return tensor

    def note(self, tensor: torch.Tensor, known: Known) -> None:
        """What is known of a tensor from here on."""
        self.by_id[id(tensor)] = tensor, known
        address, memory = _memory(tensor)
        if address:
            self.by_memory.setdefault(address, (memory, known))

    def known_of(self, tensor: torch.Tensor) -> Known:
        """What is known of a tensor."""
        if id(tensor) in self.by_id:
            return self.by_id[id(tensor)][1]
        return self.by_memory.get(_memory(tensor)[0], (None, NOTHING))[1]

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(function, "__name__", str(function))
        given = [(tensor, self.known_of(tensor)) for tensor in _tensors((args, kwargs))]
        self._refuse(name, args, given)
        result = function(*args, **kwargs)
        if name == "__set__":
            if len(given) == 2:  # parameter.data = tensor
                self.note(given[0][0], given[1][1])
            return result
        if isinstance(result, torch.device):
            return OF_STRAY if given and given[0][1].state == STRAY else result
        target = self._target(name, args, kwargs)
        own = {id(tensor) for tensor, _ in given}
        if target and isinstance(result, torch.Tensor) and id(result) in own:
            result = torch.ops.aten.alias(result)  # on a GPU it would be another tensor
            own = set()
        came = target or self._of_given([known for _, known in given])
        for tensor in _tensors(result):
            if id(tensor) not in own:  # what works in place stays where it is
                self.note(tensor, came)
        return result

    def _refuse(self, name: str, args: tuple, given: list) -> None:
        placed = [tensor for tensor, known in given if known.state == PLACED]
        if placed and name in ("numpy", "__array__"):
            self._fail("devices numpy", function=name.strip("_"))
        # A number, which has no dimension, may lie anywhere.
        stray = [(t, known) for t, known in given if known.state == STRAY and t.dim() > 0]
        if not placed or not stray or name in CROSSING or OF_ONE.match(name):
            return
        if name == "__getitem__" and not (args[0] is stray[0][0] and any(t.dim() > 0 for t in placed)):
            return
        made = stray[0][1]
        which = next(i for i, (tensor, _) in enumerate(given) if tensor is stray[0][0])
        self._fail("devices", function=name.strip("_"), which=which, made_in=made.function, line=made.line)

    def _fail(self, kind: str, **details):
        self.found = self.found or StepError(kind, **details)
        raise self.found

    def _target(self, name: str, args: tuple, kwargs: dict) -> Known | None:
        """Where a call puts its result in so many words: device=, .to(..), .cpu(); None where it does not."""
        if name == "cpu":
            return self._made_here()
        moves = name in ("to", "type_as", "type")
        named = [kwargs.get("device"), *((*args[1:], *kwargs.values()) if moves else ())]
        named = [value for value in named if isinstance(value, (torch.device, str, torch.Tensor))]
        if not named:
            by_default = getattr(torch.utils._device, "CURRENT_DEVICE", None) is not None
            return Known(PLACED) if by_default or name == "cuda" else None
        if isinstance(named[0], torch.Tensor):
            return self.known_of(named[0])
        if named[0] == OF_STRAY:
            return self._made_here()
        # A line with "cpu" in it may choose between devices.
        return NOTHING if _says_cpu() else Known(PLACED)

    def _of_given(self, given: list[Known]) -> Known:
        """What is known of the result of a function of these."""
        for state in (PLACED, UNKNOWN, STRAY):
            found = next((known for known in given if known.state == state), None)
            if found is not None:
                return found
        return self._made_here()

    def _made_here(self) -> Known:
        """A tensor that is made without a device, with the learner's line that makes it."""
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self.filename:
            frame = frame.f_back
        return Known(STRAY) if frame is None else Known(STRAY, frame.f_code.co_name, frame.f_lineno)


def _says_cpu() -> bool:
    """Whether the line that calls torch holds the literal "cpu"."""
    frame = sys._getframe(1)
    while frame is not None and (_is_here(frame) or frame.f_globals.get("__name__", "").startswith("torch.")):
        frame = frame.f_back
    if frame is None:
        return False
    return bool(LITERAL_CPU.search(linecache.getline(frame.f_code.co_filename, frame.f_lineno)))


def _is_here(frame) -> bool:
    return frame.f_globals.get("__name__") == __name__


def _memory(tensor: torch.Tensor) -> tuple[int, object]:
    """The address of a tensor's memory, and what holds it; 0 and None where there is none to see."""
    try:
        storage = tensor.untyped_storage()
        return storage.data_ptr(), storage
    except (RuntimeError, NotImplementedError):  # of vmap, sparse, meta, ..
        return 0, None


def _tensors(value):
    """The tensors among some arguments or results, in lists, tuples and dicts too."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _tensors_of(names: dict):
    """The tensors that a module keeps: its global ones, those of its classes, and defaults of arguments."""
    for value in list(names.values()):
        if isinstance(value, type):
            yield from _tensors(dict(vars(value)))
        elif callable(value):
            yield from _tensors(getattr(value, "__defaults__", None) or ())
        else:
            yield from _tensors(value)
