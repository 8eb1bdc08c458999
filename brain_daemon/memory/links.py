"""The links under a task's `## Context`: which files of the brain the person wants the prompt to hold.

Understood are [[wiki links]], with or without a label, a heading or the ending `.md`, and [markdown](links.md). A link leads to
a regular file inside the brain, never through a symbolic link, a hidden folder or `..`; everything else is said and left out.

Failures: none; a link that leads nowhere is a warning.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from brain_daemon.memory.pool import Pool
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import StorageError
from brain_daemon.store.layout import Layout
from brain_daemon.store.reading import read_regular

MAX_LINKS = 50
MAX_LINKED_BYTES = 4 << 20
_SECTION = re.compile(r"^(#{1,6})[ \t]+context[ \t]*:?[ \t]*#*[ \t]*$", re.IGNORECASE | re.MULTILINE)
_LINK = re.compile(
    r"!?\[\[([^\[\]|#\n]+)(?:#[^\[\]|\n]*)?(?:\|[^\[\]\n]*)?\]\]|\]\(<?([^()<>\s#]+)(?:#[^()<>\s]*)?>?(?:\s+\"[^\"\n]*\")?\)"
)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A file that was linked: its path relative to the brain, and its text."""

    path: str
    text: str


def links_in(text: str) -> list[str]:
    """What the links of the Context part name, each once; addresses of the web are not ours."""
    part = _context_part(text)
    targets = (unquote(match[1] or match[2]).strip() for match in _LINK.finditer(part))
    return list(dict.fromkeys(target for target in targets if target and not _SCHEME.match(target)))[:MAX_LINKS]


def follow(pool: Pool, targets: list[str]) -> tuple[list[Linked], list[str]]:
    """The files that links lead to, and what is to be said of the others."""
    found: dict[str, Linked] = {}
    said = []
    for target in targets:
        linked = _followed(pool, target)
        if linked is None:
            said.append(f"the link {clean_line(target, 120)} leads to no file of the brain that can be read")
        else:
            found.setdefault(linked.path, linked)
    return list(found.values()), said


def _context_part(text: str) -> str:
    heading = _SECTION.search(text)
    if heading is None:
        return ""
    rest = text[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}}[ \t]+\S", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def _followed(pool: Pool, target: str) -> Linked | None:
    for path in _places(target):
        data = _inside(pool.layout, path)
        if data is not None:
            return Linked(path=path, text=data.decode("utf-8-sig", "replace"))
    text = pool.resolve(target)
    return None if text is None else Linked(path=text.path, text=pool.full_text(text)[0])


def _places(target: str) -> Iterator[str]:
    """The paths a target may mean, the nearest first."""
    plain = target.lstrip("/")
    for base in ("", "knowledge/", "context/"):
        for ending in ("", ".md"):
            path = os.path.normpath(f"{base}{plain}{ending}").replace(os.sep, "/")
            if not any(part.startswith(".") for part in path.split("/")):
                yield path


def _inside(layout: Layout, path: str) -> bytes | None:
    """The bytes of a file inside the brain, None if that is not what stands there."""
    whole = layout.inside(path)
    folder = os.path.dirname(whole)
    if os.path.realpath(folder) != folder or not os.path.isfile(whole) or "\0" in path:
        return None
    try:
        data = read_regular(whole, MAX_LINKED_BYTES)
    except StorageError:
        return None
    return None if b"\0" in data else data
