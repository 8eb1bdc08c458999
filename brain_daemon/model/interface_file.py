"""tools/interfaces/NAME.md, from bytes to InterfaceSpec: the full form and the short one.

What must be there is a `name` and something to call: `command: tr a-z A-Z`, `invoke.command`, one fenced command under
`## How to Invoke`, or the function of a tool. Everything else has a default that is safe to leave:

    type            llm where a model, a key or an account is named, else tool
    kind            command where there is a command, tool where there is a function, http where there is a protocol
    prompt          stdin, unless an argument holds {prompt} or {prompt_file}
    cost.tier       tools and what needs no login are free, oauth is subscription, api_key and stated prices are paid
    output          text as printed, success is exit code 0
    capabilities    none: it is offered the tasks that require nothing

A file that is not an interface gives an InterfaceFault that names the line, the key, what was found and what to change;
keys that nobody knows are warnings. Nothing is fatal and nothing is retried. Who must agree: two files with one name are
found by the registry, which alone sees both.
"""

import difflib
import hashlib
import re
from collections.abc import Iterator
from decimal import Decimal

from brain_daemon.model.form import fill, line_of, unknown_keys
from brain_daemon.model.frontmatter import Malformed, read, split
from brain_daemon.model.ids import normal_name
from brain_daemon.model.interface import (
    FILES,
    PLACEHOLDER,
    RESUME,
    Auth,
    AuthMethod,
    CostSpec,
    Endpoint,
    ErrorRule,
    HttpProtocol,
    InterfaceFault,
    InterfaceSpec,
    InterfaceType,
    Invoke,
    InvokeKind,
    LimitRule,
    Limits,
    OutputFormat,
    OutputRules,
    Profile,
    PromptBy,
    Tier,
    Window,
)
from brain_daemon.model.interface_form import (
    PERIODS,
    CostForm,
    InterfaceForm,
    InvokeForm,
    LimitsForm,
    OutputForm,
    WindowForm,
)
from brain_daemon.model.quantities import parse_duration
from brain_daemon.model.short_form import HEADING, Command, fenced_command, title_of

MAX_FILE_BYTES = 256 * 1024

_BRACED = re.compile(r"\{([a-z_]+)\}")
_PLACEHOLDERS = ("prompt", "prompt_file", "model", "client_session", "new_session", "files", "resume")
_BASE_URLS = {
    HttpProtocol.OPENAI: "https://api.openai.com/v1",
    HttpProtocol.ANTHROPIC: "https://api.anthropic.com",
}
_BY_WINDOW = (
    "messages_per_hour",
    "messages_per_week",
    "messages_per_month",
    "tokens_per_hour",
    "tokens_per_day",
    "tokens_per_week",
    "tokens_per_month",
)


def parse_interface(file_name: str, data: bytes) -> InterfaceSpec | InterfaceFault:
    """Read one interface file; `file_name` is its name in the folder, with `.md`."""
    try:
        return _spec(file_name, data)
    except Malformed as fault:
        where = file_name if fault.line is None else f"{file_name}, line {fault.line}"
        return InterfaceFault(
            file_name=file_name,
            message=f"{where}: {fault.message}",
            line=fault.line,
            field=fault.field,
            found=fault.found,
            allowed=fault.allowed,
        )


def _spec(file_name: str, data: bytes) -> InterfaceSpec:
    text = _decoded(data)
    parts = split(data)
    if parts.head is None and not parts.unclosed:
        raise Malformed(
            "it has no front matter: begin it with a line of three dashes, `name: ...` and another line of three dashes",
            line=1,
        )
    form = fill(InterfaceForm, read(text)[0], text)
    _check_name(form, file_name, text)
    body = parts.body.decode("utf-8-sig")
    fenced = fenced_command(body, parts.body_line) if _wants_fence(form) else None
    invoke = _invoke(form, fenced, text)
    return InterfaceSpec(
        name=form.name,
        type=_type(form),
        sha256=hashlib.sha256(data).hexdigest(),
        invoke=invoke,
        cost=_cost(form),
        status=form.status,
        aliases=tuple(dict.fromkeys(alias for alias in form.aliases if alias != form.name)),
        capabilities=tuple(dict.fromkeys(form.capabilities)),
        limits=_limits(form.limits),
        auth=_auth(form),
        account=form.account,
        models=tuple(form.models.items()),
        good_at=tuple(form.good_at.items()),
        idempotent=form.idempotent,
        local=form.local,
        timeout_seconds=form.timeout,
        output=_output(form, text),
        title=title_of(body),
        warnings=tuple(_warnings(form, invoke, fenced, text)),
    )


