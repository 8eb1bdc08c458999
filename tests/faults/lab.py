"""The crash lab: a brain on real disk and in real git, a daemon in this process, and a fault at any operation of its.

`FaultyFiles` counts every operation that passes the seam (`store/files.py`), the end of each journal transaction and each
group of commits included, and strikes at one of them: the machine dies before it, after it or in the middle of its write,
or the disk refuses it once. A dead machine stays dead: every later operation in any thread dies too. Then a daemon
with healthy files runs on what is left, and `violations` says which promises do not hold.

Not modelled: power loss (what was not synced is kept), a kill inside git (tests/record), processes that outlive the daemon
(`kills.py` has those).
"""

import asyncio
import contextlib
import csv
import errno
import functools
import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from unittest import mock

from brain_daemon.adapters.tool import ToolAdapter
from brain_daemon.model import document
from brain_daemon.model.attempt import AttemptState, Decision
from brain_daemon.model.errors import StorageError
from brain_daemon.record.committing import CommitPlan, Committed, Committer, Owed
from brain_daemon.record.questions import question_from
from brain_daemon.record.questions import render as render_questions
from brain_daemon.record.repository import Repository
from brain_daemon.service import brain as brain_module
from brain_daemon.service import recording as recording_module
from brain_daemon.service import supervisor as supervisor_module
from brain_daemon.service.brain import Brain
from brain_daemon.service.supervisor import Supervisor
from brain_daemon.store import files as files_module
from brain_daemon.store import watch as watch_module
from brain_daemon.store.files import TEMPORARY_SUFFIX, Files
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import is_task_name
from brain_daemon.store.template import template_files

RUN_SECONDS = 20.0
WITNESS = "@WITNESS@"
_FLAGS = {"settle": "0s", "group": "0s", "parallel": 2, "transient_retries": 0, "inactivity": "none"}
_OURS = ("brain/", "context/", "logs/", "prompts/")


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


class _LabJournal(Journal):
    """Says when a transaction has been committed, and remembers itself to be closed."""

    opened: list[Journal]

    def __init__(self, path: str, files: Files, *, durable: bool = True) -> None:
        super().__init__(path, files, durable=durable)
        self.opened.append(self)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with super().transaction():
            yield
        if isinstance(self._files, FaultyFiles):
            self._files.passed()


class _LabCommitter(Committer):
    """A group of commits is one operation: its inside has crash tests of its own (tests/record)."""

    def __init__(self, repository: Repository, state_dir: str, files: Files) -> None:
        super().__init__(repository, state_dir)
        self._lab = files

    def commit(self, plans: Sequence[CommitPlan], *, root: bool = False) -> Committed | Owed:
        try:
            self._lab.step("commit to git", f"{len(plans)} plans")
        except StorageError as error:
            return Owed(reason=str(error))
        answer = super().commit(plans, root=root)
        if isinstance(self._lab, FaultyFiles):
            self._lab.passed()
        return answer


@dataclass(frozen=True, slots=True)
class Run:
    """How one daemon ended: its exit code, None for a crash, or the error it ended with."""

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
        return Run(code, error, tuple(files.operations), files.struck)
    return Run(code, error, (), None)


def _silent_in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), Crash):
        loop.default_exception_handler(context)


def _stop() -> None:
    raise Crash("another thread")


