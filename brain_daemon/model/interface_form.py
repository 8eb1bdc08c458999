"""The shape of an interface's front matter: every key, what it may hold, and what is said when it holds something else.

Values come in as text, lists and maps of text (model/frontmatter.py) and leave with their types. Shapes are judged here;
what the keys mean together is judged in model/interface_file.py. The JSON Schema for editors is made from these classes, so
the descriptions are read by people. A fault concerns one file and is never fatal.
"""

import re
import shlex
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.expression import fault_in
from brain_daemon.model.form import Flag, Form, Seconds, Word, Words, listed, read_as, under, worded
from brain_daemon.model.ids import INTERFACE_NAME, normal_name
from brain_daemon.model.interface import (
    AuthMethod,
    Availability,
    HttpProtocol,
    InterfaceType,
    InvokeKind,
    OutputFormat,
    PromptBy,
    Scope,
    Tier,
)
from brain_daemon.model.outcome import FailureKind
from brain_daemon.model.quantities import COUNT_ALLOWED, MONEY_ALLOWED, parse_count, parse_duration, parse_money

PERIODS: Mapping[str, float | None] = {
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86_400.0,
    "week": 604_800.0,
    "month": None,
}
"""The words of `per:` and their seconds; a month's length is the calendar's."""

ALSO: Mapping[str, str] = {
    "requests_per_day": "messages_per_day",
    "requests_per_hour": "messages_per_hour",
    "requests_per_week": "messages_per_week",
    "requests_per_month": "messages_per_month",
    "messages_per_minute": "requests_per_minute",
}
"""Other names of limits: a message and a request are one thing here."""

_MAX_COUNT = 10**15
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE_NAME = re.compile(r"(?:\.?[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}(?:/(?!$)|$)){1,4}")
_RESETS = re.compile(
    r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]* |[0-9]{1,2} )?(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?: \S+)?", re.IGNORECASE
)
_URL_ALLOWED = "the address of a server such as https://host/v1, without a name, a password or a question mark in it"
_NAME_ALLOWED = "a letter, then letters, digits and _, at most 64 together"


def _name(text: str) -> str:
    if INTERFACE_NAME.fullmatch(normal_name(text)) is None:
        raise ValueError(_NAME_ALLOWED)
    return normal_name(text)


def _variable(text: str) -> str:
    if _VARIABLE.fullmatch(text) is None:
        raise ValueError(text)
    return text


def _base_url(text: str) -> str:
    parts = urlsplit(text.strip())
    port_is_a_number = parts.port is None or parts.port > 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_a_number:
        raise ValueError(text)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(text)
    return text.strip().rstrip("/")


def _file_name(text: str) -> str:
    if _FILE_NAME.fullmatch(text) is None:
        raise ValueError(text)
    return text


def _answer_name(text: str) -> str:
    if "{task_id}" not in text or text == "{task_id}.md":
        raise ValueError(text)
    return _file_name(text.replace("{task_id}", "x")) and text


def _limit(text: str) -> int | None:
    count = parse_count(text)
    if count is not None and not 0 < count <= _MAX_COUNT:
        raise ValueError(text)
    return count


def _arguments(value: object) -> object:
    """A command as one text is cut where a shell would cut it; no shell ever sees it."""
    return shlex.split(value) if isinstance(value, str) else value


def _expression(text: str) -> str:
    fault = fault_in(text)
    if fault is not None:
        raise ValueError(f"`{clean_line(text, 300)}` cannot be used: {fault}")
    return text


def _period(text: str) -> str:
    word = normal_name(text)
    if word not in PERIODS:
        parse_duration(text)
    return word


def _resets(text: str) -> str:
    plain = " ".join(text.split())
    if _RESETS.fullmatch(plain) is None:
        raise ValueError(text)
    return plain


def _profile(value: object) -> object:
    return value if isinstance(value, Mapping) else {"arguments": value}


def _named_after_themselves(value: object) -> object:
    names = listed(value)
    return {name: name for name in names if isinstance(name, str)} if isinstance(names, list) else names


