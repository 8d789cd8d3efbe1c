"""What ends a look: the learner's code raised, or gave something that the look cannot go on with."""


class StepError(Exception):
    """A look cannot go on with what the learner's code gave; `description` is for the judge
    (judge/failures.py)."""

    def __init__(self, kind: str, **details):
        super().__init__(kind)
        self.description = {"kind": kind, **details}


class LearnerError(Exception):
    """Whatever a learner's code raised, SystemExit included."""

    def __init__(self, cause: BaseException):
        super().__init__()
        self.cause = cause
