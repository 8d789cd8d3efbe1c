"""How well the calculator's solution calculates, and what each of its choices is worth:
python tests/bench/bench_calculator.py [--arms NAME ..] [--seeds N ..] [--steps N]

Trains the solution as it is ("solution"), and with one choice undone: "no scratchpad" (products and divisions
with their result alone), "plain order" (every number with its first digit first), "larger" (four layers of
192 channels), "all tokens alike" (the quotient's digits count as all others). Prints for each seed and
operator the first step, of those looked at (every 500), at which 99 % of 500 held-out problems had every
written digit right, and the shares of right answers in the end, of 2000 held-out problems, decoded greedily.
For the solution also what it makes of changed steps: in how many answers a digit of a partial result, changed
by force, is followed. Steps and not seconds: it may run beside other work; the seconds of the processor are
printed too. One thread; the default takes hours.
"""

import argparse
import sys
import time
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from data.arithmetic import OPERATORS, sample_held_out  # noqa: E402
from gpt_core.experiments.calculator import measure, whole  # noqa: E402

SOLUTION = (REPOSITORY / "solutions" / "more" / "calculator.py").read_text(encoding="utf-8")
EVERY, LOOKED_AT, MEASURED, FORCED = 500, 500, 2000, 500
PRODUCT = '"{}+{}={};".format(*parts)'
# What to find in the solution, and what to put there.
ARMS = {
    "solution": [],
    "no scratchpad": [
        (PRODUCT, 'parts[2] + ";"'),
        (
            'f"{a:04d}/{b:02d}=", f"{steps}{a // b:04d};"',
            'f"{a:04d}/{b:02d}=", f"{a // b:04d},{reversed_digits(remainder, 2)};"',
        ),
        (r're.compile(r"[0-9]{3}\+[0-9]{4}=([0-9]{4});")', 're.compile("([0-9]{4});")'),
        (
            r're.compile(r"(?:[0-9]\*[0-9]{3}-([0-9]{2}),){4}([0-9]{4});")',
            're.compile("(?P<quotient>[0-9]{4}),(?P<remainder>[0-9]{2});")',
        ),
        ("int(found[2]), int(found[1][::-1])", 'int(found["quotient"]), int(found["remainder"][::-1])'),
    ],
    "plain order": [('return f"{number:0{count}d}"[::-1]', 'return f"{number:0{count}d}"'), ("[::-1]", "")],
    "all tokens alike": [("QUOTIENT_WEIGHT = 5", "QUOTIENT_WEIGHT = 1")],
    "larger": [("n_layer=3, n_head=4, n_embd=128", "n_layer=4, n_head=6, n_embd=192")],
}


def solution_with(patches: list[tuple[str, str]]) -> ModuleType:
    """The solution as a module with the patches put in, wherever they fit."""
    source = SOLUTION
    for find, put in patches:
        if find not in source:
            raise ValueError(f"{find!r} does not stand in the solution.")
        source = source.replace(find, put)
    module = ModuleType("calculator_variant")
    exec(compile(source, "solutions/more/calculator.py", "exec"), module.__dict__)
    return module


def held_out(module: ModuleType, op: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x, y of held-out problems."""
    a, b = sample_held_out(op, count, torch.Generator().manual_seed(99))
    return module.make_batch([(i, op, j) for i, j in zip(a.tolist(), b.tolist())])


@torch.no_grad()
def share(model, x: torch.Tensor, y: torch.Tensor) -> float:
    """How many problems have every written token right, each given the right ones before it: the same as
    every token right that is written greedily."""
    width = int((y != -1).any(dim=0).nonzero().max()) + 1
    written = model(x[:, :width])[0].argmax(dim=-1)
    return ((written == y[:, :width]) | (y[:, :width] == -1)).all(dim=1).float().mean().item()


def train(module: ModuleType, seed: int, steps: int):
    """The model; the first step at which each operator had 99 %; the seconds without looking."""
    problems = {op: held_out(module, op, LOOKED_AT) for op in OPERATORS}
    built, first, looked = [], {}, 0.0

    class Watched(module.GPT):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            built.append(self)

    module.GPT = Watched

    def report(step: int, loss: float) -> None:
        nonlocal looked
        if step % EVERY == 0:
            began = time.process_time()
            shares = {op: share(built[0], *problems[op]) for op in OPERATORS}
            first.update({op: step for op in OPERATORS if op not in first and shares[op] >= 0.99})
            print(f"seed {seed}, step {step}: {shares}", file=sys.stderr, flush=True)
            looked += time.process_time() - began

    began = time.process_time()
    model = module.train_calculator(steps=steps, device="cpu", seed=seed, report=report)
    return model, first, time.process_time() - began - looked


def following(model) -> dict[str, float]:
    """How many answers follow a digit of a partial result that was changed by force."""
    from tests.exercises.calculator.answers import followed, forced

    shares = {}
    for op in "*/":
        rng = np.random.default_rng(5)
        a, b = sample_held_out(op, FORCED, torch.Generator().manual_seed(77))
        cases = [forced((i, op, j), rng) for i, j in zip(a.tolist(), b.tolist())]
        found = []
        for case in filter(None, cases):
            prompt = f"{case.problem[0]:0{2 if op == '*' else 4}d}{op}{case.problem[2]:02d}=" + case.beginning
            (rest,) = whole(model, [prompt], 48 - len(prompt) + 1)
            found.append(followed(case, case.beginning + rest))
        shares[op] = sum(found) / len(found)
    return shares


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--steps", type=int)
    options = p.parse_args()
    torch.set_num_threads(1)
    for name in options.arms:
        for seed in options.seeds:
            module = solution_with(ARMS[name])
            steps = options.steps or module.STEPS
            model, first, seconds = train(module, seed, steps)
            found = measure(model, module.encode, module.decode, MEASURED, seed=123)
            line = ", ".join(
                f"{op} {found[op]['answers']:.2%} (99 % at {first.get(op, 'no step')})" for op in OPERATORS
            )
            print(f"{name}, seed {seed}, {steps} steps, {seconds:.0f} s: {line}", flush=True)
            if name == "solution":
                shares = following(model)
                print(f"  followed when changed: * {shares['*']:.1%}, / {shares['/']:.1%}", flush=True)


if __name__ == "__main__":
    main()
