"""context/reports/DAY.md: how well a day went, against the targets, beside the period before.

All of it follows from ledger rows and the counts that whoever asks hands in; equal inputs give equal bytes. A measure without data
is `None`, said as "no data" and neither met nor missed: an idle day is no bad day. Amounts are exact, and a cost nobody knows
is counted beside the sum. Each task counts once, by its newest row; what a person cancelled is neither completed nor failed.
Nothing fails.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.outcome import Mode, Reason, Status
from brain_daemon.record.ledger import Totals, total
from brain_daemon.record.metrics import percentile
from brain_daemon.record.wording import dollars, markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided before an attempt: the interface, and where routing.md and history by itself would have gone.

    `overridden` says that a person decided otherwise than the policies: `brain release --paid`, an answer, a claim. `harvested`: it was
    drawn forward to a window that would have lapsed.
    """

    attempt_id: str
    interface: str
    by_table: str | None = None
    by_history: str | None = None
    overridden: bool = False
    harvested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowShare:
    """One quota window of an interface over the period, in its own unit: how much of it was used, and how much offered.

    `counted` is what is counted of the use: of each single window no more than it offered; None: all of it. `weight` is how many of
    them were offered, at most one: a window that has just begun says little. Interfaces of one `account` use the same windows.
    """

    interface: str
    window: str
    used: Decimal
    offered: Decimal
    counted: Decimal | None = None
    weight: float = 1.0
    account: str = ""

    @property
    def share(self) -> float | None:
        """Used of offered, 0 to 1; None where nothing was offered."""
        counted = self.used if self.counted is None else self.counted
        return min(1.0, float(counted / self.offered)) if self.offered else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What is known of a day, or of any other stretch. Counts that nobody kept are None."""

    rows: Sequence[CostRow] = ()
    decisions: Sequence[Decision] = ()
    windows: Sequence[WindowShare] = ()
    daemon_errors: int | None = None
    state_writes: int | None = None
    failed_state_writes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a measure should be: above, or below, a bound in the measure's own unit."""

    bound: float
    above: bool = False

    def met_by(self, value: float) -> bool:
        return value > self.bound if self.above else value < self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure of the report; shares are 0 to 1, durations seconds. `target` None: shown, not judged."""

    key: str
    name: str
    value: float | None
    before: float | None
    target: Target | None = None
    unit: str = "share"

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or without data."""
        return None if self.target is None or self.value is None else self.target.met_by(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeFigures:
    """The same few figures for the attempts of one mode."""

    mode: Mode
    tasks: int
    attempts: int
    completion: float | None
    completion_before: float | None
    overhead_seconds: float | None
    totals: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that the page shows. `span` says in words what the period before is: `the day before`."""

    day: str
    span: str
    measures: tuple[Measure, ...]
    windows: tuple[tuple[WindowShare, float | None], ...]
    modes: tuple[ModeFigures, ...]
    totals: Totals
    totals_before: Totals = field(default_factory=Totals)

    @property
    def missed(self) -> tuple[Measure, ...]:
        """The measures that do not meet their target: what an alert names."""
        return tuple(one for one in self.measures if one.met is False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something about a report that a person wants to hear of: a figure above or below a bound. `text` is how it was written."""

    text: str
    key: str
    bound: float
    above: bool

    def holds(self, found: "Report") -> float | None:
        """The figure where it is beyond the bound; None where it is not, or there is no data."""
        value = figures(found).get(self.key)
        beyond = value is not None and (value > self.bound if self.above else value < self.bound)
        return value if beyond else None


def condition(text: str) -> Condition:
    """A condition such as `completion_rate < 90%` or `cost_usd > 20`; ValueError says what is allowed."""
    match = _CONDITION.fullmatch(text.strip())
    if match is None or match["key"] not in FIGURES:
        raise ValueError(
            f"a figure, < or >, and a number, such as completion_rate < 90%; figures: {', '.join(FIGURES)}"
        )
    bound = float(match["bound"]) / (100 if match["percent"] else 1)
    return Condition(text=text.strip(), key=match["key"], bound=bound, above=match["sign"] == ">")


def figures(found: "Report") -> Mapping[str, float | None]:
    """What a condition may ask of a report, by the names of `FIGURES`."""
    told: dict[str, float | None] = {one.key: one.value for one in found.measures}
    return told | {
        "cost_usd": float(found.totals.known_usd),
        "unknown_costs": float(found.totals.unknown),
        "attempts": float(found.totals.rows),
    }


FIGURES = (
    "routing_compliance",
    "history_agreement",
    "completion_rate",
    "quota_used",
    "overhead_mean_seconds",
    "overhead_p50_seconds",
    "overhead_p95_seconds",
    "daemon_error_rate",
    "failed_state_writes",
    "override_rate",
    "harvested",
    "cost_usd",
    "unknown_costs",
    "attempts",
)
_CONDITION = re.compile(r"(?P<key>[a-z0-9_]+)\s*(?P<sign>[<>])\s*(?P<bound>\d+(?:\.\d+)?)\s*(?P<percent>%?)")

WINDOW_TARGET = Target(bound=0.8, above=True)


def report(day: str, now: Period, before: Period, *, span: str = "the day before") -> Report:
    """The report on a period beside the one before it."""
    return Report(
        day=day,
        span=span,
        measures=tuple(_measures(now, before)),
        windows=tuple((one, _window_before(one, before)) for one in now.windows),
        modes=tuple(_modes(now, before)),
        totals=total(now.rows),
        totals_before=total(before.rows),
    )


def _measures(now: Period, before: Period) -> Iterable[Measure]:
    def measure(
        key: str, name: str, of: Callable[[Period], float | None], target: Target | None = None, unit: str = "share"
    ) -> Measure:
        return Measure(key=key, name=name, value=of(now), before=of(before), target=target, unit=unit)

    yield measure("routing_compliance", "ran where the decision said", _compliance, Target(bound=0.95, above=True))
    yield measure("history_agreement", "routing.md and history agree", _agreement)
    yield measure(
        "completion_rate", "tasks completed", lambda one: _completion(one.rows), Target(bound=0.9, above=True)
    )
    yield measure("quota_used", "quota used of offered", _quota, WINDOW_TARGET)
    yield measure(
        "overhead_mean_seconds", "overhead, mean", lambda one: _mean(_overheads(one)), Target(bound=0.5), "seconds"
    )
    yield measure("overhead_p50_seconds", "overhead, p50", lambda one: percentile(_overheads(one), 50), None, "seconds")
    yield measure("overhead_p95_seconds", "overhead, p95", lambda one: percentile(_overheads(one), 95), None, "seconds")
    yield measure("daemon_error_rate", "errors of the daemon an attempt", _error_rate, Target(bound=0.01))
    yield measure("failed_state_writes", "failed state writes", _failed_writes, Target(bound=0.001))
    yield measure("override_rate", "decisions a person overrode", _overrides)
    yield measure("harvested", "drawn forward before a reset", _harvested)


def _compliance(period: Period) -> float | None:
    ran = {row.attempt_id: row.interface for row in period.rows}
    followed = [ran[one.attempt_id] == one.interface for one in period.decisions if one.attempt_id in ran]
    return _share(sum(followed), len(followed))


def _agreement(period: Period) -> float | None:
    both = [one for one in period.decisions if one.by_table is not None and one.by_history is not None]
    return _share(sum(one.by_table == one.by_history for one in both), len(both))


def _completion(rows: Iterable[CostRow]) -> float | None:
    ended = _ended(rows)
    return _share(sum(row.status is Status.COMPLETED for row in ended), len(ended))


def _ended(rows: Iterable[CostRow]) -> list[CostRow]:
    """The newest row of each task that ended by itself."""
    newest: dict[str, CostRow] = {}
    for row in sorted(rows, key=lambda row: (row.timestamp, row.attempt)):
        newest[row.task_id] = row
    return [row for row in newest.values() if row.reason is not Reason.CANCELLED]


def _quota(period: Period) -> float | None:
    """The mean of the shares by weight, each window of an account once: their units differ, so amounts cannot be added."""
    once = {(one.account or one.interface, one.window): one for one in period.windows}
    shares = [(one.share, one.weight) for one in once.values() if one.share is not None]
    weight = sum(weight for _, weight in shares)
    return sum(share * weight for share, weight in shares) / weight if weight else None


def _overheads(period: Period) -> list[float]:
    return sorted(row.overhead_seconds for row in period.rows if row.overhead_seconds is not None)


def _error_rate(period: Period) -> float | None:
    return None if period.daemon_errors is None else _share(period.daemon_errors, len(period.rows))


def _failed_writes(period: Period) -> float | None:
    if period.failed_state_writes is None or period.state_writes is None:
        return None
    return _share(period.failed_state_writes, period.state_writes)


def _overrides(period: Period) -> float | None:
    return _share(sum(one.overridden for one in period.decisions), len(period.decisions))


def _harvested(period: Period) -> float | None:
    return _share(sum(one.harvested for one in period.decisions), len(period.decisions))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _window_before(one: WindowShare, before: Period) -> float | None:
    return next((b.share for b in before.windows if (b.interface, b.window) == (one.interface, one.window)), None)


def _modes(now: Period, before: Period) -> Iterable[ModeFigures]:
    for mode in Mode:
        rows = [row for row in now.rows if row.mode is mode]
        if rows:
            yield ModeFigures(
                mode=mode,
                tasks=len({row.task_id for row in rows}),
                attempts=len(rows),
                completion=_completion(rows),
                completion_before=_completion(row for row in before.rows if row.mode is mode),
                overhead_seconds=_mean(_overheads(Period(rows=rows))),
                totals=total(rows),
            )


# What is printed


def facts(found: Report) -> dict[str, Any]:
    """The report as plain values, amounts as text with every digit."""
    return {
        "day": found.day,
        "measures": [
            {
                "key": one.key,
                "value": _rounded(one.value),
                "before": _rounded(one.before),
                "target": None if one.target is None else one.target.bound,
                "met": one.met,
            }
            for one in found.measures
        ],
        "windows": [
            {
                "interface": one.interface,
                "window": one.window,
                "used": format(one.used, "f"),
                "offered": format(one.offered, "f"),
                "share": _rounded(one.share),
                "before": _rounded(before),
            }
            for one, before in found.windows
        ],
        "modes": [
            {
                "mode": one.mode.value,
                "tasks": one.tasks,
                "attempts": one.attempts,
                "completion_rate": _rounded(one.completion),
                "before": _rounded(one.completion_before),
                "overhead_mean_seconds": _rounded(one.overhead_seconds),
                **_cost_facts(one.totals),
            }
            for one in found.modes
        ],
        "total": {"attempts": found.totals.rows, **_cost_facts(found.totals)},
        "before": {"attempts": found.totals_before.rows, **_cost_facts(found.totals_before)},
    }


def render(found: Report) -> bytes:
    """The page, UTF-8."""
    parts = (
        f"# Report {found.day}\n\n{_headline(found)}",
        _table(
            ("", "value", "target", "", found.span),
            [
                (one.name, _figure(one, one.value), _target(one), _judgement(one), _figure(one, one.before))
                for one in found.measures
            ],
        ),
        _section(
            "Quota by window",
            ("interface", "window", "used", "offered", "share", found.span),
            map(_window, found.windows),
        ),
        _section(
            "By mode",
            ("mode", "tasks", "attempts", "completed", found.span, "overhead, mean", "cost"),
            map(_mode, found.modes),
        ),
    )
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def _headline(found: Report) -> str:
    judged = [one for one in found.measures if one.met is not None]
    met = f"{len(judged) - len(found.missed)} of {len(judged)} targets met" if judged else "No target could be judged"
    return f"{met}. {_spent(found.totals)}; {found.span}: {_spent(found.totals_before)}."


def _spent(totals: Totals) -> str:
    attempts = "1 attempt" if totals.rows == 1 else f"{totals.rows:,} attempts"
    return f"{attempts}, {_cost(totals)}"


def _cost(totals: Totals) -> str:
    unknown = f" and {totals.unknown:,} of unknown cost" if totals.unknown else ""
    return f"{dollars(totals.known_usd)}{unknown}"


def _cost_facts(totals: Totals) -> Mapping[str, Any]:
    return {"cost_usd": format(totals.known_usd, "f"), "unknown_costs": totals.unknown}


def _judgement(measure: Measure) -> str:
    if measure.target is None:
        return ""
    return "no data" if measure.met is None else "met" if measure.met else "**not met**"


def _target(measure: Measure) -> str:
    if measure.target is None:
        return ""
    return f"{'above' if measure.target.above else 'below'} {_said(measure, measure.target.bound)}"


def _figure(measure: Measure, value: float | None) -> str:
    return "-" if value is None else _said(measure, value)


def _said(measure: Measure, value: float) -> str:
    return f"{value * 1000:,.0f} ms" if measure.unit == "seconds" else _percent(value)


def _percent(share: float | None) -> str:
    """One digit after the point; a small share keeps what is above nothing visible."""
    if share is None:
        return "-"
    return f"{share * 100:.2f} %" if 0 < share < 0.01 else f"{share * 100:.1f} %"


def _window(entry: tuple[WindowShare, float | None]) -> Sequence[str]:
    one, before = entry
    return (
        markdown(one.interface),
        markdown(one.window),
        f"{one.used:,f}",
        f"{one.offered:,f}",
        _percent(one.share),
        _percent(before),
    )


def _mode(one: ModeFigures) -> Sequence[str]:
    overhead = "-" if one.overhead_seconds is None else f"{one.overhead_seconds * 1000:,.0f} ms"
    figures = (_percent(one.completion), _percent(one.completion_before), overhead)
    return (one.mode.value, f"{one.tasks:,}", f"{one.attempts:,}", *figures, _cost(one.totals))


def _section(name: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = list(rows)
    return f"## {name}\n\n{_table(heads, body)}" if body else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table: the first column to the left, the others to the right."""
    line = "|---|" + "--:|" * (len(heads) - 1)
    return "\n".join(("| " + " | ".join(heads) + " |", line, *("| " + " | ".join(row) + " |" for row in rows)))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
