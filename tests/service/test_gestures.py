"""What a person does with task files, and what comes of it: the real daemon in this process, real files, real git."""

import contextlib
import json
import os
import time

import pytest
import yaml

from brain_daemon.model import document
from brain_daemon.model.errors import Refused
from brain_daemon.service import actions

SLOW = "delay_seconds: 60"
ONLY_BY_NAME = "good_at: {default: 0}\n"


def task(body: str = "Say it.", **fields: str) -> str:
    """A task file with front matter."""
    head = "".join(f"{key}: {value}\n" for key, value in fields.items())
    return f"---\n{head}---\n# Task: one\n\n{body}\n"


@pytest.fixture
def echoing(brain):
    """A brain with an in-process tool that answers with the task's own text."""
    brain.echo()
    return brain


# dropping


def test_a_plain_markdown_file_is_a_task(echoing):
    """No front matter is needed; the answer stands in completed/ and the original bytes come back exactly."""
    original = b"Say hello.\r\nTwice"
    echoing.drop("hello.md", original)
    assert echoing.run_once() == 0
    recorded = (echoing.completed / "hello.md").read_bytes()
    assert document.restore(recorded) == original
    assert echoing.recorded("hello").values["interface"] == "echo"
    assert "Say hello." in echoing.recorded("hello").text


def test_names_with_spaces_are_tasks_whose_id_is_the_slug(echoing):
    """A note from Obsidian keeps its title in the result; its id can be typed."""
    echoing.drop("Größe des Bäckers.md", "Wie groß?\n")
    assert echoing.run_once() == 0
    assert echoing.names(echoing.completed) == ["Groe-des-Backers.md"]
    assert echoing.recorded("Groe-des-Backers").values["name"] == "Größe des Bäckers.md"


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.md",
        "~$note.md",
        "#note.md#",
        "note.md~",
        "note.md.part",
        "note.part.md",
        "note.tmp.md",
        "note.md.swp",
        "note.sync-conflict-20261120-101500-ABCDEF.md",
        "note (Ann's conflicted copy 2026-11-20).md",
        "note.conflict-1.md",
        "note.error.md",
        "note.txt",
        "README.md",
    ],
)
def test_names_that_are_no_tasks_are_left_alone(echoing, name):
    """Temporaries of editors, hidden files, partial uploads and sync conflicts stay where they are."""
    echoing.drop(name)
    assert echoing.run_once() == 0
    assert (echoing.pending / name).exists()
    assert not echoing.names(echoing.completed)


def test_a_draft_waits_until_it_is_ready(echoing):
    """`status: draft` is left alone and said; changing it to ready runs it."""
    echoing.drop("plan.md", task(status="draft"))
    assert echoing.run_once() == 0
    assert "draft" in echoing.board.read_text()
    echoing.drop("plan.md", task(status="ready"))
    assert echoing.run_once() == 0
    assert echoing.where("plan") == ["completed"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("---\npriority: urgent\n---\n# x\n", ("line 2", "priority", "urgent", "high")),
        ("---\ntimeout: soon\n---\n# x\n", ("line 2", "timeout", "soon")),
        ("---\nrequires: [a\n---\n# x\n", ("line",)),
        ("---\nid: a\nid: b\n---\n# x\n", ("line 3", "id")),
        ("---\na: &x [1]\nb: *x\n---\n# x\n", ("line",)),
        (b"# x\n\0\xff\xfe binary \x80", ("text",)),
    ],
)
def test_a_malformed_file_fails_with_the_line_and_what_is_allowed(echoing, content, said):
    """Its bytes are untouched, the error names line, field, found and allowed, and the next task runs."""
    original = content.encode() if isinstance(content, str) else content
    echoing.drop("bad.md", original)
    echoing.drop("good.md")
    assert echoing.run_once() == 1
    assert echoing.where("bad") == ["failed"]
    assert echoing.where("good") == ["completed"]
    kept = (echoing.failed / "bad.md").read_bytes()
    beside = echoing.failed / "bad.error.md"
    explained = beside.read_text() if beside.exists() else echoing.recorded("bad").text
    assert (kept if beside.exists() else document.restore(kept)) == original
    for word in said:
        assert word in explained


