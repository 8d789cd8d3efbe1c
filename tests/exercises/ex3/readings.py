"""How the checks look at exercise 3: texts by their lines, models by their weights, an optimizer by its
groups.

Finetuning stands in finetuning.py.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Asked, Looks
from tests.exercises.battery import function
from tests.exercises.exam import CheckFailed, Reading, Subject, describe

LOOKS = Looks.named("tests.exercises.ex3.looks")

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
        return {
            key: value if not isinstance(value, str) else shown(value, 160)
            for key, value in asdict(self).items()
        }


def shown(text: str, most: int) -> str:
    """A text in quotes, its middle left out where it is long."""
    if len(text) > most:
        text = f"{text[: most // 2]} ... {text[-most // 2 :]}"
    return json.dumps(text, ensure_ascii=False)


def removed(subject: Subject, texts: tuple[Texts, ...]) -> Reading:
    """What remove_overlap makes of each."""
    told = "remove_overlap must return {kind}; it returns {came}."
    return {
        "texts": function.returned(
            subject, "remove_overlap", (str,), tuple(case.arguments() for case in texts), told
        )
    }


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
        chars, block = (
            (self.source, self.source_block) if of == "source" else (self.target, self.target_block)
        )
        return {
            "vocab_size": len(chars),
            "block_size": block,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_embd": self.n_embd,
        }

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
    """What one check looks at: `blocks`, rows of characters (by name), `positions`, or rows that are
    `fresh`."""
    known = [row for row, char in enumerate(case.target) if char in case.source]
    unknown = [row for row, char in enumerate(case.target) if char not in case.source]
    shorter = min(case.source_block, case.target_block)
    if part == "blocks":
        return {name: array for name, array in weights.items() if name not in (*BY_CHARACTER, POSITIONS)}
    if part == "positions":
        return {POSITIONS: weights[POSITIONS][:shorter]}
    if part == "fresh":
        return {name: weights[name][unknown] for name in BY_CHARACTER} | {
            POSITIONS: weights[POSITIONS][shorter:]
        }
    return {part: weights[part][known]}


def transfer_asked(case: Models, frozen: bool) -> Asked:
    """A look at one call of transfer_weights."""
    return LOOKS("transferred", **case.both(), frozen=frozen, once=True)


def transfer(subject: Subject, case: Models, part: str, frozen: bool = False) -> Reading:
    """One part of the target's weights after transfer_weights; frozen: half of the parameters of both models
    are."""
    # Once: for the list, and one part after the other.
    answer = subject.run(transfer_asked(case, frozen))
    after, wanted = answer.tensors("after"), models.shapes_of_default(case.config("target"))
    if {key: None if array is None else array.shape for key, array in after.items()} != wanted:
        raise CheckFailed(
            "The target has other parameters after transfer_weights than before.", same=("parameters",)
        )
    return parts(after, case, part)


def transfer_list(subject: Subject, case: Models) -> Reading:
    """What transfer_weights returns, sorted, since any order is right."""
    answer = subject.run(transfer_asked(case, False))
    value = answer.values["new"]
    items = answer.plain("new") if value["kind"] == "list" else None
    if items is None or not all(isinstance(item, str) for item in items):
        raise CheckFailed(
            f"transfer_weights must return a list of characters; it returns {describe(value)}.",
            same=("no list", value["kind"]),
        )
    return {"new": sorted(items)}


def transfer_keeps(subject: Subject, case: Models, of: str) -> Reading:
    """Which properties of the pretrained model (or the target), of both tokenizers and of torch
    transfer_weights leaves as they are."""
    # once: for one model after the other
    answer = subject.run(LOOKS("transfer_seen", **case.both(), once=True))
    before, after = (models.state_of(answer, when) for when in ("before", "after"))
    model = "pretrained" if of == "source" else "target"
    kept = models.same_state(before[model], after[model])
    kept |= {key: models.equal(before[key], after[key]) for key in ("settings", "source", "target_tokenizer")}
    return kept if of == "source" else kept | {"parameters": True}


def transfer_shares(subject: Subject, case: Models) -> Reading:
    """Whether changing one model afterwards changes the other."""
    answer = subject.run(LOOKS("changed_afterwards", **case.both()))
    source, target, later = (answer.tensors(key) for key in ("source", "target", "target_later"))
    return {"source": models.equal(source, case.weights("source")), "target": models.equal(target, later)}


def transfer_refuses(subject: Subject, case: Models, sizes: tuple[dict, ...]) -> Reading:
    """For each target of other sizes: what the call comes to, and whether everything is untouched."""
    targets = [case.given("target", of_one) for of_one in sizes]
    # came, and kept
    answer = subject.run(LOOKS("transfer_refused", source=case.given("source"), targets=targets, once=True))
    seen = [
        [models.state_of(answer, f"{when}{i}") for when in ("before", "after")] for i in range(len(sizes))
    ]
    return {
        "came": [came(answer, f"came{i}") for i in range(len(sizes))],
        "kept": [models.equal(*pair) for pair in seen],
    }


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
# What another attention and another norm may hold: parameters that are no Linear's, of 3, 2 and no
# dimensions.
OWN = {"blocks.0.attention.mix": (2, 3, 4), "blocks.0.attention.temperature": (), "ln_f.table": (3, 4)}
SHAPES = models.shapes_of_default(SIZES) | OWN


def optimizer_groups(
    subject: Subject,
    lr: float,
    weight_decay: float,
    frozen: tuple[bool, ...] = (False,),
    tied: bool = False,
    keyword: bool = False,
) -> Reading:
    """{"type", "names": how often each parameter is in it, "decay": of each, "lr": the rates}."""
    answer = subject.run(
        LOOKS(
            "optimizer",
            config=CONFIG,
            own=OWN,
            lr=lr,
            weight_decay=weight_decay,
            frozen=frozen,
            tied=tied,
            keyword=keyword,
            once=True,
        )
    )
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
    return {
        key: value for key, value in decay.items() if key in SHAPES and (len(SHAPES[key]) >= 2) == matrices
    }


def optimizer_state(subject: Subject) -> Reading:
    """How many parameters the second optimizer of a model has a state for, after an update with the first."""
    return {"state": int(subject.run(LOOKS("second_optimizer", config=CONFIG)).plain("state"))}
