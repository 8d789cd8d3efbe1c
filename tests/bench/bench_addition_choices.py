"""What each choice of exercise 2's solution is worth: python tests/bench/bench_addition_choices.py [SEEDS]
[STEPS]

Trains the solution as it is, and with one choice at a time undone, on 3 digits with seeds 0 to SEEDS - 1
(default 3) and a budget of STEPS (default 2000). Prints, per seed, the first step at which 99 % of 1000
held-out problems were right (looked at every 50 steps), or how many were right at the end. Steps and not
seconds: so it may run beside other work. One thread, a quarter of an hour.
"""

import sys
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import torch  # noqa: E402

from data.addition import sample_held_out  # noqa: E402

SOLUTION = (REPOSITORY / "solutions" / "ex2_addition.py").read_text(encoding="utf-8")
# What to find in the solution, and what to put there.
CHOICES = {
    "the solution": [],
    "the loss on every token": [("y[:, : 2 * n_digits + 1] = -1", "pass")],
    "the sum with its first digit first": [
        ("digits_of(a + b, n_digits + 1).flip(1)", "digits_of(a + b, n_digits + 1)"),
        (
            "(answer * 10 ** torch.arange(n_digits + 1, device=a.device))",
            "(answer * 10 ** torch.arange(n_digits, -1, -1, device=a.device))",
        ),
    ],
    "first weights of 0.02": [("std: float = 0.12", "std: float = 0.02")],
}


class Understood(Exception):
    """Enough problems are right: the training can end."""


def solution_with(patches: list[tuple[str, str]]) -> ModuleType:
    """The solution as a module, each patch put in the one place that it fits."""
    source = SOLUTION
    for find, put in patches:
        if source.count(find) != 1:
            raise ValueError(
                f"{find!r} stands {source.count(find)} times in the solution; it must stand there once."
            )
        source = source.replace(find, put)
    module = ModuleType("addition_variant")
    exec(compile(source, "solutions/ex2_addition.py", "exec"), module.__dict__)
    return module


def steps_to_understand(module: ModuleType, seed: int, steps: int) -> str:
    """The first multiple of 50 steps at which 99 % are right, or the share that was right in the end."""
    a, b = sample_held_out(1000, 3, torch.Generator().manual_seed(99))
    built = []

    class Watched(module.GPT):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            built.append(self)

    module.GPT = Watched

    def share() -> float:
        return (module.add(built[0], a, b, 3) == a + b).float().mean().item()

    def report(step: int, loss: float) -> None:
        if step % 50 == 0 and share() >= 0.99:
            raise Understood(step)

    try:
        module.train_adder(3, steps=steps, device="cpu", seed=seed, report=report)
    except Understood as reached:
        return f"{reached.args[0]}"
    return f"{share():.1%}"


def main(seeds: int = 3, steps: int = 2000) -> None:
    torch.set_num_threads(1)
    for name, patches in CHOICES.items():
        results = [steps_to_understand(solution_with(patches), seed, steps) for seed in range(seeds)]
        print(f"{name:<38}" + "".join(f"{result:>8}" for result in results), flush=True)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
