"""The checks of exercise 1: the batteries of a module and of an attention, then fuse_heads."""

import itertools

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Looks
from tests.exercises.battery import attention, dropout, module
from tests.exercises.battery.attention import Attention, P
from tests.exercises.battery.devices import check_devices
from tests.exercises.battery.module import MANY_HEADS, Size, Weights, checks_of, expect, same_settings, sizes
from tests.exercises.exam import Reading, check, fail, for_all, look
from tests.exercises.numbers import bfloat16, room_for_chance, rounded_to

LOOKS = Looks.named("tests.exercises.ex1.looks")
UNIT = Attention(
    name="FusedMultiHeadAttention",
    part="attention",
    same_as="gpt_core.MultiHeadAttention's",
    asks=attention.ASKS
    | {
        "values": "T below block_size, one head, head size 1",
        "in_gpt": "GPT(config, attention=FusedMultiHeadAttention) must give the baseline's logits, and alone "
        "your attention is right. Does it need anything else than config and x?",
    },
    corners=attention.CORNERS,
    long=attention.LONG_TEXT,
)
TITLES = attention.TITLES | {
    "values": "the same output as the lecture's attention, for any B, T, C and H, in both modes",
    "in_gpt": "plugged into GPT it gives the baseline GPT's logits",
}
AFTER = {"in_gpt": ("values", "dropout_eval")}

test_runs = module.runs(UNIT.name, "fuse_heads")
globals().update(checks_of(UNIT, (*module.CHECKS, *attention.CHECKS, *dropout.CHECKS), TITLES, AFTER))


def per_head(weights: Weights, n_head: int) -> Weights:
    """The fused weights as the parameters of gpt_core.MultiHeadAttention."""
    D = weights["qkv.weight"].shape[1] // n_head
    split = {key: weights[key] for key in ("proj.weight", "proj.bias")}
    for part, rows in zip(("query", "key", "value"), np.split(weights["qkv.weight"], 3)):
        for head in range(n_head):
            split[f"heads.{head}.{part}.weight"] = rows[head * D : (head + 1) * D]
    return split


# fuse_heads.

# One of each kind for which an attempt may take another path: nothing special, one head, heads of size 1.
BASELINES = (
    Size(B=2, T=5, n_embd=12, n_head=3, seed=17), Size(B=2, T=5, n_embd=6, n_head=1, seed=15),
    Size(B=2, T=5, n_embd=4, n_head=4, seed=16),
)  # fmt: skip


def asked(function: str, size: Size, weights: Weights, dropout=0.0, **given):
    """A look at what fuse_heads makes of a baseline with these weights."""
    return LOOKS(function, config=size.config(dropout), weights=per_head(weights, size.n_head), **given)


def fused_module(subject, size, weights, x, dtype, train) -> Reading:
    """What fuse_heads gave: where each row of its parameters comes from (-1: not from the baseline), what is
    trainable, and whether it computes what a FusedMultiHeadAttention with its weights does."""
    others = {key: np.roll(value, 1, axis=0) for key, value in weights.items()}
    answer = subject.run(
        asked("beside_a_new_one", size, weights, x=x, dtype=dtype, train=train, others=others)
    )
    values, parameters = answer.tensors("values"), answer.plain("parameters")
    what = "the output of the fused module"
    keys = ("y", "own y", "later", "own later")
    y = {key: answer.tensor(key, x.shape, what, dtype, subject.device) for key in keys}
    loose = 0.05 if dtype == "bfloat16" else 1e-5
    return {
        "rows": {key: source_rows(values.get(key), right) for key, right in weights.items()},
        "rounded": {key: rounded_to(values.get(key), right) for key, right in weights.items()},
        "trainable": {
            key: p["requires_grad"] for key, p in module.without_second_names(parameters, weights).items()
        },
        "as_its_weights": all(
            bool(
                np.allclose(
                    y[key], y[f"own {key}"], atol=loose * max(1.0, float(np.abs(y[f"own {key}"]).max()))
                )
            )
            for key in ("y", "later")
        ),
    }


def source_rows(value, right):
    """For each row of a parameter, the row of `right` that it equals, or -1."""
    rows = np.full(len(right), -1)
    if value is not None and np.array_equal(value, right):
        return np.arange(len(right))
    if value is not None and value.shape == right.shape:
        equal = (value.reshape(len(right), 1, -1) == right.reshape(1, len(right), -1)).all(axis=2)
        rows = np.where(equal.any(axis=1), equal.argmax(axis=1), -1)
        rows[np.diagonal(equal)] = np.arange(len(right))[np.diagonal(equal)]
    return rows


@check("fuse_values", "fuse_heads copies each weight to where it belongs", ("output",))
def test_fuse_values(exam):
    for_all(exam, sizes(UNIT, 6), same_weights, max_examples=4, always=(MANY_HEADS, *BASELINES))


def same_weights(exam, size):
    compare_fused(exam, size, "float32", False)
    if size in BASELINES:
        compare_fused(exam, size, "float64", True)
        compare_fused(exam, size, "bfloat16", True)


