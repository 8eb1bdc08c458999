"""What a person lets one task do: at once, paid, budget; each just what it says, with and without a daemon, and on the record."""

import itertools
import json
import sys
import time
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest

from brain_daemon.model.attempt import Attempt, AttemptState, Decision
from brain_daemon.model.errors import Refused
from brain_daemon.model.outcome import Ended, Failed, FailureKind
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.redaction import Redactor
from brain_daemon.model.task import OnLimit
from brain_daemon.policy.admission import Slots, Start
from brain_daemon.service import actions
from brain_daemon.service.dispatch import Dispatch
from brain_daemon.service.gate import Gate
from brain_daemon.service.intake import Intake
from brain_daemon.service.releases import AT_ONCE, KEY, NO_TERMS, Releases, Terms, keep
from brain_daemon.service.reporting import decisions
from brain_daemon.store.accounts import Reservation

PAID = Terms(paid=True)
SPENT = f"errors:\n  - {{when: exit_code == `9`, kind: quota, resets_at: '`{time.time() + 7200:.0f}`'}}\n"
PRICED = """---
name: agent
type: llm
cost: {{tier: paid, model: nobody-knows-it}}
invoke: {{command: ["{python}", "-c", "import sys; sys.stdin.read(); print('{{\\"usd\\": 1.0}}')"]}}
output: {{format: json, text: "'done'", ok: exit_code == `0`, cost_usd: out.usd}}
---
# Agent
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts and rates of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


@pytest.fixture
def here(brain):
    """The brain as a command opens it."""
    with closing(brain.open()) as found:
        yield found


def drop(brain, *names, more=""):
    for name in names:
        brain.drop(f"{name}.md", f"---\n{more}---\n# Say\n\nSay it.\n")


def overridden(daemon, brain, task_id):
    """What the report says of the last attempt of a task, and why it ran where it did."""
    row = [row for row in brain.rows() if row.task_id == task_id][-1]
    (found,) = decisions(daemon.brain.journal, [row])
    return found.overridden, brain.recorded(task_id).values["routing"]["reason"]


def attempt(number, at, decision) -> Attempt:
    ended = Ended(
        outcome=Failed(kind=FailureKind.QUOTA, message="x"), started_at=at, finished_at=at, duration_seconds=0.0
    )
    return Attempt(
        attempt_id=f"job.a{number}.00000000", task_id="job", number=number, state=AttemptState.ENDED, name="job.md",
        sha256="x", spec=b"x", claimant="daemon", claimed_at=at, ended=ended, decision=decision,
    )  # fmt: skip


def test_terms_are_kept_together_and_another_process_finds_them(here):
    """What was released before stays; an amount takes the place of another."""
    assert Releases(here.journal).of("job") == NO_TERMS
    keep(here.journal, "Job", PAID)
    keep(here.journal, "job", Terms(budget=True, budget_usd=Decimal("2.50")))
    found = Releases(here.journal).of("JOB")
    assert found == Terms(paid=True, budget=True, budget_usd=Decimal("2.50"))
    assert found.words == ("paid allowed", "a budget of $2.50 of its own")
    assert keep(here.journal, "job", Terms(budget=True)).words == ("paid allowed", "budget passed")
    assert Releases(here.journal).of("other") == NO_TERMS


@pytest.mark.parametrize(
    ("decision", "left"),
    [
        (Decision.AGAIN, Terms(at_once=True, paid=True)),
        (Decision.PARK, PAID),
        (Decision.FINISH, NO_TERMS),
    ],
)
def test_an_end_takes_back_what_was_released_until_then(here, decision, left):
    """In the process that sees it, and for the next one, from the attempts alone; what ended before counts for nothing."""
    here.journal.add([attempt(1, time.time() - 60, Decision.FINISH)])
    keep(here.journal, "job", Terms(at_once=True, paid=True))
    seen = Releases(here.journal)
    assert seen.of("job") == Terms(at_once=True, paid=True)
    ended = attempt(2, time.time() + 1, decision)
    here.journal.add([ended, replace(ended, attempt_id="job.a3.00000000", number=3, ended=None, decision=None)])
    seen.ended(ended)
    seen.ended(replace(ended, task_id="other"))
    assert seen.of("job") == Releases(here.journal).of("job") == left


@pytest.mark.parametrize(
    "told", ["no json", "[1]", '{"job": 1}', '{"job": {"paid": "yes", "budget": "much", "at": "x"}}']
)
def test_a_damaged_note_releases_nothing(here, told):
    """Whoever cannot read it asks the person again."""
    here.journal.set(KEY, told)
    assert Releases(here.journal).of("job") == NO_TERMS
    keep(here.journal, "other", PAID)
    assert json.loads(here.journal.get(KEY))["other"]["paid"] is True


def test_terms_are_applied_to_the_task_and_to_no_other_field(here):
    """`on_limit` and `budget_usd` give way."""
    task = parse_task("job.md", b"---\nbudget_usd: 1\non_limit: wait\n---\n# Job\n")
    keep(here.journal, "job", PAID)
    assert Releases(here.journal).applied(task) == replace(task, on_limit=OnLimit.FALLBACK)
    keep(here.journal, "job", Terms(budget=True))
    assert Releases(here.journal).applied(task) == replace(task, on_limit=OnLimit.FALLBACK, budget_usd=None)
    other = replace(task, id="other")
    assert Releases(here.journal).applied(other) is other


async def spent_one(brain, daemon, more="on_limit: wait\n"):
    """A free interface whose quota ran out in the middle of `job`, a paid one beside it."""
    brain.program("spent", "/bin/sh", "-c", "cat > /dev/null; exit 9", more="cost: free\n" + SPENT)
    brain.echo("dear", more="cost: paid\n")
    await daemon.until(lambda: {"spent", "dear"} <= daemon.supervisor._roster.registry.entries.keys(), "the interfaces")
    drop(brain, "job", more=f"preferred_interface: spent\n{more}")
    await daemon.until(lambda: brain.where("job") == ["active"] and len(brain.rows()) == 1, "it to park")


async def test_paid_lets_a_parked_task_go_to_the_paid_interface(brain):
    """And only that task; the record says why, and the report counts it."""
    async with brain.running() as daemon:
        await spent_one(brain, daemon)
        assert "back in pending/" in actions.release(daemon.brain, "job", PAID)
        await daemon.ended("job")
        assert brain.recorded("job").values["interface"] == "dear"
        told, reason = overridden(daemon, brain, "job")
        assert told
        assert reason.endswith("released by the person: paid allowed")
        drop(brain, "next", more="preferred_interface: spent\n")
        await daemon.until(lambda: "spent" in daemon.held().get("next.md", ""), "the other to wait")
    assert [row.interface for row in brain.rows()] == ["spent", "dear"]


async def test_a_plain_release_resumes_now_and_opens_no_paid_interface(brain):
    """It tries where it was, though its quota is used up; the record says so, and when it has failed again it waits again."""
    async with brain.running() as daemon:
        await spent_one(brain, daemon)
        actions.release(daemon.brain, "job")
        await daemon.until(lambda: len(brain.rows()) == 2 and brain.where("job") == ["active"], "it to park again")
        newest = daemon.brain.journal.attempts_of("job")[-1]
        assert "released by the person: at once, although" in newest.routing["reason"]
        assert newest.routing["overridden"] is True
        assert Releases(daemon.brain.journal).of("job") == NO_TERMS
    assert [row.interface for row in brain.rows()] == ["spent", "spent"]


async def test_a_release_that_opens_nothing_of_the_kind_leaves_the_task_where_it_waits(brain):
    """`--budget` is no leave to pass a quota, nor to spend money on a dearer interface."""
    async with brain.running() as daemon:
        await spent_one(brain, daemon)
        actions.release(daemon.brain, "job", Terms(budget=True))
        await daemon.until(lambda: "spent" in daemon.held().get("job.md", ""), "it to wait in pending/")
    assert [row.interface for row in brain.rows()] == ["spent"]


async def test_budget_lets_a_task_pass_and_an_amount_is_its_own(brain):
    """The day's budget is spent: one goes as far as it takes, one has not enough, the third waits as before."""
    brain.write("tools/interfaces/agent.md", PRICED.format(python=sys.executable))
    brain.write("brain.toml", "budgets = [{scope = 'day', usd = 1, hard = true}]\nunknown_price = 'allow'\n")
    async with brain.running(parallel=1) as daemon:
        drop(brain, "first", more="interface: agent\n")
        await daemon.ended("first")
        drop(brain, "any", "none", "third", more="interface: agent\n")
        await daemon.until(lambda: len(daemon.held()) == 3, "the others to be held")
        actions.release(daemon.brain, "none", Terms(budget=True, budget_usd=Decimal(0)))
        actions.release(daemon.brain, "any", Terms(budget=True))
        await daemon.ended("any")
        told, reason = overridden(daemon, brain, "any")
        assert (told, reason.endswith("released by the person: budget passed")) == (True, True)
        await daemon.until(lambda: "budget of task none" in daemon.held().get("none.md", ""), "its own budget")
        assert "the day budget" in daemon.held()["third.md"]
    assert [row.task_id for row in brain.rows()] == ["first", "any"]


