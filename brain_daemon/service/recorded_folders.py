"""The folders of recorded tasks that may hold one the index does not know: those that have changed since it knew all that lay in them.

A folder's time of change moves whenever a name comes or goes in it. As git does for files, a folder that has changed within the last
two seconds is not taken as known: another change in the same tick of the clock would not be seen. Kept in the journal, so that whoever
begins with another journal looks at everything. Failures: none; a folder that is gone or cannot be read has no tasks.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping

from brain_daemon.service.reindexing import may_hold_tasks
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout, is_task_name

_KEY = "recorded folders"
_STATUSES = ("completed", "failed")
_SETTLED_NS = 2_000_000_000


class RecordedFolders:
    """One look. `keep` when what `paths` gave is in the index."""

    def __init__(self, layout: Layout, journal: Journal) -> None:
        self._layout = layout
        self._journal = journal
        self._kept = journal.get(_KEY) or "{}"
        self._seen: dict[str, int] = {}

    def paths(self) -> Iterator[tuple[str, str]]:
        """Status and absolute path of each task in a folder that has changed."""
        known: dict[str, int] = json.loads(self._kept)
        for status in _STATUSES:
            top = self._layout.ended(status)
            waiting = [top]
            while waiting:
                folder = waiting.pop()
                names, folders = self._listed(top, folder, known)
                yield from ((status, os.path.join(folder, name)) for name in sorted(names) if is_task_name(name))
                waiting += [os.path.join(folder, name) for name in folders]

    def keep(self) -> None:
        """The index knows all that was seen."""
        told = json.dumps(self._seen, sort_keys=True)
        if told != self._kept:
            self._journal.set(_KEY, told)

    def _listed(self, top: str, folder: str, known: Mapping[str, int]) -> tuple[list[str], list[str]]:
        """The files in it and the folders that may hold tasks; nothing where there are none of these and it has not changed."""
        relative = self._layout.relative(folder)
        try:
            changed_at = os.stat(folder).st_mtime_ns
            if known.get(relative) == changed_at:
                self._seen[relative] = changed_at
                return [], []
            with os.scandir(folder) as found:
                entries = list(found)
            files = [entry.name for entry in entries if not entry.is_dir()]
            inner = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return [], []
        folders = [name for name in inner if may_hold_tasks(top, folder, name)]
        if not folders and time.time_ns() - changed_at > _SETTLED_NS:
            self._seen[relative] = changed_at
        return files, folders
