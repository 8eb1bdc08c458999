"""Requests and tokens a minute, shared by all brains of this user: a small database in the user's state folder.

A vendor counts an account, not a process: so a daemon, a second one and agents that ask (`brain acquire`) draw from the same buckets,
whoever of them runs. A grant is one transaction: it is there as a whole or not at all, a process that dies has taken nothing or has
its grant on record, and a request that names itself is granted once. Whoever waits has a place in a line; a place that its owner
does not come back to in time is given up, so the dead hold up nobody.

The arithmetic is policy/buckets.py's, the clock the machine's monotonic one. Not synced to the disk: a power failure may bring back
an older level or forget a grant, which the reboot's minute outlasts. The file may be moved away: the buckets are full then.

Failures: as in store/database.py.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

from brain_daemon.model.interface import Limits
from brain_daemon.policy.buckets import Account, Bucket, Granted, Later, Rates, drawn, try_acquire
from brain_daemon.store.database import Database, Kind
from brain_daemon.store.files import Files

FILE_NAME = "rates.db"
PROMISE_SECONDS = 10.0
"""How much later than it meant to somebody may come back to its place in the line."""

_KIND = Kind(
    name="the rates",
    script="rates.sql",
    version=1,
    remedy="Move it away: a minute's worth of each rate may then be used at once.",
)
_LONGEST_SECONDS = 120.0
_AFTER_OTHERS_SECONDS = 1.0
_KEEP_SECONDS = 31 * 86_400.0
# What was granted for no attempt is on record nowhere else, and counts against budgets that no calendar renews.
_KEEP_UNATTENDED_SECONDS = 366 * 86_400.0
_DAYS_KEPT_SECONDS = 7 * 86_400.0
_NANO = Decimal(10**9)
_MOST = 2**50
_GRANT = "request_id, key, brain, requests, tokens, task_id, interface, attempt_id, usd_nano, granted_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """So much, of the rate that `key` names and `limits` bound. `who` stands in its line; a task's account is kept by `brain`."""

    key: str
    limits: Limits
    who: str
    brain: str
    requests: int = 1
    tokens: int = 0
    task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What was granted to a request of this id; `granted_at` is epoch seconds, `usd` None where nobody knows the price."""

    request_id: str
    ask: Ask
    interface: str
    attempt_id: str | None
    usd: Decimal | None
    granted_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquired:
    """What an attempt was granted so far on one interface; `unpriced` grants of it have a price nobody knows."""

    attempt_id: str
    task_id: str
    interface: str
    requests: int
    tokens: int
    usd: Decimal
    unpriced: int


class RateBook:
    """The verbs on one connection; not for several threads. Those that change something want `changing` around them."""

    def __init__(
        self,
        path: str,
        files: Files,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._database = Database(path, files, _KIND)
        self._database.connection.execute("pragma synchronous = normal")

    def close(self) -> None:
        """The file stays."""
        self._database.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """All or nothing; other writers wait. What an earlier boot left fills again from now on."""
        with self._database.transaction():
            self._database.connection.execute("update buckets set at = :now where at > :now", {"now": self._clock()})
            yield

    # asking

    def verdict(self, ask: Ask) -> Granted | Later:
        """Whether there is room now; nobody who waits is overtaken. Nothing is taken."""
        now = self._clock()
        before, ahead = self.standing(ask)
        found = try_acquire(before, requests=ask.requests, tokens=ask.tokens, now=now)
        if not ahead:
            return found
        wait = found.wait_seconds if isinstance(found, Later) else 0.0
        return Later(wait_seconds=max(_AFTER_OTHERS_SECONDS, wait), why="others wait before it")

    def take(self, ask: Ask, *, forced: bool = False, stays: bool = False, counts: bool = True) -> Granted | Later:
        """Take what is asked for, or nothing. `forced` takes it in any case, into debt.

        Who is refused and `stays` keeps a place in the line; the refusal `counts` as a denial unless it was counted before.
        """
        found = Granted(rates=self._drawn(ask)) if forced else self.verdict(ask)
        if isinstance(found, Later):
            if counts:
                self.tally(ask, Account(denials=1))
            if stays:
                self.wait(ask, found.wait_seconds)
            return found
        self._keep(ask, self._drawn(ask))
        self.leave(ask)
        self.tally(ask, Account(requests=ask.requests, tokens=ask.tokens))
        return found

    def correct(self, ask: Ask, tokens: int) -> None:
        """So many tokens more than were taken turned out to be used; fewer is a negative figure."""
        self._keep(ask, drawn(self._rates(ask), tokens=tokens, now=self._clock()))
        self.tally(ask, Account(tokens=tokens))

    def wait(self, ask: Ask, seconds: float) -> None:
        """Have a place in the line, or keep it, and come back in so many seconds."""
        now = self._clock()
        execute = self._database.connection.execute
        execute("delete from turns where key = ? and until not between ? and ?", (ask.key, now, now + _LONGEST_SECONDS))
        until = now + min(_LONGEST_SECONDS, seconds + PROMISE_SECONDS)
        execute(
            "insert into turns (key, who, requests, tokens, until) values (?, ?, ?, ?, ?) on conflict (key, who) do update "
            "set requests = excluded.requests, tokens = excluded.tokens, until = excluded.until",
            (ask.key, ask.who, ask.requests, _bounded(ask.tokens), until),
        )

    def leave(self, ask: Ask) -> None:
        """Give up the place in the line."""
        self._database.connection.execute("delete from turns where key = ? and who = ?", (ask.key, ask.who))

    def standing(self, ask: Ask) -> tuple[Rates, bool]:
        """The buckets as they will be when those ahead in the line have had their turn, and whether there are any."""
        now, rates = self._clock(), self._rates(ask)
        ahead = self._ahead(ask, now)
        for requests, tokens in ahead:
            rates = drawn(rates, requests=requests, tokens=tokens, now=now)
        return rates, bool(ahead)

    def levels(self, key: str, limits: Limits) -> tuple[Rates, int]:
        """The buckets of a rate as they are now, and how many wait for it."""
        now = self._clock()
        ask = Ask(key=key, limits=limits, who="", brain="")
        rates = self._rates(ask)
        filled = Rates(
            requests=None if rates.requests is None else rates.requests.refilled(now),
            tokens=None if rates.tokens is None else rates.tokens.refilled(now),
        )
        return filled, len(self._ahead(ask, now))

    # grants of requests that name themselves

    def granted(self, request_id: str) -> Grant | None:
        """The grant of this request, if it has one."""
        rows = self._database.rows(
            f"select {_GRANT} from grants where request_id = ?",  # noqa: S608 - constants only
            (request_id,),
        )
        return _grant(rows[0]) if rows else None

    def note(self, grant: Grant) -> None:
        """Keep a grant under its request's id; a second one of that id breaks a rule of the table: sqlite3.IntegrityError."""
        ask = grant.ask
        self._database.connection.execute(
            "insert into grants values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (grant.request_id, ask.key, ask.brain, ask.task_id, grant.attempt_id, grant.interface, ask.requests,
             _bounded(ask.tokens), _nano(grant.usd), grant.granted_at),
        )  # fmt: skip

    def acquired(self, brain: str, attempt_id: str | None = None) -> list[Acquired]:
        """What the attempts of a brain, or one of them, were granted: an entry for each attempt and interface."""
        rows = self._database.rows(
            "select attempt_id, task_id, interface, sum(requests), sum(tokens), coalesce(sum(usd_nano), 0), "
            "sum(usd_nano is null) from grants where brain = ? and attempt_id is not null and "
            "attempt_id = coalesce(?, attempt_id) group by attempt_id, interface order by attempt_id, interface",
            (brain, attempt_id),
        )
        return [
            Acquired(
                attempt_id=row[0],
                task_id=row[1] or "",
                interface=row[2],
                requests=row[3],
                tokens=row[4],
                usd=Decimal(row[5]) / _NANO,
                unpriced=row[6],
            )
            for row in rows
        ]

    def unattended(self, brain: str) -> list[Grant]:
        """What was granted on requests of a brain that were for no attempt, oldest first: no row of a ledger stands for it."""
        rows = self._database.rows(
            f"select {_GRANT} from grants where brain = ? and attempt_id is null order by granted_at",  # noqa: S608 - constants only
            (brain,),
        )
        return [_grant(row) for row in rows]

    # accounts

    def tally(self, ask: Ask, more: Account) -> None:
        """Add to the day's account of a rate and of a task."""
        self._database.connection.execute(
            "insert into tallies values (?, ?, ?, ?, ?, ?, ?) on conflict (key, day, brain, task_id) do update set "
            "requests = requests + excluded.requests, tokens = tokens + excluded.tokens, "
            "denials = denials + excluded.denials",
            (ask.key, self._today(), ask.brain, ask.task_id or "", more.requests, _bounded(more.tokens), more.denials),
        )

    def account(self, key: str) -> Account:
        """What was asked of a rate today (UTC), by all brains."""
        row = self._database.rows(
            "select coalesce(sum(requests), 0), max(0, coalesce(sum(tokens), 0)), coalesce(sum(denials), 0) "
            "from tallies where key = ? and day = ?",
            (key, self._today()),
        )[0]
        return Account(requests=row[0], tokens=row[1], denials=row[2])

    def task_accounts(self, brain: str, limit: int) -> dict[str, Account]:
        """What the tasks of a brain have asked of all rates today (UTC), those that asked for most first."""
        rows = self._database.rows(
            "select task_id, sum(requests), max(0, sum(tokens)), sum(denials) from tallies where brain = ? and day = ? "
            "and task_id != '' group by task_id order by sum(tokens) desc, sum(requests) desc, sum(denials) desc, task_id limit ?",
            (brain, self._today(), limit),
        )
        return {row[0]: Account(requests=row[1], tokens=row[2], denials=row[3]) for row in rows}

    def prune(self) -> None:
        """Drop accounts of days gone by, and grants that nothing asks for any more."""
        now = self._wall_clock()
        execute = self._database.connection.execute
        execute("delete from tallies where day < ?", (_day(now - _DAYS_KEPT_SECONDS),))
        execute(
            "delete from grants where granted_at < iif(attempt_id is null, ?, ?)",
            (now - _KEEP_UNATTENDED_SECONDS, now - _KEEP_SECONDS),
        )

    def _rates(self, ask: Ask) -> Rates:
        """The buckets as they were left; full ones where nobody has drawn yet."""
        now = self._clock()
        full = Rates.of(ask.limits, now)
        rows = self._database.rows("select requests, tokens, at from buckets where key = ?", (ask.key,))
        if not rows:
            return full
        requests, tokens, at = rows[0]
        return Rates(requests=_left(full.requests, requests, at, now), tokens=_left(full.tokens, tokens, at, now))

    def _drawn(self, ask: Ask) -> Rates:
        return drawn(self._rates(ask), requests=ask.requests, tokens=ask.tokens, now=self._clock())

    def _keep(self, ask: Ask, rates: Rates) -> None:
        now = self._clock()
        levels = [None if one is None else one.refilled(now).level for one in (rates.requests, rates.tokens)]
        self._database.connection.execute("insert or replace into buckets values (?, ?, ?, ?)", (ask.key, *levels, now))

    def _ahead(self, ask: Ask, now: float) -> Sequence[tuple[int, int]]:
        """What those ask for who stand before it in the line and have not given up."""
        return self._database.rows(
            "select requests, tokens from turns where key = :key and until between :now and :latest and number < coalesce("
            "(select number from turns where key = :key and who = :who and until between :now and :latest), 9e18) order by number",
            {"key": ask.key, "who": ask.who, "now": now, "latest": now + _LONGEST_SECONDS},
        )

    def _today(self) -> str:
        return _day(self._wall_clock())


def _left(full: Bucket | None, level: float | None, at: float, now: float) -> Bucket | None:
    """A bucket as it was left; one of an earlier boot, by its clock, has not been filled since."""
    if full is None or level is None:
        return full
    return replace(full, level=min(full.capacity, level), at=min(at, now))


def _day(epoch_seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(epoch_seconds))


def _bounded(count: int) -> int:
    return max(-_MOST, min(count, _MOST))


def _nano(usd: Decimal | None) -> int | None:
    return None if usd is None else min(int((usd * _NANO).to_integral_value(ROUND_CEILING)), _MOST)


def _grant(row: Sequence[Any]) -> Grant:
    ask = Ask(key=row[1], limits=Limits(), who=row[0], brain=row[2], requests=row[3], tokens=row[4], task_id=row[5])
    usd = None if row[8] is None else Decimal(row[8]) / _NANO
    return Grant(request_id=row[0], ask=ask, interface=row[6], attempt_id=row[7], usd=usd, granted_at=row[9])
