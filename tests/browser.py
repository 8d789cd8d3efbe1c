"""A headless Chromium for the tests of HTML reports: what it shows, says and asks for."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
# What it would do by itself, such as looking for updates, is left out.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
OWN = ("google", "gvt1.com")  # it asks for its dictionaries nevertheless


@dataclass(frozen=True)
class Opened:
    """A page as the browser has it after its script ran: its elements, what stands in the console, and the
    addresses elsewhere that it asked for."""

    dom: str
    console: list[str]
    requested: list[str]


def opened(path: Path, folder: Path, *more: str) -> Opened:
    """Open a file; the profile and the log are put into `folder`, which must be this call's own."""
    log = folder / "net.json"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", *more]
    command += ["--enable-logging=stderr", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    urls = re.findall(r'"url":"((?:https?|wss?|ftp):[^"]*)"', log.read_text())
    return Opened(done.stdout, said, [url for url in urls if not any(own in url for own in OWN)])
