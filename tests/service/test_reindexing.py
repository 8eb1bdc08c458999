"""The index built anew from the text alone."""

import shutil
from decimal import Decimal

import pytest

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import Damaged, Occupied
from brain_daemon.record import ledger
from brain_daemon.record.day_file import file_name
from brain_daemon.service import reindexing
from brain_daemon.store.files import Files
from brain_daemon.store.locks import BrainLock

PRICED = "cost: {tier: paid, input_per_million: 3, output_per_million: 15}\ntype: llm\n"


def work(brain) -> None:
    """Tasks of several kinds have ended: completed, failed, tried twice, priced, and one that can hold no result block."""
    brain.echo()
    brain.program("priced", "cat", more=PRICED)
    brain.program("broken", "false", more="good_at: {default: 0}\n")
    brain.drop("one.md")
    brain.drop("paid.md", "---\ninterface: priced\n---\n# Paid\n\nsome words\n")
    brain.drop("twice.md", "---\npreferred_interface: broken\n---\n# Twice\n")
    brain.drop("bad.md", "---\npriority: nonsense\n---\n")
    brain.drop("binary.md", b"# Binary\0\n")
    brain.run_once()


@pytest.fixture
def worked(made_once):
    """A brain after that."""
    return made_once(work)


def tables(opened):
    """Both tables as plain values; instants to the second, which is what the text keeps."""
    tasks = [
        (one.task_id, one.status, one.path, one.reason, one.sha256, int(one.finished_at or 0))
        for one in opened.journal.ended_tasks()
    ]
    return sorted(tasks), sorted(opened.journal.outcomes())


def test_the_index_is_the_same_before_and_after(worked):
    """Every row and every task that the daemon wrote comes back from the text, whatever its cost."""
    opened = worked.open()
    before = tables(opened)
    found = reindexing.reindex(opened)
    after = tables(opened)
    opened.close()
    assert after == before
    assert found.before == found.after
    assert (found.tasks, found.faults) == (5, ())
    assert found.after.known_usd > Decimal(0)
    assert found.after.rows == 6


def test_a_lost_index_is_rebuilt_with_the_same_totals(worked):
    """Both tables emptied: the text alone gives the sums back."""
    opened = worked.open()
    before = tables(opened)
    sums = ledger.total(map(CostRow.from_values, opened.journal.outcomes()))
    opened.journal.replace_caches([], [])
    assert reindexing.reindex(opened).after == sums
    assert tables(opened) == before
    opened.close()


def test_a_clone_on_another_machine_gets_its_index_from_the_text(worked, tmp_path):
    """A fresh clone has no journal: reindexing it lists every task and the same costs."""
    opened = worked.open()
    sums = ledger.total(map(CostRow.from_values, opened.journal.outcomes()))
    opened.close()
    clone = type(worked)(tmp_path / "clone", tmp_path / "state2")
    worked.git("clone", "-q", str(worked.root), str(clone.root))
    there = clone.open()
    found = reindexing.reindex(there)
    there.close()
    assert (found.tasks, found.after) == (5, sums)
    assert found.before.rows == 0


def test_filed_away_tasks_are_listed_where_they_stand(worked):
    """archive/YYYY/MM/DD/ is part of the record; what an agent left in ID.files/ is no task."""
    place = worked.completed / "archive" / "2026" / "11" / "20"
    place.mkdir(parents=True)
    shutil.move(worked.completed / "one.md", place / "one.md")
    (worked.completed / "paid.files").mkdir()
    (worked.completed / "paid.files" / "notes.md").write_text("# A note of the agent\n")
    opened = worked.open()
    assert reindexing.reindex(opened).tasks == 5
    record = opened.journal.ended_task("one")
    opened.close()
    assert record is not None
    assert record.path == "brain/tasks/completed/archive/2026/11/20/one.md"


def test_a_row_that_a_merge_brought_twice_counts_once(worked):
    """Two branches joined may repeat a row in another part of the day."""
    first = next(iter(sorted((worked.root / "logs" / "costs").glob("*.csv"))))
    lines = first.read_text().splitlines(keepends=True)
    day = first.name[:10]
    (first.parent / file_name(day, 2)).write_text(lines[0] + lines[1])
    opened = worked.open()
    assert reindexing.reindex(opened).after.rows == 6
    opened.close()


def test_a_ledger_that_cannot_be_read_leaves_the_index_as_it_is(worked):
    """The file and the line are named; nothing is guessed and nothing is emptied."""
    first = next(iter(sorted((worked.root / "logs" / "costs").glob("*.csv"))))
    first.write_bytes(first.read_bytes()[:-20])
    opened = worked.open()
    before = tables(opened)
    with pytest.raises(Damaged, match=f"{first.name}: line 7"):
        reindexing.reindex(opened)
    assert tables(opened) == before
    opened.close()


def test_a_recorded_file_that_cannot_be_read_is_listed_and_said(worked):
    """Its name is still the record that the task has ended."""
    (worked.completed / "one.md").write_text("# Overwritten by hand\n")
    opened = worked.open()
    found = reindexing.reindex(opened)
    record = opened.journal.ended_task("one")
    opened.close()
    assert found.tasks == 5
    assert len(found.faults) == 1
    assert "completed/one.md" in found.faults[0]
    assert record is not None
    assert record.sha256 is None


def test_the_later_of_two_records_of_a_task_wins(worked):
    """A task run again with its first record kept is listed with its last end."""
    older = (worked.failed / "bad.md").read_bytes()
    assert b'finished: "20' in older
    (worked.completed / "bad.md").write_bytes(older.replace(b'finished: "20', b'finished: "30'))
    opened = worked.open()
    reindexing.reindex(opened)
    record = opened.journal.ended_task("bad")
    opened.close()
    assert record is not None
    assert record.status == "completed"


def test_it_refuses_while_a_daemon_runs(worked):
    """The daemon decides by the index: it is not taken away under its hands."""
    opened = worked.open()
    lock = BrainLock(opened.layout, Files())
    lock.acquire()
    try:
        with pytest.raises(Occupied, match="brain drain"):
            reindexing.reindex(opened)
    finally:
        lock.release()
        opened.close()
