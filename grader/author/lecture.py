"""`python -m grader.author.lecture` fills in what the pages of docs/lecture take from elsewhere: code from
gpt_core, mistakes from the catalogues, figures from figures.json.

A page says between which lines something stands, as comments that a reader does not see:

    <!-- code gpt_core/layers.py Head.forward -->      a class, a function or a method, by its name
    <!-- mistakes ex1:no_mask ex1:no_scale -->         entries of the catalogues, by exercise and id
    <!-- losses bigram single-head -->                 rows of the ladder
    <!-- printed docs/lecture/tried.py -->             what a script prints (with --run; it imports torch)
    <!-- end -->

and which number is a measured one: `2.50<!-- ladder.bigram.loss -->`. The number keeps its form: as many
decimals as it has, commas where it has them.
"""

import ast
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from grader.workbook import REPOSITORY
from tests.exercises import EXERCISES

FOLDER = REPOSITORY / "docs" / "lecture"
BLOCK = re.compile(r"(<!-- (code|mistakes|losses|printed) ([^\n]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
NUMBER = re.compile(r"(\d[\d,]*(?:\.\d+)?)(<!-- ([\w.-]+) -->)")

# Title, the lecture's figure, a published one. The lecture's are said and shown in the video: the bigram from
# 0:37 on, one head 1:21, four heads 1:24, residual blocks 1:32, norms 1:37. The published ones are a table of
# others, whose settings are not known to us.
RUNGS = {
    "bigram": ("this character alone", "2.5", "2.58"),
    "single-head": ("one head", "2.4", "2.41"),
    "multi-head": ("four heads", "2.28", "2.28"),
    "transformer": ("three blocks, no norms", "2.08", "2.17"),
    "gpt": ("GPT: three blocks with norms", "2.06", "1.64"),
}


def pages() -> list[Path]:
    return sorted(FOLDER.glob("*.md"))


def figures() -> dict:
    return json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))


def filled(page: str, run: bool = False) -> str:
    """The text of a page with its blocks and numbers as they are now; `run` runs scripts for theirs.

    Raises ValueError for a name that there is not.
    """
    makers = {"code": code, "mistakes": mistakes, "losses": losses}
    if run:
        makers["printed"] = printed

    def block(match: re.Match) -> str:
        begin, kind, words, old, end = match.groups()
        return begin + (makers[kind](*words.split()) if kind in makers else old) + end

    measured = figures()
    page = BLOCK.sub(block, page)
    return NUMBER.sub(lambda match: _number(match[1], match[3], measured) + match[2], page)


def code(path: str, *names: str) -> str:
    """The source of the named classes, functions or methods of a file, in a fence, and where it is from."""
    source = (REPOSITORY / path).read_text(encoding="utf-8")
    parts = [textwrap.dedent(_source_of(source, path, name)) for name in names]
    fence = "```python\n" + "\n\n\n".join(part.strip("\n") for part in parts) + "\n```\n"
    listed = ", ".join(f"`{name}`" for name in names)
    return f"{fence}\n{listed}, from [{path}](../../{path})\n"


def _source_of(source: str, path: str, name: str) -> str:
    body = ast.parse(source).body
    for part in name.split("."):
        kinds = (ast.FunctionDef, ast.ClassDef)
        found = [node for node in body if isinstance(node, kinds) and node.name == part]
        if not found:
            raise ValueError(f"{path} has no {name}: there is no {part} in it.")
        node, body = found[0], found[0].body
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno])


def mistakes(*ids: str) -> str:
    """An entry each, with a link to the page of its exercise."""
    lines = []
    for name in ids:
        exercise, _, wanted = name.partition(":")
        catalogue = EXERCISES[exercise].mistakes() if exercise in EXERCISES else ()
        found = [mistake for mistake in catalogue if mistake.id == wanted]
        if not found:
            raise ValueError(f"there is no mistake {name}; write it as ex1:no_mask.")
        lines.append(
            f"- **{found[0].name}** (`{wanted}`, [{exercise}](../mistakes/{exercise}.md)). {found[0].why}"
        )
    return "\n".join(lines) + "\n"


def losses(*rungs: str) -> str:
    """A table of the ladder: what was measured here, what the lecture reaches, and what was published."""
    measured = figures()
    lines = ["| rung | parameters | here | the lecture | published |", "|---|---|---|---|---|"]
    for rung in rungs:
        if rung not in RUNGS:
            raise ValueError(f"there is no rung {rung}; the rungs are {', '.join(RUNGS)}.")
        title, lecture, published = RUNGS[rung]
        count, loss = measured["parameters"][rung], measured["ladder"][rung]["loss"]
        lines.append(f"| `{rung}`, {title} | {count:,} | {loss:.2f} | {lecture} | {published} |")
    return "\n".join(lines) + "\n"


def printed(script: str, *arguments: str) -> str:
    """What the script prints, in a fence."""
    command = [sys.executable, script, *arguments]
    found = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    return f"```text\n{found.stdout.rstrip()}\n```\n"


def _number(old: str, key: str, measured: dict) -> str:
    value = measured
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"figures.json has no {key}.")
        value = value[part]
    if isinstance(value, dict):
        raise ValueError(f"{key} in figures.json is no number.")
    decimals = len(old.partition(".")[2])
    # A number that was 1,000 or more and has no comma was written without commas on purpose.
    commas = "" if len(old) > 3 and "," not in old else ","
    return f"{value:{commas}.{decimals}f}"


def main(arguments: list[str]) -> None:
    for page in pages():
        text = page.read_text(encoding="utf-8")
        page.write_text(filled(text, run="--run" in arguments), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
