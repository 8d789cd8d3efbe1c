"""The page of a model's attention on a text: all heads, one of them large, what comes next, what it cost."""

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from gpt_core.models import LanguageModel
from gpt_core.pictures.attention_patterns import PATTERNS, Measured, in_words, measure, strongest
from gpt_core.pictures.attention_weights import attention_weights
from gpt_core.pictures.document import data_block, document, text
from gpt_core.pictures.png import data_uri, heat_map
from gpt_core.tokenizer import CharTokenizer
from gpt_core.training.terminal import printable

FOLDER = Path(__file__).parent
STYLE = (FOLDER / "attention_page.css").read_text(encoding="utf-8")
SCRIPT = (FOLDER / "attention_page.js").read_text(encoding="utf-8")
MOST_NEXT = 8  # characters that may come next
CELL, EDGE = 10, 14  # of the large matrix: a cell, and the room for the characters at its edge
ARC, HEIGHT = 15, 110  # of the arcs: a character's width, and their height
COSTS = (0.5, 1, 2, 3, 4, 6)  # nats: from which on a character has the next colour
KEY = (0, 1, 4, 16, 36, 64, 100)  # percent, for the key to the colours
SHOWN = {"\n": "↵", " ": "␣", "\t": "⇥"}


@dataclass(frozen=True)
class Reading:
    """What a model makes of a text of T characters.

    weights: per layer (H, T, T); losses: per character after the first, in nats; next: after each
    character the most probable ones with their probabilities; measured: per layer and head.
    """

    text: str
    weights: list[torch.Tensor]
    losses: list[float]
    next: list[list[tuple[str, float]]]
    measured: list[list[list[Measured]]]

    def heads(self) -> list[tuple[int, int]]:
        """All (layer, head), in order, counted from 1."""
        return [(n, h) for n, of in enumerate(self.weights, 1) for h in range(1, len(of) + 1)]

    def pattern(self, layer: int, head: int) -> Measured | None:
        """What a head looks at, where that stands out; both count from 1."""
        return strongest(self.measured[layer - 1][head - 1])

    def clearest(self) -> tuple[int, int]:
        """The head to look at first: the one whose pattern has the most weight."""
        return max(self.heads(), key=lambda place: getattr(self.pattern(*place), "share", 0.0))


@torch.no_grad()
def read(model: LanguageModel, tokenizer: CharTokenizer, tokens: list[int]) -> Reading:
    """Read a text, of 1 to block_size tokens, with a model in eval mode.

    ValueError where its attention cannot be read."""
    idx = torch.tensor([tokens], device=next(model.parameters()).device)
    weights = attention_weights(model, idx)
    logits = model(idx)[0][0].float().cpu()  # (T, V)
    losses = F.cross_entropy(logits[:-1], torch.tensor(tokens[1:], dtype=torch.long), reduction="none")
    shares, best = logits.softmax(-1).topk(min(MOST_NEXT, tokenizer.vocab_size))
    written = tokenizer.decode(tokens)
    return Reading(
        written,
        weights,
        losses.tolist(),
        [
            [(tokenizer.decode([token]), share) for token, share in zip(*of)]
            for of in zip(best.tolist(), shares.tolist())
        ],
        [measure(of_layer, written) for of_layer in weights],
    )


def page(reading: Reading, title: str, about: str, given: int, head: tuple[int, int]) -> str:
    """The page as HTML. about: one sentence; given: how many characters were the prompt's, the others the
    model wrote; head: (layer, head) that is shown first, from 1."""
    # The root, since most weights are small: 4 % of the weight is a fifth of the colour.
    pictures = [
        data_uri(heat_map(np.sqrt(_quantized(w) / 255))) for of in reading.weights for w in of.numpy()
    ]
    first = reading.heads().index(head)
    sections = (
        f"<p>{text(about)}</p>",
        *_text(reading, given),
        *_words(reading),
        *_all_heads(reading, pictures),
        *_one_head(reading, pictures, first),
        *_shares(reading),
        data_block("data", _data(reading, first)),
    )
    return document(title, sections, style=STYLE, script=SCRIPT)


