"""How deep the costly tests go: a sample in `make test`, the full figures in `make test-deep`.

BRAIN_TEST_DEPTH multiplies the sample; `make test-deep` sets it so high that every count is the full one.
"""

import os
import random

DEPTH = int(os.environ.get("BRAIN_TEST_DEPTH", "1"))
SEED = int(os.environ.get("SEED", "1"))


def deep(sample: int, full: int) -> int:
    """So many this time: the sample as often as the depth says, at most the full count."""
    return min(full, sample * DEPTH)


def spread(count: int, sample: int) -> list[int]:
    """Of the moments 1..count so many, at even distances from a place that `SEED` draws, the first and the last too; deep, all."""
    few = deep(sample, count)
    if few >= count:
        return list(range(1, count + 1))
    stride = count / few
    shift = random.Random(f"{SEED} {count} {sample}").random() * stride
    return sorted({1, count, *(1 + int(shift + index * stride) for index in range(few))})
