"""What this machine has that could do work: AI programs on PATH, a local Ollama, keys in the environment.

Nothing is started here and no key is read: programs are found by name, keys are named. A registration that ships can be
written into the brain where it is missing. Failures: an Ollama that does not answer in a moment is none; a file that is
there already is a Refused, since nothing of the person's is overwritten.
"""

import http.client
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from brain_daemon.adapters.secrets import child_path, is_secret_name
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.model.ids import normal_name
from brain_daemon.model.interface import InterfaceSpec, InvokeKind
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.service.brain import Brain
from brain_daemon.store.template import shipped_interfaces

OLLAMA = ("127.0.0.1", 11434)
_OLLAMA_SECONDS = 0.3
_MAX_ANSWER_BYTES = 4096
# AI clients without a registration in this package: one file makes an interface of each (docs/interfaces.md).
_OTHERS = (
    "amp",
    "auggie",
    "cline",
    "copilot",
    "crush",
    "cursor-agent",
    "droid",
    "goose",
    "kilocode",
    "plandex",
    "q",
    "qwen",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A known AI program. `interface` is the shipped registration that covers it, None where none does; `path` None: not here."""

    program: str
    interface: InterfaceSpec | None
    path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A variable that is set here and looks like a key, and the shipped registrations that would use it."""

    name: str
    interfaces: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ollama:
    """A server that answers on this machine."""

    address: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """All that was found."""

    programs: tuple[Program, ...]
    keys: tuple[Key, ...]
    ollama: Ollama | None


def detect(environment: Mapping[str, str]) -> Detection:
    """Look at PATH, at the environment and at Ollama's usual address; takes 0.3 s at most."""
    specs = tuple(shipped())
    return Detection(
        programs=tuple(_programs(specs, child_path(environment))),
        keys=tuple(_keys(specs, environment)),
        ollama=ollama_at(*OLLAMA),
    )


def shipped() -> Iterator[InterfaceSpec]:
    """The registrations of this package."""
    for name, data in shipped_interfaces().items():
        parsed = parse_interface(name, data)
        if isinstance(parsed, InterfaceSpec):
            yield parsed


def _programs(specs: tuple[InterfaceSpec, ...], path: str) -> Iterator[Program]:
    covered: dict[str, InterfaceSpec] = {}
    for spec in specs:
        if spec.invoke.kind is InvokeKind.COMMAND:
            covered.setdefault(spec.invoke.command[0], spec)
    for program in (*covered, *(name for name in _OTHERS if name not in covered)):
        place = shutil.which(program, path=path)
        if place or program in covered:
            yield Program(program=program, interface=covered.get(program), path=place)


def _keys(specs: tuple[InterfaceSpec, ...], environment: Mapping[str, str]) -> Iterator[Key]:
    for name in sorted(name for name, value in environment.items() if value):
        users = tuple(spec.name for spec in specs if name == spec.auth.env or name in spec.invoke.env)
        if users and is_secret_name(name):
            yield Key(name=name, interfaces=users)


def ollama_at(host: str, port: int) -> Ollama | None:
    """The Ollama that answers there within 0.3 s; no proxy is asked."""
    connection = http.client.HTTPConnection(host, port, timeout=_OLLAMA_SECONDS)
    try:
        connection.request("GET", "/api/version")
        version = json.loads(connection.getresponse().read(_MAX_ANSWER_BYTES))["version"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()
    return Ollama(address=f"http://{host}:{port}", version=str(version)) if isinstance(version, str) else None


def write_registration(brain: Brain, name: str) -> str:
    """Put a shipped registration into the brain; its path there. UserError: none ships of that name; Refused: it is there."""
    file_name = f"{normal_name(name)}.md"
    files = shipped_interfaces()
    if file_name not in files:
        known = ", ".join(one.removesuffix(".md") for one in files)
        raise UserError(f"writing the registration {name}: none ships under that name. There are: {known}.")
    path = os.path.join(brain.layout.interfaces, file_name)
    try:
        brain.files.put_new(path, files[file_name])
    except FileExistsError:
        raise Refused(f"writing {path}: it is there already and was left as it is.") from None
    return brain.layout.relative(path)
