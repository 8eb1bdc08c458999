"""From outcomes in the journal to files and commits: once each, however often it is begun."""

import contextlib
import hashlib
import json
import sys
import time
from dataclasses import replace

import pytest

from brain_daemon.model import document
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.errors import StorageError
from brain_daemon.model.outcome import FREE, Ended, Failed, FailureKind, Reason, Status, Succeeded
from brain_daemon.record.result import cost_row
from brain_daemon.service.brain import Brain
from brain_daemon.store.files import Files
from brain_daemon.store.locks import recording
from tests.depth import spread

SPEC = b"# Title\n\nDo it.\n"


class Stop(BaseException):
    """The machine dies here."""


class Dying(Files):
    """Dies at one step of those counted, and stays dead."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.count, self.armed = at, 0, False

    def step(self, action: str, path: str) -> None:
        if self.armed:
            self.count += 1
            if self.count >= self.at:
                raise Stop


def attempt(task_id="t", number=1, **changes) -> Attempt:
    spec = changes.get("spec", SPEC)
    return Attempt(
        **{
            "attempt_id": f"{task_id}.a{number}.0000000{number}",
            "task_id": task_id,
            "number": number,
            "state": AttemptState.STARTING,
            "name": f"{task_id}.md",
            "sha256": hashlib.sha256(spec).hexdigest(),
            "spec": spec,
            "claimant": "daemon",
            "claimed_at": time.time(),
            "started_at": time.time(),
            "interface": "echo",
            "tier": "free",
            **changes,
        }
    )


def done(one: Attempt, outcome=None, decision=Decision.FINISH, status=Status.COMPLETED, reason=None) -> Attempt:
    outcome = outcome or Succeeded(text="the answer")
    now = time.time()
    ended = Ended(
        outcome=outcome,
        started_at=now - 1,
        finished_at=now,
        duration_seconds=1,
        cost=FREE,
        text=getattr(outcome, "text", ""),
    )
    return one.finished(ended, decision, status if decision is Decision.FINISH else None, reason, "")


@contextlib.contextmanager
def recorder_of(opened: Brain):
    """A recorder that has started, under the recording lock."""
    with recording(opened.layout):
        made = opened.recorder(opened.registry(), lambda: "running")
        made.start()
        yield made


@pytest.fixture
def opened(brain):
    with contextlib.closing(brain.open()) as made:
        yield made


def end(opened: Brain, brain, *ended: Attempt) -> None:
    """These tasks have run: their files are in active/, their outcomes durable."""
    for one in ended:
        opened.journal.add([one])
        (brain.active / f"{one.task_id}.md").write_bytes(one.spec)
    opened.journal.end(ended)


def test_an_outcome_becomes_a_file_a_row_and_a_commit(brain, opened):
    """And leaves active/; recording again does nothing."""
    end(opened, brain, done(attempt()))
    with recorder_of(opened) as made:
        made.record()
        assert made.is_idle
        head = brain.git("rev-parse", "HEAD")
        made.record()
        made.keep_house(now=True)
    assert brain.where("t") == ["completed"]
    assert document.restore((brain.completed / "t.md").read_bytes()) == SPEC
    assert [row.attempt_id for row in brain.rows()] == ["t.a1.00000001"]
    assert brain.git("rev-parse", "HEAD") == head
    assert opened.journal.attempt("t.a1.00000001").state is AttemptState.COMMITTED
    assert opened.journal.ended_task("t").path == "brain/tasks/completed/t.md"
    assert brain.dirty() == ""


def test_an_attempt_that_did_not_end_its_task_has_a_row_and_no_file(brain, opened):
    """It is tried again, or waits for a person; its row comes with the next commit."""
    failed = Failed(kind=FailureKind.QUOTA, message="no more")
    end(opened, brain, done(attempt(), failed, Decision.AGAIN))
    with recorder_of(opened) as made:
        made.record()
        made.keep_house(now=True)
    assert brain.where("t") == ["active"]
    assert [row.status for row in brain.rows()] == [Status.FAILED]
    assert brain.dirty() == ""
    assert opened.journal.attempt("t.a1.00000001").state is AttemptState.COMMITTED


def test_each_outcome_has_its_own_commit_with_its_own_paths(brain, opened):
    """The day files ride in the last one of the group."""
    end(opened, brain, *(done(attempt(f"t{number}")) for number in range(3)))
    with recorder_of(opened) as made:
        made.record()
    commits = brain.git("log", "--format=%H %(trailers:key=Task-Id,valueonly,separator=)", "-3").split("\n")
    touched = {
        line.split()[1]: brain.git("show", "--name-only", "--format=", line.split()[0]).split()
        for line in commits
        if line
    }
    assert touched["t0"] == ["brain/tasks/completed/t0.md"]
    assert touched["t1"] == ["brain/tasks/completed/t1.md"]
    assert "brain/tasks/completed/t2.md" in touched["t2"]
    assert any(path.startswith("logs/costs/") for path in touched["t2"])


@pytest.mark.parametrize(("edited", "spec"), [(b"changed\n", SPEC), ("gone", SPEC), (None, b"\0binary\xff")])
def test_a_death_at_any_step_is_made_good_by_the_next_recorder(brain, opened, edited, spec):
    """B13, B14: one file, one row, one commit, whatever was done before, and whatever became of the active file."""
    started = None if spec != SPEC else time.time()
    status, reason = (Status.FAILED, Reason.MALFORMED) if started is None else (Status.COMPLETED, None)
    folder = brain.failed if started is None else brain.completed

    def recorded(name: str, files: Dying) -> None:
        """Up to where the machine dies, and then by the next recorder."""
        end(opened, brain, done(attempt(name, spec=spec, started_at=started), status=status, reason=reason))
        active = brain.active / f"{name}.md"
        if edited == "gone":
            active.unlink()
        elif edited:
            active.write_bytes(edited)
        with contextlib.closing(brain.open(files)) as dying, contextlib.suppress(Stop), recorder_of(dying) as made:
            files.armed = True
            made.record()
        with recorder_of(opened) as made:
            made.record()
        beside = [f"{name}.error.md"] if started is None else [f"{name}.files"] * bool(edited == b"changed\n")
        assert sorted(one for one in brain.names(folder) if one.startswith((f"{name}.",))) == sorted(
            [f"{name}.md", *beside]
        )

    first, whole = Dying(1), Dying(1_000_000)
    recorded("t1", first)  # also makes what is there but once, such as the day files
    recorded("whole", whole)
    assert whole.count > 5
    struck = spread(whole.count, 8)
    for at in struck:
        recorded(f"at{at}", Dying(at))
    with recorder_of(opened) as made:
        made.record()
        made.keep_house(now=True)
    rows = [row.task_id for row in brain.rows()]
    assert sorted(rows) == sorted(["t1", "whole", *(f"at{at}" for at in struck)])
    trailers = brain.git("log", "--format=%(trailers:key=Task-Id,valueonly)").split()
    assert sorted(trailers) == sorted(rows)
    assert brain.names(brain.active) == []
    assert brain.dirty() == ""
    assert brain.git("fsck") == ""


def test_another_file_of_that_name_is_never_overwritten(brain, opened):
    """B3: the result then stands under the attempt's id."""
    brain.write("brain/tasks/completed/t.md", "mine\n")
    end(opened, brain, done(attempt()))
    with recorder_of(opened) as made:
        made.record()
    assert (brain.completed / "t.md").read_text() == "mine\n"
    assert document.restore((brain.completed / "t.a1.00000001.md").read_bytes()) == SPEC
    assert opened.journal.ended_task("t").path == "brain/tasks/completed/t.a1.00000001.md"


