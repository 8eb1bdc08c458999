"""What a person does to tasks from outside the daemon: each gesture by command, with and without a daemon."""

import asyncio
import contextlib
import subprocess
import threading
from dataclasses import replace

import pytest

from brain_daemon.model import document
from brain_daemon.model.attempt import AttemptState, Decision
from brain_daemon.model.errors import Occupied, Refused, UserError
from brain_daemon.model.outcome import FREE, Ended, Status, Succeeded
from brain_daemon.policy.retry import Ask, Finish
from brain_daemon.service import actions, agents, inquiries
from brain_daemon.service.agents import Agent
from brain_daemon.service.ending import decided
from brain_daemon.store.locks import recording

ANN = Agent(name="ann", lease_seconds=3600.0)
TASK = "# Task: one\n\nSay it.\n"
SECRET = "the key is ghp_" + "a1B2" * 10


@pytest.fixture
def here(brain):
    """The test's brain, opened; an in-process tool can do its tasks."""
    brain.echo()
    opened = brain.open()
    yield opened
    opened.close()


def ended(attempt, step):
    """The attempt with an outcome and what follows from it."""
    outcome = Ended(outcome=Succeeded(text="x"), started_at=1e9, finished_at=1e9, duration_seconds=0.0, cost=FREE)
    return decided(attempt, outcome, step)


# submitting and finding


def test_a_submitted_task_is_a_file_in_pending(brain, here):
    """Whole, under its id; an id that is taken or none is refused and changes nothing."""
    assert actions.submit(here, TASK, "one").path == str(brain.pending / "one.md")
    with pytest.raises(UserError, match="is there already"):
        actions.submit(here, "other", "one")
    with pytest.raises(UserError, match="is no id"):
        actions.submit(here, TASK, "../one")
    assert (brain.pending / "one.md").read_text() == TASK
    assert actions.submit(here, TASK).task_id.startswith("task-2")


def test_a_task_is_found_wherever_it_is(brain, here):
    """In each of the four folders, by name, by the id in its text and by the name that the daemon gave it."""
    brain.drop("named.md", "---\nid: real\n---\nSay it.\n")
    brain.drop("Große Liste.md", TASK)
    brain.drop("done.md", TASK)
    assert actions.find(here, "REAL").path == str(brain.pending / "named.md")
    assert actions.find(here, "Groe-Liste").path == str(brain.pending / "Große Liste.md")
    brain.run_once()
    assert actions.find(here, "done").state == "completed"
    brain.drop("done.md", "again\n")
    assert actions.find(here, "done").state == "completed"
    assert actions.find(here, "done-2").path == str(brain.pending / "done.md")
    with pytest.raises(UserError, match="there is no task 'other'"):
        actions.find(here, "other")


def test_an_ended_task_that_git_brought_back_is_the_ended_one(brain, here):
    """The file in pending/ may not run by itself, so `retry` is what there is to do."""
    brain.drop("one.md", TASK)
    commit = brain.commit()
    brain.run_once()
    brain.git("checkout", commit, "--", "brain/tasks/pending/one.md")
    brain.git("commit", "-q", "-m", "back")
    assert actions.find(here, "one").state == "completed"
    actions.retry(here, "one")
    assert brain.where("one") == ["pending"]
    assert brain.run_once() == 0
    assert brain.where("one") == ["completed"]


# cancelling


def test_a_pending_task_is_cancelled_on_the_spot(brain, here):
    """It goes to failed/ with the reason, its own bytes and a commit; nothing was started."""
    brain.drop("Große Liste.md", TASK)
    assert actions.cancel(here, "Groe-Liste", "not needed") == "Groe-Liste: cancelled"
    result = brain.recorded("Groe-Liste")
    assert (result.values["reason"], "not needed" in result.text) == ("cancelled", True)
    assert document.restore((brain.failed / "Groe-Liste.md").read_bytes()).decode() == TASK
    assert brain.dirty() == ""
    with pytest.raises(Refused, match="has failed already"):
        actions.cancel(here, "Groe-Liste")


def test_a_claimed_task_is_taken_from_its_agent(brain, here):
    """The claim is given up and the task has one outcome."""
    brain.drop("one.md", TASK)
    found = agents.claim(here, ANN)
    actions.cancel(here, "one")
    assert [one.state for one in here.journal.attempts_of("one")] == [AttemptState.RELEASED, AttemptState.COMMITTED]
    assert here.journal.attempt(found.attempt.attempt_id).ended is None
    assert (brain.where("one"), len(brain.rows())) == (["failed"], 1)