@contextlib.contextmanager
def _parts_of_the_lab(files: Files) -> Iterator[list[Journal]]:
    """Journal and committer that count, and a daemon that does not sulk for seconds after a disk error."""
    opened: list[Journal] = []
    system = _NextProcess()
    journal = type("Opened", (_LabJournal,), {"opened": opened})
    with (
        mock.patch.object(brain_module, "Journal", journal),
        mock.patch.object(brain_module, "Committer", functools.partial(_LabCommitter, files=files)),
        mock.patch.object(supervisor_module, "_DISK_PAUSE_SECONDS", 0.05),
        mock.patch.object(recording_module, "_FAULT_SECONDS", 0.05),
        mock.patch.object(files_module, "os", system),
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
    watch, recorder = getattr(supervisor, "_watch", None), getattr(supervisor, "_recorder", None)
    if watch is not None:
        watch.close()
    if recorder is not None and recorder._thread.ident is not None:
        assert recorder.stop(RUN_SECONDS), "the recorder's threads did not end"
    for adapter in getattr(supervisor, "_adapters", {}).values():
        if isinstance(adapter, ToolAdapter):
            adapter.close()
    for thread in threading.enumerate():
        if thread.name.startswith("tool"):
            thread.join(RUN_SECONDS)


# Brains to hurt.


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is dropped and who works: file name -> text for tasks and interfaces; `WITNESS` stands for the witness file.

    `failed` is how many tasks fail in a run without faults. `repeatable` says that all may be re-run unasked. `before` is
    dropped and worked off first; then each name in `retried` is moved from completed/ back to pending/, as a person does it.
    """

    name: str
    tasks: Mapping[str, str]
    interfaces: Mapping[str, str]
    failed: int = 0
    repeatable: bool = True
    before: Mapping[str, str] = field(default_factory=dict)
    retried: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return len(self.tasks) + len(self.before)


@dataclass(frozen=True, slots=True)
class Patient:
    """A brain under test: where it is, the witness of starts outside it, and what was in it before."""

    root: str
    witness: str
    tasks: tuple[bytes, ...]
    users: tuple[str, ...]
    stash: str


class Ward:
    """Makes fresh brains from one prepared repository; everything lies below `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._template = os.path.join(folder, "template")
        self._count = 0
        _prepare(self._template)

    def admit(self, scenario: Scenario) -> Patient:
        """A fresh brain with the scenario's files in it."""
        self._count += 1
        root = os.path.realpath(os.path.join(self._folder, f"brain-{self._count}"))
        witness = f"{root}.witness"
        shutil.copytree(self._template, root, symlinks=True)
        for name, text in scenario.interfaces.items():
            _write(os.path.join(root, "tools", "interfaces", name), text.replace(WITNESS, witness).encode())
        folders = os.path.join(root, "brain", "tasks")
        if scenario.before:
            _drop(folders, scenario.before)
            assert run_daemon(root).code == 0
        for name in scenario.retried:
            os.rename(os.path.join(folders, "completed", name), os.path.join(folders, "pending", name))
        _drop(folders, scenario.tasks)
        tasks = tuple(text.encode() for text in (*scenario.before.values(), *scenario.tasks.values()))
        return Patient(root, witness, tasks, _users(root), _git(root, "stash", "list"))

    def discharge(self, patient: Patient) -> None:
        """The patient is well: nothing of it is kept."""
        shutil.rmtree(patient.root)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(patient.witness)


def _drop(folders: str, tasks: Mapping[str, str]) -> None:
    for name, text in tasks.items():
        _write(os.path.join(folders, "pending", name), text.encode())


def _prepare(root: str) -> None:
    """A repository whose user has work of every kind: staged, modified, stashed, untracked."""
    Repository.create(root)
    shutil.rmtree(os.path.join(root, ".git", "hooks"), ignore_errors=True)
    for path, data in template_files().items():
        if not path.startswith(("tools/", "knowledge/")):
            _write(os.path.join(root, path), data)
    for name in ("staged.txt", "modified.txt", "both.txt"):
        _write(os.path.join(root, name), b"as committed\n")
    _git(root, "config", "user.name", "A User")
    _git(root, "config", "user.email", "user@example.org")
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", "begin")
    _write(os.path.join(root, "modified.txt"), b"stashed\n")
    _git(root, "stash", "-q")
    _write(os.path.join(root, "staged.txt"), b"staged\n")
    _write(os.path.join(root, "both.txt"), b"staged\n")
    _git(root, "add", "staged.txt", "both.txt")
    _write(os.path.join(root, "both.txt"), b"and modified\n")
    _write(os.path.join(root, "modified.txt"), b"modified\n")
    _write(os.path.join(root, "untracked.txt"), b"untracked\n")


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as handle:
        handle.write(data)


def _read(path: str) -> bytes:
    with open(path, "rb") as handle:
        return handle.read()


def _git(root: str, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False, encoding="utf-8")
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def _users(root: str) -> tuple[str, ...]:
    """The user's state, entry by entry: what git says of it, the hash of each file of theirs, and the index's entries."""
    status = [line for line in _status(root) if not line[3:].startswith(_OURS)]
    index = [line for line in _git(root, "ls-files", "-s").splitlines() if not line.split("\t")[1].startswith(_OURS)]
    hashes = [f"{name} {_sha256(_read(path))}" for name, path in _files_of_the_user(root)]
    return (*status, *index, *hashes)


def _status(root: str) -> list[str]:
    """What git says differs, one line a path as it is."""
    return [line for line in _git(root, "status", "--porcelain", "-uall", "-z").split("\0") if line]


def _files_of_the_user(root: str) -> Iterator[tuple[str, str]]:
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        if os.path.isfile(path):
            yield name, path


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# What must hold, whatever happened.


@dataclass(slots=True)
class Facts:
    """All that is known of a brain after its recovery, read once."""

    patient: Patient
    attempts: list[sqlite3.Row] = field(default_factory=list)
    questions: list[sqlite3.Row] = field(default_factory=list)
    outcomes: list[sqlite3.Row] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    commits: list[tuple[str, str]] = field(default_factory=list)
    places: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, patient: Patient) -> "Facts":
        facts = cls(patient)
        with contextlib.closing(sqlite3.connect(f"file:{journal_of(patient.root)}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            facts.attempts = connection.execute("select * from attempts order by rowid").fetchall()
            facts.questions = connection.execute("select * from questions order by asked_at, id").fetchall()
            facts.outcomes = connection.execute("select * from outcomes").fetchall()
        facts.started = _read(patient.witness).decode().split() if os.path.exists(patient.witness) else []
        facts.rows = list(_ledger(patient.root))
        facts.commits = _commits(patient.root)
        facts.places = _places(patient.root)
        return facts

    @property
    def ended(self) -> list[sqlite3.Row]:
        return [row for row in self.attempts if row["ended"] is not None]

    @property
    def where(self) -> str:
        """The folders with the first letters of the hashes in them."""
        return ", ".join(f"{folder} {[sha[:8] for sha in found]}" for folder, found in self.places.items())

    def count(self, folder: str) -> int:
        return len(self.places[folder])


def journal_of(root: str) -> str:
    """The path of a brain's journal."""
    state = os.path.join(root, ".git", "brain")
    (key,) = os.listdir(state)
    return os.path.join(state, key, "journal.db")


def _ledger(root: str) -> Iterator[dict[str, str]]:
    folder = os.path.join(root, "logs", "costs")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".csv"):
            with open(os.path.join(folder, name), newline="", encoding="utf-8") as handle:
                yield from csv.DictReader(handle)


def _commits(root: str) -> list[tuple[str, str]]:
    """(hash, Attempt-Id or nothing) of every commit, newest first."""
    said = _git(root, "log", "--format=%H %(trailers:key=Attempt-Id,valueonly,separator=%x2C)")
    return [(line.split(" ")[0], line.partition(" ")[2].strip()) for line in said.splitlines()]


def _places(root: str) -> dict[str, list[str]]:
    """Folder -> the hashes of the tasks' own bytes in it, results of ours taken off."""
    found = {}
    for folder in ("pending", "active", "completed", "failed"):
        path = os.path.join(root, "brain", "tasks", folder)
        data = [_read(os.path.join(path, name)) for name in os.listdir(path) if is_task_name(name)]
        found[folder] = [_sha256(document.restore(one) if document.is_recorded(one) else one) for one in data]
    return found


def violations(patient: Patient, scenario: Scenario) -> list[str]:
    """What is wrong with a brain whose daemon has recovered and worked through what there was, each with its promise."""
    facts = Facts.of(patient)
    checks = (_custody, _starts, _ends, _asked, _ledgers, _history, _users_work, _litter, _finished)
    return [f"{check.__name__[1:]}: {said}" for check in checks for said in check(facts, scenario)]


def _custody(facts: Facts, _scenario: Scenario) -> Iterator[str]:
    """B1, B2: each dropped task is in exactly one folder, its bytes intact."""
    dropped = Counter(_sha256(data) for data in facts.patient.tasks)
    found = Counter(one for place in facts.places.values() for one in place)
    for sha in dropped.keys() | found.keys():
        if dropped[sha] != found[sha]:
            yield f"{sha[:8]} was dropped {dropped[sha]} times and is there {found[sha]} times: {facts.where}"


def _starts(facts: Facts, scenario: Scenario) -> Iterator[str]:
    """B6, B7: a start is on record before it happens, and happens at most once; without leave no task starts twice."""
    known = {row["attempt_id"]: row for row in facts.attempts}
    for attempt_id, times in Counter(facts.started).items():
        if times > 1:
            yield f"{attempt_id} was started {times} times"
        if attempt_id not in known:
            yield f"{attempt_id} was started and the journal does not know it"
    if not scenario.repeatable:
        tasks = Counter(known[one]["task_id"] for one in facts.started if one in known)
        yield from (f"{task} was started {times} times unasked" for task, times in tasks.items() if times > 1)


def _ends(facts: Facts, _scenario: Scenario) -> Iterator[str]:
    """B12: every attempt has come to its end, and all of it is in git."""
    for row in facts.attempts:
        if row["state"] != AttemptState.COMMITTED:
            yield f"{row['attempt_id']} is still {row['state']}"
        if (row["ended"] is None) != (row["decision"] is None):
            yield f"{row['attempt_id']} has an outcome without a decision, or the reverse"


def _asked(facts: Facts, scenario: Scenario) -> Iterator[str]:
    """B7: an attempt nobody saw end is a question, unless it may be repeated; and prompts/pending.md says what the journal asks."""
    about = [row["id"] for row in facts.questions]
    for row in facts.attempts:
        if row["decision"] == Decision.ASK and f"interrupted-{row['attempt_id']}" not in about:
            yield f"{row['attempt_id']} was interrupted and no question says so"
        if row["decision"] == Decision.ASK and scenario.repeatable:
            yield f"{row['attempt_id']} waits for an answer and may be repeated"
    interrupted = sum(row["decision"] == Decision.ASK for row in facts.attempts)
    if facts.count("active") != interrupted:
        yield f"{facts.count('active')} tasks are in active/ and {interrupted} wait for an answer"
    asked = render_questions([question_from(_json(row["document"])) for row in facts.questions])
    path = os.path.join(facts.patient.root, "prompts", "pending.md")
    said = _read(path) if os.path.exists(path) else render_questions([])
    if said != asked:
        yield "prompts/pending.md does not say what the journal asks"


def _json(text: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(text)
    return value


def _ledgers(facts: Facts, _scenario: Scenario) -> Iterator[str]:
    """B14, B15: one row an ended attempt in the ledger and in its index."""
    ended = Counter(row["attempt_id"] for row in facts.ended)
    for name, rows in (("ledger", facts.rows), ("index of the ledger", facts.outcomes)):
        found = Counter(row["attempt_id"] for row in rows)
        if found != ended:
            yield f"the {name} has {dict(found)} for the ended attempts {dict(ended)}"
    for folder, prefix in (("activity", "md"), ("errors", "jsonl")):
        text = b"".join(_read(path) for path in _day_files(facts.patient.root, folder, prefix)).decode()
        wanted = [row["attempt_id"] for row in facts.rows if folder == "activity" or row["status"] == "failed"]
        for attempt_id in wanted:
            if text.count(attempt_id) != 1:
                yield f"logs/{folder} names {attempt_id} {text.count(attempt_id)} times"


def _day_files(root: str, folder: str, suffix: str) -> list[str]:
    path = os.path.join(root, "logs", folder)
    return [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(suffix)]


def _history(facts: Facts, _scenario: Scenario) -> Iterator[str]:
    """B18, B19: one commit an outcome, with paths of ours alone; a sound repository."""
    root = facts.patient.root
    finished = Counter(row["attempt_id"] for row in facts.attempts if row["decision"] == Decision.FINISH)
    found = Counter(attempt_id for _, attempt_id in facts.commits if attempt_id)
    if found != finished:
        yield f"git has commits of {dict(found)} for the finished attempts {dict(finished)}"
    for line in _git(root, "log", "--format=", "--name-only", "--no-renames", "HEAD").splitlines():
        if line and not line.startswith((*_OURS, "staged.txt", "modified.txt", "both.txt", ".git")):
            yield f"a commit holds {line}"
    for name in ("staged.txt", "modified.txt", "both.txt"):
        if _git(root, "rev-list", "--count", "HEAD", "--", name).strip() != "1":
            yield f"a commit of ours changed the user's {name}"
    checked = subprocess.run(["git", "fsck", "--no-dangling", "--strict"], cwd=root, capture_output=True, check=False)
    if checked.returncode or checked.stdout.strip():
        yield f"git fsck: {checked.stdout.decode()} {checked.stderr.decode()}"


def _users_work(facts: Facts, _scenario: Scenario) -> Iterator[str]:
    """B18: what the user had staged, modified, stashed and left untracked is as it was, and nothing of ours is left over."""
    now = _users(facts.patient.root)
    if now != facts.patient.users:
        gone, new = set(facts.patient.users) - set(now), set(now) - set(facts.patient.users)
        yield f"the repository differs for the user: gone {sorted(gone)}, new {sorted(new)}"
    if _git(facts.patient.root, "stash", "list") != facts.patient.stash:
        yield "the stash differs"
    left = [line for line in _status(facts.patient.root) if line[3:].startswith(_OURS)]
    if left:
        yield f"git status shows what is ours: {left}"


def _litter(facts: Facts, _scenario: Scenario) -> Iterator[str]:
    """Nothing half-written and no lock is left."""
    for folder, _, names in os.walk(facts.patient.root):
        for name in names:
            if name.endswith((TEMPORARY_SUFFIX, "index.lock")) or name.startswith(".probe"):
                yield f"{os.path.join(os.path.relpath(folder, facts.patient.root), name)} is left"


def _finished(facts: Facts, scenario: Scenario) -> Iterator[str]:
    """Everything that may be repeated has been done; what may not has ended or waits for its answer."""
    waiting = 0 if scenario.repeatable else facts.count("active")
    ended = facts.count("completed") + facts.count("failed")
    if ended + waiting != scenario.size:
        yield f"{scenario.size} tasks, {ended} ended, {waiting} wait: {facts.where}"
    if facts.count("failed") > scenario.failed:
        yield f"{facts.count('failed')} tasks failed where {scenario.failed} should: {facts.where}"
