"""The pool beside the work: what changes is indexed while the daemon runs, whoever may ask for it later."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from brain_daemon.memory import indexer, vectors
from brain_daemon.memory.index import Index
from brain_daemon.memory.vectors import index_path
from brain_daemon.service import memory_keeper
from brain_daemon.store.files import Files


@pytest.fixture
def hasty(monkeypatch):
    """Nothing is put off, and a child with nothing to do is let go at once."""
    monkeypatch.setattr(memory_keeper, "_UNASKED_SECONDS", 0.0)
    monkeypatch.setattr(indexer, "_SPENT_SECONDS", 0.0)


def indexed(brain, wanted: str) -> list[str]:
    """What the index itself knows of an id; nobody looks at the files for it."""
    if not os.path.exists(index_path(brain.layout)):
        return []
    with closing(Index(index_path(brain.layout), Files())) as index:
        return [row.title for row in index.find(wanted)]


def let_go(workspace: str) -> None:
    """What the program of the test waits for."""
    Path(workspace, "go").touch()


async def test_notes_and_results_are_indexed_where_no_model_asks_for_them(brain, hasty):
    """A person and an agent that claims its work search, too: new, edited and completed texts are there within seconds."""
    brain.echo()
    brain.write("knowledge/old.md", "# Old\n\nzebra\n")
    async with brain.running(scan="100ms", memory_embedding="local") as running:
        await running.until(lambda: indexed(brain, "knowledge/old.md") == ["Old"], "what was there")
        brain.write("knowledge/deep/new.md", "# New\n\nquagga\n")
        brain.write("knowledge/old.md", "# Edited\n\nokapi\n")
        await running.until(lambda: indexed(brain, "knowledge/old.md") == ["Edited"], "the edit")
        await running.until(lambda: indexed(brain, "knowledge/deep/new.md") == ["New"], "a note in a new folder")
        brain.drop("task-a.md", "# Stripes\n\nSay zebra.\n")
        await running.until(lambda: indexed(brain, "task-a") == ["Stripes"], "the result")
        if not vectors.missing_packages():
            pool = running.supervisor._memory.pool
            await running.until(lambda: not pool.lacks_vectors(), "the vectors")
            assert pool.vectors.told.deaths == 0


async def test_a_task_that_leaves_a_note_need_not_be_waited_for(brain, hasty):
    """What it writes into memory/ is in the pool while it still runs."""
    brain.program(
        "noting", "sh", "-c", "mkdir -p memory; echo '# Seen' > memory/seen.md; while ! test -e go; do sleep 0.02; done"
    )
    async with brain.running(scan="1h", memory_embedding="local") as running:
        await running.until(lambda: os.path.exists(index_path(brain.layout)), "the first look")
        brain.drop("task-a.md")
        pool = brain.root / "knowledge" / "pool"
        (note,) = await running.until(lambda: list(pool.glob("*.md")), "the note")
        assert "task: task-a" in note.read_text()
        (attempt,) = running.supervisor._jobs.running.values()
        let_go(brain.layout.workspace(attempt.attempt.workspace_of))
        await running.ended("task-a")


async def test_nothing_is_kept_where_it_is_switched_off(brain, hasty):
    """No index, no thread, no child."""
    brain.echo()
    async with brain.running(memory_tokens="0") as running:
        brain.drop("task-a.md")
        await running.ended("task-a")
        assert running.supervisor._memory._indexer is None
        assert indexed(brain, "task-a") == []
