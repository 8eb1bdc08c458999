"""The brain at one moment, asked from outside while a daemon runs, after it has ended, and where there is none."""

import fcntl
import json
import os
import sqlite3
import time
from contextlib import closing
from decimal import Decimal

import pytest

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.outcome import CostBasis, Status
from brain_daemon.service import snapshot
from brain_daemon.store.files import Files
from brain_daemon.store.locks import BrainLock
from brain_daemon.store.probe import lock_is_held


@pytest.fixture
def layout(brain):
    """The paths of the brain; its journal is made by this."""
    return brain.layout


def test_a_brain_that_never_ran_is_told_by_its_folders_alone(brain, tmp_path):
    """No journal is made by looking, and the files in the folders are counted."""
    from brain_daemon.store.locate import layout_of

    brain.drop("one.md")
    brain.drop(".hidden.md")
    layout = layout_of(str(brain.root), str(tmp_path / "state"))
    picture = snapshot.take(layout)
    assert (picture.counts.pending, picture.daemon.state) == (1, "stopped")
    assert not os.path.exists(layout.journal)


def test_ended_tasks_and_their_costs_are_counted(brain):
    """After a run: so many completed and failed, so many attempts, no daemon."""
    brain.echo()
    brain.drop("a.md")
    brain.drop("b.md", "---\npriority: nonsense\n---\n# B\n")
    brain.run_once()
    picture = snapshot.take(brain.layout)
    assert (picture.counts.completed, picture.counts.failed, picture.counts.pending) == (1, 1, 0)
    assert (picture.today.completed, picture.today.failed, picture.today.attempts) == (1, 1, 2)
    assert (picture.today.known_usd, picture.today.unknown_costs) == (Decimal(0), 0)
    assert picture.daemon.state == "stopped"
    assert picture.owed == 0


async def test_what_runs_and_what_is_held_is_seen_while_the_daemon_works(brain):
    """An active task is shown with its interface, a task nobody can do with the capability it lacks."""
    brain.echo("slow", "delay_seconds: 60")
    async with brain.running() as running:
        brain.drop("busy.md", "---\ninterface: slow\n---\n# Busy\n")
        brain.drop("blind.md", "---\nrequires: [vision]\n---\n# Blind\n")
        await running.until(lambda: snapshot.take(running.brain.layout).active, "the task to run")
        await running.until(lambda: snapshot.take(running.brain.layout).held, "the other one to be held")
        picture = snapshot.take(running.brain.layout)
    busy, blind = picture.active[0], picture.held[0]
    assert (busy.task_id, busy.by, busy.doing, busy.attempt) == ("busy", "slow", "running", 1)
    assert busy.since is not None
    assert picture.at - busy.since < 30
    assert (blind.task_id, "vision" in blind.why) == ("blind", True)
    assert (picture.counts.pending, picture.counts.held) == (1, 1)
    assert (picture.daemon.state, picture.daemon.pid) == ("running", os.getpid())
    assert [question.subject for question in picture.questions] == ["blind"]
    assert picture.questions[0].choices == ("cancel",)


def test_a_hold_whose_file_is_gone_is_no_longer_told(brain):
    """The table of holds is the daemon's last word; a file deleted since is not waiting."""
    brain.drop("blind.md", "---\nrequires: [vision]\n---\n# Blind\n")
    brain.run_once()
    assert [item.task_id for item in snapshot.take(brain.layout).held] == ["blind"]
    (brain.pending / "blind.md").unlink()
    assert snapshot.take(brain.layout).held == ()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("running", "running"),
        ("paused", "paused"),
        ("draining", "draining"),
        ("starting", "starting"),
        ("stopped", "starting"),
    ],
)
def test_the_lock_decides_whether_a_daemon_runs_and_the_journal_says_what_it_does(brain, layout, said, shown):
    """A word left behind by a dead daemon counts for nothing once nobody holds the lock."""
    opened = brain.open()
    opened.journal.set("state", said)
    opened.close()
    lock = BrainLock(layout, Files())
    lock.acquire()
    try:
        held = snapshot.take(layout).daemon
    finally:
        lock.release()
    assert (held.state, held.pid) == (shown, os.getpid())
    assert snapshot.take(layout).daemon.state == "stopped"


def test_the_probe_of_a_lock_does_not_keep_it(tmp_path):
    """Looking at a free lock leaves it free, and a held one is seen as held."""
    path = tmp_path / "x.lock"
    assert not lock_is_held(str(path))
    with path.open("wb") as handle:
        assert not lock_is_held(str(path))
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert lock_is_held(str(path))


