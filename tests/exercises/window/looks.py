"""What the checks of the sliding window look at beside the battery's looks, in plain torch; it runs in a
worker."""

from grader.worker import tools
from tests.exercises.battery.module_looks import MODES, build


def with_windows(m, unit, config, weights, x, windows):
    """ "W MODE": the output in each mode with a window of W, of modules that are all built before the first
    call."""
    modules = {window: build(m, unit, config, weights, window=window) for window in windows}
    found = {}
    for mode, train in MODES.items():
        for window, module in modules.items():
            module.train(train)
            found[f"{window} {mode}"] = module(tools.tensor(x))
    return found
