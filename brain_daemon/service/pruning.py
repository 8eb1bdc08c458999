"""Taking away what attempts leave on this machine once their outcome is in git: workspaces at once, raw output after a time.

Blocks; opens a journal connection of its own. What cannot be removed stays and is tried again.
"""

import os
import time

from brain_daemon.model.attempt import AttemptState, Decision
from brain_daemon.service.brain import Brain
from brain_daemon.store.journal import Journal
from brain_daemon.workspace.scratch import discard

MOST_AT_ONCE = 500


def prune(brain: Brain) -> int:
    """Remove at most `MOST_AT_ONCE` folders; how many were removed."""
    journal = Journal(brain.layout.journal, brain.files, durable=False)
    try:
        spent = [path for path in _folders(brain.layout.work) if _is_spent(journal, os.path.basename(path))]
        oldest = time.time() - brain.config.keep_output_seconds
        raw = os.path.join(brain.layout.state, "attempts")
        old = [
            path
            for path in _folders(raw)
            if os.path.getmtime(path) < oldest and _is_spent(journal, os.path.basename(path))
        ]
    finally:
        journal.close()
    for path in (*spent, *old):
        discard(path)
    return len(spent) + len(old)


def _folders(parent: str) -> list[str]:
    if not os.path.isdir(parent):
        return []
    with os.scandir(parent) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)][:MOST_AT_ONCE]


def _is_spent(journal: Journal, attempt_id: str) -> bool:
    """Whether nobody needs the attempt's folder any more: its task has ended, and git has it."""
    attempt = journal.attempt(attempt_id)
    if attempt is None:
        return True
    newest = journal.attempts_of(attempt.task_id)[-1]
    return newest.state is AttemptState.COMMITTED and newest.decision is Decision.FINISH
