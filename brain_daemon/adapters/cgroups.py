"""A control group for each attempt, where this process may make one: a witness that no descendant sheds by itself.

Only version 2 (cgroups(7)), below the daemon's own group: root has that, and a service with `Delegate=yes`; an ordinary login has
not. No controller is used and nothing is limited. The path of the group stands beside the attempt's lock, since the daemon that
looks for it after a crash may live in another group.

Failures: none are told. Where no group can be made there is no such witness. Not promised: what has shed all other witnesses before
the move into the group, and what has the rights to move itself out of it.
"""

import contextlib
import functools
import os
from collections.abc import Iterable

from brain_daemon.model.errors import StorageError
from brain_daemon.store.reading import read_regular

_PREFIX = "brain-"
_MAX_PATH_BYTES = 4096


def home() -> str | None:
    """The group of this process, where groups can be made below it; None where they cannot."""
    return _home_of(os.getpid())


def enter(pids: Iterable[int], attempt_id: str, lock_path: str) -> None:
    """Put these processes, and with them all that they will start, into the attempt's group. The kernel may take 30 ms for each."""
    own = home()
    if own is None:
        return
    group = os.path.join(own, _PREFIX + attempt_id)
    with contextlib.suppress(OSError):
        os.makedirs(group, exist_ok=True)
        with open(_told(lock_path), "w", encoding="utf-8", errors="surrogateescape") as told:
            told.write(group)
        for pid in pids:
            with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as joining:
                joining.write(str(pid))


def members(attempt_id: str, lock_path: str) -> list[int]:
    """The pids in the attempt's group; none where there is no group."""
    group = _group(attempt_id, lock_path)
    if group is None:
        return []
    try:
        with open(os.path.join(group, "cgroup.procs"), encoding="ascii") as listed:
            return [int(line) for line in listed]
    except (OSError, ValueError):
        return []


def leave(attempt_id: str, lock_path: str) -> None:
    """Remove the attempt's group if nobody is in it any more."""
    group = _group(attempt_id, lock_path)
    if group is not None:
        with contextlib.suppress(OSError):
            os.rmdir(group)
            os.unlink(_told(lock_path))


def _told(lock_path: str) -> str:
    return f"{lock_path}.cgroup"


def _group(attempt_id: str, lock_path: str) -> str | None:
    """Where the attempt's group is; a file that names another one, which a child may have written, counts for nothing."""
    try:
        group = os.fsdecode(read_regular(_told(lock_path), _MAX_PATH_BYTES))
    except StorageError:
        return None
    return group if os.path.basename(group) == _PREFIX + attempt_id else None


@functools.cache
def _home_of(_pid: int) -> str | None:
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as told:
            path = next((line[3:].rstrip("\n") for line in told if line.startswith("0::")), None)
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            mount = next((line.split()[4] for line in mounts if " - cgroup2 " in line), None)
    except OSError:
        return None
    if path is None or mount is None:
        return None
    group = os.path.join(mount, path.lstrip("/")).rstrip("/")
    return group if os.access(os.path.join(group, "cgroup.procs"), os.W_OK) and os.access(group, os.W_OK) else None
