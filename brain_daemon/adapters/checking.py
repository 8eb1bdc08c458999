"""Whether an interface works: its secret can be had, its `check` exits with 0, and `auth.check` says that it is logged in.

Each command is bounded in time and in what it prints, is given the interface's own environment, and is a process group of
its own, which ends with it. What is said of it is one clean line without the secrets it was given. Nothing is raised:
whatever is wrong is the answer. These commands are the interface file's own, so nobody may look at one that is not approved.
"""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brain_daemon.adapters.environment import interface_environment
from brain_daemon.adapters.http_target import check_http
from brain_daemon.adapters.secrets import remembered, secrets_of, source_of
from brain_daemon.model.cleaning import clean_line, clean_text
from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import AuthMethod, InterfaceSpec, InvokeKind
from brain_daemon.model.redaction import Redactor

CHECK_TIMEOUT_SECONDS = 30.0
MAX_CHECK_BYTES = 1 << 20
_CHECK_BEAT_SECONDS = 0.05
_VERSION = re.compile(r"\d+\.\d+")
_LINE_LENGTH = 200
_WORDS_LENGTH = 60
"""Of a command: enough to know it by. `brain interfaces show` has it whole."""
_KEY_REFUSED = "refuses the key"
_NOT_THERE = "cannot be reached"
"""What `check_http` says of a key that the server does not take, and of a server that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a look at one interface found; empty faults are good.

    `version` is the line its check printed, where that looks like one. `auth` says in words how it is known who pays,
    `auth_fault` why it is not. `ran` says whether a command was run or a server answered, `seconds` how long it all took.
    """

    version: str = ""
    fault: str = ""
    auth: str = ""
    auth_fault: str = ""
    ran: bool = False
    seconds: float = 0.0

    @property
    def why_not(self) -> str:
        return self.fault or self.auth_fault


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """How a command ended: `fault` is empty if it exited 0; `lines` are what it printed, without secrets."""

    fault: str
    lines: tuple[str, ...] = ()


def run_check(spec: InterfaceSpec, environment: Mapping[str, str]) -> str:
    """What is wrong with an interface now; "" where nothing is. Blocks for up to 80 s."""
    return examine(spec, environment).why_not


def examine(spec: InterfaceSpec, environment: Mapping[str, str]) -> Health:
    """Look at an approved interface: secret, `check`, `auth.check`, up to the first that fails. Blocks as `run_check` does."""
    began = time.monotonic()
    try:
        given = interface_environment(spec, environment)
    except UserError as error:
        return Health(auth_fault=str(error), ran=bool(spec.auth.secret_command), seconds=time.monotonic() - began)
    redactor = Redactor(secrets_of(given, spec.auth.env), remembered)
    checked = _ran(spec.invoke.check, given, redactor)
    fault, auth_fault = _told(checked), ""
    if not fault:
        fault, auth_fault = _server(spec, environment, redactor)
    if not fault and not auth_fault and (refused := _ran(spec.auth.check, given, redactor).fault):
        auth_fault = f"it is not logged in: {refused}; {how_to_log_in(spec)}"
    return Health(
        version=next((line for line in checked.lines if _VERSION.search(line)), ""),
        fault=fault,
        auth=_auth(spec, environment),
        auth_fault=auth_fault,
        ran=spec.has_check and _NOT_THERE not in fault,
        seconds=time.monotonic() - began,
    )


def _told(checked: _Said) -> str:
    """A failed check with its last words. What is printed about a login, an account say, is nobody's business."""
    if not checked.fault:
        return ""
    return f"its check {checked.fault}" + (f": {checked.lines[-1]}" if checked.lines else "")


def _server(spec: InterfaceSpec, environment: Mapping[str, str], redactor: Redactor) -> tuple[str, str]:
    """What is wrong with the server of an interface that has one, and with the key for it."""
    if spec.invoke.kind is not InvokeKind.HTTP:
        return "", ""
    said = clean_line(redactor.text(clean_text(check_http(spec, environment))), _LINE_LENGTH)
    return ("", said) if _KEY_REFUSED in said else (said, "")


def how_to_log_in(spec: InterfaceSpec) -> str:
    """What a person does about a login that is gone, in words for the end of a sentence."""
    if spec.auth.login:
        return f"run `{clean_line(spec.auth.login)}`"
    if spec.auth.method is AuthMethod.API_KEY:
        return "renew the key" + (f" in {spec.auth.config_location}" if spec.auth.config_location else "")
    return "log in with the program itself"


def _auth(spec: InterfaceSpec, environment: Mapping[str, str]) -> str:
    source = source_of(spec.auth, environment)
    if spec.auth.check:
        return "logged in"
    if source:
        return f"key from {source}"
    return "none needed" if spec.auth.method is AuthMethod.NONE else "not looked at"


def _ran(command: Sequence[str], environment: Mapping[str, str], redactor: Redactor) -> _Said:
    """Run one command to its end; no command is no fault."""
    if not command:
        return _Said(fault="")
    words = clean_line(redactor.text(" ".join(command)), _WORDS_LENGTH)
    with tempfile.TemporaryFile() as printed:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=tempfile.gettempdir(),
                start_new_session=True,
            )
        except OSError as error:
            return _Said(fault=f"`{words}` could not be started: {error.strerror}")
        try:
            ended = _wait_bounded(process, printed.fileno())
        finally:
            _end_group(process)
        if not ended:
            return _Said(
                fault=f"`{words}` did not end within {CHECK_TIMEOUT_SECONDS:g} s, or printed more than {MAX_CHECK_BYTES} bytes"
            )
        printed.seek(0)
        lines = _lines(printed.read(MAX_CHECK_BYTES), redactor)
    if process.returncode == 0:
        return _Said(fault="", lines=lines)
    return _Said(fault=f"`{words}` exited {process.returncode}", lines=lines)


def _lines(data: bytes, redactor: Redactor) -> tuple[str, ...]:
    text = redactor.text(clean_text(data.decode("utf-8", "replace")))
    return tuple(clean_line(line, _LINE_LENGTH) for line in text.splitlines() if line.strip())


def _wait_bounded(process: subprocess.Popen[bytes], printed: int) -> bool:
    """Whether the process ended by itself, in time and without printing too much."""
    deadline = time.monotonic() + CHECK_TIMEOUT_SECONDS
    while time.monotonic() < deadline and os.fstat(printed).st_size <= MAX_CHECK_BYTES:
        try:
            process.wait(_CHECK_BEAT_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return True
    return False


def _end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nothing of it is left
    process.wait()
