"""What is still alive of an attempt, and ending it without ever touching anything else.

Four witnesses, since each alone can be escaped: the attempt's lock, which a descendant holds until it dies or closes its
files; the tag BRAIN_ATTEMPT_ID, which it keeps even when it closes them (children of Node and of Python do); descent; and the
attempt's control group, where there is one (cgroups.py). A process is ours when its session is the leader's, when it carries the
tag, when it holds the lock by an inherited descriptor, when it is in the group, or when it descends from one of these. What sheds
all of them is not found, and that is not promised.

The cheap and sound rule on Linux is descent. The daemon is made the subreaper of its descendants (prctl(2)), and the kernel
gives it the orphans of a process *before* it reports that process's end. So when the leader's end is seen, everything it
left behind hangs below our own direct children, and reading that list costs some 10 µs where a scan of every environment
in /proc costs 0.3 ms on an empty machine, 3 ms on a desktop. The scan remains for what descent cannot answer: recovery
after a crash of the daemon (init has the orphans then), and systems without subreaper. Being the reaper is a duty too:
orphans that ended are waited for here, or they would stay zombies as long as the daemon lives.

Failures: a process that ends under our hands is success; one that cannot be ended is returned by name (reported, never
raised); a lock file that cannot be opened for another reason than its absence is a StorageError.
"""

import contextlib
import ctypes
import fcntl
import functools
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from brain_daemon.adapters import cgroups
from brain_daemon.adapters.procfs import Living
from brain_daemon.model.errors import StorageError

if sys.platform == "linux":
    from brain_daemon.adapters import procfs as table
else:
    from brain_daemon.adapters import pstable as table

TAG = "BRAIN_ATTEMPT_ID"
KILL_WAIT_SECONDS = 2.0
_PR_SET_CHILD_SUBREAPER = 36
_UNOWNED_ZOMBIE_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.25

_leaders: set[int] = set()
_strangers: dict[Living, float] = {}  # zombies not known to be ours, by the monotonic time they were first seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """What was found of an attempt. A held lock without a process is a descendant that cannot be seen from here."""

    lock_held: bool
    processes: tuple[Living, ...]

    @property
    def any(self) -> bool:
        """Whether the attempt must be taken for still running."""
        return self.lock_held or bool(self.processes)


def alive(attempt_id: str, lock_path: str) -> Alive:
    """What lives of the attempt, asked from outside its daemon (after a crash, or by another command).

    A scan is no photograph: a tree that forks can pass behind its back. So finding nothing is said only after a second one.
    """
    found = _look(attempt_id, lock_path)
    found = found if found.any else _look(attempt_id, lock_path)
    if not found.any:
        cgroups.leave(attempt_id, lock_path)
    return found


def _look(attempt_id: str, lock_path: str) -> Alive:
    held = lock_held(lock_path)
    grouped = set(cgroups.members(attempt_id, lock_path))
    found = _identified(pid for pid in table.everyone() if pid in grouped or table.tag(pid, TAG) == attempt_id)
    if held and not found:
        found = _identified(table.holders(lock_path))
    return Alive(lock_held=held, processes=tuple(found))


def end(attempt_id: str, lock_path: str, grace_seconds: float) -> tuple[str, ...]:
    """End what lives of the attempt: SIGTERM, up to `grace_seconds`, SIGKILL. Blocks; returns the survivors by name."""
    for signum, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, KILL_WAIT_SECONDS)):
        told: set[Living] = set()
        deadline = time.monotonic() + seconds
        for pause in _pauses(deadline):
            found = alive(attempt_id, lock_path)
            if not found.any:
                return ()
            send_each(signum, found.processes, told)
            time.sleep(pause)
    return names(alive(attempt_id, lock_path), lock_path)


def names(found: Alive, lock_path: str) -> tuple[str, ...]:
    """One line a survivor, for the record; an unseen holder of the lock is named by the file it holds."""
    if found.lock_held and not found.processes:
        return (f"a process that cannot be seen from here and holds {lock_path}",)
    return tuple(table.described(living) for living in found.processes)


def lock_held(lock_path: str) -> bool:
    """Whether a descendant holds the attempt's lock. The probe is shared, so that two probes do not see each other."""
    try:
        descriptor = os.open(lock_path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"looking whether {lock_path} is held: {error.strerror}; make it readable") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def send_each(signum: signal.Signals, found: Iterable[Living], told: set[Living]) -> None:
    """Signal each of `found` that is not in `told`, and add it there: a second SIGTERM means "at once" to many programs."""
    for living in found:
        if living not in told:
            told.add(living)
            send(living, signum)


