"""From names in pending/ to tasks that may be considered: settle, read, parse, name, watch for changes.

Hints come from file events; `scan` finds what they missed. What is kept here is a picture of the folder: the claim looks
at the file again.
"""

import logging
import os
import time
from collections import ChainMap
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace

from brain_daemon.adapters.registry import CameBy, Registry
from brain_daemon.memory.pool import Pool
from brain_daemon.model import document
from brain_daemon.model.ids import same_id, slug
from brain_daemon.model.parsing import ParseLimits, Vocabulary, parse_task, too_large
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.policy.arrivals import Accept, Arrival, Decline, EndedTask, arrive
from brain_daemon.policy.circles import Circles
from brain_daemon.service.brain import Brain
from brain_daemon.service.ended import EndedStatuses
from brain_daemon.service.remembering import open_pool
from brain_daemon.store.layout import is_task_name
from brain_daemon.store.queue import Gone, Seen, Signature, Unreadable, look, names, peek

_LOG = logging.getLogger("brain_daemon")
_QUICK_LOOK_SECONDS = 0.005


@dataclass(slots=True)
class PendingTask:
    """A readable file in pending/. `task` has the id it will run under; `fault` stands in its place where it is none."""

    name: str
    signature: Signature
    seen_at: float
    task: TaskSpec | None
    fault: Rejection | None
    in_head: bool = False
    recorded: bool = False
    note: str | None = None
    finding: str | None = None

    @property
    def id(self) -> str:
        if self.task is not None:
            return self.task.id
        assert self.fault is not None
        return self.fault.id


def _nowhere(_key: str) -> str | None:
    return None


class _Statuses(Mapping[str, str]):
    """A live view: nothing is copied, however many tasks there are. `elsewhere` is asked about ids that are in none of the three."""

    def __init__(
        self,
        active: Mapping[str, str],
        pending: Mapping[str, str],
        ended: Mapping[str, str],
        elsewhere: Callable[[str], str | None] = _nowhere,
    ) -> None:
        self._active = active
        self._pending = pending
        self._ended = ended
        self._elsewhere = elsewhere

    def __getitem__(self, key: str) -> str:
        if key in self._active:
            return self._active[key]
        if key in self._pending:
            return "pending"
        if key in self._ended:
            return self._ended[key]
        found = self._elsewhere(key)
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter({**self._ended, **self._pending, **self._active})

    def __len__(self) -> int:
        return len({**self._ended, **self._pending, **self._active})