def test_an_oversized_file_fails_and_keeps_its_bytes(echoing):
    """A file over the limit is never read whole, and never lost: it moves as it is, with the error beside it."""
    original = b"# big\n" + b"x" * 40_000
    echoing.drop("big.md", original)
    assert echoing.run_once(task_size="32KiB") == 1
    assert (echoing.failed / "big.md").read_bytes() == original
    assert "32768" in (echoing.failed / "big.error.md").read_text().replace(",", "").replace("_", "")


def test_an_empty_file_waits(echoing):
    """Nothing is asked yet: the file stays, and says so on the board."""
    echoing.drop("later.md", "")
    assert echoing.run_once() == 0
    assert echoing.where("later") == ["pending"]
    assert "empty" in echoing.board.read_text()


def test_a_link_in_pending_is_no_task(echoing, tmp_path):
    """A symbolic or hard link is left where it is and said; what it points to is not read."""
    (tmp_path / "elsewhere.md").write_text("# mine\n")
    (echoing.pending / "soft.md").symlink_to(tmp_path / "elsewhere.md")
    os.link(tmp_path / "elsewhere.md", echoing.pending / "hard.md")
    assert echoing.run_once() == 0
    assert echoing.names(echoing.pending) == ["hard.md", "soft.md"]
    board = echoing.board.read_text()
    assert "symbolic link" in board
    assert "hard link" in board


# editing, deleting, renaming


async def test_editing_a_pending_file_changes_the_task(echoing):
    """What runs is what the file says when it is claimed."""
    echoing.echo("slow", SLOW, more=ONLY_BY_NAME)
    async with echoing.running(parallel="1") as daemon:
        echoing.drop("first.md", task(interface="slow"))
        await daemon.started("first")
        path = echoing.drop("second.md", task("before"))
        await daemon.until(lambda: len(daemon.supervisor._dispatch) == 1, "the second to queue")
        path.write_text(task("after"))
        echoing.drop("third.md")
        await daemon.until(lambda: len(daemon.supervisor._dispatch) == 2, "the third to queue")
        actions.cancel(daemon.brain, "first")
        await daemon.ended("second", "third")
    assert "after" in echoing.recorded("second").text


async def test_editing_a_queued_file_under_a_settle_time_stops_nothing(echoing):
    """A queued file that is saved again waits for its quiet time, and the daemon goes on."""
    echoing.echo("slow", SLOW, more=ONLY_BY_NAME)
    async with echoing.running(parallel="1", settle="200ms") as daemon:
        echoing.drop("first.md", task(interface="slow"))
        await daemon.started("first")
        path = echoing.drop("second.md", task("before"))
        await daemon.until(lambda: len(daemon.supervisor._dispatch) == 1, "the second to queue")
        path.write_text(task("after"))
        await daemon.until(lambda: not len(daemon.supervisor._dispatch), "the edit to be noticed")
        actions.cancel(daemon.brain, "first")
        await daemon.ended("second")
    assert "after" in echoing.recorded("second").text


async def test_deleting_a_pending_file_withdraws_it(echoing):
    """A held file that is deleted is forgotten: no result, no row."""
    async with echoing.running() as daemon:
        path = echoing.drop("held.md", task(not_before="2099-01-01T00:00:00Z"))
        await daemon.until(lambda: "held.md" in daemon.held(), "the hold")
        path.unlink()
        await daemon.until(lambda: "held.md" not in daemon.held(), "the hold to go")
    assert not echoing.rows()


async def test_renaming_a_pending_file_keeps_the_task(echoing):
    """The file under its new name is the same task, once."""
    async with echoing.running() as daemon:
        path = echoing.drop("old.md", task(not_before="2099-01-01T00:00:00Z"))
        await daemon.until(lambda: "old.md" in daemon.held(), "the hold")
        path.rename(path.with_name("new.md"))
        await daemon.until(lambda: set(daemon.held()) == {"new.md"}, "the new name")


