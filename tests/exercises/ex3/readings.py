"""How the checks look at exercise 3: texts by their lines, models by their weights, an optimizer by its groups,
finetuning by what it reads, in which mode, and how good the weights are that it returns.
"""

import json
from dataclasses import asdict, dataclass, replace

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Looks
from tests.exercises.battery import function
from tests.exercises.exam import Answer, CheckFailed, Reading, Subject, describe
from tests.exercises.program import Program, Ref, gpt_core, name, probe
from tests.exercises.updates import counted

LOOKS = Looks.named("tests.exercises.ex3.looks")
FEW_STEPS_SECONDS = 60.0
MOST_PARAMETERS = 1_000_000
ROWS_THAT_TELL = 150
DROPOUT_ON = 3  # of probes.DROPOUT
MOST_UPDATES = 100.0  # AdamW moves a weight by at most 1 / sqrt(1 - beta2) updates of lr, 32 for beta2 = 0.999; and decay
ROUNDED = 0.01  # of an update
LR_SLACK = 1 + 1e-6  # a rate computed in another order
LR_SLACK_BY_HAND = 3.0  # AdamW moves a weight by about lr in an update, over a dozen of them

# Texts. What is right, by its definition: every pair of windows is looked at, so for short texts only.


def fold(text: str) -> tuple[str, list[int]]:
    """The characters that runs are made of, and where in `text` each stands: any whitespace is one space."""
    folded, places = [], []
    for place, char in enumerate(text):
        if not char.isspace():
            folded.append(char.lower())
            places.append(place)
        elif not (folded and folded[-1] == " "):
            folded.append(" ")
            places.append(place)
    return "".join(folded), places


def without_overlap(pretrain: str, heldout: str, window: int) -> str:
    """What remove_overlap must return, every line with its newline."""
    folded, places = fold(pretrain)
    other, _ = fold(heldout)
    marked = set()
    for start in range(len(folded) - window + 1):
        if folded[start : start + window] in other:
            marked.update(places[start : start + window])
    kept, start = [], 0
    for line in pretrain.split("\n"):
        end = min(start + len(line) + 1, len(pretrain))
        if not any(i in marked and not pretrain[i].isspace() for i in range(start, end)):
            kept.append(pretrain[start:end])
        start = end
    return "".join(kept)


@dataclass(frozen=True)
class Texts:
    """One call of remove_overlap; window None leaves the argument out, keyword passes it by its name."""

    pretrain: str
    heldout: str
    window: int | None = None
    keyword: bool = False

    def arguments(self) -> tuple:
        window = {} if self.window is None else {"window": self.window}
        return self.pretrain, self.heldout, *((window,) if self.keyword else window.values())

    def expected(self) -> str:
        return without_overlap(self.pretrain, self.heldout, 50 if self.window is None else self.window)

    def as_case(self) -> dict:
        """For the report and the JSON, long texts cut."""
        return {key: value if not isinstance(value, str) else shown(value, 160) for key, value in asdict(self).items()}


def shown(text: str, most: int) -> str:
    """A text in quotes, its middle left out where it is long."""
    if len(text) > most:
        text = f"{text[: most // 2]} ... {text[-most // 2 :]}"
    return json.dumps(text, ensure_ascii=False)


def removed(subject: Subject, texts: tuple[Texts, ...]) -> Reading:
    """What remove_overlap makes of each."""
    told = "remove_overlap must return {kind}; it returns {came}."
    return {"texts": function.returned(subject, "remove_overlap", (str,), tuple(case.arguments() for case in texts), told)}


def removed_in_time(subject: Subject, texts: Texts) -> Reading:
    """How many characters are left of two long texts, within the usual deadline of one request."""
    return {"left": len(removed(subject, (texts,))["texts"][0])}


# Models.

