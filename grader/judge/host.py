"""How the judge reaches a worker: it loads modules there, asks for looks, and starts a fresh worker after a
death."""

import os
from dataclasses import dataclass

import numpy as np

from grader.judge.connection import Worker, WorkerDied
from grader.judge.failures import attempt_death, line_number, read_answer
from grader.judge.processes import Starter
from grader.workbook import InstallationError
from tests.exercises.exam import Answer, CheckFailed, Subject


@dataclass(frozen=True)
class Deadlines:
    """Seconds that a worker may take before it is killed. GRADE_PATIENCE multiplies all.

    load: to import the learner's file; run: for one request. After `lenient` kills in one grade each
    further request gets `impatient` seconds only, so that a grade ends. A look that trains names its own
    seconds, which `patience` multiplies.
    """

    load: float = 15.0
    run: float = 8.0
    impatient: float = 2.0
    lenient: int = 2
    patience: float = 1.0

    @classmethod
    def from_environment(cls) -> "Deadlines":
        text = os.environ.get("GRADE_PATIENCE", "1")
        try:
            factor = float(text)
        except ValueError:
            factor = 0.0
        if not 0 < factor < 1000:
            raise InstallationError(f"GRADE_PATIENCE is {text!r}; it must be a number above 0, such as 3.")
        return cls(cls.load * factor, cls.run * factor, cls.impatient * factor, patience=factor)


