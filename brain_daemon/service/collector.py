"""Python's cycle collector in a process that lives for weeks."""

import gc

_YOUNG_OBJECTS = 20_000


def calm() -> None:
    """What is loaded by now stays: without this a busy daemon spends a tenth of its processor time on looking it through."""
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
