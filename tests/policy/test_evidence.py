"""What ledger rows say about quality: which attempts count, how much, and what a verdict changes."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cost_row import CostRow, Why
from brain_daemon.model.outcome import CostBasis, FailureKind, Reason, Status
from brain_daemon.policy.evidence import (
    NO_HISTORY,
    NOTHING,
    QUALITY,
    Judge,
    Tally,
    Verdict,
    gather,
    judged,
    summed,
    tally_of,
)
from brain_daemon.record import metrics


def row(number: int = 1, reason: Why | None = None, *, day: str = "2026-11-20", **fields) -> CostRow:
    """An attempt of `claude` on `code`; a reason makes it a failed one."""
    base = {
        "timestamp": f"{day}T12:00:00Z",
        "task_id": f"t{number}",
        "attempt_id": f"t{number}.a1.00000000",
        "attempt": 1,
        "status": Status.COMPLETED if reason is None else Status.FAILED,
        "reason": reason,
        "interface": "claude",
        "task_type": "code",
        "duration_seconds": 10.0,
    }
    return CostRow(**(base | fields))


rows = st.builds(
    row,
    st.integers(1, 40),
    st.sampled_from([None, None, *QUALITY, FailureKind.QUOTA, Reason.CANCELLED]),
    day=st.sampled_from(["2026-11-18", "2026-11-19", "2026-11-20"]),
    interface=st.sampled_from(["claude", "codex", None]),
    task_type=st.sampled_from(["code", "quick", None]),
)


def test_success_and_failure_at_the_work_itself_count() -> None:
    """Completed is good; ran and did not do it is bad."""
    found = gather([row(1), row(2), row(3, Reason.TIMED_OUT)]).on("code", "claude")
    assert (found.good, found.bad, found.judged, found.praised) == (2, 1, 3, 2)


@pytest.mark.parametrize("reason", sorted(QUALITY))
def test_a_failure_at_the_work_is_bad(reason: Why) -> None:
    """Each reason that tells about quality."""
    assert judged(row(1, reason)) is False


@pytest.mark.parametrize(
    "reason", sorted({*Reason, *FailureKind} - QUALITY, key=lambda one: (one.value, type(one).__name__))
)
def test_what_could_not_be_tried_or_was_nobodys_fault_counts_neither_way(reason: Why) -> None:
    """Limits, outages, logins, cancelled and interrupted attempts are no evidence."""
    assert judged(row(1, reason)) is None
    assert gather([row(1, reason)]).on("code", "claude") == NOTHING


def test_the_metrics_judge_by_the_same_reasons() -> None:
    """What logs/metrics/ calls a failure of quality is what is learned from."""
    assert metrics.QUALITY == QUALITY


def test_a_persons_word_goes_before_what_the_row_says() -> None:
    """Bad, although it completed, and as much as three attempts; good, although a limit stopped it."""
    bad = gather([row(1)], verdicts=[Verdict(attempt_id=row(1).attempt_id, good=False)]).on("code", "claude")
    assert (bad.good, bad.bad, bad.judged, bad.praised) == (0, 3, 1, 0)
    told = gather([row(1, FailureKind.QUOTA)], verdicts=[Verdict(attempt_id=row(1).attempt_id, good=True)])
    assert told.on("code", "claude").good == 3


@pytest.mark.parametrize("turned", [False, True])
def test_a_person_goes_before_a_proof_and_the_last_word_before_the_first(turned: bool) -> None:
    """In whichever order a proof and a person came; a person may change their mind."""
    one = row(1).attempt_id
    words = [Verdict(attempt_id=one, good=True, by=Judge.PROOF), Verdict(attempt_id=one, good=False)]
    found = gather([row(1)], verdicts=words[::-1] if turned else words).on("code", "claude")
    assert (found.good, found.bad) == (0, 3)
    again = gather([row(1)], verdicts=[*words, Verdict(attempt_id=one, good=True)]).on("code", "claude")
    assert (again.good, again.bad) == (3, 0)


def test_a_passed_proof_weighs_two_attempts() -> None:
    """More than an exit code alone, less than a person."""
    assert tally_of(row(1), Verdict(attempt_id="", good=True, by=Judge.PROOF)).good == 2


def test_a_row_that_comes_twice_counts_once() -> None:
    """A merge of two branches may bring it."""
    assert gather([row(1), row(1)]).on("code", "claude").judged == 1


def test_rows_without_an_interface_or_a_type_have_their_place() -> None:
    """No interface: nobody learns. No type: general."""
    assert gather([row(1, interface=None)]) == NO_HISTORY
    assert gather([row(1, task_type=None)]).on("general", "claude").judged == 1


def test_other_names_of_a_type_are_the_same_type() -> None:
    """As routing.md's aliases say."""
    found = gather([row(1, task_type="coding")], type_of={"coding": "code"}.__getitem__)
    assert found.on("code", "claude").judged == 1


def test_cost_and_time_are_of_attempts_that_tell_something() -> None:
    """Known costs of judged attempts, the time of completed ones, tokens where both were told."""
    priced = {"cost_usd": Decimal("0.25"), "cost_basis": CostBasis.PRICED}
    failed = row(2, Reason.TIMED_OUT, duration_seconds=600.0, **priced)
    found = gather([row(1, input_tokens=1000, output_tokens=100, **priced), failed, row(3, input_tokens=7)])
    pair = found.on("code", "claude")
    assert (pair.usd, pair.priced) == (0.5, 2)
    assert (pair.seconds, pair.timed) == (20.0, 2)
    assert (found.types["code"].input_tokens, found.types["code"].output_tokens, found.types["code"].counted) == (
        1000,
        100,
        1,
    )


def test_old_evidence_fades_and_the_plain_counts_do_not() -> None:
    """An outcome a half-life older than the newest weighs half; a person still reads how many there were."""
    found = gather([row(1, day="2026-11-10"), row(2)], half_life_days=10).on("code", "claude")
    assert found.good == pytest.approx(1.5)
    assert (found.judged, found.praised) == (2, 2)
    assert gather([row(1, day="2006-11-10"), row(2)], half_life_days=None).on("code", "claude").good == 2


@given(st.lists(rows, max_size=30))
def test_the_order_of_the_rows_says_nothing(some: list[CostRow]) -> None:
    """Equal rows, equal history: a decision can be made again from the ledger."""
    once = list({one.attempt_id: one for one in some}.values())
    assert gather(once) == gather(once[::-1])


@given(st.lists(rows, max_size=30))
def test_the_parts_add_up(some: list[CostRow]) -> None:
    """By interface and by type the same attempts are counted as in the pairs."""
    found = gather(some)
    for part in (found.interfaces, found.types):
        assert sum(one.judged for one in part.values()) == sum(one.judged for one in found.pairs.values())


def test_tallies_that_need_no_fading_make_a_history() -> None:
    """What a simulation has counted."""
    found = summed({("code", "a"): Tally(good=1, judged=1), ("quick", "a"): Tally(bad=2, judged=2)})
    assert found.interfaces["a"] == Tally(good=1, bad=2, judged=3)
    assert found.types["quick"].bad == 2
