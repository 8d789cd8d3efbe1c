"""Published settings by name, so that their results can be had with one word.

The ladder (`bigram`, `single-head`, `multi-head`, `transformer`, `gpt`) is the lecture's small size, `small`
its last rung twice as deep, published for a small device; `lecture` is the lecture's final model; `cpu` is
nanoGPT's setting for a machine without a GPU; `p100` and `a100` are settings that others published for one
such card; `best` is this workbook's recipe for the lowest validation loss with the lecture's 10.7 million
parameters; `toy` needs no download and half a minute.
"""

from dataclasses import replace

from gpt_core.training.train_config import TrainConfig

# "Let's build GPT", from 0:22 (bigram) to 1:35 (layer norm): block 8, batch 32, 32 channels, 5000 steps.
# The rate is not the lecture's constant 1e-3: that goes with torch's large initial weights, while these
# models start from GPT-2's small ones, which have further to go. One rate for all five rungs, so that
# they differ in the model alone.
_small = TrainConfig(
    block_size=8,
    n_layer=3,
    n_head=4,
    n_embd=32,
    dropout=0.0,
    batch_size=32,
    steps=5000,
    lr=3e-3,
    min_lr=3e-4,
    warmup=100,
    eval_interval=500,
    eval_iters=200,
    log_interval=100,
)

# "Let's build GPT", 1:38: the scaled-up model.
_lecture = TrainConfig()

# nanoGPT, config/train_shakespeare_char.py with the flags its README gives for a CPU.
_cpu = TrainConfig(
    block_size=64,
    n_layer=4,
    n_head=4,
    n_embd=128,
    dropout=0.0,
    batch_size=12,
    steps=2000,
    lr=1e-3,
    min_lr=1e-4,
    warmup=100,
    weight_decay=0.1,
    beta2=0.99,
    grad_clip=1.0,
    eval_interval=250,
    eval_iters=20,
    log_interval=10,
)

PRESETS: dict[str, TrainConfig] = {
    "toy": replace(_cpu, corpus="toy", block_size=32, n_layer=2, n_embd=64, steps=500, eval_interval=100),
    "bigram": replace(_small, model="bigram"),
    "single-head": replace(_small, model="single-head"),
    "multi-head": replace(_small, model="multi-head"),
    "transformer": replace(_small, model="transformer"),
    "gpt": replace(_small, model="gpt"),
    "small": replace(_small, model="gpt", n_layer=6),
    "cpu": _cpu,
    "lecture": _lecture,
    "p100": replace(
        _lecture, block_size=32, n_layer=8, n_head=8, n_embd=128, dropout=0.1, batch_size=256, steps=10_000
    ),
    "a100": replace(_lecture, n_layer=10, n_head=8, n_embd=512, batch_size=128, lr=1e-4, min_lr=1e-4),
    # nanoGPT's schedule on the lecture's sizes, with more dropout, since 10.7 M parameters pass over
    # one million characters some eighty times, and the averaged weights in place of the last ones.
    "best": replace(
        _lecture,
        dropout=0.3,
        lr=1e-3,
        min_lr=5e-5,
        warmup=100,
        weight_decay=0.1,
        beta2=0.99,
        grad_clip=1.0,
        ema=0.998,
        eval_interval=100,
        eval_iters=20,
    ),
}


def preset(name: str) -> TrainConfig:
    """The preset of that name. ValueError, listing the names, for one that does not exist."""
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return PRESETS[name]
