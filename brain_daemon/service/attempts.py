"""The attempt of a task that has just been claimed, as whoever claims it begins: the daemon, an agent, a workflow's run."""

import time
import uuid

from brain_daemon.model.attempt import Attempt, AttemptState, Lineage
from brain_daemon.model.ids import attempt_id
from brain_daemon.model.outcome import Mode
from brain_daemon.model.task import Rejection, TaskSpec
from brain_daemon.service.intake import PendingTask
from brain_daemon.service.lineage import lineage_of
from brain_daemon.store.journal import Journal


def claimed(
    journal: Journal,
    pending: PendingTask,
    task: TaskSpec | Rejection,
    spec: bytes,
    claimant: str,
    *,
    state: AttemptState = AttemptState.CLAIMED,
    mode: Mode = Mode.DAEMON,
    claimed_at: float | None = None,
) -> Attempt:
    """A new attempt under the task's next number, claimed (now, unless said otherwise) and begun now; it is not in the journal yet."""
    now = time.time()
    number = journal.next_number(task.id)
    return Attempt(
        attempt_id=attempt_id(task.id, number, uuid.uuid4().hex[:8]),
        task_id=task.id,
        number=number,
        state=state,
        name=pending.name,
        sha256=task.sha256,
        spec=spec,
        claimant=claimant,
        claimed_at=now if claimed_at is None else claimed_at,
        started_at=now,
        mode=mode,
        origin="git" if pending.in_head else "local",
        lineage=lineage_of(journal, task) if isinstance(task, TaskSpec) else Lineage(),
    )
