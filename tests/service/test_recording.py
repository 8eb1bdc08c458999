"""The recorder's threads: what they gather, what they try again, and how they end."""

import threading
import time

import pytest

from brain_daemon.model.errors import StorageError
from brain_daemon.service import recording as module
from brain_daemon.service.recording import RecorderThread
from brain_daemon.store.layout import Layout


class Fake:
    """A recorder that counts, and fails when told; `file` takes everything that was remembered."""

    def __init__(self) -> None:
        self.remembered: list[object] = []
        self.groups: list[int] = []
        self.committed = 0
        self.house = 0
        self.faults: list[BaseException] = []
        self.why_owed = None
        self.is_waiting = False
        self.looks = self.last_looks = self.told = 0
        self.waits: dict[str, threading.Event] = {}
        self.at = ""
        self.lock = threading.Lock()

    def start(self) -> None:
        self._fail()

    def remember(self, attempt, task) -> None:
        with self.lock:
            self.remembered.append(attempt)

    def file(self) -> int:
        self._fail()
        self._stay("file")
        self.looks += 1
        with self.lock:
            count, self.remembered = len(self.remembered), []
            if count:
                self.groups.append(count)
        return count

    def file_last(self) -> None:
        self.last_looks += 1

    def commit(self) -> int:
        self._stay("commit")
        with self.lock:
            left = sum(self.groups) - self.committed
            self.committed += left
        return left

    def keep_house(self, *, now: bool = False) -> None:
        self.house += now

    def tell(self) -> None:
        with self.lock:
            self.told += 1

    def _stay(self, at: str) -> None:
        if at in self.waits:
            self.at = at
            assert self.waits[at].wait(60)

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def thread(tmp_path, fake):
    made = RecorderThread(Layout(str(tmp_path), str(tmp_path), str(tmp_path)), lambda: fake, 0.05, 10, fake.tell)
    yield made
    made.stop(10)


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_what_ends_together_is_filed_together(thread, fake):
    """What was handed in before the start is not lost."""
    thread.hand_in("early", None)
    thread.start()
    for number in range(4):
        thread.hand_in(number, None)
    until(lambda: fake.committed == 5)
    assert len(fake.groups) <= 3
    until(lambda: not thread.busy)


def test_a_full_group_waits_for_nobody(tmp_path, fake):
    """However long the time between two groups is."""
    thread = RecorderThread(
        Layout(str(tmp_path), str(tmp_path), str(tmp_path)), lambda: fake, 3_600.0, 10, lambda: None
    )
    thread.start()
    thread.hand_in("the first", None)
    until(lambda: fake.committed == 1)
    for number in range(10):
        thread.hand_in(number, None)
    until(lambda: fake.committed == 11)
    thread.stop(10)


def test_a_disk_error_is_told_and_tried_again(thread, fake, monkeypatch):
    """At the start and later; nothing is lost."""
    monkeypatch.setattr(module, "_FAULT_SECONDS", 0.01)
    fake.faults = [StorageError("no space"), OSError("gone"), StorageError("still no space")]
    thread.start()
    thread.hand_in("one", None)
    until(lambda: fake.committed == 1)
    until(lambda: thread.fault is None)
    assert fake.faults == []
    assert thread.crash is None


def test_any_other_error_is_a_crash_the_supervisor_sees(thread, fake):
    """The threads end, and nobody waits for them for ever."""
    thread.start()
    until(lambda: fake.house == 0 and thread._recorder is not None)
    fake.faults = [ZeroDivisionError("a mistake of ours")]
    thread.wake()
    until(lambda: thread.crash is not None)
    assert isinstance(thread.crash, ZeroDivisionError)
    assert not thread.busy
    assert thread.stop(10)


def test_a_stop_records_what_there_is_first(thread, fake):
    """And commits the day files."""
    thread.start()
    for number in range(3):
        thread.hand_in(number, None)
    assert thread.stop(10)
    assert fake.committed == 3
    assert fake.house == 1


def test_a_stop_before_it_could_start_ends_it(thread, fake, monkeypatch):
    """A disk that never answers does not keep the daemon alive."""
    fake.faults = [StorageError("no")] * 1000
    thread.start()
    assert thread.stop(10)
    assert thread.fault == "no"
    assert fake.committed == 0


def test_why_a_commit_is_owed_is_the_recorders_word(thread, fake):
    """Nothing is owed before there is one."""
    assert thread.why_owed is None
    thread.start()
    fake.why_owed = "a rebase is in progress"
    until(lambda: thread.why_owed == "a rebase is in progress")


