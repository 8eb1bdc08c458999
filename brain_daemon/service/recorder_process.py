"""The recorder in a process of its own, so that filing and git take no turns at the interpreter that runs tasks.

The process is forked at the very start, while nothing is open yet that must not be shared (SQLite, locks, threads), and waits. Told to
begin, it opens the brain for itself, takes the recording lock and runs a `RecorderThread`, as a daemon without it would. Orders go down
a pair of sockets; what is to be logged comes up. What has ended is in the journal: no order carries anything that would be lost with it.

The process lives no longer than its daemon: the kernel ends it with its parent (PR_SET_PDEATHSIG), or else the closed socket does.
If it dies alone, the daemon goes on with a `RecorderThread` of its own. Linux only: elsewhere `fork` makes none, since system
libraries may have threads by then. Not promised: that a daemon goes on beside a recorder that somebody has stopped (SIGSTOP).
"""

import asyncio
import ctypes
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from brain_daemon.adapters.secrets import remembered
from brain_daemon.model.attempt import Attempt
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import TaskSpec
from brain_daemon.record.filing import InterfaceState
from brain_daemon.record.recorder import Recorder
from brain_daemon.service.brain import Brain
from brain_daemon.service.collector import calm
from brain_daemon.service.config import Config
from brain_daemon.service.recording import RecorderThread
from brain_daemon.store.layout import Layout

_LOG = logging.getLogger("brain_daemon")
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_DIED_WITH_PARENT = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the daemon knows and the recorder must: the interfaces of now, the values of secrets, and how the daemon stands."""

    interfaces: Sequence[InterfaceState]
    secrets: tuple[str, ...]
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the recorder says after a pass: what it has written since the last one, and what ended its threads, if anything."""

    writes: int
    failed_writes: int
    crash: RuntimeError | None


@dataclass(frozen=True, slots=True)
class Forked:
    """A process that waits for its first order."""

    pid: int
    channel: "Connection[Any, Any]"


@contextmanager
def forked(*, wanted: bool = True) -> Iterator[Forked | None]:
    """The process for as long as the block runs, where it is wanted and can be made; whatever becomes of it, it ends with the block."""
    made = fork() if wanted else None
    try:
        yield made
    finally:
        if made is not None:
            made.channel.close()
            with suppress(ChildProcessError):  # it has ended, and somebody has seen that
                os.waitpid(made.pid, 0)


