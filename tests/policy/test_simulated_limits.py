"""Near the end of a quota a simulation does what the daemon does: the question, its answer, the person's part, what would lapse."""

from datetime import UTC
from decimal import Decimal

import pytest

from brain_daemon.model.interface import (
    CostSpec,
    InterfaceSpec,
    InterfaceType,
    Invoke,
    InvokeKind,
    Limits,
    Tier,
    Window,
)
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import Priority
from brain_daemon.policy.asking import Answer, Asked
from brain_daemon.policy.harvest import Reserve
from brain_daemon.policy.scenario import Arrival, Figures, World
from brain_daemon.policy.simulated_limits import Rules
from brain_daemon.policy.simulation import compare, simulate

TABLE = RoutingTable(floor=(("default", 0.3),))
HOUR = 3_600.0
DAY = 86_400.0
NOBODY = Reserve(share=0.0)
QUIET = Rules(reserve=NOBODY)


def world(name: str, tier: Tier = Tier.FREE, *, usd: str | None = None, account: str | None = None, **limits) -> World:
    """An interface that takes ten seconds and never fails."""
    spec = InterfaceSpec(
        name=name,
        type=InterfaceType.LLM,
        sha256="",
        invoke=Invoke(kind=InvokeKind.COMMAND, command=(name,)),
        cost=CostSpec(tier=tier),
        limits=Limits(**limits),
        account=account,
    )
    return World(
        spec=spec,
        success={"default": 1.0},
        seconds={"default": 10.0},
        spread=0.0,
        usd=None if usd is None else Decimal(usd),
    )


def arrivals(number: int, *, at: float = 0.0, every: float = 60.0, **fields) -> list[Arrival]:
    return [Arrival(id=f"t{n}", at_seconds=at + n * every, **fields) for n in range(number)]


def run(tasks: list[Arrival], *worlds: World, rules: Rules | None = QUIET, until: float = DAY) -> Figures:
    return simulate(tasks, list(worlds), TABLE, until_seconds=until, rules=rules)


def sent(figures: Figures) -> dict[str, int]:
    return {one.name: one.attempts for one in figures.interfaces}


def window(amount: int, unit: str = "messages", per: float = DAY) -> Window:
    resets = "00:00 UTC" if per == DAY else None
    return Window(unit=unit, amount=Decimal(amount), per="day" if resets else "1h", per_seconds=per, resets=resets)


# The question near a limit


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (None, {"free": 20, "paid": 0}),
        (QUIET, {"free": 17, "paid": 0}),
        (Rules(reserve=NOBODY, threshold=0.5), {"free": 9, "paid": 0}),
        (Rules(reserve=NOBODY, answer=Answer.WAIT), {"free": 17, "paid": 0}),
        (Rules(reserve=NOBODY, answer=Answer.HERE), {"free": 20, "paid": 0}),
        (Rules(reserve=NOBODY, answer=Answer.PAID), {"free": 17, "paid": 23}),
    ],
)
def test_the_last_tenth_waits_for_an_answer(rules: Rules | None, expected: dict[str, int]) -> None:
    """Of twenty messages a day seventeen are below nine tenths; whoever says nothing pays nothing."""
    free, paid = world("free", messages_per_day=20), world("paid", Tier.PAID, usd="1")
    assert sent(run(arrivals(40, every=1.0), free, paid, rules=rules)) == expected


@pytest.mark.parametrize(("default", "expected"), [(Answer.PAID, 23), (Answer.WAIT, 0)])
def test_silence_answers_after_its_time(default: Answer, expected: int) -> None:
    """The tasks that waited go on then, and not before."""
    rules = Rules(reserve=NOBODY, silence=Asked(default=default, after_seconds=HOUR))
    free, paid = world("free", messages_per_day=20), world("paid", Tier.PAID, usd="1")
    tasks = arrivals(40, every=1.0)
    assert sent(run(tasks, free, paid, rules=rules, until=HOUR)) == {"free": 17, "paid": 0}
    assert sent(run(tasks, free, paid, rules=rules))["paid"] == expected


def test_what_waits_for_an_answer_goes_elsewhere_for_nothing() -> None:
    """To a subscription, and on the next day here again, where the question is put anew."""
    free, plan = world("free", messages_per_day=20), world("plan", Tier.SUBSCRIPTION, windows=(window(10),))
    tasks = [*arrivals(40, every=1.0), *arrivals(40, at=DAY + 1, every=1.0, type="later")]
    assert sent(run(tasks[:40], free, plan)) == {"free": 17, "plan": 8}
    assert sent(run(tasks, free, plan, until=2 * DAY)) == {"free": 34, "plan": 16}


