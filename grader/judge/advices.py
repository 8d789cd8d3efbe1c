"""Advice for an exception of a learner's code: a table from its type, its message and the line that raised it
to a sentence.

Many hand-ins were scripts, and do something when they are imported. The advice for all of them is GUARD.
"""

import re
from dataclasses import dataclass

GUARD = (
    'Put what reads, asks, downloads or trains under `if __name__ == "__main__":`, so that importing the '
    "file only defines "
    "its functions and classes."
)
_DEVICE = (
    "Make tensors with device=x.device, and keep constants in a buffer (self.register_buffer), which "
    "moves with the module."
)


@dataclass(frozen=True)
class Advice:
    """says: the sentence. kinds: the exception's type or one that it derives from; "" for any. text, code:
    patterns in its message and in the line that raised it. load: only while the file is imported (True), or
    only later (False)."""

    says: str
    kinds: str = ""
    text: str = ""
    code: str = ""
    load: bool | None = None


# The first that fits is given.
ADVICES = (
    Advice(
        "Python's own __init__ was called: does your class have one, spelt __init__, and inside the class?",
        "TypeError",
        r"__init__\(\) takes 1 positional argument but",
    ),
    Advice(
        "A breakpoint() is left in, and a grade has no terminal for it. For a debugger use --replay TOKEN, "
        "which writes a script.",
        "BdbQuit",
    ),
    # What a script does, when it is imported.
    Advice(
        f"A parser of arguments at the top of the file finds none here, and ends the program. {GUARD}",
        "SystemExit",
        code=r"parse_(known_)?args|\bapp\.run|\bmain\(|fire\.Fire|tyro|click",
        load=True,
    ),
    Advice(
        f"A file that is imported must not end the program. Remove the call to exit. {GUARD}",
        "SystemExit",
        load=True,
    ),
    Advice("A function must return; remove the call to exit.", "SystemExit"),
    Advice(
        f"There are no arguments here (sys.argv). {GUARD}", "IndexError ValueError", code=r"argv", load=True
    ),
    Advice(
        f"It asks for input while it is imported, and a grade has none. {GUARD}",
        "EOFError",
        "reading a line",
        load=True,
    ),
    Advice(
        "It asks for input, and a grade has none; take what it needs from the arguments.",
        "EOFError",
        "reading a line",
    ),
    Advice(
        f"It downloads something, and a grade has no network. {GUARD}",
        text=r"urlopen|URLError|name resolution|Failed to resolve|Max retries|[Cc]ouldn't "
        r"connect|getaddrinfo|nodename nor servname"
        r"|Network is unreachable|Connection (refused|error|reset)|HTTPS?Connection|Name or service not "
        r"known",
        load=True,
    ),
    Advice(
        f"It needs something from outside, and a grade has no network. {GUARD}",
        "URLError HTTPError gaierror ConnectionError ConnectTimeout MaxRetryError LocalEntryNotFoundError",
        load=True,
    ),
    Advice(
        f"It needs something from outside, and a grade has no network. {GUARD}",
        code=r"socket|urlretrieve|requests\.|wget|curl|download",
    ),
    Advice(
        f"It starts processes (a DataLoader with num_workers, multiprocessing), which a grade does not "
        f"allow: use num_workers=0. {GUARD}",
        text=r"DataLoader worker|unable to open shared memory|bootstrapping phase|shared memory "
        r"object|torch_shm_manager",
    ),
    Advice(
        f"It starts processes (a DataLoader with num_workers, multiprocessing), which a grade does not "
        f"allow: use num_workers=0. {GUARD}",
        "PermissionError FileNotFoundError OSError",
        code=r"num_workers|DataLoader|loader\b|multiprocessing|\bmp\.|Pool\(|Process\(|Queue\(",
    ),
    Advice(
        "It opens a file while it is imported, and a file is graded alone, without the files beside it. "
        f"{GUARD}",
        "FileNotFoundError PermissionError IsADirectoryError NotADirectoryError",
        load=True,
    ),
    Advice(
        "It wrote more than the grader allows; what does it save?", "OSError", r"File too large|No space left"
    ),
    Advice(
        "It opens a file, and a file is graded alone, without the files beside it; take what it needs from "
        "the arguments.",
        "FileNotFoundError PermissionError",
    ),
    # Devices.
    Advice(
        f"It asks for a GPU by name, and there is none here. {_DEVICE}",
        text=r"not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs|CUDA driver|CUDA error: no|not "
        r"linked with support for (cuda|mps)"
        r"|not compiled with MPS|from the '(MPS|CUDA|XPU)' backend|MPS backend is supported|on a CUDA device "
        r"but torch\.cuda",
    ),
    Advice(
        f"One tensor is on another device than the others. {_DEVICE}",
        text=r"[Ee]xpected all tensors to be on the same device|on different devices",
    ),
    # What notebooks have and Python has not.
    Advice(
        "Lines that begin with % or ! are commands of a notebook; remove them, or hand in the notebook "
        "itself (.ipynb).",
        "SyntaxError",
        code=r"^\s*[%!]",
    ),
    Advice("That exists in notebooks only; remove the line.", "NameError", r"'(get_ipython|display)'"),
    Advice(
        "Was it pasted from a PDF or a chat? Type the quotation marks and spaces of this line anew.",
        "SyntaxError",
        r"invalid (non-printable )?character",
    ),
    Advice(
        "If it is a module of your own: a file is graded alone. Write into it what you need, or name the "
        f"module with --with FILE. If it is for a script: {GUARD[0].lower()}{GUARD[1:]}",
        "ModuleNotFoundError",
        load=True,
    ),
    # Memory and layout.
    Advice("It asked for more memory than the grader gives; which tensor is so large?", "MemoryError"),
    Advice(
        "It asked for more memory than the grader gives; which tensor is so large?",
        text=r"can't allocate memory",
    ),
    Advice(
        "view needs the numbers in the order of memory, and after a transpose they are not. .reshape(..) "
        "or .contiguous() then works; check that the transpose itself is the one that you want.",
        text=r"view size is not compatible",
    ),
)


def find(kinds: set[str], message: str, code: str, load: bool) -> str:
    """The advice for an exception: its type and those that it derives from, its text, the learner's line; ""
    for none."""
    for advice in ADVICES:
        if (
            (not advice.kinds or kinds & set(advice.kinds.split()))
            and re.search(advice.text, message)
            and re.search(advice.code, code)
            and advice.load in (None, load)
        ):
            return advice.says
    return ""
