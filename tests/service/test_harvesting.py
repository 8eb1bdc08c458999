"""Quota that would lapse, and the person's part: with the real gate and the real order of tasks, and once with a real daemon."""

import contextlib
import time
from datetime import UTC, datetime, timedelta

import pytest

from brain_daemon.model.parsing import parse_task
from brain_daemon.model.redaction import Redactor
from brain_daemon.policy.routing import Choice
from brain_daemon.record.usage import FINDINGS
from brain_daemon.service.dispatch import Dispatch, Go
from brain_daemon.service.gate import Gate
from brain_daemon.service.harvesting import HARVEST, sentence
from brain_daemon.service.intake import Intake
from brain_daemon.service.near_limit import answered, identity
from brain_daemon.service.reporting import decisions
from brain_daemon.store.accounts import Booking

AWAY = {"quota_reserve_hours": "0-0"}
AT_HOME = {"quota_reserve_hours": "0-24"}


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


def window(amount: int, minutes: int = 40) -> str:
    """A daily quota that ends in so many minutes, to the minute."""
    ends = datetime.now(UTC) + timedelta(minutes=minutes)
    return f"limits:\n  windows:\n    - {{messages: {amount}, per: day, resets: '{ends:%H:%M} UTC'}}\n"


class Desk:
    """A dispatch and a gate; `sent` messages of one interface's quota are used in their time by somebody else."""

    def __init__(self, brain, opened) -> None:
        self.brain, self.opened = brain, opened
        registry = opened.registry()
        self.specs = {entry.spec.name: entry.spec for entry in registry.entries.values()}
        self.intake = Intake(opened, Redactor())
        self.gate = Gate(opened, self.specs.values, self.specs.get)
        self.gate.look()
        self.dispatch = Dispatch(opened.config, self.intake, registry, self.gate)

    def used(self, name: str, messages: int) -> None:
        """So many messages of now."""
        quotas = self.gate._quotas
        for number in range(messages):
            quotas._open().book([_booking(quotas.key(self.specs[name]), f"earlier{number}.a1.0123abcd")])

    def drop(self, name: str, **fields: object) -> None:
        head = "".join(f"{key}: {value}\n" for key, value in fields.items())
        self.brain.drop(f"{name}.md", f"---\n{head}---\n# Say\n\nSay it.\n")
        for found in self.intake.scan():
            self.dispatch.changed(found)

    def pick(self, free: int = 100, **running: int) -> list[Go]:
        return [pick for pick in self.dispatch.pick(free, running) if isinstance(pick, Go)]

    def started(self, free: int = 100) -> list[str]:
        return [pick.task.id for pick in self.pick(free)]

    def held(self, name: str) -> str:
        return self.dispatch.held[f"{name}.md"].reason


def _booking(key, attempt_id):
    return Booking(account=key, attempt_id=attempt_id, brain="another", at=time.time(), tokens=0, usd=None)


@contextlib.contextmanager
def a_desk(brain, **flags):
    with contextlib.closing(brain.open(**flags)) as opened:
        yield Desk(brain, opened)


def test_the_last_of_a_window_that_is_about_to_end_goes_to_low_priority_unasked(brain):
    """Nine of ten are used; a task of medium priority is asked about, one of low priority says why it is not."""
    brain.echo("counted", more=window(10) + "cost: subscription\n")
    with a_desk(brain, **AWAY) as desk:
        desk.used("counted", 9)
        desk.drop("ordinary")
        desk.drop("spare", priority="low")
        (go,) = desk.pick()
        assert go.task.id == "spare"
        assert "drawn forward: a window of counted ends in " in go.start.reason
        assert "nobody is asked about the last of 10 messages per day" in go.start.reason
        assert "asked first" in desk.held("ordinary")


@pytest.mark.parametrize(
    ("limits", "flags", "cost"),
    [
        (window(10), {**AWAY, "harvest": "false"}, "subscription"),
        (window(10, minutes=300), AWAY, "subscription"),
        (window(10, minutes=40), {**AWAY, "harvest_before": "10m"}, "subscription"),
        ("limits:\n  windows:\n    - {messages: 10, per: 5h}\n", AWAY, "subscription"),
        (window(10), AWAY, "paid"),
    ],
    ids=["switched off", "not soon", "a shorter time before it", "a sliding window", "a paid rung"],
)
def test_elsewhere_low_priority_is_asked_about_like_any_other(brain, limits, flags, cost):
    """Nothing would be lost there, or the person does not want it."""
    brain.echo("counted", more=f"{limits}cost: {cost}\n")
    with a_desk(brain, **flags) as desk:
        desk.used("counted", 9)
        desk.drop("spare", priority="low")
        assert desk.started() == []
        assert "asked first" in desk.held("spare")


