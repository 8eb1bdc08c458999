"""The daily report: gathered from the index and the journal, written to context/reports/DAY.md, and watched by alert conditions.

The daemon's own errors and writes to the disk are counted while it runs and kept by day in the journal; what a killed daemon had
counted since the last look (a minute) is lost, and days on which nobody counted say so. Blocks; opens a journal connection of its own.

Failures: a disk error leaves as StorageError; the next look tries again.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.interface import InterfaceSpec, Window
from brain_daemon.policy.eligibility import Candidate
from brain_daemon.policy.quotas import windows_of
from brain_daemon.policy.windows import Calendar, Rule, length_seconds, rule_of, span
from brain_daemon.record.questions import Question, QuestionKind
from brain_daemon.record.report import Condition, Decision, Period, Report, WindowShare, condition, render, report
from brain_daemon.service import inquiries
from brain_daemon.service.brain import Brain
from brain_daemon.service.daemon_log import LOGGER
from brain_daemon.service.harvesting import HARVESTED
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal

DAY_SECONDS = 86_400.0
_COUNTS = "counts_"
_REPORTED = "reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a daemon counted of itself on a day."""

    errors: int = 0
    writes: int = 0
    failed_writes: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            errors=self.errors + other.errors,
            writes=self.writes + other.writes,
            failed_writes=self.failed_writes + other.failed_writes,
        )


def counts_of(journal: Journal, days: Iterable[str]) -> Counts | None:
    """The counts of these days together; None where nobody counted."""
    found = [Counts(**json.loads(told)) for day in days if (told := journal.get(_COUNTS + day)) is not None]
    total = Counts()
    for one in found:
        total = total.plus(one)
    return total if found else None


# Gathering


def page_path(brain: Brain, day: str) -> str:
    """Where the report of a day stands."""
    return brain.layout.inside("context", "reports", f"{day}.md")


def of_days(journal: Journal, candidates: Sequence[Candidate], first: date, last: date, now: float) -> Report:
    """The report on the UTC days from `first` to `last`, both included, beside as many days before them."""
    length = (last - first).days + 1
    before = first - timedelta(days=length)
    span = "the day before" if length == 1 else f"the {length} days before"
    name = first.isoformat() if length == 1 else f"{first.isoformat()} to {last.isoformat()}"
    return report(
        name,
        period(journal, candidates, first, length, now),
        period(journal, candidates, before, length, now),
        span=span,
    )


def period(journal: Journal, candidates: Sequence[Candidate], first: date, length: int, now: float) -> Period:
    """What is known of `length` UTC days; of a day that is not over, so far."""
    days = [(first + timedelta(days=number)).isoformat() for number in range(length)]
    rows = [CostRow.from_values(values) for day in days for values in journal.outcomes(day=day)]
    counts = counts_of(journal, days)
    start = datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()
    return Period(
        rows=rows,
        decisions=decisions(journal, rows),
        windows=tuple(window_shares(journal, candidates, start, min(start + length * DAY_SECONDS, max(now, start)))),
        daemon_errors=None if counts is None else counts.errors,
        state_writes=None if counts is None else counts.writes,
        failed_state_writes=None if counts is None else counts.failed_writes,
    )


def decisions(journal: Journal, rows: Iterable[CostRow]) -> Sequence[Decision]:
    """What was decided before each of these attempts, of those the journal still knows and a decision was made for."""
    found: list[Decision] = []
    for attempt_id, (claimant, routing) in journal.routings(row.attempt_id for row in rows if row.interface).items():
        if "decided" in routing:
            found.append(
                Decision(
                    attempt_id=attempt_id,
                    interface=str(routing["decided"]),
                    by_table=routing.get("by_table"),
                    by_history=routing.get("by_history"),
                    overridden=bool(routing.get("overridden")) or claimant != "daemon",
                    harvested=bool(routing.get(HARVESTED)),
                )
            )
    return found


def window_shares(journal: Journal, candidates: Sequence[Candidate], start: float, end: float) -> Iterator[WindowShare]:
    """What each interface offered from `start` to `end` (epoch seconds), and what was used of it.

    Windows of the calendar that ended in that time count whole, also what was used of them before `start`; the one that was running at
    `end` counts from its beginning by the part that had passed. A sliding window offers its amount once in each of its lengths.
    An interface that cannot work and has not worked has offered nothing.
    """
    windows = [(entry, window, rule_of(window)) for entry in candidates for window in windows_of(entry.spec.limits)]
    began = min((span(rule, start).start for _, _, rule in windows if isinstance(rule, Calendar)), default=start)
    used = _use_by_account(journal, began, end)
    for entry, window, rule in windows:
        spec = entry.spec
        own = used.get(spec.account or spec.name, [])
        if entry.usable or any(at >= start for at, _ in own):
            yield _share(spec, window, list(_pieces(window, rule, own, start, end)))


_Row = tuple[float, CostRow]
_Piece = tuple[Decimal, Decimal]


def _use_by_account(journal: Journal, start: float, end: float) -> Mapping[str, Sequence[_Row]]:
    """What ended from `start` up to `end` on each account, or on an interface that names none, with its instant."""
    found: dict[str, list[_Row]] = {}
    since = datetime.fromtimestamp(start, UTC).date().isoformat()
    for row in map(CostRow.from_values, journal.outcomes(since=since)):
        at = datetime.fromisoformat(row.timestamp).timestamp()
        name = row.interface and (row.account or row.interface)
        if name and start <= at < end:
            found.setdefault(name, []).append((at, row))
    return found