def test_a_sliding_window_is_asked_about_until_it_has_slid_on() -> None:
    """The oldest leaves an hour after it came, and makes room for one more."""
    free = world("free", windows=(window(10, per=HOUR),))
    rules = Rules(reserve=NOBODY, silence=Asked(default=Answer.HERE, after_seconds=30 * 60.0))
    assert sent(run(arrivals(20), free, until=HOUR - 1)) == {"free": 8}
    assert sent(run(arrivals(20), free, until=HOUR + 90.0)) == {"free": 10}
    assert sent(run(arrivals(20), free, rules=rules, until=HOUR - 1)) == {"free": 10}


def test_the_first_message_of_a_tiny_quota_is_none_to_ask_about() -> None:
    """Nor the only one."""
    assert sent(run(arrivals(3), world("free", messages_per_day=1))) == {"free": 1}


def test_tokens_and_dollars_near_their_limit_are_asked_about() -> None:
    """1,500 tokens a task here, a dollar a task there; the price declared goes before what was usual."""
    tokens = world("tokens", windows=(window(15_000, "tokens"),))
    assert sent(run(arrivals(20), tokens)) == {"tokens": 8}
    usual = world("usual", Tier.PAID, usd="1", windows=(window(10, "usd"),))
    assert sent(run(arrivals(20), usual)) == {"usual": 8}
    free = world("free", usd="1", windows=(window(10, "usd"),))
    assert sent(run(arrivals(20), free)) == {"free": 20}
    unknown = world("unknown", Tier.PAID, windows=(window(10, "usd"),))
    assert sent(run(arrivals(20), unknown)) == {"unknown": 20}


def test_interfaces_of_one_account_are_asked_about_together() -> None:
    """What one has used is gone for the other."""
    pair = (world(name, account="mine", windows=(window(20),)) for name in "ab")
    assert sum(sent(run(arrivals(40, every=1.0), *pair)).values()) == 17


def test_rules_hold_for_all_that_are_compared() -> None:
    """The limits are the brain's, whoever routes."""
    found = compare(
        arrivals(40, every=1.0), [world("free", messages_per_day=20)], TABLE, rules=QUIET, until_seconds=DAY
    )
    assert {one.attempts for one in found} == {17}


# The person's part, and what would lapse

AT_HOME = Reserve(share=0.5, from_hour=8, to_hour=22, zone=UTC)


def test_low_priority_leaves_the_person_their_part_in_their_hours() -> None:
    """From eight on half of it; others have all but the last tenth."""
    rules = Rules(reserve=AT_HOME, harvest=False)
    for priority, expected in ((Priority.LOW, 10), (Priority.MEDIUM, 17)):
        tasks = arrivals(40, at=9 * HOUR, priority=priority)
        assert sent(run(tasks, world("free", messages_per_day=20), rules=rules, until=21 * HOUR)) == {"free": expected}


def test_what_was_kept_goes_on_outside_the_hours() -> None:
    """At ten in the evening the rest is free, but for the question."""
    tasks = arrivals(40, at=9 * HOUR, priority=Priority.LOW)
    rules = Rules(reserve=AT_HOME, harvest=False)
    assert sent(run(tasks, world("free", messages_per_day=20), rules=rules)) == {"free": 17}


def test_a_low_priority_task_at_a_paid_rung_keeps_nothing() -> None:
    """What costs money is not set aside."""
    tasks = arrivals(40, at=9 * HOUR, priority=Priority.LOW)
    rules = Rules(reserve=AT_HOME)
    assert sent(run(tasks, world("paid", Tier.PAID, usd="1", messages_per_day=20), rules=rules)) == {"paid": 17}


@pytest.mark.parametrize(("harvest", "until", "expected"), [(True, 23 * HOUR, 17), (True, DAY, 20), (False, DAY, 17)])
def test_what_would_lapse_is_taken_without_a_question(harvest: bool, until: float, expected: int) -> None:
    """In the last hour of the day, by low priority alone, where harvesting is on."""
    tasks = arrivals(40, priority=Priority.LOW)
    rules = Rules(reserve=NOBODY, harvest=harvest)
    assert sent(run(tasks, world("free", messages_per_day=20), rules=rules, until=until)) == {"free": expected}


def test_a_window_that_goes_on_keeps_its_question() -> None:
    """The day ends, the week does not: nothing of the week's last tenth is harvested."""
    week = Window(unit="messages", amount=Decimal(10), per="week", per_seconds=7 * DAY, resets="Mon 00:00 UTC")
    tasks = arrivals(40, at=23.5 * HOUR, every=1.0, priority=Priority.LOW)
    free = world("free", messages_per_day=20, windows=(week,))
    assert sent(run(tasks, free)) == {"free": 8}


def test_medium_priority_is_asked_in_the_last_hour_too() -> None:
    """Harvesting is for what can wait."""
    assert sent(run(arrivals(40, at=23.5 * HOUR, every=1.0), world("free", messages_per_day=20))) == {"free": 17}
