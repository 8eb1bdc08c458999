"""History in the ranking: what the table leaves open is drawn, what it says stays unless history may go before it."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import Availability, CostSpec, InterfaceSpec, InterfaceType, Invoke, InvokeKind, Tier
from brain_daemon.model.routing_table import RoutingTable, Strategy, TypeRule
from brain_daemon.model.task import OnLimit, Prefer, TaskSpec
from brain_daemon.policy.admission import within_reach
from brain_daemon.policy.drawing import drawn
from brain_daemon.policy.evidence import History, Tally, summed
from brain_daemon.policy.learning import Learn, lessons
from brain_daemon.policy.routing import Candidate, Choice, RoutingPolicy, route

OPEN = RoutingTable(floor=(("default", 0.5),))
LISTED = RoutingTable(types=(("code", TypeRule(best=("claude",), fallback=("codex",))),))
IDS = [f"task-{n}" for n in range(60)]


def task(**fields) -> TaskSpec:
    base = {"id": "t", "explicit_id": False, "title": "", "text": "", "sha256": "", "size_bytes": 0, "name": "t.md"}
    return TaskSpec(**(base | {"type": "code"} | fields))


def interface(name: str, tier: Tier = Tier.FREE, **fields) -> Candidate:
    invoke = Invoke(kind=InvokeKind.COMMAND, command=(name,))
    spec = InterfaceSpec(
        name=name, type=InterfaceType.LLM, sha256="", invoke=invoke, cost=CostSpec(tier=tier), **fields
    )
    return Candidate(spec=spec, usable=True)


def history(figures: Mapping[str, tuple[int, int]]) -> History:
    """Good and bad attempts on code, by interface."""
    return summed(
        {
            ("code", name): Tally(good=good, bad=bad, judged=good + bad, praised=good, seconds=10.0 * good, timed=good)
            for name, (good, bad) in figures.items()
        }
    )


def chosen(
    candidates: Sequence[Candidate],
    figures: Mapping[str, tuple[int, int]],
    table: RoutingTable = OPEN,
    learn: Learn = Learn.ORDER,
    **fields,
) -> Choice:
    found = route(
        task(**fields),
        candidates,
        table,
        prompt_tokens=None,
        policy=RoutingPolicy(),
        lessons=lessons([one.spec for one in candidates], "code", (), table, history(figures)),
        learn=learn,
    )
    assert isinstance(found, Choice)
    return found


def names(choice: Choice) -> list[str]:
    return [one.name for one in choice.ranked]


def firsts(choice: Choice, prefer: Prefer = Prefer.COST) -> set[str]:
    return {drawn(choice, one, prefer).ranked[0].name for one in IDS}


def test_what_a_rung_leaves_open_is_drawn_for_each_task() -> None:
    """Two equals take turns by chance; the same task always comes to the same one, and its reason has the draw."""
    choice = chosen([interface("a"), interface("b")], {"a": (8, 2), "b": (7, 2)})
    assert firsts(choice) == {"a", "b"}
    assert drawn(choice, "task-1") == drawn(choice, "task-1")
    first = drawn(choice, "task-1").ranked[0]
    assert "history: " in first.reason
    assert "; draw 0." in first.reason


def test_history_puts_the_better_one_first() -> None:
    """Clearly better, always first."""
    choice = chosen([interface("a"), interface("b")], {"a": (2, 9), "b": (99, 1)})
    assert firsts(choice) == {"b"}


def test_a_draw_never_moves_an_interface_to_another_rung() -> None:
    """However good the dear one is, the cheaper rung goes first."""
    choice = chosen(
        [interface("a"), interface("b"), interface("dear", Tier.PAID), interface("dearer", Tier.PAID)],
        {"a": (6, 4), "b": (6, 4), "dear": (99, 0), "dearer": (99, 0)},
    )
    assert {frozenset(names(drawn(choice, one))[:2]) for one in IDS} == {frozenset({"a", "b"})}


def test_an_interface_that_history_puts_below_the_floor_is_a_last_resort() -> None:
    """Even on a cheaper rung; and one that declared too little is lifted by what it did."""
    choice = chosen([interface("poor"), interface("paid", Tier.PAID)], {"poor": (1, 20), "paid": (5, 1)})
    assert names(choice) == ["paid", "poor"]
    assert choice.ranked[1].last_resort
    assert "history: 1 of 21 good on code" in choice.ranked[1].reason
    lifted = chosen([interface("humble", good_at=(("code", 0.3),))], {"humble": (60, 0)})
    assert not lifted.ranked[0].last_resort


def test_with_learning_off_the_files_alone_decide() -> None:
    """The same choice as without a history, and no draw."""
    candidates = [interface("a"), interface("b")]
    choice = chosen(candidates, {"a": (0, 50), "b": (50, 0)}, learn=Learn.OFF)
    assert choice == route(task(), candidates, OPEN, prompt_tokens=None, policy=RoutingPolicy())
    assert drawn(choice, "task-1") is choice


def test_a_choice_with_nothing_open_stays_as_it_is() -> None:
    """One interface, or only listed ones."""
    alone = chosen([interface("a")], {"a": (3, 3)})
    assert drawn(alone, "task-1") is alone
    listed = chosen([interface("claude"), interface("codex")], {"claude": (3, 3)}, LISTED)
    assert drawn(listed, "task-1") is listed


@pytest.mark.parametrize("strategy", [Strategy.CAPABILITY, Strategy.ROUND_ROBIN, Strategy.LEAST_LOADED])
def test_other_strategies_keep_their_own_order(strategy: Strategy) -> None:
    """Only the ladder draws; capability takes the best by what history expects."""
    table = RoutingTable(strategy=strategy, floor=(("default", 0.1),))
    choice = chosen([interface("a"), interface("b")], {"a": (3, 9), "b": (9, 1)}, table)
    assert drawn(choice, "task-1") is choice
    if strategy is Strategy.CAPABILITY:
        assert names(choice) == ["b", "a"]


def test_a_draw_can_go_unexplained() -> None:
    """A simulation reads no reasons."""
    choice = chosen([interface("a"), interface("b")], {"a": (8, 2), "b": (7, 2)})
    plain = drawn(choice, "task-1", explained=False)
    assert names(plain) == names(drawn(choice, "task-1"))
    assert "draw" not in plain.ranked[0].reason


def test_preferences_change_who_goes_first() -> None:
    """Equal in success, one ten times as slow: speed takes the quick one, quality either."""
    tallies = {
        ("code", name): Tally(good=20, bad=5, judged=25, praised=20, seconds=seconds, timed=20)
        for name, seconds in (("quick", 200.0), ("slow", 20_000.0))
    }
    candidates = [interface("quick"), interface("slow")]
    taught = lessons([one.spec for one in candidates], "code", (), OPEN, summed(tallies))
    choice = route(task(), candidates, OPEN, prompt_tokens=None, policy=RoutingPolicy(), lessons=taught)
    assert isinstance(choice, Choice)
    assert firsts(choice, Prefer.SPEED) == {"quick"}
    assert firsts(choice, Prefer.QUALITY) == {"quick", "slow"}


# Where routing.md and history disagree


def test_the_table_goes_first_and_says_that_history_disagrees() -> None:
    """`learn = order`."""
    choice = chosen([interface("claude"), interface("codex")], {"claude": (10, 12), "codex": (28, 2)}, LISTED)
    assert names(choice) == ["claude", "codex"]
    assert choice.ranked[0].reason == (
        "routing.md lists it as best for code; history: 10 of 22 good on code; "
        "history disagrees and would take codex (28 of 30 good on code)"
    )


def test_history_goes_first_where_it_may() -> None:
    """`learn = reorder`; the others keep their order behind it."""
    choice = chosen(
        [interface("claude"), interface("codex"), interface("other")],
        {"claude": (10, 12), "codex": (9, 9), "other": (30, 1)},
        LISTED,
        Learn.REORDER,
    )
    assert names(choice) == ["other", "claude", "codex"]
    assert "history goes before routing.md, which would take claude (10 of 22 good on code)" in choice.ranked[0].reason


def test_history_never_goes_before_the_table_onto_a_dearer_rung() -> None:
    """Money is the person's to spend."""
    choice = chosen(
        [interface("claude"), interface("dear", Tier.PAID)],
        {"claude": (10, 12), "dear": (50, 0)},
        LISTED,
        Learn.REORDER,
    )
    assert names(choice) == ["claude", "dear"]
    assert "history disagrees" not in choice.ranked[0].reason


