"""What the checks of RMSNorm look at beside the battery's looks, in plain torch; it runs in a worker."""

from grader.worker import tools
from tests.exercises.battery.module_looks import build


def scaled(m, unit, config, weights, x, factors):
    """The output for x times each factor."""
    norm = build(m, unit, config, weights)
    return {str(factor): norm(tools.tensor(x) * factor) for factor in factors}
