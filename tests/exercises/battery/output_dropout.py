"""The check of a module whose last step is dropout on its output, such as a feed-forward. That of an
attention, which drops in two places, is in dropout.py."""

import numpy as np

from tests.exercises.battery.dropout import both_zero
from tests.exercises.battery.module import OUTPUT_AXES, Size, Unit, outputs
from tests.exercises.exam import Reading, Subject, check, fail, look, of_readings
from tests.exercises.numbers import room_for_chance

PS = (0.3, 0.6)  # two, and neither 0.5: dropping with 1 - p would look the same
CALLS = ("eval", "train", "train", "train under no_grad", "eval")
SIZE = Size(B=8, T=40, block_size=40, seed=4)


def dropped(subject: Subject, unit: Unit) -> Reading:
    """By p, what dropout of that probability does in each of CALLS:

    zeros:     the share of the output that is 0
    apart:     how far the output is from the right one of eval mode, on average
    kept:      whether what is not 0 is the right output, in train mode divided by 1 - p
    together:  over which of sequences, tokens, channels and calls the zeros are alike
    gradients: whether they are those of what is kept
    """
    weights, x = unit.weights(SIZE), SIZE.x()
    given = {"x": x, "cotangent": SIZE.x(2), "ps": PS, "calls": CALLS}
    answer = subject.run(unit.asked("with_dropout", SIZE, weights, **given), 1)
    right, found = unit.right(SIZE, weights, x), {}
    near = unit.allowance(SIZE, weights, x, right) / (1 - max(PS))
    for p in PS:
        ys = list(outputs(subject, answer, {f"{p} {call}": x for call in range(len(CALLS))}).values())
        zero = [y == 0 for y in ys]
        off = [
            np.abs(y - right / (1 if call == "eval" else 1 - p))[~z].max(initial=0)
            for y, z, call in zip(ys, zero, CALLS)
        ]
        alike = {f"{axis}s": both_zero(zero[1], number, (1,)) for number, axis in enumerate(OUTPUT_AXES)}
        alike["calls"] = float((zero[1] & zero[2]).mean())  # p where they are alike, else p ** 2
        got, kept = answer.tensors(f"{p} gradients"), answer.tensors(f"{p} kept")
        found[str(p)] = {
            "zeros": np.array([z.mean() for z in zero]),
            "apart": np.array([np.abs(y - right).mean() for y in ys]),
            "kept": bool(np.max(off) <= near),
            "together": [axis for axis, both in alike.items() if both > (p + p * p) / 2],
            "gradients": all(
                g is not None and np.allclose(g, kept[key], atol=1e-3) for key, g in got.items()
            ),
        }
    return found


@of_readings
def same_dropout(one, other):
    """Shares and distances within chance, and the rest as it is."""
    return all(
        np.allclose(one[p]["zeros"], other[p]["zeros"], atol=0.04)
        and np.allclose(one[p]["apart"], other[p]["apart"], rtol=0.1, atol=1e-5)
        and all(one[p][key] == other[p][key] for key in ("kept", "together", "gradients"))
        for p in one
    )


@check("dropout", "dropout comes last, with config.dropout, in train mode alone", ("output",))
def drops_its_output(exam, unit):
    got = look(exam, SIZE.as_case(dropout=list(PS)), dropped, unit, same=same_dropout)
    for p in PS:
        found, case = got[str(p)], SIZE.as_case(dropout=p)
        shares = [f"{share:.0%} ({call})" for share, call in zip(found["zeros"], CALLS)]
        lines = f"zeros in the output: {', '.join(shares)}"
        wanted = (
            f"In train mode each element of the output must become 0 with probability {p}, and the others "
        )
        wanted += f"be divided by 1 - {p}. "
        if found["apart"][1] <= 1e-4:
            fail(case, wanted + "Yours is the same in both modes. Where is dropout?")
        for share, call in zip(found["zeros"], CALLS):
            expected = 0.0 if call == "eval" else p
            room = room_for_chance(p, SIZE.x().size) if expected else 0.0
            if not abs(share - expected) <= room:
                fail(
                    case,
                    wanted + f"In the mode {call} it is another share. Is dropout the last step, with "
                    "config.dropout, and does it follow the mode?",
                    lines,
                )
        if not found["kept"]:
            fail(case, wanted + "What is not 0 is another number. What else is dropped or scaled?", lines)
        if found["together"]:
            axes = " and ".join(found["together"])
            fail(case, wanted + f"Yours are the same places in all {axes}: in which shape is the mask drawn?")
        if not found["gradients"]:
            fail(
                case,
                "In train mode the gradients are not those of what dropout left. Is it applied to .data, or "
                "under no_grad?",
            )


CHECKS = (drops_its_output,)