def _data(reading: Reading, first: int) -> dict:
    """What the script needs."""
    below = np.tril_indices(len(reading.text))
    coded = [_quantized(w)[below].tobytes() for of in reading.weights for w in of.numpy()]
    return {
        "chars": [_shown(char) for char in reading.text],
        "weights": [base64.b64encode(one).decode() for one in coded],
        "names": [f"layer {layer}, head {head}" for layer, head in reading.heads()],
        "next": [[[_shown(char), round(share, 4)] for char, share in of] for of in reading.next],
        "head": first,
        "cell": CELL,
        "edge": EDGE,
        "size": _size(reading),
        "arc": ARC,
        "height": HEIGHT,
    }


def _quantized(weights: np.ndarray) -> np.ndarray:
    """Weights from 0 to 1 in steps of 1/255."""
    return np.round(np.clip(weights, 0, 1) * 255).astype(np.uint8)


def _size(reading: Reading) -> int:
    """Of the large matrix."""
    return EDGE + CELL * len(reading.text)


def _shown(char: str) -> str:
    """A character that one can see."""
    return SHOWN.get(char, printable(char))


def _text(reading: Reading, given: int) -> Iterable[str]:
    """The text, coloured by what each character cost."""
    yield "<h2>The text, and what each character cost</h2>"
    if reading.losses:
        mean = sum(reading.losses) / len(reading.losses)
        yield (
            f"<p>Loss {mean:.2f} nats per character in the mean. The redder a character, the less the model "
            "expected it"
            + (
                f"; the underlined {_count(given, 'character')} you gave, the others it wrote itself.</p>"
                if given < len(reading.text)
                else ".</p>"
            )
        )
    spans = []
    for place, char in enumerate(reading.text):
        kinds, said = ["given"] if place < given else [], "the first, without a loss"
        if place:
            loss = reading.losses[place - 1]
            said = f"loss {loss:.2f}, probability {_percent(math.exp(-loss))}"
            kinds += [f"c{_colour(loss)}"] * (_colour(loss) > 0)
        visible = char if char == " " else _shown(char)
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        title = text(f"{_shown(char)} at {place}: {said}")
        spans.append(f'<span data-place="{place}"{kind} title="{title}">{text(visible)}</span>')
        if char == "\n":
            spans.append("<br>")
    yield f'<p class="text">{"".join(spans)}</p>'
    steps = [f"below {COSTS[0]:g}", *(f"from {cost:g}" for cost in COSTS)]
    key = " ".join(f'<span class="c{number}">{step}</span>' for number, step in enumerate(steps))
    yield f'<p class="key note">nats: {key}</p>'


def _colour(loss: float) -> int:
    """From 0, expected, to len(COSTS)."""
    return sum(loss >= cost for cost in COSTS)


def _one_head(reading: Reading, pictures: list[str], first: int) -> Iterable[str]:
    """One head large, its arcs, and the characters that may come next."""
    size, last = _size(reading), len(reading.text) - 1
    chars = [text(_shown(char)) for char in reading.text]
    middle = EDGE + CELL / 2
    rows = "".join(f'<text x="6" y="{middle + CELL * i + 3:g}">{c}</text>' for i, c in enumerate(chars))
    columns = "".join(f'<text x="{middle + CELL * i:g}" y="9">{c}</text>' for i, c in enumerate(chars))
    yield '<h2 id="one">One head</h2>'
    yield (
        "<p>A row is a character that looks, a column one that is looked at. Each row shares out all of its "
        "weight, and nothing lies right of the diagonal: no character sees those after it. Point at a row or "
        "at a character, or use the arrow keys.</p>"
    )
    key = "".join(f"<td>{weight} %" for weight in KEY)
    shades = "".join(
        f'<td><img src="{data_uri(heat_map(np.full((1, 1), (w / 100) ** 0.5)))}" alt="">' for w in KEY
    )
    yield f'<table class="shades note"><tr><th>weight{key}<tr><th>colour{shades}</table>'
    yield '<p id="said" aria-live="polite"></p><noscript><p>The arcs take JavaScript.</p></noscript>'
    places = "".join(
        f'<text data-place="{i}" x="{ARC * i + ARC / 2:g}" y="{HEIGHT + 12}" text-anchor="middle">{c}</text>'
        for i, c in enumerate(chars)
    )
    wide = ARC * len(chars)
    yield (
        f'<div class="wide arcs"><svg width="{wide}" viewBox="0 0 {wide} {HEIGHT + 20}" role="img" '
        f'aria-label="Arcs from the character that looks to those that it looks at"><g id="arcs"></g>{places}'
        "</svg></div>"
    )
    yield '<div class="one">'
    name = text(_alt(reading, *reading.heads()[first]))
    side = CELL * len(chars)
    yield (
        f'<svg id="large" viewBox="0 0 {size} {size}" role="img" aria-label="{name}">{rows}{columns}'
        f'<image id="matrix" x="{EDGE}" y="{EDGE}" width="{side}" height="{side}" href="{pictures[first]}"/>'
        f'<rect class="frame" x="{EDGE}" y="{EDGE}" width="{side}" height="{side}"/>'
        f'<rect id="row" class="row" x="{EDGE}" y="{EDGE + CELL * last}" width="{side}" height="{CELL}"/>'
        "</svg>"
    )
    bars = "".join(
        f'<tr><td>{text(_shown(char))}<td><progress value="{share:.4f}"></progress><td>{_percent(share)}'
        for char, share in reading.next[-1]
    )
    yield (
        f'<div><h3>What may follow <span id="after">{chars[-1]}</span></h3>'
        f'<table class="next"><tbody id="next">{bars}</tbody></table></div></div>'
    )


