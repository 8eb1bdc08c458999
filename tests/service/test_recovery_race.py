import threading

from brain_daemon.service import agents
from brain_daemon.service.agents import Agent
from brain_daemon.service.startup import Recovery


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
