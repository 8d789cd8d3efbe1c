"""What a test asks of a page: that it is one file, that it says so to the browser, what stands in it."""

import base64
import hashlib
import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """tags: (name, attributes), in order; text: what lies between them, styles and scripts left out."""

    def __init__(self, content: str):
        super().__init__()
        self.content, self.tags, self.parts, self.inside = content, [], [], ""
        self.feed(content)
        self.text = " ".join("".join(self.parts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag
        if tag in ("td", "th", "text", "title", "h1", "p"):
            self.parts.append(" ")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in ("style", "script"):
            self.parts.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def assert_asks_for_nothing(page: Page) -> None:
    """The policy allows no request, names the hash of each style and script, and no attribute leads away."""
    (policy,) = (m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for kind in ("style", "script"):
        for content in re.findall(rf"<{kind}>(.*?)</{kind}>", page.content, re.S):
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}'" in policy
    for tag, attributes in page.tags:
        assert not {"style", "srcset"} & attributes.keys() and not any(
            name[:2] == "on" for name in attributes
        )
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
    assert "url(" not in page.content and "@import" not in page.content
