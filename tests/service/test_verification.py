"""`brain verify` agrees with a sound brain and names each kind of damage that is planted."""

import asyncio
import os
import shutil
from dataclasses import replace

import pytest

from brain_daemon.model.attempt import AttemptState
from brain_daemon.service.reindexing import reindex
from brain_daemon.service.verification import SAMPLE, Area, _sample, verify
from brain_daemon.store.locks import recording

PRICED = "cost: {tier: paid, input_per_million: 3, output_per_million: 15}\ntype: llm\n"


def work(brain) -> None:
    brain.echo()
    brain.program("priced", "cat", more=PRICED)
    brain.program("broken", "false", more="good_at: {default: 0}\n")
    for name in ("one", "two", "three"):
        brain.drop(f"{name}.md")
    brain.drop("paid.md", "---\ninterface: priced\n---\n# Paid\n\nsome words\n")
    brain.drop("twice.md", "---\npreferred_interface: broken\n---\n# Twice\n")
    brain.drop("binary.md", b"# Binary\0\n")
    brain.run_once()


@pytest.fixture
def worked(made_once):
    """A brain that has done some work, all of it committed."""
    return made_once(work)


@pytest.fixture
def look(worked):
    """`look()` verifies and gives (area, subject) -> messages."""

    def ask(**options):
        opened = worked.open()
        try:
            found = verify(opened, pause_seconds=0.0, **options)
        finally:
            opened.close()
        said = {}
        for one in found.findings:
            said[one.area, one.subject] = said.get((one.area, one.subject), "") + one.message
        return said

    return ask


def ledger_file(brain):
    return next(iter(sorted((brain.root / "logs" / "costs").glob("*.csv"))))


def attempt_of(brain, task_id):
    return str(brain.recorded(task_id).values["attempt_id"])


def test_a_sound_brain_has_nothing_wrong(worked):
    """Results, a failure of two attempts, a priced one and one beside its file: all figures agree, and all were looked at."""
    opened = worked.open()
    found = verify(opened, everything=True)
    opened.close()
    assert found.findings == ()
    assert not found.sampled
    assert found.checked == {"tasks": 6, "originals": 6, "rows": 7, "attempts": 7, "commits": 6}


def test_verifying_changes_nothing(worked):
    """No file, no index entry, no ref is touched."""
    before = (worked.git("status", "--porcelain"), worked.git("rev-parse", "HEAD"), worked.rows())
    opened = worked.open()
    verify(opened)
    opened.close()
    assert (worked.git("status", "--porcelain"), worked.git("rev-parse", "HEAD"), worked.rows()) == before


async def test_a_brain_at_work_has_nothing_wrong(brain):
    """What moves between two looks is not taken for damage."""
    brain.echo()
    async with brain.running() as running:
        for number in range(60):
            brain.drop(f"t{number}.md")
        await running.until(lambda: brain.names(brain.completed), "the first task to end")
        opened = brain.open()
        found = await asyncio.to_thread(verify, opened, pause_seconds=0.2)
        opened.close()
        await running.ended(*(f"t{number}" for number in range(60)))
    assert found.findings == ()


# custody


def test_an_edited_result_is_named(worked, look):
    """The original bytes no longer come out of it, and HEAD has another text."""
    path = worked.completed / "one.md"
    path.write_bytes(path.read_bytes().replace(b"# Task", b"# Tusk", 1))
    found = look()
    assert "spec_sha256" in found[Area.CUSTODY, "one"]
    assert "git diff" in found[Area.GIT, "one"]
    assert len(found) == 2


def test_a_deleted_result_is_named_with_where_it_still_is(worked, look):
    """An ended task has its file."""
    (worked.completed / "two.md").unlink()
    found = look()
    assert list(found) == [(Area.CUSTODY, "two")]
    assert "git log -- brain/tasks/completed/two.md" in found[Area.CUSTODY, "two"]


def test_a_result_that_the_person_removed_in_git_as_well_is_no_damage(worked, look):
    """`git rm` and a commit say that it is meant."""
    worked.git("rm", "-q", "brain/tasks/completed/two.md")
    worked.git("commit", "-q", "-m", "not needed any more")
    assert look() == {}


