"""The crash table, one test a row: what a start finds and the one repair that fits it."""

import itertools

import pytest

from brain_daemon.model.attempt import AttemptState, Decision
from brain_daemon.policy.recovery import AwaitEnd, DropTwin, Found, GiveBack, Interrupt, Leave, Restore, repair

BORN = 1000.0
ENDS = (AttemptState.ENDED, AttemptState.RECORDED, AttemptState.COMMITTED)


def found(**changes) -> Found:
    """A task in active/, claimed after the journal began."""
    return Found(**{"task_id": "t", "active_sha256": "aa", "active_since": 2000.0, "journal_born": BORN, **changes})


@pytest.mark.parametrize("state", [None, AttemptState.RELEASED])
def test_claimed_and_not_started_it_goes_back(state):
    """Row 2: the rename is there, the journal knows of no start, and it would know."""
    assert repair(found(state=state)) == GiveBack()


@pytest.mark.parametrize("since", [None, 999.0])
@pytest.mark.parametrize("state", [None, AttemptState.RELEASED])
def test_claimed_before_this_journal_began_nobody_knows(state, since):
    """Row 2 with a younger journal: it may have run."""
    assert isinstance(repair(found(state=state, active_since=since)), Interrupt)


@pytest.mark.parametrize("state", [None, AttemptState.RELEASED])
def test_a_claim_cut_in_two_leaves_a_twin_that_goes(state):
    """Row 2 where the rename took two steps: both names, one hash."""
    assert repair(found(state=state, twin="t.md")) == DropTwin("t.md")


@pytest.mark.parametrize("state", [None, AttemptState.RELEASED])
def test_without_a_file_there_is_nothing_to_do(state):
    """Row 1: pending is untouched."""
    assert isinstance(repair(found(state=state, active_sha256=None)), Leave)


@pytest.mark.parametrize(("sha256", "restore"), [("aa", False), (None, True)])
def test_started_and_dead_it_was_interrupted(sha256, restore):
    """Rows 3 and 4: it may have had its effect; a file that is gone is written again from the journal."""
    answer = repair(found(state=AttemptState.STARTING, active_sha256=sha256))
    assert isinstance(answer, Interrupt)
    assert answer.restore is restore


@pytest.mark.parametrize(("sha256", "restore"), [("aa", False), (None, True)])
def test_started_and_alive_it_is_waited_for(sha256, restore):
    """Row 4 with an orphan: its descendants still hold lock or tag."""
    assert repair(found(state=AttemptState.STARTING, active_sha256=sha256, alive=True)) == AwaitEnd(restore)


def test_an_agents_claim_is_left_alone():
    """A lease that has run out proves no death; a file that is gone is written again."""
    assert isinstance(repair(found(state=AttemptState.CLAIMED)), Leave)
    assert repair(found(state=AttemptState.CLAIMED, active_sha256=None)) == Restore()


@pytest.mark.parametrize("state", ENDS)
def test_a_task_that_waits_for_an_answer_keeps_its_file(state):
    """`ask`: the file stays in active/, or is written again."""
    assert isinstance(repair(found(state=state, decision=Decision.ASK)), Leave)
    assert repair(found(state=state, decision=Decision.ASK, active_sha256=None)) == Restore()


@pytest.mark.parametrize("state", ENDS)
def test_a_task_to_be_tried_again_goes_back(state):
    """`again`: an ended attempt whose task has not ended."""
    assert repair(found(state=state, decision=Decision.AGAIN)) == GiveBack()
    assert isinstance(repair(found(state=state, decision=Decision.AGAIN, active_sha256=None)), Leave)


@pytest.mark.parametrize("state", [AttemptState.ENDED, AttemptState.RECORDED])
def test_an_end_on_record_is_the_recorders_affair(state):
    """Rows 5 to 8: the outcome stands, with the file in active/ or gone from it."""
    assert isinstance(repair(found(state=state, decision=Decision.FINISH)), Leave)
    assert isinstance(repair(found(state=state, decision=Decision.FINISH, active_sha256=None)), Leave)


def test_a_file_in_active_after_a_committed_end_was_put_there_by_hand():
    """It is a task like any other."""
    assert repair(found(state=AttemptState.COMMITTED, decision=Decision.FINISH)) == GiveBack()


def test_nothing_that_may_have_run_is_ever_given_back_unasked():
    """All combinations: only a task without a start, or with a decision to try again, returns to pending/ by itself."""
    values = itertools.product(
        (None, *AttemptState), (None, *Decision), (True, False), ("aa", None), (None, "t.md"), (None, 1.0, 2000.0)
    )
    for state, decision, alive, sha256, twin, since in values:
        answer = repair(
            found(state=state, decision=decision, alive=alive, active_sha256=sha256, twin=twin, active_since=since)
        )
        if isinstance(answer, GiveBack | DropTwin):
            assert sha256 is not None
            assert state in (None, AttemptState.RELEASED, AttemptState.COMMITTED) or decision is Decision.AGAIN
