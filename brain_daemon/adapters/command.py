"""The adapter for programs: prompt in by stdin, argument or file, raw output into the attempt's folder, the reading of it.

Failures: a program that is gone, not executable or too short of system resources is the outcome `Failed(unavailable)` or
`Failed(transient)` of the attempt, a prompt longer than it takes `Failed(context_too_long)`, a permission it refuses to root
`Failed(permission_denied)`, a workspace with what it would run unasked `Failed(permanent)`: nothing was started then.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, tzinfo
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.brought_along import brought_along
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.environment import child_environment
from brain_daemon.adapters.prices import cost_of
from brain_daemon.adapters.process import Command, RawRun, run
from brain_daemon.adapters.reading import Reader, Reading, SoFar, compile_rules
from brain_daemon.adapters.secrets import read_secret
from brain_daemon.adapters.tokens import count
from brain_daemon.adapters.watching import Watch, used_so_far, watch_of
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import Occupied, Transient, UserError
from brain_daemon.model.interface import FILES, InterfaceSpec, InterfaceType, OutputRules, Profile, PromptBy, arguments
from brain_daemon.model.outcome import (
    FREE,
    Cancelled,
    Ended,
    Failed,
    FailureKind,
    Outcome,
    Succeeded,
    TimedOut,
    Usage,
)
from brain_daemon.model.quantities import dollars
from brain_daemon.model.task import Permissions
from brain_daemon.policy.charging import newly_used
from brain_daemon.store.files import Files

_THREAD_WORTHY_BYTES = 64 << 10
_LOCAL_ZONE = "/etc/localtime"
_NOTHING_USED = Usage(input_tokens=0, output_tokens=0, requests=0)
_TURNED_AWAY = frozenset(
    {FailureKind.AUTH, FailureKind.CONTEXT_TOO_LONG, FailureKind.SESSION_UNKNOWN, FailureKind.UNAVAILABLE}
)
"""Failures before the first token: what a client does not tell then is nothing, and not to be estimated."""


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


class CommandAdapter:
    """Runs the command an interface declares."""

    def __init__(self, files: Files, *, is_root: Callable[[], bool] = _is_root) -> None:
        self._files = files
        self._is_root = is_root

    def argv(self, invocation: Invocation) -> tuple[str, ...]:
        """The argument list without the prompt itself, which may be long and is in the attempt's folder anyway."""
        return _argv(invocation, prompt="{prompt}", new_session="{new_session}")

    async def invoke(self, invocation: Invocation, cancel: Cancel) -> Ended:
        started_at = time.time()
        prompt_path = self._laid_out(invocation)
        refusal = _refusal(invocation, is_root=self._is_root())
        if refusal is not None:
            return _not_started(started_at, *refusal)
        new_session = str(uuid.uuid4())
        try:
            if (
                invocation.interface.auth.secret_command
            ):  # it may wait for a keyring; what follows finds the answer kept
                await asyncio.to_thread(read_secret, invocation.interface.auth, invocation.environment)
            command = _command(invocation, prompt_path, new_session)
            watch = watch_of(invocation, _reader(invocation.interface.output), command.stdout_path)
            too_much = None if watch is None else await watch.prompt_alone()
            if too_much is not None:
                return _not_started(started_at, FailureKind.BUDGET, _prompt_alone(invocation, too_much))
            raw = await _run(command, cancel, watch)
        except UserError as error:
            return _not_started(started_at, FailureKind.UNAVAILABLE, str(error))
        except (Transient, Occupied) as error:
            return _not_started(started_at, FailureKind.TRANSIENT, str(error))
        stdout = _output(command.stdout_path) if raw.stdout_bytes else b""
        stderr = _output(command.stderr_path) if raw.stderr_bytes else b""
        session = new_session if invocation.interface.invoke.session and raw.pid is not None else None
        if len(stdout) + len(stderr) > _THREAD_WORTHY_BYTES or invocation.interface.type is InterfaceType.LLM:
            ended = await asyncio.to_thread(judge, invocation, raw, stdout, stderr, session)
        else:
            ended = judge(invocation, raw, stdout, stderr, session)
        return ended if watch is None else _as_watched(invocation, ended, watch, cancel)

    def _laid_out(self, invocation: Invocation) -> str:
        """Make the folders and write the files the program will want; the path of the prompt's."""
        for folder in (invocation.folder, invocation.workspace):
            self._files.make_folder(folder)
        if invocation.interface.invoke.files:
            self._files.make_folder(_files_of(invocation))
        for name, text in invocation.interface.invoke.files:
            self._files.put(os.path.join(_files_of(invocation), name), text.encode(), sync=False)
        prompt_path = os.path.join(invocation.folder, "prompt.md")
        self._files.put(prompt_path, invocation.prompt.encode("utf-8", "surrogatepass"), sync=False)
        return prompt_path


async def _run(command: Command, cancel: Cancel, watch: Watch | None) -> RawRun:
    """The run, which a watch may end like a cancel does."""
    if watch is None:
        return await run(command, cancel=cancel)
    stop = asyncio.Event()
    cancel.listen(stop.set)
    watching = asyncio.create_task(watch.stop_when_over(stop))
    try:
        return await run(command, cancel=stop)
    finally:
        watching.cancel()
        await asyncio.wait({watching})


