"""The brain at one moment, for `brain status`, `watch` and `list`: asked from another process, while the daemon runs or not.

It must feel instant on a queue of 20,000, so hardly anything is parsed here: folders are counted, the journal is read by a
connection of its own that can neither write nor wait, and nothing heavy is imported. Only where budgets are set is the ledger summed, by
the index, and the few tasks under way are read for their type. Folders and journal are looked at one
after the other, so a task that moves meanwhile may be counted in neither or both: the next look is right.

Failures: a journal that cannot be read is said in `trouble` and the folders are told all the same; a folder that cannot
be listed is an OSError, since that is not an empty one.
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from brain_daemon.model.attempt import Attempt, Decision
from brain_daemon.model.outcome import Failed, FailureKind
from brain_daemon.policy.breaker import HalfOpen, Open, from_json
from brain_daemon.policy.budgets import Budget
from brain_daemon.service.budget_standing import BudgetItem, standing
from brain_daemon.store.layout import Layout, is_task_name
from brain_daemon.store.looking import address_to_read
from brain_daemon.store.probe import lock_is_held
from brain_daemon.store.queue import Seen, look
from brain_daemon.store.template import shipped_hashes

BREAKERS = "breakers"
"""The key in the journal under which service/breakers.py keeps those that are not closed."""

MAX_ACTIVE = 500
MAX_ENDED = 10_000
_DAY_SECONDS = 86_400
_MAX_INTERFACE_BYTES = 256 << 10
_WAITING = ("ask", "park")
# As in the partial index `attempts_open`: SQLite uses it only where the words are the same.
_OPEN = "state in ('claimed', 'starting', 'ended', 'recorded')"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonState:
    """`state` is starting, running, paused, draining or stopped; `since` epoch seconds. `will_pause`: stopped while paused."""

    state: str
    pid: int | None = None
    host: str | None = None
    since: float | None = None
    will_pause: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Files in the four folders; `held` are those of pending/ that do not start, and `archived` the ended ones filed away."""

    pending: int
    held: int
    active: int
    completed: int
    failed: int
    archived: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveItem:
    """A task in active/. `by` is the interface, or the agent that claimed it; `doing` says what is happening to it."""

    task_id: str
    by: str | None
    model: str | None
    attempt: int | None
    since: float | None
    lease_until: float | None
    doing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldItem:
    """A task that waits: why, and until when (epoch seconds) where a time ends it."""

    task_id: str
    why: str
    until: float | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQuestion:
    """A question that waits for the person; `choices` are the keys `brain answer` takes."""

    id: str
    kind: str
    subject: str
    asked_at: float
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerItem:
    """The circuit breaker of an interface that is not closed: open or half-open, and why.

    `since` and `until` are epoch seconds, of an open one; an `until` that has passed means that the next task tries it. None where its
    check must pass first. `probe` is the attempt that tries it now.
    """

    interface: str
    breaker: str
    why: str
    since: float | None = None
    until: float | None = None
    probe: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """Since midnight UTC: tasks that ended, attempts, what is known of their cost and how many costs are not."""

    completed: int = 0
    failed: int = 0
    attempts: int = 0
    known_usd: Decimal = Decimal(0)
    unknown_costs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All of it. `owed` outcomes are not in git yet, `why_owed` says why where it is more than a moment.

    `unapproved` names the interfaces that may not run on this host as their files are now; `budgets` are those nearly or wholly spent.
    """

    root: str
    at: float
    daemon: DaemonState
    counts: Counts
    active: tuple[ActiveItem, ...] = ()
    held: tuple[HeldItem, ...] = ()
    questions: tuple[OpenQuestion, ...] = ()
    breakers: tuple[BreakerItem, ...] = ()
    owed: int = 0
    why_owed: str | None = None
    today: Today = Today()
    unapproved: tuple[str, ...] = ()
    budgets: tuple[BudgetItem, ...] = ()
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedItem:
    """A task that has ended; `path` is relative to the brain."""

    task_id: str
    status: str
    reason: str | None
    path: str
    finished_at: float | None


def take(layout: Layout, now: float | None = None, budgets: Sequence[Budget] = ()) -> Snapshot:
    """Look at the brain; `budgets` are those of its settings."""
    at = time.time() if now is None else now
    pending, active = task_names(layout.pending), task_names(layout.active)
    counts = Counts(
        pending=len(pending),
        held=0,
        active=len(active),
        completed=len(task_names(layout.completed)),
        failed=len(task_names(layout.failed)),
        archived=0,
    )
    plain = Snapshot(root=layout.root, at=at, daemon=_daemon(layout, None, paused=False), counts=counts)
    try:
        with reading(layout) as journal:
            seen = replace(plain, unapproved=_unapproved(journal, layout))
            if journal is None:
                return seen
            spent = tuple(one for one in standing(journal, budgets, at) if one.is_warned)
            return _with_journal(replace(seen, budgets=spent), journal, layout, set(pending), active)
    except (sqlite3.Error, ValueError) as error:
        return replace(
            plain, trouble=f"the journal {layout.journal} cannot be read: {error}. `brain doctor` says more."
        )


def task_names(folder: str) -> list[str]:
    """Names of the tasks in a folder; one that is not there yet holds none."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if is_task_name(entry.name)]
    except FileNotFoundError:
        return []