@pytest.mark.parametrize("left", [b"", b"---\n", bytes(700), b"---\n" + bytes(500)])
def test_what_a_power_cut_left_of_a_file_of_ours_is_written_anew(brain, opened, left):
    """Its name may be on the disk before what it says: then its beginning is there, or zeros, or the one and then the other."""
    end(opened, brain, done(attempt()))
    (brain.completed / "t.md").write_bytes(left)
    with recorder_of(opened) as made:
        made.record()
    assert [path.name for path in brain.completed.glob("*.md")] == ["t.md"]
    assert document.restore((brain.completed / "t.md").read_bytes()) == SPEC
    assert brain.dirty() == ""


def test_a_long_text_goes_into_a_file_beside(brain):
    """The recorded file says how long it was."""
    with contextlib.closing(brain.open(result_size="1KiB")) as opened:
        end(opened, brain, done(attempt(), Succeeded(text="x" * 5000)))
        with recorder_of(opened) as made:
            made.record()
    assert (brain.completed / "t.files" / "result.md").read_text() == "x" * 5000
    assert brain.recorded("t").cut_bytes is not None
    assert brain.dirty() == ""


def test_while_git_is_busy_the_commit_is_owed(brain, opened):
    """B20: the outcome stands, and is committed when git is free."""
    brain.write(".git/index.lock", "")
    end(opened, brain, done(attempt()))
    with recorder_of(opened) as made:
        made.record()
        assert brain.where("t") == ["completed"]
        assert made.why_owed is not None
        assert opened.journal.attempt("t.a1.00000001").state is AttemptState.RECORDED
        (brain.root / ".git/index.lock").unlink()
        made.record()
        assert made.why_owed is None
    assert brain.dirty() == ""


