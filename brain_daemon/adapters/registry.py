"""Who can do work now: the files in tools/interfaces/, read, checked and approved.

A file joins when it parses, its name is its own, its content is approved on this host, its program is there and its
secret is present. A file that fails any of these is kept in view with the reason and stops nothing else. The optional
`check` command of an interface is run apart (`run_check`), since some clients take seconds to say their version.

Approval (B24): content that ships with this package, or that appears here while git does not have it, is approved at
once; content that came with git waits for `brain interfaces approve`.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from brain_daemon.adapters.environment import child_path, expanded, interface_environment
from brain_daemon.adapters.tool import find_tool
from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import (
    AuthMethod,
    Availability,
    InterfaceFault,
    InterfaceSpec,
    InvokeKind,
)
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.policy.routing import Candidate
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Gone, Seen, Unreadable, look, names
from brain_daemon.store.template import shipped_hashes

MAX_INTERFACE_BYTES = 256 << 10
CHECK_TIMEOUT_SECONDS = 30.0
MAX_CHECK_BYTES = 1 << 20
_CHECK_BEAT_SECONDS = 0.05
_RUNNABLE = frozenset({InvokeKind.COMMAND, InvokeKind.TOOL})


class CameBy(StrEnum):
    """How a content reached this host; undecided while a git command is at work."""

    HERE = "here"
    GIT = "git"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One interface as it stands: `why_not` is empty if and only if it is usable."""

    spec: InterfaceSpec
    file_name: str
    approved: bool
    why_not: str = ""

    @property
    def usable(self) -> bool:
        return not self.why_not


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the `check` command of one content said: empty text is good."""

    sha256: str
    fault: str


class Registry:
    """The interfaces of one brain. `scan` reads the folder again; everything else answers from what it found."""

    def __init__(
        self,
        layout: Layout,
        environment: Mapping[str, str],
        *,
        approvals: Callable[[], frozenset[str]],
        approve: Callable[[str, str, str], None],
        came_by: Callable[[str, bytes], CameBy],
    ) -> None:
        self._layout = layout
        self._environment = environment
        self._approvals = approvals
        self._approve = approve
        self._came_by = came_by
        self._checks: dict[str, str] = {}
        self._signature: tuple[object, ...] = ()
        self.entries: dict[str, Entry] = {}
        self.faults: tuple[InterfaceFault, ...] = ()
        self.undecided = False

    def scan(self) -> bool:
        """Read the folder; True if anything that routing sees has changed."""
        specs, faults = self._read()
        unique, clashes = _without_duplicates(specs)
        entries = {spec.name: self._entry(spec, name, data) for spec, name, data in unique}
        signature = (tuple(sorted((e.spec.sha256, e.why_not) for e in entries.values())), tuple(faults + clashes))
        changed = signature != self._signature
        self.entries, self.faults, self._signature = entries, tuple(faults + clashes), signature
        return changed

    def candidates(self, running: Mapping[str, int]) -> list[Candidate]:
        return [
            Candidate(spec=e.spec, usable=e.usable, why_not=e.why_not, running=running.get(name, 0))
            for name, e in self.entries.items()
        ]

    def find(self, name: str) -> Entry | None:
        """By name or alias, as people write it."""
        return next((entry for entry in self.entries.values() if entry.spec.answers_to(name)), None)

    def unchecked(self) -> list[InterfaceSpec]:
        """Usable interfaces whose `check` command has not been run for this content."""
        return [
            e.spec
            for e in self.entries.values()
            if e.usable and e.spec.invoke.check and e.spec.sha256 not in self._checks
        ]

    def note_check(self, spec: InterfaceSpec, fault: str) -> None:
        """Keep what the check said; the next scan takes it into account."""
        self._checks[spec.sha256] = fault

    def forget_checks(self) -> None:
        """Let the next look run every check again."""
        self._checks.clear()

    def _read(self) -> tuple[list[tuple[InterfaceSpec, str, bytes]], list[InterfaceFault]]:
        specs, faults = [], []
        for name in sorted(names(self._layout.interfaces)):
            match look(self._layout.interfaces, name, MAX_INTERFACE_BYTES):
                case Seen(data=bytes() as data):
                    parsed = parse_interface(name, data)
                    if isinstance(parsed, InterfaceFault):
                        faults.append(parsed)
                    else:
                        specs.append((parsed, name, data))
                case Seen():
                    faults.append(
                        InterfaceFault(file_name=name, message=f"{name} is larger than {MAX_INTERFACE_BYTES} bytes.")
                    )
                case Unreadable(reason=reason):
                    faults.append(InterfaceFault(file_name=name, message=f"{name} {reason}."))
                case Gone():
                    continue
        return specs, faults

    def _entry(self, spec: InterfaceSpec, file_name: str, data: bytes) -> Entry:
        approved = self._is_approved(spec, file_name, data)
        why_not = (
            _offline(spec)
            or ("" if approved else f"it came with git: `brain interfaces approve {spec.name}` lets it run here")
            or self._missing(spec)
            or self._checks.get(spec.sha256, "")
        )
        return Entry(spec=spec, file_name=file_name, approved=approved, why_not=why_not)

    def _is_approved(self, spec: InterfaceSpec, file_name: str, data: bytes) -> bool:
        if spec.sha256 in self._approvals() or spec.sha256 in shipped_hashes():
            return True
        match self._came_by(os.path.join(self._layout.interfaces, file_name), data):
            case CameBy.HERE:
                self._approve(spec.sha256, spec.name, "made here")
                return True
            case CameBy.UNDECIDED:
                self.undecided = True
                return False
            case CameBy.GIT:
                return False

    def _missing(self, spec: InterfaceSpec) -> str:
        if spec.invoke.kind not in _RUNNABLE:
            return f"this release cannot call interfaces of the kind {spec.invoke.kind.value} yet"
        if spec.invoke.kind is InvokeKind.TOOL:
            return _missing_tool(spec)
        program = spec.invoke.command[0]
        if shutil.which(program, path=child_path(self._environment)) is None:
            return f"the program {program} is not on PATH"
        return self._missing_secret(spec)

    def _missing_secret(self, spec: InterfaceSpec) -> str:
        auth = spec.auth
        if auth.method is AuthMethod.NONE or (auth.config_location is None and auth.env is None):
            return ""
        home = self._environment.get("HOME", "")
        if auth.config_location and os.path.isfile(expanded(auth.config_location, home)):
            return ""
        if auth.env and self._environment.get(auth.env):
            return ""
        if any(self._environment.get(name) for name in spec.invoke.env if name.endswith(("_KEY", "_TOKEN"))):
            return ""
        places = " nor ".join(filter(None, (auth.config_location, auth.env and f"the variable {auth.env}")))
        return f"no secret: there is neither {places}"


def _offline(spec: InterfaceSpec) -> str:
    return "its file says `status: offline`" if spec.status is Availability.OFFLINE else ""


def _missing_tool(spec: InterfaceSpec) -> str:
    try:
        find_tool(spec.invoke.function or spec.name)
    except UserError as error:
        return str(error)
    return ""


def _without_duplicates(
    specs: list[tuple[InterfaceSpec, str, bytes]],
) -> tuple[list[tuple[InterfaceSpec, str, bytes]], list[InterfaceFault]]:
    """Files whose name or alias another file has too are left out, all of them, and each fault names both files."""
    owners: dict[str, list[str]] = {}
    for spec, file_name, _ in specs:
        for name in (spec.name, *spec.aliases):
            owners.setdefault(name, []).append(file_name)
    clashing = {file: (name, files) for name, files in owners.items() if len(set(files)) > 1 for file in files}
    faults = [
        InterfaceFault(
            file_name=file,
            message=f"the name {name} is claimed by {' and '.join(sorted(set(files)))}: give one of them another name or alias.",
            field="name",
            found=name,
        )
        for file, (name, files) in sorted(clashing.items())
    ]
    return [one for one in specs if one[1] not in clashing], faults


def run_check(spec: InterfaceSpec, environment: Mapping[str, str]) -> str:
    """Run an interface's `check` command; empty text if it exits 0, else what is wrong. Blocks for up to 30 s.

    It is a process group of its own, which ends with it; what it prints is bounded.
    """
    command = " ".join(spec.invoke.check)
    with tempfile.TemporaryFile() as printed:
        try:
            process = subprocess.Popen(
                spec.invoke.check,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=interface_environment(spec, environment),
                cwd=tempfile.gettempdir(),
                start_new_session=True,
            )
        except UserError as error:
            return str(error)
        except OSError as error:
            return f"its check `{command}` could not be started: {error.strerror}"
        try:
            ended = _wait_bounded(process, printed.fileno())
        finally:
            _end_group(process)
        if not ended:
            return f"its check `{command}` did not end within {CHECK_TIMEOUT_SECONDS:g} s, or printed more than {MAX_CHECK_BYTES} bytes"
        if process.returncode == 0:
            return ""
        printed.seek(0)
        said = printed.read(MAX_CHECK_BYTES).decode("utf-8", "replace").strip().splitlines()
        return f"its check `{command}` exited {process.returncode}" + (f": {said[-1][:200]}" if said else "")


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