async def test_deleting_an_active_file_does_not_stop_it_and_is_said(echoing):
    """The attempt ends as if nothing had happened, with a warning; its bytes come from the journal."""
    echoing.echo("slow", "delay_seconds: 0.5")
    async with echoing.running() as daemon:
        echoing.drop("gone.md", "Say it.\n")
        (echoing.pending / "x.md").unlink(missing_ok=True)
        echoing.drop("work.md", task(interface="slow"))
        await daemon.started("work")
        (echoing.active / "work.md").unlink()
        await daemon.ended("work")
    result = echoing.recorded("work")
    assert result.values["status"] == "completed"
    assert any("deleted while" in warning for warning in result.values["warnings"])


async def test_editing_an_active_file_keeps_the_edit_beside_the_result(echoing):
    """The result belongs to the text that ran; the edit is kept and said."""
    echoing.echo("slow", "delay_seconds: 0.5")
    async with echoing.running() as daemon:
        echoing.drop("work.md", task("before", interface="slow"))
        await daemon.started("work")
        (echoing.active / "work.md").write_text("changed my mind\n")
        await daemon.ended("work")
    result = echoing.recorded("work")
    assert "before" in result.text
    assert (echoing.completed / "work.files" / "edited-while-active.md").read_text() == "changed my mind\n"
    assert any("edited while" in warning for warning in result.values["warnings"])
    assert echoing.dirty() == ""


# dropping again


def test_a_file_dropped_again_is_a_new_task(echoing):
    """`daily`, then `daily-2`, then `daily-3`."""
    for _ in range(3):
        echoing.drop("daily.md")
        assert echoing.run_once() == 0
    assert echoing.names(echoing.completed) == ["daily-2.md", "daily-3.md", "daily.md"]


def test_a_file_older_than_its_ended_task_is_held(echoing):
    """A restored backup or a sync must not run again by itself."""
    echoing.drop("daily.md")
    assert echoing.run_once() == 0
    path = echoing.drop("daily.md")
    os.utime(path, (time.time() - 86_400,) * 2)
    assert echoing.run_once() == 0
    assert echoing.where("daily") == ["pending", "completed"]
    assert "brain retry daily" in echoing.board.read_text()


def test_an_explicit_id_dropped_anew_is_a_rerun_that_names_the_first(echoing):
    """`id: report` twice gives report and report-2; the second says of which it is a re-run."""
    for _ in range(2):
        echoing.drop("x.md", task(id="report"))
        assert echoing.run_once() == 0
    assert echoing.names(echoing.completed) == ["report-2.md", "report.md"]
    assert any("re-run of report" in warning for warning in echoing.recorded("report-2").values["warnings"])


@pytest.mark.parametrize("how", ["reset", "revert", "branch"])
def test_a_task_brought_back_by_git_is_not_run(echoing, how):
    """reset, revert or a checkout put an ended task's file back into pending/: it stays, and the board says what runs it."""
    echoing.drop("old.md")
    before = echoing.commit("a task in git")
    assert echoing.run_once() == 0
    assert echoing.where("old") == ["completed"]
    if how == "reset":
        echoing.git("reset", "-q", "--hard", before)
    elif how == "revert":
        echoing.git("revert", "--no-edit", "HEAD")
    else:
        echoing.git("checkout", "-q", "-b", "older", before)
    assert echoing.where("old") == ["pending"]
    assert echoing.run_once() == 0
    assert echoing.where("old") == ["pending"]
    assert "brain retry old" in echoing.board.read_text()
    opened = echoing.open()
    assert len(opened.journal.attempts_of("old")) == 1
    opened.close()


async def test_retry_runs_what_git_brought_back(echoing):
    """`brain retry` on a running daemon frees a task that git brought back, and the attempts are counted on."""
    echoing.drop("old.md")
    before = echoing.commit("a task in git")
    assert await echoing.once() == 0
    echoing.git("reset", "-q", "--hard", before)
    async with echoing.running() as daemon:
        await daemon.until(lambda: "git brought" in daemon.held().get("old.md", ""), "it to be declined")
        actions.retry(daemon.brain, "old")
        await daemon.ended("old")
        await daemon.until(lambda: echoing.where("old") == ["completed"], "it to be recorded")
    assert echoing.recorded("old").values["attempt"] == 2


