"""The workbook in a notebook: cells that are an exercise's file, and calls that grade it.

    %%exercise ex1          first line of a cell: run the cell here, and save it as the exercise's file
    check(FusedMultiHeadAttention, fuse_heads)      grade what that cell defines
    %%grade ex1             both at once
    hint("ex1")   solution("ex1")   work("ex1")     one more hint, the solution, your file in a new cell

A grade runs in a process of its own, as on the command line: nothing that the kernel holds can change it. A
file is never replaced before a dated copy of it is kept, and a cell that is still the empty sheet replaces
nothing.
"""

import ast
import html
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from grader.judge.sources import python_lines
from grader.learner import files
from grader.workbook import REPOSITORY, shown, write_atomically
from tests.exercises import EXERCISES, Exercise

MAIN = re.compile(r"^if __name__ == .__main__.:.*", re.MULTILINE | re.DOTALL)
_defined: dict[str, dict] = {}  # per exercise what its cell defined when it last ran, by name


def begin(*names: str) -> None:
    """Make the magics known to the notebook, and write the sheets of these exercises that are missing."""
    ip = _ip()
    for magic in (exercise, grade):
        ip.register_magic_function(magic, "cell", magic.__name__)
    original = ip.find_cell_magic("writefile")
    if not getattr(original, "keeps_work", False):

        def writefile(line: str, cell: str) -> None:
            """%%writefile, which keeps a copy of an exercise's file before it writes it anew."""
            for known in EXERCISES.values():
                if line.split() and Path(line.split()[-1]).name == known.file:
                    files.keep(known.name)
            original(line, cell)

        writefile.keeps_work = True
        ip.register_magic_function(writefile, "cell", "writefile")
    files.keep(*names)
    print("The workbook is in", REPOSITORY)


def run(*arguments: str) -> int:
    """python ARGUMENTS in a process of its own; shows what it prints, and returns its exit status."""
    with _started(*arguments) as command:
        for line in command.stdout:
            print(line, end="", flush=True)
    return command.returncode


def exercise(line: str, cell: str) -> None:
    """%%exercise NAME: run the cell here and save it as the exercise's file."""
    named = _named(line)
    if named is None:
        return
    # The comment stands where the magic stood, so that line 7 of the file is line 7 of the cell.
    source = f"# {named.name}, from a notebook: line 1 of the cell\n{cell.rstrip()}\n"
    _save(named, cell, "\n".join(python_lines(source)))
    ip = _ip()
    for name in named.defines:
        ip.user_ns.pop(name, None)  # what an earlier run defined is not this cell's
    result = ip.run_cell(_without_main(source), store_history=False)
    _defined[named.name] = {name: ip.user_ns[name] for name in named.defines if name in ip.user_ns}
    if result.success:
        missing = [name for name in named.defines if name not in ip.user_ns]
        print(
            f"Saved as {named.attempt_path}." + f" It does not define {', '.join(missing)}." * bool(missing)
        )


def grade(line: str, cell: str) -> None:
    """%%grade NAME: run the cell here, save it, and grade it. `%%grade NAME --training` trains as well."""
    words = line.split()
    named = _named(" ".join(word for word in words if word != "--training"))
    if named is not None:
        exercise(named.name, cell)
        show_grade(named, "--training" in words)


def check(*objects, training: bool = False) -> None:
    """Grade the exercise that these classes and functions belong to.

    objects: what the cell that begins with %%exercise defines, or the exercise's name. training: whether the
    long training runs of the exercise are made, too.
    """
    names = [each if isinstance(each, str) else getattr(each, "__name__", repr(each)) for each in objects]
    fits = [each for each in EXERCISES.values() if names and set(names) <= {each.name, *each.defines}]
    fits = [each for each in fits if all(_is_of(each, one) for one in objects)] or fits
    if not fits:
        print(f"No exercise defines {', '.join(names) or 'nothing'}; check(..) takes what your cell defines.")
        return
    named = fits[0]
    wrong = [name for name, one in zip(names, objects) if not _is_of(named, one)]
    if wrong:
        print(
            f"{', '.join(wrong)}: not from the cell that was saved last. Let the cell begin with the line "
            f"%%exercise {named.name}, run it, and check again."
        )
        return
    show_grade(named, training)


def hint(name: str) -> None:
    """One more hint each time."""
    _call(name, "--hint")


