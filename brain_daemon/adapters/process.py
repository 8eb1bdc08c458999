"""One command for one attempt: start its process tree, notice its end, end it when something says so.

The child writes straight into files and holds the attempt's lock, so neither a grandchild that keeps them open nor a daemon
that dies harms anything. It leads a session and a process group of its own. Its exit ends the attempt; what it leaves behind
is ended too, after a success as well. A cancel, a deadline or the output limit decides the outcome once and for all: what
the program says afterwards (an interrupted client may well exit 0) no longer counts.

Ending goes up a ladder until nothing is left: SIGINT to the group as the soft warning (a client then closes its session
file; SIGUSR1 would kill a program that does not know it), SIGTERM to the group and to every descendant outside it,
SIGKILL likewise, and what still lives is named. Past the output limit there is no grace: each second of it is another gigabyte.

Deadlines are monotonic; time in which the machine sleeps does not count. Failures to start: UserError when program, folder
or arguments are wrong, Occupied when the attempt's lock is held, Transient when the system is short of processes, memory
or descriptors, StorageError when our own files cannot be opened. After a start nothing is raised but the caller's own
cancellation. All of it belongs to one event loop in one thread.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from brain_daemon.adapters import cgroups
from brain_daemon.adapters.procfs import Living
from brain_daemon.adapters.survivors import (
    KILL_WAIT_SECONDS,
    TAG,
    Alive,
    Family,
    adopt_orphans,
    alive,
    identify,
    names,
    send_each,
)
from brain_daemon.model.errors import BrainError, Occupied, StorageError, Transient, UserError

EndedBy = Literal["itself", "timeout", "inactivity", "cancel", "output_limit"]
Step = tuple[signal.Signals, float]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_SHORTAGES = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY})
_FIRST_LOOK_SECONDS = 0.05
_LONGEST_LOOK_SECONDS = 0.25
_FIRST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.05

_unreaped: list[tuple[subprocess.Popen[bytes], Family]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run. `argv[0]` is an absolute path; no shell is involved. `env` is the whole environment, the tag is added.

    `stdin_path` None is an empty stdin. `stdout_path` and `stderr_path` are two files of this attempt alone and are emptied.
    Silence, for `inactivity_seconds`, is neither of them growing; noticed up to 0.25 s late. `output_limit_bytes` is for both
    together; when it is passed each file is cut to it. `grace_seconds` lie between the first warning and SIGKILL.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    stdin_path: str | None
    stdout_path: str
    stderr_path: str
    lock_path: str
    attempt_id: str
    timeout_seconds: float | None
    inactivity_seconds: float | None
    output_limit_bytes: int
    grace_seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRun:
    """The bare facts of one run. Times are epoch seconds, the duration is monotonic, both up to the exit of the command.

    `exit_code` and `signal` are both None when it was never started (`pid` None too) or outlived SIGKILL (it is then
    among the `survivors`). The byte counts are what was written, also where the files were cut.
    """

    exit_code: int | None
    signal: int | None
    ended_by: EndedBy
    started_at: float
    finished_at: float
    duration_seconds: float
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    survivors: tuple[str, ...] = ()
    pid: int | None = None


async def run(command: Command, *, cancel: asyncio.Event | None = None) -> RawRun:
    """Start `command` and wait for its end; nothing is started when `cancel` is already set. Raises as `start` does."""
    if cancel is not None and cancel.is_set():
        now = time.time()
        return RawRun(
            exit_code=None, signal=None, ended_by="cancel", started_at=now, finished_at=now, duration_seconds=0.0
        )
    return await start(command).wait(cancel)


def start(command: Command) -> "Running":
    """Start `command` now. The caller must await `wait` of what it gets, once, or nothing will ever end it.

    Raises UserError, Occupied, Transient, StorageError: the child then does not exist.
    """
    adopt_orphans()
    _reap_late()
    with contextlib.ExitStack() as opened:
        stdin = opened.enter_context(_descriptor(command.stdin_path or os.devnull, os.O_RDONLY))
        # Closed here once the child holds it and never unlocked: an unlock would unlock it for the child as well.
        lock = opened.enter_context(_locked(command))
        with contextlib.ExitStack() as kept:
            stdout = kept.enter_context(_descriptor(command.stdout_path, _NEW_FILE))
            stderr = kept.enter_context(_descriptor(command.stderr_path, _NEW_FILE))
            started = (time.time(), time.monotonic())
            popen = _spawn(command, stdin, stdout, stderr, lock)
            return Running(command, popen, started, _Output(stdout, stderr), kept.pop_all())


class Running:
    """A started command. Not promised: a second `wait`."""

    def __init__(
        self,
        command: Command,
        popen: subprocess.Popen[bytes],
        started: tuple[float, float],
        output: "_Output",
        opened: contextlib.ExitStack,
    ) -> None:
        self.pid = popen.pid
        # Read before the program was started: on a busy machine it may run for a while before we do again.
        self.started_at, self._started = started
        self._ended: float | None = None
        self._command = command
        self._popen = popen
        self._output = output
        self._opened = opened
        self._grouped = False
        self._family = Family(leader=popen.pid, attempt_id=command.attempt_id, lock_path=command.lock_path)
        self._pidfd = _pidfd(popen.pid)
        if self._pidfd is not None:
            opened.callback(os.close, self._pidfd)

    async def wait(self, cancel: asyncio.Event | None = None) -> RawRun:
        """Wait until the command has ended, by itself or because `cancel` or a limit said so, and nothing of it is left.

        When the awaiting task itself is cancelled the tree is ended with its grace before CancelledError goes on; a
        second cancellation kills at once.
        """
        try:
            async with self._exit_noticed() as exited:
                try:
                    ended_by = await self._first_end(exited, cancel)
                except asyncio.CancelledError:
                    await self._end_tree(exited, self._ladder("cancel"))
                    raise
                survivors = await self._end_tree(exited, self._ladder(ended_by))
                return self._result(ended_by, survivors)
        except BaseException:
            self._kill()
            raise
        finally:
            self._close()

    @contextlib.asynccontextmanager
    async def _exit_noticed(self) -> AsyncIterator[asyncio.Future[None]]:
        """A future that is done once the command has exited; it stays a zombie, so its number is not reused."""
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[None] = loop.create_future()
        if self._pidfd is None:
            threading.Thread(target=self._watch_by_thread, args=(loop, exited), daemon=True).start()
            yield exited
            return
        loop.add_reader(self._pidfd, self._note_exit, exited)
        try:
            yield exited
        finally:
            loop.remove_reader(self._pidfd)

    def _watch_by_thread(self, loop: asyncio.AbstractEventLoop, exited: asyncio.Future[None]) -> None:
        try:
            if hasattr(os, "waitid"):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            else:
                self._popen.wait()
        except ChildProcessError:
            pass  # reaped by _close in the meantime
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._note_exit, exited)

    def _note_exit(self, exited: asyncio.Future[None]) -> None:
        if not exited.done():
            self._ended = time.monotonic()
            exited.set_result(None)
        if self._pidfd is not None:
            exited.get_loop().remove_reader(self._pidfd)

    async def _first_end(self, exited: asyncio.Future[None], cancel: asyncio.Event | None) -> EndedBy:
        """What ends this run, whichever comes first; a command that has just exited may still have passed the output limit."""
        limit_bytes = self._command.output_limit_bytes
        with _set(cancel) as cancelled:
            while True:
                awaited: set[asyncio.Future[Any]] = {exited, cancelled} if cancelled else {exited}
                await asyncio.wait(awaited, timeout=self._pause_seconds(), return_when=asyncio.FIRST_COMPLETED)
                if exited.done():
                    return "output_limit" if self._output.look() > limit_bytes else "itself"
                if cancelled is not None and cancelled.done():
                    return "cancel"
                limit = self._limit_reached()
                if limit is not None:
                    return limit
                if not self._grouped:
                    # Not at the start: that would cost the many that have ended by now more than all else.
                    self._grouped = True
                    await asyncio.to_thread(self._enter_group)

    def _enter_group(self) -> None:
        if cgroups.home() is not None:
            found = self._family.alive(leader_ended=False).processes
            pids = (self.pid, *(living.pid for living in found))
            cgroups.enter(pids, self._command.attempt_id, self._command.lock_path)

    def _limit_reached(self) -> EndedBy | None:
        command, now = self._command, time.monotonic()
        if self._output.look() > command.output_limit_bytes:
            return "output_limit"
        if command.timeout_seconds is not None and now - self._started >= command.timeout_seconds:
            return "timeout"
        if command.inactivity_seconds is not None and now - self._output.grew >= command.inactivity_seconds:
            return "inactivity"
        return None

    def _pause_seconds(self) -> float:
        """Until the next look, or the next deadline if that is nearer."""
        command, now = self._command, time.monotonic()
        pause = self._output.pause_seconds
        if command.timeout_seconds is not None:
            pause = min(pause, self._started + command.timeout_seconds - now)
        if command.inactivity_seconds is not None:
            pause = min(pause, self._output.grew + command.inactivity_seconds - now)
        return max(pause, 0.0)

    def _ladder(self, ended_by: EndedBy) -> tuple[Step, ...]:
        """Signals in order, each with the seconds its effect is waited for."""
        grace_seconds = self._command.grace_seconds
        kill: Step = (signal.SIGKILL, KILL_WAIT_SECONDS)
        if ended_by == "output_limit":
            return (kill,)
        if ended_by == "itself":
            return ((signal.SIGTERM, grace_seconds), kill)
        return ((signal.SIGINT, grace_seconds / 2), (signal.SIGTERM, grace_seconds / 2), kill)

    async def _end_tree(self, exited: asyncio.Future[None], ladder: tuple[Step, ...]) -> tuple[str, ...]:
        """Climb `ladder` until nothing is left; the names of what is left at its end."""
        if exited.done() and not self._left(exited).any:
            return ()
        for signum, seconds in ladder:
            if await self._gone_within(exited, signum, seconds):
                return ()
        leader = None if exited.done() else identify(self.pid)
        left = names(self._left(exited), self._command.lock_path)
        return left if leader is None else (leader.words, *left)

    async def _gone_within(self, exited: asyncio.Future[None], signum: signal.Signals, seconds: float) -> bool:
        """Send `signum`, to those born meanwhile too, and wait until all are gone; False when `seconds` were not enough."""
        told: set[Living] = set()
        deadline = time.monotonic() + seconds
        pause = _FIRST_PAUSE_SECONDS
        self._signal_group(signum)
        while True:
            left = self._left(exited)
            if exited.done() and not left.any:
                return True
            if signum == signal.SIGINT and exited.done() and not any(one.group == self.pid for one in left.processes):
                return False  # those outside the group were never warned: waiting for them is lost time
            self._signal_each(signum, left, told)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            await _sleep(exited, min(pause, remaining))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _left(self, exited: asyncio.Future[None]) -> Alive:
        return self._family.alive(leader_ended=exited.done())

    def _signal_group(self, signum: signal.Signals) -> None:
        """Only while the leader is unreaped: afterwards the number of its group proves nothing."""
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signum)

    def _signal_each(self, signum: signal.Signals, left: Alive, told: set[Living]) -> None:
        """SIGTERM those outside the group, who have not had it yet; SIGKILL everybody, since some are born under it."""
        if signum == signal.SIGINT:
            return
        had_it = self.pid if signum == signal.SIGTERM and self._popen.returncode is None else None
        send_each(signum, [living for living in left.processes if living.group != had_it], told)

    def _result(self, ended_by: EndedBy, survivors: tuple[str, ...]) -> RawRun:
        stdout_bytes, stderr_bytes = self._output.sizes_bytes()
        self._output.cut(self._command.output_limit_bytes)
        ended = self._ended if self._ended is not None else time.monotonic()
        code = self._popen.poll() if self._ended is not None else None
        return RawRun(
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            ended_by=ended_by,
            started_at=self.started_at,
            finished_at=self.started_at + (ended - self._started),
            duration_seconds=ended - self._started,
            stdout_bytes=stdout_bytes,
            stderr_bytes=stderr_bytes,
            survivors=survivors,
            pid=self.pid,
        )

    def _kill(self) -> None:
        """Without waiting: the last word when there is no time left to wait."""
        self._signal_group(signal.SIGKILL)
        self._signal_each(signal.SIGKILL, self._family.alive(leader_ended=False), set())

    def _close(self) -> None:
        self._opened.close()
        if self._grouped:
            cgroups.leave(self._command.attempt_id, self._command.lock_path)
        _unreaped.append((self._popen, self._family))
        _reap_late()


class _Output:
    """The two files the command writes: how much is in them, and since when (monotonic) nothing was added."""

    def __init__(self, stdout: int, stderr: int) -> None:
        self._descriptors = (stdout, stderr)
        self._total_bytes = 0
        self.grew = time.monotonic()
        self.pause_seconds = _FIRST_LOOK_SECONDS

    def sizes_bytes(self) -> tuple[int, int]:
        """Of stdout and of stderr."""
        stdout, stderr = self._descriptors
        return os.fstat(stdout).st_size, os.fstat(stderr).st_size

    def look(self) -> int:
        """The bytes in both. Looks grow apart while nothing is written: a silent agent costs next to nothing."""
        total = sum(self.sizes_bytes())
        if total == self._total_bytes:
            self.pause_seconds = min(self.pause_seconds * 2, _LONGEST_LOOK_SECONDS)
        else:
            self._total_bytes, self.grew, self.pause_seconds = total, time.monotonic(), _FIRST_LOOK_SECONDS
        return total

    def cut(self, limit_bytes: int) -> None:
        """Give the disk back what is beyond the limit; a survivor that still writes appends to what is left."""
        for descriptor, size in zip(self._descriptors, self.sizes_bytes(), strict=True):
            if size > limit_bytes:
                os.ftruncate(descriptor, limit_bytes)


async def _sleep(exited: asyncio.Future[None], seconds: float) -> None:
    """`seconds`, or less if the leader exits meanwhile."""
    if exited.done():
        await asyncio.sleep(seconds)
    else:
        await asyncio.wait({exited}, timeout=seconds)


@contextlib.contextmanager
def _set(event: asyncio.Event | None) -> Iterator[asyncio.Task[Literal[True]] | None]:
    """A task that is done once `event` is set."""
    if event is None:
        yield None
        return
    task = asyncio.create_task(event.wait())
    try:
        yield task
    finally:
        task.cancel()


def _pidfd(pid: int) -> int | None:
    """None where there are none (macOS, old kernels) or no descriptor is left: a thread waits instead."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        return None