def test_a_recorded_file_moved_back_is_a_retry(echoing):
    """Its result is stripped first, the attempts are counted on, and the original bytes stay the same."""
    original = task().encode()
    echoing.drop("again.md", original)
    assert echoing.run_once() == 0
    (echoing.completed / "again.md").rename(echoing.pending / "again.md")
    assert echoing.run_once() == 0
    result = echoing.recorded("again")
    assert result.values["attempt"] == 2
    assert len(result.values["attempts"]) == 1
    assert document.restore((echoing.completed / "again.md").read_bytes()) == original
    assert echoing.dirty() == ""


async def test_retry_of_a_failed_task_on_a_running_daemon(brain):
    """The file leaves failed/, runs again and ends in completed/; git knows of one place only."""
    brain.echo("echo", "fail: permanent")
    async with brain.running() as daemon:
        brain.drop("job.md")
        await daemon.ended("job")
        assert brain.where("job") == ["failed"]
        brain.echo("echo")
        await daemon.until(
            lambda: (spec := daemon.supervisor._roster.find("echo")) and not spec.invoke.options,
            "the interface to change",
        )
        actions.retry(daemon.brain, "job")
        await daemon.until(lambda: brain.where("job") == ["completed"], "the retry")
        await daemon.ended("job")
    assert brain.dirty() == ""
    assert "failed/job.md" not in brain.git("ls-files", "brain")


# waiting for others


def test_dependencies_run_in_order(echoing):
    """A task starts after those it depends on, whatever their names and priorities."""
    echoing.drop("a.md", task(depends_on="[b]", priority="high"))
    echoing.drop("b.md", task(depends_on="[c]"))
    echoing.drop("c.md", task(priority="low"))
    assert echoing.run_once() == 0
    assert [row.task_id for row in echoing.rows()] == ["c", "b", "a"]


@pytest.mark.parametrize("why", ["failed", "malformed", "cancelled"])
async def test_a_failed_dependency_fails_all_who_wait_for_it(brain, why):
    """Each of the chain fails as dependency_failed at once, without a start, in a daemon that goes on running."""
    brain.echo("echo", "fail: permanent")
    async with brain.running() as daemon:
        brain.drop("c.md", task(depends_on="[b]"))
        brain.drop("b.md", task(depends_on="[a]"))
        await daemon.until(lambda: len(daemon.held()) == 2, "both to be held")
        if why == "failed":
            brain.drop("a.md")
        elif why == "malformed":
            brain.drop("a.md", "---\npriority: urgent\n---\n")
        else:
            brain.drop("a.md", task(not_before="2099-01-01T00:00:00Z"))
            await daemon.until(lambda: "a.md" in daemon.held(), "a to be held")
            actions.cancel(daemon.brain, "a")
        await daemon.ended("a", "b", "c")
    assert brain.recorded("c").values["reason"] == "dependency_failed"
    assert brain.recorded("b").values["reason"] == "dependency_failed"


async def test_a_corrected_file_with_the_same_id_runs(echoing):
    """After a malformed file of an explicit id, the corrected one is a re-run and not blocked by the first."""
    async with echoing.running() as daemon:
        echoing.drop("job.md", task(id="job", priority="urgent"))
        await daemon.ended("job")
        echoing.drop("job.md", task(id="job", priority="high"))
        await daemon.ended("job-2")
    assert echoing.where("job-2") == ["completed"]


async def test_not_before_is_held_until_its_time(echoing):
    """It is held with its time, and starts when that has come, without a scan."""
    async with echoing.running(scan="1h") as daemon:
        echoing.drop("far.md", task(not_before="2099-01-01T00:00:00Z"))
        soon = int(time.time()) + 2
        echoing.drop("later.md", task(not_before=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(soon))))
        await daemon.until(lambda: "not before" in daemon.held().get("far.md", ""), "the hold")
        await daemon.ended("later")
        assert daemon.brain.journal.attempts_of("later")[0].started_at >= soon


async def test_conflicting_tasks_never_overlap(echoing):
    """Two tasks of which one names the other run one after the other."""
    echoing.echo("slow", "delay_seconds: 0.3")
    async with echoing.running() as daemon:
        echoing.drop("a.md", task(interface="slow", conflicts_with="[b]"))
        echoing.drop("b.md", task(interface="slow"))
        await daemon.ended("a", "b")
        spans = sorted(
            (one.ended.started_at, one.ended.finished_at)
            for name in ("a", "b")
            for one in daemon.brain.journal.attempts_of(name)
        )
    assert spans[0][1] <= spans[1][0]


