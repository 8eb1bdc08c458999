"""Agents that pull their work: which pending task an agent gets, and the claim itself.

An agent gets what the daemon would start and nothing the daemon would hold, except that the agent itself takes the place
of the interface: its name, and what it says it can do, are what the task's `interface`, `never` and `requires` are held
against. The folder is read without a lock; under the claims lock it is only looked whether that still holds, so many
claimers may look at once and no two get one task. The attempt is durable in the journal before the agent hears of it.

What agents hand in is service/handing_in.py, what becomes of their leases service/leases.py. Failures: a claim that the
journal cannot hold is given back.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.errors import UserError
from brain_daemon.model.ids import normal_name
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import Permissions, TaskSpec
from brain_daemon.policy.eligibility import WIDTH, listing, meant, offers
from brain_daemon.policy.readiness import DependencyFailed, Doubt, Wait, order_key, ready
from brain_daemon.service.attempts import claimed
from brain_daemon.service.brain import Brain
from brain_daemon.service.intake import Intake, PendingTask, original_of
from brain_daemon.store.journal import Hold
from brain_daemon.store.locks import claims
from brain_daemon.store.queue import Queue, Seen, look

RESERVED = frozenset({"daemon", "person", "workflow"})
"""Claimants of our own; no agent may be called so."""

_MOST_LEASES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who claims. `offers` are the capabilities it says it has; `types`, where given, the only types it wants."""

    name: str
    lease_seconds: float
    types: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A task an agent has now. What it puts into `workspace`/out is kept beside the result."""

    task: TaskSpec
    attempt: Attempt
    workspace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No task for this agent now, and what holds those that are pending."""

    reason: str
    held: tuple[Hold, ...] = ()


def claim(brain: Brain, agent: Agent) -> Claimed | Nothing:
    """Take the best task this agent may have: by priority, then age. Waits for files that are just being written."""
    if normal_name(agent.name) in RESERVED:
        raise UserError(
            f"claiming as {agent.name}: that name is taken by this program itself. Choose another with --as."
        )
    desk = _Desk(brain, agent)
    closed = desk.closed()
    if closed:
        return Nothing(reason=closed)
    deadline = time.monotonic() + 2 * brain.config.settle_seconds + 1
    for _ in desk.intake.scan():
        continue
    while True:
        held: list[Hold] = []
        claimed = desk.first(held)
        if claimed is not None:
            return claimed
        if desk.intake.next_due is None or time.monotonic() > deadline:
            return Nothing(reason=_why_nothing(held), held=tuple(held))
        time.sleep(max(0.0, desk.intake.next_due - time.monotonic()))
        for _ in desk.intake.settle():
            continue


def in_flight(brain: Brain) -> Mapping[str, tuple[str, ...]]:
    """The tasks being worked on, whoever does: casefolded id -> casefolded ids in its `conflicts_with`."""
    found: dict[str, tuple[str, ...]] = {}
    for task_id in Queue(brain.layout, brain.files, brain.config.task_bytes).active_ids():
        seen = look(brain.layout.active, f"{task_id}.md", brain.config.task_bytes)
        if isinstance(seen, Seen):
            found[task_id.casefold()] = _conflicts(f"{task_id}.md", seen.data or b"")
    for state in (AttemptState.CLAIMED, AttemptState.STARTING):
        for one in map(brain.journal.attempt, brain.journal.ids_in(state, _MOST_LEASES)):
            if one is not None and one.task_id.casefold() not in found:
                found[one.task_id.casefold()] = _conflicts(one.name, one.spec)
    return found


def _conflicts(name: str, data: bytes) -> tuple[str, ...]:
    task = parse_task(name, original_of(data)[0])
    return tuple(map(str.casefold, task.conflicts_with)) if isinstance(task, TaskSpec) else ()


def _why_nothing(held: list[Hold]) -> str:
    if not held:
        return "nothing to claim: pending/ is empty"
    return f"nothing to claim: {len(held)} pending, none of them for you now"


