"""What a hand-in is: notebooks, zips, folders, Markdown and other encodings come to Python source, or to one
sentence."""

import io
import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from grader.judge import sources
from grader.judge.grade import Source, grade, read_source
from grader.learner.notebook import sheet
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY, SOLUTION

EX1 = EXERCISES["ex1"]


def notebook(*cells: str, language="python", **more) -> bytes:
    """A notebook of code cells, each under a text cell."""
    made = []
    for cell in cells:
        made.append({"cell_type": "markdown", "metadata": {}, "source": ["## text\n", "class NotThis:"]})
        made.append(
            {"cell_type": "code", "metadata": {}, "source": cell.splitlines(keepends=True), "outputs": []}
        )
    metadata = {"kernelspec": {"language": language, "name": "python3"}}
    return json.dumps(
        {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5} | more
    ).encode()


def zipped(members: dict[str, str], **options) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text, **options)
    return data.getvalue()


def lines(code: sources.Code) -> list[str]:
    return code.data.decode().split("\n")


def read(name: str, data: bytes | str) -> sources.Code:
    return sources.read(name, data.encode() if isinstance(data, str) else data, EX1)


def test_every_exercise_says_which_names_it_asks_for():
    assert EX1.defines == ("FusedMultiHeadAttention", "fuse_heads")
    for exercise in EXERCISES.values():
        stub = (REPOSITORY / exercise.stub_path).read_text()
        assert all(f"def {name}" in stub or f"class {name}" in stub for name in exercise.defines)


def test_a_python_file_is_taken_as_it_is_to_the_byte():
    for data in (
        b"\xef\xbb\xbfx = 1\r\n",
        b"# coding: latin-1\ns = '\xe9'\n",
        b'"""\n```python\ny = 2\n```\n"""\n',
        b"x = (",
        b"\0",
        b"",
    ):
        code = read("a.py", data)
        assert (code.data, code.places, code.remarks, code.problem) == (data, (), (), "")


def test_a_notebook_gives_its_code_cells_and_each_line_its_place():
    code = read("a.ipynb", notebook("import torch\nx = 1", "", "def f():\n    return 2"))
    assert lines(code) == ["import torch", "x = 1", "def f():", "    return 2"]
    assert [code.place(line) for line in (1, 2, 3, 4, 5)] == [
        "cell 1, line 1",
        "cell 1, line 2",
        "cell 2, line 1",
        "cell 2, line 2",
        "line 5",
    ]
    assert code.remarks == (
        "It is a notebook: its 2 code cells are run from the first to the last, and counted so.",
    )


COMMANDS = {
    # a cell: its lines as Python
    "%matplotlib inline\nx = 1": ["pass", "x = 1"],
    "!pip install \\\n  torch\nx = 1": ["pass", "  pass", "x = 1"],
    "if x:\n    !ls\n    y = 2": ["if x:", "    pass", "    y = 2"],
    "files = !ls\nt = %timeit -o f()": ["pass", "pass"],
    "torch.nn.Linear?\n?torch\nx": ["pass", "pass", "x"],
    '!echo "it\'s"\nx = 1': ["pass", "x = 1"],
    # These are no commands.
    'text = """\n%d and\n!no\n"""': ['text = """', "%d and", "!no", '"""'],
    "y = (7\n  % 2)": ["y = (7", "  % 2)"],
    "y = 7 \\\n  % 2": ["y = 7 \\", "  % 2"],
    "a = '(' # ' (\n%time f()": ["a = '(' # ' (", "pass"],
    "a = b != c\nprint('%d' % 3)": ["a = b != c", "print('%d' % 3)"],
    "%%time\nx = 1": ["pass", "x = 1"],
}


@pytest.mark.parametrize("cell", COMMANDS)
def test_commands_for_notebooks_are_left_out_and_nothing_else_is(cell):
    code = read("a.ipynb", notebook(cell))
    assert lines(code) == COMMANDS[cell]
    left_out = sum(old != new for old, new in zip(cell.split("\n"), lines(code)))
    assert ("left out" in " ".join(code.remarks)) == bool(left_out)
    if left_out:
        assert code.remarks[1].startswith(f"{left_out} line")


def test_a_cell_of_another_language_is_left_out_whole_and_said():
    code = read("a.ipynb", notebook("%%bash\nls", "x = 1", "%%html\n<b>"))
    assert lines(code) == ["x = 1"] and code.place(1) == "cell 2, line 1"
    assert code.remarks[-1] == "Cells left out: %%bash, %%html."


def test_the_cell_that_writes_the_exercises_file_is_the_exercise():
    # As in exercises/workbook.ipynb, whose other cells install and grade.
    own = f"%%writefile exercises/{EX1.file}\n{SOLUTION}"
    code = read(
        "workbook.ipynb",
        notebook("raise SystemExit", "%%writefile helper.py\nSIZE = 3", own, "run('grade.py')"),
    )
    assert code.data.decode() == SOLUTION
    assert code.place(1) == "cell 3, line 2"
    assert code.helpers == {"helper.py": b"SIZE = 3"}


