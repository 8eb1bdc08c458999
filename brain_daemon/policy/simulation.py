"""A queue worked through with a virtual clock, by the policies the daemon itself uses: what would it cost, and who waits how long?

Routing, admission, retry and learning are the daemon's own functions; what is made up here is the world: when tasks arrive, how long
an attempt takes and whether it goes well. Each of these follows from the seed and the ids, so a simulation can be repeated, and
contenders meet the same tasks with the same luck.

Tasks that ask the same question stand in one line, first come first served, and admission looks at the head of a line only; what
holds a head holds the line. Limits are as declared, the rules near their end are those of policy/simulated_limits.py, and no interface
is ever out. Nothing fails; a task nobody can do counts as `refused`, one that never found room as `waiting`.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import assert_never

from brain_daemon.model.outcome import Ended, Failed, FailureKind, Usage
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import OnLimit, Priority, TaskSpec
from brain_daemon.policy import chance
from brain_daemon.policy.admission import Closed, Hold, Slots, admit, nothing_shut, within_reach
from brain_daemon.policy.contending import Experience, Routes
from brain_daemon.policy.pricing import price
from brain_daemon.policy.retry import Again, after
from brain_daemon.policy.routing import Choice, Nobody
from brain_daemon.policy.scenario import CONTENDERS, LADDER, Arrival, Contender, Figures, InterfaceUse, World
from brain_daemon.policy.simulated_limits import Rules, SimulatedLimits
from brain_daemon.policy.virtual_quota import VirtualMeter, VirtualMeters, metered

_URGENCY = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}
_ATTEMPTS = 2
_FRUITLESS = 1_000
"""How often resets may pass, with nothing running and nothing to come, before what still waits is taken to wait for ever."""


def simulate(
    arrivals: Iterable[Arrival],
    worlds: Sequence[World],
    table: RoutingTable,
    contender: Contender = LADDER,
    *,
    slots: int = 8,
    seed: int = 1,
    until_seconds: float = math.inf,
    rules: Rules | None = None,
) -> Figures:
    """Work through the arrivals. `slots` is the whole brain's number of attempts at once; nothing starts from `until_seconds` on.

    `rules` None: every quota is used to its end, and nobody is asked.
    """
    return _Simulation(worlds, table, contender, slots, seed, rules).run(arrivals, until_seconds)


def compare(
    arrivals: Sequence[Arrival],
    worlds: Sequence[World],
    table: RoutingTable,
    contenders: Iterable[Contender] = CONTENDERS,
    *,
    slots: int = 8,
    seed: int = 1,
    until_seconds: float = math.inf,
    rules: Rules | None = None,
) -> tuple[Figures, ...]:
    """The same arrivals for each contender, side by side."""
    return tuple(
        simulate(arrivals, worlds, table, one, slots=slots, seed=seed, until_seconds=until_seconds, rules=rules)
        for one in contenders
    )


_Question = tuple[object, ...]


@dataclass(slots=True)
class _Running:
    """One task under way; `tried` are the interfaces that have failed it, `drawn` its own order of the choice `asked`."""

    arrival: Arrival
    attempts: int = 0
    tried: tuple[str, ...] = ()
    only: Choice | None = None
    asked: Choice | None = None
    drawn: Choice | None = None


@dataclass(slots=True)
class _End:
    """An attempt that ends."""

    running: _Running
    line: "_Line"
    choice: Choice
    name: str
    seconds: float


@dataclass(slots=True)
class _Line:
    """The tasks of one question in the order they came; `only` is the choice of those that have failed elsewhere."""

    task: TaskSpec
    prompt_tokens: int | None
    urgency: int
    key: _Question
    waiting: deque[_Running] = field(default_factory=deque)
    reach: frozenset[str] = frozenset()
    only: Choice | None = None
    open: bool = False
    wakes_at: float = 0.0

    @property
    def order(self) -> tuple[int, float, str]:
        """The place of this line among the others: that of its head."""
        head = self.waiting[0].arrival
        return (self.urgency, head.at_seconds, head.id)


_Event = _Line | _Running | _End


class _Simulation:
    """One contender's run: the virtual clock, the lines, and who is busy."""

    def __init__(
        self,
        worlds: Sequence[World],
        table: RoutingTable,
        contender: Contender,
        slots: int,
        seed: int,
        rules: Rules | None,
    ) -> None:
        self.worlds = {one.spec.name: one for one in worlds}
        self.contender = contender
        self.seen = Experience(self.worlds)
        self.furthest = OnLimit.FALLBACK if rules is not None and rules.may_pay else contender.on_limit
        self.routes = Routes(worlds, table, contender, self.seen, self.furthest)
        self.seed = seed
        self.free = slots
        self.running: dict[str, int] = dict.fromkeys(self.worlds, 0)
        self.meters = {
            name: VirtualMeter(one.spec.limits) for name, one in self.worlds.items() if metered(one.spec.limits)
        }
        self.used = VirtualMeters(self.meters)
        self.limits = None if rules is None else _limits(rules, worlds, self.meters)
        self.sharing = _sharing(worlds)
        self.lines: dict[_Question, _Line] = {}
        self.ready: list[tuple[tuple[int, float, str], int, _Line]] = []
        self.blocked: dict[str, set[_Question]] = {name: set() for name in self.worlds}
        self.events: list[tuple[float, int, _Event]] = []
        self.first = self.last = 0.0
        self.ticket = count()
        self.waits: list[float] = []
        self.ended = {"completed": 0, "failed": 0, "refused": 0}
        self.least_tokens = min(
            (one.spec.limits.tokens_per_request for one in worlds if one.spec.limits.tokens_per_request is not None),
            default=None,
        )

    def run(self, arrivals: Iterable[Arrival], until: float) -> Figures:
        queue = deque(sorted(arrivals, key=lambda one: one.at_seconds))
        tasks = len(queue)
        self.first = self.last = queue[0].at_seconds if queue else 0.0
        idle = 0
        while (queue or self.events) and idle < _FRUITLESS:
            now = min(queue[0].at_seconds if queue else math.inf, self.events[0][0] if self.events else math.inf)
            while queue and queue[0].at_seconds <= now:
                self.join(_Running(queue.popleft()))
            while self.events and self.events[0][0] <= now:
                self.happens(now, heapq.heappop(self.events)[2])
            started = now < until and self.start_all(now)
            idle = idle + 1 if not (queue or started or any(self.running.values())) else 0
        return self.figures(tasks)

    def happens(self, now: float, event: "_Event") -> None:
        """A line may try again, a task comes back, or an attempt ends."""
        match event:
            case _Line():
                self.wake(event)
            case _Running():
                self.join(event)
            case _End():
                self.end(now, event)
                self.last = now
            case never:
                assert_never(never)

    def at(self, when: float, event: "_Event") -> None:
        heapq.heappush(self.events, (when, next(self.ticket), event))

    def join(self, running: _Running) -> None:
        """A task stands in the line of its question."""
        line = self.line_of(running)
        if not line.waiting or running.attempts:
            # Whoever comes back stands where its arrival puts it: before those who came later.
            line.waiting.appendleft(running)
            self.wake(line)
            return
        line.waiting.append(running)

    def line_of(self, running: _Running) -> _Line:
        task = running.arrival
        long = self.least_tokens is not None and task.input_tokens > self.least_tokens
        tokens = task.input_tokens if long else None
        tried = running.tried if running.only else ()
        key = (task.type, task.requires, task.interface, task.preferred_interface, task.priority, tokens, tried)
        line = self.lines.get(key)
        if line is None:
            spec = _spec(task, self.contender)
            line = _Line(spec, tokens, _URGENCY[task.priority], key, only=running.only)
            self.lines[key] = line
        return line

    def wake(self, line: _Line) -> None:
        if line.waiting and not line.open:
            line.open = True
            for name in line.reach:
                self.blocked[name].discard(line.key)
            heapq.heappush(self.ready, (line.order, next(self.ticket), line))

    def start_all(self, now: float) -> bool:
        """Start what may start, the most urgent line first; whether anything did."""
        free = self.free
        while self.free > 0 and self.ready:
            order, _, line = heapq.heappop(self.ready)
            if order != line.order:
                heapq.heappush(self.ready, (line.order, next(self.ticket), line))
                continue
            line.open = False
            self.start_one(line, now)
        return self.free < free

    def start_one(self, line: _Line, now: float) -> None:
        """Start the head of a line, or hold the line."""
        choice = line.only or self.routes.choice(line.key, line.task, line.prompt_tokens, self.running)
        if isinstance(choice, Nobody):
            self.ended["refused"] += len(line.waiting)
            line.waiting.clear()
            return
        head = line.waiting[0]
        if head.drawn is None or head.asked is not choice:
            head.asked, head.drawn = choice, self.routes.drawn(choice, head.arrival.id)
        choice = head.drawn
        self.used.now = now
        answer = admit(
            choice,
            slots=Slots(total_free=self.free, running=self.running),
            now=now,
            used=self.used,
            on_limit=self.contender.on_limit,
            closed=self.closed(head.arrival, now),
        )
        if isinstance(answer, Hold):
            self.hold(line, choice, answer)
            return
        line.waiting.popleft()
        self.begin(head, line, choice, answer.name, now)
        self.wake(line)

    def closed(self, arrival: Arrival, now: float) -> Closed:
        """What keeps this task from an interface with a free slot."""
        limits = self.limits
        return nothing_shut if limits is None else lambda ranked: limits.shut(arrival, ranked, now)

    def hold(self, line: _Line, choice: Choice, answer: Hold) -> None:
        """The line waits for a slot of one of its interfaces or for an instant, whichever comes first."""
        line.reach = frozenset(one.name for one in within_reach(choice, on_limit=self.furthest))
        for name in line.reach:
            self.blocked[name].add(line.key)
        if answer.until is not None and answer.until != line.wakes_at:
            line.wakes_at = answer.until
            self.at(answer.until, line)

    def begin(self, running: _Running, line: _Line, choice: Choice, name: str, now: float) -> None:
        """An attempt is sent; its end is already known to the virtual clock."""
        arrival, world = running.arrival, self.worlds[name]
        if not running.attempts:
            self.waits.append(now - arrival.at_seconds)
        running.attempts += 1
        luck = f"{self.seed}\n{arrival.id}\n{name}\n{running.attempts}"
        seconds = chance.lognormal(world.mean_seconds(arrival.type), world.spread, luck)
        cost = price(
            world.spec.cost, Usage(input_tokens=arrival.input_tokens, output_tokens=arrival.output_tokens), None
        ).usd
        usd = world.usd if cost is None else cost
        self.seen.sent(name, usd)
        self.free -= 1
        self.running[name] += 1
        for meter in self.sharing[name]:
            if meter in self.meters:
                self.meters[meter].add(now, arrival.input_tokens + arrival.output_tokens, usd or Decimal(0))
        self.at(now + seconds, _End(running, line, choice, name, seconds))

    def end(self, now: float, ended: _End) -> None:
        """An attempt has ended: the slot is free, and the task is finished or goes on."""
        running, name = ended.running, ended.name
        self.free += 1
        self.running[name] -= 1
        for key in tuple(self.blocked[name]):
            self.wake(self.lines[key])
        arrival = running.arrival
        luck = f"{running.attempts}\n{name}\n{arrival.id}\n{self.seed}"
        good = chance.uniform(luck) < self.worlds[name].rate(arrival.type)
        self.seen.ended(name, arrival.type, ended.seconds, good=good)
        if good:
            self.ended["completed"] += 1
            return
        self.go_on(now, ended)

    def go_on(self, now: float, ended: _End) -> None:
        """What follows a failure, by the daemon's own rules."""
        running, line, seconds = ended.running, ended.line, ended.seconds
        running.tried = (*running.tried, ended.name)
        remaining = self.routes.remaining(ended.choice, running.tried)
        step = after(
            Ended(
                outcome=Failed(kind=FailureKind.OUTPUT_LIMIT, message=""),
                started_at=now - seconds,
                finished_at=now,
                duration_seconds=seconds,
            ),
            task=line.task,
            interface_idempotent=False,
            attempts_so_far=running.attempts,
            attempts_allowed=_ATTEMPTS,
            remaining=tuple(one.name for one in remaining.ranked) if remaining else (),
        )
        if not isinstance(step, Again):
            self.ended["failed"] += 1
            return
        running.only = remaining
        self.at(now + step.delay_seconds, running)

    def figures(self, tasks: int) -> Figures:
        self.waits.sort()
        done = sum(self.ended.values())
        return Figures(
            contender=self.contender.name,
            tasks=tasks,
            completed=self.ended["completed"],
            failed=self.ended["failed"],
            refused=self.ended["refused"],
            waiting=tasks - done,
            attempts=sum(one.attempts for one in self.seen.of.values()),
            usd=sum((one.usd for one in self.seen.of.values()), Decimal(0)),
            unknown_costs=self.seen.unknown_costs,
            wait_p50_seconds=_percentile(self.waits, 50),
            wait_p95_seconds=_percentile(self.waits, 95),
            seconds=self.last - self.first,
            interfaces=tuple(map(self.use, self.worlds)),
        )

    def use(self, name: str) -> InterfaceUse:
        seen, meter = self.seen.of[name], self.meters.get(name)
        return InterfaceUse(
            name=name,
            attempts=seen.attempts,
            completed=seen.completed,
            usd=seen.usd,
            busy_seconds=seen.busy_seconds,
            windows=() if meter is None else meter.uses(self.first, self.last),
        )


def _limits(rules: Rules, worlds: Sequence[World], meters: Mapping[str, VirtualMeter]) -> SimulatedLimits:
    usual = {one.spec.name: one.usd for one in worlds if one.usd is not None}
    return SimulatedLimits(rules, {one.spec.name: one.spec for one in worlds}, meters, usual)


def _sharing(worlds: Sequence[World]) -> Mapping[str, tuple[str, ...]]:
    """Whose limits a request to an interface counts against: its own, and those of its account."""
    return {
        one.spec.name: tuple(
            other.spec.name
            for other in worlds
            if other is one or (one.spec.account is not None and other.spec.account == one.spec.account)
        )
        for one in worlds
    }


def _spec(arrival: Arrival, contender: Contender) -> TaskSpec:
    """The task of a line; what routing does not ask for is empty."""
    return TaskSpec(
        id="line",
        explicit_id=False,
        title="",
        text="",
        sha256="",
        size_bytes=0,
        name="line.md",
        priority=arrival.priority,
        type=arrival.type,
        requires=arrival.requires,
        interface=contender.always or arrival.interface,
        preferred_interface=None if contender.flat else arrival.preferred_interface,
    )


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Nearest rank; None of nothing."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None