def test_a_recorded_file_moved_back_is_cancelled_as_the_task_it_was(brain, here):
    """Its old result is taken off first."""
    brain.drop("one.md", TASK)
    brain.run_once()
    (brain.completed / "one.md").rename(brain.pending / "one.md")
    actions.cancel(here, "one")
    assert document.restore((brain.failed / "one.md").read_bytes()).decode() == TASK


@pytest.mark.parametrize("act", [actions.cancel, actions.release])
def test_a_task_that_has_just_ended_is_left_to_its_recording(brain, here, act):
    """Its outcome is durable, only its file is still in active/: neither cancel nor release gives it a second one."""
    brain.drop("one.md", TASK)
    attempt = agents.claim(here, ANN).attempt
    here.journal.end([ended(attempt, Finish(status=Status.COMPLETED))])
    with pytest.raises(Refused, match="just ended"):
        act(here, "one")
    assert len(here.journal.attempts_of("one")) == 1


@pytest.mark.parametrize("act", [actions.cancel, actions.release])
def test_a_task_whose_daemon_is_gone_must_be_recovered_first(brain, here, act):
    """Nobody knows how its attempt ended."""
    brain.drop("one.md", TASK)
    attempt = agents.claim(here, ANN).attempt
    here.journal.release(attempt.attempt_id)
    here.journal.add(
        [replace(attempt, attempt_id="one.a2.00000000", number=2, state=AttemptState.STARTING, claimant="daemon")]
    )
    with pytest.raises(Refused, match="`brain run` recovers it"):
        act(here, "one")


def test_a_running_task_is_ended_by_its_daemon(brain, daemon, here):
    """The request reaches it, and everything the task had started is gone."""
    brain.program("sleeper", "sleep", "60")
    with daemon() as running:
        brain.drop("one.md", "---\ninterface: sleeper\n---\nSleep.\n")
        running.wait_for(lambda: [one for one in here.journal.attempts_of("one") if one.state is AttemptState.STARTING])
        with pytest.raises(Refused, match="is running"):
            actions.release(here, "one")
        assert "was asked to end it" in actions.cancel(here, "one", "enough")
        running.wait_for(lambda: brain.where("one") == ["failed"])
    assert brain.recorded("one").values["reason"] == "cancelled"


# retrying and releasing


async def test_a_task_that_may_be_starting_is_ended_by_the_daemon_alone(brain):
    """Between the move into active/ and the note of the start, only the daemon knows whether it is about to run."""
    async with brain.running() as running:
        brain.write("brain/tasks/active/one.md", TASK)

        def cancel() -> str:
            with contextlib.closing(brain.open()) as opened:
                return actions.cancel(opened, "one", "not wanted")

        assert await asyncio.to_thread(cancel) == "one: the daemon was asked to end it"
        await running.ended("one")
    assert (brain.where("one"), brain.recorded("one").values["reason"]) == (["failed"], "cancelled")


def test_a_task_that_is_claimed_while_it_is_looked_for_is_cancelled_where_it_is_then(brain, here, monkeypatch):
    brain.drop("one.md", TASK)
    places = iter([actions.find(here, "one")])
    found = actions.find
    monkeypatch.setattr(actions, "find", lambda *asked: next(places, None) or found(*asked))
    agents.claim(here, ANN)
    assert actions.cancel(here, "one").startswith("one: cancelled")
    assert brain.where("one") == ["failed"]


def test_a_retry_puts_the_task_back_and_runs_it(brain, here):
    """With the original bytes for the tool, and a second attempt on record; a pending task is refused."""
    brain.drop("one.md", TASK)
    with pytest.raises(Refused, match="it is pending"):
        actions.retry(here, "one")
    brain.run_once()
    assert actions.retry(here, "one").state == "pending"
    brain.run_once()
    assert brain.recorded("one").values["attempt"] == 2
    assert document.restore((brain.completed / "one.md").read_bytes()).decode() == TASK


def test_a_retry_takes_what_stood_beside_the_file_along(brain, here):
    """A file that could not hold its error is alone again."""
    brain.drop("one.md", b"\xff\xfe broken")
    brain.run_once()
    assert brain.names(brain.failed) == ["one.error.md", "one.md"]
    actions.retry(here, "one")
    assert (brain.names(brain.failed), brain.names(brain.pending)) == ([], ["one.md"])


