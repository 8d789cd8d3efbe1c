"""The checks of an attention whose heads share keys and values in groups (parameters q, kv and proj,
argument n_kv_head): what it is in the terms of the other batteries, and which heads are a group."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from tests.exercises.battery import attention, module
from tests.exercises.battery.attention import Attention, moved
from tests.exercises.battery.module import Size, compare_gradients, outputs
from tests.exercises.exam import Reading, check, fail, for_all, look


@dataclass(frozen=True, eq=False)
class Grouped(Attention):
    """The checks think in exercise 1's weights, with keys and values that a group's heads have in common."""

    values_in: str = "the second half of kv.weight, group after group"
    n_kv_head: int | None = None  # None: by the number of heads, never as many as there are in a group

    def of(self, G: int) -> "Grouped":
        """The same with so many groups."""
        return replace(self, n_kv_head=G)

    def groups(self, H: int) -> int:
        return self.n_kv_head or max((G for G in range(1, H) if H % G == 0 and G * G != H), default=1)

    def arguments(self, size):
        return {"n_kv_head": self.groups(size.n_head)}

    def parameters(self, size):
        C = size.n_embd
        kv = 2 * self.groups(size.n_head) * size.D
        return {"q.weight": (C, C), "kv.weight": (kv, C), "proj.weight": (C, C), "proj.bias": (C,)}

    def by_group(self, size, rows):
        """Rows of all heads, (C, ..) -> (G, H / G, D, C)."""
        return rows.reshape(self.groups(size.n_head), -1, size.D, size.n_embd)

    def for_heads(self, size, rows):
        """Rows of all groups, (G D, C), as those of all heads, (C, C)."""
        G = self.groups(size.n_head)
        return rows.reshape(G, size.D, -1).repeat(size.n_head // G, axis=0).reshape(size.n_embd, -1)

    def weights(self, size):
        own = super().weights(size)
        q, kv = own.pop("q.weight"), own.pop("kv.weight")
        return {"qkv.weight": np.concatenate([q, *(self.for_heads(size, m) for m in np.split(kv, 2))])} | own

    def own(self, size, weights):
        if "qkv.weight" not in weights:
            return weights
        q, k, v = np.split(weights["qkv.weight"], 3)
        kv = [self.by_group(size, m)[:, 0].reshape(-1, size.n_embd) for m in (k, v)]
        others = {key: value for key, value in weights.items() if key != "qkv.weight"}
        return {"q.weight": q, "kv.weight": np.concatenate(kv)} | others

    def as_checked(self, size, gradients):
        q, kv = gradients.pop("q.weight", None), gradients.pop("kv.weight", None)
        if q is None and kv is None:
            return gradients
        full = np.zeros((3 * size.n_embd, size.n_embd))
        full[: size.n_embd] = 0 if q is None else q
        for part in (1, 2) if kv is not None else ():  # of a group's heads the first has it all
            rows = self.by_group(size, full[part * size.n_embd : (part + 1) * size.n_embd])
            rows[:, 0] = np.split(kv, 2)[part - 1].reshape(rows[:, 0].shape)
        return gradients | {"qkv.weight": full}


SIX = Size(T=5, n_embd=30, n_head=6, seed=61)


def by_default(subject, unit) -> Reading:
    """{"shape": of kv.weight, where no number of groups is given}"""
    kv = module.begins(subject, unit, SIX, ("kv.weight",))["kv.weight"]
    return {"shape": None if kv is None else list(kv.shape)}


@check("built", "n_kv_head is 2 by default, and must be at least 1 and divide H", ("parameters",))
def takes_divisors(exam, unit):
    right, wrong = (1, 2, 3, 6), (0, -1, -2, 4, 5, 7, 12)
    right, wrong = (tuple({"n_kv_head": G} for G in groups) for groups in (right, wrong))
    module.must_refuse(exam, unit, SIX, wrong, "it must be at least 1 and divide n_head = 6.", but=right)
    shape = look(exam, SIX.as_case(), by_default, unit)["shape"]
    if shape != [20, 30]:
        message = f"Without n_kv_head there are 2 groups, so kv.weight is (20, 30); yours is {shape}."
        fail(SIX.as_case(), message)


def influence(subject, unit, size) -> Reading:
    """{"moved": (2 G, H) bool}: whether a head's output moves with a group's keys, then with its values."""
    G, C = unit.n_kv_head, size.n_embd
    shown = {"proj.weight": np.eye(C, dtype=np.float32), "proj.bias": np.zeros(C, np.float32)}
    weights, others = unit.weights(size) | shown, {}
    kv = unit.own(size, weights)["kv.weight"]
    for row in range(2 * G):
        others[str(row)] = {"kv.weight": kv.copy()}
        others[str(row)]["kv.weight"][row * size.D : (row + 1) * size.D] *= -2
    x = size.x()
    asked = unit.asked("with_other_weights", size, weights, looks=attention.LOOKS, x=x, others=others)
    y = outputs(subject, subject.run(asked), dict.fromkeys(["y", *others], x))
    heads = {key: moved(y[key], y["y"]).reshape(-1, size.n_head, size.D).any(axis=(0, 2)) for key in others}
    return {"moved": np.array(list(heads.values()))}


@check("groups", "query head h uses the keys and values of group h // (H / G)", ("one_token", "built"))
def shares_in_groups(exam, unit):
    for G in (2, 3, 1, 6):  # 6 heads: what is 2 is never also 3
        got = look(exam, SIX.as_case(n_kv_head=G), influence, unit.of(G), SIX)["moved"]
        right = np.tile(np.arange(6) // (6 // G) == np.arange(G)[:, None], (2, 1))
        for row in np.flatnonzero((got != right).any(axis=1))[:1]:
            part = f"{'keys' if row < G else 'values'} of group {row % G}"
            fail(
                SIX.as_case(n_kv_head=G),
                f"The {part} (kv.weight: all keys, then all values, group after group) must move the heads "
                f"{np.flatnonzero(right[row]).tolist()}; in yours they move "
                f"{np.flatnonzero(got[row]).tolist()}. Which group does your reshape, repeat or expand give "
                f"to each head?",
            )


@st.composite
def grouped_sizes(draw):
    """(B, T, G, H / G, D), plain values for a replay's token"""
    return tuple(draw(st.integers(1, most)) for most in (3, 9, 4, 4, 6))


SPECIAL = (
    (2, 5, 2, 3, 4),
    (2, 5, 3, 2, 5),
    (2, 4, 4, 1, 3),
    (1, 1, 5, 2, 1),
    (2, 130, 2, 5, 3),
    (3, 6, 3, 4, 64),
)


@check("group_values", "the right output with any number of groups", ("groups", "values"))
def is_right_for_any_groups(exam, unit):
    def body(exam, drawn):
        B, T, G, share, D = drawn
        module.same_values(exam, unit.of(G), Size(B, T, G * share * D, G * share, T + 1, seed=62))

    for_all(exam, grouped_sizes(), body, always=SPECIAL)


@check(
    "group_gradients", "with several groups, the right gradients, and bfloat16", ("group_values", "gradients")
)
def has_the_right_gradients_in_groups(exam, unit):
    for G in (2, 3, 6):
        compare_gradients(exam, unit.of(G), SIX, ("train", "eval"), "float32")
        module.same_values_in_bfloat16(exam, unit.of(G), SIX)


CHECKS = (takes_divisors, shares_in_groups, is_right_for_any_groups, has_the_right_gradients_in_groups)
