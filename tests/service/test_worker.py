"""One task from claim to outcome: retries, waits, proofs and stops, with the shipped double as the interface."""

import contextlib
import os

import pytest

from brain_daemon.model.outcome import Failed, FailureKind
from brain_daemon.service import actions
from brain_daemon.store import control
from brain_daemon.store.files import Files


def attempts(brain, task_id):
    """Every attempt of a task, from the journal."""
    with contextlib.closing(brain.open()) as opened:
        return opened.journal.attempts_of(task_id)


def scripted(brain, name, *codes, more="", rules=""):
    """A program that ends with these codes, one after another, and with 0 then."""
    count = brain.root.parent / f"{name}.count"
    cases = " ".join(f"{number}) exit {code};;" for number, code in enumerate(codes, 1))
    script = (
        f"n=$(cat {count} 2>/dev/null || echo 0); n=$((n+1)); echo $n > {count}; case $n in {cases} *) echo fine;; esac"
    )
    brain.program(name, "/bin/sh", "-c", script, more=more + rules)


QUOTA = "errors:\n  - when: exit_code == `9`\n    kind: quota\n    retry_after: '`{wait}`'\n"
TRANSIENT = "errors:\n  - when: exit_code == `75`\n    kind: transient\n    retry_after: '`{wait}`'\n"


@pytest.mark.parametrize(
    ("allowed", "failing", "status"), [(1, 1, "failed"), (2, 1, "completed"), (2, 2, "failed"), (3, 2, "completed")]
)
def test_a_failed_proof_is_tried_again_as_often_as_the_task_allows(brain, allowed, failing, status):
    """`attempts: N` counts tries that ran; each has its row and its number."""
    scripted(brain, "flaky", *[0] * 9)
    count = brain.root.parent / "flaky.count"
    brain.drop(
        "job.md",
        f"---\ninterface: flaky\nattempts: {allowed}\nverify: 'test $(cat {count}) -gt {failing}'\n---\n# Sum\n\nx\n",
    )
    brain.run_once()
    assert brain.recorded("job").values["status"] == status
    assert [row.attempt for row in brain.rows()] == list(range(1, min(allowed, failing + 1) + 1))


def test_transient_failures_do_not_use_up_the_tasks_own_attempts(brain):
    """Up to `transient_retries`; one more and they do."""
    scripted(brain, "flaky", 75, 75, rules=TRANSIENT.format(wait=0))
    brain.drop("job.md", "---\ninterface: flaky\nattempts: 1\n---\n# Sum\n\nx\n")
    assert brain.run_once(transient_retries="2") == 0
    scripted(brain, "dead", *[75] * 9, rules=TRANSIENT.format(wait=0))
    brain.drop("other.md", "---\ninterface: dead\nattempts: 1\n---\n# Sum\n\nx\n")
    assert brain.run_once(transient_retries="2") == 1
    assert len(attempts(brain, "other")) == 3


async def test_a_long_wait_is_spent_in_pending_and_a_wake_does_not_cut_it_short(brain):
    """The task is held until its time and its slot is free; only its own release ends the wait."""
    scripted(brain, "full", 75, rules=TRANSIENT.format(wait=3600))
    async with brain.running() as daemon:
        brain.drop("job.md", "---\ninterface: full\n---\n# Sum\n\nx\n")
        await daemon.until(lambda: "next attempt" in daemon.held().get("job.md", ""), "the wait")
        assert brain.where("job") == ["pending"]
        control.post(daemon.brain.layout, Files(), "wake")
        await daemon.until(lambda: not control.waiting(daemon.brain.layout), "the wake to be taken")
        await daemon.until(lambda: "next attempt" in daemon.held().get("job.md", ""), "the wait to go on")
        assert len(daemon.brain.journal.attempts_of("job")) == 1
        actions.release(daemon.brain, "job")
        await daemon.ended("job")
    assert [row.status.value for row in brain.rows()] == ["failed", "completed"]
    assert brain.recorded("job").values["attempt"] == 2


