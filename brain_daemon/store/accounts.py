"""What each account of this user has used, in all brains: a small database in the user's state folder.

A start is reserved before anything is sent, in the same transaction that judges whether it fits, so that daemons of several brains
never start more than a quota together. The attempt's end books what it used in place of the reservation. A process that dies
leaves its reservation standing: its brain's recovery settles it, or else it lapses after a week and counts as used from then on.
So after a crash the sums may be too high, never too low (B15).

A clock that moves back forgets nothing: what was booked at a time that has not come yet counts from when it is first seen so. A clock that
was set forward is told by the time since the machine's boot, which is noted with each write (`jumps`, for policy/quotas.py). Rows
older than any window are dropped. The text in git stays the record of what was spent; this file may be moved away, and then counts
begin with what each brain's ledger says (`book`).

Failures: as in store/database.py. An amount below zero breaks a rule of the tables: sqlite3.IntegrityError, the caller's fault.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import Any

from brain_daemon.policy.clock import Jump, Moment, jumps, was_set_forward
from brain_daemon.policy.quotas import ONE_MESSAGE, Count, NoRoom, Quota, Reported, Use, concerned, no_room, read
from brain_daemon.store.database import Database, Kind
from brain_daemon.store.files import Files

Elapsed = Callable[[], tuple[str, float]]
"""The name of this boot of the machine, and the seconds since then, its sleep included."""

FILE_NAME = "accounts.db"
LAPSE_SECONDS = 7 * 86_400.0
KEEP_SECONDS = 62 * 86_400.0

_KIND = Kind(
    name="the accounts",
    script="accounts.sql",
    version=1,
    remedy="Restore it from a backup, or move it away: what was used is then counted from the ledgers of your brains.",
)
_NANO = Decimal(10**9)
# What one row may hold, so that no sum leaves 64 bits: 10^15 tokens, a million dollars.
_MOST = 2**50
# Looks at the clocks, of this boot: the last one, and before it those after which the clock was set forward. Accounts that an older
# release has made get the table when they are opened.
_MOMENTS = """create table if not exists moments (
    number  integer primary key,
    boot    text not null,
    elapsed real not null,
    wall    real not null
) strict"""
_MOST_MOMENTS = 100
_BOOT_NAME = "/proc/sys/kernel/random/boot_id"
# When a row counts: see accounts.sql.
_MOMENT = "case when at <= :now then at else min(seen_at, :now) end"
_SUMS = "coalesce(sum(messages), 0), coalesce(sum(tokens), 0), coalesce(sum(usd_nano), 0)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What an attempt may come to use of an account. `at` is epoch seconds; `unpriced`: nobody knows its price.

    An attempt that is sent again, say to resume after a limit, is reserved again under the same id.
    """

    account: str
    attempt_id: str
    brain: str
    at: float
    most: Use = ONE_MESSAGE
    unpriced: bool = False
    interface: str | None = None
    task_id: str | None = None
    chain_id: str | None = None
    task_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What an ended attempt has used, at its end (epoch seconds). A None figure was not told: what was reserved stands for it."""

    account: str
    attempt_id: str
    brain: str
    at: float
    messages: int | None = None
    tokens: int | None = None
    usd: Decimal | None = None


class Accounts:
    """The verbs on one connection; not for several threads. `clock` gives the time of day in epoch seconds.

    Without `elapsed` nobody sees that the clock was set forward.
    """

    def __init__(
        self,
        path: str,
        files: Files,
        *,
        clock: Callable[[], float] = time.time,
        elapsed: Elapsed | None = None,
    ) -> None:
        self._clock = clock
        self._elapsed = elapsed
        self._database = Database(path, files, _KIND)
        if elapsed is not None and not self._database.rows("select 1 from sqlite_master where name = 'moments'"):
            with self._database.transaction():
                self._database.connection.execute(_MOMENTS)

    def close(self) -> None:
        """The file stays."""
        self._database.close()

    @property
    def version(self) -> tuple[int, int]:
        """Changes whenever anybody has written: figures read at the same version are still true but for the passing of time."""
        return self._database.version

    # starts and ends

    def reserve(self, wanted: Sequence[tuple[Reservation, Sequence[Quota]]]) -> list[NoRoom | None]:
        """Reserve in order, each where it fits its quotas together with all before it; durable on return.

        None is a place; an attempt that has one keeps it.
        """
        with self._writing() as now:
            # Of a group only reservations change meanwhile: what has ended is summed once.
            ended = cache(lambda account, since: self._ended(account, since, now))
            return [self._reserve(one, quotas, ended, now) for one, quotas in wanted]

    def grow(self, wanted: Reservation, quotas: Sequence[Quota]) -> NoRoom | None:
        """An attempt comes to use so much in all: reserve what it has not reserved yet, where that fits; durable on return."""
        with self._writing() as now:
            standing = self._standing(wanted.account, wanted.attempt_id)
            if standing is None:
                return self._reserve(wanted, quotas, lambda account, since: self._ended(account, since, now), now)
            running, more = self._running(wanted.account), wanted.most.beyond(standing)
            of_concern = [one for one in quotas if concerned(one, more)]
            counted = read(of_concern, lambda since: self._ended(wanted.account, since, now).beside(running))
            full = no_room(counted, more)
            if full is None:
                self._database.connection.execute(
                    "update entries set messages = max(messages, ?), tokens = max(tokens, ?), usd_nano = max(usd_nano, ?) "
                    "where account = ? and attempt_id = ? and state = 'reserved'",
                    (*_columns(wanted.most), wanted.account, wanted.attempt_id),
                )
            return full

    def settle(self, bookings: Iterable[Booking]) -> None:
        """Ended attempts: their reservation becomes what they used. A second time changes nothing."""
        with self._writing() as now:
            for booking in bookings:
                self._settle(booking, now)

    def book(self, bookings: Iterable[Booking]) -> None:
        """Attempts a ledger tells of; those that are known here in any state stay as they are."""
        with self._writing() as now:
            for booking in bookings:
                if self._newest_part(booking.account, booking.attempt_id) is None:
                    self._insert_booked(booking, now)

    def release(self, account: str, attempt_id: str) -> None:
        """Nothing was sent and nothing will be: the reservation is given back."""
        with self._writing():
            self._database.connection.execute(
                "delete from entries where account = ? and attempt_id = ? and state = 'reserved'",
                (account, attempt_id),
            )

    def reserved(self, brain: str | None = None) -> list[Reservation]:
        """Open reservations, oldest first, of one brain or of all."""
        rows = self._database.rows(
            "select account, attempt_id, brain, at, messages, tokens, usd_nano, unpriced, interface, task_id, "
            "chain_id, task_type from entries where state = 'reserved' and brain = coalesce(?, brain) order by rowid",
            (brain,),
        )
        return [_reservation(row) for row in rows]

    def lapse(self, older_than_seconds: float = LAPSE_SECONDS) -> int:
        """Reservations nobody has settled for so long count as used now, in full; how many there were."""
        with self._writing() as now:
            return self._database.connection.execute(
                f"update entries set state = 'lapsed', at = max(at, :now), seen_at = :now "  # noqa: S608 - constants only
                f"where state = 'reserved' and {_MOMENT} < :before",
                {"now": now, "before": now - older_than_seconds},
            ).rowcount

    def prune(self, older_than_seconds: float = KEEP_SECONDS) -> int:
        """Drop what is older than any window, by the clock as it was too; how many rows there were."""
        with self._writing() as now:
            ahead_seconds = max((jump.ahead_seconds for jump in self.jumps()), default=0.0)
            return self._database.connection.execute(
                f"delete from entries where state != 'reserved' and {_MOMENT} < :before",  # noqa: S608 - constants only
                {"now": now, "before": now - older_than_seconds - ahead_seconds},
            ).rowcount

    # sums

    def count(self, account: str, since: float) -> Count:
        """What counts at or after an instant, and every open reservation whenever it began."""
        now = self._clock()
        if self._database.rows("select 1 from entries where at > :now and seen_at > :now limit 1", {"now": now}):
            self._note_clock()
        return self._ended(account, since, now).beside(self._running(account))

    def sums(self, account: str, since: float, until: float) -> Use:
        """What was used from `since` up to but without `until` by attempts that have ended or lapsed."""
        row = self._database.rows(
            f"select {_SUMS} from entries where account = :account and state != 'reserved' "  # noqa: S608 - constants only
            f"and at >= :since and {_MOMENT} >= :since and {_MOMENT} < :until",
            {"account": account, "since": since, "until": until, "now": self._clock()},
        )[0]
        return _use(*row)

    def jumps(self) -> tuple[Jump, ...]:
        """When the clock was set forward in this boot of the machine, as far as it has not come back."""
        if self._elapsed is None:
            return ()
        now = self._moment(self._elapsed, self._clock())
        *earlier, last = self._moments() or [now]
        return jumps([*earlier, last] if was_set_forward(last, now) else earlier, now)

    # what clients say

    def report(self, account: str, name: str, reported: Reported) -> None:
        """Keep what a client said of its window `name`, unless something newer is known."""
        with self._writing() as now:
            self._database.connection.execute(
                "insert into reports values (?, ?, ?, ?, ?, ?, ?) on conflict (account, name) do update set "
                "at = excluded.at, utilisation = excluded.utilisation, used = excluded.used, bound = excluded.bound, "
                "resets_at = excluded.resets_at where excluded.at >= at",
                (account, name, min(reported.at, now), reported.utilisation, _text(reported.used),
                 _text(reported.limit), reported.resets_at),
            )  # fmt: skip

    def withdraw_report(self, account: str, name: str) -> None:
        """The client's word no longer holds: it has answered after a refusal."""
        with self._writing():
            self._database.connection.execute("delete from reports where account = ? and name = ?", (account, name))

    def reports(self, account: str) -> dict[str, Reported]:
        """The last report of each window, by the client's word for it."""
        rows = self._database.rows(
            "select name, at, utilisation, used, bound, resets_at from reports where account = ?", (account,)
        )
        return {row[0]: _reported(row[1:]) for row in rows}

    def _reserve(
        self, wanted: Reservation, quotas: Sequence[Quota], ended: Callable[[str, float], Count], now: float
    ) -> NoRoom | None:
        newest = self._newest_part(wanted.account, wanted.attempt_id)
        if newest is not None and newest[1] == "reserved":
            return None
        running = self._running(wanted.account)
        full = no_room(read(quotas, lambda since: ended(wanted.account, since).beside(running)), wanted.most)
        if full is None:
            self._insert(wanted, 1 if newest is None else newest[0] + 1, "reserved", now)
        return full

    def _settle(self, booking: Booking, now: float) -> None:
        newest = self._newest_part(booking.account, booking.attempt_id)
        if newest is None:
            self._insert_booked(booking, now)
        elif newest[1] != "booked":
            self._replace(booking, newest[0], now)

    def _replace(self, booking: Booking, part: int, now: float) -> None:
        at, seen_at = self._stamps(booking.account, booking.at, now)
        usd_nano = None if booking.usd is None else _nano(booking.usd)
        self._database.connection.execute(
            "update entries set state = 'booked', at = ?, seen_at = ?, messages = coalesce(?, messages), "
            "tokens = coalesce(?, tokens), usd_nano = coalesce(?, usd_nano) "
            "where account = ? and attempt_id = ? and part = ?",
            (at, seen_at, _bounded(booking.messages), _bounded(booking.tokens), usd_nano,
             booking.account, booking.attempt_id, part),
        )  # fmt: skip

    def _insert_booked(self, booking: Booking, now: float) -> None:
        used = Use(
            messages=1 if booking.messages is None else booking.messages,
            tokens=booking.tokens or 0,
            usd=booking.usd or Decimal(0),
        )
        row = Reservation(
            account=booking.account, attempt_id=booking.attempt_id, brain=booking.brain, at=booking.at, most=used
        )
        self._insert(row, 1, "booked", now)

    def _insert(self, row: Reservation, part: int, state: str, now: float) -> None:
        at, seen_at = self._stamps(row.account, row.at, now)
        self._database.connection.execute(
            "insert into entries values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (row.account, row.attempt_id, part, row.brain, state, at, seen_at, *_columns(row.most), row.unpriced,
             row.interface, row.task_id, row.chain_id, row.task_type),
        )  # fmt: skip

    def _stamps(self, account: str, at: float, now: float) -> tuple[float, float]:
        """When a row counts. Where the clock stands before rows of the past, it may be wrong: the row counts with the last of them."""
        seen_at = min(at, now)
        newest = self._database.rows("select max(at) from entries where account = ?", (account,))[0][0]
        behind = newest is not None and newest > now
        return (newest if behind else seen_at), seen_at

    def _newest_part(self, account: str, attempt_id: str) -> tuple[int, str] | None:
        rows = self._database.rows(
            "select part, state from entries where account = ? and attempt_id = ? order by part desc limit 1",
            (account, attempt_id),
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def _standing(self, account: str, attempt_id: str) -> Use | None:
        """What an attempt has reserved; None where it has no open reservation."""
        rows = self._database.rows(
            "select messages, tokens, usd_nano from entries where account = ? and attempt_id = ? and state = 'reserved'",
            (account, attempt_id),
        )
        return _use(*rows[0]) if rows else None

    def _ended(self, account: str, since: float, now: float) -> Count:
        row = self._database.rows(
            f"select {_SUMS}, min({_MOMENT}) from entries where account = :account and state != 'reserved' "  # noqa: S608 - constants only
            "and at >= :since and (at <= :now or min(seen_at, :now) >= :since)",
            {"account": account, "since": since, "now": now},
        )[0]
        return Count(use=_use(*row[:3]), oldest=row[3])

    def _running(self, account: str) -> Use:
        row = self._database.rows(
            f"select {_SUMS} from entries where account = ? and state = 'reserved'",  # noqa: S608 - constants only
            (account,),
        )[0]
        return _use(*row)

    def _note_clock(self) -> None:
        with self._writing():
            pass

    def _moments(self) -> list[Moment]:
        rows = self._database.rows("select boot, elapsed, wall from moments order by number")
        return [Moment(boot=boot, elapsed=elapsed, wall=wall) for boot, elapsed, wall in rows]

    def _moment(self, elapsed: Elapsed, now: float) -> Moment:
        boot, seconds = elapsed()
        return Moment(boot=boot, elapsed=seconds, wall=now)

    def _note_moment(self, now: Moment) -> None:
        """The last look at the clocks; the one before it stays where the clock was set forward since."""
        execute = self._database.connection.execute
        execute("delete from moments where boot != ?", (now.boot,))
        last = self._moments()[-1:]
        if last and not was_set_forward(last[0], now):
            execute("delete from moments where number = (select max(number) from moments)")
        execute("insert into moments (boot, elapsed, wall) values (?, ?, ?)", (now.boot, now.elapsed, now.wall))
        execute("delete from moments where number <= (select max(number) from moments) - ?", (_MOST_MOMENTS,))

    @contextmanager
    def _writing(self) -> Iterator[float]:
        """A transaction; gives the time of day, having noted for every row it has not reached that it was seen then."""
        with self._database.transaction():
            now = self._clock()
            if self._elapsed is not None:
                self._note_moment(self._moment(self._elapsed, now))
            execute = self._database.connection.execute
            execute("update entries set seen_at = :now where at > :now and seen_at > :now", {"now": now})
            execute("update reports set at = :now where at > :now", {"now": now})
            yield now


@cache
def _boot(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def since_boot() -> tuple[str, float]:
    """This boot of the machine by name, where the system has one, and the seconds since then, its sleep included."""
    return _boot(_BOOT_NAME), time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _columns(use: Use) -> tuple[int, int, int]:
    return min(use.messages, _MOST), min(use.tokens, _MOST), _nano(use.usd)


def _bounded(count: int | None) -> int | None:
    return None if count is None else min(count, _MOST)


def _nano(usd: Decimal) -> int:
    return min(int((usd * _NANO).to_integral_value(ROUND_CEILING)), _MOST)


def _use(messages: int, tokens: int, usd_nano: int) -> Use:
    return Use(messages=messages, tokens=tokens, usd=Decimal(usd_nano) / _NANO)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _reservation(row: Sequence[Any]) -> Reservation:
    return Reservation(
        account=row[0],
        attempt_id=row[1],
        brain=row[2],
        at=row[3],
        most=_use(*row[4:7]),
        unpriced=bool(row[7]),
        interface=row[8],
        task_id=row[9],
        chain_id=row[10],
        task_type=row[11],
    )


def _reported(row: Sequence[Any]) -> Reported:
    return Reported(at=row[0], utilisation=row[1], used=_decimal(row[2]), limit=_decimal(row[3]), resets_at=row[4])
