"""tools/interfaces/NAME.md becomes an InterfaceSpec, or a fault that tells the person which line to change."""

import hashlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.interface import (
    Auth,
    AuthMethod,
    Availability,
    Endpoint,
    ErrorRule,
    HttpProtocol,
    InterfaceFault,
    InterfaceSpec,
    InterfaceType,
    InvokeKind,
    Limits,
    OutputFormat,
    PromptBy,
    Tier,
    Window,
    arguments,
)
from brain_daemon.model.interface_file import MAX_FILE_BYTES, parse_interface

FULL = """---
name: claude_code
type: llm
status: limited
aliases: [claude, claude-code, Claude Code]
capabilities: [code_execution, File Ops, reasoning, file-ops]
limits:
  messages_per_day: 1500
  tokens_per_request: 200_000
  requests_per_minute: 60
  tokens_per_minute: 400k
  concurrent: 2
  windows:
    - {messages: 200, per: 5h}
    - {tokens: 10M, per: week, resets: Mon 00:00 America/Los_Angeles}
    - {usd: 12.50, per: month}
auth:
  method: oauth
  config_location: ~/.brain-secrets/claude-token
  env: CLAUDE_CODE_OAUTH_TOKEN
account: anthropic-max
cost:
  tier: subscription
  model: claude-sonnet-4-5
  input_per_million: 3
  cached_input_per_million: 0.30
  output_per_million: $15
models: {haiku: claude-haiku-4-5, sonnet: claude-sonnet-4-5}
good_at: {code: 0.8, Deep Research: 0.6}
idempotent: no
local: false
timeout: 30m
invoke:
  kind: command
  command: [claude, -p, --output-format, stream-json]
  prompt: stdin
  model: [--model, "{model}"]
  resume: [--resume, "{client_session}"]
  env: [CLAUDE_CODE_OAUTH_TOKEN, ANTHROPIC_BASE_URL]
  set_env: {DISABLE_AUTOUPDATER: "1"}
  check: claude --version
  permissions:
    read: [--permission-mode, plan]
    write:
      arguments: --permission-mode acceptEdits
      set_env: {MODE: write}
output:
  format: jsonl
  ok: out[?type == 'result'] | [-1].is_error == `false`
  text: out[?type == 'result'] | [-1].result
  usage:
    input_tokens: total(out[?type == 'result'] | [-1].usage.[input_tokens, cache_read_input_tokens])
  usage_scope: run
  cost_usd: out[-1].total_cost_usd
  cost_scope: session
  model: out[0].model
  client_session: out[0].session_id
errors:
  - when: out[?type == 'rate_limit_event'] | [-1].rate_limit_info.status == 'rejected'
    kind: quota
    resets_at: out[?type == 'rate_limit_event'] | [-1].rate_limit_info.resetsAt
  - kind: transient
---
# Claude Code

## How to Invoke

```
not a command: the one above counts
```
"""


def parsed(text: str | bytes, file_name: str = "upper.md") -> InterfaceSpec:
    spec = parse_interface(file_name, text if isinstance(text, bytes) else text.encode())
    assert isinstance(spec, InterfaceSpec), spec
    return spec


def fault(text: str | bytes, file_name: str = "upper.md") -> InterfaceFault:
    found = parse_interface(file_name, text if isinstance(text, bytes) else text.encode())
    assert isinstance(found, InterfaceFault), found
    return found


def upper(*keys: str, body: str = "") -> str:
    """A file for a program called upper with these lines of front matter."""
    return "\n".join(("---", "name: upper", *keys, "---", body))


