"""`brain interfaces` with what is below it, and `brain route`."""

import json
import os
from pathlib import Path

import pytest

from brain_daemon.policy.breaker import HalfOpen, Open, to_json
from brain_daemon.service import inquiries
from brain_daemon.service.snapshot import BREAKERS


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """A folder of made-up programs at the head of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


# list


def test_a_list_says_who_can_work_and_what_the_others_lack(brain, cli):
    """Name, kind and tier; the usable ones first. What one can do is shown with it."""
    brain.program("upper", "tr", "a-z", "A-Z", more="capabilities: [shouting]\naliases: [loud]\n")
    brain.program("absent", "no-such-program-anywhere")
    lines = cli("interfaces").out.splitlines()
    (upper,) = (line for line in lines if line.startswith("upper"))
    (absent,) = (line for line in lines if line.startswith("absent"))
    assert "free tool" in upper
    assert "available" in upper
    assert "shouting (also called loud)" in cli("interfaces", "show", "upper").out
    assert "offline: the program no-such-program-anywhere is not on PATH" in absent
    assert lines.index(upper) < lines.index(absent)


def test_a_list_says_what_waits_and_not_that_it_is_available(brain, cli):
    """For a login that a person was asked about, and where failures have shut it; `show` names all that would run."""
    brain.program("upper", "cat", inside="  model: [-m, '{model}']\n  resume: [-r, '{client_session}']\n  session: [-s, '{new_session}']\n")  # fmt: skip
    brain.program("shut", "cat")
    brain.program("locked", "cat")
    brain.program("tried", "cat")
    opened = brain.open()
    inquiries.ask(opened.journal, inquiries.login("upper", "it said 401"))
    states = {
        "shut": Open(since=0.0, until=9e9, trips=1, why="500"),
        "locked": Open(since=0.0, until=9e9, trips=1, why="401", by_check=True),
        "tried": HalfOpen(trips=1, why="500"),
    }
    opened.journal.set(BREAKERS, json.dumps({name: to_json(state) for name, state in states.items()}))
    opened.close()
    lines = {line.split()[0]: line for line in cli("interfaces").out.splitlines() if line.strip()}
    for name in ("upper", "locked"):
        assert "waits: not logged in (`brain questions`)" in lines[name]
    assert "waits: its circuit breaker is open" in lines["shut"]
    assert "available, its circuit breaker is half-open" in lines["tried"]
    assert "available" not in lines["upper"] + lines["shut"]
    shown = cli("interfaces", "show", "upper").out
    for words in ("with model  -m {model}", "begins by   -s {new_session}", "resumes by  -r {client_session}"):
        assert words in shown


def test_a_bad_file_is_shown_with_its_line_and_what_to_change(brain, cli):
    """Two files of one name are shown with both names."""
    brain.write("tools/interfaces/wrong.md", "---\nname: wrong\ntype: robot\n---\n# Wrong\n")
    brain.program("one", "cat", more="aliases: [same]\n")
    brain.program("two", "cat", more="aliases: [same]\n")
    said = cli("interfaces")
    assert said.code == 0
    assert "tools/interfaces/wrong.md, line 3: `type` is `robot`, but must be one of llm, tool, service" in said.out
    assert "one.md and two.md" in said.out


async def test_running_attempts_are_counted(brain, cli):
    """Beside the status."""
    brain.echo("slow", "delay_seconds: 60")
    async with brain.running() as running:
        brain.drop("busy.md", "---\ninterface: slow\n---\n# Busy\n")
        await running.started("busy")
        facts = {one["name"]: one for one in cli("interfaces", "list", "--json").json["interfaces"]}
        assert "available, 1 running" in cli("interfaces").out
    assert facts["slow"]["running"] == 1


# check


def test_a_check_that_fails_is_told_in_the_words_of_the_program(brain, cli, programs):
    """Exit 1, since something was run and failed."""
    program(programs, "flaky", "echo 'not logged in' >&2; exit 3")
    brain.write(
        "tools/interfaces/flaky.md",
        "---\nname: flaky\ninvoke:\n  kind: command\n  command: [flaky]\n  check: [flaky, --version]\n---\n# Flaky\n",
    )
    said = cli("interfaces", "check", "flaky")
    assert said.code == 1
    assert "exited 3: not logged in" in said.out
    assert cli("interfaces", "check").code == 1


def test_checking_all_is_well_where_programs_are_only_missing(brain, cli):
    """What is not installed is said, and is no failure."""
    said = cli("interfaces", "check")
    assert said.code == 0
    assert "claude" in said.out


def test_a_name_that_cannot_work_is_a_failure(brain, cli):
    """It was asked about by name."""
    assert cli("interfaces", "check", "shell").code == 1
    assert cli("interfaces", "check", "librarian").code == 0


@pytest.mark.parametrize("verb", ["check", "approve"])
def test_an_unknown_interface_is_a_usage_error_that_lists_the_known(brain, cli, verb):
    """So that the next try succeeds."""
    said = cli("interfaces", verb, "nobody")
    assert said.code == 2
    assert "librarian" in said.complaint


def test_nothing_of_an_interface_that_waits_for_approval_is_run(brain, cli, programs, tmp_path):
    """Its check is a program that came with git."""
    program(programs, "sneaky", f"touch {tmp_path}/ran")
    brain.write(
        "tools/interfaces/sneaky.md",
        "---\nname: sneaky\ninvoke:\n  kind: command\n  command: [sneaky]\n  check: [sneaky, now]\n---\n# Sneaky\n",
    )
    brain.commit()
    said = cli("interfaces", "check", "sneaky")
    assert said.code == 1
    assert "brain interfaces approve sneaky" in said.out
    assert not (tmp_path / "ran").exists()


def test_a_check_shows_version_and_login(brain, cli, programs):
    """In a table and as facts."""
    program(programs, "client", 'if [ "$1" = status ]; then test -e "$HOME/.logged-in"; else echo client 3.14; fi')
    brain.program(
        "one",
        "client",
        more="auth: {method: oauth, check: [client, status], login: client login}\n",
        inside="  check: [client, --version]\n",
    )
    said = cli("interfaces", "check", "one")
    assert said.code == 1
    assert "client 3.14" in said.out
    assert "run `client login`" in said.out
    (Path(os.environ["HOME"]) / ".logged-in").touch()
    (fact,) = cli("interfaces", "check", "one", "--json").json["checks"]
    assert (fact["ok"], fact["version"], fact["login"], fact["live"]) == (True, "client 3.14", "logged in", None)


LIVE = (
    "type: llm\ncost: {tier: paid, input_per_million: 3, output_per_million: 15}\n"
    "output: {format: json, text: out.text, usage: {input_tokens: out.i, output_tokens: out.o}}\n"
)


def test_a_live_check_sends_one_prompt_and_its_cost_is_in_the_ledger(brain, cli, programs):
    """Through the real adapter, as a task of the type check; what came back is shown."""
    program(programs, "client", 'grep -q "word ok" && echo \'{"text": "ok", "i": 12, "o": 3}\'')
    brain.program("one", "client", more=LIVE)
    (fact,) = cli("interfaces", "check", "one", "--live", "--json").json["checks"]
    live = fact["live"]
    assert (live["ok"], live["text"], live["input_tokens"], live["output_tokens"]) == (True, "ok", 12, 3)
    assert live["cost_usd"] == "0.000081"
    assert live["seconds"] > 0
    (row,) = brain.rows()
    assert (row.task_id, row.task_type, row.interface) == (live["task_id"], "check", "one")
    assert str(row.cost_usd) == "0.000081"
    assert brain.where(live["task_id"]) == ["completed"]


def test_a_live_check_that_fails_is_told(brain, cli, programs):
    """Exit 1, with what the program said; tools get no prompt unless they are named."""
    program(programs, "client", "echo quota exceeded >&2; exit 1")
    brain.program("one", "client", more=LIVE)
    said = cli("interfaces", "check", "--live")
    assert said.code == 1
    (answer,) = (line for line in said.out.splitlines() if "quota exceeded" in line)
    assert answer.startswith("one")
    assert [row.interface for row in brain.rows()] == ["one"]


def test_a_live_check_without_a_daemon_starts_nothing_else(brain, cli, programs):
    """What is pending might cost money that nobody meant to spend now."""
    program(programs, "client", "exit 0")
    brain.program("one", "client", more=LIVE)
    brain.drop("other.md")
    said = cli("interfaces", "check", "one", "--live")
    assert said.code == 1
    assert "would start the other 1 tasks" in said.complaint
    assert brain.where("other") == ["pending"]
    assert brain.rows() == []


def test_a_login_that_works_again_is_no_question_any_more(brain, cli, programs):
    """The check by hand withdraws what the daemon has asked."""
    brain.program("one", "cat", more="auth: {method: oauth, check: ['true']}\n")
    opened = brain.open()
    inquiries.ask(opened.journal, inquiries.login("one", "it said so"))
    assert [one["kind"] for one in cli("questions", "--json").json["questions"]] == ["auth"]
    cli("interfaces", "check", "one")
    assert cli("questions", "--json").json["questions"] == []
    opened.close()


# approve


def test_approving_shows_first_what_would_be_run(brain, cli):
    """Command, variables, files; then it can work."""
    brain.program("fromafar", "cat", more="auth: {method: api_key, config_location: ~/.key, env: FAR_KEY}\n")
    brain.commit()
    assert "brain interfaces approve fromafar" in cli("interfaces").out
    said = cli("interfaces", "approve", "fromafar")
    assert said.code == 0
    assert said.out.index("runs        cat") < said.out.index("approved on this machine")
    assert "FAR_KEY" in said.out
    assert "~/.key" in said.out
    facts = {one["name"]: one for one in cli("interfaces", "--json").json["interfaces"]}
    assert facts["fromafar"]["approved"]


def test_an_approved_interface_is_left_as_it_is(brain, cli):
    """Said, and no more."""
    assert "approved here already" in cli("interfaces", "approve", "librarian").out


def test_a_changed_file_waits_for_approval_again(brain, cli):
    """The content is approved, not the name."""
    brain.program("fromafar", "cat")
    brain.commit()
    cli("interfaces", "approve", "fromafar")
    brain.program("fromafar", "tac")
    brain.commit()
    facts = {one["name"]: one for one in cli("interfaces", "--json").json["interfaces"]}
    assert not facts["fromafar"]["approved"]


# detect


def test_detecting_finds_programs_and_tries_them(brain, cli, programs):
    """One that is there and answers, one that is there and is broken, one that is not there."""
    program(programs, "claude", "echo '2.1.330 (Claude Code)'")
    program(programs, "codex", "echo 'wants a newer node' >&2; exit 1")
    program(programs, "goose", "exit 0")
    found = {one["program"]: one for one in cli("interfaces", "detect", "--json").json["programs"]}
    assert found["claude"]["works"]
    assert found["claude"]["path"] == str(programs / "claude")
    assert found["claude"]["version"] == "2.1.330 (Claude Code)"
    assert not found["codex"]["works"]
    assert "wants a newer node" in found["codex"]["why_not"]
    assert found["opencode"]["path"] is None
    assert (found["goose"]["interface"], found["goose"]["ships"]) == (None, False)
    said = cli("interfaces", "detect").out
    assert "no registration ships" in next(line for line in said.splitlines() if line.startswith("goose"))


def test_a_registration_that_is_missing_is_offered_and_written(brain, cli, programs):
    """From the files that ship; one that is there is never overwritten."""
    program(programs, "codex", "exit 0")
    path = brain.root / "tools/interfaces/codex.md"
    shipped = path.read_bytes()
    path.unlink()
    assert "`brain interfaces detect --write codex` registers it" in cli("interfaces", "detect").out
    told = cli("interfaces", "detect", "--write", "codex", "--json").json
    assert told["written"] == ["tools/interfaces/codex.md"]
    assert path.read_bytes() == shipped
    assert {one["interface"]: one for one in told["programs"]}["codex"]["works"]
    again = cli("interfaces", "detect", "--write", "codex")
    assert again.code == 1
    assert "was left as it is" in again.complaint
    assert cli("interfaces", "detect", "--write", "nobody").code == 2


def test_keys_in_the_environment_are_named_and_not_shown(brain, cli, monkeypatch):
    """With the interface that uses each."""
    monkeypatch.setenv("GEMINI_API_KEY", "canary-value-12345")
    for arguments in ([], ["--json"]):
        said = cli("interfaces", "detect", *arguments)
        assert "GEMINI_API_KEY" in said.out
        assert "canary-value" not in said.out
    assert "gemini_cli uses it" in cli("interfaces", "detect").out


# route


def test_a_route_is_told_in_one_line_with_its_reason(brain, cli, tmp_path):
    """For a file outside of the brain too."""
    brain.echo()
    (tmp_path / "idea.md").write_text("# An idea\n")
    said = cli("route", str(tmp_path / "idea.md"))
    assert said.code == 0
    assert said.out.startswith("echo (free): ")
    assert len(said.out.splitlines()) == 1


def test_explaining_shows_the_whole_ranking_and_every_refusal(brain, cli):
    """Each interface is in one of the two lists."""
    brain.echo()
    brain.program("paid", "cat", more="cost: {tier: paid}\ntype: llm\n")
    brain.drop("one.md")
    said = cli("route", "one", "--explain").out
    ranked, refused = said.split("REFUSED")
    assert ranked.index("echo") < ranked.index("paid")
    assert "claude_code" in refused
    assert "not on PATH" in refused
    facts = cli("route", "one", "--json").json
    names = {one["interface"] for one in facts["ranked"]} | facts["rejected"].keys()
    assert names == {one["name"] for one in cli("interfaces", "--json").json["interfaces"]}


def test_nobody_is_an_answer_with_the_missing_capability(brain, cli):
    """Exit 1."""
    brain.drop("blind.md", "---\nrequires: [vision]\n---\n# Blind\n")
    said = cli("route", "blind")
    assert said.code == 1
    assert "vision" in said.out
    assert cli("route", "blind", "--json").json["missing_capabilities"] == ["vision"]


def test_an_ended_task_is_routed_as_it_was_asked_for(brain, cli):
    """Its result block is not part of the question."""
    brain.echo()
    brain.drop("one.md", "---\nrequires: [vision]\ninterface: any\n---\n# One\n")
    brain.drop("two.md")
    brain.run_once()
    assert cli("route", "two").out.startswith("echo (free)")


def test_routing_starts_nothing_and_leaves_the_task_where_it_is(brain, cli):
    """It is a question."""
    brain.echo()
    brain.drop("one.md")
    cli("route", "one", "--explain")
    assert brain.where("one") == ["pending"]
    assert brain.rows() == []


@pytest.mark.parametrize(
    ("text", "word"), [("---\npriority: soon\n---\n# T\n", "line 2, field priority"), ("---\nid: x\n", "never closed")]
)
def test_a_file_that_is_no_task_is_a_usage_error_with_its_line(brain, cli, tmp_path, text, word):
    """As it would be said in its `## Error`."""
    (tmp_path / "bad.md").write_text(text)
    said = cli("route", str(tmp_path / "bad.md"))
    assert said.code == 2
    assert word in said.complaint


def test_a_faulty_routing_table_is_said_beside_the_answer(brain, cli):
    """The built-in one was used."""
    brain.echo()
    brain.write("context/routing.md", "---\norder: [free, gold]\n---\n# Routing\n")
    brain.drop("one.md")
    said = cli("route", "one")
    assert said.code == 0
    assert "gold" in said.complaint
    assert cli("route", "one", "--json").json["warnings"] != []
