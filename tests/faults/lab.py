"""The crash lab: a brain on real disk and in real git, a daemon in this process, and a fault at any operation of its.

`FaultyFiles` counts every operation that passes the seam (`store/files.py`), the end of each journal transaction and each
group of commits included, and strikes at one of them: the machine dies before it, after it or in the middle of its write,
or the disk refuses it once. A dead machine stays dead: every later operation in any thread dies too. Then a daemon
with healthy files runs on what is left, and `promises.violations` says what does not hold.

Not modelled: power loss (what was not synced is kept), a kill inside git (tests/record), processes that outlive the daemon
(`kill_lab.py` has those).
"""

import asyncio
import contextlib
import errno
import itertools
import os
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from unittest import mock

from brain_daemon.adapters.tool import ToolAdapter
from brain_daemon.model.errors import BrainError, Refused, StorageError, UserError
from brain_daemon.record.committing import CommitPlan, Committed, Committer, Owed
from brain_daemon.service import disk as disk_module
from brain_daemon.service import recording as recording_module
from brain_daemon.service.brain import Brain
from brain_daemon.service.supervisor import Supervisor
from brain_daemon.store import files as files_module
from brain_daemon.store import queue as queue_module
from brain_daemon.store import watch as watch_module
from brain_daemon.store.database import Database
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from tests.faults.acts import Act, work

RUN_SECONDS = 20.0
_FLAGS = {"settle": "0s", "group": "0s", "parallel": 2, "transient_retries": 0, "inactivity": "none"}


class Fault(StrEnum):
    """What strikes at an operation."""

    NONE = "none"
    BEFORE = "crash before"
    AFTER = "crash after"
    TORN = "torn write"
    ENOSPC = "no space"
    EIO = "input/output error"
    BUG = "fault of the program"

    @property
    def kills(self) -> bool:
        return self in {Fault.BEFORE, Fault.AFTER, Fault.TORN}


class Crash(SystemExit):
    """The machine is dead. asyncio lets a SystemExit out of tasks and callbacks at once, and no handler of ours catches one."""


class Bug(RuntimeError):
    """What nobody thought of."""


class _Torn(Crash):
    """The machine dies in the middle of this write."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as it was counted."""

    number: int
    action: str
    path: str
    thread: str

    def __str__(self) -> str:
        return f"{self.number}: {self.action} {self.path} [{self.thread}]"


