"""Histories of a real daemon on a clock of our own: no window is ever overdrawn, nothing falls to a paid rung unasked, and what
counts against a budget is never less than what was spent.

Interfaces with quotas, a person who answers or does not, failures of every kind, restarts, and a clock that jumps. Only what an
interface says is played (`Played`). `BRAIN_TEST_HISTORIES` is how many histories are told; a handful unless it says more.
"""

import asyncio
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import cycle

import pytest
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.tool import ToolAdapter
from brain_daemon.model.outcome import Cancelled, Cost, CostBasis, Ended, Failed, FailureKind, Succeeded, Usage
from brain_daemon.policy.budgets import Scope, applying
from brain_daemon.record.questions import QuestionKind, question_from
from brain_daemon.service import answering, supervisor, worker
from brain_daemon.service.quotas import Quotas
from brain_daemon.service.spending import Spending
from brain_daemon.service.supervisor import Supervisor
from brain_daemon.store.accounts import since_boot

HISTORIES = int(os.environ.get("BRAIN_TEST_HISTORIES", "2"))
HOUR = 3600.0
DEADLINE_SECONDS = 60.0
KINDS = ("plain", "plain", "low", "ask", "fallback", "named", "prefers")
FAILURES = (
    FailureKind.QUOTA,
    FailureKind.RATE_LIMIT,
    FailureKind.TRANSIENT,
    FailureKind.PERMANENT,
    FailureKind.AUTH,
    FailureKind.UNAVAILABLE,
)
HEADS = {
    "plain": "priority: medium\n",
    "low": "priority: low\n",
    "ask": "on_limit: ask\n",
    "fallback": "on_limit: fallback\n",
    "named": "interface: dear\n",
    "prefers": "preferred_interface: dear\n",
}
TRIED_BEFORE_A_RESTART = [
    ("drop", ["plain", "prefers", "plain", "fallback", "plain"]),
    ("drop", ["prefers", "prefers", "plain", "fallback", "plain"]),
    ("restart", None),
    ("answer", "go_on"),
]
"""What a task had been tried on was forgotten with the daemon, and it was claimed and given back without end."""

BUDGETS = '[{"scope": "interface", "usd": 1000000000}]'
MAY_PAY = {"fallback", "named", "prefers"}