def send(living: Living, signum: signal.Signals) -> bool:
    """Signal exactly this process. False when it is gone, is somebody else by now, or may not be signalled by us.

    With a pidfd there is no moment between proof and signal in which the pid could pass to another process.
    """
    try:
        handle = os.pidfd_open(living.pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return False
    except OSError:
        handle = None
    try:
        if table.identify(living.pid) != living:
            return False
        if handle is None:
            os.kill(living.pid, signum)
        else:
            signal.pidfd_send_signal(handle, signum)
    except OSError:
        return False
    else:
        return True
    finally:
        if handle is not None:
            os.close(handle)


def identify(pid: int) -> Living | None:
    """What `pid` is now; None when there is no such process."""
    return table.identify(pid)


def adopt_orphans() -> bool:
    """Make this process the one that orphaned descendants are given to; False where the system cannot do that.

    Process-wide, and not inherited by a fork: so it is remembered by pid.
    """
    return _adopting(os.getpid())


@functools.cache
def _adopting(pid: int) -> bool:
    if sys.platform != "linux" or table.children(pid) is None:
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


class Family:
    """The descendants of one running attempt, its leader apart. The leader leads a session of its own.

    Until `close` the caller must leave the leader unreaped where it can: its zombie keeps the number from being reused.
    """

    def __init__(self, *, leader: int, attempt_id: str, lock_path: str) -> None:
        self._leader = leader
        self._oldest_start = 0.0 if adopt_orphans() else _start_of(leader)
        self._attempt_id = attempt_id
        self._lock_path = lock_path
        self._seen: set[Living] = set()
        self._new_zombies = False
        _leaders.add(leader)

    def close(self) -> None:
        """Forget the leader, which has been reaped."""
        _leaders.discard(self._leader)

    def alive(self, *, leader_ended: bool) -> Alive:
        """The descendants alive now; those of ours that ended and were given to us are reaped on the way.

        Nothing is an answer to rely on once the leader has ended. The kernel's list of children can miss one while another
        thread reaps the entry before it, hence the lock as second witness; before, the leader itself holds it.
        """
        found = self._settled_descent() if adopt_orphans() else self._scan() or self._scan()
        held = leader_ended and not found and self._lock_held()
        if held:
            found = _identified(table.holders(self._lock_path))
        return Alive(lock_held=held, processes=tuple(found))

    def _lock_held(self) -> bool:
        try:
            return lock_held(self._lock_path)
        except StorageError:
            # An agent that makes its own lock unreadable silences this witness; it must not stop the daemon.
            return False

    def _scan(self) -> list[Living]:
        everyone = _identified(pid for pid in table.everyone() if pid != self._leader)
        # Nobody is older than an ancestor: whatever else seems to match, the rest of the machine stays out of it.
        return [living for living in everyone if living.start >= self._oldest_start and self._is_ours(living)]

    def _is_ours(self, living: Living, *, settle: bool = False) -> bool:
        if living.session == self._leader or living in self._seen:
            return True
        return table.tag(living.pid, TAG, settle=settle) == self._attempt_id

    def _settled_descent(self) -> list[Living]:
        """A child that ended between the list and the look at it may have left us children that the list does not show."""
        found = self._descent()
        while self._new_zombies and not found:
            found = self._descent()
        return found

    def _descent(self) -> list[Living]:
        self._new_zombies = False
        frontier = [*self._adopted(), *_identified(table.children(self._leader) or ())]
        found: dict[int, Living] = {}
        while frontier:
            living = frontier.pop()
            if living.pid not in found:
                found[living.pid] = living
                frontier += _identified(table.children(living.pid) or ())
        self._seen.update(found.values())
        return list(found.values())

    def _adopted(self) -> list[Living]:
        """Those of our own children that are orphans of this attempt."""
        orphans = _identified(set(table.given()) - _leaders, zombies=True)
        for stranger in _strangers.keys() - set(orphans):
            del _strangers[stranger]
        return [orphan for orphan in orphans if not self._buried(orphan) and self._is_ours(orphan, settle=True)]

    def _buried(self, orphan: Living) -> bool:
        """Reap `orphan` if it has ended and is nobody else's to wait for.

        A zombie has no environment left to prove whose it is. In a session of its own and never seen alive it may be a child
        that other code here started so and will wait for; seconds unreaped say that nobody will.
        """
        if not orphan.zombie:
            return False
        now = time.monotonic()
        age_seconds = now - _strangers.get(orphan, now)
        self._new_zombies |= orphan not in _strangers
        unowned = orphan.session != os.getsid(0) and age_seconds >= _UNOWNED_ZOMBIE_SECONDS
        if unowned or orphan in self._seen or orphan.session in _leaders:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan.pid, os.WNOHANG)
        else:
            _strangers.setdefault(orphan, now)
        return True


def _start_of(leader: int) -> float:
    """No descendant is older than this; where the leader has become unreadable, none is older than this process."""
    row = table.identify(leader) or table.identify(os.getpid())
    return row.start if row else float("inf")


def _identified(pids: Iterable[int], *, zombies: bool = False) -> list[Living]:
    this = os.getpid()
    rows = (table.identify(pid) for pid in pids if pid != this)
    return [living for living in rows if living is not None and (zombies or not living.zombie)]


def _pauses(deadline: float) -> Iterable[float]:
    """Growing pauses in seconds until the monotonic `deadline`, at least one."""
    pause = _FIRST_PAUSE_SECONDS
    left = max(deadline - time.monotonic(), _FIRST_PAUSE_SECONDS)
    while left > 0:
        yield min(pause, left)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        left = deadline - time.monotonic()
