"""What the checks look at in exercise 4, in plain torch: angles, the rotation, and where an attention begins.

These run in a worker beside the graded module `m` (grader/worker/look.py); readings.py asks for them.
"""

from grader.worker import tools
from tests.exercises.battery.module_looks import build


def angles(m, cases):
    """rope_angles of each (positions, head_size) or (positions, head_size, base), in turn."""
    found = {}
    for i, (positions, *rest) in enumerate(cases):
        found[str(i)] = m.rope_angles(tools.tensor(positions, "int64"), *rest)
    return found


def odd_head_sizes(m, head_sizes):
    """What rope_angles comes to for each head size."""
    positions = tools.tensor([0, 1, 2], "int64")
    return {str(D): tools.outcome(m.rope_angles, positions, D) for D in head_sizes}


def positions_after(m, positions, base):
    """The positions after rope_angles has seen them."""
    positions = tools.tensor(positions, "int64")
    m.rope_angles(positions=positions, head_size=8, base=base)
    return {"positions": positions}


def rotated(m, cases, dtype="float32"):
    """apply_rope of each (x, angles), in turn."""
    return {
        str(i): m.apply_rope(tools.tensor(x, dtype), tools.tensor(angles))
        for i, (x, angles) in enumerate(cases)
    }


def in_layouts(m, given, angles, dtype):
    """apply_rope of x in each layout, and "x LAYOUT", which is x after that; given: x by layout."""
    found = {}
    for layout, x in given.items():
        # The angles of an attention with a table are some of its rows.
        x, rows = tools.tensor(x, dtype, layout), tools.tensor(angles, layout="some of the tokens")
        found |= {layout: m.apply_rope(x, rows), f"x {layout}": x}
    return found


def with_changed_angles(m, x, angles):
    """apply_rope, called again after its angles were changed in place."""
    x, angles = tools.tensor(x), tools.tensor(angles)
    m.apply_rope(x, angles)
    angles += 1.0
    return {"y": m.apply_rope(x, angles)}


def with_own_angles(m, q, k, shifts):
    """q and k (1, 1, T, D), rotated by the file's own angles of the positions shift + 0, 1, .., T - 1, for
    each shift."""
    found = {}
    for shift in shifts:
        positions = tools.tensor([shift + t for t in range(q.shape[-2])], "int64")
        angles = m.rope_angles(positions, q.shape[-1])
        found |= {
            f"q{shift}": m.apply_rope(tools.tensor(q), angles),
            f"k{shift}": m.apply_rope(tools.tensor(k), angles),
        }
    return found


def arguments_after(m, x, angles, dtype):
    """x and angles after apply_rope has seen them."""
    x, angles = tools.tensor(x, dtype), tools.tensor(angles)
    m.apply_rope(x=x, angles=angles)
    return {"x": x, "angles": angles}


def gradient(m, x, angles, cotangent):
    """The gradient of sum(apply_rope(x, angles) * cotangent) for x."""
    x = tools.tensor(x, requires_grad=True)
    return {"gradients": tools.gradients(m.apply_rope(x, tools.tensor(angles)), cotangent, x=x)}


def built_and_called(m, unit, config, x):
    """What building an attention comes to, and where one came, its forward."""
    built = tools.outcome(getattr(m, unit), tools.config(**config))
    if "raised" in built:
        return {"came": built}
    return {"came": tools.outcome(build(m, unit, config, {}), tools.tensor(x))}


def at_offsets(m, unit, config, weights, x, offsets):
    """The output with the first token at each offset; "none" where no offset is given, "train .." in train
    mode."""
    module, x = build(m, unit, config, weights), tools.tensor(x)
    first, second, *others = offsets
    found = {"none": module(x), str(second): module(x, second)}
    for offset in (first, *others):
        found[str(offset)] = module(x, offset=offset)
    module.train(True)
    return found | {f"train {offsets[-1]}": module(x, offset=offsets[-1])}


def after_a_cast(m, unit, config, weights, x, first, dtype):
    """The output in this dtype of a module that is moved to it; first: the dtype of its first call."""
    module = build(m, unit, config, weights)
    if first == "float32":  # what is made in the first call is cast with the model, too
        module(tools.tensor(x))
    x = tools.tensor(x, dtype)
    module.to(x.dtype)
    return {"y": module(x)}