def test_a_file_in_active_without_an_attempt_is_named(worked, look):
    """Nobody works on it and nobody knows how it came there."""
    (worked.active / "stray.md").write_text("# Stray\n")
    assert "no attempt" in look()[Area.CUSTODY, "stray"]


def test_an_ended_task_that_still_lies_in_active_is_named(worked, look):
    """The move out of active/ was lost."""
    shutil.copy(worked.completed / "one.md", worked.active / "one.md")
    assert "still in active" in look()[Area.CUSTODY, "one"]


def test_a_twin_of_a_claim_that_was_cut_short_is_named(worked, look):
    """The same bytes under two names."""
    for folder in (worked.active, worked.pending):
        (folder / "twin.md").write_text("# Twin\n")
    assert "same bytes" in "".join(look().values())


def test_a_copy_of_a_result_in_the_other_folder_is_named(worked, look):
    """One attempt has one record."""
    shutil.copy(worked.completed / "one.md", worked.failed / "one.md")
    assert "one is a copy" in look()[Area.CUSTODY, "one"]


def test_a_task_whose_file_vanished_while_it_ran_is_named(worked, look):
    """The journal has it under way, the folder does not have it."""
    opened = worked.open()
    attempt = opened.journal.attempts_of("one")[0]
    started = replace(
        attempt,
        attempt_id="lost.a1.00000001",
        task_id="lost",
        state=AttemptState.STARTING,
        ended=None,
        decision=None,
        status=None,
    )
    opened.journal.add([started])
    opened.close()
    assert "lost.a1.00000001" in look()[Area.CUSTODY, "lost"]


def test_a_task_sent_back_by_retry_is_no_damage(worked, look):
    """Its record has gone back into pending/: that is where it is."""
    shutil.move(worked.completed / "one.md", worked.pending / "one.md")
    assert look() == {}


def test_bytes_beside_their_result_are_checked_too(worked, look):
    """A file that can hold no block is proved by the one beside it."""
    path = worked.failed / "binary.md"
    path.write_bytes(b"# Other\0\n")
    assert "binary.error.md" in look()[Area.CUSTODY, "binary"]


def test_a_result_under_another_tasks_bytes_is_named(worked, look):
    """A record that proves itself but not what was run."""
    opened = worked.open()
    record = opened.journal.ended_task("one")
    assert record is not None
    opened.journal.remember_ended([replace(record, sha256="0" * 64)])
    opened.close()
    assert "other bytes" in look()[Area.CUSTODY, "one"]


# ledger


def test_a_row_cut_out_of_the_ledger_is_named(worked, look):
    """The index and the result still know of it: three witnesses, one missing."""
    path, attempt_id = ledger_file(worked), attempt_of(worked, "paid")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if attempt_id not in line))
    found = look()
    assert "not in the ledger's text" in found[Area.LEDGER, attempt_id]
    assert "no row" in found[Area.LEDGER, "paid"]
    assert "the text has 6 attempts" in found[Area.LEDGER, "sums"]


def test_a_row_lost_from_text_and_index_is_named_by_the_journal(worked, look):
    """A first attempt leaves no result block of its own: the journal and the second one's list remember it."""
    path = ledger_file(worked)
    rows = [row for row in worked.rows() if row.task_id == "twice"]
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if rows[0].attempt_id not in line))
    opened = worked.open()
    kept = [values for values in opened.journal.outcomes() if values[2] != rows[0].attempt_id]
    records = opened.journal.ended_tasks()
    opened.journal.replace_caches([], [])
    opened.journal.remember_ended(records)
    opened.journal.add_outcomes(kept)
    opened.close()
    found = look()
    assert "the journal has it as recorded" in found[Area.LEDGER, rows[0].attempt_id]
    assert "fewer rows" in found[Area.LEDGER, "twice"]


def test_a_row_that_was_changed_is_named_with_its_columns(worked, look):
    """A cost edited in the text differs from the index and from the result."""
    path, attempt_id = ledger_file(worked), attempt_of(worked, "paid")
    row = next(row for row in worked.rows() if row.attempt_id == attempt_id)
    assert row.cost_usd is not None
    text = path.read_text()
    line = next(line for line in text.splitlines() if attempt_id in line)
    path.write_text(text.replace(line, line.replace(f"{row.cost_usd:f}", "7.5")))
    found = look()
    assert "differ in cost_usd" in found[Area.LEDGER, attempt_id]
    assert "differ in cost_usd" in found[Area.LEDGER, "paid"]


