"""The daily report gathered from a real journal: decisions, windows, the daemon's own counts, yesterday's page, alerts."""

import contextlib
import json
import logging
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import Tier
from brain_daemon.model.outcome import CostBasis, Reason, Status
from brain_daemon.record.questions import question_from
from brain_daemon.service.answering import answer
from brain_daemon.service.reporting import Reporter, counts_of, of_days

DAY = date(2026, 11, 20)
NOON_AFTER = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


def add(
    opened,
    number: int,
    *,
    ran: str = "echo",
    decided: str | None = "echo",
    good: bool = True,
    day: date = DAY,
    **routing,
):
    """An attempt that ended on a day, with its row."""
    attempt_id = f"t{number}.a1.0000000{number % 10}{number}"
    row = CostRow(
        timestamp=f"{day.isoformat()}T10:00:00Z",
        task_id=f"t{number}",
        attempt_id=attempt_id,
        attempt=1,
        status=Status.COMPLETED if good else Status.FAILED,
        reason=None if good else Reason.TOOL_FAILED,
        interface=ran,
        tier=Tier.FREE,
        cost_basis=CostBasis.UNKNOWN,
        overhead_seconds=0.1,
    )
    attempt = Attempt(
        attempt_id=attempt_id,
        task_id=row.task_id,
        number=1,
        state=AttemptState.STARTING,
        name=f"t{number}.md",
        sha256="0" * 64,
        spec=b"# T\n",
        claimant="daemon",
        claimed_at=1.0,
        interface=ran,
        routing={"reason": "r", **({"decided": decided} if decided else {}), **routing},
    )
    opened.journal.add([attempt])
    opened.journal.release(attempt_id)
    opened.journal.add_outcomes([row.to_values()])


@pytest.fixture
def opened(brain):
    brain.echo("echo", more="limits: {messages_per_day: 10}\n")
    with contextlib.closing(brain.open()) as found:
        yield found


def candidates_of(opened):
    return opened.registry().candidates({})


def value(found, key: str) -> float | None:
    return next(one.value for one in found.measures if one.key == key)


def test_compliance_counts_attempts_that_ran_where_they_were_sent(opened):
    """Those without a written decision are in neither count; agreement needs both opinions."""
    add(opened, 1, by_table="echo", by_history="echo")
    add(opened, 2, by_table="echo", by_history="other")
    add(opened, 3, ran="other")
    add(opened, 4, overridden=True)
    add(opened, 5, decided=None)
    found = of_days(opened.journal, candidates_of(opened), DAY, DAY, NOON_AFTER)
    assert value(found, "routing_compliance") == 0.75
    assert value(found, "history_agreement") == 0.5
    assert value(found, "override_rate") == 0.25


def test_windows_show_what_was_used_of_what_was_offered(opened):
    """Over a whole day that is the amount of the day; over a span, so many times as much."""
    for number in range(5):
        add(opened, number)
    day = of_days(opened.journal, candidates_of(opened), DAY, DAY, NOON_AFTER)
    ((share, _),) = [one for one in day.windows if one[0].interface == "echo"]
    assert (share.used, share.offered, share.share) == (5, 10, 0.5)
    two = of_days(opened.journal, candidates_of(opened), date(2026, 11, 19), DAY, NOON_AFTER)
    assert next(one for one, _ in two.windows if one.interface == "echo").offered == 20
    assert two.day == "2026-11-19 to 2026-11-20"


def test_what_could_not_work_has_offered_nothing(brain, opened):
    """A client that is not installed here is no quota left unused."""
    brain.program("gone", "no-such-program-anywhere", more="limits: {messages_per_day: 10}\n")
    add(opened, 1)
    found = of_days(opened.journal, candidates_of(opened), DAY, DAY, NOON_AFTER)
    assert [one.interface for one, _ in found.windows] == ["echo"]


