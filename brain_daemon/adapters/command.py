"""The adapter for programs: prompt in by stdin, argument or file, raw output into the attempt's folder, the reading of it.

Failures: a program that is gone, not executable or too short of system resources is the outcome `Failed(unavailable)` or
`Failed(transient)` of the attempt: nothing was started then.
"""

import asyncio
import os
import time
from decimal import Decimal
from functools import lru_cache

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.environment import child_environment
from brain_daemon.adapters.process import Command, RawRun, run
from brain_daemon.adapters.reading import Reader, Reading, compile_rules
from brain_daemon.adapters.tokens import count
from brain_daemon.model.errors import Occupied, Transient, UserError
from brain_daemon.model.interface import InterfaceType, OutputRules, PromptBy, arguments
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
from brain_daemon.policy.charging import newly_used
from brain_daemon.policy.pricing import price
from brain_daemon.store.files import Files

_THREAD_WORTHY_BYTES = 64 << 10


class CommandAdapter:
    """Runs the command an interface declares."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def argv(self, invocation: Invocation) -> tuple[str, ...]:
        """The argument list without the prompt itself, which may be long and is in the attempt's folder anyway."""
        return _argv(invocation, prompt="{prompt}")

    async def invoke(self, invocation: Invocation, cancel: Cancel) -> Ended:
        self._files.make_folder(invocation.folder)
        self._files.make_folder(invocation.workspace)
        prompt_path = os.path.join(invocation.folder, "prompt.md")
        self._files.put(prompt_path, invocation.prompt.encode("utf-8", "surrogatepass"), sync=False)
        started_at = time.time()
        try:
            command = _command(invocation, prompt_path)
            raw = await run(command, cancel=cancel)
        except UserError as error:
            return _not_started(started_at, FailureKind.UNAVAILABLE, str(error))
        except (Transient, Occupied) as error:
            return _not_started(started_at, FailureKind.TRANSIENT, str(error))
        stdout, stderr = _output(command.stdout_path), _output(command.stderr_path)
        if len(stdout) + len(stderr) > _THREAD_WORTHY_BYTES or invocation.interface.type is InterfaceType.LLM:
            return await asyncio.to_thread(judge, invocation, raw, stdout, stderr)
        return judge(invocation, raw, stdout, stderr)


def judge(invocation: Invocation, raw: RawRun, stdout: bytes, stderr: bytes) -> Ended:
    """What a finished run means: the daemon's own ending of it wins, then the evidence in the output."""
    spec = invocation.interface
    reading = _reader(spec.output).read(stdout, stderr, raw.exit_code, raw.signal)
    usage, told_usd = _of_this_run(invocation, reading)
    if usage.input_tokens is None and spec.type is InterfaceType.LLM and raw.pid is not None:
        usage = _estimated(invocation.prompt, reading.text, usage)
    return Ended(
        outcome=_outcome(invocation, raw, reading),
        started_at=raw.started_at,
        finished_at=raw.finished_at,
        duration_seconds=raw.duration_seconds,
        usage=usage,
        cost=price(spec.cost, usage, told_usd),
        model=reading.model or invocation.model,
        client_session=reading.client_session,
        text=reading.text,
        survivors=raw.survivors,
        warnings=reading.warnings,
    )


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
            return TimedOut(after_seconds=invocation.inactivity_seconds or 0.0, inactive=True)
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


def _command(invocation: Invocation, prompt_path: str) -> Command:
    invoke = invocation.interface.invoke
    folder = invocation.folder
    return Command(
        argv=_argv(invocation, prompt=invocation.prompt),
        env=child_environment(invocation),
        cwd=invocation.workspace,
        stdin_path=prompt_path if invoke.prompt is PromptBy.STDIN else None,
        stdout_path=os.path.join(folder, "stdout"),
        stderr_path=os.path.join(folder, "stderr"),
        lock_path=os.path.join(folder, "lock"),
        attempt_id=invocation.attempt_id,
        timeout_seconds=invocation.timeout_seconds,
        inactivity_seconds=invocation.inactivity_seconds,
        output_limit_bytes=invocation.output_bytes,
        grace_seconds=invocation.grace_seconds,
    )


def _argv(invocation: Invocation, *, prompt: str) -> tuple[str, ...]:
    invoke = invocation.interface.invoke
    profile = invoke.profile(invocation.profile.value) if invocation.profile else None
    return arguments(
        invoke,
        profile=profile,
        model=invocation.model,
        client_session=invocation.client_session,
        prompt=prompt,
        prompt_file=os.path.join(invocation.folder, "prompt.md"),
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
        usage=Usage(input_tokens=0, output_tokens=0, requests=0),
        cost=FREE,
    )
