"""What history teaches: where a belief starts, what moves it, what it is weighed against."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import CostSpec, InterfaceSpec, InterfaceType, Invoke, InvokeKind, Tier
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.model.task import Prefer
from brain_daemon.policy.evidence import NO_HISTORY, History, Tally, summed
from brain_daemon.policy.learning import WEIGHTS, Lesson, Weights, disagrees, lesson, lessons, scores


def spec(name: str = "claude", **fields) -> InterfaceSpec:
    base = {
        "name": name,
        "type": InterfaceType.LLM,
        "sha256": "",
        "invoke": Invoke(kind=InvokeKind.COMMAND, command=(name,)),
        "cost": CostSpec(tier=Tier.FREE),
    }
    return InterfaceSpec(**(base | fields))


def history(pairs: Mapping[tuple[str, str], tuple[int, int]]) -> History:
    """Good and bad attempts by (type, interface)."""
    return summed(
        {key: Tally(good=good, bad=bad, judged=good + bad, praised=good) for key, (good, bad) in pairs.items()}
    )


def belief(good: int, bad: int, **fields) -> Lesson:
    return Lesson(task_type="code", alpha=1 + good, beta=1 + bad, declared=0.5, good=good, judged=good + bad, **fields)


# Where a belief starts


def test_without_history_it_is_what_the_file_declares() -> None:
    """For the type, else for all types, else one half."""
    assert lesson(spec(good_at=(("code", 0.8),)), "code").expected == pytest.approx(0.8)
    assert lesson(spec(good_at=(("default", 0.7),)), "code").expected == pytest.approx(0.7)
    assert lesson(spec(), "code").expected == pytest.approx(0.5)


def test_a_score_declared_for_the_type_weighs_more_than_a_guess() -> None:
    """Five failures hardly move the one and move the other a lot."""
    failed = history({("code", "claude"): (0, 5)})
    firm = lesson(spec(good_at=(("code", 0.8),)), "code", history=failed).expected
    loose = lesson(spec(good_at=(("default", 0.8),)), "code", history=failed).expected
    assert firm == pytest.approx(24 / 35)
    assert loose == pytest.approx(3.2 / 9)


def test_a_type_by_another_name_is_declared_too() -> None:
    """good_at may use an alias of routing.md."""
    table = RoutingTable(aliases=(("coding", "code"),))
    assert lesson(spec(good_at=(("coding", 0.9),)), "code", table=table).expected == pytest.approx(0.9)


def test_what_it_did_on_other_types_is_where_a_guess_starts() -> None:
    """Forty good quick answers make a good first guess for code; they do not touch a declared score."""
    elsewhere = history({("quick", "claude"): (40, 0)})
    assert lesson(spec(), "code", history=elsewhere).expected == pytest.approx(42 / 44)
    assert lesson(spec(good_at=(("code", 0.3),)), "code", history=elsewhere).expected == pytest.approx(0.3)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_belief_always_leaves_room_for_doubt(score: float) -> None:
    """A score of 0 or 1 is not certainty: a draw from it works, and evidence can move it."""
    found = lesson(spec(good_at=(("code", score),)), "code")
    assert 0 < found.expected < 1
    assert 0 <= found.draw("task-1", "claude") <= 1


def test_a_tool_of_another_trade_does_not_rise_by_answering() -> None:
    """It always prints something; failures still count against it."""
    tool = spec("search", type=InterfaceType.TOOL, capabilities=("memory_search",))
    assert lesson(tool, "code", history=history({("code", "search"): (90, 0)})).expected == pytest.approx(0.25)
    assert lesson(tool, "code", history=history({("code", "search"): (0, 90)})).expected < 0.05
    wanted = lesson(tool, "memory_search", history=history({("memory_search", "search"): (90, 0)}))
    assert wanted.expected > 0.9


# The floor


def test_one_failure_does_not_put_an_interface_below_the_floor_and_many_do() -> None:
    """An interface that declares to be good enough is judged by clear evidence."""
    shown = [
        lesson(spec(), "code", history=history({("code", "claude"): (0, bad)})).reaches(0.5) for bad in (0, 1, 2, 8)
    ]
    assert shown == [True, True, True, False]


def test_one_that_declares_less_than_the_floor_rises_by_what_it_did() -> None:
    """Doubt does not lift it; success does."""
    weak = spec(good_at=(("code", 0.5),))
    assert not lesson(weak, "code").reaches(0.6)
    assert lesson(weak, "code", history=history({("code", "claude"): (30, 0)})).reaches(0.6)


# Draws and scores


def test_the_same_task_draws_the_same_and_another_task_another() -> None:
    """Replayable, and each task its own."""
    one = belief(14, 1)
    assert one.draw("task-1", "claude") == one.draw("task-1", "claude")
    assert one.draw("task-1", "claude") != one.draw("task-2", "claude")
    assert one.draw("task-1", "claude") != one.draw("task-1", "codex")


def test_the_better_one_is_tried_more_often_and_the_poorer_one_still_sometimes() -> None:
    """What a Thompson draw is for."""
    compared = {"good": belief(14, 2), "poor": belief(6, 5)}
    wins = [
        max(found, key=lambda name: found[name][0])
        for n in range(500)
        if (found := scores(compared, f"t{n}", Weights()))
    ]
    assert 0.8 < wins.count("good") / 500 < 1


def test_the_dearer_and_the_slower_must_make_up_for_it() -> None:
    """The largest amount takes the whole weight off, half of it half."""
    compared = {"dear": belief(5, 5, usd=0.4, seconds=10.0), "cheap": belief(5, 5, usd=0.2, seconds=40.0)}
    found = scores(compared, "t", Weights(cost=0.2, speed=0.1))
    assert found["dear"][0] == pytest.approx(found["dear"][1] - 0.2 - 0.025)
    assert found["cheap"][0] == pytest.approx(found["cheap"][1] - 0.1 - 0.1)


def test_an_unknown_cost_counts_as_the_mean_of_the_others() -> None:
    """Neither a reward nor a punishment; where nobody's is known, or all is free, it plays no part."""
    compared = {"a": belief(5, 5, usd=0.4), "b": belief(5, 5, usd=0.2), "new": belief(5, 5)}
    found = scores(compared, "t", Weights(cost=1.0))
    assert found["new"][1] - found["new"][0] == pytest.approx(0.75)
    for usd in (None, 0.0):
        same = scores({"a": belief(5, 5, usd=usd), "b": belief(5, 5, usd=usd)}, "t", Weights(cost=1.0))
        assert all(score == draw for score, draw in same.values())


