"""Leases of pulling agents: how they are renewed, and what becomes of one that runs out.

Time is no proof of death: a lease that has run out gives nobody else the task. What is safe to repeat goes back to
pending/; about the rest a person is asked, once, and the agent may still hand its result in.

Failures: Refused where there is nothing to renew.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.errors import Refused
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.record.questions import QuestionKind
from brain_daemon.service import actions, inquiries
from brain_daemon.service.brain import Brain
from brain_daemon.service.handing_in import attempt_of, no_longer
from brain_daemon.store.locks import claims
from brain_daemon.store.queue import Queue

_MOST_LEASES = 100_000
Find = Callable[[str], InterfaceSpec | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapse:
    """A lease that has run out; `lease_until` is epoch seconds. `given_back` says that the task is pending again."""

    task_id: str
    attempt_id: str
    claimant: str
    lease_until: float
    given_back: bool
    message: str


def renew(brain: Brain, wanted: str, lease_seconds: float, agent: str | None = None) -> Attempt:
    """Move the end of a lease to `lease_seconds` from now; the attempt as it stands then."""
    attempt = attempt_of(brain, wanted, agent, "renewing")
    until = time.time() + lease_seconds
    if not brain.journal.renew(attempt.attempt_id, until):
        raise Refused(f"renewing {wanted}: {no_longer(attempt)} `brain claim` takes another task.")
    inquiries.withdraw_about(brain.journal, attempt.task_id, QuestionKind.INTERRUPTED)
    return replace(attempt, lease_until=until)


def expired(brain: Brain, find: Find = lambda _name: None) -> list[Lapse]:
    """Every lease that has run out. What is safe to repeat goes back to pending/; about the rest a person is asked, once.

    For the daemon's scan; `find` gives the interface of an agent's name. Those a person was asked about are listed each time, for the board.
    """
    now = time.time()
    late = [
        one
        for one in map(brain.journal.attempt, brain.journal.ids_in(AttemptState.CLAIMED, _MOST_LEASES))
        if one is not None and one.lease_until is not None and one.lease_until < now
    ]
    return [_lapsed(brain, one, find) for one in late]


def _lapsed(brain: Brain, attempt: Attempt, find: Find) -> Lapse:
    if _is_repeatable(attempt, find) and _given_back(brain, attempt):
        actions.wake(brain)
        return _lapse(attempt, "it is safe to repeat and went back to pending/", given_back=True)
    text = (
        f"{attempt.task_id} was claimed by {attempt.claimant}, whose lease has run out. That does not prove that nobody works on it "
        "any more, and part of it may be done. Let somebody else have it?"
    )
    inquiries.ask(brain.journal, inquiries.interrupted(attempt.task_id, attempt.attempt_id, text))
    return _lapse(attempt, f"it waits for its result, or for `brain release {attempt.task_id}`", given_back=False)


def _lapse(attempt: Attempt, what: str, *, given_back: bool) -> Lapse:
    assert attempt.lease_until is not None
    return Lapse(
        task_id=attempt.task_id,
        attempt_id=attempt.attempt_id,
        claimant=attempt.claimant,
        lease_until=attempt.lease_until,
        given_back=given_back,
        message=f"the lease of {attempt.claimant} has run out: {what}",
    )


def _is_repeatable(attempt: Attempt, find: Find) -> bool:
    task = parse_task(attempt.name, attempt.spec)
    if isinstance(task, TaskSpec) and task.idempotent is not None:
        return task.idempotent
    spec = find(attempt.interface or "")
    return spec is not None and spec.idempotent


def _given_back(brain: Brain, attempt: Attempt) -> bool:
    """Release the claim if nothing has changed meanwhile; False if it was renewed, handed in, or its file is gone."""
    with claims(brain.layout):
        now = brain.journal.attempt(attempt.attempt_id)
        if now is None or now.state is not AttemptState.CLAIMED or (now.lease_until or 0.0) >= time.time():
            return False
        queue = Queue(brain.layout, brain.files, brain.config.task_bytes)
        if not os.path.lexists(queue.active_path(attempt.task_id)):
            brain.files.put(queue.active_path(attempt.task_id), attempt.spec)
        brain.journal.release(attempt.attempt_id)
        queue.give_back(attempt.task_id, attempt.name)
        return True
