"""How the judge reaches a worker: load modules, run programs, and turn what goes wrong into a failure
that a learner can read.
"""

import os
import re
from dataclasses import dataclass

import numpy as np

from grader.judge import advices
from grader.judge.connection import Worker, WorkerDied
from grader.judge.processes import Starter
from grader.judge.results import OTHER_FILE_READ, SOLUTION_READ
from grader.judge.text import clean, one_line
from grader.workbook import InstallationError
from tests.exercises.exam import Answer, CheckFailed, Subject, describe


@dataclass(frozen=True)
class Deadlines:
    """Seconds that a worker may take before it is killed. GRADE_PATIENCE multiplies all.

    load: to import the learner's file; run: for one request. After `lenient` kills in one grade each
    further request gets `impatient` seconds only, so that a grade ends. A program that trains names its own
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
        """From another thread: whoever waits for an answer, or asks from here on, gets a WorkerDied."""
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

    def load(self, subject: str, module: str, filename: str, source: bytes, helpers: dict[str, bytes] | None = None) -> dict:
        """Load a module; the worker's answer (names, or an error).

        helpers: None for a file of ours. Else the file was handed in: the worker gets a copy of it in its scratch
        folder under the name `filename`, and of these modules that it may import, by file name.
        """
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

    def run(self, subject: str, program, seed: int) -> tuple[dict, dict]:
        """Carry out a program; the worker's answer and its arrays. WorkerDied where it gives none."""
        self.started()
        self._send_looks(program.looks)
        request = {"subject": subject, "seed": seed} | program.request()
        if program.seconds is None:
            deadline = self._patience(self.deadlines.run)
        else:
            deadline = program.seconds * self.deadlines.patience
        if self.most is not None:
            deadline = min(deadline, self.most)
        return self._ask(request, program.arrays, deadline, program.progress)

    def _send_looks(self, looks) -> None:
        """The text of a file of looks, and of those that it needs, once to each worker."""
        if looks is None or looks.name in self.sources:
            return
        for needed in looks.needs:
            self._send_looks(needed)
        request, data = {"do": "looks", "name": looks.name}, {"source": np.frombuffer(looks.source, dtype=np.uint8)}
        answer, _ = self._ask(request, data, self.deadlines.load)
        if "error" in answer and self.role == "reference":
            raise InstallationError(f"{looks.name} does not load: {answer['error']}.")
        self.sources[looks.name] = (request, data)

    def close(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.close()


def line_number(line: int) -> str:
    """Where a line of a plain Python file stands; a notebook has words of its own (sources.Code.place)."""
    return f"line {line}"


def attempt_error(description: dict, place=line_number, load: bool = False) -> CheckFailed:
    """What a learner's code raised, or gave instead of what the contract names, as a failed check.

    place: the words for where a line stands. load: while the file was imported.
    """
    kind = description.get("kind")
    if kind == "raised":
        type_, message = one_line(description["type"], 100), clean(description["message"], 600)
        lines = [
            f"{place(int(frame['line']))}, in {one_line(frame['function'], 60)}: "
            f"{one_line(frame['code'], 80)}"
            for frame in description["frames"]
        ]
        if "NotImplementedError" in description["kinds"] and 'missing the required "forward"' in message:
            return CheckFailed(
                "Your module has no method named forward. Is it misspelt, or indented out of the class?",
                lines,
                same=("no forward",),
            )
        if "NotImplementedError" in description["kinds"] and "Could not run 'aten::" not in message:  # torch says that of devices
            return CheckFailed(f"Not written yet: {message}", lines, same=("raised", type_), unfinished=True)
        if "SyntaxError" in description["kinds"]:
            message = re.sub(r"\bline (\d{1,6})\b", lambda found: place(int(found[1])), message)
        doing = "Loading your file" if load else "Your code"
        code = str(description["frames"][-1]["code"]) if description["frames"] else ""
        advice = advices.find({type_, *map(str, description["kinds"])}, message, code, load)
        advice = f" {advice}" if advice else ""
        return CheckFailed(
            f"{doing} raised {type_}: {message}".rstrip() + ("" if message.endswith(".") else ".") + advice,
            lines,
            same=("raised", type_, re.sub(r"0x[0-9a-f]+", "", message)[:200]),
        )
    if kind == "missing name":
        return CheckFailed(
            f"Your file does not define {description['name']}; the contract names it so.",
            same=("missing name", description["name"]),
        )
    if kind == "missing parameter":
        return CheckFailed(
            f"Your module has no parameter {description['name']}.", same=("missing parameter", description["name"])
        )
    if kind == "grad mode":
        return CheckFailed(
            "Your code leaves torch's grad mode changed when it returns: whatever runs afterwards "
            "trains, or does not, by "
            "accident. Use `with torch.no_grad():`, which ends by itself.",
            same=("grad mode",),
        )
    if kind == "defaults":
        was, now = (", ".join(one_line(str(value), 30) for value in description[when]) for when in ("was", "now"))
        return CheckFailed(
            f"Your code leaves torch's defaults changed when it returns: the default dtype and device were {was}, and are "
            f"{now}. Whatever runs afterwards makes other tensors than it says. Name dtype= and device= where you make a tensor.",
            same=("defaults", now),
        )
    if kind == "another kind":
        came = description["came"]
        return CheckFailed(
            f"What comes back must be a {one_line(str(description['name']), 60)}; it is "
            f"{one_line(describe(came), 100)}. Is "
            f"there a return at the end, and does it return the new module?",
            same=("another kind", came["kind"], came.get("type")),
        )
    if kind == "not a module":
        return CheckFailed(
            f"Calling your class gave an object of type {one_line(str(description['type']), 60)}; expected "
            f"an nn.Module. Does the class derive from nn.Module?",
            same=("not a module",),
        )
    if kind == "not so many":
        return CheckFailed(
            f"Your function returned an object of type {one_line(str(description['type']), 60)}; "
            f"expected a tuple "
            f"of {int(description['count'])}.",
            same=("not so many", description["type"]),
        )
    if kind == "too many updates":
        return CheckFailed(
            "It made more updates than `steps`, and was stopped. The budget is the caller's, the "
            "same for every run: what does your "
            "loop count?",
            same=("too many updates",),
        )
    if kind == "not a GPT":
        return CheckFailed(
            f"The model that came back is an object of type {one_line(str(description['type']), 60)}; "
            f"expected a "
            f"gpt_core.GPT. Is there a return?",
            same=("not a GPT",),
        )
    if kind == "not a tokenizer":
        return CheckFailed(
            f"The tokenizer that came back is an object of type "
            f"{one_line(str(description['type']), 60)}; expected a "
            f"gpt_core.CharTokenizer. Is the order model, tokenizer?",
            same=("not a tokenizer",),
        )
    if kind == "not an optimizer":
        return CheckFailed(
            f"What came back is an object of type {one_line(str(description['type']), 60)}; expected a "
            f"torch.optim.AdamW. Is there a return?",
            same=("not an optimizer",),
        )
    if kind == "not a tensor":
        return CheckFailed(
            f"forward returned an object of type {one_line(str(description['type']), 60)}; expected a "
            f"tensor.",
            same=("not a tensor",),
        )
    return CheckFailed(f"Your code's answer cannot be used ({one_line(str(kind), 60)}).", same=("unusable", str(kind)))


def attempt_death(death: WorkerDied, place=line_number, load: bool = False) -> CheckFailed:
    """A worker's death as a failed check: what happened, and the place where it did."""
    where = [f"{place(death.line[0])}, in {one_line(death.line[1], 60)}"] if death.line else []
    if death.kind == "deadline":
        message = f"Your code was stopped: {death.detail}. Is there a loop that does not end? "
        if load:
            message = f"Your file was stopped while it was imported: {death.detail}. Does it train, download or wait? {advices.GUARD} "
        patience = 3 * Deadlines.from_environment().patience
        message += f"(If it is only slow: GRADE_PATIENCE={patience:g} gives it three times as long.)"
    elif death.kind == "scratch":
        message = f"Your code was stopped: {death.detail} into its folder. What does it save so often?"
    elif death.kind == "protocol":
        message = f"Your code broke into the grader's private pipe: {one_line(death.detail)}."
    elif death.status is not None and death.status < 0:
        message = f"Your code crashed the Python process (signal {-death.status})."
    else:
        status = "" if death.status is None else f" with exit status {death.status}"
        message = f"Your code ended the Python process{status}; a module must return, never exit."
    return CheckFailed(message, where, same=("died", death.kind, death.status))


class AttemptSubject:
    """How a check's program reaches the attempt's worker; a death is remembered for the running check.

    hypothesis would run a failing example again and again to shrink it; one that hangs would cost a
    deadline each time, so after a death the check is over.

    known: answers that need not be computed, with find(program, seed) and keep(program, seed, found); only the self-test
    has any (selftest.Answers).
    """

    def __init__(self, host: Host, place=line_number, known=None):
        self.host, self.place, self.known = host, place, known
        self.fatal: CheckFailed | None = None
        self.on_device = False  # whether the running check put anything on the device
        self.kept: dict[tuple[str, int], tuple[dict, dict]] = {}  # answers to programs that several checks ask

    def renew(self) -> None:
        """Before each check: it may talk to the attempt again."""
        self.fatal, self.on_device = None, False

    def __call__(self, program, seed: int) -> Answer:
        if self.fatal is not None:
            raise self.fatal
        key = (program.digest(), seed) if program.asked_once else None
        found = self.kept.get(key) or (self.known and self.known.find(program, seed))
        try:
            answer, arrays = found or self.host.run("attempt", program, seed)
        except WorkerDied as death:
            self.on_device, self.fatal = True, attempt_death(death, self.place)
            raise self.fatal from None
        if key is not None:
            self.kept[key] = answer, arrays
        if self.known and not found:
            self.known.keep(program, seed, (answer, arrays))
        self.on_device = self.on_device or answer.get("on_device") is not False
        return read_answer(answer, arrays, self.place)


def read_answer(answer: dict, arrays: dict, place=line_number, load: bool = False) -> Answer:
    """An answer's values; CheckFailed where the learner's code failed, or was caught reaching out."""
    failure = None
    try:
        if answer.get("reached"):
            what, name = answer["reached"][0]
            name = one_line(str(name), 100)
            if what == "solution":
                message = (
                    f"Your file reached for the solution ({name}), which is hidden while it is "
                    f"graded. Remove that, and "
                    f"write it yourself; solutions/ is there to be read after trying."
                )
            else:
                message = (
                    f"Your file reached for another Python file ({name}). A file is graded alone: "
                    f"write into it what you need, "
                    f"or name a helper of your own with --with FILE."
                )
            failure = CheckFailed(message, same=("reached",))
            failure.mistake = SOLUTION_READ if what == "solution" else OTHER_FILE_READ
        elif "error" in answer:
            failure = attempt_error(answer["error"], place, load)
        else:
            return Answer(dict(answer["values"]), arrays)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        failure = CheckFailed("Your code broke the grader's answer.", same=("broken answer",))
    raise failure


def reference_subject(host: Host, name: str, role: str) -> Subject:
    """A subject in the reference's worker. A mistake may fail like an attempt; the solution may not."""

    def ask(program, seed: int) -> Answer:
        # The same question has the same answer: a second grade with the same seed asks nothing twice.
        key = (name, seed, program.digest())
        if key not in host.answers:
            try:
                host.answers[key] = host.run(name, program, seed)
            except WorkerDied as death:
                if role == "mistake":
                    raise attempt_death(death) from None
                raise InstallationError(f"the reference did not answer: {death.detail}.") from None
        answer, arrays = host.answers[key]
        if role == "reference" and "error" in answer:
            raise InstallationError(f"the reference failed: {answer['error']}.")
        return read_answer(answer, arrays)

    return Subject(role, ask)
