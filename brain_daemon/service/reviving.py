"""What comes back with a task that is run again: the tasks that ended only because it had failed.

A task that was cancelled by itself, or failed by itself, stays where it is; so does one that waits for another failed task as
well, which the daemon would only fail again.
"""

import os
from collections.abc import Callable, Iterator

from brain_daemon.model import document
from brain_daemon.model.errors import Refused, StorageError
from brain_daemon.model.outcome import Reason
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.service.brain import Brain
from brain_daemon.store.reading import read_regular

Retry = Callable[[Brain, str], object]


def revive(brain: Brain, task_id: str, retry: Retry) -> tuple[str, ...]:
    """Put the dependents of a task that goes back to pending/ there too, theirs as well; their ids. `retry` does it for one."""
    failed = dict(_failed_by_dependency(brain))
    revived: dict[str, None] = {}
    back = [task_id]
    while back:
        above = back.pop().casefold()
        for name, task in list(failed.items()):
            if above in map(str.casefold, task.waits_for) and not _waits_for_other(brain, task, {*revived, task_id}):
                del failed[name]
                if _retried(brain, name, retry):
                    revived[name] = None
                    back.append(name)
    return tuple(revived)


def _retried(brain: Brain, task_id: str, retry: Retry) -> bool:
    try:
        retry(brain, task_id)
    except (Refused, StorageError):
        return False  # its file is gone or another one stands in its place: it stays as it is recorded
    return True


def _failed_by_dependency(brain: Brain) -> Iterator[tuple[str, TaskSpec]]:
    for record in brain.journal.ended_with(Reason.DEPENDENCY_FAILED.value):
        path = brain.layout.inside(record.path)
        try:
            data = read_regular(path, brain.config.task_bytes)
        except StorageError:
            continue  # gone or unreadable: nothing of it can run again
        task = parse_task(os.path.basename(path), document.strip(data).data if document.is_recorded(data) else data)
        if isinstance(task, TaskSpec):
            yield record.task_id, task


def _waits_for_other(brain: Brain, task: TaskSpec, back: set[str]) -> bool:
    """Whether it also waits for a task that has failed and does not come back."""
    coming = set(map(str.casefold, back))
    for name in () if task.runs_after_failure else task.waits_for:
        record = brain.journal.ended_task(name)
        if record is not None and record.status == "failed" and name.casefold() not in coming:
            return True
    return False
