"""Requests to the daemon: in order, at least once, and no stranger's file stops them."""

import os

import pytest

from brain_daemon.store import control
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path), str(tmp_path / "state"), str(tmp_path / "work"))


def test_requests_come_in_the_order_they_were_posted(layout):
    """With their task and their why."""
    control.post(layout, Files(), "pause")
    control.post(layout, Files(), "cancel", "task-1", "too dear")
    control.post(layout, Files(), "resume")
    found = control.waiting(layout)
    assert [request.verb for request in found] == ["pause", "cancel", "resume"]
    assert (found[1].task_id, found[1].why) == ("task-1", "too dear")


def test_looking_takes_nothing_away(layout):
    """A request goes when the daemon has acted on it and removes its file."""
    control.post(layout, Files(), "wake")
    assert control.waiting(layout) == control.waiting(layout)
    Files().remove(control.waiting(layout)[0].path)
    assert control.waiting(layout) == []


def test_an_unknown_verb_is_refused(layout):
    """The verbs there are stand in the message."""
    with pytest.raises(ValueError, match="cancel, drain, pause"):
        control.post(layout, Files(), "explode")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_file_that_says_nothing_is_a_wake(layout, data):
    """Somebody wanted something: looking again does no harm."""
    os.makedirs(layout.control)
    with open(os.path.join(layout.control, "1.json"), "wb") as handle:
        handle.write(data)
    assert [request.verb for request in control.waiting(layout)] == ["wake"]


def test_hidden_and_foreign_files_are_passed_over(layout):
    """Half-written requests have hidden names."""
    os.makedirs(layout.control)
    for name in (".1.json", "notes.txt"):
        open(os.path.join(layout.control, name), "w").close()
    assert control.waiting(layout) == []


def test_what_was_meant_for_a_dead_daemon_is_forgotten(layout):
    """A new one does not stop because the old one was asked to."""
    control.post(layout, Files(), "stop")
    control.discard_all(layout, Files())
    assert control.waiting(layout) == []