def test_without_commits_the_files_are_all(brain):
    """`commit = false` leaves git to the person."""
    head = brain.git("rev-parse", "HEAD")
    with contextlib.closing(brain.open(commit="false")) as opened:
        end(opened, brain, done(attempt()))
        with recorder_of(opened) as made:
            made.record()
            made.keep_house(now=True)
        assert opened.journal.attempt("t.a1.00000001").state is AttemptState.COMMITTED
    assert brain.where("t") == ["completed"]
    assert brain.git("rev-parse", "HEAD") == head


def test_a_retry_that_ends_elsewhere_leaves_one_place_in_git(brain, opened):
    """Failed first, completed then: git has the second place only."""
    end(
        opened,
        brain,
        done(attempt(), Failed(kind=FailureKind.AUTH, message="no"), status=Status.FAILED, reason=Reason.AUTH),
    )
    with recorder_of(opened) as made:
        made.record()
        (brain.failed / "t.md").unlink()
        end(opened, brain, done(attempt(number=2)))
        made.record()
    assert brain.git("ls-files", "brain/tasks/completed", "brain/tasks/failed").split() == [
        "brain/tasks/completed/.gitkeep", "brain/tasks/completed/t.md", "brain/tasks/failed/.gitkeep",
    ]  # fmt: skip
    assert len(brain.recorded("t").values["attempts"]) == 1


