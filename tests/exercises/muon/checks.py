"""The checks of Muon: the Newton-Schulz steps, one update and many, groups and state, and who gets it.

A result may be computed in bfloat16, which is off by up to 8 % of its norm. So each is compared within 12 %,
and each update from where the attempt stood."""

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery import function
from tests.exercises.battery.devices import TITLE, check_devices
from tests.exercises.battery.model import SIZES
from tests.exercises.battery.module import normal
from tests.exercises.exam import Reading, check, fail, look, of_readings
from tests.exercises.numbers import bfloat16

LOOKS = Looks.named("tests.exercises.muon.looks")
NAMES = ("orthogonalise", "Muon", "split_parameters")
COEFFICIENTS = 3.4445, -4.7750, 2.0315
ALLOWED = 0.12  # of the norm
SHAPES = (6, 4), (4, 10), (12, 3), (5, 5), (1, 7), (7, 1)


def matrices(seed: int, shapes=SHAPES, scale=1.0) -> list[np.ndarray]:
    return [np.float32(scale) * g for g in normal((seed, 23), *shapes)]


def newton_schulz(g: np.ndarray, steps: int = 5) -> np.ndarray:
    """What is right, in float64."""
    a, b, c = COEFFICIENTS
    x = g.astype(np.float64)
    x = x / max(np.linalg.norm(x), 1e-300)
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x


def off(expected: np.ndarray, got: np.ndarray) -> float:
    """The distance, as a part of the norm of what is expected; infinite for NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.linalg.norm(got.astype(np.float64) - expected)
        length = max(np.linalg.norm(expected), 1e-9)
    return float(distance / length) if np.isfinite(distance) else np.inf


@of_readings
def alike(one, other) -> bool:
    """Two readings are the same within what bfloat16 is off."""

    def same(a, b) -> bool:
        if not isinstance(a, np.ndarray):
            return a == b
        nan = np.isnan(a)
        return np.array_equal(nan, np.isnan(b)) and off(np.where(nan, 0, a), np.where(nan, 0, b)) < 0.05

    return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)


@check("runs", f"the file runs, and defines {', '.join(NAMES[:2])} and {NAMES[2]}")
def test_runs(exam):
    function.defined(exam, NAMES)


# orthogonalise


def orthogonalised(subject, given, dtype="float32", steps=None) -> Reading:
    """{"INDEX": the result, of its matrix's shape and dtype}"""
    answer = subject.run(LOOKS("orthogonalised", given=given, dtype=dtype, steps=steps))
    what = "orthogonalise(g)"
    return {str(i): answer.tensor(str(i), g.shape, what, dtype, subject.device) for i, g in enumerate(given)}


def check_orthogonalised(exam, given, question, dtype="float32", steps=None):
    got = look(exam, {"dtype": dtype, "steps": steps}, orthogonalised, given, dtype, steps, same=alike)
    for i, g in enumerate(given):
        expected = newton_schulz(g, 5 if steps is None else steps)
        if not off(expected, got[str(i)]) <= ALLOWED:
            case = {"shape": list(g.shape), "dtype": dtype, "steps": 5 if steps is None else steps}
            values = ", ".join(
                f"{x:.2f}" for x in np.linalg.svd(np.nan_to_num(got[str(i)]), compute_uv=False)[:4]
            )
            right = ", ".join(f"{x:.2f}" for x in np.linalg.svd(expected, compute_uv=False)[:4])
            fail(case, question, f"its largest singular values are {values}; expected {right}")


@check("step", "one Newton-Schulz step, and two: a x + (b s + c s s) x of g / ||g||", ("runs",))
def test_step(exam):
    question = (
        "After {} the result is not the one of the formula. Look at the norm, at a, b, c and at s = x x^T."
    )
    for steps in (1, 2):
        words = "one step" if steps == 1 else f"{steps} steps"
        check_orthogonalised(exam, matrices(1), question.format(words), steps=steps)


@check("five", "five steps bring all singular values to about 1, for tall and for wide matrices", ("step",))
def test_five(exam):
    check_orthogonalised(exam, matrices(2), "How many steps are made where none are asked for?")
    check_orthogonalised(exam, matrices(3), "Are there as many steps as are asked for?", steps=3)


@check("any_scale", "the size of g does not matter, and 0 gives 0", ("step",))
def test_any_scale(exam):
    for scale in (1e-3, 1e4):
        check_orthogonalised(
            exam, matrices(4, scale=scale), "g and c g must give the same. What do you divide by?"
        )
    zeros = [np.zeros(shape, np.float32) for shape in SHAPES[:3]]
    got = look(exam, {"g": 0}, orthogonalised, zeros, same=alike)
    if not all(np.array_equal(y, np.zeros_like(y)) for y in got.values()):
        fail({"g": 0}, "For g = 0 the result must be 0. Where do you divide by a norm of 0?")


@check("dtypes", "the result has g's dtype, and g is as it was", ("step",))
def test_dtypes(exam):
    for dtype in ("float64", "bfloat16"):
        given = [bfloat16(g) for g in matrices(5)]
        check_orthogonalised(exam, given, f"In {dtype} the result is another one.", dtype)
    for g in matrices(6)[:3]:
        function.all_kept(exam, {"shape": list(g.shape)}, "orthogonalise", kept, g)


def kept(subject, g) -> Reading:
    """As function.kept."""
    return function.kept(subject, "orthogonalise", g=g)


@check("devices", TITLE, ("step",))
def test_devices(exam):
    asks = [LOOKS("orthogonalised", given=matrices(7)), LOOKS("updates", weights=matrices(8), **PLAIN)]
    check_devices(exam, {}, "The result", "g", *asks)


# Muon


def drawn_steps(seed: int, shapes, count: int) -> list:
    """The gradients of `count` updates, without further options."""
    return [(matrices((seed, step), shapes), ()) for step in range(count)]


PLAIN = {"groups": None, "options": {"lr": 0.5}, "schedule": drawn_steps(0, SHAPES, 3)}
DEFAULTS = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.0}


