"""For each interface whether there is room for a task, why not, and until when; told of every start and every end.

    breaker    left alone after failures of its own                 service/breakers.py
    memory     what clients need, against what is free              service/slots.py
    slots      fewer after a rate limit, and near the end of a quota
    rates      requests and tokens a minute                         service/rate_limiter.py
    quotas     what the account has left, and the question at 90 %  service/quotas.py, service/near_limit.py
    harvest    the person's part of them, and what would be lost    service/harvesting.py
    budgets    what the person set aside                            service/spending.py
    releases   what a person lets one task do all the same          service/releases.py

An interface that declares none of this costs a few look-ups. Before a start everything is taken together (`enter`): what another
brain was faster with is a no there, and the task goes back. Commands in other processes only look (`looks_only`): they get the
daemon's answers, and nothing is taken, noted, asked or logged for them.

Failures: StorageError as those parts have it; nothing has started then.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.errors import StorageError
from brain_daemon.model.interface import InterfaceSpec, Tier
from brain_daemon.model.outcome import Ended, Failed, FailureKind, Succeeded
from brain_daemon.model.task import OnLimit, TaskSpec
from brain_daemon.policy.admission import Shut
from brain_daemon.policy.asking import AskFirst, GoPaid, Proceed, Verdict, WaitUntil
from brain_daemon.policy.buckets import Later
from brain_daemon.policy.budgets import Allowed, Estimate, PriceUnknown, Stopped, UnknownPrice
from brain_daemon.policy.quotas import ONE_MESSAGE, NoRoom, Reading, Use
from brain_daemon.policy.routing import Choice, Ranked
from brain_daemon.service import inquiries
from brain_daemon.service.brain import Brain
from brain_daemon.service.breakers import Breakers
from brain_daemon.service.estimates import Estimates, Guess
from brain_daemon.service.findings import Findings
from brain_daemon.service.harvesting import Harvest
from brain_daemon.service.near_limit import NearLimit, silence_of
from brain_daemon.service.past import SERVED
from brain_daemon.service.quotas import Quotas
from brain_daemon.service.rate_limiter import RateLimiter, has_rate, rate_key
from brain_daemon.service.releases import NO_TERMS, Opened, Releases
from brain_daemon.service.slots import AdaptiveSlots, MemoryRoom
from brain_daemon.service.spending import Spending
from brain_daemon.store.rates import Ask

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

    `running` says how many run on each interface, set by whoever knows. `looks_only`: for a question, not for starts.
    """

    def __init__(
        self, brain: Brain, specs: Callable[[], Iterable[InterfaceSpec]], find: Find, *, looks_only: bool = False
    ) -> None:
        config = brain.config
        self._brain = brain
        self._find = find
        self._looks_only = looks_only
        self._quotas = Quotas(brain, specs)
        self._questions = NearLimit(brain.journal, silence_of(config))
        self._limiter = RateLimiter(brain)
        self._spending = Spending(
            brain.journal,
            config.budgets,
            UnknownPrice(config.unknown_price),
            acquired=self._limiter.acquired,
            unattended=self._limiter.unattended,
        )
        self._releases = Releases(brain.journal)
        self._breakers = Breakers(brain.journal)
        self._estimates = Estimates(brain.journal)
        self._slots = AdaptiveSlots(config.parallel)
        self._harvest = Harvest(config, self._quotas.readings, lambda name: self.running().get(name, 0) > 0)
        self._memory = MemoryRoom(config.client_memory_bytes)
        self._opened = Opened()
        self._inline: set[str] = set()
        self._served: set[str] = set()
        self._prices: dict[str, tuple[str, str]] = {}
        self._warned: dict[str, str] = {}
        self._findings = Findings(brain.journal)
        self._specs = specs
        self._unbound: dict[str, InterfaceSpec] = {}
        self.running: Callable[[], Mapping[str, int]] = dict

    # its life

    def open(self) -> None:
        """When the start-up has repaired what a crash left; who only looks repairs nothing."""
        if self._looks_only:
            self._quotas.look(books=self._quotas.is_new)
            return
        self.look()
        self.reconcile()

    def close(self) -> None:
        """The daemon ends, or the look does."""
        self._quotas.close()
        self._close_rates()
        self._estimates.keep()

    def look(self) -> None:
        """The interfaces may have changed."""
        self._quotas.look()

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
        self._limiter.keep_house()
        self._estimates.keep()

    # before a start

    def begin(self) -> None:
        """A new look at the queue: figures are read anew, once each, and only of interfaces that are asked about."""
        self._quotas.flush()
        self._quotas.begin()
        self._limiter.begin()
        self._opened.begin()
        self._questions.begin()
        self._spending.begin()
        self._breakers.begin()
        self._memory.begin(sum(self.running().values()))
        self._slots.begin()
        self._unbound = {spec.name: spec for spec in self._specs() if self._quotas.watches(spec)}
        self._harvest.begin(tuple(self._unbound.values()), time.time())

    def caps(self, names: Iterable[str]) -> Mapping[str, int]:
        """Slots of those among `names` that bear fewer now than they declare; who only looks is told by the daemon what it has learned."""
        for name in names:
            spec = self._unbound.pop(name, None)
            if spec is not None:
                self._bound_by_quota(spec)
        return {**self._findings.caps, **self._slots.caps} if self._looks_only else self._slots.caps

    @property
    def ripe(self) -> Mapping[str, float]:
        """When the window ends of each interface that low-priority tasks are drawn forward to, epoch seconds."""
        return self._harvest.ends

    def drawn(self, task: TaskSpec, ranked: Ranked, *, early: bool) -> str:
        """Why a task that starts there is drawn forward; empty where it is not."""
        return self._harvest.drawn(task, ranked, time.time(), early=early)

    def closed(self, task: TaskSpec, ranked: Ranked, choice: Choice, on_limit: OnLimit) -> Shut | None:
        """Why an interface with a free slot does not take this task now."""
        spec = self._find(ranked.name)
        if spec is None:
            return None
        now = time.time()
        at_once = self._releases.of(task.id).at_once
        asks = on_limit is OnLimit.ASK and _has_dearer(choice, ranked)
        shut = (
            self._memory.shut(spec)
            or (None if at_once else self._limited(task, spec, ranked, now, asks=asks))
            or self._over_budget(task, spec, ranked)
        )
        if shut is None:
            self._note_release(task, spec, ranked, choice, now)
        return shut

    def planned(self, task: TaskSpec, ranked: Ranked) -> None:
        """A task was chosen for an interface: until `enter` it counts here."""
        spec = self._find(ranked.name)
        if spec is None:
            return
        self._breakers.planned(spec.name)
        self._memory.planned(spec)
        self._limiter.goes(task.id)
        if self._quotas.watches(spec):
            self._quotas.plan(spec, self._need(task, spec, ranked.model))
        if has_rate(spec):
            self._limiter.planned(self._rate_ask(task, spec, ranked.model))
        if self._spending.concerns(task):
            self._spending.plan(task, spec, self._estimate(task, spec, ranked.model))

    def enter(self, entrants: Sequence[Entrant]) -> dict[str, Shut]:
        """Take what these attempts need, durably where it must outlive a crash; by attempt id what has no room after all."""
        refused = self._take_rates([one for one in entrants if has_rate(one.spec)])
        wanted = [one for one in entrants if one.attempt.attempt_id not in refused]
        asked = [
            (
                one.spec,
                self._quotas.reservation(one.spec, one.attempt, self._need(one.task, one.spec, one.attempt.model)),
                self._releases.of(one.task.id).at_once,
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
        task, spec, attempt = entrant.task, entrant.spec, self._opened.marked(self._harvest.marked(entrant.attempt))
        if not self._spending.concerns(task):
            return attempt
        return self._spending.started(attempt, task, spec, self._estimate(task, spec, attempt.model))

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

    def released(self, task: TaskSpec) -> TaskSpec:
        """The task with what a person lets it do."""
        return self._releases.applied(task)

    def look_at_releases(self) -> None:
        """A person may have released a task."""
        self._releases.look()

    # after an end

    def ended(self, attempt: Attempt, task: TaskSpec | None) -> bool:
        """An outcome is durable; whether tasks that are held may find room now, or room was lost."""
        self._memory.ended(attempt.attempt_id)
        self._releases.ended(attempt)
        spec = self._find(attempt.interface or "")
        ended = attempt.ended
        if spec is None or ended is None or attempt.started_at is None:
            return False
        now = time.time()
        changed = self._note_breaker(spec, attempt, ended, now)
        self._slots.ended(spec, attempt, now)
        self._quotas.ended(spec, attempt, ended)
        self._spending.ended(attempt, ended)
        if task is not None:
            if has_rate(spec):
                asked = self._rate_ask(task, spec, attempt.model)
                self._limiter.correct(asked, ended.usage.total_tokens - asked.tokens)
            self._estimates.learn(task.text, spec, ended.usage)
        self._note_served(spec, ended)
        self._publish_account(spec)
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
        """What is to be said of budgets, and of windows that tasks are drawn forward to."""
        standing = [one for one in self._spending.standing() if one.is_warned]
        said = {one.label for one in standing}
        foreseen = [text for label, text in self._warned.items() if label not in said]
        return (
            *(f"{one.sentence[0].upper()}{one.sentence[1:]}." for one in standing),
            *foreseen,
            *self._harvest.notices(),
        )

    # for pages and commands

    def publish(self) -> None:
        """Keep what is found of each interface in the journal, for pages and for commands in other processes."""
        specs = list(self._specs())
        caps = self.caps(spec.name for spec in specs)
        self._findings.keep(specs, words=self._breakers.words(), caps=caps, read=self._quotas.readings)
        self._harvest.keep(self._brain.journal)

    def _publish_account(self, spec: InterfaceSpec) -> None:
        """The same of the interfaces that share this one's account, when something has ended there."""
        words = self._breakers.words()
        if not (self._quotas.watches(spec) or spec.name in words or self._findings.knows(spec.name)):
            return
        key = self._quotas.key(spec)
        shared = [one for one in self._specs() if self._quotas.key(one) == key]
        caps = self.caps(one.name for one in shared)
        self._findings.keep(shared, words=words, caps=caps, read=self._quotas.counted, others=True)

    # each of the limits

    def _limited(self, task: TaskSpec, spec: InterfaceSpec, ranked: Ranked, now: float, *, asks: bool) -> Shut | None:
        """What a task waits for until a time, or an answer."""
        return (
            self._breakers.shut(spec.name, now)
            or self._over_rate(task, spec, ranked, now)
            or self._over_quota(task, spec, ranked, now, asks=asks)
        )

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

    def _note_served(self, spec: InterfaceSpec, ended: Ended) -> None:
        """Whoever has worked here for nothing is waited for rather than paid for (service/dispatch.py)."""
        if isinstance(ended.outcome, Succeeded) and spec.cost.tier not in _DEAR and spec.name not in self._served:
            self._brain.journal.set(SERVED + spec.name, "yes")
            self._served.add(spec.name)

    def _over_rate(self, task: TaskSpec, spec: InterfaceSpec, ranked: Ranked, now: float) -> Shut | None:
        if not has_rate(spec):
            return None
        ask = self._rate_ask(task, spec, ranked.model)
        if not self._looks_only:
            later = self._limiter.foreseen(ask)
        else:
            later = self._limiter.room(ask) if self._limiter.is_used else None
        return None if later is None else Shut(why=later.why, until=now + later.wait_seconds)

    def _take_rates(self, entrants: Sequence[Entrant]) -> dict[str, Shut]:
        asks = [
            (self._rate_ask(one.task, one.spec, one.attempt.model), self._releases.of(one.task.id).at_once)
            for one in entrants
        ]
        now = time.time()
        return {
            one.attempt.attempt_id: Shut(why=found.why, until=now + found.wait_seconds)
            for one, found in zip(entrants, self._limiter.take(asks), strict=True)
            if isinstance(found, Later)
        }

    def _rate_ask(self, task: TaskSpec, spec: InterfaceSpec, model: str | None) -> Ask:
        tokens = 0 if spec.limits.tokens_per_minute is None else self._guess(task, spec, model).tokens
        key = rate_key(self._quotas.key(spec), spec.limits)
        return self._limiter.ask(key, spec.limits, tokens=tokens, task_id=task.id)

    def _close_rates(self) -> None:
        try:
            self._limiter.close()
        except StorageError as error:
            _LOG.error("the rates are not written", extra={"action": "rates", "error": str(error)})

    def _over_quota(
        self, task: TaskSpec, spec: InterfaceSpec, ranked: Ranked, now: float, *, asks: bool
    ) -> Shut | None:
        readings = self._quotas.readings(spec)
        if not readings:
            return None
        key = self._quotas.key(spec)
        need = self._need(task, spec, ranked.model)
        kept = self._harvest.shut(task, spec, need, now)
        if kept is not None:
            return kept
        verdict = self._near_limit(task, ranked, spec, readings, need, now)
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
                until = self._harvest.looks_again(task, spec, min(ends, default=None), now)
                return Shut(why=why, until=until)
            case WaitUntil(why=why, until=until):
                full = next((one for one in readings if not one.fits(need)), None)
                if asks and full is not None and not self._questions.is_answered(key, full.quota.label, now):
                    self._questions.want(key, spec.name, full, why)
                return Shut(why=why, until=self._harvest.looks_again(task, spec, until, now))

    def _near_limit(
        self, task: TaskSpec, ranked: Ranked, spec: InterfaceSpec, readings: Sequence[Reading], need: Use, now: float
    ) -> Verdict:
        """The verdict on these quotas; of what would lapse unused a low-priority task may have the rest, unless the person said no."""
        key = self._quotas.key(spec)
        verdict = self._questions.verdict(key, readings, need, now)
        if isinstance(verdict, Proceed):
            return verdict
        unasked = self._harvest.unasked(task, ranked, spec, need, now)
        passed = [label for label in unasked if not self._questions.is_answered(key, label, now)]
        if not passed:
            return verdict
        asked = [one for one in readings if one.quota.label not in passed]
        verdict = self._questions.verdict(key, asked, need, now)
        if isinstance(verdict, Proceed):
            self._harvest.passed(task, spec, passed[0])
        return verdict

    def _over_budget(self, task: TaskSpec, spec: InterfaceSpec, ranked: Ranked) -> Shut | None:
        if not self._spending.concerns(task):
            return None
        verdict = self._spending.verdict(
            task,
            spec,
            self._estimate(task, spec, ranked.model),
            streams=spec.streams,
            asks=inquiries.price_answer(self._brain.journal, spec.name) != "allow",
            own_only=self._releases.of(task.id).budget,
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
            if label not in self._warned and not self._looks_only:
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

    # what a person has released

    def _note_release(self, task: TaskSpec, spec: InterfaceSpec, ranked: Ranked, choice: Choice, now: float) -> None:
        """Remember what a release has opened here, for the record of the attempt that may start."""
        terms = self._releases.of(task.id)
        if terms == NO_TERMS:
            return
        self._opened.note(
            task.id,
            ranked.name,
            terms,
            waits=self._would_wait(task, spec, ranked, now) if terms.at_once else None,
            is_dearer=ranked.tier in _DEAR and ranked.rung > choice.ranked[0].rung,
        )

    def _would_wait(self, task: TaskSpec, spec: InterfaceSpec, ranked: Ranked, now: float) -> str | None:
        """Why a task that a person released would have waited; nothing is asked or noted for it."""
        shut = self._breakers.shut(spec.name, now)
        if shut is not None:
            return shut.why
        later = self._limiter.room(self._rate_ask(task, spec, ranked.model)) if has_rate(spec) else None
        if later is not None:
            return later.why
        readings = self._quotas.readings(spec)
        verdict = self._questions.verdict(self._quotas.key(spec), readings, self._need(task, spec, ranked.model), now)
        return None if isinstance(verdict, Proceed) else verdict.why


def _has_dearer(choice: Choice, ranked: Ranked) -> bool:
    return any(one.rung > ranked.rung and one.tier in _DEAR and not one.last_resort for one in choice.ranked)


def _as_shut(no: NoRoom) -> Shut:
    return Shut(why=no.why, until=no.until)
