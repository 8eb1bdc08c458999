"""The daemon's rules near the end of a quota, on the meters of a simulation: the person's part, the question, what would lapse.

Nobody is there to be asked: a question waits for its window's end, for the default answer of the settings, or has the answer that the
simulation is given. The rules are policy/harvest.py's and policy/asking.py's; service/gate.py puts them together in the same order.
Instants are seconds of the virtual clock; nothing fails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.outcome import Usage
from brain_daemon.model.task import Priority
from brain_daemon.policy.admission import Shut
from brain_daemon.policy.asking import (
    DEFAULT_THRESHOLD,
    Answer,
    Asked,
    AskFirst,
    GoPaid,
    Proceed,
    Standing,
    Verdict,
    WaitUntil,
    near_limit,
)
from brain_daemon.policy.harvest import FREE_OF_COST, Reserve, kept_back, ripe, ripens_at
from brain_daemon.policy.pricing import price
from brain_daemon.policy.quotas import ONE_MESSAGE, Reading, Use
from brain_daemon.policy.routing import Ranked
from brain_daemon.policy.scenario import Arrival
from brain_daemon.policy.virtual_quota import VirtualMeter


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings: at which share of a quota to ask, what silence means, the person's part, and what is harvested.

    `answer` is what the person says whenever asked; None: nothing, and `silence` holds.
    """

    threshold: float = DEFAULT_THRESHOLD
    silence: Asked = field(default_factory=Asked)
    answer: Answer | None = None
    reserve: Reserve = field(default_factory=Reserve)
    harvest: bool = True
    harvest_before_seconds: float = 3_600.0

    @property
    def may_pay(self) -> bool:
        """Whether any answer lets a task go on to a paid rung."""
        by_silence = self.silence.after_seconds is not None and self.silence.default is Answer.PAID
        return self.answer is Answer.PAID or (self.answer is None and by_silence)


class SimulatedLimits:
    """For one contender's run. `specs` are the interfaces as declared, by name; those of one account are asked about together."""

    def __init__(
        self,
        rules: Rules,
        specs: Mapping[str, InterfaceSpec],
        meters: Mapping[str, VirtualMeter],
        usd: Mapping[str, Decimal],
    ) -> None:
        self._rules = rules
        self._specs = specs
        self._meters = meters
        self._usd = usd
        self._threshold = Decimal(str(rules.threshold))
        self._asked: dict[str, dict[str, float]] = {}

    def shut(self, arrival: Arrival, ranked: Ranked, now: float) -> Shut | None:
        """Why an interface with a free slot does not take this task now."""
        meter = self._meters.get(ranked.name)
        if meter is None:
            return None
        spec = self._specs[ranked.name]
        need = self._need(arrival, spec)
        may_wait = arrival.priority is Priority.LOW and spec.cost.tier in FREE_OF_COST
        if not may_wait and not meter.passes(now, need, self._threshold):
            return None
        readings = meter.readings(now)
        if may_wait:
            kept = kept_back(readings, need, now=now, reserve=self._rules.reserve)
            if kept is not None:
                return Shut(why=kept.why, until=kept.until)
        harvests = may_wait and self._rules.harvest
        verdict = self._verdict(spec.account or spec.name, readings, need, now)
        if harvests and not isinstance(verdict, Proceed):
            lapsing = self._lapsing(readings, ranked, need, now)
            asked = [one for one in readings if one.quota.label not in lapsing]
            verdict = self._verdict(spec.account or spec.name, asked, need, now) if lapsing else verdict
        return None if isinstance(verdict, Proceed) else self._shut(verdict, readings, now, harvests=harvests)

    def _need(self, arrival: Arrival, spec: InterfaceSpec) -> Use:
        usage = Usage(input_tokens=arrival.input_tokens, output_tokens=arrival.output_tokens)
        cost = price(spec.cost, usage, None).usd if any(one.unit == "usd" for one in spec.limits.windows) else None
        usual = self._usd.get(spec.name, Decimal(0))
        return Use(messages=1, tokens=usage.total_tokens, usd=usual if cost is None else cost)

    def _verdict(self, key: str, readings: Sequence[Reading], need: Use, now: float) -> Verdict:
        near = [one for one in readings if not one.fits(need) or self._passes(one, need)]
        asked = self._asked.setdefault(key, {})
        for one in readings:
            if one.share_with(ONE_MESSAGE.of(one.quota.unit)) < self._rules.threshold:
                asked.pop(one.quota.label, None)
        answer, silence = self._rules.answer, self._rules.silence
        verdict = near_limit(
            near,
            need,
            now=now,
            threshold=self._rules.threshold,
            standing={} if answer is None else {one.quota.label: Standing(answer=answer) for one in near},
            asked={
                label: Asked(asked_at=at, default=silence.default, after_seconds=silence.after_seconds)
                for label, at in asked.items()
            },
            silence=silence,
        )
        if isinstance(verdict, AskFirst):
            asked.setdefault(verdict.label, now)
        return verdict

    def _passes(self, reading: Reading, need: Use) -> bool:
        untouched = reading.used == 0 and reading.quota.unit == "messages"
        return not untouched and reading.share_with(need.of(reading.quota.unit)) >= self._rules.threshold

    def _lapsing(self, readings: Sequence[Reading], ranked: Ranked, need: Use, now: float) -> frozenset[str]:
        """The quotas about whose rest nobody is asked, since it would be lost."""
        found = ripe(
            readings,
            now=now,
            reserve=self._rules.reserve,
            horizon_seconds=self._rules.harvest_before_seconds,
            run_seconds=None if ranked.lesson is None else ranked.lesson.seconds,
        )
        return frozenset(one.quota.label for one in found if one.fits(need))

    def _shut(
        self, verdict: AskFirst | WaitUntil | GoPaid, readings: Sequence[Reading], now: float, *, harvests: bool
    ) -> Shut:
        if isinstance(verdict, GoPaid):
            return Shut(why=verdict.why, until=verdict.until, dearer=True)
        ends = [verdict.until]
        if isinstance(verdict, AskFirst) and self._rules.silence.after_seconds is not None:
            ends.append(verdict.silence_ends_at or now + self._rules.silence.after_seconds)
        if harvests:
            ends.append(ripens_at(readings, now=now, horizon_seconds=self._rules.harvest_before_seconds))
        return Shut(why=verdict.why, until=min((at for at in ends if at is not None), default=None))
