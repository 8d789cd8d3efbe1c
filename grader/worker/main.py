"""A worker: it holds modules (the reference's, or one learner's) and answers the judge's requests.

The same code serves both sides; only an attempt's worker is sandboxed. Requests:

    load    compile and run the source that came along as the module `subject`
    looks   take the text of a file of looks (look.py)
    look    call one of them on the module `subject`, and give back what it saw

Every answer is {"ok": true, ...} or {"error": {...}}: an exception of a learner's code is an answer too. A
long request may send {"progress": {...}} ahead of it. The answers of an attempt prove nothing by themselves;
the judge compares the numbers.
"""

import faulthandler
import functools
import gc
import importlib.util
import itertools
import linecache
import os
import sys
import tempfile
import types

import torch
import torch.utils._python_dispatch  # counts operations; imported here so that it is not paid per grade

import data  # noqa: F401 (an attempt may not list the folder that it lies in, and would not find it)
import exercises  # helpers of the learner's own are imported from here as well
from grader import protocol
from grader.worker import look, sandbox, tools  # noqa: F401 (tools: of the looks, which come as text)
from grader.worker.errors import LearnerError, StepError
from grader.worker.seeds import seed_all

LONGEST_LINE = 64  # characters of a learner's line that are shown
STUCK_LEAD = 0.3  # seconds before the deadline at which the line that is running is written down


def main(requests: int, answers: int, output: int, setup: dict) -> None:
    """Serve requests until the judge closes its end.

    requests, answers, output: the file descriptors of the private pipes, and of the pipe that takes
    whatever the code prints. setup: role ("reference" or "attempt"), device, scratch, threads.
    """
    sandbox.die_with_parent()
    requests, answers = _out_of_the_way(requests), _out_of_the_way(answers)
    _redirect_output(output)
    faulthandler.enable(file=2)
    _work_in(setup["scratch"])
    reach, isolation = None, []
    if setup["role"] == "attempt":
        reach, isolation = sandbox.enter(setup)
    else:
        sandbox.hide_memory()
    hello = {
        "torch": torch.__version__,
        "cuda": torch.cuda.is_available(),
        # Asking for the name takes a CUDA context, of which only an attempt may have one.
        "device": torch.cuda.get_device_name() if setup["device"] == "cuda" else "cpu",
        "isolation": ["own process", *filter(None, isolation)],
    }
    protocol.write_all(answers, protocol.pack(hello))
    modules: dict[str, types.ModuleType] = {}
    while True:
        try:
            header, arrays = protocol.read_frame(requests)
        except EOFError:
            os._exit(0)  # not sys.exit: a learner's atexit handlers could hang
        faulthandler.dump_traceback_later(max(header["deadline"] - STUCK_LEAD, 0.1), file=2)
        reset_torch(header.get("seed", 0), setup["threads"])
        send = functools.partial(_send_progress, answers, header["id"])
        answer, results = _answer(header, arrays, modules, setup, send)
        faulthandler.cancel_dump_traceback_later()
        answer["id"] = header["id"]
        answer["reached"] = reach.reached[:5] if reach else []
        try:
            frame = protocol.pack(answer, results)
        except (TypeError, ValueError) as error:  # a learner's object where a plain value was due
            frame = protocol.pack(
                {"id": header["id"], "error": {"kind": "unreadable", "type": str(type(error))}}
            )
        protocol.write_all(answers, frame)


def _out_of_the_way(fd: int) -> int:
    """Move a private pipe to a high number that no program touches by accident."""
    try:
        import fcntl
    except ImportError:
        return fd
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)
    os.close(fd)
    return high


def _redirect_output(output: int) -> None:
    """Standard output and error go to the judge's drain; standard input is empty."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in {null, output} - {0, 1, 2}:
        os.close(fd)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False, buffering=1)
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False, buffering=1)


def _work_in(scratch: str) -> None:
    """All that a learner's code may write goes to a folder that is removed after the grade."""
    os.chdir(scratch)
    homes = ("HOME", "USERPROFILE", "MPLCONFIGDIR")
    temporary = (
        "TMPDIR",
        "TEMP",
        "TMP",
        "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
    )
    os.environ.update(dict.fromkeys(homes + temporary, scratch))
    tempfile.tempdir = None
    sys.dont_write_bytecode = True


def _leave_modes() -> None:
    """Switch off the modes in which torch's functions go through another's code."""
    while torch.overrides._get_current_function_mode_stack():
        torch.overrides._pop_mode()
    while torch.utils._python_dispatch._get_current_dispatch_mode_stack():
        torch.utils._python_dispatch._pop_mode()


def reset_torch(seed: int, threads: int) -> None:
    """Undo what a module may have left changed in torch's global state, and seed the generators."""
    _leave_modes()
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.autograd.set_detect_anomaly(False)
    # asked first: the setter imports a second's worth of modules
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    for device in ("cpu", "cuda"):
        torch.set_autocast_enabled(device, False)
    # TF32 rounds a matrix product's factors to 10 bits; a right attempt would look wrong.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # cuDNN's attention masks with a finite number: scores above it get weight, whoever wrote the call.
    torch.backends.cuda.enable_cudnn_sdp(False)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    seed_all(seed)


def _send_progress(answers: int, id: int, progress: dict) -> None:
    """A frame ahead of the answer: what a long request has come to."""
    protocol.write_all(answers, protocol.pack({"id": id, "progress": progress}))


