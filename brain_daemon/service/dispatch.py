"""Which pending tasks may start now, in which order, and why the others may not.

`queue` holds the tasks that only lack a slot, sorted by priority then age; `held` those that wait for a time, another
task, an interface or a person, each with the sentence for the board. An event that may free a held task puts it back
into the queue; whether it is free is judged by policy, never here.
"""

import bisect
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from brain_daemon.adapters.registry import Registry
from brain_daemon.adapters.tokens import count
from brain_daemon.model.ids import normal_name
from brain_daemon.model.routing_table import RoutingTable, Strategy
from brain_daemon.model.task import OnLimit, Permissions, TaskSpec
from brain_daemon.policy.admission import Hold, Slots, Start, admit
from brain_daemon.policy.readiness import DependencyFailed, Ready, Wait, order_key, ready
from brain_daemon.policy.resuming import going_on
from brain_daemon.policy.routing import Choice, Nobody, RoutingPolicy, route
from brain_daemon.service.config import Config
from brain_daemon.service.intake import Intake, PendingTask
from brain_daemon.service.meter import Meter


@dataclass(frozen=True, slots=True)
class Held:
    """Why a pending task does not start; `until` is epoch seconds. `nobody` says that no interface can take it."""

    reason: str
    until: float | None = None
    nobody: Nobody | None = None
    choice: Choice | None = None


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


class Dispatch:
    """The order of the pending tasks of one brain. Not for several threads."""

    def __init__(self, config: Config, intake: Intake, registry: Registry, meter: Meter) -> None:
        self._config = config
        self._intake = intake
        self._registry = registry
        self._meter = meter
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
        self._requeue([name for name, held in self.held.items() if held.until is not None and held.until <= now])

    @property
    def next_due(self) -> float | None:
        """Epoch seconds of the next such time."""
        return min((held.until for held in self.held.values() if held.until is not None), default=None)

    def __len__(self) -> int:
        return len(self._queue) + len(self._faulty)

    def upcoming(self) -> Iterator[PendingTask]:
        """The queue in its order."""
        return (self._intake.tasks[name] for _, name in list(self._queue) if name in self._intake.tasks)

    def pick(self, free: int, running: Mapping[str, int]) -> list[Go | Fail]:
        """What to do now: everything that needs no slot, and starts for at most `free` tasks."""
        picks: list[Go | Fail] = [Fail(pending) for pending in self._faulty.values()]
        self._faulty.clear()
        if free <= 0 and not self._queue:
            return picks
        counts = dict(running)
        used = self._meter.used(entry.spec for entry in self._registry.entries.values())
        statuses = self._intake.statuses()
        full: set[int] = set()
        index = 0
        while index < len(self._queue) and free > 0:
            _, name = self._queue[index]
            pending = self._intake.tasks[name]
            answer = self._judge(pending, free, counts, used, statuses, full)
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
                self.resuming.pop(pending.id.casefold(), None)
                counts[answer.start.name] = counts.get(answer.start.name, 0) + 1
                self.conflicts[answer.task.id.casefold()] = tuple(map(str.casefold, answer.task.conflicts_with))
                statuses = self._intake.statuses() if answer.task.conflicts_with else statuses
        return picks

    def _judge(
        self,
        pending: PendingTask,
        free: int,
        running: Mapping[str, int],
        used: Mapping[str, object],
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
        choice = self.route(task)
        if isinstance(choice, Nobody):
            return Held(choice.reason, nobody=choice)
        choice = going_on(choice, self.resuming.get(pending.id.casefold()))
        if id(choice) in full:
            return None
        answer = admit(
            choice,
            slots=Slots(total_free=free, running=running),
            now=now,
            used=used,  # type: ignore[arg-type]
            on_limit=task.on_limit or OnLimit(self._config.on_limit),
        )
        if isinstance(answer, Start):
            if self._awaits_check(choice, answer):
                return None
            return Go(pending, task, choice, answer)
        return self._no_room(answer, choice, full)

    @staticmethod
    def _no_room(hold: Hold, choice: Choice, full: set[int]) -> Held | None:
        if hold.until is not None:
            return Held(hold.reason, hold.until, choice=choice)
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
            found = route(
                task,
                self._registry.candidates({}),
                self.table,
                prompt_tokens=tokens,
                policy=RoutingPolicy(
                    local_only=self._config.local_only,
                    never=self._config.never,
                    granted=Permissions(self._config.permissions),
                    full_for=frozenset(map(normal_name, self._config.full_permissions)),
                ),
                turn=self._turn,
            )
            self._routes[key] = found
        return found

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


def _seems_secret(pending: PendingTask, finding: str) -> Held:
    return Held(
        f"it seems to contain a secret ({finding}), and its text would be committed: "
        f"take it out, or `brain release {pending.id}`"
    )
