"""Older tasks are filed away by the day they ended: on disk, in the index and in git, and after a crash as well."""

import contextlib
import os
import time

import pytest

from brain_daemon.model import document
from brain_daemon.model.attempt import Decision
from brain_daemon.model.outcome import Failed, FailureKind, Reason, Status
from brain_daemon.record.archive import Archive, ArchiveLimits
from brain_daemon.record.recorder import Recorder
from brain_daemon.service.reindexing import recorded_paths
from brain_daemon.service.startup import Recovery
from brain_daemon.store.locks import recording
from tests.record.test_recorder import Dying, Stop, attempt, done, end, recorder_of

LIMITS = ArchiveLimits(most=5, kept=3)
TODAY = time.strftime("brain/tasks/completed/archive/%Y/%m/%d", time.gmtime())


@pytest.fixture
def opened(brain):
    with contextlib.closing(brain.open()) as made:
        yield made


@contextlib.contextmanager
def small(opened):
    """A recorder for which six tasks are too many in one folder, and three are left there."""
    with recorder_of(opened) as made:
        made._archive._limits = LIMITS
        yield made


def finish(opened, brain, made: Recorder, *names: str) -> None:
    """Tasks that end one after another, recorded together."""
    end(opened, brain, *(done(attempt(name)) for name in names))
    made.record()
    made.keep_house(now=True)


SIX = tuple(f"t{number}" for number in range(6))


def test_the_oldest_are_filed_away_once_a_folder_is_too_full(brain, opened):
    """By renames in a commit of their own; the index, `git log --follow` and the original bytes know them as before."""
    with small(opened) as made:
        finish(opened, brain, made, *SIX[:5])
        assert len(brain.names(brain.completed)) == 5
        finish(opened, brain, made, SIX[5])
    assert sorted(name for name in os.listdir(brain.completed) if name.endswith(".md")) == ["t3.md", "t4.md", "t5.md"]
    assert sorted(os.listdir(brain.root / TODAY)) == ["t0.md", "t1.md", "t2.md"]
    assert opened.journal.ended_task("t0").path == f"{TODAY}/t0.md"
    assert len(list(recorded_paths(opened.layout))) == 6
    assert document.restore((brain.root / TODAY / "t0.md").read_bytes()) == attempt("t0").spec
    subject, *changed = brain.git("log", "-1", "--format=%s", "--name-status", "--grep=^archive").split("\n")
    assert subject == "archive: 3 files of older tasks"
    assert [line.split("\t")[0] for line in changed if line] == ["R100"] * 3
    assert len(brain.git("log", "--follow", "--format=%h", "--", f"{TODAY}/t0.md").split()) == 2
    assert brain.dirty() == ""
    assert brain.git("fsck", "--strict") == ""


def test_what_stands_beside_a_task_goes_with_it(brain, opened):
    """Its folder of files, and the result of a file that cannot hold one."""
    with small(opened) as made:
        one = attempt("t0", spec=b"\xff\xfe binary")
        end(opened, brain, done(one))
        (brain.completed / "t0.files").mkdir()
        brain.write("brain/tasks/completed/t0.files/sub/more.txt", "more")
        made.record()
        brain.git("add", "-A")
        brain.git("commit", "-qm", "theirs")
        finish(opened, brain, made, *SIX[1:])
    assert {"t0.md", "t0.result.md", "t0.files"} <= set(os.listdir(brain.root / TODAY))
    assert (brain.root / TODAY / "t0.files" / "sub" / "more.txt").read_text() == "more"
    assert not (brain.completed / "t0.files").exists()
    assert brain.dirty() == ""


def test_the_persons_edits_move_along_as_they_are(brain, opened):
    """Staged stays staged, unstaged stays unstaged, and neither gets into a commit of ours."""
    with small(opened) as made:
        finish(opened, brain, made, *SIX[:5])
        for name in ("t0", "t1"):
            (brain.completed / f"{name}.md").write_text(f"{name} edited")
        brain.git("add", "brain/tasks/completed/t0.md")
        finish(opened, brain, made, SIX[5])
    assert brain.git("diff", "--cached", "--name-only").split() == [f"{TODAY}/t0.md"]
    assert brain.git("diff", "--name-only").split() == [f"{TODAY}/t1.md"]
    assert "edited" not in brain.git("log", "-p", "--format=")
    assert brain.git("show", f":{TODAY}/t0.md") == "t0 edited"


def six_with_files(brain) -> None:
    """Six tasks have ended, each with a folder of files beside its result, and all is in git."""
    with contextlib.closing(brain.open()) as opened, recorder_of(opened) as made:
        finish(opened, brain, made, *SIX)
    for name in SIX:
        brain.write(f"brain/tasks/completed/{name}.files/more.txt", name)
    brain.git("add", "-A")
    brain.git("commit", "-qm", "theirs")


