"""What a resumed session is charged, and what is left of a task's budget."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.outcome import Cost, CostBasis, Ended, Succeeded, Usage
from brain_daemon.policy.charging import charged_so_far, left_of_budget, newly_used

COUNTS = st.none() | st.integers(0, 10**9)
USAGES = st.builds(
    Usage,
    input_tokens=COUNTS,
    cached_input_tokens=COUNTS,
    output_tokens=COUNTS,
    reasoning_tokens=COUNTS,
    requests=COUNTS,
)


def attempt(session: str | None, usage: Usage, usd: str | None) -> Attempt:
    cost = Cost(usd=None, basis=CostBasis.UNKNOWN) if usd is None else Cost(usd=Decimal(usd), basis=CostBasis.REPORTED)
    ended = Ended(
        outcome=Succeeded(text=""),
        started_at=0.0,
        finished_at=1.0,
        duration_seconds=1.0,
        usage=usage,
        cost=cost,
        client_session=session,
    )
    return Attempt(
        attempt_id="t.a1.x",
        task_id="t",
        number=1,
        state=AttemptState.ENDED,
        name="t.md",
        sha256="",
        spec=b"",
        claimant="daemon",
        claimed_at=0.0,
        ended=ended,
    )


def test_only_attempts_of_the_same_session_count_as_charged() -> None:
    """A fresh start reports from zero."""
    history = [attempt("s1", Usage(input_tokens=10, requests=1), "0.5"), attempt("s2", Usage(input_tokens=7), "0.25")]
    assert charged_so_far(history, "s1") == (Usage(input_tokens=10, requests=1), Decimal("0.5"))
    assert charged_so_far(history, None) == (Usage(), Decimal(0))


@given(st.lists(st.tuples(USAGES, USAGES), min_size=1, max_size=5))
def test_what_each_attempt_is_charged_adds_up_to_what_the_session_told(steps: list[tuple[Usage, Usage]]) -> None:
    """However often it is resumed: the client tells growing totals, and the ledger's rows add up to the last one."""
    history: list[Attempt] = []
    total = Usage()
    for grown, _ in steps:
        total = Usage(**{name: _grown(getattr(total, name), getattr(grown, name)) for name in NAMES})
        charged, _usd = charged_so_far(history, "s")
        history.append(attempt("s", newly_used(total, charged), "0"))
    for name in NAMES:
        rows = [getattr(one.ended.usage, name) for one in history if one.ended]
        assert sum(count or 0 for count in rows) == (getattr(total, name) or 0)


NAMES = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "requests")


def _grown(before: int | None, more: int | None) -> int | None:
    return before if more is None else (before or 0) + more


def test_a_client_that_tells_less_than_before_is_charged_nothing() -> None:
    """Its counter was reset, or it lies; a row is never negative."""
    assert newly_used(Usage(input_tokens=3), Usage(input_tokens=5)).input_tokens == 0


def test_the_budget_of_a_task_shrinks_with_each_attempt() -> None:
    """Never below zero; what cost an unknown sum cannot be taken off."""
    history = [attempt(None, Usage(), "0.30"), attempt(None, Usage(), None)]
    assert left_of_budget(Decimal("0.50"), history) == Decimal("0.20")
    assert left_of_budget(Decimal("0.10"), history) == Decimal(0)
    assert left_of_budget(None, history) is None
