"""The checks of a function that makes an attention of exercise 1's: what it copies, what it leaves alone."""

from dataclasses import dataclass

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Looks
from tests.exercises.battery import devices
from tests.exercises.battery.attention import P
from tests.exercises.battery.module import Size, Unit, Weights, without_second_names
from tests.exercises.exam import Reading, Subject, check, fail, look
from tests.exercises.numbers import bfloat16, room_for_chance, worst

CHANGE = 0.5


@dataclass(frozen=True, eq=False)
class Conversion:
    """function(fused, config, ..) -> a module of the unit's class.

    looks, look: the look that calls converted_looks.converted with it. source: exercise 1's unit. cases: the
    further arguments, the dtype and whether it is in train mode, of each. asks: what leads to a wrong number.
    """

    function: str
    looks: Looks
    look: str
    unit: Unit
    source: Unit
    size: Size
    cases: tuple[tuple[dict, str, bool], ...]
    asks: str

    def right(self, weights: Weights, **arguments) -> Weights:
        """The parameters that must come, in float64."""
        raise NotImplementedError

    def room(self, key: str, right: np.ndarray, dtype: str) -> np.ndarray:
        """How far they may be off."""
        return np.zeros_like(right)

    def weights(self, dtype: str) -> Weights:
        """Those of the attention that it is given: numbers of this dtype, and of no shorter one."""
        weights = {key: w * np.float64(1 + 1e-9) for key, w in self.source.weights(self.size).items()}
        weights = weights if dtype == "float64" else {k: w.astype(np.float32) for k, w in weights.items()}
        return {key: bfloat16(w) for key, w in weights.items()} if dtype == "bfloat16" else weights

    def asked(self, arguments: dict, dtype: str, train: bool):
        """The look, with dropout in train mode."""
        given = {"arguments": arguments, "dtype": dtype, "train": train, "change": CHANGE, "x": self.size.x()}
        config, weights = self.size.config(P * train), self.weights(dtype)
        return self.looks(self.look, unit=self.unit.name, config=config, weights=weights, **given)

    def as_case(self, arguments: dict, dtype: str, train: bool) -> dict:
        """For the report."""
        return self.size.as_case(
            dtype=dtype, mode="train" if train else "eval", dropout=P * train, **arguments
        )


def made(subject: Subject, conversion: Conversion, arguments, dtype, train) -> Reading:
    """What the function gave, and what it did to its source."""
    answer = subject.run(conversion.asked(arguments, dtype, train), 1)
    weights = conversion.weights(dtype)
    names = conversion.right(weights, **arguments)
    listed = without_second_names(answer.plain("parameters"), names)
    before, after = models.state_of(answer, "state"), models.state_of(answer, "state_then")
    values, then, left = (answer.tensors(key) for key in ("values", "values_then", "source_then"))
    return {
        "values": {key: values.get(key) for key in names},
        "are": sorted({(p["dtype"], p["device"], p["requires_grad"] is True) for p in listed.values()}),
        "names": sorted(listed),
        "modes": sorted(set(map(bool, answer.plain("modes").values()))),
        "changed": [models.WHAT[key] for key, same in models.same_state(before, after).items() if not same],
        "shared": [key for key in values if not np.array_equal(values[key], then.get(key))]
        + [key for key, w in weights.items() if not np.allclose(left[key], w + CHANGE, atol=0.1)]
        + (["their modes"] if answer.plain("modes") != answer.plain("modes_then") else []),
        "y": answer.tensor("y", conversion.size.x().shape, "the output", dtype, subject.device),
    }


@check("converted", "each parameter of what it makes has the right numbers", ("output",))
def has_the_right_numbers(exam, conversion):
    for arguments, dtype, train in conversion.cases:
        case = conversion.as_case(arguments, dtype, train)
        got = look(exam, case, made, conversion, arguments, dtype, train)["values"]
        for key, right in conversion.right(conversion.weights(dtype), **arguments).items():
            if got[key] is None or got[key].shape != right.shape:
                came = "is no tensor" if got[key] is None else f"is {got[key].shape}"
                fail(case, f"{key} must be {right.shape}, and {came}. From which sizes is it built?")
            if not (np.abs(got[key] - right) <= conversion.room(key, right, dtype)).all():
                where = worst(right, got[key], ("row", "column")[: right.ndim])
                fail(
                    case, f"{key} of what {conversion.function} gives is not right. {conversion.asks}", where
                )


@check(
    "kept", "it keeps dtype, device and mode, shares nothing, and leaves its source as it was", ("converted",)
)
def keeps_what_it_is_given(exam, conversion):
    for arguments, dtype, train in conversion.cases:
        case = conversion.as_case(arguments, dtype, train)
        got = look(exam, case, made, conversion, arguments, dtype, train)
        if got["are"] != [(dtype, exam.device, True)] or got["names"] != sorted(got["values"]):
            wanted = f"{', '.join(got['values'])}, {dtype} on {exam.device}, all trainable"
            fail(case, f"Its parameters must be {wanted}. What moves a new module there?", str(got["are"]))
        if got["modes"] != [train]:
            fail(case, "The mode of the source must be kept, in all parts. What passes fused.training on?")
        if got["changed"]:
            fail(case, f"The source must stay as it was; changed: {', '.join(got['changed'])}.")
        if got["shared"]:
            shared = ", ".join(dict.fromkeys(got["shared"]))
            fail(case, f"A change of one changes the other: {shared}. Copy the numbers.")
        if train and abs((got["y"] == 0).mean() - P) > room_for_chance(P, got["y"].size):
            fail(case, "In train mode another share than config.dropout is 0. From which config is it built?")


@check("converted_devices", devices.TITLE, ("converted",))
def makes_it_on_the_device(exam, conversion):
    arguments = conversion.cases[0][0]
    case = conversion.as_case(arguments, "float32", False)
    asked = conversion.asked(arguments, "float32", False)
    devices.check_devices(exam, case, f"What {conversion.function} gives", "its source", asked)


CHECKS = (has_the_right_numbers, keeps_what_it_is_given, makes_it_on_the_device)
