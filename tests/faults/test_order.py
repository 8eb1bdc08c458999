"""What is synced before what, looked up in the calls themselves: a sync that is counted and not made would fool every other lab."""

import contextlib
import os
import random
from collections.abc import Iterator
from unittest import mock

import pytest

from brain_daemon.store import files as files_module
from brain_daemon.store.accounts import Accounts
from brain_daemon.store.files import Files
from brain_daemon.store.journal import Journal
from tests.faults.lab import Fault, FaultyFiles, Operation, run_daemon
from tests.faults.power import Loss
from tests.faults.promises import Facts, violations
from tests.faults.scenarios import UNREPEATABLE, echo
from tests.faults.surgery import cut_off, heal, surgery
from tests.faults.ward import Scenario, Ward

ONE = Scenario(
    name="one task", interfaces={"echo.md": echo(repeatable=False)}, tasks={"a.md": "# A\n"}, repeatable=False
)


class Calls(list[str]):
    """The module os, whose calls on the disk are listed with the last part of their path."""

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        self.append(f"sync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")

    def replace(self, source: str, target: str) -> None:
        self.append(f"replace {os.path.basename(target)}")
        os.replace(source, target)

    def sync_all(self, path: str) -> None:
        self.append("sync all")

    def write(self, descriptor: int, data: memoryview) -> int:
        """As short as a full disk or a signal makes it."""
        return os.write(descriptor, data[:3])


@contextlib.contextmanager
def listed() -> Iterator[Calls]:
    calls = Calls()
    with (
        mock.patch.object(files_module, "os", calls),
        mock.patch.object(files_module, "_SYNC_FILE_SYSTEM", calls.sync_all),
    ):
        yield calls


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path):
    """Written whole, however short each write is, synced, then renamed; `put_if` and `put_new` the same."""
    with listed() as calls:
        Files().put(str(tmp_path / "a"), b"some bytes")
        Files().put_if(str(tmp_path / "a"), b"other bytes", lambda: True)
        Files().put_new(str(tmp_path / "b"), b"new bytes")
    assert [one.split(".")[0] if "tmp" in one else one for one in calls] == [
        "sync ",
        "replace a",
        "sync ",
        "replace a",
        "sync ",
    ]
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"other bytes", b"new bytes"]


def test_folders_are_synced_in_the_order_given(tmp_path):
    """Where a file went to before where it came from."""
    for name in ("to", "from"):
        (tmp_path / name).mkdir()
    with listed() as calls:
        Files().sync_folders([str(tmp_path / "to"), str(tmp_path / "from")])
    assert calls == ["sync to", "sync from"]


@pytest.mark.parametrize(("count", "synced"), [(2, ["sync 0", "sync 1", "sync group"]), (16, ["sync all"])])
def test_a_group_is_synced_with_its_names(tmp_path, count, synced):
    """Each file and then its folder, or the file system once."""
    folder = tmp_path / "group"
    folder.mkdir()
    paths = [folder / str(number) for number in range(count)]
    for path in paths:
        path.write_bytes(b"x")
    with listed() as calls:
        Files().sync_group([str(path) for path in paths])
    assert calls == synced


def test_a_move_never_takes_the_place_of_another_file(tmp_path):
    """Two who give a file the same name: the first one stays."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        Files().move(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_text() == "b"


def test_what_must_not_be_lost_is_committed_with_a_sync(tmp_path):
    """The journal's connection of the daemon and the accounts wait for the disk; the recorder's may not, since all of it can be found out again."""
    journal = Journal(str(tmp_path / "journal.db"), Files())
    recorder = Journal(str(tmp_path / "journal.db"), Files(), durable=False)
    accounts = Accounts(str(tmp_path / "accounts"), Files())
    found = [one.execute("pragma synchronous").fetchone()[0] for one in (journal._connection, recorder._connection)]
    assert [*found, accounts._database.rows("pragma synchronous")[0][0]] == [2, 1, 2]
    for one in (journal, recorder, accounts):
        one.close()


@pytest.fixture
def ward(tmp_path) -> Ward:
    return Ward(str(tmp_path))


def _operations(ward: Ward) -> tuple[Operation, ...]:
    patient = ward.admit(ONE)
    run = run_daemon(patient.root, FaultyFiles(patient.root))
    assert violations(patient, ONE) == []
    return run.operations


def _at(operations: tuple[Operation, ...], words: str, after: int = 0, thread: str = "") -> int:
    """The number of the first operation of these words."""
    return next(
        one.number
        for one in operations
        if one.number > after and one.thread.startswith(thread) and f"{one.action} {one.path}".startswith(words)
    )


def test_a_task_leaves_active_when_all_that_it_became_is_durable(ward):
    """The result and its name, the names it had, in this order; the rows of the day before the journal calls them recorded."""
    operations = _operations(ward)
    result = _at(operations, "sync brain/tasks/completed/a.md")
    name = _at(operations, "sync folder brain/tasks/completed", result)
    gone = _at(operations, "remove brain/tasks/active/a.md", name)
    claimed = _at(operations, "sync folder brain/tasks/active", gone)
    left = _at(operations, "sync folder brain/tasks/pending", claimed)
    assert result < name < gone < claimed < left
    assert _at(operations, "remove brain/tasks/active/a.md") == gone
    rows = [_at(operations, f"sync folder logs/{kind}", left) for kind in ("costs", "activity", "metrics")]
    for kind, number in zip(("costs", "activity", "metrics"), rows, strict=True):
        assert _at(operations, f"replace logs/{kind}") < number
    recorded = _at(operations, "commit journal", gone, "files")
    committed = _at(operations, "commit to git")
    assert max(rows) < recorded < committed < _at(operations, "commit journal", committed, "commits")


def test_no_tool_sees_a_byte_before_its_start_is_on_record(ward):
    """A daemon that dies just before it writes the start has started nothing."""
    operations = _operations(ward)
    start = _at(operations, "commit journal", _at(operations, "move brain/tasks/active/"))
    patient = ward.admit(ONE)
    assert run_daemon(patient.root, FaultyFiles(patient.root, start, Fault.BEFORE)).struck is not None
    assert not os.path.exists(patient.witness)
    run_daemon(patient.root)
    assert violations(patient, ONE) == []


@pytest.mark.parametrize("loss", list(Loss))
def test_a_start_whose_claim_the_disk_has_forgotten_is_not_repeated(ward, loss):
    """Power lost while tasks run or have just ended: their files are back in pending/, and they are asked about or recorded, not started again."""
    patient = ward.admit(UNREPEATABLE)
    operations = run_daemon(patient.root, FaultyFiles(patient.root)).operations
    start = _at(operations, "commit journal", _at(operations, "move brain/tasks/active/"))
    for at in (start + 1, _at(operations, "sync brain/tasks/completed/")):
        patient = ward.admit(UNREPEATABLE)
        with surgery(patient, UNREPEATABLE):
            _, done, _ = cut_off(patient, UNREPEATABLE, at, loss, random.Random(at))
            heal(patient, UNREPEATABLE, done)
        assert violations(patient, UNREPEATABLE) == []
        assert Facts.of(patient).started
