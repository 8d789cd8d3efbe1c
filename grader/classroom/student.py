"""`python grade.py --export student --out FOLDER_OR_ZIP`: the workbook to work in, without what gives an
exercise away.

It leaves out the solutions, and of tests/ all but the stubs: the catalogues are patches on the solutions, and
the tests hold other right ways. Nothing can be graded without them, and grade.py says so there.
"""

import os
import posixpath
import re
import zipfile
from collections.abc import Container
from pathlib import Path

from grader.classroom.export import add, tracked
from grader.workbook import REPOSITORY, UsageError
from tests.exercises import EXERCISES

NAME = "gpt-workbook"  # the folder in the zip
FOLDERS = ("data/", "gpt_core/", "grader/", "docs/lecture/")
NOT_IN_IT = ("grader/author/",)  # works on the catalogues
FILES = (
    "grade.py", "pyproject.toml", "constraints.txt", "LICENSE", "docs/training.md", "docs/troubleshooting.md",
    "exercises/__init__.py", "exercises/more/__init__.py", "tests/__init__.py", "tests/exercises/__init__.py",
)  # fmt: skip
README = """# The workbook for "Let's build GPT": the release for students

You watched [the lecture](https://www.youtube.com/watch?v=kCc8FmEb1nY). Here are its exercises, the lecture's
code and the data. Your instructor grades what you hand in. A grade compares with the solutions, which are not
in this release, so `python grade.py ex1` grades nothing here.

## Begin

You need Python 3.11 or later.

    python -m venv .venv
    . .venv/bin/activate
    python -m pip install -c constraints.txt -e .

On Windows the second line is `.venv\\Scripts\\activate`. No GPU is needed.

## Work

Read `gpt_core/layers.py` and `gpt_core/models.py` beside the lecture. Then open the file of an exercise. Its
docstring is the exercise sheet: what to build, the contract with all shapes, and a small worked example.

| exercise | its file |
|---|---|
{exercises}

Try a class by hand:

    python -i exercises/ex1_fused_attention.py
    >>> from gpt_core import GPTConfig
    >>> config = GPTConfig(vocab_size=65, block_size=8, n_head=4, n_embd=32, dropout=0.0)
    >>> FusedMultiHeadAttention(config)(torch.randn(1, 5, 32)).shape

`python exercises/ex1_fused_attention.py` runs the exercise's experiment with your code.
[Training](docs/training.md) says how to train, sample and plot; [the lecture's
notes](docs/lecture/README.md) have the ideas, part by part. `python grade.py ex1 --reset` puts the stub
back, and keeps what you have. Something does not work? See [troubleshooting](docs/troubleshooting.md).

Hand in the file, and with it the modules of your own that it imports: together, as a zip.

## Licence

MIT, see [LICENSE](LICENSE).
"""


def release() -> dict[str, bytes]:
    """Each file of the release by its path. Of the exercises the stubs, not the instructor's work."""
    files = {
        name: (REPOSITORY / name).read_bytes()
        for name in tracked()
        if (name in FILES or name.startswith(FOLDERS)) and not name.startswith(NOT_IN_IT)
    }
    lines = []
    for exercise in EXERCISES.values():
        stub = (REPOSITORY / exercise.stub_path).read_bytes()
        package = f"tests/exercises/{exercise.name}/__init__.py"
        files |= {exercise.attempt_path: stub, exercise.stub_path: stub, package: b""}
        lines.append(f"| {exercise.name}: {exercise.title} | `{exercise.attempt_path}` |")
    files["README.md"] = README.format(exercises="\n".join(lines)).encode()
    return {
        name: _links_mended(name, content, files) if name.endswith(".md") else content
        for name, content in files.items()
    }


def _links_mended(page: str, content: bytes, files: Container[str]) -> bytes:
    """A page in which a link to what is not in the release is its words alone."""

    def mended(link: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link[2]))
        return link[0] if target in files else link[1]

    return re.sub(r"\[([^\]]*)\]\((?!http|#)([^)#]+)[^)]*\)", mended, content.decode()).encode()


def export(out: Path) -> None:
    """Write the release: a zip where the name ends so, else a folder. UsageError where neither can be."""
    if out.suffix.lower() == ".zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(release().items()):
                add(archive, f"{NAME}/{name}", content)
        return
    if out.exists() and (not out.is_dir() or os.listdir(out)):
        raise UsageError(f"--out {out} is there already; give a new folder, or the name of a zip.")
    try:
        for name, content in release().items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(content)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written ({error.strerror}); give another.") from None
