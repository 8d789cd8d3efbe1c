"""The lecture's notes: code, mistakes and figures on the pages are those of their sources, and commands are
ones that there are."""

import doctest
import re
import shlex

import pytest
import torch

from docs.lecture import tried
from gpt_core import GPTConfig
from grader import cli
from grader.author import lecture
from grader.author.lecture import BLOCK, NUMBER, pages

NAMES = {page.name: page for page in pages()}
# Figures that the lecture, a paper or a table of others gives, and that nothing here measures.
CITED = {"1.48", "2.24"} | {figure for _, *figures in lecture.RUNGS.values() for figure in figures}


def text_of(name: str) -> str:
    return NAMES[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_what_a_page_takes_from_elsewhere_is_as_it_is_there(name):
    assert text_of(name) == lecture.filled(text_of(name)), "run python -m grader.author.lecture"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if "<!-- printed" in text_of(name)])
def test_what_a_script_prints_is_what_the_page_shows(name):
    assert text_of(name) == lecture.filled(text_of(name), run=True), (
        "run python -m grader.author.lecture --run"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_on_a_page_is_measured_or_cited(name):
    prose = NUMBER.sub("", re.sub(r"```.*?```", "", BLOCK.sub("", text_of(name)), flags=re.DOTALL))
    prose = re.sub(r"!\[.*?\]|^ {4}.*?$|`.*?`", "", prose, flags=re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"\b\d+\.\d{2,}\b", prose)) <= CITED


@pytest.mark.parametrize("name", [name for name in NAMES if name != "README.md"])
def test_a_page_has_every_part_that_a_page_has_and_a_picture(name):
    text = text_of(name)
    headings = re.findall(r"^## (.*)$", text, re.M)
    wanted = ["The idea", "The shapes", "The code", "Now run", "The loss here"]
    wanted += ["Why so, and what one would try first", "The two commonest mistakes"]
    assert [heading for heading in headings if heading in wanted] == wanted
    assert re.search(r"!\[[^\]]{40,}\]\(\w+\.svg\)", text)
    assert re.search(r"^\*\d:\d\d to \d:\d\d in the lecture", text, re.M)
    assert len(re.search(r"<!-- mistakes (.*?) -->", text)[1].split()) == 2
    assert text_of("README.md").count(f"({name})") == 1


def parsers() -> dict:
    from gpt_core import experiment, plot, sample, train

    modules = {"train": train, "sample": sample, "plot": plot, "experiment": experiment}
    return {f"-m gpt_core.{name}": module.parser() for name, module in modules.items()} | {
        "grade.py": cli.parser()
    }


def commands() -> set[str]:
    shown = "\n".join(text_of(name) for name in NAMES)
    return {line.split("#")[0].strip() for line in re.findall(r"^ {4}python (.*)$", shown, re.M)}


def test_every_command_on_the_pages_takes_the_options_that_it_is_given():
    known, tried_ones = parsers(), 0
    for command in commands():
        for start, parser in known.items():
            if command.startswith(start + " "):
                parser.parse_args(shlex.split(command.removeprefix(start)))
                tried_ones += 1
    assert tried_ones >= 10
    scripts = {words[0] for words in map(shlex.split, commands()) if words[0].endswith(".py")}
    assert all((lecture.REPOSITORY / script).is_file() for script in scripts)


def test_every_preset_on_the_pages_is_one_that_there_is():
    from gpt_core.training.presets import PRESETS

    shown = {command.split()[2] for command in commands() if command.startswith("-m gpt_core.train ")}
    assert shown and shown <= set(PRESETS)


def test_a_name_that_there_is_not_is_refused_with_what_is_missing():
    for block, reason in (
        ("code gpt_core/layers.py Head.backward", "no Head.backward"),
        ("mistakes ex1:no_such", "no mistake ex1:no_such"),
        ("losses trigram", "no rung trigram"),
    ):
        with pytest.raises(ValueError, match=reason):
            lecture.filled(f"<!-- {block} -->\n<!-- end -->\n")
    with pytest.raises(ValueError, match="no ladder.trigram"):
        lecture.filled("2.50<!-- ladder.trigram.loss -->")


def test_a_number_keeps_its_form():
    assert lecture.filled("0.0<!-- ladder.bigram.loss -->") == "2.5<!-- ladder.bigram.loss -->"
    assert lecture.filled("1,000<!-- text.characters -->") == "1,115,394<!-- text.characters -->"


def test_the_python_sessions_on_the_pages_print_what_they_show():
    parser, runner, found = doctest.DocTestParser(), doctest.DocTestRunner(), 0
    for name in NAMES:
        session = parser.get_doctest(text_of(name), {}, name, name, 0)
        found += len(session.examples)
        assert runner.run(session).failed == 0, name
    assert found


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (3, 8, 4)])
def test_the_four_ways_to_average_the_past_agree(shape):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    right = torch.stack([x[:, : t + 1].mean(dim=1) for t in range(shape[1])], dim=1)
    nothing = torch.zeros(shape[2], 2, dtype=torch.float64)
    for found in (
        tried.average_by_loops(x),
        tried.average_by_product(x),
        tried.average_by_softmax(x),
        tried.average_by_attention(x, nothing, nothing),
    ):
        torch.testing.assert_close(found, right)


def test_the_fourth_way_is_the_head_of_gpt_core():
    from gpt_core import Head

    torch.manual_seed(0)
    head = Head(GPTConfig(vocab_size=65, block_size=8, n_head=1, n_embd=6, dropout=0.0))
    x = torch.randn(2, 5, 6)
    with torch.no_grad():
        head.value.weight.copy_(torch.eye(6))  # the fourth way averages the inputs, and has no values
    found = tried.average_by_attention(x, head.query.weight.T, head.key.weight.T)
    torch.testing.assert_close(found, head(x))


@pytest.mark.parametrize("kind", [tried.NoSums, tried.NoNormsNoSums])
def test_a_stack_without_sums_passes_on_nothing_past_its_blocks(kind):
    torch.manual_seed(0)
    model = kind(GPTConfig(vocab_size=5, block_size=4, n_layer=2, n_head=2, n_embd=8, dropout=0.0)).eval()
    idx = torch.tensor([[0, 1, 2, 3]])
    with torch.no_grad():
        model.blocks[0].feed_forward.net[2].weight.zero_()
        cut = model(idx)[0]
        assert torch.equal(cut, model(idx.flip(1))[0])  # whatever the tokens are, it does not come through