class Intake:
    """The picture of pending/. `whole` are names of files that nobody writes to any more. Not for several threads."""

    def __init__(self, brain: Brain, redactor: Redactor, whole: Container[str] = ()) -> None:
        self._brain = brain
        self._whole = whole
        self.redactor = redactor
        self._limits = ParseLimits(file_bytes=brain.config.task_bytes)
        self.vocabulary: Vocabulary | None = None
        self.tasks: dict[str, PendingTask] = {}
        self.declined: dict[str, tuple[Signature | None, str]] = {}
        self.blocked: set[str] = set()
        self._unfit: set[str] = set()
        self._unsettled: dict[str, tuple[float, Signature | None]] = {}
        self._first_seen: dict[int, float] = {}
        self.ended = EndedStatuses(brain.journal, {})
        self.active: dict[str, str] = {}
        self.running: Container[str] = ()
        self._names_of: dict[str, str] = {}
        self._drafts: dict[str, str] = {}
        self._circles = Circles(self._waits_of)
        self._pool: Pool | None = None
        self.released: frozenset[str] = frozenset()

    @property
    def holders(self) -> Mapping[str, str]:
        """casefolded id -> active, a pending file's name, completed or failed."""
        return ChainMap(self.active, self._names_of, self.ended)

    def statuses(self) -> Mapping[str, str]:
        """casefolded id -> pending, active, completed or failed, as policy/readiness.py wants it."""
        return _Statuses(self.active, self._names_of, self.ended)

    def standing(self) -> Mapping[str, str]:
        """The same, and of ids not in the picture what disk and journal say: a draft, a file that is not read yet, another's claim."""
        return _Statuses(self.active, self._names_of, self.ended, self._elsewhere)

    def _elsewhere(self, key: str) -> str | None:
        """Where a task stands that this picture does not show, or does not show yet; None if nobody has heard of it."""
        brain = self._brain
        if any(same_id(draft, key) for draft in self._drafts.values()):
            return "draft"
        for names_of, state in ((self._unsettled, "being written"), (self.declined, "held")):
            if any(same_id(slug(name.removesuffix(".md")), key) for name in names_of):
                return state
        if any(name.casefold() == f"{key}.md" for name in os.listdir(brain.layout.active)):
            return "active"
        if key in brain.journal.finishing():
            return "being recorded"
        record = brain.journal.ended_task(key)
        return None if record is None else record.status

    def in_pool(self, wanted: str) -> bool:
        """Whether an id that is no task's is that of a text in the pool. Reads files; asked only where nothing else knows the id."""
        if self._pool is None:
            self._pool = open_pool(self._brain)
        return self._pool.resolve(wanted) is not None

    def circle(self, task: TaskSpec) -> tuple[str, ...]:
        """The circle of pending tasks that this one waits in, from its id round to it again; empty if it waits in none."""
        found = self._circles.through(task.id.casefold())
        return tuple(self.tasks[self._names_of[key]].id for key in found)

    def in_circle(self, task: TaskSpec) -> list[PendingTask]:
        """The others in the circle that a task waits in."""
        return [self.tasks[self._names_of[key]] for key in self._circles.through(task.id.casefold())[1:-1]]

    def _waits_of(self, key: str) -> tuple[str, ...] | None:
        if key in self._names_of:
            task = self.tasks[self._names_of[key]].task
            return () if task is None else tuple(map(str.casefold, task.waits_for))
        return () if key in self.active or key in self.ended else None

    def complete(self, name: str) -> str | None:
        """A hint that a file is whole; the name if the picture has changed."""
        if not is_task_name(name):
            return None
        known = self.tasks.get(name)
        if known is not None and self._settling_edit(name, known):
            return name
        return name if self._examine(name) else None

    def changing(self, name: str) -> None:
        """A hint that a file is being written: it counts as whole after a quiet time."""
        if is_task_name(name) and name not in self.tasks:
            self._unsettled.setdefault(name, (time.monotonic() + self._brain.config.settle_seconds, None))

    @property
    def is_rebasing(self) -> bool:
        """Whether the person is in a rebase now."""
        repository = self._brain.repository
        return repository is not None and repository.is_rebasing()

    def knows(self, name: str) -> bool:
        """Whether a file is in the picture, be it as one that is declined or not settled yet."""
        return name in self.tasks or name in self._unsettled or name in self.declined

    def gone(self, name: str) -> str | None:
        """A hint that a file has left pending/; its name if it was known."""
        self._unsettled.pop(name, None)
        self.declined.pop(name, None)
        self._drafts.pop(name, None)
        self._unfit.discard(name)
        self.blocked.discard(name)
        return name if self.forget(name) else None

    def forget(self, name: str) -> PendingTask | None:
        """Take a file out of the picture."""
        known = self.tasks.pop(name, None)
        if known is not None and self._names_of.get(known.id.casefold()) == name:
            del self._names_of[known.id.casefold()]
        return known

    def block(self, name: str, reason: str) -> None:
        """Decline a file until the task that holds its id has ended: each scan looks at it again."""
        known = self.forget(name)
        self.declined[name] = (None if known is None else known.signature, reason)
        self.blocked.add(name)

    def look_again(self) -> None:
        """Somebody else has changed the journal: what has ended and what is released is read anew, and nothing stays declined."""
        journal = self._brain.journal
        ending = {one.task_id.casefold(): one.status.value for one in journal.open_attempts() if one.status is not None}
        self.ended = EndedStatuses(journal, ending)
        self.released = journal.approvals()
        self.declined.clear()
        self._unfit.clear()
        self.blocked.clear()

    def scan(self, limit: int | None = None) -> Iterator[str]:
        """Look at the whole folder; yields each name whose picture has changed. `limit` bounds how many are read."""
        present = set(names(self._brain.layout.pending))
        for name in [*self.tasks, *self.declined, *self._unsettled]:
            if name not in present and self.gone(name):
                yield name
        for name in sorted(present - self._unsettled.keys()):
            if self._is_news(name) and self._examine(name):
                yield name
                if limit is not None and (limit := limit - 1) <= 0:
                    return
        self._forget_first_seen()

    def _forget_first_seen(self) -> None:
        """Keep when a file was first seen only for those that are here: its inode is another file's before long."""
        signatures = [pending.signature for pending in self.tasks.values()]
        signatures += [one for one, _ in self.declined.values() if one is not None]
        signatures += [one for _, one in self._unsettled.values() if one is not None]
        here = {signature.inode for signature in signatures}
        self._first_seen = {inode: at for inode, at in self._first_seen.items() if inode in here}

    def settle(self) -> Iterator[str]:
        """Files whose quiet time has passed; yields each name whose picture has changed."""
        now = time.monotonic()
        for name, (due, last) in list(self._unsettled.items()):
            if due > now:
                continue
            found = peek(self._brain.layout.pending, name)
            if isinstance(found, Signature) and found != last:
                self._unsettled[name] = (now + self._brain.config.settle_seconds, found)
                continue
            del self._unsettled[name]
            if self._examine(name):
                yield name

    @property
    def next_due(self) -> float | None:
        """Monotonic seconds at which `settle` has something to do."""
        return min((due for due, _ in self._unsettled.values()), default=None)

    def _is_news(self, name: str) -> bool:
        """Whether a scan must read this file: new or changed, and quiet for long enough (else it is put off)."""
        found = peek(self._brain.layout.pending, name)
        known = self.tasks.get(name)
        if isinstance(found, Signature) and known is not None and known.signature == found:
            return False
        if name in self.declined:
            # What it was declined for may be gone, unless that stands in the file itself.
            return not (name in self._unfit and self.declined[name][0] == found)
        if isinstance(found, Signature) and name not in self._whole:
            age = time.time() - found.modified_at
            if 0 <= age < self._brain.config.settle_seconds:
                self._unsettled[name] = (time.monotonic() + self._brain.config.settle_seconds - age, found)
                return False
        return True

    def _settling_edit(self, name: str, known: PendingTask) -> bool:
        """A known file that is saved again may be under somebody's hands: it waits for a quiet time."""
        found = peek(self._brain.layout.pending, name)
        if not isinstance(found, Signature) or found == known.signature:
            return False
        self.forget(name)
        self._unsettled[name] = (time.monotonic() + self._brain.config.settle_seconds, found)
        return True

    def _examine(self, name: str) -> bool:
        """Read one file into the picture; whether the picture changed."""
        before = self.declined.get(name)
        self.blocked.discard(name)
        changed = self._read(name)
        return changed and (before is None or self.declined.get(name) != before)

    def _read(self, name: str) -> bool:
        self._unsettled.pop(name, None)
        found = look(self._brain.layout.pending, name, self._brain.config.task_bytes)
        if isinstance(found, Gone):
            return self.forget(name) is not None
        known = self.tasks.get(name)
        if isinstance(found, Seen) and known is not None and known.signature == found.signature:
            return False
        self.forget(name)
        self.declined.pop(name, None)
        self._drafts.pop(name, None)
        self._unfit.discard(name)
        if isinstance(found, Unreadable):
            self.declined[name] = (None, found.reason)
            return True
        if found.data is not None and not found.data.strip():
            self._decline(found, "is empty: nothing is asked yet")
            return True
        return self._take(found)

    def _take(self, seen: Seen) -> bool:
        origin = CameBy.HERE if seen.data is None else self._brain.came_by_pending(seen.name, seen.data)
        if origin is CameBy.UNDECIDED:
            self._unsettled[seen.name] = (time.monotonic() + _QUICK_LOOK_SECONDS, seen.signature)
            return False
        try:
            pending = self.parse(seen, in_head=origin is CameBy.GIT)
        except Exception as error:  # noqa: BLE001 - a fault of ours that one file brings out must not end the daemon at each start
            _LOG.exception("a pending file could not be read", extra={"action": "intake", "file": seen.name})
            self._decline(seen, f"brings out a fault of this program ({type(error).__name__}; its log has the rest)")
            return True
        if pending.task is not None and pending.task.draft:
            self._decline(seen, "is a draft; `status: ready` lets it start")
            self._drafts[seen.name] = pending.id
            return True
        answer = self._arrive(pending, seen)
        if isinstance(answer, Decline):
            self.declined[seen.name] = (seen.signature, answer.reason)
            if answer.blocked:
                self.blocked.add(seen.name)
            return True
        pending.note = answer.note
        self._name(pending, answer.id)
        self.tasks[seen.name] = pending
        self._names_of[pending.id.casefold()] = seen.name
        self._circles.came(pending.id.casefold())
        return True

    def _decline(self, seen: Seen, reason: str) -> None:
        """For what the file itself says: another look at the same file would find the same."""
        self.declined[seen.name] = (seen.signature, reason)
        self._unfit.add(seen.name)

    def parse(self, seen: Seen, *, in_head: bool) -> PendingTask:
        """The task a file asks for, or why it is none; a recorded file moved back is read without its result."""
        seen_at = self._first_seen.setdefault(seen.signature.inode, time.time())
        if seen.data is None:
            fault = too_large(seen.name, seen.signature.size_bytes, limits=self._limits)
            return PendingTask(seen.name, seen.signature, seen_at, None, fault, in_head=in_head)
        data, recorded = original_of(seen.data)
        parsed = parse_task(seen.name, data, limits=self._limits, vocabulary=self.vocabulary)
        pending = PendingTask(seen.name, seen.signature, seen_at, None, None, in_head=in_head, recorded=recorded)
        if isinstance(parsed, Rejection):
            pending.fault = parsed
        else:
            pending.task = parsed
        if parsed.sha256 not in self.released:
            pending.finding = self._finding(seen.name, data)
        return pending

    def _finding(self, name: str, data: bytes) -> str | None:
        """What looks like a secret in a task's name or text, in words that do not repeat it."""
        findings = self.redactor.find(data.decode("utf-8", "replace"))
        if findings:
            return f"{findings[0].kind} in line {findings[0].line}"
        named = self.redactor.find(name)
        return f"{named[0].kind} in its file name" if named else None

    def _arrive(self, pending: PendingTask, seen: Seen) -> Accept | Decline:
        what = pending.task or pending.fault
        assert what is not None
        asked_id = what.id
        if pending.recorded and seen.data is not None and not (pending.task and pending.task.explicit_id):
            asked_id = _recorded_id(seen) or asked_id
        arrival = Arrival(
            id=asked_id,
            explicit_id=pending.task is not None and pending.task.explicit_id,
            sha256=what.sha256,
            modified_at=seen.signature.modified_at,
            in_head=pending.in_head,
            recorded=pending.recorded,
        )
        self._forget_stale(asked_id.casefold())
        in_flight = ChainMap(self.active, self._names_of)
        return arrive(arrival, self._ended(asked_id), in_flight, self.holders)

    def _forget_stale(self, key: str) -> None:
        """Somebody else's claim may have ended since the last scan: its file tells. What this daemon runs is known."""
        if key not in self.active or key in self.running:
            return
        if not any(name.casefold() == f"{key}.md" for name in os.listdir(self._brain.layout.active)):
            del self.active[key]

    def _ended(self, task_id: str) -> EndedTask | None:
        if task_id.casefold() not in self.ended:
            return None
        record = self._brain.journal.ended_task(task_id)
        if record is None:
            return EndedTask(status=self.ended[task_id.casefold()], sha256=None, finished_at=None)
        present = os.path.exists(self._brain.layout.inside(record.path))
        return EndedTask(status=record.status, sha256=record.sha256, finished_at=record.finished_at, present=present)

    @staticmethod
    def _name(pending: PendingTask, task_id: str) -> None:
        if pending.id == task_id:
            return
        if pending.task is not None:
            pending.task = replace(pending.task, id=task_id)
        elif pending.fault is not None:
            pending.fault = replace(pending.fault, id=task_id)


