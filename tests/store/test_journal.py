"""The journal: durable, one outcome an attempt, and never taken for new when it is damaged."""

import os
import sqlite3
import tempfile
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.errors import Damaged, Refused, StorageError
from brain_daemon.model.outcome import FREE, Ended, Reason, Status, Succeeded
from brain_daemon.store.files import Files
from brain_daemon.store.journal import SCHEMA_VERSION, Hold, Journal, TaskRecord

ENDED = Ended(outcome=Succeeded(text="done"), started_at=1, finished_at=2, duration_seconds=1, cost=FREE)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "journal.db")


@pytest.fixture
def journal(path):
    opened = Journal(path, Files())
    yield opened
    opened.close()


def attempt(task_id="t", number=1, **changes) -> Attempt:
    return Attempt(
        **{
            "attempt_id": f"{task_id}.a{number}.00000000",
            "task_id": task_id,
            "number": number,
            "state": AttemptState.STARTING,
            "name": f"{task_id}.md",
            "sha256": "aa",
            "spec": b"bytes \0\xff",
            "claimant": "daemon",
            "claimed_at": 1.5,
            **changes,
        }
    )


def finished(one: Attempt, decision=Decision.FINISH, status=Status.COMPLETED) -> Attempt:
    return one.finished(ENDED, decision, status if decision is Decision.FINISH else None, None, "")


# attempts


def test_an_attempt_comes_back_as_it_was_written(journal):
    """Every column, with bytes, routing and arguments."""
    full = attempt(
        lease_until=9.0,
        origin="git",
        interface="echo",
        model="m",
        tier="free",
        routing={"reason": "why", "rejected": {"a": "b"}},
        argv=("a", "b c"),
        started_at=2.5,
    )
    journal.add([full, attempt("u")])
    assert journal.attempt(full.attempt_id) == full
    assert journal.attempt("none") is None
    assert journal.attempts_of("T") == [full]
    assert journal.open_attempts() == [full, attempt("u")]


def test_the_way_of_an_attempt(journal):
    """starting, ended, recorded, committed: then its bytes are git's affair."""
    one = attempt()
    journal.add([one])
    assert journal.ids_in(AttemptState.STARTING, 10) == [one.attempt_id]
    journal.end([finished(one)])
    assert journal.ids_in(AttemptState.ENDED, 10) == [one.attempt_id]
    with journal.transaction():
        journal.set_recorded([one.attempt_id])
    assert journal.ids_in(AttemptState.RECORDED, -1) == [one.attempt_id]
    journal.mark_committed({one.attempt_id: "abc"})
    assert journal.open_attempts() == []
    assert journal.commit_of("t") == "abc"
    found = journal.attempt(one.attempt_id)
    assert (found.state, found.spec, found.ended) == (AttemptState.COMMITTED, b"", ENDED)


def test_the_first_outcome_stands(journal):
    """B12: a second one changes nothing, at no time."""
    one = attempt()
    journal.add([one])
    journal.end([finished(one)])
    late = replace(finished(one, status=Status.FAILED), reason=Reason.TIMED_OUT)
    journal.end([late])
    assert journal.attempt(one.attempt_id).status is Status.COMPLETED
    with journal.transaction():
        journal.set_recorded([one.attempt_id])
    journal.end([late])
    assert journal.attempt(one.attempt_id).status is Status.COMPLETED


def test_released_an_attempt_has_no_outcome_ever(journal):
    """And its number is used up."""
    journal.add([attempt(state=AttemptState.CLAIMED)])
    journal.release("t.a1.00000000")
    journal.end([finished(attempt())])
    assert journal.attempt("t.a1.00000000").state is AttemptState.RELEASED
    assert journal.next_number("T") == 2
    assert journal.next_number("other") == 1


def test_what_has_been_released_too_late_keeps_its_outcome(journal):
    """Whoever gives back an attempt that has just ended changes nothing."""
    one = attempt()
    journal.add([one])
    journal.end([finished(one)])
    journal.release(one.attempt_id)
    assert journal.attempt(one.attempt_id).state is AttemptState.ENDED


def test_a_lease_is_renewed_only_while_it_is_held(journal):
    """A late renewal is told so."""
    journal.add([attempt(state=AttemptState.CLAIMED, lease_until=1.0)])
    assert journal.renew("t.a1.00000000", 50.0)
    assert journal.attempt("t.a1.00000000").lease_until == 50.0
    journal.release("t.a1.00000000")
    assert not journal.renew("t.a1.00000000", 60.0)


def test_of_each_task_the_newest_attempt_that_still_concerns_active(journal):
    """Open ones, and ends that did not end their task; a person's answer turns ask into again."""
    journal.add([attempt("a"), attempt("a", 2), attempt("b"), attempt("c")])
    for one, decision in ((attempt("b"), Decision.ASK), (attempt("c"), Decision.FINISH)):
        journal.end([finished(one, decision)])
        journal.mark_committed({one.attempt_id: ""})
    assert [one.attempt_id for one in journal.newest_attempts()] == ["a.a2.00000000", "b.a1.00000000"]
    journal.allow_again("b.a1.00000000")
    journal.allow_again("c.a1.00000000")
    assert journal.attempt("b.a1.00000000").decision is Decision.AGAIN
    assert journal.attempt("c.a1.00000000").decision is Decision.FINISH