def test_a_row_that_stands_twice_is_named(worked, look):
    """One row an attempt."""
    path, attempt_id = ledger_file(worked), attempt_of(worked, "one")
    line = next(line for line in path.read_text().splitlines(keepends=True) if attempt_id in line)
    path.write_text(path.read_text() + line)
    assert "two rows" in look()[Area.LEDGER, attempt_id]


def test_a_torn_ledger_is_named_with_its_line(worked, look):
    """What cannot be read is no reason to call everything else wrong."""
    path = ledger_file(worked)
    path.write_bytes(path.read_bytes()[:-5])
    found = look()
    assert list(found) == [(Area.LEDGER, f"logs/costs/{path.name}")]
    assert "does not end" in next(iter(found.values()))


def test_an_index_that_lacks_rows_and_tasks_is_named(worked, look):
    """The caches were lost: every row and every task is missing, and `brain reindex` is the remedy."""
    opened = worked.open()
    opened.journal.replace_caches([], [])
    opened.close()
    found = look()
    assert "brain reindex" in found[Area.LEDGER, attempt_of(worked, "one")]
    assert "brain reindex" in found[Area.JOURNAL, "one"]


# journal and git


def test_a_damaged_journal_is_named(worked, look):
    """SQLite's own check."""
    opened = worked.open()
    path = opened.layout.journal
    opened.journal._connection.execute("pragma wal_checkpoint(truncate)")
    opened.close()
    pages = os.path.getsize(path) // 4096
    with open(path, "r+b") as handle:
        for page in range(2, pages):
            handle.seek(page * 4096)
            handle.write(b"\xff" * 64)
    found = look()
    assert [area for area, _ in found] == [Area.JOURNAL]
    assert path in next(iter(found))[1]


def test_a_branch_without_the_results_is_named(worked, look):
    """HEAD was moved back: what the journal says was committed is not there."""
    worked.git("update-ref", "refs/heads/main", worked.git("rev-list", "--max-parents=0", "HEAD").strip())
    found = look()
    assert "HEAD (main) does not have" in found[Area.GIT, "one"]
    assert {subject for area, subject in found if area is Area.GIT} == {
        "one",
        "two",
        "three",
        "paid",
        "twice",
        "binary",
    }


def test_an_outcome_that_is_owed_is_no_damage(brain):
    """During a merge nothing is committed, and nothing is wrong."""
    brain.echo()
    brain.write(".git/MERGE_HEAD", brain.git("rev-parse", "HEAD"))
    brain.drop("a.md")
    brain.run_once()
    opened = brain.open()
    found = verify(opened, pause_seconds=0.0)
    opened.close()
    assert found.findings == ()


def test_it_does_not_wait_for_a_recorder(worked, look):
    """Somebody holds the recording lock for long: verifying goes on beside it."""
    opened = worked.open()
    layout = opened.layout
    opened.close()
    with recording(layout):
        assert look() == {}


def test_only_what_stays_is_reported(worked, monkeypatch):
    """A task caught between two folders is gone from there at the second look."""
    opened = worked.open()
    stray = worked.active / "passing.md"
    stray.write_text("# Passing\n")
    monkeypatch.setattr("brain_daemon.service.verification.time.sleep", lambda _seconds: stray.unlink(missing_ok=True))
    found = verify(opened)
    opened.close()
    assert found.findings == ()


def test_a_large_brain_is_sampled_evenly_with_the_newest_first():
    """Of 5,000 records the newest 500 and some 500 of the others are read."""
    paths = [("completed", f"/nowhere/{number}.md") for number in range(10 * SAMPLE)]
    chosen = _sample(paths)
    assert SAMPLE < len(chosen) <= 2 * SAMPLE
    assert len(set(chosen)) == len(chosen)
    assert _sample(paths[:SAMPLE]) == paths[:SAMPLE]


# what rows, folders and commits of attempts say against each other


