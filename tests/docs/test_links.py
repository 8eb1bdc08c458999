"""The documents hang together: each link leads somewhere, each page is reached from the README, each command exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from brain_daemon.surfaces.cli import ENTRIES
from brain_daemon.surfaces.cli import brain as brain_command

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
    reached = {
        (ROOT / link.partition("#")[0]).resolve()
        for link in _LINK.findall(prose(ROOT / "README.md"))
        if "://" not in link
    }
    assert {page for page in PAGES if page.name != "README.md"} <= reached


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_plain_text_with_one_title(page):
    """One heading of the first level, no tabs, no trailing blanks, no pictures, a line feed at the end."""
    text = page.read_text("utf-8")
    assert len(re.findall(r"^# ", prose(page), re.MULTILINE)) == 1
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search(r"[ \t]$|\t|!\[", text, re.MULTILINE)


def shown_commands() -> list:
    """Each `brain ...` in the text or in a console block, with the page it stands on."""
    found = []
    for page in PAGES:
        inline = re.findall(r"`(brain [^`\n]+)`", prose(page))
        typed = re.findall(r"^\$ (?:.*[|;&] *)?(brain .+)$", page.read_text("utf-8"), re.MULTILINE)
        found += [(page.name, command) for command in (*inline, *typed)]
    return [pytest.param(command, id=f"{page}: {command}") for page, command in dict.fromkeys(found)]


@pytest.mark.parametrize("shown", shown_commands())
def test_each_command_that_is_shown_exists_with_its_options(shown):
    """The command is in the table of the command line, and it takes each option that is written with it."""
    group = brain_command
    context = click.Context(group)
    known = set(options_of(group))
    for word in shlex.split(shown)[1:]:
        inner = group.get_command(context, word) if isinstance(group, click.Group) else None
        if inner is not None:
            group, known = inner, known | set(options_of(inner))
        elif word.startswith("-") and word != "-":
            assert word in known
    assert group is not brain_command or set(shlex.split(shown)[1:]) & known


def options_of(command: click.Command) -> list[str]:
    return [
        name for option in command.get_params(click.Context(command)) for name in (*option.opts, *option.secondary_opts)
    ]


def test_each_command_is_spoken_of_somewhere():
    """No command of the table is left out of the documents."""
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert {name for name in ENTRIES if not re.search(rf"\bbrain {name}\b", text)} == set()
