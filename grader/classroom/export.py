"""`python grade.py --export PLATFORM ex1 --out FILE`: what a platform needs to grade an exercise, as a
zip; for GitHub the file of a workflow."""

import json
import subprocess
import zipfile
from dataclasses import asdict
from pathlib import Path

from grader.classroom.platforms import PLATFORMS
from grader.classroom.store import Settings
from grader.workbook import REPOSITORY, UsageError, write_atomically
from tests.exercises import EXERCISES

# Of the workbook; not exercises/ as the instructor has worked on them: the stubs stand in for these.
FOLDERS = ("data", "exercises", "gpt_core", "grader", "solutions", "tests/exercises")
FILES = ("grade.py", "pyproject.toml", "constraints.txt", "LICENSE", "tests/__init__.py")
KINDS = (".py", ".txt", ".toml", ".md")
TORCH = "https://download.pytorch.org/whl/cpu"

SETUP = f"""#!/usr/bin/env bash
# Runs once, when the image is built.
set -e
apt-get update && apt-get install -y python3 python3-venv
python3 -m venv /autograder/venv
cd /autograder/source/workbook
/autograder/venv/bin/pip install --no-cache-dir --extra-index-url {TORCH} -c constraints.txt \\
    torch numpy safetensors pytest hypothesis rich filelock pooch
"""
RUN = """#!/usr/bin/env bash
# Runs for every hand-in. Its variables are there to be tried out elsewhere.
at="${AUTOGRADER:-/autograder}"
python="${AUTOGRADER_PYTHON:-/autograder/venv/bin/python}"
cd "$at/source/workbook"
exec "$python" -m grader.classroom.platforms ../config.json "$at/submission" "$at/results/results.json"
"""
AUTOGRADER = '''"""Grades a checkout for Classroom 50 with the workbook beside it: writes result.json."""

import os
import subprocess
import sys
from pathlib import Path

HERE, CHECKOUT = Path(__file__).resolve().parent, Path.cwd()
NEEDS = ("torch", "numpy", "safetensors", "pytest", "hypothesis", "rich", "filelock", "pooch")
if subprocess.run([sys.executable, "-c", "import " + ", ".join(NEEDS)], capture_output=True).returncode:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", *NEEDS]
    subprocess.run([*install, "--extra-index-url", "{torch}"], cwd=HERE / "workbook", check=True)
places = [CHECKOUT / "{path}", CHECKOUT / "{file}"]
hand_in = next((place for place in places if place.is_file()), CHECKOUT)
call = [sys.executable, "-m", "grader.classroom.platforms", str(HERE / "config.json"), str(hand_in)]
done = subprocess.run([*call, str(CHECKOUT / "result.json")], cwd=HERE / "workbook", env=os.environ)
sys.exit(done.returncode)
'''
WORKFLOW = """name: {name}
on: [push, workflow_dispatch]
permissions: {{contents: read}}
jobs:
  grade:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {{python-version: "3.12", cache: pip}}
      - run: python -m pip install --extra-index-url {torch} -c constraints.txt -e .
      - name: grade
        run: |
          cat > "$RUNNER_TEMP/config.json" <<'END'
          {config}
          END
          python -m grader.classroom.platforms "$RUNNER_TEMP/config.json" {path} junit.xml
      - if: always()
        uses: actions/upload-artifact@v4
        with: {{name: junit, path: junit.xml}}
"""


def export(platform: str, settings: Settings, weights: dict[str, float] | None, out: Path) -> None:
    """Write what a platform needs. weights: the points of each check; one for each by default."""
    if platform not in PLATFORMS:
        raise UsageError(f"--export is {platform!r}; it must be one of {', '.join(PLATFORMS)}.")
    exercise = EXERCISES[settings.exercise]
    points = weights or dict.fromkeys(exercise.checks, 1.0)
    if platform == "classroom50" and any(point != int(point) for point in points.values()):
        raise UsageError("Classroom 50 takes whole points; multiply those of --weights.")
    config = json.dumps({"platform": platform, "settings": asdict(settings), "weights": points})
    if platform == "github":
        text = WORKFLOW.format(name=exercise.name, torch=TORCH, config=config, path=exercise.attempt_path)
        write_atomically(out, text)
        return
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        if platform == "gradescope":
            add(archive, "setup.sh", SETUP, mode=0o755)
            add(archive, "run_autograder", RUN, mode=0o755)
        else:
            text = AUTOGRADER.format(torch=TORCH, path=exercise.attempt_path, file=exercise.file)
            add(archive, "autograder.py", text)
        add(archive, "config.json", config)
        for path in workbook():
            source = REPOSITORY / path
            stub = next((e.stub_path for e in EXERCISES.values() if e.attempt_path == path), None)
            add(archive, f"workbook/{path}", (REPOSITORY / stub if stub else source).read_bytes())


def workbook() -> list[str]:
    """The files of the workbook that a grade needs, relative to it."""
    folders = tuple(f"{folder}/" for folder in FOLDERS)
    return [name for name in tracked() if name in FILES or name.startswith(folders)]


def tracked() -> list[str]:
    """The files of the workbook of the kinds that a release holds, relative to it; of a clone those that git
    knows."""
    listed = subprocess.run(["git", "-C", str(REPOSITORY), "ls-files", "-z"], capture_output=True)
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.decode("utf-8", "surrogateescape").split("\0")
    else:
        names = [path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.rglob("*") if path.is_file()]
    kept = (name for name in names if name.endswith(KINDS) or name in FILES)
    return sorted(name for name in kept if (REPOSITORY / name).is_file())


def add(archive: zipfile.ZipFile, name: str, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file into a zip."""
    info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))  # the same zip whenever it is made
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, (0o100000 | mode) << 16
    archive.writestr(info, content)
