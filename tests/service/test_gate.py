"""Money, quotas and limits with a real daemon and real programs: who is let in, who waits, and what a person is asked."""

import asyncio
import contextlib
import os
import shutil
import sys
import time

import pytest

from brain_daemon.model.outcome import Status
from brain_daemon.record.questions import question_from
from brain_daemon.record.usage import FINDINGS, findings_from
from brain_daemon.service import answering
from brain_daemon.service.brain import Brain
from brain_daemon.service.config import user_state_path
from brain_daemon.store.accounts import FILE_NAME, Accounts
from brain_daemon.store.files import Files

THREE = "limits: {messages_per_day: 3}\n"


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


def drop(brain, *names, more="interface: counted\n"):
    for name in names:
        brain.drop(f"{name}.md", f"---\n{more}---\n# Say\n\nSay it.\n")


def ended(brain):
    return len(brain.names(brain.completed)) + len(brain.names(brain.failed))


def questions(brain: Brain):
    return [question_from(document) for document, _ in brain.journal.questions().values()]


def answer(brain: Brain, key: str) -> None:
    (question,) = questions(brain)
    answering.answer(brain, question, key, "command")


async def nearly_used(brain, daemon, *names):
    """Two of three messages sent, and the question put."""
    drop(brain, *names)
    await daemon.until(lambda: ended(brain) == 2, "two to end")
    await daemon.until(lambda: questions(daemon.brain), "the question")


async def test_a_person_is_asked_once_before_the_last_tenth_and_go_on_means_here(brain):
    """Of five tasks on three messages two run unasked, the third with leave, the others wait for the reset."""
    brain.echo("counted", more=THREE)
    async with brain.running() as daemon:
        await nearly_used(brain, daemon, "a", "b", "c", "d", "e")
        await daemon.until(lambda: "asked first" in "".join(daemon.held().values()), "the board to say so")
        assert len(questions(daemon.brain)) == 1
        answer(daemon.brain, "go_on")
        await daemon.until(lambda: ended(brain) == 3, "the third")
        await daemon.until(lambda: len(daemon.held()) == 2, "the others to be held")
        assert all("100% of 3 messages per day used" in why for why in daemon.held().values())
        assert not questions(daemon.brain)
    assert len(brain.rows()) == 3
    assert "go_on" in (brain.root / "prompts" / "answered.md").read_text()


async def test_wait_means_wait_and_nothing_falls_to_a_paid_interface(brain):
    """Although one stands ready."""
    brain.echo("counted", more=THREE + "cost: free\n")
    brain.echo("dear", more="cost: paid\n")
    async with brain.running() as daemon:
        drop(brain, *"abcde", more="preferred_interface: counted\n")
        await daemon.until(lambda: questions(daemon.brain), "the question")
        answer(daemon.brain, "wait")
        await daemon.until(lambda: len(daemon.held()) == 3, "the rest to be held")
        assert not questions(daemon.brain)
    assert {row.interface for row in brain.rows()} == {"counted"}
    assert len(brain.rows()) == 2


async def test_paid_means_that_the_others_go_to_the_paid_interface(brain):
    """For this window; the counted one keeps its last message."""
    brain.echo("counted", more=THREE + "cost: free\n")
    brain.echo("dear", more="cost: paid\n")
    async with brain.running() as daemon:
        drop(brain, *"abcde", more="preferred_interface: counted\n")
        await daemon.until(lambda: questions(daemon.brain), "the question")
        assert {row.interface for row in brain.rows()} <= {"counted"}
        answer(daemon.brain, "paid")
        await daemon.until(lambda: ended(brain) == 5, "all to end")
    assert sorted(row.interface for row in brain.rows()) == ["counted", "counted", "dear", "dear", "dear"]


