"""The daemon, people and agents at every operation they make on the disk: crashes, torn writes and errors, and what is left of the promises.

`make test` strikes a sample: each scenario at an operation for each of two faults, one double crash and one power loss, drawn by `SEED`.
`BRAIN_CRASH_LAB` is how many operations are struck for every kind of fault, at even distances; `make crash-points` strikes all.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from brain_daemon.service import actions
from brain_daemon.service.brain import Brain
from tests.faults.lab import Fault, FaultyFiles, Operation, run_daemon
from tests.faults.power import Loss
from tests.faults.promises import Facts, violations
from tests.faults.scenarios import EVERY, OF_OUR_OWN, UNREPEATABLE
from tests.faults.surgery import cut_off, heal, play, surgery
from tests.faults.ward import Patient, Scenario, Ward

SEED = int(os.environ.get("SEED", "1"))
POINTS = os.environ.get("BRAIN_CRASH_LAB", "1")
_Kind = TypeVar("_Kind")
FAULTS = [fault for fault in Fault if fault is not Fault.NONE]
_LEARNED: dict[str, tuple[Operation, ...]] = {}
_WITNESSED = {"echo", "broken", "limited", "counted"}


@pytest.fixture
def ward(tmp_path) -> Ward:
    return Ward(str(tmp_path))


def _operations(ward: Ward, scenario: Scenario) -> tuple[Operation, ...]:
    """What a run without faults does; that it breaks no promise, and that the witness and the folders tell something."""
    if scenario.name in _LEARNED:
        return _LEARNED[scenario.name]
    patient = ward.admit(scenario)
    with surgery(patient, scenario):
        run, _ = play(patient, scenario)
    assert run.code in {0, int(scenario.failed > 0)}, run.words
    assert violations(patient, scenario) == []
    facts = Facts.of(patient)
    begun = [row for row in facts.attempts if row["interface"] in _WITNESSED and row["claimant"] == "daemon"]
    assert len(facts.started) == len(begun)
    ward.discharge(patient)
    _LEARNED[scenario.name] = run.operations
    return run.operations


def _sample(operations: Sequence[Operation], *names: object) -> list[Operation]:
    """At even distances, or all."""
    if POINTS == "all" or int(POINTS) >= len(operations):
        return list(operations)
    stride = len(operations) / int(POINTS)
    shift = random.Random(f"{SEED} {names}").random() * stride
    return [operations[int(shift + index * stride) % len(operations)] for index in range(int(POINTS))]


def _some(kinds: Sequence[_Kind], scenario: Scenario, count: int) -> Sequence[_Kind]:
    """All of them, or in `make test` a few, in turn over the scenarios."""
    if POINTS != "1":
        return kinds
    first = SEED + EVERY.index(scenario)
    return [kinds[(first + step * 2) % len(kinds)] for step in range(count)]


def _struck(operations: Sequence[Operation], fault: Fault) -> Sequence[Operation]:
    """Those that this fault can strike."""
    if fault is Fault.TORN:
        return [one for one in operations if one.action in {"write", "append"}]
    return operations


def _verdict(
    ward: Ward, patient: Patient, scenario: Scenario, done: int, words: str, *, pages: bool = True
) -> Iterator[str]:
    """Let healthy daemons and people put the patient right; a line for the table if a promise is broken."""
    recovery = heal(patient, scenario, done)
    found = violations(patient, scenario, pages=pages)
    if recovery.code is None:
        found.append(f"the recovery {recovery.words}")
    if found:
        yield "\n    ".join([f"{words} ({patient.root})", *found])
    else:
        ward.discharge(patient)


def _table(broken: list[str]) -> str:
    return f"SEED={SEED} ({len(broken)} cases):\n" + "\n".join(broken)


def _one(ward: Ward, scenario: Scenario, number: int, fault: Fault) -> Iterator[str]:
    """One fault, then what is broken."""
    patient = ward.admit(scenario)
    with surgery(patient, scenario):
        run, done = play(patient, scenario, number, fault)
        assert not (fault.kills and run.struck) or (run.code is None and not run.error), run.words
        if run.hung:
            yield f"{fault} at {run.struck}: {run.words}"
        yield from _verdict(ward, patient, scenario, done, f"{fault} at {number} ({run.struck}), {run.words}")


def _two(ward: Ward, scenario: Scenario, first: int, choice: random.Random, left: int) -> Iterator[str]:
    """A crash, a crash of the daemon that recovers from it, then what is broken."""
    patient = ward.admit(scenario)
    with surgery(patient, scenario):
        run, done = play(patient, scenario, first, Fault.BEFORE)
        at, fault = choice.randint(8, 20 + left), choice.choice([Fault.BEFORE, Fault.AFTER])
        second = run_daemon(patient.root, FaultyFiles(patient.root, at, fault))
        yield from _verdict(ward, patient, scenario, done, f"crash at {run.struck}, then at {second.struck}")


def _dark(ward: Ward, scenario: Scenario, number: int, loss: Loss, choice: random.Random) -> Iterator[str]:
    """The power fails, then what is broken."""
    patient = ward.admit(scenario)
    with surgery(patient, scenario):
        run, done, lost = cut_off(patient, scenario, number, loss, choice)
        words = f"power lost at {number} ({run.struck}), {loss}: {'; '.join(lost) or 'nothing was'} lost"
        yield from _verdict(ward, patient, scenario, done, words, pages=False)


@pytest.mark.parametrize("scenario", EVERY, ids=lambda scenario: scenario.name)
def test_one_fault_at_an_operation_breaks_no_promise(ward, scenario):
    """After a crash, a torn write, a disk error or a fault of ours at any operation, what comes next puts everything right."""
    operations = _operations(ward, scenario)
    broken: list[str] = []
    for fault in _some(FAULTS, scenario, 2):
        for operation in _sample(_struck(operations, fault), scenario.name, fault):
            broken += _one(ward, scenario, operation.number, fault)
    assert not broken, _table(broken)


@pytest.mark.parametrize("scenario", EVERY, ids=lambda scenario: scenario.name)
def test_a_crash_during_recovery_breaks_no_promise(ward, scenario):
    """A second crash, at any operation of the daemon that recovers from the first, changes nothing of what must hold."""
    operations = _operations(ward, scenario)
    choice = random.Random(f"{SEED} {scenario.name}")
    broken: list[str] = []
    for operation in _sample(operations, scenario.name, "double"):
        broken += _two(ward, scenario, operation.number, choice, len(operations) - operation.number)
    assert not broken, _table(broken)


@pytest.mark.parametrize("scenario", OF_OUR_OWN, ids=lambda scenario: scenario.name)
def test_a_power_loss_breaks_no_promise(ward, scenario):
    """Whatever part of what was not synced survives, what comes next puts everything right."""
    operations = _operations(ward, scenario)
    choice = random.Random(f"{SEED} {scenario.name}")
    broken: list[str] = []
    for loss in _some(list(Loss), scenario, 1):
        for operation in _sample(operations, scenario.name, loss):
            broken += _dark(ward, scenario, operation.number, loss, choice)
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
