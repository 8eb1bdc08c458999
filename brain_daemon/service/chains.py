"""Which tasks belong to a chain, and how the queue hangs together: the ledger knows those that were worked on, pending/ and
active/ those that wait.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import UserError
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.graph import Graph, Node, graph_of
from brain_daemon.policy.resuming import is_parked, is_waiting
from brain_daemon.record.chain import Chain, Member, chain_of
from brain_daemon.service.brain import Brain
from brain_daemon.service.lineage import lineage_of
from brain_daemon.service.remembering import open_pool
from brain_daemon.store.queue import Queue, Seen, look, names


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A task that has not ended, and the chain it belongs to."""

    chain: str | None
    member: Member


def find_chain(brain: Brain, wanted: str) -> Chain:
    """The chain of that id, or the one that the task of that id belongs to. UserError if there is neither."""
    waiting = list(_waiting(brain))
    chain_id = _chain_of(brain, wanted, waiting)
    rows = [row for row in map(CostRow.from_values, brain.journal.chain(chain_id)) if row.chain_id in (chain_id, None)]
    members = [*_ended(brain, rows), *(one.member for one in waiting if chain_id in (one.chain, one.member.task_id))]
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
    ended = brain.journal.ended_statuses()
    known = {*ended, *(node.task.id.casefold() for node in nodes)}
    return graph_of(nodes, {**_notes(brain, nodes, known), **ended})


def _notes(brain: Brain, nodes: Iterable[Node], known: Collection[str]) -> dict[str, str]:
    """The texts of the pool that somebody takes a handoff from, where no task is called so."""
    wanted = {name.casefold(): name for node in nodes for name in node.task.handoff_from}
    unknown = {key: name for key, name in wanted.items() if key not in known}
    pool = open_pool(brain) if unknown else None
    return {key: "note" for key, name in unknown.items() if pool is not None and pool.resolve(name) is not None}


def _ended(brain: Brain, rows: list[CostRow]) -> Iterator[Member]:
    """How the tasks of the ledger ended; one that is being tried again has not."""
    for name, parent in {row.task_id: row.parent_id for row in rows}.items():
        record = brain.journal.ended_task(name)
        if record is not None:
            yield Member(task_id=record.task_id, state=record.status, parent=parent)


def _chain_of(brain: Brain, wanted: str, waiting: Sequence[_Waiting]) -> str:
    """The id of the chain that is meant: a task stands for the chain it belongs to, unless another task names it as its chain."""
    ended = brain.journal.ended_task(wanted)
    wanted = wanted if ended is None else ended.task_id
    rows = map(CostRow.from_values, brain.journal.chain(wanted))
    named = [row.task_id for row in rows if row.chain_id == wanted]
    named += [one.member.task_id for one in waiting if one.chain == wanted]
    if any(name.casefold() != wanted.casefold() for name in named):
        return wanted
    here = next((one.chain for one in waiting if one.member.task_id.casefold() == wanted.casefold()), None)
    above = brain.journal.lineage(wanted)
    return here or (above.chain if above is not None else None) or wanted


def _waiting(brain: Brain) -> Iterator[_Waiting]:
    """The tasks in pending/ and active/, in which a later file goes before what the ledger says."""
    for task_id in Queue(brain.layout, brain.files, brain.config.task_bytes).active_ids():
        attempts = brain.journal.attempts_of(task_id)
        if attempts:
            place = attempts[-1].lineage
            yield _Waiting(place.chain, Member(task_id=task_id, state=_state(attempts[-1]), parent=place.parent))
    held = {hold.name for hold in brain.journal.holds()}
    for name in sorted(names(brain.layout.pending)):
        task = _task(brain, name)
        if task is not None:
            place = lineage_of(brain.journal, task)
            state = "held" if name in held else "pending"
            yield _Waiting(place.chain, Member(task_id=task.id, state=state, parent=place.parent, title=task.title))


def _state(newest: Attempt) -> str:
    if is_parked(newest):
        return "waiting" if is_waiting(newest) else "parked"
    return "held" if newest.state is AttemptState.COMMITTED else "active"


def _task(brain: Brain, name: str) -> TaskSpec | None:
    seen = look(brain.layout.pending, name, brain.config.task_bytes)
    if not isinstance(seen, Seen) or seen.data is None:
        return None
    data = document.strip(seen.data).data if document.is_recorded(seen.data) else seen.data
    task = parse_task(os.path.basename(name), data)
    return task if isinstance(task, TaskSpec) else None
