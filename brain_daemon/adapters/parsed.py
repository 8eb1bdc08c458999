"""What the person's files were read as, kept from one start to the next: what reads them takes a third of a second to load.

A file of this kind in the state folder counts for the very code that wrote it, holds what the last look found, and is only ever made
again from the files themselves: damaged, foreign or missing, it costs time and nothing else. It names no class but those that a parsed
file consists of, and nothing else is made from it (pickle's `find_class`). Whoever can write there can approve interfaces as well.

Failures: none are told; what cannot be kept is read anew by the next start.
"""

import io
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from brain_daemon import __version__, model
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import InterfaceFault, InterfaceSpec
from brain_daemon.model.routing_table import RoutingFault, RoutingTable
from brain_daemon.store.files import Files
from brain_daemon.store.looking import only_looking
from brain_daemon.store.reading import read_regular

_MAX_BYTES = 16 << 20
_MODULES = frozenset(f"brain_daemon.model.{name}" for name in ("interface", "outcome", "routing_table"))
_Parsed = TypeVar("_Parsed")


class ParsedFiles(Generic[_Parsed]):
    """For one thread. Without a `path` it remembers for itself alone; `parse` is asked for names and contents that are new."""

    def __init__(self, parse: Callable[[str, bytes], _Parsed], path: str = "", files: Files | None = None) -> None:
        self._parse = parse
        self._path = path if path and not only_looking(os.path.dirname(path)) else ""
        self._files = files or Files()
        self._known: dict[tuple[str, bytes], _Parsed] | None = None
        self._seen: dict[tuple[str, bytes], _Parsed] = {}

    def read(self, file_name: str, data: bytes) -> _Parsed:
        """What a file of this name and content says."""
        if self._known is None:
            self._known = _kept(self._path) if self._path else {}
        key = (file_name, data)
        found = self._known[key] if key in self._known else self._parse(file_name, data)
        self._seen[key] = found
        return found

    def keep(self) -> None:
        """The look is over: what it has read is what is known from now on."""
        seen, self._seen = self._seen, {}
        if seen == self._known:
            return
        self._known = seen
        if self._path:
            with suppress(StorageError, OSError):
                self._files.put(self._path, pickle.dumps((_code(), seen), pickle.HIGHEST_PROTOCOL), sync=False)


def interfaces_path(state: str) -> str:
    """Where a state folder keeps what interface files were read as."""
    return os.path.join(state, "interfaces.parsed")


def table_path(state: str) -> str:
    """Where it keeps the routing table's reading."""
    return os.path.join(state, "routing.parsed")


def interfaces(path: str = "", files: Files | None = None) -> ParsedFiles[InterfaceSpec | InterfaceFault]:
    """Those of tools/interfaces/."""
    return ParsedFiles(_interface, path, files)


def tables(path: str, files: Files) -> ParsedFiles[RoutingTable | RoutingFault]:
    """That of context/routing.md."""
    return ParsedFiles(_table, path, files)


def _interface(file_name: str, data: bytes) -> InterfaceSpec | InterfaceFault:
    from brain_daemon.model.interface_file import parse_interface  # noqa: PLC0415 - pydantic and YAML

    return parse_interface(file_name, data)


def _table(_file_name: str, data: bytes) -> RoutingTable | RoutingFault:
    from brain_daemon.model.routing_file import parse_routing  # noqa: PLC0415 - as above

    return parse_routing(data)


def _kept(path: str) -> dict[tuple[str, bytes], _Parsed]:
    try:
        code, known = _Reader(io.BytesIO(read_regular(path, _MAX_BYTES))).load()
        return dict(known) if code == _code() else {}
    except Exception:  # noqa: BLE001 - whatever the bytes bring out of pickle, they are not what was kept
        return {}


def _code() -> tuple[object, ...]:
    """Changes with the code that reads the files."""
    with os.scandir(os.path.dirname(str(model.__file__))) as found:
        stamps = sorted((one.name, one.stat().st_mtime_ns, one.stat().st_size) for one in found if one.is_file())
    return __version__, sys.version, tuple(stamps)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        found = getattr(sys.modules.get(module), name, None) if module in _MODULES else None
        if (module, name) == ("decimal", "Decimal"):
            found = super().find_class(module, name)
        if not isinstance(found, type):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a parsed file")
        return found
