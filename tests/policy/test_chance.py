"""Draws that follow from a seed: the same everywhere, and spread as they should be."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.policy import chance

MANY = 4_000
UNIFORM = 0.9239751773544987
BETA = 0.9577651213120285


def test_a_seed_always_gives_the_same_draws() -> None:
    """Written down once: another machine, process or release must come to the same numbers."""
    assert chance.uniform("task-1") == pytest.approx(UNIFORM, abs=1e-15)
    assert chance.beta(30, 4, "task-1") == pytest.approx(BETA, abs=1e-12)


@given(st.text())
def test_a_uniform_draw_is_never_quite_0_or_1(seed: str) -> None:
    """Whatever the seed is, lone surrogates of a broken file name too."""
    assert 0 < chance.uniform(seed) < 1
    assert chance.uniform(seed) == chance.uniform(seed)


@pytest.mark.parametrize("word", [b"\x00" * 8, b"\xff" * 8])
def test_the_ends_of_the_range_are_left_out(word: bytes) -> None:
    """The smallest and the largest hash there can be."""
    assert 0 < chance._unit(word) < 1


def test_other_seeds_give_other_draws() -> None:
    """A thousand ids, a thousand numbers."""
    assert len({chance.uniform(f"task-{n}") for n in range(1000)}) == 1000


def test_a_stream_goes_on_beyond_its_first_block() -> None:
    """More numbers than one hash holds, none of them twice."""
    source = chance.uniforms("task-1")
    assert len({next(source) for _ in range(100)}) == 100


@pytest.mark.parametrize(("alpha", "beta"), [(30, 4), (2, 2), (0.3, 29.7), (1, 1), (0.5, 0.5), (500, 20)])
def test_beta_draws_have_the_mean_and_the_width_of_their_distribution(alpha: float, beta: float) -> None:
    """Within what that many draws allow."""
    draws = [chance.beta(alpha, beta, f"{n}") for n in range(MANY)]
    mean = alpha / (alpha + beta)
    variance = mean * (1 - mean) / (alpha + beta + 1)
    assert all(0 <= one <= 1 for one in draws)
    assert statistics.fmean(draws) == pytest.approx(mean, abs=5 * math.sqrt(variance / MANY))
    assert statistics.pvariance(draws) == pytest.approx(variance, rel=0.15)


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6), st.text(max_size=20))
def test_a_beta_draw_is_a_rate(alpha: float, beta: float, seed: str) -> None:
    """For any shape a belief can have."""
    assert 0 <= chance.beta(alpha, beta, seed) <= 1


def test_a_shape_too_small_for_a_float_gives_the_mean() -> None:
    """Both gamma draws vanish; their ratio is not asked for."""
    assert chance.beta(1e-8, 3e-8, "x") == pytest.approx(0.25)


def test_durations_have_the_mean_that_was_asked_for() -> None:
    """And no spread gives the mean itself."""
    draws = [chance.lognormal(40.0, 0.5, f"{n}") for n in range(MANY)]
    assert min(draws) > 0
    assert statistics.fmean(draws) == pytest.approx(40.0, rel=0.05)
    assert chance.lognormal(40.0, 0.0, "any") == 40.0