def test_priority_goes_before_age(echoing):
    """With one slot: high first, then medium, then low; within a priority `created` decides."""
    echoing.drop("a-low.md", task(priority="low"))
    echoing.drop("b-new.md", task(created="2026-11-20T10:00:00Z"))
    echoing.drop("c-old.md", task(created="2026-11-19T10:00:00Z"))
    echoing.drop("d-high.md", task(priority="high"))
    assert echoing.run_once(parallel="1") == 0
    assert [row.task_id for row in echoing.rows()] == ["d-high", "c-old", "b-new", "a-low"]


async def test_two_pending_files_with_one_id_take_turns(echoing):
    """The second is declined while the first is there, and runs as a re-run once it has ended."""
    echoing.echo("slow", SLOW, more=ONLY_BY_NAME)
    async with echoing.running() as daemon:
        echoing.drop("a.md", task(id="same", interface="slow"))
        await daemon.started("same")
        echoing.drop("b.md", task(id="same"))
        await daemon.until(
            lambda: "another task with the id" in daemon.held().get("b.md", ""), "the second to be declined"
        )
        actions.cancel(daemon.brain, "same")
        await daemon.ended("same", "same-2")


async def test_a_file_in_active_that_the_daemon_does_not_know_stops_nothing(echoing):
    """An agent in another process holds the id: the new file waits, everything else goes on."""
    async with echoing.running() as daemon:
        (echoing.active / "mine.md").write_text("# held by an agent\n")
        echoing.drop("mine.md")
        echoing.drop("other.md")
        await daemon.ended("other")
        assert (echoing.active / "mine.md").read_text() == "# held by an agent\n"


# interfaces that come and go


async def test_a_task_nobody_can_do_is_held_until_an_interface_appears(echoing):
    """The missing capability stands on the board and once in prompts/pending.md; the interface frees all who wait."""
    async with echoing.running() as daemon:
        echoing.drop("a.md", task(requires="[telepathy]"))
        echoing.drop("b.md", task(requires="[telepathy]"))
        await daemon.until(lambda: "telepathy" in daemon.held().get("b.md", ""), "the hold")
        await daemon.until(
            lambda: echoing.board.exists() and echoing.board.read_text().count("telepathy") >= 2, "the board"
        )
        await daemon.until(
            lambda: echoing.questions.exists() and "telepathy" in echoing.questions.read_text(), "the question"
        )
        assert echoing.questions.read_text().count("\n## ") == 1
        echoing.echo("medium", more="capabilities: [telepathy]\n")
        await daemon.ended("a", "b")
        await daemon.until(lambda: "telepathy" not in echoing.questions.read_text(), "the question to go")


async def test_an_interface_that_changes_or_goes_takes_effect_at_once(echoing):
    """The next task meets the interfaces as their files are now."""
    async with echoing.running() as daemon:
        echoing.drop("one.md", task(interface="echo"))
        await daemon.ended("one")
        echoing.echo("echo", "answer: changed")
        await daemon.until(
            lambda: (spec := daemon.supervisor._roster.find("echo")) and spec.invoke.options, "the change"
        )
        echoing.drop("two.md", task(interface="echo"))
        await daemon.ended("two")
        (echoing.root / "tools/interfaces/echo.md").unlink()
        await daemon.until(lambda: daemon.supervisor._roster.find("echo") is None, "it to go")
        echoing.drop("three.md", task(interface="echo"))
        await daemon.until(lambda: "echo" in daemon.held().get("three.md", ""), "the hold")
    assert "changed" in echoing.recorded("two").text


def test_a_bad_interface_file_stops_nothing(echoing):
    """It is a fault of its own; the others work."""
    echoing.write("tools/interfaces/broken.md", "---\nname: [\n---\n")
    echoing.drop("one.md")
    assert echoing.run_once() == 0
    assert echoing.where("one") == ["completed"]


# trying again


def is_alive(pidfile) -> bool:
    """Whether the process whose number a program wrote there still exists."""
    return os.path.exists(f"/proc/{int(pidfile.read_text())}")


