"""What a person asks of workflows from outside the daemon: a run, how it stands, to go on with it, to end it.

A run is begun by dropping its task and gone on with by retrying it, so all of it works with and without a daemon. UserError and
Refused say what would be possible instead.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from brain_daemon.model.attempt import Decision
from brain_daemon.model.errors import Damaged, Refused, UserError
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.workflow import changed_steps, resolved_params
from brain_daemon.policy.resuming import is_parked
from brain_daemon.policy.workflow import Stand, StepState
from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from brain_daemon.service.intake import vocabulary
from brain_daemon.service.waiting import Awaited
from brain_daemon.service.workflow_progress import Progress
from brain_daemon.service.workflow_runs import (
    Refusal,
    RunRecord,
    all_kept,
    asked_by,
    find_definition,
    fingerprint,
    kept,
    new_run,
    next_run,
    read_definition,
    root_of,
    root_text,
    said,
    step_files,
)
from brain_daemon.service.workflows import cancel_rest


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """A step as it stands. `tasks` are its tasks, `completed` how many of them have, `held` says why none of the others is at work.

    `held` is empty where one of them is, or is about to be.
    """

    id: str
    state: StepState
    tasks: tuple[str, ...]
    completed: int
    held: str = ""

    @property
    def stands(self) -> str:
        """How it stands in one word, as people are told."""
        return "held" if self.held else self.state.stand.value

    @property
    def why(self) -> str:
        """Why it stands so, where there is more to say."""
        return self.held or self.state.why


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as it stands: pending, active, completed or failed. `outputs` are those that no other step uses."""

    run: str
    name: str
    state: str
    source: str
    params: Mapping[str, str]
    chain: str
    steps: tuple[StepView, ...]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How the file of a run differs from what the run goes by: steps that say something else now, and those that follow them."""

    path: str
    changed: tuple[str, ...]
    following: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def redone(self) -> tuple[str, ...]:
        return (*self.changed, *self.following)


def agent_names(brain: Brain) -> frozenset[str]:
    """What a step may give as `agent`."""
    table, _ = brain.routing_table()
    return frozenset(vocabulary(brain.registry(), table).interfaces)


def located(brain: Brain, wanted: str) -> str:
    """The workflow file a person means. UserError if there is none."""
    path = find_definition(brain.layout, wanted)
    if path is None:
        raise UserError(f"there is no workflow file {wanted!r}. `brain workflow list` shows those of this brain.")
    return path


def ask_for(brain: Brain, wanted: str, params: Mapping[str, str], extra: Mapping[str, object] | None = None) -> Awaited:
    """Drop the task of a new run. UserError with all that is wrong before anything is written."""
    path = located(brain, wanted)
    reading, data = read_definition(path, agent_names(brain))
    source = _shown(brain, path)
    if reading.workflow is None:
        raise UserError("running a workflow:\n" + "\n".join(said(fault, source) for fault in reading.faults))
    found = resolved_params(reading.workflow, params)
    if isinstance(found, list):
        raise UserError(f"running {source}: " + "; ".join(found))
    run = new_run(reading.workflow.name)
    return _drop(brain, run, root_text(run, reading.workflow.name, data, source, params, extra or {}))


def _drop(brain: Brain, run: str, text: str) -> Awaited:
    since = time.time()
    parsed = parse_task(f"{run}.md", text.encode())
    place = actions.submit(brain, text, run)
    return Awaited(task_id=run, name=os.path.basename(place.path), sha256=parsed.sha256, since=since)


def _shown(brain: Brain, path: str) -> str:
    """A path as the run's task names it: below the brain where it is in there."""
    inside = os.path.realpath(path).startswith(os.path.join(os.path.realpath(brain.layout.root), ""))
    return os.path.relpath(os.path.realpath(path), os.path.realpath(brain.layout.root)) if inside else path


def record_of(brain: Brain, wanted: str) -> RunRecord:
    """The run of this id, or the newest one of the workflow of this name or file. UserError if there is none."""
    record = kept(brain.layout, wanted)
    if record is not None:
        return record
    task = root_of(brain, wanted)
    if task is not None:
        asked = asked_by(brain.layout, task, None)
        if isinstance(asked, Refusal):
            raise UserError(f"the run {wanted}: {asked}")
        return asked
    named = [one for one in all_kept(brain.layout) if wanted in (one.name, one.source, os.path.basename(one.source))]
    if not named:
        raise UserError(f"there is no run {wanted!r} of a workflow. `brain workflow list` shows them.")
    return max(named, key=lambda one: _since(brain, one.run))


def state_of(brain: Brain, run: str) -> str:
    """pending, active, completed or failed."""
    for state, folder in (("pending", brain.layout.pending), ("active", brain.layout.active)):
        if os.path.lexists(os.path.join(folder, f"{run}.md")):
            return state
    ended = brain.journal.ended_task(run)
    return "pending" if ended is None else ended.status


def _since(brain: Brain, run: str) -> float:
    attempts = brain.journal.attempts_of(run)
    return attempts[-1].claimed_at if attempts else 0.0


