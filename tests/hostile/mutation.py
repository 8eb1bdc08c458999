"""Good files made bad: a few random changes to one of some seeds, the same for the same random numbers."""

from collections.abc import Callable, Sequence
from random import Random

from tests.hostile.corpus import PIECES

MOST_BYTES = 65_536


def mutated(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with one to eight changes."""
    data = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4, 8))):
        data = random.choice(_CHANGES)(random, data, seeds)[:MOST_BYTES]
    return data


def _span(random: Random, data: bytes, most: int = 40) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.randint(0, most))


def _insert(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    at, _ = _span(random, data)
    return data[:at] + random.choice(PIECES) + data[at:]


def _replace(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    start, end = _span(random, data)
    return data[:start] + random.choice(PIECES) + data[end:]


def _remove(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    start, end = _span(random, data)
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    start, end = _span(random, data)
    return data[:start] + data[start:end] * random.choice((2, 2, 3, 10, 500)) + data[end:]


def _change_byte(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    if not data:
        return bytes([random.randrange(256)])
    at = random.randrange(len(data))
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def _cut(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    at, _ = _span(random, data)
    return data[:at] if random.random() < 0.5 else data[at:]


def _splice(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = random.choice(seeds)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _swap_lines(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) > 1:
        one, other = random.randrange(len(lines)), random.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _indent(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        at = random.randrange(len(lines))
        lines[at] = b" " * random.randint(1, 6) + lines[at]
    return b"".join(lines)


def _line_ends(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    return data.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\n", b"\x0b")))


_CHANGES: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _insert,
    _insert,
    _insert,
    _replace,
    _replace,
    _remove,
    _repeat,
    _change_byte,
    _cut,
    _splice,
    _swap_lines,
    _indent,
    _line_ends,
)