def test_a_blameless_failure_goes_to_the_next_interface(brain):
    """An interface that is out of quota costs the task nothing: the next one does it, with both rows and the reason."""
    brain.echo("alpha", "fail: quota", more="")
    brain.echo("beta")
    brain.drop("job.md", task(preferred_interface="alpha"))
    assert brain.run_once() == 0
    result = brain.recorded("job").values
    assert result["interface"] == "beta"
    assert "alpha" in result["routing"]["reason"]
    assert [(row.interface, row.status.value) for row in brain.rows()] == [("alpha", "failed"), ("beta", "completed")]


def test_transient_failures_give_a_row_each_and_then_a_result(brain, tmp_path):
    """A program that fails twice for a passing reason is asked again; three attempts, three rows, one commit."""
    counter = tmp_path / "count"
    script = (
        f"n=$(cat {counter} 2>/dev/null || echo 0); n=$((n+1)); echo $n > {counter}; [ $n -ge 3 ] && cat || exit 75"
    )
    more = "errors:\n  - when: exit_code == `75`\n    kind: transient\n    retry_after: '`0`'\n"
    brain.program("flaky", "/bin/sh", "-c", script, more=more)
    brain.drop("job.md", task(interface="flaky"))
    assert brain.run_once() == 0
    assert [row.status.value for row in brain.rows()] == ["failed", "failed", "completed"]
    assert [row.attempt for row in brain.rows()] == [1, 2, 3]
    assert len(brain.recorded("job").values["attempts"]) == 2


def test_a_task_out_of_time_is_ended_with_all_its_descendants(brain, tmp_path):
    """TERM, then KILL, to the whole group; the reason is timed_out."""
    pidfile = tmp_path / "pid"
    brain.program("stuck", "/bin/sh", "-c", f"trap '' TERM; sleep 300 & echo $! > {pidfile}; wait; sleep 300")
    brain.drop("job.md", task(interface="stuck", timeout="1s", attempts="1"))
    assert brain.run_once(grace="200ms") == 1
    assert brain.recorded("job").values["reason"] == "timed_out"
    assert not is_alive(pidfile)


async def test_cancelling_a_running_task_ends_its_descendants(brain, tmp_path):
    """`brain cancel` on a running daemon: the group is ended, the task is failed as cancelled."""
    pidfile = tmp_path / "pid"
    brain.program("long", "/bin/sh", "-c", f"setsid sleep 300 & echo $! > {pidfile}; wait")
    async with brain.running(grace="300ms") as daemon:
        brain.drop("job.md", task(interface="long"))
        await daemon.until(lambda: pidfile.exists() and pidfile.read_text().strip(), "it to run")
        actions.cancel(daemon.brain, "job", "not needed any more")
        await daemon.ended("job")
    assert brain.recorded("job").values["reason"] == "cancelled"
    assert "not needed any more" in brain.recorded("job").text
    assert not is_alive(pidfile)


@pytest.mark.parametrize(
    ("proof", "status"), [("test -s out/answer.txt", "completed"), ("echo no proof; exit 3", "failed")]
)
def test_the_tasks_own_proof_decides(brain, proof, status):
    """`verify` is run in the workspace; a proof that fails is the end of the attempt, with what it said."""
    brain.program("writer", "/bin/sh", "-c", "mkdir -p out; cat > out/answer.txt; echo done")
    brain.drop("job.md", task(interface="writer", verify=proof, attempts="1"))
    assert brain.run_once() == (status == "failed")
    result = brain.recorded("job")
    assert result.values["status"] == status
    if status == "failed":
        assert result.values["reason"] == "verification_failed"
        assert "no proof" in result.text


def test_files_left_in_out_are_kept_and_committed(brain):
    """They stand beside the result, are named in it, and are in its commit."""
    brain.program(
        "writer", "/bin/sh", "-c", "mkdir -p out/sub; echo data > out/sub/a.csv; ln -s /etc/passwd out/link; echo done"
    )
    brain.drop("job.md", task(interface="writer"))
    assert brain.run_once() == 0
    assert (brain.completed / "job.files/sub/a.csv").read_text() == "data\n"
    result = brain.recorded("job").values
    assert result["files"] == ["job.files/sub/a.csv"]
    assert any("link" in warning for warning in result["warnings"])
    assert "job.files/sub/a.csv" in brain.git("show", "--name-only", "HEAD")
    assert not (brain.completed / "job.files/link").exists()


