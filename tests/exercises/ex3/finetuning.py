"""How the checks look at finetuning: what it reads, in which mode, what it leaves alone, and how good the
weights are that come back."""

from dataclasses import dataclass, replace

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Looks
from tests.exercises.battery.training import Unit, model_of, observed, returned, same_weights
from tests.exercises.ex3.readings import BY_CHARACTER, transferred
from tests.exercises.exam import Answer, CheckFailed, Reading, Subject

OWN_LOOKS = Looks.named("tests.exercises.ex3.training_looks")
UNIT = Unit(
    "finetune",
    1_000_000,
    draws="batches",
    sets="is the vocabulary list(set(text)) without sorted(..)",
    budget="A comparison of unequal budgets proves nothing, and the best weights come back anyway.",
    seconds=60.0,
)
# A model as its owner left it: some parts in train mode, some parameters frozen, gradients of the last step.
LEFT = {"train": (False, True, False), "frozen": (False, True), "grad": 3.0}
ROWS_THAT_TELL = 150
DROPOUT_ON = 3  # of probes.DROPOUT
# AdamW moves a weight by at most 1 / sqrt(1 - beta2) updates of lr, 32 for beta2 = 0.999; and decay
MOST_UPDATES = 100.0
ROUNDED = 0.01  # of an update
LR_SLACK = 1 + 1e-6  # a rate computed in another order
LR_SLACK_BY_HAND = 3.0  # AdamW moves a weight by about lr in an update, over a dozen of them
NO_TOKEN = 255  # of grader/worker/probes.py: the end of a short row, and a target that is not known
# The training and the validation text share no character, so every row shows which of the two it is from.
TRAINED, VALIDATION = "abcdefg\n", "ABCDEFG."
SOME_KNOWN = "gAbDeFc.Bxy\n"  # in another order, without some, and with two more
ALL_KNOWN = "gAbDeFc.BxyadfCEG\n"


@dataclass(frozen=True)
class Tuning:
    """One call of finetune: a pretrained model from a seed, a text of two alphabets, and the budget."""

    steps: int = 6
    lr: float = 1e-2
    seed: int = 1
    length: int = 300
    block_size: int = 8
    dropout: float = 0.2
    chars: str = SOME_KNOWN  # of the pretrained model, in the order of their ids
    validation_bias: float = 0.0  # in the pretrained model, for the characters of the validation text
    trained: str = TRAINED  # what the first 90 % are drawn from
    validation: str = VALIDATION  # what the last tenth is drawn from
    late: str = ""  # what the tenth before that is drawn from, where it is not from `trained`
    # the validation text repeats its characters in one fixed order, instead of drawing each one
    round: bool = False
    n_layer: int = 2
    n_embd: int = 16
    pretrained_train: bool = True  # the mode of the pretrained model

    def config(self) -> dict:
        return {
            "vocab_size": len(self.chars),
            "block_size": self.block_size,
            "n_layer": self.n_layer,
            "n_head": 2,
            "n_embd": self.n_embd,
        }

    def weights(self) -> dict[str, np.ndarray]:
        weights = models.drawn(self.config(), self.seed)
        weights["lm_head.bias"] += self.validation_bias * np.isin(list(self.chars), list(VALIDATION))
        return weights

    def text(self) -> str:
        """The first 90 % from one alphabet, the validation text from another."""
        rng = np.random.default_rng((self.seed, 23))
        border = int(0.9 * self.length)
        length = self.length - border
        first = "".join(rng.choice(list(self.trained), border))
        if self.late:
            begin = int(0.8 * self.length)
            first = first[:begin] + "".join(rng.choice(list(self.late), border - begin))
        if self.round:
            return first + ("".join(rng.permutation(list(self.validation))) * length)[:length]
        return first + "".join(rng.choice(list(self.validation), length))

    def call(self) -> dict:
        """For the looks."""
        return call_of(
            self.text(),
            self.config() | {"dropout": self.dropout},
            self.weights(),
            self.chars,
            width=self.block_size,
            train=self.pretrained_train,
            steps=self.steps,
            lr=self.lr,
            seed=self.seed,
        )

    def as_case(self, **more) -> dict:
        return {
            "steps": self.steps,
            "lr": self.lr,
            "characters": self.length,
            "block_size": self.block_size,
        } | more


