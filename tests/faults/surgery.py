"""One operation on a patient: its scenario is played with a fault in it, then healthy daemons and people put right what is left."""

import contextlib
import functools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from unittest import mock

from brain_daemon.record.archive import Archive, ArchiveLimits
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout
from tests.faults.acts import Application, work
from tests.faults.lab import Fault, FaultyFiles, Run, run_act, run_acts, run_daemon
from tests.faults.power import Ledger, Loss, PowerFiles
from tests.faults.ward import Patient, Scenario


def _small(init: Callable[..., None]) -> Callable[..., None]:
    """An archive for which four tasks are too many in one folder."""

    def made(self: Archive, layout: Layout, files: Files, journal: Journal, limits: ArchiveLimits) -> None:
        init(self, layout, files, journal, replace(limits, most=3, kept=2))

    return made


@contextlib.contextmanager
def surgery(patient: Patient, scenario: Scenario) -> Iterator[None]:
    """The world that the scenario is played in: a state folder of its own, its limits, and its desktop application."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, XDG_STATE_HOME=f"{patient.root}.state"))
        if scenario.crowded:
            stack.enter_context(mock.patch.object(Archive, "__init__", _small(Archive.__init__)))
        if any("kind: file_drop" in text for text in scenario.interfaces.values()):
            stack.enter_context(Application(f"{patient.root}.shared"))
        yield


def play(patient: Patient, scenario: Scenario, at: int = 0, fault: Fault = Fault.NONE) -> tuple[Run, int]:
    """All acts of the scenario, with a fault at one operation; how it ended and how many acts were done."""
    return run_acts(patient.root, scenario.acts, lambda done: FaultyFiles(patient.root, at - done, fault))


def cut_off(
    patient: Patient, scenario: Scenario, at: int, loss: Loss, choice: random.Random
) -> tuple[Run, int, list[str]]:
    """All acts until the power fails before an operation; how it ended, how many acts were done, and what was lost."""
    ledger = Ledger()
    make = functools.partial(PowerFiles, patient.root, fault=Fault.BEFORE, ledger=ledger)
    run, done = run_acts(patient.root, scenario.acts, lambda counted: make(at - counted))
    return run, done, ledger.lose(patient.root, loss, choice) if ledger.copied else []


def heal(patient: Patient, scenario: Scenario, done: int) -> Run:
    """A healthy daemon, then whoever was interrupted does it again, and so on to the end."""
    run = run_daemon(patient.root)
    for act in scenario.acts[done:] if scenario.acts != (work,) else ():
        run = run_daemon(patient.root) if act is work else run_act(patient.root, act)
    return run_daemon(patient.root) if scenario.acts != (work,) else run
