"""How long a grade takes: python tests/bench/bench_grade.py [RUNS]

Cold: `python grade.py ex1` on the solution against `python -c "import torch"`, in alternation; the bound
is 1.3 x the import + 0.7 s. Warm: a second grade in one process; the bound is 0.6 s. --help and a wrong
call: the bound is 0.3 s. Prints medians and the ratio to each bound.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
SOLUTION = REPOSITORY / "solutions" / "ex1_fused_attention.py"


def seconds(*command: str) -> float:
    """Wall time of one command."""
    began = time.perf_counter()
    subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def line(name: str, measured: float, bound: float) -> None:
    print(f"{name:44} {measured:7.3f} s   bound {bound:6.3f} s   ratio {measured / bound:5.2f}")


def main(runs: int = 7) -> None:
    grade = [sys.executable, "grade.py", "ex1", "--attempt", str(SOLUTION), "--device", "cpu"]
    pairs = [(seconds(sys.executable, "-c", "import torch"), seconds(*grade)) for _ in range(runs)]
    imported, cold = (statistics.median(column) for column in zip(*pairs))
    print(f"medians of {runs} alternating runs; import torch alone: {imported:.3f} s")
    line("cold: grade.py ex1 on the solution", cold, 1.3 * imported + 0.7)
    for name, call in (("--help", ["--help"]), ("a wrong call", ["ex99"])):
        took = statistics.median(seconds(sys.executable, "grade.py", *call) for _ in range(runs))
        line(name, took, 0.3)

    from grader.judge import grade as judge

    with judge.Session() as session:
        source = judge.read_source(SOLUTION)
        took = []
        for _ in range(runs + 1):
            began = time.perf_counter()
            judge.grade(session, "ex1", source, device="cpu")
            took.append(time.perf_counter() - began)
    line("warm: a further grade in one process", statistics.median(took[1:]), 0.6)
    line("warm: the second grade", took[1], 0.6)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
