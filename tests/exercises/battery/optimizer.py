"""The checks of an optimizer of matrices with momentum and decoupled weight decay: its first update, its
later ones, decay, groups, parameters without a gradient, state, devices; and which parameters of a GPT it
is for.

    globals().update(checks_of(Rule("Muon", ..), CHECKS))          in an exercise's checks.py
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.exercises.asked import Asked, Looks
from tests.exercises.battery.devices import TITLE, check_devices
from tests.exercises.battery.matrix import SHAPES, alike, matrices, off
from tests.exercises.battery.model import SIZES
from tests.exercises.exam import Reading, check, fail, look

LOOKS = Looks.named("tests.exercises.battery.optimizer_looks")


@dataclass(frozen=True)
class Rule:
    """An optimizer under examination: a class of the graded file that takes parameters or groups of them.

    direction: (momentum * m + g of all gradients so far, the last gradient, momentum) -> the update for a
               rate of 1, in float64
    defaults:  of lr, momentum and weight_decay
    allowed:   how far a right update may be off, as a part of its norm
    asks:      by check, the question that leads to the usual fault
    beside:    further looks whose results must lie where their arguments do
    split:     the function of the graded file that says which parameters of a GPT it is for, and the names of
               the lists that it returns; None where there is none
    """

    name: str
    direction: Callable
    defaults: dict
    allowed: float
    asks: dict[str, str]
    beside: tuple[Asked, ...] = ()
    split: tuple[str, tuple[str, ...]] | None = None


def gradients(seed: int, count: int, shapes=SHAPES) -> list:
    """A schedule of so many updates; the settings stay as they are."""
    return [(matrices((seed, step), shapes), ()) for step in range(count)]


def updates(subject, unit, weights, groups, options, schedule, dtype, resume, grads) -> Reading:
    """{"STEP INDEX": a parameter after an update, "groups": the settings of each, "is_optimizer"}"""
    given = {"weights": weights, "groups": groups, "options": options, "schedule": schedule, "dtype": dtype}
    answer = subject.run(LOOKS("updates", unit=unit.name, resume=resume, grads=grads, **given))
    found = {key: answer.plain(key) for key in ("groups", "is_optimizer")}
    for step in range(len(schedule)):
        for i, w in enumerate(weights):
            key = f"{step} {i}"
            found[key] = answer.tensor(key, w.shape, "a parameter", dtype, subject.device)
    return found


def right_updates(unit, weights, groups, options, schedule):
    """(update, index, settings, the update for a rate of 1 or None where nothing may change) of each."""
    groups = groups or [(range(len(weights)), {})]
    settings = [unit.defaults | options | more for _, more in groups]
    momenta = [np.zeros(w.shape) for w in weights]
    for step, (of_step, changed) in enumerate(schedule):
        for group, more in zip(settings, changed):
            group.update(more)
        for (indices, _), group in zip(groups, settings):
            for i in indices:
                direction, gradient, momentum = None, of_step[i], group["momentum"]
                if gradient is not None:
                    momenta[i] = momentum * momenta[i] + gradient
                    direction = unit.direction(momenta[i], gradient, momentum)
                yield step, i, dict(group), direction


def compare_updates(
    exam, unit, question, weights, schedule, options, groups=None, dtype="float32", resume=None, grads="new"
):
    """Each update, from where the attempt stood before it."""
    case = options | {"dtype": dtype} | ({} if resume is None else {"resumed after": resume})
    given = (unit, weights, groups, options, schedule, dtype, resume, grads)
    got = look(exam, case, updates, *given, same=alike)
    if got["is_optimizer"] is not True:
        fail(case, f"{unit.name} must be a torch.optim.Optimizer. What does your class inherit from?")
    for step, i, group, direction in right_updates(unit, weights, groups, options, schedule):
        before = (got[f"{step - 1} {i}"] if step else weights[i]).astype(np.float64)
        moved = got[f"{step} {i}"] - before
        case |= {"update": step + 1, "shape": list(before.shape), **group}
        if direction is None:
            if np.abs(moved).max() > 0:
                fail(case, "A parameter without a gradient must be left alone, its decay too.")
            continue
        update, shrink = group["lr"] * direction, group["lr"] * group["weight_decay"]
        both = -update - shrink * before, -update - shrink * (before - update)  # decay before, or after
        if not min(off(right, moved) for right in both) <= unit.allowed:
            fail(case, question, how_far(both[0], moved, unit.allowed))


def how_far(right, moved, allowed) -> str:
    """What is wrong with an update, in one sentence."""
    if not np.isfinite(moved).all():
        return "there is NaN or infinity in the parameter after it"
    if not right.any():
        return "the parameter moves, and the right update is 0"
    factor = float((moved * right).sum() / (right**2).sum())
    if abs(factor) > 0.01 and off(factor * right, moved) <= allowed:
        return f"the parameter moves by the right update times {factor:.3g}"
    distance = off(right, moved)
    return f"the update differs from the right one by {distance:.0%} of its norm; {allowed:.0%} are allowed"


@check("update", "the first update is the right one, for matrices of any shape", ("runs",))
def makes_the_first_update(exam, unit):
    for options in ({"lr": 0.5}, {}):
        compare_updates(exam, unit, unit.asks["update"], matrices(11), gradients(12, 1), options)


@check("momentum", "the second and later updates are right: momentum", ("update",))
def makes_later_updates(exam, unit):
    for options in ({"lr": 0.5}, {"lr": 0.5, "momentum": 0.7}, {"lr": 0.5, "momentum": 0.0}):
        for grads in ("new", "same"):
            given = (unit.asks["momentum"], matrices(14), gradients(13, 4), options)
            compare_updates(exam, unit, *given, grads=grads)


@check("decay", "weight decay is decoupled: w -= lr * weight_decay * w", ("momentum",))
def decays(exam, unit):
    options = {"lr": 0.5, "weight_decay": 0.8}
    compare_updates(exam, unit, unit.asks["decay"], matrices(15), gradients(16, 3), options)


@check("groups", "lr, momentum and weight_decay are read from the groups at every step", ("momentum",))
def reads_its_groups(exam, unit):
    shapes = SHAPES[:4]
    groups = [((0, 2), {"lr": 0.3}), ((1,), {"momentum": 0.5}), ((3,), {"weight_decay": 0.9})]
    changes = [{"lr": 1.0}, {"lr": 0.25, "momentum": 0.2}, {"lr": 0.7, "weight_decay": 0.4}]
    three = gradients(17, 3, shapes)
    schedule = [(g, changes if step == 1 else ()) for step, (g, _) in enumerate(three)]
    question = "A scheduler changes lr in the groups, and each group has its own. Where do you read it?"
    compare_updates(exam, unit, question, matrices(18, shapes), schedule, {"lr": 0.6}, groups)
    given = (unit, matrices(19, shapes), None, {}, three[:1], "float32", None, "new")
    got = look(exam, {}, updates, *given, same=alike)["groups"]
    if got != [unit.defaults]:
        fail({}, f"{unit.name}(params) must have one group with {unit.defaults}; yours has {got}.")


@check("no_gradient", "a parameter without a gradient is left alone, and begins when it has one", ("decay",))
def waits_for_a_gradient(exam, unit):
    shapes, four = SHAPES[:2], gradients(20, 4, SHAPES[:2])
    schedule = [([g[0], g[1] if step in (1, 3) else None], ()) for step, (g, _) in enumerate(four)]
    question = "This parameter had no gradient in some updates. What happens to its momentum there?"
    options = {"lr": 0.5, "weight_decay": 0.8}
    compare_updates(exam, unit, question, matrices(21, shapes), schedule, options)
    zeros = [np.zeros(shape, np.float32) for shape in shapes], ()
    question = "A gradient of 0 is a gradient: the momentum goes on, and from 0 the update is 0."
    compare_updates(exam, unit, question, matrices(22, shapes), [zeros, four[0], zeros], {"lr": 0.5})


@check("state", "state_dict into load_state_dict of a new one goes on alike; other dtypes too", ("momentum",))
def goes_on_from_its_state(exam, unit):
    question = f"A new {unit.name} took over the state after an update. What does it not find in state_dict?"
    given = (matrices(23), gradients(24, 4), {"lr": 0.5})
    compare_updates(exam, unit, question, *given, resume=1)
    for dtype in ("float64", "bfloat16"):
        compare_updates(exam, unit, f"In {dtype} the updates are others.", *given, dtype=dtype)


REFUSED = {
    "a bias": [[(3,)]],
    "3-D": [[(2, 3, 4)]],
    "a number": [[()]],
    "the second of two": [[(2, 3), (4,)]],
    "in a second group": [[(2, 3)], [(4,)]],
}


def refusals(subject, unit, groups) -> Reading:
    """{"came": what the class does with groups of parameters of these shapes}"""
    return {"came": subject.run(LOOKS("refusals", unit=unit.name, groups=groups)).outcome("came")}


@check("refuses", "a parameter that is not 2-D is a ValueError when it is built", ("runs",))
def takes_matrices_alone(exam, unit):
    for what, groups in REFUSED.items():
        came = look(exam, {"shapes": groups}, refusals, unit, groups)["came"]
        if came != "ValueError":
            fail(
                {"shapes": groups},
                f"{unit.name}(..) with a parameter that is no matrix ({what}) must raise a ValueError, and "
                f"{came}. Do you look at p.ndim of every parameter of every group?",
            )


@check("devices", TITLE, ("update",))
def makes_its_tensors_on_the_device(exam, unit):
    given = {"groups": None, "options": {"lr": 0.5}, "schedule": gradients(7, 3)}
    asked = LOOKS("updates", unit=unit.name, weights=matrices(8), **given)
    check_devices(exam, {}, "The result", "the gradient", *unit.beside, asked)


# Parts of its own, which of the parameters are frozen, and further arguments of the GPT.
MODELS = (
    ((), 0, {}),
    (("attention", "feed_forward"), 0, {}),
    (("norm",), 0, {"position_embedding": False}),
    ((), 3, {}),
)


def split(subject, unit, parts, frozen, options) -> Reading:
    """{a list: the sorted names in it, "lists": whether all are lists, "frozen": how many}"""
    name, lists = unit.split
    given = {"config": SIZES, "parts": parts, "frozen": frozen, "count": len(lists)} | options
    answer = subject.run(LOOKS("split", unit=name, **given))
    found = {key: answer.plain(key) for key in ("lists", "frozen")}
    if found["lists"] is True:
        found |= {one: sorted(map(str, answer.plain(str(i)))) for i, one in enumerate(lists)}
    return found


@check("split", "each parameter of a GPT is in the right list, once", ("runs",))
def sorts_the_parameters(exam, unit):
    """Not among CHECKS: for an optimizer with a `split`."""
    function, lists = unit.split
    for parts, frozen, options in MODELS:
        of_own = {"own parts": ", ".join(parts)} if parts else {}
        of_own |= {"frozen": f"one of {frozen} parameters"} if frozen else {}
        case = SIZES | of_own | options
        got = look(exam, case, split, unit, parts, frozen, options)
        right = exam.expected(split, unit, parts, frozen, options)
        if got["lists"] is not True:
            fail(case, f"{function} must return lists of Parameters, ({', '.join(lists)}).")
        for name in lists:
            came, wanted = got[name], right[name]
            lines = [f"missing: {n}" for n in sorted(set(wanted) - set(came))]
            lines += [f"should not be there: {n}" for n in sorted(set(came) - set(wanted))]
            lines += [f"twice: {n}" for n in sorted(set(came)) if came.count(n) > 1]
            if lines:
                fail(case, f"{name} is not the right list. {unit.asks['split']}", lines[:6])
        if got["frozen"] != right["frozen"]:
            fail(case, f"{function} must leave requires_grad as it is.")


CHECKS = (
    makes_the_first_update,
    makes_later_updates,
    decays,
    reads_its_groups,
    waits_for_a_gradient,
    goes_on_from_its_state,
    takes_matrices_alone,
    makes_its_tensors_on_the_device,
)
