"""`brain submit` inside a task: the new task is a child of the one that runs, and the daemon decides on it.

It is a file in spawn/ of the folder the task works in (workspace/spawn.py), so an agent without a shell writes it itself. The
daemon looks there every half second and leaves its answer beside the file; whoever does not live to see it has the child all the
same, or finds the refusal in the record of the parent.

Failures: UserError where this is no task of the daemon; Refused where it does not prove to be, and where the child is refused.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from brain_daemon.adapters.survivors import TAG
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.model.ids import ATTEMPT_ID
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.tokens import VARIABLE, is_token_of
from brain_daemon.workspace.spawn import answer_to, put_task

ANSWER_SECONDS = 15.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The attempt this process runs for."""

    task_id: str
    attempt_id: str
    workspace: str


def inside(layout: Layout, environment: Mapping[str, str]) -> Inside | None:
    """The attempt this process runs for; None for a person. Its folder is the proof, and its token where the client keeps it."""
    task_id, attempt_id = environment.get("BRAIN_TASK_ID", ""), environment.get(TAG, "")
    workspace, token = environment.get("BRAIN_WORKSPACE", ""), environment.get(VARIABLE, "")
    if not task_id and not token:
        return None
    if not (task_id and ATTEMPT_ID.fullmatch(attempt_id) and os.path.isdir(workspace)):
        raise UserError(
            f"submitting a task: BRAIN_TASK_ID or {VARIABLE} is set, and this is no task of the daemon. Unset both, or run inside a task."
        )
    if token and not is_token_of(layout, attempt_id, token):
        raise Refused(f"submitting a task: {VARIABLE} is not that of the attempt {attempt_id}.")
    return Inside(task_id=task_id, attempt_id=attempt_id, workspace=workspace)


def hand_down(one: Inside, text: str, patience_seconds: float) -> str | None:
    """Leave a child of the running task; its id, or None where nobody has answered yet. Refused with the daemon's reason."""
    path = put_task(Files(), one.workspace, one.attempt_id, text)
    until = time.monotonic() + patience_seconds
    while (answer := answer_to(path)) is None and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    if answer is None:
        return None
    task_id, refused = answer
    if task_id is None:
        raise Refused(f"spawning a task of {one.task_id}: {refused}.")
    return task_id
