"""The question before the last tenth of a quota is spent: when it is put, what was answered, when it goes.

One question for one quota of one account. What it is about stands in the journal under `quota.asked.ID`, what the person said
under `quota.answer.ID`, so that `brain answer` may be another process. The rules are policy/asking.py's. Failures: StorageError
where the disk refuses; a record that cannot be read counts as none, and the person is asked again.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brain_daemon.policy.asking import Answer, Asked, Proceed, Standing, Verdict, near_limit, stands
from brain_daemon.policy.quotas import Reading, Use
from brain_daemon.record.questions import Question, QuestionKind, question_id
from brain_daemon.service import inquiries
from brain_daemon.service.config import Config
from brain_daemon.store.journal import Journal

ANSWERS: Mapping[str, Answer] = {"go_on": Answer.HERE, "wait": Answer.WAIT, "paid": Answer.PAID}
"""The choices of the question, each for this window; with `_always` behind it for good."""

ALWAYS = "_always"
_UNDATED_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """The setting: at which share to ask, and which answer stands after how long without one (None: never)."""

    threshold: float
    default: Answer
    after_seconds: float | None


def silence_of(config: Config) -> Silence:
    """As the settings have it."""
    return Silence(
        threshold=config.quota_question_at,
        default=ANSWERS.get(config.quota_default, Answer.WAIT),
        after_seconds=config.quota_silence_seconds,
    )


class NearLimit:
    """The questions of one brain. Not for several threads."""

    def __init__(self, journal: Journal, silence: Silence) -> None:
        self._journal = journal
        self._silence = silence
        self._wanted: dict[str, Question] = {}
        self._documents: dict[str, dict[str, Any]] = {}
        self._asked_at: dict[str, float] | None = None

    def begin(self) -> None:
        """A new look at the queue."""
        self._asked_at = None

    def verdict(self, key: str, readings: Sequence[Reading], need: Use, now: float) -> Verdict:
        """Whether a task that needs `need` may start on an account with these quotas."""
        threshold = self._silence.threshold
        near = [one for one in readings if not one.fits(need) or _passes(one, need, threshold)]
        if not near:
            return Proceed()
        ids = {one.quota.label: identity(key, one.quota.label) for one in near}
        return near_limit(
            near,
            need,
            now=now,
            threshold=threshold,
            standing={label: found for label, one in ids.items() if (found := standing(self._journal, one))},
            asked={label: self._asked(one) for label, one in ids.items()},
            silence=self._asked(None),
        )

    def is_answered(self, key: str, label: str, now: float) -> bool:
        """Whether the person's word on this quota stands."""
        found = standing(self._journal, identity(key, label))
        return found is not None and stands(found, now)

    def want(self, key: str, interface: str, reading: Reading, why: str) -> None:
        """The question is to be put; `ask` does."""
        label, quota = reading.quota.label, reading.quota
        asked = identity(key, label)
        if asked not in self._wanted:
            until = reading.resets_at if quota.slides_seconds is None else None
            document = {"account": key, "label": label, "until": until, "slides_seconds": quota.slides_seconds}
            self._documents[asked] = document
            self._wanted[asked] = inquiries.quota(asked, interface, why, reading.resets_at)

    def silence_would_end(self, now: float) -> float | None:
        """When the setting answers a question that is put now."""
        seconds = self._silence.after_seconds
        return None if seconds is None else now + seconds

    def ask(self) -> bool:
        """Put what is wanted and not open yet; whether there was any."""
        wanted, self._wanted = self._wanted, {}
        put = False
        for question_key, question in wanted.items():
            if question_key not in self._open():
                self._journal.set(f"quota.asked.{question_key}", json.dumps(self._documents[question_key]))
                put = inquiries.ask(self._journal, question) or put
        if put:
            self._asked_at = None
        return put

    def open_labels(self) -> Iterable[tuple[str, str, str]]:
        """The open questions as (id, account, label of the quota)."""
        for question_key in self._open():
            document = _read(self._journal, f"quota.asked.{question_key}")
            yield question_key, str(document.get("account", "")), str(document.get("label", ""))

    def withdraw(self, question_key: str) -> None:
        """Its reason has gone."""
        self._journal.withdraw(question_key)
        self._asked_at = None

    def _asked(self, question_key: str | None) -> Asked:
        asked_at = None if question_key is None else self._open().get(question_key)
        return Asked(asked_at=asked_at, default=self._silence.default, after_seconds=self._silence.after_seconds)

    def _open(self) -> dict[str, float]:
        if self._asked_at is None:
            self._asked_at = {
                found: asked_at
                for found, (document, asked_at) in self._journal.questions().items()
                if document["kind"] == QuestionKind.QUOTA
            }
        return self._asked_at


def _passes(reading: Reading, need: Use, threshold: float) -> bool:
    """Whether the task would take the quota past the share; the first message of a tiny one is none to ask about."""
    untouched = reading.used == 0 and reading.quota.unit == "messages"
    return not untouched and reading.share_with(need.of(reading.quota.unit)) >= threshold


def identity(key: str, label: str) -> str:
    """The id of the question about one quota of one account."""
    return question_id(QuestionKind.QUOTA, f"{key} {label}")


def standing(journal: Journal, question_key: str) -> Standing | None:
    """What the person has answered, for as long as it was meant to stand."""
    told = _read(journal, f"quota.answer.{question_key}")
    try:
        until = told.get("until")
        return Standing(answer=Answer(told["answer"]), until=None if until is None else float(until))
    except (KeyError, TypeError, ValueError):
        return None


def answered(journal: Journal, question_key: str, choice: str, now: float) -> str:
    """Keep an answer; a sentence on its effect. ValueError where the choice is none of ours."""
    always = choice.endswith(ALWAYS)
    word = choice.removesuffix(ALWAYS)
    if word not in ANSWERS:
        raise ValueError(choice)
    asked = _read(journal, f"quota.asked.{question_key}")
    until = None if always else _ends(asked, now)
    journal.set(f"quota.answer.{question_key}", json.dumps({"answer": ANSWERS[word].value, "until": until}))
    how_long = "from now on" if always else "until it resets"
    return {"go_on": "tasks go on here", "wait": "tasks wait", "paid": "tasks may go to paid interfaces"}[
        word
    ] + f" {how_long}"


def _ends(asked: Mapping[str, Any], now: float) -> float:
    """When the window that was asked about is over; a sliding one is taken to last its length from now."""
    slides, until = asked.get("slides_seconds"), asked.get("until")
    ends = now + float(slides) if isinstance(slides, int | float) else until
    return float(ends) if isinstance(ends, int | float) and math.isfinite(ends) else now + _UNDATED_SECONDS


def _read(journal: Journal, key: str) -> dict[str, Any]:
    try:
        told = json.loads(journal.get(key) or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
