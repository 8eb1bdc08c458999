"""Two agents that pull their work and a daemon that pushes it, over one folder of many tasks: a thousand in `make test-deep`."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.depth import deep
from tests.faults.kill_lab import Victim, ended, running
from tests.faults.promises import Facts, violations
from tests.faults.scenarios import echo
from tests.faults.ward import Scenario, Ward

TASKS = deep(120, 1_000)

# `brain claim` and `brain complete`, again and again, until there is nothing to claim; each claim is told to the witness.
_AGENT = """
import contextlib, io, json, os, sys
from brain_daemon.surfaces.cli import brain

root, name, result, witness = sys.argv[1:]

def call(*arguments):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        brain.main(["--brain", root, *arguments, "--as", name, "--json"], standalone_mode=False)
    return json.loads(said.getvalue())

while (task := call("claim", "--lease", "5m"))["task_id"]:
    with open(witness, "a") as handle:
        handle.write(task["attempt_id"] + "\\n")
    assert call("complete", task["attempt_id"], "-f", result, "--input-tokens", "5")["done"]
"""


def _agent(ward_folder: Path, root: str, name: str, witness: str) -> subprocess.Popen[bytes]:
    result = ward_folder / f"{name}.result"
    result.write_text(f"done by {name}\n")
    command = [sys.executable, "-c", _AGENT, root, name, str(result), witness]
    return subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2], stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_agents_and_a_daemon_share_the_tasks_and_do_none_twice(tmp_path):
    """Every task has one outcome, one start, one ledger row and one commit, whoever took it; and each of the three took some."""
    scenario = Scenario(
        name="claimers",
        interfaces={"echo.md": echo("echo", "delay_seconds: 0.002")},
        tasks={f"t{number:04d}.md": f"# Task {number}\n" for number in range(TASKS)},
    )
    ward = Ward(str(tmp_path))
    patient = ward.admit(scenario)
    victim = Victim(patient, BRAIN_PARALLEL="1")
    agents = [_agent(tmp_path, patient.root, name, patient.witness) for name in ("ann", "bob")]
    try:
        with running(victim):
            victim.wait_for(lambda: ended(patient) == TASKS, "the end of all tasks", 1000)
            for agent in agents:
                _, said = agent.communicate(timeout=300)
                assert agent.returncode == 0, said.decode()
            victim.stop()
    finally:
        for agent in agents:
            agent.kill()
            agent.communicate()
    assert violations(patient, scenario) == []
    facts = Facts.of(patient)
    assert len(facts.started) == len(set(facts.started)) == TASKS
    shares = Counter(row["claimant"] for row in facts.attempts)
    assert shares.keys() == {"daemon", "ann", "bob"}, shares
    assert sum(shares.values()) == TASKS, shares
