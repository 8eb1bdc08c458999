"""Which session a request belongs to, and what is noted in it."""

import os
import time
from contextlib import closing

import pytest

from brain_daemon.model.errors import UserError
from brain_daemon.model.ids import is_task_id
from brain_daemon.model.session import request_hash
from brain_daemon.policy.mode import ModeChoice, RequestMode
from brain_daemon.service.brain import Brain
from brain_daemon.service.sessions import (
    Answer,
    Sitting,
    found_session,
    id_of_client,
    new_id,
    project_root,
    sessions_of,
)

ONE = request_hash("one", {})
TOLD = ModeChoice(mode=RequestMode.DIRECTIVE, why="a test")


@pytest.fixture
def opened(brain):
    with closing(brain.open()) as one:
        yield one


def used(opened: Brain, root: str = "/p", session_id: str | None = None) -> Sitting:
    sitting = Sitting.open(opened, root, session_id)
    sitting.directed(ONE, "codex", TOLD)
    return sitting


def test_a_request_goes_on_in_the_newest_session_of_its_project(opened):
    """Another project has a session of its own."""
    first = used(opened)
    other = used(opened, "/q")
    assert used(opened).id == first.id != other.id
    assert len(sessions_of(opened).read(first.id).session.routing_history) == 2


def test_after_a_quiet_time_a_new_session_begins(brain, opened):
    """The setting says how long."""
    first = used(opened)
    with closing(brain.open(session_gap="0s")) as impatient:
        assert used(impatient).id != first.id


def test_a_session_that_is_named_is_gone_on_with_or_begun(brain, opened, monkeypatch):
    """By the call, else by BRAIN_SESSION_ID; a name that is none is passed over there."""
    assert used(opened, session_id="mine").id == "mine"
    assert len(used(opened, "/elsewhere", "mine").session.routing_history) == 2
    for name, wanted in (("theirs", True), ("../x", False)):
        monkeypatch.setenv("BRAIN_SESSION_ID", name)
        with closing(brain.open()) as again:
            assert (Sitting.open(again, "/p").id == name) is wanted


def test_a_session_is_not_written_before_it_has_something(opened):
    """A command that only looks leaves nothing behind."""
    Sitting.open(opened, "/p")
    assert sessions_of(opened).listed() == []


def test_old_sessions_go_when_a_new_one_begins(brain, opened):
    """After the time that the setting says."""
    old = used(opened)
    path = os.path.join(sessions_of(opened).folder, f"{old.id}.json")
    os.utime(path, (time.time() - 86_400,) * 2)
    with closing(brain.open(keep_sessions="2d")) as patient:
        used(patient)
        assert os.path.exists(path)
    with closing(brain.open(keep_sessions="1h")) as tidy:
        Sitting.open(tidy, "/another")
        assert not os.path.exists(path)


def test_an_answer_is_noted_with_its_files_and_waits_no_more(opened):
    """What was handed in is in the queue until then; a failed one leaves no answer to be used again."""
    sitting = Sitting.open(opened, "/p")
    sitting.handed_in(ONE, "task-1")
    assert [one.task_id for one in sitting.session.work_queue] == ["task-1"]
    sitting.answered(
        ONE, Answer(task_id="task-1", agent="codex", result="completed", text="yes \ud800", files=("a.py",)), "a test"
    )
    two = request_hash("two", {})
    sitting.answered(two, Answer(task_id="task-2", agent="", result="failed: timed_out", text="no"), "a test")
    session = found_session(opened, sitting.id).session
    assert session == sitting.session
    assert session.work_queue == ()
    assert [(one.agent, one.result) for one in session.routing_history] == [
        ("codex", "completed"),
        ("nobody", "failed: timed_out"),
    ]
    assert session.cached_results.keys() == {ONE}
    assert session.cached_results[ONE].text == "yes ?"
    assert [one.path for one in session.context.recent_edits] == ["a.py"]


def test_the_files_a_request_names_are_noted_where_they_are_there(opened, tmp_path):
    """A word with a dot is not a file; a file in a folder is."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "parser.py").write_text("")
    (tmp_path / "notes.md").write_text("")
    sitting = Sitting.open(opened, str(tmp_path))
    sitting.asked("Fix src/parser.py, see `notes.md`, e.g. missing.py (and notes.md).", str(tmp_path))
    assert {one.path for one in sitting.session.context.active_files} == {"src/parser.py", "notes.md"}


def test_a_preference_holds_in_its_session_until_it_is_taken_back(opened):
    """`auto` takes it back; a word that means nothing is refused with those that do."""
    sitting = Sitting.open(opened, "/p")
    assert sitting.preference("mode") is None
    sitting.prefer("mode", "orchestrated")
    sitting.prefer("interface", "codex")
    again = Sitting.open(opened, "/p")
    assert (again.preference("mode"), again.preference("interface")) == ("orchestrated", "codex")
    again.prefer("mode", "auto")
    assert again.preference("mode") is None
    with pytest.raises(UserError, match="auto or directive or orchestrated"):
        again.prefer("mode", "sometimes")
    with pytest.raises(UserError, match="possible are"):
        again.prefer("colour", "green")


def test_a_damaged_session_is_recovered_and_said(opened):
    """The request goes on, and the person hears of it."""
    first = used(opened)
    used(opened)
    with open(os.path.join(sessions_of(opened).folder, f"{first.id}.json"), "wb") as handle:
        handle.write(b"{")
    sitting = Sitting.open(opened, "/p", first.id)
    assert len(sitting.session.routing_history) == 1
    assert "damaged-1" in sitting.notes[0]


def test_a_session_that_is_not_there_is_said(opened):
    """With the command that shows those that are."""
    with pytest.raises(UserError, match="brain session list"):
        found_session(opened, "nowhere")


def test_the_project_is_the_repository_around_a_folder(brain, tmp_path):
    """Outside of any, the folder itself."""
    assert project_root(str(brain.root / "brain" / "tasks")) == os.path.realpath(brain.root)
    (tmp_path / "plain").mkdir()
    assert project_root(str(tmp_path / "plain")) == os.path.realpath(tmp_path / "plain")


def test_ids_of_sessions_can_be_file_names():
    """Those that are made here, and those of a client."""
    assert is_task_id(new_id(0.0))
    assert id_of_client("8c35adc1-1111-2222-3333-444455556666") == "8c35adc1-1111-2222-3333-444455556666"
    assert is_task_id(id_of_client("a/../b ü") or "")
    assert id_of_client("") is None
