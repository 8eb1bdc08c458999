"""The documents hang together: each link leads somewhere, each page is reached from the README, no page names a machine."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that a heading gets: lower case, no punctuation, dashes for blanks."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list:
    found = [(page, link) for page in PAGES for link in _LINK.findall(prose(page)) if "://" not in link]
    return [pytest.param(page, link, id=f"{page.name}->{link}") for page, link in dict.fromkeys(found)]


@pytest.mark.parametrize(("page", "link"), links())
def test_each_link_leads_somewhere(page, link):
    """The file is there, and so is the heading behind the #."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


def test_each_page_is_reached_from_the_readme():
    """Nobody has to guess that a page exists."""
    reached = {(ROOT / link.partition("#")[0]).resolve() for link in _LINK.findall(prose(ROOT / "README.md")) if "://" not in link}
    assert {page for page in PAGES if page.name != "README.md"} <= reached


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_plain_text_with_one_title(page):
    """One heading of the first level, no tabs, no trailing blanks, no pictures, a line feed at the end."""
    text = page.read_text("utf-8")
    assert len(re.findall(r"^# ", prose(page), re.MULTILINE)) == 1
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search(r"[ \t]$|\t|!\[", text, re.MULTILINE)
    assert text.isascii()
