"""What a start makes of what a crash left: real files and a real journal, one case each."""

import contextlib
import hashlib
import os
import subprocess
import sys
import time

import pytest

from brain_daemon.adapters.survivors import TAG
from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import FREE, Ended, Interrupted, Status, Succeeded
from brain_daemon.policy.recovery import DropTwin, GiveBack, Interrupt, Leave, Restore
from brain_daemon.service.startup import Recovery

SPEC = b"# Sum it up\n\nDo it.\n"
SAFE = parse_interface(
    "safe.md", b"---\nname: safe\nidempotent: true\ninvoke:\n  kind: command\n  command: [cat]\n---\n"
)

QUICK = parse_interface("quick.md", b"---\nname: quick\ninvoke:\n  kind: tool\n  function: echo\n---\n")


@pytest.fixture
def opened(brain):
    with contextlib.closing(brain.open(grace="100ms")) as made:
        yield made


def recover(opened):
    """One start's repairs."""
    return Recovery(opened, {"safe": SAFE, "quick": QUICK}.get).run()


def attempt(task_id="t", state=AttemptState.STARTING, **changes) -> Attempt:
    return Attempt(
        **{
            "attempt_id": f"{task_id}.a1.00000000",
            "task_id": task_id,
            "number": 1,
            "state": state,
            "name": "A title.md",
            "sha256": hashlib.sha256(SPEC).hexdigest(),
            "spec": SPEC,
            "claimant": "daemon",
            "claimed_at": time.time(),
            "started_at": time.time(),
            "interface": "unsafe",
            **changes,
        }
    )


def test_a_claim_without_a_start_goes_back_under_its_name(brain, opened):
    """Nothing was sent."""
    (brain.active / "t.md").write_bytes(SPEC)
    assert recover(opened).repairs == {"t": GiveBack()}
    assert (brain.pending / "t.md").read_bytes() == SPEC
    assert opened.journal.attempts_of("t") == []


def test_an_interrupted_attempt_is_a_question(brain, opened):
    """It stays in active/, its outcome is durable, and nothing runs unasked; a second start asks nothing new."""
    (brain.active / "t.md").write_bytes(SPEC)
    opened.journal.add([attempt()])
    assert isinstance(recover(opened).repairs["t"], Interrupt)
    found = opened.journal.attempt("t.a1.00000000")
    assert isinstance(found.ended.outcome, Interrupted)
    assert found.decision is Decision.ASK
    assert len(opened.journal.questions()) == 1
    assert isinstance(recover(opened).repairs["t"], Leave)
    assert brain.where("t") == ["active"]
    assert len(opened.journal.questions()) == 1


@pytest.mark.parametrize("interface", ["safe", "quick"])
def test_one_that_is_safe_to_repeat_goes_back(brain, opened, interface):
    """Under the name it was dropped with: its interface says so, or its tool touches nothing."""
    (brain.active / "t.md").write_bytes(SPEC)
    opened.journal.add([attempt(interface=interface)])
    recover(opened)
    assert brain.names(brain.pending) == ["A title.md"]
    assert opened.journal.attempt("t.a1.00000000").decision is Decision.AGAIN
    assert opened.journal.questions() == {}


@pytest.mark.parametrize("interface", ["safe", "quick"])
def test_a_task_that_must_not_be_repeated_is_a_question_wherever_it_ran(brain, opened, interface):
    """Its own word goes before its interface's."""
    spec = b"---\nidempotent: false\n---\n" + SPEC
    (brain.active / "t.md").write_bytes(spec)
    opened.journal.add([attempt(interface=interface, spec=spec, sha256=hashlib.sha256(spec).hexdigest())])
    assert isinstance(recover(opened).repairs["t"], Interrupt)
    assert opened.journal.attempt("t.a1.00000000").decision is Decision.ASK


@pytest.mark.parametrize("state", [AttemptState.STARTING, AttemptState.CLAIMED])
def test_a_file_that_is_gone_from_active_is_written_again(brain, opened, state):
    """`git clean -fdx` took it; the journal has its bytes."""
    opened.journal.add([attempt(state=state)])
    step = recover(opened).repairs["t"]
    assert isinstance(step, Interrupt if state is AttemptState.STARTING else Restore)
    assert (brain.active / "t.md").read_bytes() == SPEC


