"""The training loop: forward, backward, update; and around it evaluation, checkpoints, resuming.

    Trainer.start(config, text, folder)   a new run in a new folder
    Trainer.resume(checkpoint, text)      one that goes on as if it had never stopped
    trainer.run()                         trains to the last step, or until it is told to stop

Nothing here prints: what happens is reported as one of the events below.
"""

import contextlib
import dataclasses
import inspect
import math
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from data import corpora
from gpt_core.training import checkpoint
from gpt_core.batches import Batches, encode_text
from gpt_core.training.device import (
    choose_device, choose_precision, choose_threads, generator_states, generators_kept, set_generator_states,
)  # fmt: skip
from gpt_core.training.distributed import World
from gpt_core.evaluation import exhaustive_loss, sampled_loss
from gpt_core.training.malloc import keep_freed_memory
from gpt_core.training.optimizer import learning_rate, make_optimizer
from gpt_core.training.out_of_memory import memory_for
from gpt_core.training.plugins import build_model, source_digests
from gpt_core.training.run_log import RunLog
from gpt_core.tokenizer import CharTokenizer
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trained import does_not_fit


@dataclass(frozen=True)
class Started:
    """A run begins, or goes on after `step`."""

    step: int
    steps: int
    parameters: int
    vocab_size: int
    train_tokens: int
    val_tokens: int
    device: str
    precision: str
    threads: int
    processes: int
    tokens_per_step: int
    fused_optimizer: bool


@dataclass(frozen=True)
class Progress:
    """`loss`: the mean over the updates since the last report, in nats."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    tokens_per_second: float
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """val_loss is exhaustive, the sampled ones are the lecture's estimate; all in nats."""

    step: int
    val_loss: float
    sampled_val_loss: float
    sampled_train_loss: float
    seconds: float
    is_best: bool


@dataclass(frozen=True)
class Notice:
    """Something a user should know, in one sentence."""

    text: str


@dataclass(frozen=True)
class Result:
    """How a run ended: step < steps where it was told to stop."""

    step: int
    finished: bool
    val_loss: float | None
    best_step: int | None
    best_val_loss: float | None
    seconds: float


class TrainingFailed(RuntimeError):
    """The loss or its gradient is no longer a number; the message says at which step."""


Report = Callable[[object], None]
LONG_TEXT = 2**26  # characters; a shorter one takes little beside torch itself


def load_run(path: Path) -> checkpoint.Checkpoint:
    """A checkpoint that a run can go on from; CheckpointError for another one."""
    with memory_for(f"to read {path}", "go on with it on a machine that has more"):
        saved = checkpoint.load(path)
    if "text_sha256" not in saved.info:
        raise checkpoint.CheckpointError(f"{path} holds a model, and not the run that made it; sample from it, or train a new one.")
    return saved


def find_corpus(saved: checkpoint.Checkpoint) -> str:
    """What to load the text of a run from: the file that it was; where that is gone, the corpus as the run
    names it, seen from the current folder. ValueError where there is neither."""
    name, path = saved.info["train_config"]["corpus"], saved.info.get("corpus_path")
    for source in (path, name):
        if source and (source in corpora.NAMES or corpora.path_of(source)):
            return source
    raise ValueError(
        f"the text of this run is not there any more ({path or name}): --corpus FILE says where it is now."
    )


def _exists(folder: Path) -> str:
    if folder.is_dir():
        try:
            checkpoint.find(folder)
        except checkpoint.CheckpointError:
            return f"the folder {folder} exists, and holds no run to go on with: name another one with --out."
        run = shlex.quote(str(folder))
        return f"{folder} exists: --resume {run} goes on with that run, --out starts another elsewhere."
    return f"the folder {folder} cannot be made, since a file is in the way; name another one with --out."


def ignore(event: object) -> None:
    """A report that nobody reads."""


