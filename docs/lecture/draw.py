"""Draw the pictures of this folder: python -m docs.lecture.draw runs/ladder

The runs are those that measure.py names, and figures.json must be there, which measure.py writes. A picture
is an SVG, written here shape by shape. It has a light and a dark form, and the reader's browser takes the
one that fits.
"""

import json
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import torch
from torch.nn import functional as F

from data import corpora
from docs.lecture.measure import FIGURES, FOLDER, RUNGS, pair_counts
from gpt_core import CharTokenizer, Head
from gpt_core.batches import encode_text
from gpt_core.training.trained import load_trained

STYLE = """
svg{--paper:#fff;--ink:#1f2328;--soft:#59636e;--line:#b7bfc8;--fill:#eef2f6;--heat:#0969da;--mark:#bc4c00}
@media (prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#4a525c
;--fill:#1c2430;--heat:#58a6ff;--mark:#f0883e}}
text{font-family:ui-sans-serif,system-ui,sans-serif;font-size:14px;fill:var(--ink);text-anchor:middle;
dominant-baseline:central}
.mono{font-family:ui-monospace,Menlo,Consolas,monospace}.soft{fill:var(--soft)}.small{font-size:12px}
.left{text-anchor:start}.right{text-anchor:end}.mark{fill:var(--mark)}.on{fill:var(--paper)}
.box{fill:var(--fill);stroke:var(--line)}.heat{fill:var(--heat)}.bar{fill:var(--heat)}
.bare{fill:none;stroke:var(--line)}
.arrow{stroke:var(--soft);fill:none;stroke-width:1.5;marker-end:url(#head)}
.line{stroke:var(--line);stroke-width:1}.stream{stroke:var(--heat);stroke-width:4;fill:none}
"""


