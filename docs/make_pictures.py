"""Make the README's two pictures, grade.svg and positions.png, in this folder.

    python solutions/ex4_rope.py --device cpu --threads 1     # first: the runs that positions.png shows
    python docs/make_pictures.py

Needs matplotlib: python -m pip install -c constraints.txt -e ".[plot]". Each picture stays below 100 KB, so
that the page opens at once.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
from rich.console import Console
from rich.text import Text

from gpt_core.plot import draw_positions

DOCS = Path(__file__).parent
REPOSITORY = DOCS.parent
COLUMNS, ROWS = 100, 40
EXAMPLE = ["grade.py", "ex1", "--attempt", "tests/exercises/ex1/example_attempt.py"]


def draw_grade(out: Path) -> None:
    """The report of the example attempt, which has a mistake in it, as an SVG."""
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    # A busy machine still has the time to find the mistake. Standard error holds the moving progress line.
    environment = os.environ | terminal | {"GRADE_PATIENCE": "10", "PYTHONIOENCODING": "utf-8"}
    graded = subprocess.run(
        [sys.executable, *EXAMPLE],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    if graded.returncode != 1:
        raise SystemExit(f"The example attempt must fail, with status 1; it came to {graded.returncode}.")
    command = "python " + " ".join(EXAMPLE)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, highlight=False)
        console.print(
            Text(f"$ {command}\n"), Text.from_ansi(graded.stdout.rstrip()), sep="\n", soft_wrap=True
        )
        svg = console.export_svg(title="python grade.py")
    out.write_text(_without_web_fonts(svg), encoding="utf-8")


def _without_web_fonts(svg: str) -> str:
    """rich's pictures load a font from another site, which a page may refuse; a font of the reader's
    serves."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace(
        "font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, Consolas, monospace"
    )


def draw_experiment(results: Path, out: Path) -> None:
    """The loss by position of exercise 4's experiment, from its results.json."""
    found = json.loads(results.read_text(encoding="utf-8"))
    names = ["position table", "rotary"]  # the baseline stands first
    block_size = found["arms"][0]["block_size"]
    matplotlib.rcParams["savefig.dpi"] = 100
    draw_positions(
        dict(zip(names, (arm["runs"] for arm in found["positions"]))),
        dict(zip(names, (arm["cropped"] for arm in found["positions"]))),
        block_size,
        out,
        bin=max(1, block_size // 8),
    )


def main() -> None:
    draw_grade(DOCS / "grade.svg")
    finished = sorted(
        REPOSITORY.glob("runs/experiments/RotaryAttention-*/results.json"), key=lambda p: p.stat().st_mtime
    )
    if not finished:
        raise SystemExit(
            "grade.svg is made. For positions.png run the experiment first: python solutions/ex4_rope.py"
        )
    draw_experiment(finished[-1], DOCS / "positions.png")
    for name in ("grade.svg", "positions.png"):
        print(f"{name}: {(DOCS / name).stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
