"""Which pending tasks may start now, in which order, and why the others may not.

`queue` holds the tasks that only lack a slot, sorted by priority then age; `held` those that wait for a time, another
task, an interface or a person, each with the sentence for the board. An event that may free a held task puts it back
into the queue; whether it is free is judged by policy, never here.
"""

import bisect
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from brain_daemon.adapters.registry import Registry
from brain_daemon.adapters.tools import is_quick_tool
from brain_daemon.model.outcome import Reason
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import OnLimit, Priority, TaskSpec
from brain_daemon.policy.admission import Hold, Slots, Start, admit, within_reach
from brain_daemon.policy.readiness import DependencyFailed, Doubt, Ready, Wait, order_key
from brain_daemon.policy.resuming import going_on
from brain_daemon.policy.routing import Choice, Nobody
from brain_daemon.service.choices import Choices
from brain_daemon.service.config import Config
from brain_daemon.service.doubts import Doubts, why_ended
from brain_daemon.service.intake import Intake, PendingTask
from brain_daemon.service.limits import Limits
from brain_daemon.service.past import Past
from brain_daemon.service.slot_waiters import SlotWaiters


@dataclass(frozen=True, slots=True)
class Held:
    """Why a pending task does not start; `until` is epoch seconds. `nobody` says that no interface can take it.

    `look_at` is when to look again where no time is promised. `full` are the interfaces that a slot alone would open.
    """

    reason: str
    until: float | None = None
    nobody: Nobody | None = None
    choice: Choice | None = None
    look_at: float | None = None
    full: tuple[str, ...] = ()

    @property
    def due(self) -> float | None:
        """Epoch seconds of the next look at it."""
        return min((at for at in (self.until, self.look_at) if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Go:
    """Start this task there. It could have started from `since` on (epoch seconds): what has passed by then is no waiting of its own.

    A `quick` one takes none of the slots: it has its turn at once and is over.
    """

    pending: PendingTask
    task: TaskSpec
    choice: Choice
    start: Start
    since: float = 0.0
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """End this task without a start: its file is no task, or what it waits for has failed, is missing, or is the task itself."""

    pending: PendingTask
    dependency: str | None = None
    reason: Reason = Reason.DEPENDENCY_FAILED


_Key = tuple[tuple[int, float, str], str]
_LOOK_AGAIN_SECONDS = 5.0
_MEDIUM, _LOW = 1, 2
_LOOKED_AT = 200
"""How many of a rank are looked at when a window is about to lapse: a long queue must not make each look long."""


class Dispatch:
    """The order of the pending tasks of one brain. Not for several threads."""

    def __init__(
        self, config: Config, intake: Intake, registry: Registry, limits: Limits, past: Past | None = None
    ) -> None:
        self._config = config
        self._intake = intake
        self._registry = registry
        self._limits = limits
        self.choices = Choices(config, registry, past)
        self.doubts = Doubts(intake)
        self.held: dict[str, Held] = {}
        self.pauses: dict[str, float] = {}
        self._queue: list[_Key] = []
        self._keys: dict[str, _Key] = {}
        self._faulty: dict[str, PendingTask] = {}
        self._quick: dict[str, bool] = {}
        self.conflicts: dict[str, tuple[str, ...]] = {}
        self.resuming: dict[str, str] = {}
        self.workflows: list[PendingTask] = []
        self.tried: dict[str, frozenset[str]] = {}
        self._for_slots = SlotWaiters()
        self._passed: set[str] = set()
        self._full_at = 0.0

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
        self.choices.made_anew(table)
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

    def slots_freed(self, running: Callable[[], Mapping[str, int]]) -> None:
        """Look again at those that an interface with fewer attempts `running` than before may have room for. Cheap where nobody waits so."""
        if self._for_slots:
            self._requeue(self._for_slots.freed(running()))

    def __len__(self) -> int:
        return len(self._queue) + len(self._faulty)

    def upcoming(self) -> Iterator[PendingTask]:
        """The queue in its order."""
        return (self._intake.tasks[name] for _, name in list(self._queue) if name in self._intake.tasks)

    def pick(self, free: int, running: Mapping[str, int], quick: int = 0) -> list[Go | Fail]:
        """What to do now: everything that needs no slot, starts for at most `free` tasks, and for `quick` more whose tool is quick."""
        self.choices.catch_up()
        picks: list[Go | Fail] = [Fail(pending) for pending in self._faulty.values()]
        self._faulty.clear()
        if free <= 0 and not self._queue:
            return picks
        counts = dict(running)
        now = time.time()
        self._limits.begin()
        statuses = self._intake.standing()
        full: dict[int, Choice] = {}
        for name, early in self._turns(free):
            if free <= 0:
                self._full_at = now
                break
            key, pending = self._keys.get(name), self._intake.tasks.get(name)
            if key is None or pending is None:
                # Somebody has taken it meanwhile: a workflow's run begins between two looks.
                self._drop(name)
                continue
            answer = self._judge(pending, free, counts, statuses, full)
            if answer is None or (early and not self._ripens(answer)):
                self._passed.add(name)
                continue
            since = self._since(name, now)
            self._drop(name)
            if isinstance(answer, Held):
                self._hold(name, key, answer, counts)
                continue
            answer = self._said_if_drawn(answer, early=early)
            if isinstance(answer, Go):
                is_quick = quick > 0 and self._is_quick(answer.start.name)
                free, quick = (free, quick - 1) if is_quick else (free - 1, quick)
                answer = replace(answer, since=since, quick=is_quick)
                self._plan(answer, counts)
                statuses = self._intake.standing() if answer.task.conflicts_with else statuses
            picks.append(answer)
        return picks

    def _is_quick(self, name: str) -> bool:
        entry = self._registry.entries.get(name)
        if entry is None:
            return False
        if entry.spec.sha256 not in self._quick:
            self._quick[entry.spec.sha256] = is_quick_tool(entry.spec)
        return self._quick[entry.spec.sha256]

    def _since(self, name: str, now: float) -> float:
        """From when on this task, which may start now, could have started: since it was seen, unless it has waited for something."""
        seen_at = self._intake.tasks[name].seen_at
        return now if name in self._passed or seen_at <= self._full_at else seen_at

    def _hold(self, name: str, key: _Key, held: Held, running: Mapping[str, int]) -> None:
        self.held[name] = held
        self._passed.add(name)
        if held.full:
            self._for_slots.add(name, key, held.full, running)

    def _plan(self, go: Go, counts: dict[str, int]) -> None:
        """It is about to run."""
        self._limits.planned(go.task, go.start.ranked)
        self.resuming.pop(go.pending.id.casefold(), None)
        self.tried.pop(go.pending.id.casefold(), None)
        counts[go.start.name] = counts.get(go.start.name, 0) + 1
        self.conflicts[go.task.id.casefold()] = tuple(map(str.casefold, go.task.conflicts_with))

    def _turns(self, free: int) -> Iterator[tuple[str, bool]]:
        """The queue in its order; where a window is about to lapse, first a look at the low-priority tasks that could use it up.

        They go behind high priority, and behind what would use the same window anyway; if they find no room there, they have their
        turn like any other.
        """
        queue = list(self._queue)
        in_order = ((name, False) for _, name in queue)
        if len(queue) <= free or self.choices.take_turns:
            return in_order
        medium = bisect.bisect_left(queue, _MEDIUM, key=_turn_of)
        low = bisect.bisect_left(queue, _LOW, key=_turn_of)
        if medium == low or low == len(queue) or not (ripe := self._limits.ripe):
            return in_order
        same = [name for _, name in queue[medium:low][:_LOOKED_AT] if self._first_choice(name) in ripe]
        drawn_on = [name for _, name in queue[low : low + _LOOKED_AT] if self._first_choice(name) is not None]
        return chain(
            ((name, False) for _, name in queue[:medium]),
            ((name, False) for name in same),
            ((name, True) for name in drawn_on),
            ((name, False) for _, name in queue[medium:]),
        )

    def _first_choice(self, name: str) -> str | None:
        """Where a queued task would go first; None where nowhere, or where it is a workflow."""
        task = self._intake.tasks[name].task
        choice = None if task is None or task.workflow is not None else self.choices.route(task)
        return choice.ranked[0].name if isinstance(choice, Choice) else None

    def _ripens(self, answer: Go | Fail | Held) -> bool:
        return isinstance(answer, Go) and answer.start.name in self._limits.ripe

    def _said_if_drawn(self, pick: Go | Fail, *, early: bool) -> Go | Fail:
        """A task that is drawn forward says so in the reason for where it runs."""
        if isinstance(pick, Fail) or pick.task.priority is not Priority.LOW:
            return pick
        why = self._limits.drawn(pick.task, pick.start.ranked, early=early)
        reason = f"{pick.start.reason}; {why}" if why else pick.start.reason
        return replace(pick, start=replace(pick.start, reason=reason))

    def _judge(
        self,
        pending: PendingTask,
        free: int,
        running: Mapping[str, int],
        statuses: Mapping[str, str],
        full: dict[int, Choice],
    ) -> Go | Fail | Held | None:
        """What becomes of one queued task; None leaves it in the queue for lack of a slot."""
        assert pending.task is not None
        task = self._limits.released(pending.task)
        now = time.time()
        barred = self._barred(pending, now)
        if barred is not None:
            return barred
        standing = self.doubts.ready(task, now, statuses, self.conflicts)
        if isinstance(standing, Doubt):
            return self._doubted(pending, task, standing, now)
        self.doubts.resolved(pending.name)
        match standing:
            case DependencyFailed(reason=reason):
                return Fail(pending, dependency=reason)
            case Wait(reason=reason, until=until):
                return Held(reason, until)
            case Ready():
                pass
        if task.workflow is not None:
            self.workflows.append(pending)
            return Held("a workflow, which begins with the next look")
        choice = self.choices.route(task)
        if isinstance(choice, Nobody):
            return Held(choice.reason, nobody=choice)
        caps = self._limits.caps(one.name for one in choice.ranked)
        return self._admitted(pending, task, choice, Slots(total_free=free, running=running, caps=caps), full)

    def _doubted(self, pending: PendingTask, task: TaskSpec, doubt: Doubt, now: float) -> Fail | Held:
        """A task that can never run is held while another file may still help it, and so are those in a circle with it."""
        until = self.doubts.until(pending, doubt, now)
        if until <= now:
            return Fail(pending, dependency=doubt.reason, reason=why_ended(doubt))
        for name, told in self.doubts.spread(task, now) if doubt.missing is None else ():
            if name in self.held:
                self.held[name] = _in_doubt(told, until)
        return _in_doubt(doubt, until)

    def _admitted(
        self, pending: PendingTask, task: TaskSpec, choice: Choice, slots: Slots, full: dict[int, Choice]
    ) -> Go | Held | None:
        """Where a task was at work it goes on there, unless a person lets it go elsewhere meanwhile."""
        on_limit = task.on_limit or OnLimit(self._config.on_limit)
        choice = _without(choice, self.tried.get(pending.id.casefold(), frozenset()), on_limit)
        resuming = self.resuming.get(pending.id.casefold())
        here = going_on(choice, resuming)
        if id(here) in full:
            return None
        turn = going_on(self.choices.drawn(choice, task), resuming)
        answer = self._admit(task, turn, slots)
        if isinstance(answer, Hold) and here is not choice and (answer.dearer or task.on_limit is OnLimit.FALLBACK):
            turn = self.choices.drawn(choice, task)
            answer = self._admit(task, turn, slots)
        if isinstance(answer, Start):
            if self._awaits_check(turn, answer):
                return None
            return Go(pending, task, self.choices.there(turn), answer)
        return self._no_room(answer, here, full)

    def _admit(self, task: TaskSpec, choice: Choice, slots: Slots) -> Start | Hold:
        on_limit = task.on_limit or OnLimit(self._config.on_limit)
        return admit(
            choice,
            slots=slots,
            now=time.time(),
            on_limit=on_limit,
            closed=lambda ranked: self.choices.away(ranked) or self._limits.closed(task, ranked, choice, on_limit),
        )

    @staticmethod
    def _no_room(hold: Hold, choice: Choice, full: dict[int, Choice]) -> Held | None:
        if hold.until is not None or hold.shut:
            look_at = time.time() + _LOOK_AGAIN_SECONDS if hold.until is None else None
            return Held(hold.reason, hold.until, choice=choice, look_at=look_at, full=hold.full)
        full[id(choice)] = choice  # kept, so that no other is given its id
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
        if pending.in_head and self._intake.is_rebasing:
            why = "it is in git, and a rebase is in progress that could not go on without it: it starts when that has ended"
            return Held(why, now + _LOOK_AGAIN_SECONDS)
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

    def _requeue(self, names: list[str]) -> None:
        for name in names:
            if self.held.pop(name, None) is not None:
                self.changed(name)
                self._passed.add(name)

    def _drop(self, name: str) -> None:
        self.held.pop(name, None)
        self._for_slots.discard(name)
        self._passed.discard(name)
        self._faulty.pop(name, None)
        key = self._keys.pop(name, None)
        if key is not None:
            index = bisect.bisect_left(self._queue, key)
            if index < len(self._queue) and self._queue[index] == key:
                del self._queue[index]


def _turn_of(key: _Key) -> int:
    return key[0][0]


def _without(choice: Choice, tried: frozenset[str], on_limit: OnLimit) -> Choice:
    """The choice behind those that have failed at this task, as long as others remain in its reach: a failure of what costs nothing
    must not make a paid interface the first choice."""
    reach = tuple(within_reach(choice, on_limit=on_limit, tried=tried)) if tried else ()
    if not reach:
        return choice
    rest = (one for one in choice.ranked if one not in reach and one.name not in tried)
    return replace(choice, ranked=(*reach, *rest))


def _in_doubt(doubt: Doubt, until: float) -> Held:
    return Held(f"{doubt.reason}; unless that changes, it fails", until)


def _seems_secret(pending: PendingTask, finding: str) -> Held:
    return Held(
        f"it seems to contain a secret ({finding}), and its text would be committed: "
        f"take it out, or `brain release {pending.id}`"
    )
