"""InterfaceSpec: what tools/interfaces/NAME.md declares about who can do work. Values only; the file is read in interface_file."""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from brain_daemon.model.ids import normal_name

DEFAULT = "default"
"""The name in `good_at` and in floors that stands for every task type not named there."""

PLACEHOLDER = re.compile(r"\{(?:prompt|prompt_file|model|client_session|new_session|files)\}")
"""What an argument may hold; any other braces belong to the program."""

RESUME = "{resume}"
"""The argument of a command in whose place the arguments of `resume` or `session` stand; without it they come last."""

FILES = "{files}"
"""The folder with what `files` declares, the interface's own; the values of `set_env` may hold it too."""

Scope = Literal["run", "session"]


class InterfaceType(StrEnum):
    """What stands behind the interface: a language model, a program, or somebody else's service."""

    LLM = "llm"
    TOOL = "tool"
    SERVICE = "service"


class Availability(StrEnum):
    """What the author says; `limited` ranks last, `offline` is never used."""

    AVAILABLE = "available"
    LIMITED = "limited"
    OFFLINE = "offline"


class Tier(StrEnum):
    """The rungs of the cost ladder, in their usual order."""

    FREE = "free"
    SUBSCRIPTION = "subscription"
    PAID = "paid"
    FALLBACK = "fallback"


class InvokeKind(StrEnum):
    """The adapter that speaks to it."""

    COMMAND = "command"
    HTTP = "http"
    TOOL = "tool"
    FILE_DROP = "file_drop"
    HUMAN = "human"
    MCP = "mcp"


