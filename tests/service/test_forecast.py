"""What a queue would take, before it starts: the daemon's own limits, asked without taking anything; and what then happens."""

import contextlib
import json
import time

import pytest

from brain_daemon.model.parsing import parse_task
from brain_daemon.record.wording import utc
from brain_daemon.service.estimates import Estimates
from brain_daemon.service.forecast import Forecast, forecast, told
from brain_daemon.service.foresight import estimate, foresight
from brain_daemon.service.near_limit import NearLimit

FREE = (
    "type: llm\ncost: {tier: free}\ngood_at: {default: 0.9}\nlimits: {messages_per_day: 10, requests_per_minute: 600}\n"
)
PLAN = "type: llm\ncost: {tier: subscription}\ngood_at: {default: 0.9}\nlimits: {windows: [{messages: 5, per: 5h}]}\n"
PAID = "type: llm\ncost: {tier: paid, input_per_million: 1, output_per_million: 2}\ngood_at: {default: 0.9}\n"


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts of this test's own, and no hours in which a part is kept for a person."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    monkeypatch.setenv("BRAIN_QUOTA_RESERVE_HOURS", "0-0")


def tasks(number: int, head: str = "", text: str = "Say it."):
    return [parse_task(f"t{n}.md", f"---\nid: t{n}\n{head}---\n{text}\n".encode()) for n in range(number)]


def looked(brain, wanted, **flags) -> Forecast:
    with contextlib.closing(brain.open(**flags)) as opened:
        return forecast(opened, opened.registry(), wanted)


def places(found: Forecast) -> dict[str | None, int]:
    return {name: sum(one.interface == name for one in found.tasks) for name in {one.interface for one in found.tasks}}


def test_what_is_forecast_is_what_happens(brain):
    """Thirty tasks, a free interface half used up, a plan and a paid one: so many go here, so many there, the rest wait unpaid."""
    brain.program("free1", "cat", more=FREE)
    brain.program("sub1", "cat", more=PLAN)
    brain.program("paid1", "cat", more=PAID)
    for number in range(4):
        brain.drop(f"used{number}.md", "---\ninterface: free1\n---\n# Used\n\nUsed.\n")
    brain.run_once()
    found = looked(brain, tasks(30))
    assert places(found) == {"free1": 4, "sub1": 4, None: 22}
    assert found.usd == 0
    said = told(found)
    assert said[0] == "30 tasks: 4 to free1, 4 to sub1; 22 tasks will wait."
    assert "40 % of 10 messages per day of free1" in said[1]
    assert "80 % of 5 messages per 5h of sub1" in said[1]
    for number in range(30):
        brain.drop(f"t{number}.md", "# Say\n\nSay it.\n")
    brain.run_once()
    ran = [row.interface for row in brain.rows() if row.task_id.startswith("t")]
    assert {name: ran.count(name) for name in ran} == {"free1": 4, "sub1": 4}


def test_a_forecast_takes_asks_and_writes_nothing(brain):
    """The same look again finds the same, no question is put, and no rate is drawn from."""
    brain.program("free1", "cat", more=FREE)
    first = looked(brain, tasks(12))
    assert (places(first), looked(brain, tasks(12))) == ({"free1": 8, None: 4}, first)
    with contextlib.closing(brain.journal()) as journal:
        assert not journal.questions()
        assert not journal.holds()


def test_urgent_tasks_have_the_quota_first(brain):
    """As in the queue, wherever they stand in the file."""
    brain.program("free1", "cat", more=FREE)
    urgent = parse_task("now.md", b"---\nid: now\npriority: high\n---\nSay it.\n")
    found = looked(brain, [*tasks(10), urgent])
    assert next(one for one in found.tasks if one.task_id == "now").interface == "free1"


def test_low_priority_leaves_the_part_of_the_person(brain):
    """A fifth of ten messages is kept in their hours."""
    brain.program("free1", "cat", more=FREE)
    found = looked(brain, tasks(12, "priority: low\n"), quota_reserve_hours="0-24", quota_reserve=0.5, harvest=False)
    assert places(found) == {"free1": 5, None: 7}
    assert "is kept for you" in found.waits[0].why


def test_a_hard_budget_is_a_wait(brain):
    """What is set aside for the day goes as far as it goes, and nothing is said to the log."""
    brain.program("paid1", "cat", more=PAID)
    budgets = [{"scope": "day", "usd": "0.005", "hard": True}]
    found = looked(brain, tasks(5), budgets=budgets)
    assert places(found)["paid1"] == 2
    assert "budget" in found.waits[0].why


