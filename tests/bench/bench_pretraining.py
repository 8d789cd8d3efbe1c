"""What exercise 3 costs and how sure its comparison is.

    python tests/bench/bench_pretraining.py overlap [WINDOW]   remove_overlap on novels + plays against the
                                                               last tenth of tiny Shakespeare: seconds,
                                                               memory, lines
    python tests/bench/bench_pretraining.py gain [SEEDS]       the graded comparison over many seeds and
                                                               texts: by how much the finetuned model is
                                                               better, and its spread

One thread. The bounds: 60 s and 4 GB for `overlap`; for `gain` a mean of at least 10 standard deviations.
"""

import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def overlap(window: int = 50) -> None:
    from data import corpora
    from solutions.ex3_pretrain_finetune import remove_overlap

    text = "\n".join(corpora.load(name) for name in ("plays", "novels"))
    heldout = corpora.split(corpora.load("tinyshakespeare"))[1]
    before = _peak()
    began, processor = time.perf_counter(), time.process_time()
    kept = remove_overlap(text, heldout, window)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    lines = text.count("\n") - kept.count("\n")
    print(
        f"{len(text):,} against {len(heldout):,} characters: {seconds:.1f} s (processor {processor:.1f} s, "
        f"ratio to 60 s: {seconds / 60:.2f}), peak memory {_peak():.2f} GB, {before:.2f} GB of it before the "
        f"call; {lines:,} lines with {len(text) - len(kept):,} characters removed"
    )


def gain(seeds: int = 40) -> None:
    from grader.judge.grade import Session
    from grader.judge.host import reference_subject
    from tests.exercises import EXERCISES
    from tests.exercises.ex3 import training

    gains, noise, seconds = [], [], []
    with Session() as session:
        reference = reference_subject(session.reference(EXERCISES["ex3"]), "solution", "reference")
        for seed in range(seeds):
            began = time.perf_counter()
            found = training.Comparison(reference, seed).outcome(reference, seed)
            seconds.append(time.perf_counter() - began)
            gains.append(found.scratch - found.finetuned)
            noise.append(found.scratch - found.decoy)
            print(
                f"seed {seed:3d}: finetuned {found.finetuned:.3f}, scratch {found.scratch:.3f}, after noise "
                f"{found.decoy:.3f}, transferred {found.transferred:.3f}",
                flush=True,
            )
    mean, spread = statistics.mean(gains), statistics.stdev(gains)
    print(
        f"better by {mean:.3f} nats (least {min(gains):.3f}, standard deviation {spread:.3f}, ratio "
        f"{mean / spread:.1f}); after noise by {statistics.mean(noise):+.3f} (most {max(noise):+.3f}); "
        f"{statistics.median(seconds):.1f} s per seed"
    )


def _peak() -> float:
    """The most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    {"overlap": overlap, "gain": gain}[sys.argv[1]](*(int(argument) for argument in sys.argv[2:]))
