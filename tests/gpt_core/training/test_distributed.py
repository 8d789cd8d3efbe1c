"""Two processes under torchrun, with gloo on the CPU."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpt_core.train import main
from gpt_core.training import checkpoint
from gpt_core.training.distributed import World
from tests.gpt_core.tiny import assert_same_run, losses

ROOT = Path(__file__).parents[3]
VALUES = [
    "toy",
    "--block-size",
    "8",
    "--n-layer",
    "1",
    "--n-head",
    "2",
    "--n-embd",
    "8",
    "--batch-size",
    "4",
    "--steps",
    "12",
    "--warmup",
    "3",
    "--lr",
    "0.01",
    "--eval-interval",
    "5",
    "--eval-iters",
    "2",
    "--log-interval",
    "3",
    "--device",
    "cpu",
    "--threads",
    "1",
]


def torchrun(*arguments, **environment):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc_per_node=2",
            f"--master_port={port}",
            "--master_addr=127.0.0.1",
            "-m",
            "gpt_core.train",
            *map(str, arguments),
        ],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run of two processes."""
    folder = tmp_path_factory.mktemp("runs")
    finished = torchrun(*VALUES, "--dropout", "0.0", "--out", folder / "two")
    assert finished.returncode == 0, finished.stderr
    return folder / "two", finished


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_accumulation(two, tmp_path):
    one = tmp_path / "one"
    assert main([*VALUES, "--dropout", "0.0", "--accumulation", "2", "--out", str(one)]) == 0
    # The sums are ordered differently, so they differ in the last bits of float32, no more: after 12
    # updates within 1e-4 of each other, where another batch would differ by 1e-1.
    for a, b in zip(losses(two[0]), losses(one), strict=True):
        assert a.pop("kind") == b.pop("kind")
        assert a == pytest.approx(b, rel=1e-4)
    a = checkpoint.load(two[0] / checkpoint.LAST).part("model")
    b = checkpoint.load(one / checkpoint.LAST).part("model")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


def test_the_first_process_alone_writes_and_prints(two):
    folder, finished = two
    assert {p.name for p in folder.iterdir()} == {
        "log.jsonl",
        checkpoint.LAST,
        checkpoint.PREVIOUS,
        checkpoint.BEST,
    }
    assert len(losses(folder)) == 4 + 6  # evaluations and lines of the training loss, each once
    assert finished.stdout.count("2 processes, cpu, float32") == 1
    saved = checkpoint.load(folder / checkpoint.LAST)
    assert not torch.equal(saved.tensors["rng.cpu.0"], saved.tensors["rng.cpu.1"])


@pytest.mark.slow
def test_a_run_of_two_processes_resumes_bit_for_bit(two, tmp_path):
    run = shutil.copytree(two[0], tmp_path / "run")
    (run / checkpoint.LAST).unlink()
    assert checkpoint.load(run / checkpoint.PREVIOUS).info["step"] == 10
    resumed = torchrun("--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_run(two[0], run)


FAILING = """
import torch.nn as nn
from gpt_core import MultiHeadAttention
from gpt_core.training.distributed import World

class FailsInRankOne(MultiHeadAttention):
    passes = 0

    def forward(self, x):
        type(self).passes += self.training
        if World.from_environment().rank == 1 and type(self).passes == 7:  # two of them are trials
            x = x * float("nan")
        return super().forward(x)
"""


@pytest.mark.slow
def test_the_failure_of_one_process_ends_all_with_its_message(tmp_path):
    (tmp_path / "failing_part.py").write_text(FAILING)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    ended = torchrun(
        *VALUES, "--attention", "failing_part:FailsInRankOne", "--out", tmp_path / "run", PYTHONPATH=path
    )
    assert ended.returncode != 0
    # The gradient is shared, so both see it in the same step; the process that failed names itself.
    assert "rank 1: step 5: the loss is nan" in ended.stderr.replace("\n", " ")
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST).info["step"] == 0


UNUSED = """
from gpt_core import FeedForward
import torch

class WithASpareWeight(FeedForward):
    def __init__(self, config):
        super().__init__(config)
        self.spare = torch.nn.Linear(3, 3)
"""


@pytest.mark.slow
def test_a_part_with_a_parameter_that_it_does_not_use_trains_in_two_processes_too(tmp_path):
    (tmp_path / "spare_part.py").write_text(UNUSED)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    part = ["--feed-forward", "spare_part:WithASpareWeight"]
    ended = torchrun(*VALUES, *part, "--out", tmp_path / "run", PYTHONPATH=path)
    assert ended.returncode == 0, ended.stderr
    assert "unused" not in ended.stderr


def test_a_single_process_needs_no_others():
    world = World()
    values = torch.tensor([1.0, 2.0])
    assert world.mean(values) is values and world.any(True, torch.device("cpu"))
    world.connect(torch.device("cpu")), world.wait(), world.leave()
    assert not torch.distributed.is_initialized()
