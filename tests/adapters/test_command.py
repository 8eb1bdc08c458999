"""Programs: what goes in, what comes out, and what each kind of end means. Real processes."""

import asyncio
import os
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from brain_daemon.adapters.base import Charged, Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.command import CommandAdapter, local_zone
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import Cancelled, CostBasis, Failed, FailureKind, Succeeded, TimedOut, Usage
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.task import Permissions
from brain_daemon.store.files import Files


def interface(command: str, *, more: str = "", inside: str = "") -> InterfaceSpec:
    text = f"---\nname: mine\n{more}invoke:\n  kind: command\n  command: {command}\n{inside}---\n# Mine\n"
    made = parse_interface("mine.md", text.encode())
    assert isinstance(made, InterfaceSpec), made
    return made


def shell(script: str, **more: str) -> InterfaceSpec:
    return interface("[/bin/sh, -c, '" + script.replace("'", "''") + "']", **more)


@pytest.fixture
def invoke(tmp_path):
    """Runs an interface on the prompt "hello" and returns how it ended."""

    async def run(spec, cancel=None, *, is_root=False, **changes):
        invocation = Invocation(
            attempt_id="t.a1.00000000",
            task=parse_task("t.md", b"# Title\n\nbody\n"),
            interface=spec,
            prompt="hello",
            root=str(tmp_path),
            folder=str(tmp_path / "attempt"),
            workspace=str(tmp_path / "work"),
            environment={"PATH": os.environ["PATH"], "MY_KEY": "passes", "OTHER_KEY": "stays"},
            timeout_seconds=20.0,
            grace_seconds=0.2,
        )
        adapter = CommandAdapter(Files(), is_root=lambda: is_root)
        return await adapter.invoke(replace(invocation, **changes), cancel or Cancel())

    return run


async def test_the_prompt_goes_in_by_stdin_and_the_output_is_the_answer(invoke, tmp_path):
    """The prompt and both streams are kept with the attempt."""
    ended = await invoke(interface("[tr, a-z, A-Z]"))
    assert ended.outcome == Succeeded(text="HELLO")
    assert (tmp_path / "attempt" / "prompt.md").read_text() == "hello"
    assert (tmp_path / "attempt" / "stdout").read_text() == "HELLO"


@pytest.mark.parametrize(
    ("command", "inside"),
    [('[echo, -n, "{prompt}"]', "  prompt: argument\n"), ('[cat, "{prompt_file}"]', "  prompt: file\n")],
)
async def test_or_by_an_argument_or_a_file(invoke, command, inside):
    """Never through a shell."""
    assert (await invoke(interface(command, inside=inside), prompt="$(echo no) `id`")).text == "$(echo no) `id`"


async def test_it_works_in_its_workspace_with_a_minimal_environment(invoke, tmp_path):
    """The marks of the attempt are there, a listed key is, another is not."""
    ended = await invoke(shell("pwd; env", inside="  env: [MY_KEY]\n  set_env: {EXTRA: '1'}\n"))
    lines = ended.text.splitlines()
    assert lines[0] == str(tmp_path / "work")
    assert {
        "BRAIN_TASK_ID=t",
        "BRAIN_ATTEMPT_ID=t.a1.00000000",
        f"BRAIN_ROOT={tmp_path}",
        f"BRAIN_WORKSPACE={tmp_path}/work",
        "MY_KEY=passes",
        "EXTRA=1",
    } <= set(lines)
    assert "OTHER_KEY=stays" not in lines


