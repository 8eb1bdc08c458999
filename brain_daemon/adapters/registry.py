"""Who can do work now: the files in tools/interfaces/, read, checked and approved.

A file joins when it parses, its name is its own, its content is approved on this host, its program is there and its
secret is present. A file that fails any of these is kept in view with the reason and stops nothing else. What takes
longer, its own checks and the command that prints its secret, is run apart (adapters/checking.py) and told to `note_check`.

Approval (B24): content that ships with this package, or that appears here while git does not know it, is approved at
once; content that came with git waits for `brain interfaces approve`.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from brain_daemon.adapters.http_place import missing_extra, nobody_listens
from brain_daemon.adapters.parsed import ParsedFiles, interfaces
from brain_daemon.adapters.secrets import child_path, expanded, file_fault, is_secret_name, source_of
from brain_daemon.adapters.tools import tool_fault
from brain_daemon.model.interface import (
    AuthMethod,
    Availability,
    InterfaceFault,
    InterfaceSpec,
    InvokeKind,
)
from brain_daemon.policy.routing import Candidate
from brain_daemon.store.layout import Layout
from brain_daemon.store.queue import Gone, Seen, Unreadable, look, names
from brain_daemon.store.template import shipped_hashes

MAX_INTERFACE_BYTES = 256 << 10
KINDS = frozenset({InvokeKind.COMMAND, InvokeKind.TOOL, InvokeKind.HTTP, InvokeKind.FILE_DROP, InvokeKind.HUMAN})
"""The kinds that the daemon has an adapter for (service/supervisor.py must agree)."""

UNCHECKED = "its check has not ended yet"
"""Why an interface is not used where `await_checks` is set and nobody has looked at its content so far."""

MADE_HERE = "made here"
"""How the journal calls an approval that nobody had to give; any other words are a person's."""


class CameBy(StrEnum):
    """How a content reached this host; undecided while a git command is at work."""

    HERE = "here"
    GIT = "git"
    UNDECIDED = "undecided"


class Approval(StrEnum):
    """Why a content may run on this host, or that it may not yet."""

    SHIPPED = "shipped"
    HERE = "here"
    PERSON = "person"
    WAITS = "waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One interface as it stands: `why_not` is empty if and only if it is usable. `approved_at`: epoch seconds, a person's."""

    spec: InterfaceSpec
    file_name: str
    approval: Approval
    approved_at: float | None = None
    why_not: str = ""

    @property
    def approved(self) -> bool:
        return self.approval is not Approval.WAITS

    @property
    def usable(self) -> bool:
        return not self.why_not

    @property
    def is_unchecked(self) -> bool:
        """Whether nothing stands against it but that its check has not ended: whom it suits best waits for that."""
        return self.why_not == UNCHECKED


_Given = Mapping[str, tuple[str, float]]


