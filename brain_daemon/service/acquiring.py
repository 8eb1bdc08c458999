"""`brain acquire`: may an agent that calls a provider by itself send so much now?

It is asked of the same buckets, accounts and budgets that the daemon's own starts draw on (store/rates.py, store/accounts.py, the
ledger), so it does not matter whether a daemon runs, and nothing waits for one. In one transaction on the rates: what the person set
aside for the task, the breaker, the room in the rate and its line, and the room in the account's quotas; then all is taken, or nothing.
A process that dies in between has at most reserved in its account what it was not told: counts may be too high, never too low.

A request has an id; asked again under it, it is answered from its grant and nothing is taken twice. What is granted for a task counts
for its budgets from then on. Without a task it is one message of its own, under the budgets of the day, the month and the interface.

Failures: Refused where the task or the interface forbids it, UserError where the call is wrong; StorageError as the databases raise it.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from brain_daemon.adapters.prices import cost_of
from brain_daemon.adapters.survivors import TAG
from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.model.ids import ATTEMPT_ID
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Usage
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import TaskSpec
from brain_daemon.policy.asking import AskFirst, Proceed
from brain_daemon.policy.buckets import Account, Later
from brain_daemon.policy.budgets import Budget, Estimate, PriceUnknown, Scope, Stopped, UnknownPrice
from brain_daemon.policy.quotas import Use, concerned
from brain_daemon.service import inquiries
from brain_daemon.service.actions import settle
from brain_daemon.service.brain import Brain
from brain_daemon.service.breakers import Breakers
from brain_daemon.service.handing_in import attempt_of, no_longer
from brain_daemon.service.near_limit import NearLimit, silence_of
from brain_daemon.service.quotas import DAEMON, Quotas
from brain_daemon.service.rate_limiter import RateLimiter, patiently, rate_key
from brain_daemon.service.releases import Releases
from brain_daemon.service.spending import Spending
from brain_daemon.store.accounts import Reservation
from brain_daemon.store.rates import Grant
from brain_daemon.store.tokens import VARIABLE, is_token_of

_NOBODY_KNOWS_SECONDS = 60.0
_NO_TASK = TaskSpec(id="", explicit_id=False, title="", text="", sha256="", size_bytes=0, name="")
_WITHOUT_A_TASK = frozenset({Scope.DAY, Scope.MONTH, Scope.INTERFACE})
"""The budgets that somebody falls under who asks for no task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an agent asks for. `task` is a task's or a claim's id; without one, and outside a task, it asks for itself."""

    interface: str
    tokens: int = 0
    requests: int = 1
    task: str | None = None
    agent: str | None = None
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """It may be sent. `again`: this request was granted before, and nothing was taken now."""

    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Not now. `until` is epoch seconds; None where only a person, or the end of something, helps."""

    why: str
    until: float | None = None

    def seconds(self, now: float) -> float | None:
        """How long that is."""
        return None if self.until is None else max(0.0, self.until - now)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverBudget:
    """A budget forbids it; `until` is when the calendar renews it, epoch seconds."""

    why: str
    until: float | None = None


Answer = Granted | Wait | OverBudget


async def acquire(
    brain: Brain, wanted: Wanted, environment: Mapping[str, str], wait_seconds: float = 0.0
) -> tuple[Answer, Attempt | None]:
    """Ask, and while the answer is to wait, wait for a turn and ask again, at most so long. The answer, and the attempt it was for."""
    entry = brain.registry().find(wanted.interface)
    if entry is None:
        raise UserError(f"acquiring on {wanted.interface}: no interface is called that. `brain interfaces` lists them.")
    attempt = _attempt(brain, wanted, environment)
    window = _Window(brain, wanted, entry.spec, attempt)
    try:
        return await patiently(window.once, _wait_of, wait_seconds, window.leave), attempt
    finally:
        window.close()