async def test_a_release_without_a_daemon_is_found_by_the_next_one(brain, here):
    """It stands in the journal."""
    brain.write("tools/interfaces/agent.md", PRICED.format(python=sys.executable))
    brain.write("brain.toml", "budgets = [{scope = 'day', usd = 0, hard = true}]\nunknown_price = 'allow'\n")
    drop(brain, "job", "other", more="interface: agent\n")
    await brain.once()
    assert brain.rows() == []
    actions.release(here, "job", Terms(budget=True))
    await brain.once()
    assert [row.task_id for row in brain.rows()] == ["job"]


def test_paid_says_nothing_of_a_secret(brain, here):
    """A task held for its text stays held: that is another question."""
    key = "sk-ant-" + "api03-" + "Zx9" * 30
    brain.drop("unsafe.md", f"# Use it\n\n{key}\n")
    assert actions.release(here, "unsafe", PAID) == "unsafe: released (paid allowed)"
    assert not here.journal.approvals()
    actions.release(here, "unsafe", AT_ONCE)
    assert here.journal.approvals()


async def test_what_runs_keeps_its_terms(brain):
    """They can be changed when it waits."""
    brain.echo("slow", "delay_seconds: 30")
    async with brain.running() as daemon:
        drop(brain, "job", more="interface: slow\n")
        await daemon.until(lambda: daemon.brain.journal.attempts_of("job"), "the start")
        with pytest.raises(Refused, match="can be changed when it waits"):
            actions.release(daemon.brain, "job", PAID)
        assert Releases(daemon.brain.journal).of("job") == NO_TERMS


