"""What an attempt may read, and the hook that refuses and reports everything else that goes through Python.

A file is graded alone. It may read Python, the system's files, the workbook's own code and its scratch
folder, where a copy of it lies; not the solutions and checks, not the other exercises, not the folder that it
was handed in from, and no home folder.
"""

import errno
import functools
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from grader.workbook import REPOSITORY

READABLE = ("gpt_core", "data", "grader")  # of this repository
SOLVED = ("solutions", "tests")
HIDDEN = (*SOLVED, "exercises", ".git", "build", "dist")
# Where systems keep programs, libraries and settings. Not /run, /var, /tmp and homes: secrets and other
# people's files.
SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/etc",
    "/proc",
    "/sys",
    "/nix",
    "/gnu",
    "/run/current-system",
    "/run/opengl-driver",
    "/System",
    "/Library",
    "C:\\Windows",
)
PYTHON_FILES = (".py", ".pyw", ".pyc", ".ipynb", ".zip")  # files that may hold Python code
# The first characters are enough: solutions/ex1* is one, and so is solutions/more.
_SOLUTIONS = "|".join(sorted({path.stem[:3] for path in (REPOSITORY / "solutions").glob("*[!_]*")}))
_NAMES_A_SOLUTION = re.compile(rf"solutions[./\\]+({_SOLUTIONS})|tests[./\\]+exercises")
_STARTS_A_PROGRAM = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile")


@functools.cache
def python_folders() -> frozenset[str]:
    """Python itself, its packages, and the folders of the libraries that are loaded now; as real paths."""
    kept = {path for kind, path in sysconfig.get_paths().items() if kind != "data"}
    for prefix in (sys.prefix, sys.base_prefix):
        kept |= {
            os.path.join(prefix, name) for name in ("lib", "lib64", "bin", "share", "ssl", "DLLs", "Library")
        }
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." not in name and file and not _below(file, str(REPOSITORY)):
            # A package may be a link to files that lie elsewhere.
            kept.add(os.path.dirname(file) if os.path.basename(file).startswith("__init__.") else file)
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
        kept |= {os.path.dirname(line.split(maxsplit=5)[5]) for line in lines if ".so" in line}
    except (OSError, IndexError):
        pass
    kept |= {*os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep), os.environ.get("GPT_DATA_DIR", "")}
    return _real(kept)


def _real(paths) -> frozenset[str]:
    """Those that exist, as real paths, without those that lie below another."""
    found = {os.path.realpath(path) for path in paths if path and os.path.exists(path)}
    return frozenset(
        path for path in found if not any(path != other and _below(path, other) for other in found)
    )


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class Readable:
    """Which paths may be read: what lies below a root and not, further down, below a hidden folder."""

    def __init__(self, scratch: str, *folders: str):
        """folders: what is hidden besides, such as where the file was handed in from."""
        fixed = python_folders() | _real(SYSTEM) | {str(REPOSITORY / name) for name in READABLE}
        origin = {os.path.realpath(folder) for folder in folders} - fixed
        self.hidden = origin | {str(REPOSITORY)} | {str(REPOSITORY / name) for name in HIDDEN}
        # What PYTHONPATH adds may be read as well; but it may name the folder of the hand-ins.
        self.roots = (fixed | _real(sys.path)) - self.hidden
        unlisted = {os.path.realpath(scratch), "/dev"}
        self._places = sorted(self.roots | self.hidden | unlisted, key=len, reverse=True)

    def allows(self, path: str) -> bool | None:
        """Whether a real path may be read; None where it is neither below a root nor hidden."""
        place = next((place for place in self._places if _below(path, place)), None)
        return None if place is None else place not in self.hidden

    def grants(self) -> Iterator[str]:
        """Paths that together cover the roots and nothing hidden. A grant covers all that lies below it: so
        to hide a folder, its neighbours are granted, and all neighbours of its ancestors."""
        for root in self.roots:
            yield from self._around(root)

    def _around(self, path: str) -> Iterator[str]:
        if path in self.hidden:
            return
        if not any(_below(folder, path) for folder in self.hidden):
            yield path
            return
        try:
            # their targets count
            entries = [entry.path for entry in os.scandir(path) if not entry.is_symlink()]
        except OSError:
            return
        for entry in entries:
            yield from self._around(entry)


class Reach:
    """Refuses, and remembers, what goes through Python: imports and openings of the solutions, and of any
    Python file that is neither the attempt's own nor Python's nor the workbook's.

    reached: [what, name] pairs; what is "solution" or "file".
    """

    def __init__(self, readable: Readable):
        self.reached: list[list[str]] = []
        self._readable = readable
        self._solved = [str(REPOSITORY / name) for name in SOLVED]

    def install(self) -> None:
        """From here on; an audit hook cannot be removed (PEP 578)."""
        for name in [n for n in sys.modules if n.split(".")[0] in SOLVED]:
            del sys.modules[name]
        sys.meta_path.insert(0, self)
        sys.addaudithook(self._audit)

    def find_spec(self, name, path=None, target=None):
        """An import finder that finds nothing, and refuses what is hidden."""
        head, _, rest = name.partition(".")
        if head in SOLVED:
            self.reached.append(["solution", f"import {name}"])
        elif head == "exercises" and rest and not self._is_helper(rest.split(".")[0]):
            self.reached.append(["file", f"exercises/{rest}.py"])
        else:
            return None
        raise ModuleNotFoundError(f"{name} is out of reach while your file is graded", name=name)

    def _is_helper(self, name: str) -> bool:
        """Whether a module of the learner's own folder came along with the file."""
        return any(
            os.path.exists(os.path.join(folder, f"{name}.py")) for folder in sys.modules["exercises"].__path__
        )

    def _audit(self, event: str, arguments: tuple) -> None:
        if event == "open" and arguments and isinstance(arguments[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if any(_below(path, folder) for folder in self._solved):
                self._refuse("solution", f"open {os.path.relpath(path, REPOSITORY)}", path)
            allowed = self._readable.allows(path)
            if not allowed and path.endswith(PYTHON_FILES) and os.path.exists(path):
                self._refuse("file", os.path.basename(path), path)
            if allowed is False:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        elif event in _STARTS_A_PROGRAM:
            found = _NAMES_A_SOLUTION.search(repr(arguments[:2]))
            if found:
                self._refuse("solution", f"a program that opens {found[0]}", "")

    def _refuse(self, what: str, name: str, path: str) -> None:
        self.reached.append([what, name])
        raise PermissionError(errno.EACCES, "out of reach while your file is graded", path)