def _renamed(values: Any, also: Mapping[str, str]) -> Any:
    """`values` with the other names of keys replaced; one thing said under two names is a fault."""
    if not isinstance(values, Mapping):
        return values
    for other, name in also.items():
        if other in values and name in values:
            raise ValueError(f"`{other}` and `{name}` are the same limit: keep one")
    return {also.get(key, key): value for key, value in values.items()}


Name = Annotated[str, BeforeValidator(read_as(_name, _NAME_ALLOWED)), WithJsonSchema({"type": "string"})]
Names = Annotated[tuple[Name, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]
Variable = Annotated[
    str, BeforeValidator(read_as(_variable, "the name of an environment variable; values belong under `set_env`"))
]
Variables = Annotated[tuple[Variable, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]
Url = Annotated[str, BeforeValidator(read_as(_base_url, _URL_ALLOWED))]
FileName = Annotated[
    str,
    BeforeValidator(
        read_as(_file_name, "the path of a file: letters, digits, `.`, `_` and `-`, with `/` between folders")
    ),
]
AnswerName = Annotated[
    str, BeforeValidator(read_as(_answer_name, "the name of a file that holds {task_id} and is not {task_id}.md"))
]
FileNames = Annotated[tuple[FileName, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]
Arguments = Annotated[tuple[str, ...], BeforeValidator(_arguments, json_schema_input_type=str | list[str])]
Expression = Annotated[str, AfterValidator(_expression)]
Values = Annotated[
    dict[Variable, str],
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}),
]
Limit = Annotated[
    int | None,
    BeforeValidator(read_as(_limit, COUNT_ALLOWED)),
    WithJsonSchema({"type": ["integer", "string", "null"], "minimum": 1, "description": COUNT_ALLOWED}),
]
Dollars = Annotated[
    Decimal,
    BeforeValidator(read_as(parse_money, MONEY_ALLOWED)),
    WithJsonSchema({"type": ["number", "string"], "minimum": 0, "description": MONEY_ALLOWED}),
]
Share = Annotated[float, Field(ge=0, le=1)]
Shares = dict[Word, Share]


class WindowForm(Form):
    """A quota over time. One of messages, tokens and usd says how much."""

    messages: Limit = None
    tokens: Limit = None
    usd: Dollars | None = None
    per: Annotated[str, BeforeValidator(read_as(_period, "minute, hour, day, week, month or a duration such as 5h"))]
    resets: (
        Annotated[str, BeforeValidator(read_as(_resets, "a time such as 00:00 UTC or Mon 00:00 America/Los_Angeles"))]
        | None
    ) = None

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, values: Any) -> Any:
        return _renamed(values, {"requests": "messages"})

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if sum(amount is not None for amount in (self.messages, self.tokens, self.usd)) != 1:
            raise ValueError("a window needs one of messages, tokens and usd, as in {messages: 200, per: 5h}")
        return self


class LimitsForm(Form):
    """What the provider allows; a number or none. requests_per_... and messages_per_... mean the same."""

    messages_per_day: Limit = None
    tokens_per_request: Limit = None
    prompt_characters: Limit = None
    requests_per_minute: Limit = None
    tokens_per_minute: Limit = None
    concurrent: Limit = None
    messages_per_hour: Limit = None
    messages_per_week: Limit = None
    messages_per_month: Limit = None
    tokens_per_hour: Limit = None
    tokens_per_day: Limit = None
    tokens_per_week: Limit = None
    tokens_per_month: Limit = None
    windows: tuple[WindowForm, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, values: Any) -> Any:
        return {} if values == "none" else _renamed(values, ALSO)


class AuthForm(Form):
    """How the interface knows who you are; the method alone may stand here as a word."""

    method: Annotated[AuthMethod, BeforeValidator(worded)]
    config_location: str | None = Field(
        default=None, description="a file whose text is the secret, such as ~/.brain-secrets/NAME"
    )
    env: Variable | None = Field(
        default=None, description="the environment variable in which the program expects the secret"
    )
    secret_command: Arguments = Field(
        default=(),
        description="a command that prints the secret on one line, such as [pass, show, NAME]; no shell reads it",
    )
    check: Arguments = Field(default=(), description="a quick command that exits with 0 while you are logged in")
    login: str | None = Field(default=None, description="what a person types to log in, for the question to them")