@dataclass(frozen=True)
class Models:
    """A pretrained model, a target, and the characters of both in the order of their ids."""

    source: str = "dacbfe\n"
    target: str = "xbad\nyc"
    source_block: int = 6
    target_block: int = 6
    n_layer: int = 2
    n_head: int = 2
    n_embd: int = 8
    seed: int = 0
    target_dropout: float = 0.1  # the source has 0.1

    def config(self, of: str) -> dict:
        chars, block = (self.source, self.source_block) if of == "source" else (self.target, self.target_block)
        return {
            "vocab_size": len(chars), "block_size": block, "n_layer": self.n_layer, "n_head": self.n_head,
            "n_embd": self.n_embd,
        }  # fmt: skip

    def weights(self, of: str, sizes: dict | None = None) -> dict[str, np.ndarray]:
        return models.drawn(self.config(of) | (sizes or {}), 2 * self.seed + (of == "target"))

    def given(self, of: str, sizes: dict | None = None) -> dict:
        """One of the models as a look takes it; sizes: others than its own."""
        chars, dropout = (self.source, 0.1) if of == "source" else (self.target, self.target_dropout)
        config = self.config(of) | (sizes or {}) | {"dropout": dropout}
        return {"config": config, "weights": self.weights(of, sizes), "chars": chars}

    def both(self) -> dict:
        return {"source": self.given("source"), "target": self.given("target")}

    def expected(self) -> dict[str, np.ndarray]:
        """The target's weights afterwards."""
        return transferred(self.weights("source"), self.source, self.weights("target"), self.target)

    def new(self) -> list[str]:
        return [char for char in self.target if char not in self.source]

    def as_case(self, **more) -> dict:
        return asdict(self) | more


BY_CHARACTER = ("token_embedding_table.weight", "lm_head.weight", "lm_head.bias")
POSITIONS = "position_embedding_table.weight"


def transferred(source: dict, source_chars: str, target: dict, target_chars: str) -> dict[str, np.ndarray]:
    """The weights of `target` with those of `source` written into them."""
    after = {name: array.copy() for name, array in target.items()}
    for name, array in after.items():
        if name in BY_CHARACTER:
            for row, char in enumerate(target_chars):
                if char in source_chars:
                    array[row] = source[name][source_chars.index(char)]
        elif name == POSITIONS:
            shorter = min(len(array), len(source[name]))
            array[:shorter] = source[name][:shorter]
        else:
            array[:] = source[name]
    return after


def parts(weights: dict[str, np.ndarray], case: Models, part: str) -> dict[str, np.ndarray]:
    """What one check looks at: `blocks`, rows of characters (by name), `positions`, or rows that are `fresh`."""
    known = [row for row, char in enumerate(case.target) if char in case.source]
    unknown = [row for row, char in enumerate(case.target) if char not in case.source]
    shorter = min(case.source_block, case.target_block)
    if part == "blocks":
        return {name: array for name, array in weights.items() if name not in (*BY_CHARACTER, POSITIONS)}
    if part == "positions":
        return {POSITIONS: weights[POSITIONS][:shorter]}
    if part == "fresh":
        return {name: weights[name][unknown] for name in BY_CHARACTER} | {POSITIONS: weights[POSITIONS][shorter:]}
    return {part: weights[part][known]}


def transfer(subject: Subject, case: Models, part: str, frozen: bool = False) -> Reading:
    """One part of the target's weights after transfer_weights; frozen: half of the parameters of both models are."""
    # Once: for the list, and one part after the other.
    answer = subject.run(LOOKS("transferred", **case.both(), frozen=frozen, once=True))
    after, wanted = answer.tensors("after"), models.shapes_of_default(case.config("target"))
    if {key: None if array is None else array.shape for key, array in after.items()} != wanted:
        raise CheckFailed("The target has other parameters after transfer_weights than before.", same=("parameters",))
    return parts(after, case, part)


def transfer_list(subject: Subject, case: Models) -> Reading:
    """What transfer_weights returns, sorted, since any order is right."""
    answer = subject.run(LOOKS("transferred", **case.both(), frozen=False, once=True))
    value = answer.values["new"]
    items = answer.plain("new") if value["kind"] == "list" else None
    if items is None or not all(isinstance(item, str) for item in items):
        raise CheckFailed(
            f"transfer_weights must return a list of characters; it returns {describe(value)}.", same=("no list", value["kind"])
        )
    return {"new": sorted(items)}


def transfer_keeps(subject: Subject, case: Models, of: str) -> Reading:
    """Which properties of the pretrained model (or the target), of both tokenizers and of torch transfer_weights leaves
    as they are."""
    answer = subject.run(LOOKS("transfer_seen", **case.both(), once=True))  # once: for one model after the other
    before, after = (models.state_of(answer, when) for when in ("before", "after"))
    model = "pretrained" if of == "source" else "target"
    kept = models.same_state(before[model], after[model])
    kept |= {key: models.equal(before[key], after[key]) for key in ("settings", "source", "target_tokenizer")}
    return kept if of == "source" else kept | {"parameters": True}


