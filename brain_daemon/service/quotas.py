"""The quotas of one brain's interfaces, counted in the accounts that all brains of this user share (store/accounts.py).

An interface is watched if it declares a quota, names an account, or tells of its own quotas; any other costs nothing here until it
refuses for lack of quota once. At the opening the ledger is booked, so that a lost accounts file gives nothing away, and what
a dead daemon had reserved is settled by what became of it.

Failures: StorageError and Damaged as store/database.py has them. An end that cannot be booked is tried again with the next one,
and its reservation stands meanwhile.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Ended, Failed, FailureKind, Succeeded
from brain_daemon.policy.quotas import (
    Counting,
    NoRoom,
    Quota,
    Reading,
    Reported,
    Use,
    account_key,
    quotas_of,
    read,
    windows_of,
)
from brain_daemon.policy.windows import DAY_SECONDS, length_seconds
from brain_daemon.service.brain import Brain
from brain_daemon.service.config import user_state_path
from brain_daemon.store.accounts import FILE_NAME, Accounts, Booking, Elapsed, Reservation, since_boot

_LOG = logging.getLogger("brain_daemon")
DAEMON = "daemon"
"""The claimant of what a daemon starts itself."""

_REFUSED = ""
_SAME_LOOK_SECONDS = 0.5


class Quotas:
    """For the event loop's thread. `specs` are the interfaces of now."""

    def __init__(
        self,
        brain: Brain,
        specs: Callable[[], Iterable[InterfaceSpec]],
        clock: Callable[[], float] = time.time,
        elapsed: Elapsed = since_boot,
    ) -> None:
        self._brain = brain
        self._specs = specs
        self._clock = clock
        self._elapsed = elapsed
        self._path = os.path.join(user_state_path(), FILE_NAME)
        self._accounts: Accounts | None = None
        self._watched: dict[str, str] = {}
        self._booked: set[str] = set()
        self._refused: dict[str, float] = {}
        self._bookings: dict[str, Booking] = {}
        self._readings: dict[str, tuple[Reading, ...]] = {}
        self._planned: dict[str, Use] = {}
        self._version: tuple[int, int] | None = None
        self._read_at = 0.0
        self._is_new_look = False

    def close(self) -> None:
        """What has ended is booked first, as far as the disk lets it."""
        if self._accounts is not None:
            try:
                self.flush()
            except StorageError as error:
                _LOG.error("what was used is not booked", extra={"action": "quota", "error": str(error)})
            self._accounts.close()

    @property
    def is_new(self) -> bool:
        """Whether this user has no accounts yet."""
        return not os.path.exists(self._path)

    def look(self, *, books: bool = True) -> None:
        """Follow the interfaces: open the accounts where one has a quota, and book what the ledger knows of it."""
        specs = list(self._specs())
        watched = {spec.name: self.key(spec) for spec in specs if _has_quota(spec)}
        if watched or os.path.exists(self._path):
            accounts = self._open()
            for spec in specs:
                reports = accounts.reports(self.key(spec))
                if reports:
                    watched[spec.name] = self.key(spec)
                if _REFUSED in reports:
                    self._refused.setdefault(self.key(spec), reports[_REFUSED].at)
        self._watched = watched
        if books:
            self._book([spec for spec in specs if spec.name in watched and spec.name not in self._booked])
        self._readings.clear()
        self._planned.clear()

    def begin(self) -> None:
        """A new look at the queue. What was read a moment ago still stands if nobody has written: `reserve` decides, not this."""
        self._planned.clear()
        self._is_new_look = True

    def _look_anew(self) -> None:
        self._is_new_look = False
        if self._accounts is None:
            return
        now, version = self._clock(), self._accounts.version
        if version != self._version or not 0 <= now - self._read_at < _SAME_LOOK_SECONDS:
            self._readings.clear()
            self._version, self._read_at = version, now

    def key(self, spec: InterfaceSpec) -> str:
        """Under which name its use is counted."""
        return account_key(spec, self._brain.layout.state)

    def watches(self, spec: InterfaceSpec) -> bool:
        """Whether it has quotas at all."""
        return spec.name in self._watched

    def readings(self, spec: InterfaceSpec) -> tuple[Reading, ...]:
        """Its quotas with what is used of them, and what this look at the queue has planned already."""
        found, planned = self.counted(spec), self._planned.get(self.key(spec))
        if planned is None:
            return found
        return tuple(replace(one, used=one.used + planned.of(one.quota.unit)) for one in found)

    def counted(self, spec: InterfaceSpec) -> tuple[Reading, ...]:
        """Its quotas with what has been used of them, and reserved."""
        if spec.name not in self._watched:
            return ()
        if self._is_new_look:
            self._look_anew()
        if spec.name not in self._readings:
            self._readings[spec.name] = read(self._quotas(spec), self._counting(self.key(spec)))
        return self._readings[spec.name]

    def plan(self, spec: InterfaceSpec, need: Use) -> None:
        """A task was chosen for it, and its reservation is still to come."""
        if spec.name in self._watched:
            key = self.key(spec)
            self._planned[key] = self._planned.get(key, Use()).plus(need)

    def reserve(self, wanted: Sequence[tuple[InterfaceSpec, Reservation, bool]]) -> dict[str, NoRoom]:
        """Reserve what may start, durably and together; by attempt id what has no room. The last of three overrides all quotas."""
        ours = [(spec, one, forced) for spec, one, forced in wanted if spec.name in self._watched]
        if not ours:
            return {}
        pairs = [(one, () if forced else self._quotas(spec)) for spec, one, forced in ours]
        answers = self._open().reserve(pairs)
        self._readings.clear()
        self._planned.clear()
        return {one.attempt_id: no for (one, _), no in zip(pairs, answers, strict=True) if no is not None}

    def reservation(self, spec: InterfaceSpec, attempt: Attempt, most: Use, *, unpriced: bool = False) -> Reservation:
        """What an attempt asks of its account."""
        return Reservation(
            account=self.key(spec),
            attempt_id=attempt.attempt_id,
            brain=self._brain.layout.state,
            at=self._clock(),
            most=most,
            unpriced=unpriced,
            interface=spec.name,
            task_id=attempt.task_id,
            chain_id=attempt.lineage.chain,
        )

    def grow(self, spec: InterfaceSpec, wanted: Reservation, *, settles: bool = False) -> NoRoom | None:
        """An attempt comes to use so much in all of an interface: why that has no room. It counts durably from now on.

        `settles`: nobody will say more of it, so it counts as used at once.
        """
        if spec.name not in self._watched:
            return None
        found = self._open().grow(wanted, self._quotas(spec))
        if found is None and settles:
            used = Booking(account=wanted.account, attempt_id=wanted.attempt_id, brain=wanted.brain, at=wanted.at)
            self._open().settle([used])
        self._readings.clear()
        return found

    def release(self, spec: InterfaceSpec, attempt_id: str) -> None:
        """It has not started and will not."""
        if spec.name in self._watched:
            self._open().release(self.key(spec), attempt_id)
            self._readings.clear()
            self._planned.clear()

    def ended(self, spec: InterfaceSpec, attempt: Attempt, ended: Ended) -> None:
        """An attempt has ended: booked with the next `flush`. What the client said of its quotas is kept at once."""
        refused = isinstance(ended.outcome, Failed) and ended.outcome.kind is FailureKind.QUOTA
        if spec.name not in self._watched and not refused:
            return
        self._watched.setdefault(spec.name, self.key(spec))
        self._bookings[attempt.attempt_id] = _booking(self.key(spec), self._brain.layout.state, attempt, ended)
        self._hear(self.key(spec), ended)
        self._readings.clear()

    def flush(self) -> None:
        """Book what has ended since the last time, in one transaction."""
        if self._bookings:
            self._open().settle(self._bookings.values())
            self._bookings.clear()
            self._readings.clear()

    def reconcile(self) -> None:
        """Settle what this brain had reserved and no daemon runs any more, by what the journal says became of it."""
        if self._accounts is None:
            return
        for one in self._accounts.reserved(self._brain.layout.state):
            attempt = self._brain.journal.attempt(one.attempt_id)
            if attempt is None:
                self._accounts.release(one.account, one.attempt_id)
            elif _acquired(attempt, one):
                continue
            elif attempt.ended is not None:
                self._accounts.settle([_booking(one.account, one.brain, attempt, attempt.ended)])
            elif attempt.state is AttemptState.RELEASED:
                self._accounts.release(one.account, one.attempt_id)
        self.settle_acquired()
        self._readings.clear()

    def settle_acquired(self) -> None:
        """Settle what attempts were granted on request (`brain acquire`) and that have ended since."""
        if self._accounts is None:
            return
        for one in self._accounts.reserved(self._brain.layout.state):
            attempt = self._brain.journal.attempt(one.attempt_id)
            is_over = attempt is not None and (attempt.ended is not None or attempt.state is AttemptState.RELEASED)
            if attempt is not None and is_over and _acquired(attempt, one):
                self._accounts.settle([_as_acquired(attempt, one, self._clock())])
        self._readings.clear()

    def keep_house(self) -> None:
        """Now and then: forget what is older than any window, and count what nobody will settle."""
        self.settle_acquired()
        if self._accounts is not None:
            self._accounts.lapse()
            self._accounts.prune()

    def _open(self) -> Accounts:
        if self._accounts is None:
            self._accounts = Accounts(self._path, self._brain.files, clock=self._clock, elapsed=self._elapsed)
        return self._accounts

    def _quotas(self, spec: InterfaceSpec) -> tuple[Quota, ...]:
        accounts = self._open()
        return quotas_of(spec.limits, accounts.reports(self.key(spec)), self._clock(), accounts.jumps())

    def _counting(self, key: str) -> Counting:
        accounts = self._open()
        return lambda since: accounts.count(key, since)

    def _hear(self, key: str, ended: Ended) -> None:
        for report in ended.reports:
            told = Reported(
                at=ended.finished_at,
                utilisation=report.utilisation,
                used=report.used,
                limit=report.limit,
                resets_at=report.resets_at,
            )
            self._open().report(key, report.name, told)
        outcome = ended.outcome
        if isinstance(outcome, Failed) and outcome.kind is FailureKind.QUOTA:
            self._refused[key] = ended.finished_at
            self._open().report(key, _REFUSED, _refusal(outcome, ended.finished_at))
        elif isinstance(outcome, Succeeded) and self._refused.get(key, ended.started_at) < ended.started_at:
            del self._refused[key]
            self._open().withdraw_report(key, _REFUSED)

    def _book(self, specs: Sequence[InterfaceSpec]) -> None:
        if not specs:
            return
        by_name = {spec.name: self.key(spec) for spec in specs}
        longest = max((length_seconds(w) for spec in specs for w in windows_of(spec.limits)), default=DAY_SECONDS)
        since = datetime.fromtimestamp(max(0.0, self._clock() - longest - DAY_SECONDS), UTC).date().isoformat()
        rows = map(CostRow.from_values, self._brain.journal.outcomes(since=since))
        state = self._brain.layout.state
        self._open().book(_of_row(by_name[row.interface], state, row) for row in rows if row.interface in by_name)
        self._booked |= by_name.keys()


