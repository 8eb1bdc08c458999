"""The day report: each measure follows from the rows and counts given, and what is not known is not judged."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.outcome import CostBasis, FailureKind, Mode, Reason, Status
from brain_daemon.record.report import (
    FIGURES,
    Decision,
    Measure,
    Period,
    Report,
    Target,
    WindowShare,
    condition,
    facts,
    figures,
    render,
    report,
)


def row(task: str = "t", number: int = 1, *, done: bool = True, hour: int = 12, **fields) -> CostRow:
    base = {
        "timestamp": f"2026-11-20T{hour:02}:00:0{number}Z",
        "task_id": task,
        "attempt_id": f"{task}.a{number}.00000000",
        "attempt": number,
        "status": Status.COMPLETED if done else Status.FAILED,
        "reason": None if done else Reason.TOOL_FAILED,
        "interface": "claude",
        "duration_seconds": 10.0,
        "cost_usd": Decimal("0.01"),
        "cost_basis": CostBasis.PRICED,
    }
    return CostRow(**(base | fields))


def decided(task: str = "t", interface: str = "claude", **fields) -> Decision:
    return Decision(attempt_id=f"{task}.a1.00000000", interface=interface, **fields)


def measures(now: Period) -> dict[str, Measure]:
    return {one.key: one for one in report("2026-11-20", now, Period()).measures}


def test_an_attempt_complies_where_it_ran_as_decided() -> None:
    """Decisions whose attempt has no row are not judged: it may still be running."""
    rows = [row("a"), row("b", interface="codex"), row("c"), row("d")]
    found = measures(Period(rows=rows, decisions=[decided("a"), decided("b"), decided("c"), decided("gone")]))
    assert found["routing_compliance"].value == pytest.approx(2 / 3)
    assert found["routing_compliance"].met is False


def test_agreement_of_table_and_history_stands_beside_it() -> None:
    """Over the decisions where both had a word; it is not judged."""
    some = [
        decided("a", by_table="claude", by_history="claude"),
        decided("b", by_table="claude", by_history="codex"),
        decided("c", by_table="claude"),
    ]
    found = measures(Period(decisions=some))["history_agreement"]
    assert (found.value, found.met) == (0.5, None)


def test_a_task_counts_once_by_its_newest_row() -> None:
    """Failed first, completed then: completed. A cancelled one counts neither way."""
    rows = [
        row("a", 2),
        row("a", 1, done=False),
        row("b", 1, done=False, reason=FailureKind.QUOTA),
        row("c", 1, done=False, reason=Reason.CANCELLED),
    ]
    assert measures(Period(rows=rows))["completion_rate"].value == 0.5


def test_overhead_is_the_daemons_own_time() -> None:
    """Mean, median and 95th percentile of the rows that have it; judged by the mean."""
    rows = [row(f"t{n}", overhead_seconds=n / 100) for n in range(1, 21)] + [row("none")]
    found = measures(Period(rows=rows))
    assert found["overhead_mean_seconds"].value == pytest.approx(0.105)
    assert found["overhead_mean_seconds"].met
    assert (found["overhead_p50_seconds"].value, found["overhead_p95_seconds"].value) == (0.1, 0.19)


def test_counts_that_are_handed_in_are_rates() -> None:
    """Errors an attempt, failed writes of all, overridden decisions of all."""
    period = Period(
        rows=[row(f"t{n}") for n in range(4)],
        decisions=[decided("t0", overridden=True), decided("t1")],
        daemon_errors=1,
        state_writes=1000,
        failed_state_writes=1,
    )
    found = measures(period)
    assert (found["daemon_error_rate"].value, found["daemon_error_rate"].met) == (0.25, False)
    assert (found["failed_state_writes"].value, found["failed_state_writes"].met) == (0.001, False)
    assert (found["override_rate"].value, found["override_rate"].met) == (0.5, None)


@pytest.mark.parametrize(
    "period", [Period(), Period(daemon_errors=0, state_writes=0, failed_state_writes=0), Period(failed_state_writes=0)]
)
def test_an_idle_day_is_judged_by_nothing(period: Period) -> None:
    """No data is neither met nor missed."""
    found = report("2026-11-20", period, Period())
    assert {one.value for one in found.measures} == {None}
    assert found.missed == ()
    page = render(found).decode()
    assert "No target could be judged. 0 attempts, $0" in page
    assert page.count("no data") == 6
    assert "## " not in page


def test_quota_is_shown_for_each_window_beside_the_period_before() -> None:
    """And judged by the mean of the shares; a window that offered nothing has none."""
    now = [
        WindowShare(interface="claude", window="messages per 5h", used=Decimal(45), offered=Decimal(50)),
        WindowShare(interface="gemini", window="messages per day", used=Decimal(350), offered=Decimal(500)),
        WindowShare(interface="off", window="messages per day", used=Decimal(0), offered=Decimal(0)),
    ]
    before = [WindowShare(interface="claude", window="messages per 5h", used=Decimal(5), offered=Decimal(50))]
    found = report("2026-11-20", Period(windows=now), Period(windows=before))
    assert {one.key: one.value for one in found.measures}["quota_used"] == pytest.approx(0.8)
    assert [(one["share"], one["before"]) for one in facts(found)["windows"]] == [(0.9, 0.1), (0.7, None), (None, None)]
    page = render(found).decode()
    assert "| claude | messages per 5h | 45 | 50 | 90.0 % | 10.0 % |" in page
    assert "| off | messages per day | 0 | 0 | - | - |" in page


def test_no_window_is_used_more_than_whole_and_a_short_one_weighs_little() -> None:
    """What was used beyond an offer makes up for nothing left elsewhere."""
    now = [
        WindowShare(interface="a", window="d", used=Decimal(10), offered=Decimal("7.53"), weight=0.75),
        WindowShare(interface="b", window="5h", used=Decimal(4), offered=Decimal(16)),
        WindowShare(interface="c", window="d", used=Decimal(12), offered=Decimal(20), counted=Decimal(10), weight=0.25),
    ]
    found = report("2026-11-20", Period(windows=now), Period())
    assert [one["share"] for one in facts(found)["windows"]] == [1.0, 0.25, 0.5]
    assert {one.key: one.value for one in found.measures}["quota_used"] == pytest.approx((0.75 + 0.25 + 0.125) / 2)


def test_the_windows_of_an_account_count_once() -> None:
    """Two interfaces of one account use the same quota."""
    now = [
        WindowShare(interface="a", window="d", used=Decimal(10), offered=Decimal(10), account="x"),
        WindowShare(interface="b", window="d", used=Decimal(10), offered=Decimal(10), account="x"),
        WindowShare(interface="c", window="d", used=Decimal(0), offered=Decimal(10)),
    ]
    found = report("2026-11-20", Period(windows=now), Period())
    assert {one.key: one.value for one in found.measures}["quota_used"] == 0.5


def test_modes_stand_side_by_side() -> None:
    """Only those that had attempts, each with its figures and its cost."""
    rows = [
        row("a", mode=Mode.DAEMON, overhead_seconds=0.02),
        row("b", done=False, mode=Mode.BATCH),
        row("c", mode=Mode.BATCH),
    ]
    before = [row("x", mode=Mode.BATCH)]
    found = report("2026-11-20", Period(rows=rows), Period(rows=before))
    assert [(one.mode, one.tasks, one.completion, one.completion_before) for one in found.modes] == [
        (Mode.DAEMON, 1, 1.0, None),
        (Mode.BATCH, 2, 0.5, 1.0),
    ]
    page = render(found).decode()
    assert "| daemon | 1 | 1 | 100.0 % | - | 20 ms | $0.01 |" in page
    assert "| batch | 2 | 2 | 50.0 % | 100.0 % | - | $0.02 |" in page


def test_the_page_says_what_is_met_and_what_is_not() -> None:
    """A headline with the score and the money, then each measure with its target."""
    rows = [row("a", overhead_seconds=0.7), row("b", cost_usd=None, cost_basis=CostBasis.UNKNOWN)]
    page = render(report("2026-11-20", Period(rows=rows, daemon_errors=0), Period(rows=[row("x")]))).decode()
    assert page.startswith(
        "# Report 2026-11-20\n\n2 of 3 targets met. 2 attempts, $0.01 and 1 of unknown cost; the day before: 1 attempt, $0.01.\n"
    )
    assert "| tasks completed | 100.0 % | above 90.0 % | met | 100.0 % |" in page
    assert "| overhead, mean | 700 ms | below 500 ms | **not met** | - |" in page
    assert "| errors of the daemon an attempt | 0.0 % | below 1.0 % | met | - |" in page
    assert "| failed state writes | - | below 0.10 % | no data | - |" in page


def test_names_from_outside_break_no_table() -> None:
    """An interface's name is text."""
    window = WindowShare(interface="a|b\n# x", window="w", used=Decimal(1), offered=Decimal(2))
    page = render(report("2026-11-20", Period(windows=[window]), Period())).decode()
    assert "\n# x" not in page
    assert "a\\|b" in page


