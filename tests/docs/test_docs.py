"""The README and the pages that it leads to: links, pictures, named files and commands are ones that there
are."""

import re
import shlex
from pathlib import Path

import pytest

from grader import cli
from grader.author.mistake_list import FOLDER, pages

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LECTURE = ROOT / "docs" / "lecture"
WRITTEN_BY_HAND = [page for page in PAGES if page.parent != FOLDER]
PICTURES = [
    path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in (".svg", ".png", ".jpg", ".gif")
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def linked_from(page: Path) -> set[Path]:
    """The files that a page links to or shows."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    return {(page.parent / link).resolve() for link in links if not link.startswith("https://")}


def anchors(page: Path) -> set[str]:
    """What a link to a heading of this page may end in: the heading in lower case, with - for spaces."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading_that_there_are(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file() and target.is_relative_to(ROOT), link
        assert not heading or heading in anchors(target), link


def test_the_readme_leads_to_every_page_and_every_picture():
    """The lecture's notes have a page that lists them, and show pictures of their own."""
    linked = linked_from(ROOT / "README.md")
    assert {page for page in PAGES if page.parent != LECTURE} - {ROOT / "README.md"} <= linked
    reached = linked.union(*map(linked_from, linked & set(PAGES)))
    shown = reached.union(*map(linked_from, reached & set(PAGES)))
    assert set(PAGES) <= reached and set(PICTURES) <= shown


def test_the_readme_is_a_front_door():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 250


@pytest.mark.parametrize("picture", PICTURES, ids=name)
def test_a_picture_is_small_and_loads_nothing_from_elsewhere(picture):
    data = picture.read_bytes()
    assert len(data) < 100_000
    assert b"url(http" not in data and b'url("http' not in data and b"href=" not in data


@pytest.mark.parametrize(
    "page", [page for page in WRITTEN_BY_HAND if page.name != "CONTRIBUTING.md"], ids=name
)
def test_every_file_that_a_page_names_is_one_that_there_is(page):
    named = re.findall(
        r"(?:gpt_core|exercises|solutions|grader|tests|data|docs)/[\w/]+\.(?:py|ipynb|txt|md)\b",
        page.read_text(encoding="utf-8"),
    )
    for path in named:
        assert (ROOT / path).is_file(), path


def test_every_command_of_the_grader_that_a_page_shows_is_one_that_there_is():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = {
        re.split(r" {2,}|#|`|\n|&&", rest)[0].strip() for rest in re.findall(r"python grade\.py(.*)", text)
    }
    assert len(shown) >= 10
    for rest in shown:
        cli.parser().parse_args(shlex.split(rest))


def test_every_option_that_the_readme_lists_is_one_that_the_grader_has_and_none_is_left_out():
    listed = re.search(
        r"^## The commands\n(.*?)^## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S
    )[1]
    grader = listed.partition("python -m gpt_core")[0]
    options = set(re.findall(r"--[a-z]+", cli.parser().format_help())) - {"--help"}
    assert set(re.findall(r"--[a-z]+", grader)) == options


def test_the_pages_of_mistakes_are_those_of_the_catalogues():
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert written == pages(), "docs/mistakes is out of date: python -m grader.author.mistake_list"
