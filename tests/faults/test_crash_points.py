"""The daemon at every operation it makes on the disk: crashes, torn writes and errors, and what is left of the promises.

Where not all operations are struck (`BRAIN_CRASH_LAB=all`) they are taken at even distances, shifted by `SEED`.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from tests.faults.lab import Fault, FaultyFiles, Operation, run_daemon
from tests.faults.promises import Facts, violations
from tests.faults.scenarios import EVERY, THREE, UNREPEATABLE
from tests.faults.ward import Patient, Scenario, Ward

SEED = int(os.environ.get("SEED", "1"))
EVERYTHING = os.environ.get("BRAIN_CRASH_LAB") == "all"
SAMPLES = {Fault.BEFORE: 7, Fault.AFTER: 7, Fault.TORN: 3, Fault.ENOSPC: 4, Fault.EIO: 4, Fault.BUG: 3}
DOUBLES = 200 if EVERYTHING else 8


@pytest.fixture
def ward(tmp_path) -> Ward:
    return Ward(str(tmp_path))


def _operations(ward: Ward, scenario: Scenario) -> tuple[Operation, ...]:
    """What a run without faults does; that it breaks no promise, and that the witness and the folders tell something."""
    patient = ward.admit(scenario)
    run = run_daemon(patient.root, FaultyFiles(patient.root))
    assert run.code == (1 if scenario.failed else 0)
    assert violations(patient, scenario) == []
    facts = Facts.of(patient)
    assert facts.count("failed") == scenario.failed
    assert len(facts.started) == sum(row["interface"] in {"echo", "broken"} for row in facts.attempts) > 1
    return run.operations


def _sample(operations: Sequence[Operation], count: int, *names: object) -> list[Operation]:
    """At even distances, or all."""
    if EVERYTHING or count >= len(operations):
        return list(operations)
    stride = len(operations) / count
    shift = random.Random(f"{SEED} {names}").random() * stride
    return [operations[int(shift + index * stride) % len(operations)] for index in range(count)]


def _can_be_torn(operation: Operation) -> bool:
    return operation.action in {"write", "append"}


def _verdict(ward: Ward, patient: Patient, scenario: Scenario, words: str) -> Iterator[str]:
    """Let a healthy daemon recover the patient; a line for the table if a promise is broken."""
    recovery = run_daemon(patient.root)
    found = violations(patient, scenario)
    if recovery.code is None:
        found.append(f"the recovery {recovery.words}")
    if found:
        yield "\n    ".join([f"{words} ({patient.root})", *found])
    else:
        ward.discharge(patient)


def _table(broken: list[str]) -> str:
    return f"SEED={SEED} ({len(broken)} cases):\n" + "\n".join(broken)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE], ids=str)
@pytest.mark.parametrize("scenario", EVERY, ids=lambda scenario: scenario.name)
def test_one_fault_at_an_operation_breaks_no_promise(ward, scenario, fault):
    """After a crash, a torn write, a disk error or a fault of ours at any operation, a new daemon puts everything right."""
    operations = _operations(ward, scenario)
    if fault is Fault.TORN:
        operations = tuple(filter(_can_be_torn, operations))
    broken: list[str] = []
    for operation in _sample(operations, SAMPLES[fault], scenario.name, fault):
        patient = ward.admit(scenario)
        run = run_daemon(patient.root, FaultyFiles(patient.root, operation.number, fault))
        assert not (fault.kills and run.struck) or (run.code is None and not run.error), run.words
        if run.hung:
            broken.append(f"{fault} at {run.struck}: {run.words}")
        broken += _verdict(ward, patient, scenario, f"{fault} at {run.struck}, {run.words}")
    assert not broken, _table(broken)


@pytest.mark.parametrize("scenario", [THREE, UNREPEATABLE], ids=lambda scenario: scenario.name)
def test_a_crash_during_recovery_breaks_no_promise(ward, scenario):
    """A second crash, at any operation of the daemon that recovers from the first, changes nothing of what must hold."""
    operations = _operations(ward, scenario)
    choice = random.Random(f"{SEED} {scenario.name}")
    broken: list[str] = []
    for operation in _sample(operations, DOUBLES // 2, scenario.name, "double"):
        patient = ward.admit(scenario)
        first = run_daemon(patient.root, FaultyFiles(patient.root, operation.number, Fault.BEFORE))
        left = len(operations) - operation.number
        again = FaultyFiles(patient.root, choice.randint(8, 20 + left), choice.choice([Fault.BEFORE, Fault.AFTER]))
        second = run_daemon(patient.root, again)
        broken += _verdict(ward, patient, scenario, f"crash at {first.struck}, then at {second.struck}")
    assert not broken, _table(broken)


def test_an_interrupted_task_runs_again_once_a_person_says_so(ward):
    """What waits for an answer after a crash is done after `brain release`, as a second attempt of the same task."""
    patient = _interrupted(ward)
    waiting = _active(patient)
    brain = Brain.open(patient.root, dict(os.environ))
    for task_id in waiting:
        actions.release(brain, task_id)
    brain.close()
    run_daemon(patient.root)
    assert violations(patient, replace(UNREPEATABLE, repeatable=True)) == []
    numbers = {row["task_id"]: row["number"] for row in Facts.of(patient).attempts}
    assert [numbers[task_id] for task_id in waiting] == [2] * len(waiting)


def _interrupted(ward: Ward) -> Patient:
    """A brain with a question: its daemon died just after it had written a start into the journal."""
    for operation in _operations(ward, UNREPEATABLE):
        if (operation.action, operation.thread) == ("commit journal", "MainThread"):
            patient = ward.admit(UNREPEATABLE)
            run_daemon(patient.root, FaultyFiles(patient.root, operation.number, Fault.AFTER))
            run_daemon(patient.root)
            assert violations(patient, UNREPEATABLE) == []
            if _active(patient):
                return patient
    raise AssertionError("no crash after a commit of the journal has interrupted anything")


def _active(patient: Patient) -> list[str]:
    names = os.listdir(os.path.join(patient.root, "brain", "tasks", "active"))
    return [name.removesuffix(".md") for name in names if not name.startswith(".")]
