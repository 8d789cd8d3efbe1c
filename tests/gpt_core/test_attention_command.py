import base64
import json
import re
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gpt_core import attention
from gpt_core.pictures import attention_page
from gpt_core.pictures.attention_page import read
from gpt_core.training.trained import load_trained
from gpt_core.training.trainer import Trainer
from tests.browser import needs_chromium, opened
from tests.gpt_core.pictures.html import Page, assert_asks_for_nothing
from tests.gpt_core.tiny import call, tiny_config, trained

SIZES = {"n_layer": 2, "block_size": 24}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    trained(folder, **SIZES)
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run whose name and whose characters are markup."""
    folder = tmp_path_factory.mktemp("runs") / "<b>&'run"
    text = "</script><script>alert('&amp;')</script>\n\x1b" * 30
    Trainer.start(tiny_config(corpus="<i>", **SIZES), text, folder).run()
    return folder


def drawn(run, tmp_path, *options) -> Page:
    out = tmp_path / "attention.html"
    assert call(attention, run, "--out", out, *options) == 0
    return Page(out.read_text(encoding="utf-8"))


def data_of(page: Page) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page.content, re.S)[1])


def test_the_page_shows_every_head_of_every_layer_on_the_prompt_and_what_the_model_writes_on(run, tmp_path):
    page = drawn(run, tmp_path, "--prompt", "ANNE:")
    pictures = [image["alt"] for image in page.all("img") if image["alt"]]
    assert [alt.partition(":")[0] for alt in pictures] == [
        f"Attention matrix of layer {layer}, head {head}" for layer in (1, 2) for head in (1, 2)
    ]
    data = data_of(page)
    assert "".join(data["chars"]).startswith("ANNE:") and len(data["chars"]) == 24 == len(data["next"])
    assert (
        len(data["weights"]) == 4 and "Loss" in page.text and "underlined 5 characters you gave" in page.text
    )


def test_the_page_asks_for_nothing_and_its_script_is_short(run, tmp_path):
    page = drawn(run, tmp_path)
    assert_asks_for_nothing(page)
    assert len(re.search(r"<script>(.*?)</script>", page.content, re.S)[1].splitlines()) < 100


def test_all_text_is_escaped_that_of_the_run_and_that_of_the_model(hostile, tmp_path):
    page = drawn(hostile, tmp_path, "--prompt", "</script><script>", "--tokens", 3)
    assert_asks_for_nothing(page)
    assert not page.all("i") and len(page.all("script")) == 2  # the data and the script
    assert "<b>&'run" in page.text and "on <i>" in page.text and "\x1b" not in page.content
    assert data_of(page)["chars"][:9] == list("</script>")
    control = drawn(hostile, tmp_path, "--prompt", "\x1b(", "--tokens", 0)
    assert data_of(control)["chars"] == ["\\x1b", "("] and "\x1b" not in control.content


def test_the_losses_and_what_may_come_next_are_the_models(run):
    loaded = load_trained(run)
    tokens = loaded.tokenizer.encode("ANNE:\nThe")
    reading = read(loaded.model, loaded.tokenizer, tokens)
    logits, _ = loaded.model(torch.tensor([tokens]))
    losses = F.cross_entropy(logits[0, :-1], torch.tensor(tokens[1:]), reduction="none")
    assert reading.losses == pytest.approx(losses.tolist(), abs=1e-5)
    share, best = logits[0, -1].softmax(-1).max(-1)
    assert reading.next[-1][0] == (loaded.tokenizer.decode([best.item()]), pytest.approx(share.item()))


def test_the_weights_in_the_page_are_the_rows_below_the_diagonal(run, tmp_path):
    page = drawn(run, tmp_path, "--prompt", "ANNE:", "--tokens", 0)
    loaded = load_trained(run)
    reading = read(loaded.model, loaded.tokenizer, loaded.tokenizer.encode("ANNE:"))
    expected = np.concatenate([of.numpy() for of in reading.weights])
    for coded, weights in zip(data_of(page)["weights"], expected, strict=True):
        found = np.frombuffer(base64.b64decode(coded), np.uint8) / 255
        assert found == pytest.approx(weights[np.tril_indices(5)], abs=0.003)


def test_the_same_seed_draws_the_same_page_and_another_one_another_text(run, tmp_path):
    one, other, third = (drawn(run, tmp_path, "--seed", seed).content for seed in (1, 1, 2))
    assert one == other != third


def test_a_single_character_is_a_page_too(run, tmp_path):
    page = drawn(run, tmp_path, "--prompt", "A", "--tokens", 0)
    assert "The text is too short to measure anything." in page.text


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--prompt", ""], "the prompt is empty; give at least one character."),
        (["--prompt", "A" * 25], "this model sees 24 at once; shorten it by 1."),
        (["--prompt", "ANNE€"], "character '€' at position 4 is not in the vocabulary"),
        (["--tokens", "24"], "leaves room for 0 to 23."),
        (["--tokens", "-1"], "--tokens is -1"),
        (["--temperature", "-1"], "temperature is -1.0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--out", "x.png"], "its name must end in .html"),
        (["--gif", "x.png"], "the animation's name must end in .gif"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(run, capsys, options, sentence):
    assert call(attention, run, *options) == 2
    said = capsys.readouterr().err
    assert sentence in " ".join(said.split()) and "Traceback" not in said


def test_a_place_that_cannot_be_written_to_is_named(run, tmp_path, capsys):
    assert call(attention, run, "--out", tmp_path / "none" / "x.html") == 2
    assert "none for x.html; make it first." in " ".join(capsys.readouterr().err.split())
    (tmp_path / "x.html").mkdir()
    assert call(attention, run, "--out", tmp_path / "x.html") == 1
    assert "x.html cannot be written: Is a directory." in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("model, sentence", [("bigram", "BigramLM has no attention"), ("transformer", "")])
def test_a_rung_of_the_ladder_is_drawn_where_it_has_attention(tmp_path, capsys, model, sentence):
    trained(tmp_path / "run", stop_at=1, model=model)
    assert call(attention, tmp_path / "run", "--out", tmp_path / "x.html") == (2 if sentence else 0)
    assert sentence in capsys.readouterr().err


def test_an_attention_whose_weights_cannot_be_read_is_named_in_one_sentence(tmp_path, capsys):
    part = "tests.gpt_core.pictures.test_attention_weights:Average"
    trained(tmp_path / "run", stop_at=1, attention=part)
    assert call(attention, tmp_path / "run") == 2
    assert "layer 1 is Average, whose weights cannot be read" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@needs_chromium
def test_in_a_browser_a_click_shows_another_head_and_a_key_or_the_pointer_another_character(
    run, tmp_path, monkeypatch
):
    """The policy of the page allows no other script, so what is done to it is a part of its own."""
    done = """
    const first = [...document.querySelectorAll("#arcs path")].length, pictures = [...document.images];
    buttons[3].click();
    document.onkeydown({ key: "ArrowLeft" });
    const second = find("said").textContent, box = find("large").getBoundingClientRect();
    find("large").onmousemove({ clientY: box.top + box.height * (data.edge + 4.5 * data.cell) / data.size });
    const seen = [first, pictures.every(one => one.naturalWidth), getComputedStyle(document.body).maxWidth,
                  second, find("said").textContent, find("row").getAttribute("width"),
                  find("matrix").getAttribute("href") === pictures.filter(one => one.alt)[3].src];
    document.body.dataset.seen = JSON.stringify(seen);
    """
    monkeypatch.setattr(attention_page, "SCRIPT", attention_page.SCRIPT + done)
    drawn(run, tmp_path, "--prompt", "ANNE:", "--head", "1.1")
    seen = opened(tmp_path / "attention.html", tmp_path, "--virtual-time-budget=1000")
    assert seen.console == [] and seen.requested == []
    page = Page(seen.dom)
    (body,) = page.all("body")
    arcs, pictures, style, second, third, row, matrix = json.loads(body["data-seen"])
    assert arcs > 1 and pictures and style == "1120px"
    assert second.startswith("layer 2, head 2: ") and " at 22 gives " in second
    assert third.startswith("layer 2, head 2: : at 4 gives ") and row == "50" and matrix
    assert [b["aria-pressed"] for b in page.all("button")] == ["false"] * 3 + ["true"]


def test_the_head_that_was_asked_for_is_shown_first(run, tmp_path, capsys):
    assert data_of(drawn(run, tmp_path, "--head", "2.1"))["head"] == 2
    assert call(attention, run, "--head", "3.1") == 2
    assert "--head is 3.1; the heads go from 1.1 to 2.2." in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_the_animation_goes_through_the_characters_twice_plain_and_weighted(run, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib, an optional extra, is not installed")
    from matplotlib.axes import Axes
    from PIL import Image

    titles = []
    real = Axes.set_title
    monkeypatch.setattr(Axes, "set_title", lambda self, title: (titles.append(title), real(self, title))[1])
    out = tmp_path / "a.gif"
    drawn(run, tmp_path, "--prompt", "A he:", "--tokens", 0, "--gif", out, "--head", "2.1")
    with Image.open(out) as picture:
        assert picture.format == "GIF" and picture.n_frames >= 9
    assert titles[::2] == ["a plain average of the past"] * 5 + ["weighted, by head 1 of layer 2"] * 5


def test_without_matplotlib_the_page_is_there_and_one_sentence_says_how_to_get_the_animation(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "matplotlib.animation", None)
    assert call(attention, run, "--out", tmp_path / "x.html", "--gif") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert 'x.gif: matplotlib is not installed; get it with: pip install -e ".[plot]"' in said
    assert (tmp_path / "x.html").exists() and not (tmp_path / "x.gif").exists()