def test_the_full_form_is_read_to_the_last_key():
    """Every key of the format arrives as a value of its own type."""
    spec = parsed(FULL, "claude_code.md")
    assert (spec.name, spec.type, spec.status) == ("claude_code", InterfaceType.LLM, Availability.LIMITED)
    assert spec.aliases == ("claude",)
    assert spec.capabilities == ("code_execution", "file_ops", "reasoning")
    assert spec.limits == Limits(
        messages_per_day=1500,
        tokens_per_request=200_000,
        requests_per_minute=60,
        tokens_per_minute=400_000,
        concurrent=2,
        windows=(
            Window(unit="messages", amount=Decimal(200), per="5h", per_seconds=18_000.0),
            Window(
                unit="tokens",
                amount=Decimal(10_000_000),
                per="week",
                per_seconds=604_800.0,
                resets="Mon 00:00 America/Los_Angeles",
            ),
            Window(unit="usd", amount=Decimal("12.50"), per="month"),
        ),
    )
    assert spec.auth == Auth(
        method=AuthMethod.OAUTH, config_location="~/.brain-secrets/claude-token", env="CLAUDE_CODE_OAUTH_TOKEN"
    )
    assert (spec.account, spec.cost.tier, spec.cost.model) == ("anthropic-max", Tier.SUBSCRIPTION, "claude-sonnet-4-5")
    prices = (spec.cost.input_per_million, spec.cost.cached_input_per_million, spec.cost.output_per_million)
    assert prices == (Decimal(3), Decimal("0.30"), Decimal(15))
    assert spec.models == (("haiku", "claude-haiku-4-5"), ("sonnet", "claude-sonnet-4-5"))
    assert spec.good_at == (("code", 0.8), ("deep_research", 0.6))
    assert (spec.idempotent, spec.local, spec.timeout_seconds) == (False, False, 1800.0)
    assert (spec.title, spec.warnings) == ("Claude Code", ())
    assert spec.sha256 == hashlib.sha256(FULL.encode()).hexdigest()


def test_the_full_form_says_how_to_call():
    """Command, model, session, environment, check and profiles, each in its place."""
    invoke = parsed(FULL, "claude_code.md").invoke
    assert (invoke.kind, invoke.prompt) == (InvokeKind.COMMAND, PromptBy.STDIN)
    assert invoke.command == ("claude", "-p", "--output-format", "stream-json")
    assert invoke.env == ("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_BASE_URL")
    assert (invoke.set_env, invoke.check) == ((("DISABLE_AUTOUPDATER", "1"),), ("claude", "--version"))
    write = invoke.profile("write")
    assert write is not None
    assert (write.arguments, write.set_env) == (("--permission-mode", "acceptEdits"), (("MODE", "write"),))
    assert invoke.profile("full") is None


SO_FAR = "command: x\noutput:\n  format: {format}\n  so_far:\n    cost_usd: total(out[].usd)\n"


@pytest.mark.parametrize(
    ("text", "streams"),
    [
        (SO_FAR.format(format="jsonl"), True),
        ("command: x\n", False),
        (
            "invoke: {kind: http, protocol: openai, base_url: 'https://api.example.org'}\ncost: {tier: free, model: m}\n",
            True,
        ),
        ("invoke: {kind: human}\n", False),
    ],
    ids=["it tells", "it does not", "an API always", "a person never"],
)
def test_whether_a_budget_can_end_it_in_the_middle(text, streams):
    """A command says where it tells its cost while it runs."""
    assert parsed(f"---\nname: upper\n{text}---\n# Upper\n").streams is streams


def test_one_value_at_the_end_tells_nothing_while_it_runs():
    """That is a warning, since nobody would notice."""
    assert parsed(f"---\nname: upper\n{SO_FAR.format(format='jsonl')}---\n# Upper\n").warnings == ()
    (warning,) = parsed(f"---\nname: upper\n{SO_FAR.format(format='json')}---\n# Upper\n").warnings
    assert "`output.so_far` finds nothing" in warning


def test_the_full_form_says_how_to_read():
    """The expressions are kept as they were written, in the order they were written."""
    output = parsed(FULL, "claude_code.md").output
    assert (output.format, output.usage_scope, output.cost_scope) == (OutputFormat.JSONL, "run", "session")
    assert [name for name, _ in output.usage] == ["input_tokens"]
    assert (output.cost_usd, output.model) == ("out[-1].total_cost_usd", "out[0].model")
    assert output.client_session == "out[0].session_id"
    assert output.errors[-1] == ErrorRule(kind="transient")
    assert output.errors[0].resets_at == "out[?type == 'rate_limit_event'] | [-1].rate_limit_info.resetsAt"