def test_a_task_that_waits_for_an_answer_is_looked_at_again_when_its_window_is_ripe(brain):
    """An hour before the reset, and not only at it."""
    brain.echo("counted", more=window(10, minutes=300) + "cost: free\n")
    with a_desk(brain, **AWAY) as desk:
        desk.used("counted", 9)
        desk.drop("spare", priority="low")
        desk.pick()
        assert 235 * 60 < desk.dispatch.held["spare.md"].until - time.time() <= 240 * 60


def test_an_answer_of_the_person_goes_before_the_harvest(brain):
    """Who said wait does not find the window empty."""
    brain.echo("counted", more=window(10) + "cost: free\n")
    with a_desk(brain, **AWAY) as desk:
        desk.used("counted", 9)
        key = identity(desk.gate._quotas.key(desk.specs["counted"]), "10 messages per day")
        answered(desk.opened.journal, key, "wait_always", time.time())
        desk.drop("spare", priority="low")
        assert desk.started() == []
        assert "90%" in desk.held("spare") or "100%" in desk.held("spare")


def test_the_persons_part_is_kept_from_low_priority_in_their_hours(brain):
    """Seven of ten are used: what is left is the person's, and other tasks may have it."""
    brain.echo("counted", more=window(10) + "cost: free\n")
    with a_desk(brain, quota_reserve="30%", **AT_HOME) as desk:
        desk.used("counted", 7)
        desk.drop("spare", priority="low")
        assert desk.started() == []
        desk.drop("ordinary", priority="medium")
        assert desk.started() == ["ordinary"]
        assert desk.held("spare").startswith("counted: 30% of 10 messages per day is kept for you")


def test_low_priority_goes_before_tasks_that_would_not_use_the_window(brain):
    """Behind high priority, and behind those that go there anyway."""
    brain.echo("counted", more=window(30) + "cost: free\n")
    brain.echo("other", more="cost: free\n")
    with a_desk(brain, **AWAY) as desk:
        desk.used("counted", 20)
        for name in ("m1", "m2", "m3"):
            desk.drop(name, priority="medium", interface="other")
        desk.drop("h", priority="high", interface="other")
        desk.drop("same", priority="medium", interface="counted")
        for name in ("l1", "l2", "l3"):
            desk.drop(name, priority="low", interface="counted")
        picks = desk.pick(4)
        assert [pick.task.id for pick in picks] == ["h", "same", "l1", "l2"]
        assert ["drawn forward" in pick.start.reason for pick in picks] == [False, False, True, True]


def test_where_there_is_room_for_all_nothing_is_said_to_be_drawn_forward(brain):
    """Nobody was overtaken."""
    brain.echo("counted", more=window(100) + "cost: free\n")
    with a_desk(brain, **AWAY) as desk:
        desk.drop("m", priority="medium")
        desk.drop("low", priority="low")
        assert [("drawn" in pick.start.reason) for pick in desk.pick()] == [False, False]


def test_route_explain_says_it_of_a_task_of_low_priority(brain):
    """From what the daemon has left in the journal; a note that cannot be read says nothing."""
    brain.echo("counted", more=window(10) + "cost: free\n")
    with a_desk(brain, **AWAY) as desk:
        desk.gate.begin()
        desk.gate.publish()
        journal, now = desk.opened.journal, time.time()
        low, medium = (
            parse_task("t.md", f"---\npriority: {one}\n---\nSay it.\n".encode()) for one in ("low", "medium")
        )
        choice = desk.dispatch.choices.route(low)
        assert isinstance(choice, Choice)
        assert "a window of counted ends at" in sentence(low, choice, journal, now)
        assert sentence(medium, choice, journal, now) == ""
        assert sentence(low, choice, journal, now + 86_400) == ""
        for broken in ("not json", "[]", '{"counted": "soon"}'):
            journal.set(HARVEST, broken)
            assert sentence(low, choice, journal, now) == ""
        assert journal.get(FINDINGS)


async def test_record_board_and_report_tell_of_what_was_drawn_forward(brain):
    """One task of low priority takes the last message of a window, with the daemon."""
    brain.echo("counted", more=window(2) + "cost: subscription\n")
    async with brain.running(**AWAY) as daemon:
        brain.drop("first.md", "---\npriority: low\n---\n# Say\n\nSay it.\n")
        await daemon.ended("first")
        brain.drop("spare.md", "---\npriority: low\n---\n# Say\n\nSay it.\n")
        await daemon.ended("spare")
        await daemon.until(lambda: "are drawn forward to counted" in brain.board.read_text(), "the board")
        (told,) = [one for one in decisions(daemon.brain.journal, brain.rows()) if one.harvested]
    assert told.attempt_id.startswith("spare.")
    assert "drawn forward: a window of counted" in str(brain.recorded("spare").values["routing"]["reason"])
