"""The circuit breakers of one brain's interfaces, kept in the journal so that a restart forgets none.

The rules are policy/breaker.py's. Nothing is written for an interface that works. Failures: StorageError where the disk
refuses the change; the breaker then stands in this process and is written with the next change.
"""

import json
import random
from collections.abc import Mapping

from brain_daemon.model.outcome import Failed, Outcome
from brain_daemon.policy.admission import Shut
from brain_daemon.policy.breaker import (
    CLOSED,
    Breaker,
    Closed,
    HalfOpen,
    Open,
    Passes,
    after,
    checked,
    from_json,
    given_back,
    may_start,
    probing,
    to_json,
    word,
)
from brain_daemon.service.snapshot import BREAKERS
from brain_daemon.store.journal import Journal


class Breakers:
    """By name of the interface. Not for several threads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._states = kept(journal)
        self._probes: set[str] = set()

    def begin(self) -> None:
        """A new look at the queue: what was let through as a probe has started, or is free again."""
        self._probes.clear()

    def shut(self, name: str, now: float) -> Shut | None:
        """Why nothing may start on it at `now`."""
        breaker = self._states.get(name)
        if breaker is None:
            return None
        verdict = may_start(breaker, now)
        if not isinstance(verdict, Passes):
            return Shut(why=f"its circuit breaker is {word(breaker)} ({verdict.why})", until=verdict.until)
        if verdict.probe and name in self._probes:
            return Shut(why="it is tried with one task first, after failures")
        return None

    def planned(self, name: str) -> None:
        """A task was chosen for it: where it needs a probe, this is the one."""
        if name in self._states:
            self._probes.add(name)

    def started(self, name: str, attempt_id: str) -> None:
        """An attempt starts on it."""
        breaker = self._states.get(name)
        if breaker is not None:
            self._become(name, probing(breaker, attempt_id))

    def ended(self, name: str, attempt_id: str, outcome: Outcome, now: float) -> bool:
        """An attempt has ended on it; whether that closed it, or opened it."""
        breaker = self._states.get(name, CLOSED)
        if breaker is CLOSED and not isinstance(outcome, Failed):
            return False
        jitter = random.random()  # noqa: S311 - jitter, no secret
        return self._become(name, after(breaker, attempt_id, outcome, now=now, jitter=jitter))

    def given_back(self, name: str, attempt_id: str) -> None:
        """An attempt that did not start, or died with its daemon."""
        breaker = self._states.get(name)
        if breaker is not None:
            self._become(name, given_back(breaker, attempt_id))

    def checked(self, name: str, *, passed: bool) -> bool:
        """Its own check has been run; whether that changed anything."""
        breaker = self._states.get(name)
        return breaker is not None and self._become(name, checked(breaker, passed=passed))

    def words(self) -> Mapping[str, tuple[str, str]]:
        """open or half-open, and why, of those that are not closed."""
        return {
            name: (word(breaker), breaker.why)
            for name, breaker in self._states.items()
            if isinstance(breaker, Open | HalfOpen)
        }

    def probes(self) -> Mapping[str, str]:
        """The attempts that are out as probes, by interface."""
        found = {name: getattr(breaker, "probe", None) for name, breaker in self._states.items()}
        return {name: attempt_id for name, attempt_id in found.items() if attempt_id}

    def _become(self, name: str, breaker: Breaker) -> bool:
        """Keep the state; written where it is, or was, more than a count of failures. Whether its word has changed."""
        before = self._states.get(name, CLOSED)
        if breaker == before:
            return False
        if breaker == CLOSED:
            self._states.pop(name, None)
        else:
            self._states[name] = breaker
        if not (isinstance(breaker, Closed) and isinstance(before, Closed)):
            self._write()
        return word(breaker) != word(before)

    def _write(self) -> None:
        states = {name: to_json(one) for name, one in self._states.items() if not isinstance(one, Closed)}
        self._journal.set(BREAKERS, json.dumps(states))


def waits_for_login(journal: Journal, name: str) -> bool:
    """Whether nothing but its own check lets anything start on this interface: its login was refused."""
    breaker = kept(journal).get(name)
    return isinstance(breaker, Open) and breaker.by_check


def kept(journal: Journal) -> dict[str, Breaker]:
    """The breakers that are not closed, as the journal has them; what cannot be read is closed."""
    try:
        told = json.loads(journal.get(BREAKERS) or "{}")
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    states = {str(name): from_json(one) for name, one in told.items() if isinstance(one, dict)}
    return {name: one for name, one in states.items() if one != CLOSED}
