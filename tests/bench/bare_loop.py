"""The peer of the trainer: nanoGPT's way of training, as a bare loop written from its published settings.

Windows are read from a memory-mapped file of uint16 for every batch, gradients clipped, the loss read every
ten
steps: get_batch, forward, backward, clip, step, and nothing else. On the CPU foreach AdamW in float32; on a
GPU fused AdamW, bfloat16 autocast and batches by way of pinned memory.
"""

import contextlib
import time
from pathlib import Path

import numpy as np
import torch

from data import corpora
from gpt_core.training.optimizer import learning_rate
from gpt_core.training.plugins import build_model
from gpt_core.training.train_config import TrainConfig


class BareLoop:
    """Trains the model of `config` on the first 90 % of a text; run(steps) gives the seconds they took."""

    def __init__(
        self, config: TrainConfig, text: str, file: Path, device: str = "cpu", compile: bool = False
    ):
        self.config, self.file, self.device = config, file, device
        codes = {char: i for i, char in enumerate(sorted(set(text)))}
        np.array([codes[c] for c in corpora.split(text)[0]], dtype=np.uint16).tofile(file)
        torch.manual_seed(config.seed)
        self.model = build_model(config, len(codes)).to(device)
        self.forward = torch.compile(self.model) if compile else self.model
        groups = [
            {
                "params": [p for p in self.model.parameters() if p.ndim >= 2],
                "weight_decay": config.weight_decay,
            },
            {"params": [p for p in self.model.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        kernel = {"foreach": True} if device == "cpu" else {"fused": True}
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), **kernel)
        self.step = 0

    def get_batch(self):
        data = np.memmap(self.file, dtype=np.uint16, mode="r")  # opened anew, against a leak, as there
        T = self.config.block_size
        starts = torch.randint(len(data) - T, (self.config.batch_size,))
        x = torch.stack([torch.from_numpy(data[i : i + T].astype(np.int64)) for i in starts])
        y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + T].astype(np.int64)) for i in starts])
        if self.device != "cpu":
            x, y = (t.pin_memory().to(self.device, non_blocking=True) for t in (x, y))
        return x, y

    def run(self, steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            self.step += 1
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.step, self.config)
            with (
                contextlib.nullcontext()
                if self.device == "cpu"
                else torch.autocast(self.device, torch.bfloat16)
            ):
                _, loss = self.forward(*self.get_batch())
            loss.backward()
            if self.config.grad_clip:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if self.step % 10 == 0:
                loss.item()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start