def updates(
    subject, weights, groups, options, schedule, dtype="float32", resume=None, grads="new"
) -> Reading:
    """{"STEP INDEX": a parameter after an update, "groups": lr, momentum and weight_decay of each}"""
    given = {"weights": weights, "groups": groups, "options": options, "schedule": schedule, "dtype": dtype}
    answer = subject.run(LOOKS("updates", resume=resume, grads=grads, **given))
    found = {key: answer.plain(key) for key in ("groups", "is_optimizer")}
    for step in range(len(schedule)):
        for i, w in enumerate(weights):
            key = f"{step} {i}"
            found[key] = answer.tensor(key, w.shape, "a parameter", dtype, subject.device)
    return found


def right_updates(weights, groups, options, schedule):
    """(step, index, gradient or None, the group's options, the direction of the update) of each."""
    groups = groups or [(range(len(weights)), {})]
    settings = [DEFAULTS | options | more for _, more in groups]
    momenta = [np.zeros_like(w, dtype=np.float64) for w in weights]
    for step, (gradients, changed) in enumerate(schedule):
        for group, more in zip(settings, changed):
            group.update(more)
        for (indices, _), group in zip(groups, settings):
            for i in indices:
                if gradients[i] is not None:
                    momenta[i] = group["momentum"] * momenta[i] + gradients[i]
                    u = newton_schulz(gradients[i] + group["momentum"] * momenta[i])
                    u *= max(1, u.shape[0] / u.shape[1]) ** 0.5
                yield step, i, gradients[i], dict(group), u if gradients[i] is not None else 0 * momenta[i]