@pytest.mark.parametrize(
    "text",
    [
        upper("command: tr a-z A-Z"),
        upper("command: [tr, a-z, A-Z]"),
        upper("invoke: {kind: command, command: [tr, a-z, A-Z]}"),
        upper("invoke:", "  command: tr 'a-z' A-Z"),
        upper("type: tool", body="# Upper\n\n## How to Invoke\n\n```sh\ntr a-z A-Z\n```\n"),
        upper(body="## How to invoke\n~~~\n$ tr a-z \\\n   A-Z\n~~~"),
        upper("command: tr a-z A-Z").replace("\n", "\r\n"),
        "\N{ZERO WIDTH NO-BREAK SPACE}" + upper("command: tr a-z A-Z"),
    ],
)
def test_a_program_of_ones_own_takes_a_name_and_a_command(text):
    """Each way to write it is the same interface: a free local tool that is given the prompt on stdin."""
    spec = parsed(text)
    assert (spec.invoke.kind, spec.invoke.prompt) == (InvokeKind.COMMAND, PromptBy.STDIN)
    assert spec.invoke.command == ("tr", "a-z", "A-Z")
    assert (spec.type, spec.cost.tier, spec.status) == (InterfaceType.TOOL, Tier.FREE, Availability.AVAILABLE)
    assert (spec.capabilities, spec.output.format, spec.output.ok, spec.warnings) == ((), OutputFormat.TEXT, None, ())


@pytest.mark.parametrize(
    ("keys", "kind", "tier"),
    [
        (("type: tool",), InterfaceType.TOOL, Tier.FREE),
        (("auth: none",), InterfaceType.TOOL, Tier.FREE),
        (("type: llm",), InterfaceType.LLM, Tier.FREE),
        (("auth: oauth",), InterfaceType.LLM, Tier.SUBSCRIPTION),
        (("auth: {method: API-Key}",), InterfaceType.LLM, Tier.PAID),
        (("type: tool", "auth: api_key"), InterfaceType.TOOL, Tier.FREE),
        (("account: mine",), InterfaceType.LLM, Tier.FREE),
        (("models: small, large",), InterfaceType.LLM, Tier.FREE),
        (("cost: {input_per_million: 3}",), InterfaceType.LLM, Tier.PAID),
        (("cost: {output_per_million: 3}", "auth: oauth"), InterfaceType.LLM, Tier.SUBSCRIPTION),
        (("cost: fallback",), InterfaceType.TOOL, Tier.FALLBACK),
        (("cost: {tier: paid}", "auth: none"), InterfaceType.TOOL, Tier.PAID),
    ],
)
def test_type_and_tier_follow_from_what_is_named(keys, kind, tier):
    """Without a `cost`, tools and what needs no login are free, oauth is a subscription, a key or a price is paid."""
    spec = parsed(upper("command: x", *keys))
    assert (spec.type, spec.cost.tier) == (kind, tier)


DAILY = Window(unit="tokens", amount=Decimal(10**6), per="day", per_seconds=86_400.0)
WEEKLY = Window(unit="messages", amount=Decimal(7), per="week", per_seconds=604_800.0)
AT_MIDNIGHT = Window(unit="messages", amount=Decimal(3), per="day", per_seconds=86_400.0, resets="00:00 UTC")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("{requests_per_day: 1500}", Limits(messages_per_day=1500)),
        ("{messages_per_day: 1_500}", Limits(messages_per_day=1500)),
        ("{messages_per_minute: 5}", Limits(requests_per_minute=5)),
        ("{messages_per_day: none, concurrent: none}", Limits()),
        ("none", Limits()),
        ("{tokens_per_day: 1M}", Limits(windows=(DAILY,))),
        ("{requests_per_week: 7}", Limits(windows=(WEEKLY,))),
        ("{windows: [{requests: 3, per: Day, resets: '00:00 UTC'}]}", Limits(windows=(AT_MIDNIGHT,))),
    ],
)
def test_a_limit_may_be_named_by_messages_or_by_requests(limits, expected):
    """Both names mean one thing, `none` means no limit, and other periods are windows."""
    assert parsed(upper("command: x", f"limits: {limits}")).limits == expected


@pytest.mark.parametrize(
    ("command", "by"),
    [("x", PromptBy.STDIN), ("[x, '{prompt}']", PromptBy.ARGUMENT), ("x --file={prompt_file}", PromptBy.FILE)],
)
def test_the_way_of_the_prompt_follows_from_the_command(command, by):
    """A placeholder says it; without one the prompt goes in on stdin; saying it again is no fault."""
    assert parsed(upper(f"command: {command}")).invoke.prompt is by
    assert parsed(upper(f"command: {command}", f"invoke: {{prompt: {by}}}")).invoke.prompt is by


