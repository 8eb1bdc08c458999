"""Accepted children on their way from the journal into pending/, each put there once.

The journal has the text of a child until its file is there, so whoever finds the text after a crash looks first whether a task of
that id is there or ever was. Failures: StorageError; nothing is lost, and it is tried again.
"""

import os

from brain_daemon.service.brain import Brain
from brain_daemon.store import offspring as records
from brain_daemon.store.offspring import Offspring


def deliver(brain: Brain, offspring: Offspring) -> list[str]:
    """Put the accepted children that are not there yet into pending/; the names of their files. The caller holds the claims lock."""
    names = []
    for child in offspring.undelivered:
        name = f"{child.task_id}.md"
        if not exists(brain, str(child.task_id)):
            brain.files.put_new(os.path.join(brain.layout.pending, name), child.text.encode("utf-8", "surrogateescape"))
        names.append(name)
    records.keep(brain.journal, offspring.delivered())
    return names


def finish(brain: Brain) -> None:
    """Deliver what a crash has left in the journal alone. The caller holds the claims lock."""
    for offspring in records.every(brain.journal):
        if offspring.undelivered:
            deliver(brain, offspring)


def is_there(brain: Brain, task_id: str) -> bool:
    """Whether a task stands in pending/ or active/ under its id."""
    places = (brain.layout.pending, brain.layout.active)
    # Twice, since a file may move from one to the other between two looks.
    return any(os.path.lexists(os.path.join(place, f"{task_id}.md")) for place in (*places, *places))


def exists(brain: Brain, task_id: str) -> bool:
    """Whether a task of this id is there or ever was."""
    known = brain.journal.attempts_of(task_id) or brain.journal.ended_task(task_id) is not None
    return bool(known) or is_there(brain, task_id)
