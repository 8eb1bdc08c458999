"""Unused quota: drawn forward before a reset, never from what is kept for the person, never at a price."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import Tier
from brain_daemon.model.task import Priority
from brain_daemon.policy.harvest import Draw, Field, Reserve, Waiting, harvest
from brain_daemon.policy.quotas import SHARE, Quota, Reading, Since, Use

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
NIGHT = datetime(2026, 11, 22, 3, tzinfo=UTC).timestamp()
NOTHING_BY_NIGHT = Reserve()
IN_PERSONS_HOURS = Reserve(share=0.5, away_share=0.1)


def reading(used: int, ends_in: float | None = 600, *, amount: int = 10, unit: str = "messages", now=NIGHT) -> Reading:
    end = None if ends_in is None else now + ends_in
    quota = Quota(label="q", unit=unit, amount=Decimal(amount), counted=(Since(at=0.0),), resets_at=end)
    return Reading(quota=quota, used=Decimal(used), resets_at=end)


def field(*readings: Reading, name: str = "claude", tier: Tier = Tier.SUBSCRIPTION, account: str = "max") -> Field:
    return Field(interface=name, account=account, tier=tier, readings=readings)


def waiting(name: str, *, to: tuple[str, ...] = ("claude",), priority: Priority = Priority.LOW, **more) -> Waiting:
    return Waiting(task_id=name, priority=priority, interfaces=to, **more)


def drawn(fields, tasks, *, now=NIGHT, reserve=NOTHING_BY_NIGHT, **more) -> list[str]:
    return [draw.task_id for draw in harvest(fields, tasks, now=now, reserve=reserve, **more)]


TASKS = [waiting(str(number)) for number in range(20)]


def test_low_priority_tasks_fill_what_is_left_before_the_reset():
    """In their order, with the reason."""
    draws = harvest([field(reading(7))], TASKS, now=NIGHT)
    assert draws[0] == Draw(
        task_id="0", interface="claude", why="drawn forward: a window of claude ends in 10 min with quota left"
    )
    assert [draw.task_id for draw in draws] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "one",
    [
        field(reading(0, ends_in=None)),
        field(reading(0, ends_in=3601)),
        field(reading(0, ends_in=0)),
        field(reading(0), tier=Tier.PAID),
        field(reading(0), tier=Tier.FALLBACK),
        field(reading(0), reading(10, ends_in=1e6)),
        field(reading(0), name="codex"),
        field(),
    ],
    ids=[
        "it slides",
        "not soon",
        "it is over",
        "paid",
        "fallback",
        "the week is used up",
        "cannot go there",
        "no quota",
    ],
)
def test_nothing_is_drawn_where_nothing_would_be_lost_or_it_would_cost(one):
    """Also where another quota of the account has no room."""
    assert drawn([one], TASKS) == []


def test_only_low_priority_is_drawn_forward():
    """The others have their turn anyway."""
    tasks = [waiting("high", priority=Priority.HIGH), waiting("medium", priority=Priority.MEDIUM), waiting("low")]
    assert drawn([field(reading(0))], tasks) == ["low"]


def test_the_persons_share_is_kept_and_is_smaller_at_night():
    """Half in their hours, a tenth outside them."""
    assert len(drawn([field(reading(2, now=NOON))], TASKS, now=NOON, reserve=IN_PERSONS_HOURS)) == 3
    assert len(drawn([field(reading(2))], TASKS, reserve=IN_PERSONS_HOURS)) == 7


@pytest.mark.parametrize(
    ("hours", "hour", "inside"),
    [
        ((8, 22), 8, True),
        ((8, 22), 22, False),
        ((22, 6), 23, True),
        ((22, 6), 5, True),
        ((22, 6), 6, False),
        ((9, 9), 9, False),
    ],
)
def test_the_persons_hours_may_go_over_midnight(hours, hour, inside):
    """The last hour is not in them."""
    reserve = Reserve(from_hour=hours[0], to_hour=hours[1])
    now = datetime(2026, 11, 21, hour, 30, tzinfo=UTC).timestamp()
    assert reserve.kept(now) == (0.2 if inside else 0.0)


def test_a_task_that_would_not_end_before_the_reset_stays():
    """One whose time nobody knows may go."""
    tasks = [waiting("long", seconds=601.0), waiting("short", seconds=599.0), waiting("unknown")]
    assert drawn([field(reading(0))], tasks) == ["short", "unknown"]


def test_a_task_that_does_not_fit_leaves_room_to_a_smaller_one():
    """By the units of each quota."""
    tasks = [waiting("large", need=Use(tokens=9)), waiting("small", need=Use(tokens=2))]
    assert drawn([field(reading(5, unit="tokens"))], tasks) == ["small"]


def test_the_window_that_ends_first_is_filled_first_and_accounts_are_shared():
    """Two interfaces of one account have one quota between them."""
    soon = field(reading(0, 60, amount=1), name="b", account="b")
    twins = [field(reading(0, 600, amount=2), name=name) for name in ("x", "y")]
    tasks = [waiting(str(number), to=("x", "y", "b")) for number in range(9)]
    assert [draw.interface for draw in harvest([*twins, soon], tasks, now=NIGHT)] == ["b", "x", "x"]


def test_of_a_quota_of_unknown_size_one_task_is_drawn_at_a_time():
    """The client says afterwards how much it took."""
    assert drawn([field(reading(0, amount=1, unit=SHARE))], TASKS) == ["0"]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4000), st.sampled_from(list(Tier))), max_size=5),
    st.lists(st.integers(0, 5), max_size=12),
    st.floats(0, 1),
)
def test_a_harvest_never_goes_beyond_the_reserve_nor_to_a_paid_rung(windows, needs, share):
    """Over any windows and tasks, each task at most once."""
    fields = [
        field(reading(used, ends), name=str(number), account=str(number), tier=tier)
        for number, (used, ends, tier) in enumerate(windows)
    ]
    names = tuple(one.interface for one in fields)
    tasks = [waiting(str(number), to=names, need=Use(messages=need)) for number, need in enumerate(needs)]
    draws = harvest(fields, tasks, now=NIGHT, reserve=Reserve(share=0, away_share=share))
    assert len({draw.task_id for draw in draws}) == len(draws)
    for one in fields:
        taken = sum(needs[int(draw.task_id)] for draw in draws if draw.interface == one.interface)
        if taken:
            assert one.tier in (Tier.FREE, Tier.SUBSCRIPTION)
            assert one.readings[0].used + taken <= Decimal(10) * (1 - Decimal(str(share)))
