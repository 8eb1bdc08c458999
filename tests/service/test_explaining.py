"""What becomes of a task now, as `brain route --explain` says it: the daemon's own answer, and nothing taken for it."""

import json
import os
import time
from contextlib import closing

import pytest

from brain_daemon.policy.breaker import Open, to_json
from brain_daemon.policy.routing import Choice
from brain_daemon.service.brain import Brain
from brain_daemon.service.config import user_state_path
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.explaining import Now, look, note, now_words
from brain_daemon.service.intake import Intake
from brain_daemon.service.limits import NoLimits
from brain_daemon.service.past import Past
from brain_daemon.service.snapshot import BREAKERS
from brain_daemon.store.accounts import FILE_NAME, Accounts
from brain_daemon.store.files import Files

TEN = "limits: {messages_per_day: 10}\n"
BOUND = "---\ninterface: {}\n---\n# Say\n\nSay it.\n"


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


def asked(root, task_id):
    """What becomes of a pending task now, and the note on it."""
    with closing(Brain.open(str(root), dict(os.environ))) as brain:
        registry = brain.registry()
        table, _ = brain.routing_table()
        past = Past(brain)
        past.look(table, now=True)
        intake = Intake(brain, brain.redactor(registry))
        (name,) = [name for name in intake.scan() if name == f"{task_id}.md"]
        task = intake.tasks[name].task
        dispatch = Dispatch(brain.config, intake, registry, NoLimits(), past)
        dispatch.interfaces_changed(table)
        now = look(brain, registry, table, past, task, os.path.join(brain.layout.pending, name))
        choice = dispatch.choices.route(task)
        assert isinstance(choice, Choice)
        return now, note(task, choice, past, table, "wait", now)


def open_breaker(root, name, seconds):
    with closing(Brain.open(str(root), dict(os.environ))) as brain:
        now = time.time()
        told = Open(since=now, until=now + seconds, trips=1, why="3 failures in a row")
        brain.journal.set(BREAKERS, json.dumps({name: to_json(told)}))


def use_up(brain, number):
    brain.echo("free1", more="cost: {tier: free}\n" + TEN)
    for one in range(number):
        brain.drop(f"t{one}.md", BOUND.format("free1"))
    brain.run_once()


def test_a_task_with_room_goes_to_its_first_choice_as_before(brain):
    brain.echo("free1", more="cost: {tier: free}\n" + TEN)
    brain.drop("a.md")
    now, said = asked(brain.root, "a")
    assert now == Now(interface="free1", why="")
    assert said[0] == "a is a task of the type general. It goes to free1 (free)."


def test_an_open_breaker_is_what_it_waits_for_and_until_when(brain):
    """Not `it goes there`."""
    brain.echo("free1")
    brain.drop("a.md", BOUND.format("free1"))
    open_breaker(brain.root, "free1", 240)
    now, said = asked(brain.root, "a")
    assert now.interface is None
    assert now.until == pytest.approx(time.time() + 240, abs=30)
    assert "It waits now: free1 has no room: its circuit breaker is open (3 failures in a row), until " in said[0]
    assert said[1].startswith("Its first choice is free1")


def test_a_task_that_goes_elsewhere_says_where_and_why_not_to_the_first(brain):
    """The rest of the note is about the first choice."""
    brain.echo("free1", more="cost: {tier: free}\ngood_at: {default: 0.99}\n")
    brain.echo("free2", more="cost: {tier: free}\ngood_at: {default: 0.6}\n")
    brain.drop("a.md")
    first = asked(brain.root, "a")[0].interface
    other = {"free1": "free2", "free2": "free1"}[first]
    open_breaker(brain.root, first, 240)
    now, said = asked(brain.root, "a")
    assert now.interface == other
    assert f"Now it goes to {other} (free), since {first} has no room: its circuit breaker is open" in said[0]
    assert not any(line.startswith("If ") for line in said)


def test_a_quota_near_its_end_is_told_and_nobody_is_asked_for_the_telling(brain):
    """Reserved, noted, put: nothing."""
    use_up(brain, 8)
    brain.drop("next.md", BOUND.format("free1"))
    path = os.path.join(user_state_path(), FILE_NAME)
    with closing(Accounts(path, Files())) as accounts:
        before = accounts.reserved()
    now, said = asked(brain.root, "next")
    assert now.interface is None
    assert "you are asked first" in said[0]
    with closing(Brain.open(str(brain.root), dict(os.environ))) as opened, closing(Accounts(path, Files())) as accounts:
        assert opened.journal.questions() == {}
        assert accounts.reserved() == before


def test_what_waits_for_another_task_a_time_or_a_resume_says_so(brain):
    brain.echo("free1")
    brain.drop("other.md", BOUND.format("free1"))
    brain.drop("a.md", "---\ndepends_on: [other]\n---\n# A\n\nx\n")
    brain.drop("b.md", "---\nnot_before: 2100-01-01T00:00:00Z\n---\n# B\n\nx\n")
    assert "It waits for other" in asked(brain.root, "a")[1][0]
    assert "until 2100-01-01T00:00:00Z" in asked(brain.root, "b")[1][0]
    with closing(Brain.open(str(brain.root), dict(os.environ))) as opened:
        opened.journal.set("paused", "yes")
    assert asked(brain.root, "other")[0].why.startswith("the brain is paused")


async def test_taken_slots_are_told_as_admission_has_them(brain):
    """The daemon leaves such a task in its queue without a word."""
    brain.echo("slow", "delay_seconds: 60", more="limits: {concurrent: 1}\n")
    async with brain.running() as daemon:
        brain.drop("first.md", BOUND.format("slow"))
        await daemon.started("first")
        brain.drop("second.md", BOUND.format("slow"))
        await daemon.until(lambda: "second" in brain.board.read_text(), "the board to have the second")
        now, said = asked(brain.root, "second")
    assert now.interface is None
    assert "slow has no room: 1 of 1 slots taken" in said[0]


def test_one_line_tells_the_same():
    assert now_words(Now(interface=None, why="waits for b"), 0.0) == "it waits for b"
    assert now_words(Now(interface="x", why="y has no room: z"), 0.0) == "it goes to x now: y has no room: z"
    assert now_words(Now(interface="x", why="", at_work=True), 0.0) == "it is at work now, on x"