def _answer(header: dict, arrays: dict, modules: dict, setup: dict, send) -> tuple[dict, dict]:
    """One request's answer; whatever the learner's code raises becomes an error in it."""
    filename = header.get("filename", "")
    try:
        if header["do"] == "load":
            source = arrays["source"].tobytes()
            if header.get("hand_in"):  # a file that was handed in: its copy is here
                filename = _copy(header, arrays, source, setup["scratch"])
            before = _globals()
            modules[header["subject"]] = load(header["module"], filename, source)
            names = [name for name in vars(modules[header["subject"]]) if not name.startswith("_")]
            _leave_modes()  # a file may leave one of torch's modes on, in which nothing can be asked
            changed = {key: value != before[key] for key, value in _globals().items()}
            return {"ok": True, "names": names[:20_000], "changed": changed}, {}
        if header["do"] == "looks":
            look.load_looks(header["name"], arrays["source"].tobytes())
            return {"ok": True}, {}
        module = modules[header["subject"]]
        filename = module.__file__
        given = (header["looks"], header["function"], header["given"])
        values, results, on_device = look.run_look(
            *given, arrays, module, setup["device"], send, traced=header.get("traced", False)
        )
        return {"ok": True, "values": values, "on_device": on_device}, results
    except StepError as error:
        return {"error": describe_step(error, filename)}, {}
    except LearnerError as error:
        return {"error": describe_error(error.cause, filename)}, {}
    except BaseException as error:  # SystemExit and KeyboardInterrupt too
        return {"error": describe_error(error, filename)}, {}


def _globals() -> dict:
    """What a file may change for everybody when it is imported."""
    return {
        "seed": torch.initial_seed(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
    }


def _copy(header: dict, arrays: dict, source: bytes, folder: str) -> str:
    """Write a file that was handed in, and the helpers that it may import, into the scratch folder; the
    file's path there."""
    files = {name: arrays[key].tobytes() for name, key in header["helpers"].items()} | {
        header["filename"]: source
    }
    for name, content in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    sys.path.append(folder)  # last, so that a helper named torch.py is no torch
    exercises.__path__ = [folder]  # `from exercises.helper import ..`, as in the learner's own folder
    sys.argv = [header["filename"]]  # a parser of arguments at import finds none, and not ours
    return os.path.join(folder, header["filename"])


def load(name: str, filename: str, source: bytes) -> types.ModuleType:
    """Run a source as a module that stands in sys.modules, read by Python's own rules.

    dataclasses, inspect and torch.jit look their module up by name; a learner's error is shown with
    its line, and neither may open the file again.
    """
    module = types.ModuleType(name)
    module.__file__ = filename
    sys.modules[name] = module
    try:
        text = importlib.util.decode_source(source)  # as inspect and tracebacks will want to see it
    except (SyntaxError, UnicodeDecodeError):
        text = source.decode("utf-8", errors="replace")
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    code = compile(source, filename, "exec", dont_inherit=True)
    try:
        exec(code, vars(module))
    except BaseException as error:
        raise LearnerError(error) from None
    return module


def describe_step(error: StepError, filename: str) -> dict:
    """What ended a look as plain data; where devices are traced, with the learner's own lines."""
    if not error.description["kind"].startswith("devices"):
        return error.description
    return error.description | {"frames": describe_error(error, filename)["frames"]}


def describe_error(error: BaseException, filename: str) -> dict:
    """An exception as plain data: its type, its text, and the learner's own lines that led to it."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == filename:
            first, last, start, end = next(itertools.islice(code.co_positions(), trace.tb_lasti // 2, None))
            line = linecache.getline(filename, trace.tb_lineno).encode()
            span = (start, end if first == last else len(line)) if first == trace.tb_lineno else (0, 0)
            # They count bytes; a cut within a character leaves that out.
            columns = tuple(len(line[: place or 0].decode(errors="ignore")) for place in span)
            places.append((trace.tb_lineno, code.co_name, columns))
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == filename and error.lineno:
        place = max((error.offset or 1) - 1, 0)
        places.append((error.lineno, "<module>", (place, place + 1)))
    frames = [
        {"line": line, "function": name, "code": excerpt(linecache.getline(filename, line), *columns)}
        for line, name, columns in places[-5:]
    ]
    try:
        message = str(error.msg if isinstance(error, SyntaxError) else error)[:2000]
    except BaseException:  # a learner's __str__ may raise as well
        message = "(its text is not available: __str__ raised as well)"
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    return {
        "kind": "raised",
        "type": str(type(error).__name__)[:100],
        "kinds": kinds,
        "message": message,
        "frames": frames,
    }


def excerpt(line: str, start: int, end: int) -> str:
    """A line of source, without what surrounds the characters from `start` to `end` where it is long."""
    text = line.strip()
    if len(text) <= LONGEST_LINE:
        return text
    indent = len(line) - len(line.lstrip())
    start, end = max(start - indent, 0), max(end - indent, 0)
    first = max(min(start, (start + end - LONGEST_LINE) // 2), 0)
    first = min(first, len(text) - LONGEST_LINE)
    after = " .." if first + LONGEST_LINE < len(text) else ""
    return ".. " * (first > 0) + text[first : first + LONGEST_LINE] + after


def freeze() -> None:
    """Before forking: what exists now is shared by all children, so the collector leaves it alone."""
    gc.collect()
    gc.freeze()