def _has_quota(spec: InterfaceSpec) -> bool:
    return bool(windows_of(spec.limits) or spec.account or spec.output.limits)


def _booking(key: str, brain: str, attempt: Attempt, ended: Ended) -> Booking:
    told = ended.usage.input_tokens is not None or ended.usage.output_tokens is not None
    return Booking(
        account=key,
        attempt_id=attempt.attempt_id,
        brain=brain,
        at=ended.finished_at,
        tokens=ended.usage.total_tokens if told else None,
        usd=ended.cost.usd,
    )


def _acquired(attempt: Attempt, reserved: Reservation) -> bool:
    """Whether it was reserved for what an agent asked for, and not for the attempt's own start."""
    return attempt.claimant != DAEMON or reserved.interface != attempt.interface


def _as_acquired(attempt: Attempt, reserved: Reservation, now: float) -> Booking:
    """What was granted counts as used, whatever its attempt came to: it is all that is known of this interface's part."""
    at = now if attempt.ended is None else attempt.ended.finished_at
    return Booking(account=reserved.account, attempt_id=reserved.attempt_id, brain=reserved.brain, at=at)


def _of_row(key: str, brain: str, row: CostRow) -> Booking:
    return Booking(
        account=key,
        attempt_id=row.attempt_id,
        brain=brain,
        at=datetime.fromisoformat(row.timestamp).timestamp(),
        tokens=(row.input_tokens or 0) + (row.output_tokens or 0),
        usd=row.cost_usd,
    )


def _refusal(failed: Failed, at: float) -> Reported:
    resets_at = failed.resets_at
    if resets_at is None and failed.retry_after_seconds is not None:
        resets_at = at + failed.retry_after_seconds
    return Reported(at=at, utilisation=1.0, resets_at=resets_at)
