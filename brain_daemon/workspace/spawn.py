"""The tasks an agent leaves in `spawn/` of the folder it works in: markdown files, each to become a child of its task.

`brain submit` writes one there, and an agent without a shell writes it itself. In a folder that is not ours, a repository with a
`spawn/` of its own, only files named after the attempt count. A file that was taken up is renamed, and what became of it stands
beside it as NAME.answer.json. Failures: links, FIFOs, folders and what cannot be read are passed over; StorageError where
something cannot be written.
"""

import hashlib
import itertools
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from brain_daemon.model.errors import StorageError
from brain_daemon.store.files import Files
from brain_daemon.store.layout import is_task_name
from brain_daemon.store.queue import Gone, Seen, look, peek
from brain_daemon.store.reading import read_regular

FOLDER = "spawn"
MAX_SUBMITTED = 500
_TAKEN = ".taken"
_ANSWER = ".answer.json"
_MAX_ANSWER_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A file in spawn/. `name` tells it from others of its task, whichever attempt wrote it; `data` is None where it is too large."""

    path: str
    name: str
    sha256: str
    data: bytes | None


def put_task(files: Files, workspace: str, attempt_id: str, text: str) -> str:
    """Leave a task of an attempt in its folder; the path."""
    folder = os.path.join(workspace, FOLDER)
    files.make_folder(folder)
    there = os.listdir(folder)
    for number in range(1, MAX_SUBMITTED + 1):
        name = f"{attempt_id}.{number}.md"
        if any(one.startswith(f"{name}.") for one in there):
            continue
        try:
            files.put_new(os.path.join(folder, name), text.encode("utf-8", "surrogateescape"))
        except FileExistsError:
            continue
        return os.path.join(folder, name)
    raise StorageError(f"spawning a task: {folder} holds {MAX_SUBMITTED} of them already. End the run.")


def left_in(
    workspace: str, attempt_id: str, limit_bytes: int, *, ours: bool, quiet_seconds: float = 0.0
) -> Iterator[Left]:
    """The files there, by name; `ours` is a scratch workspace. Only what nobody has written to for `quiet_seconds`."""
    folder = os.path.join(workspace, FOLDER)
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        mark = name.removeprefix(f"{attempt_id}.")
        if not is_task_name(name) or (mark == name and not ours):
            continue
        if mark == name and not _is_quiet(folder, name, quiet_seconds):
            continue
        seen = look(folder, name, limit_bytes)
        if isinstance(seen, Seen):
            sha256 = hashlib.sha256(seen.data or b"").hexdigest()
            yield Left(
                path=os.path.join(folder, name),
                name=f"/{mark}" if mark != name else name,
                sha256=sha256,
                data=seen.data,
            )


def _is_quiet(folder: str, name: str, seconds: float) -> bool:
    found = peek(folder, name)
    if isinstance(found, Gone) or seconds <= 0:
        return True
    age = time.time() - getattr(found, "modified_at", 0.0)
    return not 0 <= age < seconds


def set_aside(files: Files, path: str, *, task_id: str | None, refused: str) -> None:
    """Say beside a file what became of it, and take it out of the way."""
    told = json.dumps({"task_id": task_id, "refused": refused or None}).encode()
    files.put(f"{path}{_ANSWER}", told + b"\n", sync=False)
    for number in itertools.count(1):
        try:
            files.move(path, f"{path}.{number}{_TAKEN}")
        except FileExistsError:
            continue
        except FileNotFoundError:
            return
        return


def answer_to(path: str) -> tuple[str | None, str] | None:
    """The id of the child that a file has become, or None with why it was refused; None while nobody has said."""
    data = read_regular(f"{path}{_ANSWER}", _MAX_ANSWER_BYTES)
    try:
        told = json.loads(data)
        return told["task_id"], str(told["refused"] or "")
    except (ValueError, KeyError, TypeError):
        return None
