"""What `brain doctor` asks of the machine alone: disks, locks, clocks and what the kernel allows, for one set of folders.

Nothing here knows of tasks. Each question answers with findings; an OSError on the way is the caller's to report.
"""

import fcntl
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import psutil

from brain_daemon.store.files import Files
from brain_daemon.store.probe import lock_is_held

if sys.platform == "linux":
    from brain_daemon.adapters import procfs as table
else:
    from brain_daemon.adapters import pstable as table

CLOCK_SLACK_SECONDS = 2.0
_OLDEST_SQLITE = (3, 37, 0)
_FEW_WATCHES = 1024
_FEW_INSTANCES_LEFT = 8
_FEW_INODES = 10_000
_NETWORK = frozenset(
    {
        "9p", "afpfs", "afs", "ceph", "cifs", "coda", "davfs", "fuse.davfs2", "fuse.glusterfs", "fuse.rclone",
        "fuse.s3fs", "fuse.sshfs", "glusterfs", "ncpfs", "nfs", "nfs4", "prl_fs", "smb2", "smb3", "smbfs", "vboxsf",
        "vmhgfs", "webdav",
    }
)  # fmt: skip


class Level(StrEnum):
    """How bad it is: fine, worth knowing, or in the way of a promise."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `what` was found, in words, and the `fix` where there is something to do."""

    level: Level
    area: str
    what: str
    fix: str = ""


def folders(paths: Iterable[str]) -> Iterator[Finding]:
    """Whether each folder is one, and may be read and written."""
    wrong = 0
    for path in paths:
        if not os.path.lexists(path):
            wrong += 1
            yield Finding(Level.WARN, "folders", f"{path} is not there.", "`brain run` makes it.")
        elif not os.path.isdir(path):
            wrong += 1
            yield Finding(Level.BAD, "folders", f"{path} is no folder.", "Move it away.")
        elif os.statvfs(path).f_flag & os.ST_RDONLY:
            fix = "Mount it for writing; until then `brain status`, `list`, `show` and `costs` work."
            yield Finding(Level.BAD, "folders", f"{path} lies on a file system that may not be written.", fix)
            return
        elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            wrong += 1
            owner = os.stat(path).st_uid
            fix = "Give it to the user who runs the daemon, with read, write and search permission."
            yield Finding(Level.BAD, "folders", f"{path} (of user {owner}) may not be read and written by you.", fix)
    if not wrong:
        yield Finding(Level.OK, "folders", "all are there and may be read and written.")


def disk(paths: Iterable[str], reserve_bytes: int) -> Iterator[Finding]:
    """Free space and free inodes on each device, beside the reserve below which nothing is claimed."""
    seen: set[int] = set()
    for path in map(existing, paths):
        device = os.stat(path).st_dev
        if device in seen:
            continue
        seen.add(device)
        found = os.statvfs(path)
        free = found.f_bavail * found.f_frsize
        room = f"{free / 1e9:.1f} GB are free at {path}, the reserve is {reserve_bytes / 1e9:.1f} GB"
        if free < reserve_bytes:
            yield Finding(Level.BAD, "disk", f"{room}: nothing new is claimed.", "Free some space, or lower `reserve`.")
        elif free < 2 * reserve_bytes:
            yield Finding(Level.WARN, "disk", f"{room}.", "Free some space.")
        else:
            yield Finding(Level.OK, "disk", f"{room}.")
        if found.f_files > 0 and found.f_favail < _FEW_INODES:
            what = f"only {found.f_favail} more files fit on the disk at {path}."
            yield Finding(Level.WARN, "disk", what, "Remove files you do not need there.")


