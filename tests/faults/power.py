"""Power loss: of what was not synced when the machine died, any legal part is on the disk afterwards.

`PowerFiles` keeps a ledger of what the seam has done since the last sync: for each name the states it has had, and for each state how
many of its bytes are durable. When the machine dies the disk is copied as it is; `lose` then puts each unsynced name back to any of its
states, and cuts unsynced data anywhere, or leaves a block of zeros. The rules:

- a name becomes durable when its folder is synced, data when its file is; `syncfs` makes all durable;
- without a sync each name may be in any state it has had, whatever the others are in, but the two halves of a rename are written
  together, as journaling file systems do, also when only one of the folders is synced;
- `Loss.NOTHING_KEPT` is the strictest reading, where a name that was not synced never came to be;
- a write-ahead log of SQLite holds at least what its last durable commit wrote, and any part of what came after; its first sync by a
  connection makes the names in its folder durable, as SQLite's unix VFS does.

Not modelled: what git syncs itself (a group of commits is done or not begun, and then durable, as `core.fsync` asks of it), folders
(one that was made is kept, which holds as soon as something in it is synced), the inside of SQLite's main file (its own tests have
that), what programs and people write.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from tests.faults.lab import Fault, FaultyFiles

_FULL = 2


class Loss(StrEnum):
    """Which part of what was not synced survives."""

    NOTHING_KEPT = "nothing is kept"
    NAMES_KEPT = "names are kept, data is not"
    ANY = "any part"


@dataclass(frozen=True, slots=True)
class State:
    """What a name has stood for: bytes, of which the first `durable` are on the disk for certain; None where there was no file."""

    data: bytes | None
    durable: int = 0

    @property
    def is_durable(self) -> bool:
        return self.data is None or self.durable >= len(self.data)


class PowerFiles(FaultyFiles):
    """Remembers what was not synced; copies the disk when the machine dies."""

    def __init__(self, root: str, at: int = 0, fault: Fault = Fault.NONE, ledger: "Ledger | None" = None) -> None:
        super().__init__(root, at, fault)
        self.ledger = ledger or Ledger()

    def die(self) -> None:
        with self._turn, self.git_turn:
            if not self.dead and self.struck is not None:
                self.ledger.copy_disk(self._root)
            super().die()

    def committed(self, owner: Any) -> None:
        """A transaction of SQLite has been committed by this connection."""
        connection = getattr(owner, "_connection", None) or owner.connection
        if connection.execute("pragma synchronous").fetchone()[0] == _FULL:
            self.ledger.log_synced(getattr(owner, "_path", None) or owner.path, id(owner))

    def put(self, path: str, data: bytes, *, sync: bool = True) -> None:
        before = read_or_none(path)
        super().put(path, data, sync=sync)
        self.ledger.change(path, before, State(data, len(data) if sync else 0))

    def put_if(self, path: str, data: bytes, still: Callable[[], bool], *, sync: bool = True) -> bool:
        before = read_or_none(path)
        done = super().put_if(path, data, still, sync=sync)
        if done:
            self.ledger.change(path, before, State(data, len(data) if sync else 0))
        return done

    def put_new(self, path: str, data: bytes, *, sync: bool = True, mode: int = 0o644) -> None:
        super().put_new(path, data, sync=sync, mode=mode)
        self.ledger.change(path, None, State(data, len(data) if sync else 0))

    def move(self, source: str, target: str) -> None:
        data = read_or_none(source)
        super().move(source, target)
        if data is not None:
            self.ledger.move(source, target, data)

    def remove(self, path: str) -> None:
        before = read_or_none(path)
        super().remove(path)
        if before is not None:
            self.ledger.change(path, before, State(None))

    def append(self, path: str, data: bytes) -> None:
        before = read_or_none(path)
        super().append(path, data)
        self.ledger.grow(path, before, data)

    def sync_folders(self, paths: Sequence[str]) -> None:  # type: ignore[override]
        for path in paths:
            super().sync_folders([path])
            self.ledger.folder_synced(path)

    def sync_group(self, paths: Sequence[str]) -> None:
        before = len(self.operations)
        super().sync_group(paths)
        if any(one.action == "sync group" for one in self.operations[before:]):
            self.ledger.all_synced()
        for path in paths:
            self.ledger.data_synced(path)


class Ledger:
    """What is not durable; shared by the files of several acts on one brain."""

    def __init__(self) -> None:
        self.names: dict[str, list[State]] = {}
        self.renames: list[tuple[str, State, str, State]] = []
        self.logs: dict[str, int] = {}
        self._synced_by: set[tuple[str, int]] = set()
        self.copied = False

    def change(self, path: str, before: bytes | None, after: State) -> None:
        """A name stands for something else."""
        self._states(path, before).append(after)

    def move(self, source: str, target: str, data: bytes) -> None:
        states = self._states(source, data)
        moved, gone = replace(states[-1], data=data), State(None)
        states.append(gone)
        self._states(target, None).append(moved)
        self.renames.append((source, gone, target, moved))

    def grow(self, path: str, before: bytes | None, more: bytes) -> None:
        """Bytes were added to a file in its place."""
        states = self._states(path, before)
        last = states[-1]
        if last.data is None:
            states.append(State(more))
        else:
            states[-1] = State((before or b"") + more, last.durable)

    def folder_synced(self, folder: str) -> None:
        for source, gone, target, moved in self.renames:
            if folder in (os.path.dirname(source), os.path.dirname(target)):
                self._advance(source, gone)
                self._advance(target, moved)
        for path in [path for path in self.names if os.path.dirname(path) == folder]:
            self.names[path] = self.names[path][-1:]
            self._forget_if_durable(path)

    def _advance(self, path: str, mark: State) -> None:
        """Nothing that a name was before this state comes back."""
        states = self.names.get(path, [])
        place = next((index for index, one in enumerate(states) if one is mark), 0)
        if place:
            self.names[path] = states[place:]

    def data_synced(self, path: str) -> None:
        if path in self.names:
            last = self.names[path][-1]
            self.names[path][-1] = replace(last, durable=len(last.data or b""))
            self._forget_if_durable(path)

    def all_synced(self) -> None:
        self.names.clear()

    def log_synced(self, path: str, connection: int) -> None:
        log = f"{path}-wal"
        self.logs[log] = os.path.getsize(log) if os.path.exists(log) else 0
        if (log, connection) not in self._synced_by:
            self._synced_by.add((log, connection))
            self.folder_synced(os.path.dirname(path))

    def _states(self, path: str, before: bytes | None) -> list[State]:
        return self.names.setdefault(path, [State(before, len(before or b""))])

    def _forget_if_durable(self, path: str) -> None:
        if len(self.names[path]) == 1 and self.names[path][0].is_durable:
            del self.names[path]

    # the loss

    def copy_disk(self, root: str) -> None:
        for place in (root, f"{root}.state"):
            if os.path.isdir(place):
                subprocess.run(["cp", "-a", place, f"{place}.kept"], check=True)
        self.copied = True

    def lose(self, root: str, loss: Loss, choice: random.Random) -> list[str]:
        """Put the disk as it was at the death in its place, less what was lost; what that was, for the table."""
        for place in (root, f"{root}.state"):
            if os.path.isdir(f"{place}.kept"):
                shutil.rmtree(place, ignore_errors=True)
                os.rename(f"{place}.kept", place)
        said = [self._cut_log(log, least, loss, choice) for log, least in self.logs.items()]
        for path, state in self._chosen(loss, choice).items():
            last = self.names[path][-1]
            if state is not last or not state.is_durable:
                said.append(_put_back(path, state, loss, choice))
        return [words for words in said if words]

    def _chosen(self, loss: Loss, choice: random.Random) -> dict[str, State]:
        if loss is not Loss.ANY:
            return {path: states[0 if loss is Loss.NOTHING_KEPT else -1] for path, states in self.names.items()}
        chosen = {path: choice.choice(states) for path, states in self.names.items()}
        for source, gone, target, moved in self.renames:
            if source in chosen and target in chosen:
                left = _since(self.names[source], gone, chosen[source])
                arrived = _since(self.names[target], moved, chosen[target])
                if left and not arrived:
                    chosen[target] = moved
                elif arrived and not left and gone in self.names[source]:
                    chosen[source] = gone
        return chosen

    def _cut_log(self, log: str, least: int, loss: Loss, choice: random.Random) -> str:
        """A write-ahead log keeps what its last durable commit wrote; whether more, is chance."""
        size = os.path.getsize(log) if os.path.exists(log) else 0
        if size <= least:
            return ""
        kept = least if loss is Loss.NOTHING_KEPT else choice.randint(least, size)
        os.truncate(log, kept)
        return f"{os.path.basename(log)} cut from {size} to {kept}"


def _since(states: list[State], mark: State, state: State) -> bool:
    """Whether `state` is `mark` or came after it."""
    places = [index for index, one in enumerate(states) if one is mark]
    return bool(places) and any(one is state for one in states[places[0] :])


def _put_back(path: str, state: State, loss: Loss, choice: random.Random) -> str:
    """Give a name one of its states, its unsynced bytes cut or zero."""
    if state.data is None:
        if os.path.lexists(path):
            os.unlink(path)
        return f"no {'/'.join(path.split('/')[-3:])}"
    data = state.data
    if not state.is_durable:
        kept = state.durable if loss is not Loss.ANY else choice.randint(state.durable, len(data))
        data = data[:kept] + (b"\0" * (len(data) - kept) if choice.random() < 0.3 else b"")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as handle:
        handle.write(data)
    return f"{'/'.join(path.split('/')[-3:])}: {len(data)} of {len(state.data)} bytes"


def read_or_none(path: str) -> bytes | None:
    """What stands there, if a file does."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
