"""Training of the calculator: a few observed steps, and the run whose model must calculate.

The run happens in the attempt's worker, the measurement in the reference's: a GPT with default parts and the
weights that came back decodes problems that the attempt has never seen.
"""

from dataclasses import dataclass, field

import numpy as np

from tests.exercises.battery.training import (
    RunProgress,
    Unit,
    check_rows,
    decoded,
    found_in,
    observed,
    read_rows,
    trained_model,
)
from tests.exercises.calculator import readings
from tests.exercises.calculator.readings import LOOKS, OPERATORS, VOCABULARY, WIDTH
from tests.exercises.exam import Reading, Subject

MOST_PARAMETERS = 2_000_000
UNIT = Unit(
    "train_calculator",
    MOST_PARAMETERS,
    draws="problems",
    sets="are problems taken from a set in its order",
    seconds=180.0,
)
STEPS, WANTED = 2500, 0.99  # the budget, and the share of held-out problems to be right with each operator
SECONDS = 3600.0
ROW_WIDTH = 256  # tokens of a row of training input that are looked at: several problems, if it holds so many
SAMPLED = 64  # rows of each training batch that are kept, to see what it was trained on
PROBLEMS = 500  # held-out ones of each operator, on which a trained model is measured


@dataclass(frozen=True)
class Calculating:
    """One call of train_calculator."""

    steps: int
    seed: int = 1

    def call(self) -> dict:
        """For the looks."""
        return {"args": [], "options": {"steps": self.steps, "seed": self.seed}, "width": ROW_WIDTH}

    def as_case(self, **more) -> dict:
        """For the report and the JSON."""
        return {"steps": self.steps} | more


def read_problems(answer) -> np.ndarray:
    """The problems (N, 3) that a run trained on, as readings.drawn gives them, out of an answer's rows;
    CheckFailed where they cannot be told."""
    rows = read_rows(answer, ROW_WIDTH, f"the longest problem has {WIDTH}")
    found, count = [], np.zeros(len(rows), dtype=np.int64)
    for place, form in enumerate(readings.PROMPTS.values()):
        (a, b), held = found_in(rows, form, VOCABULARY)
        found.append(np.stack([a, np.full_like(a, place), b], axis=1))
        count += held
    check_rows(rows, count, VOCABULARY)
    return np.concatenate(found)


def trained_on(subject: Subject, reference: Subject, case: Calculating) -> Reading:
    """How many of the problems that it trains on are held out."""
    problems = read_problems(observed(subject, UNIT, case))
    held = readings.held_out(reference, problems)
    return {"held_out": float(held.mean()), "example": readings.first_of(problems, held)}


# The run whose model must calculate.


@dataclass
class Trained:
    """A trained model: the config's fields, the weights by name, the problems (N, 3) that it trained on."""

    config: dict
    weights: dict[str, np.ndarray]
    problems: np.ndarray


def trained(subject: Subject, case: Calculating, progress: RunProgress) -> Trained:
    """Train in the subject's worker; CheckFailed where what comes back is not the model asked for."""
    answer, config, weights = trained_model(
        subject,
        UNIT,
        case,
        tokens=len(VOCABULARY),
        block=WIDTH,
        seconds=SECONDS,
        progress=progress,
        sampled=SAMPLED,
    )
    return Trained(config, weights, read_problems(answer))


@dataclass
class Result:
    """A model's answers to problems of one operator: a, b, and the tokens (N, length), written and
    expected."""

    op: str
    a: np.ndarray
    b: np.ndarray
    written: np.ndarray
    expected: np.ndarray
    right: np.ndarray = field(init=False)

    def __post_init__(self):
        # The number that an answer ends in, whatever the steps: decode looks at nothing else.
        def number(row):
            return readings.decode(self.op, "".join(VOCABULARY[id] for id in row))

        self.right = np.array(
            [number(one) == number(other) for one, other in zip(self.written, self.expected)]
        )


def solved(reference: Subject, model: Trained, op: str, a: np.ndarray, b: np.ndarray) -> Result:
    """The model's answers to these problems, decoded greedily in the reference's worker."""
    pairs = [readings.encode(i, op, j) for i, j in zip(a.tolist(), b.tolist())]
    prompts, expected = (np.array([readings.tokens(pair[part]) for pair in pairs]) for part in (0, 1))
    written = decoded(reference, model.config, model.weights, prompts, expected.shape[1], seconds=300.0)
    return Result(op, a, b, written, expected)


def measured(reference: Subject, model: Trained, seed: int, note, count: int = PROBLEMS) -> dict[str, Result]:
    """The model on `count` held-out problems of each operator, drawn from a seed that no attempt is given."""
    found = {}
    for place, op in enumerate(OPERATORS):
        note(f"decoding held-out problems with {op}")
        answer = reference.run(LOOKS("held_out_problems", op=op, count=count, seed=seed + place))
        a, b = (answer.tensor(key, (count,), "held-out problems", "int64") for key in "ab")
        found[op] = solved(reference, model, op, a, b)
    return found


def diagnosis(results: dict[str, Result], wanted: float) -> tuple[str, list[str]]:
    """Why a model does not calculate, as far as its answers tell: a message, and the numbers."""
    shares = {op: result.right.mean() for op, result in results.items()}
    low = " and ".join(f"{share:.1%} with {op}" for op, share in shares.items() if share < wanted)
    lines = []
    for op, result in results.items():
        lines.append(f"{op}  {shares[op]:.1%} right")
        if not result.right.all():
            at = int((~result.right).argmax())
            expected, written = (
                "".join(VOCABULARY[id] if id < len(VOCABULARY) else "?" for id in rows[at])
                for rows in (result.expected, result.written)
            )
            lines.append(f"   {result.a[at]} {op} {result.b[at]} is {expected}, and it writes {written}")
    return f"It must solve at least {wanted:.0%} of held-out problems, and solves {low}.", lines
