"""The crash table as code: what is found in active/ and in the journal, and the one repair that fits it.

Each row of docs/architecture.md's table is one arm below and one test. Time proves nothing here: whether an attempt
still runs is told by the lock or the tag its descendants hold, or by its control group, and comes in as `alive`. Not promised: a
descendant that has let go of both is not found where there is no control group.
"""

from dataclasses import dataclass
from typing import assert_never

from brain_daemon.model.attempt import AttemptState, Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One task as a start finds it; instants are epoch seconds.

    `active_sha256` is None where active/ has no file. `state`, `decision` and `alive` describe the newest attempt that
    the journal has; `state` is None where it has none.
    """

    task_id: str
    active_sha256: str | None
    active_since: float | None
    journal_born: float
    state: AttemptState | None = None
    decision: Decision | None = None
    alive: bool = False
    twin: str | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to repair; why."""

    why: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Return the file to pending/: nothing was started."""


@dataclass(frozen=True, slots=True)
class DropTwin:
    """The file stands in pending/ under `name` as well, with the same bytes: the claim did not get through; take the active one away."""

    name: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """It may have run: record the attempt as interrupted, then policy/retry.py decides. `restore` says that active/ lost the file."""

    why: str
    restore: bool = False


@dataclass(frozen=True, slots=True)
class AwaitEnd:
    """Descendants of the attempt still live: wait for them, or end them at its deadline; then it is interrupted."""

    restore: bool = False


@dataclass(frozen=True, slots=True)
class Restore:
    """An agent holds the task and its file is gone from active/: write it again from the journal."""


Repair = Leave | GiveBack | DropTwin | Interrupt | AwaitEnd | Restore


def repair(found: Found) -> Repair:
    """The repair for one task."""
    missing = found.active_sha256 is None
    match found.state:
        case None | AttemptState.RELEASED:
            return _never_started(found)
        case AttemptState.CLAIMED:
            return Restore() if missing else Leave("an agent has claimed it; its lease decides nothing")
        case AttemptState.STARTING if found.alive:
            return AwaitEnd(restore=missing)
        case AttemptState.STARTING:
            return Interrupt("the daemon ended while it ran, and none of its processes is found", restore=missing)
        case AttemptState.ENDED | AttemptState.RECORDED | AttemptState.COMMITTED:
            return _after_an_end(found)
        case never:
            assert_never(never)


def _never_started(found: Found) -> Repair:
    if found.active_sha256 is None:
        return Leave("there is nothing in active/")
    if found.twin is not None:
        return DropTwin(found.twin)
    if found.active_since is None or found.active_since < found.journal_born:
        return Interrupt("it was claimed before this journal began, so nobody knows whether it ran")
    return GiveBack()


def _after_an_end(found: Found) -> Repair:
    if found.decision in (Decision.ASK, Decision.PARK):
        waits = "it waits for a person's answer" if found.decision is Decision.ASK else "it is parked"
        return Restore() if found.active_sha256 is None else Leave(waits)
    if found.active_sha256 is None:
        return Leave("its end is on record")
    if found.decision is Decision.AGAIN or found.state is AttemptState.COMMITTED:
        # After a committed end a file of that name can only have been put there by hand: it is a task like any other.
        return GiveBack()
    return Leave("its outcome is being recorded")
