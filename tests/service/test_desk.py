"""The desk: what is handed in is durable when it says so, in as few transactions as can be."""

import asyncio

import pytest

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.errors import StorageError
from brain_daemon.model.outcome import FREE, Ended, Status, Succeeded
from brain_daemon.service import desk as desk_module
from brain_daemon.service.desk import Desk
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal


class Counting(Files):
    """Counts transactions, and refuses the next ones if told to."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.refuse = 0

    def step(self, action: str, path: str) -> None:
        self.count += 1
        if self.refuse:
            self.refuse -= 1
            raise StorageError("no space")


@pytest.fixture
def files():
    return Counting()


@pytest.fixture
def journal(tmp_path, files):
    opened = Journal(str(tmp_path / "journal.db"), files)
    files.count = 0
    yield opened
    opened.close()


def attempt(number: int) -> Attempt:
    return Attempt(
        attempt_id=f"t{number}.a1.00000000", task_id=f"t{number}", number=1, state=AttemptState.STARTING, name="t.md", sha256="", spec=b"", claimant="d", claimed_at=0.0,
    )  # fmt: skip


def ended(one: Attempt) -> Attempt:
    end = Ended(outcome=Succeeded(text=""), started_at=0, finished_at=0, duration_seconds=0, cost=FREE)
    return one.finished(end, Decision.FINISH, Status.COMPLETED, None, "")


async def test_what_is_handed_in_together_shares_one_transaction(journal, files):
    """A hundred starts, and a hundred ends that come one after another, cost two."""
    told: list[str] = []
    desk = Desk(journal, lambda one, _: told.append(one.attempt_id))
    await asyncio.gather(*(desk.start([attempt(number)]) for number in range(100)))
    assert len(journal.ids_in(AttemptState.STARTING, -1)) == 100
    assert told == []
    await asyncio.gather(*(desk.end(ended(attempt(number)), None) for number in range(100)))
    assert len(journal.ids_in(AttemptState.ENDED, -1)) == 100
    assert len(told) == 100
    assert files.count == 2


async def test_a_start_does_not_wait_for_ends_to_gather(journal, files):
    """And takes the ends that wait along."""
    desk = Desk(journal, lambda *_: None)
    await desk.start([attempt(1)])
    ending = asyncio.get_running_loop().create_task(desk.end(ended(attempt(1)), None))
    await asyncio.sleep(0)
    await desk.start([attempt(2)])
    assert journal.attempt("t1.a1.00000000").state is AttemptState.ENDED
    await ending
    assert files.count == 2


async def test_ends_are_written_with_the_starts_that_take_their_slots(journal, files):
    """Where work waits, one sync is enough for both; where its starts do not come, the ends are written all the same."""
    desk, loop = Desk(journal, lambda *_: None), asyncio.get_running_loop()
    coming: list[asyncio.Task[None]] = []

    def start_the_next() -> bool:
        coming.append(loop.create_task(desk.start([attempt(2)])))
        return True

    await desk.start([attempt(1)])
    desk.next_starts = start_the_next
    await desk.end(ended(attempt(1)), None)
    await asyncio.gather(*coming)
    assert journal.attempt("t2.a1.00000000").state is AttemptState.STARTING
    assert files.count == 2
    desk.next_starts = lambda: True
    await desk.end(ended(attempt(2)), None)
    assert journal.attempt("t2.a1.00000000").state is AttemptState.ENDED
    assert files.count == 3


async def test_an_end_without_a_start_is_told_when_it_is_durable(journal):
    """A malformed file, say."""
    told: list[Attempt] = []
    desk = Desk(journal, lambda one, _: told.append(one))
    await desk.close(ended(attempt(1)), None)
    assert journal.attempt("t1.a1.00000000").state is AttemptState.ENDED
    assert [one.attempt_id for one in told] == ["t1.a1.00000000"]


async def test_a_refused_start_is_told_to_all_who_wait(journal, files):
    """Nothing has started then; the next transaction is a new one."""
    desk = Desk(journal, lambda *_: None)
    files.refuse = 1
    answers = await asyncio.gather(*(desk.start([attempt(number)]) for number in (1, 2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StorageError, StorageError]
    assert journal.ids_in(AttemptState.STARTING, -1) == []
    await desk.start([attempt(1)])
    assert journal.ids_in(AttemptState.STARTING, -1) == ["t1.a1.00000000"]


async def test_a_refused_end_is_tried_until_it_is_durable(journal, files, monkeypatch):
    """What has run cannot be run again; no outcome is announced before, and each one once."""
    monkeypatch.setattr(desk_module, "_AGAIN_SECONDS", 0.001)
    told: list[str] = []
    desk = Desk(journal, lambda one, _: told.append(one.attempt_id))
    await desk.start([attempt(1), attempt(2)])
    files.refuse = 3
    await asyncio.gather(*(desk.end(ended(attempt(number)), None) for number in (1, 2)))
    assert sorted(told) == ["t1.a1.00000000", "t2.a1.00000000"]
    assert len(journal.ids_in(AttemptState.ENDED, -1)) == 2


async def test_a_daemon_that_must_end_waits_for_no_disk(journal, files):
    """The attempt stays `starting`: interrupted, which is the truth."""
    desk = Desk(journal, lambda *_: None)
    await desk.start([attempt(1)])
    files.refuse = 1
    desk.give_up()
    with pytest.raises(StorageError):
        await desk.end(ended(attempt(1)), None)
    assert journal.ids_in(AttemptState.STARTING, -1) == ["t1.a1.00000000"]


async def test_a_waiter_that_is_cancelled_does_not_take_the_others_with_it(journal):
    """Its start is written all the same."""
    desk = Desk(journal, lambda *_: None)
    gone = asyncio.get_running_loop().create_task(desk.start([attempt(1)]))
    stays = asyncio.get_running_loop().create_task(desk.start([attempt(2)]))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert len(journal.ids_in(AttemptState.STARTING, -1)) == 2


async def test_a_fault_of_one_who_hears_keeps_nobody_else_from_it(journal):
    """The outcome is durable: whoever waits goes on, and the next end is told."""
    told: list[str] = []

    def hear(one: Attempt, _task: object) -> None:
        told.append(one.attempt_id)
        if len(told) == 1:
            raise RuntimeError("what nobody thought of")

    desk = Desk(journal, hear)
    both = [attempt(1), attempt(2)]
    desk.start_now(both)
    await asyncio.gather(*(desk.end(ended(one), None) for one in both))
    assert told == [one.attempt_id for one in both]
    assert len(journal.ids_in(AttemptState.ENDED, -1)) == 2


async def test_starts_that_cannot_be_written_are_told_so_at_once(journal, files):
    """And nothing of them is in the journal."""
    desk = Desk(journal, lambda one, _: None)
    files.refuse = 1
    with pytest.raises(StorageError):
        desk.start_now([attempt(1)])
    assert journal.ids_in(AttemptState.STARTING, -1) == []
    desk.start_now([attempt(1)])
    assert len(journal.ids_in(AttemptState.STARTING, -1)) == 1
