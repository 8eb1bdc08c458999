"""Whether a task would wait for itself, by way of what is in pending/, asked before it is put there. No journal and no daemon is needed.

A circle is looked for by the names of files, which cost nothing; what else is in them is read only where an awaited id is the name of
none. In a long queue not all is read: a circle that is missed here the daemon finds (service/doubts.py).
"""

from collections.abc import Iterable

from brain_daemon.model.ids import slug
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.circles import Circles
from brain_daemon.service.intake import original_of
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import MAX_TASK_BYTES, Seen, look, names

_MOST_READ = 2_000


def circle_with(layout: Layout, task: TaskSpec, others: Iterable[TaskSpec] = ()) -> tuple[str, ...]:
    """The circle that this task closes with `others` and what is pending, from its id round to it again; empty if it closes none.

    `others` go before files that are pending under their ids, as the task itself does.
    """
    if not task.waits_for:
        return ()
    queue = _Queue(layout, (*others, task))
    return tuple(queue.spelled(key) for key in Circles(queue.waits).through(task.id.casefold()))


class _Queue:
    """The pending tasks by their casefolded ids, each read when it is asked for."""

    def __init__(self, layout: Layout, given: Iterable[TaskSpec]) -> None:
        self._folder = layout.pending
        self._tasks: dict[str, TaskSpec | None] = {task.id.casefold(): task for task in given}
        try:
            self._unread = {slug(name.removesuffix(".md")).casefold(): name for name in names(layout.pending)}
        except OSError:
            self._unread = {}  # no folder, no tasks in it

    def waits(self, key: str) -> tuple[str, ...]:
        """The casefolded ids that the task of an id waits for; nothing where none of that id is pending."""
        if key not in self._tasks and key in self._unread:
            self._read(key)
        if key not in self._tasks:
            for other in list(self._unread)[:_MOST_READ]:
                self._read(other)
        task = self._tasks.setdefault(key, None)
        return () if task is None else tuple(map(str.casefold, task.waits_for))

    def spelled(self, key: str) -> str:
        """The id as its task writes it."""
        task = self._tasks[key]
        return key if task is None else task.id

    def _read(self, key: str) -> None:
        name = self._unread.pop(key)
        seen = look(self._folder, name, MAX_TASK_BYTES)
        if isinstance(seen, Seen) and seen.data is not None:
            task = parse_task(name, original_of(seen.data)[0])
            if isinstance(task, TaskSpec):
                self._tasks.setdefault(task.id.casefold(), task)