def compare_fused(exam, size, dtype, train):
    # Numbers that the dtype holds exactly, and float64 ones that float32 does not.
    weights, x = UNIT.weights(size), bfloat16(size.x())
    weights = {
        key: bfloat16(value)
        if dtype == "bfloat16"
        else value * np.float64(1 + 1e-9)
        if dtype == "float64"
        else value
        for key, value in weights.items()
    }
    case = size.as_case(dtype=dtype, mode="train" if train else "eval")
    got = look(exam, case, fused_module, size, weights, x, dtype, train)
    C = size.n_embd
    for key, rows in got["rows"].items():
        bad = np.flatnonzero(rows != np.arange(len(rows)))
        if len(bad) and got["rounded"][key]:
            fail(
                case,
                f"{key} of the fused module must hold exactly the baseline's weights, which are {dtype} "
                f"here. {len(bad)} of its {len(rows)} rows are only close to them.",
                got["rounded"][key],
            )
        if len(bad):
            first, came = int(bad[0]), int(rows[bad[0]])
            source = (
                f"it is row {came} of the joined weights" if came >= 0 else "it is no row of the baseline"
            )
            fail(
                case,
                f"{key} of the fused module must hold the baseline's weights: in qkv all queries, then all "
                f"keys, then all values, head after head (queries are rows 0 to {C - 1}); proj as it is. "
                "What did you join in which order, and did you copy all three?",
                f"{len(bad)} of {len(rows)} rows of {key} are wrong; the first is row {first}, and {source}",
            )
    frozen = [key for key in weights if got["trainable"].get(key) is not True]
    if frozen:
        fail(case, f"{', '.join(frozen)} of the fused module is not trainable (requires_grad is False).")
    extra = sorted(set(got["trainable"]) - set(weights))
    if extra:
        fail(
            case,
            f"The fused module has further parameters: {', '.join(extra)}. What of the baseline does it "
            f"keep?",
        )
    if not got["as_its_weights"]:
        fail(
            case,
            f"The fused module holds the right weights, and gives another output than a {UNIT.name} with "
            "them. Is there another copy of the weights, or another config?",
        )


def fused_then_changed(subject, size, weights, train) -> Reading:
    """What fuse_heads changes in the baseline, and whether a change of one module changes the other."""
    answer = subject.run(asked("changed", size, weights, train=train))
    tables = {key: answer.tensors(key) for key in ("kept", "before", "after", "changed", "again", "last")}
    same = (
        models.same_state(models.state_of(answer, "state"), models.state_of(answer, "state_then"))
        if train
        else {}
    )

    def differ(one, other):
        return sorted(
            key
            for key in tables[one]
            if tables[one][key] is None or not np.array_equal(tables[one][key], tables[other].get(key))
        )

    split = per_head(weights, size.n_head)
    return {
        "moved_by_baseline": differ("before", "after"),
        "moved_by_fused": differ("changed", "last"),
        "baseline_kept": all(np.array_equal(tables["kept"].get(key), value) for key, value in split.items()),
        "baseline_mode": sorted(set(map(bool, answer.plain("modes").values()))),
        "baseline_trainable": all(p["requires_grad"] for p in answer.plain("parameters").values()),
        "again": all(
            np.array_equal(tables["again"].get(key), value + np.float32(1)) for key, value in weights.items()
        ),
        "state_changed": [models.WHAT[key] for key, kept in same.items() if not kept],
        "settings": answer.plain("settings"),
        "follows": answer.plain("fused_modes") != answer.plain("fused_modes_then"),
    }


@check("fuse_copies", "fuse_heads copies: changing one module leaves the other as it is", ("fuse_values",))
def test_fuse_copies(exam):
    for size, train in itertools.product(BASELINES, (True, False)):
        is_a_copy(exam, size, train)


def is_a_copy(exam, size, train):
    case = size.as_case(training=train)
    got = look(exam, case, fused_then_changed, size, UNIT.weights(size), train)
    if not got["baseline_kept"]:
        fail(case, "fuse_heads changed the weights of the baseline that it was given.")
    if got["baseline_mode"] != [train] or not got["baseline_trainable"]:
        fail(
            case,
            "fuse_heads changed the mode of the baseline that it was given, or froze it. Change the new "
            "module only.",
        )
    if got["state_changed"]:
        fail(
            case,
            f"fuse_heads changed the baseline that it was given: its {', '.join(got['state_changed'])}. "
            f"Change the new module only.",
        )
    same_settings(exam, case, got["settings"], "fuse_heads")
    if not got["again"]:
        fail(
            case,
            "The baseline's weights were changed and it was fused again: the new module does not hold the "
            "new weights. What does your code keep from the call before?",
        )
    if got["follows"]:
        fail(
            case,
            "Putting the baseline into the other mode put a part of the fused module there too. Which module "
            "do they share?",
        )
    shared = got["moved_by_baseline"] or got["moved_by_fused"]
    if shared:
        fail(
            case,
            "Training the baseline must not change the fused module, nor the other way round; "
            f"{', '.join(shared)} changed with the other module. Do they share one tensor, where the values "
            "should be copied?",
        )