class Picture:
    """Shapes and texts at given places, in pixels, as an SVG."""

    def __init__(self, width: int, height: int, title: str):
        self.width, self.height, self.title, self.parts = width, height, title, []

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        space = ' xml:space="preserve"' if words != words.strip() else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" class="{kind}"{space}>{escape(words)}</text>')

    def box(self, x: float, y: float, w: float, h: float, *lines: str, kind: str = "box") -> None:
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="5" class="{kind}"/>')
        for number, line in enumerate(lines):
            place = y + h / 2 + (number - (len(lines) - 1) / 2) * 18
            self.text(x + w / 2, place, line, "" if number == 0 else "small soft")

    def cell(self, x: float, y: float, size: float, value: float) -> None:
        """A square whose colour is as strong as the value, 0 to 1."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{size:g}" height="{size:g}" class="heat" '
            f'fill-opacity="{max(0.0, min(1.0, value)):.2f}"/>'
        )

    def path(self, points: str, kind: str = "arrow") -> None:
        self.parts.append(f'<path d="{points}" class="{kind}"/>')

    def matrix(self, x, y, size, rows, names=(), columns=(), numbers=True, strongest=1.0) -> None:
        """Rows of numbers 0 to 1 as squares; the letters of the rows stand left, of the columns above."""
        count = len(rows[0])
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                self.cell(x + j * size, y + i * size, size - 1, value / strongest)
                if numbers and value > 0:
                    kind = "small mono on" if value / strongest > 0.62 else "small mono"
                    written = "1" if value == 1 else f"{value:.2f}".removeprefix("0")
                    self.text(x + (j + 0.5) * size, y + (i + 0.5) * size, written, kind)
        self.box(x - 0.5, y - 0.5, count * size, len(rows) * size, kind="bare")
        for i, name in enumerate(names):
            self.text(x - 10, y + (i + 0.5) * size, shown(name), "mono small soft")
        for j, name in enumerate(columns):
            self.text(x + (j + 0.5) * size, y - 10, shown(name), "mono small soft")

    def save(self, name: str) -> None:
        head = (
            '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0L8 4L0 8z" fill="var(--soft)"/></marker>'
        )
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">\n<title>{escape(self.title)}</title>\n'
            f"<style>{STYLE}</style>\n<defs>{head}</defs>\n"
            f'<rect width="{self.width}" height="{self.height}" rx="8" fill="var(--paper)"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )
        (FOLDER / name).write_text(svg, encoding="utf-8")
        print(f"{name}: {len(svg.encode()) / 1000:.0f} KB")


def shown(char: str) -> str:
    """A character as one sees it: a space and a line end are not empty."""
    return {" ": "␣", "\n": "↵"}.get(char, char)


def draw_data(text: str) -> None:
    """One window of 8 tokens, its targets, and the eight examples that it holds."""
    tokenizer, T, size = CharTokenizer.from_text(text), 8, 46
    picture = Picture(720, 376, "A window of eight tokens holds eight examples")
    window = text[: T + 1]
    for row, (name, part) in enumerate((("x", window[:-1]), ("y", window[1:]))):
        y = 44 + row * 56
        picture.text(52, y + 20, name, "mono")
        for t, char in enumerate(part):
            left = 80 + t * size
            picture.box(left, y, size - 4, 42, shown(char), str(tokenizer.encode(char)[0]))
        picture.text(470, y + 20, ("the tokens", "the next tokens, its targets")[row], "left soft")
    for t in range(T):
        picture.text(80 + (t + 0.45) * size, 26, str(t), "small soft")
    for t in range(T):
        y = 176 + t * 24
        picture.text(290, y, "".join(map(shown, window[: t + 1])), "right mono")
        picture.path(f"M306 {y}H346")
        picture.text(366, y, shown(window[t + 1]), "mono mark")
        picture.text(400, y, f"a context of {t + 1}", "left small soft")
    picture.save("data.svg")


def draw_bigram(text: str) -> None:
    """How often each of the most frequent characters follows each other one, from the training text."""
    tokenizer = CharTokenizer.from_text(text)
    tokens = corpora.split(encode_text(tokenizer, text))[0].long()
    counts = pair_counts(tokens, tokenizer.vocab_size)
    chosen = counts.sum(dim=1).argsort(descending=True)[:24].sort().values
    shares = counts.double() / counts.sum(dim=1, keepdim=True)
    letters, size = [tokenizer.chars[i] for i in chosen.tolist()], 20
    picture = Picture(720, 560, "How often one character follows another")
    picture.text(110 + 12 * size, 22, "the next character", "small soft")
    picture.matrix(
        110, 54, size, shares[chosen][:, chosen].tolist(), letters, letters, numbers=False, strongest=0.5
    )
    picture.text(12, 294, "this", "left small soft")
    picture.text(12, 310, "character", "left small soft")
    for number, (value, words) in enumerate(
        ((0.02, "2 %"), (0.1, "10 %"), (0.25, "25 %"), (0.5, "50 % or more"))
    ):
        picture.cell(612, 70 + number * 28, 19, value / 0.5)
        picture.text(638, 80 + number * 28, words, "left small")
    picture.save("bigram.svg")


def draw_averaging() -> None:
    """The three matrices: which tokens a token may see, their mean, and weights from scores."""
    T, size = 5, 38
    past = torch.tril(torch.ones(T, T))
    torch.manual_seed(4)
    scores = torch.randn(T, T).masked_fill(past == 0, float("-inf"))
    picture = Picture(720, 290, "From a plain average of the past to a weighted one")
    each = ((past, "ones: the past"), (past / past.sum(1, keepdim=True), "mean of the past"),
            (F.softmax(scores, dim=-1), "weights from scores"))  # fmt: skip
    for number, (matrix, title) in enumerate(each):
        x = 34 + number * 232
        picture.matrix(x, 58, size, matrix.tolist())
        picture.text(x + T * size / 2, 28, title)
        sums = "each row sums to 1" if number else "row t: columns 0 to t"
        picture.text(x + T * size / 2, 58 + T * size + 22, sums, "small soft")
        if number:
            picture.path(f"M{x - 36} {58 + T * size / 2}H{x - 8}")
    picture.save("averaging.svg")


def attention_of(head: Head, x: torch.Tensor) -> torch.Tensor:
    """The weights of a Head for x (1, T, C): (T, T). Values that are the identity come out as the weights."""
    T = x.shape[1]
    found = []
    replaced = head.value.register_forward_hook(lambda *_: torch.eye(T)[None])
    try:
        found = head.eval()(x)[0]
    finally:
        replaced.remove()
    return found


def draw_head(run: Path) -> None:
    """One head: the way of the shapes, and what the trained one looks at."""
    trained, words = load_trained(run), "ROMEO: w"
    idx = torch.tensor([trained.tokenizer.encode(words)])
    with torch.no_grad():
        weights = attention_of(trained.model.sa_head, trained.model.embed(idx))
    picture = Picture(720, 372, "One head of attention, and the weights of a trained one")
    picture.box(130, 20, 90, 44, "x", "T, C")
    for number, name in enumerate(("query", "key", "value")):
        left = 20 + number * 108
        picture.box(left, 98, 96, 44, name, "T, D")
        picture.path(f"M{150 + number * 25} 64L{left + 48} 96")
    picture.box(40, 172, 160, 44, "scores = q kᵀ / √D", "T, T")
    picture.path("M68 142V170")
    picture.path("M166 142L150 170")
    picture.box(40, 240, 160, 44, "mask, softmax", "T, T: rows sum to 1")
    picture.path("M120 216V238")
    picture.box(140, 312, 150, 44, "weights v", "T, D")
    picture.path("M130 284L170 310")
    picture.path("M284 142L250 310")
    picture.matrix(386, 70, 36, weights.tolist(), words, words)
    picture.text(386 + 4 * 36, 24, "a trained head: row looks at column", "")
    picture.save("head.svg")


def draw_heads(run: Path) -> None:
    """The four heads of the trained rung on one line."""
    trained, words, size = load_trained(run), "the king", 18
    idx = torch.tensor([trained.tokenizer.encode(words)])
    picture = Picture(720, 330, "Four heads side by side, then a projection")
    with torch.no_grad():
        x = trained.model.embed(idx)
        for number, head in enumerate(trained.model.sa_heads.heads):
            left = 30 + number * 176
            picture.text(left + 4 * size, 20, f"head {number}")
            picture.matrix(left, 54, size, attention_of(head, x).tolist(), words, words, numbers=False)
            picture.path(f"M{left + 4 * size} 202V222")
            picture.box(left, 224, 8 * size, 26, "T, D", kind="box")
    picture.path("M14 262H706", "line")
    picture.text(360, 276, "joined head after head: T, H · D = T, C", "small soft")
    picture.path("M360 286V296")
    picture.box(260, 298, 200, 26, "proj: T, C")
    picture.save("heads.svg")


def draw_block() -> None:
    """One block: the residual stream from left to right, and what is added to it."""
    picture = Picture(720, 260, "A block: attention and feed-forward are added to the residual stream")
    picture.path("M30 190H690", "stream")
    picture.text(66, 214, "x: B, T, C", "small soft")
    picture.text(650, 214, "B, T, C", "small soft")
    for left, parts, what in (
        (110, ("norm", "attention"), "tokens talk to each other"),
        (410, ("norm", "feed-forward"), "each token computes alone"),
    ):
        picture.text(left + 110, 26, what, "small soft")
        for number, name in enumerate(parts):
            picture.box(left + number * 108, 56, 100, 44, name)
        picture.path(f"M{left - 16} 190V78H{left - 2}")
        picture.path(f"M{left + 100} 78H{left + 106}")
        picture.path(f"M{left + 208} 78H{left + 228}V176")
        picture.box(left + 216, 178, 24, 24, "+")
    picture.text(360, 244, "the gradient runs back along the thick line undivided", "small soft")
    picture.save("block.svg")


def draw_ladder(measured: dict) -> None:
    """The ladder's losses as bars."""
    picture = Picture(720, 300, "The validation loss of each rung, measured here")
    losses = {"no model: uniform": measured["text"]["uniform_loss"]} | {
        name: measured["ladder"][name]["loss"] for name in RUNGS
    }
    for number, (name, loss) in enumerate(losses.items()):
        y, length = 20 + number * 44, 460 * (loss - 1.5) / (4.2 - 1.5)
        picture.text(150, y + 14, name, "right mono")
        picture.box(164, y, length, 28, kind="bar")
        picture.text(174 + length, y + 14, f"{loss:.2f}", "left")
    picture.text(164, 286, "validation loss in nats per character; the bars begin at 1.5", "left small soft")
    picture.save("ladder.svg")


