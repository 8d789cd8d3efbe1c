"""Memory that a training loop frees stays with its process, ready for the next update."""

import platform
import subprocess
import sys

import pytest

LOOP = """
import resource, sys, torch
from gpt_core.memory import keep_freed_memory

torch.set_num_threads(1)
kept = keep_freed_memory() if sys.argv[1] == "keep" else False

def update():
    return [torch.zeros(768, 512) for _ in range(5)]  # 1.5 MiB each, as the activations of a small model

for _ in range(20):
    update()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    update()
print(kept, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 50)
"""


def pages_touched_anew(how: str) -> tuple[str, int]:
    """Whether memory is kept, and the page faults of an update."""
    run = subprocess.run([sys.executable, "-c", LOOP, how], capture_output=True, text=True, check=True)
    kept, faults = run.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep memory")
def test_with_memory_kept_an_update_touches_no_new_pages():
    assert pages_touched_anew("default")[1] > 1000  # of 1920; else there would be nothing to gain
    assert pages_touched_anew("keep") == ("True", 0)


def test_where_the_c_library_cannot_be_asked_nothing_happens(monkeypatch):
    from gpt_core import memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False
