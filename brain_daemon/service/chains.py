"""Which tasks belong to a chain, and how the queue hangs together: the ledger knows those that were worked on, pending/ and
active/ those that wait.
"""

import os
from collections.abc import Iterator
from dataclasses import replace

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState, Lineage
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import UserError
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.graph import Graph, Node, graph_of
from brain_daemon.policy.resuming import is_parked
from brain_daemon.record.chain import Chain, Member, chain_of
from brain_daemon.service.brain import Brain
from brain_daemon.service.lineage import lineage_of
from brain_daemon.store.queue import Queue, Seen, look, names


def find_chain(brain: Brain, wanted: str) -> Chain:
    """The chain of that id, or the one that the task of that id belongs to. UserError if there is neither."""
    above = brain.journal.lineage(wanted)
    chain_id = wanted
    if above is not None and above.chain is not None and not brain.journal.chain(wanted)[1:]:
        chain_id = above.chain
    rows = [CostRow.from_values(values) for values in brain.journal.chain(chain_id)]
    members = [*_ended(brain, rows), *_waiting(brain, chain_id)]
    if not rows and not members:
        raise UserError(
            f"there is no chain {wanted!r}, and no task of that id was worked on. `brain costs --by chain` lists chains."
        )
    return chain_of(chain_id, rows, members)


def queue_graph(brain: Brain) -> Graph:
    """The tasks that have not ended, as a graph."""
    nodes = []
    for task_id in Queue(brain.layout, brain.files, brain.config.task_bytes).active_ids():
        attempts = brain.journal.attempts_of(task_id)
        task = parse_task(attempts[-1].name, attempts[-1].spec) if attempts else None
        if isinstance(task, TaskSpec):
            nodes.append(Node(task=replace(task, id=task_id), state=_state(attempts[-1])))
    called = {hold.name: hold.task_id for hold in brain.journal.holds()}
    for name in sorted(names(brain.layout.pending)):
        waiting = _task(brain, name)
        if waiting is not None:
            state = "held" if name in called else "pending"
            nodes.append(Node(task=replace(waiting, id=called.get(name, waiting.id)), state=state))
    return graph_of(nodes, brain.journal.ended_statuses())


def _ended(brain: Brain, rows: list[CostRow]) -> Iterator[Member]:
    """How the tasks of the ledger ended; one that is being tried again has not."""
    for name, parent in {row.task_id: row.parent_id for row in rows}.items():
        record = brain.journal.ended_task(name)
        if record is not None:
            yield Member(task_id=record.task_id, state=record.status, parent=parent)


def _waiting(brain: Brain, chain_id: str) -> Iterator[Member]:
    """Tasks of the chain in pending/ and active/, in which a later file goes before what the ledger says."""
    for task_id in Queue(brain.layout, brain.files, brain.config.task_bytes).active_ids():
        attempts = brain.journal.attempts_of(task_id)
        if attempts and _belongs(attempts[-1].lineage, task_id, chain_id):
            yield Member(task_id=task_id, state=_state(attempts[-1]), parent=attempts[-1].lineage.parent)
    held = {hold.name for hold in brain.journal.holds()}
    for name in sorted(names(brain.layout.pending)):
        task = _task(brain, name)
        place = None if task is None else lineage_of(brain.journal, task)
        if task is not None and place is not None and _belongs(place, task.id, chain_id):
            state = "held" if name in held else "pending"
            yield Member(task_id=task.id, state=state, parent=place.parent, title=task.title)


def _belongs(place: Lineage, task_id: str, chain_id: str) -> bool:
    return chain_id in (place.chain, task_id)


def _state(newest: Attempt) -> str:
    if is_parked(newest):
        return "parked"
    return "held" if newest.state is AttemptState.COMMITTED else "active"


def _task(brain: Brain, name: str) -> TaskSpec | None:
    seen = look(brain.layout.pending, name, brain.config.task_bytes)
    if not isinstance(seen, Seen) or seen.data is None:
        return None
    data = document.strip(seen.data).data if document.is_recorded(seen.data) else seen.data
    task = parse_task(os.path.basename(name), data)
    return task if isinstance(task, TaskSpec) else None