def _pieces(window: Window, rule: Rule, rows: Sequence[_Row], start: float, end: float) -> Iterator[_Piece]:
    """Each single window: what was used of it by `end`, and what it had offered by then; one that slides is a single stretch."""
    if not isinstance(rule, Calendar):
        lengths = Decimal(str((end - start) / length_seconds(window)))
        yield _used(window, rows, start, end), window.amount * lengths
        return
    one = span(rule, start)
    while one.end is not None and one.start < end:
        passed = Decimal(str(min(1.0, (end - one.start) / (one.end - one.start))))
        yield _used(window, rows, one.start, one.end), window.amount * passed
        one = span(rule, one.end)


def _used(window: Window, rows: Sequence[_Row], start: float, end: float) -> Decimal:
    return sum((_amount(row, window.unit) for at, row in rows if start <= at < end), Decimal(0))


def _share(spec: InterfaceSpec, window: Window, pieces: Sequence[_Piece]) -> WindowShare:
    offered = sum((offered for _, offered in pieces), Decimal(0))
    return WindowShare(
        interface=spec.name,
        window=f"{window.unit} per {window.per}",
        used=sum((used for used, _ in pieces), Decimal(0)),
        offered=offered.quantize(Decimal("0.01")),
        counted=sum((min(used, offered) for used, offered in pieces), Decimal(0)),
        weight=min(1.0, float(offered / window.amount)) if window.amount else 0.0,
        account=spec.account or "",
    )


def _amount(row: CostRow, unit: str) -> Decimal:
    if unit == "usd":
        return row.cost_usd or Decimal(0)
    if unit == "tokens":
        return Decimal((row.input_tokens or 0) + (row.output_tokens or 0))
    return Decimal(1)


def write(brain: Brain, files: Files, day: str, found: Report) -> None:
    """Keep the page; it is committed with the next group."""
    files.put(page_path(brain, day), render(found))


# The daemon's own look


class ErrorCount(logging.Handler):
    """Counts what the daemon logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.errors += 1


class Reporter:
    """Counts while the daemon runs, writes the report of the day that is over, and asks while an alert condition holds.

    `candidates` gives the interfaces of now, `changed` is called when there is something new for git or the person. `look` may be
    called from any thread, by one at a time.
    """

    def __init__(
        self,
        brain: Brain,
        candidates: Callable[[], Sequence[Candidate]],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._brain = brain
        self._candidates = candidates
        self._changed = changed
        self._clock = clock
        self._conditions = [condition(text) for text in brain.config.alerts]
        self._handler = ErrorCount()
        self._kept = Counts(writes=brain.files.writes, failed_writes=brain.files.failed_writes)
        self._judged: tuple[str, int] | None = None

    def start(self) -> None:
        """Begin to count errors."""
        logging.getLogger(LOGGER).addHandler(self._handler)

    def stop(self) -> None:
        """Keep what was counted, and end."""
        logging.getLogger(LOGGER).removeHandler(self._handler)
        self._with_journal(self._keep_counts)

    def look(self) -> None:
        """Keep the counts, write yesterday's report if it is due, judge the conditions."""
        self._with_journal(self._look)

    def _with_journal(self, act: Callable[[Journal], None]) -> None:
        # Its own `Files`, so that counting is not counted.
        journal = Journal(self._brain.layout.journal, Files(), durable=False)
        try:
            act(journal)
        finally:
            journal.close()

    def _look(self, journal: Journal) -> None:
        self._keep_counts(journal)
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        told = self._write_yesterday(journal, today - timedelta(days=1))
        told = self._judge(journal, today) or told
        if told:
            self._changed()

    def _keep_counts(self, journal: Journal) -> None:
        files = self._brain.files
        now = Counts(errors=self._handler.errors, writes=files.writes, failed_writes=files.failed_writes)
        new = Counts(
            errors=now.errors - self._kept.errors,
            writes=now.writes - self._kept.writes,
            failed_writes=now.failed_writes - self._kept.failed_writes,
        )
        if new == Counts():
            return
        day = datetime.fromtimestamp(self._clock(), UTC).date().isoformat()
        total = (counts_of(journal, [day]) or Counts()).plus(new)
        kept = {"errors": total.errors, "writes": total.writes, "failed_writes": total.failed_writes}
        journal.set(_COUNTS + day, json.dumps(kept))
        self._kept = now

    def _write_yesterday(self, journal: Journal, day: date) -> bool:
        """Once, at midnight UTC or at the first start of the day; a day on which nothing ended has no page."""
        if (journal.get(_REPORTED) or "") >= day.isoformat():
            return False
        found = of_days(journal, self._candidates(), day, day, self._clock())
        if found.totals.rows:
            write(self._brain, self._brain.files, day.isoformat(), found)
        journal.set(_REPORTED, day.isoformat())
        return bool(found.totals.rows)

    def _judge(self, journal: Journal, today: date) -> bool:
        """Put a line into prompts/pending.md for each condition that holds today, and take it back when it does not; whether any was."""
        standing = {
            key: document
            for key, (document, _) in journal.questions().items()
            if document["kind"] == QuestionKind.ALERT
        }
        state = (today.isoformat(), journal.newest_outcome())
        if state == self._judged or not (self._conditions or standing):
            return False
        self._judged = state
        found = of_days(journal, self._candidates(), today, today, self._clock()) if self._conditions else None
        held = {} if found is None else _held(self._conditions, found, today.isoformat())
        stale = [key for key in standing if key not in held]
        asked = [
            inquiries.ask(journal, question)
            for key, question in held.items()
            if journal.get(inquiries.SEEN + key) is None
        ]
        return any([*(journal.withdraw(key) for key in stale), *asked])


def _held(conditions: Iterable[Condition], found: Report, day: str) -> Mapping[str, Question]:
    questions = [inquiries.alert(one.text, value, day) for one in conditions if (value := one.holds(found)) is not None]
    return {question.id: question for question in questions}