class _Desk:
    """One agent at one brain: the picture of pending/, and what the agent may have of it."""

    def __init__(self, brain: Brain, agent: Agent) -> None:
        self._brain = brain
        self._agent = agent
        self._registry = brain.registry()
        self._queue = Queue(brain.layout, brain.files, brain.config.task_bytes)
        self._table, _ = brain.routing_table()
        entry = self._registry.find(agent.name)
        self._spec = None if entry is None else entry.spec
        self._name = normal_name(agent.name) if self._spec is None else self._spec.name
        self._offers = {*map(normal_name, agent.offers), *(offers(self._spec) if self._spec else ())}
        self._types = {self._table.type_of(normal_name(kind)) for kind in agent.types}
        self._conflicts = in_flight(brain)
        self.intake = Intake(brain, brain.redactor(self._registry))
        self.intake.released = brain.journal.approvals()
        self.intake.active.update(dict.fromkeys(self._conflicts, "active"))

    def closed(self) -> str:
        """Why nobody, or not this agent, may start anything now; empty if it may."""
        config = self._brain.config
        if not config.enabled:
            return "nothing to claim: starts are switched off (`enabled = false`)"
        if self._brain.journal.get("paused") == "yes":
            return "nothing to claim: the brain is paused. `brain resume` lets tasks start again"
        if self._is_one_of(config.never):
            return f"nothing to claim: {self._name} stands under `never` in the settings of this brain"
        status = os.statvfs(self._brain.layout.root)
        if status.f_bavail * status.f_frsize < config.reserve_bytes:
            return f"nothing to claim: less than {config.reserve_bytes} bytes are free on the disk (setting reserve)"
        return ""

    def first(self, held: list[Hold]) -> Claimed | None:
        """The first task in the order of turns that this agent may have and gets; `held` is filled with the others before it."""
        pending = self.intake.tasks.values()
        for one in sorted(pending, key=_turn):
            reason, until = self._hold(one)
            if not reason:
                claimed = self._take(one)
                if claimed is not None:
                    return claimed
                continue
            held.append(Hold(task_id=one.id, name=one.name, reason=reason, until=until))
        for name, (_, reason) in self.intake.declined.items():
            held.append(Hold(task_id=name.removesuffix(".md"), name=name, reason=reason))
        return None

    def _hold(self, pending: PendingTask) -> tuple[str, float | None]:
        """Why this agent does not get the task, and until when (epoch seconds); empty if it may have it."""
        task = pending.task
        if task is None:
            return f"it is no readable task: `brain lint {pending.name}` says what to change", None
        barred = self._barred(pending, task) or self._unfit(task)
        if barred:
            return barred, None
        answer = ready(
            task,
            now=time.time(),
            statuses=self.intake.standing(),
            active_ids=self._conflicts.keys(),
            conflicts=self._conflicts,
            in_pool=self.intake.in_pool,
            circle=self.intake.circle,
        )
        match answer:
            case DependencyFailed(reason=reason) | Doubt(reason=reason):
                return reason, None
            case Wait(reason=reason, until=until):
                return reason, until
            case _:
                return "", None

    def _barred(self, pending: PendingTask, task: TaskSpec) -> str:
        """What keeps the task from everybody."""
        config = self._brain.config
        if pending.finding is not None:
            return f"it seems to contain a secret ({pending.finding}): take it out, or `brain release {pending.id}`"
        if pending.in_head and config.tasks_from_git == "hold" and task.sha256 not in self.intake.released:
            return f"it came with git and tasks_from_git is hold: `brain release {pending.id}` lets it start"
        if task.workflow is not None:
            return "it asks for the run of a workflow, which the daemon takes"
        if task.permissions is not None and WIDTH[task.permissions] > WIDTH[Permissions(config.permissions)]:
            return f"it asks for `permissions: {task.permissions}` and may have {config.permissions} here"
        return ""

    def _unfit(self, task: TaskSpec) -> str:
        """What keeps the task from this agent."""
        missing = [name for name in map(normal_name, task.requires) if name not in self._offers]
        if missing:
            return f"it requires {listing(missing)}: claim with --requires {','.join(missing)} if you can do that"
        if self._types and self._table.type_of(task.type) not in self._types:
            return f"it is of the type {task.type}"
        bound = meant(task.interface)
        if bound is not None and not self._is_one_of((bound,)):
            return f"it is bound to {bound}"
        if self._is_one_of(task.never):
            return f"it is never to be done by {self._name}"
        if (task.local_only or self._brain.config.local_only) and not (self._spec and self._spec.local):
            return f"it may only be done on this machine, and {self._name} is no interface marked `local: true`"
        return ""

    def _is_one_of(self, names: tuple[str, ...]) -> bool:
        return any(self._spec.answers_to(name) if self._spec else normal_name(name) == self._name for name in names)

    def _take(self, pending: PendingTask) -> Claimed | None:
        """Claim the file if it is still what was looked at; None if somebody was faster."""
        task = pending.task
        assert task is not None
        with claims(self._brain.layout):
            data = None if self._is_overtaken(pending, task) else self._queue.claim(pending.name, task.id)
            self.intake.forget(pending.name)
            if data is None:
                return None
            spec, _ = original_of(data)
            if hashlib.sha256(spec).hexdigest() != task.sha256:
                self._queue.give_back(task.id, pending.name)
                return None
            attempt = self._kept(pending, task, spec)
        workspace = self._brain.layout.workspace(attempt.attempt_id)
        self._brain.files.make_folder(os.path.join(workspace, "out"))
        return Claimed(task=task, attempt=attempt, workspace=workspace)

    def _is_overtaken(self, pending: PendingTask, task: TaskSpec) -> bool:
        """Whether what was true when the folder was read has changed: somebody has the id, ended it, or works against it."""
        key = task.id.casefold()
        record = self._brain.journal.ended_task(task.id)
        if (None if record is None else record.status) != self.intake.ended.get(key):
            return True
        if os.path.lexists(self._queue.active_path(task.id)):
            return True
        self._conflicts = in_flight(self._brain)
        return bool(self._hold(pending)[0])

    def _attempt(self, pending: PendingTask, task: TaskSpec, spec: bytes) -> Attempt:
        attempt = claimed(self._brain.journal, pending, task, spec, self._agent.name)
        return replace(
            attempt,
            lease_until=attempt.claimed_at + self._agent.lease_seconds,
            interface=self._name,
            tier=None if self._spec is None else self._spec.cost.tier.value,
            routing={"reason": f"claimed by {self._agent.name}"},
        )

    def _kept(self, pending: PendingTask, task: TaskSpec, spec: bytes) -> Attempt:
        """The attempt, durable; where that fails, for whatever reason, the agent has nothing and the file goes back."""
        try:
            attempt = self._attempt(pending, task, spec)
            self._brain.journal.add([attempt])
        except Exception:
            self._queue.give_back(task.id, pending.name)
            raise
        return attempt


def _turn(pending: PendingTask) -> tuple[int, float, str]:
    """Priority, then age by the file itself: this process has not seen the file before."""
    if pending.task is None:
        return (3, pending.signature.modified_at, pending.id)
    return order_key(pending.task, pending.signature.modified_at)