@pytest.mark.parametrize(
    ("above", "value", "met"), [(True, 0.95, False), (True, 0.951, True), (False, 0.5, False), (False, 0.49, True)]
)
def test_a_target_is_passed_not_reached(above: bool, value: float, met: bool) -> None:
    """Above 95 % is more than 95 %."""
    assert Target(bound=0.95 if above else 0.5, above=above).met_by(value) is met


periods = st.builds(
    Period,
    rows=st.lists(
        st.builds(
            row,
            st.sampled_from(["a", "b", "c"]),
            st.integers(1, 9),
            done=st.booleans(),
            hour=st.integers(0, 23),
            mode=st.sampled_from(list(Mode)),
            overhead_seconds=st.one_of(st.none(), st.floats(0, 100)),
        ),
        max_size=12,
        unique_by=lambda one: one.attempt_id,
    ),
    decisions=st.lists(st.builds(decided, st.sampled_from(["a", "b"]), st.sampled_from(["claude", "x"])), max_size=5),
    daemon_errors=st.one_of(st.none(), st.integers(0, 5)),
)


@given(periods, periods)
def test_the_modes_add_up_and_the_facts_are_json(now: Period, before: Period) -> None:
    """Whatever the period held; and the page has a line for each measure."""
    found: Report = report("2026-11-20", now, before)
    assert sum(one.totals.rows for one in found.modes) == found.totals.rows
    assert sum((one.totals.known_usd for one in found.modes), Decimal(0)) == found.totals.known_usd
    assert json.loads(json.dumps(facts(found)))["measures"]
    page = render(found).decode()
    assert all(f"| {one.name} |" in page for one in found.measures)


def test_a_condition_may_ask_for_every_figure_and_no_other():
    """The list that the settings allow is the one that a report has."""
    assert set(figures(report("2026-11-20", Period(), Period()))) == set(FIGURES)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("attempts < 1", True),
        ("attempts > 0", False),
        ("cost_usd<0.5", True),
        ("completion_rate < 90%", False),
        ("routing_compliance > 0", False),
    ],
)
def test_a_condition_holds_beyond_its_bound_and_never_without_data(text, holds):
    """An idle day raises no alarm about rates."""
    assert (condition(text).holds(report("2026-11-20", Period(), Period())) is not None) is holds
