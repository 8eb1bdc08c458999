"""The order of pending tasks and why the others wait: a real intake and registry, no daemon."""

import contextlib
import time

import pytest

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.routing_file import parse_routing
from brain_daemon.service.dispatch import Dispatch, Fail, Go
from brain_daemon.service.gate import Entrant, Gate
from brain_daemon.service.intake import Intake


class Desk:
    """A dispatch with its picture of pending/."""

    def __init__(self, brain, opened) -> None:
        self.brain = brain
        self.registry = opened.registry()
        self.intake = Intake(opened, Redactor())
        self.gate = Gate(opened, self.specs, lambda name: self.registry.entries[name].spec)
        self.dispatch = Dispatch(opened.config, self.intake, self.registry, self.gate)

    def specs(self):
        return [entry.spec for entry in self.registry.entries.values()]

    def sent(self, name: str) -> None:
        """A message to this interface, which is still under way."""
        task = parse_task("earlier.md", b"Say it.\n")
        attempt = Attempt(
            attempt_id="earlier.a1.0123abcd",
            task_id="earlier",
            number=1,
            state=AttemptState.STARTING,
            name="earlier.md",
            sha256=task.sha256,
            spec=b"",
            claimant="daemon",
            claimed_at=time.time(),
            interface=name,
        )
        entrant = Entrant(attempt=attempt, task=task, spec=self.registry.entries[name].spec)
        assert not self.gate.enter([entrant])

    def drop(self, name: str, body: str = "Do it.", **fields: object) -> None:
        head = "".join(f"{key}: {value}\n" for key, value in fields.items())
        self.brain.drop(name, f"---\n{head}---\n# Sum\n\n{body}\n")
        self.look()

    def look(self) -> None:
        for name in self.intake.scan():
            self.dispatch.changed(name)

    def pick(self, free: int = 100, **running: int) -> list[str]:
        """The ids of what starts now."""
        return [pick.task.id for pick in self.dispatch.pick(free, running) if isinstance(pick, Go)]

    def held(self, name: str) -> str:
        return self.dispatch.held[name].reason


@pytest.fixture
def desk(brain):
    brain.echo()
    with contextlib.closing(brain.open()) as opened:
        yield Desk(brain, opened)


def test_priority_then_age_then_as_many_as_there_are_slots(desk):
    """What finds no slot stays queued, in its order."""
    desk.drop("a.md", created="2026-11-20T10:00:00Z")
    desk.drop("b.md", created="2026-11-19T10:00:00Z")
    desk.drop("c.md", priority="high")
    desk.drop("d.md", priority="low")
    assert [pending.id for pending in desk.dispatch.upcoming()] == ["c", "b", "a", "d"]
    assert desk.pick(0) == []
    assert desk.pick(2) == ["c", "b"]
    assert len(desk.dispatch) == 2
    assert desk.pick() == ["a", "d"]
    assert len(desk.dispatch) == 0


def test_quick_tools_take_no_slot_as_long_as_they_are_few(desk):
    """What comes beyond takes one like any other task, and nothing is taken past one that found none."""
    desk.brain.echo("slow", "delay_seconds: 1")
    desk.registry.scan()
    for name in ("a", "b", "c", "d"):
        desk.drop(f"{name}.md", interface="echo")
    desk.drop("e.md", interface="slow")
    desk.drop("f.md", interface="echo")
    picks = desk.dispatch.pick(2, {}, quick=3)
    assert [(pick.task.id, pick.quick) for pick in picks] == [
        ("a", True),
        ("b", True),
        ("c", True),
        ("d", False),
        ("e", False),
    ]
    assert [(pick.task.id, pick.quick) for pick in desk.dispatch.pick(1, {}, quick=3)] == [("f", True)]


def test_an_interface_has_slots_of_its_own(desk):
    """A full one keeps its tasks queued and holds up nobody else's."""
    desk.brain.echo("narrow", more="limits: {concurrent: 1}\n")
    desk.registry.scan()
    desk.drop("a.md", interface="narrow", priority="high")
    desk.drop("b.md", interface="narrow", priority="high")
    desk.drop("c.md", interface="echo")
    assert desk.pick() == ["a", "c"]
    assert desk.pick(100, narrow=1) == []
    assert desk.pick() == ["b"]


