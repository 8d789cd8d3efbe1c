"""The checks of any module (B, T, C) -> (B, T, C): its parameters, its output for every shape, and the side
effects of a call.

Size   a case: the sizes and the seed of its numbers
Unit   the class under examination, its parameters, and the reference, which gives the right output

globals().update(checks_of(UNIT, CHECKS))          in an exercise's checks.py, beside the checks of its own
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

import numpy as np
from hypothesis import strategies as st

from tests.exercises import models
from tests.exercises.asked import Looks
from tests.exercises.battery import devices
from tests.exercises.exam import (
    CheckFailed,
    Numbers,
    Reading,
    Subject,
    check,
    fail,
    for_all,
    look,
    of_readings,
    same_reading,
)
from tests.exercises.numbers import EPSILON, bfloat16, pattern, tolerance, worst, wrong

LOOKS = Looks.named("tests.exercises.battery.module_looks")
OUTPUT_AXES = ("sequence", "token", "channel")
MODES = ("eval", "train")
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Size:
    """The sizes of one case: B, T, C = n_embd, H = n_head, block_size, and the seed of its numbers."""

    # C = 32, H = 4, D = 8 and T = 6 below block_size = 8: no two sizes coincide, so that a scale by C, H, T
    # or D, or a reshape that mixes them, cannot be right by chance.
    B: int = 2
    T: int = 6
    n_embd: int = 32
    n_head: int = 4
    block_size: int = 8
    seed: int = 0

    @property
    def D(self) -> int:
        return self.n_embd // self.n_head

    def as_case(self, **more) -> dict:
        """For the report and the JSON."""
        return asdict(self) | more

    def facts(self) -> dict:
        """By the names of the contract, for Numbers."""
        sizes = {"B": self.B, "T": self.T, "C": self.n_embd, "H": self.n_head, "D": self.D}
        return sizes | {"block_size": self.block_size}

    def config(self, dropout: float = 0.0) -> dict:
        """The fields of the GPTConfig of this size."""
        fields = {
            "block_size": self.block_size,
            "n_head": self.n_head,
            "n_embd": self.n_embd,
            "dropout": dropout,
        }
        return {"vocab_size": 11, "n_layer": 1} | fields

    def x(self, stream: int = 1) -> np.ndarray:
        """x (B, T, C) float32, standard normal; write into a copy of it only."""
        return normal((self.seed, stream), (self.B, self.T, self.n_embd))[0]


@functools.lru_cache(1000)
def normal(seed, *shapes: tuple) -> tuple[np.ndarray, ...]:
    """Standard normal float32 numbers of each shape, read-only, since they are cached."""
    rng = np.random.default_rng(seed)
    drawn = tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)
    for array in drawn:
        array.flags.writeable = False
    return drawn


@dataclass(frozen=True, eq=False)
class Unit:
    """A module under examination: a class of the graded file that takes a GPTConfig, and maps (B, T, C) to
    (B, T, C).

    A subclass for a kind of module defines its parameters and its reference, and terms, spread and doubt
    where its tolerance differs.

    part:      of GPT that it can be; gpt: further arguments of such a GPT
    same_as:   whose output a message names as the right one
    asks:      by check, the question that leads to the usual fault of such a module
    corners:   sizes that are always looked at, beside those that are drawn
    long:      in bfloat16, which cannot count beyond 256, with a length that no check in float32 has
    head_step: head sizes are multiples of it
    by_name:   whether config and x may be passed by these names
    """

    name: str
    part: str
    same_as: str
    asks: dict[str, str]
    corners: tuple[Size, ...]
    long: Size
    gpt: tuple[tuple[str, object], ...] = ()
    head_step: int = 1
    by_name: bool = True

    def parameters(self, size: Size) -> dict[str, tuple]:
        """The shapes of its parameters by name."""
        raise NotImplementedError

    def reference(self, size: Size, weights: Weights, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What is right at these tokens: (B, some of T, C) in float64. Gradients are compared with the
        solution's."""
        raise NotImplementedError

    def arguments(self, size: Size) -> dict:
        """The keyword arguments that it is built with, beside config."""
        return {}

    def as_case(self, size: Size, **more) -> dict:
        """For the report: the sizes, and the arguments that it is built with."""
        return size.as_case(**(self.arguments(size) | more))

    def config(self, size: Size, dropout: float = 0.0) -> dict:
        """All that it is built with: the fields of its GPTConfig, and its arguments."""
        further = self.arguments(size)
        return size.config(dropout) | ({"arguments": further} if further else {})

    def own(self, size: Size, weights: Weights) -> Weights:
        """Weights as it has them, where the checks think in other ones."""
        return weights

    def as_checked(self, size: Size, gradients: dict) -> dict:
        """The gradients of its own parameters as those of the weights that the checks think in."""
        return gradients

    def placed(self, offset: int) -> dict:
        """The keyword arguments of a call whose first token stands at `offset`, where the module takes
        one."""
        return {}

    def weights(self, size: Size) -> Weights:
        """Random ones, of a size that keeps the variance of what they are multiplied with."""
        shapes = self.parameters(size)
        drawn = zip(shapes, normal(size.seed, *shapes.values()))
        return {name: w / np.float32(np.sqrt(w.shape[1])) if w.ndim == 2 else w.copy() for name, w in drawn}

    def terms(self, size: Size) -> int:
        """How many products are summed for one element of the output."""
        return size.n_embd

    def spread(self, size: Size, weights: Weights, x: np.ndarray) -> float:
        """By how much a softmax inside may enlarge an error; 1 where there is none."""
        return 1.0

    def doubt(self, size: Size, weights: Weights, x: np.ndarray) -> float:
        """How far right outputs may differ beside rounding, as a part of the largest."""
        return 0.0

    def asked(
        self,
        function: str,
        size: Size,
        weights: Weights,
        *,
        looks: Looks = LOOKS,
        dropout: float = 0.0,
        **given,
    ):
        """A look at a module of these sizes and weights."""
        weights = self.own(size, weights)
        return looks(function, unit=self.name, config=self.config(size, dropout), weights=weights, **given)

    def right(self, size: Size, weights: Weights, x: np.ndarray) -> np.ndarray:
        """What is right for the whole input."""
        return self.reference(size, weights, x, np.arange(x.shape[1]))

    def allowance(self, size: Size, weights, x, y, dtype="float32", roundings=8) -> float:
        """The tolerance for an output y (B, T, C)."""
        largest = max(1.0, float(np.abs(y).max()))
        return tolerance(dtype, self.terms(size), largest, self.spread(size, weights, x), roundings)

    def numbers(self, exam, size: Size, weights: Weights, x, kind="output", rows=None):
        """(expected, got, allowed) -> the Numbers of a failed check, whose case has this size, weights and x;
        None where there is nothing to read off.

        rows: the tokens whose outputs these are, where they are not all.
        """
        facts = size.facts() | {"weights": weights, "x": x, "rows": rows}
        return lambda expected, got, allowed: Numbers(kind, expected, got, allowed, facts)


