"""Where the daemon stands, and what moves it."""

import contextlib
import time

import pytest

from brain_daemon.model.errors import StorageError
from brain_daemon.service.lifecycle import Lifecycle, State


class Life:
    """A lifecycle on a real journal, and what it has told the daemon."""

    def __init__(self, journal, drain_seconds: float = 3600.0) -> None:
        self.said: list[str] = []
        self.journal = journal
        self.life = Lifecycle(
            journal,
            drain_seconds,
            on_move=lambda: self.said.append(self.life.state.value),
            on_drain=lambda: self.said.append("nothing more starts"),
            interrupt=lambda: self.said.append("what runs is ended"),
        )
        self.life.start()

    def told(self) -> list[str]:
        said, self.said = self.said, []
        return said


@pytest.fixture
def journal(brain):
    with contextlib.closing(brain.open()) as opened:
        yield opened.journal


def test_the_journal_has_the_state_after_each_move(journal):
    """`brain status` reads it there; the recorder hears of all but the first, when there is none yet."""
    made = Life(journal)
    assert (journal.get("state"), made.told()) == ("starting", [])
    for move, state in ((made.life.work, "running"), (made.life.drain, "draining"), (made.life.end, "stopped")):
        move()
        assert journal.get("state") == state
    assert made.told() == ["running", "draining", "nothing more starts", "stopped"]


def test_a_pause_outlives_the_daemon_and_a_second_one_is_none(journal):
    """Only `brain resume` ends it."""
    first = Life(journal)
    first.life.work()
    first.life.pause()
    first.life.pause()
    assert first.told() == ["running", "paused"]
    second = Life(journal)
    second.life.work()
    assert second.life.state is State.PAUSED
    second.life.resume()
    second.life.resume()
    assert second.told() == ["paused", "running"]
    third = Life(journal)
    third.life.work()
    assert third.life.state is State.RUNNING


def test_a_drain_is_not_ended_by_a_pause_or_a_resume(journal):
    """Nothing leads back from it."""
    made = Life(journal)
    made.life.work()
    made.life.drain()
    made.life.pause()
    made.life.resume()
    made.life.drain()
    assert made.life.state is State.DRAINING
    assert made.told() == ["running", "draining", "nothing more starts"]


def test_what_runs_past_the_deadline_of_a_drain_is_interrupted_once(journal):
    """And nothing before it."""
    made = Life(journal, drain_seconds=60.0)
    made.life.work()
    assert made.life.due is None
    made.life.drain()
    assert made.life.due == pytest.approx(time.monotonic() + 60.0, abs=30.0)
    made.life.look(made.life.due - 0.001)
    assert "what runs is ended" not in made.told()
    made.life.look(made.life.due)
    made.life.look(time.monotonic() + 3600.0)
    assert made.told() == ["what runs is ended"]


def test_the_first_signal_drains_and_each_other_interrupts(journal):
    """As Ctrl-C twice does."""
    made = Life(journal)
    made.life.work()
    made.life.signal()
    assert made.told() == ["running", "draining", "nothing more starts"]
    made.life.signal()
    assert made.told() == ["what runs is ended"]


def test_a_stop_does_both(journal):
    """`brain stop`."""
    made = Life(journal)
    made.life.work()
    made.life.stop()
    assert made.told() == ["running", "draining", "nothing more starts", "what runs is ended"]


@pytest.mark.parametrize("move", ["drain", "stop"])
def test_a_disk_that_refuses_the_journal_keeps_no_daemon_from_ending(journal, monkeypatch, move):
    """The error is told, and the end is under way with its deadline."""
    made = Life(journal, drain_seconds=60.0)
    made.life.work()

    def refuse(_key: str, _value: str) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(journal, "set", refuse)
    with pytest.raises(StorageError):
        getattr(made.life, move)()
    ended = ["what runs is ended"] if move == "stop" else []
    assert made.told() == ["running", "draining", "nothing more starts", *ended]
    assert made.life.state is State.DRAINING
    assert (made.life.due is None) == (move == "stop")
