"""What comes back when a task is run again."""

from brain_daemon.service import actions
from brain_daemon.service.reviving import revive


def drop(brain, task_id: str, *after: str, more: str = "") -> None:
    depends = f"depends_on: [{', '.join(after)}]\n" if after else ""
    brain.drop(f"{task_id}.md", f"---\n{depends}{more}---\n# Task {task_id}\n\nSay it.\n")


def fail_then_mend(brain) -> None:
    """An interface that fails now and works later."""
    brain.echo("echo", "fail: permanent")
    drop(brain, "a", more="attempts: 1\n")


def test_dependents_come_back_with_the_task_they_failed_for(brain):
    """Down the whole chain; all of it then completes."""
    fail_then_mend(brain)
    drop(brain, "b", "a")
    drop(brain, "c", "b")
    assert brain.run_once() == 1
    assert [brain.recorded(name).values["reason"] for name in "abc"][1:] == ["dependency_failed"] * 2
    brain.echo("echo")
    opened = brain.open()
    actions.retry(opened, "a")
    assert revive(opened, "a", actions.retry) == ("b", "c")
    opened.close()
    assert brain.run_once() == 0
    assert [brain.where(name) for name in "abc"] == [["completed"]] * 3


def test_what_waits_for_another_failed_task_stays(brain):
    """It would only fail again; so does what was cancelled by a person."""
    fail_then_mend(brain)
    drop(brain, "z", more="attempts: 1\n")
    drop(brain, "b", "a", "z")
    drop(brain, "c", "a", more="not_before: 2099-01-01T00:00:00Z\n")
    opened = brain.open()
    opened.close()
    assert brain.run_once() == 1
    opened = brain.open()
    actions.retry(opened, "a")
    assert revive(opened, "a", actions.retry) == ("c",)
    assert brain.where("b") == ["failed"]
    opened.close()


def test_a_cancelled_task_takes_its_dependents_along_and_brings_them_back(brain):
    """What is done is not touched, what has failed is not cancelled again."""
    brain.echo()
    drop(brain, "done")
    drop(brain, "a", "done", more="not_before: 2099-01-01T00:00:00Z\n")
    drop(brain, "b", "a")
    assert brain.run_once() == 0
    opened = brain.open()
    actions.cancel(opened, "a")
    opened.close()
    assert brain.run_once() == 1
    assert brain.recorded("b").values["reason"] == "dependency_failed"
    assert brain.where("done") == ["completed"]
    opened = brain.open()
    actions.retry(opened, "a")
    assert revive(opened, "a", actions.retry) == ("b",)
    opened.close()
    assert sorted(brain.names(brain.pending)) == ["a.md", "b.md"]
