"""What a file in pending/ is: the gestures of a person, git and a sync as values in and an answer out."""

import itertools

import pytest

from brain_daemon.policy.arrivals import Accept, Arrival, Decline, EndedTask, arrive

DONE = EndedTask(status="completed", sha256="aa", finished_at=1000.0)


def arrival(**changes) -> Arrival:
    return Arrival(
        **{"id": "Daily", "explicit_id": False, "sha256": "aa", "modified_at": 2000.0, "in_head": False, **changes}
    )


def test_a_file_of_an_unknown_id_is_a_new_task():
    """Whether or not git has it, and whenever it was written."""
    for in_head, explicit in itertools.product((True, False), repeat=2):
        answer = arrive(arrival(in_head=in_head, explicit_id=explicit, modified_at=0.0), None, {}, ())
        assert answer == Accept(id="Daily")


def test_dropped_again_without_an_id_it_gets_the_next_number():
    """`daily`, then `daily-2`, then `daily-3`; the note says which was first."""
    answer = arrive(arrival(), DONE, {}, {"daily", "daily-2"})
    assert isinstance(answer, Accept)
    assert (answer.id, answer.rerun_of) == ("Daily-3", "Daily")
    assert "a new task of the name Daily" in (answer.note or "")


def test_dropped_again_with_its_id_it_is_a_rerun_whatever_its_time():
    """A person who writes an id means that task."""
    answer = arrive(arrival(explicit_id=True, modified_at=0.0), DONE, {}, {"daily"})
    assert isinstance(answer, Accept)
    assert (answer.id, answer.rerun_of) == ("Daily-2", "Daily")
    assert "re-run of Daily" in (answer.note or "")


def test_older_than_its_own_end_it_is_a_restored_backup():
    """It stays, and the way to run it is said."""
    answer = arrive(arrival(modified_at=999.0), DONE, {}, {"daily"})
    assert isinstance(answer, Decline)
    assert "brain retry Daily" in answer.reason
    assert not answer.blocked


def test_of_unknown_end_it_cannot_be_older():
    """A task that ended on another machine has no time here: the drop is a new task."""
    unknown = EndedTask(status="completed", sha256=None, finished_at=None)
    assert isinstance(arrive(arrival(modified_at=0.0), unknown, {}, {"daily"}), Accept)


@pytest.mark.parametrize("changes", [{}, {"explicit_id": True}, {"sha256": "bb", "recorded": True}])
def test_back_through_git_it_does_not_run(changes):
    """reset, revert and checkout bring back what has ended."""
    answer = arrive(arrival(in_head=True, **changes), DONE, {}, {"daily"})
    assert isinstance(answer, Decline)
    assert "git brought this file back" in answer.reason


def test_back_through_git_of_unknown_hash_it_does_not_run():
    """Where nobody knows what ran, the same name is taken for the same task."""
    unknown = EndedTask(status="failed", sha256=None, finished_at=None)
    assert isinstance(arrive(arrival(in_head=True), unknown, {}, {"daily"}), Decline)


def test_another_text_under_an_ended_name_through_git_is_a_new_task():
    """Somebody else's `daily` came with a pull."""
    answer = arrive(arrival(in_head=True, sha256="bb"), DONE, {}, {"daily"})
    assert answer == Accept(id="Daily-2", rerun_of="Daily", note="a new task of the name Daily, which has completed")


def test_another_text_under_an_ended_id_through_git_waits_for_a_person():
    """Two texts with one written id: nothing is guessed."""
    answer = arrive(arrival(in_head=True, sha256="bb", explicit_id=True), DONE, {}, {"daily"})
    assert isinstance(answer, Decline)
    assert "give it another id" in answer.reason


def test_a_recorded_file_moved_back_is_a_retry_under_its_own_id():
    """Its record is gone from completed/ because it is this file."""
    gone = EndedTask(status="failed", sha256="aa", finished_at=1000.0, present=False)
    answer = arrive(arrival(recorded=True, modified_at=999.0), gone, {}, {"daily"})
    assert isinstance(answer, Accept)
    assert (answer.id, answer.rerun_of) == ("Daily", "Daily")


def test_a_copy_of_a_recorded_file_is_a_rerun():
    """The record still stands, so this is another one."""
    answer = arrive(arrival(recorded=True, modified_at=999.0), DONE, {}, {"daily"})
    assert isinstance(answer, Accept)
    assert answer.id == "Daily-2"


@pytest.mark.parametrize(
    ("holder", "said"), [("active", "is active now"), ("other.md", "is the pending file other.md")]
)
@pytest.mark.parametrize("ended", [None, DONE])
def test_an_id_in_flight_is_not_given_twice(holder, said, ended):
    """A written id waits until it is free, a name gets the next number."""
    waiting = arrive(arrival(explicit_id=True), ended, {"daily": holder}, {"daily"})
    assert isinstance(waiting, Decline)
    assert said in waiting.reason
    assert waiting.blocked
    numbered = arrive(arrival(), ended, {"daily": holder}, {"daily"})
    assert isinstance(numbered, Accept)
    assert numbered.id == "Daily-2"
    assert said in (numbered.note or "")
