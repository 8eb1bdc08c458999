"""Ask before the last tenth of a quota is spent: go on here, wait for the reset, or go on with paid interfaces.

The question is about one quota of one account and is put before the first task that would pass the threshold. An answer stands
for this window (until its reset) or always. Without one the task waits here and may go elsewhere on the same or a cheaper rung; a
default answer after a time is the person's own setting. No answer makes a used-up quota larger: that waits for the reset.

Nothing fails here. `GoPaid` is the only way to a dearer rung, and only an answer of `paid`, or that default, leads to it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from brain_daemon.policy.quotas import Reading, Use

DEFAULT_THRESHOLD = 0.9


class Answer(StrEnum):
    """What a person may say near a limit."""

    HERE = "here"
    WAIT = "wait"
    PAID = "paid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An answer; `until` is the reset of the window it was given for (epoch seconds), None: always."""

    answer: Answer
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The setting for silence, and when the question was asked (epoch seconds); None: not yet."""

    asked_at: float | None = None
    default: Answer = Answer.WAIT
    after_seconds: float | None = None

    @property
    def ends_at(self) -> float | None:
        """When the default answers (epoch seconds); None: never, as things stand."""
        if self.asked_at is None or self.after_seconds is None:
            return None
        return self.asked_at + self.after_seconds

    def is_over(self, now: float) -> bool:
        """Whether the default has answered by `now`."""
        return self.ends_at is not None and self.ends_at <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Proceed:
    """It may start here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskFirst:
    """The person is asked about the quota `label`; `until` is its reset, `silence_ends_at` when the default answers."""

    label: str
    share: float
    why: str
    until: float | None = None
    silence_ends_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """Not here now: the quota is used up, or the person said wait. `until` is epoch seconds where known."""

    why: str
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoPaid:
    """Not here now, and the person allows dearer interfaces meanwhile."""

    why: str
    until: float | None = None


Verdict = Proceed | AskFirst | WaitUntil | GoPaid


def near_limit(
    readings: Iterable[Reading],
    need: Use,
    *,
    now: float,
    threshold: float = DEFAULT_THRESHOLD,
    standing: Mapping[str, Standing] | None = None,
    asked: Mapping[str, Asked] | None = None,
    silence: Asked = Asked(),
) -> Verdict:
    """Whether a task that needs `need` may start on an interface with these quotas.

    `standing` and `asked` are this account's, keyed by the quota's label; `silence` is the setting for a quota nobody was asked about yet. Of
    several quotas the strictest verdict holds: a wait before a question, a question before a way to paid ones.
    """
    verdicts = [
        _of_one(
            reading,
            need,
            now,
            threshold,
            (standing or {}).get(reading.quota.label),
            (asked or {}).get(reading.quota.label, silence),
        )
        for reading in readings
    ]
    for kind in (WaitUntil, AskFirst, GoPaid):
        for verdict in verdicts:
            if isinstance(verdict, kind):
                return verdict
    return Proceed()


def stands(standing: Standing, now: float) -> bool:
    """Whether an answer still counts at `now`."""
    return standing.until is None or now < standing.until


def _of_one(
    reading: Reading, need: Use, now: float, threshold: float, standing: Standing | None, asked: Asked
) -> Verdict:
    share = reading.share_with(need.of(reading.quota.unit))
    by_silence = asked.default if asked.is_over(now) else None
    answer = standing.answer if standing is not None and stands(standing, now) else by_silence
    if not reading.fits(need):
        return _closed(reading, f"{reading.share:.0%} of {reading.quota.label} used", answer)
    if share < threshold or answer is Answer.HERE:
        return Proceed()
    why = f"{share:.0%} of {reading.quota.label} would be used"
    if answer is not None:
        return _closed(reading, why, answer)
    return AskFirst(
        label=reading.quota.label,
        share=share,
        why=why,
        until=reading.resets_at,
        silence_ends_at=asked.ends_at,
    )


def _closed(reading: Reading, why: str, answer: Answer | None) -> WaitUntil | GoPaid:
    if answer is Answer.PAID:
        return GoPaid(why=why, until=reading.resets_at)
    return WaitUntil(why=why, until=reading.resets_at)
