"""`brain acquire` behind the command: room in the rate, in the account and in the budget, taken together and once."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import closing
from decimal import Decimal

import pytest

from brain_daemon.model.attempt import AttemptState
from brain_daemon.model.errors import Refused, UserError
from brain_daemon.record.questions import question_from
from brain_daemon.service import actions, agents, answering, handing_in
from brain_daemon.service.acquiring import Granted, OverBudget, Wait, Wanted, acquire
from brain_daemon.service.agents import Agent
from brain_daemon.service.breakers import Breakers
from brain_daemon.service.config import user_state_path
from brain_daemon.service.quotas import Quotas
from brain_daemon.service.rate_limiter import RateLimiter
from brain_daemon.service.releases import Terms
from brain_daemon.store import accounts, rates, tokens
from brain_daemon.store.files import Files

API = """---
name: api
type: llm
cost: {{tier: paid, input_per_million: 1000000, output_per_million: 0}}
{more}invoke: {{command: [cat]}}
---
# Api
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts and rates of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


@pytest.fixture
def here(brain):
    """The brain as a command opens it; `api` costs a dollar a token."""
    api(brain)
    with closing(brain.open()) as found:
        yield found


def api(brain, more=""):
    brain.write("tools/interfaces/api.md", API.format(more=more))


def claim(brain, here, name="one", more=""):
    """A task in the hands of an agent."""
    brain.drop(f"{name}.md", f"---\n{more}---\n# Task\n\nDo it.\n")
    return agents.claim(here, Agent(name="ann", lease_seconds=3600)).attempt


def ask(here, tokens=0, environment=None, wait=0.0, **more):
    found, _ = asyncio.run(acquire(here, Wanted(interface="api", tokens=tokens, **more), environment or {}, wait))
    return found


def used(here):
    """What the account of `api` counts, all of it."""
    path = os.path.join(user_state_path(), accounts.FILE_NAME)
    with closing(accounts.Accounts(path, Files())) as book:
        return book.count(f"interface {here.layout.state} api", 0.0).use


def test_without_limits_all_is_granted_and_counted(brain, here):
    """For the task it was asked for."""
    claim(brain, here)
    assert ask(here, 5, task="one") == Granted()
    with closing(RateLimiter(here)) as limiter:
        assert (limiter.task_accounts(5)["one"].tokens, limiter.acquired()[0].usd) == (5, Decimal(5))


def test_a_rate_that_is_used_up_says_how_long(brain, here):
    """Of requests, then of tokens; and what a process before it took is taken."""
    api(brain, "limits: {requests_per_minute: 2, tokens_per_minute: 60}\n")
    assert ask(here, 50) == Granted()
    found = ask(here, 50)
    assert isinstance(found, Wait)
    assert found.why == "tokens a minute used up"
    assert 0 < found.seconds(found.until - 30) <= 30
    assert ask(here) == Granted()
    assert ask(here).why == "requests a minute used up"


def test_who_waits_has_it_when_its_turn_comes(brain, here):
    """Within the time it gave."""
    api(brain, "limits: {requests_per_minute: 600}\n")
    assert ask(here, requests=600) == Granted()
    assert ask(here, wait=60.0) == Granted()


def test_a_request_is_granted_once_however_often_it_is_made(brain, here):
    """Also by many at the same time; under the same name nothing else may be asked for."""
    api(brain, "limits: {messages_per_day: 9, tokens_per_minute: 100}\n")
    claim(brain, here)
    answers = []

    def one() -> None:
        with closing(brain.open()) as own:
            answers.append(ask(own, 10, task="one", request_id="r"))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.again for one in answers) == [False, True, True, True]
    assert used(here).tokens == 10
    with closing(RateLimiter(here)) as limiter:
        assert limiter.task_accounts(5)["one"].requests == 1
    with pytest.raises(UserError, match="granted for something else"):
        ask(here, 11, task="one", request_id="r")