def filesystem(state: str, root: str) -> Iterator[Finding]:
    """Network disks: locks and SQLite are not to be trusted there, and file events do not arrive."""
    mounts = [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    kind = _kind(state, mounts)
    if kind in _NETWORK:
        fix = "Put the repository on a local disk: what is promised is not promised here."
        yield Finding(Level.BAD, "filesystem", f"the runtime state {state} lies on a network disk ({kind}).", fix)
    else:
        yield Finding(Level.OK, "filesystem", f"the runtime state lies on {kind}.")
    if _kind(root, mounts) in _NETWORK:
        what = (
            f"the brain lies on a network disk ({_kind(root, mounts)}): file events may not arrive and are polled for."
        )
        yield Finding(Level.WARN, "filesystem", what, "A local disk is quicker and safer.")


def _kind(path: str, mounts: Iterable[tuple[str, str]]) -> str:
    real = os.path.join(os.path.realpath(existing(path)), "")
    around = [(len(point), kind) for point, kind in mounts if real.startswith(os.path.join(point, ""))]
    return max(around, default=(0, "an unknown file system"))[1]


def existing(path: str) -> str:
    """`path`, or the nearest folder above it that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def lock_test(state: str, files: Files) -> Iterator[Finding]:
    """Whether a lock taken twice is refused the second time: some mounts grant every lock to everybody."""
    path = os.path.join(state, f".doctor-{os.getpid()}")
    files.put(path, b"", sync=False)
    first, second = os.open(path, os.O_RDWR | os.O_CLOEXEC), os.open(path, os.O_RDWR | os.O_CLOEXEC)
    fix = "Put the repository on a local disk."
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield Finding(Level.OK, "locks", "file locks exclude each other in the state folder.")
    except OSError as error:
        yield Finding(Level.BAD, "locks", f"{state} does not lock files: {error.strerror}.", fix)
    else:
        yield Finding(Level.BAD, "locks", f"{state} grants one lock twice: two daemons could run.", fix)
    finally:
        os.close(first)
        os.close(second)
        files.remove(path)


def lock_holders(paths: Iterable[str]) -> Iterator[Finding]:
    """Who holds each lock now."""
    for path in paths:
        if lock_is_held(path):
            found = [living for pid in table.holders(path) if (living := table.identify(pid)) is not None]
            who = ", ".join(table.described(living) for living in found) or "a process that cannot be seen from here"
            yield Finding(Level.OK, "locks", f"{os.path.basename(path)} is held by {who}.")


def clock(state: str, files: Files) -> Iterator[Finding]:
    """Whether the disk and this machine agree on the time."""
    path = os.path.join(state, f".clock-{os.getpid()}")
    files.put(path, b"", sync=False)
    ahead = os.stat(path).st_mtime - time.time()
    files.remove(path)
    if abs(ahead) > CLOCK_SLACK_SECONDS:
        what = f"the disk's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's."
        yield Finding(Level.WARN, "clock", what, "Let both keep time by NTP.")
    else:
        yield Finding(Level.OK, "clock", "the disk and this machine agree on the time.")


def future_files(paths: Iterable[str]) -> Iterator[Finding]:
    """Files dated in the future: whoever wrote them, or this machine, has the wrong time."""
    limit = time.time() + 60.0
    late = [path for path in paths if os.path.lexists(path) and os.lstat(path).st_mtime > limit]
    if late:
        more = f" and {len(late) - 1} more" if len(late) > 1 else ""
        what = f"{late[0]}{more} has a date in the future: its age and order are wrong."
        yield Finding(Level.WARN, "clock", what, "Set the clock of the machine that wrote it; `touch` the file.")


def inotify(folders_needed: int) -> Iterator[Finding]:
    """How many file watches and watchers the kernel still allows this user (Linux)."""
    if sys.platform != "linux":
        return
    watches, instances = _limit("max_user_watches"), _limit("max_user_instances")
    used = _instances_used()
    if watches < max(_FEW_WATCHES, 2 * folders_needed):
        fix = "Raise fs.inotify.max_user_watches (sysctl); without it the folders are polled."
        yield Finding(Level.WARN, "events", f"the kernel allows only {watches} file watches.", fix)
    elif instances - used < _FEW_INSTANCES_LEFT:
        fix = "Raise fs.inotify.max_user_instances (sysctl), or close some editors."
        yield Finding(Level.WARN, "events", f"{used} of {instances} inotify instances are in use.", fix)
    else:
        yield Finding(Level.OK, "events", f"{watches} file watches are allowed, {used} of {instances} instances used.")


def _limit(name: str) -> int:
    try:
        with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as handle:
            return int(handle.read())
    except (OSError, ValueError):
        return sys.maxsize


def _instances_used() -> int:
    """Of the processes whose open files may be seen: this user's."""
    used = 0
    for pid in table.everyone():
        try:
            folder = f"/proc/{pid}/fd"
            used += sum(os.readlink(f"{folder}/{name}") == "anon_inode:inotify" for name in os.listdir(folder))
        except OSError:
            continue
    return used


def programs() -> Iterator[Finding]:
    """The versions this program stands on."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        what = f"SQLite is {sqlite3.sqlite_version}, the journal needs 3.37."
        yield Finding(Level.BAD, "programs", what, "Use a Python that comes with a newer SQLite.")
    else:
        python = ".".join(map(str, sys.version_info[:3]))
        yield Finding(Level.OK, "programs", f"Python {python}, SQLite {sqlite3.sqlite_version}.")
