"""Similar hand-ins: copies are found however they are dressed up, and independent work is not."""

import ast
import itertools
import re
import time
from dataclasses import replace

import pytest

from grader.classroom.page import html, pairs_html
from grader.classroom.similar import LEVEL, pairs, rare_mistakes, tokens
from tests.exercises import EXERCISES, FOUR
from tests.grader.attempts import REPOSITORY, SOLUTION
from tests.grader.classroom.classes import EX1, record, result, summary_of

WAYS_OF = {
    name: sorted((REPOSITORY / "tests" / "grader" / f"right_ways_{name}").glob("*.py")) for name in FOUR
}
WAYS = WAYS_OF["ex1"]
# Written without a look at right_ways_ex1/einsum.py: the same idea by another hand.
EINSUM = """
import math
import torch
from torch import nn
from torch.nn.functional import dropout, softmax
from gpt_core import MultiHeadAttention


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        width = cfg.n_embd
        self.cfg, self.config = cfg, cfg
        self.heads = cfg.n_head
        self.qkv = nn.Linear(width, width * 3, bias=False)
        self.proj = nn.Linear(width, width)
        self.rate = cfg.dropout

    def forward(self, tokens):
        batch, length, width = tokens.size()
        size = width // self.heads
        everything = self.qkv(tokens).reshape(batch, length, 3, self.heads, size)
        queries, keys, values = everything.unbind(2)
        weights = torch.einsum("bqhd,bkhd->bhqk", queries, keys) / math.sqrt(size)
        future = torch.ones(length, length, device=tokens.device).triu(1) > 0
        weights = softmax(weights.masked_fill(future, -math.inf), dim=3)
        weights = dropout(weights, self.rate, self.training)
        mixed = torch.einsum("bhqk,bkhd->bqhd", weights, values).flatten(2)
        return dropout(self.proj(mixed), self.rate, self.training)


def fuse_heads(old):
    new = FusedMultiHeadAttention(old.config).to(old.proj.weight)
    with torch.no_grad():
        parts = [getattr(head, name).weight for name in ("query", "key", "value") for head in old.heads]
        new.qkv.weight.copy_(torch.cat(parts))
        new.proj.load_state_dict(old.proj.state_dict())
    return new.train(old.training)
"""


def renamed(source: str) -> str:
    """Every variable, parameter and function that the file names itself has another name."""
    own = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
    names = {name: f"{name[::-1]}_{number}" for number, name in enumerate(sorted(own))}
    return re.sub(r"(?<![.\w\"'])[A-Za-z_]\w*", lambda match: names.get(match[0], match[0]), source)


def reordered(source: str) -> str:
    """The methods of each class, and the functions of the file, the other way round; all else stays."""
    return _reversed(source, ast.parse(source).body)