class FaultyFiles(Files):
    """Counts operations and lets `fault` strike at number `at` (from 1), once. For several threads."""

    def __init__(self, root: str, at: int = 0, fault: Fault = Fault.NONE) -> None:
        super().__init__()
        self._root = root
        self._at = at
        self._fault = fault
        self._turn = threading.RLock()
        self.git_turn = threading.RLock()
        self._mine = threading.local()
        self.operations: list[Operation] = []
        self.struck: Operation | None = None
        self.dead = False
        self.on_death: Callable[[], None] = lambda: None

    def step(self, action: str, path: str) -> None:
        self.passed()
        with self._turn:
            if self.dead:
                raise Crash("dead")
            operation = Operation(len(self.operations) + 1, action, self._short(path), threading.current_thread().name)
            self.operations.append(operation)
            if operation.number == self._at:
                self.struck = operation
                self._strike(action, path)

    def passed(self) -> None:
        """The operation of this thread that was counted last has been done."""
        if getattr(self._mine, "last", False):
            self.die()
            raise Crash("after")

    def committed(self, owner: Any) -> None:
        """A transaction of SQLite has been committed by the journal or database `owner`."""

    @property
    def has_crashed(self) -> bool:
        """A crash was to come. Where its thread had nothing more to do after the operation, or the others were about to end, it came
        when the run had ended by itself."""
        return self._fault.kills and self.struck is not None

    def die(self) -> None:
        """Nothing is done on this machine any more."""
        with self._turn:
            if not self.dead:
                self.dead = True
                self.on_death()

    def _strike(self, action: str, path: str) -> None:
        match self._fault:
            case Fault.NONE:
                return
            case Fault.BEFORE:
                self.die()
                raise Crash("before")
            case Fault.AFTER:
                self._mine.last = True
            case Fault.TORN:
                self.die()
                raise _Torn("torn")
            case Fault.ENOSPC | Fault.EIO:
                number = errno.ENOSPC if self._fault is Fault.ENOSPC else errno.EIO
                raise StorageError(f"{action} {path} failed: {os.strerror(number)} (lab)")
            case Fault.BUG:
                raise Bug(f"at {action} {path}")

    def _short(self, path: str) -> str:
        return os.path.relpath(path, self._root) if path.startswith(self._root) else path

    def write(self, descriptor: int, data: bytes, path: str) -> None:
        try:
            super().write(descriptor, data, path)
        except (_Torn, StorageError):
            os.write(descriptor, data[: len(data) // 2])
            raise

    def put(self, path: str, data: bytes, *, sync: bool = True) -> None:
        super().put(path, data, sync=sync)
        self.passed()

    def put_if(self, path: str, data: bytes, still: Callable[[], bool], *, sync: bool = True) -> bool:
        put = super().put_if(path, data, still, sync=sync)
        self.passed()
        return put

    def move(self, source: str, target: str) -> None:
        super().move(source, target)
        self.passed()

    def remove(self, path: str) -> None:
        super().remove(path)
        self.passed()

    def append(self, path: str, data: bytes) -> None:
        try:
            super().append(path, data)
        except _Torn:
            with open(path, "ab") as handle:
                handle.write(data[: len(data) // 2])
            raise
        self.passed()

    def make_folder(self, path: str, mode: int = 0o755) -> None:
        super().make_folder(path, mode)
        self.passed()

    def sync_folders(self, paths: Sequence[str]) -> None:  # type: ignore[override]
        super().sync_folders(paths)
        self.passed()


def _remembered(init: Callable[..., None], opened: list[Any]) -> Callable[..., None]:
    """`__init__` of a journal or database that is remembered, to be closed."""

    def remembering(self: Any, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        opened.append(self)

    return remembering


def _saying(transaction: Callable[[Any], contextlib.AbstractContextManager[None]]) -> Callable[..., Any]:
    """A transaction that says when it has been committed."""

    @contextlib.contextmanager
    def committed(self: Any) -> Iterator[None]:
        with transaction(self):
            yield
        if isinstance(self._files, FaultyFiles):
            self._files.committed(self)
            self._files.passed()

    return committed


def _in_one_step(files: Files, commit: Callable[..., Committed | Owed]) -> Callable[..., Committed | Owed]:
    """A group of commits is one operation: its inside has crash tests of its own (tests/record)."""

    def committed(self: Committer, plans: Sequence[CommitPlan], *, root: bool = False) -> Committed | Owed:
        try:
            files.step("commit to git", f"{len(plans)} plans")
        except StorageError as error:
            return Owed(reason=str(error))
        if not isinstance(files, FaultyFiles):
            return commit(self, plans, root=root)
        with files.git_turn:
            answer = commit(self, plans, root=root)
        files.passed()
        return answer

    return committed


@dataclass(frozen=True, slots=True)
class Run:
    """How one daemon or one act ended: its exit code, None for a crash, or the error it ended with."""

    code: int | None
    error: str
    operations: tuple[Operation, ...]
    struck: Operation | None

    @property
    def hung(self) -> bool:
        return self.code is None and self.error.startswith("it had not ended")

    @property
    def words(self) -> str:
        if self.code is not None:
            return f"ended with {self.code}"
        return f"ended with the error: {self.error}" if self.error else "crashed"


def run_daemon(root: str, files: Files | None = None) -> Run:
    """`brain run --once` in this process and thread. One that does not come to an end is ended, and the run says so."""
    files = files or Files()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_silent_in_loop)
    if isinstance(files, FaultyFiles):
        files.on_death = lambda: loop.call_soon_threadsafe(_stop)
    supervisor: Supervisor | None = None
    code: int | None = None
    error = ""
    with _parts_of_the_lab(files) as journals:
        try:
            brain = Brain.open(root, dict(os.environ), _FLAGS, files)
            supervisor = Supervisor(brain, once=True)
            code = loop.run_until_complete(asyncio.wait_for(supervisor.run(), RUN_SECONDS))
        except Crash:
            pass
        except TimeoutError:
            error = f"it had not ended after {RUN_SECONDS:g} s"
        except (StorageError, Bug) as ended:
            error = str(ended)
        finally:
            _bury(loop, supervisor, files)
            for journal in journals:
                with contextlib.suppress(sqlite3.Error):
                    journal.close()
    if isinstance(files, FaultyFiles):
        return Run(None if files.has_crashed else code, error, tuple(files.operations), files.struck)
    return Run(code, error, (), None)


def run_act(root: str, act: Act, files: Files | None = None) -> Run:
    """What a person or an agent does, in this thread. An error that they would read is one; a refusal is none."""
    files = files or Files()
    code: int | None = None
    error = ""
    with _parts_of_the_lab(files) as journals:
        try:
            brain = Brain.open(root, dict(os.environ), _FLAGS, files)
            try:
                act(brain)
                code = 0
            finally:
                if brain.repository is not None:
                    brain.repository.trees.close()
        except Crash:
            pass
        except (Refused, UserError):
            code = 0
        except (BrainError, Bug) as ended:
            code, error = 1, str(ended)
        finally:
            if isinstance(files, FaultyFiles):
                files.die()
            for journal in journals:
                with contextlib.suppress(sqlite3.Error):
                    journal.close()
    if isinstance(files, FaultyFiles):
        return Run(None if files.has_crashed else code, error, tuple(files.operations), files.struck)
    return Run(code, error, (), None)


def run_acts(root: str, acts: Sequence[Act], make: Callable[[int], FaultyFiles]) -> tuple[Run, int]:
    """The acts one after the other until one of them crashes; all as one run, and how many were done.

    `make(done)` gives each act its files, where `done` operations have been counted before. Who reads of an error does it again.
    """
    operations: list[Operation] = []
    struck: Operation | None = None
    done = 0
    while done < len(acts):
        act = acts[done]
        files = make(len(operations))
        run = run_daemon(root, files) if act is work else run_act(root, act, files)
        operations += [replace(one, number=len(operations) + one.number) for one in run.operations]
        struck = struck or run.struck
        if run.code is None:
            break
        done += run.code == 0 or act is work
    return replace(run, operations=tuple(operations), struck=struck), done


def _silent_in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), Crash):
        loop.default_exception_handler(context)


def _stop() -> None:
    raise Crash("another thread")


@contextlib.contextmanager
def _parts_of_the_lab(files: Files) -> Iterator[list[Any]]:
    """Journal, databases and committer that count, and a daemon that does not sulk for seconds after a disk error."""
    opened: list[Any] = []
    system = _NextProcess()
    with (
        mock.patch.object(Journal, "__init__", _remembered(Journal.__init__, opened)),
        mock.patch.object(Database, "__init__", _remembered(Database.__init__, opened)),
        mock.patch.object(Journal, "transaction", _saying(Journal.transaction)),
        mock.patch.object(Database, "transaction", _saying(Database.transaction)),
        mock.patch.object(Committer, "commit", _in_one_step(files, Committer.commit)),
        mock.patch.object(disk_module, "_PAUSE_SECONDS", 0.05),
        mock.patch.object(recording_module, "_FAULT_SECONDS", 0.05),
        mock.patch.object(files_module, "os", system),
        mock.patch.object(queue_module, "os", system),
        mock.patch.object(watch_module, "os", system),
        mock.patch.object(threading, "excepthook", _silent_about_crashes),
    ):
        yield opened


class _NextProcess:
    """The module os of another process: what a dead one left under its number is not taken for our own."""

    _numbers = itertools.count(10_000_000)

    def __init__(self) -> None:
        self._pid = next(self._numbers)

    def getpid(self) -> int:
        return self._pid

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


def _silent_about_crashes(raised: threading.ExceptHookArgs) -> None:
    if not issubclass(raised.exc_type, Crash):
        threading.__excepthook__(raised)


def _bury(loop: asyncio.AbstractEventLoop, supervisor: Supervisor | None, files: Files) -> None:
    """End what the death of a process would have ended: its tasks, its threads, its watches."""
    if isinstance(files, FaultyFiles):
        files.on_death = lambda: None
        files.die()
    _cancel_all(loop)
    if supervisor is not None:
        _end_threads(supervisor)
        supervisor._lock.release()
    _run(loop, loop.shutdown_default_executor())
    loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Again and again: before Python 3.12 `asyncio.wait_for` swallows a cancellation that meets its result."""
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        _run(loop, asyncio.wait(tasks, timeout=0.05))
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, object]) -> None:
    """Run to its end, whatever dies meanwhile."""
    task = loop.create_task(work)
    while not task.done():
        with contextlib.suppress(Crash, asyncio.CancelledError, RuntimeError):
            loop.run_until_complete(task)


def _end_threads(supervisor: Supervisor) -> None:
    recorder = getattr(supervisor, "_recorder", None)
    for name, end in (("_lookout", "close"), ("_reporter", "stop"), ("_memory", "stop")):
        part = getattr(supervisor, name, None)
        if part is not None:
            with contextlib.suppress(Crash):
                getattr(part, end)()
    if recorder is not None and recorder._thread.ident is not None:
        assert recorder.stop(RUN_SECONDS), "the recorder's threads did not end"
    for adapter in getattr(supervisor, "_adapters", {}).values():
        if isinstance(adapter, ToolAdapter):
            adapter.close()
    for thread in threading.enumerate():
        if thread.name.startswith(("tool", "indexer")):
            thread.join(RUN_SECONDS)