@contextmanager
def reading(layout: Layout) -> Iterator[sqlite3.Connection | None]:
    """The journal, opened so that it cannot be written; None where there is none yet."""
    if not os.path.exists(layout.journal):
        yield None
        return
    address = address_to_read(layout.journal)
    with closing(sqlite3.connect(address, uri=True, timeout=1.0, isolation_level=None)) as connection:
        yield connection


def ended_items(journal: sqlite3.Connection, status: str | None = None, limit: int = MAX_ENDED) -> list[EndedItem]:
    """The newest tasks that have ended, of one status or of both."""
    rows = journal.execute(
        "select task_id, status, reason, path, finished_at from tasks where ?1 is null or status = ?1 "
        "order by finished_at desc, rowid desc limit ?2",
        (status, limit),
    )
    return [EndedItem(task_id=r[0], status=r[1], reason=r[2], path=r[3], finished_at=r[4]) for r in rows]


def _daemon(layout: Layout, state: str | None, *, paused: bool) -> DaemonState:
    """The lock decides whether one runs; the journal and daemon.json say the rest."""
    if not lock_is_held(os.path.join(layout.state, "brain.lock")):
        return DaemonState(state="stopped", will_pause=paused)
    word = state if state and state != "stopped" else "starting"
    try:
        with open(os.path.join(layout.state, "daemon.json"), "rb") as handle:
            told = json.load(handle)
        return DaemonState(state=word, pid=int(told["pid"]), host=str(told["host"]), since=float(told["started_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return DaemonState(state=word)


def _with_journal(
    plain: Snapshot, journal: sqlite3.Connection, layout: Layout, pending: set[str], active: Sequence[str]
) -> Snapshot:
    meta: dict[str, str] = dict(journal.execute("select key, value from meta").fetchall())
    daemon = _daemon(layout, meta.get("state"), paused=meta.get("paused") == "yes")
    rows = [(name, _newest(journal, name)) for name in sorted(active)[:MAX_ACTIVE]]
    waiting = [_asking(name, row) for name, row in rows if row is not None and _waits(row, plain.at)]
    held = _held(journal, pending)
    open_counts = dict(journal.execute(f"select state, count(*) from attempts where {_OPEN} group by state"))  # noqa: S608
    owed = open_counts.get("ended", 0) + open_counts.get("recorded", 0)
    return replace(
        plain,
        daemon=daemon,
        counts=replace(plain.counts, held=len(held), archived=_archived(journal)),
        active=tuple(
            _active(name, row, plain.at, daemon) for name, row in rows if row is None or not _waits(row, plain.at)
        ),
        held=(*waiting, *held),
        questions=_questions(journal),
        breakers=tuple(_breakers(meta.get(BREAKERS))),
        owed=owed,
        why_owed=(meta.get("why_owed") or None) if owed else None,
        today=_today(journal, plain.at),
    )


def _newest(journal: sqlite3.Connection, name: str) -> dict[str, Any] | None:
    """The newest attempt of the task that owns this file in active/."""
    cursor = journal.execute(
        "select state, number, interface, model, claimant, claimed_at, started_at, lease_until, decision, message, resume_at, "
        "case decision when 'park' then json_extract(ended, '$.outcome.kind') end as kind, "
        "case decision when 'again' then ended end as ended "
        "from attempts where task_id = ? order by number desc, rowid desc limit 1",
        (name.removesuffix(".md"),),
    )
    row = cursor.fetchone()
    return None if row is None else dict(zip((column[0] for column in cursor.description), row, strict=True))


def waits_until(attempt: Attempt) -> float | None:
    """When an attempt's task is tried again, where its interface named a time; epoch seconds. None: nobody knows, or it is not."""
    ended = attempt.ended
    if ended is None or attempt.decision is not Decision.AGAIN or not isinstance(ended.outcome, Failed):
        return None
    after = ended.outcome.retry_after_seconds
    return ended.outcome.resets_at if after is None else ended.finished_at + after


def _again_at(row: dict[str, Any]) -> float | None:
    """The same of a row."""
    told = json.loads(row["ended"]) if row["ended"] else {}
    outcome = told.get("outcome", {})
    after = outcome.get("retry_after_seconds")
    until = outcome.get("resets_at") if after is None else told["finished_at"] + after
    return None if until is None else float(until)


def _waits(row: dict[str, Any], now: float) -> bool:
    """Whether the newest attempt says that its task waits: for a person, for a time, or for a moment before its worker tries again."""
    return row["decision"] in _WAITING or (row["decision"] == "again" and (_again_at(row) or 0.0) > now)


def _active(name: str, row: dict[str, Any] | None, now: float, daemon: DaemonState) -> ActiveItem:
    task_id = name.removesuffix(".md")
    if row is None:
        doing = "being claimed" if daemon.pid else "not on record here; `brain run` looks after it"
        return ActiveItem(task_id=task_id, by=None, model=None, attempt=None, since=None, lease_until=None, doing=doing)
    return ActiveItem(
        task_id=task_id,
        by=row["claimant"] if row["state"] == "claimed" else row["interface"],
        model=row["model"],
        attempt=row["number"],
        since=row["started_at"] or row["claimed_at"],
        lease_until=row["lease_until"],
        doing=_doing(row, now, daemon),
    )


def _doing(row: dict[str, Any], now: float, daemon: DaemonState) -> str:
    match row["state"]:
        case "claimed" if row["lease_until"] is not None and row["lease_until"] < now:
            return "claimed; its lease has run out, and nobody knows whether it is still worked on"
        case "claimed":
            return "claimed"
        case "starting" if daemon.state != "stopped":
            return "running"
        case "starting":
            return "its daemon is gone; `brain run` finds out how it ended"
        case "released":
            return "being given back"
        case _ if row["decision"] == "again":
            return "between two attempts"
        case _:
            return "ended, being recorded"


def _asking(name: str, row: dict[str, Any]) -> HeldItem:
    task_id = name.removesuffix(".md")
    if row["decision"] == "park":
        return _parked(task_id, row)
    if row["decision"] == "again":
        return HeldItem(task_id=task_id, why=f"{row['message']}; it is tried again then", until=_again_at(row))
    why = row["message"] or "it may have run, and nobody knows how it ended"
    return HeldItem(task_id=task_id, why=f"{why} (`brain release {task_id}` or `brain cancel {task_id}`)")


def _parked(task_id: str, row: dict[str, Any]) -> HeldItem:
    if row["resume_at"] is None and row["kind"] != FailureKind.WAITING:
        return HeldItem(task_id=task_id, why="parked: it asked you something (`brain questions`)")
    return HeldItem(task_id=task_id, why=f"parked: {row['message']}", until=row["resume_at"])


def _held(journal: sqlite3.Connection, pending: set[str]) -> tuple[HeldItem, ...]:
    rows = journal.execute("select task_id, name, reason, until from holds order by rowid")
    return tuple(HeldItem(task_id=r[0], name=r[1], why=r[2], until=r[3]) for r in rows if r[1] in pending)


def _unapproved(journal: sqlite3.Connection | None, layout: Layout) -> tuple[str, ...]:
    """Interface files whose content neither ships nor is approved on this host."""
    approved = {row[0] for row in journal.execute("select sha256 from approvals")} if journal else set()
    found = []
    for name in sorted(task_names(layout.interfaces)):
        seen = look(layout.interfaces, name, _MAX_INTERFACE_BYTES)
        data = seen.data if isinstance(seen, Seen) else None
        sha256 = "" if data is None else hashlib.sha256(data).hexdigest()
        if sha256 and sha256 not in approved and sha256 not in shipped_hashes():
            found.append(name.removesuffix(".md"))
    return tuple(found)


def _archived(journal: sqlite3.Connection) -> int:
    row = journal.execute("select count(*) from tasks where path glob 'brain/tasks/*/archive/*'").fetchone()
    return int(row[0])


def _questions(journal: sqlite3.Connection) -> tuple[OpenQuestion, ...]:
    found = []
    for key, text, asked_at in journal.execute("select id, document, asked_at from questions order by asked_at, id"):
        document = json.loads(text)
        found.append(
            OpenQuestion(
                id=key,
                kind=str(document.get("kind", "")),
                subject=str(document.get("subject", "")),
                asked_at=asked_at,
                choices=tuple(str(choice.get("key", "")) for choice in document.get("choices", ())),
            )
        )
    return tuple(found)


def _breakers(told: str | None) -> Iterator[BreakerItem]:
    """Those that are not closed, as the daemon last left them."""
    try:
        states = json.loads(told or "{}")
    except ValueError:
        return
    for name, document in sorted(states.items()) if isinstance(states, dict) else ():
        match from_json(document if isinstance(document, dict) else {}):
            case Open(why=why, since=since, until=until, by_check=by_check):
                ends = None if by_check else until
                yield BreakerItem(interface=name, breaker="open", why=why, since=since, until=ends)
            case HalfOpen(why=why, probe=probe):
                yield BreakerItem(interface=name, breaker="half-open", why=why, probe=probe)


def _today(journal: sqlite3.Connection, now: float) -> Today:
    """Equal costs are counted together by the index, so a day of 20,000 rows is summed exactly and at once."""
    ended = dict(
        journal.execute(
            "select status, count(*) from tasks where finished_at >= ? group by status",
            (now // _DAY_SECONDS * _DAY_SECONDS,),
        ).fetchall()
    )
    costs = journal.execute(
        "select cost_usd, count(*) from outcomes where substr(timestamp, 1, 10) = ? group by cost_usd",
        (time.strftime("%Y-%m-%d", time.gmtime(now)),),
    ).fetchall()
    return Today(
        completed=ended.get("completed", 0),
        failed=ended.get("failed", 0),
        attempts=sum(number for _, number in costs),
        known_usd=sum((Decimal(usd) * number for usd, number in costs if usd is not None), Decimal(0)),
        unknown_costs=sum(number for usd, number in costs if usd is None),
    )
