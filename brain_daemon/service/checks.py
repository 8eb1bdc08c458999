"""When an interface is looked at, and what a person is asked about it: a login that has expired is found here, not by forty tasks.

    a content nobody has looked at           at once
    it says that it is not logged in         at once; from the second time in a row on, after the interval
    its last look found a fault              after the interval, or as soon as the person has answered the question
    a login, or a key that a command prints  after each interval (setting check_interval)
    anything else                            once

What was refused while it ran is held by its circuit breaker (service/breakers.py), and stays in the ranking: tasks wait for it.
The breaker outlives the daemon, so a new one takes up from it, and from the open question, what the one before knew.

Times are monotonic seconds. All but the look itself, which runs in a thread, belongs to the loop's thread. Failures: none are
fatal; what a look finds is the registry's reason why the interface cannot be used.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from brain_daemon.adapters.checking import Health, examine, how_to_log_in
from brain_daemon.adapters.registry import Registry
from brain_daemon.adapters.secrets import forget
from brain_daemon.model.interface import AuthMethod, InterfaceSpec, InvokeKind
from brain_daemon.model.outcome import FailureKind
from brain_daemon.record.questions import Question, QuestionKind, question_from
from brain_daemon.service import inquiries
from brain_daemon.service.breakers import waits_for_login
from brain_daemon.store.journal import Journal

_ANSWER_LOOK_SECONDS = 1.0


@dataclass(slots=True)
class _Watch:
    """What is known of one content: when to look next, refusals of its login in a row, and whether a person was asked.

    What was in flight when the login ran out is refused together, which counts once: `passed` says that a look has let somebody try
    since. `answered`: an attempt has ended well since.
    """

    sha256: str
    due: float
    refusals: int = 0
    running: bool = False
    asked: bool = False
    passed: bool = False
    answered: bool = False


class Checks:
    """`changed` is called when a look has changed what an interface can do."""

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        environment: Mapping[str, str],
        interval_seconds: float,
        changed: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._environment = environment
        self._interval = interval_seconds
        self._changed = changed
        self._watches: dict[str, _Watch] = {}
        self._answers_due = -math.inf

    @property
    def is_checking(self) -> bool:
        """Whether a look is under way, whose end may free a task."""
        return any(watch.running for watch in self._watches.values())

    @property
    def next_due(self) -> float | None:
        """When the next look is due; None while nothing is to be looked at."""
        dues = [watch.due for watch in self._watches.values() if not watch.running and watch.due < math.inf]
        return min(dues, default=None)

    def due(self, now: float) -> list[InterfaceSpec]:
        """The interfaces to look at now; each must be given to `run`."""
        specs = {spec.name: spec for spec in self._registry.checkable()}
        self._keep_watch(specs, now)
        self._notice_answers(now)
        for name, watch in self._watches.items():
            self._forgive(name, watch)
        return [specs[name] for name, watch in self._watches.items() if not watch.running and watch.due <= now]

    async def run(self, spec: InterfaceSpec, now: Callable[[], float] = time.monotonic) -> Health:
        """Look at one interface, tell the registry, ask or stop asking; `now` is read when the look has ended."""
        watch = self._watches.setdefault(spec.name, _Watch(spec.sha256, 0.0))
        watch.running = True
        try:
            health = await asyncio.to_thread(examine, spec, self._environment)
        finally:
            watch.running = False
        if health.auth_fault:
            watch.refusals = 0  # it can tell, so that its word counts when it passes
        watch.passed = self.vouches(spec, health)
        again = health.why_not or watch.refusals or _is_kept(spec)
        watch.due = now() + self._interval if again else math.inf
        is_held = not health.fault and waits_for_login(self._journal, spec.name)
        self._registry.note_check(spec, "" if is_held else health.why_not)
        self._tell(spec, watch, health)
        self._changed()
        return health

    def vouches(self, spec: InterfaceSpec, health: Health) -> bool:
        """Whether a look says that its login is good: one that passes although it was refused since proves nothing."""
        watch = self._watches.get(spec.name)
        refusals = 0 if watch is None else watch.refusals
        return not health.why_not and (not refusals or (_can_tell(spec) and refusals == 1))

    def note_outcome(self, name: str, kind: FailureKind | None, now: float) -> None:
        """An attempt on this interface has ended: with this kind of failure, or well (None)."""
        watch = self._watches.get(name)
        if watch is None:
            return
        if kind is FailureKind.AUTH:
            self._refused(name, watch, now)
        elif kind is None and watch.refusals:
            watch.answered = True
            self._forgive(name, watch)

    def _forgive(self, name: str, watch: _Watch) -> None:
        """An attempt that has ended well is proof of its login, unless it began before that was refused: then the breaker stays open."""
        if watch.answered and not waits_for_login(self._journal, name):
            watch.answered, watch.refusals = False, 0
            self._withdraw(name, watch)

    def _refused(self, name: str, watch: _Watch, now: float) -> None:
        """The first time its check may say more; one that passes although the login is refused again proves nothing."""
        spec = next((spec for spec in self._registry.checkable() if spec.name == name), None)
        if not watch.refusals or watch.passed:
            watch.refusals += 1
            watch.due = now if watch.refusals == 1 else now + self._interval
        watch.passed = watch.answered = False
        if spec is None:
            return
        forget(spec.auth)
        if watch.refusals > 1 or not _can_tell(spec):
            self._ask(spec, watch, f"it said so itself; {how_to_log_in(spec)}", noticed=False)

    def _tell(self, spec: InterfaceSpec, watch: _Watch, health: Health) -> None:
        if health.auth_fault:
            self._ask(spec, watch, health.auth_fault, noticed=True)
        elif watch.passed:
            self._withdraw(spec.name, watch)

    def _ask(self, spec: InterfaceSpec, watch: _Watch, fault: str, *, noticed: bool) -> None:
        watch.asked = True
        if inquiries.ask(self._journal, inquiries.login(spec.name, fault, noticed=noticed)):
            self._changed()

    def _withdraw(self, name: str, watch: _Watch) -> None:
        watch.asked = False
        if inquiries.withdraw_about(self._journal, name, QuestionKind.AUTH):
            self._changed()

    def _keep_watch(self, specs: Mapping[str, InterfaceSpec], now: float) -> None:
        """Follow the registry: a new content is looked at, one that is gone is forgotten with its question."""
        for name in [name for name in self._watches if name not in specs]:
            self._withdraw(name, self._watches.pop(name))
        for name, spec in specs.items():
            known = self._watches.get(name)
            if known is None or known.sha256 != spec.sha256:
                self._watches[name] = self._taken_up(spec, now, is_new=known is None)

    def _taken_up(self, spec: InterfaceSpec, now: float, *, is_new: bool) -> _Watch:
        """The watch of a content that was not seen before. A login that an earlier daemon found refused is refused still, until its
        check can tell otherwise or the person has answered; a changed file is a reason to try."""
        is_locked = waits_for_login(self._journal, spec.name)
        watch = _Watch(spec.sha256, now if is_locked or spec.has_check else math.inf)
        question = self._open_questions().get(spec.name) if is_new and is_locked else None
        if question is not None:
            watch.asked, watch.refusals = True, 2 if inquiries.is_unnoticed(question) else 1
        return watch

    def _notice_answers(self, now: float) -> None:
        """A question that was put and is gone was answered: the person has logged in."""
        asked = {name: watch for name, watch in self._watches.items() if watch.asked}
        if not asked or now < self._answers_due:
            return
        self._answers_due = now + _ANSWER_LOOK_SECONDS
        for name in asked.keys() - self._open_questions().keys():
            asked[name].asked, asked[name].refusals, asked[name].due = False, 0, now
            self._forget_secret(name)

    def _open_questions(self) -> dict[str, Question]:
        """Those about logins, by interface."""
        documents = (document for document, _ in self._journal.questions().values())
        return {one["subject"]: question_from(one) for one in documents if one["kind"] == QuestionKind.AUTH}

    def _forget_secret(self, name: str) -> None:
        entry = self._registry.entries.get(name)
        if entry is not None:
            forget(entry.spec.auth)


def _can_tell(spec: InterfaceSpec) -> bool:
    """Whether it has a check that is about its login: one that only says its version passes without any."""
    return bool(spec.auth.check) or spec.invoke.kind is InvokeKind.HTTP


def _is_kept(spec: InterfaceSpec) -> bool:
    """Whether what was found may change by itself."""
    return spec.auth.method is AuthMethod.OAUTH or bool(spec.auth.check or spec.auth.secret_command)
