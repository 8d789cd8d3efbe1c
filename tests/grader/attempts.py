"""Attempts for the tests: the solution with code put into it, right or hostile."""

from pathlib import Path

from grader.judge.results import CheckResult, Verdict

REPOSITORY = Path(__file__).resolve().parents[2]
SOLUTION = (REPOSITORY / "solutions" / "ex1_fused_attention.py").read_text(encoding="utf-8")


def at_import(code: str) -> str:
    """The solution, running `code` when it is imported."""
    return SOLUTION + "\n\n" + code + "\n"


def in_forward(code: str) -> str:
    """The solution, running `code` at the start of forward."""
    line = "        B, T, C = x.shape\n        q, k, v"
    assert SOLUTION.count(line) == 1
    indented = "".join(f"        {part}\n" for part in code.splitlines())
    return SOLUTION.replace(line, indented + line)


def in_init(code: str) -> str:
    """The solution, running `code` at the end of __init__."""
    line = "        self.n_head = config.n_head\n"
    assert SOLUTION.count(line) == 1
    return SOLUTION.replace(line, line + "".join(f"        {part}\n" for part in code.splitlines()))


def returning(expression: str) -> str:
    """The solution, returning `expression` of its result y and its input x."""
    line = "        return self.output_dropout(self.proj(out))\n"
    assert SOLUTION.count(line) == 1
    return SOLUTION.replace(
        line, f"        y = self.output_dropout(self.proj(out))\n        return {expression}\n"
    )


def with_mistake(exercise, id: str) -> str:
    """The solution of an exercise with a mistake of its catalogue in it."""
    solution = (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")
    return next(mistake for mistake in exercise.mistakes() if mistake.id == id).apply(solution)


def verdict_of(exercise, failed=(), mistakes=(), *, complete=True, not_started=False):
    """A verdict as a grade would give it, where these checks failed."""
    checks = [CheckResult(id, id, "failed" if id in failed else "passed") for id in exercise.checks]
    for check, mistake in zip((check for check in checks if check.status == "failed"), mistakes):
        check.mistake = mistake
    return Verdict(
        exercise=exercise.name,
        passed=not failed,
        complete=complete,
        path="mine.py",
        sha256="0" * 64,
        device="cpu",
        isolation="own process",
        seed=0,
        seconds=0.0,
        checks=checks,
        not_started=not_started,
    )
