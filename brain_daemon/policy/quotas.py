"""How much of each quota of an account is used, from what was counted here and what the client itself has said.

A quota is counted in one or two ways, and the higher figure holds: everything since the window began; and, while a client's own
report is fresh, what it said plus everything since it said so. So what a person used by hand is seen as soon as the client tells,
and what was started since then is never left out. Running attempts count with what was reserved for them.

A reset the client names goes before the declared one: a window ends when the vendor says. A report that fits no declared window
(another length, or a bare refusal) is a quota of its own, in shares of 1, until its reset.

A clock that was set forward (policy/clock.py) ends no window: each also counts as the clock as it was would have it, until it has ended
by that one too. So a jump gives nothing away, whichever of the two clocks is right. What is not promised: days that a clock which
stays wrong cuts elsewhere than the vendor does.

Nothing fails here; a figure that cannot be (not a number, a limit of nothing) is taken as not told.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from brain_daemon.model.interface import InterfaceSpec, Limits, Window
from brain_daemon.model.quantities import parse_duration
from brain_daemon.policy.clock import Jump
from brain_daemon.policy.windows import (
    DAY_SECONDS,
    MONTH_SECONDS,
    WEEK_SECONDS,
    Sliding,
    Span,
    length_seconds,
    rule_of,
    span,
)

SHARE = "share"
"""The unit of a quota whose size nobody has told: its amount is 1."""

UNDATED_SECONDS = 900.0
"""How long a report without a reset (or with an incredible one) and without a known length is believed."""

_SLACK_SECONDS = 3_600.0
_AFTER_SECONDS = 1.0
_ZERO = Decimal(0)
_CLIENT_WORDS = {
    "five_hour": 18_000.0,
    "seven_day": WEEK_SECONDS,
    "daily": DAY_SECONDS,
    "weekly": WEEK_SECONDS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What attempts use up: messages, tokens (input and output), US dollars."""

    messages: int = 0
    tokens: int = 0
    usd: Decimal = _ZERO

    def plus(self, other: "Use") -> "Use":
        """Both together."""
        return Use(messages=self.messages + other.messages, tokens=self.tokens + other.tokens, usd=self.usd + other.usd)

    def beyond(self, other: "Use") -> "Use":
        """What this is more than `other`, in each."""
        return Use(
            messages=max(0, self.messages - other.messages),
            tokens=max(0, self.tokens - other.tokens),
            usd=max(_ZERO, self.usd - other.usd),
        )

    def of(self, unit: str) -> Decimal:
        """The amount in a window's unit; nothing in a unit that is not counted here."""
        return {"messages": Decimal(self.messages), "tokens": Decimal(self.tokens), "usd": self.usd}.get(unit, _ZERO)


