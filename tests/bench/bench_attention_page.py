"""From the command to the page: python tests/bench/bench_attention_page.py [ROUNDS]

Trains a model of the preset `cpu` for one step on the corpus that ships, since a page takes as long
whatever the weights are, and calls `python -m gpt_core.attention` in a process of its own, 64 characters
of which the model writes 58. The bound is 5 s for the median: of the clock, and, since other work on the
machine does not count there, of the processor. Beside it: an import of torch alone, which nothing here can
shorten, and the size of the page.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.bench.bench_grade import line  # noqa: E402


def seconds(*arguments: str) -> tuple[float, float]:
    """Of a process: by the clock, and of the processor."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
        for name, pages, imports in zip(("by the clock", "of the processor"), zip(*page), zip(*torch)):
            line(f"the page of the preset cpu, {name}", statistics.median(pages), 5.0)
            print(f"    import torch alone {statistics.median(imports):.3f} s")
        print(f"{out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