class CostForm(Form):
    """What work costs here; the tier alone may stand here as a word. Prices are US dollars for a million tokens."""

    tier: Annotated[Tier | None, BeforeValidator(worded)] = None
    model: str | None = Field(
        default=None, description="the model that runs when a task names none, and by which prices are looked up"
    )
    provider: str | None = Field(
        default=None, description="whose list prices count, such as openai, anthropic, google, openrouter"
    )
    input_per_million: Dollars | None = None
    cached_input_per_million: Dollars | None = None
    output_per_million: Dollars | None = None


class ProfileForm(Form):
    """What one level of permission adds to the call; the arguments alone may stand here as a list."""

    arguments: Arguments = ()
    set_env: Values = Field(default_factory=dict)
    not_as_root: Flag = Field(default=False, description="whether the program refuses this level to root")


class PermissionsForm(Form):
    """The three levels a task may ask for. A level that is not declared adds nothing."""

    read: Annotated[
        ProfileForm | None, BeforeValidator(_profile, json_schema_input_type=str | list[str] | ProfileForm)
    ] = None
    write: Annotated[
        ProfileForm | None, BeforeValidator(_profile, json_schema_input_type=str | list[str] | ProfileForm)
    ] = None
    full: Annotated[
        ProfileForm | None, BeforeValidator(_profile, json_schema_input_type=str | list[str] | ProfileForm)
    ] = None


class InvokeForm(Form):
    """How to call it. Arguments may hold {prompt}, {prompt_file}, {model}, {client_session}, {new_session} and {files}."""

    kind: Annotated[InvokeKind | None, BeforeValidator(worded)] = Field(
        default=None, description="command if a command is given, tool if a function is, http if a protocol is"
    )
    command: Arguments = Field(default=(), description="the program and its arguments; never read by a shell")
    prompt: Annotated[PromptBy | None, BeforeValidator(worded)] = Field(
        default=None, description="stdin unless the command holds {prompt} or {prompt_file}"
    )
    model: Arguments = Field(default=(), description="arguments added when a model is chosen")
    resume: Arguments = Field(
        default=(), description="arguments added when a session is resumed: in the place of {resume}, else at the end"
    )
    session: Arguments = Field(
        default=(), description="arguments that give a fresh run a session of our choice, {new_session}, a UUID"
    )
    files: dict[FileName, str] = Field(
        default_factory=dict, description="files the program finds in the folder {files}: name and text"
    )
    refuse_workspace_with: FileNames = Field(
        default=(),
        description="files and folders that the program would run or obey: a workspace with one of them is refused, unless a task may do everything",
    )
    inactivity: Seconds | None = Field(
        default=None, description="the longest silence; without it, the setting `inactivity`"
    )
    env: Variables = Field(
        default=(), description="variables handed on from the daemon's environment; nothing else passes"
    )
    set_env: Values = Field(default_factory=dict, description="variables with the values they are given")
    check: Arguments = Field(
        default=(), description="a quick command that exits with 0 where the program is there and ready"
    )
    permissions: PermissionsForm = PermissionsForm()
    function: str | None = Field(
        default=None, description="kind tool: a function of the package or the name of an entry point"
    )
    protocol: Annotated[HttpProtocol | None, BeforeValidator(worded)] = Field(
        default=None, description="kind http: the language the server speaks"
    )
    base_url: Url | None = Field(default=None, description="kind http: the address of the server")
    base_url_env: Variable | None = Field(
        default=None, description="kind http: a variable that goes before base_url where it is set"
    )
    max_output_tokens: Limit = None
    system: str | None = Field(default=None, description="kind http: what the model is told before the prompt")
    folder: str | None = Field(
        default=None,
        description="kind file_drop: the shared folder into which requests are put, such as ~/Claude/inbox",
    )
    answer_file: AnswerName | None = Field(
        default=None, description="kind file_drop: the name of the answer's file; {task_id}.answer.md unless given"
    )
    answer_folder: str | None = Field(
        default=None, description="kind file_drop: the folder in which answers appear; the same one unless given"
    )


class UsageForm(Form):
    """Where the counts stand; input_tokens is all input, cached included."""

    input_tokens: Expression | None = None
    cached_input_tokens: Expression | None = None
    output_tokens: Expression | None = None
    reasoning_tokens: Expression | None = None
    requests: Expression | None = None