async def test_until_answered_tasks_go_elsewhere_for_the_same_money(brain):
    """No one waits who need not."""
    brain.echo("counted", more=THREE + "cost: free\n")
    brain.echo("other", more="cost: free\n")
    async with brain.running() as daemon:
        drop(brain, *"abcde", more="preferred_interface: counted\n")
        await daemon.until(lambda: ended(brain) == 5, "all to end")
    assert {row.interface for row in brain.rows()} == {"counted", "other"}


async def test_silence_answers_after_its_time(brain):
    """With the answer that the settings name."""
    brain.echo("counted", more=THREE)
    async with brain.running(quota_silence="200ms", quota_default="go_on") as daemon:
        drop(brain, *"abcd")
        await daemon.until(lambda: ended(brain) == 3, "the third")
    assert len(brain.rows()) == 3


async def test_a_tick_in_the_page_is_an_answer(brain):
    """The question can be ticked in an editor."""
    brain.echo("counted", more=THREE)
    async with brain.running() as daemon:
        await nearly_used(brain, daemon, *"abcd")
        await daemon.until(lambda: brain.questions.exists() and "**go_on**" in brain.questions.read_text(), "the page")
        page = brain.questions.read_text().replace("- [ ] **go_on** ", "- [x] **go_on** ")
        brain.questions.write_text(page)
        await daemon.until(lambda: ended(brain) == 3, "the third")


def second(brain, tmp_path):
    """Another brain of the same user, with the same files."""
    other = type(brain)(tmp_path / "other", tmp_path / "state")
    shutil.copytree(brain.root, other.root)
    return other


async def test_two_brains_that_share_an_account_never_exceed_it_together(brain, tmp_path):
    """Twelve tasks, five messages, two daemons at once."""
    limits = "account: shared\nlimits: {messages_per_day: 5}\n"
    brain.echo("counted", "delay_seconds: 0.05", more=limits)
    other = second(brain, tmp_path)
    flags = {"quota_question_at": "100%", "quota_silence": "0s", "quota_default": "go_on"}
    async with brain.running(**flags) as one, other.running(**flags) as two:
        for number in range(6):
            drop(brain, f"a{number}")
            drop(other, f"b{number}")
        await one.until(lambda: ended(brain) + ended(other) == 5, "five to end")
        await one.until(lambda: len(one.held()) + len(two.held()) == 7, "the others to be held")
    assert len(brain.rows()) + len(other.rows()) == 5


def test_a_killed_daemon_keeps_its_reservations(brain, daemon, tmp_path):
    """What it had begun counts, whatever became of it; the next start sends no more than is left."""
    mark = tmp_path / "started"
    brain.program(
        "counted",
        sys.executable,
        "-c",
        f"import time; open({str(mark)!r}, 'w'); time.sleep(600)",
        more="limits: {messages_per_day: 2}\n",
    )
    with daemon(quota_question_at="100%", quota_silence="0s", quota_default="go_on") as running:
        running.drop("a.md", "---\ninterface: counted\n---\n# Say\n\nx\n")
        running.wait_for(mark.exists)
        running.process.kill()
        running.process.wait()
    assert reserved() == 1
    brain.echo("counted", more="limits: {messages_per_day: 2}\n")
    drop(brain, "b", "c", "d")
    asyncio.run(
        within(brain, lambda: ended(brain) == 1, quota_question_at="100%", quota_silence="0s", quota_default="go_on")
    )
    assert [row.task_id for row in brain.rows() if row.status is Status.COMPLETED] == ["b"]


async def within(brain, condition, **flags):
    async with brain.running(**flags) as daemon:
        await daemon.until(condition, "the condition")
        await daemon.until(lambda: len(daemon.held()) == 2, "the rest to be held")


def reserved() -> int:
    """Open reservations of this user."""
    path = os.path.join(user_state_path(), FILE_NAME)
    if not os.path.exists(path):
        return 0
    with contextlib.closing(Accounts(path, Files())) as accounts:
        return len(accounts.reserved())