def _as_watched(invocation: Invocation, ended: Ended, watch: Watch, cancel: Cancel) -> Ended:
    """A run that its budget ended says so; a person's cancel goes before it."""
    if watch.spent_usd is None or cancel.is_set() or not isinstance(ended.outcome, Cancelled):
        return replace(ended, warnings=(*ended.warnings, *watch.warnings))
    ended = watch.charged(ended)
    kept = f"the {len(ended.text):,} characters that had come are kept" if ended.text else "it had said nothing yet"
    message = (
        f"ended in the middle: about {dollars(ended.cost.usd or Decimal(0))} was spent, "
        f"more than {dollars(invocation.budget_usd or Decimal(0))}, "
        f"which is what this run may cost; {kept}"
    )
    return replace(ended, outcome=Failed(kind=FailureKind.BUDGET, message=message))


def _prompt_alone(invocation: Invocation, usd: Decimal) -> str:
    return (
        f"the prompt alone would cost about {dollars(usd)}, more than {dollars(invocation.budget_usd or Decimal(0))}, which is what this run may cost: "
        "it was not started"
    )


def judge(
    invocation: Invocation, raw: RawRun, stdout: bytes, stderr: bytes, chosen_session: str | None = None
) -> Ended:
    """What a finished run means: the daemon's own ending of it wins, then the evidence in the output.

    `chosen_session` is the name we gave its session, for a program that did not live to say it.
    """
    spec = invocation.interface
    zone = local_zone(invocation.environment.get("TZ", ""))
    reader = _reader(spec.output)
    reading = reader.read(stdout, stderr, raw.exit_code, raw.signal, now=raw.finished_at, zone=zone)
    usage, told_usd = _of_this_run(invocation, reading)
    text, so_far = reading.text, SoFar()
    if raw.ended_by != "itself" and spec.output.so_far:
        so_far = reader.so_far(stdout)
        text = text or so_far.text
        told_usd = so_far.cost_usd if told_usd is None else told_usd
    if usage.input_tokens is None and spec.type is InterfaceType.LLM and raw.pid is not None:
        if _was_turned_away(raw, reading):
            usage = _NOTHING_USED
        elif so_far.usage.input_tokens is not None:
            usage = used_so_far(so_far, invocation.prompt)
        else:
            usage = _estimated(invocation.prompt, text, usage)
    return Ended(
        outcome=_outcome(invocation, raw, reading),
        started_at=raw.started_at,
        finished_at=raw.finished_at,
        duration_seconds=raw.duration_seconds,
        usage=usage,
        cost=cost_of(spec, usage, told_usd, reading.model, invocation.model),
        model=reading.model or invocation.model,
        client_session=_session(invocation, reading, chosen_session),
        text=text,
        survivors=raw.survivors,
        warnings=reading.warnings,
        reports=reading.reports,
    )


def _was_turned_away(raw: RawRun, reading: Reading) -> bool:
    return raw.ended_by == "itself" and reading.failure is not None and reading.failure.kind in _TURNED_AWAY


def _session(invocation: Invocation, reading: Reading, chosen: str | None) -> str | None:
    """The session to resume: the one told, the one resumed or the one chosen, unless the program says that it knows none such."""
    if reading.failure is not None and reading.failure.kind is FailureKind.SESSION_UNKNOWN:
        return None
    return reading.client_session or invocation.client_session or chosen


def _of_this_run(invocation: Invocation, reading: Reading) -> tuple[Usage, Decimal | None]:
    """What was told, less what earlier attempts were charged where the client reports the totals of a resumed session."""
    usage, told_usd = reading.usage, reading.cost_usd
    rules, charged = invocation.interface.output, invocation.charged
    if invocation.client_session is not None and rules.usage_scope == "session":
        usage = newly_used(usage, charged.usage)
    if invocation.client_session is not None and rules.cost_scope == "session" and told_usd is not None:
        told_usd = max(Decimal(0), told_usd - charged.cost_usd)
    return usage, told_usd


@lru_cache(maxsize=64)
def _reader(rules: OutputRules) -> Reader:
    """Rules are compiled once for each content of an interface file."""
    return compile_rules(rules)


def _outcome(invocation: Invocation, raw: RawRun, reading: Reading) -> Outcome:
    match raw.ended_by:
        case "cancel":
            return Cancelled()
        case "timeout":
            return TimedOut(after_seconds=invocation.timeout_seconds)
        case "inactivity":
            return TimedOut(after_seconds=_inactivity_seconds(invocation) or 0.0, inactive=True)
        case "output_limit":
            return Failed(
                kind=FailureKind.OUTPUT_LIMIT,
                message=f"it printed more than {invocation.output_bytes} bytes and was ended (setting output_size)",
            )
        case _:
            pass
    if reading.failure is not None:
        return reading.failure
    return Succeeded(text=reading.text)


