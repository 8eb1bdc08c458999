"""A login that runs out fails no task: they go elsewhere for no more money, or wait, are asked about once, and run when it is back."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from brain_daemon.model.outcome import Status
from brain_daemon.record.questions import question_from
from brain_daemon.service import actions, answering
from brain_daemon.service.breakers import waits_for_login

RULES = "errors:\n  - {when: exit_code == `7`, kind: auth}\n"
CHECK = "auth: {{method: oauth, check: [test, -e, {login}], login: one login}}\n"
BLIND = "auth: {{method: oauth, check: ['true']}}\n"


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Accounts of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


@pytest.fixture
def login(tmp_path) -> Path:
    """The login of the client is good while this file is there."""
    path = tmp_path / "login"
    path.touch()
    return path


def client(brain, login: Path, name="one", *, auth=CHECK, cost="subscription", wait_for: Path | None = None) -> None:
    """A client that does its work while it is logged in; where told so it waits for a file before it looks."""
    wait = f"while ! test -e {wait_for}; do sleep 0.05; done; " if wait_for else ""
    script = f"cat > /dev/null; {wait}test -e {login} || exit 7; echo done"
    brain.program(name, "/bin/sh", "-c", script, more=f"type: llm\ncost: {cost}\n{auth.format(login=login)}{RULES}")


def drop(brain, *names: str, **fields: object) -> None:
    head = "".join(f"{key}: {value}\n" for key, value in fields.items())
    for name in names:
        brain.drop(f"{name}.md", f"---\nattempts: 1\n{head}---\n# Say\n\nSay it.\n")


def questions(opened):
    return [question_from(document) for document, _ in opened.journal.questions().values()]


def ends(brain) -> list[tuple[str, str]]:
    """Of each attempt on the ledger where it ran and how it ended."""
    return sorted((row.interface, row.status.value) for row in brain.rows())


def is_held(daemon, *names: str) -> bool:
    held = daemon.held()
    return all("circuit breaker is open (auth" in held.get(f"{name}.md", "") for name in names)


async def test_only_what_was_in_flight_meets_an_expired_login_and_all_run_when_it_is_back(brain, login, tmp_path):
    """Three meet it at once, two never do; one question, no tick: the check passes, and each ends well with its one attempt left."""
    go = tmp_path / "go"
    client(brain, login, wait_for=go)
    async with brain.running(parallel=3, check_interval="300ms") as daemon:
        drop(brain, *"abcde", interface="one")
        await daemon.until(lambda: len(daemon.supervisor._jobs.running) == 3, "three at work")
        running = sorted(daemon.supervisor._jobs.running)
        await daemon.started(*running)
        login.unlink()
        go.touch()
        await daemon.until(lambda: is_held(daemon, *"abcde"), "all five to be held")
        (question,) = await daemon.until(lambda: questions(daemon.brain), "the question")
        assert "run `one login`" in question.text
        assert "No task fails of it" in question.text
        await daemon.until(lambda: ends(brain) == [("one", "failed")] * 3, "their rows")
        assert not brain.names(brain.failed)
        login.touch()
        await daemon.ended(*"abcde")
        await daemon.until(lambda: not questions(daemon.brain), "the question to be withdrawn")
    assert ends(brain) == [("one", "completed")] * 5 + [("one", "failed")] * 3
    assert sorted(row.task_id for row in brain.rows() if row.status is Status.FAILED) == running


async def test_a_refused_task_goes_elsewhere_for_the_same_money_and_never_to_a_paid_one(brain, login):
    """With another subscription it goes there; without, it waits, although a paid one stands ready."""
    client(brain, login)
    client(brain, login.parent, "other")
    client(brain, login.parent, "dear", cost="paid")
    async with brain.running(check_interval="1h") as daemon:
        drop(brain, "first", interface="one")
        await daemon.ended("first")
        login.unlink()
        drop(brain, "a", preferred_interface="one")
        await daemon.ended("a")
        assert [one.interface for one in daemon.brain.journal.attempts_of("a")] == ["one", "other"]
        (brain.root / "tools" / "interfaces" / "other.md").unlink()
        await daemon.until(lambda: daemon.supervisor._roster.find("other") is None, "the other to be gone")
        drop(brain, "b", preferred_interface="one")
        await daemon.until(lambda: is_held(daemon, "b"), "it to be held")
        drop(brain, "c", preferred_interface="one", on_limit="fallback")
        await daemon.ended("c")
        assert brain.recorded("c").values["interface"] == "dear"
        assert is_held(daemon, "b")
        actions.cancel(daemon.brain, "b", "enough")
        await daemon.ended("b")
    assert brain.recorded("b").values["reason"] == "cancelled"


async def test_where_no_check_can_tell_the_persons_word_lets_one_task_try(brain, login):
    """Before it nothing is sent, also after restarts; a tick while no daemon runs is no less a tick."""
    client(brain, login, auth=BLIND)
    login.unlink()
    async with brain.running(parallel=1) as daemon:
        drop(brain, "a", "b", interface="one")
        await daemon.until(lambda: is_held(daemon, "a", "b"), "both to be held")
        await daemon.until(lambda: len(ends(brain)) == 2, "the one probe that its check has let through")
        (question,) = await daemon.until(lambda: questions(daemon.brain), "the question")
        assert "until you have ticked the box" in question.text
    login.touch()
    async with brain.running(parallel=1) as daemon:
        await daemon.until(lambda: is_held(daemon, "a", "b"), "both to be held again")
        await daemon.until(lambda: not daemon.supervisor._roster.is_checking, "its check to have passed")
        assert waits_for_login(daemon.brain.journal, "one")
    assert len(ends(brain)) == 2
    with contextlib.closing(brain.open()) as opened:
        (question,) = questions(opened)
        answering.answer(opened, question, "check", "command")
    async with brain.running(parallel=1) as daemon:
        await daemon.ended("a", "b")
    assert ends(brain) == [("one", "completed")] * 2 + [("one", "failed")] * 2


async def test_an_interface_without_any_check_is_asked_about_at_once_and_believed_when_it_answers(brain, login):
    """The answer comes while another daemon runs than the one that has asked."""
    client(brain, login, auth="")
    login.unlink()
    async with brain.running() as daemon:
        drop(brain, "a", interface="one")
        await daemon.until(lambda: is_held(daemon, "a") and questions(daemon.brain), "the question")
    async with brain.running() as daemon:
        await daemon.until(lambda: is_held(daemon, "a"), "it to be held again")
        (question,) = questions(daemon.brain)
        login.touch()
        answering.answer(daemon.brain, question, "check", "command")
        await daemon.ended("a")
        assert not questions(daemon.brain)
    assert ends(brain) == [("one", "completed"), ("one", "failed")]


async def test_what_ends_well_of_before_says_nothing_of_a_login_that_has_run_out(brain, login, tmp_path):
    """Work that had been sent when another was refused closes no breaker; a task that a person releases does."""
    go = tmp_path / "go"
    old = f"while ! test -e {go}; do sleep 0.05; done; echo done"
    script = f"if grep -q slowly; then {old}; exit; fi; test -e {login} || exit 7; echo done"
    brain.program("one", "/bin/sh", "-c", script, more=f"type: llm\ncost: subscription\n{RULES}")
    async with brain.running() as daemon:
        brain.drop("slow.md", "---\ninterface: one\n---\n# Say\n\nSay it slowly.\n")
        await daemon.started("slow")
        login.unlink()
        drop(brain, "a", "b", interface="one")
        await daemon.until(lambda: is_held(daemon, "a", "b"), "both to be held")
        before = len(ends(brain))
        go.touch()
        await daemon.ended("slow")
        assert waits_for_login(daemon.brain.journal, "one")
        assert len(questions(daemon.brain)) == 1
        login.touch()
        actions.release(daemon.brain, "a")
        await daemon.ended("a", "b")
        await daemon.until(lambda: not questions(daemon.brain), "the question to go")
    assert len(ends(brain)) == before + 3


SESSION = """---
name: one
type: llm
cost: subscription
invoke:
  command: [/bin/sh, {client}]
  resume: [--resume, "{{client_session}}"]