def test_a_process_that_dies_after_it_has_reserved_is_granted_once(brain, here):
    """What it had reserved in the account counts; asked again, the rest is taken and the account has it once."""
    api(brain, "limits: {messages_per_day: 9, windows: [{tokens: 100, per: day}]}\n")
    claim(brain, here)
    script = (
        "import asyncio, os, sys\nfrom brain_daemon.store import rates\nfrom brain_daemon.service.brain import Brain\n"
        "from brain_daemon.service.acquiring import *\nrates.RateBook.note = lambda *_: os.kill(os.getpid(), 9)\n"
        "asyncio.run(acquire(Brain.open(sys.argv[1], dict(os.environ)),"
        " Wanted(interface='api', tokens=10, task='one', request_id='r'), {}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(brain.root)], check=False)
    assert done.returncode == -9
    assert used(here).tokens == 10
    assert ask(here, 10, task="one", request_id="r") == Granted()
    assert (used(here).tokens, used(here).messages) == (10, 1)


def test_a_quota_without_room_says_until_when_and_takes_nothing(brain, here):
    """A claim is one message, however many requests it makes; tokens add up; the next claim waits for the reset."""
    api(brain, "limits: {windows: [{messages: 1, per: day}, {tokens: 100, per: day}]}\n")
    brain.write("brain.toml", 'quota_question_at = "100%"\nquota_silence = "0s"\nquota_default = "go_on"\n')
    with closing(brain.open()) as own:
        claim(brain, own)
        claim(brain, own, "two")
        assert ask(own, 40, task="one") == Granted()
        assert ask(own, 40, task="one") == Granted()
        assert isinstance(ask(own, 40, task="one"), Wait)
        assert isinstance(ask(own, 1, task="two"), Wait)
        assert (used(own).messages, used(own).tokens) == (1, 80)
        with closing(RateLimiter(own)) as limiter:
            assert [one.tokens for one in limiter.acquired()] == [80]


def test_the_person_is_asked_before_the_last_tenth_here_too(brain, here):
    """Once, and the answer holds for both."""
    api(brain, "limits: {windows: [{tokens: 100, per: day}]}\n")
    claim(brain, here)
    assert "you are asked first" in ask(here, 95, task="one").why
    assert "you are asked first" in ask(here, 95, task="one").why
    (question,) = [question_from(document) for document, _ in here.journal.questions().values()]
    answering.answer(here, question, "go_on", "command")
    assert ask(here, 95, task="one") == Granted()


def test_without_a_task_it_is_a_message_of_its_own(brain, here):
    """Counted as used at once, since nobody will say more of it (the third is asked about first); a start-up gives none back."""
    api(brain, "limits: {messages_per_day: 3}\n")
    brain.write("brain.toml", 'quota_question_at = "100%"\nquota_silence = "0s"\nquota_default = "go_on"\n')
    with closing(brain.open()) as own:
        assert [type(ask(own, 7)) for _ in range(5)] == [Granted, Granted, Wait, Granted, Wait]
        quotas = Quotas(own, lambda: [own.registry().find("api").spec])
        quotas.look()
        quotas.reconcile()
        quotas.close()
        assert used(own).messages == 3


def test_the_tasks_own_budget_stops_it_and_a_release_raises_it(brain, here):
    """What was granted counts against it at once; with a new amount it goes on, and no further."""
    claim(brain, here, more="budget_usd: 10\n")
    assert ask(here, 6, task="one") == Granted()
    found = ask(here, 6, task="one")
    assert isinstance(found, OverBudget)
    assert "the budget of task one" in found.why
    said = actions.release(here, "one", Terms(budget=True, budget_usd=Decimal(12)))
    assert said == "one: released (a budget of $12.00 of its own)"
    assert here.journal.attempts_of("one")[-1].state is AttemptState.CLAIMED
    assert ask(here, 6, task="one") == Granted()
    assert isinstance(ask(here, 1, task="one"), OverBudget)


def test_the_budget_of_a_day_counts_what_other_agents_were_granted(brain, here):
    """And what they handed in: the row takes the place of the grants."""
    brain.write("brain.toml", "budgets = [{scope = 'day', usd = 10, hard = true}]\n")
    with closing(brain.open()) as own:
        one = claim(brain, own)
        claim(brain, own, "two")
        assert ask(own, 6, task="one") == Granted()
        stopped = ask(own, 6, task="two")
        assert isinstance(stopped, OverBudget)
        assert stopped.until is not None
        handing_in.complete(own, one.attempt_id, handing_in.Report(text="x", cost_usd=Decimal(1)), folder="/")
        assert ask(own, 6, task="two") == Granted()


def test_an_unknown_price_under_a_budget_is_asked_about(brain, here):
    """Nothing is granted until the person has said so."""
    brain.write("tools/interfaces/api.md", API.format(more="").replace("input_per_million: 1000000, output_per_million: 0", "model: nobody-knows-it"))  # fmt: skip
    claim(brain, here, more="budget_usd: 10\n")
    assert isinstance(ask(here, 5, task="one"), Wait)
    (question,) = [question_from(document) for document, _ in here.journal.questions().values()]
    answering.answer(here, question, "allow", "command")
    assert ask(here, 5, task="one") == Granted()


def test_an_open_breaker_is_waited_for(brain, here):
    """The interface is left alone by agents too."""
    here.journal.set(
        "breakers",
        json.dumps(
            {"api": {"state": "open", "since": 0.0, "until": 1.0, "trips": 1, "why": "auth: no", "by_check": True}}
        ),
    )
    found = ask(here)
    assert ("circuit breaker is open" in found.why, found.until) == (True, None)
    assert Breakers(here.journal).words()["api"][0] == "open"


@pytest.mark.parametrize(
    ("wanted", "more", "fault", "says"),
    [
        ({"interface": "nobody"}, "", UserError, "no interface is called that"),
        ({}, "never: [api]\n", Refused, "stands under `never`"),
        ({"tokens": 101}, "", Refused, "takes 100 tokens a request, not 101"),
        ({"task": "missing"}, "", UserError, "there is no task"),
        ({"agent": "bob"}, "", Refused, "bob has not claimed it"),
    ],
)
def test_what_no_waiting_mends_is_refused(brain, here, wanted, more, fault, says):
    """With what is wrong."""
    api(brain, "limits: {tokens_per_request: 100}\n")
    claim(brain, here, more=more)
    with pytest.raises(fault, match=says):
        asyncio.run(acquire(here, Wanted(**{"interface": "api", "task": "one", **wanted}), {}))


def test_a_task_that_may_only_be_done_here_reaches_no_other_machine(brain, here):
    """`local_only` of the settings."""
    brain.write("brain.toml", "local_only = true\n")
    with closing(brain.open()) as own, pytest.raises(Refused, match="local_only"):
        ask(own)


def test_nothing_is_granted_for_a_claim_that_is_over(brain, here):
    """It was given back, or handed in."""
    attempt = claim(brain, here)
    handing_in.complete(here, attempt.attempt_id, handing_in.Report(text="x"), folder="/")
    with pytest.raises(Refused, match="has ended already"):
        ask(here, task="one")


def test_inside_a_task_its_token_says_for_which(brain, here):
    """A wrong one is refused, and so is one of an attempt that has ended."""
    brain.drop("one.md")
    brain.echo()
    brain.run_once()
    brain.drop("two.md")
    attempt = claim(brain, here, "two")
    own = {"BRAIN_ATTEMPT_ID": attempt.attempt_id, tokens.VARIABLE: tokens.Tokens(here.layout, here.files).of(attempt.attempt_id)}  # fmt: skip
    found, whose = asyncio.run(acquire(here, Wanted(interface="api"), own))
    assert (found, whose.task_id) == (Granted(), "two")
    with pytest.raises(Refused, match="is not that of the attempt"):
        ask(here, environment={**own, tokens.VARIABLE: "wrong"})
    (over,) = here.journal.attempts_of("one")
    token = tokens.Tokens(here.layout, here.files).of(over.attempt_id)
    with pytest.raises(Refused, match="Nothing more is granted"):
        ask(here, environment={"BRAIN_ATTEMPT_ID": over.attempt_id, tokens.VARIABLE: token})


async def test_a_running_daemon_and_an_agent_draw_from_the_same_rate(brain, here):
    """What the agent took the daemon lacks, with no word between them."""
    api(brain, "account: both\nlimits: {requests_per_minute: 2, messages_per_day: 50}\n")
    async with brain.running() as daemon:
        found, _ = await acquire(here, Wanted(interface="api", requests=2), {})
        assert found == Granted()
        brain.drop("mine.md", "---\ninterface: api\n---\n# Say\n\nSay it.\n")
        await daemon.until(lambda: "requests a minute used up" in daemon.held().get("mine.md", ""), "the hold")
        waits, _ = await acquire(here, Wanted(interface="api"), {})
        assert isinstance(waits, Wait)
    assert brain.rows() == []


def test_the_end_of_a_claim_settles_what_it_was_granted(brain, here):
    """It counts as used, whatever the agent says of tokens of another interface; nothing stays reserved."""
    api(brain, "limits: {windows: [{tokens: 100, per: day}]}\n")
    attempt = claim(brain, here)
    assert ask(here, 30, task="one") == Granted()
    handing_in.complete(here, attempt.attempt_id, handing_in.Report(text="x"), folder="/")
    assert ask(here, 5) == Granted()
    path = os.path.join(user_state_path(), accounts.FILE_NAME)
    with closing(accounts.Accounts(path, Files())) as book:
        assert book.reserved() == []
    assert used(here).tokens == 35
    assert os.listdir(os.path.join(user_state_path(), "rates")) == [rates.FILE_NAME]