@pytest.fixture
def crossroads(brain):
    """A free interface whose messages of the day are used up, a paid one, and what of them takes a task released on these terms."""
    brain.echo("spent", more="cost: free\nlimits: {messages_per_day: 1}\n")
    brain.echo("dear", more="cost: paid\n")
    opened = brain.open(quota_question_at="100%", quota_silence="0s")
    registry = opened.registry()
    gate = Gate(
        opened, lambda: [entry.spec for entry in registry.entries.values()], lambda name: registry.entries[name].spec
    )
    gate.open()
    spent = registry.entries["spent"].spec
    gate._quotas.grow(spent, Reservation(account=gate._quotas.key(spent), attempt_id="x", brain="", at=time.time()))
    dispatch = Dispatch(opened.config, Intake(opened, Redactor()), registry, gate)

    def taken(terms: Terms, on_limit: OnLimit) -> str | None:
        opened.journal.set(KEY, "{}")
        keep(opened.journal, "job", terms)
        gate.look_at_releases()
        gate.begin()
        task = gate.released(
            parse_task("job.md", f"---\npreferred_interface: spent\non_limit: {on_limit}\n---\n# Job\n".encode())
        )
        found = dispatch._admit(task, dispatch.choices.route(task), Slots(total_free=1))
        return found.name if isinstance(found, Start) else None

    yield taken
    gate.close()
    opened.close()


def test_only_leave_for_it_leads_to_a_paid_interface(crossroads):
    """Of all terms and all settings: `--paid` or `on_limit: fallback` lead there, `at once` stays on the cheap one, a budget opens nothing."""
    for at_once, paid, budget in itertools.product((False, True), repeat=3):
        for on_limit in OnLimit:
            taken = crossroads(Terms(at_once=at_once, paid=paid, budget=budget), on_limit)
            allowed = paid or on_limit is OnLimit.FALLBACK
            assert taken == ("spent" if at_once else "dear" if allowed else None), (at_once, paid, budget, on_limit)
