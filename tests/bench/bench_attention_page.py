"""From the command to the page: python tests/bench/bench_attention_page.py [ROUNDS]

Trains a model of the preset `cpu` for one step on the corpus that ships, since a page takes as long
whatever the weights are, and calls `python -m gpt_core.attention` in a process of its own, 64 characters
of which the model writes 58. The bound is 5 s for the median. Beside it: the same for an import of torch
alone, which nothing here can shorten, and the size of the page.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.bench.bench_grade import line  # noqa: E402


def seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run, out = Path(folder) / "cpu", Path(folder) / "attention.html"
        train = "-m gpt_core.train cpu --corpus toy --steps 1 --warmup 0 --threads 1 --device cpu --out"
        seconds(*train.split(), str(run))
        page, torch = [], []
        for _ in range(rounds):
            torch.append(seconds("-c", "import torch"))
            page.append(
                seconds("-m", "gpt_core.attention", str(run), "--prompt", "ANNE:\n", "--out", str(out))
            )
        line("the page of the preset cpu", statistics.median(page), 5.0)
        print(f"of which import torch {statistics.median(torch):.3f} s; {out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
