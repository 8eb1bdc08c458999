"""The journal's attempts: what is in flight, and what became of each try.

Failures: a row that this program cannot have written raises Damaged, which names it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from brain_daemon.model.attempt import Attempt, AttemptState, Decision, Lineage, decode_ended, encode_ended
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import Damaged
from brain_daemon.model.outcome import Mode, Reason, Status
from brain_daemon.store.journal_file import UNSETTLED, JournalFile

_OPEN_STATES = "('claimed', 'starting', 'ended', 'recorded')"
_SETTLED = frozenset({AttemptState.COMMITTED, AttemptState.RELEASED})
_COLUMNS = (
    "attempt_id, task_id, number, state, name, sha256, spec, claimant, claimed_at, lease_until, origin, interface, "
    "model, tier, routing, argv, mode, started_at, ended, decision, status, reason, message, resumes, "
    "resume_at, answer, lineage"
)


class AttemptRows(JournalFile):
    """The verbs on table `attempts`."""

    def add(self, attempts: Sequence[Attempt]) -> None:
        """New attempts, `claimed` by an agent, `starting`, or `ended` before any start; durable on return."""
        with self.transaction():
            self.insert(attempts)

    def insert(self, attempts: Sequence[Attempt]) -> None:
        """`add` for a caller that holds the transaction."""
        self._connection.executemany(
            f"insert into attempts ({_COLUMNS}) values ({', '.join('?' * 27)})",  # noqa: S608 - constants only
            [_to_row(attempt) for attempt in attempts],
        )

    def end(self, attempts: Sequence[Attempt]) -> None:
        """Write outcomes: the commit point of each. An attempt that has one already keeps the first."""
        with self.transaction():
            self.set_ended(attempts)

    def set_ended(self, attempts: Sequence[Attempt]) -> None:
        """`end` for a caller that holds the transaction."""
        self._connection.executemany(
            "update attempts set state = 'ended', ended = ?, decision = ?, status = ?, reason = ?, message = ?, "
            "resume_at = ?, interface = coalesce(?, interface), model = coalesce(?, model) "
            "where attempt_id = ? and state in ('claimed', 'starting')",
            [_to_end(attempt) for attempt in attempts],
        )

    def set_recorded(self, attempt_ids: Iterable[str]) -> None:
        """The files have these attempts; for a caller that holds the transaction."""
        self._connection.executemany(
            "update attempts set state = 'recorded' where attempt_id = ? and state = 'ended'",
            [(attempt_id,) for attempt_id in attempt_ids],
        )

    def mark_committed(self, shas: Mapping[str, str]) -> None:
        """Git has these attempts; the copy of the task's bytes is kept only where its file still waits in active/."""
        with self.transaction():
            self._connection.executemany(
                "update attempts set state = 'committed', commit_sha = ?, "
                "spec = case when decision in ('ask', 'park') then spec end where attempt_id = ?",
                [(sha, attempt_id) for attempt_id, sha in shas.items()],
            )

    def release(self, attempt_id: str) -> None:
        """The attempt is given back: it has no outcome and will never have one."""
        with self.transaction():
            self._connection.execute(
                "update attempts set state = 'released' where attempt_id = ? and state in ('claimed', 'starting')",
                (attempt_id,),
            )

    def allow_again(self, attempt_id: str) -> None:
        """A person has answered, or what a parked attempt waited for has come: its task goes back to pending/."""
        with self.transaction():
            self._connection.execute(
                "update attempts set decision = 'again' where attempt_id = ? and decision in ('ask', 'park')",
                (attempt_id,),
            )

    def answer(self, attempt_id: str, text: str) -> bool:
        """A person has answered what a parked attempt asked; False if it is parked no more."""
        with self.transaction():
            cursor = self._connection.execute(
                "update attempts set answer = ? where attempt_id = ? and decision = 'park'", (text, attempt_id)
            )
        return cursor.rowcount == 1

    def renew(self, attempt_id: str, lease_until: float) -> bool:
        """Move the end of an agent's lease; False if the attempt is no longer claimed."""
        with self.transaction():
            cursor = self._connection.execute(
                "update attempts set lease_until = ? where attempt_id = ? and state = 'claimed'",
                (lease_until, attempt_id),
            )
        return cursor.rowcount == 1

    def open_attempts(self) -> list[Attempt]:
        """Attempts that are not settled in git yet, oldest first."""
        return self._attempts(f"where state in {_OPEN_STATES} order by rowid")

    def newest_attempts(self) -> list[Attempt]:
        """Of every task that may still concern active/, its newest attempt: open ones, and ends that did not end their task."""
        tasks = (
            f"select task_id from attempts where state in {_OPEN_STATES} "  # noqa: S608 - constants only
            f"union select task_id from attempts where {UNSETTLED}"
        )
        return self._attempts(
            f"where rowid in (select max(rowid) from attempts where task_id in ({tasks}) group by task_id) and "  # noqa: S608
            f"(state in {_OPEN_STATES} or {UNSETTLED}) order by rowid"
        )

    def ids_in(self, state: AttemptState, limit: int) -> list[str]:
        """Ids of the attempts in one state, oldest first."""
        # Said in the words of the partial index, or SQLite reads every attempt there ever was.
        few = "" if state in _SETTLED else f"and state in {_OPEN_STATES}"
        rows = self._connection.execute(
            f"select attempt_id from attempts where state = ? {few} order by rowid limit ?",  # noqa: S608 - constants
            (state, limit),
        )
        return [row[0] for row in rows]

    def finishing(self) -> set[str]:
        """casefolded ids of the tasks that have ended and are being recorded."""
        rows = self._connection.execute(
            "select task_id from attempts where state in ('ended', 'recorded') "  # noqa: S608 - constants only
            f"and state in {_OPEN_STATES} and decision = 'finish'"
        )
        return {row[0].casefold() for row in rows}

    def attempts_of(self, task_id: str) -> list[Attempt]:
        return self._attempts("where task_id = ? order by number, rowid", task_id)

    def attempt(self, attempt_id: str) -> Attempt | None:
        found = self._attempts("where attempt_id = ?", attempt_id)
        return found[0] if found else None

    def next_number(self, task_id: str) -> int:
        row = self._connection.execute(
            "select coalesce(max(number), 0) + 1 from attempts where task_id = ?", (task_id,)
        ).fetchone()
        return int(row[0])

    def lineage(self, task_id: str) -> Lineage | None:
        """Where a task stands that has been worked on; without its attempts, as far as the ledger knows it. None: never heard of."""
        row = self._connection.execute(
            "select lineage from attempts where task_id = ? order by rowid desc limit 1", (task_id,)
        ).fetchone()
        if row is not None:
            return Lineage(**json.loads(row[0]))
        row = self._connection.execute(
            "select chain_id, parent_id from outcomes where task_id = ? order by rowid desc limit 1", (task_id,)
        ).fetchone()
        return None if row is None else Lineage(chain=row[0], parent=row[1], depth=int(row[1] is not None))

    def commit_of(self, task_id: str) -> str | None:
        row = self._connection.execute(
            "select commit_sha from attempts where task_id = ? and commit_sha is not null order by number desc",
            (task_id,),
        ).fetchone()
        return None if row is None else str(row[0])

    def _attempts(self, clause: str, *values: object) -> list[Attempt]:
        rows = self._connection.execute(f"select {_COLUMNS} from attempts {clause}", values)  # noqa: S608 - ours
        return [self._read(row) for row in rows]

    def _read(self, row: Sequence[Any]) -> Attempt:
        """A row as the attempt it keeps; whatever cannot be one was not written by this program."""
        try:
            return _from_row(row)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
            raise self._unreadable(f"attempt {row[0]}", error) from error

    def unreadable(self, newest: int) -> list[tuple[str, str]]:
        """Of the newest attempts (-1: of all), those whose rows are not ours, each with why."""
        rows = self._connection.execute(
            f"select {_COLUMNS} from attempts order by rowid desc limit ?",  # noqa: S608 - constants only
            (newest,),
        )
        found = []
        for row in rows:
            try:
                self._read(row)
            except Damaged as error:
                found.append((str(row[0]), clean_line(str(error.__cause__), 200)))
        return found

    def attempt_ids(self) -> set[str]:
        """Of every attempt there ever was."""
        return {row[0] for row in self._connection.execute("select attempt_id from attempts")}

    def commits(self, newest: int) -> dict[str, str]:
        """attempt id -> the commit that has it, of the newest attempts (-1: of all)."""
        rows = self._connection.execute(
            "select attempt_id, commit_sha from attempts where commit_sha is not null order by rowid desc limit ?",
            (newest,),
        )
        return dict(rows.fetchall())

    def newest(self, limit: int) -> list[Attempt]:
        """The newest attempts (-1: all)."""
        return self._attempts("order by rowid desc limit ?", limit)