def _seen(subject: Subject, program: Program, before: dict[str, Ref], after: dict[str, Ref]) -> tuple[dict, Answer]:
    """What each thing was before a call and after it; and the whole answer."""
    for when, found in (("before", before), ("after", after)):
        program.give(**{f"{when} {key}": ref for key, ref in found.items()})
    answer = subject.run(program)
    return {key: [models.state_of(answer, f"{when} {key}") for when in ("before", "after")] for key in before}, answer


def transfer_shares(subject: Subject, case: Models) -> Reading:
    """Whether changing one model afterwards changes the other."""
    answer = subject.run(LOOKS("changed_afterwards", **case.both()))
    source, target, later = (answer.tensors(key) for key in ("source", "target", "target_later"))
    return {"source": models.equal(source, case.weights("source")), "target": models.equal(target, later)}


def transfer_refuses(subject: Subject, case: Models, sizes: tuple[dict, ...]) -> Reading:
    """For each target of other sizes: what the call comes to, and whether everything is untouched."""
    targets = [case.given("target", of_one) for of_one in sizes]
    answer = subject.run(LOOKS("transfer_refused", source=case.given("source"), targets=targets, once=True))  # came, and kept
    seen = [[models.state_of(answer, f"{when}{i}") for when in ("before", "after")] for i in range(len(sizes))]
    return {"came": [came(answer, f"came{i}") for i in range(len(sizes))], "kept": [models.equal(*pair) for pair in seen]}


def came(answer, key: str) -> str:
    """An outcome in words: "ValueError", or what else came."""
    items = answer.values[key]["items"]
    if "raised" not in items:
        return "returns"
    kinds = [item.get("value") for item in items["raised"]["items"]]
    return "ValueError" if "ValueError" in kinds else f"raises {str(kinds[0])[:60]}"


# The optimizer.

SIZES = {"vocab_size": 5, "block_size": 4, "n_layer": 1, "n_head": 2, "n_embd": 4}
CONFIG = SIZES | {"dropout": 0.0}
# What another attention and another norm may hold: parameters that are no Linear's, of 3, 2 and no dimensions.
OWN = {"blocks.0.attention.mix": (2, 3, 4), "blocks.0.attention.temperature": (), "ln_f.table": (3, 4)}
SHAPES = models.shapes_of_default(SIZES) | OWN


def optimizer_groups(
    subject: Subject, lr: float, weight_decay: float, frozen: tuple[bool, ...] = (False,), tied: bool = False,
    keyword: bool = False,
) -> Reading:  # fmt: skip
    """{"type", "names": how often each parameter is in it, "decay": of each, "lr": the rates}."""
    answer = subject.run(
        LOOKS(
            "optimizer", config=CONFIG, own=OWN, lr=lr, weight_decay=weight_decay, frozen=frozen, tied=tied, keyword=keyword, once=True,
        )
    )  # fmt: skip
    count: dict[str, int] = {}
    decay: dict[str, float] = {}
    groups = answer.plain("groups")
    for group in groups:
        for key in group["names"]:
            count[key] = count.get(key, 0) + 1
            decay[key] = float(group["weight_decay"])
    return {
        "type": answer.plain("type"),
        "names": dict(sorted(count.items())),
        "decay": dict(sorted(decay.items())),
        "lr": sorted({float(group["lr"]) for group in groups}),
    }


def optimizer_part(subject: Subject, part: str, *arguments) -> Reading:
    """One entry of `optimizer_groups`; where lr is looked at, it is passed by its name."""
    return {part: optimizer_groups(subject, *arguments, keyword=part == "lr")[part]}


def optimizer_decay(subject: Subject, matrices: bool, lr: float, weight_decay: float) -> Reading:
    """The decay of the parameters of two or more dimensions, or of the others."""
    decay = optimizer_groups(subject, lr, weight_decay)["decay"]
    return {key: value for key, value in decay.items() if key in SHAPES and (len(SHAPES[key]) >= 2) == matrices}


def optimizer_state(subject: Subject) -> Reading:
    """How many parameters the second optimizer of a model has a state for, after an update with the first."""
    return {"state": int(subject.run(LOOKS("second_optimizer", config=CONFIG)).plain("state"))}


