"""Everything that decides a training run, in one frozen, validated place."""

import dataclasses
import math
from dataclasses import dataclass

from gpt_core.config import GPTConfig

RUNGS = ("bigram", "single-head", "multi-head", "transformer", "gpt")
MOST_THREADS = 1024
MOST = 2**31  # of every other whole number: torch counts no further in many places


@dataclass(frozen=True)
class TrainConfig:
    """One training run; with the same corpus, machine and device it gives the same weights.

    corpus:       a name that `data.corpora` knows, or the path of a UTF-8 file.
    model:        the rung of the ladder: bigram, single-head, multi-head, transformer or gpt.
    block_size:   the longest context, in characters.
    n_layer:      how many blocks are stacked.
    n_head:       how many heads each attention has; must divide n_embd.
    n_embd:       the width of the model, in channels.
    dropout:      the probability of dropping a value while training, 0 <= dropout < 1.
    attention, norm, feed_forward: a part of your own for the rung gpt, as "module:Class"; "" is the
                  workbook's. The class is called with the GPTConfig.
    position_embedding: False leaves the position table out, for an attention that places itself.
    batch_size:   sequences per forward and backward pass, on each device.
    accumulation: passes per update; an update sees batch_size * accumulation * devices sequences.
    steps:        updates.
    lr, min_lr:   the learning rate rises from 0 to lr, then falls along half a cosine to min_lr at the
                  last update (Loshchilov & Hutter 2017, arXiv 1608.03983); min_lr equal to lr keeps it
                  constant.
    warmup:       how many updates the rise from 0 to lr takes.
    weight_decay: AdamW's decay, on matrices only.
    beta1, beta2: AdamW's averaging of the gradient and of its square.
    grad_clip:    the largest norm of an update's gradient; 0 does not clip.
    ema:          0, or the decay of a running average of the weights that is evaluated and kept in
                  their place (Polyak & Juditsky 1992); 0.999 averages about the last 1000 updates.
    eval_interval: updates from one evaluation and checkpoint to the next.
    eval_iters:   batches of the sampled, lecture-style loss estimate.
    log_interval: updates from one line of the log to the next.
    val_chars:    how many characters of the validation text are evaluated, its first ones; 0 for all. For a
                  corpus whose last tenth would take minutes each time.
    seed:         decides the first weights, the batches and the dropout.
    device:       auto (a GPU, an Apple one too, where a trial step goes well there), cpu, cuda, mps or any
                  name that torch knows.
    precision:    auto (bfloat16 on a CUDA device that has it), float32 or bfloat16.
    compile:      use torch.compile; where that fails, the run goes on without and says so.
    threads:      CPU threads of one process; 0 lets the trainer choose.

    Raises ValueError, naming the field, for a value that cannot be trained with.
    """

    corpus: str = "tinyshakespeare"
    model: str = "gpt"
    block_size: int = 256
    n_layer: int = 6
    n_head: int = 6
    n_embd: int = 384
    dropout: float = 0.2
    attention: str = ""
    norm: str = ""
    feed_forward: str = ""
    position_embedding: bool = True
    batch_size: int = 64
    accumulation: int = 1
    steps: int = 5000
    lr: float = 3e-4
    min_lr: float = 3e-4
    warmup: int = 0
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    grad_clip: float = 0.0
    ema: float = 0.0
    eval_interval: int = 500
    eval_iters: int = 200
    log_interval: int = 10
    val_chars: int = 0
    seed: int = 1337
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    threads: int = 0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        for name in ("batch_size", "accumulation", "steps", "eval_interval", "eval_iters", "log_interval"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("warmup", "weight_decay", "grad_clip", "min_lr", "threads", "val_chars"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        self._check("threads", self.threads <= MOST_THREADS, f"at most {MOST_THREADS}")
        self._check("val_chars", self.val_chars != 1, "0 for all, or at least 2")
        for name in ("beta1", "beta2", "ema"):
            self._check(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        self._check("lr", self.lr > 0, "above 0")
        self._check("min_lr", self.min_lr <= self.lr, f"at most lr, which is {self.lr}")
        self._check("warmup", self.warmup < self.steps, f"below steps, which is {self.steps} (--warmup {self.steps // 10})")
        self._check("seed", 0 <= self.seed < 2**63, "from 0 to 2**63 - 1")
        self._check("corpus", self.corpus != "", "the name of a corpus or the path of a file")
        self._check("model", self.model in RUNGS, "one of " + ", ".join(RUNGS))
        self._check("precision", self.precision in ("auto", "float32", "bfloat16"), "auto, float32 or bfloat16")
        if self.model != "gpt":
            for name in ("attention", "norm", "feed_forward"):
                self._check(name, getattr(self, name) == "", "left out unless model is gpt")
            self._check("position_embedding", self.position_embedding, "True unless model is gpt")
        self.gpt_config(vocab_size=1)  # the sizes are validated where they are defined

    def _check(self, name, ok, allowed):
        if not ok:
            raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {allowed}.")

    def gpt_config(self, vocab_size: int) -> GPTConfig:
        """The model's part of this configuration."""
        return GPTConfig(
            vocab_size, self.block_size, self.n_layer, self.n_head, self.n_embd, self.dropout
        )


def _check_type(name, value, expected):
    """A bool is an int in Python, and 3 is a fine float; everything else is taken at its word."""
    if expected is float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value)
    elif expected is int:
        good = isinstance(value, int) and not isinstance(value, bool) and (name == "seed" or abs(value) < MOST)
    else:
        good = isinstance(value, expected)
    if not good:
        kind = {float: "a finite number", int: "a whole number below 2**31", bool: "True or False", str: "a string"}
        raise ValueError(f"{name} is {value!r}; it must be {kind[expected]}.")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False