def call_of(
    text: str, config: dict, weights: dict, chars: str, *, width: int, train: bool = True, **options
) -> dict:
    """A call of finetune, for the looks: on a text, from a pretrained model of this config and these
    weights."""
    pretrained = {"config": config, "weights": weights, "chars": chars, "train": train}
    return {"args": [text], "options": options, "width": width, "pretrained": pretrained}


def sizes(subject: Subject, case: Tuning) -> Reading:
    """Whether the model has the config of the pretrained one, and the tokenizer all characters of the
    text."""
    answer = returned(subject, UNIT, case)
    sizes, chars = answer.plain("sizes"), answer.plain("chars")
    kept = case.config() | {"dropout": case.dropout}
    return {
        "vocab_size": sizes["vocab_size"] == len(chars),
        "others": [key for key in kept if key != "vocab_size" and sizes[key] != kept[key]],
        "missing": sorted(set(case.text()) - set(chars)),
    }


# The weights that come back.


def tuned(subject: Subject, case: Tuning, steps: int | None = None) -> tuple[dict, str]:
    """The returned weights, of a run of `steps` updates where that is asked, and the characters of the
    tokenizer."""
    return weights_of(subject.run(UNIT.ask("trained", case, largest=UNIT.most)), steps)


def weights_of(answer: Answer, steps: int | None = None) -> tuple[dict, str]:
    """The weights and characters in an answer to the look `trained`, checked as far as building a GPT from
    them takes."""
    config, weights = model_of(answer, UNIT, steps)
    chars = "".join(answer.plain("chars"))
    if config["vocab_size"] != len(chars):
        raise CheckFailed(
            f"The model has {config['vocab_size']} tokens, and the tokenizer {len(chars)} characters.",
            same=("vocabulary",),
        )
    return weights, chars


def transferred_only(subject: Subject, case: Tuning) -> Reading:
    """How far what finetune returns is from the transferred weights, part by part, where lr is 0."""
    weights, chars = tuned(subject, case)
    wanted = transferred(case.weights(), case.chars, weights, chars)
    far = [key for key in weights if not np.allclose(weights[key], wanted[key], rtol=0, atol=1e-6)]
    return {
        "rows": [key for key in far if key in BY_CHARACTER],
        "blocks": any(key not in BY_CHARACTER for key in far),
    }


def moved(subject: Subject, case: Tuning) -> Reading:
    """The largest distance of a returned weight from the transferred ones, in units of lr and updates."""
    weights, chars = tuned(subject, case)
    wanted = transferred(case.weights(), case.chars, weights, chars)
    distance = max(float(np.abs(weights[key].astype(np.float64) - wanted[key]).max()) for key in weights)
    return {"updates": distance / (case.lr * case.steps)}


def rates(subject: Subject, cases: tuple[Tuning, ...]) -> Reading:
    """For each case the highest learning rate as a share of lr, and whether it is above lr; and whether all
    shares agree.

    Where no optimizer of torch's steps, how far a weight moves in an update, as a share of lr, stands for its
    rate."""
    shares, above = [], []
    for case in cases:
        found = observed(subject, UNIT, case).plain("rates")
        shares.append(max(map(float, found)) / case.lr if found else moved(subject, case)["updates"])
        above.append(shares[-1] > (LR_SLACK if found else LR_SLACK_BY_HAND))
    return {"shares": shares, "above": above, "proportional": max(shares) <= min(shares) * LR_SLACK}


