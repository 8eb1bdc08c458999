"""What the person and the daemon write to each other: prompts/pending.md, prompts/answered.md, ratings, reports and the pool.

prompts/pending.md is the one page that both write. Many editors save by emptying a file and writing it anew, so a page that
somebody else has written is left alone until it has been quiet for a moment: what is read before may be half of it, and what
takes its place then would lose the other half. A save in the instant between the last look and the rename is not seen.

Failures: StorageError where the disk refuses; what is not written is written by the next look.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from brain_daemon.model.errors import StorageError
from brain_daemon.record.questions import merged, question_from, without_texts
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Signature, sign
from brain_daemon.store.reading import read_regular

QUIET_SECONDS = 0.5
"""How long a page must have stood as somebody else has written it before it is written again."""

_OURS = "questions.page"


class Correspondence:
    """The pages of one brain. Belongs to one thread; `note` is told which bytes git is to have, by absolute path."""

    def __init__(
        self, layout: Layout, files: Files, journal: Journal, note: Callable[[Iterable[tuple[str, bytes]]], None]
    ) -> None:
        self._layout = layout
        self._files = files
        self._journal = journal
        self._note = note
        self._asking = os.path.join(layout.prompts, "pending.md")
        self._answers = os.path.join(layout.prompts, "answered.md")
        self._settled: tuple[list[dict[str, Any]], Signature | None] | None = None
        self._answered: Signature | None = None
        self._shelves = {path: _signature(path) for path in _shelves(layout)}
        self.is_waiting = False

    def settle(self) -> None:
        """Bring prompts/pending.md to what it must say, and tell git of what others have written.

        `is_waiting` says afterwards whether the page is to be looked at again after `QUIET_SECONDS`.
        """
        self._note_written()
        documents = [document for document, _ in self._journal.questions().values()]
        signature = _signature(self._asking)
        if (documents, signature) == self._settled:
            return
        found = page_of(self._asking)
        self.is_waiting = self._may_be_half(signature, found)
        if self.is_waiting:
            return
        asked = [question_from(document) for document in documents]
        page = merged(found, asked)
        if page is None:
            return  # an answer stands in it that nobody has acted on yet
        if page != found and (found or asked) and not self._replaced(found, page):
            self.is_waiting = True
            return
        self._settled = (documents, _signature(self._asking))

    def standing(self) -> dict[str, bytes]:
        """The pages as git is to have them, newest parts only, by absolute path."""
        paths = [self._answers]
        paths += [path for shelf in self._shelves for path in _newest_on(shelf)]
        paths += [path for area in ("knowledge", "context") for path in _pages_on(self._layout.inside(area, "pool"))]
        found = {path: data for path in paths if (data := page_of(path))}
        asking = page_of(self._asking)
        return found | ({self._asking: without_texts(asking)} if asking else {})

    def _may_be_half(self, signature: Signature | None, found: bytes) -> bool:
        if signature is None or not 0 <= time.time() - signature.modified_at < QUIET_SECONDS:
            return False
        return self._journal.get(_OURS) != _digest(found)

    def _replaced(self, found: bytes, page: bytes) -> bool:
        """False where somebody has just saved the page."""
        # Kept first: another process must know the page for ours as soon as it stands there.
        self._journal.set(_OURS, _digest(page))
        if not self._files.put_if(self._asking, page, lambda: page_of(self._asking) == found, sync=False):
            return False
        self._note([(self._asking, without_texts(page))])
        return True

    def _note_written(self) -> None:
        """prompts/answered.md, ratings and reports are written by whoever was told to; git hears of them here."""
        signature = _signature(self._answers)
        if signature != self._answered:
            self._answered = signature
            self._note([(self._answers, page_of(self._answers))] if signature else [])
        for shelf, before in self._shelves.items():
            signature = _signature(shelf)
            if signature != before:
                self._shelves[shelf] = signature
                self._note([(path, data) for path in _newest_on(shelf) if (data := page_of(path))])


def page_of(path: str) -> bytes:
    """A page of ours as it stands; what somebody put in its place (a FIFO, a folder) counts as nothing, and is replaced."""
    try:
        return read_regular(path)
    except StorageError:
        return b""


def _digest(page: bytes) -> str:
    return hashlib.sha256(page).hexdigest()


def _signature(path: str) -> Signature | None:
    """Tells one state of a page from another; None where there is none."""
    try:
        return sign(os.lstat(path))
    except FileNotFoundError:
        return None


def _shelves(layout: Layout) -> tuple[str, ...]:
    """Folders with one page a day that others write."""
    return layout.inside("logs", "ratings"), layout.inside("context", "reports")


def _newest_on(shelf: str) -> list[str]:
    return _pages_on(shelf)[-2:]


def _pages_on(shelf: str) -> list[str]:
    if not os.path.isdir(shelf):
        return []
    return [os.path.join(shelf, name) for name in sorted(os.listdir(shelf)) if not name.startswith(".")]
