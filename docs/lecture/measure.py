"""Measure what the pages of this folder say in figures, and write it to figures.json.

    for rung in bigram single-head multi-head transformer gpt; do
        python -m gpt_core.train $rung --threads 1 --out runs/ladder/$rung
    done
    for model in NoSums NoNormsNoSums; do
        python -m gpt_core.train gpt --model docs.lecture.tried:$model --threads 1 --out runs/ladder/$model
    done
    python -m docs.lecture.measure runs/ladder
    python -m docs.lecture.draw runs/ladder
    python -m grader.author.lecture                  # puts the figures into the pages

The runs take about eight minutes on one core. They and the text are not in the repository; figures.json is.
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F

from data import corpora
from gpt_core import BigramLM, CharTokenizer
from gpt_core.batches import encode_text
from gpt_core.evaluation import exhaustive_loss
from gpt_core.training.plugins import build_model
from gpt_core.training.presets import PRESETS, preset
from gpt_core.training.run_log import read

FOLDER = Path(__file__).parent
FIGURES = FOLDER / "figures.json"
RUNGS = ("bigram", "single-head", "multi-head", "transformer", "gpt")


def of_text() -> dict:
    """Tiny Shakespeare in numbers, and the loss of the bigrams that are counted and not trained."""
    text = corpora.load("tinyshakespeare")
    tokenizer = CharTokenizer.from_text(text)
    training, validation = corpora.split(encode_text(tokenizer, text))
    return {
        "characters": len(text),
        "vocabulary": tokenizer.vocab_size,
        "training": len(training),
        "validation": len(validation),
        "windows": len(training) - 8,
        "uniform_loss": math.log(tokenizer.vocab_size),
        "counted_loss": counted_loss(training.long(), validation, tokenizer.vocab_size),
        "h_after_t": following(training.long(), tokenizer)["t"]["h"],
        "u_after_q": following(training.long(), tokenizer)["q"]["u"],
    }


def pair_counts(tokens: torch.Tensor, V: int) -> torch.Tensor:
    """(V, V): how often token j follows token i."""
    return torch.bincount(tokens[:-1] * V + tokens[1:], minlength=V * V).view(V, V)


def following(tokens: torch.Tensor, tokenizer: CharTokenizer) -> dict[str, dict[str, float]]:
    """For each character the share of each next character, in percent."""
    counts = pair_counts(tokens, tokenizer.vocab_size).double()
    shares = 100 * counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    return {a: dict(zip(tokenizer.chars, row)) for a, row in zip(tokenizer.chars, shares.tolist())}


def counted_loss(training: torch.Tensor, validation: torch.Tensor, V: int) -> float:
    """The validation loss of a bigram table that is filled by counting pairs, each begun with one."""
    counts = (pair_counts(training, V) + 1).float()
    model = BigramLM(preset("bigram").gpt_config(V))
    with torch.no_grad():
        model.token_embedding_table.weight.copy_(torch.log(counts / counts.sum(dim=1, keepdim=True)))
    return exhaustive_loss(model, validation, batch_size=4096)


def of_scale(D: int = 64, T: int = 8, draws: int = 20_000) -> dict:
    """What the scores of unit-variance queries and keys look like with and without 1 / sqrt(D)."""
    generator = torch.Generator().manual_seed(1337)
    q, k = (torch.randn(draws, T, D, generator=generator) for _ in range(2))
    scores = q[:, :1] @ k.transpose(-2, -1)  # (draws, 1, T)
    largest = {
        name: F.softmax(s, dim=-1).amax(dim=-1).mean().item()
        for name, s in (("plain", scores), ("scaled", scores * D**-0.5))
    }
    return {
        "head_size": D,
        "tokens": T,
        "std": scores.std().item(),
        "scaled_std": (scores * D**-0.5).std().item(),
        "largest": 100 * largest["plain"],
        "scaled_largest": 100 * largest["scaled"],
        "uniform": 100 / T,
    }


def of_first_loss(V: int = 65) -> dict:
    """The loss before the first step, with torch's initial weights and with small ones."""
    torch.manual_seed(1337)
    idx, targets = torch.randint(V, (2, 256, 8))
    small = BigramLM(preset("bigram").gpt_config(V))
    large = BigramLM(preset("bigram").gpt_config(V))
    large.token_embedding_table.reset_parameters()  # normal with standard deviation 1
    return {"torch": large(idx, targets)[1].item(), "small": small(idx, targets)[1].item()}


def parameters(name: str, V: int = 65, **changes) -> int:
    return sum(p.numel() for p in build_model(replace(preset(name), **changes), V).parameters())


def lowest(run: Path) -> dict:
    """The best exhaustive validation loss of a run, after how many steps and seconds."""
    rows = [row for row in read(run) if row["kind"] == "eval"]
    best = min(rows, key=lambda row: row["val_loss"])
    trained = min(row["sampled_train_loss"] for row in rows if row["step"] == best["step"])
    return {"loss": best["val_loss"], "training": trained, "step": best["step"], "steps": rows[-1]["step"]}


def measure(runs: Path) -> dict:
    ladder = {
        name: lowest(runs / name) for name in (*RUNGS, "NoSums", "NoNormsNoSums") if (runs / name).is_dir()
    }
    return {
        "text": of_text(),
        "scale": of_scale(),
        "first_loss": of_first_loss(),
        "parameters": {name: parameters(name) for name in PRESETS if name != "toy"},
        "ladder": ladder,
    }


if __name__ == "__main__":
    found = measure(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/ladder"))
    FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
