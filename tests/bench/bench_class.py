"""How long a class takes: python tests/bench/bench_class.py [HAND_INS] [JOBS]

Hand-ins for exercise 1, 200 by default: 60 % right in ten styles, 35 % with a mistake of the catalogue,
5 % hostile. Prints the seconds per honest hand-in (the bound is 0.6 s with two jobs on two cores), what the
hostile ones take, the peak memory of all processes (bound 3 GB), what came out otherwise than it should, and
what is lost and left behind where the grader is killed at three random moments and started again. On a busy
machine the CPU seconds say more than those of the clock.
"""

import csv
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.exercises import EXERCISES  # noqa: E402
from tests.grader.classroom import hostile  # noqa: E402

EX1 = EXERCISES["ex1"]
ATTACKS = (
    hostile.HANGS, hostile.FILLS_SCRATCH, hostile.PRINTS, hostile.LEAVES_PROCESSES, hostile.FORGES,
    hostile.ENDS_OTHERS, hostile.HANGS_IN_FORWARD, hostile.ENDS_ITSELF, hostile.MANY_FILES,
    hostile.reading([Path("/etc/shadow")]),
)  # fmt: skip
SECONDS, GIGABYTES = 0.6, 3.0
MARK = "GRADE_BENCH"  # a worker's environment keeps such variables


def hand_ins(count: int) -> dict[str, tuple[str, str]]:
    """name -> (source, what should come of it): pass, the mistake's id, or hostile. No two are equal."""
    solution = (REPOSITORY / EX1.solution_path).read_text(encoding="utf-8")
    right = sorted((REPOSITORY / "tests" / "grader" / "right_ways_ex1").glob("*.py"))[:10]
    mistakes, made = EX1.mistakes(), {}
    attacks = max(count * 5 // 100, 1)
    wrong = count * 35 // 100
    for number in range(count):
        if number < attacks:
            source, wanted = ATTACKS[number % len(ATTACKS)], "hostile"
        elif number < attacks + wrong:
            mistake = mistakes[(number * 7) % len(mistakes)]
            source, wanted = mistake.apply(solution), mistake.id
        else:
            source, wanted = right[number % len(right)].read_text(encoding="utf-8"), "pass"
        made[f"student{number:03}_ex1.py"] = (f"{source}\n# handed in by {number}\n", wanted)
    return made


def tree(pid: int) -> list[int]:
    """A process and all of its descendants."""
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory(pids: list[int]) -> int:
    """Bytes that processes hold together; what they share is counted once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10
        except (OSError, StopIteration, IndexError):
            continue
    return total


def graded(folder: Path, results: Path, jobs: int, environment: dict, kill_after: float = 0.0) -> dict:
    """One run of the command: its seconds, the peak of its memory, and how many processes it leaves."""
    command = [sys.executable, str(REPOSITORY / "grade.py"), "ex1", "--class", str(folder)]
    command += ["--out", str(results), "--jobs", str(jobs), "--device", "cpu"]
    began, peak, cpu = time.monotonic(), 0, cpu_seconds()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        while process.poll() is None:
            peak = max(peak, memory(tree(process.pid)))
            if kill_after and time.monotonic() - began > kill_after:
                process.send_signal(signal.SIGKILL)
                kill_after = 0.0
            time.sleep(0.5)
    seconds = time.monotonic() - began
    time.sleep(3)
    cpu = cpu_seconds() - cpu
    return {"seconds": seconds, "cpu": cpu, "peak": peak, "left": left_behind(environment[MARK])}


def cpu_seconds() -> float:
    """Of all processes that were started from here and have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def left_behind(place: str) -> int:
    """How many processes carry the variable that a run gives to all that it starts."""
    mark, count = f"{MARK}={place}".encode(), 0
    for path in Path("/proc").iterdir():
        try:
            count += path.name.isdigit() and mark in (path / "environ").read_bytes()
        except OSError:
            continue
    return count


def rows(results: Path) -> dict[str, dict]:
    """summary.csv by file."""
    with open(results / "summary.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def outcome(row: dict) -> str:
    """pass, the mistakes, or the status."""
    return row["mistakes"] or row["status"]


def main(count: int = 200, jobs: int = 2) -> None:
    made = hand_ins(count)
    with tempfile.TemporaryDirectory() as place:
        folder, results, scratch = (Path(place, name) for name in ("in", "out", "tmp"))
        folder.mkdir()
        scratch.mkdir()
        environment = os.environ | {"TMPDIR": str(scratch), MARK: place}
        honest = {name: source for name, (source, wanted) in made.items() if wanted != "hostile"}
        for name, source in honest.items():
            (folder / name).write_text(source, encoding="utf-8")
        run = graded(folder, results, jobs, environment)
        each = run["seconds"] / len(honest)
        print(f"{len(honest)} honest hand-ins, {jobs} jobs: {run['seconds']:.1f} s, {each:.3f} s each; "
              f"bound {SECONDS}, ratio {each / SECONDS:.2f}")  # fmt: skip
        print(f"CPU: {run['cpu'] / len(honest):.3f} s each")
        peak = run["peak"] / 1e9
        print(f"peak memory: {peak:.2f} GB; bound {GIGABYTES}, ratio {peak / GIGABYTES:.2f}")
        for name, (source, _) in made.items():
            (folder / name).write_text(source, encoding="utf-8")
        attacked = graded(folder, results, jobs, environment)
        print(f"{count - len(honest)} hostile hand-ins: {attacked['seconds']:.1f} s, "
              f"peak memory {attacked['peak'] / 1e9:.2f} GB")  # fmt: skip
        found = rows(results)
        other = [f"{name}: {outcome(found[name])}, not {wanted}" for name, (_, wanted) in made.items()
                 if wanted != "hostile" and outcome(found[name]) != wanted]  # fmt: skip
        print(f"came out otherwise: {len(other)}", *other, sep="\n  ")
        print(
            f"processes left: {run['left'] + attacked['left']}; scratch left: {len(list(scratch.iterdir()))}"
        )

        again, random_ = Path(place, "again"), random.Random(0)
        whole = run["seconds"] + attacked["seconds"]
        for _ in range(3):
            killed = graded(folder, again, jobs, environment, random_.uniform(0.1, 0.3) * whole)
            kept = len(list((again / "verdicts").glob("*.json")))
            print(
                f"killed after {killed['seconds']:.1f} s: {kept} verdicts kept, {killed['left']} left running"
            )
        graded(folder, again, jobs, environment)
        repeated = rows(again)
        differ = [
            name for name in made if outcome(repeated.get(name, {"mistakes": "lost"})) != outcome(found[name])
        ]
        print(f"rows lost: {len(made) - len(repeated)}; rows that differ: {len(differ)} {differ[:5]}; "
              f"scratch left: {len(list(scratch.iterdir()))}")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