async def test_model_and_permission_stand_in_the_arguments(invoke, tmp_path):
    """The journal's argv holds everything but the prompt, which may be long."""
    inside = "  prompt: argument\n  permissions:\n    read: [--plan]\n"
    more = "cost:\n  tier: free\n  model: large\n"
    spec = interface('[echo, "{model}", "{prompt}"]', inside=inside, more=more)
    ended = await invoke(spec, model="small", profile=Permissions.READ)
    assert set(ended.text.split()) == {"small", "hello", "--plan"}
    assert ended.model == "small"
    invocation = Invocation(
        attempt_id="x", task=parse_task("t.md", b"x"), interface=spec, prompt="long", root="/", folder="/f", workspace="/w", environment={}, timeout_seconds=1.0, model="small",
    )  # fmt: skip
    assert "long" not in CommandAdapter(Files()).argv(invocation)
    assert "small" in CommandAdapter(Files()).argv(invocation)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("exit 3", FailureKind.PERMANENT),
        ("exit 75", FailureKind.TRANSIENT),
        ("exit 127", FailureKind.UNAVAILABLE),
        ("kill -9 $$", FailureKind.TRANSIENT),
    ],
)
async def test_an_exit_other_than_zero_is_a_failure_of_its_kind(invoke, script, kind):
    """What it printed is kept."""
    ended = await invoke(shell(f"echo half; {script}"))
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is kind
    assert ended.text == "half\n"


async def test_usage_cost_model_and_session_are_read_from_json(invoke):
    """As the file's expressions say; a paid interface is charged what it reports."""
    more = (
        "cost:\n  tier: paid\noutput:\n  format: json\n  ok: out.ok\n  text: out.said\n  usage:\n    input_tokens: out.u[0]\n"
        "    output_tokens: out.u[1]\n  cost_usd: out.usd\n  model: out.m\n  client_session: out.s\n"
    )
    ended = await invoke(
        shell("""echo '{"ok": true, "said": "hi", "u": [7, 3], "usd": 0.25, "m": "big", "s": "s-1"}'""", more=more)
    )
    assert (ended.text, ended.model, ended.client_session) == ("hi", "big", "s-1")
    assert (ended.usage.input_tokens, ended.usage.output_tokens, ended.usage.estimated) == (7, 3, False)
    assert (ended.cost.usd, ended.cost.basis) == (Decimal("0.25"), CostBasis.REPORTED)


async def test_a_model_that_does_not_tell_its_tokens_has_them_counted(invoke):
    """Marked as estimated, and priced so."""
    more = "type: llm\ncost:\n  tier: paid\n  input_per_million: 1000000\n  output_per_million: 0\n"
    ended = await invoke(shell("echo answer", more=more))
    assert ended.usage.estimated
    assert ended.usage.input_tokens >= 1
    assert ended.cost.basis is CostBasis.PRICED
    assert ended.cost.usd == ended.usage.input_tokens


async def test_an_error_rule_names_the_kind_and_the_wait(invoke):
    """Before any exit code."""
    more = "errors:\n  - when: contains(stderr, 'slow down')\n    kind: rate_limit\n    retry_after: match(stderr, 'in ([0-9]+) s') | [0]\n"
    outcome = (await invoke(shell("echo 'slow down: in 12 s' >&2; exit 1", more=more))).outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.RATE_LIMIT
    assert outcome.retry_after_seconds == 12.0


async def test_a_program_that_is_not_there_was_not_started(invoke):
    """It cost nothing, and another interface may do it."""
    ended = await invoke(interface("[/no/such/program]"))
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.UNAVAILABLE
    assert ended.cost.usd == 0
    assert ended.duration_seconds == 0.0


async def test_a_secret_file_that_cannot_serve_starts_nothing(invoke, tmp_path):
    """The message names the file and not what is in it."""
    (tmp_path / "key").write_text("two\nlines")
    (tmp_path / "key").chmod(0o600)
    more = f"auth:\n  method: api_key\n  config_location: {tmp_path}/key\n  env: MY_KEY\n"
    outcome = (await invoke(shell("touch started", more=more))).outcome
    assert outcome.kind is FailureKind.UNAVAILABLE
    assert f"{tmp_path}/key" in outcome.message
    assert "lines" not in outcome.message.replace("one line", "")
    assert not (tmp_path / "work" / "started").exists()


async def test_a_deadline_ends_the_whole_group(invoke):
    """TimedOut, whatever it printed."""
    ended = await invoke(shell("echo half; sleep 300 & wait"), timeout_seconds=0.2)
    assert ended.outcome == TimedOut(after_seconds=0.2)
    assert ended.text == "half\n"
    assert ended.survivors == ()


