"""Notes that tasks and people put into the pool: markdown files of their own in knowledge/pool/ or context/pool/.

A note is `ID.md`; its front matter says when it was written and by which task. Notes are never edited by this program, but
a task that rewrites a file in its workspace's memory/ folder rewrites the note made from it.

Failures: UserError for a note that is empty or too long; StorageError where it cannot be written.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from brain_daemon.memory.texts import POOL_FOLDERS
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.emitter import emit
from brain_daemon.model.errors import StorageError, UserError
from brain_daemon.model.frontmatter import split
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.reading import read_regular

INBOX = "memory"
MAX_NOTE_BYTES = 256 << 10
MAX_NOTES = 200
AREAS = tuple(folder.split("/", 1)[0] for folder in POOL_FOLDERS)
_MAX_TITLE = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """The attempt that a note comes from."""

    task_id: str
    attempt_id: str
    chain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """The workspace of a running attempt, whose memory/ folder holds notes."""

    workspace: str
    author: Author


def put_note(
    layout: Layout,
    files: Files,
    text: str,
    *,
    title: str = "",
    area: str = "knowledge",
    author: Author | None = None,
    redacted: Callable[[str], str] = str,
) -> str:
    """Write a new note; its path, relative to the brain."""
    note = f"mem-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"
    path = f"{area}/pool/{note}.md"
    files.make_folder(layout.inside(area, "pool"))
    files.put_new(layout.inside(path), _rendered(note, text, title, author, redacted))
    files.sync_folders([layout.inside(area, "pool")])
    return path


def collect_notes(layout: Layout, files: Files, inbox: Inbox, redacted: Callable[[str], str] = str) -> list[str]:
    """The notes in a workspace's memory/ folder, put into the pool; the paths of those that are new or changed."""
    written = []
    for name, text in _left_in(inbox.workspace):
        key = hashlib.sha256(f"{inbox.author.attempt_id}/{name}".encode()).hexdigest()[:12]
        path = f"knowledge/pool/mem-{key}.md"
        data = _rendered(f"mem-{key}", text, "", inbox.author, redacted, created=False)
        if read_regular(layout.inside(path)) != data:
            files.put(layout.inside(path), data)
            written.append(path)
    if written:
        files.sync_folders([layout.inside("knowledge", "pool")])
    return written


def _left_in(workspace: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the markdown files there; links, empty files and what is too large are passed over."""
    folder = os.path.join(workspace, INBOX)
    if os.path.islink(folder) or not os.path.isdir(folder):
        return
    names = sorted(name for name in os.listdir(folder) if name.endswith((".md", ".txt")) and not name.startswith("."))
    for name in names[:MAX_NOTES]:
        try:
            data = read_regular(os.path.join(folder, name), MAX_NOTE_BYTES)
        except StorageError:
            continue
        if data.strip() and b"\0" not in data:
            yield name, data.decode("utf-8-sig", "replace")


def _rendered(
    note: str, text: str, title: str, author: Author | None, redacted: Callable[[str], str], *, created: bool = True
) -> bytes:
    """The file of a note. Front matter that the text brought along is not ours: only what is below it is kept."""
    if len(text.encode("utf-8", "replace")) > MAX_NOTE_BYTES:
        raise UserError(f"adding a note: it is longer than {MAX_NOTE_BYTES:,} bytes. Put it into knowledge/ as a file.")
    body = redacted(clean_text(_below_front_matter(text))).strip("\n")
    if not body.strip():
        raise UserError("adding a note: it is empty.")
    facts: dict[str, object] = {"id": note}
    if created:
        facts["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if author is not None:
        facts |= {"task": author.task_id, "attempt": author.attempt_id}
        facts |= {"chain": author.chain} if author.chain else {}
    heading = clean_line(redacted(clean_text(title)), _MAX_TITLE)
    head = f"# {heading}\n\n" if heading else ""
    return f"---\n{emit(facts)}---\n{head}{body}\n".encode("utf-8", "replace")


def _below_front_matter(text: str) -> str:
    parts = split(text.encode("utf-8", "replace"))
    return text if parts.head is None or parts.unclosed else parts.body.decode("utf-8", "replace")