def test_two_starts_under_one_id_are_refused_whole(journal):
    """The whole transaction goes, not half of it."""
    journal.add([attempt()])
    with pytest.raises(sqlite3.IntegrityError):
        journal.add([attempt("new"), attempt()])
    assert [one.task_id for one in journal.open_attempts()] == ["t"]


class Life(RuleBasedStateMachine):
    """Any order of verbs: an outcome never changes, states only go forward."""

    ORDER = (
        AttemptState.CLAIMED,
        AttemptState.STARTING,
        AttemptState.ENDED,
        AttemptState.RECORDED,
        AttemptState.COMMITTED,
    )

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.journal = Journal(os.path.join(self.folder.name, "journal.db"), Files())
        self.journal.add([attempt()])
        self.best = 1
        self.first: Status | None = None

    @rule(status=st.sampled_from(Status))
    def end(self, status):
        self.journal.end([finished(attempt(), status=status)])

    @rule()
    def record(self):
        with self.journal.transaction():
            self.journal.set_recorded(["t.a1.00000000"])

    @rule()
    def release(self):
        self.journal.release("t.a1.00000000")

    @invariant()
    def forward(self):
        found = self.journal.attempt("t.a1.00000000")
        if found.state is AttemptState.RELEASED:
            assert found.ended is None
            return
        assert self.ORDER.index(found.state) >= self.best
        self.best = self.ORDER.index(found.state)
        self.first = self.first or found.status
        assert found.status == self.first
        assert (found.ended is None) == (found.state is AttemptState.STARTING)

    def teardown(self):
        self.journal.close()
        self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=30, stateful_step_count=8, deadline=None)


# what has ended, outcomes, questions, holds


def test_tasks_that_have_ended(journal):
    """Found in any case, newest first, counted by status, and forgotten on a retry."""
    records = [
        TaskRecord(task_id="A", status="completed", path="x", finished_at=10.0, sha256="s"),
        TaskRecord(task_id="b", status="failed", path="y", finished_at=20.0, reason="auth"),
        TaskRecord(task_id="c", status="completed", path="z"),
    ]
    journal.remember_ended(records)
    assert journal.ended_statuses() == {"a": "completed", "b": "failed", "c": "completed"}
    assert journal.ended_task("a") == records[0]
    assert [one.task_id for one in journal.ended_tasks(2)] == ["b", "A"]
    assert journal.count_ended() == {"completed": 2, "failed": 1}
    assert journal.ended_since(15.0) == {"failed": 1}
    journal.forget_ended("a")
    assert journal.ended_task("A") is None


def test_an_outcome_counts_once(journal):
    """B13: a row that is there already stays as it is."""
    row = ("2026-11-20T10:00:00Z", "t", "t.a1.00000000", 1, "completed", *[None] * 14, "free", 1.0, None)
    journal.add_outcomes([row, row])
    journal.add_outcomes([(*row[:4], "failed", *row[5:])])
    assert journal.outcomes() == [row]
    assert journal.outcomes(day="2026-11-20") == [row]
    assert journal.outcomes(day="2026-11-21") == journal.outcomes(since="2026-11-21") == []
    journal.replace_caches([], [])
    assert journal.outcomes() == []


def test_people_can_ask_in_their_own_sql(journal, path):
    """The view has the ledger's columns, and an unknown cost is NULL and no zero."""
    rows = [
        ("2026-11-20T10:00:00Z", "t", f"t.a{n}.00000000", n, "completed", *[None] * 13, cost, basis, 1.0, None)
        for n, cost, basis in ((1, "0.25", "priced"), (2, None, "unknown"))
    ]
    journal.add_outcomes(rows)
    connection = sqlite3.connect(path)
    assert connection.execute("select sum(cost_usd), count(cost_usd), count(*) from cost_records").fetchone() == (
        0.25,
        1,
        2,
    )
    connection.close()


def test_a_question_is_asked_once_and_withdrawn_once(journal):
    """The oldest comes first."""
    assert journal.ask("q2", {"a": 1}, 20.0)
    assert journal.ask("q1", {"b": [2]}, 10.0)
    assert not journal.ask("q1", {}, 30.0)
    assert journal.questions() == {"q1": ({"b": [2]}, 10.0), "q2": ({"a": 1}, 20.0)}
    assert journal.withdraw("q1")
    assert not journal.withdraw("q1")


def test_holds_are_replaced_as_a_whole(journal):
    """`brain status` sees one moment."""
    first = [Hold(task_id="a", name="a.md", reason="x"), Hold(task_id="b", name="b.md", reason="y", until=5.0)]
    journal.replace_holds(first)
    assert journal.holds() == first
    journal.replace_holds(first[1:])
    assert journal.holds() == first[1:]


