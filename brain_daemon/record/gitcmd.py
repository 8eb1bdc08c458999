"""Running git: fixed arguments, a scrubbed environment, a deadline, and nothing of the repository's that could run.

Every call names its repository by GIT_DIR, so a `.git` that vanishes is an error and never the parent folder's
repository. Hooks, fsmonitor, automatic gc, signing, prompts, replace refs and the network are off. Objects,
references and the index are synced to disk by git itself (git before 2.36 ignores that flag and syncs less).

Failures: a command that exits badly, cannot start or passes its deadline raises GitError, git's own words included;
no git on the PATH is a UserError. Nothing is retried here.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from brain_daemon.model.errors import GitError, UserError

DEADLINE_SECONDS = 30.0
_POLITE_SECONDS = 2.0
_FLAGS = tuple(
    part
    for setting in (
        f"core.hooksPath={os.devnull}",
        "core.fsmonitor=false",
        "core.fsync=committed,reference,index",
        "gc.auto=0",
        "maintenance.auto=false",
        "fastimport.unpackLimit=1",
        "pack.compression=1",  # a third less of the time of a fast-import for packs that are a fiftieth larger
        "log.showSignature=false",
    )
    for part in ("-c", setting)
)
_KEPT = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH"})
_SET = {
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # glibc (mallopt(3)) gives memory back to the kernel after each object that git deflates, and asks for it again for the
    # next one: 40 % of the time of a fast-import. Other C libraries pass these by.
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 20),
}


class _Ended(NamedTuple):
    """How a command ended: its exit code, its output and its complaints."""

    code: int
    printed: bytes
    said: bytes


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without any GIT_* but those that say where the user's configuration is, and `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    return {**inherited, **_SET, **extra}


def binary() -> str:
    """The absolute path of git."""
    found = shutil.which("git")
    if found is None:
        raise UserError("looked for git on the PATH and found none; install git 2.32 or later")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """How to run git in one place.

    `settings` are environment variables (GIT_DIR, GIT_INDEX_FILE, an identity). `kept_open` are descriptors each
    child inherits: a lock on one of them is held until the last git started here has ended, even after a crash.
    """

    program: str
    cwd: str
    settings: Mapping[str, str]
    kept_open: tuple[int, ...] = ()

    def with_settings(self, **settings: str) -> "Git":
        """The same place with more environment variables."""
        return Git(program=self.program, cwd=self.cwd, settings={**self.settings, **settings}, kept_open=self.kept_open)

    def holding(self, descriptor: int) -> "Git":
        """The same place; children inherit `descriptor`."""
        return Git(program=self.program, cwd=self.cwd, settings=self.settings, kept_open=(descriptor,))

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `git arguments` with three pipes and out of reach of the terminal's Ctrl-C; the caller ends it."""
        try:
            return subprocess.Popen(
                [self.program, *_FLAGS, *arguments],
                cwd=self.cwd,
                env=environment(self.settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=self.kept_open,
                start_new_session=True,
            )
        except OSError as error:
            raise GitError(f"git {arguments[0]} in {self.cwd} could not start: {error.strerror}") from error

    def run(
        self,
        *arguments: str,
        data: bytes = b"",
        accept: Sequence[int] = (0,),
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> bytes:
        """What `git arguments` printed. Raises GitError on an exit code outside `accept` or past the deadline."""
        ended = _talk(self.spawn(*arguments), arguments[0], data, deadline_seconds)
        return _checked(arguments[0], self.cwd, ended, accept)

    def answers(self, *arguments: str) -> bool:
        """Whether `git arguments` exits 0; 1 is no, anything else a GitError."""
        ended = _talk(self.spawn(*arguments), arguments[0], b"", DEADLINE_SECONDS)
        _checked(arguments[0], self.cwd, ended, (0, 1))
        return ended.code == 0

    def start(self, *arguments: str, data: bytes, deadline_seconds: float = DEADLINE_SECONDS) -> "Job":
        """Run `git arguments` while the caller does something else."""
        return Job(self, arguments, data, deadline_seconds)


class Job:
    """A git command that runs beside its caller; `result()` waits for it, `end()` kills it if it still runs."""

    def __init__(self, git: Git, arguments: Sequence[str], data: bytes, deadline_seconds: float) -> None:
        self._name, self._cwd = arguments[0], git.cwd
        self._process = git.spawn(*arguments)
        self.pid = self._process.pid
        self._ended: _Ended | GitError = GitError(f"git {self._name} has not ended")
        self._thread = threading.Thread(target=self._run, args=(data, deadline_seconds), name=f"git-{self._name}")
        self._thread.start()

    def _run(self, data: bytes, deadline_seconds: float) -> None:
        try:
            self._ended = _talk(self._process, self._name, data, deadline_seconds)
        except GitError as error:
            self._ended = error

    def result(self) -> bytes:
        """What it printed; raises GitError as `Git.run` does."""
        self._thread.join()
        if isinstance(self._ended, GitError):
            raise self._ended
        return _checked(self._name, self._cwd, self._ended, (0,))

    def end(self) -> None:
        """Return only when the process has gone."""
        _stop(self._process)
        self._thread.join()


class RefSwap:
    """One `git update-ref --stdin` transaction, started before a lock is taken and answered in about a millisecond.

    Entering the block waits until git is ready. `prepare` locks the refs and compares them; `commit` makes the change.
    Leaving the block without `commit` aborts.
    """

    def __init__(self, git: Git, why: str, changes: Sequence[str]) -> None:
        # By default git waits a tenth of a second for a ref, while a person waits for the index.
        self._process = git.spawn("-c", "core.filesRefLockTimeout=0", "update-ref", "-m", why, "--stdin")
        self._timer = threading.Timer(DEADLINE_SECONDS, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        self._send("start", *changes)

    def __enter__(self) -> Self:
        self._heard("start: ok")
        return self

    def __exit__(self, *_: object) -> None:
        self.refusal()

    def prepare(self) -> bool:
        """Whether the refs are locked and hold the old values."""
        self._send("prepare")
        return self._heard("prepare: ok")

    def commit(self) -> bool:
        """Whether the refs were changed; False means the caller must look at them to know."""
        self._send("commit")
        return self._heard("commit: ok")

    def refusal(self) -> str:
        """End the process and return what it complained of, on one line."""
        _, said = self._process.communicate()
        self._timer.cancel()
        return _one_line(said)

    def _send(self, *lines: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(os.fsencode("\n".join(lines) + "\n"))
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # it has ended with a complaint; the next answer is missing and says so

    def _heard(self, answer: str) -> bool:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip() == answer


def _talk(process: subprocess.Popen[bytes], name: str, data: bytes, seconds: float) -> _Ended:
    try:
        printed, said = process.communicate(data, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise GitError(f"git {name} did not end within {seconds:g} s and was stopped") from None
    finally:
        if _stop(process):
            process.communicate()
    return _Ended(process.returncode, printed, said)


def _stop(process: subprocess.Popen[bytes]) -> bool:
    """End git and what it started, which may hold its pipes open; False if it had ended.

    Told to end, git takes its own lock files along; killed, it leaves them, and every later git would stumble over them.
    """
    if process.poll() is not None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLITE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    return True


def _checked(name: str, cwd: str, ended: _Ended, accept: Sequence[int]) -> bytes:
    if ended.code not in accept:
        raise GitError(f"git {name} in {cwd} failed ({ended.code}): {_one_line(ended.said) or 'it said nothing'}")
    return ended.printed


def _one_line(said: bytes) -> str:
    """Git's complaint without control characters, at most 300 characters."""
    text = "".join(c if c.isprintable() else " " for c in said.decode("utf-8", "replace"))
    return " ".join(text.split())[:300]
