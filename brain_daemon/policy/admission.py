"""May a routed task start now, and on which interface; if not, until when or until what.

Along the ranking the first interface with room is taken, within two bounds. It never comes to cost money that the first choice
would not have cost, except where `on_limit: fallback` or a person's answer says so: from a free rung a task may go to a
subscription, and to a paid one only if its first choice is paid itself, so that nothing cheaper could do it. And a last resort
is taken only where the first choice is one: a task waits for a good interface rather than going to a poor one.

The counts are given; whoever keeps them counts running attempts too and sums over the interfaces of one account.
Nothing fails here: no room is the value `Hold`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

from brain_daemon.model.interface import Limits, Tier, Window
from brain_daemon.model.task import OnLimit
from brain_daemon.policy.routing import Choice, Ranked

_MINUTE_SECONDS = 60.0
_DAY_SECONDS = 86_400.0
_DEAR = frozenset({Tier.PAID, Tier.FALLBACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Room for attempts: free ones in the whole brain, running ones by interface, and the cap for an interface that declares none.

    `caps` are what an interface bears at present, where that is less than it declares.
    """

    total_free: int
    running: Mapping[str, int] = field(default_factory=dict)
    per_interface: int | None = None
    caps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What is used of one declared window; `resets_at` is epoch seconds, None where nobody knows."""

    amount: Decimal
    resets_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What an interface has used. The `_resets_at` are epoch seconds; None is a full minute on, or the next midnight UTC.

    `windows` stand in the order of the interface's `limits.windows`; a missing entry is an unused window.
    """

    messages_today: int = 0
    requests_last_minute: int = 0
    tokens_last_minute: int = 0
    day_resets_at: float | None = None
    minute_resets_at: float | None = None
    windows: tuple[Spent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """Why an interface takes this task not now, though it has a slot. `until` is epoch seconds, None: until something is done.

    `dearer`: the person allows dearer interfaces meanwhile.
    """

    why: str
    until: float | None = None
    dearer: bool = False


Closed = Callable[[Ranked], Shut | None]
"""Says of an interface with a free slot whether it is shut for this task; asked in the order of the ranking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """It may start on this interface now."""

    name: str
    reason: str
    ranked: Ranked


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """It waits. `until` is epoch seconds when trying again makes sense, None: when something ends. `ask`: the person may be asked.

    `shut`: some interface has a slot for it and is shut, so no end of another task need free it. `dearer`: of one of these the
    person has said that dearer ones may be used meanwhile. `full` are those in its reach that lack nothing but a slot.
    """

    reason: str
    until: float | None = None
    ask: bool = False
    shut: bool = False
    dearer: bool = False
    full: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Full:
    """Why an interface has no room, and when it may have; `shut` where that is no matter of slots, `slots` where it is one alone."""

    why: str
    until: float | None = None
    shut: bool = False
    dearer: bool = False
    slots: bool = False


NOTHING_USED = Used()


def nothing_shut(_: Ranked) -> Shut | None:
    """For whoever knows of no limits but those in `Used`."""
    return None


def admit(
    choice: Choice,
    *,
    slots: Slots,
    now: float,
    used: Mapping[str, Used] = MappingProxyType({}),
    on_limit: OnLimit = OnLimit.WAIT,
    paid_allowed: bool = True,
    closed: Closed = nothing_shut,
) -> Start | Hold:
    """Start on the first interface of the ranking that has room, or hold. `now` and the instants in `used` are epoch seconds.

    `paid_allowed` False keeps every paid and fallback interface shut, also where it is the first choice.
    """
    if slots.total_free <= 0:
        return Hold(reason="every slot of this brain is taken")
    full: list[tuple[str, _Full]] = []
    for ranked in _in_turn(choice, on_limit, full):
        no_room = _no_room(ranked, slots, used.get(ranked.name, NOTHING_USED), now, paid_allowed=paid_allowed) or _shut(
            closed(ranked)
        )
        if no_room is None:
            return Start(name=ranked.name, reason=_why(ranked, full), ranked=ranked)
        full.append((ranked.name, no_room))
    return _hold(full, ask=on_limit is OnLimit.ASK and _dearer(choice))


def _in_turn(choice: Choice, on_limit: OnLimit, full: list[tuple[str, _Full]]) -> Iterator[Ranked]:
    """The interfaces in reach; then the dearer ones, if the person allows them for all of those, which are `full` by then."""
    seen = set()
    for ranked in within_reach(choice, on_limit=on_limit):
        seen.add(ranked.name)
        yield ranked
    if on_limit is not OnLimit.FALLBACK and full and all(one.dearer for _, one in full):
        yield from (one for one in within_reach(choice, on_limit=OnLimit.FALLBACK) if one.name not in seen)


def _shut(shut: Shut | None) -> _Full | None:
    return None if shut is None else _Full(why=shut.why, until=shut.until, shut=True, dearer=shut.dearer)


def within_reach(choice: Choice, *, on_limit: OnLimit = OnLimit.WAIT, tried: Collection[str] = ()) -> Iterator[Ranked]:
    """The interfaces this task may go to, in order, without those already tried; the dearer ones last, paid ones only for `fallback`.

    The worker asks the same question when an attempt has failed: what comes out are the `remaining` of `policy.retry.after`.
    """
    first = choice.ranked[0]
    fit = [one for one in choice.ranked if one.name not in tried and (first.last_resort or not one.last_resort)]
    yield from (one for one in fit if one.rung <= first.rung)
    dearer = sorted((one for one in fit if one.rung > first.rung), key=lambda one: one.rung)
    yield from (one for one in dearer if one.tier not in _DEAR or on_limit is OnLimit.FALLBACK)


def _dearer(choice: Choice) -> bool:
    first = choice.ranked[0]
    return any(one.rung > first.rung and one.tier in _DEAR and not one.last_resort for one in choice.ranked)


def _why(ranked: Ranked, full: list[tuple[str, _Full]]) -> str:
    return "; ".join((ranked.reason, *(f"{name} has no room: {one.why}" for name, one in full)))


def _hold(full: list[tuple[str, _Full]], *, ask: bool) -> Hold:
    return Hold(
        reason="; ".join(f"{name}: {one.why}" for name, one in full),
        until=min((one.until for _, one in full if one.until is not None), default=None),
        ask=ask,
        shut=any(one.shut for _, one in full),
        dearer=any(one.dearer for _, one in full),
        full=tuple(name for name, one in full if one.slots),
    )


def _no_room(ranked: Ranked, slots: Slots, used: Used, now: float, *, paid_allowed: bool) -> _Full | None:
    if ranked.tier in _DEAR and not paid_allowed:
        return _Full(why=f"{ranked.tier} interfaces are not allowed now")
    limits = ranked.limits
    cap = slots.per_interface if limits.concurrent is None else limits.concurrent
    cap = slots.caps.get(ranked.name, cap)
    running = slots.running.get(ranked.name, 0)
    if cap is not None and running >= cap:
        return _Full(why=f"{running} of {cap} slots taken", slots=True)
    return (
        _over_rate(limits, used, now)
        or _over_quota(limits, used, now)
        or _over_window(limits.windows, used.windows, now)
    )


def _over_rate(limits: Limits, used: Used, now: float) -> _Full | None:
    until = now + _MINUTE_SECONDS if used.minute_resets_at is None else used.minute_resets_at
    if limits.requests_per_minute is not None and used.requests_last_minute >= limits.requests_per_minute:
        return _Full(
            why=f"{used.requests_last_minute} of {limits.requests_per_minute} requests a minute used", until=until
        )
    if limits.tokens_per_minute is not None and used.tokens_last_minute >= limits.tokens_per_minute:
        return _Full(why=f"{used.tokens_last_minute} of {limits.tokens_per_minute} tokens a minute used", until=until)
    return None


def _over_quota(limits: Limits, used: Used, now: float) -> _Full | None:
    if limits.messages_per_day is None or used.messages_today < limits.messages_per_day:
        return None
    midnight = (now // _DAY_SECONDS + 1) * _DAY_SECONDS
    until = midnight if used.day_resets_at is None else used.day_resets_at
    return _Full(why=f"{used.messages_today} of {limits.messages_per_day} messages used today", until=until)


def _over_window(windows: tuple[Window, ...], spent: tuple[Spent, ...], now: float) -> _Full | None:
    """The first window that is used up and not past its reset."""
    for window, one in zip(windows, spent, strict=False):
        if one.amount >= window.amount and (one.resets_at is None or one.resets_at > now):
            why = f"{one.amount} of {window.amount} {window.unit} per {window.per} used"
            return _Full(why=why, until=one.resets_at)
    return None
