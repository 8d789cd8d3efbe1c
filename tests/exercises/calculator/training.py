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
    predicted,
    read_rows,
    reported,
    trained_model,
)
from tests.exercises.calculator import readings
from tests.exercises.calculator.answers import Answers, followed, forced
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
STEPS, WANTED = 5000, 0.99  # the budget, and the share of held-out problems to be right with each operator
SECONDS = 3600.0
ROW_WIDTH = 256  # tokens of a row of training input that are looked at: several problems, if it holds so many
SAMPLED = 64  # rows of each training batch that are kept, to see what it was trained on
PROBLEMS = 1000  # held-out ones of each operator, on which a trained model is measured
FORCED = 200  # those in which a digit of a partial result is changed by force
PATIENCE = 300.0  # seconds for the answers to a thousand problems


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
    """A trained model: the config's fields, the weights by name, the problems (N, 3) that it trained on, and
    the (step, loss) that were reported."""

    config: dict
    weights: dict[str, np.ndarray]
    problems: np.ndarray
    curve: list[tuple[float, float]] = field(default_factory=list)


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
    return Trained(config, weights, read_problems(answer), reported(answer))


def text_of(rows: np.ndarray) -> list[str]:
    """Answers (N, length) as texts, up to and with the first ";"."""
    texts = ("".join(VOCABULARY[id] if 0 <= id < len(VOCABULARY) else "?" for id in row) for row in rows)
    return [text[: text.find(";") + 1] or text for text in texts]


def solved(reference: Subject, model: Trained, problems: list[tuple[int, str, int]]) -> Answers:
    """The model's answers to problems of one operator, as it would write them greedily."""
    pairs = [readings.encode(*problem) for problem in problems]
    prompts, right = (np.array([readings.tokens(pair[part]) for pair in pairs]) for part in (0, 1))
    begin = prompts.shape[1] - 1
    rows = np.concatenate([prompts, right], axis=1)[:, :-1]
    # Where the right token is the most likely one at each place, given the right ones before it, greedy
    # decoding writes exactly these: one call for all places instead of one for each.
    written = predicted(reference, model.config, model.weights, rows, seconds=PATIENCE)[:, begin:]
    wrong = (written != right).any(axis=1)
    written[wrong] = decoded(
        reference, model.config, model.weights, prompts[wrong], right.shape[1], seconds=PATIENCE
    )
    return Answers(problems[0][1], problems, text_of(written))


def held_out_problems(reference: Subject, op: str, count: int, seed: int) -> list[tuple[int, str, int]]:
    """`count` held-out problems of one operator."""
    answer = reference.run(LOOKS("held_out_problems", op=op, count=count, seed=seed))
    a, b = (answer.tensor(key, (count,), "held-out problems", "int64") for key in "ab")
    return [(i, op, j) for i, j in zip(a.tolist(), b.tolist())]


def measured(reference: Subject, model: Trained, seed: int, note) -> dict[str, Answers]:
    """The model on held-out problems of each operator, drawn from a seed that no attempt is given."""
    found = {}
    for place, op in enumerate(OPERATORS):
        note(f"decoding held-out problems with {op}")
        found[op] = solved(reference, model, held_out_problems(reference, op, PROBLEMS, seed + place))
    return found


def following(reference: Subject, model: Trained, seed: int) -> dict[str, float]:
    """For * and /: the share of answers that follow a digit of a partial result which is changed by force."""
    shares = {}
    for op in "*/":
        rng = np.random.default_rng(seed)
        cases = [forced(problem, rng) for problem in held_out_problems(reference, op, FORCED, seed)]
        by_length: dict[int, list] = {}  # what is decoded together has one length
        for case in filter(None, cases):
            by_length.setdefault(len(case.beginning), []).append(case)
        found = []
        for same in by_length.values():
            begun = [readings.encode(*case.problem)[0] + case.beginning for case in same]
            prompts = np.array([readings.tokens(text) for text in begun])
            left = len(readings.encode(*same[0].problem)[1]) - len(same[0].beginning)
            rest = decoded(reference, model.config, model.weights, prompts, left, seconds=PATIENCE)
            found += [followed(case, case.beginning + text) for case, text in zip(same, text_of(rest))]
        shares[op] = sum(found) / len(found)
    return shares