@pytest.mark.parametrize("learn", [Learn.ORDER, Learn.REORDER])
def test_whom_the_task_names_history_does_not_move(learn: Learn) -> None:
    """A preference is the person's word on this one task."""
    choice = chosen(
        [interface("claude"), interface("codex")],
        {"claude": (2, 20), "codex": (50, 0)},
        LISTED,
        learn,
        preferred_interface="claude",
    )
    assert names(choice)[0] == "claude"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Tier)),
            st.sampled_from([Availability.AVAILABLE, Availability.LIMITED]),
            st.integers(0, 30),
            st.integers(0, 30),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(list(Learn)),
    st.sampled_from(IDS),
)
def test_a_draw_changes_nobodys_rung_and_nobodys_reach(some, learn: Learn, task_id: str) -> None:
    """The same interfaces, rungs never falling among the open ones, and admission may reach exactly the same."""
    candidates = [interface(f"i{n}", tier, status=status) for n, (tier, status, _, _) in enumerate(some)]
    choice = chosen(candidates, {f"i{n}": (good, bad) for n, (_, _, good, bad) in enumerate(some)}, learn=learn)
    after = drawn(choice, task_id)
    assert sorted(names(after)) == sorted(names(choice))
    assert [one.rung for one in after.ranked] == [one.rung for one in choice.ranked]
    for on_limit in OnLimit:
        before = {one.name for one in within_reach(choice, on_limit=on_limit)}
        assert {one.name for one in within_reach(after, on_limit=on_limit)} == before
