"""Everything that decides a training run, in one frozen, validated place."""

import dataclasses
import math
from dataclasses import dataclass

from gpt_core.batches import ORDERS
from gpt_core.config import GPTConfig

RUNGS = ("bigram", "single-head", "multi-head", "transformer", "gpt")
PARTS = ("attention", "norm", "feed_forward")  # of the model, which a run can take from you
MOST_THREADS = 1024
MOST = 2**31  # of every other whole number: torch counts no further in many places


def setting(default, explanation: str):
    """A field of TrainConfig; the help of gpt_core.train shows its explanation."""
    return dataclasses.field(default=default, metadata={"help": explanation})


@dataclass(frozen=True)
class TrainConfig:
    """One training run; with the same corpus, machine and device it gives the same weights.

    Raises ValueError, naming the field, for a value that cannot be trained with.
    """

    corpus: str = setting("tinyshakespeare", "a name that `data.corpora` knows, or the path of a UTF-8 file.")
    model: str = setting(
        "gpt",
        "the rung of the ladder: bigram, single-head, multi-head, transformer or gpt; or a GPT of your own, "
        "as module:Class (a subclass of gpt_core.GPT that takes its arguments).",
    )
    init_from: str = setting(
        "",
        "a run, or one of its checkpoints, whose weights the new run begins with, in place of random ones. "
        "Its sizes and its vocabulary must be the same.",
    )
    transfer: str = setting(
        "",
        "with --init-from, where the vocabulary is another: your function of exercise 3, as "
        "exercises.ex3_pretrain_finetune:transfer_weights.",
    )
    block_size: int = setting(256, "the longest context, in characters.")
    n_layer: int = setting(6, "how many blocks are stacked.")
    n_head: int = setting(6, "how many heads each attention has; must divide n_embd.")
    n_embd: int = setting(384, "the width of the model, in channels.")
    dropout: float = setting(0.2, "the probability of dropping a value while training, 0 <= dropout < 1.")
    attention: str = setting(
        "",
        "an attention of your own for the rung gpt, as module:Class (the class is called with the "
        "GPTConfig); left empty, the workbook's.",
    )
    norm: str = setting("", "a norm of your own, in the same way.")
    feed_forward: str = setting("", "a feed-forward of your own, in the same way.")
    position_embedding: bool = setting(
        True, "False leaves the position table out, for an attention that places itself."
    )
    optimizer: str = setting(
        "",
        "an optimizer of your own, as module:Class (a torch.optim.Optimizer, called with parameters); where "
        "its module has split_parameters(model), it gets the first list of that, and AdamW the second.",
    )
    optimizer_lr: float = setting(
        0.0, "the highest learning rate of your own optimizer; 0 leaves the one that its class has."
    )
    windows: str = setting(
        "random",
        "how the windows of the text are drawn: random (the lecture's: each starts anywhere, and may come "
        "again) or epochs (none comes again before all have come; every epoch cuts it at another place).",
    )
    batch_size: int = setting(64, "sequences per forward and backward pass, on each device.")
    accumulation: int = setting(
        1, "passes per update; an update sees batch_size * accumulation * devices sequences."
    )
    steps: int = setting(5000, "updates.")
    lr: float = setting(
        3e-4,
        "the highest learning rate: it rises from 0 to lr, then falls along half a cosine to min_lr at "
        "the last update (Loshchilov & Hutter 2017, arXiv 1608.03983).",
    )
    min_lr: float = setting(
        3e-4, "the learning rate of the last update; equal to lr it keeps the rate constant."
    )
    warmup: int = setting(0, "how many updates the rise from 0 to lr takes.")
    weight_decay: float = setting(0.01, "AdamW's decay, on matrices only.")
    beta1: float = setting(0.9, "AdamW's averaging of the gradient.")
    beta2: float = setting(0.999, "AdamW's averaging of the gradient's square.")
    grad_clip: float = setting(0.0, "the largest norm of an update's gradient; 0 does not clip.")
    ema: float = setting(
        0.0,
        "0, or the decay of a running average of the weights that is evaluated and kept in their place "
        "(Polyak & Juditsky 1992); 0.999 averages about the last 1000 updates.",
    )
    eval_interval: int = setting(500, "updates from one evaluation and checkpoint to the next.")
    eval_iters: int = setting(200, "batches of the sampled, lecture-style loss estimate.")
    log_interval: int = setting(10, "updates from one line of the log to the next.")
    val_chars: int = setting(
        0,
        "how many characters of the validation text are evaluated, its first ones; 0 for all. For a "
        "corpus whose last tenth would take minutes each time.",
    )
    seed: int = setting(1337, "decides the first weights, the batches and the dropout.")
    device: str = setting(
        "auto",
        "auto (a GPU, an Apple one too, where a trial step goes well there), cpu, cuda, mps or any name "
        "that torch knows.",
    )
    precision: str = setting("auto", "auto (bfloat16 on a CUDA device that has it), float32 or bfloat16.")
    compile: bool = setting(
        False, "use torch.compile; where that fails, the run goes on without and says so."
    )
    threads: int = setting(0, "CPU threads of one process; 0 lets the trainer choose.")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        for name in ("batch_size", "accumulation", "steps", "eval_interval", "eval_iters", "log_interval"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("warmup", "weight_decay", "grad_clip", "min_lr", "threads", "val_chars", "optimizer_lr"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        self._check("threads", self.threads <= MOST_THREADS, f"at most {MOST_THREADS}")
        self._check("val_chars", self.val_chars != 1, "0 for all, or at least 2")
        for name in ("beta1", "beta2", "ema"):
            self._check(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        self._check("lr", self.lr > 0, "above 0")
        self._check("min_lr", self.min_lr <= self.lr, f"at most lr, which is {self.lr}")
        self._check(
            "warmup",
            self.warmup < self.steps,
            f"below steps, which is {self.steps} (--warmup {self.steps // 10})",
        )
        self._check("seed", 0 <= self.seed < 2**63, "from 0 to 2**63 - 1")
        self._check("corpus", self.corpus != "", "the name of a corpus or the path of a file")
        self._check(
            "model",
            self.model in RUNGS or ":" in self.model,
            "one of " + ", ".join(RUNGS) + ", or module:Class for a GPT of your own",
        )
        self._check("transfer", self.init_from or not self.transfer, "left out unless init_from is given")
        given = self.optimizer or not self.optimizer_lr
        self._check("optimizer_lr", given, "left out unless optimizer is given")
        self._check("windows", self.windows in ORDERS, " or ".join(ORDERS))
        self._check(
            "precision", self.precision in ("auto", "float32", "bfloat16"), "auto, float32 or bfloat16"
        )
        if self.model in RUNGS and self.model != "gpt":
            for name in PARTS:
                self._check(name, getattr(self, name) == "", "left out unless model is gpt")
            self._check("position_embedding", self.position_embedding, "True unless model is gpt")
        self.gpt_config(vocab_size=1)  # the sizes are validated where they are defined

    def _check(self, name, ok, allowed):
        if not ok:
            raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {allowed}.")

    def gpt_config(self, vocab_size: int) -> GPTConfig:
        """The model's part of this configuration."""
        return GPTConfig(vocab_size, self.block_size, self.n_layer, self.n_head, self.n_embd, self.dropout)

    def own_parts(self) -> dict[str, str]:
        """The model's parts that are not the workbook's, by the name of their field, as "module:Class"."""
        return {part: spec for part in PARTS if (spec := getattr(self, part))}

    def own_classes(self) -> dict[str, str]:
        """All classes that are not the workbook's: the model's parts, the model itself, the optimizer."""
        model = {"model": self.model} if self.model not in RUNGS else {}
        return self.own_parts() | model | ({"optimizer": self.optimizer} if self.optimizer else {})


def _check_type(name, value, expected):
    """A bool is an int in Python, and 3 is a fine float; everything else is taken at its word."""
    if expected is float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value)
    elif expected is int:
        good = (
            isinstance(value, int) and not isinstance(value, bool) and (name == "seed" or abs(value) < MOST)
        )
    else:
        good = isinstance(value, expected)
    if not good:
        kind = {
            float: "a finite number",
            int: "a whole number below 2**31",
            bool: "True or False",
            str: "a string",
        }
        raise ValueError(f"{name} is {value!r}; it must be {kind[expected]}.")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False