def test_a_lone_outcome_does_not_wait_and_the_next_ones_wait_for_each_other(tmp_path, fake):
    """A group is begun at once where none was begun shortly before."""
    made = RecorderThread(Layout(str(tmp_path), str(tmp_path), str(tmp_path)), lambda: fake, 3600.0, 10, lambda: None)
    made.start()
    made.hand_in("alone", None)
    until(lambda: fake.groups == [1])
    for number in range(9):
        made.hand_in(number, None)
    until(lambda: fake.committed == 1)
    assert fake.groups == [1]
    made.hand_in("the tenth", None)
    until(lambda: fake.groups == [1, 10])
    assert made.stop(10)


def test_where_nothing_else_is_about_to_end_the_wait_is_shorter(tmp_path, fake, monkeypatch):
    """Until the next outcome, which may have company again."""
    monkeypatch.setattr(module, "_HURRIED", 0.0)
    made = RecorderThread(Layout(str(tmp_path), str(tmp_path), str(tmp_path)), lambda: fake, 3600.0, 10, lambda: None)
    made.start()
    made.hurry()
    made.hand_in("alone", None)
    until(lambda: fake.groups == [1])
    made.hand_in("the last", None)
    made.hurry()
    until(lambda: fake.groups == [1, 1])
    made.hand_in("another", None)
    until(lambda: fake.committed == 2)
    assert fake.groups == [1, 1]
    assert made.stop(10)


def test_it_is_busy_while_one_group_is_committed_and_the_next_is_being_filed(thread, fake):
    """Who works through a queue and ends must not take it for done in between."""
    committing, filing = threading.Event(), threading.Event()
    fake.waits = {"commit": committing, "file": filing}
    filing.set()
    thread.start()
    thread.hand_in("one", None)
    until(lambda: fake.groups == [1] and fake.at == "commit")
    filing.clear()
    thread.hand_in("two", None)
    until(lambda: fake.at == "file")
    told = fake.told
    committing.set()
    # Twice: after a group of commits, and after the last of them, when it says whether it is busy.
    until(lambda: fake.told == told + 2)
    assert thread.busy
    filing.set()
    until(lambda: fake.committed == 2 and not thread.busy)


@pytest.mark.parametrize("crowd", [1, 10, 11])
def test_what_is_filed_is_told_before_it_is_committed(thread, fake, crowd):
    """A run waits for that, not for git; also where it was just as much as one group may hold."""
    fake.waits = {"commit": threading.Event()}
    for number in range(crowd):
        thread.hand_in(number, None)
    thread.start()
    until(lambda: fake.told == 1)
    assert fake.committed == 0
    fake.waits["commit"].set()


def test_groups_of_a_crowd_are_committed_together_and_a_hurry_ends_the_wait(tmp_path, fake, monkeypatch):
    """While more is about to end, git rests longer than it works; the last ones of a crowd wait for nothing, nor does a stop."""
    monkeypatch.setattr(module, "_REST", 1e12)
    monkeypatch.setattr(module, "_LONGEST_REST_SECONDS", 3600.0)
    made = RecorderThread(Layout(str(tmp_path), str(tmp_path), str(tmp_path)), lambda: fake, 0.0, 10, lambda: None)
    made.start()
    made.hand_in("the first", None)
    until(lambda: fake.committed == 1 and made._rests_until)
    for number in range(3):
        made.hand_in(number, None)
        until(lambda expected=number + 2: len(fake.groups) == expected)
    assert fake.committed == 1
    until(lambda: made._filed and not made._filing)
    rested = made._rests_until
    made.hurry()
    until(lambda: fake.committed == 4 and made._rests_until > rested)
    made.hand_in("one more", None)
    until(lambda: len(fake.groups) == 5)
    assert fake.committed == 4
    assert made.stop(10)
    assert fake.committed == 5


def test_a_page_that_must_be_quiet_first_is_looked_at_again_soon_and_once_more_at_the_end(thread, fake):
    """Nobody wakes the thread for it; without such a page it looks no second time."""
    thread.start()
    thread.wake()
    until(lambda: fake.looks == 1)
    fake.is_waiting = True
    thread.wake()
    until(lambda: fake.looks >= 4)
    assert fake.last_looks == 0
    assert thread.stop(10)
    assert fake.last_looks == 1
