"""What the HTML reports have in common, of a class and of a grade: one file that asks nothing of any other
place, its look, and how text of any origin gets into it.

What comes from a hand-in is text between tags or within a quoted attribute and nothing else: it is escaped.
"""

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from grader.judge.text import clean, one_line

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1,h2{line-height:1.2}h3{margin-bottom:0}p{max-width:45rem}progress{width:16rem;max-width:40vw}
table{border-collapse:collapse}th,td{padding:.1rem .5rem;text-align:left;vertical-align:top}
.wide{overflow:auto;max-height:80vh}
"""


def document(
    title: str, sections: Iterable[str], *, style: str = "", script: str = "", images: bool = False
) -> str:
    """The whole file. Its policy allows this style and script by their hashes, images only where they stand
    in the file itself, and nothing else."""
    style = STYLE + style
    policy = f"default-src 'none'; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    policy += f"; script-src '{_hash(script)}'" if script else ""
    policy += "; img-src data:" if images else ""
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">',
            f"<title>{text(title)}</title><style>{style}</style></head><body>",
            f"<h1>{text(title)}</h1>",
            *sections,
            f"<script>{script}</script></body></html>\n" if script else "</body></html>\n",
        ]
    )


def _hash(part: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}"


def text(said: str, limit: int = 400) -> str:
    """Text of any origin on one line, for between two tags or in a quoted attribute."""
    return escape(one_line(said, limit))


def lines(said: str, limit: int = 4000) -> str:
    """Text of any origin with its line ends, for between two tags."""
    return escape(clean(said, limit))