def check_updates(
    exam, question, weights, groups, options, schedule, dtype="float32", resume=None, grads="new"
):
    case = {"options": options, "groups": groups and [more for _, more in groups], "dtype": dtype}
    case = {key: value for key, value in (case | {"resumed after": resume}).items() if value is not None}
    given = (weights, groups, options, schedule, dtype, resume, grads)
    got = look(exam, case, updates, *given, same=alike)
    if got["is_optimizer"] is not True:
        fail(case, "Muon must be a torch.optim.Optimizer. What does your class inherit from?")
    for step, i, gradient, group, direction in right_updates(weights, groups, options, schedule):
        before = (got[f"{step - 1} {i}"] if step else weights[i]).astype(np.float64)
        moved = got[f"{step} {i}"] - before
        case |= {"update": step + 1, "shape": list(before.shape), **group}
        if gradient is None:
            if np.abs(moved).max() > 0:
                fail(case, "A parameter without a gradient must be left alone, its decay too.")
            continue
        update, shrink = group["lr"] * direction, group["lr"] * group["weight_decay"]
        both = -update - shrink * before, -update - shrink * (before - update)  # decay before, or after
        if not min(off(right, moved) for right in both) <= ALLOWED:
            factor = float((moved * both[0]).sum() / (both[0] ** 2).sum())
            fail(
                case, question, f"it is {off(both[0], moved):.0%} of its norm away from the right one"
                f"{f', and {factor:.3g} times as long along it' if np.isfinite(factor) else ''}",
            )  # fmt: skip


@check("update", "the first update: w -= lr * max(1, R / S)**0.5 * orthogonalise(u)", ("five", "any_scale"))
def test_update(exam):
    question = "The first update is another one. Look at its sign, at lr, and at max(1, R / S)**0.5."
    for options in ({"lr": 0.5}, {}):
        check_updates(exam, question, matrices(11), None, options, drawn_steps(12, SHAPES, 1))


@check("momentum", "the second and later updates: Nesterov momentum of the gradients", ("update",))
def test_momentum(exam):
    question = (
        "The first update is right, and this one is not. m = momentum * m + g comes first, then "
        "u = g + momentum * m, and u is made orthogonal. What does your code keep, and of what?"
    )
    for options in ({"lr": 0.5}, {"lr": 0.5, "momentum": 0.7}, {"lr": 0.5, "momentum": 0.0}):
        for grads in ("new", "same"):
            schedule = drawn_steps(13, SHAPES, 4)
            check_updates(exam, question, matrices(14), None, options, schedule, grads=grads)


@check("decay", "weight decay is decoupled: w -= lr * weight_decay * w", ("momentum",))
def test_decay(exam):
    question = (
        "With weight_decay the update is another one. Is it added to the gradient, or scaled with R / S?"
    )
    options = {"lr": 0.5, "weight_decay": 0.8}
    check_updates(exam, question, matrices(15), None, options, drawn_steps(16, SHAPES, 3))


@check("groups", "lr, momentum and weight_decay are read from the groups at every step", ("momentum",))
def test_groups(exam):
    shapes = SHAPES[:4]
    groups = [((0, 2), {"lr": 0.3}), ((1,), {"momentum": 0.5}), ((3,), {"weight_decay": 0.9})]
    changes = [{"lr": 1.0}, {"lr": 0.25, "momentum": 0.2}, {"lr": 0.7, "weight_decay": 0.4}]
    schedule = [(g, changes if step == 1 else ()) for step, (g, _) in enumerate(drawn_steps(17, shapes, 3))]
    question = "A scheduler changes lr in the groups, and each group has its own. Where do you read it?"
    check_updates(exam, question, matrices(18, shapes), groups, {"lr": 0.6}, schedule)
    got = look(exam, {}, updates, matrices(19, shapes), None, {}, drawn_steps(17, shapes, 1), same=alike)
    if got["groups"] != [DEFAULTS]:
        fail({}, f"Muon(params) must have one group with {DEFAULTS}; yours has {got['groups']}.")