def change(brain, statement, *values):
    """A cell of the journal, changed behind everybody's back."""
    opened = brain.open()
    opened.journal._connection.execute(statement, values)
    opened.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update attempts set ended = null where task_id = ?", "has no outcome of it"),
        ("update attempts set ended = '{\"outcome\"' where task_id = ?", "cannot be read"),
        ("update attempts set routing = 'torn' where task_id = ?", "cannot be read"),
        ("update attempts set status = 'done' where task_id = ?", "cannot be read"),
        ("update attempts set spec = X'00' where task_id = ?", "are not those of its hash"),
    ],
)
def test_a_row_of_the_journal_that_cannot_be_is_named(worked, look, statement, said):
    """An outcome that is gone or torn, a word nobody knows, bytes that are others."""
    change(worked, statement, "one")
    found = look()
    assert said in found[Area.JOURNAL, attempt_of(worked, "one")]


def test_a_row_of_the_journal_that_is_lost_is_named_by_what_it_left(worked, look):
    """Its folder shows that it ran on this machine, after this journal was begun."""
    attempt_id = attempt_of(worked, "paid")
    change(worked, "delete from attempts where attempt_id = ?", attempt_id)
    assert "no row of it" in look()[Area.JOURNAL, attempt_id]


def test_a_journal_begun_anew_is_no_damage(worked, look):
    """It was moved away and the index built from the text, as the manual says."""
    layout = worked.layout
    for ending in ("", "-wal", "-shm"):
        if os.path.exists(layout.journal + ending):
            os.rename(layout.journal + ending, layout.journal + ending + ".old")
    opened = worked.open()
    reindex(opened)
    opened.close()
    assert look() == {}


def test_a_commit_that_names_another_attempt_is_named(worked, look):
    """The trailers of the commit that the journal has for an attempt tell of another one."""
    opened = worked.open()
    other = opened.journal.commit_of("two")
    opened.close()
    change(worked, "update attempts set commit_sha = ? where task_id = 'one'", other)
    assert f"names {attempt_of(worked, 'two')}" in look()[Area.JOURNAL, attempt_of(worked, "one")]


def test_a_history_that_was_rewritten_is_no_damage(worked, look):
    """The commits of the journal are gone, and HEAD has the same files."""
    worked.git("checkout", "-q", "--orphan", "fresh")
    worked.git("commit", "-q", "-m", "all in one")
    worked.git("branch", "-q", "-D", "main")
    worked.git("branch", "-q", "-m", "main")
    worked.git("reflog", "expire", "--expire=now", "--all")
    worked.git("gc", "-q", "--prune=now")
    assert look() == {}


def test_a_folder_of_a_running_attempt_that_is_lost_is_named(worked, look):
    """With it went the lock that says whether its program still runs."""
    opened = worked.open()
    running = replace(
        opened.journal.attempts_of("one")[0],
        attempt_id="runs.a1.00000001",
        task_id="runs",
        state=AttemptState.STARTING,
        started_at=1.0,
        ended=None,
        decision=None,
        status=None,
    )
    opened.journal.add([running])
    opened.close()
    (worked.active / "runs.md").write_bytes(b"# Runs\n")
    assert "its folder in the state folder is gone" in look()[Area.JOURNAL, "runs.a1.00000001"]


def test_a_row_in_the_file_of_another_day_is_named(worked, look):
    """Nothing is missing, and whoever looks for it there does not find it."""
    path = ledger_file(worked)
    path.rename(path.with_name("2001-01-01.csv"))
    found = look()
    assert "stands in logs/costs/2001-01-01.csv" in found[Area.LEDGER, attempt_of(worked, "one")]


def test_what_is_no_file_among_the_results_is_named_and_not_waited_for(worked, look):
    """A FIFO and a file without end."""
    os.mkfifo(worked.completed / "fifo.md")
    with (worked.completed / "endless.md").open("wb") as handle:
        handle.truncate(10 << 30)
    found = look()
    assert "not a regular file" in found[Area.CUSTODY, "fifo"]
    assert (Area.CUSTODY, "endless") in found


def test_an_answer_changed_where_there_is_no_git_is_named(brain):
    """With git the difference to HEAD says it; without, the hash in the block does."""
    brain.echo()
    shutil.rmtree(brain.root / ".git")
    brain.drop("one.md")
    brain.run_once()
    path = brain.completed / "one.md"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    opened = brain.open()
    found = verify(opened, pause_seconds=0.0)
    opened.close()
    assert [one.subject for one in found.findings] == ["one"]
    assert "text_sha256" in found.findings[0].message