def checks_of(
    unit: Unit, checks: Iterable[Callable], titles: dict | None = None, after: dict | None = None
) -> dict:
    """These checks of a battery, asked of a unit, as pytest collects them: test_ID to function(exam).

    titles, after: by id, where they are others than the battery's.
    """

    def of_unit(theirs):
        id, title, earlier = theirs.check

        @check(id, (titles or {}).get(id, title), (after or {}).get(id, earlier))
        def test(exam):
            theirs(exam, unit)

        return f"test_{id}", test

    return dict(map(of_unit, checks))


def runs(*names: str) -> Callable:
    """The first check of a file: that it can be imported, and defines these names."""
    words = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

    @check("runs", f"the file runs, and defines {words}")
    def test_runs(exam):
        if exam.load_error is not None:
            raise exam.load_error
        for wanted in names:
            if wanted not in exam.names:
                raise CheckFailed(
                    f"Your file does not define {wanted}; the contract names it so. A typing error?"
                )

    return test_runs


@st.composite
def sizes(draw, unit, largest_T=12):
    """Small modules of every shape: T from 1 to block_size, one head, the smallest head size, odd sizes."""
    step = unit.head_step
    n_head, D = draw(st.integers(1, 5)), draw(st.integers(1, 9 // step)) * step
    T = draw(st.integers(1, largest_T))
    B = draw(st.integers(1, 3))
    return Size(B=B, T=T, n_embd=n_head * D, n_head=n_head, block_size=T + draw(st.integers(0, 4)))


def kinds(**more) -> tuple:
    """One size of each kind for which an attempt may take another path.

    Nothing special, one head, one sequence, one token, T = block_size.
    """
    plain = Size(B=3, T=5, block_size=8, **more)
    special = {"n_head": 1}, {"B": 1}, {"T": 1}, {"block_size": plain.T}
    return plain, *(replace(plain, **change) for change in special)


def expect(expected, got, allowed, case, message, axes=OUTPUT_AXES, numbers=None, **more):
    """Fail where `got` is further than `allowed` from `expected`.

    numbers: (expected, got, allowed) -> Numbers or None, from which the mistake may be read off then.
    """
    if wrong(expected, got, allowed).any():
        if numbers is not None:
            more["numbers"] = numbers(expected, got, allowed)
        fail(case, message, worst(expected, got, axes), pattern(expected, got, allowed, axes), **more)


def same_bfloat16(one, other):
    """Whether two readings agree within bfloat16's rounding."""
    return same_reading(one, other, tolerance=8 * EPSILON["bfloat16"])


# What it is.


def parameters(subject: Subject, unit: Unit, size: Size) -> Reading:
    """{"parameters": what is listed of each, by name, "plain": the names of tensors that are none}"""
    answer = subject.run(LOOKS("parameters", unit=unit.name, config=unit.config(size), by_name=unit.by_name))
    found, plain = answer.plain("parameters"), list(map(str, answer.plain("plain")))
    for p in found.values():  # a KeyError or TypeError here comes from the subject's answer, see Exam.observe
        p["same_as"], p["requires_grad"], p["zero"], p["nan"], tuple(p["shape"])
    return {"parameters": found, "plain": plain}


def without_second_names(found: dict, names) -> dict:
    """The listed parameters; a second name of one of `names` is no further parameter."""
    known = {found[key]["same_as"] for key in names if key in found}
    return {key: p for key, p in found.items() if key in names or p["same_as"] not in known}


@of_readings
def same_parameters(one, other):
    """Names, shapes and requires_grad; initial values are free."""
    first, second = (
        {key: (tuple(p["shape"]), p["requires_grad"]) for key, p in reading["parameters"].items()}
        for reading in (one, other)
    )
    return first == second


@check("parameters", "its parameters are those of the contract, and no others", ("runs",))
def has_its_parameters(exam, unit):
    size = Size()
    C, expected = size.n_embd, unit.parameters(size)
    found = look(exam, unit.as_case(size), parameters, unit, size, same=same_parameters)
    listed = found["parameters"]
    got = {key: tuple(p["shape"]) for key, p in without_second_names(listed, expected).items()}
    if got == expected:
        return
    plain = {key: ": a tensor, which must be an nn.Parameter" for key in found["plain"]}
    lines = [
        f"missing: {key} {shape}{plain.get(key, '')}" for key, shape in expected.items() if key not in got
    ]
    lines += [f"not in the contract: {key} {shape}" for key, shape in got.items() if key not in expected]
    lines += [
        f"{key} is {got[key]}, expected {expected[key]}"
        for key in expected
        if got.get(key, expected[key]) != expected[key]
    ]
    *first, last = (f"{key} {shape}" for key, shape in expected.items())
    wanted = " and ".join(filter(None, (", ".join(first), last)))
    fail(
        unit.as_case(size),
        f"With C = {C} the parameters must be {wanted}: saved weights are loaded by these names. What else "
        "did you create, or leave out?",
        lines,
    )


@check("trainable", "all of its parameters are trainable", ("parameters",))
def is_trainable(exam, unit):
    size = Size()
    got = look(exam, unit.as_case(size), parameters, unit, size, same=same_parameters)["parameters"]
    frozen = [key for key in unit.parameters(size) if not got[key]["requires_grad"]]
    if frozen:
        fail(
            unit.as_case(size),
            f"{', '.join(frozen)} has requires_grad False: an optimizer would never change it. Where is that "
            f"switched off?",
        )
    for key, shape in unit.parameters(size).items():
        if got[key]["nan"] is True:
            exam.remark(f"{key} starts with NaN in it: torch.empty is not filled. Is it initialised?")
        elif got[key]["zero"] is True and len(shape) > 1:
            exam.remark(f"{key} starts as zeros: at first nothing of what comes before it can learn.")


def begins(subject: Subject, unit: Unit, size: Size, names: tuple) -> Reading:
    """{name: the parameter as it begins, or None}"""
    values = subject.run(LOOKS("fresh", unit=unit.name, config=size.config())).tensors("values")
    return {name: values.get(name) for name in names}


@check("ones", "its gains begin as ones", ("trainable",))
def begins_as_ones(exam, unit):
    """Not among CHECKS: for a module whose weights (D,) are gains."""
    size = Size()
    shapes = unit.parameters(size).items()
    gains = {name: shape for name, shape in shapes if name.endswith("weight") and len(shape) == 1}
    got = look(exam, unit.as_case(size), begins, unit, size, tuple(gains))
    for name, shape in gains.items():
        if got[name] is None or not np.array_equal(got[name], np.ones(shape)):
            fail(
                unit.as_case(size),
                f"A fresh norm must not change the scale: {name} begins as ones. How is it made?",
            )


def built(subject: Subject, unit: Unit, size: Size, each: tuple[dict, ...]) -> Reading:
    """{"0": what building the unit with the first of these keyword arguments comes to, ..}"""
    answer = subject.run(LOOKS("built", unit=unit.name, config=size.config(), each=each))
    return {str(number): answer.outcome(str(number)) for number in range(len(each))}


def must_refuse(exam, unit: Unit, size: Size, each: tuple[dict, ...], why: str, but: tuple = ()) -> None:
    """Fail where building it with one of these keyword arguments is no ValueError, and where with one of
    `but` it is not built; why: it must be one."""
    got = look(exam, size.as_case(), built, unit, size, (*each, *but))
    for number, given in enumerate((*each, *but)):
        came, refused = got[str(number)], number < len(each)
        if not (came == "ValueError" if refused else came.startswith("returns")):
            words = ", ".join(f"{name}={value}" for name, value in given.items())
            wanted = f"there must be a ValueError in __init__: {why}" if refused else "it must be built."
            yours = "raises a ValueError" if came == "ValueError" else came
            yours = "takes it" if refused and came.startswith("returns") else yours
            fail(size.as_case(**given), f"With {words} {wanted} Yours {yours}.")


def outputs(subject: Subject, answer, inputs: dict[str, np.ndarray], dtype="float32") -> Reading:
    """The outputs of these names, (B, T, C) each as its input."""
    return {
        key: answer.tensor(key, x.shape, "the output", dtype, subject.device) for key, x in inputs.items()
    }


def in_modes(
    subject, unit, size, weights, x, dtype="float32", modes=MODES, *, dropout=0.0, seed=0
) -> Reading:
    """{mode: the output (B, T, C)}"""
    asked = unit.asked("forward", size, weights, dropout=dropout, x=x, dtype=dtype, modes=modes)
    return outputs(subject, subject.run(asked, seed), dict.fromkeys(modes, x), dtype)


def forward(
    subject: Subject, unit: Unit, size: Size, weights: Weights, x: np.ndarray, dtype="float32"
) -> Reading:
    """{"y": the output (B, T, C)} in eval mode, without dropout."""
    return {"y": in_modes(subject, unit, size, weights, x, dtype, ("eval",))["eval"]}


@check("output", "the output is an ordinary tensor of x's shape and dtype, without NaN", ("parameters",))
def gives_numbers(exam, unit):
    size = Size()
    case, weights, x = unit.as_case(size), unit.weights(size), size.x()
    y = look(exam, case, forward, unit, size, weights, x)["y"]
    if not np.isfinite(y).all():
        expected = unit.right(size, weights, x)
        allowed = unit.allowance(size, weights, x, expected)
        fail(
            case,
            f"{int((~np.isfinite(y)).sum())} of {y.size} elements of the output are NaN or infinite. "
            f"{unit.asks['output']}",
            pattern(np.zeros_like(y), np.where(np.isfinite(y), 0, y), 1e-30, OUTPUT_AXES),
            numbers=unit.numbers(exam, size, weights, x)(expected, y, allowed),
        )


# That it is the right function.

# Longer than masks, windows and tables of 256, 384, 512, 1024 or 2048 tokens.
MEDIUM = 500  # longer texts are too slow for every check
# The same for what costs more than a forward.
LONGER = Size(B=1, T=520, n_embd=2, n_head=1, block_size=520)
MANY_HEADS = Size(B=4, T=9, n_embd=24, n_head=12, block_size=10)


@check("values", "the right output, for any B, T, C and H, in both modes", ("output",))
def is_right_for_any_shape(exam, unit):
    try:
        for_all(
            exam,
            sizes(unit),
            lambda exam, size: same_values(exam, unit, size),
            max_examples=10,
            always=unit.corners,
        )
    except CheckFailed as failure:
        kept = exam.evidence[-1]
        if failure.case and failure.case.get("mode") == "train":  # eval comes first, so it is right
            failure.details.append(
                "right in eval mode, wrong in train mode, and dropout is 0: is a probability written as a "
                "number?"
            )
        else:
            failure.details += where_it_is_right(exam, unit, failure.case or {})
        exam.evidence.append(kept)  # the last look is the failing case's
        raise


def where_it_is_right(exam, unit, failing: dict) -> list[str]:
    """What the failing shapes have in common: a plain size, and sizes that differ from it in one respect.

    failing: the case that failed; the lines may not contradict it.
    """
    plain, step = Size(B=2, T=5, n_embd=12, n_head=3, block_size=8), unit.head_step
    B, T, C, H, block = (failing.get(key) for key in ("B", "T", "n_embd", "n_head", "block_size"))
    special = {  # the size, and whether the failing case is such a one
        "T = block_size": (replace(plain, block_size=5), T == block),
        "one token (T = 1)": (replace(plain, T=1), T == 1),
        "one head (H = 1)": (replace(plain, n_head=1), H == 1),
        f"head size {step} (D = {step})": (replace(plain, n_embd=3 * step), H is not None and C == step * H),
        "one sequence (B = 1)": (replace(plain, B=1), B == 1),
    }

    def is_right(size):
        try:
            same_values(exam, unit, size)
        except CheckFailed:
            return False
        return True

    usually = is_right(plain)
    odd = [words for words, (size, _) in special.items() if is_right(size) != usually]
    if len(odd) == len(special) or usually != any(special[words][1] for words in odd):
        return []
    if usually:
        return [f"wrong only with {' or '.join(odd)}, of the shapes tried"]
    return (
        [f"right with {' or '.join(odd)}, wrong otherwise"]
        if odd
        else ["wrong for every kind of shape tried"]
    )


def same_values(exam, unit, size):
    weights, x = unit.weights(size), size.x()
    # Of a long text some tokens in eval mode, most of them late.
    rows, modes = np.arange(size.T), MODES
    if size.T > MEDIUM:
        rows, modes = np.r_[1 : size.T : 64, max(size.T - 128, 0) : size.T], ("eval",)
    expected = unit.reference(size, weights, x, rows)
    got = look(exam, unit.as_case(size), in_modes, unit, size, weights, x, "float32", modes)
    allowed = unit.allowance(size, weights, x, expected)
    allowed += unit.doubt(size, weights, x) * float(np.abs(expected).max())
    for mode, y in got.items():
        right = y.astype(np.float64)
        right[:, rows] = expected
        compared = unit.numbers(exam, size, weights, x, rows=rows)
        expect(
            right,
            y,
            allowed,
            unit.as_case(size, mode=mode, dropout=0),
            f"The output must equal {unit.same_as} with the same weights; this is the smallest shape found "
            f"where it does not. What is special about it: {unit.asks['values']}, train mode?",
            numbers=lambda *_, y=y, compared=compared: compared(expected, y[:, rows], allowed),
        )


# Gradients.

OFFSET = 5  # where a call in eval mode begins, for a module that is told


def gradients(subject, unit, size, weights, x, modes=("train",), dtype="float32", of="all") -> Reading:
    """{mode: the gradients of sum(output * cotangent) for x and each parameter}; dropout is 0.

    of: "all", or which alone require a gradient: "x" (the weights are frozen) or "parameters"; None for the
    others."""
    modes = {mode: unit.placed(OFFSET) if mode == "eval" else {} for mode in modes}
    cotangent = bfloat16(size.x(2))
    answer = subject.run(
        unit.asked("gradients", size, weights, x=x, cotangent=cotangent, modes=modes, dtype=dtype, of=of)
    )
    found = {mode: unit.as_checked(size, answer.tensors(mode)) for mode in modes}
    return {mode: of_shapes(found[mode], {"x": x} | weights) for mode in modes}


def of_shapes(found: dict, wanted: dict) -> dict:
    """The gradients of the wanted tensors, None where there is none; CheckFailed where one has another
    shape."""
    for key, value in wanted.items():
        if found.get(key) is not None and found[key].shape != value.shape:
            raise CheckFailed(
                f"The gradient of {key} has shape {found[key].shape}, not {value.shape}.", same=("shape", key)
            )
    return {key: found.get(key) for key in wanted}


@check(
    "gradients", "the same gradients for x and for every parameter, in train and in eval mode", ("values",)
)
def has_the_right_gradients(exam, unit):
    _, one_head, _, one_token, _ = kinds()
    long = Size(B=1, T=150, n_embd=4, n_head=2, block_size=200)
    always = (MANY_HEADS, one_head, replace(one_token, B=1), long, LONGER)
    for_all(
        exam,
        sizes(unit, 6),
        lambda exam, size: same_gradients(exam, unit, size),
        max_examples=4,
        always=always,
    )


def same_gradients(exam, unit, size):
    # Dropout is 0, so that training is the same function; some attempts take another path for it.
    for of in ("all", "x", "parameters") if size == MANY_HEADS else ("all",):
        compare_gradients(
            exam, unit, size, ("train", "eval") if size.T < MEDIUM else ("train",), "float32", of
        )


def compare_gradients(exam, unit, size, modes, dtype, of="all", roundings=16):
    """Compare the gradients in each of the modes with the solution's; of: what requires one, see
    gradients()."""
    weights, x = unit.weights(size), size.x()
    if dtype == "bfloat16":  # numbers that it holds exactly
        weights, x = {key: bfloat16(value) for key, value in weights.items()}, bfloat16(x)
    expected = exam.expected(gradients, unit, size, weights, x, ("train",), "float64", of)["train"]
    case = unit.as_case(size, dtype=dtype, gradients_of=of)
    same = same_reading if dtype == "float32" else same_bfloat16
    got = look(exam, case, gradients, unit, size, weights, x, modes, dtype, of, same=same)
    spread = unit.spread(size, weights, x)
    for mode in modes:
        right_gradients(unit, size, expected, got[mode], case | {"mode": mode}, spread, dtype, roundings)


def right_gradients(unit, size, expected, got, case, spread, dtype, roundings):
    """Fail where a gradient is missing, superfluous or not the expected one."""
    known = {key: right for key, right in expected.items() if right is not None}
    for key in expected.keys() - known.keys():
        if got[key] is not None:
            fail(
                case,
                f"{key} needs no gradient here and has one after the backward pass. What in forward changes "
                "requires_grad?",
            )
    for key, right in known.items():
        if got[key] is None:
            fail(
                case,
                f"No gradient reaches {key}. Is something detached, computed under no_grad, or rebuilt from "
                f".data?",
            )
        # A weight's gradient sums over all B * T tokens.
        terms = unit.terms(size) + size.B * size.T
        largest = max(float(np.abs(g).max()) for g in known.values())
        allowed = tolerance(dtype, terms, max(1.0, largest), spread, roundings)
        axes = OUTPUT_AXES if key == "x" else ("row", "column") if right.ndim == 2 else ("element",)
        expect(
            right,
            got[key],
            allowed,
            case,
            f"The gradient of {key} must equal the baseline's. The output does, so the backward pass is "
            "wrong. Is a part of the graph detached?",
            axes,
        )


# What a call does to other calls and to its input.


def alone(subject, unit, size, weights, x):
    """Every sequence of the batch on its own, joined, and all of them together."""
    answer = subject.run(unit.asked("sequences_alone", size, weights, x=x))
    y = outputs(subject, answer, {f"y{b}": x[b : b + 1] for b in range(size.B)} | {"y": x})
    return {"together": y.pop("y"), "alone": np.concatenate(list(y.values()))}


@check("batch_rows", "the sequences of a batch do not mix", ("output",))
def keeps_sequences_apart(exam, unit):
    size = Size(B=3, T=5, seed=6)
    weights, x = unit.weights(size), size.x()
    got = look(exam, unit.as_case(size), alone, unit, size, weights, x)
    expect(
        got["alone"],
        got["together"],
        2 * unit.allowance(size, weights, x, got["alone"]),
        unit.as_case(size),
        "A sequence must give the same output alone and in a batch. Which of your dimensions holds B, and "
        "does any sum, softmax or reshape run over it?",
    )


# (T, offset): one more token, as many others, the next ones after as many before, and others there.
GROWING = ((3, 0), (4, 0), (4, 0), (4, 4), (4, 4))
CHANGE = 0.25  # added to all weights, and taken away again


def life(subject, unit, sizes, inputs, growing) -> Reading:
    """All outputs of a module's calls, in turn with those of another size (module_looks.calls); sizes: of the
    two."""
    first, other = (
        {"config": unit.config(size), "weights": unit.own(size, unit.weights(size))} for size in sizes
    )
    with_offset = [(x, unit.placed(offset)) for x, (_, offset) in zip(growing, GROWING)]
    asked = LOOKS(
        "calls",
        unit=unit.name,
        first=first,
        other=other,
        inputs=inputs,
        other_input=sizes[1].x(),
        growing=with_offset,
        change=CHANGE,
        by_name=unit.by_name,
    )
    answer, given = subject.run(asked), {key: x for key, (_, x, _) in of_life(sizes, inputs, growing).items()}
    return outputs(subject, answer, {"moved": given.pop("moved")}, "float64") | outputs(
        subject, answer, given
    )


def of_life(sizes, inputs, growing) -> dict:
    """{the name of an output: (the size of its module, its input, what is added to the weights)}"""
    size, other = sizes
    calls = {"moved": (size, inputs[0], 0.0)}
    for i, x in enumerate(inputs):
        calls |= {f"y{i}": (size, x, 0.0), f"z{i}": (other, other.x(), 0.0)}
    for mode in MODES:
        calls |= {f"{mode} {i}": (size, x, 0.0) for i, x in enumerate(growing)}
        calls[f"{mode} changed"] = (size, growing[-1], CHANGE)
    return calls


@check("calls", "a call leaves nothing behind for the next one", ("values",))
def leaves_nothing_behind(exam, unit):
    # Another input in train mode, another T, another B, the first input again, and again, some of them under
    # no_grad, and a longer one; a second module of another size in between; at the end the same module in
    # float64.
    size, other = Size(B=2, T=7, seed=7), Size(B=1, T=5, n_embd=18, n_head=3, block_size=6, seed=8)
    first = size.x()
    longer = replace(size, T=size.block_size).x(9)
    inputs = (first, size.x(2), size.x(3)[:, :4], size.x(4)[:1], first, first, longer)
    growing = tuple(size.x(5 + call)[:, :T] for call, (T, _) in enumerate(GROWING))
    got = look(exam, unit.as_case(size), life, unit, (size, other), inputs, growing)
    for key, (about, x, change) in of_life((size, other), inputs, growing).items():
        weights = {name: w + np.float32(change) for name, w in unit.weights(about).items()}
        right = unit.right(about, weights, x)
        expect(
            right,
            got[key],
            unit.allowance(about, weights, x, right),
            unit.as_case(size, call=key),
            "After other calls (another T, train mode, a module of another size, another dtype, other "
            f"weights) the output is not what a fresh module gives. {unit.asks['calls']}",
        )


WRITTEN = (
    "is not what it was before forward. Which operation works in place (a name that ends in _, +=, "
    "masked_fill_)?"
)
OF_INPUT = ("transposed", "sliced", "batch last", "time first", "part of wider rows", "some of the tokens")


def in_layouts(subject, unit, size, weights, given):
    """{layout: the output for the x of this layout, "x LAYOUT": x after that}"""
    answer = subject.run(unit.asked("in_layouts", size, weights, given=given))
    return outputs(subject, answer, given | {f"x {layout}": x for layout, x in given.items()})


@check("layouts", "a non-contiguous input gives the same output", ("values",))
def takes_any_layout(exam, unit):
    # The same numbers, laid out in memory in another order: as after x.transpose, x[..., ::2], x[:, 2:-1], or
    # x.expand, for a prompt that stands for a whole batch.
    for size in kinds(seed=8):
        weights, x = unit.weights(size), size.x()
        given = dict.fromkeys(OF_INPUT, x) | {"expanded batch": x[:1].repeat(size.B, axis=0)}
        expected = unit.right(size, weights, x)
        got = look(exam, unit.as_case(size), in_layouts, unit, size, weights, given)
        for layout, numbers in given.items():
            right = expected if layout != "expanded batch" else expected[:1].repeat(size.B, axis=0)
            if not np.array_equal(got[f"x {layout}"], numbers):
                fail(unit.as_case(size, layout=layout), f"x ({layout}) {WRITTEN}")
            expect(
                right,
                got[layout],
                unit.allowance(size, weights, x, expected),
                unit.as_case(size, layout=layout),
                f"The output must not depend on how x lies in memory ({layout}). Do you view, or read "
                f"strides, where you should reshape?",
            )


def after_calls(subject, unit, size, weights, x, dtype):
    """The input, in two layouts, the weights and torch's settings after some calls."""
    answer = subject.run(unit.asked("after_calls", size, weights, x=x, dtype=dtype))
    kept = {
        key: answer.tensor(key, x.shape, "x", dtype, subject.device) for key in ("x", "x, not contiguous,")
    }
    return kept | answer.tensors("parameters") | {"settings": answer.plain("settings")}


def settings(subject):
    """torch's settings where nothing was called yet that could change them."""
    return subject.run(LOOKS("settings")).plain("settings")


def same_settings(exam, case, got, what):
    """Fail where torch's settings are not those that a worker begins with."""
    changed = [key for key, value in exam.expected(settings).items() if got[key] != value]
    if changed:
        fail(
            case,
            f"After {what} {', '.join(changed)} is another than before: that holds for all of a program. "
            f"Leave it as it is.",
        )


@check("input_kept", "forward changes neither its input nor the weights", ("output",))
def keeps_its_input(exam, unit):
    # In other dtypes, too: what is cast on the way is a copy, and then another dtype is changed in place.
    plain, *special = kinds(seed=9)
    for size, dtype in (
        (plain, "float32"),
        (plain, "float64"),
        (plain, "bfloat16"),
        *((size, "float32") for size in special),
    ):
        weights, x = {key: bfloat16(value) for key, value in unit.weights(size).items()}, bfloat16(size.x())
        case = unit.as_case(size, dtype=dtype)
        got = look(exam, case, after_calls, unit, size, weights, x, dtype)
        same_settings(exam, case, got["settings"], "forward")
        for key, before in ({"x": x, "x, not contiguous,": x} | unit.own(size, weights)).items():
            if got.get(key) is None or not np.array_equal(got[key], before):
                fail(case, f"{key} {WRITTEN}")


# Other dtypes.


@check("dtypes", "the output has x's dtype and device: float64 and bfloat16 too", ("values",))
def keeps_the_dtype(exam, unit):
    # Lengths of their own: what an earlier call in float32 left for this length cannot serve here.
    for dtype, T in (("float64", 17), ("bfloat16", 19)):
        size = Size(T=T, block_size=T + 2)
        weights, x = unit.weights(size), size.x()
        same = same_reading if dtype == "float64" else same_bfloat16
        got = look(exam, unit.as_case(size, dtype=dtype), forward, unit, size, weights, x, dtype, same=same)[
            "y"
        ]
        if dtype == "float64":
            # As in float32: a softmax in float32 is a fair choice for any input.
            expected = unit.right(size, weights, x)
            expect(
                expected,
                got,
                unit.allowance(size, weights, x, expected),
                unit.as_case(size, dtype=dtype),
                "In float64 the output must be at least as exact as in float32. Is there a .half() or "
                ".bfloat16() inside?",
            )


@check("bfloat16", "the same output and gradients in bfloat16, within its rounding", ("dtypes",))
def is_right_in_bfloat16(exam, unit):
    def body(exam, size):
        same_values_in_bfloat16(exam, unit, size)

    for_all(exam, sizes(unit, 8), body, max_examples=2, always=(MANY_HEADS, unit.long))


def same_values_in_bfloat16(exam, unit, size):
    # Weights and inputs that bfloat16 holds exactly: what differs is computed, not copied.
    weights = {key: bfloat16(value) for key, value in unit.weights(size).items()}
    x = bfloat16(size.x())
    expected = unit.right(size, weights, x)
    case = unit.as_case(size, dtype="bfloat16")
    got = look(exam, case, forward, unit, size, weights, x, "bfloat16", same=same_bfloat16)["y"]
    message = (
        f"In bfloat16 the output must be the float32 one, rounded; in float32 yours is right. "
        f"{unit.asks['bfloat16']}"
    )
    expect(expected, got, unit.allowance(size, weights, x, expected, "bfloat16", roundings=2), case, message)
    if got.size >= 200:
        # Rounding goes up as often as down, so a common factor is seen long before single elements tell.
        factor = float((got * expected).sum() / (expected * expected).sum())
        if abs(factor - 1) > 0.02:
            fail(case, message, f"on the whole the output is the right one times {factor:.3f}")
    compare_gradients(exam, unit, size, ("train",), "bfloat16", roundings=4)


# That it fits where it belongs.

GPT_SIZE = Size(B=2, T=7, n_embd=12, n_head=3)


def gpt_logits(subject: Subject, unit: Unit, idx: np.ndarray) -> Reading:
    """{"logits": (B, T, V)} of a GPT with the unit as one of its parts; the weights are fixed."""
    config = unit.config(GPT_SIZE, dropout=0.2) | {"n_layer": 2}
    asked = LOOKS(
        "gpt_logits",
        unit=unit.name,
        part=unit.part,
        options=dict(unit.gpt),
        config=config,
        idx=idx,
        weights=gpt_weights(unit, config),
    )
    return {
        "logits": subject.run(asked).tensor(
            "logits", (*idx.shape, 11), "the logits of GPT", device=subject.device
        )
    }


def gpt_weights(unit: Unit, config: dict) -> Weights:
    """Weights much larger than fresh ones, so that what the unit does shows in the logits; the norms stay
    ones and zeros."""
    places = {"attention": ("attention",), "feed_forward": ("feed_forward",), "norm": ("ln1", "ln2")}[
        unit.part
    ]
    places = [f"blocks.{layer}.{place}" for layer in range(config["n_layer"]) for place in places]
    places += ["ln_f"] if unit.part == "norm" else []
    left_out = ["position_embedding_table"] if "position_embedding" in dict(unit.gpt) else []
    shapes = {
        key: shape
        for key, shape in models.shapes_of_default(config).items()
        if not key.startswith((*places, *left_out)) and "ln" not in key
    }
    shapes |= {
        f"{place}.{key}": shape for place in places for key, shape in unit.parameters(GPT_SIZE).items()
    }
    rng = np.random.default_rng(31)
    return {
        key: (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32) for key, shape in shapes.items()
    }


@check("in_gpt", "plugged into GPT it gives the right logits", ("values",))
def fits_into_gpt(exam, unit):
    idx = np.random.default_rng(0).integers(0, 11, size=(2, 7))
    case = {"B": 2, "T": 7, "n_embd": 12, "n_head": 3, "n_layer": 2}
    expected = exam.expected(gpt_logits, unit, idx)["logits"]
    got = look(exam, case, gpt_logits, unit, idx)["logits"]
    allowed = tolerance("float32", 4 * 12 * 2, max(1.0, float(np.abs(expected).max())), 4.0, 32)
    expect(expected, got, allowed, case, unit.asks["in_gpt"], ("sequence", "token", "logit"))


@check("devices", devices.TITLE, ("output",))
def makes_its_tensors_on_the_device(exam, unit):
    # No earlier check has these lengths: what is kept from a call of the same length was not watched.
    sizes = Size(B=2, T=33, block_size=37, seed=31), Size(B=2, T=34, block_size=34, seed=31)
    asks = [
        unit.asked("forward", size, unit.weights(size), dropout=0.3, x=size.x(), modes=list(MODES))
        for size in sizes
    ]
    devices.check_devices(exam, unit.as_case(sizes[0], dropout=0.3), "The output", "x", *asks)


CHECKS = (
    has_its_parameters,
    is_trainable,
    gives_numbers,
    is_right_for_any_shape,
    has_the_right_gradients,
    keeps_sequences_apart,
    leaves_nothing_behind,
    takes_any_layout,
    keeps_its_input,
    keeps_the_dtype,
    is_right_in_bfloat16,
    makes_its_tensors_on_the_device,
    fits_into_gpt,
)
