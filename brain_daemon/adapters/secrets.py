"""Where a secret comes from: a command that prints it, a file with the key alone, or a variable of the daemon.

The first of them that the interface names wins, in this order. What was read is kept in memory only: a command's answer
for some minutes, so that a keyring is not asked for every task, and every value for as long as this process lives, so
that the redactor knows it before any program can print it (`remembered`).

Failures: a source that is named and cannot serve is a UserError before anything is started: the interface is offline with
that sentence. It names the file or the command, never what stood in it or what it printed. A failed command is not run
again for half a minute, so that forty tasks do not hang on one locked keyring.

Not promised: that the memory of this process is safe from others of the same user, or that a secret which the program
itself fetches elsewhere is known here.
"""

import json
import os
import re
import select
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import Auth

LONGEST_SECRET_BYTES = 64 * 1024
COMMAND_TIMEOUT_SECONDS = 20.0
KEEP_SECONDS = 300.0
KEEP_FAULT_SECONDS = 30.0
_MOST_REMEMBERED = 1000
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
_NAME = re.compile(
    r"(?:\A|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|PAT|PROOF)(?:_\d+)?\Z", re.IGNORECASE
)
# Where keyrings and their agents are found: sockets and folders, no secrets.
_KEYRINGS = frozenset(
    {
        "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "GNUPGHOME", "HOME", "LANG", "LC_ALL", "LOGNAME", "PASSWORD_STORE_DIR",
        "SSH_AUTH_SOCK", "TMPDIR", "USER", "WAYLAND_DISPLAY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
        "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a command gave, or what was wrong with it, and until when (monotonic) that holds."""

    value: str
    fault: str
    until: float


class _Vault:
    """What this process has read. Safe in any thread; one command is never run twice at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._answers: dict[tuple[str, ...], _Answer] = {}
        self._values: tuple[str, ...] = ()

    def remembered(self) -> tuple[str, ...]:
        return self._values

    def remember(self, value: str) -> str:
        with self._lock:
            if value not in self._values:
                self._values = (*self._values, value)[-_MOST_REMEMBERED:]
        return value

    def forget(self, command: tuple[str, ...]) -> None:
        with self._lock:
            self._answers.pop(command, None)

    def from_command(self, command: tuple[str, ...], environment: Mapping[str, str]) -> str:
        with self._lock:
            lock = self._locks.setdefault(command, threading.Lock())
        with lock:
            answer = self._answers.get(command)
            if answer is None or answer.until <= time.monotonic():
                answer = self._answers[command] = _asked(command, environment)
        if answer.fault:
            raise UserError(answer.fault)
        return self.remember(answer.value)


_vault = _Vault()


def remembered() -> tuple[str, ...]:
    """Every secret that this process has read so far, in the order of reading; an equal tuple while there is no new one."""
    return _vault.remembered()


def forget(auth: Auth) -> None:
    """Let the next look run `secret_command` again: its answer was refused, or a person has logged in."""
    _vault.forget(auth.secret_command)


def read_secret(auth: Auth, environment: Mapping[str, str]) -> str | None:
    """The secret of an interface; None where it names none, or where neither its file nor its variable is there.

    May run `secret_command` and wait for it (20 s at most). Raises UserError where a source is there and cannot serve.
    """
    return stored_secret(auth, environment) or environment.get(auth.env or "") or None


def stored_secret(auth: Auth, environment: Mapping[str, str]) -> str | None:
    """`read_secret` without the variable: what the interface's command or file gives.

    Where no variable is named nobody is given a secret: the file is then the program's own, and is only looked for.
    """
    if not auth.env:
        return None
    if auth.secret_command:
        return _vault.from_command(auth.secret_command, environment)
    if auth.config_location:
        value = _from_file(expanded(auth.config_location, environment.get("HOME", "")))
        if value is not None:
            return _vault.remember(value)
    return None


def source_of(auth: Auth, environment: Mapping[str, str]) -> str:
    """Where the secret of an interface comes from, in words and without reading it; "" where there is none."""
    if auth.secret_command:
        return f"the command {auth.secret_command[0]}"
    if auth.config_location and os.path.isfile(expanded(auth.config_location, environment.get("HOME", ""))):
        return auth.config_location
    return f"the variable {auth.env}" if auth.env and environment.get(auth.env) else ""


def file_fault(location: str, environment: Mapping[str, str]) -> str:
    """Why the file of a secret cannot serve; "" where it can, or where it is not there. The file is not read."""
    path = expanded(location, environment.get("HOME", ""))
    try:
        return _refusal(path, os.stat(path))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return _unreadable(path, error)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret, as far as names tell."""
    return _NAME.search(name) is not None


def secrets_of(environment: Mapping[str, str], *names: str | None) -> Iterator[str]:
    """The secret values in an environment: of variables whose names say so, and of those named."""
    return (value for name, value in environment.items() if is_secret_name(name) or name in names)


def secrets_in(text: str) -> Iterator[str]:
    """The secrets in a file: all of it, or the values of a JSON document whose names say so."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict | list):
        yield from _leaves(document, "")
    elif text.strip():
        yield text.strip()


def _leaves(value: object, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    elif isinstance(value, str) and is_secret_name(name):
        yield value


def expanded(location: str, home: str) -> str:
    """`location` with a leading `~/` as `home`."""
    return os.path.join(home, location[2:]) if location.startswith("~/") else location


def child_path(parent: Mapping[str, str]) -> str:
    """Where a child's programs are looked for: the daemon's PATH without its relative and empty entries.

    Those mean the workspace, where a task may have put a `git` of its own.
    """
    entries = [entry for entry in parent.get("PATH", "").split(os.pathsep) if os.path.isabs(entry)]
    return os.pathsep.join(entries) or _USUAL_PATH


# files


def _from_file(path: str) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(_unreadable(path, error)) from error
    try:
        refusal = _refusal(path, os.fstat(descriptor))
        if refusal:
            raise UserError(refusal)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(LONGEST_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    return _one_line(data, f"reading the secret from {path}", "write the key alone there")


def _refusal(path: str, status: os.stat_result) -> str:
    """Why nobody should take a secret from this file."""
    doing = f"reading the secret from {path}"
    if not stat.S_ISREG(status.st_mode):
        return f"{doing}: it is no regular file; write the key alone into one"
    if status.st_uid != os.geteuid():
        return f"{doing}: it belongs to another user; make a file of your own there"
    if stat.S_IMODE(status.st_mode) & 0o077:
        return f"{doing}: others may read or change it; `chmod 600 {path}`"
    return ""


def _unreadable(path: str, error: OSError) -> str:
    return f"reading the secret from {path}: {error.strerror}; make it readable for you alone"


def _one_line(data: bytes, doing: str, remedy: str) -> str:
    """The text of a secret, ends stripped. UserError, which quotes nothing of it, where it is not one line of text."""
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        raise UserError(f"{doing}: it is not text; {remedy}") from None
    if not text or not text.isprintable() or len(data) > LONGEST_SECRET_BYTES:
        raise UserError(f"{doing}: it is not one line of text; {remedy}")
    return text


# commands


def _asked(command: tuple[str, ...], environment: Mapping[str, str]) -> _Answer:
    try:
        return _Answer(_printed(command, environment), "", time.monotonic() + KEEP_SECONDS)
    except UserError as error:
        return _Answer("", str(error), time.monotonic() + KEEP_FAULT_SECONDS)


def _printed(command: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """What the command prints. Its complaints go nowhere, since they may hold the secret. It may leave an agent behind."""
    doing = f"asking `{command[0]}` for the secret (auth.secret_command)"
    passing = {name: value for name, value in environment.items() if name in _KEYRINGS}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**passing, "PATH": child_path(environment)},
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{doing}: it could not be started: {getattr(error, 'strerror', error)}") from None
    try:
        data = _read_until(process, time.monotonic() + COMMAND_TIMEOUT_SECONDS)
    finally:
        _end(process)
    if data is None:
        raise UserError(f"{doing}: it did not end within {COMMAND_TIMEOUT_SECONDS:g} s; does it wait for a password?")
    if process.returncode != 0 and len(data) <= LONGEST_SECRET_BYTES:
        raise UserError(f"{doing}: it exited {process.returncode}; run it by hand to see why")
    return _one_line(data, f"{doing}: what it printed", "let it print the key alone")


def _read_until(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """All that it prints, up to a little more than a secret may have, and its exit; None when the time is up first."""
    assert process.stdout is not None
    descriptor, data = process.stdout.fileno(), b""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    while len(data) <= LONGEST_SECRET_BYTES:
        left = deadline - time.monotonic()
        if left <= 0 or not ready.poll(left * 1000):
            return None
        chunk = os.read(descriptor, LONGEST_SECRET_BYTES)
        if not chunk:
            break
        data += chunk
    else:
        return data
    try:
        process.wait(max(deadline - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        return None
    return data


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command that has not ended, with its process group."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nothing of it is left
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