def _decoded(data: bytes) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise Malformed(
            f"it has {len(data):,} bytes: an interface file has at most {MAX_FILE_BYTES:,}",
            allowed=f"{MAX_FILE_BYTES:,} bytes",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Malformed(
            "it is not UTF-8 text: save it as UTF-8", line=line, found=f"byte 0x{data[error.start]:02x}"
        ) from None


def _check_name(form: InterfaceForm, file_name: str, text: str) -> None:
    of_file = file_name.removesuffix(".md")
    if normal_name(of_file) != form.name:
        raise Malformed(
            f"`name` is `{form.name}`, but the file is called `{file_name}`: call the file `{form.name}.md`, or change `name`",
            line=line_of(text, ("name",)),
            field="name",
            found=form.name,
            allowed=normal_name(of_file),
        )


def _wants_fence(form: InterfaceForm) -> bool:
    """Whether the command, if there is any, can only be a fenced one."""
    declared = form.command or form.invoke.command or form.invoke.function or form.invoke.protocol
    return not declared and form.invoke.kind in (None, InvokeKind.COMMAND)


def _invoke(form: InterfaceForm, fenced: Command | None, text: str) -> Invoke:
    given = form.invoke
    if form.command and given.command:
        raise _fault("command", "`command` and `invoke.command` both name a program: keep one", text)
    command = given.command or form.command or (fenced.arguments if fenced else ())
    kind = given.kind or _default_kind(command, given)
    _check_callable(kind, command, given, text)
    if kind is InvokeKind.HTTP:
        _check_api(form, text)
    invoke = Invoke(
        kind=kind,
        command=command,
        prompt=_prompt_by(given, command, text),
        model=given.model,
        resume=given.resume,
        session=given.session,
        files=tuple(given.files.items()),
        refuse_workspace_with=given.refuse_workspace_with,
        inactivity_seconds=given.inactivity,
        env=given.env,
        set_env=tuple(given.set_env.items()),
        check=given.check,
        permissions=tuple(_profiles(given)),
        function=given.function,
        endpoint=_endpoint(given, given.protocol) if kind is InvokeKind.HTTP and given.protocol else None,
        options=(*_drop(given), *(given.model_extra or {}).items()),
    )
    _check_placeholders(invoke, form.cost, text)
    return invoke


def _default_kind(command: tuple[str, ...], given: InvokeForm) -> InvokeKind:
    if command:
        return InvokeKind.COMMAND
    return InvokeKind.TOOL if given.function else InvokeKind.HTTP if given.protocol else InvokeKind.COMMAND


def _drop(given: InvokeForm) -> Iterator[tuple[str, object]]:
    """What `file_drop` has to say."""
    said = {"folder": given.folder, "answer_file": given.answer_file, "answer_folder": given.answer_folder}
    yield from ((key, value) for key, value in said.items() if value is not None)


def _endpoint(given: InvokeForm, protocol: HttpProtocol) -> Endpoint:
    return Endpoint(
        protocol=protocol,
        base_url=given.base_url or _BASE_URLS[protocol],
        base_url_env=given.base_url_env,
        max_output_tokens=given.max_output_tokens,
        system=given.system,
    )


def _check_api(form: InterfaceForm, text: str) -> None:
    """An API is called from here and not by a program of its own, so all that a call needs has to be in the file."""
    if form.invoke.protocol is None:
        raise _fault("invoke.protocol", "`invoke.protocol` is missing: say openai or anthropic", text)
    if form.cost.model is None:
        raise _fault("cost.model", "`cost.model` is missing: say which model runs when a task names none", text)
    if form.auth is not None and form.auth.method is not AuthMethod.NONE and form.auth.env is None:
        raise _fault("auth.env", "`auth.env` is missing: name the variable that holds the key", text)


def _check_callable(kind: InvokeKind, command: tuple[str, ...], given: InvokeForm, text: str) -> None:
    if kind is InvokeKind.COMMAND and not "".join(command[:1]).strip():
        raise _fault(
            "invoke.command",
            f"`invoke.command` is missing: name the program and its arguments, or put them in a fenced block under `## {HEADING}`",
            text,
        )
    if kind is InvokeKind.TOOL and not given.function:
        raise _fault(
            "invoke.function", "`invoke.function` is missing: name the function or entry point that does the work", text
        )
    if kind is InvokeKind.FILE_DROP and not given.folder:
        raise _fault(
            "invoke.folder", "`invoke.folder` is missing: name the folder that you share with the program", text
        )


def _prompt_by(given: InvokeForm, command: tuple[str, ...], text: str) -> PromptBy:
    held = {PromptBy.ARGUMENT: "{prompt}", PromptBy.FILE: "{prompt_file}"}
    used = [by for by, placeholder in held.items() if any(placeholder in part for part in command)]
    if len(used) > 1:
        raise _fault("invoke.command", "the command holds both {prompt} and {prompt_file}: keep one", text)
    by = used[0] if used else PromptBy.STDIN
    if given.prompt not in (None, by):
        wanted = (
            f"add {held[given.prompt]} to the command"
            if given.prompt in held
            else f"take {held[by]} out of the command"
        )
        raise _fault("invoke.prompt", f"`invoke.prompt` is `{given.prompt}`: {wanted}, or leave `prompt` out", text)
    return by


def _profiles(given: InvokeForm) -> Iterator[Profile]:
    for name in ("read", "write", "full"):
        form = getattr(given.permissions, name)
        if form is not None:
            yield Profile(
                name=name,
                arguments=form.arguments,
                set_env=tuple(form.set_env.items()),
                not_as_root=form.not_as_root,
            )


def _check_placeholders(invoke: Invoke, cost: CostForm, text: str) -> None:
    held = PLACEHOLDER.findall(" ".join(invoke.command))
    for placeholder, home in (("{client_session}", "resume"), ("{new_session}", "session")):
        if placeholder in held:
            raise _fault(
                "invoke.command",
                f"only some runs have such a session: move {placeholder} with its option to `invoke.{home}`",
                text,
            )
    if invoke.command.count(RESUME) > 1 or (RESUME in invoke.command and not invoke.resume):
        raise _fault(
            "invoke.command",
            "{resume} is the place of the arguments of `invoke.resume`: it stands there once, alone, and they are given",
            text,
        )
    if FILES in held and not invoke.files:
        raise _fault("invoke.files", "`invoke.files` is missing: the command holds {files}", text)
    if "{model}" in held and cost.model is None:
        raise _fault(
            "cost.model",
            "`cost.model` is missing: the command holds {model}, so say which one runs when a task names none",
            text,
        )


def _fault(field: str, message: str, text: str) -> Malformed:
    return Malformed(message, line=line_of(text, tuple(field.split("."))), field=field)


def _type(form: InterfaceForm) -> InterfaceType:
    """The declared type; else a model is taken to stand behind whatever names a model, a key or an account."""
    if form.type is not None:
        return form.type
    keyed = form.auth is not None and form.auth.method is not AuthMethod.NONE
    priced = any((form.cost.model, form.cost.input_per_million, form.cost.output_per_million))
    return InterfaceType.LLM if keyed or priced or form.models or form.account else InterfaceType.TOOL


def _cost(form: InterfaceForm) -> CostSpec:
    cost = form.cost
    return CostSpec(
        tier=cost.tier or _default_tier(form),
        model=cost.model,
        provider=cost.provider,
        input_per_million=cost.input_per_million,
        cached_input_per_million=cost.cached_input_per_million,
        output_per_million=cost.output_per_million,
    )


def _default_tier(form: InterfaceForm) -> Tier:
    method = form.auth.method if form.auth else AuthMethod.NONE
    if method is AuthMethod.OAUTH:
        return Tier.SUBSCRIPTION
    if form.cost.input_per_million or form.cost.output_per_million:
        return Tier.PAID
    return Tier.FREE if method is AuthMethod.NONE or _type(form) is InterfaceType.TOOL else Tier.PAID


def _auth(form: InterfaceForm) -> Auth:
    if form.auth is None:
        return Auth()
    given = form.auth
    return Auth(
        method=given.method,
        config_location=given.config_location,
        env=given.env,
        secret_command=given.secret_command,
        check=given.check,
        login=given.login,
    )


def _limits(form: LimitsForm) -> Limits:
    return Limits(
        messages_per_day=form.messages_per_day,
        tokens_per_request=form.tokens_per_request,
        prompt_characters=form.prompt_characters,
        requests_per_minute=form.requests_per_minute,
        tokens_per_minute=form.tokens_per_minute,
        concurrent=form.concurrent,
        windows=(*_plain_windows(form), *map(_window, form.windows)),
    )


def _plain_windows(form: LimitsForm) -> Iterator[Window]:
    """The limits that are named like the others and have no field of their own."""
    for name in _BY_WINDOW:
        amount = getattr(form, name)
        unit, per = name.split("_per_")
        if amount is not None:
            yield Window(unit=unit, amount=Decimal(amount), per=per, per_seconds=PERIODS[per])


def _window(form: WindowForm) -> Window:
    amounts = {"messages": form.messages, "tokens": form.tokens, "usd": form.usd}
    unit, amount = next((unit, amount) for unit, amount in amounts.items() if amount is not None)
    per_seconds = PERIODS[form.per] if form.per in PERIODS else parse_duration(form.per)
    return Window(unit=unit, amount=Decimal(amount), per=form.per, per_seconds=per_seconds, resets=form.resets)


def _output(form: InterfaceForm, text: str) -> OutputRules:
    given = form.output
    return OutputRules(
        format=given.format or _default_format(given, text),
        ok=given.ok,
        text=given.text,
        usage=tuple((name, value) for name, value in given.usage if value is not None),
        usage_scope=given.usage_scope,
        cost_usd=given.cost_usd,
        cost_scope=given.cost_scope,
        model=given.model,
        client_session=given.client_session,
        so_far=tuple((name, value) for name, value in given.so_far if value is not None),
        limits=tuple(
            LimitRule(name=name, utilisation=one.utilisation, used=one.used, limit=one.limit, resets_at=one.resets_at)
            for name, one in given.limits.items()
        ),
        errors=tuple(
            ErrorRule(
                kind=rule.kind,
                when=rule.when,
                message=rule.message,
                resets_at=rule.resets_at,
                retry_after=rule.retry_after,
            )
            for rule in form.errors
        ),
    )


def _default_format(given: OutputForm, text: str) -> OutputFormat:
    """Text, unless an expression looks into what was printed: then only the author knows what that is."""
    expressions = (
        given.ok,
        given.text,
        given.cost_usd,
        given.model,
        given.client_session,
        *(value for _name, value in given.usage),
        *(value for _name, value in given.so_far),
        *(value for one in given.limits.values() for _name, value in one),
    )
    if any(re.search(r"\bout\b", expression or "") for expression in expressions):
        raise _fault(
            "output.format", "`output.format` is missing: say json, jsonl (one JSON object a line) or text", text
        )
    return OutputFormat.TEXT


def _warnings(form: InterfaceForm, invoke: Invoke, fenced: Command | None, text: str) -> Iterator[str]:
    known_elsewhere = (
        ()
        if invoke.kind in (InvokeKind.COMMAND, InvokeKind.TOOL, InvokeKind.HTTP)
        else tuple(form.invoke.model_extra or ())
    )
    yield from (
        warning
        for warning in unknown_keys(form, text)
        if not any(f"`invoke.{key}`" in warning for key in known_elsewhere)
    )
    if fenced is not None and fenced.other_fences:
        yield f"only the first fenced block under `## {HEADING}` is the command; {fenced.other_fences} more were not read"
    yield from _misspelt(invoke)
    if form.output.format is OutputFormat.JSON and any(value is not None for _name, value in form.output.so_far):
        yield "`output.so_far` finds nothing: one JSON value is whole at the end only, so print one object a line (jsonl)"
    unreachable = [rule.when for rule in form.errors[:-1] if rule.when is None]
    if unreachable:
        yield "a rule under `errors` without `when` holds always: the rules below it are never reached"


def _misspelt(invoke: Invoke) -> Iterator[str]:
    for word in _BRACED.findall(" ".join((*invoke.command, *invoke.model, *invoke.resume, *invoke.session))):
        near = difflib.get_close_matches(word, _PLACEHOLDERS, 1, 0.75)
        if near and word not in _PLACEHOLDERS:
            yield f"`{{{word}}}` reaches the program as it stands; did you mean {{{near[0]}}}?"
