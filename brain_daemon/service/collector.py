"""Python's cycle collector where it would look in vain: while a program is loaded, and in one that lives for weeks."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_YOUNG_OBJECTS = 20_000


@contextmanager
def resting() -> Iterator[None]:
    """While modules are loaded, which make nothing but what stays: a sixth of the time that takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def calm() -> None:
    """What is loaded by now stays: without this a busy daemon spends a tenth of its processor time on looking it through."""
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
