"""A parent that spawns and waits, with a fault at any operation of its daemon: each child is there once, and its result comes home.

`make test` strikes a few operations at even distances, shifted by `SEED`; `BRAIN_CRASH_LAB=all` strikes all of them.
"""

import contextlib
import os
import random
import sqlite3

import pytest

from tests.faults.lab import Fault, FaultyFiles, Operation, Run, run_daemon
from tests.faults.promises import journal_of, violations
from tests.faults.scenarios import echo
from tests.faults.ward import Patient, Scenario, Ward, read

SEED = int(os.environ.get("SEED", "1"))
POINTS = os.environ.get("BRAIN_CRASH_LAB", "1")
FAULTS = [Fault.BEFORE, Fault.AFTER, Fault.TORN, Fault.EIO]
_BOSS = """\
---
name: boss
idempotent: true
invoke:
  kind: command
  command:
    - sh
    - -c
    - |
      if [ -n "$BRAIN_CHILDREN_FILE" ]; then cat "$BRAIN_CHILDREN_FILE" context/*.md; exit 0; fi
      mkdir -p spawn
      for part in a b; do
        printf -- '---\\ninterface: echo\\n---\\n# Part %s\\n' "$part" > "spawn/.$part"; mv "spawn/.$part" "spawn/$part.md"
      done
---
# Boss
"""
FAMILY = Scenario(
    name="a parent spawns two children and waits for them",
    interfaces={"boss.md": _BOSS, "echo.md": echo()},
    tasks={"job.md": "---\ninterface: boss\nwait_for_children: true\n---\n# Both parts\n\nDo them.\n"},
    spawns=True,
)


@pytest.fixture
def ward(tmp_path) -> Ward:
    return Ward(str(tmp_path))


def _faults(patient: Patient) -> list[str]:
    """What is broken: the promises to every task, and those to a family."""
    found = violations(patient, FAMILY)
    with contextlib.closing(sqlite3.connect(f"file:{journal_of(patient.root)}?mode=ro", uri=True)) as connection:
        known = sorted({row[0] for row in connection.execute("select task_id from attempts")})
        left = connection.execute("select count(*) from meta where key glob 'spawned *' and value glob '*\"text\"*'")
        if left.fetchone()[0]:
            found.append("a child has not been delivered")
    if known != ["job", "job-a", "job-b"]:
        found.append(f"there were the tasks {known}")
    parent = os.path.join(patient.root, "brain", "tasks", "completed", "job.md")
    said = read(parent).decode() if os.path.exists(parent) else ""
    for part in ("a", "b"):
        if said.count(f"# Part {part}") != 1:
            found.append(f"the parent was told {said.count(f'# Part {part}')} times of the part {part}")
    return found


def _operations(ward: Ward) -> tuple[Operation, ...]:
    """What a run without faults does; that nothing is broken by it."""
    patient = ward.admit(FAMILY)
    run = run_daemon(patient.root, FaultyFiles(patient.root))
    assert run.code == 0, run.words
    assert _faults(patient) == []
    ward.discharge(patient)
    return run.operations


def _struck(operations: tuple[Operation, ...], fault: Fault) -> list[Operation]:
    """The operations to strike: all that this fault can, or some of them; always one that delivers a child."""
    able = [one for one in operations if fault is not Fault.TORN or one.action in {"write", "append"}]
    if POINTS == "all":
        return able
    children = [one for one in able if "job-a.md" in one.path and "pending" in one.path] or able
    choice = random.Random(f"{SEED} {fault}")
    return [choice.choice(children), *choice.sample(able, int(POINTS))]


def _verdict(ward: Ward, patient: Patient, words: str, run: Run) -> list[str]:
    recovery = run_daemon(patient.root)
    found = _faults(patient) + ([f"the recovery {recovery.words}"] if recovery.code is None else [])
    if found:
        return ["\n    ".join([f"{words} at {run.struck}, {run.words} ({patient.root})", *found])]
    ward.discharge(patient)
    return []


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_each_child_is_spawned_once_whatever_strikes(ward, fault):
    """The parent ends with both results, and nothing was done twice that may not be."""
    operations = _operations(ward)
    broken: list[str] = []
    for operation in _struck(operations, fault):
        patient = ward.admit(FAMILY)
        run = run_daemon(patient.root, FaultyFiles(patient.root, operation.number, fault))
        broken += _verdict(ward, patient, str(fault), run)
    assert not broken, f"SEED={SEED} ({len(broken)} cases):\n" + "\n".join(broken)