# Finetuning, a few steps of it.

# A model as its owner left it: some parts in train mode, some parameters frozen, gradients of the last step.
LEFT = {"train": (False, True, False), "frozen": (False, True), "grad": 3.0}
NO_TOKEN = 255  # of grader/probes.py: the end of a short row, and a target that is not known
# What is trained on and what is not have no character in common, so that every row tells where it is from.
TRAINED, REST = "abcdefg\n", "ABCDEFG."
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
    bias_of_rest: float = 0.0  # in the pretrained model, for the characters of the rest
    trained: str = TRAINED  # what the first 90 % are drawn from
    rest: str = REST  # what the last tenth is drawn from
    late: str = ""  # what the tenth before that is drawn from, where it is not from `trained`
    round: bool = False  # the rest is its characters in some order, over and over, instead of drawn one by one
    n_layer: int = 2
    n_embd: int = 16
    pretrained_train: bool = True  # the mode of the pretrained model

    def config(self) -> dict:
        return {
            "vocab_size": len(self.chars), "block_size": self.block_size, "n_layer": self.n_layer, "n_head": 2,
            "n_embd": self.n_embd,
        }  # fmt: skip

    def weights(self) -> dict[str, np.ndarray]:
        weights = models.drawn(self.config(), self.seed)
        weights["lm_head.bias"] += self.bias_of_rest * np.isin(list(self.chars), list(REST))
        return weights

    def text(self) -> str:
        """The first 90 % from one alphabet, the rest from its own."""
        rng = np.random.default_rng((self.seed, 23))
        border = int(0.9 * self.length)
        length = self.length - border
        first = "".join(rng.choice(list(self.trained), border))
        if self.late:
            begin = int(0.8 * self.length)
            first = first[:begin] + "".join(rng.choice(list(self.late), border - begin))
        if self.round:
            return first + ("".join(rng.permutation(list(self.rest))) * length)[:length]
        return first + "".join(rng.choice(list(self.rest), length))

    def as_case(self, **more) -> dict:
        return {"steps": self.steps, "lr": self.lr, "characters": self.length, "block_size": self.block_size} | more


def pretrained_in(
    program: Program, config: dict, weights: dict, chars: str, dropout: float = 0.0, train: bool = True
) -> tuple[Ref, Ref]:
    """A pretrained model and its tokenizer, as finetune gets them."""
    model = program.build(
        gpt_core("GPT"), program.config(**config, dropout=dropout), parameters=weights, train=train
    )
    return model, program.call(gpt_core("CharTokenizer"), chars)


def tuning(case: Tuning, width: int | None = None, shake: int = 0) -> tuple[Program, Ref, Ref]:
    """A program that calls finetune: itself, the observed run, and the pretrained model."""
    program = Program()
    program.seconds = FEW_STEPS_SECONDS
    model, tokenizer = pretrained_in(
        program, case.config(), case.weights(), case.chars, case.dropout, case.pretrained_train
    )
    return program, tune(program, model, tokenizer, case, width, shake), model


def tune(
    program: Program, model: Ref, tokenizer: Ref, case: Tuning, width: int | None = None, shake: int = 0, seed=None
) -> Ref:
    """One observed call of finetune on the text of a case."""
    return program.observe(
        name("finetune"), model, tokenizer, case.text(), steps=case.steps, lr=case.lr,
        seed=case.seed if seed is None else seed, width=width or case.block_size, shake=shake,
    )  # fmt: skip


def came_back(program: Program, run: Ref) -> tuple[Ref, Ref]:
    """The model and the tokenizer of a run."""
    return tuple(program.item(run.attr("model"), index, 2) for index in range(2))


def returned(subject: Subject, case: Tuning) -> Reading:
    """The config of the model and the characters of the tokenizer."""
    program, run, _ = tuning(case)
    model, tokenizer = came_back(program, run)
    answer = subject.run(program.give(sizes=program.sizes(model), chars=program.chars(tokenizer)))
    sizes, chars = answer.plain("sizes"), answer.plain("chars")
    kept = case.config() | {"dropout": case.dropout}
    return {
        "vocab_size": sizes["vocab_size"] == len(chars),
        "others": [key for key in kept if key != "vocab_size" and sizes[key] != kept[key]],
        "missing": sorted(set(case.text()) - set(chars)),
    }