def test_a_journal_that_cannot_be_read_is_said_and_the_folders_told_all_the_same(brain, layout):
    """Damage is a sentence, not an end."""
    brain.drop("one.md")
    with open(layout.journal, "r+b") as handle:
        handle.write(b"no database at all, whatever the name says")
    for ending in ("-wal", "-shm"):
        if os.path.exists(layout.journal + ending):
            os.unlink(layout.journal + ending)
    picture = snapshot.take(layout)
    assert picture.counts.pending == 1
    assert picture.trouble is not None
    assert layout.journal in picture.trouble


def test_a_paused_brain_whose_daemon_ended_says_that_it_will_stay_paused(brain, layout):
    """`brain status` warns before somebody wonders why nothing starts."""
    opened = brain.open()
    opened.journal.set("paused", "yes")
    opened.close()
    assert snapshot.take(layout).daemon.will_pause


def test_the_sum_of_a_day_is_exact_and_leaves_unknown_costs_out(brain, layout):
    """Ten times ten cents are one dollar; what nobody knows is counted apart."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    costs = [Decimal("0.1")] * 10 + [None]
    rows = [
        CostRow(
            timestamp=stamp,
            task_id="t",
            attempt_id=f"t.a{number}.00000000",
            attempt=number,
            status=Status.COMPLETED,
            cost_usd=cost,
            cost_basis=CostBasis.UNKNOWN if cost is None else CostBasis.REPORTED,
        )
        for number, cost in enumerate(costs, 1)
    ]
    opened = brain.open()
    opened.journal.add_outcomes([row.to_values() for row in rows])
    opened.close()
    today = snapshot.take(layout, now).today
    assert (today.attempts, today.known_usd, today.unknown_costs) == (11, Decimal(1), 1)


def test_outcomes_that_git_lacks_are_counted_with_the_reason(brain):
    """During a merge nothing is committed: the outcomes are owed, and the reason kept by the recorder is told."""
    brain.echo()
    brain.write(".git/MERGE_HEAD", brain.git("rev-parse", "HEAD"))
    brain.drop("a.md")
    opened = brain.open()
    opened.journal.set("why_owed", "a merge is in progress")
    opened.close()
    brain.run_once()
    picture = snapshot.take(brain.layout)
    assert picture.owed == 1
    assert picture.why_owed == "a merge is in progress"


def test_the_journal_is_opened_so_that_it_cannot_be_written(layout):
    """A look from outside can change nothing."""
    with snapshot.reading(layout) as journal:
        assert journal is not None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            journal.execute("delete from meta")


def test_ended_tasks_come_newest_first_and_of_one_status(brain):
    """What `brain list --state failed` shows."""
    brain.echo()
    brain.drop("first.md")
    brain.run_once()
    brain.drop("second.md")
    brain.drop("bad.md", "---\npriority: nonsense\n---\n")
    brain.run_once()
    with snapshot.reading(brain.layout) as journal:
        assert journal is not None
        every = [item.task_id for item in snapshot.ended_items(journal)]
        assert every[-1] == "first"
        assert set(every) == {"first", "second", "bad"}
        assert [item.task_id for item in snapshot.ended_items(journal, "failed")] == ["bad"]
        assert len(snapshot.ended_items(journal, limit=1)) == 1


OPENED = {"state": "open", "since": 1e9, "until": 1e9 + 60, "trips": 1, "why": "unavailable: gone", "by_check": False}
BREAKERS = {
    "away": OPENED,
    "locked": {**OPENED, "why": "auth: no", "by_check": True},
    "tried": {"state": "half-open", "trips": 2, "why": "unavailable: gone", "probe": "a.a1.00000000"},
    "fine": {"state": "closed", "failures": 1},
    "odd": {"state": "open"},
    "odder": 7,
}


@pytest.mark.parametrize(
    ("told", "names"),
    [(json.dumps(BREAKERS), ["away", "locked", "tried"]), ("no json", []), ("[1]", []), (None, [])],
)
def test_breakers_that_are_not_closed_are_told_with_why_and_until_when(brain, layout, told, names):
    """Whether a daemon runs or not; a damaged note tells of none."""
    if told is not None:
        with closing(brain.open()) as here:
            here.journal.set(snapshot.BREAKERS, told)
    picture = snapshot.take(layout)
    assert [one.interface for one in picture.breakers] == names
    assert picture.trouble is None
    if names:
        away, locked, tried = picture.breakers
        assert (away.breaker, away.why, away.since, away.until) == ("open", "unavailable: gone", 1e9, 1e9 + 60)
        assert (locked.until, tried.breaker, tried.probe) == (None, "half-open", "a.a1.00000000")