def test_a_limit_that_is_reached_holds_until_it_is_free(desk):
    """With its time, and put back when that has come."""
    desk.brain.echo("counted", more="limits: {messages_per_day: 1}\n")
    desk.registry.scan()
    desk.gate.look()
    desk.sent("counted")
    desk.drop("a.md", interface="counted")
    assert desk.pick() == []
    held = desk.dispatch.held["a.md"]
    assert "100% of 1 messages per day used" in held.reason
    assert desk.dispatch.next_due == held.until > time.time()
    desk.dispatch.due(time.time())
    assert len(desk.dispatch) == 0
    desk.dispatch.due(held.until)
    assert len(desk.dispatch) == 1


def test_a_freed_slot_lets_those_go_that_are_held_until_the_reset_of_another(desk):
    """As many as there are slots, in their order: nobody waits for a quota while an interface that costs no more stands idle."""
    desk.brain.echo("narrow", more="limits: {concurrent: 2}\nrequires: [x]\n")
    desk.brain.echo("counted", more="limits: {messages_per_day: 1}\n")
    (desk.brain.root / "tools" / "interfaces" / "echo.md").unlink()
    desk.registry.scan()
    desk.gate.look()
    desk.sent("counted")
    for name, priority in (("a.md", "low"), ("b.md", "high"), ("c.md", "medium")):
        desk.drop(name, priority=priority)
    busy = {"narrow": 2}
    assert desk.pick(100, **busy) == []
    assert all("slots taken" in desk.held(f"{name}.md") and desk.dispatch.held[f"{name}.md"].until for name in "abc")
    desk.dispatch.slots_freed(lambda: busy)
    assert len(desk.dispatch) == 0
    desk.dispatch.slots_freed(lambda: {"narrow": 1})
    assert desk.pick(100, narrow=1) == ["b"]
    desk.dispatch.slots_freed(dict)
    assert desk.pick() == ["c", "a"]
    desk.dispatch.slots_freed(dict)
    assert desk.dispatch.held == {}


def test_waiting_for_another_task(desk):
    """Looked at again when it has ended, and failed when it has failed."""
    desk.drop("b.md", depends_on="[A]")
    assert desk.pick() == []
    assert desk.held("b.md") == "waits for A (no task is called that)"
    desk.intake.ended["a"] = "completed"
    desk.dispatch.task_ended("a")
    assert desk.pick() == ["b"]
    desk.drop("c.md", depends_on="[x]")
    assert desk.pick() == []
    desk.intake.ended["x"] = "failed"
    desk.dispatch.task_ended("X")
    (fail,) = desk.dispatch.pick(1, {})
    assert isinstance(fail, Fail)
    assert "x, which failed" in fail.dependency


def test_a_conflict_holds_whichever_of_the_two_names_it(desk):
    """Until the one that runs has ended."""
    desk.drop("a.md", conflicts_with="[b]", priority="high")
    desk.drop("b.md")
    assert desk.pick(1) == ["a"]
    desk.intake.forget("a.md")
    desk.intake.active["a"] = "active"
    assert desk.pick() == []
    assert "conflicts with a" in desk.held("b.md")
    desk.intake.active.clear()
    desk.dispatch.task_ended("a")
    assert desk.pick() == ["b"]


def test_a_faulty_file_fails_whether_or_not_there_is_a_slot(desk):
    """It needs none."""
    desk.drop("bad.md", priority="urgent")
    (fail,) = desk.dispatch.pick(0, {})
    assert isinstance(fail, Fail)
    assert fail.pending.fault is not None
    assert desk.dispatch.pick(0, {}) == []


def test_an_edit_or_a_removal_takes_a_task_out_of_the_order(desk):
    """Its old place is gone with it."""
    desk.drop("a.md")
    desk.drop("a.md", priority="low")
    desk.drop("b.md")
    assert [pending.id for pending in desk.dispatch.upcoming()] == ["b", "a"]
    (desk.brain.pending / "a.md").unlink()
    desk.look()
    assert desk.pick() == ["b"]


@pytest.mark.parametrize(
    ("fields", "body", "said"),
    [
        ({}, "the key is sk-ant-api03-" + "Zq7Xw2Lk9PmVb4Nc8Rt1Yh6Gd3Fs5Ja0Ue" * 2 + "AA", "seems to contain a secret"),
        ({"workspace": "brain"}, "x", "not in this release"),
        ({"requires": "[telepathy]"}, "x", "telepathy"),
        ({"interface": "nobody"}, "x", "nobody"),
        ({"not_before": "2099-01-01T00:00:00Z"}, "x", "not before"),
    ],
)
def test_each_hold_has_its_sentence(desk, fields, body, said):
    """For the board."""
    desk.drop("a.md", body, **fields)
    assert desk.pick() == []
    assert said in desk.held("a.md")