output:
  format: jsonl
  ok: exit_code == `0`
  text: out[-1].text
  client_session: out[0].session
errors:
  - {{when: exit_code == `7`, kind: auth}}
---
# One
"""


async def test_what_a_login_has_cut_short_goes_on_in_its_session_and_folder(brain, login, tmp_path):
    """What it had done is not done twice."""
    client = tmp_path / "client.sh"
    said = 'echo \'{"session": "s-1"}\'; cat > /dev/null; echo "$PWD $*" >> calls\n'.replace(
        "calls", str(tmp_path / "calls")
    )
    client.write_text(f'{said}test -e {login} || exit 7\necho \'{{"text": "done"}}\'\n')
    brain.write("tools/interfaces/one.md", SESSION.format(client=client))
    login.unlink()
    async with brain.running() as daemon:
        drop(brain, "a", interface="one")
        await daemon.until(lambda: is_held(daemon, "a") and questions(daemon.brain), "the question")
        login.touch()
        answering.answer(daemon.brain, questions(daemon.brain)[0], "check", "command")
        await daemon.ended("a")
    first, second = (line.split() for line in (tmp_path / "calls").read_text().splitlines())
    assert first[0] == second[0]
    assert second[1:] == ["--resume", "s-1"]


async def test_a_login_that_its_check_finds_gone_is_one_question_however_many_wait_for_it(brain, login):
    """Nobody has been refused yet; tasks that are bound to it wait as well."""
    client(brain, login)
    login.unlink()
    async with brain.running(check_interval="300ms") as daemon:
        await daemon.until(lambda: questions(daemon.brain), "the question")
        drop(brain, *"abc", interface="one")
        await daemon.until(lambda: len(daemon.held()) == 3, "all to be held")
        await daemon.until(lambda: not daemon.supervisor._scan_now, "the next look")
        assert [one.kind for one in questions(daemon.brain)] == ["auth"]
        login.touch()
        await daemon.ended(*"abc")
        await daemon.until(lambda: not questions(daemon.brain), "the question to go")
    assert ends(brain) == [("one", "completed")] * 3


def test_a_run_once_leaves_it_pending_and_fails_nothing(brain, login):
    """Cron's next run finds it there, and sends nothing while the login is gone."""
    client(brain, login, auth="")
    login.unlink()
    drop(brain, "a", interface="one")
    for _ in range(3):
        assert brain.run_once() == 0
        assert brain.where("a") == ["pending"]
    assert ends(brain) == [("one", "failed")]
    login.touch()
    with contextlib.closing(brain.open()) as opened:
        answering.answer(opened, questions(opened)[0], "check", "command")
    assert brain.run_once() == 0
    assert brain.where("a") == ["completed"]


def test_who_asks_whether_the_login_works_is_told(brain, login):
    """The task of a live check ends; it does not wait for what it was to find out."""
    client(brain, login, auth="")
    login.unlink()
    drop(brain, "a", interface="one", type="check")
    assert asyncio.run(brain.once()) == 1
    assert brain.recorded("a").values["reason"] == "auth"
