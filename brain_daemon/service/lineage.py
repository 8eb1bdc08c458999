"""Where a task stands among those it belongs to: its parent, its chain, how deep.

The parent is what `parent:` names, else the first task it takes a handoff from, else the first it depends on. The chain is
what `chain:` names, else the parent's, else it is called after the parent, which is then its root. A parent that is spelled in
another case is called by its own id.
"""

from brain_daemon.model.attempt import Lineage
from brain_daemon.model.task import TaskSpec
from brain_daemon.store.journal import Journal


def lineage_of(journal: Journal, task: TaskSpec) -> Lineage:
    """The place of a task that is about to be worked on; a parent nobody has heard of counts as a root."""
    parent = next(iter((*((task.parent,) if task.parent else ()), *task.handoff_from, *task.depends_on)), None)
    if parent is None:
        return Lineage(chain=task.chain, session=task.session)
    ended = journal.ended_task(parent)
    parent = parent if ended is None else ended.task_id
    above = journal.lineage(parent) or Lineage()
    return Lineage(
        chain=task.chain or above.chain or parent,
        parent=parent,
        depth=above.depth + 1,
        session=task.session or above.session,
    )
