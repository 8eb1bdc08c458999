"""What the ledger teaches, kept up with: rows as they come, ratings, proofs, and who is asked first because of them."""

import contextlib
import json
import math
import os
from decimal import Decimal
from pathlib import Path

import pytest

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.interface import Tier
from brain_daemon.model.outcome import CostBasis, Reason, Status
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.routing_file import parse_routing
from brain_daemon.model.routing_table import RoutingTable
from brain_daemon.policy.deciding import by_history, by_table, decision
from brain_daemon.policy.routing import Choice
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.intake import Intake
from brain_daemon.service.limits import NoLimits
from brain_daemon.service.past import Past
from brain_daemon.service.rating import rate

TABLE = RoutingTable()
PLAIN = "type: llm\ncost: {tier: free}\n"


def row(number: int, interface: str, good: bool = True, kind: str = "code", day: int = 20, **more) -> CostRow:
    fields = {
        "timestamp": f"2026-11-{day:02}T10:00:00Z",
        "task_id": f"t{number}",
        "attempt_id": f"t{number}.a1.{interface}",
        "attempt": 1,
        "status": Status.COMPLETED if good else Status.FAILED,
        "reason": None if good else Reason.TOOL_FAILED,
        "interface": interface,
        "tier": Tier.FREE,
        "task_type": kind,
        "cost_usd": Decimal(0),
        "cost_basis": CostBasis.FREE,
        "duration_seconds": 3.0,
    }
    return CostRow(**(fields | more))


def add(opened, *rows: CostRow) -> None:
    opened.journal.add_outcomes([one.to_values() for one in rows])


@pytest.fixture
def opened(brain):
    for name in ("left", "right"):
        brain.program(name, "cat", more=PLAIN)
    with contextlib.closing(brain.open()) as found:
        yield found


def choice_of(opened, past: Past, table: RoutingTable, tmp_path, text: str) -> Choice:
    """How a task with this text is routed."""
    (opened.layout.pending and tmp_path / "q.md").write_text(text)
    intake = Intake(opened, Redactor())
    dispatch = Dispatch(opened.config, intake, opened.registry(), NoLimits(), past)
    dispatch.interfaces_changed(table)
    os.replace(tmp_path / "q.md", os.path.join(opened.layout.pending, "q.md"))
    intake.complete("q.md")
    task = intake.tasks["q.md"].task
    found = dispatch.choices.route(task)
    assert isinstance(found, Choice)
    return dispatch.choices.drawn(found, task)


def test_rows_are_added_as_they_come(opened):
    """In one go or one by one, the history is the same; without news there is nothing to do."""
    rows = [row(n, "left", good=n % 3 != 0, day=10 + n) for n in range(8)]
    step = Past(opened)
    for one in rows:
        add(opened, one)
        assert step.look(TABLE, now=True)
    assert not step.look(TABLE, now=True)
    whole = Past(opened)
    assert whole.look(TABLE, now=True)
    assert whole.history == step.history
    assert whole.history.on("code", "left").judged == 8


def test_it_looks_at_most_once_in_a_few_seconds(opened):
    """A storm of starts does not become a storm of reading."""
    past = Past(opened)
    past.look(TABLE)
    add(opened, row(1, "left"))
    assert not past.look(TABLE)
    assert past.look(TABLE, now=True)


def test_an_index_that_was_built_anew_is_counted_anew(opened):
    """Nothing is counted twice, and what is gone counts no more."""
    past = Past(opened)
    add(opened, *(row(n, "left") for n in range(5)))
    past.look(TABLE, now=True)
    rebuilt = [row(n, "left") for n in range(3, 12)]
    opened.journal.replace_caches([], [one.to_values() for one in rebuilt])
    assert past.look(TABLE, now=True)
    assert past.history.on("code", "left").judged == 9


def test_the_sums_outlive_a_daemon(opened, monkeypatch):
    """The next one reads the rows that are new, and comes to the same history as one that counts all of them."""
    read: list[tuple[int, int]] = []
    rows_between = opened.journal.outcomes_between
    monkeypatch.setattr(
        opened.journal, "outcomes_between", lambda after, last: read.append((after, last)) or rows_between(after, last)
    )
    add(opened, *(row(n, "left", good=n % 3 != 0, day=10 + n) for n in range(8)))
    before = Past(opened)
    before.look(TABLE, now=True)
    before.keep()
    idle = Past(opened)
    assert idle.look(TABLE, now=True)
    assert idle.history == before.history
    add(opened, row(8, "right", day=20))
    after = Past(opened)
    assert after.look(TABLE, now=True)
    assert read == [(0, 8), (8, 8), (8, 9)]
    opened.files.remove(os.path.join(opened.layout.state, "history.counted"))
    anew = Past(opened)
    anew.look(TABLE, now=True)
    assert after.history == anew.history
    assert not after.look(TABLE, now=True)


