"""A process that has the whole program loaded and forks a daemon whenever it is told to, which a named point of its own may end.

A start costs some milliseconds instead of the third of a second that Python needs to read the program; what is forked is `brain run`
as it is, in a process of its own, and what ends it is a real SIGKILL. A `Point` is a place in the code: an operation of the seam, one
of the five steps in the git folder, or the start of a git command; there the daemon is killed, or git, or both, or only the process
that records for it.

Not for several threads. The orders and answers are lines of JSON on two pipes.
"""

import contextlib
import faulthandler
import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a program, this file is not below a known folder

from brain_daemon.record import user_index
from brain_daemon.record.gitcmd import Git
from brain_daemon.store.files import Files
from brain_daemon.surfaces.cli import main

# What `brain run` loads by and by is loaded before the first fork.
from brain_daemon.surfaces.commands import daemon as _daemon

assert _daemon

REPOSITORY = Path(__file__).resolve().parents[2]
_INDEX_STEPS = ("link", "rename", "unlink", "copy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place in the daemon's way: the `count`-th operation that `pattern` is found in, and `delay_seconds` more; `victim` dies.

    Operations read `commit journal /path`, `move /path`, `index rename /path`, `git fast-import`.
    """

    pattern: str
    count: int = 1
    delay_seconds: float = 0.0
    victim: str = "daemon"
    daemon_pid: int = 0

    def __str__(self) -> str:
        return f"{self.victim} at {self.pattern!r} number {self.count}, {1000 * self.delay_seconds:.1f} ms later"


class Forked:
    """A daemon that the nursery has forked; the part of `subprocess.Popen` that the lab needs."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._ended_within(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended; raises TimeoutExpired."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("brain run", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _ended_within(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._descriptor], [], [], seconds)[0]:
            self.returncode = int(self._nursery.ask({"reap": self.pid})["code"])
            os.close(self._descriptor)
        return self.returncode


class Nursery:
    """The process, from this side of the pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            start_new_session=True,  # what is forked has no terminal, nor its Ctrl-C
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, root: str, log: str, environment: Mapping[str, str], point: Point | None = None) -> Forked:
        """`brain run` on the brain at `root`, what it says appended to `log`."""
        return self.order(["--brain", root, "run"], environment, (os.devnull, log, log), point)

    def order(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        streams: tuple[str, str, str],
        point: Point | None = None,
    ) -> Forked:
        """`brain WORDS` in a process of its own; `streams` are the files for its input, its output and its complaints."""
        order = {
            "words": list(words),
            "environment": dict(environment),
            "streams": streams,
            "point": point and asdict(point),
        }
        return Forked(self, int(self.ask(order)["pid"]))

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _serve() -> None:
    """Orders in, answers out, until the other end is closed."""
    for line in sys.stdin:
        order = json.loads(line)
        if "reap" in order:
            _, status = os.waitpid(order["reap"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            answer = {"pid": _fork(order)}
        print(json.dumps(answer), flush=True)


def _fork(order: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _put_in_place(order["streams"], order["environment"])
        if order["point"] is not None:
            arm(Point(**order["point"]))
        code = _run(order["words"])
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _put_in_place(streams: Sequence[str], environment: Mapping[str, str]) -> None:
    for target, path in enumerate(streams):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND if target else os.O_RDONLY
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, target)
        os.close(opened)
    # A daemon that hangs tells where, before the lab gives it up.
    faulthandler.register(signal.SIGUSR1)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def _run(words: Sequence[str]) -> int:
    try:
        sys.argv = ["brain", *words]
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:  # noqa: BLE001 - what python itself does with it
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


# In the child: the place where it dies.


def arm(point: Point) -> None:
    """Put the point into the code of this process, and of the one it forks to record."""
    point = replace(point, daemon_pid=os.getpid())
    pattern, numbers = re.compile(point.pattern), itertools.count(1)

    def reached(words: str) -> bool:
        return pattern.search(words) is not None and next(numbers) == point.count

    def step(files: Files, action: str, path: str) -> None:
        if reached(f"{action} {path}"):
            _strike(point)

    Files.step = step  # type: ignore[method-assign]
    for name in _INDEX_STEPS:
        setattr(user_index, name, _step_in_git(getattr(user_index, name), name, reached, point))
    Git.spawn = _spawning(Git.spawn, reached, point)  # type: ignore[method-assign]


def _step_in_git(
    verb: Callable[..., Any], name: str, reached: Callable[[str], bool], point: Point
) -> Callable[..., Any]:
    def stepping(*paths: str) -> Any:
        if reached(f"index {name} {paths[-1]}"):
            _strike(point)
        return verb(*paths)

    return stepping


def _spawning(
    spawn: Callable[..., subprocess.Popen[bytes]], reached: Callable[[str], bool], point: Point
) -> Callable[..., subprocess.Popen[bytes]]:
    def spawning(git: Git, *arguments: str) -> subprocess.Popen[bytes]:
        struck = reached(f"git {arguments[0]}")
        process = spawn(git, *arguments)
        if struck:
            _strike(point, process)
        return process

    return spawning


def _strike(point: Point, git: subprocess.Popen[bytes] | None = None) -> None:
    """Kill now or after the delay; git alone leaves its daemon alive, so does the recorder, and the daemon alone leaves its git."""
    if point.delay_seconds:
        threading.Thread(target=_kill, args=(point, git), daemon=True).start()
    else:
        _kill(point, git)


def _kill(point: Point, git: subprocess.Popen[bytes] | None) -> None:
    time.sleep(point.delay_seconds)
    if git is not None and "git" in point.victim:
        git.kill()
    if "daemon" in point.victim:
        os.kill(point.daemon_pid, signal.SIGKILL)
    if "daemon" in point.victim or ("recorder" in point.victim and os.getpid() != point.daemon_pid):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve()