def local_zone(name: str) -> tzinfo:
    """The zone in which programs here print clock times: what `TZ` names, else this machine's own, else UTC."""
    try:
        if name:
            return ZoneInfo(name.removeprefix(":"))
        found = os.stat(_LOCAL_ZONE)
        return _machine_zone(found.st_ino, found.st_mtime_ns)
    except (KeyError, OSError, ValueError):
        return UTC


@lru_cache(maxsize=1)
def _machine_zone(_inode: int, _modified_ns: int) -> tzinfo:
    """Read again when its file is another one: a person travels."""
    with open(_LOCAL_ZONE, "rb") as file:
        return ZoneInfo.from_file(file)


def _refusal(invocation: Invocation, *, is_root: bool) -> tuple[FailureKind, str] | None:
    """Why the program is not even started: it would only say the same, after some seconds."""
    spec, profile = invocation.interface, _profile(invocation)
    longest, characters = spec.limits.prompt_characters, len(invocation.prompt)
    if longest is not None and characters > longest:
        return FailureKind.CONTEXT_TOO_LONG, (
            f"the prompt has {characters:,} characters, and {spec.name} takes at most {longest:,} (limits.prompt_characters); "
            "it was not started"
        )
    if profile is not None and profile.not_as_root and is_root:
        return FailureKind.PERMISSION_DENIED, (
            f"{spec.name} refuses the permission `{profile.name}` to root; it was not started: "
            "run the daemon as another user, or ask for less in the task"
        )
    if invocation.profile is Permissions.FULL:
        return None
    brought = brought_along(
        invocation.workspace, spec.invoke.refuse_workspace_with, invocation.environment.get("HOME", "")
    )
    if brought is not None:
        return FailureKind.PERMANENT, (
            f"{spec.name} would run or obey {clean_line(brought)}, which the workspace brings along, and nothing turns that off; "
            "it was not started: take it away, work elsewhere, or say `permissions: full` if you trust it"
        )
    return None


def _profile(invocation: Invocation) -> Profile | None:
    return invocation.interface.invoke.profile(invocation.profile.value) if invocation.profile else None


def _inactivity_seconds(invocation: Invocation) -> float | None:
    """How long it may be silent: its own file knows best, else the settings say."""
    return invocation.interface.invoke.inactivity_seconds or invocation.inactivity_seconds


def _files_of(invocation: Invocation) -> str:
    """A folder of the interface's own beside those of the attempts: a program may keep its sessions there from run to run."""
    state = os.path.dirname(os.path.dirname(invocation.folder))
    return os.path.join(state, "clients", invocation.interface.name)


def _environment(invocation: Invocation) -> dict[str, str]:
    """The child's environment, with the place of its files in the values that name it."""
    declared = _declared_values(invocation.interface, _profile(invocation))
    return {
        name: value.replace(FILES, _files_of(invocation)) if value in declared else value
        for name, value in child_environment(invocation).items()
    }


def _declared_values(spec: InterfaceSpec, profile: Profile | None) -> frozenset[str]:
    """Values the interface file itself sets; a variable or a secret that happens to hold `{files}` stays as it is."""
    pairs = (*spec.invoke.set_env, *(profile.set_env if profile else ()))
    return frozenset(value for _name, value in pairs if FILES in value)


def _command(invocation: Invocation, prompt_path: str, new_session: str) -> Command:
    invoke = invocation.interface.invoke
    folder = invocation.folder
    return Command(
        argv=_argv(invocation, prompt=invocation.prompt, new_session=new_session),
        env=_environment(invocation),
        cwd=invocation.workspace,
        stdin_path=prompt_path if invoke.prompt is PromptBy.STDIN else None,
        stdout_path=os.path.join(folder, "stdout"),
        stderr_path=os.path.join(folder, "stderr"),
        lock_path=os.path.join(folder, "lock"),
        attempt_id=invocation.attempt_id,
        timeout_seconds=invocation.timeout_seconds,
        inactivity_seconds=_inactivity_seconds(invocation),
        output_limit_bytes=invocation.output_bytes,
        grace_seconds=invocation.grace_seconds,
    )


def _argv(invocation: Invocation, *, prompt: str, new_session: str) -> tuple[str, ...]:
    return arguments(
        invocation.interface.invoke,
        profile=_profile(invocation),
        model=invocation.model,
        client_session=invocation.client_session,
        new_session=new_session,
        prompt=prompt,
        prompt_file=os.path.join(invocation.folder, "prompt.md"),
        files=_files_of(invocation),
    )


def _output(path: str) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return b""


def _estimated(prompt: str, text: str, told: Usage) -> Usage:
    """Tokens counted here where the client does not tell them; marked as estimated."""
    return Usage(
        input_tokens=count(prompt).tokens,
        cached_input_tokens=told.cached_input_tokens,
        output_tokens=told.output_tokens if told.output_tokens is not None else count(text).tokens,
        reasoning_tokens=told.reasoning_tokens,
        requests=told.requests,
        estimated=True,
    )


def _not_started(started_at: float, kind: FailureKind, message: str) -> Ended:
    return Ended(
        outcome=Failed(kind=kind, message=message),
        started_at=started_at,
        finished_at=time.time(),
        duration_seconds=0.0,
        usage=_NOTHING_USED,
        cost=FREE,
    )