def test_a_workspace_that_cannot_be_made_is_the_tasks_end(echoing, tmp_path):
    """A path that is a file fails the task with a sentence; it does not stay active for ever."""
    (tmp_path / "file").write_text("x")
    echoing.drop("job.md", task(workspace=str(tmp_path / "file" / "below")))
    assert echoing.run_once() == 1
    assert echoing.where("job") == ["failed"]


# secrets and control characters


CANARY = "sk-ant-api03-" + "Zq7Xw2Lk9PmVb4Nc8Rt1Yh6Gd3Fs5Ja0Ue" * 2 + "AA"


def everything(root) -> bytes:
    """All bytes below a folder, git's objects unpacked by git."""
    found = b""
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), "rb") as handle:
                found += handle.read()
    return found


def test_a_task_with_a_secret_in_its_text_is_held_with_a_question(echoing):
    """It would be committed: it stays in pending/, and a person is asked."""
    echoing.drop("leak.md", f"# Task\n\nUse {CANARY} to log in.\n")
    assert echoing.run_once() == 0
    assert echoing.where("leak") == ["pending"]
    assert "secret" in echoing.questions.read_text()
    assert CANARY not in echoing.questions.read_text() + echoing.board.read_text() + echoing.all_of_git()


def test_a_malformed_file_with_a_secret_is_held_too(echoing):
    """Failing it would commit it."""
    echoing.drop("leak.md", f"---\npriority: urgent\nkey: {CANARY}\n---\n# Task\n")
    assert echoing.run_once() == 0
    assert echoing.where("leak") == ["pending"]
    assert CANARY not in echoing.all_of_git()


async def test_cancelling_a_task_with_a_secret_does_not_commit_it(echoing):
    """`Do not run the task` must not be what puts the secret into git."""
    async with echoing.running() as daemon:
        echoing.drop("leak.md", f"# Use {CANARY}\n\nNow.\n")
        await daemon.until(lambda: "secret" in daemon.held().get("leak.md", ""), "the hold")
        with contextlib.suppress(Refused):
            actions.cancel(daemon.brain, "leak")
            await daemon.ended("leak")
    assert CANARY not in echoing.all_of_git()
    assert echoing.where("leak") == ["failed"]
    for path in (path for folder in ("logs", "context", "prompts") for path in (echoing.root / folder).rglob("*")):
        assert path.is_dir() or CANARY not in path.read_text()


async def test_a_question_about_a_secret_goes_when_the_secret_has_gone(echoing):
    """The person takes the secret out: the task runs, and nothing waits for an answer."""
    async with echoing.running() as daemon:
        path = echoing.drop("leak.md", f"# Task\n\nUse {CANARY}.\n")
        await daemon.until(
            lambda: echoing.questions.exists() and "secret" in echoing.questions.read_text(), "the question"
        )
        path.write_text("# Task\n\nUse nothing.\n")
        await daemon.ended("leak")
        await daemon.until(lambda: "nothing to answer" in echoing.questions.read_text(), "the question to go")


async def test_a_released_task_with_a_secret_runs(echoing):
    """A person has decided: that text may be committed."""
    async with echoing.running() as daemon:
        echoing.drop("leak.md", f"# Task\n\nUse {CANARY}.\n")
        await daemon.until(lambda: "secret" in daemon.held().get("leak.md", ""), "the hold")
        actions.release(daemon.brain, "leak")
        await daemon.ended("leak")
    assert echoing.where("leak") == ["completed"]


@pytest.mark.parametrize(("name", "canary"), [("pattern", CANARY), ("known", "correct-horse-battery-staple-4711")])
def test_a_secret_in_the_output_appears_nowhere(brain, monkeypatch, name, canary):
    """Result, files, logs, state folder and git are searched for it, byte by byte; each way a program can say it is tried."""
    monkeypatch.setenv("MY_SERVICE_TOKEN", canary)
    script = "echo it is $MY_SERVICE_TOKEN; env >&2; mkdir -p out; env > out/f.txt; env > edited; cat > /dev/null"
    brain.program("leaky", "/bin/sh", "-c", script, inside="  env: [MY_SERVICE_TOKEN]\n")
    brain.drop("good.md", task(interface="leaky", verify='"cat out/f.txt"'))
    brain.drop("bad.md", task(interface="leaky", verify='"cat out/f.txt; exit 1"', attempts="1"))
    assert brain.run_once() == 1
    assert brain.where("good") == ["completed"]
    assert brain.where("bad") == ["failed"]
    assert "BRAIN_TASK_ID=good" in (brain.completed / "good.files/f.txt").read_text()
    brain.git("add", "-A")
    assert canary not in brain.all_of_git()
    assert canary.encode() not in everything(brain.root)


