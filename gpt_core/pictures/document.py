"""An HTML page that is one file and asks nothing of any other place.

The browser is told so (Content-Security-Policy): it loads no file, and runs no style and no script but
those of this file, which are named by their sha256.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterable
from html import escape
from pathlib import Path

from gpt_core.training.terminal import printable

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def document(
    title: str, sections: Iterable[str], *, style: str = "", script: str = "", refresh: int | None = None
) -> str:
    """The page. title: text; sections: HTML; refresh: after how many seconds it loads itself again."""
    style = STYLE + style
    allowed = [
        "default-src 'none'",
        "img-src data:",
        f"style-src {_hash(style)}",
        *([f"script-src {_hash(script)}"] if script else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(allowed)}">',
            '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">',
            *([f'<meta http-equiv="refresh" content="{refresh}">'] if refresh else []),
            f"<title>{text(title)}</title><style>{style}</style></head><body>",
            f"<h1>{text(title)}</h1>",
            *sections,
            *([f"<script>{script}</script>"] if script else []),
            "</body></html>\n",
        ]
    )


def text(content: str) -> str:
    """Text of any origin, for between two tags or between the quotes of an attribute."""
    return escape(printable(content))


def data_block(name: str, value: object) -> str:
    """A value for the page's script, which reads it as JSON from the element of that name."""
    # A browser takes no JSON for a script, but it would see the end of the block in a text that has it.
    content = json.dumps(value).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{content}</script>'


def write(page: str, path: Path) -> None:
    """Write a page; at every moment `path` is the old one or the whole new one.

    Raises OSError, which names the path, where it cannot be written.
    """
    temporary = path.with_name(path.name + ".writing")
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
