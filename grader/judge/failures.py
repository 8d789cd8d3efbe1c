"""What went wrong in a worker, in a sentence for the learner: an exception, a death of the process, an answer
that cannot be used."""

import re

from grader.judge import advices
from grader.judge.connection import WorkerDied
from grader.judge.results import OTHER_FILE_READ, SOLUTION_READ
from grader.judge.text import clean, one_line
from tests.exercises.exam import Answer, CheckFailed, describe, more_patience

# Of each kind of StepError: the sentence, with what the worker said of it, and which of that tells two
# failures apart.
SENTENCES = {
    "missing name": ("Your file does not define {name}; the contract names it so.", ("name",)),
    "missing parameter": ("Your module has no parameter {name}.", ("name",)),
    "grad mode": (
        "Your code leaves torch's grad mode changed when it returns: code that runs afterwards may then "
        "train, or not, by accident. Use `with torch.no_grad():`, which ends by itself.",
        (),
    ),
    "defaults": (
        "Your code leaves torch's defaults changed when it returns: the default dtype and device were "
        "{was}, and are {now}. Code that runs afterwards then makes tensors of the wrong dtype or device. "
        "Name dtype= and device= where you make a tensor.",
        ("now",),
    ),
    "another kind": (
        "What comes back must be a {name}; it is {came}. Is there a return at the end, and does it return "
        "the new module?",
        ("came",),
    ),
    "not a module": (
        "Calling your class gave an object of type {type}; expected an nn.Module. Does the class derive from "
        "nn.Module?",
        (),
    ),
    "not so many": (
        "Your function returned an object of type {type}; expected a tuple of {count}.",
        ("type",),
    ),
    "too many updates": (
        "It made more updates than `steps`, and was stopped. The budget is the caller's, the same for every "
        "run: what does your loop count?",
        (),
    ),
    "not a GPT": (
        "The model that came back is an object of type {type}; expected a gpt_core.GPT. Is there a return?",
        (),
    ),
    "not a tokenizer": (
        "The tokenizer that came back is an object of type {type}; expected a gpt_core.CharTokenizer. Is the "
        "order model, tokenizer?",
        (),
    ),
    "not an optimizer": (
        "What came back is an object of type {type}; expected a torch.optim.AdamW. Is there a return?",
        (),
    ),
    "devices": (
        "On a GPU this would raise a RuntimeError: in `{function}` a tensor that lies where the input lies "
        "meets one that was made without a device, which lies on the CPU. Write device=.. where you make it, "
        "or keep it with self.register_buffer, which moves with the module.",
        ("function", "which", "made_in"),
    ),
    "devices numpy": (
        "On a GPU this would raise a TypeError: `{function}` takes tensors of the CPU alone. Move it first: "
        "x.cpu().numpy().",
        (),
    ),
    "not a tensor": ("Your code gave an object of type {type}; expected a tensor.", ()),
}

# The kinds of exceptions, by words of the message or by type. The same mistake raises another message where
# the rest of the file is written otherwise: other sizes, other operations, even another type of exception.
RAISED = (
    # A number of the target that is no class, too.
    ("index", r"out of (range|bounds)|index_select\(\)|indices should be|invalid index", "IndexError"),
    ("in place", r"in-?place operation|leaf Variable|view of a leaf|modified by an in-?place", ""),
    ("inference", r"[Ii]nference (tensor|mode)", ""),
    (
        "no graph",
        r"does not require grad|does not have a grad_fn|backward through the graph a second time|"
        r"differentiated Tensors",
        "",
    ),
    ("device", r"same device|different devices?\b|cuda|\bCUDA\b|\bmeta\b", ""),
    (
        "memory layout",
        r"view size is not compatible|at least one dimension spans|input is not contiguous",
        "",
    ),
    (
        "dtype",
        r"same dtype|scalar type|expected dtype|different dtypes|dtypes? (do|does) not match|can't be cast|"
        r"not implemented for '|expected m1 and m2|must be (Long|Float|Bool)|to be of floating point|"
        r"[Ee]xpected .*(Float|Double|Half|BFloat16|Long|Int|Bool)\w* but (got|found)",
        "",
    ),
    (
        "not a number",
        r"probability tensor contains|\bnan\b|\bNaN\b|cannot convert float (NaN|infinity)|math domain",
        "OverflowError ZeroDivisionError",
    ),
    (
        "shape",
        r"size of tensor|sizes? of tensors?|shapes? |must match|mismatch|invalid for input of size|"
        r"expanded size|broadcast|einsum|expects each tensor|values to unpack|number of dimensions|"
        r"[Ee]xpected size|split_with_sizes|unflatten|dimensions?\b|a Tensor with \d+ elements|batch_size",
        "",
    ),
    ("none", r"'?NoneType'?", ""),
    ("arguments", r"required (positional |keyword-only )?argument|takes .* argument|unexpected keyword", ""),
    ("name", r"has no attribute|is not defined|not associated with a value", "NameError AttributeError"),
    ("key", "", "KeyError"),
    ("assertion", "", "AssertionError"),
    ("recursion", "", "RecursionError"),
)


def kind_of(type_: str, kinds: set[str], message: str) -> tuple[str, ...]:
    """What tells an exception from others that a mistake may raise: its kind; where none is known its type,
    and its message without numbers and quoted names.

    kinds: its type and those that it derives from.
    """
    for kind, words, types in RAISED:
        if kinds & set(types.split()) or words and re.search(words, message):
            return (kind,)
    without = re.sub(r"0x[0-9a-f]+|'[^']*'|\"[^\"]*\"|[-+]?\d+(\.\d+)?", "", message)
    return (type_, " ".join(without.split())[:200])