def _reap_late() -> None:
    """Reap every leader that has ended by now, those that outlived their attempt included."""
    for entry in tuple(_unreaped):
        popen, family = entry
        if popen.poll() is not None:
            family.close()
            _unreaped.remove(entry)


@contextlib.contextmanager
def _descriptor(path: str, flags: int) -> Iterator[int]:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        kind = Transient if error.errno in _SHORTAGES else StorageError
        raise kind(f"opening {path} for an attempt: {error.strerror}; nothing was started") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(command: Command) -> Iterator[int]:
    with _descriptor(command.lock_path, os.O_RDWR | os.O_CREAT) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holders = ", ".join(names(alive(command.attempt_id, command.lock_path), command.lock_path))
            raise Occupied(
                f"starting attempt {command.attempt_id}: it still runs as {holders}; end that first"
            ) from None
        yield descriptor


def _spawn(command: Command, stdin: int, stdout: int, stderr: int, lock: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command.argv,
            env={**command.env, TAG: command.attempt_id},
            cwd=command.cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(lock,),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _not_started(command, error) from error


def _not_started(command: Command, error: OSError | ValueError) -> BrainError:
    """What the failed start means for the caller. Arguments and variables may be secret and are not shown."""
    doing = f"starting {command.argv[0]} for attempt {command.attempt_id}"
    if isinstance(error, ValueError):
        return UserError(
            f"{doing}: an argument or variable holds a NUL byte or a name that is none; correct the interface"
        )
    if error.errno in _SHORTAGES:
        return Transient(f"{doing}: {error.strerror}; it may succeed once other programs have ended")
    if error.errno == errno.E2BIG:
        return UserError(f"{doing}: the arguments are longer than the system allows; give the prompt by stdin")
    if error.filename == command.cwd != command.argv[0]:
        return UserError(
            f"{doing}: its folder {command.cwd} cannot be entered ({error.strerror}); create or correct it"
        )
    if error.errno == errno.ENOENT:
        return UserError(f"{doing}: no such program, or its first line names none; install it or correct the interface")
    return UserError(f"{doing}: {error.strerror}; it must be an executable program, correct the interface")
