"""Explanations that are fitted: the mistake read off the numbers, where no known one gives them exactly.

A failed check hands over what was expected and what came (exam.Numbers). Each family knows one kind of
mistake with a parameter, such as a factor or a window, finds the parameter that fits best, and answers only
where it explains everything that came, within rounding.
"""

from dataclasses import dataclass

from tests.exercises.exam import Numbers


@dataclass(frozen=True)
class Fit:
    """What explains the numbers that came.

    id:      as a mistake's of the catalogue; the same mistake has the same id whatever its parameter is.
    name:    one line, with the fitted value in it.
    why:     two or three sentences to the learner: what the code now does, why it is wrong, where to look.
    left:    how much of the difference between expected and got stays unexplained: 0 nothing, 1 all of it.
    simpler: of several fits that explain all, the one with the lowest number is taken.
    """

    id: str
    name: str
    why: str
    left: float = 0.0
    simpler: int = 1


def families() -> dict[str, tuple]:
    """What may explain the numbers of each kind: functions of Numbers that give fits."""
    # Here, since each family gives a Fit of this module.
    from grader.judge.fits import angles, counts, draws, dropout, rotation, tokens

    return {
        # exercise 4
        "angles": (angles.of_angles,),
        "rotation": (rotation.of_rotation,),
        # dropout in an attention
        "dropout": (dropout.of_dropout,),
        "dropout_nan": (dropout.of_nan,),
        # exercises 2 and 3
        "text": (tokens.of_text,),
        "tokens": (tokens.of_batch,),
        "ahead": (tokens.of_ahead,),
        "drawn": (draws.of_draws,),
        "loss": (counts.of_loss,),
        "updates": (counts.of_updates,),
        "rate": (counts.of_rates,),
        "decay": (counts.of_decay,),
    }


def explain(numbers: Numbers) -> Fit | None:
    """The simplest fit that explains the numbers; None where there is none, or two are equally simple and
    differ."""
    fits = [fit for family in families().get(numbers.kind, ()) for fit in family(numbers)]
    best = [fit for fit in fits if fit.simpler == min(fit.simpler for fit in fits)]
    return best[0] if len({fit.id for fit in best}) == 1 else None
