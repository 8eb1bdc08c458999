"""What a task that runs after a failure is told of the one that failed."""

import pytest

from brain_daemon.memory.context import Budget, compose
from brain_daemon.memory.handoff import HandoffMissing
from brain_daemon.memory.pool import Pool
from brain_daemon.model import document
from brain_daemon.store.files import Files

WIDE = Budget(prompt_tokens=100_000)
RUNS = "handoff_from: [build]\non_dependency_failure: run"


def count(text: str) -> int:
    """A token is four characters here."""
    return -(-len(text) // 4)


@pytest.fixture
def failed(brain) -> str:
    """A task that has failed, as it is recorded."""
    values = {"status": "failed", "reason": "timed_out", "interface": "echo"}
    made = document.render(b"# Task: Build it\n\nBuild it.\n", values, "Error", "it took longer than 30 minutes")
    brain.write("brain/tasks/failed/build.md", made.data)
    return "build"


def test_it_is_given_the_error_as_text_and_as_a_file(failed, pool, task):
    """With the reason and who tried, and no pointer into the pool, which has no failures."""
    found = compose(task("# Tidy up\n", RUNS), pool, WIDE, count)
    assert "## Handed over from build: Build it" in found.prompt_text
    assert "it failed: timed_out; what follows is its error" in found.prompt_text
    assert "> it took longer than 30 minutes" in found.prompt_text
    assert "done by echo" in found.prompt_text
    assert "brain memory get" not in found.prompt_text
    assert found.files == {"context/build.md": b"it took longer than 30 minutes"}


def test_a_task_that_does_not_run_after_a_failure_is_handed_nothing_of_one(failed, pool, task):
    """The handoff is missing, and nothing is spent."""
    with pytest.raises(HandoffMissing):
        compose(task("# Go on\n", "handoff_from: [build]"), pool, WIDE, count)


def test_a_parent_that_completed_hands_over_as_always(complete, pool, task):
    """Whatever the child would have done after a failure."""
    complete("build", "It is built.")
    found = compose(task("# Tidy up\n", RUNS), pool, WIDE, count)
    assert "> It is built." in found.prompt_text
    assert "`brain memory get build`" in found.prompt_text


def test_the_newest_end_counts_where_a_file_of_an_earlier_failure_is_left(failed, complete, brain, task):
    """The journal knows which."""
    complete("build", "It is built.")
    pool = Pool(brain.layout, Files(), None, lambda task_id: f"brain/tasks/completed/{task_id}.md")
    assert "> It is built." in compose(task("# Tidy up\n", RUNS), pool, WIDE, count).prompt_text


def test_a_failure_whose_file_has_no_room_for_an_error_has_it_beside(brain, pool, task):
    """Where a file can hold no result block, another one stands beside it."""
    brain.write("brain/tasks/failed/build.md", "---\nno: [end\n")
    brain.write("brain/tasks/failed/build.error.md", document.render_beside({}, "Error", "it is no task"))
    assert "> it is no task" in compose(task("# Tidy up\n", RUNS), pool, WIDE, count).prompt_text
