"""The seam for writes: whole files or none, moves that never overwrite, errors that say what was being done."""

import errno
import os
import threading

import pytest

from brain_daemon.model.errors import StorageError
from brain_daemon.store import files as files_module
from brain_daemon.store.files import TEMPORARY_SUFFIX, Files


class Stop(BaseException):
    """The machine dies here."""


class Dying(Files):
    """Counts the steps and dies at one of them."""

    def __init__(self, at: int = -1) -> None:
        super().__init__()
        self.at, self.steps = at, []

    def step(self, action: str, path: str) -> None:
        self.steps.append(action)
        if len(self.steps) == self.at:
            raise Stop


@pytest.fixture(params=["one call", "two calls"])
def rename(request, monkeypatch):
    """With renameat2, and as on a system that lacks it."""
    if request.param == "two calls":
        monkeypatch.setattr(files_module, "_RENAME_NEW", None)
    return request.param


@pytest.mark.parametrize("sync", [True, False])
def test_put_replaces_a_file_as_a_whole(tmp_path, sync):
    """New bytes, no temporary left, whatever was there."""
    path = tmp_path / "x"
    for data in (b"", b"one", b"x" * 200_000):
        Files().put(str(path), data, sync=sync)
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["x"]


def test_a_death_at_any_step_of_put_leaves_old_or_new_bytes(tmp_path):
    """A reader never sees half a file; what is left over has a name that is none of a task."""
    path = str(tmp_path / "x.md")
    Files().put(path, b"old")
    counting = Dying()
    counting.put(path, b"old")
    for at in range(1, len(counting.steps) + 1):
        with pytest.raises(Stop):
            Dying(at).put(path, b"new")
        with open(path, "rb") as handle:
            assert handle.read() == b"old"
        left = [name for name in os.listdir(tmp_path) if name != "x.md"]
        assert all(name.startswith(".") and name.endswith(TEMPORARY_SUFFIX) for name in left)


def test_files_are_built_aside_where_there_is_such_a_folder(tmp_path):
    """A watcher of the target's folder hears of one rename only."""
    (tmp_path / "aside").mkdir()
    (tmp_path / "there").mkdir()
    files = Dying(2)
    files.aside = str(tmp_path / "aside")
    with pytest.raises(Stop):
        files.put(str(tmp_path / "there" / "x"), b"new")
    assert os.listdir(tmp_path / "there") == []
    assert len(os.listdir(tmp_path / "aside")) == 1


def test_put_new_never_overwrites(tmp_path, rename):
    """An existing file stays, and no temporary does."""
    path = tmp_path / "x"
    Files().put_new(str(path), b"first")
    with pytest.raises(FileExistsError):
        Files().put_new(str(path), b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["x"]


def test_move_never_overwrites_and_says_what_is_missing(tmp_path, rename):
    """FileExistsError and FileNotFoundError are answers; nothing has changed then."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    with pytest.raises(FileExistsError):
        Files().move(str(one), str(two))
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")
    with pytest.raises(FileNotFoundError):
        Files().move(str(tmp_path / "none"), str(tmp_path / "three"))
    Files().move(str(one), str(tmp_path / "three"))
    assert sorted(os.listdir(tmp_path)) == ["three", "two"]


def test_of_many_who_move_one_file_one_wins(tmp_path, rename):
    """The others are told that it is gone."""
    source = tmp_path / "task"
    source.write_bytes(b"x")
    won: list[int] = []
    ready = threading.Barrier(8)

    def take(number: int) -> None:
        ready.wait()
        try:
            Files().move(str(source), str(tmp_path / f"mine-{number}"))
        except FileNotFoundError:
            return
        won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if rename == "one call":
        assert len(won) == 1
        assert os.listdir(tmp_path) == [f"mine-{won[0]}"]
    assert won


def test_removing_what_is_gone_is_no_error(tmp_path):
    """Doing it twice is doing it once."""
    (tmp_path / "x").write_bytes(b"")
    Files().remove(str(tmp_path / "x"))
    Files().remove(str(tmp_path / "x"))
    assert os.listdir(tmp_path) == []


def test_append_adds_to_the_end(tmp_path):
    """A log grows, and is made when it is not there."""
    for data in (b"one\n", b"two\n"):
        Files().append(str(tmp_path / "log"), data)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_folders_are_made_with_their_parents_once(tmp_path):
    """An existing folder costs no step."""
    files = Dying()
    files.make_folder(str(tmp_path / "a" / "b"))
    files.make_folder(str(tmp_path / "a" / "b"))
    assert files.steps == ["make folder"]


@pytest.mark.parametrize("count", [1, 15, 16, 40])
def test_a_group_is_synced_file_by_file_or_all_at_once(tmp_path, count):
    """A few files one by one and their folder, many by one call."""
    paths = [str(tmp_path / str(number)) for number in range(count)]
    files = Dying()
    for path in paths:
        files.put(path, b"x", sync=False)
    files.steps.clear()
    files.sync_group(paths)
    assert files.steps in (["sync"] * count + ["sync folder"], ["sync group"])
    assert (len(files.steps) == 1) == (count >= 16 and files_module._SYNC_FILE_SYSTEM is not None)


@pytest.mark.parametrize(
    "operation",
    [
        lambda files, path: files.put(path, b""),
        lambda files, path: files.append(path, b""),
        lambda files, path: files.make_folder(path),
        lambda files, path: files.remove(path),
        lambda files, path: files.move(path, path + "2"),
        lambda files, path: files.sync_folders([path]),
    ],
)
def test_a_disk_error_names_what_was_being_done_to_which_path(tmp_path, operation):
    """Every OSError leaves as StorageError, whatever stands in the way."""
    (tmp_path / "file").write_bytes(b"")
    path = str(tmp_path / "file" / "below")
    with pytest.raises(StorageError, match="failed") as caught:
        operation(Files(), path)
    assert str(tmp_path / "file") in str(caught.value)


@pytest.mark.parametrize(("number", "fine"), [(errno.EINVAL, True), (errno.EIO, False), (errno.ENOSPC, False)])
def test_only_a_file_system_without_fsync_is_forgiven(tmp_path, monkeypatch, number, fine):
    """After a failed sync nothing is taken for written."""

    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    if fine:
        Files().put(str(tmp_path / "x"), b"data")
    else:
        with pytest.raises(StorageError):
            Files().put(str(tmp_path / "x"), b"data")
    assert (tmp_path / "x").exists() is fine


def test_a_link_in_the_way_of_a_temporary_is_not_followed(tmp_path):
    """Nobody can make us write elsewhere."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    files = Files()
    os.symlink(victim, tmp_path / f".x.{os.getpid()}.0{TEMPORARY_SUFFIX}")
    with pytest.raises(StorageError):
        files.put(str(tmp_path / "x"), b"theirs")
    assert victim.read_bytes() == b"mine"


def test_a_file_is_replaced_only_while_the_caller_says_so(tmp_path):
    """Asked when the new bytes are ready; nothing is left behind either way."""
    path = tmp_path / "page.md"
    path.write_bytes(b"old")
    files = Files()
    assert not files.put_if(str(path), b"new", lambda: path.read_bytes() == b"other")
    assert path.read_bytes() == b"old"
    assert files.put_if(str(path), b"new", lambda: path.read_bytes() == b"old")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["page.md"]


def test_a_new_file_may_be_its_owners_alone(tmp_path):
    """From its first byte."""
    Files().put_new(str(tmp_path / "key"), b"x", mode=0o600)
    assert os.stat(tmp_path / "key").st_mode & 0o777 == 0o600