REPORTING = """---
name: agent
type: llm
cost: subscription
account: agent-account
invoke: {{command: ["{python}", "-c", "import sys; sys.stdin.read(); print('{{\\"used\\": {share}, \\"resets\\": {resets}}}')"]}}
output:
  format: json
  text: "'done'"
  ok: exit_code == `0`
  limits: {{five_hour: {{utilisation: out.used, resets_at: out.resets}}}}
---
# Agent
"""


async def test_what_the_client_says_of_its_quota_is_asked_about(brain):
    """Nobody declared a limit here: the person used most of it by hand."""
    brain.write(
        "tools/interfaces/agent.md", REPORTING.format(python=sys.executable, share=0.95, resets=time.time() + 7200)
    )
    async with brain.running() as daemon:
        drop(brain, "a", more="interface: agent\n")
        await daemon.until(lambda: ended(brain) == 1, "the first")
        drop(brain, "b", more="interface: agent\n")
        await daemon.until(lambda: questions(daemon.brain), "the question")
        (question,) = questions(daemon.brain)
        assert "95% of the five_hour limit" in question.text
        assert ended(brain) == 1


async def test_a_refused_login_opens_the_breaker_and_a_restart_remembers(brain):
    """One attempt finds out; the others do not try."""
    script = "import sys; sys.exit(7)"
    rules = "errors:\n  - {when: exit_code == `7`, kind: auth}\n"
    brain.program("locked", sys.executable, "-c", script, more="type: llm\ncost: paid\n" + rules)
    async with brain.running(parallel=1) as daemon:
        drop(brain, "a", "b", "c", more="interface: locked\n")
        await daemon.until(lambda: len(daemon.held()) == 3, "all to be held")
        assert all("circuit breaker is open (auth" in why for why in daemon.held().values())
        assert len(questions(daemon.brain)) == 1
    async with brain.running(parallel=1) as daemon:
        await daemon.until(lambda: len(daemon.held()) == 3, "them to be held again")
        assert len(brain.rows()) == 1
        assert not brain.names(brain.failed)


async def test_a_rate_limit_halves_the_slots_and_success_gives_them_back(brain, tmp_path):
    """Not all that ran side by side cut: the first one does."""
    rules = "errors:\n  - {when: exit_code == `9`, kind: rate_limit, retry_after: '`0.3`'}\n"
    mark = tmp_path / "limited"
    script = f"cat > /dev/null; if mkdir {mark} 2>/dev/null; then exit 9; fi; echo said"
    brain.program("busy", "/bin/sh", "-c", script, more="limits: {concurrent: 4}\n" + rules)
    async with brain.running(transient_retries=2) as daemon:
        gate = daemon.supervisor._gate
        drop(brain, "a", more="interface: busy\n")
        await daemon.until(lambda: gate._slots._allowances, "the cut")
        assert gate._slots._allowances["busy"].slots == 2
        await daemon.ended("a")
        drop(brain, *"bcdefghij", more="interface: busy\n")
        await daemon.until(lambda: ended(brain) == 10, "all to end")
        assert not gate._slots._allowances
    assert brain.where("a") == ["completed"]


async def test_requests_a_minute_are_spread_over_time(brain):
    """As many at once as a minute allows; the others are told when."""
    brain.echo("counted", more="limits: {requests_per_minute: 2}\n")
    async with brain.running() as daemon:
        drop(brain, *"abcd")
        await daemon.until(lambda: ended(brain) == 2, "two")
        await daemon.until(lambda: len(daemon.held()) == 2, "the others to be held")
        assert all("requests a minute used up" in why for why in daemon.held().values())
    assert len(brain.rows()) == 2