def vocabulary(registry: Registry, table: RoutingTable) -> Vocabulary:
    """The names that tasks may use now, with what each stands for."""
    specs = [entry.spec for entry in registry.entries.values()]
    return Vocabulary(
        interfaces={name: spec.name for spec in specs for name in (spec.name, *spec.aliases)}
        | {name: name for name, _ in table.agents},
        capabilities=frozenset(capability for spec in specs for capability in spec.capabilities),
        types=dict(table.aliases),
    )


def original_of(data: bytes) -> tuple[bytes, bool]:
    """A task's own bytes, and whether a result of ours was taken off them."""
    if b"result:" not in data or not document.is_recorded(data):
        return data, False
    return document.strip(data).data, True


def _recorded_id(seen: Seen) -> str | None:
    """The id under which a recorded file ran: its name in completed/ or failed/ was that id."""
    return seen.name.removesuffix(".md")


def explain(fault: Rejection) -> str:
    """A rejection in words: the line, the field, what was found and what is allowed."""
    place = [f"line {fault.line}"] if fault.line else []
    place += [f"field {fault.field}"] if fault.field else []
    lines = [(", ".join(place) + ": " if place else "") + fault.message]
    if fault.found is not None:
        lines.append(f"Found: {fault.found}")
    if fault.allowed is not None:
        lines.append(f"Allowed: {fault.allowed}")
    return "\n".join(lines)