def fused_dtypes(subject, size, dtype) -> Reading:
    """{a parameter, of either module, or the output: [dtype, device]}"""
    answer = subject.run(asked("fused", size, UNIT.weights(size), x=size.x(), dtype=dtype))
    found = {key: [p["dtype"], p["device"]] for key, p in answer.plain("parameters").items()}
    for key, p in answer.plain("of_baseline").items():
        found[f"the baseline's {key}"] = [p["dtype"], p["device"]]
    y = answer.values["y"]
    return found | {"its output": [y.get("dtype"), y.get("device")]}


@check("fuse_dtype", "fuse_heads keeps the dtype and the device", ("fuse_values",))
def test_fuse_dtype(exam):
    for dtype, size in itertools.product(("float64", "bfloat16", "float32"), BASELINES):
        case = size.as_case(dtype=dtype, device=exam.device)
        got = look(exam, case, fused_dtypes, size, dtype)
        for key, came in got.items():
            if came != [dtype, exam.device]:
                fail(
                    case,
                    f"The baseline was in {dtype} on {exam.device}, so it must stay there and the fused "
                    f"module must be there too; {key} is {came[0]} on {came[1]}. A new module starts in "
                    "float32 on the CPU: what moves it?",
                )


def fused_modes(subject, size, train) -> Reading:
    """The modes of the fused module's parts."""
    modes = subject.run(asked("fused", size, UNIT.weights(size), P, x=size.x(), train=train)).plain("modes")
    return {"modes": sorted(set(map(bool, modes.values())))}


@check("fuse_mode", "fuse_heads keeps train or eval mode", ("fuse_values",))
def test_fuse_mode(exam):
    for train, size in itertools.product((False, True), BASELINES):
        case = size.as_case(training=train)
        got = look(exam, case, fused_modes, size, train)["modes"]
        if got != [train]:
            mode = "train" if train else "eval"
            fail(
                case,
                f"The baseline is in {mode} mode, so the fused module and everything in it must be too. A "
                "new module starts in train mode: a forgotten eval() drops out at test time. What passes "
                "baseline.training on?",
            )


def fused_output(subject, size, weights, x, seed=0, **given) -> np.ndarray:
    """What the fused module gives for x."""
    answer = subject.run(asked("fused", size, weights, x=x, **given), seed)
    return answer.tensor("y", x.shape, "the output of the fused module", device=subject.device)


def fused_dropout(subject, n_head, D) -> Reading:
    """What the fused module drops of one token."""
    size, weights, x = dropout.few_tokens(UNIT, 1, n_head, D)
    return dropout.levels_of(size, fused_output(subject, size, weights, x, 1, dropout=P, train=True))


@check(
    "fuse_dropout",
    "fuse_heads keeps the dropout probability",
    ("fuse_values", "dropout_weights", "dropout_output"),
)
def test_fuse_dropout(exam):
    for n_head, D in ((4, 8), (1, 8), (4, 1)):
        keeps_dropout(exam, n_head, D)


def keeps_dropout(exam, n_head, D):
    case, p = dropout.CASE | {"n_head": n_head, "n_embd": n_head * D}, P
    got = look(exam, case, fused_dropout, n_head, D, same=dropout.same_dropout)
    room = room_for_chance(p, dropout.weights_seen(n_head * dropout.SEQUENCES, D))
    if abs(got["zeros"] - p) > room or abs(got["low"] - p) > room:
        fail(
            case,
            f"The baseline drops {p:.0%} of its attention weights and of its output in train mode, so the "
            f"fused module must too; it drops {got['low']:.0%} and {got['zeros']:.0%}. Which config is it "
            "built from?",
        )


def fused_forward(subject, size, weights, x) -> Reading:
    """{"y": (B, T, C)}"""
    return {"y": fused_output(subject, size, weights, x)}


@check("fuse_block_size", "fuse_heads keeps block_size", ("fuse_values", "values"))
def test_fuse_block_size(exam):
    # Longer than any default: 256 is GPTConfig's, so 300 tokens need the baseline's own block_size.
    for n_head, C in ((2, 6), (1, 3), (3, 3)):
        size = Size(B=1, T=300, n_embd=C, n_head=n_head, block_size=300, seed=11)
        weights, x = UNIT.weights(size), size.x()
        expected = UNIT.right(size, weights, x)
        got = look(exam, size.as_case(), fused_forward, size, weights, x)["y"]
        expect(
            expected,
            got,
            UNIT.allowance(size, weights, x, expected),
            size.as_case(),
            f"The baseline takes up to block_size = {size.block_size} tokens, so the fused module must too. "
            "Which config is it built from?",
        )


@check("fuse_devices", "the fused module lies on the device of the baseline", ("fuse_values",))
def test_fuse_devices(exam):
    size = Size(B=2, T=9, n_embd=12, n_head=3, block_size=9, seed=32)
    values = asked("fused_values", size, UNIT.weights(size))
    check_devices(exam, size.as_case(), "Every parameter of the fused module", "the baseline", values)
