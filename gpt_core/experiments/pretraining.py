"""The experiment with pretraining: does it help, and against what? `main` runs it, with functions that are
given to it, and prints the comparison.

    out/pretrain.txt   the pretraining text, without what overlaps with the text that is measured on
    out/pretrained     the pretraining run, as gpt_core.train writes one
    out/finetuned ..   one folder per run that it is compared with, with its log and its best weights
    out/losses.html    the curves of all of them; losses.png, too, where matplotlib is installed

What is there already is not done again, so a stopped experiment goes on where it was: within a training
run of `pretrained` and `scratch-b` from the last evaluation, in the others from the beginning of a run.
"""

import contextlib
import copy
import dataclasses
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from data import corpora, toy
from gpt_core.batches import encode_text
from gpt_core.evaluation import exhaustive_loss
from gpt_core.models import GPT
from gpt_core.pictures import curves_page
from gpt_core.pictures.curves import curves
from gpt_core.pictures.document import write
from gpt_core.plot import draw
from gpt_core.tokenizer import CharTokenizer
from gpt_core.training import checkpoint
from gpt_core.training.command import (
    BAD_INPUT,
    ERRORS_OF_A_RUN,
    ERRORS_OF_INPUT,
    FAILED,
    INTERRUPTED,
    Parser,
    begin,
)
from gpt_core.training.device import choose_device
from gpt_core.training.out_of_memory import memory_for
from gpt_core.training.presets import PRESETS
from gpt_core.training.run_log import RunLog, read
from gpt_core.training.terminal import NO_MATPLOTLIB, StepsDisplay, TrainingDisplay, fail, load_corpus, note
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trained import load_trained
from gpt_core.training.trainer import Trainer

# The runs of a comparison have one colour in the plot: those on the whole text, and those on a part of it.
COMPARED = (("finetuned", "scratch-a", "scratch-b"), ("finetuned-c", "scratch-c"))
EVALUATIONS = 5  # of a short run, for its curve; the last one is that of the model that is returned
WINDOW = 50  # characters in a row that count as a leak


@dataclass(frozen=True)
class Plan:
    """One size of the experiment.

    config: the pretraining run, and from-scratch runs of the same total compute.
    steps, lr: of finetuning; a model from scratch with the same steps has config.lr.
    few:    the size of the reduced training text of comparison (c): its first characters.
    pretrain, text: functions that give the two texts.
    """

    config: TrainConfig
    steps: int
    lr: float
    few: int
    pretrain: Callable[[], str]
    text: Callable[[], str]


def _novels_and_plays() -> str:
    # The plays first: the last tenth validates, and they are too few to be kept from training.
    return "\n".join(load_corpus(name) for name in ("plays", "novels"))


def _toy_text() -> str:
    return toy.invented(6_000, language=1, seed=2, stop="!")


PLANS = {
    # A minute, no download: the same language, other sentences, and one leak.
    "toy": Plan(
        replace(PRESETS["toy"], steps=400, lr=3e-3, eval_interval=100), steps=60, lr=2e-3, few=1500,
        pretrain=lambda: toy.invented(60_000, language=1, seed=1) + "\n" + _toy_text()[-300:].upper(),
        text=_toy_text,
    ),
    # nanoGPT's model for a CPU; 800,000 parameters.
    "cpu": Plan(
        replace(PRESETS["cpu"], steps=4000, eval_interval=500, val_chars=100_000),
        steps=500, lr=5e-4, few=100_000,
        pretrain=_novels_and_plays, text=lambda: load_corpus("tinyshakespeare"),
    ),
    # The lecture's 10.7 million parameters. Nothing is seen twice in pretraining, and in finetuning the
    # dropout of the config keeps the model from memorising the text.
    "gpu": Plan(
        replace(
            PRESETS["best"], steps=20_000, dropout=0.2, ema=0.0, warmup=500, eval_interval=1000,
            val_chars=1_000_000,
        ),
        steps=2000, lr=3e-4, few=100_000,
        pretrain=_novels_and_plays, text=lambda: load_corpus("tinyshakespeare"),
    ),
}  # fmt: skip


