"""How many may run at once: up by parts of a slot, down by half, and never more than the memory bears."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import InterfaceType, InvokeKind
from brain_daemon.model.outcome import Cancelled, Failed, FailureKind, Succeeded
from brain_daemon.policy.concurrency import (
    CLIENT_MEMORY_BYTES,
    SMALL_MEMORY_BYTES,
    Allowance,
    after,
    bounded,
    client_bytes,
    initial,
    memory_slots,
    warming_bytes,
)

DONE = Succeeded(text="done")
LIMITED = Failed(kind=FailureKind.RATE_LIMIT, message="slow down")
MB = 1_000_000


@pytest.mark.parametrize(
    ("base", "remaining", "slots"), [(4, None, 4), (4, 100, 4), (4, 5, 2), (4, 1, 1), (4, 0, 1), (0, None, 1)]
)
def test_an_interface_starts_with_half_of_what_is_left_of_its_quota_at_most(base, remaining, slots):
    """`min(base, max(1, remaining // 2))`, and the same bound holds later."""
    assert initial(base, remaining).slots == slots
    assert bounded(initial(base), remaining) == slots


def test_as_many_successes_as_there_are_slots_add_one():
    """Up to the base."""
    allowance = Allowance(base=4, allowed=2)
    for _ in range(2):
        assert allowance.slots == 2
        allowance = after(allowance, DONE, started_at=0, now=1)
    assert allowance.slots == 3
    for _ in range(50):
        allowance = after(allowance, DONE, started_at=0, now=1)
    assert allowance.slots == 4


def test_a_rate_limit_halves_once_for_all_that_ran_side_by_side():
    """Those that started after the cut may cut again; one slot is the least."""
    cut = after(initial(8), LIMITED, started_at=1, now=5)
    assert cut.slots == 4
    assert after(cut, LIMITED, started_at=4.9, now=6) == cut
    again = after(cut, LIMITED, started_at=5, now=7)
    assert again.slots == 2
    for _ in range(5):
        again = after(again, LIMITED, started_at=9, now=9)
    assert again.slots == 1


@pytest.mark.parametrize("outcome", [Cancelled(), Failed(kind=FailureKind.QUOTA, message="spent")])
def test_other_outcomes_change_nothing(outcome):
    """A spent quota is a limit of another kind, and a fault of the task is none at all."""
    assert after(initial(8), outcome, started_at=1, now=5) == initial(8)


@given(
    base=st.integers(0, 20),
    remaining=st.one_of(st.none(), st.integers(0, 50)),
    steps=st.lists(st.tuples(st.sampled_from([DONE, LIMITED, Cancelled()]), st.floats(0, 9), st.floats(0, 9))),
)
def test_slots_stay_between_one_and_the_base(base, remaining, steps):
    """Under any order of outcomes."""
    allowance = initial(base, remaining)
    for outcome, started_at, now in steps:
        allowance = after(allowance, outcome, started_at=started_at, now=now)
        assert 1 <= allowance.slots <= max(1, base)


@pytest.mark.parametrize(
    ("kind", "of_type", "need"),
    [
        (InvokeKind.COMMAND, InterfaceType.LLM, CLIENT_MEMORY_BYTES),
        (InvokeKind.COMMAND, InterfaceType.TOOL, SMALL_MEMORY_BYTES),
        (InvokeKind.HTTP, InterfaceType.LLM, SMALL_MEMORY_BYTES),
    ],
)
def test_a_client_of_a_language_model_needs_much_and_all_else_little(kind, of_type, need):
    """What the setting says bounds both."""
    assert client_bytes(kind, of_type) == need
    assert client_bytes(kind, of_type, 10) == 10


@pytest.mark.parametrize(
    ("free_mb", "running", "warming_mb", "slots"),
    [(4000, 0, 0, 5), (4000, 3, 1300, 3), (100, 0, 0, 1), (100, 1, 0, 0), (900, 1, 650, 0), (0, 0, 0, 1)],
)
def test_memory_bears_what_is_free_less_what_will_still_be_taken(free_mb, running, warming_mb, slots):
    """With nothing running one may start on any machine."""
    found = memory_slots(free_mb * MB, 650 * MB, keep_bytes=200 * MB, warming_bytes=warming_mb * MB, running=running)
    assert found == slots


def test_only_young_attempts_are_still_growing():
    """After half a minute what they need is in the measured figure."""
    assert warming_bytes({70.0: 5, 71.0: 7, 99.0: 11}, 100.0) == 18
