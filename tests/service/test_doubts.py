"""Tasks that can never run as things stand, notes that are handed over, and tasks that run after a failure: real files, real daemons."""

import contextlib
import os
import time

import pytest

from brain_daemon.model.outcome import Reason
from brain_daemon.model.redaction import Redactor
from brain_daemon.policy import readiness
from brain_daemon.service import actions
from brain_daemon.service.agents import Agent, Claimed, Nothing, claim
from brain_daemon.service.dispatch import Dispatch, Fail, Go
from brain_daemon.service.gate import Gate
from brain_daemon.service.intake import Intake
from brain_daemon.service.remembering import add
from tests.service.test_reviving import drop

MISSING = "it takes a handoff from x, and no task and no note is called that"


class Desk:
    """A dispatch with its picture of pending/, and a clock that can be put on."""

    def __init__(self, opened, monkeypatch) -> None:
        registry = opened.registry()
        self._monkeypatch = monkeypatch
        self.intake = Intake(opened, Redactor())
        gate = Gate(
            opened,
            lambda: [entry.spec for entry in registry.entries.values()],
            lambda name: registry.entries[name].spec,
        )
        self.dispatch = Dispatch(opened.config, self.intake, registry, gate)

    def pick(self, later: float = 0.0) -> list[Go | Fail]:
        """What happens to all that is in pending/, `later` seconds from now."""
        now = time.time() + later
        with self._monkeypatch.context() as clock:
            clock.setattr("brain_daemon.service.dispatch.time.time", lambda: now)
            for name in list(self.intake.scan()):
                self.dispatch.changed(name)
            self.dispatch.due(now)
            return self.dispatch.pick(100, {})

    def held(self, name: str) -> str:
        return self.dispatch.held[f"{name}.md"].reason


@pytest.fixture
def desk(brain, monkeypatch):
    brain.echo()
    with contextlib.closing(brain.open()) as opened:
        yield Desk(opened, monkeypatch)


def failures(picks: list[Go | Fail]) -> dict[str, tuple[Reason, str | None]]:
    assert all(isinstance(one, Fail) for one in picks)
    return {one.pending.id: (one.reason, one.dependency) for one in picks}


def hand(brain, task_id: str, wanted: str, more: str = "") -> None:
    brain.drop(f"{task_id}.md", f"---\nhandoff_from: [{wanted}]\n{more}---\n# Task {task_id}\n\nSay it.\n")


# handoffs from nowhere


def test_a_handoff_from_nowhere_fails_after_a_moment(brain, desk):
    """It is held first, and says that it will fail."""
    hand(brain, "child", "x")
    assert desk.pick() == []
    assert desk.held("child") == f"{MISSING}; unless that changes, it fails"
    assert desk.dispatch.doubts
    assert desk.pick(readiness.GRACE_SECONDS - 1) == []
    assert failures(desk.pick(readiness.GRACE_SECONDS + 1)) == {"child": (Reason.HANDOFF_MISSING, MISSING)}


def test_a_parent_that_comes_a_moment_later_is_waited_for(brain, desk):
    """Whether it is a task or a draft of one; without it the moment counts anew."""
    hand(brain, "child", "x")
    desk.pick()
    brain.drop("parent.md", "---\nid: x\nstatus: draft\n---\n# Later\n")
    assert desk.pick(readiness.GRACE_SECONDS + 1) == []
    assert desk.held("child") == "waits for x (draft)"
    assert not desk.dispatch.doubts
    (brain.pending / "parent.md").unlink()
    desk.pick()
    desk.dispatch.wake("child.md")
    assert desk.pick(20) == []
    assert desk.held("child").startswith(MISSING)


def test_an_edit_that_names_another_missing_one_has_its_own_moment(brain, desk):
    """What was doubtful before was something else."""
    hand(brain, "child", "x")
    desk.pick()
    brain.drop("child.md", "---\nhandoff_from: [y]\n---\n# Task\n\nSay it.\n")
    assert desk.pick(readiness.GRACE_SECONDS + 1) == []
    assert "a handoff from y" in desk.held("child")


def test_a_file_that_was_in_doubt_and_has_gone_is_in_doubt_no_more(brain, desk):
    """Nothing waits for the end of its moment."""
    hand(brain, "child", "x")
    desk.pick()
    assert desk.dispatch.doubts
    (brain.pending / "child.md").unlink()
    desk.pick()
    assert not desk.dispatch.doubts


@pytest.mark.parametrize(
    ("place", "text", "state"),
    [
        ("brain/tasks/pending/x.md", " \n", "held"),
        ("brain/tasks/active/x.md", "# Task\n", "active"),
    ],
)
def test_a_parent_that_is_not_in_the_picture_counts(brain, desk, place, text, state):
    """An empty file that somebody is about to fill, a claim by another process that no scan has seen yet."""
    brain.write(place, text)
    hand(brain, "child", "x")
    assert desk.pick() == []
    assert desk.held("child") == f"waits for x ({state})"


def test_a_parent_that_is_being_written_counts(brain, monkeypatch):
    """Its file has come, and nobody has read it."""
    hand(brain, "child", "x")
    os.utime(brain.pending / "child.md", (1.0, 1.0))
    brain.write("brain/tasks/pending/x.md", "# Half a ta")
    with contextlib.closing(brain.open(settle="1h")) as opened:
        desk = Desk(opened, monkeypatch)
        assert desk.pick() == []
        assert desk.held("child") == "waits for x (being written)"