def test_what_nobody_could_do_is_chosen_anew_when_the_interfaces_change(desk):
    """Every choice is."""
    desk.drop("a.md", requires="[telepathy]")
    assert desk.pick() == []
    assert desk.dispatch.held["a.md"].nobody.missing_capabilities == ("telepathy",)
    desk.brain.echo("medium", more="capabilities: [telepathy]\n")
    desk.registry.scan()
    desk.dispatch.interfaces_changed(desk.dispatch.choices.table)
    assert desk.pick() == ["a"]


def test_a_pause_between_attempts_holds_until_its_end(desk):
    """By task, in any case of its id."""
    desk.drop("A.md")
    desk.dispatch.pauses["a"] = time.time() + 100
    assert desk.pick() == []
    assert "next attempt" in desk.held("A.md")
    desk.dispatch.pauses["a"] = time.time() - 1
    desk.dispatch.wake("A.md")
    assert desk.pick() == ["A"]


def test_tasks_from_git_may_be_made_to_wait(brain):
    """`tasks_from_git = hold`: until a person releases that text."""
    brain.echo()
    brain.drop("a.md")
    brain.commit()
    with contextlib.closing(brain.open(tasks_from_git="hold")) as opened:
        desk = Desk(brain, opened)
        desk.look()
        assert desk.pick() == []
        assert "came with git" in desk.held("a.md")
        desk.intake.released = frozenset({desk.intake.tasks["a.md"].task.sha256})
        desk.dispatch.wake("a.md")
        assert desk.pick() == ["a"]


def test_round_robin_takes_turns(desk):
    """Equal interfaces share the work."""
    for name in ("one", "two"):
        desk.brain.echo(name, more="good_at: {default: 0.9}\n")
    desk.registry.scan()
    desk.dispatch.interfaces_changed(parse_routing(b"---\nstrategy: round_robin\n---\n"))
    for number in range(6):
        desk.drop(f"{number}.md")
    chosen = [pick.start.name for pick in desk.dispatch.pick(100, {}) if isinstance(pick, Go)]
    assert len(chosen) == 6
    assert len(set(chosen)) >= 2


def test_a_long_prompt_is_counted_where_an_interface_could_refuse_it(desk):
    """Only then: counting costs time."""
    desk.brain.echo("small", more="limits: {tokens_per_request: 50}\n")
    desk.registry.scan()
    desk.drop("short.md", "x", interface="small")
    desk.drop("long.md", "many words " * 200, interface="small")
    assert desk.pick() == ["short"]
    assert "token" in desk.held("long.md")


def test_what_is_taken_while_it_is_looked_at_anew_is_left_out(desk):
    """As a workflow whose run begins in the same tick in which the interfaces have changed."""
    desk.drop("flow.md", workflow="w")
    assert desk.pick() == []
    (flow,) = desk.dispatch.workflows
    desk.dispatch.interfaces_changed(desk.dispatch.choices.table)
    desk.intake.forget(flow.name)
    desk.drop("other.md")
    assert desk.pick() == ["other"]
    assert len(desk.dispatch) == 0


def test_what_a_task_waited_for_is_told_from_what_the_daemon_took(desk):
    """It could have started when it was seen, or when the slot or the other task it waited for was had."""

    def since(free: int = 100, **running: int) -> dict[str, float]:
        return {pick.task.id: pick.since for pick in desk.dispatch.pick(free, running) if isinstance(pick, Go)}

    desk.drop("first.md", created="2026-11-19T10:00:00Z")
    desk.drop("second.md")
    desk.drop("held.md", depends_on="[other]")
    seen = desk.intake.tasks["first.md"].seen_at
    assert since(1) == {"first": seen}
    before = time.time()
    later = since()
    assert later.keys() == {"second"}
    assert later["second"] >= before
    desk.drop("other.md")
    assert since() == {"other": desk.intake.tasks["other.md"].seen_at}
    desk.intake.forget("other.md")
    desk.intake.ended["other"] = "completed"
    desk.dispatch.task_ended("other")
    before = time.time()
    assert since()["held"] >= before