def test_the_workbooks_own_notebook_is_read_for_every_exercise():
    for exercise in EXERCISES.values():
        book = "more/menu.ipynb" if exercise.of_menu else "workbook.ipynb"
        data = (REPOSITORY / "exercises" / book).read_bytes()
        code = sources.read("workbook.ipynb", data, exercise)
        assert code.data.decode().strip() == sheet(exercise)[1]
        assert code.place(1) == f"cell {code.remarks[0].split('cell ')[1].split()[0]}, line 2"


def test_of_several_cells_for_an_exercise_the_last_one_is_taken_and_those_of_others_are_not():
    cells = ["%%exercise ex1\nx = 1", "%%grade ex1 --training\n%time y()\nx = 2", "%%exercise ex2\nx = 3"]
    code = read("a.ipynb", notebook(*cells))
    assert lines(code) == ["pass", "x = 2"] and code.place(2) == "cell 2, line 3"
    assert code.remarks == ("Of the notebook, code cell 2 was taken: it begins with %%grade ex1.",)
    code = read("a.ipynb", notebook("x = 1", "%%exercise ex2\nx = 3"))
    assert lines(code) == ["x = 1"] and code.remarks[-1] == "Cells left out: %%exercise."


FENCED = 'Here\'s the code (as you asked:\n\n```python\n{}\n```\n\nIt\'s """fused.\n'


def test_the_code_between_fences_is_taken_from_markdown_and_keeps_its_lines():
    for name in ("a.md", "a.txt", "a.py"):
        code = read(name, FENCED.format("import torch\nx = 1"))
        assert lines(code) == ["import torch", "x = 1"]
        assert code.place(2) == "line 5"
        assert code.remarks == (
            "The code between ``` was taken, lines 4 to 5; the text around it is no Python.",
        )
    assert lines(read("a.md", "```\r\nx = 1\r\n```\r\n")) == ["x = 1"]
    assert lines(read("a.md", "```python\nx = 1\n")) == ["x = 1", ""]


def test_of_several_blocks_the_one_that_defines_the_exercise_is_taken():
    text = (
        "```bash\nls\n```\n```python\n" + SOLUTION + "```\nUse it so:\n```python\nfuse_heads(baseline)\n```\n"
    )
    assert read("a.md", text).data.decode() + "\n" == SOLUTION
    two = read("a.md", "```python\nx = 1\n```\n```python\ny = 2\n```\n")
    assert two.data == b"" and "2 blocks of code" in two.problem and "1, 4" in two.problem


