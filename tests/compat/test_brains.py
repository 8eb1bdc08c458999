"""The brain and the journal of every release there has been: today's program opens them, works on them and finds nothing wrong."""

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from brain_daemon.model import document
from brain_daemon.model.errors import Refused
from brain_daemon.record import ledger
from brain_daemon.service.reindexing import reindex
from brain_daemon.service.verification import verify
from brain_daemon.store.accounts import Accounts
from brain_daemon.store.files import Files
from brain_daemon.store.journal import SCHEMA_VERSION, Journal
from tests.compat.freezing import LEFT, TASKS, thaw, thaw_journal

BRAINS = sorted(Path(__file__).parent.glob("brains/*.json"))


@pytest.fixture(params=BRAINS, ids=lambda path: path.stem)
def frozen(request):
    return json.loads(request.param.read_text("utf-8"))


@pytest.fixture
def thawed(frozen, brain):
    """That release's brain, in a repository whose HEAD has what had ended."""
    thaw(frozen, str(brain.root))
    brain.git("add", "-A", "--", ".", ":!brain/tasks/pending")
    brain.git("commit", "-q", "-m", "as it was left")
    thaw_journal(frozen, brain.layout)
    return brain


def findings(brain):
    with closing(brain.open()) as opened:
        return verify(opened, everything=True, pause_seconds=0.0).findings


def test_there_is_a_brain_of_each_release():
    """At least the first one; a released format is never removed from here."""
    assert "v0.1" in [path.stem for path in BRAINS]


def test_an_old_brain_is_sound_and_its_work_goes_on(thawed):
    """Nothing is wrong with it; what was pending is done, what was held and claimed stays so, and every original comes back."""
    assert findings(thawed) == ()
    before = [row.to_values() for row in thawed.rows()]
    thawed.run_once()
    assert thawed.recorded("fresh").values["status"] == "completed"
    assert thawed.where("waits") == ["pending"]
    assert thawed.where("held") == ["active"]
    rows = thawed.rows()
    assert [row.to_values() for row in rows if row.task_id != "fresh"] == before
    assert len(rows) == len(before) + 1
    for name, data in (TASKS | {"fresh.md": LEFT["fresh.md"]}).items():
        (path,) = (folder / name for folder in (thawed.completed, thawed.failed) if (folder / name).exists())
        recorded = path.read_bytes()
        assert recorded == data or document.restore(recorded) == data
    assert findings(thawed) == ()


def test_the_index_of_an_old_brain_can_be_built_anew(thawed):
    """From its text alone come the same sums."""
    with closing(thawed.open()) as opened:
        done = reindex(opened)
    assert done.before == done.after == ledger.total(thawed.rows())
    assert done.faults == ()


def test_a_journal_without_the_later_indexes_gets_them(frozen, brain):
    """They were thought of after the format was, and change nothing for an older program."""
    layout = brain.layout
    frozen["journal"] = [one for one in frozen["journal"] if "attempts_unsettled" not in one]
    thaw_journal(frozen, layout)
    with closing(Journal(layout.journal, Files())) as journal:
        assert len(journal.newest_attempts()) >= 1
        names = {row[0] for row in journal._connection.execute("select name from sqlite_master")}
    assert "attempts_unsettled" in names


@pytest.mark.parametrize("what", ["journal", "accounts"])
def test_a_newer_format_is_refused_in_words_and_left_as_it_is(tmp_path, what):
    """Not guessed, not replaced, not a byte changed."""
    path = str(tmp_path / "kept" / "some.db")
    os.makedirs(os.path.dirname(path))
    make = {"journal": Journal, "accounts": Accounts}[what]
    make(path, Files()).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma user_version = {SCHEMA_VERSION + 98}")
        connection.execute("pragma wal_checkpoint(truncate)")
    before = Path(path).read_bytes()
    with pytest.raises(Refused, match=r"format 99.*newer release"):
        make(path, Files())
    assert Path(path).read_bytes() == before


def test_a_brain_of_a_newer_release_stops_the_program_and_stays_readable(brain, cli):
    """`brain run` names the file and the way out; `brain status` still counts what is there."""
    brain.drop("a.md")
    brain.open().close()
    layout = brain.layout
    with closing(sqlite3.connect(layout.journal)) as journal:
        journal.execute("pragma user_version = 99")
    said = cli("run", "--once")
    assert said.code == 1
    assert layout.journal in said.complaint
    assert "newer release" in said.complaint
    assert brain.where("a") == ["pending"]


def test_the_text_of_a_brain_needs_no_program(frozen):
    """What had ended is plain text with its facts in front, for whoever has none of our releases."""
    text = frozen["files"]["brain/tasks/completed/paid.md"]["text"]
    assert "status: completed" in text
    assert "## Result\n\n" in text


@pytest.fixture
def cli(brain):
    """The command line, in a process of its own."""
    import sys
    from types import SimpleNamespace

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "brain_daemon", "--brain", str(brain.root), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, complaint=done.stderr)

    return run
