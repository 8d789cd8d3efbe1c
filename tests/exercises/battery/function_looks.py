"""What the checks look at in any function, in plain torch: what it returns, what it refuses, and what its
generator decides.

`unit` is its name in the graded module `m`. An array among its arguments is a tensor for it.
"""

import numpy as np

from grader.worker import probes, tools
from grader.worker.seeds import seed_all


def returned(m, unit, calls):
    """What the function returns for each list of arguments; a dict at its end holds keyword arguments."""
    return {str(i): getattr(m, unit)(*args, **kwargs) for i, (args, kwargs) in enumerate(map(split, calls))}


def refused(m, unit, calls):
    """The outcome of each call."""
    return {
        str(i): tools.outcome(getattr(m, unit), *args, **kwargs)
        for i, (args, kwargs) in enumerate(map(split, calls))
    }


def split(arguments):
    """Positional and keyword arguments, with a tensor for each array."""
    kwargs = arguments[-1] if isinstance(arguments[-1], dict) else {}
    return [as_tensor(value) for value in arguments[: len(arguments) - bool(kwargs)]], kwargs


def as_tensor(value):
    """A tensor for an array; any other value unchanged."""
    return tools.tensor(value, str(value.dtype)) if isinstance(value, np.ndarray) else value


def kept(m, unit, arguments):
    """Torch's settings before and after, and the arguments, by the names that the judge gives them, as they
    are then."""
    arguments = {name: as_tensor(value) for name, value in arguments.items()}
    before = probes.settings()
    getattr(m, unit)(*arguments.values())
    return arguments | {"before": before, "after": probes.settings()}


def seeded_draws(m, unit, arguments, items):
    """Draws of a function whose last argument is a generator, each as a list: of its result alone, or of the
    `items` of it.

    first, next: from one generator with seed 5. again: from another one. reseeded: from the first, seeded
    with 5 once more.
    other: from one with seed 6. Torch's own generators are in another state for each, but for first and
    other.
    before, after: torch's settings and its own generators around the first draw.
    """
    one, again, other = (tools.generator(seed) for seed in (5, 5, 6))

    def draw(generator):
        drawn = getattr(m, unit)(*arguments, generator)
        return [drawn] if items is None else [tools.item(drawn, index, items) for index in range(items)]

    seed_all(1)
    before = probes.settings() | probes.generators()
    draws = {"first": draw(one)}
    after = probes.settings() | probes.generators()
    for name, generator, own_seed in (("next", one, 2), ("again", again, 3), ("other", other, 1)):
        seed_all(own_seed)
        draws[name] = draw(generator)
    one.manual_seed(5)
    seed_all(4)
    draws["reseeded"] = draw(one)
    flat = {f"{name}{index}": part for name, parts in draws.items() for index, part in enumerate(parts)}
    return flat | {"before": before, "after": after}