def test_a_note_of_the_pool_is_handed_over(brain):
    """By either name of the key, at once; what it says stands in the prompt."""
    brain.program("talker", "/bin/cat", more="type: llm\ncost: {tier: free}\n")
    with contextlib.closing(brain.open()) as opened:
        note = add(opened, "Bees fly at noon.", title="Bees", area="knowledge", author=None, redacted=str)
    hand(brain, "child", note.id)
    brain.drop("second.md", f"---\nhandoff_memory_id: {note.id}\n---\n# Task second\n\nSay it.\n")
    assert brain.run_once() == 0
    for name in ("child", "second"):
        assert "> Bees fly at noon." in brain.recorded(name).text


def test_an_agent_gets_a_task_with_a_note_and_none_with_a_handoff_from_nowhere(brain):
    """It hears what holds the other."""
    hand(brain, "lost", "x")
    brain.write("knowledge/bees.md", "# Bees\n\nThey fly.\n")
    with contextlib.closing(brain.open()) as opened:
        agent = Agent(name="ann", lease_seconds=60.0)
        nothing = claim(opened, agent)
        assert isinstance(nothing, Nothing)
        assert [one.reason for one in nothing.held] == [MISSING]
        hand(brain, "found", "bees")
        found = claim(opened, agent)
    assert isinstance(found, Claimed)
    assert found.task.id == "found"


# circles


def test_a_circle_is_spelled_out_for_each_of_its_tasks_and_then_fails_them(brain, desk):
    """Those that were there before it was closed learn of it too; who only waits for it is held as always."""
    drop(brain, "a", "c")
    drop(brain, "b", "a")
    assert desk.pick() == []
    assert desk.held("a") == "waits for c (no task is called that)"
    drop(brain, "C", "b")
    drop(brain, "outside", "a")
    assert desk.pick() == []
    start = "it waits for itself in a circle, so it can never start: "
    ways = {"a": "a -> C -> b -> a", "b": "b -> a -> C -> b", "C": "C -> b -> a -> C"}
    for name, way in ways.items():
        assert desk.held(name) == f"{start}{way}; unless that changes, it fails"
    assert desk.held("outside") == "waits for a (pending)"
    assert failures(desk.pick(readiness.GRACE_SECONDS + 1)) == {
        name: (Reason.DEPENDENCY_FAILED, start + way) for name, way in ways.items()
    }


def test_a_circle_that_is_taken_apart_in_time_is_none(brain, desk):
    """The others wait again as they did."""
    drop(brain, "a", "b")
    drop(brain, "b", "a")
    desk.pick()
    drop(brain, "b")
    picks = desk.pick(readiness.GRACE_SECONDS + 1)
    assert [one.pending.id for one in picks if isinstance(one, Go)] == ["b"]
    assert desk.held("a") == "waits for b (pending)"
    assert not desk.dispatch.doubts


def test_the_tasks_of_a_dropped_circle_end_in_failed(brain, daemon, monkeypatch):
    """With the circle in each of their errors, or the one in it that failed first; what is no part of it runs."""
    brain.echo()
    with daemon() as running:
        for name, after in (("a", "b"), ("b", "c"), ("c", "a")):
            running.drop(f"{name}.md", f"---\ndepends_on: [{after}]\n---\n# Task {name}\n")
        running.drop("free.md")
        running.wait_for(lambda: all(brain.where(name) == ["failed"] for name in "abc"))
        running.wait_for(lambda: brain.where("free") == ["completed"])
    assert {brain.recorded(name).values["reason"] for name in "abc"} == {"dependency_failed"}
    said = [brain.recorded(name).text for name in "abc"]
    assert any("a -> b -> c -> a" in one for one in said)


# on_dependency_failure: run

RUN = "on_dependency_failure: run\n"


def test_a_task_that_runs_after_a_failure_runs_and_is_told_the_error(brain):
    """The others that wait for the same fail, and so do those that wait for these."""
    brain.program("broken", "/bin/sh", "-c", "echo the disk is full >&2; exit 3")
    brain.program("talker", "/bin/cat", more="type: llm\ncost: {tier: free}\n")
    drop(brain, "a", more="interface: broken\nattempts: 1\n")
    hand(brain, "tidy", "a", f"{RUN}interface: talker\n")
    drop(brain, "after", "a", more=f"{RUN}interface: talker\n")
    drop(brain, "strict", "a")
    drop(brain, "below", "strict", "tidy")
    assert brain.run_once() == 1
    states = {name: brain.where(name) for name in ("a", "tidy", "after", "strict", "below")}
    assert states == {
        "a": ["failed"],
        "tidy": ["completed"],
        "after": ["completed"],
        "strict": ["failed"],
        "below": ["failed"],
    }
    assert "the disk is full" in brain.recorded("tidy").text
    assert "it failed: tool_failed" in brain.recorded("tidy").text
    assert "disk" not in brain.recorded("after").text


def test_a_cancelled_parent_lets_it_run_and_takes_the_others_along(brain):
    """A retry of the parent brings back those that failed with it, and leaves alone what has run."""
    brain.echo()
    drop(brain, "a", more="not_before: 2099-01-01T00:00:00Z\n")
    drop(brain, "tidy", "a", more=RUN)
    drop(brain, "strict", "a")
    drop(brain, "both", "strict", "a", more=RUN)
    with contextlib.closing(brain.open()) as opened:
        actions.cancel(opened, "a")
    assert brain.run_once() == 1
    assert [brain.where(name) for name in ("tidy", "strict", "both")] == [["completed"], ["failed"], ["completed"]]
    with contextlib.closing(brain.open()) as opened:
        actions.retry(opened, "a")
    assert [brain.where(name) for name in ("a", "tidy", "both")] == [["pending"], ["completed"], ["completed"]]
