"""For each interface whether there is room for a task, why not, and until when; told of every start and every end.

    breaker    left alone after failures of its own                 service/breakers.py
    memory     what clients need, against what is free              service/slots.py
    slots      fewer after a rate limit, and near the end of a quota
    rates      requests and tokens a minute                         service/rate_limiter.py
    quotas     what the account has left, and the question at 90 %  service/quotas.py, service/near_limit.py
    budgets    what the person set aside                            service/spending.py

An interface that declares none of this costs a few look-ups. Before a start everything is taken together (`enter`): what another
brain was faster with is a no there, and the task goes back. Failures: StorageError as those parts have it; nothing has started then.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brain_daemon.model.attempt import Attempt, Decision
from brain_daemon.model.interface import InterfaceSpec, InvokeKind, Tier
from brain_daemon.model.outcome import Ended, Failed, FailureKind
from brain_daemon.model.task import OnLimit, TaskSpec
from brain_daemon.policy.admission import Shut
from brain_daemon.policy.asking import Answer, AskFirst, GoPaid, Proceed, WaitUntil
from brain_daemon.policy.buckets import Later
from brain_daemon.policy.budgets import Allowed, Estimate, PriceUnknown, Stopped, UnknownPrice
from brain_daemon.policy.quotas import ONE_MESSAGE, NoRoom, Reading, Use
from brain_daemon.policy.routing import Choice, Ranked
from brain_daemon.record.usage import FINDINGS, Finding, QuotaUse, findings_to
from brain_daemon.service import inquiries
from brain_daemon.service.brain import Brain
from brain_daemon.service.breakers import Breakers
from brain_daemon.service.estimates import Estimates, Guess
from brain_daemon.service.near_limit import ANSWERS, NearLimit, Silence
from brain_daemon.service.quotas import Quotas
from brain_daemon.service.rate_limiter import RateLimiter
from brain_daemon.service.slots import AdaptiveSlots, MemoryRoom
from brain_daemon.service.spending import Spending

_LOG = logging.getLogger("brain_daemon")
_DEAR = frozenset({Tier.PAID, Tier.FALLBACK})

Find = Callable[[str], InterfaceSpec | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """An attempt that is about to start."""

    attempt: Attempt
    task: TaskSpec
    spec: InterfaceSpec


class Gate:
    """For one daemon and the event loop's thread. `specs` and `find` give the interfaces of now.

    `running` says how many run on each interface, set by whoever knows.
    """

    def __init__(self, brain: Brain, specs: Callable[[], Iterable[InterfaceSpec]], find: Find) -> None:
        config = brain.config
        self._brain = brain
        self._find = find
        self._quotas = Quotas(brain, specs)
        self._questions = NearLimit(
            brain.journal,
            Silence(
                threshold=config.quota_question_at,
                default=ANSWERS.get(config.quota_default, Answer.WAIT),
                after_seconds=config.quota_silence_seconds,
            ),
        )
        self._spending = Spending(brain.journal, config.budgets, UnknownPrice(config.unknown_price))
        self._limiter = RateLimiter()
        self._breakers = Breakers(brain.journal)
        self._estimates = Estimates(brain.journal)
        self._slots = AdaptiveSlots(config.parallel)
        self._memory = MemoryRoom(config.client_memory_bytes)
        self._forced: set[str] = set()
        self._inline: set[str] = set()
        self._prices: dict[str, tuple[str, str]] = {}
        self._warned: dict[str, str] = {}
        self._published = brain.journal.get(FINDINGS) or "{}"
        self._specs = specs
        self.running: Callable[[], Mapping[str, int]] = dict

    # its life

    def open(self) -> None:
        """When the start-up has repaired what a crash left."""
        self.look()
        self.reconcile()

    def close(self) -> None:
        """The daemon ends."""
        self._quotas.close()
        self._estimates.keep()

    def look(self) -> None:
        """The interfaces may have changed."""
        self._quotas.look()
        for spec in self._specs():
            if _has_rate(spec):
                self._limiter.declare(self._rate_key(spec), spec.limits)

    def reconcile(self) -> None:
        """Settle what a dead daemon, or an attempt that outlived one, had taken."""
        self._quotas.reconcile()
        for name, attempt_id in self._breakers.probes().items():
            attempt = self._brain.journal.attempt(attempt_id)
            if attempt is None or attempt.ended is not None:
                self._breakers.given_back(name, attempt_id)

    def keep_house(self) -> None:
        """Now and then."""
        self._quotas.keep_house()
        self._estimates.keep()

    # before a start

    def begin(self) -> None:
        """A new look at the queue: figures are read anew, once each."""
        self._quotas.flush()
        self._quotas.begin()
        self._questions.begin()
        self._spending.begin()
        self._breakers.begin()
        self._memory.begin(sum(self.running().values()))
        self._slots.begin()
        for spec in self._specs():
            if self._quotas.watches(spec):
                self._bound_by_quota(spec)

    @property
    def caps(self) -> Mapping[str, int]:
        """Slots of the interfaces that bear fewer now than they declare."""
        return self._slots.caps

    def closed(self, task: TaskSpec, ranked: Ranked, choice: Choice, on_limit: OnLimit) -> Shut | None:
        """Why an interface with a free slot does not take this task now."""
        spec = self._find(ranked.name)
        if spec is None:
            return None
        if task.id.casefold() in self._forced:
            return self._memory.shut(spec)
        now = time.time()
        return (
            self._breakers.shut(spec.name, now)
            or self._memory.shut(spec)
            or self._over_rate(task, spec, ranked, now)
            or self._over_quota(task, spec, ranked, now, asks=on_limit is OnLimit.ASK and _has_dearer(choice, ranked))
            or self._over_budget(task, spec, ranked)
        )

    def planned(self, task: TaskSpec, ranked: Ranked) -> None:
        """A task was chosen for an interface: until `enter` it counts here."""
        spec = self._find(ranked.name)
        if spec is None:
            return
        self._breakers.planned(spec.name)
        self._memory.planned(spec)
        if self._quotas.watches(spec):
            self._quotas.plan(spec, self._need(task, spec, ranked.model))
        if self._spending.concerns(task):
            self._spending.plan(task, spec, self._estimate(task, spec, ranked.model))

    def enter(self, entrants: Sequence[Entrant]) -> dict[str, Shut]:
        """Take what these attempts need, durably where it must outlive a crash; by attempt id what has no room after all."""
        refused = {one.attempt.attempt_id: shut for one in entrants if (shut := self._take_rate(one)) is not None}
        wanted = [one for one in entrants if one.attempt.attempt_id not in refused]
        asked = [
            (
                one.spec,
                self._quotas.reservation(one.spec, one.attempt, self._need(one.task, one.spec, one.attempt.model)),
                one.task.id.casefold() in self._forced,
            )
            for one in wanted
            if self._quotas.watches(one.spec)
        ]
        refused |= {key: _as_shut(no) for key, no in self._quotas.reserve(asked).items()}
        now = time.time()
        for one in wanted:
            if one.attempt.attempt_id not in refused:
                self._breakers.started(one.spec.name, one.attempt.attempt_id)
                self._memory.started(one.spec, one.attempt.attempt_id, now)
        return refused

    def reserved(self, entrant: Entrant) -> Attempt:
        """The attempt with what it may cost, which counts from now on."""
        task, spec = entrant.task, entrant.spec
        if not self._spending.concerns(task):
            return entrant.attempt
        return self._spending.started(entrant.attempt, task, spec, self._estimate(task, spec, entrant.attempt.model))

    def given_back(self, attempt: Attempt) -> None:
        """An attempt that entered has not started."""
        spec = self._find(attempt.interface or "")
        self._memory.ended(attempt.attempt_id)
        self._spending.given_back(attempt.attempt_id)
        if spec is not None:
            self._breakers.given_back(spec.name, attempt.attempt_id)
            self._quotas.release(spec, attempt.attempt_id)

    def tried_again(self, attempt_id: str) -> None:
        """Its worker tries the same once more at once: a failure that may pass says nothing of the interface yet."""
        self._inline.add(attempt_id)

    def force(self, task_id: str) -> None:
        """A person lets this task start whatever the limits say."""
        self._forced.add(task_id.casefold())

    # after an end

    def ended(self, attempt: Attempt, task: TaskSpec | None) -> bool:
        """An outcome is durable; whether tasks that are held may find room now, or room was lost."""
        self._memory.ended(attempt.attempt_id)
        spec = self._find(attempt.interface or "")
        ended = attempt.ended
        if spec is None or ended is None or attempt.started_at is None:
            return False
        if attempt.decision is not Decision.AGAIN:
            self._forced.discard(attempt.task_id.casefold())
        now = time.time()
        changed = self._note_breaker(spec, attempt, ended, now)
        self._slots.ended(spec, attempt, now)
        self._quotas.ended(spec, attempt, ended)
        self._spending.ended(attempt, ended)
        if task is not None:
            if _has_rate(spec):
                guessed = self._rate_tokens(task, spec, attempt.model)
                self._limiter.correct(self._rate_key(spec), ended.usage.total_tokens - guessed, task.id)
            self._estimates.learn(task.text, spec, ended.usage)
        return changed

    def vouched(self, name: str) -> bool:
        """The interface's own check has passed; whether that lets a probe through."""
        return self._breakers.checked(name, passed=True)

    # questions

    def ask(self) -> bool:
        """Put the questions that judging has found, once each; whether there was a new one."""
        put = self._questions.ask()
        for name, (label, why) in self._prices.items():
            put = inquiries.ask(self._brain.journal, inquiries.price(name, label, why)) or put
        self._prices.clear()
        return put

    def parked(self, task: TaskSpec, ranked: Ranked, choice: Choice) -> bool:
        """A task has met a limit and waits: where it says `on_limit: ask`, the person may let it go elsewhere."""
        spec = self._find(ranked.name)
        on_limit = task.on_limit or OnLimit(self._brain.config.on_limit)
        if spec is None or on_limit is not OnLimit.ASK or not _has_dearer(choice, ranked):
            return False
        self._over_quota(task, spec, ranked, time.time(), asks=True)
        return self.ask()

    def withdraw_settled(self) -> bool:
        """Questions about quotas that have room again go; whether there were any."""
        by_key = {self._quotas.key(spec): spec for spec in self._specs() if self._quotas.watches(spec)}
        gone = [
            question
            for question, key, label in self._questions.open_labels()
            if not self._is_near(by_key.get(key), label)
        ]
        for question in gone:
            self._questions.withdraw(question)
        return bool(gone)

    def warnings(self) -> tuple[str, ...]:
        """What is to be said of budgets."""
        return tuple(self._warned.values())

    # for pages and commands

    def publish(self) -> None:
        """Keep what is found of each interface in the journal, for pages and for commands in other processes."""
        words = self._breakers.words()
        told = findings_to(
            {
                spec.name: Finding(
                    breaker=words.get(spec.name, ("closed", ""))[0],
                    why=words.get(spec.name, ("closed", ""))[1],
                    slots=self.caps.get(spec.name),
                    quotas=tuple(map(_use_of, self._quotas.readings(spec))),
                )
                for spec in self._specs()
                if spec.name in words or spec.name in self.caps or self._quotas.watches(spec)
            }
        )
        if told != self._published:
            self._published = told
            self._brain.journal.set(FINDINGS, told)

    def try_acquire(self, spec: InterfaceSpec, tokens: int, task_id: str | None = None) -> Later | None:
        """Take from the rates for somebody who calls by himself; None is granted."""
        found = self._limiter.try_acquire(self._rate_key(spec), tokens=tokens, task_id=task_id)
        return found if isinstance(found, Later) else None

    # each of the limits

    def _is_near(self, spec: InterfaceSpec | None, label: str) -> bool:
        at = self._brain.config.quota_question_at
        readings = () if spec is None else self._quotas.readings(spec)
        return any(
            one.quota.label == label and one.share_with(ONE_MESSAGE.of(one.quota.unit)) >= at for one in readings
        )

    def _bound_by_quota(self, spec: InterfaceSpec) -> None:
        left = [one.quota.amount - one.used for one in self._quotas.readings(spec) if one.quota.unit == "messages"]
        if left:
            self._slots.bound(spec, max(0, int(min(left))))

    def _note_breaker(self, spec: InterfaceSpec, attempt: Attempt, ended: Ended, now: float) -> bool:
        inline = attempt.attempt_id in self._inline
        self._inline.discard(attempt.attempt_id)
        if inline and isinstance(ended.outcome, Failed) and ended.outcome.kind is FailureKind.TRANSIENT:
            self._breakers.given_back(spec.name, attempt.attempt_id)
            return False
        return self._breakers.ended(spec.name, attempt.attempt_id, ended.outcome, now)

    def _over_rate(self, task: TaskSpec, spec: InterfaceSpec, ranked: Ranked, now: float) -> Shut | None:
        if not _has_rate(spec):
            return None
        wait = self._limiter.wait_seconds(self._rate_key(spec), tokens=self._rate_tokens(task, spec, ranked.model))
        if wait <= 0:
            return None
        which = "requests" if spec.limits.tokens_per_minute is None else "requests or tokens"
        return Shut(why=f"{which} a minute used up", until=now + wait)

    def _take_rate(self, one: Entrant) -> Shut | None:
        if not _has_rate(one.spec):
            return None
        tokens = self._rate_tokens(one.task, one.spec, one.attempt.model)
        later = self.try_acquire(one.spec, tokens, one.task.id)
        if later is None or one.task.id.casefold() in self._forced:
            return None
        return Shut(why=later.why, until=time.time() + later.wait_seconds)

    def _rate_tokens(self, task: TaskSpec, spec: InterfaceSpec, model: str | None) -> int:
        return 0 if spec.limits.tokens_per_minute is None else self._guess(task, spec, model).tokens

    def _over_quota(
        self, task: TaskSpec, spec: InterfaceSpec, ranked: Ranked, now: float, *, asks: bool
    ) -> Shut | None:
        readings = self._quotas.readings(spec)
        if not readings:
            return None
        key = self._quotas.key(spec)
        need = self._need(task, spec, ranked.model)
        verdict = self._questions.verdict(key, readings, need, now)
        match verdict:
            case Proceed():
                return None
            case GoPaid(why=why, until=until):
                return Shut(why=why, until=until, dearer=True)
            case AskFirst():
                reading = next(one for one in readings if one.quota.label == verdict.label)
                self._questions.want(key, spec.name, reading, verdict.why)
                silence_ends_at = verdict.silence_ends_at or self._questions.silence_would_end(now)
                ends = [at for at in (verdict.until, silence_ends_at) if at is not None]
                why = f"{verdict.why}: you are asked first (`brain questions`)"
                return Shut(why=why, until=min(ends, default=None))
            case WaitUntil(why=why, until=until):
                full = next((one for one in readings if not one.fits(need)), None)
                if asks and full is not None and not self._questions.is_answered(key, full.quota.label, now):
                    self._questions.want(key, spec.name, full, why)
                return Shut(why=why, until=until)

    def _over_budget(self, task: TaskSpec, spec: InterfaceSpec, ranked: Ranked) -> Shut | None:
        if not self._spending.concerns(task):
            return None
        verdict = self._spending.verdict(
            task,
            spec,
            self._estimate(task, spec, ranked.model),
            streams=spec.invoke.kind is InvokeKind.HTTP,
            asks=inquiries.price_answer(self._brain.journal, spec.name) != "allow",
        )
        match verdict:
            case Allowed(warnings=warnings):
                self._warn(warnings)
                return None
            case Stopped(why=why, until=until):
                return Shut(why=why, until=until)
            case PriceUnknown(label=label, why=why):
                if inquiries.price_answer(self._brain.journal, spec.name) is None:
                    self._prices[spec.name] = (label, why)
                return Shut(why=why)

    def _warn(self, warnings: Iterable[tuple[str, str]]) -> None:
        by_label: dict[str, list[str]] = {}
        for label, text in warnings:
            by_label.setdefault(label, []).append(text)
        for label, texts in by_label.items():
            if label not in self._warned:
                _LOG.warning("a budget is nearly spent", extra={"action": "budget", "budget": label, "says": texts})
            self._warned[label] = "; ".join(texts)

    def _need(self, task: TaskSpec, spec: InterfaceSpec, model: str | None) -> Use:
        """What is reserved of its quotas; tokens and dollars are only estimated where a quota counts them."""
        if all(window.unit == "messages" for window in spec.limits.windows):
            return ONE_MESSAGE
        guess = self._guess(task, spec, model)
        return Use(messages=1, tokens=guess.tokens, usd=guess.usd or Decimal(0))

    def _estimate(self, task: TaskSpec, spec: InterfaceSpec, model: str | None) -> Estimate:
        guess = self._guess(task, spec, model)
        return Estimate(usd=guess.usd, tokens=guess.tokens)

    def _guess(self, task: TaskSpec, spec: InterfaceSpec, model: str | None) -> Guess:
        return self._estimates.of(task.text, spec, model)

    def _rate_key(self, spec: InterfaceSpec) -> str:
        """Interfaces of one account share a rate where they declare the same."""
        limits = spec.limits
        return f"{self._quotas.key(spec)} {limits.requests_per_minute} {limits.tokens_per_minute}"


def _use_of(reading: Reading) -> QuotaUse:
    return QuotaUse(quota=reading.quota.label, share=reading.share, resets_at=reading.resets_at)


def _has_rate(spec: InterfaceSpec) -> bool:
    return spec.limits.requests_per_minute is not None or spec.limits.tokens_per_minute is not None


def _has_dearer(choice: Choice, ranked: Ranked) -> bool:
    return any(one.rung > ranked.rung and one.tier in _DEAR and not one.last_resort for one in choice.ranked)


def _as_shut(no: NoRoom) -> Shut:
    return Shut(why=no.why, until=no.until)
