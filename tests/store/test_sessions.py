"""The files of sessions: whole after any crash, recovered from the last good copy, merged where runs overlap."""

import os
import subprocess
import sys

import pytest
from filelock import FileLock

from brain_daemon.model.errors import Occupied, StorageError, UserError
from brain_daemon.model.session import (
    Kept,
    Routed,
    Session,
    instant,
    new_session,
    read_session,
    request_hash,
    with_context,
    with_routed,
)
from brain_daemon.store import sessions as store_sessions
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.sessions import Sessions

NOON = 1_795_262_400.0


@pytest.fixture
def layout(tmp_path) -> Layout:
    for name in ("root", "state", "work"):
        (tmp_path / name).mkdir()
    return Layout(str(tmp_path / "root"), str(tmp_path / "state"), str(tmp_path / "work"))


@pytest.fixture
def sessions(layout) -> Sessions:
    return Sessions(layout, Files())


@pytest.fixture
def folder(layout):
    return lambda: sorted(os.listdir(os.path.join(layout.state, "sessions")))


def new(session_id: str = "one") -> Session:
    return new_session(session_id, "/home/ann", NOON)


def asked(session: Session, word: str, *, text: str = "an answer", at: int = 0) -> Session:
    entry = Routed(
        timestamp=instant(NOON + at),
        request_hash=request_hash(word, {}),
        agent="codex",
        result="completed",
        task_id=word,
    )
    return with_routed(session, entry, Kept(timestamp=entry.timestamp, agent="codex", task_id=word, text=text))


def path_of(sessions: Sessions, name: str = "one.json") -> str:
    return os.path.join(sessions.folder, name)


def spoil(path: str, data: bytes) -> None:
    with open(path, "wb") as handle:
        handle.write(data)


def test_a_session_that_was_saved_is_read_again(sessions):
    """And one that never was is nothing, without a file."""
    assert sessions.read("one").session is None
    saved = sessions.save(asked(new(), "a")).session
    assert sessions.read("one").session == saved == asked(new(), "a")
    assert sessions.read("two").session is None


def test_the_last_good_copy_is_kept_beside_it(sessions, folder):
    """It is the session as it was before the last write."""
    sessions.save(new())
    sessions.save(asked(new(), "a"))
    assert folder() == ["one.json", "one.json.bak"]
    with open(path_of(sessions, "one.json.bak"), "rb") as handle:
        assert read_session(handle.read(), "copy") == new()


@pytest.mark.parametrize("data", [b"", b"{", b"\x00" * 100, b'{"session_id": "one"}', b'["one"]', b"\xff\xfe"])
def test_a_damaged_session_comes_back_from_its_copy(sessions, folder, data):
    """The broken file is kept aside, and what happened is said once."""
    sessions.save(new())
    sessions.save(asked(new(), "a"))
    spoil(path_of(sessions), data)
    found = sessions.read("one")
    assert found.session == new()
    assert "one.damaged-1.json" in found.note
    assert "last good copy" in found.note
    with open(path_of(sessions, "one.damaged-1.json"), "rb") as handle:
        assert handle.read() == data
    assert sessions.read("one") == store_sessions.Found(session=new())
    assert "one.damaged-1.json" not in [f"{one.session_id}.json" for one in sessions.listed()]


def test_a_session_whose_copy_is_damaged_too_begins_afresh(sessions, folder):
    """Both files are kept aside."""
    sessions.save(new())
    sessions.save(asked(new(), "a"))
    spoil(path_of(sessions), b"no")
    spoil(path_of(sessions, "one.json.bak"), b"no either")
    found = sessions.save(asked(new(), "b"))
    assert found.session == asked(new(), "b")
    assert "damaged-1" in found.note
    assert "damaged-2" in found.note
    assert folder() == ["one.damaged-1.json", "one.damaged-2.json", "one.json"]


def test_a_session_whose_file_is_missing_comes_back_from_its_copy(sessions):
    """Missing is never taken for empty."""
    sessions.save(new())
    sessions.save(asked(new(), "a"))
    os.unlink(path_of(sessions))
    assert sessions.read("one").session == new()


def test_a_file_with_another_sessions_name_is_damaged(sessions):
    """A copy made by hand does not answer for two."""
    sessions.save(new())
    os.rename(path_of(sessions), path_of(sessions, "two.json"))
    found = sessions.read("two")
    assert found.session is None
    assert "it is the session one" in found.note


