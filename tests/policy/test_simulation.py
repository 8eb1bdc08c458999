"""A queue on a virtual clock: every task ends in one place, limits hold, money is counted exactly, and a repeat is the same."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from brain_daemon.model.routing_table import RoutingTable, Strategy, TypeRule
from brain_daemon.model.task import OnLimit, Priority
from brain_daemon.policy.learning import Learn
from brain_daemon.policy.scenario import CONTENDERS, LADDER, Arrival, Contender, Figures, InterfaceUse, World
from brain_daemon.policy.simulation import compare, simulate

TABLE = RoutingTable(floor=(("default", 0.3),))
HOUR = 3_600.0
DAY = 86_400.0


def world(name: str, tier: Tier = Tier.FREE, *, success: float = 1.0, seconds: float = 10.0, **fields) -> World:
    """An interface that takes ten seconds and never fails, unless told otherwise."""
    limits = {
        key: fields.pop(key)
        for key in (
            "concurrent",
            "messages_per_day",
            "requests_per_minute",
            "tokens_per_minute",
            "tokens_per_request",
            "windows",
        )
        if key in fields
    }
    prices = fields.pop("prices", None)
    spec = InterfaceSpec(
        name=name,
        type=InterfaceType.LLM,
        sha256="",
        invoke=Invoke(kind=InvokeKind.COMMAND, command=(name,)),
        cost=CostSpec(
            tier=tier,
            input_per_million=None if prices is None else Decimal(prices),
            output_per_million=None if prices is None else Decimal(prices),
        ),
        limits=Limits(**limits),
        account=fields.pop("account", None),
        good_at=fields.pop("good_at", ()),
        capabilities=fields.pop("capabilities", ()),
    )
    return World(spec=spec, success={"default": success}, seconds={"default": seconds}, spread=0.0, **fields)


def arrivals(number: int, every: float = 0.0, **fields) -> list[Arrival]:
    return [Arrival(id=f"t{n}", at_seconds=n * every, **fields) for n in range(number)]


def uses(figures: Figures) -> Mapping[str, InterfaceUse]:
    return {one.name: one for one in figures.interfaces}


def sent(figures: Figures) -> dict[str, int]:
    return {one.name: one.attempts for one in figures.interfaces}


# Time


def test_one_slot_works_through_the_queue_one_after_the_other() -> None:
    """Ten tasks of ten seconds: a hundred seconds, and the last waits ninety."""
    found = simulate(arrivals(10), [world("a", concurrent=1)], TABLE)
    assert (found.completed, found.attempts, found.seconds) == (10, 10, 100.0)
    assert (found.wait_p50_seconds, found.wait_p95_seconds) == (40.0, 90.0)


def test_the_slots_of_the_brain_bound_all_interfaces_together() -> None:
    """Two at once, wherever."""
    found = simulate(arrivals(10), [world("a"), world("b")], TABLE, slots=2)
    assert found.seconds == 50.0


def test_nothing_starts_at_or_after_the_end() -> None:
    """What has not started by then is waiting; what runs ends."""
    found = simulate(arrivals(10), [world("a", concurrent=1)], TABLE, until_seconds=30.0)
    assert (found.completed, found.waiting) == (3, 7)


def test_urgent_tasks_start_first() -> None:
    """Of all that are there the urgent one is sent first: its tokens are the only ones paid for in the first second."""
    cheap = [*arrivals(5, input_tokens=1), Arrival(id="later", priority=Priority.LOW, input_tokens=1)]
    urgent = Arrival(id="now", priority=Priority.HIGH, input_tokens=1_000_000, output_tokens=0)
    paid = world("a", Tier.PAID, concurrent=1, prices="1")
    assert simulate([*cheap, urgent], [paid], TABLE, until_seconds=1.0).usd == 1


def test_of_nothing_comes_nothing() -> None:
    """No task, no interface."""
    found = simulate([], [], TABLE)
    assert (found.tasks, found.completed, found.completion, found.wait_p50_seconds) == (0, 0, None, None)


def test_with_no_interface_every_task_is_refused() -> None:
    """Round robin has nobody to take turns."""
    for contender in CONTENDERS:
        assert simulate(arrivals(3), [], TABLE, contender).refused == 3


# Limits


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ({"requests_per_minute": 2}, 4 * 60 + 10),
        ({"tokens_per_minute": 3_000}, 4 * 60 + 10),
        ({"messages_per_day": 4}, 2 * DAY + 10),
        ({"windows": (Window(unit="messages", amount=Decimal(5), per="1h", per_seconds=HOUR),)}, HOUR + 10),
        ({"windows": (Window(unit="tokens", amount=Decimal(6_000), per="1h", per_seconds=HOUR),)}, 2 * HOUR + 10),
        ({"windows": (Window(unit="usd", amount=Decimal(3), per="1h", per_seconds=HOUR),)}, 3 * HOUR + 10),
    ],
)
def test_a_limit_makes_the_queue_wait_for_its_window(limits: dict, seconds: float) -> None:
    """Ten tasks of 1,500 tokens and one dollar, each limit by itself; all of them end."""
    paid = world("a", Tier.PAID, usd=Decimal(1), **limits)
    found = simulate(arrivals(10), [paid], TABLE, slots=10)
    assert found.completed == 10
    assert found.seconds == seconds


def test_a_limit_of_nothing_holds_for_ever_and_the_simulation_ends() -> None:
    """Every midnight brings no message; the other line is worked off all the same."""
    both = [world("shut", messages_per_day=0), world("b", capabilities=("vision",))]
    found = simulate(
        [*arrivals(3, interface="shut"), Arrival(id="see", requires=("vision",), at_seconds=DAY)], both, TABLE
    )
    assert (found.completed, found.waiting) == (1, 3)


def test_use_of_a_window_is_shown_beside_what_was_offered() -> None:
    """Six of ten messages in the one day, and of the half-hour windows the fullest."""
    window = Window(unit="messages", amount=Decimal(4), per="30m", per_seconds=HOUR / 2)
    found = simulate(arrivals(6), [world("a", messages_per_day=10, windows=(window,))], TABLE)
    day, half = uses(found)["a"].windows
    assert (day.per, day.used, day.offered, day.fullest, day.share) == ("day", 6, 10, 6, pytest.approx(0.6))
    assert (half.used, half.fullest) == (6, 4)
    assert half.offered == 8


def test_interfaces_of_one_account_share_its_limits() -> None:
    """Three messages a day for both together."""
    both = [world(name, account="ann", messages_per_day=3, concurrent=1) for name in ("a", "b")]
    found = simulate(arrivals(5), both, TABLE, until_seconds=HOUR)
    assert (found.completed, found.waiting) == (3, 2)


def test_a_limit_sends_tasks_along_the_rung_and_never_up_unasked() -> None:
    """Four a day on each free one; the paid one is used only by a contender that may fall back."""
    three = [world("a", messages_per_day=4), world("b", messages_per_day=4), world("paid", Tier.PAID, usd=Decimal(1))]
    waits = simulate(arrivals(10), three, TABLE, until_seconds=HOUR)
    assert sent(waits) == {"a": 4, "b": 4, "paid": 0}
    assert (waits.waiting, waits.usd) == (2, 0)
    falls = simulate(arrivals(10), three, TABLE, replace(LADDER, on_limit=OnLimit.FALLBACK), until_seconds=HOUR)
    assert (falls.waiting, falls.usd) == (0, 2)


def test_a_prompt_too_long_for_an_interface_goes_elsewhere() -> None:
    """And is refused where nobody takes it."""
    long = arrivals(2, input_tokens=9_000)
    assert sent(simulate(long, [world("a", tokens_per_request=8_000), world("b", Tier.PAID)], TABLE)) == {
        "a": 0,
        "b": 2,
    }
    assert simulate(long, [world("a", tokens_per_request=8_000)], TABLE).refused == 2


# Money


def test_dollars_are_exact_and_failures_cost_too() -> None:
    """1,500 tokens at a dollar a million, two attempts each."""
    found = simulate(arrivals(7), [world("a", Tier.PAID, success=0.0, prices="1", concurrent=3)], TABLE)
    assert (found.failed, found.attempts) == (7, 7)
    assert found.usd == 7 * Decimal("0.001500")
    assert found.usd == sum(one.usd for one in found.interfaces)


def test_an_unknown_price_is_said_and_never_nothing() -> None:
    """Counted beside the sum."""
    found = simulate(arrivals(3), [world("a", Tier.PAID)], TABLE)
    assert (found.usd, found.unknown_costs) == (0, 3)


# Failures, retries, learning


def test_a_failed_task_goes_to_the_next_interface_of_its_rung_first() -> None:
    """As the daemon does: the second attempt is elsewhere, and only if that is allowed."""
    found = simulate(
        arrivals(4),
        [world("a", success=0.0, good_at=(("general", 0.9),)), world("b", good_at=(("general", 0.5),))],
        TABLE,
        replace(LADDER, learn=Learn.OFF),
    )
    assert sent(found) == {"a": 4, "b": 4}
    assert found.completed == 4


def test_a_task_that_failed_twice_has_failed() -> None:
    """Two attempts are the default."""
    three = [world(name, success=0.0) for name in "abc"]
    found = simulate(arrivals(4), three, TABLE, replace(LADDER, learn=Learn.OFF))
    assert (found.failed, found.attempts) == (4, 8)


def test_learning_leaves_the_poor_interface() -> None:
    """Both are free and look alike; the ladder that learns finds out, the other does not."""
    pair = [world("apt", success=0.95), world("ail", success=0.4)]
    taught = simulate(arrivals(400, every=20.0), pair, TABLE)
    untaught = simulate(arrivals(400, every=20.0), pair, TABLE, replace(LADDER, learn=Learn.OFF))
    assert sent(taught)["apt"] > 3 * sent(taught)["ail"]
    assert sent(untaught)["ail"] >= 400
    assert taught.attempts < untaught.attempts


# Contenders


def test_always_sends_everything_to_one() -> None:
    """Also past the table; what it cannot do is refused."""
    table = replace(TABLE, types=(("code", TypeRule(best=("a",), strict=True)),))
    both = [world("a"), world("b", Tier.PAID, usd=Decimal(1))]
    found = simulate(arrivals(5, type="code"), both, table, Contender(name="always:b", always="b"))
    assert sent(found) == {"a": 0, "b": 5}
    assert simulate(arrivals(2, requires=("vision",)), both, table, Contender(name="always:b", always="b")).refused == 2


def test_round_robin_takes_turns_whatever_it_costs() -> None:
    """A third each, and the true price is still paid."""
    three = [world("a"), world("b", Tier.SUBSCRIPTION), world("c", Tier.PAID, usd=Decimal(1))]
    found = simulate(arrivals(9, every=20.0), three, TABLE, _named("round_robin"))
    assert sent(found) == {"a": 3, "b": 3, "c": 3}
    assert found.usd == 3


def test_least_loaded_goes_where_nobody_waits() -> None:
    """Six at once over three."""
    found = simulate(arrivals(6), [world("a"), world("b"), world("c", Tier.PAID)], TABLE, _named("least_loaded"))
    assert sent(found) == {"a": 2, "b": 2, "c": 2}


def test_capability_takes_the_best_whatever_it_costs() -> None:
    """By the declared score."""
    two = [world("a", good_at=(("default", 0.6),)), world("b", Tier.PAID, usd=Decimal(1), good_at=(("default", 0.9),))]
    assert sent(simulate(arrivals(3), two, TABLE, _named("capability"))) == {"a": 0, "b": 3}


def test_contenders_meet_the_same_tasks_side_by_side() -> None:
    """One row each, in their order."""
    found = compare(arrivals(20), [world("a", success=0.5)], TABLE)
    assert [one.contender for one in found] == [one.name for one in CONTENDERS]
    assert {one.tasks for one in found} == {20}
    assert {one.attempts for one in found} == {found[0].attempts}


def _named(name: str) -> Contender:
    return next(one for one in CONTENDERS if one.name == name)


# Whatever the queue


worlds = st.builds(
    lambda n, tier, success, concurrent, day, seconds: world(
        f"i{n}",
        tier,
        success=success,
        concurrent=concurrent,
        messages_per_day=day,
        seconds=seconds,
        usd=Decimal("0.01"),
    ),
    st.integers(0, 3),
    st.sampled_from(list(Tier)),
    st.floats(0, 1),
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(1, 5)),
    st.floats(0.1, 100_000),
)
queues = st.lists(
    st.tuples(st.floats(0, 200_000), st.sampled_from(["code", "quick"]), st.sampled_from(list(Priority))), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(worlds, max_size=4, unique_by=lambda one: one.spec.name),
    queues,
    st.sampled_from([*CONTENDERS, replace(LADDER, learn=Learn.REORDER), Contender(name="always:i0", always="i0")]),
    st.sampled_from([50_000.0, float("inf")]),
)
def test_each_task_ends_in_one_place_and_no_window_is_overrun(some, queue, contender, until) -> None:
    """Completed, failed, refused or waiting; never more than a day's messages in a day; and a repeat is the same."""
    tasks = [Arrival(id=f"t{n}", at_seconds=at, type=kind, priority=how) for n, (at, kind, how) in enumerate(queue)]
    found = simulate(tasks, some, TABLE, contender, slots=3, until_seconds=until)
    assert found.completed + found.failed + found.refused + found.waiting == found.tasks == len(tasks)
    assert found.attempts == sum(one.attempts for one in found.interfaces)
    assert found.completed == sum(one.completed for one in found.interfaces)
    limits = {one.spec.name: one.spec.limits.messages_per_day for one in some}
    for one in found.interfaces:
        assert all(window.fullest <= limits[one.name] for window in one.windows)
    if until == float("inf"):
        assert found.waiting == 0
    assert simulate(tasks, some, TABLE, contender, slots=3, until_seconds=until) == found


@settings(max_examples=40, deadline=None)
@given(st.lists(worlds, min_size=1, max_size=4, unique_by=lambda one: one.spec.name), queues)
def test_money_is_never_spent_while_something_cheaper_could_do_it(some, queue) -> None:
    """Whatever is full, slow or failing: the ladder that waits pays nothing where one free interface can do the work."""
    tasks = [Arrival(id=f"t{n}", at_seconds=at, type=kind, priority=how) for n, (at, kind, how) in enumerate(queue)]
    free = world("free", Tier.FREE, success=0.5, messages_per_day=1)
    found = simulate(tasks, [*some, free], TABLE, replace(LADDER, learn=Learn.OFF), slots=2)
    dear = {one.spec.name for one in some if one.spec.cost.tier in (Tier.PAID, Tier.FALLBACK)}
    assert all(one.attempts == 0 for one in found.interfaces if one.name in dear)


def test_a_strategy_of_the_table_does_not_matter_here() -> None:
    """The contender says how."""
    table = replace(TABLE, strategy=Strategy.ROUND_ROBIN)
    assert simulate(arrivals(9), [world("a"), world("b")], table) == simulate(
        arrivals(9), [world("a"), world("b")], TABLE
    )