async def test_a_prompt_that_is_too_long_for_it_starts_nothing(invoke, tmp_path):
    """The reason names the two lengths; characters count, not bytes."""
    spec = shell("touch started; cat", more="limits: {prompt_characters: 5}\n")
    ended = await invoke(spec, prompt="é中😀!!!")
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.CONTEXT_TOO_LONG
    assert "has 6 characters, and mine takes at most 5 " in ended.outcome.message
    assert (ended.cost.usd, os.listdir(tmp_path / "work")) == (0, [])
    assert (await invoke(spec, prompt="é中😀!!")).text == "é中😀!!"


async def test_a_permission_it_refuses_to_root_starts_nothing_as_root(invoke, tmp_path):
    """The same level runs for any other user, and another level for root."""
    inside = "  permissions:\n    read: []\n    full: {arguments: [--all], not_as_root: true}\n"
    spec = shell("touch started; echo $0", inside=inside)
    outcome = (await invoke(spec, is_root=True, profile=Permissions.FULL)).outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.PERMISSION_DENIED
    assert "refuses the permission `full` to root" in outcome.message
    assert os.listdir(tmp_path / "work") == []
    assert (await invoke(spec, is_root=True, profile=Permissions.READ)).outcome == Succeeded(text="/bin/sh\n")
    assert (await invoke(spec, profile=Permissions.FULL)).outcome == Succeeded(text="--all\n")


SESSIONS = (
    "  resume: [--resume, '{client_session}']\n  session: [--session-id, '{new_session}']\n"
    "  model: [-m, '{model}']\n  permissions:\n    read: [--plan]\n"
)


async def test_a_session_is_begun_under_our_name_or_resumed_under_its_own(invoke):
    """The name we gave is kept where the program says none, so that one that was ended can go on."""
    spec = shell('echo "$@"', inside=SESSIONS)
    begun = await invoke(spec, model="m", profile=Permissions.READ)
    plan, option, name = begun.text.removesuffix("\n").rsplit(" ", 2)
    assert (plan, option, begun.client_session) == ("-m m", "--session-id", name)
    assert uuid.UUID(name).version == 4
    resumed = await invoke(spec, model="m", profile=Permissions.READ, client_session="s-1")
    assert (resumed.text, resumed.client_session) == ("-m m --resume s-1\n", "s-1")


async def test_the_place_of_the_session_may_be_in_the_middle(invoke):
    """`{resume}` in the command is that place; the journal shows what is chosen for each run as a name."""
    spec = interface('[/bin/sh, -c, "echo $@", sh, "{resume}", run]', inside=SESSIONS)
    assert (await invoke(spec, client_session="s-1")).text == "--resume s-1 run\n"
    invocation = Invocation(
        attempt_id="x", task=parse_task("t.md", b"x"), interface=spec, prompt="p", root="/", folder="/f", workspace="/w", environment={}, timeout_seconds=1.0,
    )  # fmt: skip
    assert CommandAdapter(Files()).argv(invocation)[4:] == ("--session-id", "{new_session}", "run")


async def test_a_session_it_does_not_know_is_not_kept(invoke):
    """Whoever resumes next starts afresh."""
    more = "errors:\n  - when: match(stderr, 'no such session')\n    kind: session_unknown\n"
    ended = await invoke(shell("echo no such session >&2; exit 1", more=more, inside=SESSIONS), client_session="gone")
    assert isinstance(ended.outcome, Failed)
    assert (ended.outcome.kind, ended.client_session) == (FailureKind.SESSION_UNKNOWN, None)


async def test_a_resumed_session_is_charged_the_difference(invoke):
    """Its totals, less what the earlier attempts of the same session were charged."""
    more = (
        "type: llm\ncost: {tier: paid}\noutput:\n  format: json\n  usage: {input_tokens: out.i, output_tokens: out.o}\n"
        "  usage_scope: session\n  cost_usd: out.usd\n  cost_scope: session\n"
    )
    spec = shell("""echo '{"i": 2000, "o": 20, "usd": 0.5}'""", more=more, inside=SESSIONS)
    charged = Charged(usage=Usage(input_tokens=1500, output_tokens=5), cost_usd=Decimal("0.2"))
    ended = await invoke(spec, client_session="s-1", charged=charged)
    assert (ended.usage.input_tokens, ended.usage.output_tokens, ended.cost.usd) == (500, 15, Decimal("0.3"))