def fold(text: str) -> str:
    """Lower case, any run of whitespace one space; line by line, since all words at once would fill
    memory."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return " ".join(line for line in lines if line).lower()


def shared_places(text: str, heldout: str, window: int = WINDOW) -> int:
    """In how many places `text` shares a run of `window` characters (2 or more) with `heldout`, both folded.

    A place is half a window long. Looked for in another way than line by line: whatever shares a run
    contains a whole half at a multiple of its length, so only these are looked up, and windows around them.
    """
    text, heldout = fold(text), fold(heldout)
    half = (window + 1) // 2
    halves = {heldout[i : i + half] for i in range(len(heldout) - half + 1)}
    windows = {heldout[i : i + window] for i in range(len(heldout) - window + 1)}
    found = 0
    for i in range(0, len(text) - half + 1, half):
        if text[i : i + half] in halves:
            around = range(max(0, i + half - window), i + 1)
            found += any(text[j : j + window] in windows for j in around)
    return found


def first_characters(text: str, count: int) -> str:
    """A text of which the first 90 % are the first `count` characters of `text`, and the last 10 % come from
    its validation part; ValueError where that is too short."""
    validation = corpora.split(text)[1]
    needed = math.ceil(count / 9)
    if needed > len(validation) or count + len(validation) > len(text):
        raise ValueError(f"{count} characters to train on are too many for {len(text)} in all; take fewer.")
    return text[:count] + validation[:needed]


def known(text: str, tokenizer: CharTokenizer) -> str:
    """The text without the characters that a tokenizer does not have."""
    return text.translate({ord(char): None for char in set(text) - set(tokenizer.chars)})


@contextlib.contextmanager
def model_in_training() -> Iterator[list[GPT]]:
    """A list that holds, inside, the GPT that is being trained: the last one that ran with its dropout and
    its gradients on. It is empty before that.

    A finetune function returns its model at the end only, and its loss on the way is worth a curve.
    """
    seen: list[GPT] = []

    def look(module, _):
        if isinstance(module, GPT) and module.training and torch.is_grad_enabled():
            seen[:] = [module]

    hook = register_module_forward_pre_hook(look)
    try:
        yield seen
    finally:
        hook.remove()


@dataclass(frozen=True)
class Snapshot:
    """The weights of a model on its way. Which character has which token is known at the end only, so they
    are kept until then."""

    weights: dict[str, torch.Tensor]
    step: int
    seconds: float

    @classmethod
    def of(cls, model: GPT, step: int, seconds: float) -> "Snapshot":
        weights = {name: t.detach().to("cpu", copy=True) for name, t in model.state_dict().items()}
        return cls(weights, step, seconds)

    def loss(self, model: GPT, tokens: torch.Tensor) -> float | None:
        """The exhaustive loss of `model` with these weights; None where they are not this model's."""
        probe = copy.deepcopy(model)
        try:
            probe.load_state_dict(self.weights)
        except RuntimeError:
            return None
        return exhaustive_loss(probe, tokens)


