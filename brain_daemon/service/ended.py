"""Which tasks have ended: the index is asked for each id, so that a hundred thousand of them take no room here.

What this daemon has ended itself is known before it is recorded. Failures: StorageError as the journal raises it.
"""

from collections.abc import Iterator, Mapping, MutableMapping

from brain_daemon.store.journal import Journal

_MOST_FRESH = 4_096


class EndedStatuses(MutableMapping[str, str]):
    """casefolded id -> completed or failed. Belongs to the thread of `journal`; `ending` are those whose outcome is not recorded yet."""

    def __init__(self, journal: Journal, ending: Mapping[str, str]) -> None:
        self._journal = journal
        self._fresh = dict(ending)

    def __getitem__(self, key: str) -> str:
        found = self._fresh.get(key) or self._journal.ended_status(key)
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: str, status: str) -> None:
        if len(self._fresh) >= _MOST_FRESH:
            self._fresh = {name: told for name, told in self._fresh.items() if self._journal.ended_status(name) != told}
        self._fresh[key] = status

    def __delitem__(self, key: str) -> None:
        del self._fresh[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._journal.ended_statuses(), **self._fresh})

    def __len__(self) -> int:
        return len({**self._journal.ended_statuses(), **self._fresh})