@pytest.mark.parametrize("step", range(1, 16))
def test_a_death_before_the_commit_is_made_good_at_the_next_start(made_once, step):
    """At each step of the way: what was moved is told and committed, what was not stays, and nothing is torn apart."""
    brain = made_once(six_with_files)
    dying = Dying(step)
    dying.armed = True
    with (
        contextlib.closing(brain.open(dying)) as mortal,
        recording(mortal.layout),
        contextlib.suppress(Stop),
    ):
        Archive(mortal.layout, dying, mortal.journal, LIMITS).file_away()
    with contextlib.closing(brain.open()) as again, recorder_of(again) as made:
        made.keep_house()
        for name in SIX:
            path = brain.root / again.journal.ended_task(name).path
            assert path.is_file()
            assert (path.parent / f"{name}.files" / "more.txt").read_text() == name
    assert brain.dirty() == ""


def test_a_move_that_the_disk_has_forgotten_is_forgotten(brain, opened):
    """After a power cut the file may stand in its old place again: the index follows, and the next time moves it anew."""
    with small(opened) as made:
        finish(opened, brain, made, *SIX)
    (brain.root / TODAY / "t0.md").rename(brain.completed / "t0.md")
    with contextlib.closing(brain.open()) as again, recorder_of(again) as made:
        assert again.journal.ended_task("t0").path == "brain/tasks/completed/t0.md"
        made._archive._limits = ArchiveLimits(most=1, kept=1)
        finish(again, brain, made, "t6")
    assert (brain.root / TODAY / "t0.md").exists()
    assert brain.dirty() == ""


def test_while_git_is_busy_the_commit_of_the_moves_is_owed(brain, opened):
    """And made by itself later."""
    with small(opened) as made:
        finish(opened, brain, made, *SIX[:5])
        real = made._committer.commit

        def busy(plans):
            if plans[0].moves:
                brain.write(".git/index.lock", "")
            return real(plans)

        made._committer.commit = busy
        finish(opened, brain, made, SIX[5])
        assert made.why_owed is not None
        made._committer.commit = real
        (brain.root / ".git/index.lock").unlink()
        made.keep_house()
        assert made.why_owed is None
    assert brain.dirty() == ""


def test_a_name_that_is_taken_in_the_archive_stays_where_it_is(brain, opened):
    """Nothing is overwritten, and the others are moved."""
    brain.write(f"{TODAY}/t0.md", "somebody's")
    with small(opened) as made:
        finish(opened, brain, made, *SIX)
    assert (brain.root / TODAY / "t0.md").read_text() == "somebody's"
    assert brain.where("t0") == ["completed"]
    assert (brain.root / TODAY / "t1.md").exists()


def test_a_retry_of_what_was_filed_away_leaves_one_place_in_git(brain, opened):
    """Its old ending goes from the archive when the new one is recorded."""
    failure = Failed(kind=FailureKind.PERMANENT, message="no")
    with small(opened) as made:
        for name in SIX:
            one = done(attempt(name), failure, Decision.FINISH, Status.FAILED, Reason.TOOL_FAILED)
            end(opened, brain, one)
            made.record()
        made.keep_house(now=True)
        old = opened.layout.inside(opened.journal.ended_task("t0").path)
        assert "/archive/" in old
        os.unlink(old)
        end(opened, brain, done(attempt("t0", 2)))
        made.record()
        made.keep_house(now=True)
    assert brain.where("t0") == ["completed"]
    assert brain.dirty() == ""


def test_without_commits_the_files_are_filed_away_all_the_same(brain):
    """`commit = false` leaves git to the person."""
    with contextlib.closing(brain.open(commit="false")) as opened, small(opened) as made:
        finish(opened, brain, made, *SIX)
        assert opened.journal.ended_task("t0").path == f"{TODAY}/t0.md"
        assert (brain.root / TODAY / "t0.md").exists()


def test_a_persons_own_files_stay_and_tasks_of_another_machine_go(brain, opened):
    """A note in completed/ is no result of ours; a recorded file that came with git is, by the day of its file."""
    with recorder_of(opened) as made:
        finish(opened, brain, made, *SIX)
    brain.write("brain/tasks/completed/a-note.md", "# mine")
    os.mkfifo(brain.completed / "pipe.md")
    opened.journal.replace_caches([], [])
    Recovery(opened, lambda _name: None).remember_recorded()
    assert opened.journal.ended_task("t0").finished_at is None
    with small(opened) as made:
        finish(opened, brain, made, "t6")
    assert {"a-note.md", "pipe.md"} <= set(os.listdir(brain.completed))
    assert len(os.listdir(brain.root / TODAY)) == 4
    assert brain.git("status", "--short", "--", "brain").split() == ["??", "brain/tasks/completed/a-note.md"]