def test_approvals_and_settings_of_this_host(journal):
    """Content hashes, and single values."""
    journal.approve("aa", "echo", "made here")
    journal.approve("aa", "echo", "again")
    assert journal.approvals() == {"aa"}
    assert journal.get("state") is None
    journal.set("state", "running")
    journal.set("state", "paused")
    assert journal.get("state") == "paused"


# the file


def test_it_outlives_its_process_and_remembers_when_it_was_born(path):
    """Opened again it is the same one."""
    first = Journal(path, Files())
    first.add([attempt()])
    born = first.born
    first.close()
    second = Journal(path, Files(), durable=False)
    assert second.open_attempts() == [attempt()]
    assert second.born == born
    assert second.check() is None
    second.close()


@pytest.mark.parametrize(
    "data", [b"", b"this is no database, whatever its name says....", b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_damaged_journal_is_refused_and_kept(path, data):
    """B5: never replaced by a fresh one; the message says what happens to active/."""
    with open(path, "wb") as handle:
        handle.write(data)
    with pytest.raises(Damaged, match="tasks in active/"):
        Journal(path, Files())
    with open(path, "rb") as handle:
        assert handle.read() == data


def test_a_journal_of_a_newer_release_is_refused(path):
    """Nothing was changed."""
    Journal(path, Files()).close()
    connection = sqlite3.connect(path)
    connection.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(Refused, match="newer release"):
        Journal(path, Files())


def test_two_who_create_it_at_once_create_one(path):
    """The second finds it made."""
    first, second = Journal(path, Files()), Journal(path, Files())
    assert first.born == second.born
    first.set("a", "1")
    assert second.get("a") == "1"
    first.close()
    second.close()


def test_a_transaction_that_fails_leaves_nothing(journal):
    """And the next one works."""
    with pytest.raises(ZeroDivisionError), journal.transaction():
        journal.insert([attempt(claimed_at=1 / len(journal.questions()))])
    assert journal.open_attempts() == []
    journal.add([attempt()])


def test_a_transaction_that_fails_leaves_nothing_of_what_it_had_written(journal):
    """The rows before the failure go with it."""

    def half() -> None:
        with journal.transaction():
            journal.insert([attempt()])
            journal.insert([attempt("u", claimed_at=1 / len(journal.questions()))])

    with pytest.raises(ZeroDivisionError):
        half()
    assert journal.open_attempts() == []


def test_a_full_disk_is_a_storage_error_and_passes(journal):
    """What was refused is not there, what comes after there is room again is."""
    pages = journal._connection.execute("pragma page_count").fetchone()[0]
    journal._connection.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(StorageError, match="full"):
        journal.add([attempt(spec=os.urandom(100_000))])
    assert journal.open_attempts() == []
    journal._connection.execute("pragma max_page_count = 100000")
    journal.add([attempt()])
    assert journal.open_attempts() == [attempt()]


@pytest.mark.parametrize("data", [b"", b"\0\xff\r\n", bytes(range(256)) * 4000])
def test_any_bytes_of_a_task_survive(journal, data):
    """B2: the journal is where they are kept until git has them."""
    journal.add([attempt(spec=data)])
    assert journal.attempt("t.a1.00000000").spec == data


# what grows with the number of attempts there ever were


def test_what_the_daemon_asks_all_the_time_reads_no_attempt_that_has_ended(journal):
    """Each such query finds its rows by an index, however many have ended."""
    journal.add([attempt(f"t{number}") for number in range(20)])
    asked = []
    journal._connection.set_trace_callback(asked.append)
    for state in (AttemptState.CLAIMED, AttemptState.STARTING, AttemptState.ENDED, AttemptState.RECORDED):
        journal.ids_in(state, 10)
    journal.finishing()
    journal.open_attempts()
    journal.newest_attempts()
    journal._connection.set_trace_callback(None)
    assert len(asked) == 7
    for query in asked:
        plan = [row[3] for row in journal._connection.execute(f"explain query plan {query}")]
        assert not [step for step in plan if step.startswith("SCAN attempts") and "INDEX" not in step], (query, plan)


@pytest.mark.parametrize(("column", "cell"), [("ended", "{"), ("routing", "torn"), ("lineage", "[]"), ("argv", "{")])
def test_a_row_that_is_not_ours_is_damage_in_words(journal, path, column, cell):
    """Which attempt, in which file, and what to do; never a traceback."""
    journal.add([attempt()])
    journal._connection.execute(f"update attempts set {column} = ?", (cell,))
    with pytest.raises(Damaged, match=r"t\.a1\.00000000") as caught:
        journal.attempts_of("t")
    assert path in str(caught.value)
    assert [one for one, _ in journal.unreadable(-1)] == ["t.a1.00000000"]


def test_a_question_that_cannot_be_read_is_damage_in_words(journal):
    """As above."""
    journal._connection.execute("insert into questions values ('q', 'torn', 1.0)")
    with pytest.raises(Damaged, match="question q"):
        journal.questions()
