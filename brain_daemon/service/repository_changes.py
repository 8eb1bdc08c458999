"""What a task changes where a person's repository is its workspace: looked at before its first attempt and after each one.

How the repository stood is kept in the attempt's folder, and the next attempt of the same run goes by the first one's. What has
changed becomes a file of the task (`changes.diff` in ID.files/), so it is recorded, and handed to whoever takes a handoff.

Failures: a repository that cannot be read costs the task nothing: that is said, and no file kept. StorageError where the disk fails.
"""

import os

from brain_daemon.model.errors import BrainError, StorageError
from brain_daemon.model.redaction import Redactor
from brain_daemon.record import changes
from brain_daemon.record.changes import Begin
from brain_daemon.record.repository import Repository
from brain_daemon.service.brain import Brain
from brain_daemon.service.job import Job
from brain_daemon.store.reading import read_regular

BEGIN = "repository.json"
"""In the folder of an attempt: how the repository stood before it."""

_MAX_BEGIN_BYTES = 4 << 20


def note_begin(brain: Brain, job: Job, workspace: str) -> None:
    """Keep how the workspace's repository stands, if it has one and no earlier attempt of this run knows. Blocks: it runs git."""
    repository = _repository(brain, job, workspace)
    if repository is None or _begin(brain, job, repository) is not None:
        return
    try:
        data = changes.encode(changes.begin(repository))
    except BrainError:
        return  # said at the end
    brain.files.put(os.path.join(brain.layout.attempt(job.attempt.attempt_id), BEGIN), data, sync=False)


def keep_changes(brain: Brain, job: Job, workspace: str, redactor: Redactor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the files to be kept, written where those of a scratch workspace are, and what is to be said. Blocks."""
    repository = _repository(brain, job, workspace)
    if repository is None:
        return (), ()
    try:
        before = _begin(brain, job, repository)
        if before is None:
            return (), (f"what it changed in {workspace} is not on record: nobody could tell how it stood before",)
        found = changes.changes(repository, before, redactor.bytes)
    except BrainError as error:
        return (), (f"what it changed in {workspace} is not on record: {error}",)
    if found is None:
        return (), ()
    out = os.path.join(brain.layout.workspace(job.attempt.workspace_of), "out")
    brain.files.make_folder(out)
    brain.files.put(os.path.join(out, changes.NAME), changes.render(found, redactor.text), sync=False)
    return (changes.NAME,), ()


def _repository(brain: Brain, job: Job, workspace: str) -> Repository | None:
    """The person's repository a task works in; None in a scratch workspace and in the brain's own repository."""
    if job.task.workspace == "scratch" or not os.path.isdir(workspace):
        return None
    found, own = changes.find(workspace), brain.repository
    # The daemon's own commits are no task's work. Another work tree of the same repository is a person's like any other.
    return None if found is None or (own is not None and own.git_dir == found.git_dir) else found


def _begin(brain: Brain, job: Job, repository: Repository) -> Begin | None:
    """How the repository stood before the first attempt of this run that has noted it."""
    for attempt in (*job.history, job.attempt):
        try:
            data = read_regular(os.path.join(brain.layout.attempt(attempt.attempt_id), BEGIN), _MAX_BEGIN_BYTES)
        except StorageError:
            continue
        before = changes.decode(data)
        if before is not None and before.top == repository.top:
            return before
    return None
