"""The pool in the daemon: its index is kept fresh beside the work, whoever asks for it: a prompt, an agent, `brain memory search`.

Notes are watched; new results are seen by their folder; what running tasks leave in their workspaces is taken in. Until an
interface of the type `llm` can be used nobody in here is told what the pool finds: the first look is put off then, so that a short
run costs nothing, and the child that makes vectors lives only while there are new ones to make. `memory_tokens = 0` keeps nothing:
links, handoffs and `brain memory` look at the files themselves.

Failures: a folder that cannot be watched is looked at every few seconds instead.
"""

import os
from collections.abc import Callable, Iterator, Mapping

from brain_daemon.adapters.registry import Registry
from brain_daemon.memory.indexer import Indexer
from brain_daemon.memory.notes import Author, Inbox
from brain_daemon.memory.texts import NOTE_AREAS
from brain_daemon.model.interface import InterfaceType
from brain_daemon.service.brain import Brain
from brain_daemon.service.job import Job
from brain_daemon.service.remembering import daemon_vectors, open_pool
from brain_daemon.store.watch import Folder, Hint, Watch

_MOST_SCAN_SECONDS = 5.0
_UNASKED_SECONDS = 2.0


class MemoryKeeper:
    """`running` are the jobs under way, `keep` takes pages of the pool to commit, `clean` takes secrets out of notes."""

    def __init__(
        self,
        brain: Brain,
        running: Callable[[], Mapping[str, Job]],
        keep: Callable[[Mapping[str, bytes]], None],
        clean: Callable[[str], str],
    ) -> None:
        self._brain = brain
        self._running = running
        self._keep = keep
        self._clean = clean
        self._asked = False
        self._indexer: Indexer | None = None
        self._watch: Watch | None = None
        self.pool = open_pool(brain, vectors=daemon_vectors(brain))

    def start_if_wanted(self, registry: Registry) -> None:
        """Begin to keep the index, and hear whether an interface can be used now that is told what the pool finds."""
        if not self._brain.config.memory_tokens:
            return
        entries = list(registry.entries.values())
        asked = any(entry.usable and entry.spec.type is InterfaceType.LLM for entry in entries)
        wakes, self._asked = asked and not self._asked, asked
        if self._indexer is None:
            self._indexer = self._made()
            self._indexer.start()
        elif wakes:
            self._indexer.wake()

    def _made(self) -> Indexer:
        return Indexer(
            self.pool,
            scan_seconds=min(self._brain.config.scan_seconds, _MOST_SCAN_SECONDS),
            first_seconds=0.0 if self._asked else _UNASKED_SECONDS,
            inboxes=self._inboxes,
            on_notes=self._keep,
            clean=self._clean,
            busy=lambda: bool(self._running()),
            asked=lambda: self._asked,
            watch=self._watched,
        )

    def stop(self) -> None:
        """Blocks until its threads and its child have ended."""
        if self._indexer is not None:
            self._indexer.stop()
        if self._watch is not None:
            self._watch.close()

    def _watched(self) -> bool:
        """Whether events tell of changed notes. A folder beside the index is watched too: a file in it is the proof."""
        layout, files = self._brain.layout, self._brain.files
        proof = os.path.join(layout.state, "memory", "watched")
        files.make_folder(proof)
        notes = [place for area in NOTE_AREAS if os.path.isdir(place := layout.inside(area))]
        watch = Watch((Folder(proof), *(Folder(place, recursive=True) for place in notes)), self._on_event)
        watch.start(files, proof)
        if watch.kind != "events":
            watch.close()
            return False
        self._watch = watch
        return len(notes) == len(NOTE_AREAS)

    def _on_event(self, hint: Hint, path: str) -> None:
        if self._indexer is not None:
            if hint is Hint.OVERFLOW:
                self._indexer.wake()
            else:
                self._indexer.hint(path)

    def _inboxes(self) -> Iterator[Inbox]:
        """The scratch workspaces of running attempts; asked from the indexer's thread."""
        for job in list(self._running().values()):
            if job.task.workspace == "scratch":
                attempt = job.attempt
                author = Author(task_id=job.task.id, attempt_id=attempt.attempt_id, chain=attempt.lineage.chain)
                yield Inbox(workspace=self._brain.layout.workspace(attempt.workspace_of), author=author)