def test_quality_weighs_nothing_but_success_and_each_preference_what_it_says() -> None:
    """The three words of `prefer`."""
    assert WEIGHTS[Prefer.QUALITY] == Weights()
    assert WEIGHTS[Prefer.COST].cost > WEIGHTS[Prefer.COST].speed
    assert WEIGHTS[Prefer.SPEED].speed > WEIGHTS[Prefer.SPEED].cost


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.01, 0.99))
def test_success_never_lowers_and_failure_never_raises_a_belief(good: int, bad: int, score: float) -> None:
    """Whatever came before."""

    def expected(good: int, bad: int) -> float:
        return lesson(
            spec(good_at=(("code", score),)), "code", history=history({("code", "claude"): (good, bad)})
        ).expected

    assert expected(good + 1, bad) > expected(good, bad) > expected(good, bad + 1)


# Cost and time


def test_cost_starts_from_the_declared_prices_for_a_task_of_usual_size() -> None:
    """Before the interface has run once; what was paid then draws it away."""
    cost = CostSpec(tier=Tier.PAID, input_per_million=Decimal(3), output_per_million=Decimal(15))
    usual = {"code": Tally(input_tokens=20_000, output_tokens=2_000, counted=2)}
    assert lesson(spec(cost=cost), "code", history=History(types=usual)).usd == pytest.approx(0.045)
    paid = Tally(usd=4 * 0.105, priced=4)
    after = lesson(
        spec(cost=cost),
        "code",
        history=History(types=usual, pairs={("code", "claude"): paid}, interfaces={"claude": paid}),
    )
    assert after.usd == pytest.approx((0.42 + 4 * (0.42 + 4 * 0.045) / 8) / 8)


def test_cost_and_time_nobody_knows_are_none() -> None:
    """A paid interface without prices that never ran."""
    found = lesson(spec(cost=CostSpec(tier=Tier.PAID)), "code")
    assert (found.usd, found.seconds) == (None, None)
    assert lesson(spec(), "code").usd == 0


def test_time_is_drawn_towards_that_of_the_interface() -> None:
    """One slow run on a new type does not make it slow."""
    times = summed(
        {("quick", "claude"): Tally(seconds=990.0, timed=99), ("code", "claude"): Tally(seconds=110.0, timed=1)}
    )
    assert lesson(spec(), "code", history=times).seconds == pytest.approx((110 + 4 * 11) / 5)


# What is said, and disagreement


def test_the_record_reads_like_a_note() -> None:
    """Counts and the type, or that there are none."""
    assert belief(14, 1).record == "14 of 15 good on code"
    assert lesson(spec(), "code", history=NO_HISTORY).record == "none on code"


@pytest.mark.parametrize(
    ("first", "other", "expected"),
    [
        ((10, 10), (19, 1), True),
        ((19, 1), (10, 10), False),
        ((10, 10), (11, 9), False),
        ((0, 4), (40, 0), False),
        ((1, 30), (4, 0), False),
    ],
)
def test_history_disagrees_only_when_it_is_sure(first, other, expected: bool) -> None:
    """Clearly better, and both judged at least five times."""
    assert disagrees(belief(*first), belief(*other)) is expected


def test_lessons_are_by_name() -> None:
    """One for each interface."""
    assert set(lessons([spec("a"), spec("b")], "code", (), RoutingTable(), NO_HISTORY)) == {"a", "b"}
