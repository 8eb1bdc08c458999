"""A chain as a tree, from rows and members."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.outcome import CostBasis, Mode, Status
from brain_daemon.record.chain import Member, chain_of, mermaid


def row(
    task_id: str, *, parent: str | None = None, attempt: int = 1, usd: str = "0.1", status=Status.COMPLETED
) -> CostRow:
    return CostRow(
        timestamp="2026-11-20T20:15:00Z",
        task_id=task_id,
        attempt_id=f"{task_id}.a{attempt}.x",
        attempt=attempt,
        status=status,
        mode=Mode.DAEMON,
        chain_id="a",
        parent_id=parent,
        input_tokens=10,
        output_tokens=1,
        cost_usd=Decimal(usd),
        cost_basis=CostBasis.REPORTED,
        duration_seconds=2.0,
        interface="agent",
    )


def test_a_chain_is_a_tree_with_parents_before_children() -> None:
    """A fans out to B and C; D hangs below B, which it names first."""
    chain = chain_of("a", [row("a"), row("b", parent="a"), row("c", parent="a"), row("d", parent="b")], [])
    assert [(link.task_id, link.depth) for link in chain.links] == [("a", 0), ("b", 1), ("d", 2), ("c", 1)]
    assert chain.children("a") == ["b", "c"]
    assert chain.totals.known_usd == Decimal("0.4")


def test_every_attempt_counts_once() -> None:
    """A failed attempt and the one after it are both paid; a row that a merge brought twice is not."""
    rows = [row("a", status=Status.FAILED), row("a", attempt=2), row("a", attempt=2)]
    (link,) = chain_of("a", rows, []).links
    assert (link.attempts, link.totals.known_usd, link.state) == (2, Decimal("0.2"), "completed")


def test_a_member_says_how_the_task_stands_now() -> None:
    """What waits has no rows; what is run again is not what its last row says."""
    members = [Member(task_id="a", state="active"), Member(task_id="b", state="held", parent="a", title="B")]
    chain = chain_of("a", [row("a", status=Status.FAILED)], members)
    assert [(link.task_id, link.state, link.depth) for link in chain.links] == [("a", "active", 0), ("b", "held", 1)]


def test_a_parent_outside_the_chain_is_no_place_to_hang() -> None:
    """Its children stand at the top; so do tasks that name each other as parents."""
    chain = chain_of("a", [row("x", parent="gone"), row("y", parent="z"), row("z", parent="y")], [])
    assert [(link.task_id, link.depth) for link in chain.links] == [("x", 0), ("y", 0), ("z", 1)]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.none() | st.sampled_from("abcdefgh"), min_size=1))
def test_whatever_the_parents_each_task_stands_in_the_tree_once(parents: dict[str, str | None]) -> None:
    """And the sums of the links are the total of the chain."""
    chain = chain_of("a", [row(name, parent=parent) for name, parent in parents.items()], [])
    assert sorted(link.task_id for link in chain.links) == sorted(parents)
    assert sum(link.totals.known_usd for link in chain.links) == chain.totals.known_usd
    assert mermaid(chain).count("-->") == sum(link.parent is not None for link in chain.links)