@pytest.mark.parametrize(
    "spoiled", [b"", b"{}", b"[1]", b"null", b"\xff", b'{"sums": [[1]]}', b"[]" * 9, "far", "endless"]
)
def test_sums_that_cannot_be_read_are_counted_anew(opened, spoiled):
    """They say nothing that the index does not say; so do those of another ledger, or of other names for types."""
    add(opened, row(1, "left"), row(2, "left", kind="coding"))
    before = Past(opened)
    before.look(TABLE, now=True)
    before.keep()
    place = os.path.join(opened.layout.state, "history.counted")
    if isinstance(spoiled, str):
        told = json.loads(Path(place).read_bytes())
        spoiled = json.dumps(told | {"read": 10**30 if spoiled == "far" else math.inf}).encode()
    opened.files.put(place, spoiled)
    after = Past(opened)
    assert after.look(TABLE, now=True)
    assert after.history == before.history
    after.keep()
    named = parse_routing(b"---\naliases: {coding: code}\n---\n")
    assert isinstance(named, RoutingTable)
    other = Past(opened)
    other.look(named, now=True)
    fresh = Past(opened)
    opened.files.remove(os.path.join(opened.layout.state, "history.counted"))
    fresh.look(named, now=True)
    assert other.history == fresh.history
    assert other.history.on("code", "left").judged == 2


def test_types_of_another_name_are_one_type(opened):
    """And all is counted anew when routing.md calls them otherwise."""
    add(opened, row(1, "left", kind="coding"), row(2, "left"))
    past = Past(opened)
    past.look(TABLE, now=True)
    assert past.history.on("code", "left").judged == 1
    table = parse_routing(b"---\naliases: {coding: code}\n---\n")
    assert isinstance(table, RoutingTable)
    past.look(table, now=True)
    assert past.history.on("code", "left").judged == 2


def test_a_proof_that_failed_weighs_two_attempts(opened):
    """The row itself says that it was one."""
    add(opened, row(1, "left", good=False, reason=Reason.VERIFICATION_FAILED))
    past = Past(opened)
    past.look(TABLE, now=True)
    assert past.history.on("code", "left").bad == 2.0


def test_whoever_did_better_goes_first_for_most_tasks(opened, tmp_path):
    """A draw for each task: the poor one is tried seldom; with `learn` off the order is that of the names."""
    add(opened, *(row(n, "left", good=n < 2) for n in range(20)), *(row(n, "right", good=n < 19) for n in range(20)))
    past = Past(opened)
    past.look(TABLE, now=True)
    firsts = [
        choice_of(opened, past, TABLE, tmp_path, f"---\nid: n{n}\ntype: code\nnever: librarian\n---\n# T\n")
        .ranked[0]
        .name
        for n in range(20)
    ]
    assert firsts.count("right") >= 18
    assert (
        "history: 19 of 20 good on code"
        in choice_of(opened, past, TABLE, tmp_path, "---\ntype: code\n---\n# T\n").ranked[0].reason
    )


def test_switched_off_history_has_no_say(brain, opened, tmp_path):
    """One setting."""
    add(opened, *(row(n, "left", good=False) for n in range(20)))
    with contextlib.closing(brain.open(learn="off")) as plain:
        past = Past(plain)
        assert not past.look(TABLE, now=True)
        found = choice_of(plain, past, TABLE, tmp_path, "---\ntype: code\n---\n# T\n")
    assert found.ranked[0].name == "left"
    assert "history" not in found.ranked[0].reason


def test_with_reorder_history_goes_before_the_table(brain, opened, tmp_path):
    """By default it only says that it disagrees; what would have been is kept for the report either way."""
    add(opened, *(row(n, "left", good=False) for n in range(12)), *(row(n, "right") for n in range(12)))
    table = parse_routing(b"---\ntypes: {code: {best: [left], fallback: [right]}}\n---\n")
    assert isinstance(table, RoutingTable)
    for learn, first in (("order", "left"), ("reorder", "right")):
        with contextlib.closing(brain.open(learn=learn)) as other:
            past = Past(other)
            past.look(table, now=True)
            found = choice_of(other, past, table, tmp_path, "---\ntype: code\n---\n# T\n")
        assert found.ranked[0].name == first
        assert (by_table(found), by_history(found)) == ("left", "right")
    told = decision(found, "right", proved=True)
    assert told == {"decided": "right", "by_table": "left", "by_history": "right", "proof": True}


def test_a_rating_is_heard_and_committed(brain):
    """It goes before what the row says, the last word counts, and git has it."""
    brain.echo()
    brain.drop("a.md", "---\ntype: code\ninterface: echo\n---\n# A\n")
    brain.run_once()
    with contextlib.closing(brain.open()) as opened:
        past = Past(opened)
        past.look(TABLE, now=True)
        assert past.history.on("code", "echo").good == 1.0
        rate(opened, "a", good=False, why="made up")
        assert past.look(TABLE, now=True)
        assert (past.history.on("code", "echo").good, past.history.on("code", "echo").bad) == (0.0, 3.0)
        rate(opened, "a", good=True)
        past.look(TABLE, now=True)
        assert past.history.on("code", "echo").good == 3.0
    assert "made up" in brain.git("grep", "-h", "", "HEAD", "--", "logs/ratings")
    assert brain.dirty() == ""