def solution(name: str, force: bool = False) -> None:
    """The solution, and where yours differs."""
    _call(name, "--solution", *["--force"] * force)


def work(name: str) -> None:
    """Put what stands in the exercise's file into a new cell, to go on with it."""
    named = _named(name)
    if named is None:
        return
    lines = (REPOSITORY / named.attempt_path).read_text(encoding="utf-8").splitlines()
    if lines and lines[0].startswith(f"# {named.name}, from a notebook"):
        lines = lines[1:]
    _ip().set_next_input(f"%%exercise {named.name}\n" + "\n".join(lines))


def show_grade(named: Exercise, training: bool) -> None:
    """Grade an exercise's file and show the report: the page with pictures where there is one, else text."""
    quick = ["--quick"] if named.training and not training else []
    if _has_pictures():
        _show_page(named, quick)
    else:
        run("grade.py", named.name, *quick)
    if quick:
        print("The training runs were left out; check(.., training=True) makes them.")


def _has_pictures() -> bool:
    """Whether the grader can write its report as a page."""
    from grader.cli import parser

    return "--html" in parser().format_help()


def _show_page(named: Exercise, quick: list[str]) -> None:
    """The report as a page in a frame, and as text below it, for who opens it; text alone without a page."""
    from IPython.display import display

    print(f"Grading {named.attempt_path} ..", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        with _started("grade.py", named.name, *quick, "--html", str(path)) as command:
            text = command.stdout.read()
        page = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not page:
        print(text)
        return
    # In a frame of its own, the page's style and script do not meet the notebook's.
    frame = (
        f'<iframe srcdoc="{html.escape(page)}" sandbox="allow-scripts" title="the report of {named.name}" '
        'style="width:100%;height:640px;border:1px solid #8886"></iframe>'
        f"<details><summary>the report as text</summary><pre>{html.escape(text)}</pre></details>"
    )
    display({"text/html": frame, "text/plain": text}, raw=True)


def _started(*arguments: str) -> subprocess.Popen:
    # Notebooks ask programs for colours, and would get the moving parts of a terminal with them.
    coloured = ("FORCE_COLOR", "COLOR_FORCE")
    plain = {name: value for name, value in os.environ.items() if not name.endswith(coloured)}
    return subprocess.Popen(
        [sys.executable, "-u", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env={**plain, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"},
    )


def _call(name: str, *options: str) -> None:
    if _named(name):
        run("grade.py", name, *options)


def _ip():
    from IPython import get_ipython

    ip = get_ipython()
    if ip is None:
        raise RuntimeError("this is for notebooks; on the command line: python grade.py ex1")
    return ip


def _named(line: str) -> Exercise | None:
    if line.strip() in EXERCISES:
        return EXERCISES[line.strip()]
    print(f"There is no exercise {line.strip()!r}; there are {', '.join(EXERCISES)}.")
    return None


def _is_of(named: Exercise, one) -> bool:
    """Whether it is what the cell of this exercise defined when it last ran, or the exercise's name."""
    if isinstance(one, str):
        return one == named.name
    return any(one is known for known in _defined.get(named.name, {}).values())


def sheet(named: Exercise) -> tuple[str, str, str]:
    """The stub in three parts: its docstring, what a learner fills in, and what a script does at the end."""
    stub = (REPOSITORY / named.stub_path).read_text(encoding="utf-8")
    tree = ast.parse(stub)
    docstring = ast.get_docstring(tree)
    body = "".join(stub.splitlines(keepends=True)[tree.body[0].end_lineno if docstring else 0 :])
    script = MAIN.search(body)
    return docstring or "", MAIN.sub("", body).strip("\n"), script[0].strip("\n") if script else ""


def _save(named: Exercise, cell: str, source: str) -> None:
    path = REPOSITORY / named.attempt_path
    _, empty, script = sheet(named)
    if cell.strip() == empty.strip():
        if path.exists() and not files.is_stub(named):
            print(
                f"{shown(path)} holds work of yours, and this cell is the empty sheet: the file was left as "
                f'it is. work("{named.name}") puts it into a cell.'
            )
        return
    if script and not MAIN.search(source):
        source += f"\n\n{script}\n"
    if path.exists() and path.read_bytes() == source.encode():
        return
    files.keep(named.name, quietly=True)
    write_atomically(path, source)


def _without_main(source: str) -> str:
    """The source without what only a script does: in a notebook __name__ is "__main__", too."""
    return MAIN.sub("", source)