def line_number(line: int) -> str:
    """The place of a line in a plain Python file; sources.Code.place words it for a notebook."""
    return f"line {line}"


def attempt_error(description: dict, place=line_number, load: bool = False) -> CheckFailed:
    """What a learner's code raised, or gave instead of what the contract names, as a failed check.

    place: the words for where a line stands. load: while the file was imported.
    """
    kind = description.get("kind")
    if kind == "raised":
        return _raised(description, place, load)
    if kind not in SENTENCES:
        return CheckFailed(
            f"Your code's answer cannot be used ({one_line(str(kind), 60)}).", same=("unusable", str(kind))
        )
    sentence, telling = SENTENCES[kind]
    lines = _lines(description.get("frames", []), place)
    if description.get("line"):
        made_in = one_line(str(description["made_in"]), 60)
        lines.append(
            f"the tensor without a device was made in {place(int(description['line']))}, in {made_in}"
        )
    words = {key: _words(value) for key, value in description.items() if key != "frames"}
    return CheckFailed(sentence.format(**words), lines, same=(kind, *(words[key] for key in telling)))


def _lines(frames: list[dict], place) -> list[str]:
    """The learner's lines that led to a failure."""
    return [
        f"{place(int(frame['line']))}, in {one_line(frame['function'], 60)}: {one_line(frame['code'], 80)}"
        for frame in frames
    ]


def _words(value) -> str:
    """A worker's description of a value, for a sentence."""
    if isinstance(value, dict):  # a described value
        return one_line(describe(value), 100)
    if isinstance(value, list):
        return ", ".join(one_line(str(item), 30) for item in value)
    return one_line(str(value), 60)


def _raised(description: dict, place, load: bool) -> CheckFailed:
    """An exception as a failed check, with the learner's lines that led to it."""
    type_, message = one_line(description["type"], 100), clean(description["message"], 600)
    lines = _lines(description["frames"], place)
    if "NotImplementedError" in description["kinds"] and 'missing the required "forward"' in message:
        return CheckFailed(
            "Your module has no method named forward. Is it misspelt, or indented out of the class?",
            lines,
            same=("no forward",),
        )
    # torch raises that for devices
    if "NotImplementedError" in description["kinds"] and "Could not run 'aten::" not in message:
        return CheckFailed(f"Not written yet: {message}", lines, same=("raised", type_), unfinished=True)
    if "SyntaxError" in description["kinds"]:
        message = re.sub(r"\bline (\d{1,6})\b", lambda found: place(int(found[1])), message)
    code = str(description["frames"][-1]["code"]) if description["frames"] else ""
    kinds = {type_, *map(str, description["kinds"])}
    advice = advices.find(kinds, message, code, load)
    return CheckFailed(
        f"{'Loading your file' if load else 'Your code'} raised {type_}: {message}".rstrip()
        + ("" if message.endswith(".") else ".")
        + (f" {advice}" if advice else ""),
        lines,
        same=("raised", *kind_of(type_, kinds, message)),
        words=f"{type_}: {re.sub('0x[0-9a-f]+', '', message)}"[:200],
    )


def attempt_death(death: WorkerDied, place=line_number, load: bool = False) -> CheckFailed:
    """A worker's death as a failed check: what happened, and the place where it did."""
    where = [f"{place(death.line[0])}, in {one_line(death.line[1], 60)}"] if death.line else []
    if death.kind == "deadline":
        message = f"Your code was stopped: {death.detail}. Is there a loop that does not end? "
        if load:
            message = (
                f"Your file was stopped while it was imported: {death.detail}. Does it train, download or "
                f"wait? {advices.GUARD} "
            )
        message += f"(If it is only slow: {more_patience()} gives it three times as long.)"
    elif death.kind == "scratch":
        message = f"Your code was stopped: {death.detail} into its folder. What does it save, and how often?"
    elif death.kind == "protocol":
        message = f"Your code broke into the grader's private pipe: {one_line(death.detail)}."
    elif death.status is not None and death.status < 0:
        message = f"Your code crashed the Python process (signal {-death.status})."
    else:
        status = "" if death.status is None else f" with exit status {death.status}"
        message = f"Your code ended the Python process{status}; a module must return, never exit."
    return CheckFailed(message, where, same=("died", death.kind, death.status))


def read_answer(answer: dict, arrays: dict, place=line_number, load: bool = False) -> Answer:
    """An answer's values; CheckFailed where the learner's code failed, or was caught reaching out."""
    failure = None
    try:
        if answer.get("reached"):
            what, name = answer["reached"][0]
            name = one_line(str(name), 100)
            if what == "solution":
                message = (
                    f"Your file reached for the solution ({name}), which is hidden while it is graded. "
                    "Remove that, and write it yourself; solutions/ is there to be read after trying."
                )
            else:
                message = (
                    f"Your file reached for another Python file ({name}). A file is graded alone: write into "
                    "it what you need, or name a helper of your own with --with FILE."
                )
            failure = CheckFailed(message, same=("reached",))
            failure.mistake = SOLUTION_READ if what == "solution" else OTHER_FILE_READ
        elif "error" in answer:
            failure = attempt_error(answer["error"], place, load)
        else:
            return Answer(dict(answer["values"]), arrays)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        failure = CheckFailed("Your code broke the grader's answer.", same=("broken answer",))
    raise failure
