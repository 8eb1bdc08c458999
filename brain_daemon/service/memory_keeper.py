"""The pool in the daemon: its index is kept fresh beside the work as soon as somebody here is told what it finds.

Nobody is as long as no interface of the type `llm` can be used; then no thread and no child process is started. Links, handoffs
and `brain memory` work either way: they look at the files themselves.
"""

from collections.abc import Callable, Iterator, Mapping

from brain_daemon.adapters.registry import Registry
from brain_daemon.memory.indexer import Indexer
from brain_daemon.memory.notes import Author, Inbox
from brain_daemon.model.interface import InterfaceType
from brain_daemon.service.brain import Brain
from brain_daemon.service.job import Job
from brain_daemon.service.remembering import daemon_vectors, open_pool

_MOST_SCAN_SECONDS = 5.0


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
        self._indexer: Indexer | None = None
        self._vectors = daemon_vectors(brain)
        self.pool = open_pool(brain, vectors=self._vectors)

    def start_if_wanted(self, registry: Registry) -> None:
        """Begin to keep the index once an interface can be used that is told what the pool finds."""
        if self._indexer is not None or not self._brain.config.memory_tokens:
            return
        entries = list(registry.entries.values())
        if any(entry.usable and entry.spec.type is InterfaceType.LLM for entry in entries):
            self._indexer = Indexer(
                self.pool,
                scan_seconds=min(self._brain.config.scan_seconds, _MOST_SCAN_SECONDS),
                inboxes=self._inboxes,
                on_notes=self._keep,
                clean=self._clean,
            )
            self._indexer.start()

    def stop(self) -> None:
        """Blocks until its thread and its child have ended."""
        if self._indexer is not None:
            self._indexer.stop()

    def _inboxes(self) -> Iterator[Inbox]:
        """The scratch workspaces of running attempts; asked from the indexer's thread."""
        for job in list(self._running().values()):
            if job.task.workspace == "scratch":
                attempt = job.attempt
                author = Author(task_id=job.task.id, attempt_id=attempt.attempt_id, chain=attempt.lineage.chain)
                yield Inbox(workspace=self._brain.layout.workspace(attempt.workspace_of), author=author)
