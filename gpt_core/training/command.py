"""What the commands of this package have in common: exit statuses, which errors lead to them, the beginning,
mistyped options."""

import argparse
import difflib
import sys

from data.corpora import CorpusUnavailable
from gpt_core.training.checkpoint import NoSpace
from gpt_core.training.events import TrainingFailed
from gpt_core.training.interrupt import imports_ended
from gpt_core.training.out_of_memory import OutOfMemory
from gpt_core.training.terminal import fail, forgive_output

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
# The messages of both are sentences for the user.
ERRORS_OF_INPUT = (ValueError, CorpusUnavailable)  # BAD_INPUT
ERRORS_OF_A_RUN = (TrainingFailed, NoSpace, OutOfMemory)  # FAILED

# What nanoGPT and others call an option that has another name here.
OTHER_NAMES = {
    "max-iters": "steps", "num-steps": "steps", "learning-rate": "lr", "warmup-iters": "warmup",
    "gradient-accumulation-steps": "accumulation", "dataset": "corpus", "data": "corpus",
    "out-dir": "out", "output": "out", "init-from": "resume", "dtype": "precision",
    "context-length": "block-size", "num-layers": "n-layer", "num-heads": "n-head",
    "max-new-tokens": "tokens", "num-samples": "samples", "start": "prompt",
}  # fmt: skip


def begin() -> None:
    """To be called first by a command: sets its output, and its Ctrl-C."""
    forgive_output()
    imports_ended()


class Parser(argparse.ArgumentParser):
    """Options in the usual form; what is wrong with them is one sentence and exit status 2."""

    def __init__(self, **options):
        super().__init__(**options, allow_abbrev=False)  # --step is no --steps: it gets a "did you mean"

    def parse_args(self, args=None, namespace=None):
        options, left = self.parse_known_args(args, namespace)
        if left:
            mistyped = [word for word in left if word.startswith("-")]
            self.error(self._unknown(mistyped[0]) if mistyped else f"{left[0]!r} is one word too many")
        return options

    def error(self, message):
        if "ignored explicit argument" in message:
            flags = message.removeprefix("argument ").partition(":")[0]
            message = f"{flags} takes no value"
        sys.exit(fail(f"{message}; --help lists the options.", BAD_INPUT))

    def _unknown(self, word: str) -> str:
        """There is no such option; and the one that may be meant."""
        given = word.partition("=")[0]
        name = given.strip("-").replace("_", "-").lower()
        flags = [flag for action in self._actions for flag in action.option_strings]
        known = [flag.removeprefix("--") for flag in flags if flag.startswith("--")]
        meant = [other for other in (name, OTHER_NAMES.get(name)) if other in known]
        meant = meant or difflib.get_close_matches(name, known, n=1)
        return f"there is no option {given}" + (f" (did you mean --{meant[0]}?)" if meant else "")
