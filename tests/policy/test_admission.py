"""May a routed task start now: slots, declared limits, and the rung that is never left upwards unasked."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import Limits, Tier, Window
from brain_daemon.model.task import OnLimit
from brain_daemon.policy.admission import Hold, Shut, Slots, Spent, Start, Used, admit, within_reach
from brain_daemon.policy.routing import Choice, Ranked

NOW = 1_000_000.0
TIERS = list(Tier)


def ranked(name: str, tier: Tier = Tier.FREE, *, last_resort: bool = False, **limits) -> Ranked:
    return Ranked(
        name=name,
        tier=tier,
        rung=TIERS.index(tier),
        reason=f"because {name}",
        last_resort=last_resort,
        limits=Limits(**limits),
    )


def choice(*places: Ranked) -> Choice:
    return Choice(ranked=places)


def slots(*full: str, total_free: int = 5) -> Slots:
    return Slots(total_free=total_free, running=dict.fromkeys(full, 1), per_interface=1)


def started(verdict: Start | Hold) -> str:
    assert isinstance(verdict, Start), verdict
    return verdict.name


def held(verdict: Start | Hold) -> Hold:
    assert isinstance(verdict, Hold), verdict
    return verdict


def test_the_first_choice_starts_when_it_has_room() -> None:
    """With its own reason and the place it has in the ranking."""
    first = ranked("a")
    assert admit(choice(first, ranked("b")), slots=slots(), now=NOW) == Start(
        name="a", reason="because a", ranked=first
    )


def test_a_full_brain_holds_everything() -> None:
    """Without a free slot in the brain no interface is looked at; something that ends frees it."""
    assert admit(choice(ranked("a")), slots=slots(total_free=0), now=NOW) == Hold(
        reason="every slot of this brain is taken"
    )


@pytest.mark.parametrize("tier", [Tier.SUBSCRIPTION, Tier.FREE])
def test_a_full_interface_gives_way_to_the_next_on_the_same_or_a_cheaper_rung(tier: Tier) -> None:
    """And the reason says who had no room."""
    verdict = admit(choice(ranked("a", Tier.SUBSCRIPTION), ranked("b", tier)), slots=slots("a"), now=NOW)
    assert started(verdict) == "b"
    assert verdict.reason == "because b; a has no room: 1 of 1 slots taken"


def test_a_dearer_rung_is_not_taken_unasked() -> None:
    """The task waits for a slot; there is no instant to wait for."""
    verdict = admit(choice(ranked("a"), ranked("b", Tier.PAID)), slots=slots("a"), now=NOW)
    assert verdict == Hold(reason="a: 1 of 1 slots taken", full=("a",))


def test_a_full_free_interface_hands_over_to_a_subscription() -> None:
    """It costs nothing more; a paid one stays out of reach, and so does a last resort."""
    places = choice(ranked("a"), ranked("dear", Tier.PAID), ranked("sub", Tier.SUBSCRIPTION))
    assert started(admit(places, slots=slots("a"), now=NOW)) == "sub"
    assert held(admit(places, slots=slots("a", "sub"), now=NOW)).reason.startswith("a: 1 of 1 slots taken; sub:")
    poor = choice(ranked("a"), ranked("sub", Tier.SUBSCRIPTION, last_resort=True))
    held(admit(poor, slots=slots("a"), now=NOW))


def test_with_fallback_the_cheapest_dearer_rung_is_taken() -> None:
    """`on_limit: fallback` is the permission; same and cheaper rungs still come first."""
    places = choice(ranked("a"), ranked("dear", Tier.PAID), ranked("sub", Tier.SUBSCRIPTION), ranked("c"))
    assert started(admit(places, slots=slots("a"), now=NOW, on_limit=OnLimit.FALLBACK)) == "c"
    assert started(admit(places, slots=slots("a", "c"), now=NOW, on_limit=OnLimit.FALLBACK)) == "sub"


def test_with_ask_the_person_may_be_asked_where_a_dearer_one_could() -> None:
    """Only when there is something to decide: no dearer interface, no question."""
    asked = admit(choice(ranked("a"), ranked("b", Tier.PAID)), slots=slots("a"), now=NOW, on_limit=OnLimit.ASK)
    assert held(asked).ask
    alone = choice(ranked("a"), ranked("c", Tier.PAID, last_resort=True))
    assert not held(admit(alone, slots=slots("a"), now=NOW, on_limit=OnLimit.ASK)).ask


def test_paid_is_used_where_only_paid_could() -> None:
    """The first choice sets the rung, so a paid one needs no further leave."""
    assert started(admit(choice(ranked("a", Tier.PAID)), slots=slots(), now=NOW)) == "a"


@pytest.mark.parametrize("tier", [Tier.PAID, Tier.FALLBACK])
def test_paid_stays_shut_where_it_is_not_allowed(tier: Tier) -> None:
    """A budget or a setting that forbids paid starts holds even the only candidate; free ones are not touched."""
    verdict = admit(choice(ranked("a", tier)), slots=slots(), now=NOW, paid_allowed=False)
    assert verdict == Hold(reason=f"a: {tier} interfaces are not allowed now")
    assert started(admit(choice(ranked("a", tier), ranked("b")), slots=slots(), now=NOW, paid_allowed=False)) == "b"


def test_a_task_waits_for_a_good_interface_rather_than_going_to_a_poor_one() -> None:
    """A last resort is taken only where the first choice is one too."""
    poor = ranked("poor", last_resort=True)
    assert isinstance(admit(choice(ranked("a"), poor), slots=slots("a"), now=NOW, on_limit=OnLimit.FALLBACK), Hold)
    assert started(admit(choice(ranked("a", last_resort=True), poor), slots=slots("a"), now=NOW)) == "poor"


@pytest.mark.parametrize(
    ("limits", "used", "why", "until"),
    [
        ({"messages_per_day": 3}, Used(messages_today=3), "3 of 3 messages used today", 1_036_800.0),
        ({"messages_per_day": 3}, Used(messages_today=4, day_resets_at=NOW + 9), "4 of 3 messages used today", NOW + 9),
        ({"messages_per_day": 0}, Used(), "0 of 0 messages used today", 1_036_800.0),
        ({"requests_per_minute": 2}, Used(requests_last_minute=2), "2 of 2 requests a minute used", NOW + 60),
        (
            {"requests_per_minute": 2},
            Used(requests_last_minute=2, minute_resets_at=NOW + 5),
            "2 of 2 requests a minute used",
            NOW + 5,
        ),
        ({"tokens_per_minute": 100}, Used(tokens_last_minute=100), "100 of 100 tokens a minute used", NOW + 60),
        (
            {"windows": (Window(unit="messages", amount=Decimal(200), per="5h"),)},
            Used(windows=(Spent(amount=Decimal(200), resets_at=NOW + 7),)),
            "200 of 200 messages per 5h used",
            NOW + 7,
        ),
        (
            {
                "windows": (
                    Window(unit="messages", amount=Decimal(200), per="5h"),
                    Window(unit="usd", amount=Decimal(5), per="week"),
                )
            },
            Used(windows=(Spent(amount=Decimal(1)), Spent(amount=Decimal("5.5")))),
            "5.5 of 5 usd per week used",
            None,
        ),
    ],
)
def test_a_declared_limit_holds_until_its_reset(limits: dict, used: Used, why: str, until: float | None) -> None:
    """Each kind of limit says what is used up and when it frees."""
    verdict = admit(choice(ranked("a", **limits)), slots=slots(), now=NOW, used={"a": used})
    assert verdict == Hold(reason=f"a: {why}", until=until)


@pytest.mark.parametrize(
    ("limits", "used"),
    [
        ({"messages_per_day": 3}, Used(messages_today=2)),
        ({"requests_per_minute": 2}, Used(requests_last_minute=1)),
        ({"tokens_per_minute": 100}, Used(tokens_last_minute=99)),
        ({}, Used(messages_today=9_999, requests_last_minute=9_999, tokens_last_minute=9_999_999)),
        (
            {"windows": (Window(unit="messages", amount=Decimal(1), per="5h"),)},
            Used(windows=(Spent(amount=Decimal(1), resets_at=NOW),)),
        ),
        ({"windows": (Window(unit="messages", amount=Decimal(1), per="5h"),)}, Used()),
    ],
)
def test_what_is_left_of_a_limit_may_be_used(limits: dict, used: Used) -> None:
    """Below the limit, without one, or past the reset of a window."""
    assert started(admit(choice(ranked("a", **limits)), slots=slots(), now=NOW, used={"a": used})) == "a"


@pytest.mark.parametrize(
    ("declared", "usual", "running", "room"),
    [(2, 1, 1, True), (2, 1, 2, False), (None, 1, 1, False), (None, None, 99, True), (0, None, 0, False)],
)
def test_the_declared_number_of_slots_goes_before_the_usual_one(
    declared: int | None, usual: int | None, running: int, *, room: bool
) -> None:
    """`limits.concurrent`, else the setting, else no cap."""
    place = slots()
    place = Slots(total_free=place.total_free, running={"a": running}, per_interface=usual)
    assert isinstance(admit(choice(ranked("a", concurrent=declared)), slots=place, now=NOW), Start) is room


def test_the_earliest_reset_is_waited_for() -> None:
    """All obstacles are told; the nearest instant wakes the task."""
    used = {
        "a": Used(messages_today=1, day_resets_at=NOW + 50),
        "b": Used(requests_last_minute=1, minute_resets_at=NOW + 5),
    }
    verdict = admit(
        choice(ranked("a", messages_per_day=1), ranked("b", requests_per_minute=1)), slots=slots(), now=NOW, used=used
    )
    assert verdict == Hold(reason="a: 1 of 1 messages used today; b: 1 of 1 requests a minute used", until=NOW + 5)


def test_what_was_tried_is_out_of_reach() -> None:
    """The remaining candidates after a failure are those admission would still go to, by rung of the first choice."""
    places = choice(ranked("a", Tier.SUBSCRIPTION), ranked("b"), ranked("c", Tier.PAID), ranked("d", last_resort=True))
    assert [one.name for one in within_reach(places, tried=("a",))] == ["b"]
    assert [one.name for one in within_reach(places, tried=("a",), on_limit=OnLimit.FALLBACK)] == ["b", "c"]


@st.composite
def any_choice(draw: st.DrawFn) -> Choice:
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True))
    return choice(*(ranked(name, draw(st.sampled_from(Tier)), last_resort=draw(st.booleans())) for name in names))


@given(any_choice(), st.sets(st.sampled_from("abcdef")), st.sampled_from(OnLimit))
def test_nothing_dearer_is_taken_unasked(places: Choice, full: set[str], on_limit: OnLimit) -> None:
    """A start is on an interface with room and, without `fallback`, on no paid one above the first choice."""
    verdict = admit(places, slots=slots(*full), now=NOW, on_limit=on_limit)
    if isinstance(verdict, Start):
        assert verdict.name not in full
        dearer = verdict.ranked.rung > places.ranked[0].rung and verdict.ranked.tier in PAID
        assert on_limit is OnLimit.FALLBACK or not dearer
        assert places.ranked[0].last_resort or not verdict.ranked.last_resort
    else:
        assert places.ranked[0].name in full
        assert verdict.reason


shuts = st.none() | st.builds(Shut, why=st.just("shut"), until=st.none() | st.just(NOW + 9), dearer=st.booleans())
PAID = (Tier.PAID, Tier.FALLBACK)


@given(any_choice(), st.dictionaries(st.sampled_from("abcdef"), shuts), st.sampled_from(OnLimit))
def test_nothing_falls_to_a_paid_interface_unless_the_person_said_so(places: Choice, said, on_limit: OnLimit) -> None:
    """Not while an interface that costs less merely waits for an answer, a reset or a probe."""
    verdict = admit(places, slots=slots(), now=NOW, on_limit=on_limit, closed=lambda one: said.get(one.name))
    first = places.ranked[0]
    if isinstance(verdict, Hold):
        assert verdict.shut
        return
    assert said.get(verdict.name) is None
    if verdict.ranked.tier in PAID and verdict.ranked.rung > first.rung and on_limit is not OnLimit.FALLBACK:
        reach = [one.name for one in within_reach(places, on_limit=on_limit)]
        assert all(said[name] is not None and said[name].dearer for name in reach)


def test_a_shut_interface_is_passed_over_and_named() -> None:
    """With its reason, and the first time at which one may be open."""
    closed = {"a": Shut(why="open breaker"), "b": Shut(why="quota", until=NOW + 5)}
    verdict = held(admit(choice(ranked("a"), ranked("b")), slots=slots(), now=NOW, closed=lambda one: closed[one.name]))
    assert verdict == Hold(reason="a: open breaker; b: quota", until=NOW + 5, shut=True)
    del closed["b"]
    verdict = admit(choice(ranked("a"), ranked("b")), slots=slots(), now=NOW, closed=lambda one: closed.get(one.name))
    assert started(verdict) == "b"
    assert "a has no room: open breaker" in verdict.reason


def test_a_cap_of_now_goes_before_the_declared_one() -> None:
    """An interface that bears fewer than it declares."""
    place = Slots(total_free=5, running={"a": 2}, caps={"a": 2})
    assert "2 of 2 slots" in held(admit(choice(ranked("a", concurrent=4)), slots=place, now=NOW)).reason


def test_a_dearer_rung_is_tried_where_the_person_said_so_for_all_that_are_full() -> None:
    """Each in reach says that what is dearer may be had instead."""
    places = choice(ranked("a"), ranked("b", Tier.PAID))

    def closed(place: Ranked) -> Shut | None:
        return Shut(why="its week is spent", dearer=True) if place.name == "a" else None

    assert started(admit(places, slots=slots(), now=NOW, closed=closed)) == "b"