def _words(reading: Reading) -> Iterable[str]:
    """What the heads look at, in sentences."""
    yield "<h2>What the heads look at</h2>"
    found = {place: pattern for place in reading.heads() if (pattern := reading.pattern(*place))}
    places = sorted(found, key=lambda place: -found[place].share)
    if places:
        items = "".join(
            f"<li>{text(in_words(*place, found[place])).replace(' %', '&nbsp;%')}</li>" for place in places
        )
        yield f"<ul>{items}</ul>"
    others = len(reading.heads()) - len(found)
    if others:
        who = f"The other {others} heads look" if found else f"All {others} heads look"
        if others == 1:
            who = "The other head looks" if found else "The one head looks"
        yield f"<p>{who} at nothing of this much more than evenly shared weights would.</p>"


def _shares(reading: Reading) -> Iterable[str]:
    """All that was measured, as a table."""
    yield "<h2>All shares</h2>"
    short = [p for p in PATTERNS if any(m.pattern is p for m in reading.measured[0][0])]
    if not short:
        yield "<p>The text is too short to measure anything.</p>"
        return
    head = "".join(f"<th>{pattern.short}" for pattern in short)
    rows = [
        f"<tr><th>layer {layer}, head {h}"
        + "".join(
            f"<td>{'<b>' * one.stands_out}{_percent(one.share)}{'</b>' * one.stands_out}"
            for one in reading.measured[layer - 1][h - 1]
        )
        for layer, h in reading.heads()
    ]
    even = "".join(f"<td>{_percent(one.even)}" for one in reading.measured[0][0])
    yield (
        f'<div class="wide"><table><thead><tr><th>{head}<tbody>{"".join(rows)}<tr><th>spread evenly{even}'
        "</table></div>"
    )
    yield (
        '<p class="note">Shares of the weight on this text, means over the characters that have such a place '
        "to look at. The start of a line or a word is its first character and the one before it. All but "
        "the first and the last count from two characters back, so that what looks at the previous character "
        "is not counted again. Bold: at least 30 %, and twice what an even spread would give.</p>"
    )


def _all_heads(reading: Reading, pictures: list[str]) -> Iterable[str]:
    """All heads small, a button each."""
    yield '<h2>All heads</h2><div class="heads">'
    for layer in range(1, len(reading.weights) + 1):
        yield f'<h3>Layer {layer}</h3><div class="layer">'
        for number, (of, head) in enumerate(reading.heads()):
            if of != layer:
                continue
            found = reading.pattern(of, head)
            short = f"{found.pattern.short} {_percent(found.share)}" if found else "no pattern"
            yield (
                f'<button type="button" data-head="{number}" aria-pressed="false">'
                f'<img src="{pictures[number]}" alt="{text(_alt(reading, of, head))}">'
                f"head {head}<br>{short}</button>"
            )
        yield "</div>"
    yield "</div>"


def _alt(reading: Reading, layer: int, head: int) -> str:
    found = reading.pattern(layer, head)
    return (
        f"Attention matrix of layer {layer}, head {head}: {_percent(found.share)} of the weight on "
        f"{found.pattern.name}"
        if found
        else f"Attention matrix of layer {layer}, head {head}: no pattern stands out"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\xa0%"  # no line ends between the two


def _count(number: int, of: str) -> str:
    return f"{number} {of}{'' if number == 1 else 's'}"