def depends_on_validation(subject: Subject, case: Tuning, texts: tuple[str, str], most: float) -> Reading:
    """How far apart the returned weights are for two validation texts: "not", "a little" or "far". "far"
    cannot come from choosing other ones of the weights of `steps` updates, since an update moves a weight by
    at most `most` times lr."""
    one, other = (_by_character(*tuned(subject, replace(case, validation=text))) for text in texts)
    if {key: array.shape for key, array in one.items()} != {key: array.shape for key, array in other.items()}:
        return {"apart": "far"}
    distance = max(float(np.abs(one[key].astype(np.float64) - other[key]).max()) for key in one) / (
        case.lr * case.steps
    )
    # Rounding: sums come in another order where characters do, or on a GPU.
    return {"apart": "far" if distance > most else "a little" if distance > ROUNDED else "not"}


def _by_character(weights: dict[str, np.ndarray], chars: str) -> dict[str, np.ndarray]:
    """The weights with the rows of characters in the order of these, whatever ids they have."""
    order = np.argsort(list(chars))
    return {key: array[order] if key in BY_CHARACTER else array for key, array in weights.items()}


def thawed(subject: Subject, case: Tuning) -> Reading:
    """Whether the weights that come back are the same where the pretrained model has frozen parameters and
    gradients."""
    difference = subject.run(UNIT.ask("thawed", case, looks=OWN_LOOKS, left=LEFT)).plain("difference")
    return {"same": difference is not None and difference <= same_weights(subject)}


# What it reads.


def recorded(subject: Subject, case: Tuning) -> tuple[dict[str, np.ndarray], str]:
    """What the observer kept of one run, by the names of probes.Training; and the characters of the ids."""
    # once for the data and for the modes
    answer = subject.run(UNIT.ask("read", case, looks=OWN_LOOKS, once=True))
    found = {key: answer.array(key) for key in ("rows", "rows_mode", "targets", "looked", "looked_mode")}
    if any(array is None or array.ndim != (1 if key.endswith("mode") else 2) for key, array in found.items()):
        raise CheckFailed("What finetune reads could not be recorded.", same=("rows",))
    for one, other in (("rows", "rows_mode"), ("rows", "targets"), ("looked", "looked_mode")):
        if len(found[one]) != len(found[other]):
            raise CheckFailed("What finetune reads could not be recorded.", same=("rows",))
    return found, "".join(answer.plain("chars"))


def _hold(rows: np.ndarray, chars: str, some: str) -> np.ndarray:
    """For each row of tokens whether it holds any of some characters."""
    return np.isin(rows, [token for token, char in enumerate(chars) if char in some]).any(axis=1)


def trained_on_validation(subject: Subject, case: Tuning) -> Reading:
    """Of the rows whose loss trained the model: whether any has a character of the validation text, or has
    one as a target; whether any has none; and whether any has one of those just before the validation text
    (None: too few rows to tell)."""
    found, chars = recorded(subject, case)
    validation, taught = (_hold(found[key], chars, VALIDATION) for key in ("rows", "targets"))
    late = bool(_hold(found["rows"], chars, case.late).any())
    return {
        "seen": len(validation) > 0,
        "validation": bool(validation.any()),
        "taught": bool(taught.any()),
        "train": bool((~validation).any()),
        "late": late if late or len(validation) >= ROWS_THAT_TELL else None,
        "taught_ahead": _taught_ahead(found["rows"], found["targets"]),
    }


def _taught_ahead(rows: np.ndarray, targets: np.ndarray) -> int | None:
    """How many places after a token the one stands that it is taught: 1 is right, 0 the token itself; None
    for none of the first few, -1 where no target is known."""
    width = rows.shape[1]
    for ahead in (1, 0, 2, 3):
        later, taught = rows[:, ahead:], targets[:, : width - ahead]
        known = (taught != NO_TOKEN) & (later != NO_TOKEN)
        if not known.any():
            return -1
        if (taught == later)[known].mean() > 0.9:
            return ahead
    return None