def fork() -> Forked | None:
    """Make the process, before anything else is opened; None where that is not safe."""
    if sys.platform != "linux" or len(os.listdir("/proc/self/task")) > 1:
        return None
    parent = os.getpid()
    ours, theirs = Pipe()
    pid = os.fork()
    if pid:
        theirs.close()
        return Forked(pid, ours)
    code = 1
    try:
        ours.close()
        _live_no_longer_than(parent)
        serve(theirs)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing of the parent's way out is this process's
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _live_no_longer_than(parent: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a terminal and a service manager tell both; the daemon says when
    with suppress(OSError, AttributeError):
        control = ctypes.CDLL(None).prctl
        control(_PR_SET_NAME, b"brain-recorder")
        control(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


class RecorderProcess:
    """The face of a `RecorderThread` whose threads are those of a forked process. Belongs to the event loop, but for `keep` and `stop`.

    `known` is asked for what has changed; `instead` makes the thread that takes over if the process dies alone; `on_settled` is called
    in the loop after each pass.
    """

    def __init__(
        self,
        forked: Forked,
        brain: Brain,
        known: Callable[[], Known],
        instead: Callable[[], RecorderThread],
        on_settled: Callable[[], None],
    ) -> None:
        self._pid = forked.pid
        self._channel = forked.channel
        self._brain = brain
        self._known = known
        self._make_instead = instead
        self._on_settled = on_settled
        self._instead: RecorderThread | None = None
        self._sending, self._hearing = threading.Lock(), threading.Lock()
        self._waiting = False
        self._learnt: tuple[str, ...] = ()
        self._told: Known | None = None
        self._crash: BaseException | None = None
        self._ended = self._gone = False

    def start(self) -> None:
        """Let it begin. Called in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._learnt, self._told = remembered(), self._known()
        self._send("begin", self._brain.layout, self._brain.config, self._told)
        self._loop.add_reader(self._channel.fileno(), self._hear)

    @property
    def crash(self) -> BaseException | None:
        """What ended its threads."""
        return self._crash or (self._instead.crash if self._instead else None)

    @property
    def busy(self) -> bool:
        """Whether something is yet to be recorded. Only asked by who works through a queue and ends, and nothing is forked for that."""
        return self._instead is not None and self._instead.busy

    def hand_in(self, attempt: Attempt, task: TaskSpec | None) -> None:
        """An outcome is durable in the journal."""
        if remembered() != self._learnt:
            self.look()  # what has been read meanwhile may stand in this outcome
        self._waiting = True
        self._send("hand_in", attempt, task)

    def keep(self, pages: Mapping[str, bytes]) -> None:
        """Pages of the brain that others have written, to be committed: path relative to the brain -> bytes. Any thread."""
        self._send("keep", dict(pages))

    def hurry(self) -> None:
        """Nothing else is about to end: what waits for company need not wait for long. Cheap to say again and again."""
        if self._waiting:
            self._waiting = False
            self._send("hurry")

    def wake(self) -> None:
        """Look at what is owed now."""
        self._send("wake")

    def look(self) -> None:
        """What the recorder must know may have changed."""
        self._learnt, known = remembered(), self._known()
        if known != self._told:
            self._told = known
            self._send("know", known)

    def stop(self, timeout_seconds: float) -> bool:
        """Record what there is, commit the day files and end; False if it took longer. Blocks, in any thread."""
        deadline = time.monotonic() + timeout_seconds
        self._send("stop", timeout_seconds)
        while not self._gone:
            if not self._channel.poll(max(0.0, deadline - time.monotonic())):
                os.kill(self._pid, signal.SIGKILL)
                return False
            self._hear()
        return self._instead is None or self._instead.stop(max(0.0, deadline - time.monotonic()))

    def _send(self, verb: str, *what: Any) -> None:
        """Tell the process, or the thread that has taken its place."""
        with self._sending:
            instead = self._instead
            if instead is None:
                # If it has just died, the journal has what is lost with this order.
                with suppress(OSError):
                    # `send` would build a pickler in Python for each.
                    self._channel.send_bytes(pickle.dumps((verb, what), pickle.HIGHEST_PROTOCOL))
        if instead is not None and verb in ("hand_in", "keep", "hurry", "wake"):
            getattr(instead, verb)(*what)

    def _hear(self) -> None:
        """Take one message from it, or its end."""
        with self._hearing:
            if self._gone or not self._channel.poll():
                return
            try:
                verb, what = self._channel.recv()
            except (EOFError, OSError):
                self._has_gone()
                return
        match verb:
            case "log":
                _LOG.handle(what)
            case "settled":
                self._brain.files.writes += what.writes
                self._brain.files.failed_writes += what.failed_writes
                self._crash = self._crash or what.crash
                # At the end this is another thread than the loop's.
                self._loop.call_soon_threadsafe(self._on_settled)
            case _:
                self._ended = True

    def _has_gone(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.remove_reader, self._channel.fileno())
        _, status = os.waitpid(self._pid, 0)
        if not self._ended and self._crash is None:
            how = os.waitstatus_to_exitcode(status)
            _LOG.error(
                "the recorder's process has died; the daemon records itself", extra={"action": "record", "exit": how}
            )
            instead = self._make_instead()
            instead.start()
            instead.wake()
            with self._sending:
                self._instead = instead
        self._gone = True


# in the process


def serve(channel: "Connection[Any, Any]") -> None:
    """Wait for the order to begin, record until told to stop; returns when the daemon has gone."""
    try:
        _, what = channel.recv()
        _Apart(channel, *what).live()
    except (EOFError, ConnectionError):
        return


class _Apart:
    """The recorder on this side of the sockets."""

    def __init__(self, channel: "Connection[Any, Any]", layout: Layout, config: Config, known: Known) -> None:
        self._channel = channel
        self._saying = threading.Lock()
        self._known = known
        self._brain = Brain.beside(layout, config)
        self._settling = threading.Lock()
        self._counted = (0, 0)
        self._thread = RecorderThread(layout, self._made, config.group_seconds, config.group_size, self._settled)

    def _made(self) -> Recorder:
        redactor = Redactor((), lambda: self._known.secrets)
        return self._brain.recorder_told(lambda: self._known.interfaces, lambda: self._known.state, redactor)

    def live(self) -> None:
        """Raises EOFError when the daemon has gone."""
        calm()
        logging.getLogger("brain_daemon").addHandler(_Upwards(self._say))
        logging.getLogger("brain_daemon").setLevel(logging.INFO)
        self._thread.start()
        while True:
            verb, what = self._channel.recv()
            if verb == "stop":
                break
            if verb == "know":
                (self._known,) = what
            else:
                getattr(self._thread, verb)(*what)
        if self._thread.stop(*what):
            self._settled()
            self._say("ended", None)

    def _settled(self) -> None:
        with self._settling:
            files, crash = self._brain.files, self._thread.crash
            before = self._counted
            self._counted = writes, failed_writes = files.writes, files.failed_writes
            told = Settled(
                writes=writes - before[0],
                failed_writes=failed_writes - before[1],
                crash=None if crash is None else RuntimeError(f"recording: {type(crash).__name__}: {crash}"),
            )
            self._say("settled", told)

    def _say(self, verb: str, what: object) -> None:
        with self._saying, suppress(OSError):
            self._channel.send((verb, what))


class _Upwards(QueueHandler):
    """Lets the daemon log what is said here: there is one log, and one who rolls it over."""

    def __init__(self, say: Callable[[str, object], None]) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self._say = say

    def enqueue(self, record: logging.LogRecord) -> None:
        self._say("log", record)
