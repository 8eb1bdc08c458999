"""What a readable file in pending/ is: a new task, a re-run, a retry, or something that must not run by itself.

The rules are the gestures of the design (section 3.1). They need to know what has ended, what is in flight, and
whether git brought the file; all of that comes in as values.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from brain_daemon.model.ids import numbered


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A file as it was seen. `id` is what it asks to be called; `recorded` says it carries a result block of ours."""

    id: str
    explicit_id: bool
    sha256: str
    modified_at: float
    in_head: bool
    recorded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTask:
    """What is known of a task that ended under the same id; `present` says its recorded file still stands."""

    status: str
    sha256: str | None
    finished_at: float | None
    present: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """It runs under `id`; `rerun_of` names the task it runs again, `note` is a sentence for the result."""

    id: str
    rerun_of: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """It stays where it is and does not run; the reason is for the board. `blocked`: only until another task has ended."""

    reason: str
    blocked: bool = False


def arrive(
    arrival: Arrival, ended: EndedTask | None, in_flight: Mapping[str, str], used: Container[str]
) -> Accept | Decline:
    """Decide on one file.

    `in_flight` maps casefolded ids to what holds them: `active`, or the name of another pending file. `used` are these and the ids
    that have ended: none of them is given to another task.
    """
    holder = in_flight.get(arrival.id.casefold())
    if holder is not None:
        return _taken_in_flight(arrival, holder, used)
    if ended is None:
        return Accept(id=arrival.id)
    if arrival.in_head:
        return _back_through_git(arrival, ended, used)
    if arrival.recorded and not ended.present:
        return Accept(id=arrival.id, rerun_of=arrival.id, note="retry: the recorded file was moved back into pending/")
    if arrival.explicit_id or arrival.recorded:
        return _numbered(arrival, used, f"re-run of {arrival.id}, which has {ended.status}")
    if ended.finished_at is not None and arrival.modified_at < ended.finished_at:
        return Decline(
            reason=f"older than the {ended.status} task {arrival.id}: a restored backup or a sync, it seems; "
            f"`brain retry {arrival.id}` runs it again"
        )
    return _numbered(arrival, used, f"a new task of the name {arrival.id}, which has {ended.status}")


def _taken_in_flight(arrival: Arrival, holder: str, used: Container[str]) -> Accept | Decline:
    where = "is active now" if holder == "active" else f"is the pending file {holder}"
    if arrival.explicit_id:
        return Decline(
            reason=f"another task with the id {arrival.id} {where}; give one of them another id", blocked=True
        )
    return _numbered(arrival, used, f"the id {arrival.id} {where}")


def _back_through_git(arrival: Arrival, ended: EndedTask, used: Container[str]) -> Accept | Decline:
    if ended.sha256 in (None, arrival.sha256) or arrival.recorded:
        return Decline(
            reason=f"git brought this file back, and {arrival.id} has {ended.status}; `brain retry {arrival.id}` runs it again"
        )
    if arrival.explicit_id:
        return Decline(
            reason=f"git brought a changed file with the id of {arrival.id}, which has {ended.status}; "
            "give it another id, or `brain retry` runs it again"
        )
    return _numbered(arrival, used, f"a new task of the name {arrival.id}, which has {ended.status}")


def _numbered(arrival: Arrival, used: Container[str], note: str) -> Accept:
    return Accept(id=numbered(arrival.id, used), rerun_of=arrival.id, note=note)
