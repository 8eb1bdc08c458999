"""The question before the last tenth of a quota: asked once, answered for a window or for ever, never answered by silence alone."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.policy.asking import (
    Answer,
    Asked,
    AskFirst,
    GoPaid,
    Proceed,
    Standing,
    WaitUntil,
    near_limit,
    stands,
)
from brain_daemon.policy.quotas import ONE_MESSAGE, Quota, Reading, Since, Use

NOW = 1_000_000.0
RESET = NOW + 600


def reading(used: int, label: str = "100 messages per 5h") -> Reading:
    quota = Quota(label=label, unit="messages", amount=Decimal(100), counted=(Since(at=0.0),), resets_at=RESET)
    return Reading(quota=quota, used=Decimal(used), resets_at=RESET)


def verdict(used: int, answer: Answer | None = None, *, until: float | None = None, need: Use = ONE_MESSAGE, **more):
    one = reading(used)
    standing = {one.quota.label: Standing(answer=answer, until=until)} if answer else {}
    return near_limit([one], need, now=NOW, standing=standing, **more)


def test_below_the_threshold_nobody_is_asked():
    """The task's own need counts: the one that would reach 90 % is the one that is asked about."""
    assert verdict(88) == Proceed()
    assert verdict(89) == AskFirst(
        label="100 messages per 5h", share=0.9, why="90% of 100 messages per 5h would be used", until=RESET
    )
    assert isinstance(verdict(70, need=Use(messages=20)), AskFirst)
    assert verdict(89, threshold=0.95) == Proceed()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Answer.HERE, Proceed()),
        (Answer.WAIT, WaitUntil(why="91% of 100 messages per 5h would be used", until=RESET)),
        (Answer.PAID, GoPaid(why="91% of 100 messages per 5h would be used", until=RESET)),
    ],
)
def test_an_answer_stands_for_its_window_or_always(answer, found):
    """After the reset it is asked anew, unless the answer was for always."""
    assert verdict(90, answer) == found
    assert verdict(90, answer, until=RESET) == found
    assert isinstance(verdict(90, answer, until=NOW), AskFirst)
    assert stands(Standing(answer=answer), NOW)


@pytest.mark.parametrize("answer", [None, Answer.HERE, Answer.WAIT])
def test_a_used_up_quota_waits_for_its_reset_whatever_was_answered(answer):
    """Going on here is no larger quota."""
    assert verdict(100, answer) == WaitUntil(why="100% of 100 messages per 5h used", until=RESET)


def test_with_leave_a_used_up_quota_leads_to_paid_ones():
    """That is what the answer was for."""
    assert isinstance(verdict(100, Answer.PAID), GoPaid)


def test_a_task_larger_than_the_whole_quota_is_asked_about():
    """It would wait for ever otherwise, and it may start where the person says so."""
    assert isinstance(verdict(0, need=Use(messages=150)), AskFirst)
    assert verdict(0, Answer.HERE, need=Use(messages=150)) == Proceed()


def test_silence_answers_only_after_the_time_the_person_set():
    """Before it the question is open and says when it will be answered."""
    label = reading(0).quota.label
    asked = Asked(asked_at=NOW - 60, default=Answer.PAID, after_seconds=61)
    open_question = verdict(95, asked={label: asked})
    assert isinstance(open_question, AskFirst)
    assert open_question.silence_ends_at == NOW + 1
    over = Asked(asked_at=NOW - 61, default=Answer.PAID, after_seconds=61)
    assert isinstance(verdict(95, asked={label: over}), GoPaid)
    never = Asked(asked_at=NOW - 1e9, default=Answer.PAID)
    assert isinstance(verdict(95, asked={label: never}), AskFirst)
    assert isinstance(verdict(95, silence=Asked(default=Answer.PAID, after_seconds=0)), AskFirst)
    assert [one.is_over(NOW) for one in (asked, over, never)] == [False, True, False]


def test_of_several_quotas_the_strictest_verdict_holds():
    """A wait before a question, a question before a way to paid ones."""
    week, day = reading(100, "week"), reading(95, "day")
    paid = {"day": Standing(answer=Answer.PAID)}
    assert isinstance(near_limit([day, week], ONE_MESSAGE, now=NOW, standing=paid), WaitUntil)
    third = reading(95, "third")
    found = near_limit([day, third], ONE_MESSAGE, now=NOW, standing=paid)
    assert isinstance(found, AskFirst)
    assert found.label == "third"
    assert near_limit([], ONE_MESSAGE, now=NOW) == Proceed()


ANSWERS = st.one_of(st.none(), st.sampled_from(list(Answer)))


@given(
    used=st.integers(0, 130),
    need=st.integers(0, 130),
    answer=ANSWERS,
    until=st.one_of(st.none(), st.floats(NOW - 1000, NOW + 1000)),
    asked_at=st.one_of(st.none(), st.floats(NOW - 1000, NOW + 1000)),
    after_seconds=st.one_of(st.none(), st.floats(0, 1000)),
    default=st.sampled_from(list(Answer)),
)
def test_nothing_leads_to_paid_but_a_standing_answer_or_the_set_default(
    used, need, answer, until, asked_at, after_seconds, default
):
    """And nothing starts here on a used-up quota."""
    one = reading(used)
    found = near_limit(
        [one],
        Use(messages=need),
        now=NOW,
        standing={one.quota.label: Standing(answer=answer, until=until)} if answer else {},
        asked={one.quota.label: Asked(asked_at=asked_at, default=default, after_seconds=after_seconds)},
    )
    said = answer is Answer.PAID and (until is None or until > NOW)
    silent = asked_at is not None and after_seconds is not None and asked_at + after_seconds <= NOW
    if isinstance(found, GoPaid):
        assert said or (silent and default is Answer.PAID)
    if used >= 100:
        assert isinstance(found, WaitUntil | GoPaid)