def modes(subject: Subject, case: Tuning) -> Reading:
    """Whether the validation text was read in train mode (None: it was not read); and in which states of
    DROPOUT the model was trained."""
    found, chars = recorded(subject, case)
    of_validation = found["looked_mode"][_hold(found["looked"], chars, VALIDATION)]
    return {
        "validation_in_train": bool(of_validation.any()) if len(of_validation) else None,
        "trained": sorted({int(mode) for mode in found["rows_mode"]}),
    }


# What it leaves alone, and what it refuses.


def kept(subject: Subject, case: Tuning) -> Reading:
    """Which properties of the pretrained model and its tokenizer finetune leaves as they are."""
    before, after = _before_and_after(subject.run(UNIT.ask("kept", case, looks=OWN_LOOKS, left=LEFT)))
    # Not torch's settings: a training may set how fast matrix products are.
    return models.same_state(before["model"], after["model"]) | {
        "source": models.equal(before["source"], after["source"])
    }


def refuses_short(subject: Subject, cases: tuple[Tuning, ...]) -> Reading:
    """What finetune comes to for texts of these lengths; and whether all was kept by the first, which is too
    short."""
    calls = [case.call() for case in cases]
    answer = subject.run(OWN_LOOKS("refused", unit=UNIT.name, calls=calls, left=LEFT, seconds=UNIT.seconds))
    before, after = _before_and_after(answer)
    return {
        "came": [answer.outcome(f"came{i}") for i in range(len(cases))],
        "kept": all(models.equal(before[key], after[key]) for key in before if key != "settings"),
    }


def _before_and_after(answer: Answer) -> list[dict]:
    return [models.state_of(answer, when) for when in ("before", "after")]


# How good the weights are that come back, measured where no attempt runs.


def text_loss(reference: Subject, weights: dict, chars: str, text: str, block_size: int) -> float:
    """The exhaustive loss of a GPT with these weights on a text, in the reference's worker."""
    V, C = weights["lm_head.weight"].shape
    n_head = sum(key.startswith("blocks.0.attention.heads.") for key in weights) // 3
    n_layer = sum(key.endswith("ln1.bias") for key in weights)
    config = {"vocab_size": V, "block_size": block_size, "n_layer": n_layer, "n_head": n_head, "n_embd": C}
    tokens = np.array([chars.index(char) for char in text], dtype=np.int64)
    return float(
        reference.run(OWN_LOOKS("text_loss", config=config, weights=weights, tokens=tokens)).plain("loss")
    )


def losses(subject: Subject, reference: Subject, case: Tuning) -> tuple[float, float]:
    """The validation losses of what finetune returns and of the transferred weights; for a case with
    ALL_KNOWN."""
    validation = case.text()[int(0.9 * case.length) :]
    # what is infinite changes no more
    weights, chars = tuned(subject, case, case.steps if case.lr < 1 else None)
    first = transferred(case.weights(), case.chars, weights, chars)
    return tuple(text_loss(reference, some, chars, validation, case.block_size) for some in (weights, first))


def gets_worse(subject: Subject, reference: Subject, case: Tuning, slack: float) -> Reading:
    """Whether the returned model's validation loss is above that of the transferred weights by more than
    slack."""
    try:
        after, before = losses(subject, reference, case)
    except CheckFailed as failure:
        if failure.same != ("diverged",):
            raise
        after, before = float("inf"), 0.0
    return {"worse": not after <= before + slack}


def improved(subject: Subject, reference: Subject, case: Tuning) -> Reading:
    """Whether the returned model's validation loss is below that of the transferred weights."""
    after, before = losses(subject, reference, case)
    return {"improved": after < before}


def knows_validation(subject: Subject, reference: Subject, case: Tuning, floor: float) -> Reading:
    """Whether the returned model predicts the validation text better than any model can that has not seen
    it."""
    return {"knows": losses(subject, reference, case)[0] < floor}
