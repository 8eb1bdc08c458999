"""Scratch workspaces: a folder for one attempt, what it left in out/, and its end."""

import os
import shutil


def collect_out(workspace: str, limit_bytes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the regular files below out/ that fit into the limit together, and what is to be said of the others."""
    base = os.path.join(workspace, "out")
    if not os.path.isdir(base):
        return (), ()
    kept: list[str] = []
    left: list[str] = []
    total = 0
    for path in _files_below(base):
        name = os.path.relpath(path, base)
        size = os.lstat(path).st_size
        if os.path.islink(path) or not os.path.isfile(path) or total + size > limit_bytes or not _fits_into_git(name):
            left.append(name)
        else:
            total += size
            kept.append(name)
    if not left:
        return tuple(kept), ()
    why = f"no regular file, a name git cannot hold, or over {limit_bytes} bytes together"
    return tuple(kept), (f"not kept ({why}): {', '.join(map(repr, left[:20]))}",)


def _fits_into_git(name: str) -> bool:
    """Whether git may hold a path of this name: UTF-8, and no part of it git's own."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not any(part.lower().rstrip(". ") in (".git", "git~1") for part in name.split(os.sep)) and "\n" not in name


def _files_below(base: str) -> list[str]:
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(base) for name in names)


def discard(path: str) -> None:
    """Remove a scratch workspace whose attempt is on record; what cannot be removed stays."""
    shutil.rmtree(path, ignore_errors=True)