def test_a_tool_is_a_function_and_other_kinds_keep_their_own_keys():
    """The keys of kinds that have more to say are kept for their adapters, without a warning."""
    tool = parsed(upper("invoke: {function: librarian}")).invoke
    assert (tool.kind, tool.function, tool.command) == (InvokeKind.TOOL, "librarian", ())
    server = parsed(upper("invoke: {kind: mcp, url: 'http://localhost:11434/mcp', tool: ask}"))
    assert server.invoke.options == (("url", "http://localhost:11434/mcp"), ("tool", "ask"))
    assert server.warnings == ()


def test_what_a_client_needs_beyond_its_arguments_has_keys_of_its_own():
    """Its longest prompt, a session of our choice, files it reads, its silence, and what it refuses to root."""
    spec = parsed(
        upper(
            "limits: {prompt_characters: 1_048_576}",
            "invoke:",
            "  command: [x, '{resume}', -]",
            "  resume: [-s, '{client_session}']",
            "  session: [-n, '{new_session}']",
            "  inactivity: 10m",
            "  files: {.x/settings.json: '{}', b: c}",
            "  refuse_workspace_with: .x/plugins, x.json",
            "  permissions: {full: {arguments: --all, not_as_root: yes}}",
        )
    )
    full = spec.invoke.profile("full")
    assert spec.limits.prompt_characters == 1_048_576
    assert (spec.invoke.session, spec.invoke.inactivity_seconds) == (("-n", "{new_session}"), 600.0)
    assert spec.invoke.files == ((".x/settings.json", "{}"), ("b", "c"))
    assert spec.invoke.refuse_workspace_with == (".x/plugins", "x.json")
    assert full is not None
    assert (full.arguments, full.not_as_root, spec.warnings) == (("--all",), True, ())


@pytest.mark.parametrize(
    ("invoke", "says"),
    [
        ("{command: [x, '{client_session}'], resume: y}", "move {client_session} with its option to `invoke.resume`"),
        ("{command: [x, '{new_session}']}", "move {new_session} with its option to `invoke.session`"),
        ("{command: [x, '{resume}']}", "{resume} is the place of the arguments of `invoke.resume`"),
        ("{command: [x, '{resume}', '{resume}'], resume: y}", "it stands there once"),
        ("{command: [x, '{files}/a']}", "`invoke.files` is missing"),
        ("{command: x, files: {../a: b}}", "the path of a file"),
        ("{command: x, files: {a/../../b: c}}", "the path of a file"),
        ("{command: x, files: {/a: b}}", "the path of a file"),
        ("{command: x, files: {a/: b}}", "the path of a file"),
        ("{command: x, refuse_workspace_with: ../a}", "the path of a file"),
    ],
)
def test_a_placeholder_in_the_wrong_place_is_a_fault(invoke, says):
    """It would reach the program as it stands, or nothing would stand in its place."""
    assert says in fault(upper(f"invoke: {invoke}")).message


@pytest.mark.parametrize(
    ("command", "session", "expected"),
    [
        ("[x]", None, ("x", "-p", "-m", "big", "-n", "new")),
        ("[x]", "s-1", ("x", "-p", "-m", "big", "-s", "s-1")),
        ("[x, '{resume}', run]", None, ("x", "-n", "new", "run", "-p", "-m", "big")),
        ("[x, '{resume}', run]", "s-1", ("x", "-s", "s-1", "run", "-p", "-m", "big")),
    ],
)
def test_the_session_stands_in_its_place_or_at_the_end(command, session, expected):
    """A fresh run has the name we gave it, a resumed one its own."""
    spec = parsed(
        upper(
            "cost: {model: big}",
            "invoke:",
            f"  command: {command}",
            "  model: [-m, '{model}']",
            "  resume: [-s, '{client_session}']",
            "  session: [-n, '{new_session}']",
            "  permissions: {read: -p}",
        )
    )
    profile = spec.invoke.profile("read")
    made = arguments(spec.invoke, profile=profile, model="big", client_session=session, new_session="new")
    assert made == expected


API = "auth: {method: api_key, env: K}\ncost: {model: m}\ninvoke: "


