"""The files a new brain starts from: the ones at the top of this project, which is itself a brain.

An installed package carries them in `brain_daemon/template`; in a checkout they stand where they belong, beside it.
"""

import hashlib
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_COPIED = ("tools/interfaces", "context/routing.md", ".gitattributes", "knowledge")

_GITIGNORE = """\
# claimed tasks and the board are working state, never history
brain/tasks/active/*
!brain/tasks/active/.gitkeep
context/board.md
"""


def _source() -> Path:
    packaged = _PACKAGE / "template"
    return packaged if packaged.is_dir() else _PACKAGE.parent


@cache
def shipped_interfaces() -> dict[str, bytes]:
    """The interface files that ship: file name -> bytes."""
    return {path.name: path.read_bytes() for path in sorted((_source() / "tools" / "interfaces").glob("*.md"))}


@cache
def shipped_hashes() -> frozenset[str]:
    """Their SHA-256 digests: content that needs no approval."""
    return frozenset(hashlib.sha256(data).hexdigest() for data in shipped_interfaces().values())


def template_files() -> dict[str, bytes]:
    """Every file of a new brain: path relative to its root -> bytes."""
    found: dict[str, bytes] = {".gitignore": _GITIGNORE.encode()}
    for entry in _COPIED:
        path = _source() / entry
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                found[file.relative_to(_source()).as_posix()] = file.read_bytes()
    for folder in ("pending", "active", "completed", "failed"):
        found[f"brain/tasks/{folder}/.gitkeep"] = b""
    return found