class SoFarForm(Form):
    """Where a run that goes on tells what it has used, by itself and not with the session before it."""

    input_tokens: Expression | None = None
    cached_input_tokens: Expression | None = None
    output_tokens: Expression | None = None
    cost_usd: Expression | None = None
    text: Expression | None = Field(
        default=None, description="what it has said; its tokens are counted where output_tokens tells fewer"
    )


class LimitReportForm(Form):
    """Where the program tells how much of one of its quotas is used: a share, or so much of so much."""

    utilisation: Expression | None = Field(default=None, description="a share from 0 to 1")
    used: Expression | None = None
    limit: Expression | None = None
    resets_at: Expression | None = Field(
        default=None, description="an epoch, an ISO time, a clock time such as 11:29pm (UTC), or a duration"
    )


class OutputForm(Form):
    """How to read what came out: JMESPath over {out, err, stdout, stderr, exit_code, signal}."""

    format: Annotated[OutputFormat | None, BeforeValidator(worded)] = Field(
        default=None, description="text unless an expression is given"
    )
    ok: Expression | None = Field(
        default=None, description="true if and only if the run succeeded; without it, exit code 0 decides"
    )
    text: Expression | None = Field(default=None, description="the answer; without it, all that was printed")
    usage: UsageForm = UsageForm()
    usage_scope: Annotated[Scope, BeforeValidator(worded)] = "run"
    cost_usd: Expression | None = None
    cost_scope: Annotated[Scope, BeforeValidator(worded)] = "run"
    model: Expression | None = None
    client_session: Expression | None = None
    so_far: SoFarForm = Field(
        default=SoFarForm(),
        description="format jsonl or text: read while a command runs, so that a task's budget_usd ends it in the middle",
    )
    limits: dict[str, LimitReportForm] = Field(
        default_factory=dict,
        description="what the program itself says of its quotas, by length (5h, week) or by its own word (five_hour)",
    )


class ErrorRuleForm(Form):
    """A sign of failure and what it means. The first rule that holds counts; one without `when` holds always."""

    when: Expression | None = None
    kind: Annotated[FailureKind, BeforeValidator(worded)]
    message: Expression | None = None
    resets_at: Expression | None = Field(
        default=None, description="an epoch, an ISO time, a clock time such as 11:29pm (UTC), or a duration"
    )
    retry_after: Expression | None = Field(default=None, description="seconds, or a duration such as 41s")


class InterfaceForm(Form):
    """An interface: who can do work, what it costs, how it is called and how its answer is read."""

    name: Name = Field(description="the same as the file's name without .md")
    type: Annotated[InterfaceType | None, BeforeValidator(worded)] = Field(
        default=None, description="llm where a model, a key or an account is named, else tool"
    )
    status: Annotated[Availability, BeforeValidator(worded)] = Availability.AVAILABLE
    aliases: Names = ()
    capabilities: Words = Field(
        default=(), description="what tasks may require; a task that requires nothing matches everything"
    )
    limits: LimitsForm = LimitsForm()
    auth: Annotated[AuthForm | None, BeforeValidator(under("method"), json_schema_input_type=AuthMethod | AuthForm)] = (
        None
    )
    account: str | None = Field(default=None, description="interfaces that name one account share its quota")
    cost: Annotated[CostForm, BeforeValidator(under("tier"), json_schema_input_type=Tier | CostForm)] = CostForm()
    models: Annotated[
        dict[str, str],
        BeforeValidator(_named_after_themselves, json_schema_input_type=str | list[str] | dict[str, str]),
    ] = Field(default_factory=dict, description="what tasks may ask for: what is sent")
    good_at: Shares = Field(
        default_factory=dict, description="expected success by task type, 0 to 1; `default` is for all others"
    )
    idempotent: Flag = Field(
        default=False, description="whether an interrupted attempt may be run again without asking"
    )
    local: Flag = Field(default=False, description="whether nothing leaves this machine")
    timeout: Seconds | None = None
    command: Arguments = Field(default=(), description="short for invoke.command")
    invoke: InvokeForm = InvokeForm()
    output: OutputForm = OutputForm()
    errors: tuple[ErrorRuleForm, ...] = ()
