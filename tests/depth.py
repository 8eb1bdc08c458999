"""How deep the costly tests go: a sample in `make test`, the full figures in `make test-deep`.

BRAIN_TEST_DEPTH multiplies the sample; `make test-deep` sets it so high that every count is the full one.
"""

import os

DEPTH = int(os.environ.get("BRAIN_TEST_DEPTH", "1"))


def deep(sample: int, full: int) -> int:
    """So many this time: the sample as often as the depth says, at most the full count."""
    return min(full, sample * DEPTH)
