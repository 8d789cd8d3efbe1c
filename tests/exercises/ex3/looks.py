"""How the checks look at exercise 3: texts by their lines, models by their weights, an optimizer by its groups,
finetuning by what it reads, in which mode, and how good the weights are that it returns.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np

from tests.exercises import models
from tests.exercises.exam import Answer, CheckFailed, Reading, Subject, describe
from tests.exercises.program import Program, Ref, gpt_core, name

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
    program = Program()
    for i, case in enumerate(texts):
        window = {} if case.window is None else {"window": case.window}
        args, kwargs = ((), window) if case.keyword else (window.values(), {})
        program.give(**{
            str(i): program.call(name("remove_overlap"), case.pretrain, case.heldout, *args, kwargs=kwargs)
        })  # fmt: skip
    answer = subject.run(program)
    came = []
    for i in range(len(texts)):
        value = answer.values[str(i)]
        text = answer.plain(str(i)) if value["kind"] == "plain" else None
        if not isinstance(text, str):
            raise CheckFailed(f"remove_overlap must return a str; it returns {describe(value)}.", same=("no text",))
        came.append(text)
    return {"texts": came}


def removed_in_time(subject: Subject, texts: Texts) -> Reading:
    """How many characters are left of two long texts, within the usual deadline of one request."""
    return {"left": len(removed(subject, (texts,))["texts"][0])}


# Models.

# A model as its owner left it: some parts in train mode, some parameters frozen, gradients of the last step.
LEFT = {"train": (False, True, False), "frozen": (False, True), "grad": 3.0}


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

    def weights(self, of: str) -> dict[str, np.ndarray]:
        return models.drawn(self.config(of), 2 * self.seed + (of == "target"))

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


def _models(program: Program, case: Models, refused: dict | None = None) -> list[Ref]:
    """The four arguments of transfer_weights; refused: sizes of a target that is to be refused."""
    config = case.config("target") | (refused or {})
    source, target = (
        program.build(gpt_core("GPT"), program.config(**sizes, dropout=dropout), parameters=weights)
        for sizes, weights, dropout in (
            (case.config("source"), case.weights("source"), 0.1), (config, models.drawn(config, 2 * case.seed + 1), case.target_dropout)
        )  # fmt: skip
    )
    tokenizers = [program.call(gpt_core("CharTokenizer"), chars) for chars in (case.source, case.target)]
    return [source, tokenizers[0], target, tokenizers[1]]


def transfer(subject: Subject, case: Models, part: str, frozen: bool = False) -> Reading:
    """One part of the target's weights after transfer_weights; frozen: half of the parameters of both models are."""
    program = Program()
    arguments = _models(program, case)
    for model in (arguments[0], arguments[2]) if frozen else ():
        program.condition(model, **LEFT)
    new = program.call(name("transfer_weights"), *arguments)
    program.asked_once = True  # for the list, and one part after the other
    answer = subject.run(program.give(after=program.values(arguments[2]), new=new))
    after, wanted = answer.tensors("after"), models.shapes_of_default(case.config("target"))
    if {key: None if array is None else array.shape for key, array in after.items()} != wanted:
        raise CheckFailed("The target has other parameters after transfer_weights than before.", same=("parameters",))
    return parts(after, case, part)


def transfer_list(subject: Subject, case: Models) -> Reading:
    """What transfer_weights returns, sorted, since any order is right."""
    program = Program()
    arguments = _models(program, case)
    new = program.call(name("transfer_weights"), *arguments)
    program.asked_once = True
    answer = subject.run(program.give(after=program.values(arguments[2]), new=new))
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
    program = Program()
    arguments = _models(program, case)
    before = _as_left(program, arguments)
    program.call(name("transfer_weights"), *arguments)
    program.asked_once = True  # for one model after the other
    seen, _ = _seen(subject, program, before, _states(program, arguments))
    source, target = seen.pop("model"), seen.pop("target")
    kept = models.same_state(*(source if of == "source" else target)) | {key: models.equal(*pair) for key, pair in seen.items()}
    return kept if of == "source" else kept | {"parameters": True}


def _states(program: Program, arguments: list[Ref]) -> dict[str, Ref]:
    """What can be observed of both models and both tokenizers."""
    source, tokenizer, target, target_tokenizer = arguments
    found = program.observable(source, source=tokenizer, target_tokenizer=target_tokenizer)
    return found | {"target": program.state(target)}


