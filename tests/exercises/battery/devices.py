"""The check that every tensor is made where the input lies, on a machine with a GPU or without one.

The looks are those of other checks. They are carried out on the CPU, where the worker watches torch's
functions (grader/worker/devices.py): a tensor that was made without a device may not meet the input, and may
not be a result.
"""

from tests.exercises.asked import Asked
from tests.exercises.exam import CheckFailed, Reading, Subject, fail, look

TITLE = "every tensor is made where the input lies, so that it runs on a GPU too"


def strays(subject: Subject, *asks: Asked) -> Reading:
    """{"stray": what of the answers lies on the CPU wherever the input lies}"""
    found = []
    for asked in asks:
        try:
            answer = subject.run(asked.traced())
        except CheckFailed as failure:
            if str((failure.same or ("",))[0]).startswith("devices"):
                raise
            continue  # other checks see whatever else goes wrong
        found += [name for name, value in answer.values.items() if _is_stray(value)]
        if answer.values.get("device", {}).get("value") == "stray":  # of a model that was trained
            found.append("the trained weights")
    return {"stray": sorted(set(found))}


def _is_stray(value: dict) -> bool:
    inside = value.get("items", ())
    inside = inside.values() if isinstance(inside, dict) else inside
    return value.get("device") == "stray" or any(_is_stray(item) for item in inside)


def check_devices(exam, case: dict, what: str, where: str, *asks: Asked) -> None:
    """what: the results, in a message; where: what they must lie with, such as "x"."""
    if look(exam, case, strays, *asks)["stray"]:
        fail(
            case,
            f"{what} must lie on the device of {where}; yours lies on the CPU, wherever that is. A tensor "
            f"that you make is on the CPU unless you say otherwise: write device=.., or move it.",
        )