class HttpProtocol(StrEnum):
    """The language an API speaks: OpenAI's chat completions, which many servers speak too, or Anthropic's messages."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class AuthMethod(StrEnum):
    """How it knows who pays."""

    NONE = "none"
    API_KEY = "api_key"
    OAUTH = "oauth"


class PromptBy(StrEnum):
    """How a program is given the prompt: on stdin, as the argument {prompt}, or as a file named by {prompt_file}."""

    STDIN = "stdin"
    ARGUMENT = "argument"
    FILE = "file"


class OutputFormat(StrEnum):
    """What a program prints: one JSON value, one JSON object a line, or text."""

    JSON = "json"
    JSONL = "jsonl"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A quota over time: `amount` of `unit` (messages, tokens, usd) in `per_seconds`, the same as `per` says in words.

    `per_seconds` is None for `month`, whose length the calendar knows. `resets` is the provider's own reset rule
    (`00:00 UTC`, `Mon 00:00 America/Los_Angeles`); None means the window slides or nobody said.
    """

    unit: str
    amount: Decimal
    per: str
    per_seconds: float | None = None
    resets: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None is no limit. A limit over any other period than the ones named here is one of `windows`.

    `prompt_characters` is the length of input that the program itself refuses, whatever the model could read.
    """

    messages_per_day: int | None = None
    tokens_per_request: int | None = None
    prompt_characters: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """`config_location` is a file whose text is the secret, `secret_command` prints it; the child gets it as `env`.

    `check` exits with 0 while somebody is logged in, `login` is what a person types to log in.
    """

    method: AuthMethod = AuthMethod.NONE
    config_location: str | None = None
    env: str | None = None
    secret_command: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    login: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSpec:
    """What a token costs here; None prices are looked up by model or stay unknown. `model` runs when a task names none.

    `provider` says whose list price counts, where the model's name alone would not tell.
    """

    tier: Tier
    model: str | None = None
    provider: str | None = None
    input_per_million: Decimal | None = None
    cached_input_per_million: Decimal | None = None
    output_per_million: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an API is and what is asked of it. `base_url_env` names a variable that goes before `base_url` where it is set.

    `max_output_tokens` bounds an answer; None leaves it to the server, or to the adapter where the protocol wants a number.
    """

    protocol: HttpProtocol
    base_url: str
    base_url_env: str | None = None
    max_output_tokens: int | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one level of permission (read, write, full) adds to a call; `not_as_root` if the program refuses it to root."""

    name: str
    arguments: tuple[str, ...] = ()
    set_env: tuple[tuple[str, str], ...] = ()
    not_as_root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoke:
    """How to call it. Arguments may hold the names of PLACEHOLDER in braces; other braces are the program's.

    The argument list is `command`, the profile's arguments, `model` where a model was chosen, and `resume` where a session is
    resumed or else `session`, in that order (`arguments` below). `env` names variables handed on from the daemon's own
    environment. `files` are names and texts of files that the program finds in the folder {files}.
    `refuse_workspace_with` are paths below a workspace that the program would run or obey whatever it is told. Silence for
    `inactivity_seconds` ends a run; None leaves that to the settings. `function` is the entry point of a `tool`, `endpoint`
    the server of `http`; `options` keeps the keys of the kinds that have more to say (mcp, ...).
    """

    kind: InvokeKind
    command: tuple[str, ...] = ()
    prompt: PromptBy = PromptBy.STDIN
    model: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    refuse_workspace_with: tuple[str, ...] = ()
    inactivity_seconds: float | None = None
    env: tuple[str, ...] = ()
    set_env: tuple[tuple[str, str], ...] = ()
    check: tuple[str, ...] = ()
    permissions: tuple[Profile, ...] = ()
    function: str | None = None
    endpoint: Endpoint | None = None
    options: tuple[tuple[str, object], ...] = ()

    def profile(self, name: str) -> Profile | None:
        """The declared profile for a level of permission; None where the author declared none."""
        return next((profile for profile in self.permissions if profile.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRule:
    """A sign of failure: JMESPath `when` (true means this rule holds; None means the default class) and what it tells."""

    kind: str
    when: str | None = None
    message: str | None = None
    resets_at: str | None = None
    retry_after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRule:
    """Where a program tells how much of its own quota `name` is used: a share from 0 to 1, or `used` of `limit`; each JMESPath."""

    name: str
    utilisation: str | None = None
    used: str | None = None
    limit: str | None = None
    resets_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRules:
    """How to read what came out; each value is a JMESPath expression over {out, err, stdout, stderr, exit_code, signal}.

    A scope of `session` says that a resumed session reports totals: the attempt is charged the difference. `so_far` says where
    a run that goes on tells what it has used and said, of this run alone: counts, `cost_usd`, `text`.
    """

    format: OutputFormat = OutputFormat.TEXT
    ok: str | None = None
    text: str | None = None
    usage: tuple[tuple[str, str], ...] = ()
    usage_scope: Scope = "run"
    cost_usd: str | None = None
    cost_scope: Scope = "run"
    model: str | None = None
    client_session: str | None = None
    so_far: tuple[tuple[str, str], ...] = ()
    limits: tuple[LimitRule, ...] = ()
    errors: tuple[ErrorRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceSpec:
    """One registered interface. `sha256` is the digest of the file's bytes: approvals are keyed by it."""

    name: str
    type: InterfaceType
    sha256: str
    invoke: Invoke
    cost: CostSpec
    status: Availability = Availability.AVAILABLE
    aliases: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    limits: Limits = Limits()
    auth: Auth = Auth()
    account: str | None = None
    models: tuple[tuple[str, str], ...] = ()
    good_at: tuple[tuple[str, float], ...] = ()
    idempotent: bool = False
    local: bool = False
    timeout_seconds: float | None = None
    output: OutputRules = field(default_factory=OutputRules)
    title: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def streams(self) -> bool:
        """Whether its cost can be seen growing, so that a budget ends a run in the middle."""
        return self.invoke.kind is InvokeKind.HTTP or (
            self.invoke.kind is InvokeKind.COMMAND and bool(self.output.so_far)
        )

    @property
    def has_check(self) -> bool:
        """Whether there is anything to look at beyond what the registry sees by itself."""
        return bool(
            self.invoke.check or self.auth.check or self.auth.secret_command or self.invoke.kind is InvokeKind.HTTP
        )

    def answers_to(self, name: str) -> bool:
        """Whether a person who writes `name`, in any case and with spaces or dashes, means this interface."""
        return normal_name(name) in (self.name, *self.aliases)

    def knows_model(self, hint: str) -> bool:
        """Whether `hint` is one of its models; one that lists no models knows them all."""
        names = (self.cost.model or "", *(name for pair in self.models for name in pair))
        return not self.models or hint.casefold() in map(str.casefold, names)

    def model_for(self, hint: str | None) -> str | None:
        """The model a call runs with: the hinted one where it is known here, else the default; None leaves it to the client."""
        if hint is None or not self.knows_model(hint):
            return self.cost.model
        return {name.casefold(): model for name, model in self.models}.get(hint.casefold(), hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceFault:
    """Why a file is not an interface, in one sentence with its next step. Lines count from 1; None where there is none."""

    file_name: str
    message: str
    line: int | None = None
    field: str | None = None
    found: str | None = None
    allowed: str | None = None


def arguments(
    invoke: Invoke,
    *,
    profile: Profile | None = None,
    model: str | None = None,
    client_session: str | None = None,
    new_session: str = "",
    prompt: str = "",
    prompt_file: str = "",
    files: str = "",
) -> tuple[str, ...]:
    """The argument list of one call. Nothing in it is ever read by a shell.

    A `client_session` of None starts afresh, under the name `new_session` where the program lets us choose one.
    """
    going_on = invoke.session if client_session is None else invoke.resume
    parts = list(invoke.command)
    parts += profile.arguments if profile else ()
    parts += invoke.model if model is not None else ()
    at = parts.index(RESUME) if RESUME in parts else len(parts)
    parts[at : at + 1] = going_on
    values = {
        "{prompt}": prompt,
        "{prompt_file}": prompt_file,
        "{model}": model or "",
        "{client_session}": client_session or "",
        "{new_session}": new_session,
        FILES: files,
    }
    return tuple(_filled(part, values) for part in parts)


def _filled(part: str, values: dict[str, str]) -> str:
    """`part` with its placeholders replaced in one pass, so that a prompt that holds a placeholder's name stays as it is."""
    return PLACEHOLDER.sub(lambda found: values[found[0]], part)
