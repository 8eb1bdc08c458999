"""`brain run --once` sees a task that can never run to its end."""

import contextlib

from brain_daemon.policy import readiness
from brain_daemon.service.chains import queue_graph
from brain_daemon.service.remembering import add
from tests.service.test_doubts import hand
from tests.service.test_reviving import drop


def test_a_handoff_from_nowhere_fails_before_anything_is_spent(brain, monkeypatch):
    """As `handoff_missing`, without an attempt that has started; what was dropped with it in time counts."""
    monkeypatch.setattr(readiness, "GRACE_SECONDS", 0.2)
    brain.echo()
    hand(brain, "child", "nowhere")
    hand(brain, "other", "parent")
    drop(brain, "parent")
    assert brain.run_once() == 1
    assert [brain.where(name) for name in ("child", "other", "parent")] == [["failed"], ["completed"], ["completed"]]
    values = brain.recorded("child").values
    assert (values["reason"], values.get("interface")) == ("handoff_missing", None)
    assert "it takes a handoff from nowhere, and no task and no note is called that" in brain.recorded("child").text


def test_a_dropped_circle_fails_in_one_run(brain, monkeypatch):
    """Each of its tasks has the circle in its error."""
    monkeypatch.setattr(readiness, "GRACE_SECONDS", 0.2)
    brain.echo()
    for name, after in (("a", "b"), ("b", "c"), ("c", "a")):
        drop(brain, name, after)
    assert brain.run_once() == 1
    for name, way in (("a", "a -> b -> c -> a"), ("b", "b -> c -> a -> b"), ("c", "c -> a -> b -> c")):
        assert brain.recorded(name).values["reason"] == "dependency_failed"
        assert way in brain.recorded(name).text


def test_the_graph_knows_the_notes_that_are_handed_over(brain):
    """Nobody is missing, and the task can run."""
    with contextlib.closing(brain.open()) as opened:
        note = add(opened, "Bees fly at noon.", title="Bees", area="knowledge", author=None, redacted=str)
        hand(brain, "child", note.id)
        hand(brain, "lost", "x")
        graph = queue_graph(opened)
    assert graph.ended == ((note.id, "note"),)
    assert graph.unknown == ("x",)
    assert graph.levels == (("child",),)


def test_a_spawned_task_may_take_a_handoff_from_a_note(brain):
    """Though no task is called so."""
    with contextlib.closing(brain.open()) as opened:
        note = add(opened, "Bees fly at noon.", title="Bees", area="knowledge", author=None, redacted=str)
    child = f"---\\nhandoff_from: [{note.id}]\\ninterface: reader\\n---\\n# Read\\n\\nRead it.\\n"
    brain.program("boss", "/bin/sh", "-c", f"mkdir -p spawn; printf %b '{child}' > spawn/read.md")
    brain.program("reader", "/bin/cat", more="type: llm\ncost: {tier: free}\n")
    drop(brain, "boss", more="interface: boss\n")
    assert brain.run_once() == 0
    assert "> Bees fly at noon." in brain.recorded("boss-read").text
