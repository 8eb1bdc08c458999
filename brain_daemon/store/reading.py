"""Reading a file that others may have replaced: never through a link, never a FIFO that would wait for ever, never without end.

Failures: what is not a regular file, or larger than the limit, is a StorageError that says so; a missing file is b"".
"""

import os

from brain_daemon.model.errors import StorageError
from brain_daemon.store.queue import Gone, Seen, Unreadable, look

MAX_BYTES = 256 << 20


def read_regular(path: str, limit_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file, b"" if nothing is there."""
    folder, name = os.path.split(path)
    match look(folder, name, limit_bytes):
        case Gone():
            return b""
        case Seen(data=bytes() as data):
            return data
        case Unreadable(reason=reason):
            raise StorageError(f"reading {path}: it {reason}. Move it away; the next look goes on by itself.")
        case _:
            raise StorageError(
                f"reading {path}: it is larger than {limit_bytes} bytes. Move it away; the next look goes on by itself."
            )