class Trainer:
    """One run in one folder; built by `start` or `resume`."""

    def __init__(self, config: TrainConfig, text: str, folder: Path, report: Report, world: World):
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
        # Else last.safetensors may be damaged, and must not take the place of the one before it.
        self.last_is_good = False
        self.last_eval: tuple[float, int] | None = None

        self.characters = len(text)
        size = f"{len(text):,} characters of {config.corpus}"
        with memory_for(f"to encode the {size}", "take a shorter text"):
            self.text_sha256 = corpora.sha256(text)
            # Of the whole text: a character that only the last tenth has still needs a number.
            self.tokenizer = CharTokenizer.from_text(text)
            tokens = encode_text(self.tokenizer, text)
        with memory_for(f"on {self.device} for the {size}, which all stay there", "take a shorter text"):
            self.train_tokens, val_tokens = corpora.split(tokens.to(self.device))
        self.val_tokens = val_tokens[: config.val_chars or None]
        # The batches have a generator of their own: dropout must not move the position in the data.
        windows = {"block_size": config.block_size, "seed": config.seed}
        self.batches = Batches(self.train_tokens, **windows, part=f"the first 90 % of {config.corpus}, to train on,")
        # Raises where it is too short to sample from.
        Batches(self.val_tokens, **windows, part=f"the last 10 % of {config.corpus}, to validate on,")
        torch.manual_seed(config.seed)
        with self._memory_for_model("the weights of a model"):
            self.model = build_model(config, self.tokenizer.vocab_size)
            self.sources = source_digests(config)
            self.model.to(self.device)
            self.optimizer = make_optimizer(self.model, config)
            self.ema = [p.detach().clone() for p in self.model.parameters()] if config.ema else []
        # The same weights everywhere, then dropout of its own in every process.
        torch.manual_seed(config.seed + world.rank)

    @classmethod
    def start(
        cls, config: TrainConfig, text: str, folder: Path, *, report: Report = ignore,
        world: World = World(),
    ) -> "Trainer":
        """A new run. Raises ValueError where the folder exists or the text cannot be trained on."""
        try:
            if world.is_first and folder.exists():
                raise FileExistsError
            trainer = cls(config, text, folder, report, world)
            if world.is_first:
                folder.mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):  # the one that was looked for, or one that another run just made
            raise ValueError(_exists(folder)) from None
        except OSError as error:
            raise ValueError(f"the folder {folder} cannot be made: {error.strerror}; name another one with --out.") from None
        return trainer

    @classmethod
    def resume(
        cls, path: Path, text: str, *, report: Report = ignore, world: World = World(),
        device: str | None = None, corpus: str | None = None,
    ) -> "Trainer":
        """Go on from a checkpoint, bit for bit on the same machine, device and number of processes.

        path: a checkpoint, or the folder of a run, which means its last one. device: move the run to
        another device; the losses are then equal up to rounding only. corpus: where the text was found, if
        it is no longer where the run has it from.

        Raises checkpoint.CheckpointError for a file that is none, ValueError where the text is not
        the one that the run was trained on.
        """
        path = checkpoint.find(path)
        saved = load_run(path)
        config = TrainConfig(**saved.info["train_config"])
        config = dataclasses.replace(
            config, threads=saved.info["threads"], device=device or config.device,
            corpus=corpus or config.corpus,
        )
        trainer = cls(config, text, path.parent, report, world)
        if not corpus and (known := saved.info.get("corpus_path")):
            trainer.corpus_path = Path(known)
        try:
            trainer._restore(saved)
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
            self.forward_model = self._prepare_forward()
            self._report_start()
            if self.last_eval is None:
                self._evaluate()
                self._save(checkpoint.LAST)
            stopped = False
            while self.step < config.steps and not stopped:
                stopped = self._train_until_next_eval(should_stop)
                if self._is_eval_step():
                    self._evaluate()
                self._save(checkpoint.LAST)
        finally:
            torch.set_num_threads(threads_before)
            if self.world.is_first:
                checkpoint.remove_if_empty(self.folder)  # else it would stand in the way of the next try
        best_loss, best_step = self.best or (None, None)
        return Result(
            self.step, self.step >= config.steps, self.last_eval and self.last_eval[0], best_step,
            best_loss, self.seconds,
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
                self._log("train", Progress(self.step, mean_loss, rate_now, norm.item(), rate, self.seconds))
                self.window = []
            if stopped or self._is_eval_step():
                return stopped

    def _update(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One update; the loss and the norm of its gradient, as tensors on the device."""
        config, world = self.config, self.world
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
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
                with self._memory_for_batch():
                    with self._autocast():
                        _, loss = self.forward_model(x, y)
                    loss = loss / config.accumulation if config.accumulation > 1 else loss
                    loss.backward()
            total += loss.detach()
        with self._memory_for_model("the gradients and AdamW's averages of a model"):
            norm = self._clip()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if self.ema:
                # A young average forgets faster, or the first, random weights would stay in it for long.
                decay = min(config.ema, (1 + step) / (10 + step))
                with torch.no_grad():
                    torch._foreach_lerp_(self.ema, list(self.model.parameters()), 1 - decay)
        return total, norm

    def _memory_for_model(self, what: str):
        """Around what takes memory for each weight."""
        c = self.config
        sizes = f"n_layer {c.n_layer}, n_embd {c.n_embd}, block_size {c.block_size}"
        what = f"for {what} of this size ({sizes}, {self.tokenizer.vocab_size} characters)"
        return self._memory_for(what, "a smaller n_embd or n_layer takes less")

    def _memory_for_batch(self):
        """Around what takes memory for each token of a batch."""
        c = self.config
        way = "batch_size, with more accumulation," if c.batch_size > 1 else "block_size, n_embd or n_layer"
        size = f"{c.batch_size} x {c.block_size} characters (batch_size x block_size)"
        return self._memory_for(f"for an update with batches of {size}", f"a smaller {way} takes less")

    def _memory_for_evaluation(self):
        """Around both losses: the exhaustive one takes 64 windows at a time, whatever batch_size is."""
        c = self.config
        what = f"to evaluate {max(c.batch_size, 64)} x {c.block_size} characters at a time"
        return self._memory_for(what, "a smaller block_size, n_embd or n_layer takes less")

    def _memory_for(self, what: str, way: str):
        """As memory_for; a long text is named too, since it may be what leaves too little for the rest."""
        if self.characters >= LONG_TEXT:
            text = f"{self.characters:,} characters of {self.config.corpus}"
            way += f", and so does a shorter text, since the {text} stay in memory"
        return memory_for(what, way)

    def _clip(self) -> torch.Tensor:
        """The norm of the whole gradient, which is scaled down to grad_clip where that is set."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self.config.grad_clip:
            return torch.nn.utils.clip_grad_norm_(parameters, self.config.grad_clip)
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm([p.grad for p in parameters])))

    def _autocast(self):
        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

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
            with self._memory_for_evaluation(), self._averaged_weights():
                val_loss = exhaustive_loss(self.model, self.val_tokens)
                settings = {
                    "batch_size": self.config.batch_size, "iters": self.config.eval_iters,
                    "seed": self.config.seed + self.step,
                }
                sampled = [
                    sampled_loss(self.model, tokens, **settings)
                    for tokens in (self.val_tokens, self.train_tokens)
                ]
            if not math.isfinite(val_loss) and self.step == 0:
                raise TrainingFailed(f"the validation loss is {val_loss} before any training: what divides by 0, or is infinite?")
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
            self._save(checkpoint.BEST)

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

    # Saving and restoring

    def _save(self, name: str) -> None:
        """Write a checkpoint; every process comes here, the first one writes."""
        tensors = {"rng.batches": self.batches.generator.get_state()}
        for kind, state in generator_states(self.device).items():
            for rank, of_rank in enumerate(self.world.gather(state, self.device)):
                tensors[f"rng.{kind}.{rank}"] = of_rank
        if not self.world.is_first:
            return
        if self.window:
            tensors["log.window"] = torch.stack(self.window)
        names = [n for n, _ in self.model.named_parameters()]
        tensors |= {f"model.{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"ema.{n}": t for n, t in zip(names, self.ema)}
        for n, p in self.model.named_parameters():
            for what, value in self.optimizer.state.get(p, {}).items():
                tensors[f"optimizer.{n}.{what}"] = torch.as_tensor(value)
        info = {
            "step": self.step,
            "seconds": self.seconds,
            "train_config": dataclasses.asdict(self.config),
            "tokenizer": "".join(self.tokenizer.chars),
            "corpus_path": self.corpus_path and str(self.corpus_path),
            "text_sha256": self.text_sha256,
            "start": self.tokenizer.decode(self.train_tokens[:1]),
            "best": self.best,
            "last_eval": self.last_eval,
            "threads": self.threads,
            "processes": self.world.size,
            "torch": torch.__version__,
            "sources": self.sources,
        }
        is_last = name == checkpoint.LAST
        keep_old = self.folder / checkpoint.PREVIOUS if is_last and self.last_is_good else None
        with self._memory_for_model("a checkpoint of a model"):
            checkpoint.save(self.folder / name, tensors, info, keep_old=keep_old)
        self.last_is_good |= is_last

    def _restore(self, saved: checkpoint.Checkpoint) -> None:
        info = saved.info
        if info["text_sha256"] != self.text_sha256:
            raise ValueError(
                f"{self.config.corpus} is not the text that {self.folder} was trained on; name that text "
                f"with --corpus, or start a new run with --out."
            )
        if changed := [part for part, digest in self.sources.items() if info["sources"].get(part) != digest]:
            files = " and ".join(getattr(self.config, part).partition(":")[0] for part in changed)
            self.report(Notice(
                f"The file of {files} has changed since this run was saved: if it computes something else now, this is no "
                f"longer one run."
            ))
        self.step, self.seconds = info["step"], info["seconds"]
        self.best = info["best"] and tuple(info["best"])
        self.last_eval = info["last_eval"] and tuple(info["last_eval"])
        self.model.load_state_dict(saved.part("model"))
        averages = saved.part("ema")
        for (name, p), average in zip(self.model.named_parameters(), self.ema):
            average.copy_(averages[name])
        self._restore_optimizer(saved.part("optimizer"))
        self.batches.generator.set_state(saved.tensors["rng.batches"])
        self.window = list(saved.tensors.get("log.window", torch.empty(0)).to(self.device))
        if info["processes"] != self.world.size:
            self.report(Notice(
                f"This run had {info['processes']} processes and now has {self.world.size}: an update sees "
                f"another number of sequences, and dropout draws other numbers."
            ))
            return
        kinds = {name.split(".")[1] for name in saved.tensors if name.startswith("rng.")} - {"batches"}
        states = {kind: saved.tensors[f"rng.{kind}.{self.world.rank}"] for kind in kinds}
        set_generator_states(states, self.device)

    def _restore_optimizer(self, tensors: dict[str, torch.Tensor]) -> None:
        fused = self.optimizer.defaults.get("fused")
        for name, p in self.model.named_parameters():
            for what in ("step", "exp_avg", "exp_avg_sq"):
                if (value := tensors.get(f"{name}.{what}")) is not None:
                    # Without the fused kernel torch counts steps on the host.
                    place = p.device if what != "step" or fused else "cpu"
                    self.optimizer.state[p][what] = value.to(place)

    # Setting up

    def _prepare_forward(self):
        """What the loop calls: the model, compiled and spread over the processes where asked for."""
        model = self._compiled() if self.config.compile else self.model
        if self.world.size == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        # The buffers are constants (masks); sending them before every pass would only cost time.
        known = inspect.signature(DistributedDataParallel).parameters
        sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        return DistributedDataParallel(
            model, device_ids=ids, find_unused_parameters=self._has_unused_parameters(), **{sync: False}
        )

    def _has_unused_parameters(self) -> bool:
        """Whether a part of your own has a parameter that the loss does not depend on: the sum of the gradients over
        the processes has to know. No random number is used."""
        if not self.sources:
            return False
        x = torch.zeros(1, min(self.config.block_size, 2), dtype=torch.long, device=self.device)
        self.model.train()
        with generators_kept(self.device):
            self.model(x, x)[1].backward()
        unused = any(p.grad is None for p in self.model.parameters() if p.requires_grad)
        self.model.zero_grad(set_to_none=True)
        return unused

    def _compiled(self):
        """torch.compile's model, or the plain one where a trial pass fails; no random number is used."""
        x = torch.zeros(self.config.batch_size, self.config.block_size, dtype=torch.long, device=self.device)
        self.model.train()
        with generators_kept(self.device):
            try:
                compiled = torch.compile(self.model)
                with self._autocast():
                    _, loss = compiled(x, x)
                loss.backward()
            except Exception as error:  # a missing compiler, an unsupported operation, a bug in there
                reason = str(error).strip().splitlines()
                self.report(Notice(
                    f"torch.compile does not work here ({reason[0] if reason else type(error).__name__}); "
                    f"training goes on without it."
                ))
                compiled = self.model
        self.model.zero_grad(set_to_none=True)
        return compiled

    def _tokens_per_step(self) -> int:
        c = self.config
        return c.batch_size * c.block_size * c.accumulation * self.world.size

    def _report_start(self) -> None:
        self.report(Started(
            self.step, self.config.steps, sum(p.numel() for p in self.model.parameters()),
            self.tokenizer.vocab_size, len(self.train_tokens), len(self.val_tokens), str(self.device),
            str(self.precision).removeprefix("torch."), self.threads, self.world.size,
            self._tokens_per_step(), bool(self.optimizer.defaults.get("fused")),
        ))

    def _log(self, kind: str, event) -> None:
        if self.world.is_first:
            row = dataclasses.asdict(event)
            row.pop("is_best", None)
            self.log.write({"kind": kind, **row})
            self.report(event)