def _reversed(source: str, body: list[ast.stmt]) -> str:
    """A source whose functions in a body change places, and in its classes the methods."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            source = _reversed(source, node.body)
    lines = source.splitlines(keepends=True)
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    spans = [(min([d.lineno for d in f.decorator_list] + [f.lineno]) - 1, f.end_lineno) for f in functions]
    texts = ["".join(lines[first:last]).rstrip("\n") + "\n" for first, last in spans]
    for (first, last), text in reversed(list(zip(spans, reversed(texts)))):
        lines[first:last] = [text]
    return "".join(lines)


def commented(source: str) -> str:
    """Other comments and strings of documentation, and other blank lines."""
    source = re.sub(r'"""[\s\S]*?"""', '"""Mine."""', source)
    source = re.sub(r"(?m)\s*#.*$", "", source)
    return re.sub(r"(?m)^(\s+)(\w+ = .*)$", r"\1# I wrote this\n\1\2\n", source)


def of(*sources: str, ways=WAYS):
    """A class of these, and of right ways."""
    texts = [*sources, *(path.read_text(encoding="utf-8") for path in ways)]
    return [
        result(f"s{number:02}", f"s{number:02}.py", replace(record(), source=text), f"{number}")
        for number, text in enumerate(texts)
    ]


def found(results, exercise=EX1) -> set[tuple[str, str]]:
    alike = pairs(results, exercise)
    return {tuple(sorted((pair.one.entry.student, pair.other.entry.student))) for pair in alike}


def test_independent_right_files_are_no_pair_not_even_in_the_same_style():
    assert found(of(EINSUM)) == set()


@pytest.mark.parametrize("name", FOUR)
def test_no_right_ways_of_an_exercise_are_a_pair(name):
    """124 pairs of files in all, most of them by one hand; the most alike have 7 % in common."""
    assert len(WAYS_OF[name]) > 2
    assert found(of(ways=WAYS_OF[name]), EXERCISES[name]) == set()


@pytest.mark.parametrize("way", [*itertools.chain(*WAYS_OF.values())], ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "disguise",
    [renamed, reordered, commented, lambda source: renamed(reordered(commented(source)))],
    ids=["renamed", "reordered", "commented", "all three"],
)
def test_a_copy_is_found_however_it_is_dressed_up(way, disguise):
    name, source = way.parent.name.removeprefix("right_ways_"), way.read_text(encoding="utf-8")
    copy = disguise(source)
    assert copy != source
    original = f"s{1 + WAYS_OF[name].index(way):02}"
    assert found(of(copy, ways=WAYS_OF[name]), EXERCISES[name]) == {("s00", original)}


def test_what_many_have_and_what_the_workbook_has_says_nothing():
    stub = (REPOSITORY / EX1.stub_path).read_text(encoding="utf-8")
    assert found(of(SOLUTION, SOLUTION.replace("out", "mixed"), stub, stub + "\nx = 1\n")) == set()
    assert found(of(*[EINSUM] * 12)) == set()  # from one page, say: more than a fifth of the class


def test_a_pair_that_handed_in_together_is_none():
    together = of(EINSUM, EINSUM)
    together[1] = replace(together[1], entry=replace(together[1].entry, name="s00.py"))
    assert found(together) == set()


def test_the_lines_are_those_that_both_have():
    start = EINSUM.index("    def forward")
    mixed = EINSUM[: EINSUM.index("class Fused")] + "class Mine:\n" + EINSUM[start:]
    pair = pairs(of(EINSUM, mixed), EX1)[0]
    lines = EINSUM.split("\n")
    assert "weights = torch.einsum" in "".join(lines[line - 1] for line in pair.lines[0])
    assert "self.rate = cfg.dropout" not in "".join(lines[line - 1] for line in pair.lines[0])
    assert LEVEL <= pair.share <= 1


def test_tokens_are_cut_without_an_error_whatever_the_text_is():
    odd = ['"' * 3, "'" * 5, "\\", "\x00\ud800", "(" * 50_000, "def " * 999, "r" * 60_000]
    odd += ["\"'" * 30_000, '"""' * 20_001, "'\\" * 9_999, "'" * 3 + '"' * 3, ("'" * 3 + '"' * 3) * 9_999]
    for text in odd:
        began = time.monotonic()
        tokens(text)
        assert time.monotonic() - began < 2, text[:9]


def test_the_same_rare_mistake_is_a_second_signal():
    made = ["no_scale", "no_scale", *["mask_of_first_length"] * 6]
    results = [
        result(f"s{n}", f"s{n}.py", record("scale", mistakes=[mistake])) for n, mistake in enumerate(made)
    ]
    assert [(shared.mistake, len(shared.results)) for shared in rare_mistakes(results)] == [("no_scale", 2)]


def test_the_page_of_pairs_shows_both_sides_and_holds_no_markup_of_theirs():
    evil = EINSUM.replace("weights = torch.einsum", "x_ = '<img onerror=a>'; weights = torch.einsum")
    results = of(EINSUM, evil)
    alike = pairs(results, EX1)
    page = pairs_html(summary_of(*results), alike)
    assert "<img" not in page and "&lt;img onerror=a&gt;" in page and page.count("<pre>") == 2
    assert "never a verdict" in page and "s00 s00.py" in html(summary_of(*results), alike)


def test_two_hundred_hand_ins_are_compared_in_seconds():
    sources = [path.read_text(encoding="utf-8") for path in WAYS]
    texts = [f"{text}\nnumber = {n}\n" for n, text in zip(range(187), itertools.cycle(sources))]
    began = time.monotonic()
    assert pairs(of(*texts), EX1)
    assert time.monotonic() - began < 20