class Host:
    """The judge's hold on one worker: it loads modules there, and starts a fresh worker after a death."""

    def __init__(self, starter: Starter, role: str, device: str, deadlines: Deadlines, folder: str = ""):
        self.starter, self.role, self.device, self.deadlines = starter, role, device, deadlines
        self.folder = folder  # where the learner's file stands: its neighbours may be imported
        self.worker: Worker | None = None
        self.sources: dict[str, dict] = {}  # subject to the load request that a fresh worker needs again
        self.answers: dict[tuple, tuple[dict, dict]] = {}
        self.kills = 0
        self.most: float | None = None  # seconds that a request may take, where its deadline is later
        self.abandoned = False

    def abandon(self) -> None:
        """From another thread: a call that waits for an answer, and every later one, raises WorkerDied."""
        self.abandoned = True
        if self.worker is not None:
            self.worker.abandon()

    def _patience(self, seconds: float) -> float:
        return seconds if self.kills < self.deadlines.lenient else min(seconds, self.deadlines.impatient)

    def started(self) -> Worker:
        """The worker, fresh if the last one died, with every module loaded."""
        if self.abandoned:
            raise WorkerDied("stopped", "the grade was stopped")
        if self.worker is None or not self.worker.alive:
            if self.worker is not None:
                self.worker.close()
            self.worker = self.starter.start(self.role, self.device, folder=self.folder)
            for request, data in self.sources.values():
                self._ask(request, data, self._patience(self.deadlines.load))
        return self.worker

    def load(
        self, subject: str, module: str, filename: str, source: bytes, helpers: dict[str, bytes] | None = None
    ) -> dict:
        """Load a module; the worker's answer (names, or an error).

        helpers: None for a file of ours. Else the file was handed in: the worker gets a copy of it in its
        scratch folder under the name `filename`, and of these modules that it may import, by file name."""
        request = {"do": "load", "subject": subject, "module": module, "filename": filename}
        data = {"source": np.frombuffer(source, dtype=np.uint8)}
        if helpers is not None:
            keys = {name: f"helper{number}" for number, name in enumerate(helpers)}
            request |= {"hand_in": True, "helpers": keys}
            data |= {keys[name]: np.frombuffer(helper, dtype=np.uint8) for name, helper in helpers.items()}
        self.started()
        answer, _ = self._ask(request, data, self.deadlines.load)
        if "error" not in answer:
            self.sources[subject] = (request, data)
        return answer

    def _ask(self, request: dict, arrays: dict, deadline: float, progress=None) -> tuple[dict, dict]:
        if "filename" in request:
            folder = self.worker.setup["scratch"] if request.get("hand_in") else ""
            self.worker.setup["filename"] = os.path.join(folder, request["filename"])
        try:
            return self.worker.ask(request, arrays, deadline, progress)
        except WorkerDied as death:
            # A known mistake that hangs takes no patience from the solution, which runs in the same worker.
            self.kills += death.kind == "deadline" and self.role == "attempt"
            raise

    def run(self, subject: str, asked, seed: int) -> tuple[dict, dict]:
        """Carry out a look; the worker's answer and its arrays. WorkerDied where it gives none."""
        self.started()
        self._send_looks(asked.looks)
        request = {"subject": subject, "seed": seed} | asked.request()
        if asked.seconds is None:
            deadline = self._patience(self.deadlines.run)
        else:
            deadline = asked.seconds * self.deadlines.patience
        if self.most is not None:
            deadline = min(deadline, self.most)
        return self._ask(request, asked.arrays, deadline, asked.progress)

    def _send_looks(self, looks) -> None:
        """The text of a file of looks, and of those that it needs, once to each worker."""
        if looks is None or looks.name in self.sources:
            return
        for needed in looks.needs:
            self._send_looks(needed)
        request = {"do": "looks", "name": looks.name}
        data = {"source": np.frombuffer(looks.source, dtype=np.uint8)}
        answer, _ = self._ask(request, data, self.deadlines.load)
        if "error" in answer and self.role == "reference":
            raise InstallationError(f"{looks.name} does not load: {answer['error']}.")
        self.sources[looks.name] = (request, data)

    def close(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.close()


class AttemptSubject:
    """How a check's look reaches the attempt's worker; a death is remembered for the running check.

    hypothesis would run a failing example again and again to shrink it; one that hangs would cost a
    deadline each time, so after a death the check is over.

    known: answers that need not be computed, with find(asked, seed) and keep(asked, seed, found); only the
    self-test has any (selftest.Answers).
    """

    def __init__(self, host: Host, place=line_number, known=None):
        self.host, self.place, self.known = host, place, known
        self.fatal: CheckFailed | None = None
        self.on_device = False  # whether the running check put anything on the device
        self.kept: dict[tuple[str, int], tuple[dict, dict]] = {}  # answers to looks that several checks ask

    def renew(self) -> None:
        """Before each check: the attempt may be asked again."""
        self.fatal, self.on_device = None, False

    def __call__(self, asked, seed: int) -> Answer:
        if self.fatal is not None:
            raise self.fatal
        key = (asked.digest(), seed) if asked.asked_once else None
        found = self.kept.get(key) or (self.known and self.known.find(asked, seed))
        try:
            answer, arrays = found or self.host.run("attempt", asked, seed)
        except WorkerDied as death:
            self.on_device, self.fatal = True, attempt_death(death, self.place)
            raise self.fatal from None
        if key is not None:
            self.kept[key] = answer, arrays
        if self.known and not found:
            self.known.keep(asked, seed, (answer, arrays))
        self.on_device = self.on_device or answer.get("on_device") is not False
        return read_answer(answer, arrays, self.place)


def reference_subject(host: Host, name: str, role: str) -> Subject:
    """A subject in the reference's worker. A mistake may fail like an attempt; the solution may not."""

    def ask(asked, seed: int) -> Answer:
        # The same question has the same answer: a second grade with the same seed asks nothing twice.
        key = (name, seed, asked.digest())
        if key not in host.answers:
            try:
                host.answers[key] = host.run(name, asked, seed)
            except WorkerDied as death:
                if role == "mistake":
                    raise attempt_death(death) from None
                raise InstallationError(f"the reference did not answer: {death.detail}.") from None
        answer, arrays = host.answers[key]
        if role == "reference" and "error" in answer:
            raise InstallationError(f"the reference failed: {answer['error']}.")
        return read_answer(answer, arrays)

    return Subject(role, ask)
