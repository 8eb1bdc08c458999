"""What comes of no answer to the question of a quota: the question names choice and instant, and nothing happens before it or unsaid."""

import asyncio
import os
import re
import shutil
import time
from collections import Counter
from decimal import Decimal
from itertools import cycle

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from brain_daemon.model.errors import StorageError
from brain_daemon.policy.asking import Answer
from brain_daemon.record.questions import answered, question_from
from brain_daemon.record.wording import utc
from brain_daemon.service import answering, inquiries, near_limit
from brain_daemon.service.near_limit import NearLimit, Silence
from tests.service.test_histories import HISTORIES, HOUR, MAY_PAY, History, Played, World, overdrawn, played

__all__ = ["played"]

TWO = "limits: {messages_per_day: 2}\ncost: free\n"
PAID = Silence(threshold=0.9, default=Answer.PAID, after_seconds=HOUR)
ID = "quota-account-2-messages"


def questions(opened):
    return [question_from(document) for document, _ in opened.journal.questions().values()]


def page(brain) -> str:
    path = brain.root / "prompts" / "answered.md"
    return path.read_text() if path.exists() else ""


async def test_the_question_says_when_its_tasks_go_to_a_paid_interface_and_then_they_do(brain, monkeypatch, tmp_path):
    """Until then they wait; from then on it is filed as answered by default, with time and effect, and asks no more."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    brain.echo("counted", more=TWO)
    brain.echo("dear", more="cost: paid\n")
    async with brain.running(quota_silence="3s", quota_default="paid") as daemon:
        for name in "abc":
            brain.drop(f"{name}.md", "---\npreferred_interface: counted\n---\n# Say\n\nSay it.\n")
        (question,) = await daemon.until(lambda: questions(daemon.brain), "the question")
        ends_at = question.asked_at + 3
        assert f"Without an answer by {utc(ends_at)} `paid` takes effect" in question.text
        assert "its tasks may go to paid interfaces until it resets" in question.text
        await daemon.ended(*"abc")
        await daemon.until(lambda: "by default" in page(brain), "the answer to be filed")
        await daemon.until(lambda: question.id not in brain.questions.read_text(), "the page without it")
        assert not questions(daemon.brain)
    starts = {row.interface: row.timestamp for row in brain.rows()}
    assert sorted(row.interface for row in brain.rows()) == ["counted", "dear", "dear"]
    assert starts["dear"] >= utc(ends_at)[:19]
    (given_,) = answered(page(brain).encode())
    assert (given_.question_id, given_.key) == (question.id, "paid")
    assert given_.at >= utc(ends_at)
    assert given_.effect == "counted: tasks may go to paid interfaces until it resets"
    assert "by default" in brain.git("show", "HEAD:prompts/answered.md")


class Desk:
    """The questions of one brain on a clock that the test sets, without a daemon."""

    def __init__(self, folder, opened, monkeypatch) -> None:
        self.folder, self.opened = folder, opened
        self.now = 1_800_000_000.0
        monkeypatch.setattr(time, "time", lambda: self.now)
        self.open()

    def open(self, silence: Silence = PAID) -> NearLimit:
        self.near = NearLimit(self.opened.journal, silence)
        self.near.begin()
        return self.near

    def put(self, silence: Silence = PAID) -> None:
        """As `want` and `ask` do when a task would pass the share."""
        question = inquiries.quota(ID, "counted", "90% would be used", None, silence.words(self.now))
        near = self.open(silence)
        near._wanted[ID] = question
        near._documents[ID] = {"until": self.now + 5 * HOUR, "slides_seconds": None} | near._promise(self.now)
        assert near.ask()

    def standing(self) -> Answer | None:
        found = near_limit.standing(self.opened.journal, ID)
        return found and found.answer


@pytest.fixture
def desk(brain, monkeypatch):
    opened = brain.open()
    yield Desk(brain, opened, monkeypatch)
    opened.close()


def test_it_is_filed_once_whatever_crashes_and_restarts_lie_between(desk, monkeypatch):
    """The disk refuses each write in turn; the next start goes on, and the page has the answer once."""
    desk.put()
    desk.now += HOUR
    journal, writes = desk.opened.journal, [0]
    real = journal.transaction

    def refusing(allowed):
        def transaction():
            writes[0] += 1
            if writes[0] > allowed:
                raise StorageError("the disk is full")
            return real()

        return transaction

    for allowed in range(5):
        writes[0] = 0
        monkeypatch.setattr(journal, "transaction", refusing(allowed))
        try:
            desk.open()
            answering.take(desk.opened)
        except StorageError:
            pass
    monkeypatch.setattr(journal, "transaction", real)
    desk.open()
    answering.take(desk.opened)
    assert page(desk.folder).count(f"## {ID}\n") == 1
    assert questions(desk.opened) == []
    assert desk.standing() is Answer.PAID
    assert not list(near_limit.lapsed(journal))


def test_the_same_quota_is_asked_and_answered_anew_in_its_next_window(desk):
    """Each time has its section."""
    for _ in range(2):
        desk.put()
        desk.now += HOUR
        desk.open()
        assert [choice.key for choice in answering.take(desk.opened)] == ["paid"]
        desk.now += 5 * HOUR
    assert page(desk.folder).count(f"## {ID}\n") == 2


def test_another_setting_is_said_before_it_counts(desk):
    """Who sets a default while a question is open is told in it, and has the whole time to answer; who takes it back is rid of it."""
    never = Silence(threshold=0.9, default=Answer.WAIT, after_seconds=None)
    desk.put(never)
    assert questions(desk.opened)[0].text.endswith(inquiries.SILENT)
    asked_at = questions(desk.opened)[0].asked_at
    desk.now += 3 * HOUR
    near = desk.open(PAID)
    (question,) = questions(desk.opened)
    assert near.ask()
    assert not near.ask()
    assert f"by {utc(desk.now + HOUR)} `paid`" in question.text
    assert question.text.startswith("counted: 90% would be used.")
    assert question.asked_at == asked_at
    desk.now += HOUR - 1
    near.begin()
    assert desk.standing() is None
    desk.open(never)
    desk.now += 9 * HOUR
    desk.near.begin()
    assert questions(desk.opened)[0].text.endswith(inquiries.SILENT)
    assert desk.standing() is None


def test_a_person_who_answers_in_time_is_not_overruled(desk):
    """Their word stands after the instant that the question named."""
    desk.put()
    answering.answer(desk.opened, questions(desk.opened)[0], "wait", "command")
    desk.now += 2 * HOUR
    desk.open()
    assert answering.take(desk.opened) == []
    assert desk.standing() is Answer.WAIT
    assert "by default" not in page(desk.folder)


def test_what_cannot_be_read_is_no_answer(desk):
    """A damaged note of what has lapsed is thrown away; a damaged promise begins anew."""
    desk.opened.journal.set("quota.lapsed.x", "{")
    assert answering.take(desk.opened) == []
    assert desk.opened.journal.values("quota.lapsed.") == {}
    desk.put()
    desk.opened.journal.set(f"quota.asked.{ID}", "[]")
    desk.now += 2 * HOUR
    desk.open()
    assert desk.standing() is None
    assert f"by {utc(desk.now + HOUR)} `paid`" in questions(desk.opened)[0].text


class Unbudgeted(History):
    """What is counted against budgets has histories of its own."""

    def counted_usd(self) -> Decimal:
        return self.world.spent_usd


steps = st.one_of(
    st.tuples(st.just("drop"), st.lists(st.sampled_from(["plain", "low", "ask"]), min_size=1, max_size=5)),
    st.tuples(st.just("clock"), st.sampled_from([60.0, HOUR / 2, HOUR, 3 * HOUR, 26 * HOUR])),
    st.tuples(st.just("restart"), st.none()),
)
ASKED_AND_LEFT = [
    ("drop", ["plain"] * 5),
    ("clock", HOUR / 2),
    ("restart", None),
    ("clock", HOUR),
    ("drop", ["plain"] * 3),
    ("clock", 26 * HOUR),
    ("drop", ["plain"] * 5),
    ("clock", HOUR),
]


@pytest.mark.timeout(30 * HISTORIES + 300)
@settings(
    max_examples=HISTORIES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(told=st.lists(steps, min_size=3, max_size=9))
@example(told=ASKED_AND_LEFT)
def test_nothing_is_paid_for_before_the_question_says_so_or_without_a_record(played, brain, tmp_path, told):
    """Of every history: each start there lies after an answer in the page, each such answer after the instant it was promised for."""
    world = Played.world = World(outcomes=cycle([None]))
    here = tmp_path / "history"
    shutil.rmtree(here, ignore_errors=True)
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
    folder = type(brain)(here, brain.state_home)
    shutil.copytree(brain.root, here)
    folder.echo("free", more="cost: free\nidempotent: true\nlimits:\n  windows:\n    - {messages: 3, per: 5h}\n")
    folder.echo("dear", more="cost: paid\nidempotent: true\n")

    async def tell() -> None:
        history = Unbudgeted(folder, world, quota_silence="1h", quota_default="paid", unknown_price="allow")
        await history.start()
        try:
            for step in told:
                await history.do(step)
            await history.settled()
            late = [one for one in questions(history.brain) if promised_for(one.text) <= utc(world.now)]
            assert not late
        finally:
            await history.stop()

    asyncio.run(tell())
    text = page(folder)
    sections = Counter(re.findall(r"^## (\S+)\n\n(About .*)$", text, flags=re.MULTILINE))
    assert set(sections.values()) <= {1}
    given_ = answered(text.encode())
    assert all(one.key == "paid" and one.at >= promised_for(one.question) for one in given_)
    for name, at, _, task in world.sent:
        if name == "dear" and task.split("-")[0] not in MAY_PAY:
            assert any(one.at <= utc(at) for one in given_), (task, utc(at), text)
    assert not overdrawn(world.sent, "free", 3, 5 * HOUR)


def promised_for(text: str) -> str:
    """The instant that a question names."""
    found = re.search(r"Without an answer by (\S+) `paid`", text)
    assert found, text
    return found[1]
