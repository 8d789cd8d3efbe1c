"""The state of a run in its checkpoints: all that the next update depends on, saved and set again.

What is saved is what `Trainer` holds: the weights and their average, AdamW's averages, the generators of the
batches and of dropout, the losses since the last line of the log, the step, the best loss. The names of the
tensors are in `checkpoint.py`.
"""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from data import corpora
from gpt_core.training import checkpoint
from gpt_core.training.device import generator_states, set_generator_states
from gpt_core.training.events import Notice
from gpt_core.training.out_of_memory import memory_for

if TYPE_CHECKING:
    from gpt_core.training.trainer import Trainer


def load_run(path: Path) -> checkpoint.Checkpoint:
    """A checkpoint that a run can go on from; CheckpointError for another one."""
    with memory_for(f"to read {path}", "go on with it on a machine that has more"):
        saved = checkpoint.load(path)
    if "text_sha256" not in saved.info:
        raise checkpoint.CheckpointError(
            f"{path} holds a model, and not the run that made it; sample from it, or train a new one."
        )
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


def make_folder(folder: Path) -> None:
    """The folder of a new run; ValueError, saying what to do, where it exists or cannot be made."""
    try:
        folder.mkdir(parents=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(_exists(folder)) from None
    except OSError as error:
        raise ValueError(
            f"the folder {folder} cannot be made: {error.strerror}; name another one with --out."
        ) from None


def refuse_existing(folder: Path) -> None:
    """ValueError, saying what to do, where the folder of a new run exists."""
    try:
        exists = folder.exists()
    except OSError as error:
        raise ValueError(
            f"the folder {folder} cannot be made: {error.strerror}; name another one with --out."
        ) from None
    if exists:
        raise ValueError(_exists(folder))


def _exists(folder: Path) -> str:
    if folder.is_dir():
        try:
            checkpoint.find(folder)
        except checkpoint.CheckpointError:
            return f"the folder {folder} exists, and holds no run to go on with: name another one with --out."
        run = shlex.quote(str(folder))
        return f"{folder} exists: --resume {run} goes on with that run, --out starts another elsewhere."
    return f"the folder {folder} cannot be made, since a file is in the way; name another one with --out."


def save(trainer: "Trainer", name: str) -> None:
    """Write a checkpoint of this name into the folder of the run; every process comes here, the first one
    writes."""
    device, world = trainer.device, trainer.world
    windows, drawn = trainer.batches.state()
    tensors = {"rng.batches": windows}
    for kind, state in generator_states(device).items():
        for rank, of_rank in enumerate(world.gather(state, device)):
            tensors[f"rng.{kind}.{rank}"] = of_rank
    if not world.is_first:
        return
    if trainer.window:
        tensors["log.window"] = torch.stack(trainer.window)
    parameters = dict(trainer.model.named_parameters())
    tensors |= {f"model.{n}": t for n, t in trainer.model.state_dict().items()}
    tensors |= {f"ema.{n}": t for n, t in zip(parameters, trainer.ema)}
    of_optimizers, rest = trainer.optimizers.state({p: n for n, p in parameters.items()})
    tensors |= {f"optimizer.{key}": value for key, value in of_optimizers.items()}
    # last.safetensors may be damaged where it was not read or written by this process: it must not take the
    # place of the one before it.
    is_last = name == checkpoint.LAST
    keep_old = trainer.folder / checkpoint.PREVIOUS if is_last and trainer.last_is_good else None
    with trainer.memory.for_model("a checkpoint of a model"):
        info = _info(trainer, rest) | {"windows_drawn": drawn}
        checkpoint.save(trainer.folder / name, tensors, info, keep_old=keep_old)
    trainer.last_is_good |= is_last


def _info(trainer: "Trainer", optimizers: dict) -> dict:
    """What a checkpoint holds beside its tensors; optimizers: what of theirs is no tensor."""
    return {
        "step": trainer.step,
        "seconds": trainer.seconds,
        "train_config": dataclasses.asdict(trainer.config),
        "tokenizer": "".join(trainer.tokenizer.chars),
        "corpus_path": trainer.corpus_path and str(trainer.corpus_path),
        "text_sha256": trainer.text_sha256,
        "start": trainer.tokenizer.decode(trainer.train_tokens[:1]),
        "best": trainer.best,
        "last_eval": trainer.last_eval,
        "threads": trainer.threads,
        "processes": trainer.world.size,
        "torch": torch.__version__,
        "sources": trainer.sources,
        "parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "optimizers": optimizers,
    }


def restore(trainer: "Trainer", saved: checkpoint.Checkpoint) -> None:
    """Set a trainer that was just built to the state in a checkpoint.

    ValueError where it has another text, RuntimeError where the weights do not fit its model.
    """
    info = saved.info
    if info["text_sha256"] != trainer.text_sha256:
        raise ValueError(
            f"{trainer.config.corpus} is not the text that {trainer.folder} was trained on; name that text "
            f"with --corpus, or start a new run with --out."
        )
    if changed := [part for part, digest in trainer.sources.items() if info["sources"].get(part) != digest]:
        files = " and ".join(getattr(trainer.config, part).partition(":")[0] for part in changed)
        trainer.report(
            Notice(
                f"The file of {files} has changed since this run was saved: if it computes something else "
                "now, this is no longer one run."
            )
        )
    trainer.step, trainer.seconds = info["step"], info["seconds"]
    trainer.best = info["best"] and tuple(info["best"])
    trainer.last_eval = info["last_eval"] and tuple(info["last_eval"])
    trainer.model.load_state_dict(saved.part("model"))
    averages = saved.part("ema")
    for (name, _), average in zip(trainer.model.named_parameters(), trainer.ema):
        average.copy_(averages[name])
    # Checkpoints from before there were optimizers of your own hold tensors only.
    rest = info.get("optimizers", {"numbers": {}, "groups": []})
    parameters = dict(trainer.model.named_parameters())
    trainer.optimizers.restore(parameters, saved.part("optimizer"), rest)
    trainer.batches.restore(saved.tensors["rng.batches"], info.get("windows_drawn", 0))
    trainer.window = list(saved.tensors.get("log.window", torch.empty(0)).to(trainer.device))
    world = trainer.world
    if info["processes"] != world.size:
        trainer.report(
            Notice(
                f"This run had {info['processes']} processes and now has {world.size}: an update sees "
                f"another number of sequences, and dropout draws other numbers."
            )
        )
        return
    kinds = {name.split(".")[1] for name in saved.tensors if name.startswith("rng.")} - {"batches"}
    states = {kind: saved.tensors[f"rng.{kind}.{world.rank}"] for kind in kinds}
    set_generator_states(states, trainer.device)