async def test_the_secret_of_an_interface_that_joined_later_is_known_too(brain, tmp_path):
    """A running daemon learns of new interfaces, and of what must never be seen."""
    canary = "correct-horse-battery-staple-4712"
    brain.echo()
    async with brain.running() as daemon:
        (tmp_path / "key").write_text(canary)
        (tmp_path / "key").chmod(0o600)
        auth = f"auth:\n  method: api_key\n  config_location: {tmp_path}/key\n  env: LATE_KEY\ncost:\n  tier: free\n"
        brain.program("late", "/bin/sh", "-c", "echo $LATE_KEY; echo $LATE_KEY >&2", more=auth)
        await daemon.until(lambda: daemon.supervisor._roster.find("late"), "it to join")
        brain.drop("job.md", task(interface="late"))
        await daemon.ended("job")
    assert brain.where("job") == ["completed"]
    assert canary.encode() not in everything(brain.root)


def test_control_characters_from_outside_reach_no_record(brain):
    """What a program prints cannot move a cursor, ring a bell or hide text, in files or in git's log."""
    brain.program("rude", "/usr/bin/printf", r"\033[31mred\033[0m \007bell \010back\r\n\302\233csi \342\200\256rtl\n")
    brain.drop("job.md", "# A \x1b[31mred\x07 title\n\nText\n")
    assert brain.run_once() == 0
    shown = brain.recorded("job").text + brain.git("log", "--format=%B") + brain.board.read_text()
    shown += "".join(path.read_text() for path in (brain.root / "logs").rglob("*") if path.is_file())
    assert not [mark for mark in "\x1b\x07\x08\x9b\u202e" if mark in shown]


# beside the user's own work


def test_the_users_work_in_progress_is_untouched(echoing):
    """Staged stays staged, modified stays modified, and no outcome's commit holds either."""
    echoing.write("staged.txt", "old\n")
    echoing.write("modified.txt", "old\n")
    echoing.commit()
    echoing.write("staged.txt", "new\n")
    echoing.git("add", "staged.txt")
    echoing.write("modified.txt", "new\n")
    before = echoing.git("status", "--short")
    for number in range(3):
        echoing.drop(f"t{number}.md")
    assert echoing.run_once() == 0
    assert echoing.git("status", "--short") == before == " M modified.txt\nM  staged.txt\n"
    assert "staged.txt" not in echoing.git("log", "--name-only", "--format=", "HEAD~3..HEAD")
    assert echoing.git("fsck", "--strict") == ""


def test_ledger_usage_metrics_and_results_agree(brain):
    """One row an attempt; the day's figures are the sums of the rows."""
    brain.echo("alpha", "fail: quota")
    brain.echo("beta")
    for number in range(4):
        brain.drop(f"t{number}.md", task(preferred_interface="alpha"))
    assert brain.run_once() == 0
    rows = brain.rows()
    assert len({row.attempt_id for row in rows}) == len(rows) == 8
    usage = yaml.safe_load((brain.root / "context/usage.md").read_text().split("---")[1])["interfaces"]
    assert {name: usage[name]["messages_today"] for name in ("alpha", "beta")} == {"alpha": 4, "beta": 4}
    metrics = json.loads(next((brain.root / "logs/metrics").glob("*.json")).read_text())
    assert "beta" in json.dumps(metrics)
    opened = brain.open()
    assert len(opened.journal.outcomes()) == 8
    opened.close()
    assert brain.dirty() == ""
    trailers = brain.git("log", "--format=%(trailers:key=Task-Id,valueonly)").split()
    assert sorted(trailers) == ["t0", "t1", "t2", "t3"]