class Comparison:
    """The runs of one plan in one folder; `remove_overlap` and `finetune` are those of exercise 3."""

    def __init__(
        self, plan: Plan, out: Path, seed: int, device: str, remove_overlap: Callable, finetune: Callable
    ):
        self.plan, self.out, self.seed = plan, out, seed
        chosen = choose_device(device, note=note)
        self.config = replace(plan.config, corpus=str(out / "pretrain.txt"), seed=seed, device=str(chosen))
        self.device = chosen.type
        self.remove_overlap, self.finetune = remove_overlap, finetune
        self.display = TrainingDisplay()
        self.say = self.display.say
        self.text = plan.text()
        self.validation = corpora.split(self.text)[1]

    def run(self) -> dict[str, float]:
        """Make the runs that are not done yet; the exhaustive validation loss of each, in nats per
        character."""
        self._pretrain()
        plan, total = self.plan, self.config.steps + self.plan.steps
        pretrained = load_trained(self.out / "pretrained", device=self.device)
        torch.manual_seed(self.seed + 1)
        vocab_size = pretrained.tokenizer.vocab_size
        fresh = GPT(self.config.gpt_config(vocab_size)).to(self.device)
        few = first_characters(self.text, plan.few)
        runs = {
            "finetuned": (pretrained.model, self.text, plan.lr),
            "scratch-a": (fresh, self.text, self.config.lr),
            "finetuned-c": (pretrained.model, few, plan.lr),
            "scratch-c": (fresh, few, self.config.lr),
        }
        losses = {name: self._finetuned(name, *run, pretrained.tokenizer) for name, run in runs.items()}
        losses["scratch-b"] = self._scratch(total)
        return losses

    def _pretrain(self) -> None:
        path = self.out / "pretrain.txt"
        if not path.exists():
            text = self.plan.pretrain()
            self.say(f"pretraining text: {len(text):,} characters; text: {len(self.text):,}")
            began, before = time.perf_counter(), shared_places(text, self.text)
            kept = self.remove_overlap(text, self.text, WINDOW)
            # The whole text and not its last tenth alone: in comparison (c) only its beginning may be trained
            # on.
            after, seconds = shared_places(kept, self.text), time.perf_counter() - began
            self.say(
                f"leak check: {before:,} places share {WINDOW} characters with the text; "
                f"{len(text) - len(kept):,} characters removed; {after:,} places left ({seconds:.0f} s)"
            )
            self.out.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".writing")
            temporary.write_bytes(kept.encode())
            temporary.replace(path)
        text = load_corpus(str(path))
        self.say(f"\npretraining, {self.config.steps} steps")
        self._train(self.config, text, "pretrained")
        last = [row for row in read(self.out / "pretrained") if row["kind"] == "eval"][-1]
        gap = last["sampled_val_loss"] - last["sampled_train_loss"]
        seen = self.config.steps * self.config.batch_size * self.config.accumulation * self.config.block_size
        self.say(
            f"gap between validation and training loss: {gap:+.3f} nats, after {seen:,} of {len(text):,} "
            f"characters: {'the corpus is large enough' if gap < 0.1 else 'the model begins to memorise it'}"
        )

    def _train(self, config: TrainConfig, text: str, name: str) -> float:
        """One training run, continued where it was stopped; its lowest exhaustive validation loss."""
        folder = self.out / name
        with self.display:
            if folder.exists():
                trainer = Trainer.resume(folder, text, report=self.display.report)
            else:
                trainer = Trainer.start(config, text, folder, report=self.display.report)
            return trainer.run().best_val_loss

    def _scratch(self, steps: int) -> float:
        """From scratch, with as many steps as pretraining and finetuning together."""
        self.say(f"\nscratch-b: {steps} steps on the text alone")
        config = replace(self.config, corpus="the text", steps=steps, val_chars=0)
        return self._train(config, self.text, "scratch-b")

    def _finetuned(self, name: str, model: GPT, text: str, lr: float, source: CharTokenizer) -> float:
        """One call of finetune; its loss on the last tenth of the whole text."""
        folder = self.out / name
        if (folder / checkpoint.BEST).exists():
            return [row for row in read(folder) if row["kind"] == "eval"][-1]["val_loss"]
        folder.mkdir(exist_ok=True)
        log = RunLog(folder)
        log.cut_after(-1)  # what a stopped run left
        began = time.perf_counter()
        memory = memory_for("to finetune a model of this size", "a smaller --size takes less")
        with StepsDisplay(name, self.plan.steps) as report, memory, model_in_training() as trained:
            snapshots: list[Snapshot] = []

            def reported(step: int, loss: float) -> None:
                seconds = time.perf_counter() - began
                log.write({"kind": "train", "step": step, "loss": loss, "seconds": seconds})
                report(step, loss)
                if trained and len(snapshots) + 1 <= step * EVALUATIONS // self.plan.steps < EVALUATIONS:
                    snapshots.append(Snapshot.of(trained[0], step, seconds))

            found, tokenizer = self.finetune(
                model,
                source,
                text,
                steps=self.plan.steps,
                lr=lr,
                device=self.device,
                seed=self.seed,
                report=reported,
            )
        # A model of the reduced text may not know every character of the validation text.
        scored = known(self.validation, tokenizer)
        tokens = encode_text(tokenizer, scored)
        for snapshot in snapshots:
            if (before := snapshot.loss(found, tokens)) is not None:
                row = {"kind": "eval", "step": snapshot.step, "val_loss": before}
                log.write({**row, "seconds": snapshot.seconds})
        loss = exhaustive_loss(found, tokens)
        seconds = time.perf_counter() - began
        log.write({"kind": "eval", "step": self.plan.steps, "val_loss": loss, "seconds": seconds})
        config = replace(self.config, corpus="the text", steps=self.plan.steps, lr=lr, min_lr=0.0, warmup=0)
        chars = "".join(tokenizer.chars)
        info = {"train_config": dataclasses.asdict(config), "tokenizer": chars, "step": self.plan.steps}
        tensors = {f"model.{key}": tensor for key, tensor in found.state_dict().items()}
        checkpoint.save(folder / checkpoint.BEST, tensors, info)
        left_out = len(self.validation) - len(scored)
        self.say(
            f"{name}: {loss:.4f} after {self.plan.steps} steps, {time.perf_counter() - began:.0f} s"
            + (f" ({left_out} characters that it does not know are left out)" if left_out else "")
        )
        return loss

    def table(self, losses: dict[str, float]) -> list[str]:
        """The three comparisons, as lines of text."""
        total = self.config.steps + self.plan.steps
        rows = [
            (f"(a) {self.plan.steps} steps on the text each", "finetuned", "scratch-a"),
            (f"(b) {total} steps in all each", "finetuned", "scratch-b"),
            (f"(c) as (a), with {self.plan.few:,} characters of it", "finetuned-c", "scratch-c"),
        ]
        head = "validation loss, nats per character"
        lines = [f"{head:<44}{'pretrained':>11}{'scratch':>9}{'better by':>11}"]
        for title, one, other in rows:
            lines.append(
                f"{title:<44}{losses[one]:>11.3f}{losses[other]:>9.3f}{losses[other] - losses[one]:>+11.3f}"
            )
        return lines


