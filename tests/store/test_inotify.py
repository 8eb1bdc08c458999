"""One folder's events, read without a thread: real inotify on real folders."""

import os
import shutil
import sys

import pytest

from brain_daemon.store.inotify import Hint, Inbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "pending"
    made.mkdir()
    return made


@pytest.fixture
def inbox(folder):
    opened = Inbox(str(folder))
    yield opened
    opened.close()


def heard(inbox: Inbox) -> list[tuple[Hint, str]]:
    return [(hint, os.path.basename(path)) for hint, path in inbox.read()]


def test_a_file_closed_or_renamed_in_is_complete_and_one_renamed_out_is_gone(inbox, folder, tmp_path):
    """In the order in which it happened, each once; reading, deleting and folders make no hint."""
    assert heard(inbox) == []
    (folder / "a.md").write_text("x")
    (folder / "a.md").read_text()
    (folder / "a.md").rename(folder / "b name.md")
    (folder / "b name.md").rename(tmp_path / "b.md")
    (folder / "below").mkdir()
    (tmp_path / "b.md").rename(folder / "c.md")
    (folder / "c.md").unlink()
    assert heard(inbox) == [
        (Hint.COMPLETE, "a.md"),
        (Hint.GONE, "a.md"),
        (Hint.COMPLETE, "b name.md"),
        (Hint.GONE, "b name.md"),
        (Hint.COMPLETE, "c.md"),
    ]


def test_many_events_come_in_several_reads_and_none_is_lost(inbox, folder):
    """A read takes what fits; the rest stays."""
    for number in range(3_000):
        (folder / f"task-{number:04}.md").touch()
    seen: list[str] = []
    while names := [name for _, name in heard(inbox)]:
        seen += names
    assert seen == [f"task-{number:04}.md" for number in range(3_000)]


def test_a_name_that_is_no_text_keeps_its_bytes(inbox, folder):
    """As os.listdir gives it."""
    name = os.fsdecode(b"\xff.md")
    (folder / name).touch()
    assert heard(inbox) == [(Hint.COMPLETE, name)]


def test_a_folder_that_is_replaced_is_in_doubt_and_watched_anew(inbox, folder):
    """What happens in the new one is heard once it was looked at; renewing what has not changed says nothing."""
    assert not inbox.renew()
    shutil.rmtree(folder)
    assert (Hint.OVERFLOW, "pending") in heard(inbox)
    assert not inbox.renew()
    folder.mkdir()
    assert inbox.renew()
    (folder / "a.md").touch()
    assert heard(inbox) == [(Hint.COMPLETE, "a.md")]


def test_a_folder_moved_away_is_not_listened_to(inbox, folder, tmp_path):
    """Events of the folder that bears the name count, not those of the one that bore it."""
    folder.rename(tmp_path / "elsewhere")
    folder.mkdir()
    assert [hint for hint, _ in heard(inbox)] == [Hint.OVERFLOW]
    (tmp_path / "elsewhere" / "a.md").touch()
    (folder / "b.md").touch()
    assert heard(inbox) == [(Hint.COMPLETE, "b.md")]


def test_a_folder_that_is_not_there_cannot_be_opened(tmp_path):
    """And no descriptor is left behind; closing twice is closing once."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No such file"):
        Inbox(str(tmp_path / "nowhere"))
    assert len(os.listdir("/proc/self/fd")) == before
    opened = Inbox(str(tmp_path))
    opened.close()
    opened.close()