def default_parts(subject: Subject, case: Tuning) -> Reading:
    """Whether a GPT with default parts and the returned weights computes the same."""
    program, run, _ = tuning(case)
    found = subject.run(program.give(found=program.default_difference(came_back(program, run)[0]))).plain("found")
    difference = found["difference"]
    return {"same": difference is not None and difference <= 1e-3}


def tuned(subject: Subject, case: Tuning) -> tuple[dict, str]:
    """The returned weights, and the characters of the tokenizer."""
    program, run, _ = tuning(case)
    return weights_of(subject, program, run)


def weights_of(subject: Subject, program: Program, run: Ref, steps: int = 0) -> tuple[dict, str]:
    """Weights that come back from a run of at least `steps` updates, checked as far as building a GPT from them takes; and
    the characters."""
    model, tokenizer = came_back(program, run)
    program.give(sizes=program.sizes(model), weights=program.weights(model, MOST_PARAMETERS), chars=program.chars(tokenizer))
    answer = subject.run(program.give(updates=run.attr("updates")))
    if (updates := int(answer.plain("updates"))) < steps:
        raise CheckFailed(
            f"With steps = {steps} weights must be updated exactly {steps} times; here it ends after {updates}. What may end your loop? To "
            f"stop where the rest gets no better makes budgets unequal, and the best weights come back anyway.",
            same=("early",),
        )  # fmt: skip
    chars = "".join(answer.plain("chars"))
    config = models.returned_config(answer.plain("sizes"), MOST_PARAMETERS)
    if config["vocab_size"] != len(chars):
        raise CheckFailed(
            f"The model has {config['vocab_size']} tokens, and the tokenizer {len(chars)} characters.", same=("vocabulary",)
        )
    weights = answer.tensors("weights")
    models.check_weights(weights, config, MOST_PARAMETERS)
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
    """For each case the highest learning rate as a share of lr, and whether it is above lr; and whether all shares agree.

    Where no optimizer of torch's steps, how far a weight moves in an update, as a share of lr, stands for its rate.
    """
    shares, above = [], []
    for case in cases:
        program, run, _ = tuning(case)
        found = subject.run(program.give(rates=run.attr("rates"))).plain("rates")
        shares.append(max(map(float, found)) / case.lr if found else moved(subject, case)["updates"])
        above.append(shares[-1] > (LR_SLACK if found else LR_SLACK_BY_HAND))
    return {
        "shares": shares,
        "above": above,
        "proportional": max(shares) <= min(shares) * LR_SLACK,
    }


def updates(subject: Subject, case: Tuning) -> Reading:
    """How many updates were made, of how many models, by how many optimizers."""
    program, run, _ = tuning(case)
    return counted(subject, program, run)


def _recorded(subject: Subject, case: Tuning) -> tuple[dict[str, np.ndarray], str]:
    """What the observer kept of one run, by the names of probes.Training; and the characters of the ids."""
    program, run, _ = tuning(case)
    _, tokenizer = came_back(program, run)
    kept = ("rows", "rows_mode", "targets", "looked", "looked_mode")
    program.give(**{key: run.attr(key) for key in kept}, chars=program.chars(tokenizer))
    program.asked_once = True  # for the data, and for the modes
    answer = subject.run(program)
    found = {key: answer.arrays.get(key) for key in kept}
    if any(array is None or array.ndim != (1 if key.endswith("mode") else 2) for key, array in found.items()):
        raise CheckFailed("What finetune reads could not be recorded.", same=("rows",))
    for one, other in (("rows", "rows_mode"), ("rows", "targets"), ("looked", "looked_mode")):
        if len(found[one]) != len(found[other]):
            raise CheckFailed("What finetune reads could not be recorded.", same=("rows",))
    return found, "".join(answer.plain("chars"))


def _hold(rows: np.ndarray, chars: str, some: str) -> np.ndarray:
    """For each row of tokens whether it holds any of some characters."""
    return np.isin(rows, [token for token, char in enumerate(chars) if char in some]).any(axis=1)


