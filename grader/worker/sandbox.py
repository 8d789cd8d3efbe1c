"""The rights that a worker gives up before it runs a learner's file, as far as the operating system allows.

On Linux, Landlock hides what the attempt may not read (reach.py) and makes everything but a scratch
folder read-only (landlock(7); it needs no privileges and cannot be undone); a filter on system calls refuses
what it does not
cover: sockets, other processes' limits, changes of mode, owner, times and attributes. rlimits cap memory and
the size of a file. Where Landlock is not to be had, an audit hook still refuses and reports what goes through
Python."""

import ctypes
import os
import signal
import struct
import sys
from pathlib import Path

from grader.worker import reach, system_calls

MEMORY = 4 << 30  # bytes that an attempt may take beyond what torch itself has mapped
CUDA_MEMORY = 16 << 30
SCRATCH = 1 << 30  # bytes that an attempt may write, in one file and in all (the judge looks: connection.py)
SCRATCH_IN_MEMORY = 256 << 20  # the same where the scratch folder lies in memory (namespaces.py)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 1, 4, 38, 36
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
# Access rights of linux/landlock.h, by bit.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
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


def die_with_parent(number: int | None = None) -> None:
    """A worker must end when its judge was killed. number: the signal that it gets then; SIGKILL by
    default."""
    if sys.platform == "linux":
        prctl(_PR_SET_PDEATHSIG, number or signal.SIGKILL)


def adopt_orphans() -> bool:
    """Descendants whose parent died become children of this process, which can then end them."""
    return prctl(_PR_SET_CHILD_SUBREAPER, 1)


def become(user: int) -> bool:
    """Root becomes another user, and cannot go back; whether that worked."""
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except (AttributeError, OSError):  # no such call, or a container that has no such user
        return False
    # The kernel takes these back with the change: to end with the parent, and to read all of /proc/self.
    die_with_parent()
    prctl(_PR_SET_DUMPABLE, 1)
    os.environ |= dict.fromkeys(("USER", "LOGNAME"), "attempt")
    return True


def hide_gpus() -> None:
    """A file that is graded on the CPU sees no GPU: CUDA could not start within what it may do.

    The second variable lets torch.cuda.is_available() count GPUs without starting CUDA."""
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}


def hide_memory() -> None:
    """No other process of this user may look into this one's memory (root still may)."""
    prctl(_PR_SET_DUMPABLE, 0)


def cap_memory(device: str) -> str:
    """Cap what this process may allocate, and the size of a file; the words for the report, "" where that
    failed."""
    try:
        import resource
    except ImportError:  # Windows has none
        return ""

    def limit(kind: int, cap: int) -> None:
        hard = resource.getrlimit(kind)[1]
        cap = cap if hard == resource.RLIM_INFINITY else min(cap, hard)
        resource.setrlimit(kind, (cap, cap))

    try:
        limit(resource.RLIMIT_CORE, 0)
        limit(resource.RLIMIT_FSIZE, SCRATCH)
        if device == "cuda":
            # CUDA reserves address space by the terabyte, which RLIMIT_AS would forbid; RLIMIT_DATA
            # counts only memory that can be written.
            kind, cap = resource.RLIMIT_DATA, CUDA_MEMORY
        else:
            kind, cap = resource.RLIMIT_AS, _mapped_bytes() + MEMORY
        limit(kind, cap)
    except (OSError, ValueError):
        return ""
    gigabytes = (CUDA_MEMORY if device == "cuda" else MEMORY) >> 30
    return f"memory below {gigabytes} GiB"


def _mapped_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 8 << 30  # torch's own mappings, generously


def enter(setup: dict) -> tuple[reach.Reach, list[str]]:
    """Give up what an attempt may not do; what it reaches for from here on, and the words for the report.

    setup: scratch, device, folder: where the learner's file was handed in from, hidden: what is hidden
    besides, user: as whom root's attempts run, and namespaces: whether this process has its own.
    """
    readable = reach.Readable(setup["scratch"], setup["folder"], *setup["hidden"])
    reached = reach.Reach(readable)
    reached.install()
    # The rlimits last: a failure of what comes before must not leave files open.
    on_gpu = setup["device"] != "cpu"  # when CUDA starts, it makes a Unix socket and names its threads
    if not on_gpu:
        hide_gpus()
    own_user = setup["user"] is not None and become(setup["user"])
    abi = restrict_files(setup["scratch"], readable, names_threads=on_gpu)
    filtered = system_calls.restrict(unix_sockets=on_gpu)
    said = ["own namespaces"] * setup["namespaces"] + ["own user"] * own_user
    return reached, [*said, *words(abi, filtered, on_gpu), cap_memory(setup["device"])]


def words(abi: int, filtered: bool, unix_sockets: bool = False) -> list[str]:
    """What the report may claim. abi: of Landlock, 0 where it does not hold; filtered: whether system calls
    are;
    unix_sockets: but these."""
    said = ["solutions hidden" if abi else "solutions NOT hidden"]
    if abi >= 3:  # before, a file could still be cut short
        said.append("files read-only" if filtered else "contents of files read-only")
    if filtered:
        said.append("no network but Unix sockets" if unix_sockets else "no network")
    elif abi >= 4:
        said.append("no TCP")
    return said


def restrict_files(scratch: str, readable: reach.Readable, names_threads: bool = False) -> int:
    """Apply Landlock; its ABI, 0 where this system has none.

    names_threads: let this process write /proc/self/task/*/comm, by which threads are named."""
    if sys.platform != "linux":
        return 0
    try:
        libc = _libc()
        abi = libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
        if abi < 1:
            return 0
        rights = _FS_RIGHTS_OF_ABI.get(abi, _FS_RIGHTS)
        attributes = struct.pack("<Q", rights)
        if abi >= 4:
            attributes += struct.pack("<Q", _TCP)
        if abi >= 6:
            attributes += struct.pack("<Q", _SCOPED)
        ruleset = libc.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
        if ruleset < 0:
            return 0
        for path in readable.grants():
            _allow(libc, ruleset, path, _READ & rights)
        for path in _devices():
            _allow(libc, ruleset, path, (_READ_FILE | _WRITE_FILE | _IOCTL_DEV) & rights)
        if names_threads:
            _allow(libc, ruleset, "/proc/self/task", (_READ | _WRITE_FILE | _TRUNCATE) & rights)
        _allow(libc, ruleset, scratch, rights)
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        done = libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0
        os.close(ruleset)
    except OSError:
        return 0
    return abi if done else 0


def _devices():
    """What code may write to of /dev: /dev/null and its like, and GPUs. No terminal: a program
    that may write to one can also type into it."""
    for name in ("null", "zero", "full", "random", "urandom"):
        yield f"/dev/{name}"
    yield from gpus()


def gpus():
    """The devices of GPUs."""
    for name in os.listdir("/dev"):
        if name.startswith(("nvidia", "dxg")):  # dxg: a GPU under WSL
            yield f"/dev/{name}"


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