def test_an_end_on_record_is_left_to_the_recorder(brain, opened):
    """Whatever state its files are in."""
    (brain.active / "t.md").write_bytes(SPEC)
    opened.journal.add([attempt()])
    ended = Ended(outcome=Succeeded(text="x"), started_at=1, finished_at=2, duration_seconds=1, cost=FREE)
    opened.journal.end([attempt().finished(ended, Decision.FINISH, Status.COMPLETED, None, "")])
    assert isinstance(recover(opened).repairs["t"], Leave)
    assert brain.where("t") == ["active"]


def test_a_file_claimed_before_this_journal_is_a_question(brain, opened):
    """The journal was lost: nobody knows whether it ran."""
    (brain.active / "t.md").write_bytes(SPEC)
    opened.journal.set("born", repr(time.time() + 1000))
    assert isinstance(recover(opened).repairs["t"], Interrupt)
    assert len(opened.journal.questions()) == 1
    assert (brain.active / "t.md").read_bytes() == SPEC


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "large"])
def test_what_cannot_be_read_in_active_stops_nothing(brain, opened, kind):
    """B4: the start goes on, and the thing is still there."""
    place = brain.active / "odd.md"
    if kind == "folder":
        place.mkdir()
    elif kind == "large":
        place.write_bytes(b"x" * 1_100_000)
    else:
        place.symlink_to("/etc/hostname" if kind == "link" else brain.root / "nowhere")
    opened.journal.set("born", repr(time.time() + 1000))
    (brain.active / "t.md").write_bytes(SPEC)
    recover(opened)
    assert os.path.lexists(place)
    assert opened.journal.attempts_of("t") != []


def test_one_inode_under_two_names_is_a_claim_cut_in_two(brain, opened):
    """Where a rename takes two steps: the twin in active/ goes."""
    (brain.pending / "My t.md").write_bytes(SPEC)
    os.link(brain.pending / "My t.md", brain.active / "My-t.md")
    assert recover(opened).repairs == {"My-t": DropTwin("My t.md")}
    assert brain.names(brain.active) == []
    assert (brain.pending / "My t.md").read_bytes() == SPEC


def test_two_tasks_with_the_same_text_are_no_twins(brain, opened):
    """Both are kept."""
    (brain.pending / "one.md").write_bytes(SPEC)
    (brain.active / "two.md").write_bytes(SPEC)
    recover(opened)
    assert brain.names(brain.pending) == ["one.md", "two.md"]


def test_tasks_that_ended_elsewhere_are_known(brain, opened):
    """A clone has no journal: the files are the record, so git cannot bring them back to life."""
    (brain.completed / "old.md").write_bytes(SPEC)
    (brain.failed / "bad.md").write_bytes(SPEC)
    recover(opened)
    assert opened.journal.ended_statuses() == {"old": "completed", "bad": "failed"}
    assert opened.journal.ended_task("old").path == "brain/tasks/completed/old.md"


@contextlib.contextmanager
def orphan_process(*argv: str):
    """A process that carries the attempt's tag, as a descendant of a dead daemon does."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env={**os.environ, TAG: "t.a1.00000000"}) as process:
        yield process
        process.kill()


async def test_an_orphan_is_waited_for_and_then_interrupted(brain, opened):
    """B8: alive is who carries the tag, not a number and not a clock; nothing starts meanwhile."""
    with orphan_process(sys.executable, "-c", "import sys; sys.stdin.read()") as process:
        (brain.active / "t.md").write_bytes(SPEC)
        opened.journal.add([attempt(spec=b"---\ntimeout: 1h\n---\n" + SPEC)])
        recovery = Recovery(opened, lambda _name: None)
        (orphan,) = recovery.run().orphans
        assert 3500 < orphan.deadline - time.time() <= 3600
        assert opened.journal.attempt("t.a1.00000000").state is AttemptState.STARTING
        process.stdin.close()
        process.wait()
        await recovery.wait_for(orphan, 0.01)
    assert "none of its processes is found any more" in opened.journal.attempt("t.a1.00000000").ended.outcome.why


async def test_an_orphan_past_its_deadline_is_ended(opened):
    """By the task's own limit; and then it was interrupted."""
    with orphan_process("sleep", "300") as process:
        opened.journal.add([attempt(spec=b"---\ntimeout: 1s\n---\n" + SPEC, started_at=time.time() - 10)])
        recovery = Recovery(opened, lambda _name: None)
        (orphan,) = recovery.run().orphans
        await recovery.wait_for(orphan, 0.01)
        assert process.wait(60) != 0
    assert opened.journal.attempt("t.a1.00000000").decision is Decision.ASK
