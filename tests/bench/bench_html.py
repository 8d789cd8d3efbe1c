"""What --html costs: python tests/bench/bench_html.py [RUNS]

A grade of the example attempt at exercise 1 with --html against the same without it, in alternation; the
bound is 0.3 s on top. On a busy machine the difference of two such times says little, so the part that
--html adds is timed alone, too: to import what draws, to draw, and to write the file. Then the page of a
check with 36 heads of 64 tokens against the same page without them; the bound is 150 KiB. Prints medians and
the ratio to each bound.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
EXAMPLE = REPOSITORY / "tests" / "exercises" / "ex1" / "example_attempt.py"
HEADS, TOKENS, HEAD_SIZE = 36, 64, 64
SECONDS, KIB = 0.3, 150


def seconds(*command: str) -> float:
    """Wall time of one command."""
    began = time.perf_counter()
    subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def attention(masked: bool) -> np.ndarray:
    """(HEADS, TOKENS, TOKENS): softmax(q k^T / sqrt(D)) of normal q and k."""
    q, k = np.random.default_rng(0).normal(size=(2, HEADS, TOKENS, HEAD_SIZE))
    weights = np.exp(q @ k.swapaxes(-1, -2) / HEAD_SIZE**0.5)
    weights *= np.tri(TOKENS) if masked else 1
    return weights / weights.sum(-1, keepdims=True)


def grades(runs: int) -> None:
    """Whole grades with and without --html."""
    with tempfile.TemporaryDirectory() as folder:
        grade = [sys.executable, "grade.py", "ex1", "--attempt", str(EXAMPLE), "--device", "cpu"]
        html = ["--html", str(Path(folder) / "report.html")]
        pairs = [(seconds(*grade), seconds(*grade, *html)) for _ in range(runs)]
    without, more = (statistics.median(column) for column in zip(*pairs))
    extra = statistics.median(other - one for one, other in pairs)
    print(f"medians of {runs} alternating runs: a grade {without:.3f} s, with --html {more:.3f} s")
    line("what --html adds to a grade", extra, SECONDS, "s")


def alone() -> None:
    """What --html adds, in this process, which has loaded what any grade has."""
    from grader.judge.grade import Session, grade, read_source
    from grader.learner import report  # noqa: F401
    from grader.workbook import Call, write_atomically

    with Session() as session:
        verdict = grade(session, "ex1", read_source(EXAMPLE), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        began, busy = time.perf_counter(), time.process_time()
        from grader.learner import page

        write_atomically(Path(folder) / "report.html", page.html([(verdict, Call("ex1", str(EXAMPLE)))]))
        took, busy = time.perf_counter() - began, time.process_time() - busy
    line("the same alone", took, SECONDS, "s")
    line("the same alone, of the processor", busy, SECONDS, "s")


def line(name: str, measured: float, bound: float, unit: str) -> None:
    print(f"{name:44} {measured:8.3f} {unit}   bound {bound:5.1f} {unit}   ratio {measured / bound:5.2f}")


def main(runs: int = 5) -> None:
    grades(runs)
    alone()

    from grader.judge.results import CheckResult, Verdict
    from grader.learner import page
    from grader.workbook import Call
    from tests.exercises.shown import Matrices

    def written(shown: list) -> tuple[int, float]:
        check = CheckResult("attention_matrix", "the matrices", "failed", shown=shown)
        verdict = Verdict("ex1", False, True, "mine.py", "0" * 64, "cpu", "own process", 0, 0.0, [check])
        began = time.process_time()
        text = page.html([(verdict, Call("ex1"))])
        return len(text.encode()), time.process_time() - began

    for name, got in (("no mask", attention(False)), ("transposed", attention(True).swapaxes(-1, -2))):
        size, took = written([Matrices.of(attention(True), got, 1e-5)])
        line(f"{HEADS} heads of {TOKENS} tokens, {name}", (size - written([])[0]) / 1024, KIB, "KiB")
        print(f"{'':44} drawn in {took:.3f} s of the processor")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
