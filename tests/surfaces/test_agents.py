"""`brain claim`, `renew`, `complete`, `fail`: what agents read and how it exits; and many of them at once."""

import io
import os
import subprocess
import sys
import textwrap

import pytest

from tests.depth import deep


@pytest.fixture
def typed(monkeypatch):
    """`typed("text")` is what comes on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_claim_prints_id_lease_and_prompt(cli, brain):
    """What to do next goes to standard error, so that a pipe has the task alone."""
    brain.drop("one.md", "# Task: Greet\n\nSay hello\x1b[2J.\n")
    said = cli("claim", "--as", "ann", "--lease", "1h")
    attempt = brain.open().journal.attempts_of("one")[0]
    assert said.code == 0
    assert said.out.splitlines()[0] == "one  Greet"
    assert f"claim {attempt.attempt_id}, lease until 2" in said.out
    assert said.out.endswith("# Task: Greet\n\nSay hello\\x1b[2J.\n")
    assert f"brain complete {attempt.attempt_id} -f RESULT.md" in said.complaint


def test_a_claim_for_programs_has_all_that_the_work_needs(cli, brain, monkeypatch):
    """The documented shape, the prompt exactly as it is in the file; BRAIN_AGENT names the agent."""
    monkeypatch.setenv("BRAIN_AGENT", "bob")
    brain.drop("one.md", "---\ntype: code\nverify: make test\nrequires: [x]\n---\nSay\x1b.\n")
    facts = cli("claim", "--requires", "y, x", "--type", "code,quick", "--json").json
    assert list(facts) == [
        "task_id", "attempt_id", "attempt", "claimed_by", "lease_until", "title", "type", "priority", "requires",
        "model", "chain", "verify", "workspace", "out", "brain", "prompt",
    ]  # fmt: skip
    assert (facts["claimed_by"], facts["prompt"], facts["verify"]) == ("bob", "Say\x1b.\n", "make test")
    assert os.path.isdir(facts["out"])


def test_nothing_to_claim_exits_1_and_says_what_is_held(cli, brain):
    """The queue is empty, or each pending task has its reason."""
    assert (cli("claim").code, cli("claim").complaint) == (1, "nothing to claim: pending/ is empty\n")
    for number in range(12):
        brain.drop(f"t{number:02}.md", "---\nnot_before: 2100-01-01\n---\nx\n")
    said = cli("claim")
    assert (said.code, said.out) == (1, "")
    assert "t00: not before its time (until 2100-01-01T00:00:00Z)" in said.complaint
    assert "and 2 more: `brain list`" in said.complaint
    facts = cli("claim", "--json").json
    assert (facts["task_id"], len(facts["held"])) == (None, 12)
    assert facts["held"][0] == {"task_id": "t00", "why": "not before its time", "until": "2100-01-01T00:00:00Z"}


def test_a_result_is_handed_in_from_a_file_or_standard_input(cli, brain, typed, tmp_path):
    """With its figures, which stand in the ledger; a lost trailing newline is all that changes."""
    brain.drop("one.md", "x\n")
    brain.drop("two.md", "x\n")
    cli("claim")
    cli("claim")
    (tmp_path / "result.md").write_text("from a file\n")
    said = cli("complete", "one", "-f", str(tmp_path / "result.md"), "--model", "sonnet", "--input-tokens", "5",
               "--output-tokens", "2", "--cost-usd", "0.0280", "--session", "s-1")  # fmt: skip
    assert (said.code, said.out) == (0, "one: completed\n")
    typed("from a pipe")
    assert cli("complete", "two", "--json").json == {"id": "two", "done": True, "said": "two: completed"}
    assert (brain.recorded("one").text, brain.recorded("two").text) == ("from a file", "from a pipe")
    row = next(row for row in brain.rows() if row.task_id == "one")
    assert (row.model, row.input_tokens, row.output_tokens, str(row.cost_usd), row.session_id) == (
        "sonnet",
        5,
        2,
        "0.0280",
        "s-1",
    )


def test_a_task_is_renewed_and_failed(cli, brain):
    """Each says what it did; the shapes for programs."""
    brain.drop("one.md", "x\n")
    cli("claim", "--as", "ann")
    assert cli("renew", "one", "--lease", "2h").out.startswith("one: yours until 2")
    assert list(cli("renew", "one", "--json").json) == ["task_id", "attempt_id", "lease_until"]
    assert cli("fail", "one", "--why", "cannot").out == "one: failed\n"
    assert brain.where("one") == ["failed"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("claim", "--lease", "soon"), 2, "30m, 1h30m"),
        (("claim", "--lease", "0s"), 2, "longer than 0"),
        (("claim", "--as", "daemon"), 2, "taken by this program"),
        (("renew", "one"), 1, "no agent has claimed it"),
        (("complete", "one", "-f", "/nowhere/at/all"), 2, "cannot be read"),
        (("complete", "one", "--cost-usd", "-1"), 2, "0.0045"),
        (("complete", "one", "--cost-usd", "NaN"), 2, "0.0045"),
        (("complete", "one", "--input-tokens", "-1"), 2, "--input-tokens"),
        (("fail", "one"), 2, "--why"),
        (("fail", "one", "--why", "x", "--kind", "mood"), 2, "permanent"),
        (("fail", "two", "--why", "x"), 2, "there is no task 'two'"),
    ],
)
def test_bad_input_and_refusals_are_told_apart(cli, brain, arguments, code, said):
    """2 for what the caller must correct, 1 for what the state forbids; the task stays where it is."""
    brain.drop("one.md", "x\n")
    found = cli(*arguments)
    assert (found.code, said in found.complaint) == (code, True), found
    assert brain.where("one") == ["pending"]


def test_a_late_result_exits_1_and_is_kept(cli, brain, typed):
    """The message says where."""
    brain.drop("one.md", "x\n")
    first = cli("claim", "--as", "ann", "--json").json["attempt_id"]
    cli("release", "one")
    cli("claim", "--as", "bob")
    typed("too late")
    said = cli("complete", first)
    assert (said.code, "bob has taken the task since" in said.complaint) == (1, True)
    with open(said.complaint.strip().rpartition("kept as ")[2].removesuffix(".")) as handle:
        assert handle.read() == "too late"


def test_a_running_daemon_records_what_agents_hand_in(cli, brain, daemon, typed):
    """It leaves claimed tasks alone, hears of the result at once and commits it."""
    with daemon() as running:
        brain.drop("one.md", "---\nrequires: [teleport]\n---\nx\n")
        assert cli("claim", "--requires", "teleport").code == 0
        typed("beamed")
        assert cli("complete", "one").code == 0
        running.wait_for(lambda: brain.where("one") == ["completed"])
        # The page that no longer asks follows with the housekeeping, a minute later.
        running.wait_for(lambda: not brain.git("status", "--short", "--", "brain", "logs"))
    assert brain.recorded("one").text == "beamed"


LOOP = textwrap.dedent(
    """
    import contextlib, io, json, sys
    from brain_daemon.surfaces.cli import brain

    root, name = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()

    def call(*arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            try:
                brain.main(["--brain", root, *arguments], standalone_mode=False)
            except SystemExit as ended:
                return ended.code or 0, out.getvalue()
        return 0, out.getvalue()

    while True:
        code, said = call("claim", "--as", name, "--json")
        if code:
            break
        print(json.loads(said)["attempt_id"], flush=True)
    """
)


@pytest.mark.slow
def test_four_agents_at_once_share_no_task(brain):
    """Four processes claim from many tasks: each task once, each claim on record, and nobody keeps the others out."""
    count = deep(28, 200)
    brain.open().close()
    for number in range(count):
        brain.drop(f"t{number}.md", f"# Task {number}\n\nx\n")
    agents = [
        subprocess.Popen(
            [sys.executable, "-c", LOOP, str(brain.root), f"agent{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for n in range(4)
    ]
    # Nobody begins before all can: else the first might have everything while the last still loads the program.
    assert [agent.stdout.readline() for agent in agents] == [b"ready\n"] * 4
    for agent in agents:
        agent.stdin.write(b"go\n")
        agent.stdin.flush()
    said = [agent.communicate(timeout=240) for agent in agents]
    assert [err.decode() for _, err in said] == [""] * 4
    claims = [line for out, _ in said for line in out.decode().split()]
    assert sorted(claims) == sorted(one.attempt_id for one in brain.open().journal.open_attempts())
    assert sorted(one.split(".")[0] for one in claims) == sorted(f"t{number}" for number in range(count))
    assert (len(brain.names(brain.active)), brain.names(brain.pending)) == (count, [])
    assert max(len(out.split()) for out, _ in said) < count


def test_every_error_of_these_commands_has_an_exit_code(cli, brain):
    """A brain that cannot be opened is an error with words, never a traceback."""
    (brain.root / "brain.toml").write_text("nonsense = 1\n")
    for arguments in (("claim",), ("renew", "x"), ("fail", "x", "--why", "y")):
        said = cli(*arguments)
        assert (said.code, "no setting is called 'nonsense'" in said.complaint) == (2, True)


API = """---
name: api
type: llm
cost: {tier: paid, input_per_million: 1000000, output_per_million: 0}
limits: {tokens_per_minute: 60}
invoke: {command: [cat]}
---
# Api
"""


def test_acquire_says_granted_wait_or_stopped_and_exits_so(cli, brain, monkeypatch, tmp_path):
    """The word on standard output, its reason beside it; for programs the documented facts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    brain.write("tools/interfaces/api.md", API)
    brain.drop("one.md", "---\nbudget_usd: 70\n---\n# Task\n")
    cli("claim", "--as", "ann")
    ask = ("acquire", "--interface", "api", "--task", "one", "--as", "ann", "--tokens")
    assert cli(*ask, "50", "--request", "r")[:2] == (0, b"granted\n")
    assert cli(*ask, "50", "--request", "r", "--json").json["again"] is True
    said = cli(*ask, "19")
    assert (said.code, said.complaint) == (3, "tokens a minute used up\n")
    word, seconds = said.out.split()
    assert (word, 0 < int(seconds) <= 60) == ("wait", True)
    facts = cli(*ask, "19", "--json").json
    assert (facts["outcome"], facts["task_id"], facts["why"]) == ("wait", "one", "tokens a minute used up")
    assert facts["wait_seconds"] > 0
    said = cli(*ask, "21")
    assert (said.code, said.out) == (4, "stopped\n")
    assert "$50.00 of $70.00 of the budget of task one" in said.complaint
    assert cli(*ask, "21", "--json").json["wait_seconds"] is None
    assert cli("acquire", "--interface", "nobody").code == 2
    assert "found 'soon'" in cli(*ask, "1", "--wait", "soon").complaint


def test_usage_shows_the_rates_and_what_tasks_have_asked_for(cli, brain, monkeypatch, tmp_path):
    """By interface and by task, with the denials; an interface that nobody has asked says nothing."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    brain.write("tools/interfaces/api.md", API)
    brain.drop("one.md", "# Task\n")
    cli("claim", "--as", "ann")
    cli("acquire", "--interface", "api", "--task", "one", "--tokens", "60")
    cli("acquire", "--interface", "api", "--task", "one", "--tokens", "60")
    said = cli("usage").out
    assert "of 60 tokens a minute left, 1 granted, 1 denied\n" in said
    assert "gemini_cli: 60 of 60 requests a minute left" not in said
    assert said.splitlines()[-2].split() == ["TASK", "REQUESTS", "TOKENS", "DENIED"]
    assert said.splitlines()[-1].split() == ["one", "1", "60", "1"]
    facts = cli("usage", "--json").json
    assert facts["tasks"] == [{"task_id": "one", "requests": 1, "tokens": 60, "denials": 1}]
    rate = next(one["rate"] for one in facts["interfaces"] if one["interface"] == "api")
    assert (rate["requests"], rate["tokens"]["limit"], rate["granted_tokens"], rate["denials"]) == (None, 60, 60, 1)
    assert rate["tokens"]["left"] < 60
    assert rate["tokens"]["full_in_seconds"] > 0