def _as_left(program: Program, arguments: list[Ref]) -> dict[str, Ref]:
    """The same, after both models were left in the middle of something."""
    for model in (arguments[0], arguments[2]):
        program.condition(model, **LEFT)
    return _states(program, arguments)


def _seen(subject: Subject, program: Program, before: dict[str, Ref], after: dict[str, Ref]) -> tuple[dict, Answer]:
    """What each thing was before a call and after it; and the whole answer."""
    for when, found in (("before", before), ("after", after)):
        program.give(**{f"{when} {key}": ref for key, ref in found.items()})
    answer = subject.run(program)
    return {key: [models.state_of(answer, f"{when} {key}") for when in ("before", "after")] for key in before}, answer


def transfer_shares(subject: Subject, case: Models) -> Reading:
    """Whether changing one model afterwards changes the other."""
    program = Program()
    arguments = _models(program, case)
    program.call(name("transfer_weights"), *arguments)
    source, _, target, _ = arguments
    program.add_to_parameters(target, 1.0)
    program.give(source=program.values(source), target=program.values(target))
    program.add_to_parameters(source, 1.0)
    answer = subject.run(program.give(target_later=program.values(target)))
    source, target, later = (answer.tensors(key) for key in ("source", "target", "target_later"))
    return {"source": models.equal(source, case.weights("source")), "target": models.equal(target, later)}


def transfer_refuses(subject: Subject, case: Models, sizes: tuple[dict, ...]) -> Reading:
    """For each target of other sizes: what the call comes to, and whether the target is untouched."""
    program = Program()
    program.asked_once = True  # for what came, and what was kept
    before, after = {}, {}
    for i, refused in enumerate(sizes):
        arguments = _models(program, case, refused)
        before |= {f"{key} {i}": ref for key, ref in _as_left(program, arguments).items()}
        program.give(**{f"came{i}": program.outcome(name("transfer_weights"), *arguments)})
        after |= {f"{key} {i}": ref for key, ref in _states(program, arguments).items()}
    seen, answer = _seen(subject, program, before, after)
    return {
        "came": [came(answer, f"came{i}") for i in range(len(sizes))],
        "kept": [all(models.equal(*pair) for key, pair in seen.items() if key.endswith(f" {i}")) for i in range(len(sizes))],
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
# What another attention and another norm may hold: parameters that are no Linear's, of 3, 2 and no dimensions.
OWN = {"blocks.0.attention.mix": (2, 3, 4), "blocks.0.attention.temperature": (), "ln_f.table": (3, 4)}
SHAPES = models.shapes_of_default(SIZES) | OWN


def optimizer_groups(
    subject: Subject, lr: float, weight_decay: float, frozen: tuple[bool, ...] = (False,), tied: bool = False,
    keyword: bool = False,
) -> Reading:  # fmt: skip
    """{"type", "names": how often each parameter is in it, "decay": of each, "lr": the rates}."""
    program = Program()
    model = program.build(gpt_core("GPT"), program.config(**SIZES, dropout=0.0), train=True)
    program.register(model, OWN)
    if tied:
        program.tie(model)
    program.condition(model, train=(True,), frozen=frozen)
    args, kwargs = ((), {"lr": lr, "weight_decay": weight_decay}) if keyword else ((lr, weight_decay), {})
    optimizer = program.call(name("finetune_optimizer"), model, *args, kwargs=kwargs)
    answer = subject.run(program.give(found=program.groups(optimizer, model)))
    found = answer.plain("found")
    count: dict[str, int] = {}
    decay: dict[str, float] = {}
    for group in found["groups"]:
        for key in group["names"]:
            count[key] = count.get(key, 0) + 1
            decay[key] = float(group["weight_decay"])
    return {
        "type": found["type"],
        "names": dict(sorted(count.items())),
        "decay": dict(sorted(decay.items())),
        "lr": sorted({float(group["lr"]) for group in found["groups"]}),
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
    program = Program()
    model = program.build(gpt_core("GPT"), program.config(**SIZES, dropout=0.0), train=True)
    first = program.call(name("finetune_optimizer"), model, 1e-3, 0.1)
    program.update(first, model)
    second = program.call(name("finetune_optimizer"), model, 1e-3, 0.1)
    found = subject.run(program.give(found=program.groups(second, model))).plain("found")
    return {"state": int(found["state"])}
