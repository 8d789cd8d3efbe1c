"""From save to verdict in --watch: python tests/bench/bench_watch.py [SAVES]

Drives `python grade.py ex1 --watch --device cpu` through a pseudo-terminal, in a copy of the workbook, and
saves the solution again and again with a new comment. The time is from the end of the write to the whole
report on the terminal; the bound of its median is 0.6 s. Beside it: `python grade.py` alone, whose bound is
0.3 s."""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.bench.bench_grade import line  # noqa: E402
from tests.exercises import EXERCISES  # noqa: E402
from tests.grader.terminal import Terminal  # noqa: E402


def main(saves: int = 15) -> None:
    exercise = EXERCISES["ex1"]
    with tempfile.TemporaryDirectory() as folder:
        workbook = Path(folder) / "workbook"
        shutil.copytree(
            REPOSITORY, workbook, ignore=shutil.ignore_patterns(".*", "__pycache__", "runs", "cache")
        )
        own = workbook / exercise.attempt_path
        solution = (workbook / exercise.solution_path).read_text()
        own.write_text(solution)
        took = []
        with Terminal(
            [sys.executable, "grade.py", "ex1", "--watch", "--device", "cpu"], workbook
        ) as terminal:
            terminal.until("q quit")
            for number in range(saves):
                time.sleep(0.5)
                own.write_text(f"{solution}# {number}\n")
                began = time.perf_counter()
                terminal.until(r"Done: [\s\S]*q quit")
                took.append(time.perf_counter() - began)
            terminal.send("q")
            terminal.wait()
        print(f"{saves} saves, from {min(took):.3f} to {max(took):.3f} s")
        line("save to verdict, median", statistics.median(took), 0.6)
        took = []
        for _ in range(9):
            began = time.perf_counter()
            subprocess.run([sys.executable, "grade.py"], cwd=workbook, stdout=subprocess.DEVNULL)
            took.append(time.perf_counter() - began)
        line("the overview, median of 9", statistics.median(took), 0.3)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