def draw_sizes(measured: dict) -> None:
    """What the rungs and the large settings have of parameters, on a logarithmic scale."""
    picture = Picture(720, 300, "The parameters of the presets, on a logarithmic scale")
    names = ("bigram", "multi-head", "gpt", "cpu", "p100", "lecture", "a100")
    for number, name in enumerate(names):
        count = measured["parameters"][name]
        y = 16 + number * 36
        length = 480 * (torch.tensor(count).log10().item() - 3) / 4.6
        picture.text(110, y + 12, name, "right mono")
        picture.box(124, y, length, 24, kind="bar")
        picture.text(134 + length, y + 12, f"{count:,}", "left small")
    picture.text(
        124, 284, "parameters, on a logarithmic scale: gpt has ten times as many as bigram", "left small soft"
    )
    picture.save("sizes.svg")


def draw_stages() -> None:
    """From random weights to an assistant, in four steps."""
    picture = Picture(720, 236, "Pretraining, then finetuning")
    stages = (
        ("pretraining", "a very large text", "next token", "completes documents"),
        ("supervised", "questions, answers", "next token", "answers"),
        ("reward model", "ranked answers", "which one is better", "scores an answer"),
        ("reinforcement", "its own answers", "a higher score", "answers that people like"),
    )
    for number, (name, data, goal, result) in enumerate(stages):
        left = 14 + number * 178
        picture.text(left + 78, 22, data, "small soft")
        picture.path(f"M{left + 78} 34V56")
        picture.box(left, 58, 156, 60, name, goal)
        if number < 3:
            picture.path(f"M{left + 156} 88H{left + 176}")
        picture.path(f"M{left + 78} 118V142")
        picture.text(left + 78, 156, result, "small")
    picture.path("M14 182H170", "line")
    picture.path("M192 182H704", "line")
    picture.text(92, 202, "pretraining", "soft")
    picture.text(448, 202, "finetuning, with far less data", "soft")
    picture.save("stages.svg")


def main(runs: Path) -> None:
    text, measured = corpora.load("tinyshakespeare"), json.loads(FIGURES.read_text(encoding="utf-8"))
    draw_data(text)
    draw_bigram(text)
    draw_averaging()
    draw_head(runs / "single-head")
    draw_heads(runs / "multi-head")
    draw_block()
    draw_ladder(measured)
    draw_sizes(measured)
    draw_stages()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/ladder"))