async def test_a_hard_budget_stops_and_a_soft_one_warns(brain):
    """The first task is within both; the second would pass the hard one."""
    brain.write("tools/interfaces/agent.md", PRICED.format(python=sys.executable))
    (brain.root / "brain.toml").write_text(
        "budgets = [{scope = 'interface', name = 'agent', usd = 1.5, hard = true}, {scope = 'day', usd = 1}]\n"
        "unknown_price = 'allow'\n"
    )
    async with brain.running(parallel=1) as daemon:
        drop(brain, "a", "b", more="interface: agent\n")
        await daemon.until(lambda: ended(brain) == 2, "two: the first was not dear enough to stop the second")
        drop(brain, "c", more="interface: agent\n")
        await daemon.until(lambda: "budget of interface agent" in daemon.held().get("c.md", ""), "the stop")
        await daemon.until(lambda: "The day budget is passed: $2.00 of $1.00" in brain.board.read_text(), "the warning")
    assert len(brain.rows()) == 2


async def test_an_unknown_price_under_a_budget_is_asked_about_once(brain):
    """And the answer holds."""
    brain.write("tools/interfaces/agent.md", PRICED.format(python=sys.executable))
    (brain.root / "brain.toml").write_text("budgets = [{scope = 'day', usd = 10}]\n")
    async with brain.running() as daemon:
        drop(brain, "a", "b", more="interface: agent\n")
        await daemon.until(lambda: questions(daemon.brain), "the question")
        assert len(questions(daemon.brain)) == 1
        assert not brain.rows()
        answer(daemon.brain, "allow")
        await daemon.until(lambda: ended(brain) == 2, "both to end")


PRICED = """---
name: agent
type: llm
cost: {{tier: paid, model: nobody-knows-it}}
invoke: {{command: ["{python}", "-c", "import sys; sys.stdin.read(); print('{{\\"usd\\": 1.0}}')"]}}
output: {{format: json, text: "'done'", ok: exit_code == `0`, cost_usd: out.usd}}
---
# Agent
"""


async def test_what_is_found_stands_in_usage_md_and_in_brain_usage(brain):
    """Also for a process that is not the daemon."""
    brain.echo("counted", more=THREE)
    async with brain.running() as daemon:
        await nearly_used(brain, daemon, "a", "b", "c")
        found = await daemon.until(
            lambda: findings_from(daemon.brain.journal.get(FINDINGS)).get("counted"), "the finding"
        )
        await daemon.until(
            lambda: findings_from(daemon.brain.journal.get(FINDINGS))["counted"].fullest.share > 0.6, "the share"
        )
        assert found.fullest.quota == "3 messages per day"
        assert found.fullest.resets_at > time.time()


async def test_a_fallback_within_a_job_is_admitted_like_any_start(brain):
    """The next interface has no message left, so the task waits in pending/ and says so."""
    brain.echo("alpha", "fail: quota", more="cost: free\n")
    brain.echo("counted", more="limits: {messages_per_day: 1}\ncost: free\n")
    async with brain.running(quota_question_at="100%") as daemon:
        drop(brain, "first")
        await daemon.ended("first")
        drop(brain, "job", more="preferred_interface: alpha\n")
        await daemon.until(lambda: "counted: 100% of 1 messages" in daemon.held().get("job.md", ""), "the hold")
    assert sorted(row.interface for row in brain.rows()) == ["alpha", "counted"]


async def test_a_parked_task_that_asks_goes_to_the_paid_interface_when_it_is_told_so(brain):
    """`on_limit: ask` in the middle of a run: the question stands, and the answer frees what is parked."""
    rules = f"errors:\n  - {{when: exit_code == `9`, kind: quota, resets_at: '`{time.time() + 7200:.0f}`'}}\n"
    brain.program("spent", "/bin/sh", "-c", "cat > /dev/null; exit 9", more="cost: subscription\n" + rules)
    brain.echo("dear", more="cost: paid\n")
    async with brain.running() as daemon:
        drop(brain, "job", more="preferred_interface: spent\non_limit: ask\n")
        await daemon.until(lambda: questions(daemon.brain), "the question")
        await daemon.until(lambda: brain.where("job") == ["active"], "it to park")
        assert [row.interface for row in brain.rows()] in ([], ["spent"])
        answer(daemon.brain, "paid")
        await daemon.ended("job")
    assert [row.interface for row in brain.rows()] == ["spent", "dear"]