def test_an_api_is_a_protocol_and_an_address():
    """What a call needs is in the file; the two protocols know their own provider's address."""
    endpoint = parsed(upper(API + "{protocol: OpenAI, base_url: 'http://127.0.0.1:11434/v1/', base_url_env: U}")).invoke
    assert endpoint.kind is InvokeKind.HTTP
    assert endpoint.endpoint == Endpoint(
        protocol=HttpProtocol.OPENAI, base_url="http://127.0.0.1:11434/v1", base_url_env="U"
    )
    longer = parsed(upper(API + "{protocol: anthropic, max_output_tokens: 8k, system: Be brief.}")).invoke.endpoint
    assert longer is not None
    assert (longer.base_url, longer.max_output_tokens, longer.system) == (
        "https://api.anthropic.com",
        8000,
        "Be brief.",
    )


@pytest.mark.parametrize(
    ("front", "says"),
    [
        ("cost: {model: m}\ninvoke: {kind: http}", "`invoke.protocol` is missing"),
        ("invoke: {protocol: openai}", "`cost.model` is missing"),
        ("auth: api_key\ncost: {model: m}\ninvoke: {protocol: openai}", "`auth.env` is missing"),
        (API + "{protocol: smtp}", "one of openai, anthropic"),
        (API + "{protocol: openai, base_url: api.openai.com}", "the address of a server"),
        (API + "{protocol: openai, base_url: 'https://ann:secret@host/v1'}", "the address of a server"),
        (API + "{protocol: openai, base_url: 'https://host/v1?key=secret'}", "the address of a server"),
        (API + "{protocol: openai, base_url: 'https://host:port/v1'}", "the address of a server"),
    ],
)
def test_an_api_that_cannot_be_called_is_a_fault(front, says):
    """Said when the file is read, not at the first task."""
    assert says in fault(upper(front)).message


def test_a_misspelt_key_of_an_api_is_said():
    """Its keys are known here, so a key that is not one of them is a mistake."""
    assert "`base_url`" in " ".join(parsed(upper(API + "{protocol: openai, baseurl: 'http://h/v1'}")).warnings)


def test_the_argument_list_is_built_in_one_order():
    """Command, permission profile, model, session."""
    invoke = parsed(FULL, "claude_code.md").invoke
    added = ("--permission-mode", "plan", "--model", "opus", "--resume", "s1")
    full = arguments(invoke, profile=invoke.profile("read"), model="opus", client_session="s1", prompt="p")
    assert full == (*invoke.command, *added)
    assert arguments(invoke) == invoke.command


def test_a_prompt_that_names_a_placeholder_is_left_as_it_is():
    """Placeholders are filled in one pass, and braces of the program's own stay."""
    invoke = parsed(upper("command: [x, '-p={prompt}', '{print $1}']")).invoke
    assert arguments(invoke, prompt="say {model}") == ("x", "-p=say {model}", "{print $1}")


@pytest.mark.parametrize(
    ("hint", "model"),
    [
        (None, "claude-sonnet-4-5"),
        ("Haiku", "claude-haiku-4-5"),
        ("claude-haiku-4-5", "claude-haiku-4-5"),
        ("gpt-9", "claude-sonnet-4-5"),
    ],
)
def test_a_model_hint_is_followed_where_it_is_known(hint, model):
    """A hint meant for another interface does not make this one fail."""
    spec = parsed(FULL, "claude_code.md")
    assert spec.model_for(hint) == model
    assert hint is None or spec.knows_model(hint) == (hint != "gpt-9")


def test_an_interface_without_a_list_of_models_takes_any_hint():
    """Where the author lists none, the person knows."""
    spec = parsed(upper("command: x"))
    assert (spec.model_for("anything"), spec.model_for(None)) == ("anything", None)


def test_an_interface_answers_to_its_names_as_people_write_them():
    """Case, blanks and dashes do not matter, for the name and for its aliases."""
    spec = parsed(FULL, "claude-code.md")
    assert all(map(spec.answers_to, ("Claude Code", "claude-code", "CLAUDE", "claude_code")))
    assert not spec.answers_to("codex")


