"""A request of a check to a worker: a look, which is a function of plain torch in one of the files of looks,
and its arguments.

    LOOKS = Looks("tests.exercises.ex2.looks")
    answer = subject.run(LOOKS("made_batch", a=a, b=b, n=3))

Nothing is computed here. The same look runs on the attempt, on the reference and, to find out which mistake
was made, on every mistake of the catalogue. Its file is sent as text: an attempt's process cannot read
tests/."""

import ast
import copy
import functools
import hashlib
import json
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


class Looks:
    """A file of looks: each is a function that takes the graded module `m`, then arrays and plain values."""

    def __init__(self, name: str):
        self.name = name
        self.source = (ROOT / (name.replace(".", "/") + ".py")).read_bytes()
        tree = ast.parse(self.source)
        imports = [
            node
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module.startswith("tests.")
        ]
        # other files of looks, sent ahead of this one
        self.needs = tuple(Looks.named(node.module) for node in imports)
        self._functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        self._borrowed = {
            alias.asname or alias.name: (Looks.named(node.module), alias.name)
            for node in imports
            for alias in node.names
        }

    @staticmethod
    @functools.cache
    def named(name: str) -> "Looks":
        """The one file of this name."""
        return Looks(name)

    def __call__(
        self,
        function: str,
        *,
        seconds: float | None = None,
        progress=None,
        once: bool = False,
        keep: bool = False,
        **given,
    ) -> "Asked":
        """A look with its arguments: arrays, plain values, and dicts and lists of them.

        seconds: a deadline of its own, for one that trains; progress: called with what the look reports while
        it runs. once: several checks ask for the same, and share one answer of the attempt. keep: it takes
        minutes, and its answer is kept for the next grade of the same file (grader/judge/kept.py).
        """
        if function not in self._functions:
            raise KeyError(f"{self.name} has no look {function}")
        return Asked(self, function, given, seconds, progress, once, keep)

    @functools.cache  # noqa: B019 (there is one Looks for each file of looks, and it stays)
    def takes(self, function: str) -> frozenset[str]:
        """The names that a look takes of the graded module: m.NAME, in it or in the functions that it
        calls."""
        found, node = set(), self._functions[function]
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "m":
                found.add(part.attr)
            elif isinstance(part, ast.Name) and part.id != function:
                if part.id in self._functions:
                    found |= self.takes(part.id)
                elif part.id in self._borrowed:
                    looks, name = self._borrowed[part.id]
                    found |= looks.takes(name) if name in looks._functions else set()
        return frozenset(found)


class Asked:
    """One look that is asked for. Equal ones have the same digest."""

    def __init__(self, looks: Looks, function: str, given: dict, seconds, progress, once: bool, keep: bool):
        self.looks, self.function = looks, function
        self.keeps = keep
        self.seconds, self.progress, self.asked_once = seconds, progress, once
        self.devices_traced = False
        self.arrays: dict[str, np.ndarray] = {}
        self.given = self._packed(given)

    def _packed(self, value):
        if isinstance(value, np.ndarray):
            key = f"a{len(self.arrays)}"
            self.arrays[key] = np.asarray(value, order="C")
            return {"array": key}
        if isinstance(value, dict):
            return {key: self._packed(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._packed(item) for item in value]
        return value

    def traced(self) -> "Asked":
        """The same, carried out where tensors are watched for which no device was named
        (grader/worker/devices.py)."""
        other = copy.copy(self)
        other.devices_traced = True
        return other

    def request(self) -> dict:
        """The request to a worker, but for the subject and the seed."""
        request = {"do": "look", "looks": self.looks.name, "function": self.function, "given": self.given}
        return request | ({"traced": True} if self.devices_traced else {})

    def digest(self) -> str:
        """Equal for looks that ask for the same."""
        digest = hashlib.sha256(json.dumps(self.request(), sort_keys=True).encode())
        for key, array in self.arrays.items():
            digest.update(f"{key} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def names(self) -> frozenset[str]:
        """What the look takes of the graded module; a `unit` that it is given is such a name."""
        return self.looks.takes(self.function) | ({self.given["unit"]} if "unit" in self.given else set())
