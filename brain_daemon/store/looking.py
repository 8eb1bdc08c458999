"""Where nothing may be written: whether that is so, and how SQLite is asked for a file by those who only look.

A database with a write-ahead log wants to make a file beside itself even to be read. Where the folder may not be written, and
no log is left, it is opened as one that cannot change; beside a log that a crash has left there, SQLite says itself what is
wrong. Nothing heavy is imported here: `brain status` must answer at once.
"""

import os


def only_looking(folder: str) -> bool:
    """Whether files in a folder, or in the nearest one above that exists, can be read and not written."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return not os.access(folder, os.W_OK)


def address_to_read(path: str) -> str:
    """The URI under which a database is opened so that it cannot be written."""
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    frozen = only_looking(os.path.dirname(path)) and not _has_log(path)
    return f"file:{quoted}?mode=ro{'&immutable=1' if frozen else ''}"


def _has_log(path: str) -> bool:
    try:
        return os.path.getsize(f"{path}-wal") > 0
    except OSError:
        return False