def test_what_waits_for_the_same_is_said_once_and_the_rarest_are_summed_up(brain):
    """Five reasons are said, the others counted."""
    for number in range(7):
        brain.program(f"small{number}", "cat", more=f"limits: {{messages_per_day: 1{number}}}\n")
    wanted = [
        parse_task(f"t{n}-{m}.md", f"---\nid: t{n}-{m}\ninterface: small{n}\n---\nSay it.\n".encode())
        for n in range(7)
        for m in range(12 + n)
    ]
    found = looked(brain, wanted)
    said = told(found)
    assert sum("will wait until" in line for line in said) == 5
    assert said[-1].endswith("wait for 2 other reasons.")


def test_an_unknown_cost_is_said_beside_the_sum_and_what_waits_has_its_price(brain):
    """Nothing is guessed, and a wait is no saving."""
    brain.program("dark", "cat", more="type: llm\ncost: {tier: paid}\n")
    brain.program("paid1", "cat", more=f"{PAID}limits: {{messages_per_day: 2}}\n")
    found = looked(brain, [*tasks(2, "interface: dark\n"), *tasks(3, "interface: paid1\n")])
    assert "and the unknown cost of 2 tasks." in told(found)[1]
    assert "(then about $0.004" in told(found)[2]


def test_nothing_that_can_start_has_no_cost(brain):
    """There is only the reason."""
    assert told(looked(brain, tasks(2, "requires: vision\n")))[0] == "2 tasks: none of them can start now."


# one task with a long prompt

LONG = "one two three four " * 5_000


def seen(brain, head: str, **flags) -> str | None:
    with contextlib.closing(brain.open(**flags)) as opened:
        return foresight(opened, tasks(1, head, LONG)[0])


def test_the_estimate_names_where_the_task_really_goes(brain):
    """A binding holds, with the part of its windows."""
    brain.program("paid1", "cat", more=PAID)
    brain.program("sub1", "cat", more=PLAN)
    assert "on sub1 it may need 20," in seen(brain, "")
    said = seen(brain, "interface: paid1\n")
    assert "on paid1 it may need 20," in said
    assert "about $0.02" in said


def test_a_binding_that_refuses_says_why_and_no_price(brain):
    """The prompt is larger than a request may be."""
    brain.program("paid1", "cat", more=PAID)
    brain.program("sub1", "cat", more="type: llm\ncost: {tier: subscription}\nlimits: {tokens_per_request: 15000}\n")
    said = seen(brain, "interface: sub1\n")
    assert "nobody can take it now" in said
    assert "sub1" in said
    assert "15" in said
    assert "$" not in said
    assert seen(brain, "interface: sub1\n", estimate_tokens=30_000) is None


def test_an_estimate_says_what_the_task_waits_for(brain):
    """The quota is used up, or asked about first."""
    brain.program("few", "cat", more="limits: {messages_per_day: 1}\n")
    brain.drop("used.md", "---\ninterface: few\n---\n# Used\n")
    brain.run_once()
    said = seen(brain, "interface: few\n")
    midnight = (time.time() // 86_400 + 1) * 86_400
    assert f"now it waits until {utc(midnight)}: few: 100% of 1 messages per day used" in said


def test_the_price_alone_may_be_unknown(brain):
    """A window in dollars has no share then."""
    brain.program("dark", "cat", more="type: llm\ncost: {tier: paid}\nlimits: {windows: [{usd: 5, per: day}]}\n")
    assert seen(brain, "interface: dark\n").endswith("at a price nobody knows")


def test_what_an_interface_has_learned_may_make_a_prompt_short(brain):
    """The figure that counts is what it makes of a count."""
    brain.program("sub1", "cat", more=PLAN)
    with contextlib.closing(brain.open()) as opened:
        opened.journal.set("estimates", json.dumps({"sub1": [1000.0, 100.0, 10.0, 1.0]}))
        assert Estimates(opened.journal).of(LONG, opened.registry().entries["sub1"].spec).prompt_tokens < 3_000
        assert foresight(opened, tasks(1, "", LONG)[0]) is None
        assert estimate(opened, tasks(1)[0], opened.registry().entries["sub1"].spec) is None


def test_a_long_prompt_asks_no_question(brain, monkeypatch):
    """Looking is not starting."""
    asked = []
    monkeypatch.setattr(NearLimit, "ask", lambda self: asked.append(1))
    brain.program("few", "cat", more="limits: {messages_per_day: 1}\n")
    assert seen(brain, "interface: few\n") is not None
    assert asked == []