REFUSED = {
    # name: (file name, bytes, words of the sentence)
    "UTF-16 with a mark": ("a.py", SOLUTION.encode("utf-16"), "text in UTF-16; save it as UTF-8"),
    "UTF-16 without a mark": ("a.py", SOLUTION.encode("utf-16-le"), "text in UTF-16"),
    "UTF-16, the other way": ("a.py", SOLUTION.encode("utf-16-be"), "text in UTF-16"),
    "UTF-32": ("a.py", SOLUTION.encode("utf-32"), "UTF-32"),
    "a comment in Latin-1": (
        "a.py",
        b"x = 1\n\n# caf\xe9\n",
        'line 3 has the byte 0xE9 (in Latin-1 it is "\xe9")',
    ),
    "a comment in Latin-1 in the first line": (
        "a.py",
        "# é, ".encode() + b"caf\xe9\n",
        "line 1 has the byte 0xE9",
    ),
    "a PDF": ("a.py", b"%PDF-1.7\n", "it is a PDF"),
    "a picture": ("a.py", b"\x89PNG\r\n", "it is a picture"),
    "a web page": ("a.py", b"\n<!doctype HTML><html>", "it is a web page"),
    "a notebook cut short": ("a.ipynb", notebook("x = 1")[:-20], "cannot be read as one"),
    "a notebook that is a list": ("a.ipynb", b"[]", "cannot be read as one"),
    "a notebook with no cells in it": ("a.ipynb", b'{"cells": [null]}', "cannot be read as one"),
    "a notebook in R": ("a.ipynb", notebook("x <- 1", language="R"), "its language is R"),
    "a deep notebook": ("a.ipynb", b'{"cells": ' + b"[" * 100_000, "cannot be read as one"),
    "more than a source": ("a.py", b"#" * (1 << 20) + b"#", "larger than"),
    "a zip with nothing": ("a.zip", zipped({"readme.txt": "x"}), "has none (it has no Python file)"),
    "a zip cut short": ("a.zip", zipped({"a.py": SOLUTION})[:-30], "cannot be unpacked"),
    "a zip that leads out": ("a.zip", zipped({"../ex1.py": SOLUTION}), "leads out of its folder"),
    "a zip with a root": ("a.zip", zipped({"/etc/ex1.py": SOLUTION}), "leads out of its folder"),
    "a bomb": ("a.zip", zipped({"a.py": "#" * (8 << 20)}), "a file of 8,388,608 bytes"),
    "very many files": ("a.zip", zipped({f"{n}.py": "" for n in range(1001)}), "at most 1,000"),
    "a document": (
        "a.docx",
        zipped({"[Content_Types].xml": "", "word/document.xml": ""}),
        "document of an office program",
    ),
    "two that define it": (
        "a.zip",
        zipped({"a.py": SOLUTION, "b.py": SOLUTION}),
        "2 such files (a.py, b.py)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_python_is_refused_in_one_sentence(name):
    file, data, words = REFUSED[name]
    code = read(file, data)
    assert code.data == b"" and words in code.problem
    assert "\n" not in code.problem and len(code.problem) < 400


def test_a_zip_with_a_link_or_a_password_is_refused():
    link = zipfile.ZipInfo("ex1.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(link, "../../solutions/ex1_fused_attention.py")
    assert "symbolic link" in read("a.zip", data.getvalue()).problem
    locked = bytearray(zipped({"a.py": SOLUTION}))
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert "password" in read("a.zip", bytes(locked)).problem


def test_a_zip_whose_headers_lie_about_its_size_is_read_no_further_than_the_limit(monkeypatch):
    data = bytearray(zipped({"a.py": "#" * 100_000}))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (10).to_bytes(4, "little")
    monkeypatch.setattr(sources, "LARGEST_FILE", 1000)
    code = read("a.zip", bytes(data))
    assert code.data == b"" and code.problem


def test_the_exercise_in_a_zip_is_the_file_of_its_name_or_the_one_that_defines_it():
    named = {
        "me/" + EX1.file: SOLUTION,
        "me/notes.py": SOLUTION,
        "__MACOSX/me/._" + EX1.file: "x",
        "me/.ipynb_checkpoints/a.py": SOLUTION,
    }
    code = read("a.zip", zipped(named))
    assert code.data.decode() == SOLUTION and code.name == EX1.file
    assert code.remarks[0] == f"Of the zip a.zip, me/{EX1.file} was taken."
    one = read("a.zip", zipped({"x/main.py": "print()", "x/mine.py": SOLUTION, "y/far.py": ""}))
    assert one.name == "mine.py" and set(one.helpers) == {"main.py"}
    inside = read("a.zip", zipped({"mine.ipynb": notebook("%pip install x", SOLUTION).decode()}))
    assert inside.place(2) == "cell 2, line 1" and len(inside.remarks) == 3


def test_a_folder_is_read_like_a_zip_without_its_links_and_environments(tmp_path):
    hand_in = tmp_path / "hand-in"
    for name, text in (
        ("mine.py", SOLUTION),
        ("helper.py", "SIZE = 3"),
        (".git/mine.py", SOLUTION),
        ("venv/lib/x.py", SOLUTION),
    ):
        (hand_in / name).parent.mkdir(parents=True, exist_ok=True)
        (hand_in / name).write_text(text)
    (hand_in / "venv" / "pyvenv.cfg").write_text("")
    (tmp_path / "other.py").write_text(SOLUTION)
    os.symlink(tmp_path / "other.py", hand_in / "link.py")
    source = read_source(hand_in)
    code = source.code(EX1)
    assert code.name == "mine.py" and code.helpers == {"helper.py": b"SIZE = 3"}
    assert len(source.sha256) == 64
    assert "has none" in read_source(hand_in).code(EXERCISES["ex3"]).problem


@pytest.mark.slow
def test_a_notebook_is_graded_and_its_failure_names_the_cell(session):
    cells = [
        "%matplotlib inline\nimport torch",
        SOLUTION.replace("scores, dim=-1", "scores, dim=-2"),
        "print('end')",
    ]
    verdict = grade(session, "ex1", Source(Path("a.ipynb"), notebook(*cells)), device="cpu")
    assert verdict.mistakes == ["softmax_over_queries"]
    assert verdict.read_as[1] == "1 line with commands for notebooks (%, ! or ?) left out."
    line = max(
        number for number, text in enumerate(SOLUTION.splitlines(), 1) if text == "        B, T, C = x.shape"
    )
    cells[1] = SOLUTION.replace("        B, T, C = x.shape", "        B, T = x.shape")
    verdict = grade(
        session, "ex1", Source(Path("a.ipynb"), notebook(*cells)), device="cpu", only=["runs", "output"]
    )
    assert verdict.checks[3].details[0].startswith(f"cell 2, line {line}, in forward")
    cells[1] = SOLUTION + "x = (1\ny = 2]\n"
    verdict = grade(session, "ex1", Source(Path("a.ipynb"), notebook(*cells)), device="cpu", only=["runs"])
    count = len(SOLUTION.splitlines())
    assert f"opening parenthesis '(' on cell 2, line {count + 1}" in verdict.checks[0].message
    assert verdict.checks[0].details[0].startswith(f"cell 2, line {count + 2}, ")


@pytest.mark.slow
def test_an_endless_loop_in_a_notebook_is_told_its_cell(session):
    source = Source(Path("a.ipynb"), notebook(SOLUTION, "x = 1\nwhile True:\n    x = 2"))
    verdict = grade(session, "ex1", source, device="cpu", only=["runs"])
    assert verdict.checks[0].details[0].startswith("cell 2, line ")
    assert "while it was imported" in verdict.checks[0].message