class _Window:
    """One request at the limits of one interface."""

    def __init__(self, brain: Brain, wanted: Wanted, spec: InterfaceSpec, attempt: Attempt | None) -> None:
        config, journal = brain.config, brain.journal
        self._brain = brain
        self._wanted = wanted
        self._spec = spec
        self._attempt = attempt
        self._releases = Releases(journal)
        self._quotas = Quotas(brain, lambda: [spec])
        self._limiter = RateLimiter(brain, who=f"request {wanted.request_id}")
        self._questions = NearLimit(journal, silence_of(config))
        self._breakers = Breakers(journal)
        self._task = _task(attempt)
        self._spending = Spending(
            journal,
            _budgets(config.budgets, self._task),
            UnknownPrice(config.unknown_price),
            acquired=self._limiter.acquired,
            unattended=self._limiter.unattended,
        )
        self._usd = _price(spec, wanted.tokens)
        _refuse(self._task, spec, wanted, brain)
        self._quotas.look(books=self._quotas.is_new)
        self._quotas.settle_acquired()
        self._ask = self._limiter.ask(
            rate_key(self._quotas.key(spec), spec.limits),
            spec.limits,
            requests=wanted.requests,
            tokens=wanted.tokens,
            task_id=None if attempt is None else attempt.task_id,
        )

    def close(self) -> None:
        self._limiter.close()
        self._quotas.close()

    def leave(self) -> None:
        """Whoever has its grant, or gives up, stands in no line."""
        self._limiter.leave(self._ask)

    def once(self, *, first: bool, last: bool) -> Answer:
        """Ask for it; it is taken with the answer."""
        self._quotas.begin()
        self._questions.begin()
        self._spending.look_at_running()
        self._spending.begin()
        book = self._limiter.book
        with book.changing():
            earlier = book.granted(self._wanted.request_id)
            if earlier is not None:
                return self._as_before(earlier)
            answer = self._answer(first=first, last=last)
            if isinstance(answer, Granted):
                book.take(self._ask, forced=True)
                book.note(self._grant())
        if self._questions.ask() | self._asked_for_price(answer):
            settle(self._brain)
        return answer

    def _answer(self, *, first: bool, last: bool) -> Answer:
        now, book = time.time(), self._limiter.book
        shut = self._breakers.shut(self._spec.name, now)
        if shut is not None:
            return Wait(why=shut.why, until=shut.until)
        stopped = self._over_budget()
        if stopped is not None:
            return stopped
        rate = book.verdict(self._ask)
        if isinstance(rate, Later):
            if first:
                book.tally(self._ask, Account(denials=1))
            if not last:
                book.wait(self._ask, min(rate.wait_seconds, _NOBODY_KNOWS_SECONDS))
            return Wait(why=rate.why, until=now + rate.wait_seconds)
        return self._over_quota(now) or Granted()

    def _over_budget(self) -> Answer | None:
        task = _NO_TASK if self._task is None else self._releases.applied(self._task)
        verdict = self._spending.verdict(
            task,
            self._spec,
            Estimate(usd=self._usd, tokens=self._wanted.tokens),
            streams=False,
            asks=inquiries.price_answer(self._brain.journal, self._spec.name) != "allow",
            own_only=self._task is not None and self._releases.of(task.id).budget,
        )
        match verdict:
            case Stopped(why=why, until=until):
                return OverBudget(why=why, until=until)
            case PriceUnknown(why=why):
                return _Unpriced(why=why, label=verdict.label)
            case _:
                return None

    def _over_quota(self, now: float) -> Answer | None:
        """Why the account has no room, else None: then it is reserved, durably."""
        if not self._quotas.watches(self._spec):
            return None
        before, total = self._used()
        need = total.beyond(before)
        key = self._quotas.key(self._spec)
        readings = [one for one in self._quotas.readings(self._spec) if concerned(one.quota, need)]
        verdict = self._questions.verdict(key, readings, need, now)
        if isinstance(verdict, AskFirst):
            reading = next(one for one in readings if one.quota.label == verdict.label)
            self._questions.want(key, self._spec.name, reading, verdict.why)
            return Wait(why=f"{verdict.why}: you are asked first (`brain questions`)", until=verdict.until)
        if not isinstance(verdict, Proceed):
            return Wait(why=verdict.why, until=verdict.until)
        full = self._quotas.grow(self._spec, self._reservation(total, now), settles=self._attempt is None)
        return None if full is None else Wait(why=full.why, until=full.until)

    def _used(self) -> tuple[Use, Use]:
        """What this attempt has used of the interface before, and with what it asks for now."""
        more = Use(messages=1, tokens=self._wanted.tokens, usd=self._usd or Decimal(0))
        if self._attempt is None:
            return Use(), more
        of_it = self._limiter.acquired(self._attempt.attempt_id)
        here = [one for one in of_it if one.interface == self._spec.name]
        before = Use(
            messages=int(bool(here) or self._is_its_own()),
            tokens=sum(one.tokens for one in here),
            usd=sum((one.usd for one in here), Decimal(0)),
        )
        return before, replace(more, tokens=before.tokens + more.tokens, usd=before.usd + more.usd)

    def _is_its_own(self) -> bool:
        """Whether the daemon has started the attempt on this interface, and so has reserved its message."""
        attempt = self._attempt
        return attempt is not None and attempt.claimant == DAEMON and attempt.interface == self._spec.name

    def _reservation(self, total: Use, now: float) -> Reservation:
        attempt = self._attempt
        return Reservation(
            account=self._quotas.key(self._spec),
            attempt_id=f"request {self._wanted.request_id}" if attempt is None else attempt.attempt_id,
            brain="" if attempt is None else self._brain.layout.state,
            at=now,
            most=total,
            unpriced=self._usd is None,
            interface=self._spec.name,
            task_id=None if attempt is None else attempt.task_id,
            chain_id=None if attempt is None else attempt.lineage.chain,
        )

    def _grant(self) -> Grant:
        return Grant(
            request_id=self._wanted.request_id,
            ask=self._ask,
            interface=self._spec.name,
            attempt_id=None if self._attempt is None else self._attempt.attempt_id,
            usd=self._usd,
            granted_at=time.time(),
        )

    def _as_before(self, earlier: Grant) -> Granted:
        same = (earlier.interface, earlier.ask.requests, earlier.ask.tokens, earlier.attempt_id) == (
            self._spec.name,
            self._wanted.requests,
            self._wanted.tokens,
            None if self._attempt is None else self._attempt.attempt_id,
        )
        if not same:
            raise UserError(
                f"acquiring on {self._spec.name}: the request {self._wanted.request_id} was granted for something else. "
                "Give a request of its own each `--request`, or none."
            )
        return Granted(again=True)

    def _asked_for_price(self, answer: Answer) -> bool:
        if not isinstance(answer, _Unpriced) or inquiries.price_answer(self._brain.journal, self._spec.name):
            return False
        return inquiries.ask(self._brain.journal, inquiries.price(self._spec.name, answer.label, answer.why))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unpriced(Wait):
    """A wait until the person has said whether it may be used without a known price."""

    label: str = ""


