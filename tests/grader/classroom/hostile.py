"""Hand-ins that do what no hand-in may: the solution, and at its import an attack. One that reaches what it
looks for does not load, so a pass says that the attack was in vain."""

from pathlib import Path

from tests.grader.attempts import at_import, in_forward

# Ways to read a file: Python, the C library, another program, this process's own root.
_READS = """
import ctypes, os, subprocess
def reads(path):
    libc, ways = ctypes.CDLL(None), []
    if not path.endswith(".py"):  # to try that is refused and reported
        try: ways += ["Python"] * bool(open(path, "rb").read(1) or True)
        except OSError: pass
    for way, place in (("C", path), ("root", "/proc/self/root" + path), ("cwd", "../" * 20 + path[1:])):
        if libc.open(os.fsencode(place), 0) >= 0: ways.append(way)
    try:
        if subprocess.run(["cat", path], capture_output=True).returncode == 0: ways.append("cat")
    except OSError: pass
    return ways
def lists(path):
    try: return os.listdir(path)
    except OSError: return []
"""


def reading(paths: list[Path], folders: list[Path] = ()) -> str:
    """Looks for files and folders of others."""
    return at_import(
        f"{_READS}\n"
        f"reached = [(p, reads(p)) for p in {[str(path) for path in paths]!r} if reads(p)]\n"
        f"reached += [(p, lists(p)) for p in {[str(path) for path in folders]!r} if lists(p)]\n"
        "assert not reached, reached"
    )


LEAVES_PROCESSES = at_import(
    "import os, subprocess, sys\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
    "        sleep = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
    "        os.execve(sys.executable, sleep, dict(os.environ))\n"
    "    os._exit(0)"
)
FILLS_SCRATCH = in_forward(
    "import os\nfor n in range(40):\n    with open(f'fill{n}', 'wb') as f:\n"
    "        for _ in range(64): f.write(os.urandom(1 << 20))"
)
MANY_FILES = at_import("for n in range(40_000): open(f'f{n}', 'w').close()\nimport time; time.sleep(3)")
PRINTS = at_import("import sys\nfor _ in range(100): sys.stdout.write('0123456789abcde\\n' * (1 << 16))")
ENDS_OTHERS = at_import(
    "import os, signal\n"
    "for entry in os.listdir('/proc'):\n"
    "    try:\n"
    "        if entry.isdigit() and b'grader' in open(f'/proc/{entry}/cmdline', 'rb').read() "
    "and int(entry) not in (os.getpid(),):\n"
    "            os.kill(int(entry), signal.SIGKILL)\n"
    "    except OSError: pass"
)
# In namespaces of its own there are bubblewrap, the zygote and its workers, and nothing of the machine.
LOOKS_AROUND = at_import(
    "import os\n"
    "names = [name for name in os.listdir('/proc') if name.isdigit()]\n"
    "programs = {name: open(f'/proc/{name}/cmdline').read() for name in names}\n"
    "assert all('grader.worker.zygote' in said for said in programs.values()), programs\n"
    "networks = [line.split(':')[0].strip() for line in list(open('/proc/net/dev'))[2:]]\n"
    "assert networks == ['lo'], networks\n"
    "places = [line.split()[1] for line in open('/proc/mounts')]\n"
    "assert '/dev' in places and '/sys' in places, places\n"
    "assert not os.path.exists('/sys/class/net') and not os.path.exists('/dev/mem'), 'the machine'\n"
    "assert not [n for n in range(64) for kind in ('vda', 'sda', 'loop', 'kmsg', 'kvm', 'net/tun', 'tty')\n"
    "            if os.path.exists(f'/dev/{kind}{n}') or kind != 'tty' and os.path.exists(f'/dev/{kind}')]\n"
    "written = 0\n"
    "try:\n"
    "    for n in range(40):\n"
    "        with open(f'fill{n}', 'wb', buffering=0) as file:\n"
    "            for _ in range(64): written += file.write(bytes(1 << 20))\n"
    "except OSError as error:\n"
    "    assert error.errno == 28 and written < 257 << 20, (error, written)\n"
    "else: raise AssertionError(written)\n"
    "for n in range(5): os.path.exists(f'fill{n}') and os.remove(f'fill{n}')"
)
HANGS = at_import("while True: pass")
HANGS_IN_FORWARD = in_forward("while True: pass")
TAKES_MEMORY = at_import("x = torch.zeros(1 << 33, dtype=torch.uint8)")
FORGES = at_import(
    'import os\nfor fd in range(3, 300):\n    try: os.write(fd, b\'{"status": "pass"}\\n\' * 9)\n'
    "    except OSError: pass\nos._exit(0)"
)
ENDS_ITSELF = at_import("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