async def test_files_it_wants_are_there_before_it_starts(invoke, tmp_path):
    """Their folder stands in the arguments and in the values of the file's own variables, and in no others; it stays."""
    inside = "  set_env: {SETTINGS: '{files}/a.json'}\n  env: [MY_KEY]\n  files:\n    a.json: '{\"x\": \"{files}\"}'\n    .b/c: ''\n"
    spec = interface(
        '[/bin/sh, -c, "cat $SETTINGS; echo $MY_KEY; ls -A $1; touch $1/kept", sh, "{files}"]', inside=inside
    )
    changes = {"environment": {"PATH": os.environ["PATH"], "MY_KEY": "{files}"}}
    ended = await invoke(spec, folder=str(tmp_path / "state" / "attempts" / "1"), **changes)
    assert ended.text == '{"x": "{files}"}{files}\n.b\na.json\n'
    assert "kept" in (await invoke(spec, folder=str(tmp_path / "state" / "attempts" / "2"))).text.split()


async def test_what_was_turned_away_used_nothing(invoke):
    """A refused key is not charged an estimate of the prompt."""
    more = "type: llm\ncost: {tier: paid, model: none}\nerrors: [{kind: auth}]\n"
    ended = await invoke(shell("exit 1", more=more))
    assert (ended.usage, ended.cost.usd) == (Usage(input_tokens=0, output_tokens=0, requests=0), 0)


async def test_a_clock_time_is_read_in_the_zone_the_program_prints_it_in(invoke):
    """`TZ` goes to the program and to the reading alike."""
    more = "errors:\n  - kind: quota\n    resets_at: stdout\n"
    spec = shell("date +%H:%M:%S; exit 1", more=more)
    ended = await invoke(spec, environment={"PATH": os.environ["PATH"], "TZ": "Asia/Kathmandu"})
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.resets_at == pytest.approx(ended.finished_at, abs=30)


def test_the_zone_is_the_one_named_else_this_machines():
    """A name that no zone has is none."""
    assert local_zone(":Europe/Moscow") == ZoneInfo("Europe/Moscow")
    assert local_zone("Nowhere/Land") is UTC
    assert datetime.now(local_zone("")).utcoffset() == datetime.now().astimezone().utcoffset()


async def test_a_file_may_allow_less_silence_than_the_settings(invoke):
    """Or more: it knows its program best."""
    spec = shell("sleep 300", inside="  inactivity: 200ms\n")
    assert (await invoke(spec, inactivity_seconds=20.0)).outcome == TimedOut(after_seconds=0.2, inactive=True)


async def test_silence_has_a_deadline_of_its_own(invoke):
    """And says that it was silence."""
    assert (await invoke(shell("sleep 300"), inactivity_seconds=0.2)).outcome == TimedOut(
        after_seconds=0.2, inactive=True
    )


async def test_a_flood_of_output_is_cut_off(invoke):
    """B21: reaching the limit is an outcome that names the setting."""
    outcome = (await invoke(shell("yes"), output_bytes=100_000)).outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.OUTPUT_LIMIT
    assert "output_size" in outcome.message


async def test_a_cancel_ends_it(invoke, tmp_path):
    """Cancelled, with what was printed until then."""
    cancel, said = Cancel(), tmp_path / "said"
    os.mkfifo(said)
    waiting = asyncio.get_running_loop().create_task(
        invoke(shell(f"echo half; echo on > {said}; exec sleep 300"), cancel)
    )
    assert await asyncio.to_thread(said.read_text) == "on\n"
    cancel.set()
    ended = await waiting
    assert isinstance(ended.outcome, Cancelled)
    assert ended.text == "half\n"


async def test_a_large_output_is_read_whole(invoke):
    """A megabyte of text comes back to the byte."""
    ended = await invoke(shell("head -c 1000000 /dev/zero | tr '\\0' x"))
    assert len(ended.text) == 1_000_000
