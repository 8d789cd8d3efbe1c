"""The training loop: forward, backward, update; and around it evaluation and checkpoints.

    Trainer.start(config, text, folder)   a new run in a new folder
    Trainer.resume(checkpoint, text)      one that goes on as if it had never stopped
    trainer.run()                         trains to the last step, or until it is told to stop

Nothing here prints: what happens is reported as one of the objects in `events.py`.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from data import corpora
from gpt_core.batches import Batches, encode_text
from gpt_core.evaluation import exhaustive_loss, sampled_loss
from gpt_core.tokenizer import CharTokenizer
from gpt_core.training import checkpoint, state
from gpt_core.training.device import choose_device, choose_precision, choose_threads
from gpt_core.training.distributed import World
from gpt_core.training.events import (
    Evaluated,
    Notice,
    Report,
    Result,
    Started,
    TrainingFailed,
    Updated,
    ignore,
)
from gpt_core.training.forward import autocast, prepare_forward
from gpt_core.training.initial import initialise
from gpt_core.training.malloc import keep_freed_memory
from gpt_core.training.optimizer import learning_rate
from gpt_core.training.out_of_memory import MemoryOfRun, memory_for
from gpt_core.training.plugins import build_model, build_optimizers, source_digests
from gpt_core.training.run_log import RunLog
from gpt_core.training.token_file import TokenFile
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trained import does_not_fit

MANY = 1_000_000  # characters to validate on, of a text that is larger than memory


class Trainer:
    """One run in one folder; built by `start` or `resume`."""

    def __init__(
        self, config: TrainConfig, text: str | TokenFile, folder: Path, report: Report, world: World
    ):
        self.config, self.folder, self.report, self.world = config, folder, report, world
        self.device = choose_device(
            config.device, world.local_rank, processes=world.size, note=lambda text: report(Notice(text))
        )
        self.precision = choose_precision(config.precision, self.device)
        self.threads = choose_threads(config, world.local_size)
        self.corpus_path = corpora.path_of(config.corpus)  # to resume the run from another folder
        self.log = RunLog(folder)
        self.step = 0
        self.seconds = 0.0
        self.window: list[torch.Tensor] = []  # the losses since the last line of the log
        self.best: tuple[float, int] | None = None  # (val_loss, step)
        self.last_eval: tuple[float, int] | None = None
        self.last_is_good = False  # whether last.safetensors is known to be whole
        self._take(text)
        torch.manual_seed(config.seed)
        self.memory = MemoryOfRun(config, self.tokenizer.vocab_size, len(text))
        with self.memory.for_model("the weights of a model"):
            self.model = build_model(config, self.tokenizer.vocab_size)
            self.sources = source_digests(config)
            self._place_model()
        # The same weights everywhere, then dropout of its own in every process.
        torch.manual_seed(config.seed + world.rank)

    def _take(self, text: str | TokenFile) -> None:
        """The text as tokens, its two parts, and the batches of the first one."""
        config = self.config
        if isinstance(text, TokenFile):
            self.text_sha256, self.tokenizer = text.sha256, text.tokenizer
            self._split(text.tokens)
            if not config.val_chars and len(self.val_tokens) > MANY:
                self.report(
                    Notice(
                        f"Each evaluation scores the last {len(self.val_tokens):,} characters of "
                        f"{config.corpus}; --val-chars {MANY} takes the first {MANY:,} of them."
                    )
                )
            return
        size = f"{len(text):,} characters of {config.corpus}"
        with memory_for(f"to encode the {size}", "take a shorter text"):
            self.text_sha256 = corpora.sha256(text)
            # Of the whole text: a character that only the last tenth has still needs a number.
            self.tokenizer = CharTokenizer.from_text(text)
            tokens = encode_text(self.tokenizer, text)
        with memory_for(f"on {self.device} for the {size}, which all stay there", "take a shorter text"):
            self._split(tokens.to(self.device))

    def _split(self, tokens: torch.Tensor) -> None:
        """The tokens to train on and to validate on, and the batches of the first."""
        config = self.config
        self.train_tokens, val_tokens = corpora.split(tokens)
        self.val_tokens = val_tokens[: config.val_chars or None]
        # The batches have a generator of their own: dropout must not change which windows come next.
        windows = {"block_size": config.block_size, "seed": config.seed, "device": self.device}
        part = f"the first 90 % of {config.corpus}, to train on,"
        self.batches = Batches(self.train_tokens, **windows, part=part, order=config.windows)
        # Raises where it is too short to sample from.
        Batches(self.val_tokens, **windows, part=f"the last 10 % of {config.corpus}, to validate on,")

    def _place_model(self) -> None:
        """The model on the device, its optimizers, and its average."""
        self.model.to(self.device)
        self.optimizers = build_optimizers(self.model, self.config)
        self.ema = [p.detach().clone() for p in self.model.parameters()] if self.config.ema else []

    def _begin_with_weights(self) -> None:
        """The weights of another run in place of the random ones."""
        # On the CPU, where a function of your own that carries them over is at home.
        self.model.to("cpu")
        self.report(Notice(initialise(self.model, self.tokenizer, self.config)))
        self._place_model()

    @classmethod
    def start(
        cls,
        config: TrainConfig,
        text: str | TokenFile,
        folder: Path,
        *,
        report: Report = ignore,
        world: World = World(),
    ) -> "Trainer":
        """A new run; text: a string, or a large text as tokens in a file.

        Raises ValueError where the folder exists or the text cannot be trained on."""
        if world.is_first:
            state.refuse_existing(folder)  # before anything is computed
        trainer = cls(config, text, folder, report, world)
        if config.init_from:
            trainer._begin_with_weights()
        if world.is_first:
            state.make_folder(folder)
        return trainer

    @classmethod
    def resume(
        cls,
        path: Path,
        text: str | TokenFile,
        *,
        report: Report = ignore,
        world: World = World(),
        device: str | None = None,
        corpus: str | None = None,
        steps: int | None = None,
    ) -> "Trainer":
        """Go on from a checkpoint, bit for bit on the same machine, device and number of processes.

        path: a checkpoint, or the folder of a run, which means its last one. device: move the run to
        another device; the losses are then equal up to rounding only. corpus: where the text was found, if
        it is no longer where the run has it from. steps: the last step, where the run is to go on beyond the
        one that it was meant to end with; the learning rate is then that of a run of so many steps.

        Raises checkpoint.CheckpointError for a file that is none, ValueError where the text is not
        the one that the run was trained on.
        """
        path = checkpoint.find(path)
        saved = state.load_run(path)
        config = TrainConfig(**saved.info["train_config"])
        config = dataclasses.replace(
            config,
            threads=saved.info["threads"],
            device=device or config.device,
            corpus=corpus or config.corpus,
        )
        if steps is not None:
            config = extended(config, saved.info["step"], steps, report)
        trainer = cls(config, text, path.parent, report, world)
        if not corpus and (known := saved.info.get("corpus_path")):
            trainer.corpus_path = Path(known)
        try:
            state.restore(trainer, saved)
        except RuntimeError as error:
            raise ValueError(does_not_fit(path, config, error)) from None
        trainer.last_is_good = path.name == checkpoint.LAST
        if world.is_first:
            trainer.log.cut_after(trainer.step)
        return trainer

    def run(self, *, should_stop: Callable[[], bool] = lambda: False) -> Result:
        """Train to the last step, or to the end of the update in which `should_stop` answers True.

        The last checkpoint is saved in both cases. Raises TrainingFailed at the first loss or
        gradient that is not finite; the checkpoints from before it stay.
        """
        config = self.config
        threads_before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        if self.device.type == "cpu":
            keep_freed_memory()
        try:
            self.forward_model = prepare_forward(
                self.model, config, self.device, self.precision, self.world, self.report
            )
            self._report_start()
            if self.last_eval is None:
                self._evaluate()
                state.save(self, checkpoint.LAST)
            stopped = False
            while self.step < config.steps and not stopped:
                stopped = self._train_until_next_eval(should_stop)
                if self._is_eval_step():
                    self._evaluate()
                state.save(self, checkpoint.LAST)
        finally:
            torch.set_num_threads(threads_before)
            if self.world.is_first:
                checkpoint.remove_if_empty(self.folder)  # else it would stand in the way of the next try
        best_loss, best_step = self.best or (None, None)
        return Result(
            self.step,
            self.step >= config.steps,
            self.last_eval and self.last_eval[0],
            best_step,
            best_loss,
            self.seconds,
        )

    # Training

    def _is_eval_step(self) -> bool:
        return self.step % self.config.eval_interval == 0 or self.step == self.config.steps

    def _train_until_next_eval(self, should_stop) -> bool:
        """Updates up to the next evaluation; True where the run was told to stop at this step."""
        config = self.config
        on_cpu = self.device.type == "cpu"
        self.model.train()
        start, first = time.perf_counter(), self.step
        unchecked = []
        while True:
            loss, norm = self._update(self.step + 1)
            self.step += 1
            self.window.append(loss)
            unchecked.append((self.step, loss, norm))
            line_due = self.step % config.log_interval == 0 or self._is_eval_step()
            # On a GPU, reading a number waits for all queued work, so it is done once per log line.
            if not (line_due or on_cpu):
                continue
            self._check_finite(unchecked)
            unchecked = []
            stopped = self.world.any(should_stop(), self.device)
            if line_due or stopped:
                self.window = list(self.world.mean(torch.stack(self.window)))
                now = time.perf_counter()
                self.seconds += now - start
                rate = (self.step - first) * self._tokens_per_step() / (now - start)
                start, first = now, self.step
            if line_due:
                mean_loss = torch.stack(self.window).mean().item()
                rate_now = learning_rate(self.step, config)
                self._log("train", Updated(self.step, mean_loss, rate_now, norm.item(), rate, self.seconds))
                self.window = []
            if stopped or self._is_eval_step():
                return stopped

    def _update(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One update; the loss and the norm of its gradient, as tensors on the device."""
        config, world = self.config, self.world
        self.optimizers.set_rates(step)
        # All processes draw all windows and take their own: N processes with A accumulations see the
        # very batch that one process with N * A sees.
        starts = self.batches.draw(config.accumulation * world.size * config.batch_size)
        starts = starts.view(config.accumulation, world.size, config.batch_size)[:, world.rank]
        total = torch.zeros((), device=self.device)
        for i in range(config.accumulation):
            x, y = self.batches.take(starts[i])
            last = i == config.accumulation - 1
            # Gradients travel between processes once per update, with the last pass.
            with contextlib.nullcontext() if last or world.size == 1 else self.forward_model.no_sync():
                with self.memory.for_batch():
                    with autocast(self.device, self.precision):
                        _, loss = self.forward_model(x, y)
                    loss = loss / config.accumulation if config.accumulation > 1 else loss
                    loss.backward()
            total += loss.detach()
        with self.memory.for_model("the gradients and AdamW's averages of a model"):
            norm = self._clip()
            self.optimizers.step()
            if self.ema:
                # A young average forgets faster, or the first, random weights would stay in it for long.
                decay = min(config.ema, (1 + step) / (10 + step))
                with torch.no_grad():
                    torch._foreach_lerp_(self.ema, list(self.model.parameters()), 1 - decay)
        return total, norm

    def _clip(self) -> torch.Tensor:
        """The norm of the whole gradient, which is scaled down to grad_clip where that is set."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self.config.grad_clip:
            return torch.nn.utils.clip_grad_norm_(parameters, self.config.grad_clip)
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm([p.grad for p in parameters])))

    def _check_finite(self, updates) -> None:
        """updates: (step, loss, gradient norm) of each update since the last check."""
        for step, loss, norm in updates:
            loss, norm = loss.item(), norm.item()
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise TrainingFailed(
                    f"step {step}: the loss is {loss:.4g} and the norm of its gradient {norm:.4g}; "
                    f"the checkpoints in {self.folder} are from before it. Try a lower lr (it is "
                    f"{self.config.lr:g}), a longer warmup or grad_clip 1."
                )

    # Evaluation

    def _evaluate(self) -> None:
        """Both losses, a line in the log, and the best checkpoint where it is the lowest so far."""
        if self.world.is_first:
            start = time.perf_counter()
            with self.memory.for_evaluation(), self._averaged_weights():
                val_loss = exhaustive_loss(self.model, self.val_tokens)
                settings = {
                    "batch_size": self.config.batch_size,
                    "iters": self.config.eval_iters,
                    "seed": self.config.seed + self.step,
                }
                sampled = [
                    sampled_loss(self.model, tokens, **settings)
                    for tokens in (self.val_tokens, self.train_tokens)
                ]
            if not math.isfinite(val_loss) and self.step == 0:
                raise TrainingFailed(
                    f"the validation loss is {val_loss} before any training: what divides by 0, or is "
                    f"infinite?"
                )
            if not math.isfinite(val_loss):
                raise TrainingFailed(
                    f"step {self.step}: the validation loss is {val_loss}; the checkpoints in "
                    f"{self.folder} are from before it. Try a lower lr (it is {self.config.lr:g})."
                )
            is_best = self.best is None or val_loss < self.best[0]
            if is_best:
                self.best = (val_loss, self.step)
            self.last_eval = (val_loss, self.step)
            self.seconds += time.perf_counter() - start
            self._log("eval", Evaluated(self.step, val_loss, *sampled, self.seconds, is_best))
        else:
            is_best = False
        if self.world.any(is_best, self.device):
            state.save(self, checkpoint.BEST)

    @contextlib.contextmanager
    def _averaged_weights(self):
        """The running average in place of the weights, where the run keeps one."""
        parameters = list(self.model.parameters())
        kept = [p.detach().clone() for p in parameters] if self.ema else []
        with torch.no_grad():
            for p, average in zip(parameters, self.ema):
                p.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for p, value in zip(parameters, kept):
                    p.copy_(value)

    def _tokens_per_step(self) -> int:
        c = self.config
        return c.batch_size * c.block_size * c.accumulation * self.world.size

    def _report_start(self) -> None:
        self.report(
            Started(
                self.step,
                self.config.steps,
                sum(p.numel() for p in self.model.parameters()),
                self.tokenizer.vocab_size,
                len(self.train_tokens),
                len(self.val_tokens),
                str(self.device),
                str(self.precision).removeprefix("torch."),
                self.threads,
                self.world.size,
                self._tokens_per_step(),
                self.optimizers.names,
            )
        )

    def _log(self, kind: str, event) -> None:
        if self.world.is_first:
            row = dataclasses.asdict(event)
            row.pop("is_best", None)
            self.log.write({"kind": kind, **row})
            self.report(event)


def extended(config: TrainConfig, done: int, steps: int, report: Report) -> TrainConfig:
    """The configuration of a run that goes on to `steps`; reports what that does to the learning rate.

    done: the updates that were made. ValueError where the run was to make as many already.
    """
    if steps <= config.steps:
        raise ValueError(
            f"the run has {config.steps} steps; --extend takes a larger number, their new total."
        )
    longer = dataclasses.replace(config, steps=steps)
    now, then = learning_rate(max(done, 1), config), learning_rate(done + 1, longer)
    report(
        Notice(
            f"The run goes on to step {steps}, with the learning rate of a run of {steps} steps: after "
            f"{now:.3g} at step {done} it is {then:.3g} at step {done + 1}, and {config.min_lr:.3g} at last."
        )
    )
    return longer