def test_while_the_person_rebases_results_are_written_and_our_pages_are_left_alone(brain, opened):
    """`git rebase --continue` refuses while a tracked file differs; the pages, the row and the commit follow afterwards."""
    end(opened, brain, done(attempt("before")))
    with recorder_of(opened) as made:
        made.record()
        made.keep_house(now=True)
        pages = {path: path.read_bytes() for path in (brain.root / "logs").rglob("*.*")}
        brain.git("checkout", "-qb", "side")
        for text in ("one", "two"):
            (brain.root / "theirs.md").write_text(text)
            brain.git("add", "theirs.md")
            brain.git("commit", "-qm", text)
        brain.git("-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "-qi", "HEAD~2")
        end(opened, brain, done(attempt("during")))
        for _ in range(2):
            made.record()
        assert brain.where("during") == ["completed"]
        assert {path: path.read_bytes() for path in (brain.root / "logs").rglob("*.*")} == pages
        assert made.why_owed == "a rebase is in progress"
        assert opened.journal.get("why_owed") == "a rebase is in progress"
        brain.git("rebase", "--continue")
        made.record()
        made.keep_house(now=True)
        assert made.why_owed is None
    assert brain.where("during") == ["completed"]
    assert [row.task_id for row in brain.rows()] == ["before", "during"]
    assert opened.journal.attempt("during.a1.00000001").state is AttemptState.COMMITTED
    assert brain.dirty() == ""


def test_a_result_that_cannot_be_written_during_a_merge_holds_up_no_other(brain, opened):
    """It is tried again at the next look."""
    end(opened, brain, done(attempt("a")), done(attempt("b")))
    (brain.root / ".git" / "MERGE_HEAD").write_text(brain.git("rev-parse", "HEAD"))
    (brain.completed / "a.md").mkdir()
    with recorder_of(opened) as made:
        with pytest.raises(StorageError):
            made.record()
        assert (brain.completed / "b.md").is_file()
        (brain.completed / "a.md").rmdir()
        made.record()
    assert (brain.completed / "a.md").is_file()


def test_word_of_an_end_that_comes_after_it_was_begun_books_nothing_twice(brain, opened, monkeypatch):
    """The journal tells the recorder first, the disk fails behind the ledger's row, and only then its daemon tells it."""
    one = done(attempt())
    end(opened, brain, one)

    def refuse(_paths) -> None:
        raise StorageError("syncing the logs: no space")

    with recorder_of(opened) as made:
        with monkeypatch.context() as broken:
            broken.setattr(opened.files, "sync_folders", lambda paths: refuse(paths) if "logs" in str(paths) else None)
            with pytest.raises(StorageError):
                made.record()
        assert [row.attempt_id for row in brain.rows()] == [one.attempt_id]
        made.remember(one, None)
        made.record()
    assert [row.attempt_id for row in brain.rows()] == [one.attempt_id]
    (page,) = (brain.root / "logs" / "activity").glob("*.md")
    assert page.read_text().count(one.attempt_id) == 1


def test_metrics_count_an_outcome_once_however_often_it_is_begun(brain, opened, monkeypatch):
    """The disk fails between the file of the metrics and the journal; the same group comes again, and then another."""
    end(opened, brain, done(attempt("a")), done(attempt("b")))

    def refuse(_paths) -> None:
        raise StorageError("syncing the logs: no space")

    with recorder_of(opened) as made:
        with monkeypatch.context() as broken:
            broken.setattr(opened.files, "sync_folders", lambda paths: refuse(paths) if "logs" in str(paths) else None)
            with pytest.raises(StorageError):
                made.record()
        assert counted(brain) == 2
        end(opened, brain, done(attempt("c")))
        made.record()
        assert counted(brain) == 3


def test_metrics_count_once_what_an_index_built_anew_knows_already(brain, opened):
    """`brain reindex` after a crash behind the ledger's row: the text has it, the journal still owes it."""
    one = done(attempt())
    end(opened, brain, one)
    opened.journal.insert_outcomes([cost_row(one, None, None).to_values()])
    with recorder_of(opened) as made:
        made.record()
    assert counted(brain) == 1


def test_what_ended_before_midnight_counts_on_its_day(brain, opened):
    """And what came before it on that day with it."""
    one, two = (at_noon_yesterday(done(attempt(name))) for name in "ab")
    for each in (one, two):
        end(opened, brain, each)
        with recorder_of(opened) as made:
            made.record()
    before = time.strftime("%Y-%m-%d", time.gmtime(one.ended.finished_at))
    page = json.loads((brain.root / "logs" / "metrics" / f"{before}.json").read_text())
    assert page["total"]["count"] == 2


def at_noon_yesterday(one: Attempt) -> Attempt:
    then = time.time() // 86_400 * 86_400 - 43_200
    return replace(one, ended=replace(one.ended, started_at=then - 1, finished_at=then))


def counted(brain) -> int:
    (page,) = (brain.root / "logs" / "metrics").glob("*.json")
    return json.loads(page.read_text())["total"]["count"]


def test_word_of_an_end_that_is_recorded_already_is_not_kept(brain, opened):
    """Else a daemon that runs for months would keep the texts of its tasks."""
    one = done(attempt())
    end(opened, brain, one)
    with recorder_of(opened) as made:
        made.record()
        before = sys.getrefcount(one)
        made.remember(one, None)
        made.record()
        assert sys.getrefcount(one) == before