class Registry:
    """The interfaces of one brain. `scan` reads the folder again; everything else answers from what it found.

    `approvals` gives how and when (epoch seconds) each content was approved on this host. Who runs the checks of `unchecked`
    and tells `note_check` may say `await_checks`: an interface then joins only when its check has passed.
    """

    def __init__(
        self,
        layout: Layout,
        environment: Mapping[str, str],
        *,
        approvals: Callable[[], _Given],
        approve: Callable[[str, str, str], None],
        came_by: Callable[[str, bytes], CameBy],
        kinds: frozenset[InvokeKind] = KINDS,
        await_checks: bool = False,
        parsed: ParsedFiles[InterfaceSpec | InterfaceFault] | None = None,
    ) -> None:
        self._layout = layout
        self._environment = environment
        self._approvals = approvals
        self._approve = approve
        self._came_by = came_by
        self._kinds = kinds
        self._await_checks = await_checks
        self._parsed = parsed or interfaces()
        self._checks: dict[str, str] = {}
        self._signature: tuple[object, ...] = ()
        self.entries: dict[str, Entry] = {}
        self.faults: tuple[InterfaceFault, ...] = ()
        self.undecided = False

    def scan(self) -> bool:
        """Read the folder; True if anything that routing sees has changed."""
        specs, faults = self._read()
        unique, clashes = _without_duplicates(specs)
        given = self._approvals() if unique else {}
        entries = {spec.name: self._entry(spec, name, data, given) for spec, name, data in unique}
        signature = (tuple(sorted((e.spec.sha256, e.why_not) for e in entries.values())), tuple(faults + clashes))
        changed = signature != self._signature
        self.entries, self.faults, self._signature = entries, tuple(faults + clashes), signature
        return changed

    def candidates(self, running: Mapping[str, int]) -> list[Candidate]:
        return [
            Candidate(spec=e.spec, usable=e.usable or e.is_unchecked, why_not=e.why_not, running=running.get(name, 0))
            for name, e in self.entries.items()
        ]

    def find(self, name: str) -> Entry | None:
        """By name or alias, as people write it."""
        return next((entry for entry in self.entries.values() if entry.spec.answers_to(name)), None)

    def checkable(self) -> list[InterfaceSpec]:
        """Interfaces that nothing stands against but perhaps their own check: the commands of these may be run."""
        return [e.spec for e in self.entries.values() if e.why_not in ("", UNCHECKED, self._checks.get(e.spec.sha256))]

    def unchecked(self) -> list[InterfaceSpec]:
        """Usable interfaces that have a check which has not been run for this content."""
        return [spec for spec in self.checkable() if spec.has_check and spec.sha256 not in self._checks]

    def note_check(self, spec: InterfaceSpec, fault: str) -> None:
        """Keep what the check said; the next scan takes it into account."""
        self._checks[spec.sha256] = fault

    def _read(self) -> tuple[list[tuple[InterfaceSpec, str, bytes]], list[InterfaceFault]]:
        specs, faults = [], []
        for name in sorted(names(self._layout.interfaces)):
            match look(self._layout.interfaces, name, MAX_INTERFACE_BYTES):
                case Seen(data=bytes() as data):
                    parsed = self._parsed.read(name, data)
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
        self._parsed.keep()
        return specs, faults

    def _entry(self, spec: InterfaceSpec, file_name: str, data: bytes, given: _Given) -> Entry:
        approval, approved_at = self._approval(spec, file_name, data, given.get(spec.sha256))
        waits = approval is Approval.WAITS
        why_not = (
            _offline(spec)
            or (f"it came with git: `brain interfaces approve {spec.name}` lets it run here" if waits else "")
            or self._missing(spec)
            or self._checks.get(spec.sha256, UNCHECKED if self._await_checks and spec.has_check else "")
        )
        return Entry(spec=spec, file_name=file_name, approval=approval, approved_at=approved_at, why_not=why_not)

    def _approval(
        self, spec: InterfaceSpec, file_name: str, data: bytes, given: tuple[str, float] | None
    ) -> tuple[Approval, float | None]:
        if spec.sha256 in shipped_hashes():
            return Approval.SHIPPED, None
        if given is not None:
            how, when = given
            return (Approval.HERE, None) if how == MADE_HERE else (Approval.PERSON, when)
        match self._came_by(os.path.join(self._layout.interfaces, file_name), data):
            case CameBy.HERE:
                self._approve(spec.sha256, spec.name, MADE_HERE)
                return Approval.HERE, None
            case CameBy.UNDECIDED:
                self.undecided = True
                return Approval.WAITS, None
            case CameBy.GIT:
                return Approval.WAITS, None

    def _missing(self, spec: InterfaceSpec) -> str:
        """What this machine lacks for it, as far as a look at folders and names tells."""
        kind = spec.invoke.kind
        if kind not in self._kinds:
            return f"this release cannot call interfaces of the kind {kind.value} yet"
        match kind:
            case InvokeKind.TOOL:
                return tool_fault(spec.invoke.function or spec.name)
            case InvokeKind.FILE_DROP:
                return self._missing_folder(spec)
            case InvokeKind.COMMAND:
                return self._missing_program(spec) or self._missing_secret(spec)
            case InvokeKind.HTTP:
                return nobody_listens(spec, self._environment) or missing_extra(spec) or self._missing_secret(spec)
            case InvokeKind.HUMAN | InvokeKind.MCP:
                return ""

    def _missing_program(self, spec: InterfaceSpec) -> str:
        program = spec.invoke.command[0]
        found = shutil.which(program, path=child_path(self._environment))
        return "" if found else f"the program {program} is not on PATH"

    def _missing_folder(self, spec: InterfaceSpec) -> str:
        folder = dict(spec.invoke.options).get("folder")
        if not isinstance(folder, str):
            return "it names no folder: add `folder:` under `invoke`"
        path = self._layout.inside(expanded(folder, self._environment.get("HOME", "")))
        return "" if os.path.isdir(path) else f"the folder {folder} is not there: create it, or correct `invoke.folder`"

    def _missing_secret(self, spec: InterfaceSpec) -> str:
        auth = spec.auth
        wanted = auth.config_location or auth.env
        if auth.method is AuthMethod.NONE or not wanted or auth.secret_command:
            return ""
        fault = file_fault(auth.config_location, self._environment) if auth.config_location and auth.env else ""
        if fault or source_of(auth, self._environment):
            return fault
        if any(self._environment.get(name) for name in spec.invoke.env if is_secret_name(name)):
            return ""
        places = " nor ".join(filter(None, (auth.config_location, auth.env and f"the variable {auth.env}")))
        return f"no secret: there is neither {places}"


def _offline(spec: InterfaceSpec) -> str:
    return "its file says `status: offline`" if spec.status is Availability.OFFLINE else ""


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