@dataclass
class World:
    """The clock and the time that has gone by, what interfaces say next, and what was sent to whom and when, by both."""

    now: float = field(default_factory=time.time)
    elapsed: float = 0.0
    outcomes: Iterator[FailureKind | None] = field(default_factory=lambda: cycle([None]))
    sent: list[tuple[str, float, float, str]] = field(default_factory=list)
    spent_usd: Decimal = Decimal(0)
    paid_allowed: bool = False
    unasked: list[str] = field(default_factory=list)

    def pass_by(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds
        self.elapsed += seconds


class Played(ToolAdapter):
    """Says what the world has ready."""

    world: World

    async def invoke(self, invocation: Invocation, cancel: Cancel) -> Ended:
        world, name, started = self.world, invocation.interface.name, self.world.now
        world.sent.append((name, started, world.elapsed, invocation.task.id))
        if name == "dear":
            world.spent_usd += 1
            if not world.paid_allowed and invocation.task.id.split("-")[0] not in MAY_PAY:
                world.unasked.append(invocation.task.id)
        for _ in range(3):
            await asyncio.sleep(0)
        kind = next(world.outcomes)
        outcome = Cancelled() if cancel.is_set() else Succeeded(text="done")
        if kind is not None and not cancel.is_set():
            resets_at = started + 2 * HOUR if kind is FailureKind.QUOTA else None
            outcome = Failed(kind=kind, message=kind.value, resets_at=resets_at)
        cost = (
            Cost(usd=Decimal(1), basis=CostBasis.REPORTED)
            if name == "dear"
            else Cost(usd=Decimal(0), basis=CostBasis.FREE)
        )
        usage = Usage(input_tokens=10, output_tokens=10, requests=1)
        return Ended(
            outcome=outcome, started_at=started, finished_at=world.now, duration_seconds=0.0, usage=usage, cost=cost
        )


class History:
    """One daemon after the other on one brain."""

    def __init__(self, folder, world: World, **flags) -> None:
        self.folder, self.world, self.flags = folder, world, flags
        self.dropped: list[str] = []

    async def start(self) -> None:
        self.brain = self.folder.open(commit=False, budgets=BUDGETS, **self.flags)
        self.daemon = Supervisor(self.brain)
        self.task = asyncio.get_running_loop().create_task(self.daemon.run())
        await self.until(lambda: self.brain.journal.get("state") == "running" and hasattr(self.daemon, "_lookout"))

    async def stop(self) -> None:
        """As with SIGTERM twice: what runs is interrupted."""
        self.daemon._life.stop()
        await self.task
        self.brain.close()

    async def until(self, condition) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            if self.task.done():
                self.task.result()
            assert time.monotonic() < end, (self.brain.journal.holds(), self.folder.names(self.folder.pending))
            await asyncio.sleep(0.002)

    async def settled(self) -> None:
        """Everything that was dropped has been looked at, and nothing runs or could start."""
        daemon = self.daemon
        for _ in range(2):
            daemon._scan_due = 0.0
            daemon._wake.set()
            await asyncio.sleep(0.002)
            await self.until(self.is_quiet)

    def is_quiet(self) -> bool:
        daemon = self.daemon
        known = {pending.id for pending in daemon._intake.tasks.values()}
        gone = {name.removesuffix(".md") for name in self.folder.names(self.folder.pending)} - known
        return not (
            daemon._jobs.running
            or daemon._scan_now
            or daemon._lookout
            or len(daemon._dispatch)
            or gone
            or daemon._recorder.busy
        )

    async def do(self, step: tuple[str, object]) -> None:
        verb, value = step
        if verb == "drop":
            for kind in value:
                self.dropped.append(f"{kind}-{len(self.dropped)}")
                self.folder.drop(f"{self.dropped[-1]}.md", f"---\n{HEADS[kind]}---\n# Say\n\nSay it.\n")
        elif verb == "time":
            self.world.pass_by(value)
        elif verb == "clock":
            self.world.now += value
        elif verb == "answer":
            self.answer(value)
        else:
            await self.stop()
            await self.start()
        await self.settled()
        assert self.counted_usd() >= self.world.spent_usd

    def counted_usd(self) -> Decimal:
        """What stands against the budget of the paid interface: rows, and reservations where there is none."""
        names = {Scope.INTERFACE: "dear"}
        (budget,) = applying(self.brain.config.budgets, names)
        return self.daemon._gate._spending._spent(budget).usd

    def answer(self, key: str) -> None:
        for document, _ in list(self.brain.journal.questions().values()):
            question = question_from(document)
            if question.kind is QuestionKind.QUOTA:
                self.world.paid_allowed |= key == "paid"
                answering.answer(self.brain, question, key, "command")
        self.daemon._look_again()


steps = st.one_of(
    st.tuples(st.just("drop"), st.lists(st.sampled_from(KINDS), min_size=1, max_size=5)),
    st.tuples(st.just("drop"), st.lists(st.sampled_from(KINDS), min_size=1, max_size=5)),
    st.tuples(st.just("time"), st.sampled_from([60.0, HOUR, 3 * HOUR, 5 * HOUR, 26 * HOUR])),
    st.tuples(st.just("clock"), st.sampled_from([9 * HOUR, 26 * HOUR, -HOUR, -30 * HOUR])),
    st.tuples(st.just("answer"), st.sampled_from(["go_on", "wait", "paid", "go_on"])),
    st.tuples(st.just("restart"), st.none()),
)


def overdrawn(sent: list[tuple[str, float, float, str]], name: str, amount: int, seconds: float) -> list[int]:
    """How often more than `amount` were sent within `seconds` before and with one of them, however the clock was set."""
    times = [elapsed for one, _, elapsed, _ in sent if one == name]
    counts = [sum(at > end - seconds for at in times[: number + 1]) for number, end in enumerate(times)]
    return [count for count in counts if count > amount]


@pytest.fixture
def played(monkeypatch, tmp_path) -> Iterator[World]:
    """The real daemon, with interfaces that are played and a clock that is set; waits between attempts pass at once."""
    world = World()
    Played.world = world

    async def pause(_job, seconds: float) -> None:
        Played.world.pass_by(seconds)
        await asyncio.sleep(0)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    monkeypatch.setattr(supervisor, "ToolAdapter", Played)
    monkeypatch.setattr(worker, "_pause", pause)
    real, clock = time.time, lambda: Played.world.now
    monkeypatch.setattr(time, "time", clock)
    instead = {real: clock, since_boot: lambda: ("boot", Played.world.elapsed)}
    for kind in (Quotas, Spending):
        defaults = tuple(instead.get(one, one) for one in kind.__init__.__defaults__)
        monkeypatch.setattr(kind.__init__, "__defaults__", defaults)
    return world


@pytest.mark.timeout(30 * HISTORIES + 300)
@settings(
    max_examples=HISTORIES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to make a history shorter takes longer than to read it
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    told=st.lists(steps, min_size=3, max_size=9),
    outcomes=st.lists(st.one_of(st.none(), st.none(), st.sampled_from(FAILURES)), min_size=1, max_size=12),
    flags=st.sampled_from([{}, {"quota_silence": "1h", "quota_default": "go_on"}, {"harvest_before": "4h"}]),
)
@example(told=TRIED_BEFORE_A_RESTART, outcomes=[FailureKind.PERMANENT, None], flags={})
def test_no_window_is_overdrawn_and_nothing_falls_to_a_paid_rung_unasked(
    played, brain, tmp_path, told, outcomes, flags
):
    """Whatever is dropped, fails, is answered, restarts and jumps, in whatever order."""
    world = Played.world = World(outcomes=cycle(outcomes))
    here, began = tmp_path / "history", world.now
    shutil.rmtree(here, ignore_errors=True)
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
    folder = type(brain)(here, brain.state_home)
    shutil.copytree(brain.root, here)
    folder.echo(
        "free",
        more="cost: free\nidempotent: true\nlimits:\n  windows:\n    - {messages: 3, per: 5h}\n    - {messages: 6, per: day, resets: '00:00 UTC'}\n",
    )
    folder.echo("flat", more="cost: subscription\nidempotent: true\nlimits: {messages_per_day: 4}\n")
    folder.echo(
        "dear",
        more="cost: {tier: paid, input_per_million: 1000000, output_per_million: 1000000}\nidempotent: true\nlimits:\n  windows:\n    - {messages: 5, per: day}\n",
    )

    async def tell() -> None:
        history = History(folder, world, **flags)
        await history.start()
        try:
            for step in told:
                await history.do(step)
        finally:
            await history.stop()

    asyncio.run(tell())
    for one in world.sent:
        note(f"{one[3]} was sent to {one[0]} at {one[1] - began:+.0f} s, after {one[2]:.0f} s")
    assert not world.unasked, world.unasked
    assert not overdrawn(world.sent, "free", 3, 5 * HOUR)
    assert not overdrawn(world.sent, "dear", 5, 24 * HOUR)
    for name, amount in (("free", 6), ("flat", 4)):
        days = Counter(int(at // (24 * HOUR)) for one, at, _, _ in world.sent if one == name)
        assert all(count <= amount for count in days.values()), (name, days)
