"""A daemon that dies again and again: it waits longer before it works, and the task that ends it is asked about."""

import hashlib
import os
import signal
import time
from contextlib import closing

import pytest

from brain_daemon.model.attempt import Attempt, AttemptState
from brain_daemon.policy.retry import BLAMELESS_LIMIT
from brain_daemon.service.restarts import FREE_STARTS, Start, Unsettled, unsettled
from brain_daemon.service.startup import Recovery
from brain_daemon.store.files import Files


def die(layout, times=1):
    """Starts that end with an error before they have settled."""
    for _ in range(times):
        with pytest.raises(RuntimeError, match="dead"), Start(layout, Files()):
            raise RuntimeError("dead")


def test_a_start_that_ends_as_it_should_is_forgotten(brain):
    """However many there are."""
    for _ in range(3):
        with Start(brain.layout, Files()):
            assert unsettled(brain.layout).starts == 1
    assert unsettled(brain.layout) == Unsettled()


def test_starts_that_die_are_counted_until_one_has_settled(brain):
    """One that lives for its minute clears the count, also where it dies later."""
    layout = brain.layout
    os.makedirs(layout.state, exist_ok=True)
    die(layout, 4)
    assert unsettled(layout).starts == 4
    start = Start(layout, Files(), settled_seconds=0.01)
    start.__enter__()
    start._timer.join()
    assert unsettled(layout).starts == 0
    start.__exit__(RuntimeError, RuntimeError("late"), None)
    assert unsettled(layout).starts == 0


@pytest.mark.parametrize(
    ("starts", "pause"),
    [(0, 0.0), (FREE_STARTS - 1, 0.0), (FREE_STARTS, 5.0), (FREE_STARTS + 2, 20.0), (50, 300.0), (10**9, 300.0)],
)
def test_the_wait_grows_up_to_a_bound(starts, pause):
    """The first deaths cost nothing; `crash_pause = "0s"` waits never."""
    assert Unsettled(starts=starts).pause_seconds(300.0) == pause
    assert Unsettled(starts=starts).pause_seconds(0.0) == 0.0


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"starts": "x"}', b'{"starts": -1}', b"\xff", b"[" * 2_000])
def test_a_count_that_cannot_be_read_is_none(brain, data):
    """It guards against harm and must do none."""
    os.makedirs(brain.layout.state, exist_ok=True)
    with open(os.path.join(brain.layout.state, "starts.json"), "wb") as handle:
        handle.write(data)
    assert unsettled(brain.layout) == Unsettled()


def test_a_daemon_that_has_died_often_says_so_and_waits_before_it_works(brain, daemon):
    """A drop is done all the same, after the wait; a settled end clears the count."""
    brain.echo()
    os.makedirs(brain.layout.state, exist_ok=True)
    die(brain.layout, FREE_STARTS)
    brain.drop("a.md")
    with daemon(crash_pause="300ms") as running:
        running.wait_for(lambda: brain.where("a") == ["completed"])
        assert f"has died {FREE_STARTS} times in a row" in running.log.read_text()
        running.signal(signal.SIGTERM)
        assert running.exit_code() == 0
    assert unsettled(brain.layout) == Unsettled()


def test_a_task_that_kills_its_daemon_each_time_ends_held_with_a_question(brain):
    """Safe to repeat, so it is repeated; but not for ever. Each round is a daemon that died while the task ran, and the next start."""
    spec = b"---\nidempotent: true\n---\n# Deadly\n\nx\n"
    with closing(brain.open(grace="100ms")) as opened:
        for number in range(1, 2 * BLAMELESS_LIMIT):
            (brain.pending / "deadly.md").unlink(missing_ok=True)
            (brain.active / "deadly.md").write_bytes(spec)
            opened.journal.add([running(spec, number)])
            Recovery(opened, lambda _name: None).run()
            if opened.journal.questions():
                break
            assert brain.where("deadly") == ["pending"]
        assert number == BLAMELESS_LIMIT + 1
    assert brain.where("deadly") == ["active"]


def running(spec, number):
    """The attempt that a daemon had begun when it died."""
    return Attempt(
        attempt_id=f"deadly.a{number}.0000000{number % 10}",
        task_id="deadly",
        number=number,
        state=AttemptState.STARTING,
        name="deadly.md",
        sha256=hashlib.sha256(spec).hexdigest(),
        spec=spec,
        claimant="daemon",
        claimed_at=time.time(),
        started_at=time.time(),
        interface="killer",
    )


def test_a_file_that_brings_out_a_fault_of_the_program_stops_nothing_else(brain, monkeypatch):
    """It stays in pending/ and is said; the others are done, and the daemon lives."""
    from brain_daemon.service import intake

    def parse(name, data, **options):
        if name == "odd.md":
            raise IndexError("a fault of ours")
        return original(name, data, **options)

    original = intake.parse_task
    monkeypatch.setattr(intake, "parse_task", parse)
    brain.echo()
    brain.drop("odd.md")
    brain.drop("good.md")
    brain.run_once()
    assert brain.where("good") == ["completed"]
    assert brain.where("odd") == ["pending"]
    assert "a fault of this program (IndexError" in brain.board.read_text()
