"""What most tests stand on: a home of their own, a real brain in a real git repository, and the real daemon on it."""

import asyncio
import compileall
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

import brain_daemon
from brain_daemon.model import document
from brain_daemon.model.attempt import AttemptState
from brain_daemon.model.cost_row import CostRow
from brain_daemon.record import ledger
from brain_daemon.service.brain import Brain
from brain_daemon.service.config import user_state_path
from brain_daemon.service.recorder_process import Forked
from brain_daemon.service.supervisor import Supervisor
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from brain_daemon.store.layout import Layout
from brain_daemon.store.locate import layout_of
from brain_daemon.store.locks import read_holder
from brain_daemon.store.template import template_files
from tests.depth import DEPTH, deep

if TYPE_CHECKING:
    from tests.faults.nursery import Forked as ForkedDaemon
    from tests.faults.nursery import Nursery

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts what it puts into the background so, and every child would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine, and nothing of what is tested. The sample is the same each time, so that
# a red run is about the change; the deep run draws anew.
settings.register_profile(
    "brain",
    deadline=None,
    max_examples=deep(60, 1_000),
    derandomize=DEPTH == 1,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("brain")

# A brain is a hundred small files and folders, made some 1,500 times. Where Linux has room in memory they lie there: a disk takes ten
# times the processor time for each. The deep run works on the disk, and so does `--basetemp`.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    # Where PYTHONDONTWRITEBYTECODE is set, each program that a test starts would compile what was edited, a second of it.
    compileall.compile_dir(os.path.dirname(brain_daemon.__file__), quiet=2)
    if DEPTH == 1 and config.option.basetemp is None and MEMORY.is_dir():
        _work_in_memory(config)


def _work_in_memory(config: pytest.Config) -> None:
    room = os.statvfs(MEMORY)
    # Containers often mount it so that nothing there can be run: many a test runs a script of its own.
    if room.f_flag & os.ST_NOEXEC or room.f_bavail * room.f_frsize < ROOM_BYTES or not os.access(MEMORY, os.W_OK):
        return
    prefix = f"brain-tests-{os.getuid()}-"
    for left in MEMORY.glob(f"{prefix}*"):
        # What failed is kept for a look until the next run, as long as nobody works there.
        if not psutil.pid_exists(int(left.name.removeprefix(prefix))):
            shutil.rmtree(left, ignore_errors=True)
    config.option.basetemp = str(MEMORY / f"{prefix}{os.getpid()}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    place = str(session.config.option.basetemp)
    ours = place == str(MEMORY / f"brain-tests-{os.getuid()}-{os.getpid()}")
    if ours and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        shutil.rmtree(place, ignore_errors=True)


# What a person's brain waits for, or loads to search by meaning, and most tests need not: also said to programs that tests start.
FAST = {"settle": "0s", "group": "20ms", "scan": "1s", "memory_embedding": "local"}
DEADLINE_SECONDS = 60.0

ECHO = "---\nname: {name}\ntype: tool\ninvoke:\n  kind: tool\n  function: echo\n{more}---\n# {name}\n"
PROGRAM = "---\nname: {name}\n{more}invoke:\n  kind: command\n  command: {command}\n{inside}---\n# {name}\n"


@pytest.fixture(scope="session")
def _home(tmp_path_factory) -> Path:
    """A home folder with a git identity, and nothing of the machine the tests run on."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ann\n\temail = ann@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    return home


@pytest.fixture(autouse=True)
def _own_home(_home, monkeypatch, request) -> None:
    """No test reads the settings, the secrets or the git configuration of whoever runs it.

    What programs run counts for the coverage of modules that say so (`MEASURED`): measuring doubles the time each takes to start.
    """
    if not getattr(request.module, "MEASURED", False):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    for name in list(os.environ):
        if name.startswith(("GIT_", "BRAIN_", "XDG_")) or name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(_home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name, value in FAST.items():
        monkeypatch.setenv(f"BRAIN_{name.upper()}", value)


@pytest.fixture(scope="session")
def _first_commit(_home, tmp_path_factory) -> Path:
    """A brain with its first commit, made once; each test gets a copy."""
    root = tmp_path_factory.mktemp("template") / "brain"
    for path, data in template_files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    environment = {**os.environ, "HOME": str(_home), "GIT_CONFIG_NOSYSTEM": "1"}
    # Without the samples of hooks and with one pack for its objects, it is a third of the files to copy.
    for command in (
        ["init", "-q", "--template="],
        ["add", "-A"],
        ["commit", "-q", "-m", "a brain"],
        ["repack", "-a", "-d", "-q"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True, env=environment)
    for folder in (root / ".git" / "objects").iterdir():
        if len(folder.name) == 2 and not any(folder.iterdir()):
            folder.rmdir()
    return root


def copy_folder(source: str, target: str) -> None:
    """Folders and plain files with their times and modes; no program is started for it."""
    os.mkdir(target)
    with os.scandir(source) as found:
        for one in found:
            place = f"{target}/{one.name}"
            if one.is_dir():
                copy_folder(one.path, place)
                continue
            facts = one.stat()
            with open(one.path, "rb", 0) as old, open(place, "xb", 0) as new:
                new.write(old.read())
                os.fchmod(new.fileno(), facts.st_mode)
                os.utime(new.fileno(), ns=(facts.st_atime_ns, facts.st_mtime_ns))


class BrainFolder:
    """A brain on disk and what a person does there; it knows nothing that a person could not see."""

    def __init__(self, root: Path, state_home: Path) -> None:
        self.root = root
        self.state_home = state_home
        self.pending, self.active, self.completed, self.failed = (
            root / "brain" / "tasks" / name for name in ("pending", "active", "completed", "failed")
        )
        self.board = root / "context" / "board.md"
        self.questions = root / "prompts" / "pending.md"

    def write(self, path: str, content: str | bytes) -> Path:
        """A file at a path below the brain."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def drop(self, name: str, content: str | bytes = "# Task\n\nSay it.\n") -> Path:
        """A task dropped the way `mv` drops it: whole."""
        hidden = self.write(f".dropping-{name}", content)
        place = self.pending / name
        os.replace(hidden, place)
        return place

    def echo(self, name: str = "echo", *options: str, more: str = "") -> Path:
        """Register the in-process tool; each option is a line such as `delay_seconds: 1`."""
        lines = "".join(f"  {option}\n" for option in options)
        return self.write(f"tools/interfaces/{name}.md", ECHO.format(name=name, more=lines + more))

    def program(self, name: str, *command: str, more: str = "", inside: str = "") -> Path:
        """Register a program; `more` are lines of the front matter, `inside` lines of its `invoke`."""
        words = "[" + ", ".join("'" + word.replace("'", "''") + "'" for word in command) + "]"
        return self.write(
            f"tools/interfaces/{name}.md", PROGRAM.format(name=name, command=words, more=more, inside=inside)
        )

    def git(self, *arguments: str, check: bool = True) -> str:
        """Run the user's git and return what it printed."""
        done = subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, check=False)
        assert not check or done.returncode == 0, done.stderr.decode()
        return os.fsdecode(done.stdout)

    def commit(self, message: str = "mine") -> str:
        """Commit everything as the user would; the hash."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def names(self, folder: Path) -> list[str]:
        """The visible names in one of the four folders."""
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))

    def runs(self, task_id: str) -> bool:
        """Whether the journal says that the newest attempt at a task has started and not ended."""
        with contextlib.closing(self.journal()) as journal:
            return _runs(journal, task_id)

    def journal(self) -> Journal:
        """The journal, as another process reads it."""
        return Journal(self.place.journal, Files(), durable=False)

    def where(self, task_id: str) -> list[str]:
        """The folders that have a file of this task."""
        folders = (self.pending, self.active, self.completed, self.failed)
        return [folder.name for folder in folders if (folder / f"{task_id}.md").exists()]

    def recorded(self, task_id: str) -> document.Result:
        """What the recorded file of an ended task says."""
        for folder in (self.completed, self.failed):
            path = folder / f"{task_id}.md"
            if path.exists():
                return document.read_result(path.read_bytes())
        raise AssertionError(
            f"{task_id} is in {self.where(task_id)}; completed {self.names(self.completed)}, failed {self.names(self.failed)}"
        )

    def rows(self) -> list[CostRow]:
        """The ledger, as its text says."""
        found: list[CostRow] = []
        for path in sorted((self.root / "logs" / "costs").glob("*.csv")):
            found += ledger.parse(path.read_bytes(), str(path))
        return found

    def open(self, files: Files | None = None, **flags: Any) -> Brain:
        """The brain as the program sees it."""
        return Brain.open(str(self.root), dict(os.environ), {**FAST, **flags}, files)

    @property
    def place(self) -> Layout:
        """Where things live in it; nothing is made for the question."""
        return layout_of(str(self.root), user_state_path())

    @property
    def layout(self) -> Layout:
        """The same, with all that a brain has once it was opened."""
        self.open().close()
        return self.place

    def run_once(self, files: Files | None = None, **flags: Any) -> int:
        """Work through what is there; the exit code."""
        return asyncio.run(self.once(files, **flags))

    async def once(self, files: Files | None = None, **flags: Any) -> int:
        """`run_once` for a test that is a coroutine."""
        brain = self.open(files, **flags)
        try:
            return await Supervisor(brain, once=True).run()
        finally:
            brain.close()

    def all_of_git(self) -> str:
        """What every commit says and changed, and every file of HEAD."""
        return self.git("log", "-p", "--all", "--text", "--format=%B") + self.git("grep", "-h", "-a", "", "HEAD")

    def dirty(self) -> str:
        """What `git status` says of the paths this program writes."""
        return self.git("status", "--short", "--", "brain", "context", "logs", "prompts")

    @contextlib.asynccontextmanager
    async def running(
        self, files: Files | None = None, *, forked: Forked | None = None, **flags: Any
    ) -> AsyncIterator["Running"]:
        """The real daemon in this process, stopped at the end."""
        brain = self.open(files, **flags)
        supervisor = Supervisor(brain, forked=forked)
        task = asyncio.get_running_loop().create_task(supervisor.run())
        running = Running(self, brain, supervisor, task)
        try:
            await running.until(lambda: running.state in ("running", "paused"), "the daemon to run")
            yield running
            assert not task.done(), "the daemon ended by itself"
        finally:
            if not task.done():
                supervisor._life.stop()
            await task
            brain.close()


def _runs(journal: Journal, task_id: str) -> bool:
    return any(one.state is AttemptState.STARTING for one in journal.attempts_of(task_id)[-1:])


class Running:
    """A daemon in this process."""

    def __init__(self, folder: BrainFolder, brain: Brain, supervisor: Supervisor, task: asyncio.Task[int]) -> None:
        self.folder, self.brain, self.supervisor, self.task = folder, brain, supervisor, task

    @property
    def state(self) -> str:
        return self.brain.journal.get("state") or ""

    def held(self) -> dict[str, str]:
        """What the daemon says of tasks that do not start: file name -> why."""
        return {hold.name: hold.reason for hold in self.brain.journal.holds()}

    async def until(
        self,
        condition: Callable[[], Any],
        what: str,
        deadline_seconds: float = DEADLINE_SECONDS,
        every_seconds: float = 0.005,
    ) -> Any:
        """Wait for a condition; fails with `what` was waited for, or with the daemon's own fault."""
        end = time.monotonic() + deadline_seconds
        while not (found := condition()):
            if self.task.done():
                self.task.result()
                raise AssertionError(f"the daemon ended while the test waited for {what}")
            if time.monotonic() > end:
                folders = {
                    path.name: self.folder.names(path)
                    for path in (self.folder.pending, self.folder.active, self.folder.completed, self.folder.failed)
                }
                raise AssertionError(f"waited {deadline_seconds:g} s in vain for {what}; {folders}; held {self.held()}")
            await asyncio.sleep(every_seconds)
        return found

    async def started(self, *task_ids: str) -> None:
        """Wait until these tasks are at work: a file in active/ may still be on its way there."""
        await self.until(
            lambda: all(_runs(self.brain.journal, one) for one in task_ids), f"the start of {', '.join(task_ids)}"
        )

    async def ended(self, *task_ids: str, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until these tasks are recorded and committed."""

        def settled() -> bool:
            attempts = [self.brain.journal.attempts_of(one)[-1:] for one in task_ids]
            return all(found and found[0].state == "committed" and found[0].decision == "finish" for found in attempts)

        await self.until(settled, f"the end of {', '.join(task_ids)}", deadline_seconds)


class Daemon:
    """A daemon in a process of its own."""

    def __init__(self, folder: BrainFolder, process: "subprocess.Popen[bytes] | ForkedDaemon", log: Path) -> None:
        self.folder, self.process, self.log = folder, process, log
        self.pid = process.pid

    def drop(self, name: str, content: str | bytes = "# Task\n\nSay it.\n") -> Path:
        return self.folder.drop(name, content)

    def wait_for(self, condition: Callable[[], Any], deadline_seconds: float = DEADLINE_SECONDS) -> Any:
        """Wait until `condition` is true; fails with what the daemon said."""
        end = time.monotonic() + deadline_seconds
        while not (found := condition()):
            assert time.monotonic() < end, (
                f"waited {deadline_seconds:g} s in vain; the daemon said:\n{self.log.read_text()}"
            )
            time.sleep(0.02)
        return found

    def state(self) -> str:
        with contextlib.closing(self.folder.journal()) as journal:
            return journal.get("state") or ""

    def is_open(self) -> bool:
        """Whether this very process works: the journal alone may still say so of one before it that was killed."""
        holder = read_holder(self.folder.layout)
        return holder is not None and holder.pid == self.pid and self.state() in ("running", "paused")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self, deadline_seconds: float = DEADLINE_SECONDS) -> int:
        """Wait for its end."""
        return self.process.wait(deadline_seconds)


@pytest.fixture
def brain(_first_commit, tmp_path) -> BrainFolder:
    """A brain in a git repository with one commit, on which nothing runs."""
    root = tmp_path / "brain"
    copy_folder(str(_first_commit), str(root))
    return BrainFolder(root, tmp_path / "state")


@pytest.fixture(scope="session")
def _made(tmp_path_factory) -> dict[Callable[..., Any], tuple[Path, str]]:
    """What `made_once` keeps: by the function that made it, a brain's folder and the name of its runtime state there."""
    return {}


@pytest.fixture
def made_once(brain, _made, tmp_path_factory) -> Callable[[Callable[[BrainFolder], object]], BrainFolder]:
    """`made_once(work)` is the test's brain after `work(brain)`, which is done once a session; the others get copies."""

    def furnish(work: Callable[[BrainFolder], object]) -> BrainFolder:
        if work not in _made:
            work(brain)
            kept = tmp_path_factory.mktemp("made") / "brain"
            subprocess.run(["cp", "-a", str(brain.root), str(kept)], check=True)
            _made[work] = (kept, brain.place.state)
            return brain
        kept, state = _made[work]
        shutil.rmtree(brain.root)
        subprocess.run(["cp", "-a", str(kept), str(brain.root)], check=True)
        here = brain.place.state
        os.rename(os.path.join(os.path.dirname(here), os.path.basename(state)), here)
        return brain

    return furnish


@pytest.fixture(scope="session")
def nursery() -> "Iterator[Nursery]":
    """A process that has the program loaded and forks what is asked for: Python takes most of a second to load it."""
    from tests.faults.nursery import Nursery

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        made = Nursery()
    with made:
        yield made


@pytest.fixture
def daemon(brain, nursery, tmp_path) -> Iterator[Callable[..., contextlib.AbstractContextManager[Daemon]]]:
    """`with daemon(parallel="2") as running:` starts `brain run` on the brain with these settings; it is killed at the end."""

    @contextlib.contextmanager
    def start(**settings: str) -> Iterator[Daemon]:
        environment = {**os.environ, **{f"BRAIN_{k.upper()}": v for k, v in {**FAST, **settings}.items()}}
        log = tmp_path / "daemon.log"
        process = nursery.start(str(brain.root), str(log), environment)
        running = Daemon(brain, process, log)
        try:
            running.wait_for(lambda: process.poll() is not None or running.is_open())
            assert process.poll() is None, log.read_text()
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    return start