NOTHING = Use()
ONE_MESSAGE = Use(messages=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What was used since an instant, running attempts included; `oldest` is when the first ended one of them counted."""

    use: Use = NOTHING
    oldest: float | None = None

    def beside(self, running: Use) -> "Count":
        """The same with attempts that are running, which have no age."""
        return Count(use=self.use.plus(running), oldest=self.oldest)


Counting = Callable[[float], Count]
"""Counts everything at or after an instant (epoch seconds), and every running attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What a client said of one of its windows at `at`: a share from 0 to 1, or so much of so much, and when it ends.

    Instants are epoch seconds. A refusal for lack of quota is a share of 1.
    """

    at: float
    utilisation: float | None = None
    used: Decimal | None = None
    limit: Decimal | None = None
    resets_at: float | None = None

    @property
    def share(self) -> Decimal | None:
        """The share used, None where it was not told or cannot be."""
        if self.utilisation is not None:
            return Decimal(str(self.utilisation)) if 0 <= self.utilisation < math.inf else None
        if self.used is None or self.limit is None or self.limit <= 0 or self.used < 0:
            return None
        return self.used / self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """One way to count: `base` and everything since `at` (epoch seconds)."""

    at: float
    base: Decimal = _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One quota as it stands at an instant, not yet counted.

    The highest of the figures in `counted` holds. `resets_at` is epoch seconds; a sliding quota has `slides_seconds` instead. `jump`: the
    first of `counted` is as the clock has it that was set forward then, so what was used before leaves it later by that much.
    """

    label: str
    unit: str
    amount: Decimal
    counted: tuple[Since, ...]
    resets_at: float | None = None
    slides_seconds: float | None = None
    jump: Jump | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A quota, counted. `resets_at`: when it is, or may be, less used; None where only an end of something running helps."""

    quota: Quota
    used: Decimal
    resets_at: float | None = None

    @property
    def share(self) -> float:
        """The share used, 1 and more when nothing is left."""
        return self.share_with(_ZERO)

    def share_with(self, need: Decimal) -> float:
        """The share used once `need` more is."""
        if self.quota.amount <= 0:
            return 1.0
        return float((self.used + need) / self.quota.amount)

    def fits(self, need: Use) -> bool:
        """Whether so much more stays within the quota. What is larger than a whole quota fits while any of it is left."""
        more, amount = need.of(self.quota.unit), self.quota.amount
        return self.used < amount and (self.used + more <= amount or more > amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRoom:
    """Why a quota has no room for a task, in words, and when it may have (epoch seconds)."""

    why: str
    until: float | None = None


def account_key(spec: InterfaceSpec, brain: str) -> str:
    """Under which name use is counted: the account, shared by all brains of this user, else this brain's own interface."""
    return f"account {spec.account}" if spec.account else f"interface {brain} {spec.name}"


def windows_of(limits: Limits) -> tuple[Window, ...]:
    """All quotas that a file declares as windows; `messages_per_day` is the first of them, from midnight to midnight UTC."""
    if limits.messages_per_day is None:
        return limits.windows
    day = Window(
        unit="messages",
        amount=Decimal(limits.messages_per_day),
        per="day",
        per_seconds=DAY_SECONDS,
        resets="00:00 UTC",
    )
    return (day, *limits.windows)


def quotas_of(
    limits: Limits, reports: Mapping[str, Reported], now: float, jumps: Sequence[Jump] = ()
) -> tuple[Quota, ...]:
    """The quotas at `now` (epoch seconds): the declared ones in order, then those only the client speaks of.

    `reports` maps the client's word for a window (`five_hour`, `5h`, `weekly`; empty for a bare refusal) to its last report. `jumps`
    tell when the clock was set forward.
    """
    found = _quotas_at(limits, reports, now)
    for jump in jumps:
        heard = {name: report for name, report in reports.items() if report.at <= jump.at}
        for key, older in _quotas_at(limits, heard, now - jump.ahead_seconds).items():
            if older.counted[0].at <= jump.at:
                found[key] = _held(found.get(key), older, jump)
    return tuple(found.values())


def read(quotas: Iterable[Quota], counting: Counting) -> tuple[Reading, ...]:
    """Each quota with what is used of it."""
    return tuple(_read(quota, counting) for quota in quotas)


def concerned(quota: Quota, need: Use) -> bool:
    """Whether so much more would use anything of a quota; of one that only a client speaks of, nobody can tell, so it would."""
    return quota.unit == SHARE or need.of(quota.unit) > 0


def no_room(readings: Iterable[Reading], need: Use) -> NoRoom | None:
    """The first quota without room for `need`; None where there is room in all."""
    for reading in readings:
        if not reading.fits(need):
            return NoRoom(why=f"{_figures(reading)} used", until=reading.resets_at)
    return None


def period_seconds(name: str) -> float | None:
    """The length of the window a client calls `name`; None where the word tells none."""
    if name in _CLIENT_WORDS:
        return _CLIENT_WORDS[name]
    try:
        return parse_duration(name)
    except ValueError:
        return None


def _quotas_at(limits: Limits, reports: Mapping[str, Reported], now: float) -> dict[int | str, Quota]:
    """Those declared, by their place in the file, and those told, by the client's word."""
    windows = windows_of(limits)
    lengths = {length_seconds(window) for window in windows}
    own = {name: report for name, report in reports.items() if period_seconds(name) not in lengths}
    found: dict[int | str, Quota] = {
        place: _declared(window, _report_for(window, reports), now) for place, window in enumerate(windows)
    }
    told = {name: _told(name, report, now) for name, report in sorted(own.items())}
    return found | {name: quota for name, quota in told.items() if quota is not None}


def _held(quota: Quota | None, older: Quota, jump: Jump) -> Quota:
    """A quota, and the same by the clock as it was: both count. The window that began first says when there is less."""
    resets_at = None if older.resets_at is None else older.resets_at + jump.ahead_seconds
    by_the_older = replace(older, resets_at=resets_at, jump=jump)
    if quota is None:
        return by_the_older
    first, other = (by_the_older, quota) if older.counted[0].at < quota.counted[0].at else (quota, older)
    return replace(first, counted=(*first.counted, *other.counted))


def _report_for(window: Window, reports: Mapping[str, Reported]) -> Reported | None:
    fitting = [one for name, one in reports.items() if period_seconds(name) == length_seconds(window)]
    return max(fitting, key=lambda one: one.at, default=None)


def _declared(window: Window, report: Reported | None, now: float) -> Quota:
    rule = rule_of(window)
    ours = span(rule, now)
    label = f"{window.amount} {window.unit} per {window.per}"
    slides = rule.seconds if isinstance(rule, Sliding) else None
    reset = None if report is None else _believed_reset(report, length_seconds(window), now)
    if reset is not None:
        ours = _by_the_vendor(ours, reset, length_seconds(window), now, slides=slides is not None)
    return Quota(
        label=label,
        unit=window.unit,
        amount=window.amount,
        counted=(Since(at=_first_counted(ours, slides)), *_as_told(report, window, now)),
        resets_at=ours.end,
        slides_seconds=slides if ours.end is None else None,
    )


def _believed_reset(report: Reported, length: float, now: float) -> float | None:
    """A reset further off than the window is long belongs to something else; one that was past when it was said tells nothing."""
    reset = report.resets_at
    return reset if reset is not None and report.at < reset <= now + length + _SLACK_SECONDS else None


def _by_the_vendor(ours: Span, reset: float, length: float, now: float, *, slides: bool) -> Span:
    """The window as the vendor's reset cuts it. Past resets forget what was before them, coming ones say when it began."""
    if reset <= now:
        return Span(start=max(ours.start, reset), end=ours.end)
    began = reset - length
    if slides:
        return Span(start=began if began <= now else ours.start, end=reset)
    return Span(start=min(ours.start, began), end=reset)


def _first_counted(ours: Span, slides: float | None) -> float:
    """What is exactly as old as a sliding window is long has left it."""
    return ours.start if slides is None or ours.end is not None else math.nextafter(ours.start, math.inf)


def _as_told(report: Reported | None, window: Window, now: float) -> tuple[Since, ...]:
    if report is None or report.share is None or not _is_fresh(report, length_seconds(window), now):
        return ()
    return (Since(at=report.at, base=report.share * window.amount),)


def _is_fresh(report: Reported, length: float, now: float) -> bool:
    reset = _believed_reset(report, length, now)
    return now < (report.at + length if reset is None else reset)


def _told(name: str, report: Reported, now: float) -> Quota | None:
    """A quota only the client speaks of, while its word holds."""
    reset = _believed_reset(report, MONTH_SECONDS, now)
    until = report.at + UNDATED_SECONDS if reset is None else reset
    if report.share is None or until <= now:
        return None
    label = f"the {name} limit its client reports" if name else "the limit its client reports"
    return Quota(
        label=label, unit=SHARE, amount=Decimal(1), counted=(Since(at=report.at, base=report.share),), resets_at=until
    )


def _read(quota: Quota, counting: Counting) -> Reading:
    counts = [counting(since.at) for since in quota.counted]
    used = max(since.base + count.use.of(quota.unit) for since, count in zip(quota.counted, counts, strict=True))
    oldest = counts[0].oldest
    if quota.slides_seconds is None or oldest is None:
        return Reading(quota=quota, used=used, resets_at=quota.resets_at)
    late = quota.jump.ahead_seconds if quota.jump is not None and oldest <= quota.jump.at else 0.0
    # The second after it keeps a rounded float from waking the task while the oldest still counts.
    return Reading(quota=quota, used=used, resets_at=oldest + quota.slides_seconds + late + _AFTER_SECONDS)


def _figures(reading: Reading) -> str:
    if reading.quota.unit == SHARE:
        return f"{reading.share:.0%} of {reading.quota.label}"
    return f"{reading.used:f} of {reading.quota.label}"
