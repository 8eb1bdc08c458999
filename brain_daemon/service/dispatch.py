"""Which pending tasks may start now, in which order, and why the others may not.

`queue` holds the tasks that only lack a slot, sorted by priority then age; `held` those that wait for a time, another
task, an interface or a person, each with the sentence for the board. An event that may free a held task puts it back
into the queue; whether it is free is judged by policy, never here.
"""

import bisect
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from brain_daemon.adapters.registry import Registry
from brain_daemon.adapters.tokens import count
from brain_daemon.model.routing_table import RoutingTable, Strategy
from brain_daemon.model.task import OnLimit, TaskSpec
from brain_daemon.policy.admission import Hold, Shut, Slots, Start, admit
from brain_daemon.policy.drawing import drawn
from brain_daemon.policy.learning import Learn
from brain_daemon.policy.readiness import DependencyFailed, Ready, Wait, order_key, ready
from brain_daemon.policy.resuming import going_on
from brain_daemon.policy.routing import Choice, Nobody, Ranked, route
from brain_daemon.service.config import Config
from brain_daemon.service.granting import routing_policy
from brain_daemon.service.intake import Intake, PendingTask
from brain_daemon.service.past import Past


@dataclass(frozen=True, slots=True)
class Held:
    """Why a pending task does not start; `until` is epoch seconds. `nobody` says that no interface can take it.

    `look_at` is when to look again where no time is promised.
    """

    reason: str
    until: float | None = None
    nobody: Nobody | None = None
    choice: Choice | None = None
    look_at: float | None = None

    @property
    def due(self) -> float | None:
        """Epoch seconds of the next look at it."""
        return min((at for at in (self.until, self.look_at) if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Go:
    """Start this task there."""

    pending: PendingTask
    task: TaskSpec
    choice: Choice
    start: Start


@dataclass(frozen=True, slots=True)
class Fail:
    """End this task without a start: its file is no task, or what it waits for has failed."""

    pending: PendingTask
    dependency: str | None = None


_Key = tuple[tuple[int, float, str], str]
_LOOK_AGAIN_SECONDS = 5.0


class Limits(Protocol):
    """What may keep an interface with a free slot from a task; service/gate.py is the daemon's."""

    def begin(self) -> None:
        """A look at the whole queue begins."""
        ...

    @property
    def caps(self) -> Mapping[str, int]:
        """Slots of the interfaces that bear fewer now than they declare."""
        ...

    def closed(self, task: TaskSpec, ranked: Ranked, choice: Choice, on_limit: OnLimit) -> Shut | None:
        """Why it does not take this task now."""
        ...

    def planned(self, task: TaskSpec, ranked: Ranked) -> None:
        """The task will start there."""
        ...


class NoLimits:
    """For whoever only wants to know the order and the choices."""

    caps: Mapping[str, int] = {}

    def begin(self) -> None:
        """Nothing to count."""

    def closed(self, task: TaskSpec, ranked: Ranked, choice: Choice, on_limit: OnLimit) -> Shut | None:
        """Nothing is ever shut."""
        return None

    def planned(self, task: TaskSpec, ranked: Ranked) -> None:
        """Nothing to count."""


class Dispatch:
    """The order of the pending tasks of one brain. Not for several threads."""

    def __init__(
        self, config: Config, intake: Intake, registry: Registry, limits: Limits, past: Past | None = None
    ) -> None:
        self._config = config
        self._intake = intake
        self._registry = registry
        self._limits = limits
        self._past = past
        self.table = RoutingTable()
        self.held: dict[str, Held] = {}
        self.pauses: dict[str, float] = {}
        self._queue: list[_Key] = []
        self._keys: dict[str, _Key] = {}
        self._faulty: dict[str, PendingTask] = {}
        self._routes: dict[tuple[object, ...], Choice | Nobody] = {}
        self._turn = 0
        self.conflicts: dict[str, tuple[str, ...]] = {}
        self.resuming: dict[str, str] = {}
        self.workflows: list[PendingTask] = []
        self.tried: dict[str, frozenset[str]] = {}

    def changed(self, name: str) -> None:
        """The picture of this file has changed: it is new, edited or gone."""
        self._drop(name)
        pending = self._intake.tasks.get(name)
        if pending is None:
            return
        if pending.task is None:
            if pending.finding is None:
                self._faulty[name] = pending
            else:
                self.held[name] = _seems_secret(pending, pending.finding)
            return
        key = (order_key(pending.task, pending.seen_at), name)
        self._keys[name] = key
        bisect.insort(self._queue, key)

    def interfaces_changed(self, table: RoutingTable) -> None:
        """Other interfaces or another table: every choice is made anew."""
        self.table = table
        self._routes.clear()
        self._requeue(list(self.held))

    def task_ended(self, task_id: str) -> None:
        """A task has left active/: whoever waits for it, or conflicts with it, is looked at again."""
        key = task_id.casefold()
        self.conflicts.pop(key, None)
        for name, held in list(self.held.items()):
            pending = self._intake.tasks.get(name)
            waits = (
                pending is not None and pending.task is not None and key in map(str.casefold, pending.task.waits_for)
            )
            if waits or (held.until is None and held.nobody is None and "conflicts with" in held.reason):
                self._requeue([name])

    def wake(self, name: str) -> None:
        """A person has decided on this file: look at it again."""
        self._requeue([name])

    def due(self, now: float) -> None:
        """Put back what was held until a time that has come."""
        self._requeue([name for name, held in self.held.items() if held.due is not None and held.due <= now])

    @property
    def next_due(self) -> float | None:
        """Epoch seconds of the next such time."""
        return min((held.due for held in self.held.values() if held.due is not None), default=None)

    def room_changed(self) -> None:
        """An interface may have room that it had not: look again at those that wait for no time and no answer."""
        self._requeue([name for name, held in self.held.items() if held.look_at is not None])

    def __len__(self) -> int:
        return len(self._queue) + len(self._faulty)

    def upcoming(self) -> Iterator[PendingTask]:
        """The queue in its order."""
        return (self._intake.tasks[name] for _, name in list(self._queue) if name in self._intake.tasks)

    def pick(self, free: int, running: Mapping[str, int]) -> list[Go | Fail]:
        """What to do now: everything that needs no slot, and starts for at most `free` tasks."""
        self._catch_up()
        picks: list[Go | Fail] = [Fail(pending) for pending in self._faulty.values()]
        self._faulty.clear()
        if free <= 0 and not self._queue:
            return picks
        counts = dict(running)
        self._limits.begin()
        statuses = self._intake.statuses()
        full: set[int] = set()
        index = 0
        while index < len(self._queue) and free > 0:
            _, name = self._queue[index]
            pending = self._intake.tasks[name]
            answer = self._judge(pending, free, counts, statuses, full)
            if answer is None:
                index += 1
                continue
            del self._queue[index], self._keys[name]
            if isinstance(answer, Held):
                self.held[name] = answer
                continue
            picks.append(answer)
            if isinstance(answer, Go):
                free -= 1
                self._limits.planned(answer.task, answer.start.ranked)
                self.resuming.pop(pending.id.casefold(), None)
                self.tried.pop(pending.id.casefold(), None)
                counts[answer.start.name] = counts.get(answer.start.name, 0) + 1
                self.conflicts[answer.task.id.casefold()] = tuple(map(str.casefold, answer.task.conflicts_with))
                statuses = self._intake.statuses() if answer.task.conflicts_with else statuses
        return picks

    def _judge(
        self,
        pending: PendingTask,
        free: int,
        running: Mapping[str, int],
        statuses: Mapping[str, str],
        full: set[int],
    ) -> Go | Fail | Held | None:
        """What becomes of one queued task; None leaves it in the queue for lack of a slot."""
        task = pending.task
        assert task is not None
        now = time.time()
        barred = self._barred(pending, now)
        if barred is not None:
            return barred
        match ready(task, now=now, statuses=statuses, active_ids=self.conflicts.keys(), conflicts=self.conflicts):
            case DependencyFailed(reason=reason):
                return Fail(pending, dependency=reason)
            case Wait(reason=reason, until=until):
                return Held(reason, until)
            case Ready():
                pass
        if task.workflow is not None:
            self.workflows.append(pending)
            return Held("a workflow, which begins with the next look")
        choice = self.route(task)
        if isinstance(choice, Nobody):
            return Held(choice.reason, nobody=choice)
        return self._admitted(
            pending, task, choice, Slots(total_free=free, running=running, caps=self._limits.caps), full
        )

    def _admitted(
        self, pending: PendingTask, task: TaskSpec, choice: Choice, slots: Slots, full: set[int]
    ) -> Go | Held | None:
        """Where a task was at work it goes on there, unless a person lets it go elsewhere meanwhile."""
        choice = _without(choice, self.tried.get(pending.id.casefold(), frozenset()))
        resuming = self.resuming.get(pending.id.casefold())
        here = going_on(choice, resuming)
        if id(here) in full:
            return None
        turn = going_on(self.drawn(choice, task), resuming)
        answer = self._admit(task, turn, slots)
        if isinstance(answer, Hold) and here is not choice and answer.dearer:
            turn = self.drawn(choice, task)
            answer = self._admit(task, turn, slots)
        if isinstance(answer, Start):
            if self._awaits_check(turn, answer):
                return None
            return Go(pending, task, turn, answer)
        return self._no_room(answer, here, full)

    def _admit(self, task: TaskSpec, choice: Choice, slots: Slots) -> Start | Hold:
        on_limit = task.on_limit or OnLimit(self._config.on_limit)
        return admit(
            choice,
            slots=slots,
            now=time.time(),
            on_limit=on_limit,
            closed=lambda ranked: self._limits.closed(task, ranked, choice, on_limit),
        )

    @staticmethod
    def _no_room(hold: Hold, choice: Choice, full: set[int]) -> Held | None:
        if hold.until is not None or hold.shut:
            look_at = time.time() + _LOOK_AGAIN_SECONDS if hold.until is None else None
            return Held(hold.reason, hold.until, choice=choice, look_at=look_at)
        full.add(id(choice))
        return None

    def _awaits_check(self, choice: Choice, start: Start) -> bool:
        """Whether an interface that goes before the one with room, or that very one, is still being looked at."""
        for one in choice.ranked:
            entry = self._registry.entries.get(one.name)
            if entry is not None and entry.is_unchecked:
                return True
            if one.name == start.name:
                return False
        return False

    def _barred(self, pending: PendingTask, now: float) -> Held | None:
        """What keeps a task from being considered at all."""
        if pending.finding is not None:
            return _seems_secret(pending, pending.finding)
        if pending.in_head and self._config.tasks_from_git == "hold" and not self._is_released(pending):
            return Held(f"it came with git and tasks_from_git is hold: `brain release {pending.id}` lets it run")
        until = self.pauses.get(pending.id.casefold())
        if until is not None and until > now:
            return Held("waits before its next attempt", until)
        if pending.task is not None and pending.task.workspace == "brain":
            return Held(
                "`workspace: brain` (a git worktree) is not in this release; use scratch or the path of a folder"
            )
        return None

    def _is_released(self, pending: PendingTask) -> bool:
        return pending.task is not None and pending.task.sha256 in self._intake.released

    def route(self, task: TaskSpec) -> Choice | Nobody:
        """policy/routing.py on the interfaces of now; equal questions are asked once until something changes."""
        tokens = self._tokens(task)
        key = (
            task.type,
            task.requires,
            task.interface,
            task.preferred_interface,
            task.model,
            task.permissions,
            task.local_only,
            task.never,
            tokens,
        )
        found = self._routes.get(key)
        if found is None or self.table.strategy in (Strategy.ROUND_ROBIN, Strategy.LEAST_LOADED):
            self._turn += 1
            candidates = self._registry.candidates({})
            found = route(
                task,
                candidates,
                self.table,
                prompt_tokens=tokens,
                policy=routing_policy(self._config),
                turn=self._turn,
                lessons={} if self._past is None else self._past.lessons(candidates, task, self.table),
                learn=Learn(self._config.learn),
            )
            self._routes[key] = found
        return found

    def drawn(self, choice: Choice, task: TaskSpec) -> Choice:
        """What `route` left open, ordered for this very task."""
        return choice if self._past is None else drawn(choice, task.id, self._past.prefers(task))

    def _catch_up(self) -> None:
        """Choices are made anew when history is another one."""
        if self._past is not None and self._past.look(self.table):
            self._routes.clear()

    def _tokens(self, task: TaskSpec) -> int | None:
        """The prompt's tokens where some interface could refuse them; a token is at least one byte."""
        limits = [entry.spec.limits.tokens_per_request for entry in self._registry.entries.values()]
        least = min((limit for limit in limits if limit is not None), default=None)
        if least is None or task.size_bytes <= least:
            return None
        return count(task.text).tokens

    def _requeue(self, names: list[str]) -> None:
        for name in names:
            if self.held.pop(name, None) is not None:
                self.changed(name)

    def _drop(self, name: str) -> None:
        self.held.pop(name, None)
        self._faulty.pop(name, None)
        key = self._keys.pop(name, None)
        if key is not None:
            index = bisect.bisect_left(self._queue, key)
            if index < len(self._queue) and self._queue[index] == key:
                del self._queue[index]


def _without(choice: Choice, tried: frozenset[str]) -> Choice:
    """The choice without the interfaces that have failed at this task, as long as others remain."""
    left = tuple(one for one in choice.ranked if one.name not in tried)
    return replace(choice, ranked=left) if tried and left else choice


def _seems_secret(pending: PendingTask, finding: str) -> Held:
    return Held(
        f"it seems to contain a secret ({finding}), and its text would be committed: "
        f"take it out, or `brain release {pending.id}`"
    )
