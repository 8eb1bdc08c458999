"""One opened brain: its paths, settings, journal and repository, put together once and handed to those who work with it.

What opens the repository and what records take as long to import as everything else together, and a directive for an agent
needs neither: each is imported by whoever asks for it first.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from brain_daemon.adapters import parsed
from brain_daemon.adapters.registry import CameBy, Registry
from brain_daemon.adapters.secrets import expanded, remembered, secrets_in, secrets_of
from brain_daemon.model.errors import GitError, StorageError
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.routing_table import RoutingFault, RoutingTable
from brain_daemon.service.config import Config, load, user_state_path
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout
from brain_daemon.store.locate import common_git_dir, layout_of
from brain_daemon.store.looking import only_looking
from brain_daemon.store.reading import read_regular

if TYPE_CHECKING:
    from brain_daemon.record.filing import InterfaceState
    from brain_daemon.record.recorder import Recorder
    from brain_daemon.record.repository import Repository

_MAX_SECRET_BYTES = 64 << 10
_MAX_TABLE_BYTES = 256 << 10
_SAME_LOOK_SECONDS = 0.001


@dataclass(slots=True)
class Brain:
    """What every part of the service works with."""

    layout: Layout
    config: Config
    files: Files
    journal: Journal
    _in_git: bool
    _repository: "Repository | None" = None
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _pending_in_head: tuple[tuple[object, ...], dict[str, str]] | None = None
    _listing: dict[str, str] | None = None
    _looked_at: float = 0.0
    _branch: tuple[tuple[int, int] | None, str] | None = None
    _tables: parsed.ParsedFiles[RoutingTable | RoutingFault] | None = None

    @classmethod
    def open(
        cls,
        root: str,
        environment: Mapping[str, str],
        flags: Mapping[str, Any] | None = None,
        files: Files | None = None,
    ) -> "Brain":
        """Open the brain at `root`; folders that a fresh clone lacks are made. UserError, Damaged, Refused as the parts raise."""
        files = files or Files()
        config, _ = load(root, environment, flags)
        layout = layout_of(root, user_state_path())
        if not only_looking(layout.state):
            for folder in layout.folders():
                files.make_folder(folder)
        return cls.beside(layout, config, files)

    @classmethod
    def beside(cls, layout: Layout, config: Config, files: Files | None = None) -> "Brain":
        """A brain that another process has opened so, opened once more. Damaged and Refused as the journal raises."""
        files = files or Files()
        if not only_looking(layout.state) and os.stat(layout.aside).st_dev == os.stat(layout.completed).st_dev:
            files.aside = layout.aside
        in_git = common_git_dir(layout.root) is not None
        return cls(layout, config, files, Journal(layout.journal, files), in_git)

    @property
    def repository(self) -> "Repository | None":
        """The repository around it, opened when it is first asked for; None where it is in none. UserError where git refuses."""
        if self._repository is None and self._in_git:
            from brain_daemon.record.repository import Repository  # noqa: PLC0415 - see the module's docstring

            with self._opening:
                # Another thread may have had the lock before this one.
                known: Repository | None = self._repository
                self._repository = known or Repository.open(self.layout.root)
        return self._repository

    def rest(self) -> None:
        """Now and then, while little goes on: give back what is only kept to be fast."""
        if self._repository is not None:
            self._repository.trees.rest()

    def close(self) -> None:
        self.journal.close()
        if self._repository is not None:
            self._repository.trees.close()

    def registry(self, *, await_checks: bool = False) -> Registry:
        """The interfaces, read once."""
        registry = Registry(
            self.layout,
            self.config.environment,
            approvals=self.journal.approvals_told,
            approve=self.journal.approve,
            came_by=self.came_by,
            await_checks=await_checks,
            parsed=parsed.interfaces(parsed.interfaces_path(self.layout.state), self.files),
        )
        registry.scan()
        return registry

    def recorder(self, registry: Registry, daemon_state: Callable[[], str]) -> "Recorder":
        """`recorder_told` of what a registry has."""
        return self.recorder_told(lambda: interface_states(registry), daemon_state, self.redactor(registry))

    def recorder_told(
        self,
        interfaces: "Callable[[], Sequence[InterfaceState]]",
        daemon_state: Callable[[], str],
        redactor: Redactor,
    ) -> "Recorder":
        """A recorder with journal connections of its own; the caller holds the recording lock."""
        from brain_daemon.record.committing import Committer  # noqa: PLC0415 - see the module's docstring
        from brain_daemon.record.filing import RecordLimits  # noqa: PLC0415 - as above
        from brain_daemon.record.recorder import Recorder  # noqa: PLC0415 - as above

        commits = self.repository is not None and self.config.commit
        committer = Committer(self.repository, self.layout.state) if commits and self.repository else None
        return Recorder(
            self.layout,
            self.files,
            lambda: Journal(self.layout.journal, self.files, durable=False),
            committer,
            RecordLimits(
                group_size=self.config.group_size,
                result_bytes=self.config.result_bytes,
                files_bytes=self.config.files_bytes,
            ),
            interfaces,
            daemon_state,
            redactor,
        )

    def routing_table(self) -> tuple[RoutingTable, str]:
        """context/routing.md, or the built-in table with a sentence on what is wrong with the file."""
        path = os.path.join(self.layout.context, "routing.md")
        try:
            data = read_regular(path, _MAX_TABLE_BYTES)
        except StorageError as error:
            return RoutingTable(), f"{error} The built-in table is used."
        if not data:
            return RoutingTable(), ""
        if self._tables is None:
            self._tables = parsed.tables(parsed.table_path(self.layout.state), self.files)
        found = self._tables.read("routing.md", data)
        self._tables.keep()
        return (found, "") if isinstance(found, RoutingTable) else (RoutingTable(), found.message)

    def came_by(self, path: str, data: bytes) -> CameBy:
        """Whether git brought these bytes to `path`, decided only while no git command holds the index.

        Git has a blob before it writes the file: in a merge that waits for a person, and between the end of `index.lock` and
        the move of HEAD, HEAD does not know the file yet. So whatever git has anywhere came with git.
        """
        if self.repository is None:
            return CameBy.HERE
        if self.repository.index_locked():
            return CameBy.UNDECIDED
        try:
            (known,) = self.repository.lookup([self.repository.blob_id(data)])
        except GitError:
            return CameBy.UNDECIDED
        return CameBy.HERE if known is None else CameBy.GIT

    def came_by_pending(self, name: str, data: bytes) -> CameBy:
        """`came_by` for a file in pending/, from a listing that is made anew only when HEAD has moved."""
        repository = self.repository
        if repository is None:
            return CameBy.HERE
        if time.monotonic() - self._looked_at > _SAME_LOOK_SECONDS:
            self.know_head()
        if self._listing is None:
            return CameBy.UNDECIDED
        known = self._listing.get(name)
        return CameBy.GIT if known is not None and known == repository.blob_id(data) else CameBy.HERE

    def know_head(self) -> None:
        """See what HEAD has in pending/ now, if it has moved: the next file that comes need not wait for that."""
        if self.repository is not None:
            self._listing, self._looked_at = self._look_at_head(self.repository), time.monotonic()

    def _look_at_head(self, repository: "Repository") -> dict[str, str] | None:
        """What HEAD has in pending/; None while a git command is at work."""
        if repository.index_locked():
            return None
        try:
            return self._head_pending(repository)
        except GitError:
            return None

    def _head_signature(self, repository: "Repository") -> tuple[object, ...]:
        """Changes whenever HEAD may stand for another commit; a few `stat` calls."""
        head = _stamp(os.path.join(repository.git_dir, "HEAD"))
        if self._branch is None or self._branch[0] != head:
            self._branch = (head, repository.branch() or "")
        ref = os.path.join(repository.common_dir, "refs", "heads", self._branch[1])
        return head, _stamp(ref), _stamp(os.path.join(repository.common_dir, "packed-refs"))

    def _head_pending(self, repository: "Repository") -> dict[str, str]:
        key = self._head_signature(repository)
        if self._pending_in_head is None or self._pending_in_head[0] != key:
            folder = f"{repository.prefix}{self.layout.relative(self.layout.pending)}"
            self._pending_in_head = (key, repository.trees.entries(f"HEAD:{folder}"))
        return self._pending_in_head[1]

    def redactor(self, registry: Registry) -> Redactor:
        """Knows the values of every secret the daemon itself can see, and those that it will have read later."""
        return Redactor(self.secrets(registry), remembered)

    def secrets(self, registry: Registry) -> tuple[str, ...]:
        """Their values, as far as they are known without running anything."""
        return tuple(_secrets(self.config, registry))


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def interface_states(registry: Registry) -> "Sequence[InterfaceState]":
    """Every interface, and why it cannot work now."""
    from brain_daemon.record.filing import InterfaceState  # noqa: PLC0415 - see the module's docstring

    return [InterfaceState(entry.spec, entry.why_not) for entry in list(registry.entries.values())]


def _secrets(config: Config, registry: Registry) -> list[str]:
    """What is known without running anything: variables, and the files that approved interfaces and the settings name."""
    environment = config.environment
    entries = [entry.spec.auth for entry in registry.entries.values() if entry.approved]
    values = [*secrets_of(environment, *(auth.env for auth in entries))]
    for path in (*config.secret_files, *(auth.config_location for auth in entries if auth.config_location)):
        try:
            data = read_regular(os.path.realpath(expanded(path, environment.get("HOME", ""))), _MAX_SECRET_BYTES)
        except StorageError:
            continue
        values += secrets_in(data.decode("utf-8", "replace"))
    return values