def trained_on_rest(subject: Subject, case: Tuning) -> Reading:
    """Of the rows whose loss trained the model: whether any has a character of the rest, or is taught one, any has
    none, and any has one of those just before the rest, of which None says that there were too few rows to tell."""
    found, chars = _recorded(subject, case)
    rest, taught = (_hold(found[key], chars, REST) for key in ("rows", "targets"))
    late = bool(_hold(found["rows"], chars, case.late).any())
    return {
        "seen": len(rest) > 0,
        "rest": bool(rest.any()),
        "taught": bool(taught.any()),
        "train": bool((~rest).any()),
        "late": late if late or len(rest) >= ROWS_THAT_TELL else None,
        "taught_ahead": _taught_ahead(found["rows"], found["targets"]),
    }


def _taught_ahead(rows: np.ndarray, targets: np.ndarray) -> int | None:
    """How many places after a token the one stands that it is taught: 1 is right, 0 the token itself; None for none of
    the first few, -1 where no target is known."""
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
    """Whether the rest was read in train mode, None where it was not read; and in which states of DROPOUT the model was
    trained."""
    found, chars = _recorded(subject, case)
    of_rest = found["looked_mode"][_hold(found["looked"], chars, REST)]
    return {
        "rest_in_train": bool(of_rest.any()) if len(of_rest) else None,
        "trained": sorted({int(mode) for mode in found["rows_mode"]}),
    }


def tuning_keeps(subject: Subject, case: Tuning) -> Reading:
    """Which properties of the pretrained model and its tokenizer finetune leaves as they are."""
    program = Program()
    program.seconds = FEW_STEPS_SECONDS
    model, tokenizer = pretrained_in(program, case.config(), case.weights(), case.chars, case.dropout)
    program.condition(model, **LEFT)
    before = program.observable(model, source=tokenizer)
    tune(program, model, tokenizer, case)
    seen, _ = _seen(subject, program, before, program.observable(model, source=tokenizer))
    # Not torch's settings: a training may set how fast matrix products are.
    return models.same_state(*seen["model"]) | {"source": models.equal(*seen["source"])}


def depends_on_rest(subject: Subject, case: Tuning, rests: tuple[str, str], most: float) -> Reading:
    """How far apart the weights are that come back for two rests: "not", "a little", or "far", which no choice among the
    weights of `steps` updates explains, each of which moves a weight by `most` times lr at the very most."""
    one, other = (_by_character(*tuned(subject, replace(case, rest=rest))) for rest in rests)
    if {key: array.shape for key, array in one.items()} != {key: array.shape for key, array in other.items()}:
        return {"apart": "far"}
    distance = max(float(np.abs(one[key].astype(np.float64) - other[key]).max()) for key in one) / (case.lr * case.steps)
    # Rounding: sums come in another order where characters do, or on a GPU.
    return {"apart": "far" if distance > most else "a little" if distance > ROUNDED else "not"}


def _by_character(weights: dict[str, np.ndarray], chars: str) -> dict[str, np.ndarray]:
    """The weights with the rows of characters in the order of these, whatever ids they have."""
    order = np.argsort(list(chars))
    return {key: array[order] if key in BY_CHARACTER else array for key, array in weights.items()}


def thawed(subject: Subject, case: Tuning) -> Reading:
    """Whether the weights that come back are the same where the pretrained model has frozen parameters and gradients."""
    program = Program()
    program.seconds = FEW_STEPS_SECONDS
    runs = []
    for condition in ({"train": (True,)}, LEFT):
        model, tokenizer = pretrained_in(program, case.config(), case.weights(), case.chars, case.dropout)
        program.condition(model, **condition)
        runs.append(came_back(program, tune(program, model, tokenizer, case))[0])
    difference = subject.run(program.give(difference=program.difference(*runs))).plain("difference")
    allowed = 0.0 if subject.device == "cpu" else 1e-3
    return {"same": difference is not None and difference <= allowed}


def refuses_short(subject: Subject, cases: tuple[Tuning, ...]) -> Reading:
    """What finetune comes to for texts of these lengths; and whether all was kept by the first, which is too short."""
    program = Program()
    program.seconds = FEW_STEPS_SECONDS
    model, tokenizer = pretrained_in(program, cases[0].config(), cases[0].weights(), cases[0].chars)
    program.condition(model, **LEFT)
    before, after = program.observable(model, source=tokenizer), None
    for i, case in enumerate(cases):
        kwargs = {"steps": case.steps, "lr": case.lr, "device": subject.device, "seed": 1, "report": probe("unheard")}
        outcome = program.outcome(name("finetune"), model, tokenizer, case.text(), kwargs=kwargs)
        program.give(**{f"came{i}": outcome})
        after = after or program.observable(model, source=tokenizer)
    seen, answer = _seen(subject, program, before, after)
    return {
        "came": [came(answer, f"came{i}") for i in range(len(cases))],
        "kept": all(models.equal(*pair) for key, pair in seen.items() if key != "settings"),
    }


