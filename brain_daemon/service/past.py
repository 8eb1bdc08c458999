"""What the ledger teaches, kept up with while attempts end: the history that routing asks.

New rows are added to the sums as they come; everything is counted anew when a person has rated something, the index was
rebuilt, or routing.md calls types by other names. Only the newest `MOST_ROWS` rows count, and up to as many more that come after.

Failures: what cannot be read teaches nothing, and is looked at again.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from datetime import date

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import StorageError
from brain_daemon.model.ids import normal_name
from brain_daemon.model.outcome import FailureKind, Reason, Status
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import Prefer, TaskSpec
from brain_daemon.policy.deciding import PROOF
from brain_daemon.policy.eligibility import Candidate
from brain_daemon.policy.evidence import NO_HISTORY, History, Judge, Tally, Verdict, count, faded, words_of
from brain_daemon.policy.learning import Learn, Lesson, lessons
from brain_daemon.record import ratings
from brain_daemon.service.brain import Brain
from brain_daemon.service.counted import Counted, keep_sums, kept_sums
from brain_daemon.store.queue import sign
from brain_daemon.store.reading import read_regular

MOST_ROWS = 20_000
SERVED = "served."
"""Before an interface's name the key in the journal that says: it has completed a task here."""

LOOK_SECONDS = 3.0

_MAX_RATINGS_BYTES = 16 << 20
_DISPROVED = frozenset({Reason.VERIFICATION_FAILED, FailureKind.NOT_VERIFIED})


class Past:
    """The history of one brain. Belongs to the thread of `brain.journal`."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self.learn = Learn(brain.config.learn)
        self.history: History = NO_HISTORY
        self._counted: dict[tuple[str, str, int], Tally] = {}
        self._newest_day = 0
        self._since = self._read = 0
        self._last: str | None = None
        self._made_of: str | None = None
        self._kept_to = -1
        self._words: Mapping[str, Verdict] = {}
        self._due = 0.0

    def has_served(self, name: str) -> bool:
        """Whether an interface that costs nothing more has completed a task here."""
        return self._brain.journal.get(SERVED + name) is not None

    def prefers(self, task: TaskSpec) -> Prefer:
        """What counts besides success for this task."""
        return task.prefer or Prefer(self._brain.config.prefer)

    def lessons(self, candidates: Iterable[Candidate], task: TaskSpec, table: RoutingTable) -> Mapping[str, Lesson]:
        """What is believed of each interface on the task's type; nothing where learning is off."""
        if self.learn is Learn.OFF:
            return {}
        requires = tuple(dict.fromkeys(map(normal_name, task.requires)))
        specs = (one.spec for one in candidates)
        return lessons(specs, table.type_of(task.type), requires, table, self.history)

    def look(self, table: RoutingTable, *, now: bool = False) -> bool:
        """Catch up with the ledger, at most once every few seconds or `now`; whether the history is another one."""
        if self.learn is Learn.OFF or (not now and time.monotonic() < self._due):
            return False
        self._due = time.monotonic() + LOOK_SECONDS
        journal = self._brain.journal
        newest = journal.newest_outcome()
        made_of = hashlib.sha256(repr((table.aliases, _signatures(self._ratings()))).encode()).hexdigest()
        is_first = self._made_of is None
        if is_first:
            self._take_up(made_of)
        if (
            made_of != self._made_of
            or journal.outcome_at(self._read) != self._last
            or newest - self._since > 2 * MOST_ROWS
        ):
            self._begin_anew(newest, made_of)
        elif newest == self._read and not is_first:
            return False
        self._add(newest, table)
        self.history = faded(self._counted, self._newest_day)
        return True

    def keep(self) -> None:
        """Leave the sums for the next start, if there are new ones."""
        if self._made_of is None or self._kept_to == self._read:
            return
        counted = Counted(
            made_of=self._made_of,
            since=self._since,
            read=self._read,
            last=self._last,
            newest_day=self._newest_day,
            sums=self._counted,
        )
        keep_sums(self._brain.layout.state, counted, self._brain.files)
        self._kept_to = self._read

    def _take_up(self, made_of: str) -> None:
        """The sums that were left, if they still are those of the ledger's first part."""
        before = kept_sums(self._brain.layout.state)
        if before is None or before.made_of != made_of:
            return
        self._counted, self._newest_day = dict(before.sums), before.newest_day
        self._since, self._read, self._last = before.since, before.read, before.last
        self._kept_to = before.read
        self._know(made_of)

    def _begin_anew(self, newest: int, made_of: str) -> None:
        self._counted, self._newest_day = {}, 0
        self._since = self._read = max(0, newest - MOST_ROWS)
        self._last, self._kept_to = None, -1
        self._know(made_of)

    def _know(self, made_of: str) -> None:
        self._made_of = made_of
        self._words = words_of(verdicts(self._ratings()))

    def _add(self, newest: int, table: RoutingTable) -> None:
        rows = self._brain.journal.outcomes_between(self._read, newest)
        found = [(routing, CostRow.from_values(values)) for routing, values in rows]
        proofs = {row.attempt_id: proved for routing, row in found if (proved := _proof(routing, row)) is not None}
        count(self._counted, [row for _, row in found], {**proofs, **self._words}, table.type_of)
        days = (date.fromisoformat(row.day).toordinal() for _, row in found)
        self._newest_day = max((self._newest_day, *days))
        self._read, self._last = newest, self._brain.journal.outcome_at(newest)

    def _ratings(self) -> list[str]:
        """The files with ratings, oldest first."""
        folder = self._brain.layout.inside("logs", "ratings")
        if not os.path.isdir(folder):
            return []
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".jsonl"))


def verdicts(paths: Iterable[str]) -> list[Verdict]:
    """What people said, in the order in which they said it."""
    found: list[Verdict] = []
    for path in paths:
        try:
            data = read_regular(path, _MAX_RATINGS_BYTES)
        except StorageError:
            continue
        found += [Verdict(attempt_id=one.attempt_id, good=one.good) for one in ratings.parse(data)]
    return found


def _proof(routing: Mapping[str, object], row: CostRow) -> Verdict | None:
    """What the task's own `verify:` said of an attempt; None where it has none, or was not reached."""
    if row.reason in _DISPROVED:
        return Verdict(attempt_id=row.attempt_id, good=False, by=Judge.PROOF)
    if row.status is Status.COMPLETED and routing.get(PROOF):
        return Verdict(attempt_id=row.attempt_id, good=True, by=Judge.PROOF)
    return None


def _signatures(paths: Iterable[str]) -> tuple[object, ...]:
    found: list[object] = []
    for path in paths:
        try:
            found.append((path, sign(os.lstat(path))))
        except FileNotFoundError:
            continue
    return tuple(found)