@check("no_gradient", "a parameter without a gradient is left alone, and begins when it has one", ("decay",))
def test_no_gradient(exam):
    some = drawn_steps(20, SHAPES[:2], 4)
    schedule = [([g[0], g[1] if step in (1, 3) else None], ()) for step, (g, _) in enumerate(some)]
    options = {"lr": 0.5, "weight_decay": 0.8}
    question = "This parameter had no gradient in some updates. What happens to its momentum there?"
    check_updates(exam, question, matrices(21, SHAPES[:2]), None, options, schedule)
    zeros = [np.zeros(shape, np.float32) for shape in SHAPES[:2]]
    question = "A gradient of 0 is a gradient: the momentum goes on, and from 0 the update is 0."
    schedule = [(zeros, ()), some[0], (zeros, ())]
    check_updates(exam, question, matrices(22, SHAPES[:2]), None, {"lr": 0.5}, schedule)


@check("state", "state_dict into load_state_dict of a new Muon goes on alike", ("momentum",))
def test_state(exam):
    question = "A new Muon took over the state after the second update. What does it not find in state_dict?"
    given = (matrices(23), None, {"lr": 0.5}, drawn_steps(24, SHAPES, 4))
    check_updates(exam, question, *given, resume=1)
    for dtype in ("float64", "bfloat16"):
        check_updates(exam, f"In {dtype} the updates are others.", *given, dtype)


REFUSED = (
    ([(3,)], "a bias"),
    ([(2, 3, 4)], "3-D"),
    ([()], "a number"),
    ([(2, 3), (4,)], "the second parameter"),
)


def refusals(subject, groups) -> Reading:
    return {"came": subject.run(LOOKS("refusals", groups=groups)).outcome("came")}


@check("refuses", "a parameter that is not 2-D is a ValueError when Muon is built", ("runs",))
def test_refuses(exam):
    for groups, what in (
        *(([shapes], what) for shapes, what in REFUSED),
        ([[(2, 3)], [(4,)]], "a second group"),
    ):
        came = look(exam, {"shapes": groups}, refusals, groups)["came"]
        if came != "ValueError":
            fail(
                {"shapes": groups},
                f"Muon(..) with parameters of these shapes ({what}) must raise a ValueError, and {came}. "
                "Do you look at p.ndim of every parameter of every group?",
            )


# split_parameters


def split(subject, config, parts, frozen, options) -> Reading:
    """{"0", "1": the sorted names of each list, "all": of the model, "frozen": how many}"""
    answer = subject.run(LOOKS("split", config=config, parts=parts, frozen=frozen, **options))
    found = {key: answer.plain(key) for key in answer.values}
    return {key: sorted(value) if isinstance(value, list) else value for key, value in found.items()}


MODELS = (
    ((), 0, {}),
    (("attention", "feed_forward"), 0, {}),
    (("norm",), 0, {"position_embedding": False}),
    ((), 3, {}),
)


@check("split", "matrices are the blocks' 2-D weights, others all the rest, each once", ("runs",))
def test_split(exam):
    for parts, frozen, options in MODELS:
        case = SIZES | {"own parts": list(parts), "every nth is frozen": frozen, **options}
        got = look(exam, case, split, SIZES, parts, frozen, options)
        right = exam.expected(split, SIZES, parts, frozen, options)
        if got["lists"] is not True:
            fail(case, "split_parameters must return two lists of Parameters, (matrices, others).")
        for index, name in (("0", "matrices"), ("1", "others")):
            lines = [f"missing: {n}" for n in sorted(set(right[index]) - set(got[index]))]
            lines += [f"should not be there: {n}" for n in sorted(set(got[index]) - set(right[index]))]
            lines += [f"twice: {n}" for n in sorted(set(got[index])) if got[index].count(n) > 1]
            if lines:
                question = "Which parameters do you go through, and how do you tell a matrix of a block?"
                fail(case, f"{name} is not the right list. {question}", lines[:6])
        if got["frozen"] != right["frozen"]:
            fail(case, "split_parameters must leave requires_grad as it is.")