def test_two_runs_that_overlap_lose_nothing_of_each_other(sessions):
    """Both read, both add, both write: the second writes the merge."""
    sessions.save(new())
    mine, theirs = (sessions.read("one").session for _ in range(2))
    sessions.save(asked(mine, "a"))
    both = sessions.save(asked(theirs, "b")).session
    assert {entry.task_id for entry in both.routing_history} == {"a", "b"}


_RUN = """
import sys
from brain_daemon.model.session import Routed, instant, new_session, request_hash, with_routed
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout
from brain_daemon.store.sessions import Sessions
root, name = sys.argv[1:]
sessions = Sessions(Layout(root + "/root", root + "/state", root + "/work"), Files())
mine = new_session("one", "/", 1e9)
for number in range(10):
    entry = Routed(timestamp=instant(1e9 + number), request_hash=request_hash(name, {}), agent=name, result="completed")
    mine = with_routed(mine, entry)
    sessions.save(mine)
"""


def test_processes_that_write_one_session_at_once_lose_nothing(sessions, tmp_path):
    """Four runs of ten requests each leave forty, and a whole file."""
    runs = [subprocess.Popen([sys.executable, "-c", _RUN, str(tmp_path), f"agent-{n}"]) for n in range(4)]
    assert [run.wait(60) for run in runs] == [0, 0, 0, 0]
    found = sessions.read("one")
    assert not found.note
    assert len(found.session.routing_history) == 40


class Full(Files):
    """A disk that fails at one of the steps."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def step(self, action: str, path: str) -> None:
        if self.left == 0:
            raise StorageError(f"{action} {path}: no space left")
        self.left -= 1


def test_a_write_that_fails_leaves_the_session_before_or_after_it(layout, sessions):
    """At whichever step the disk says no, the next read finds one of the two, undamaged."""
    sessions.save(asked(new(), "a"))
    for at in range(100):
        before = sessions.read("one").session
        after = asked(before, f"b{at}")
        try:
            Sessions(layout, Full(at)).save(after)
        except StorageError:
            found = sessions.read("one")
            assert found.session in (before, after)
            assert not found.note
        else:
            assert at > 4
            return
    pytest.fail("the steps of a write never end")


def test_a_session_stays_within_its_limit(layout):
    """Whatever is added, the file is never larger."""
    sessions = Sessions(layout, Files(), limit_bytes=20_000)
    session = new()
    for number in range(30):
        session = sessions.save(asked(session, f"task-{number}", text="x" * 2_000, at=number)).session
        assert sessions.listed()[0].size_bytes <= 20_000
    assert session.routing_history[-1].task_id == "task-29"


def test_old_sessions_are_taken_away_with_all_that_is_theirs(sessions, folder):
    """By when they were last written; others, and the lock, stay."""
    for name in ("old", "young"):
        sessions.save(new(name))
        sessions.save(asked(new(name), "a"))
    spoil(path_of(sessions, "old.json"), b"no")
    sessions.read("old")
    for name in ("old.json", "old.json.bak", "old.damaged-1.json"):
        os.utime(path_of(sessions, name), (NOON, NOON))
    assert sessions.prune(NOON + 1) == ["old"]
    assert folder() == ["young.json", "young.json.bak"]
    assert sessions.prune(NOON + 1) == []


def test_sessions_are_listed_newest_first(sessions):
    """By when their files were written; what is no session is passed over."""
    assert sessions.listed() == []
    for number, name in enumerate(("a", "b", "c")):
        sessions.save(new(name))
        os.utime(path_of(sessions, f"{name}.json"), (NOON + number, NOON + number))
    spoil(path_of(sessions, "notes.txt"), b"")
    assert [one.session_id for one in sessions.listed()] == ["c", "b", "a"]


@pytest.mark.parametrize("name", ["", "../one", "a/b", "con", "x" * 200])
def test_an_id_that_is_none_is_refused(sessions, name):
    """Before any file is touched."""
    with pytest.raises(UserError, match="brain session list"):
        sessions.read(name)


def test_a_lock_that_is_held_too_long_is_said(sessions, layout, monkeypatch):
    """The message names the lock."""
    monkeypatch.setattr(store_sessions, "LOCK_SECONDS", 0.05)
    with FileLock(os.path.join(layout.state, "sessions.lock")), pytest.raises(Occupied, match=r"sessions\.lock"):
        sessions.save(new())


def test_a_save_that_changes_nothing_writes_nothing(sessions):
    """The last good copy stays the one before the last change."""
    sessions.save(new())
    changed = with_context(new(), instant(NOON + 1), active_files=["a.py"])
    sessions.save(changed)
    written = os.stat(path_of(sessions)).st_mtime_ns
    sessions.save(changed)
    assert os.stat(path_of(sessions)).st_mtime_ns == written
