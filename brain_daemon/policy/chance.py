"""Chance that can be replayed: draws that follow from a seed alone, the same on every machine and in every process.

The seed's BLAKE2b hash is the source, so nothing here keeps a state and a decision that used a draw can be made again from
its record. Not for secrets. Nothing fails; shapes and means are checked by whoever makes them.
"""

import hashlib
import math
from collections.abc import Iterator
from statistics import NormalDist

_NORMAL = NormalDist()
_WORD_BYTES = 8
_WORDS = 8


def uniform(seed: str) -> float:
    """One number above 0 and below 1."""
    return _unit(hashlib.blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=_WORD_BYTES).digest())


def uniforms(seed: str) -> Iterator[float]:
    """As many as are asked for."""
    turn = 0
    while True:
        block = hashlib.blake2b(f"{turn}:{seed}".encode("utf-8", "surrogatepass")).digest()
        for at in range(0, _WORDS * _WORD_BYTES, _WORD_BYTES):
            yield _unit(block[at : at + _WORD_BYTES])
        turn += 1


def beta(alpha: float, beta_: float, seed: str) -> float:
    """A draw from Beta(alpha, beta_), both above 0: what a rate may be, given that many successes and failures."""
    source = uniforms(seed)
    good, bad = _gamma(alpha, source), _gamma(beta_, source)
    return good / (good + bad) if good + bad > 0 else alpha / (alpha + beta_)


def lognormal(mean: float, spread: float, seed: str) -> float:
    """A duration around `mean` (not below 0); `spread` is the standard deviation of its logarithm, 0 gives the mean itself."""
    return mean * math.exp(spread * _NORMAL.inv_cdf(uniform(seed)) - spread * spread / 2)


def _unit(word: bytes) -> float:
    # 52 bits and a half are what a float holds below 1; the half keeps 0 and 1 out.
    return ((int.from_bytes(word, "big") >> 12) + 0.5) / 4_503_599_627_370_496


def _gamma(shape: float, source: Iterator[float]) -> float:
    """Marsaglia and Tsang, "A simple method for generating gamma variables" (2000); shapes below 1 by their boost."""
    if shape < 1:
        boost = next(source) ** (1 / shape)
        return float(_gamma(shape + 1, source) * boost)
    third = shape - 1 / 3
    slope = 1 / math.sqrt(9 * third)
    while True:
        normal = _NORMAL.inv_cdf(next(source))
        cube = (1 + slope * normal) ** 3
        if cube > 0 and math.log(next(source)) < normal * normal / 2 + third * (1 - cube + math.log(cube)):
            return third * cube