def view(brain: Brain, record: RunRecord) -> RunView:
    """How a run stands now; nothing is changed."""
    progress = Progress(brain, record, record.workflow(), _since(brain, record.run))
    progress.walk()
    lineage = brain.journal.lineage(record.run)
    return RunView(
        run=record.run,
        name=record.name,
        state=state_of(brain, record.run),
        source=record.source,
        params=record.params,
        chain=(lineage.chain if lineage is not None else None) or record.run,
        steps=tuple(_step_view(brain, progress, step.id) for step in progress.workflow.in_order),
        outputs=_outputs(progress),
    )


def _step_view(brain: Brain, progress: Progress, name: str) -> StepView:
    begun = progress.begun(name)
    tasks = begun.task_ids if begun is not None else ()
    stands = {one: progress.state_of(one).stand for one in tasks}
    return StepView(
        id=name,
        state=progress.states()[name],
        tasks=tasks,
        completed=sum(1 for stand in stands.values() if stand is Stand.COMPLETED),
        held=_what_holds(brain, [one for one, stand in stands.items() if stand is Stand.RUNNING]),
    )


def _what_holds(brain: Brain, tasks: list[str]) -> str:
    """Why none of these unended tasks is at work: what holds the first of them; empty where one is at work or may begin."""
    holds = {hold.name: hold.reason for hold in brain.journal.holds()} if tasks else {}
    reasons = [_hold(brain, one, holds) for one in tasks]
    return reasons[0] if reasons and all(reasons) else ""


def _hold(brain: Brain, task_id: str, holds: Mapping[str, str]) -> str:
    if os.path.lexists(os.path.join(brain.layout.pending, f"{task_id}.md")):
        return holds.get(f"{task_id}.md", "")
    return _parked(brain, task_id)


def _parked(brain: Brain, task_id: str) -> str:
    """What a task in active/ waits for that is not at work; empty where it is."""
    attempts = brain.journal.attempts_of(task_id)
    if not attempts or not (is_parked(attempts[-1]) or attempts[-1].decision is Decision.ASK):
        return ""
    return next(iter(attempts[-1].message.splitlines()), "") or "waits for you"


def _outputs(progress: Progress) -> dict[str, str]:
    try:
        return {name: "\n\n".join(one.text for one in found) for name, found in progress.final_outputs()}
    except Damaged:
        return {}


# going on, ending


def changes(brain: Brain, record: RunRecord) -> Changes | None:
    """How the run's file has changed since the run was begun; None where it has not, or is gone. UserError where it cannot be read."""
    path = find_definition(brain.layout, record.source) if record.source else None
    if path is None:
        return None
    reading, data = read_definition(path, agent_names(brain))
    if fingerprint(data) == record.sha256:
        return None
    if reading.workflow is None:
        lines = "\n".join(said(fault, record.source) for fault in reading.faults)
        raise UserError(f"{record.source} has changed since the run {record.run} began, and has faults now:\n{lines}")
    before = record.workflow()
    changed, following = changed_steps(before, reading.workflow)
    gone = tuple(step.id for step in before.steps if step.id not in reading.workflow.by_id)
    return Changes(path=path, changed=changed, following=following, gone=gone) if changed or gone else None


def resume(brain: Brain, record: RunRecord) -> Awaited:
    """Go on with a run by what it was begun with; what has completed is not done again. Refused where it has completed."""
    state, since = state_of(brain, record.run), time.time()
    if state == "completed":
        raise Refused(f"resuming {record.run}: it has completed. `brain workflow run` begins a new run.")
    if state == "failed":
        actions.retry(brain, record.run)
    else:
        since = _since(brain, record.run)
    attempts = brain.journal.attempts_of(record.run)
    sha256 = attempts[-1].sha256 if attempts else ""
    return Awaited(task_id=record.run, name=f"{record.run}.md", sha256=sha256, since=since)


def resume_changed(brain: Brain, record: RunRecord, found: Changes) -> Awaited:
    """Go on in a new run of the changed file, in the same chain: steps that are unchanged keep what they have done."""
    reading, data = read_definition(found.path, agent_names(brain))
    if reading.workflow is None:
        raise UserError(f"resuming {record.run}: {record.source} has changed again, and has faults now.")
    wanted = {param.name for param in reading.workflow.wanted_params()}
    params = {name: value for name, value in record.params.items() if name in wanted}
    resolved = resolved_params(reading.workflow, params)
    if isinstance(resolved, list):
        raise UserError(f"resuming {record.run} with the changed file: " + "; ".join(resolved))
    if state_of(brain, record.run) in ("pending", "active"):
        cancel(brain, record, why="it goes on with a changed file")
    keeps = tuple(step.id for step in reading.workflow.steps if step.id not in found.redone)
    run = next_run(brain.layout, record.run)
    lineage = brain.journal.lineage(record.run)
    chain = (lineage.chain if lineage is not None else None) or record.run
    text = root_text(
        run,
        reading.workflow.name,
        data,
        record.source,
        params,
        {"chain": chain, "parent": record.run},
        (record.run, keeps),
    )
    return _drop(brain, run, text)


def cancel(brain: Brain, record: RunRecord, why: str = "cancelled by request") -> str:
    """End a run and all of its tasks that have not ended; a sentence on what was done. Refused where it has ended."""
    said_of_it = actions.cancel(brain, record.run, why)
    count = len(list(step_files(brain, record)))
    left = cancel_rest(brain, record, set())
    rest = f", with {count} of its tasks" if count else ""
    later = " (what still runs is ended by its daemon)" if left and list(step_files(brain, record)) else ""
    return f"{said_of_it}{rest}{later}"