def _attempt(brain: Brain, wanted: Wanted, environment: Mapping[str, str]) -> Attempt | None:
    """The claim it is for: the one named, else the attempt this process runs for; None for one who asks for himself."""
    if wanted.task is not None:
        found = attempt_of(brain, wanted.task, wanted.agent, "acquiring for")
        if found.state is not AttemptState.CLAIMED:
            raise Refused(f"acquiring for {wanted.task}: {no_longer(found)} `brain claim` takes another task.")
        return found
    attempt_id, token = environment.get(TAG, ""), environment.get(VARIABLE, "")
    if not (ATTEMPT_ID.fullmatch(attempt_id) and token):
        return None
    if not is_token_of(brain.layout, attempt_id, token):
        raise Refused(f"acquiring: {VARIABLE} is not that of the attempt {attempt_id}.")
    running = brain.journal.attempt(attempt_id)
    if running is None or running.ended is not None:
        raise Refused(f"acquiring: the attempt {attempt_id} has ended. Nothing more is granted for it.")
    return running


def _task(attempt: Attempt | None) -> TaskSpec | None:
    task = None if attempt is None else parse_task(attempt.name, attempt.spec)
    return task if isinstance(task, TaskSpec) else None


def _budgets(budgets: Sequence[Budget], task: TaskSpec | None) -> tuple[Budget, ...]:
    """Those it falls under."""
    return tuple(one for one in budgets if task is not None or one.scope in _WITHOUT_A_TASK)


def _price(spec: InterfaceSpec, tokens: int) -> Decimal | None:
    """What so many tokens cost at least, as input; None where nobody knows."""
    return cost_of(spec, Usage(input_tokens=tokens, output_tokens=0), None).usd


def _refuse(task: TaskSpec | None, spec: InterfaceSpec, wanted: Wanted, brain: Brain) -> None:
    """What no waiting mends."""
    config, most = brain.config, spec.limits.tokens_per_request
    if any(map(spec.answers_to, (*config.never, *(task.never if task else ())))):
        raise Refused(f"acquiring on {spec.name}: it stands under `never` in the task or in the settings.")
    if (config.local_only or (task is not None and task.local_only)) and not spec.local:
        raise Refused(
            f"acquiring on {spec.name}: only this machine may be used (local_only), and it is not `local: true`."
        )
    if most is not None and wanted.tokens > most * max(1, wanted.requests):
        raise Refused(
            f"acquiring on {spec.name}: it takes {most:,} tokens a request, not {wanted.tokens:,}. Send less."
        )


def _wait_of(answer: Answer) -> float | None:
    """How long to wait before asking again; None where there is nothing to wait for."""
    if not isinstance(answer, Wait):
        return None
    seconds = answer.seconds(time.time())
    return _NOBODY_KNOWS_SECONDS if seconds is None else seconds
