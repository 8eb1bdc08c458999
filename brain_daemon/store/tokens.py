"""What a running attempt shows to prove that it is one: a code made from its id and a key of this brain.

Nothing is stored for an attempt, so there is nothing to clean up; a code says who asks, not whether the attempt still
runs, which is for the journal to say. The key is a file in the state folder that only its owner can read. Not promised:
anything against a program of the same user, who can read that file too.

Failures: StorageError where the key cannot be read or written. A key that is damaged is made anew: the codes of what runs
then count no more.
"""

import hashlib
import hmac
import os
import secrets

from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.reading import read_regular

VARIABLE = "BRAIN_PROOF"
_KEY_BYTES = 32


class Tokens:
    """Gives out the codes of one brain; makes the key where there is none, and reads it again when its file is another one."""

    def __init__(self, layout: Layout, files: Files) -> None:
        self._layout = layout
        self._files = files
        self._known: tuple[tuple[int, int], bytes] | None = None

    def of(self, attempt_id: str) -> str:
        """The code of an attempt."""
        mark = _mark(self._layout)
        if self._known is None or mark != self._known[0]:
            key = _key(self._layout) or _new_key(self._layout, self._files)
            self._known = mark, key
        return _code(self._known[1], attempt_id)


def is_token_of(layout: Layout, attempt_id: str, token: str) -> bool:
    """Whether a code is the attempt's."""
    key = _key(layout)
    return bool(key) and hmac.compare_digest(_code(key, attempt_id).encode(), token.encode("utf-8", "replace"))


def _code(key: bytes, attempt_id: str) -> str:
    return hmac.new(key, attempt_id.encode(), hashlib.sha256).hexdigest()


def _path(layout: Layout) -> str:
    return os.path.join(layout.state, "attempts.key")


def _mark(layout: Layout) -> tuple[int, int]:
    """Tells one file of the key from another; zeros where there is none."""
    try:
        status = os.lstat(_path(layout))
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def _key(layout: Layout) -> bytes:
    key = read_regular(_path(layout), 1 << 10)
    return key if len(key) == _KEY_BYTES else b""


def _new_key(layout: Layout, files: Files) -> bytes:
    """A new key; another process may be doing the same, and the first one stays."""
    path, key = _path(layout), secrets.token_bytes(_KEY_BYTES)
    if os.path.lexists(path):
        files.remove(path)
    try:
        files.put_new(path, key, mode=0o600)
    except FileExistsError:
        return _key(layout)
    return key
