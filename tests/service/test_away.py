"""Who worked for nothing and cannot now: a task waits for it, or goes elsewhere for nothing, and is not paid for unasked."""

import contextlib

import pytest

from brain_daemon.model.redaction import Redactor
from brain_daemon.service.dispatch import Dispatch, Go
from brain_daemon.service.gate import Gate
from brain_daemon.service.intake import Intake
from brain_daemon.service.past import SERVED, Past


class Desk:
    """A dispatch with its history, and a free interface whose check has failed."""

    def __init__(self, brain, opened) -> None:
        self.brain, self.opened = brain, opened
        self.registry = opened.registry()
        self.intake = Intake(opened, Redactor())
        gate = Gate(opened, self.specs, lambda name: self.registry.entries[name].spec)
        self.dispatch = Dispatch(opened.config, self.intake, self.registry, gate, Past(opened))

    def specs(self):
        return [entry.spec for entry in self.registry.entries.values()]

    def log_out(self, name: str, why: str = "its login has expired") -> None:
        self.registry.note_check(self.registry.entries[name].spec, why)
        self.registry.scan()
        self.dispatch.interfaces_changed(self.dispatch.choices.table)

    def started(self, name: str = "t", **fields: object) -> dict[str, str]:
        """Where a task goes, if it starts."""
        head = "".join(f"{key}: {value}\n" for key, value in fields.items())
        self.brain.drop(f"{name}.md", f"---\n{head}---\n# Say\n\nSay it.\n")
        for found in self.intake.scan():
            self.dispatch.changed(found)
        return {pick.task.id: pick.start.name for pick in self.dispatch.pick(9, {}) if isinstance(pick, Go)}


@pytest.fixture
def desk(brain, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    brain.echo("free", more="cost: free\n")
    brain.echo("flat", more="cost: subscription\n")
    brain.echo("dear", more="cost: paid\n")
    with contextlib.closing(brain.open()) as opened:
        for name in ("free", "flat"):
            opened.journal.set(SERVED + name, "yes")
        yield Desk(brain, opened)


def test_a_login_that_expires_sends_nothing_to_a_paid_interface(desk):
    """While another does it for nothing it goes there; without one it waits, and says for whom; and it starts when that one is back."""
    desk.log_out("free")
    assert desk.started("a") == {"a": "flat"}
    desk.log_out("flat", "its check exited 1")
    assert desk.started("b") == {}
    assert desk.dispatch.held["b.md"].reason == (
        "free: its login has expired (it has worked here before, so nothing is paid for that unasked); "
        "flat: its check exited 1 (it has worked here before, so nothing is paid for that unasked)"
    )
    desk.log_out("flat", "")
    assert desk.started("c") == {"b": "flat", "c": "flat"}


@pytest.mark.parametrize("fields", [{"on_limit": "fallback"}, {"interface": "dear"}, {"preferred_interface": "dear"}])
def test_who_asked_for_it_is_paid_for(desk, fields):
    """By a setting, or by its name."""
    desk.log_out("free")
    desk.log_out("flat")
    assert desk.started("t", **fields) == {"t": "dear"}


def test_what_has_never_worked_here_is_not_waited_for(desk):
    """A client that was never set up is no reason to wait."""
    for name in ("free", "flat"):
        desk.opened.journal.unset(SERVED + name)
    desk.log_out("free")
    desk.log_out("flat")
    assert desk.started() == {"t": "dear"}


async def test_the_daemon_notes_who_has_worked(brain):
    """Once, and not of paid ones."""
    brain.echo("free", more="cost: free\n")
    brain.echo("dear", more="cost: paid\n")
    async with brain.running() as daemon:
        for name in ("free", "dear"):
            brain.drop(f"{name}-1.md", f"---\ninterface: {name}\n---\n# Say\n\nSay it.\n")
            await daemon.ended(f"{name}-1")
        past = Past(daemon.brain)
        assert (past.has_served("free"), past.has_served("dear")) == (True, False)
