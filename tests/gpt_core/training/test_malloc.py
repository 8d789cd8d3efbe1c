"""Memory that a training loop frees stays with its process, ready for the next update."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from gpt_core.training import malloc

REPOSITORY = Path(__file__).resolve().parents[3]
# mallinfo2(3) counts what glibc takes from Linux block by block, and gives back as soon as it is freed.
PROGRAM = """
import ctypes, sys, torch
from gpt_core.training.malloc import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
if sys.argv[1] == "train":
    import pathlib, tempfile
    from tests.gpt_core.tiny import trained
    with tempfile.TemporaryDirectory() as folder:
        trained(pathlib.Path(folder) / "run")
before = libc.mallinfo2()
tensor = torch.zeros(16 * 2**20)  # 64 MiB
taken = libc.mallinfo2()
del tensor
after = libc.mallinfo2()
print(kept, taken.hblkhd - before.hblkhd >> 20, after.arena - taken.arena >> 20)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep memory")
@pytest.mark.parametrize(
    "how, wanted",
    [("default", ["False", "64", "0"]), ("keep", ["True", "0", "0"]), ("train", ["False", "0", "0"])],
)
def test_a_large_tensor_is_a_block_of_its_own_unless_memory_is_kept_as_training_does(how, wanted):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert run.stdout.split() == wanted


def test_where_the_c_library_cannot_be_asked_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert malloc.keep_freed_memory() is False
