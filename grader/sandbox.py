"""What a worker gives up before it runs a learner's file, as far as the operating system lets it.

Memory is capped by an rlimit. On Linux, Landlock hides the solutions, the checks and the history of
this repository, makes everything but a scratch folder read-only, and refuses TCP connections and
signals to other processes (landlock(7); it needs no privileges and cannot be undone). Where Landlock
is not to be had, an audit hook still refuses and reports every attempt that goes through Python.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# All that an attempt may read of this repository. The rest (solutions, checks, history) is hidden.
READABLE = ("gpt_core", "data", "exercises", "grader")
SOLVED = ("solutions", "tests")
HIDDEN = (*SOLVED, ".git", "build", "dist")
MEMORY = 4 << 30  # bytes that an attempt may take beyond what torch itself has mapped
CUDA_MEMORY = 16 << 30

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 1, 4, 38, 36
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
# Access rights of linux/landlock.h, by bit.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_IOCTL_DEV = 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FS_RIGHTS_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_FS_RIGHTS = (1 << 16) - 1  # ABI 5 and later
_TCP = 0b11  # bind, connect (ABI 4)
_SCOPED = 0b11  # abstract unix sockets, signals (ABI 6)


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> bool:
    """Linux's prctl(2); False where there is none or it refuses."""
    if sys.platform != "linux":
        return False
    return _libc().prctl(option, value, 0, 0, 0) == 0


def die_with_parent() -> None:
    """A worker whose judge was killed must not live on."""
    if sys.platform == "linux":
        import signal

        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> bool:
    """Descendants whose parent died become children of this process, which can then end them."""
    return prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """No other process of this user may look into this one's memory (root still may)."""
    prctl(_PR_SET_DUMPABLE, 0)


def cap_memory(device: str) -> str:
    """Cap what this process may allocate; returns the words for the report, "" where that failed."""
    try:
        import resource
    except ImportError:  # Windows has none
        return ""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if device == "cuda":
            # CUDA reserves address space by the terabyte, which RLIMIT_AS would forbid; RLIMIT_DATA
            # counts only memory that can be written.
            kind, cap = resource.RLIMIT_DATA, CUDA_MEMORY
        else:
            kind, cap = resource.RLIMIT_AS, _mapped_bytes() + MEMORY
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            cap = min(cap, hard)
        resource.setrlimit(kind, (cap, cap))
    except (OSError, ValueError):
        return ""
    gigabytes = (CUDA_MEMORY if device == "cuda" else MEMORY) >> 30
    return f"memory below {gigabytes} GiB"


def _mapped_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 8 << 30  # torch's own mappings, generously


def restrict_files(scratch: str, folder: str) -> str:
    """Apply Landlock (folder: where the learner's file stands); returns the words for the report, "" where this system has none."""
    if sys.platform != "linux":
        return ""
    try:
        libc = _libc()
        abi = libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
        if abi < 1:
            return ""
        rights = _FS_RIGHTS_OF_ABI.get(abi, _FS_RIGHTS)
        attributes = struct.pack("<Q", rights)
        if abi >= 4:
            attributes += struct.pack("<Q", _TCP)
        if abi >= 6:
            attributes += struct.pack("<Q", _SCOPED)
        ruleset = libc.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
        if ruleset < 0:
            return ""
        for path in _readable_paths(folder):
            _allow(libc, ruleset, path, _READ & rights)
        for path in _devices():
            _allow(libc, ruleset, path, (_READ_FILE | _WRITE_FILE | _IOCTL_DEV) & rights)
        _allow(libc, ruleset, scratch, rights)
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        done = libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0
        os.close(ruleset)
    except OSError:
        return ""
    if not done:
        return ""
    return "solutions hidden, files read-only" + (", no network" if abi >= 4 else "")


def _devices():
    """What code may write to of /dev: what swallows or makes up bytes, and GPUs. No terminal: a program
    that may write to one can also type into it."""
    for name in ("null", "zero", "full", "random", "urandom"):
        yield f"/dev/{name}"
    for name in os.listdir("/dev"):
        if name.startswith("nvidia"):
            yield f"/dev/{name}"


def _readable_paths(folder: str):
    """Every path beside the way from / to the repository, and what may be read inside it.

    Landlock only grants, and a grant covers all that lies below: so to hide one folder, grant all of
    its neighbours and all neighbours of its ancestors. Links are left out: what they point to is
    granted by its own path, or is meant to be hidden.
    """
    for ancestor in REPOSITORY.parents:
        keep_out = REPOSITORY.relative_to(ancestor).parts[0]
        try:
            entries = list(os.scandir(ancestor))
        except OSError:
            continue
        for entry in entries:
            if entry.name != keep_out and entry.path != "/dev" and not entry.is_symlink():
                yield entry.path
    for name in READABLE:
        yield str(REPOSITORY / name)
    # Helpers beside a file that was handed in; never a folder that is to be hidden, or holds one.
    inside = Path(folder).resolve()
    if REPOSITORY in inside.parents and inside.relative_to(REPOSITORY).parts[0] not in HIDDEN:
        yield str(inside)
    # A virtual environment often lives inside the repository.
    for prefix in {sys.prefix, sys.base_prefix}:
        if Path(prefix).resolve().is_relative_to(REPOSITORY):
            yield str(Path(prefix).resolve())


def _allow(libc, ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= ~_READ_DIR  # a right of folders only; the kernel refuses it on anything else
        rule = struct.pack("<Qi", rights, fd)
        libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0)
    finally:
        os.close(fd)


class Reach:
    """Refuses, and remembers, every import or opening of the solutions that goes through Python."""

    def __init__(self):
        self.reached: list[str] = []
        self._hidden = tuple(str(REPOSITORY / name) + os.sep for name in SOLVED)

    def install(self) -> None:
        """From here on; an audit hook cannot be removed (PEP 578)."""
        for name in [n for n in sys.modules if n.split(".")[0] in SOLVED]:
            del sys.modules[name]
        sys.meta_path.insert(0, self)
        sys.addaudithook(self._audit)

    def find_spec(self, name, path=None, target=None):
        """An import finder that finds nothing, and refuses what is hidden."""
        if name.split(".")[0] in SOLVED:
            self.reached.append(f"import {name}")
            raise ModuleNotFoundError(f"{name} is out of reach while your file is graded", name=name)
        return None

    def _audit(self, event: str, arguments: tuple) -> None:
        if event == "open" and arguments and isinstance(arguments[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if path.startswith(self._hidden):
                self.reached.append(f"open {os.path.relpath(path, REPOSITORY)}")
                raise PermissionError(f"{os.path.basename(path)} is out of reach while your file is graded")