def main(remove_overlap: Callable, finetune: Callable, arguments: list[str] | None = None) -> None:
    """Run the experiment with these two functions of exercise 3. Exits with status 1 where it failed, 2 for
    bad input, 130 where it was stopped."""
    begin()
    parser = Parser(description="Pretrain, finetune, compare with training from scratch.")
    sizes = "toy: seconds; cpu (default): half an hour; gpu: for a GPU"
    parser.add_argument("--size", choices=PLANS, default="cpu", help=sizes)
    parser.add_argument("--out", type=Path, help="the folder of all runs; default: runs/pretraining-SIZE")
    parser.add_argument("--seed", type=int, default=1337, help="decides weights and batches; default: 1337")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    options = parser.parse_args(arguments)
    out = options.out or Path("runs") / f"pretraining-{options.size}"
    try:
        plan = PLANS[options.size]
        comparison = Comparison(plan, out, options.seed, options.device, remove_overlap, finetune)
        losses = comparison.run()
    except NotImplementedError as error:
        sys.exit(fail(f"Not written yet: {error}", FAILED))
    except ERRORS_OF_INPUT as error:
        sys.exit(fail(str(error), BAD_INPUT))
    except ERRORS_OF_A_RUN as error:
        sys.exit(fail(str(error), FAILED))
    except OSError as error:
        sys.exit(fail(f"{error.filename or out} cannot be written: {error.strerror or error}.", FAILED))
    except KeyboardInterrupt:
        sys.exit(fail("Stopped; the same command goes on with what is left.", INTERRUPTED))
    for line in ["", *comparison.table(losses)]:
        comparison.say(line)
    found = curves([[out / name for name in names] for names in COMPARED])
    write(curves_page.page(found, "steps", "Pretraining, and training from scratch"), out / "losses.html")
    comparison.say(f"drawn in {out / 'losses.html'}")
    try:
        draw(found, out / "losses.png")
        comparison.say(f"drawn in {out / 'losses.png'}")
    except ImportError:
        comparison.say(f"no PNG: {NO_MATPLOTLIB}")
    comparison.say(f"next: python -m gpt_core.sample {shlex.quote(str(out / 'finetuned'))}")
