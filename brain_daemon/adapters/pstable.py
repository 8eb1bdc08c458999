"""The process table by psutil, for systems without /proc: the same questions as `procfs`, asked the portable way.

Slower by an order of magnitude and blind where the system hides the environment (macOS does so for programs under its
integrity protection). Nothing here raises for a process that is gone, foreign or unreadable.
"""

import os

import psutil

from brain_daemon.adapters.procfs import Living, described_by, plain


def everyone() -> list[int]:
    """The pid of every process."""
    return psutil.pids()


def identify(pid: int) -> Living | None:
    """What `pid` is now, a zombie included; None when there is no such process."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return Living(
                pid=pid,
                start=process.create_time(),
                parent=process.ppid(),
                group=os.getpgid(pid),
                session=os.getsid(pid),
                zombie=process.status() == psutil.STATUS_ZOMBIE,
                name=plain(process.name()),
                started_at=process.create_time(),
            )
    except (psutil.Error, OSError):
        return None


def described(living: Living) -> str:
    """The words for `living`, with the script it runs where it is an interpreter with one."""
    try:
        return described_by(living, psutil.Process(living.pid).cmdline()[:2])
    except (psutil.Error, OSError):
        return living.words


def children(_pid: int) -> list[int] | None:
    """None: without a subreaper, orphans are nobody's children, and a list of children would prove nothing."""
    return None


def given() -> list[int]:
    """Nobody is given to us without a subreaper."""
    return []


def tag(pid: int, name: str, *, settle: bool = False) -> str | None:  # noqa: ARG001  (one contract, two tables)
    """The variable `name` in the environment `pid` was started with."""
    try:
        return psutil.Process(pid).environ().get(name)
    except (psutil.Error, OSError):
        return None


def holders(lock_path: str) -> list[int]:
    """Who has `lock_path` open. Portably an open file cannot be told from a held lock, so nobody is accused."""
    del lock_path
    return []