def test_the_daemon_counts_its_errors_and_its_writes(opened):
    """Kept by day in the journal, added up over restarts; a day that nobody counted has no data."""
    assert value(of_days(opened.journal, [], DAY, DAY, NOON_AFTER), "daemon_error_rate") is None
    add(opened, 1)
    for _ in range(2):
        reporter = Reporter(opened, list, lambda: None, clock=lambda: NOON_AFTER - 86_400)
        reporter.start()
        logging.getLogger("brain_daemon").error("something went wrong")
        logging.getLogger("brain_daemon").warning("something is odd")
        opened.files.put(f"{opened.layout.state}/page", b"x")
        with pytest.raises(StorageError):
            opened.files.put(f"{opened.layout.state}/page/below", b"x")
        with pytest.raises(StorageError):
            opened.files.append(opened.layout.state, b"x")
        reporter.look()
        reporter.stop()
    counts = counts_of(opened.journal, [DAY.isoformat()])
    assert counts is not None
    assert (counts.errors, counts.failed_writes) == (2, 2)
    assert counts.writes >= 4
    found = of_days(opened.journal, [], DAY, DAY, NOON_AFTER)
    assert value(found, "daemon_error_rate") == 2.0
    assert value(found, "failed_state_writes") == counts.failed_writes / counts.writes


def test_yesterday_is_written_once_and_an_idle_day_not_at_all(opened, brain):
    """At the first look of the day; git is told of it."""
    add(opened, 1)
    told: list[str] = []
    reporter = Reporter(opened, lambda: candidates_of(opened), lambda: told.append("changed"), clock=lambda: NOON_AFTER)
    reporter.look()
    page = brain.root / "context/reports/2026-11-20.md"
    assert page.read_text().startswith("# Report 2026-11-20\n")
    assert told == ["changed"]
    page.unlink()
    reporter.look()
    assert not page.exists()
    later = Reporter(opened, list, lambda: None, clock=lambda: NOON_AFTER + 2 * 86_400)
    later.look()
    assert sorted(page.parent.glob("*.md")) == []


def test_a_condition_is_said_while_it_holds(brain):
    """Asked once, withdrawn when the reason is gone, and not said again that day once seen."""
    brain.echo()
    with contextlib.closing(brain.open(alerts=["completion_rate < 90%", "cost_usd > 5"])) as opened:
        now = NOON_AFTER - 86_400
        reporter = Reporter(opened, list, lambda: None, clock=lambda: now)
        reporter.look()
        assert opened.journal.questions() == {}
        add(opened, 1, good=False)
        reporter.look()
        ((document, _),) = opened.journal.questions().values()
        assert document["subject"] == "completion_rate < 90%"
        for number in range(2, 30):
            add(opened, number)
        reporter.look()
        assert opened.journal.questions() == {}
        for number in range(30, 90):
            add(opened, number, good=False)
        reporter.look()
        ((document, _),) = opened.journal.questions().values()
        answer(opened, question_from(document), "seen", by="command")
        add(opened, 91, good=False)
        reporter.look()
        assert opened.journal.questions() == {}


def test_an_alert_stands_in_the_page_of_questions(brain, cli_page):
    """With the command that shows the day."""
    assert "completion_rate < 90%" in cli_page
    assert "brain report" in cli_page


@pytest.fixture
def cli_page(brain) -> str:
    brain.echo()
    with contextlib.closing(brain.open(alerts=["completion_rate < 90%"])) as opened:
        reporter = Reporter(opened, list, lambda: None)
        add(opened, 1, good=False, day=datetime.now(UTC).date())
        reporter.look()
        recorder = opened.recorder(opened.registry(), lambda: "running")
        recorder.start()
        recorder.record()
    return brain.questions.read_text().replace("\\<", "<")


@pytest.mark.parametrize("text", ["completion < 90%", "completion_rate = 1", "cost_usd > much", ""])
def test_a_condition_that_cannot_be_is_refused_when_the_settings_are_read(brain, text):
    """With what is allowed."""
    if not text:
        with contextlib.closing(brain.open(alerts=[])) as opened:
            assert opened.config.alerts == ()
        return
    with pytest.raises(Exception, match="routing_compliance"):
        brain.open(alerts=[text])


def test_the_counts_are_plain_json(opened):
    """Whoever looks into the journal can read them."""
    reporter = Reporter(opened, list, lambda: None, clock=lambda: NOON_AFTER)
    opened.files.put(f"{opened.layout.state}/page", b"x")
    reporter.look()
    assert set(json.loads(opened.journal.get("counts_2026-11-21"))) == {"errors", "writes", "failed_writes"}
    assert replace(counts_of(opened.journal, ["2026-11-21"]), writes=0) is not None
