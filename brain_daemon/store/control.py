"""How other processes speak to a running daemon: small JSON files dropped into the state folder.

A file is written whole and renamed in, the daemon takes the files in the order of their names and removes each after it
has acted, so a request is acted on at least once; every verb bears being said twice. No socket, no signal, no port.
"""

import json
import os
import time
import uuid
from dataclasses import dataclass

from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Seen, look

_MAX_BYTES = 64 << 10
VERBS = frozenset({"wake", "pause", "resume", "drain", "stop", "cancel"})


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked of the daemon; `task_id` and `why` where the verb has them."""

    verb: str
    path: str
    task_id: str | None = None
    why: str = ""


def post(layout: Layout, files: Files, verb: str, task_id: str | None = None, why: str = "") -> None:
    """Ask the running daemon for something; nothing happens if none runs."""
    if verb not in VERBS:
        raise ValueError(f"no request is called {verb!r}; there are {', '.join(sorted(VERBS))}")
    files.make_folder(layout.control)
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
    document = json.dumps({"verb": verb, "task_id": task_id, "why": why})
    files.put_new(os.path.join(layout.control, name), document.encode(), sync=False)


def waiting(layout: Layout) -> list[Request]:
    """Requests in the order they were posted; a file that is none of ours is passed over."""
    requests = []
    for name in sorted(os.listdir(layout.control)):
        path = os.path.join(layout.control, name)
        if name.startswith(".") or not name.endswith(".json"):
            continue
        seen = look(layout.control, name, _MAX_BYTES)
        if isinstance(seen, Seen):
            requests.append(_request(path, seen.data))
    return requests


def _request(path: str, data: bytes | None) -> Request:
    """What a file asks for; one that is none of ours asks to look again, which does no harm."""
    try:
        asked = json.loads(data or b"")
        task_id = asked.get("task_id")
        return Request(str(asked["verb"]), path, None if task_id is None else str(task_id), str(asked.get("why", "")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Request("wake", path)


def discard_all(layout: Layout, files: Files) -> None:
    """Forget requests meant for a daemon that is no more."""
    for request in waiting(layout):
        files.remove(request.path)
