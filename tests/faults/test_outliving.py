"""What a daemon must get through without a restart: one disk error anywhere, and a stop while a dead daemon's program still runs."""

import os
import signal

import pytest

from tests.faults.acts import WITNESS
from tests.faults.kill_lab import Victim, ended, running, starts
from tests.faults.lab import Fault, FaultyFiles, run_daemon
from tests.faults.promises import violations
from tests.faults.scenarios import THREE
from tests.faults.ward import Scenario, Ward

EVERYTHING = os.environ.get("BRAIN_CRASH_LAB") == "all"
_SLEEPER = f"""\
---
name: sleeper
idempotent: true
invoke:
  kind: command
  command: [sh, -c, 'echo "$BRAIN_ATTEMPT_ID" >> {WITNESS}; while [ ! -e {{go}} ]; do sleep 0.02; done; cat']
---
# Sleeper
"""


@pytest.fixture
def ward(tmp_path) -> Ward:
    return Ward(str(tmp_path))


@pytest.mark.parametrize("thread", ["MainThread", "files", "commits"])
def test_one_disk_error_while_it_runs_leaves_nothing_undone(ward, thread):
    """Whatever could not be written once is written later by the same daemon: nothing is lost, stuck or left lying about."""
    patient = ward.admit(THREE)
    run = run_daemon(patient.root, FaultyFiles(patient.root))
    open_since = next(one.number for one in run.operations if one.action == "move" and "/active/" in one.path)
    struck = [one for one in run.operations if one.number >= open_since and one.thread == thread]
    broken = []
    for operation in struck if EVERYTHING else struck[:: max(1, len(struck) // 5)]:
        patient = ward.admit(THREE)
        run = run_daemon(patient.root, FaultyFiles(patient.root, operation.number, Fault.EIO))
        found = [] if run.code == 0 else [run.words]
        found += violations(patient, THREE)
        if found:
            broken.append("\n    ".join([f"{Fault.EIO} at {run.struck}", *found]))
    assert not broken, "\n".join(broken)


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_dead_daemons_program(ward, tmp_path):
    """The second SIGTERM ends a daemon that waits for an orphan; the orphan lives on, and the next daemon waits for it again."""
    go = tmp_path / "go"
    interfaces = {"sleeper.md": _SLEEPER.format(go=go)}
    scenario = Scenario(name="an orphan", interfaces=interfaces, tasks={"a.md": "# A\n"})
    patient = ward.admit(scenario)
    victim = Victim(patient)
    with running(victim):
        victim.wait_for(lambda: len(starts(patient)) == 1, "the start")
        victim.kill()
    with running(victim):
        victim.wait_for(victim.is_up, "the daemon")
        victim.signal(signal.SIGTERM)
        victim.stop()
    assert len(starts(patient)) == 1
    go.touch()
    with running(victim):
        victim.wait_for(lambda: ended(patient) == 1, "the end of the task")
        victim.stop()
    assert len(starts(patient)) == 2
    assert violations(patient, scenario) == []
