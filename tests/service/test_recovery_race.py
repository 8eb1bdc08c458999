import threading

from brain_daemon.model.attempt import Decision
from brain_daemon.model.outcome import FREE, Ended, Status, Succeeded
from brain_daemon.policy.recovery import Leave
from brain_daemon.service import actions, agents
from brain_daemon.service.agents import Agent
from brain_daemon.service.startup import Recovery
from brain_daemon.store.queue import Queue


def test_a_start_leaves_a_claim_that_is_just_being_made(brain):
    """A daemon that starts between an agent's rename and its journal row must not give the file back."""
    here, other = brain.open(), brain.open()
    brain.drop("one.md", "x\n")
    add, threads = here.journal.add, []

    def slow_add(attempts):
        threads.append(threading.Thread(target=Recovery(other, lambda n: None).run))
        threads[0].start()
        threads[0].join(0.5)
        add(attempts)

    here.journal.add = slow_add
    found = agents.claim(here, Agent(name="ann", lease_seconds=60.0))
    threads[0].join()
    assert brain.where("one") == ["active"], found


def test_a_start_lets_another_process_record_what_has_ended_while_it_looks(brain, monkeypatch):
    """Its file leaves active/ between the list of that folder and the look at it."""
    here = brain.open()
    brain.drop("one.md", "x\n")
    agents.claim(here, Agent(name="ann", lease_seconds=60.0))
    (attempt,) = here.journal.open_attempts()
    ended = Ended(outcome=Succeeded(text="x"), started_at=1, finished_at=2, duration_seconds=1, cost=FREE)
    here.journal.end([attempt.finished(ended, Decision.FINISH, Status.COMPLETED, None, "")])
    listed = Queue.active_ids

    def slowly(queue):
        found = listed(queue)
        assert actions.settle(here) is None
        return found

    monkeypatch.setattr(Queue, "active_ids", slowly)
    assert isinstance(Recovery(brain.open(), lambda n: None).run().repairs["one"], Leave)
    assert brain.where("one") == ["completed"]