def test_a_retry_of_a_file_that_is_gone_says_where_it_is(brain, here):
    """git has it."""
    brain.drop("one.md", TASK)
    brain.run_once()
    (brain.completed / "one.md").unlink()
    with pytest.raises(Refused, match=r"git log -- brain/tasks/completed/one\.md"):
        actions.retry(here, "one")


def test_a_release_gives_a_claimed_task_back(brain, here):
    """The agent's claim is over, and its task waits under its old name."""
    brain.drop("Große Liste.md", TASK)
    agents.claim(here, ANN)
    assert actions.release(here, "Groe-Liste") == "Groe-Liste: back in pending/"
    assert brain.names(brain.pending) == ["Große Liste.md"]
    assert here.journal.attempts_of("Groe-Liste")[0].state is AttemptState.RELEASED


def test_a_release_answers_for_an_interrupted_task(brain, here):
    """The question is withdrawn and the task may run again."""
    brain.drop("one.md", TASK)
    attempt = agents.claim(here, ANN).attempt
    here.journal.end([ended(attempt, Ask(question="again?"))])
    inquiries.ask(here.journal, inquiries.interrupted("one", attempt.attempt_id, "again?"))
    actions.release(here, "one")
    assert (brain.where("one"), here.journal.questions()) == (["pending"], {})
    assert here.journal.attempts_of("one")[0].decision is Decision.AGAIN
    assert brain.run_once() == 0
    with pytest.raises(Refused, match="has completed"):
        actions.release(here, "one")


def test_a_released_secret_is_that_text_and_no_other(brain, here):
    """The person has read it: this content runs, an edited one is held again."""
    brain.drop("one.md", SECRET)
    brain.run_once()
    assert brain.where("one") == ["pending"]
    actions.release(here, "one")
    brain.drop("one.md", f"{SECRET} and more\n")
    brain.run_once()
    assert brain.where("one") == ["pending"]
    brain.drop("one.md", SECRET)
    assert brain.run_once() == 0
    assert brain.where("one") == ["completed"]


def test_what_is_no_task_cannot_be_released(brain, here):
    """The fault is said."""
    brain.drop("one.md", "---\npriority: whenever\n---\nx\n")
    with pytest.raises(Refused, match="priority"):
        actions.release(here, "one")


# recording


def test_an_outcome_stands_when_its_commit_must_wait(brain, here):
    """During a merge the commit is owed and said; nothing is undone, and the next settling makes it."""
    (brain.root / ".git" / "MERGE_HEAD").write_text(brain.git("rev-parse", "HEAD"))
    brain.drop("one.md", TASK)
    assert "a merge is in progress" in actions.cancel(here, "one")
    assert brain.where("one") == ["failed"]
    (brain.root / ".git" / "MERGE_HEAD").unlink()
    assert actions.settle(here) is None
    assert "cancelled" in brain.git("log", "-1", "--format=%s", "--", "brain/tasks/failed/one.md")
    assert subprocess.run(["git", "fsck"], cwd=brain.root, capture_output=True, check=False).returncode == 0


def test_who_waits_to_record_gives_way_to_a_daemon_that_starts_meanwhile(brain, here, monkeypatch):
    """It holds the lock for as long as it runs, and records what is owed itself."""
    looks = iter([False, False, True])
    monkeypatch.setattr(actions, "_TURN_SECONDS", 0.01)
    monkeypatch.setattr(actions, "wake", lambda _brain, _task_id: next(looks))
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with recording(here.layout):
            held.set()
            over.wait(60)

    daemon = threading.Thread(target=hold)
    daemon.start()
    try:
        assert held.wait(60)
        assert actions.settle(here) is None
        assert next(looks, None) is None
    finally:
        over.set()
        daemon.join()


def test_a_lock_that_nobody_running_gives_back_is_named(here, monkeypatch):
    """After its time, and nothing was undone."""
    monkeypatch.setattr(actions, "_TURN_SECONDS", 0.01)
    monkeypatch.setattr(actions, "_RECORDING_SECONDS", 0.05)
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with recording(here.layout):
            held.set()
            over.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(Occupied, match=r"record\.lock"):
            actions.settle(here)
    finally:
        over.set()
        other.join()