def seeded(subject: Subject, case: Tuning) -> Reading:
    """Whether the same seed gives the same weights, with every other generator changed; and another one others."""
    program = Program()
    program.seconds = FEW_STEPS_SECONDS
    model, tokenizer = pretrained_in(program, case.config(), case.weights(), case.chars, case.dropout)

    # Seed 0, since "if seed:" does not seed with it.
    runs = [tune(program, model, tokenizer, case, shake=shake, seed=seed) for seed, shake in ((0, 1), (0, 2), (6, 1))]
    one, again, other = (came_back(program, run)[0] for run in runs)
    program.give(again=program.difference(one, again), other=program.difference(one, other))
    answer = subject.run(program.give(rows=runs[0].attr("rows"), rows_again=runs[1].attr("rows")))
    again, other = answer.plain("again"), answer.plain("other")
    rows = [answer.arrays.get(key) for key in ("rows", "rows_again")]
    allowed = 0.0 if subject.device == "cpu" else 1e-3  # on a GPU sums may come in another order
    return {
        "repeats": again is not None and again <= allowed,
        "depends": other is None or other > allowed,
        "rows_repeat": models.equal(*rows),
    }


def reports(subject: Subject, case: Tuning) -> Reading:
    """Whether `report` was called, and with what."""
    program, run, _ = tuning(case)
    answer = subject.run(program.give(reports=run.attr("reports"), kinds=run.attr("report_kinds")))
    return {"called": bool(answer.plain("reports")), "kinds": answer.plain("kinds")}


# How good the weights are that come back, measured where no attempt runs.


def loss_of(reference: Subject, weights: dict, chars: str, text: str, block_size: int) -> float:
    """The exhaustive loss of a GPT with these weights on a text, in the reference's worker."""
    V, C = weights["lm_head.weight"].shape
    n_head = sum(key.startswith("blocks.0.attention.heads.") for key in weights) // 3
    n_layer = sum(key.endswith("ln1.bias") for key in weights)
    sizes = {"vocab_size": V, "block_size": block_size, "n_layer": n_layer, "n_head": n_head, "n_embd": C}
    program = Program()
    model = program.build(gpt_core("GPT"), program.config(**sizes, dropout=0.0), parameters=weights)
    tokens = program.tensor(np.array([chars.index(char) for char in text], dtype=np.int64), "int64")
    return float(reference.run(program.give(loss=program.exhaustive_loss(model, tokens))).plain("loss"))


def losses(subject: Subject, reference: Subject, case: Tuning) -> tuple[float, float]:
    """On the rest: of what finetune returns, and of the transferred weights; for a case with ALL_KNOWN."""
    rest = case.text()[int(0.9 * case.length) :]
    program, run, _ = tuning(case)
    weights, chars = weights_of(subject, program, run, case.steps if case.lr < 1 else 0)  # what is infinite changes no more
    first = transferred(case.weights(), case.chars, weights, chars)
    return tuple(loss_of(reference, some, chars, rest, case.block_size) for some in (weights, first))


def gets_worse(subject: Subject, reference: Subject, case: Tuning, slack: float) -> Reading:
    """Whether what comes back is worse on the rest than the transferred weights, by more than slack."""
    try:
        after, before = losses(subject, reference, case)
    except CheckFailed as failure:
        if failure.same != ("diverged",):
            raise
        after, before = float("inf"), 0.0
    return {"worse": not after <= before + slack}


def improved(subject: Subject, reference: Subject, case: Tuning) -> Reading:
    """Whether what comes back is better on the rest than the transferred weights."""
    after, before = losses(subject, reference, case)
    return {"improved": after < before}


def knows_rest(subject: Subject, reference: Subject, case: Tuning, floor: float) -> Reading:
    """Whether what comes back predicts the rest better than anything can that has not seen it."""
    return {"knows": losses(subject, reference, case)[0] < floor}
