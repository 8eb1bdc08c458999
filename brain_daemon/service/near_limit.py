"""The question before the last tenth of a quota is spent: when it is put, what was answered, when it goes.

One question for one quota of one account. What it is about stands in the journal under `quota.asked.ID`, what the person said
under `quota.answer.ID`, so that `brain answer` may be another process.

The setting for silence is a promise from when the question is put: the question names the instant, and `quota.asked.ID` keeps it, so that a
restart neither hurries nor forgets it. Where the setting has changed since, the question is put anew with what holds from now on. When
the instant has come the default becomes the answer for this window, the question goes, and `quota.lapsed.ID` holds it until
service/answering.py has filed it in prompts/answered.md; each of these steps may be repeated.

The rules are policy/asking.py's. Failures: StorageError where the disk refuses; a record that cannot be read counts as none, and the
person is asked again.
"""

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from brain_daemon.policy.asking import Answer, Asked, Proceed, Standing, Verdict, near_limit, stands
from brain_daemon.policy.quotas import Reading, Use
from brain_daemon.record.questions import Question, QuestionKind, question_from, question_id, question_to
from brain_daemon.service import inquiries
from brain_daemon.service.config import Config
from brain_daemon.store.journal import Journal

PAID = "paid"
ANSWERS: Mapping[str, Answer] = {"go_on": Answer.HERE, "wait": Answer.WAIT, PAID: Answer.PAID}
"""The choices of the question, each for this window; with `_always` behind it for good."""

ALWAYS = "_always"

_LOG = logging.getLogger("brain_daemon")
_LAPSED = "quota.lapsed."
_CHOICES = {answer: choice for choice, answer in ANSWERS.items()}
_UNDATED_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """The setting: at which share to ask, and which answer stands after how long without one (None: never)."""

    threshold: float
    default: Answer
    after_seconds: float | None

    @property
    def choice(self) -> str:
        """The default as the key of a choice."""
        return _CHOICES[self.default]

    def is_promised(self, asked: Asked) -> bool:
        """Whether a question says so."""
        if self.after_seconds is None or asked.asked_at is None:
            return self.after_seconds == asked.after_seconds
        return (self.default, self.after_seconds) == (asked.default, asked.after_seconds)

    def words(self, asked_at: float) -> str:
        """What a question that is put at `asked_at` (epoch seconds) says of no answer."""
        if self.after_seconds is None:
            return inquiries.silence(None, asked_at)
        return inquiries.silence(self.choice, asked_at + self.after_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapsed:
    """A question that the setting has answered: which choice, when (epoch seconds), and what that does."""

    question: Question
    key: str
    at: float
    effect: str


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
        self._asked_at: dict[str, Asked] | None = None
        self._looks_at_promises = True
        self._has_news = False

    def begin(self) -> None:
        """A new look at the queue: what nobody has answered in time is answered now."""
        self._asked_at = None
        if self._looks_at_promises:
            self._keep_promises(time.time())
            self._looks_at_promises = self._silence.after_seconds is not None

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
            put = inquiries.quota(asked, interface, why, reading.resets_at)
            text = put.text.replace(inquiries.SILENT, self._silence.words(put.asked_at))
            self._documents[asked] = document | self._promise(put.asked_at)
            self._wanted[asked] = replace(put, text=text)

    def silence_would_end(self, now: float) -> float | None:
        """When the setting answers a question that is put now."""
        seconds = self._silence.after_seconds
        return None if seconds is None else now + seconds

    def ask(self) -> bool:
        """Put what is wanted and not open yet; whether there was any, or one was answered by silence since."""
        wanted, self._wanted = self._wanted, {}
        put, self._has_news = self._has_news, False
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
        unasked = Asked(default=self._silence.default, after_seconds=self._silence.after_seconds)
        return unasked if question_key is None else self._open().get(question_key, unasked)

    def _open(self) -> dict[str, Asked]:
        if self._asked_at is None:
            self._asked_at = {one.id: promised(self._journal, one.id) for one in open_about_quotas(self._journal)}
        return self._asked_at

    def _promise(self, asked_at: float) -> dict[str, Any]:
        """What `quota.asked.ID` keeps of a question that says so."""
        return {"promised_at": asked_at, "default": self._silence.choice, "after_seconds": self._silence.after_seconds}

    def _keep_promises(self, now: float) -> None:
        for question in open_about_quotas(self._journal):
            asked = promised(self._journal, question.id)
            if not self._silence.is_promised(asked):
                self._promise_anew(question, now)
            elif asked.is_over(now):
                lapse(self._journal, question, self._silence.choice, now)
            else:
                continue
            self._asked_at, self._has_news = None, True

    def _promise_anew(self, question: Question, now: float) -> None:
        """The setting is another one than the question says: the time it gives begins now."""
        about = question.text.rpartition("\n\n")[0]
        document = _read(self._journal, f"quota.asked.{question.id}")
        self._journal.set(f"quota.asked.{question.id}", json.dumps(document | self._promise(now)))
        self._journal.withdraw(question.id)
        inquiries.ask(self._journal, replace(question, text=f"{about}\n\n{self._silence.words(now)}"))


def _passes(reading: Reading, need: Use, threshold: float) -> bool:
    """Whether the task would take the quota past the share; the first message of a tiny one is none to ask about."""
    untouched = reading.used == 0 and reading.quota.unit == "messages"
    return not untouched and reading.share_with(need.of(reading.quota.unit)) >= threshold


def open_about_quotas(journal: Journal) -> list[Question]:
    """The questions about quotas that nobody has answered."""
    open_questions = (document for document, _ in journal.questions().values())
    return [question_from(one) for one in open_questions if one["kind"] == QuestionKind.QUOTA]


def promised(journal: Journal, question_key: str) -> Asked:
    """What the question says of no answer; nothing where that cannot be read."""
    told = _read(journal, f"quota.asked.{question_key}")
    at, default, seconds = told.get("promised_at"), told.get("default"), told.get("after_seconds")
    return Asked(
        asked_at=float(at) if isinstance(at, int | float) else None,
        default=ANSWERS.get(str(default), Answer.WAIT),
        after_seconds=float(seconds) if isinstance(seconds, int | float) else None,
    )


def lapse(journal: Journal, question: Question, choice: str, now: float) -> None:
    """The default becomes the answer, and the question goes. The answer is first: after a crash the same is done again."""
    effect = answered(journal, question.id, choice, now)
    document = {"question": question_to(question), "key": choice, "at": now, "effect": effect}
    journal.set(_LAPSED + question.id, json.dumps(document))
    journal.withdraw(question.id)
    _LOG.info(
        "a question has its default answer", extra={"action": "answer", "question": question.id, "answer": choice}
    )


def lapsed(journal: Journal) -> Iterator[Lapsed]:
    """What the setting has answered and nobody has filed yet."""
    for key in journal.values(_LAPSED):
        told = _read(journal, key)
        try:
            question = question_from(told["question"])
            yield Lapsed(question=question, key=told["key"], at=float(told["at"]), effect=told["effect"])
        except (KeyError, TypeError, ValueError):
            journal.unset(key)


def filed(journal: Journal, one: Lapsed) -> None:
    """prompts/answered.md has it."""
    journal.unset(_LAPSED + one.question.id)


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
