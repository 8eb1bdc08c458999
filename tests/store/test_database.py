"""A SQLite file of ours is made whole or not at all, and is never taken for new when it is damaged."""

import fcntl
import os
import sqlite3
import threading

import pytest

from brain_daemon.model.errors import Damaged, Refused, StorageError
from brain_daemon.store import database as database_module
from brain_daemon.store.database import Database, Kind
from brain_daemon.store.files import Files

KIND = Kind(name="the accounts", script="accounts.sql", version=1, remedy="Move it away.")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "deep" / "accounts.db")


def test_it_is_made_with_its_folder_for_this_user_alone(path):
    """Nothing is left beside it."""
    Database(path, Files(), KIND).close()
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    assert os.listdir(os.path.dirname(path)) == ["accounts.db"]


def test_of_two_who_make_it_the_first_one_stays(path):
    """The second finds it when it moves its own into place."""

    class Racing(Files):
        def step(self, action: str, path_: str) -> None:
            if action == "move":
                Database(path, Files(), KIND).close()

    first = Database(path, Racing(), KIND)
    assert first.rows("select count(*) from entries") == [(0,)]
    first.close()
    assert os.listdir(os.path.dirname(path)) == ["accounts.db"]


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 99], ids=["empty", "something else"])
def test_a_damaged_file_is_kept_and_said(path, damage):
    """With what helps."""
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as stream:
        stream.write(damage)
    with pytest.raises(Damaged, match=r"opening the accounts .*accounts\.db: .* It is kept as it is\. Move it away\."):
        Database(path, Files(), KIND)
    with open(path, "rb") as stream:
        assert stream.read() == damage


def test_a_file_without_tables_is_damaged(path):
    """A crash of ours leaves none."""
    os.makedirs(os.path.dirname(path))
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode = wal")
    connection.close()
    with pytest.raises(Damaged, match="no tables"):
        Database(path, Files(), KIND)


def test_a_newer_format_is_refused(path):
    """And nothing in it is changed."""
    Database(path, Files(), KIND).close()
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 2")
    connection.close()
    with pytest.raises(Refused, match="has format 2, this program knows 1"):
        Database(path, Files(), KIND)


def test_a_transaction_is_all_or_nothing(path):
    """Whatever stops it; a disk that says no is a StorageError."""
    database = Database(path, Files(), KIND)
    database.connection.execute("insert into reports (account, name, at) values ('a', 'b', 1.0)")
    with pytest.raises(ZeroDivisionError), database.transaction():
        _ = database.rows("delete from reports returning 1") and 1 / 0
    assert database.rows("select account from reports") == [("a",)]
    with pytest.raises(StorageError, match=r"writing the accounts .*: no such table: nowhere"), database.transaction():
        database.connection.execute("delete from nowhere")
    database.close()


def test_who_waits_to_write_goes_before_who_comes_later(path, monkeypatch):
    """SQLite queues nobody, so one that writes without a pause would keep its lock: who waits holds the folder's, and others stay behind."""
    tried = threading.Semaphore(0)
    look = database_module._is_held
    monkeypatch.setattr(database_module, "_is_held", lambda door: (look(door), tried.release())[0])
    later = Database(path, Files(), KIND)
    written = threading.Event()

    def write() -> None:
        with later.transaction():
            written.set()

    door = os.open(os.path.dirname(path), os.O_RDONLY)
    fcntl.flock(door, fcntl.LOCK_EX)
    writer = threading.Thread(target=write)
    writer.start()
    assert all(tried.acquire(timeout=30) for _ in range(5))
    assert not written.is_set()
    os.close(door)
    assert written.wait(30)
    writer.join()
    later.close()