WINDOWS = ("limits:", "  windows:")


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("# Notes\n", 1, None, "it has no front matter: begin it with a line of three dashes"),
        ("---\nname: upper\n", 1, None, "never closed"),
        ("---\ntype: tool\n---\n", None, "name", "`name` is missing: add it"),
        (upper("type: robot"), 3, "type", "`type` is `robot`, but must be one of llm, tool, service"),
        (upper("status: on"), 3, "status", "must be one of available, limited, offline"),
        (upper("capabilities: [[a]]"), 3, "capabilities[0]", "`capabilities[0]` is a list, but must be text"),
        (upper("command: x", "cost:", "  tier: cheap"), 5, "cost.tier", "must be one of free, subscription, paid"),
        (upper("cost: {input_per_million: much}"), 3, "cost.input_per_million", "must be US dollars"),
        (upper("limits:", "  concurrent: many"), 4, "limits.concurrent", "must be a whole number"),
        (upper("limits:", "  concurrent: 0"), 4, "limits.concurrent", "must be a whole number"),
        (upper("limits: fast"), 3, "limits", "`limits` is `fast`, but must be keys of its own"),
        (upper("limits: {requests_per_day: 1, messages_per_day: 2}"), 3, "limits", "are the same limit: keep one"),
        (upper(*WINDOWS, "    - {messages: 1, per: 5h}", "    - {per: day}"), 6, "limits.windows[1]", "needs one of"),
        (upper(*WINDOWS, "    - {messages: 1, per: often}"), 5, "limits.windows[0].per", "must be minute, hour, day"),
        (upper(*WINDOWS, "    - {usd: 1, per: day, resets: x}"), 5, "limits.windows[0].resets", "a time such as 00:00"),
        (upper(*WINDOWS, "    - daily"), 5, "limits.windows[0]", "must be keys of its own"),
        (upper("auth: {env: X}"), 3, "auth.method", "`auth.method` is missing"),
        (upper("auth: {method: oauth, env: A=b}"), 3, "auth.env", "must be the name of an environment variable"),
        (upper("good_at: {code: 80}"), 3, "good_at.code", "`good_at.code` is `80`, but must be a number not above 1"),
        (upper("good_at: {code: well}"), 3, "good_at.code", "must be a number"),
        (upper("idempotent: maybe"), 3, "idempotent", "must be true or false"),
        (upper("timeout: [30m]"), 3, "timeout", "`timeout` is a list, but must be a duration"),
        (upper("timeout: {a: b}"), 3, "timeout", "`timeout` is a map, but must be a duration"),
        (upper("timeout: soon"), 3, "timeout", "must be a duration such as 30m"),
        (upper("aliases: 1st"), 3, "aliases[0]", "must be a letter, then letters"),
        (upper("output: {ok: 'out['}"), 3, "output.ok", "not JMESPath at character 5: it ends too early"),
        (upper("output: {format: json, text: result}"), 3, "output.text", "`result` is not one of out, err"),
        (upper("command: x", "output:", "  text: out.a"), 4, "output.format", "`output.format` is missing: say json"),
        (
            upper("errors:", "  - kind: auth", "  - kind: angry"),
            5,
            "errors[1].kind",
            "must be one of quota, rate_limit",
        ),
        (upper("errors: oops"), 3, "errors", "`errors` is `oops`, but must be a list"),
        (upper("errors:", "  - when: nope(out)", "    kind: quota"), 4, "errors[0].when", "no function `nope`"),
        (upper(), None, "invoke.command", "`invoke.command` is missing: name the program"),
        (upper("invoke: {kind: command}"), 3, "invoke.command", "`invoke.command` is missing"),
        (upper("command: '  '"), 3, "invoke.command", "`invoke.command` is missing"),
        (upper("invoke: {kind: tool}"), 3, "invoke.function", "`invoke.function` is missing"),
        (upper("command: x", "invoke: {command: y}"), 3, "command", "both name a program: keep one"),
        (upper("command: 'x \"y'"), 3, "command", "No closing quotation"),
        (upper("command: x {prompt} {prompt_file}"), 3, "invoke.command", "both {prompt} and {prompt_file}"),
        (upper("command: x", "invoke: {prompt: argument}"), 4, "invoke.prompt", "add {prompt} to the command"),
        (upper("command: x", "invoke: {prompt: file}"), 4, "invoke.prompt", "add {prompt_file} to the command"),
        (upper("command: x {prompt}", "invoke: {prompt: stdin}"), 4, "invoke.prompt", "take {prompt} out of"),
        (upper("command: x {client_session}"), 3, "invoke.command", "move {client_session} with its option"),
        (upper("command: x {model}"), None, "cost.model", "`cost.model` is missing: the command holds {model}"),
        (upper("command: x", "name: upper"), 4, None, "`name` stands twice"),
        (upper("command: !!python/object x"), 3, None, "tags are not read"),
        (b"---\nname: upper\ncommand: \xff\n---\n", 3, None, "it is not UTF-8 text"),
        (b"x" * (MAX_FILE_BYTES + 1), None, None, "an interface file has at most"),
    ],
)
def test_a_fault_names_the_file_the_line_the_key_and_the_way_out(text, line, field, words):
    """One sentence tells a person what to change, and its parts are there for a program."""
    found = fault(text)
    assert (found.file_name, found.line, found.field) == ("upper.md", line, field)
    assert words in found.message
    assert found.message.startswith("upper.md: " if line is None else f"upper.md, line {line}: ")


