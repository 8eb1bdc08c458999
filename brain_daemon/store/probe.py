"""Looking whether a lock is held without taking it, and without the weight of filelock: `brain status` must answer at once."""

import fcntl
import os


def lock_is_held(path: str) -> bool:
    """Whether somebody holds a lock of store/locks.py on this file. The look is shared with others and lasts some microseconds."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