def _to_row(attempt: Attempt) -> tuple[object, ...]:
    return (
        attempt.attempt_id,
        attempt.task_id,
        attempt.number,
        attempt.state,
        attempt.name,
        attempt.sha256,
        attempt.spec,
        attempt.claimant,
        attempt.claimed_at,
        attempt.lease_until,
        attempt.origin,
        attempt.interface,
        attempt.model,
        attempt.tier,
        None if attempt.routing is None else json.dumps(attempt.routing),
        json.dumps(attempt.argv),
        attempt.mode,
        attempt.started_at,
        None if attempt.ended is None else encode_ended(attempt.ended),
        attempt.decision,
        attempt.status,
        attempt.reason,
        attempt.message,
        attempt.resumes,
        attempt.resume_at,
        attempt.answer,
        json.dumps(asdict(attempt.lineage)),
    )


def _to_end(attempt: Attempt) -> tuple[object, ...]:
    return (
        None if attempt.ended is None else encode_ended(attempt.ended),
        attempt.decision,
        attempt.status,
        attempt.reason,
        attempt.message,
        attempt.resume_at,
        attempt.interface,
        attempt.model,
        attempt.attempt_id,
    )


def _from_row(row: Sequence[Any]) -> Attempt:
    return Attempt(
        attempt_id=row[0],
        task_id=row[1],
        number=row[2],
        state=AttemptState(row[3]),
        name=row[4],
        sha256=row[5],
        spec=row[6] or b"",
        claimant=row[7],
        claimed_at=row[8],
        lease_until=row[9],
        origin=row[10],
        interface=row[11],
        model=row[12],
        tier=row[13],
        routing=None if row[14] is None else json.loads(row[14]),
        argv=tuple(json.loads(row[15] or "[]")),
        mode=Mode(row[16]),
        started_at=row[17],
        ended=None if row[18] is None else decode_ended(row[18]),
        decision=None if row[19] is None else Decision(row[19]),
        status=None if row[20] is None else Status(row[20]),
        reason=None if row[21] is None else Reason(row[21]),
        message=row[22],
        resumes=row[23],
        resume_at=row[24],
        answer=row[25],
        lineage=Lineage(**json.loads(row[26])),
    )
