"""When an interface is looked at and what a person is asked: on a real brain, with real checks and a clock of its own."""

import asyncio
from pathlib import Path

import pytest

from brain_daemon.model.outcome import Failed, FailureKind
from brain_daemon.record.questions import question_from
from brain_daemon.service.answering import answer
from brain_daemon.service.breakers import Breakers, waits_for_login
from brain_daemon.service.checks import Checks
from brain_daemon.service.snapshot import BREAKERS

INTERVAL_SECONDS = 900.0
OAUTH = "auth: {{method: oauth, check: [test, -e, {login}], login: one login}}\n"


class Place:
    """A brain with its checks, at a time that the test sets."""

    def __init__(self, folder, brain) -> None:
        self.folder, self.brain = folder, brain
        self.registry = brain.registry()
        self.now = 1000.0
        self.changes = 0
        self.vouched: list[str] = []
        self.checks = Checks(brain.journal, self.registry, brain.config.environment, INTERVAL_SECONDS, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def restart(self) -> None:
        """The next daemon: what only the one before remembered is gone."""
        self.registry = self.brain.registry()
        self.checks = Checks(
            self.brain.journal, self.registry, self.brain.config.environment, INTERVAL_SECONDS, self._changed
        )

    def refused(self, name: str) -> None:
        """An attempt was told that it is not logged in, which opens the breaker."""
        self.checks.note_outcome(name, FailureKind.AUTH, self.now)
        Breakers(self.brain.journal).ended(name, "a", Failed(kind=FailureKind.AUTH, message="no"), self.now)

    def due(self) -> list[str]:
        self.registry.scan()
        return sorted(spec.name for spec in self.checks.due(self.now))

    def look(self) -> list[str]:
        """Run what is due; the names."""
        names = self.due()
        for spec in self.checks.due(self.now):
            if spec.name in names:
                health = asyncio.run(self.checks.run(spec, lambda: self.now))
                if self.checks.vouches(spec, health) and waits_for_login(self.brain.journal, spec.name):
                    self.vouched.append(spec.name)
                    Breakers(self.brain.journal).checked(spec.name, passed=True)
        self.registry.scan()
        return names

    def why_not(self, name: str) -> str:
        self.registry.scan()
        return self.registry.entries[name].why_not

    def questions(self) -> list[str]:
        return [
            document["text"] for document, _ in self.brain.journal.questions().values() if document["kind"] == "auth"
        ]


@pytest.fixture
def login(tmp_path) -> Path:
    """The login is good while this file is there."""
    return tmp_path / "login"


@pytest.fixture
def place(brain):
    for path in (brain.root / "tools" / "interfaces").iterdir():
        path.unlink()
    opened = brain.open()
    yield Place(brain, opened)
    opened.close()


def test_a_login_is_looked_at_once_and_then_after_each_interval(brain, place, login):
    """As long as all is well nobody is asked."""
    brain.program("one", "cat", more=OAUTH.format(login=login))
    login.touch()
    assert place.look() == ["one"]
    assert place.due() == []
    assert place.checks.next_due == place.now + INTERVAL_SECONDS
    place.now += INTERVAL_SECONDS
    assert place.look() == ["one"]
    assert place.questions() == []
    assert place.why_not("one") == ""


def test_a_login_that_has_expired_is_found_and_asked_about_once(brain, place, login):
    """Forty tasks have not found it; the question goes when the check passes again."""
    brain.program("one", "cat", more=OAUTH.format(login=login))
    login.touch()
    place.look()
    login.unlink()
    for _ in range(3):
        place.now += INTERVAL_SECONDS
        assert place.look() == ["one"]
        (text,) = place.questions()
        assert "run `one login`" in text
        assert "it is not logged in" in place.why_not("one")
    login.touch()
    place.now += INTERVAL_SECONDS
    place.look()
    assert place.questions() == []
    assert place.why_not("one") == ""


def test_an_answer_is_a_reason_to_look_at_once(brain, place, login):
    """The person says that they have logged in; if it is not so, they are asked again."""
    brain.program("one", "cat", more=OAUTH.format(login=login))
    place.look()
    for good in (False, True):
        ((document, _),) = (one for one in place.brain.journal.questions().values() if one[0]["kind"] == "auth")
        if good:
            login.touch()
        answer(place.brain, question_from(document), "check", by="command")
        place.now += 2
        assert place.look() == ["one"]
        assert bool(place.questions()) is not good
    assert "looked at again" in (brain.root / "prompts" / "answered.md").read_text()


def test_a_refused_login_is_looked_at_at_once_and_then_at_leisure(brain, place, login):
    """A check that passes although the login is refused proves nothing: the question stays until an attempt goes well."""
    brain.program("one", "cat", more=OAUTH.format(login=login))
    login.touch()
    place.look()
    place.checks.note_outcome("one", FailureKind.AUTH, place.now)
    assert place.questions() == []
    assert place.look() == ["one"]
    assert place.questions() == []
    place.checks.note_outcome("one", FailureKind.AUTH, place.now)
    assert place.due() == []
    assert len(place.questions()) == 1
    place.now += INTERVAL_SECONDS
    assert place.look() == ["one"]
    assert len(place.questions()) == 1
    place.checks.note_outcome("one", FailureKind.TRANSIENT, place.now)
    assert len(place.questions()) == 1
    place.checks.note_outcome("one", None, place.now)
    assert place.questions() == []


def test_what_was_in_flight_is_refused_together(brain, place, login):
    """Three refusals at once are one: a check that can tell asks, and its word counts when it passes, without a tick."""
    brain.program("one", "cat", more=OAUTH.format(login=login))
    login.touch()
    place.look()
    login.unlink()
    for _ in range(3):
        place.refused("one")
    assert place.questions() == []
    place.look()
    (text,) = place.questions()
    assert "looked at again by itself" in text
    assert place.why_not("one") == ""  # its breaker holds the tasks, so that they wait for it
    place.refused("one")
    login.touch()
    place.look()
    assert place.questions() == []
    assert place.vouched == ["one"]


def test_a_new_daemon_takes_up_what_the_one_before_knew(brain, place, login):
    """A login that was refused is refused still: until the check passes where that can tell, else until the person has answered."""
    brain.program("one", "cat", more=OAUTH.format(login=login))
    brain.program("blind", "cat", more="auth: oauth\n", inside="  check: ['true']\n")
    place.look()
    for name in ("one", "blind"):
        place.refused(name)
    place.look()
    assert len(place.questions()) == 2
    place.restart()
    login.touch()
    assert place.look() == ["blind", "one"]
    assert place.vouched == ["one"]
    (text,) = place.questions()
    assert "until you have ticked the box" in text
    ((document, _),) = place.brain.journal.questions().values()
    answer(place.brain, question_from(document), "check", by="command")
    place.now += 2
    place.look()
    assert place.vouched == ["one", "blind"]


def test_an_answer_while_nothing_ran_and_a_changed_file_are_reasons_to_try(brain, place):
    """Although it has no check: no open question holds it up."""
    brain.program("one", "cat", more="auth: oauth\n")
    assert place.look() == []
    place.refused("one")
    place.look()
    assert place.vouched == []
    ((document, _),) = place.brain.journal.questions().values()
    answer(place.brain, question_from(document), "check", by="command")
    place.restart()
    place.look()
    assert place.vouched == ["one"]
    place.refused("one")
    brain.program("one", "cat", more="auth: oauth\naliases: [two]\n")
    place.look()
    assert place.vouched == ["one", "one"]
    assert place.questions() == []


def test_an_end_that_is_good_counts_once_the_breaker_has_closed(brain, place):
    """Work of before the refusal proves nothing; a task that was released does, and the question goes with the next look."""
    brain.program("one", "cat", more="auth: oauth\n")
    place.look()
    place.refused("one")
    place.checks.note_outcome("one", None, place.now)
    place.due()
    assert len(place.questions()) == 1
    place.brain.journal.unset(BREAKERS)
    place.due()
    assert place.questions() == []


def test_an_interface_that_cannot_tell_is_asked_about_when_it_is_refused(brain, place):
    """Its check only says its version."""
    brain.program("one", "cat", more="auth: oauth\n", inside="  check: ['true']\n")
    place.look()
    place.checks.note_outcome("one", FailureKind.AUTH, place.now)
    assert "log in with the program itself" in place.questions()[0]
    assert place.look() == ["one"]
    assert len(place.questions()) == 1


def test_a_broken_program_is_tried_again_and_no_question(brain, place, tmp_path):
    """A fault of the check is the reason of the interface, until it passes."""
    brain.program("one", "cat", inside=f"  check: [test, -e, {tmp_path}/there]\n")
    brain.program("still", "cat", inside="  check: ['true']\n")
    assert place.look() == ["one", "still"]
    assert "its check" in place.why_not("one")
    assert place.questions() == []
    (tmp_path / "there").touch()
    place.now += INTERVAL_SECONDS
    assert place.look() == ["one"]
    assert place.why_not("one") == ""
    place.now += INTERVAL_SECONDS
    assert place.due() == []


def test_a_command_for_the_key_that_fails_is_a_question(brain, place):
    """The keyring is locked, say."""
    auth = "auth: {method: api_key, env: K, secret_command: [/bin/sh, -c, 'exit 7', checks]}\ncost: free\n"
    brain.program("one", "cat", more=auth)
    assert place.look() == ["one"]
    assert "it exited 7" in place.why_not("one")
    assert "it exited 7" in place.questions()[0]


def test_what_may_not_run_is_not_looked_at(brain, place, tmp_path):
    """Nothing of a file that came with git, and nothing where the program is missing."""
    brain.program("stranger", "cat", inside=f"  check: [touch, {tmp_path}/ran]\n")
    brain.commit()
    brain.program("missing", "no-such-program", inside=f"  check: [touch, {tmp_path}/ran]\n")
    assert place.due() == []


def test_an_interface_that_is_gone_takes_its_question_with_it(brain, place, login):
    """Nobody is asked to log in for nothing; a changed file is looked at anew."""
    path = brain.program("one", "cat", more=OAUTH.format(login=login))
    place.look()
    assert place.questions()
    brain.program("one", "cat", more=OAUTH.format(login=login) + "aliases: [two]\n")
    assert place.look() == ["one"]
    path.unlink()
    place.due()
    assert place.questions() == []


def test_each_change_is_told(brain, place, login):
    """The daemon looks at its interfaces again."""
    brain.program("one", "cat", more=OAUTH.format(login=login))
    before = place.changes
    place.look()
    assert place.changes > before
    assert not place.checks.is_checking