def test_several_faults_are_counted():
    """The first is told whole, and that there are more."""
    assert "(and 2 more below)" in fault(upper("type: robot", "status: on", "timeout: soon")).message


def test_a_name_that_differs_from_the_file_is_a_fault_that_names_both():
    """Either may be the slip, so both stand in the message."""
    found = fault(upper("command: x"), "lower.md")
    assert "`name` is `upper`, but the file is called `lower.md`" in found.message
    assert (found.line, found.field, found.found, found.allowed) == (2, "name", "upper", "lower")


def test_a_fault_tells_found_and_allowed_apart():
    """A page or an editor can show them in columns."""
    found = fault(upper("status: broken"))
    assert (found.found, found.allowed) == ("`broken`", "one of available, limited, offline")


UNKNOWN = "is not a key known here and was ignored"


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        (("capabilites: [a]",), f"line 4: `capabilites` {UNKNOWN}; did you mean `capabilities`?"),
        (("favourite_colour: red",), f"line 4: `favourite_colour` {UNKNOWN}"),
        (
            ("limits:", "  message_per_day: 3"),
            f"line 5: `limits.message_per_day` {UNKNOWN}; did you mean `messages_per_day`?",
        ),
        (("errors:", "  - {kind: auth, wen: out}"), f"line 5: `errors[0].wen` {UNKNOWN}; did you mean `when`?"),
        (("invoke: {timeout: 3}",), f"line 4: `invoke.timeout` {UNKNOWN}"),
        (("invoke:", "  permissions:", "    read: {args: [x]}"), f"line 6: `invoke.permissions.read.args` {UNKNOWN}"),
        (
            ("errors: [{kind: auth}, {kind: quota, when: out}]",),
            "a rule under `errors` without `when` holds always: the rules below it are never reached",
        ),
    ],
)
def test_what_nobody_reads_is_a_warning(keys, warning):
    """A misspelt key neither stops the interface nor goes unseen."""
    assert parsed(upper("command: x", *keys)).warnings == (warning,)


def test_a_misspelt_placeholder_is_a_warning():
    """`{promt}` would reach the program as it stands; braces of another program's own are none of our business."""
    spec = parsed(upper("command: [x, '{promt}', '{print}', '{prompt}']"))
    assert spec.warnings == ("`{promt}` reaches the program as it stands; did you mean {prompt}?",)


def test_a_second_fence_is_not_read_and_said():
    """The first fenced block is the command; an example of its output below is only mentioned."""
    spec = parsed(upper(body="## How to Invoke\n```\nx y\n```\nprints\n```\nhello\n```\n"))
    assert spec.invoke.command == ("x", "y")
    assert spec.warnings == (
        "only the first fenced block under `## How to Invoke` is the command; 1 more were not read",
    )


def test_the_line_of_a_faulty_fence_is_its_line_in_the_file():
    """The person looks for it in an editor, not below the front matter."""
    found = fault(upper(body="# Upper\n\n## How to Invoke\n\n```\ntr a-z A-Z | rev\n```\n"))
    assert (found.line, found.found) == (9, "tr a-z A-Z | rev")


@given(st.text(max_size=300))
def test_any_text_whatever_gives_an_interface_or_a_fault(text):
    """Nothing a person may type into the front matter makes the reader fail."""
    found = parse_interface("upper.md", f"---\nname: upper\n{text}\n---\n".encode("utf-8", "surrogatepass"))
    assert isinstance(found, InterfaceSpec | InterfaceFault)


@given(st.binary(max_size=300))
def test_any_bytes_whatever_give_an_interface_or_a_fault(data):
    """Nor does a file of any other kind."""
    assert isinstance(parse_interface("upper.md", data), InterfaceSpec | InterfaceFault)