async def test_attempts_are_counted_across_claims(brain):
    """A failure that asks for a long wait each time does not go on for ever."""
    scripted(brain, "slow", *[75] * 9, rules=TRANSIENT.format(wait=3600))
    async with brain.running() as daemon:
        brain.drop("job.md", "---\ninterface: slow\nattempts: 2\n---\n# Sum\n\nx\n")
        await daemon.until(lambda: "next attempt" in daemon.held().get("job.md", ""), "the wait")
        actions.release(daemon.brain, "job")
        await daemon.ended("job")
    assert brain.where("job") == ["failed"]
    assert len(brain.rows()) == 2


def test_later_attempts_count_towards_the_limits_of_their_interface(brain):
    """A fallback is a message as well: the next task finds the day's limit reached."""
    brain.echo("alpha", "fail: quota")
    brain.echo("beta", more="limits: {messages_per_day: 1}\n")
    brain.drop("a.md", "---\npreferred_interface: alpha\n---\n# Sum\n\nx\n")
    brain.drop("b.md", "---\ninterface: beta\ndepends_on: [a]\n---\n# Sum\n\nx\n")
    assert brain.run_once() == 0
    assert [(row.task_id, row.interface) for row in brain.rows()] == [("a", "alpha"), ("a", "beta")]
    assert "100% of 1 messages per day used" in brain.board.read_text()


def test_an_interface_that_goes_before_the_second_attempt_is_no_crash(brain):
    """The attempt says that it is gone, and the next one is asked."""
    path = brain.root / "tools" / "interfaces" / "alpha.md"
    brain.program("alpha", "/bin/sh", "-c", f"rm {path}; exit 75", more=TRANSIENT.format(wait=1))
    brain.echo("beta")
    brain.drop("job.md", "---\npreferred_interface: alpha\n---\n# Sum\n\nx\n")
    assert brain.run_once(scan="100ms", transient_retries="1") == 0
    said = [one.ended.outcome for one in attempts(brain, "job")]
    assert brain.recorded("job").values["interface"] == "beta"
    assert all(isinstance(outcome, Failed) for outcome in said[:-1])


async def test_a_cancel_between_two_attempts_ends_the_task(brain):
    """It need not wait for the next try to begin."""
    scripted(brain, "flaky", *[75] * 9, rules=TRANSIENT.format(wait=50))
    async with brain.running() as daemon:
        brain.drop("job.md", "---\ninterface: flaky\n---\n# Sum\n\nx\n")
        await daemon.until(lambda: len(brain.rows()) == 1, "the first attempt to end")
        actions.cancel(daemon.brain, "job", "enough")
        await daemon.ended("job")
    assert brain.recorded("job").values["reason"] == "cancelled"


def test_a_persons_own_folder_is_worked_in_and_left_alone(brain, tmp_path):
    """Its out/ is its own: nothing is collected from it or changed in it."""
    mine = tmp_path / "mine"
    (mine / "out").mkdir(parents=True)
    (mine / "out" / "big.bin").write_bytes(b"x" * 1000)
    brain.program("pwd", "/bin/sh", "-c", "pwd; touch here")
    brain.drop("job.md", f"---\ninterface: pwd\nworkspace: {mine}\n---\n# Sum\n\nx\n")
    assert brain.run_once() == 0
    assert brain.recorded("job").text.strip() == str(mine)
    assert sorted(os.listdir(mine)) == ["here", "out"]
    assert "files" not in brain.recorded("job").values
    assert not (brain.completed / "job.files").exists()


@pytest.mark.parametrize("kind", [FailureKind.BUDGET, FailureKind.PERMISSION_DENIED])
def test_what_no_retry_can_help_ends_at_once(brain, kind):
    """One attempt, and the reason."""
    brain.echo("echo", f"fail: {kind.value}")
    brain.drop("job.md", "---\ninterface: echo\nattempts: 5\n---\n# Sum\n\nx\n")
    assert brain.run_once() == 1
    assert len(brain.rows()) == 1
    expected = "budget_exceeded" if kind is FailureKind.BUDGET else "tool_failed"
    assert brain.recorded("job").values["reason"] == expected
