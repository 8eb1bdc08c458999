"""Pools on real brains, and texts as a task leaves them."""

import time
from collections.abc import Callable

import pytest

from brain_daemon.memory.pool import Pool
from brain_daemon.model import document
from brain_daemon.model.parsing import parse_task
from brain_daemon.store.files import Files

DEADLINE_SECONDS = 60.0


@pytest.fixture
def pool(brain) -> Pool:
    """The pool of the test's brain, by words alone."""
    return Pool(brain.layout, Files())


@pytest.fixture
def complete(brain) -> Callable[..., str]:
    """`complete("task-a", "what it said")` records a completed task; its id."""

    def record(
        task_id: str, said: str, *, head: str = "", folder: str = "", limit: int = 1 << 18, **values: object
    ) -> str:
        original = f"---\npriority: low\n{head}---\n# Task: {task_id} does it\n\nDo it.\n".encode()
        made = document.render(original, {"interface": "echo", **values}, "Result", said, text_limit_bytes=limit)
        brain.write(f"brain/tasks/completed/{folder}{task_id}.md", made.data)
        if made.cut:
            brain.write(f"brain/tasks/completed/{folder}{task_id}.files/result.md", said)
        return task_id

    return record


@pytest.fixture
def task() -> Callable[..., object]:
    """`task("text", "handoff_from: [a]")` is a parsed task."""

    def parse(text: str, head: str = "", name: str = "child.md") -> object:
        return parse_task(name, f"---\npriority: low\n{head}\n---\n{text}".encode())

    return parse


@pytest.fixture
def until() -> Callable[..., object]:
    """`until(condition, what)` waits for a condition, with a deadline."""

    def wait(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> object:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
            time.sleep(0.01)
        return found

    return wait
