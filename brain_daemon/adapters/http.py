"""The adapter for APIs: one streamed request for each attempt, by the provider's own library, on the event loop.

It streams always, so that a cancel, a deadline, silence, the output limit and the task's own budget end a call in the middle;
the connection is closed then, at once, and what had come is kept. The libraries' own retries are off: the daemon retries.

In the attempt's folder: `prompt.md`, `stdout` (the text so far), `response.json` (what the server calls the answer, its
counts, why it stopped). The key is in none of them.

Failures: whatever the server, the network or the library does is the outcome of the attempt. Only the disk's refusal
(StorageError) passes. A stream that ends without the sign that its answer is whole is a transient failure.
"""

import asyncio
import json
import os
import time
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.http_errors import ApiRefused, Unreached, failure_of
from brain_daemon.adapters.http_events import Answer, Counted, Event, Piece, ending, reported_usd, whole
from brain_daemon.adapters.http_meter import NOTHING, REFUSED, Meter, used
from brain_daemon.adapters.http_place import missing_extra
from brain_daemon.adapters.http_talk import Ask, Talk
from brain_daemon.adapters.http_target import Target, target_of
from brain_daemon.adapters.prices import cost_of
from brain_daemon.model.errors import StorageError, UserError
from brain_daemon.model.interface import AuthMethod, Endpoint, HttpProtocol, Tier
from brain_daemon.model.outcome import (
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
from brain_daemon.store.files import Files

AFTER_THE_END_SECONDS = 5.0
"""How long a whole answer waits for the counts that follow it."""

_WRITE_SECONDS = 0.2
_BILLED = frozenset({Tier.PAID, Tier.FALLBACK})


class HttpAdapter:
    """Calls the API an interface declares."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def argv(self, invocation: Invocation) -> tuple[str, ...]:
        endpoint = _endpoint(invocation)
        return (f"http:{endpoint.protocol.value}", endpoint.base_url)

    async def invoke(self, invocation: Invocation, cancel: Cancel) -> Ended:
        self._files.make_folder(invocation.folder)
        prompt_path = os.path.join(invocation.folder, "prompt.md")
        self._files.put(prompt_path, invocation.prompt.encode("utf-8", "surrogatepass"), sync=False)
        call = _Call(self._files, invocation)
        started_at, clock = time.time(), time.monotonic()
        running = asyncio.ensure_future(call.run())
        cancel.listen(lambda: _stop(running))
        outcome: Outcome
        try:
            outcome = await running
        except asyncio.CancelledError:
            if not cancel.is_set():
                raise
            outcome = Cancelled()
        finished_at, duration = time.time(), time.monotonic() - clock
        call.write(outcome)
        usage, answer = await asyncio.to_thread(call.usage), call.answer
        return Ended(
            outcome=Cancelled() if cancel.is_set() else outcome,
            started_at=started_at,
            finished_at=finished_at,
            duration_seconds=duration,
            usage=usage,
            cost=await asyncio.to_thread(
                cost_of,
                invocation.interface,
                usage,
                reported_usd(answer.usage),
                answer.names.model,
                invocation.model,
            ),
            model=answer.names.model or invocation.model,
            text=answer.text,
            warnings=call.warnings,
        )


class _Call:
    """One call and what came of it."""

    def __init__(self, files: Files, invocation: Invocation) -> None:
        self._files = files
        self._invocation = invocation
        self._endpoint = _endpoint(invocation)
        self._model = invocation.model or invocation.interface.cost.model or ""
        self._silence_seconds = invocation.interface.invoke.inactivity_seconds or invocation.inactivity_seconds
        self._path = os.path.join(invocation.folder, "stdout")
        self._unwritten: list[str] = []
        self._written_at = 0.0
        self._target: Target | None = None
        self._meter: Meter | None = None
        self._unbilled: Usage | None = NOTHING
        self.answer = Answer()
        self.warnings: tuple[str, ...] = ()

    async def run(self) -> Outcome:
        timeout_seconds = self._invocation.timeout_seconds
        whole_time = asyncio.timeout(timeout_seconds)
        try:
            async with whole_time:
                return self._without_key(await self._outcome())
        except TimeoutError:
            if not whole_time.expired():
                raise
            return TimedOut(after_seconds=timeout_seconds)

    def usage(self) -> Usage:
        """What the call used; nothing, where the server never took it up."""
        if self._unbilled is not None:
            return self._unbilled
        return used(self._invocation, self._endpoint.protocol, self.answer)

    def write(self, outcome: Outcome) -> None:
        """The rest of the text, and the facts."""
        self._write_text()
        names, endpoint = self.answer.names, self._endpoint
        facts = {
            "protocol": endpoint.protocol.value,
            "base_url": self._target.base_url if self._target else endpoint.base_url,
            "model": names.model or self._model,
            "response_id": names.response_id,
            "request_id": names.request_id,
            "stopped": self.answer.reason,
            "complete": self.answer.complete,
            "usage": self.answer.usage,
            "failure": outcome.message if isinstance(outcome, Failed) else None,
        }
        text = self._hide_key(json.dumps(facts, indent=2, ensure_ascii=False, default=str))
        path = os.path.join(self._invocation.folder, "response.json")
        self._files.put(path, f"{whole(text)}\n".encode(), sync=False)

    async def _outcome(self) -> Outcome:
        stop = await self._prepared()
        if stop is not None or self._target is None:
            return stop or Failed(kind=FailureKind.UNAVAILABLE, message="it has no address")
        talk = await asyncio.to_thread(_opened, self._target)
        try:
            return await self._streamed(talk)
        except ApiRefused as refusal:
            return self._refused(refusal)
        except (StorageError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - what a server, a library or the network does is the attempt's outcome
            return self._broken(error)
        finally:
            await _closed(talk, self._invocation.grace_seconds)

    async def _prepared(self) -> Failed | None:
        """Everything that can be known before the first byte is sent; why there is no call, if there is none."""
        spec = self._invocation.interface
        missing = missing_extra(spec)
        if missing:
            return Failed(kind=FailureKind.UNAVAILABLE, message=missing)
        try:
            self._target = await asyncio.to_thread(target_of, spec, self._invocation.environment)
        except UserError as error:
            return Failed(kind=FailureKind.UNAVAILABLE, message=str(error))
        if self._target.key is None and spec.auth.method is not AuthMethod.NONE:
            places = " nor ".join(filter(None, (spec.auth.config_location, f"the variable {spec.auth.env}")))
            return Failed(kind=FailureKind.AUTH, message=f"no key: there is neither {places}")
        return await self._metered()

    async def _metered(self) -> Failed | None:
        """The meter, where a budget can be passed; a prompt that alone would pass it is not sent."""
        if self._invocation.budget_usd is None or self._invocation.interface.cost.tier not in _BILLED:
            return None
        self._meter = await asyncio.to_thread(Meter, self._invocation, self._endpoint.protocol)
        cost = await asyncio.to_thread(self._meter.cost, self.answer)
        if cost.usd is None:
            self.warnings = (f"no price of {self._model} is known, so the budget could not end the call in the middle",)
            self._meter = None
        return self._past_the_budget()

    async def _streamed(self, talk: Talk) -> Outcome:
        quiet = asyncio.timeout(self._silence_seconds)
        ask = Ask(
            model=self._model,
            prompt=whole(self._invocation.prompt),
            system=self._endpoint.system,
            max_output_tokens=self._endpoint.max_output_tokens,
        )
        self._unbilled = None
        try:
            async with quiet, aclosing(talk.events(ask)) as events:
                async for event in events:
                    stop = self._take(event)
                    if stop is not None:
                        return stop
                    self._listen_on(quiet)
        except TimeoutError:
            if not quiet.expired():
                raise
            if not self.answer.complete:
                return TimedOut(after_seconds=self._silence_seconds or 0.0, inactive=True)
        return self._judged()

    def _listen_on(self, quiet: asyncio.Timeout) -> None:
        """Start the deadline for silence anew; after a whole answer little is waited for."""
        seconds = AFTER_THE_END_SECONDS if self.answer.complete else self._silence_seconds
        if seconds is not None:
            quiet.reschedule(asyncio.get_running_loop().time() + seconds)

    def _take(self, event: Event) -> Failed | None:
        """One event; why the stream ends here, if it does."""
        self.answer.take(event)
        if isinstance(event, Piece) and not event.hidden:
            self._unwritten.append(event.text)
            if time.monotonic() - self._written_at > _WRITE_SECONDS:
                self._write_text()
        if self.answer.size_bytes > self._invocation.output_bytes:
            limit_bytes = self._invocation.output_bytes
            return Failed(
                kind=FailureKind.OUTPUT_LIMIT,
                message=f"it said more than {limit_bytes} bytes and was ended (setting output_size)",
            )
        counts = isinstance(event, Counted) or (
            isinstance(event, Piece) and self._meter is not None and self._meter.add(event)
        )
        return self._past_the_budget() if counts and not self.answer.complete else None

    def _past_the_budget(self) -> Failed | None:
        spent = self._meter.over(self.answer) if self._meter is not None else None
        if spent is None:
            return None
        budget = f"{dollars(self._invocation.budget_usd or Decimal(0))}, which is what this call may cost"
        if self._unbilled is not None:
            message = f"the prompt alone would cost about {dollars(spent)}, more than {budget}: nothing was sent"
        else:
            kept = f"the {len(self.answer.text):,} characters that had come are kept"
            message = f"ended in the middle: about {dollars(spent)} was spent, more than {budget}; {kept}"
        return Failed(kind=FailureKind.BUDGET, message=message)

    def _judged(self) -> Outcome:
        return ending(self.answer) or Succeeded(text=self.answer.text)

    def _refused(self, refusal: ApiRefused) -> Failed:
        failure = failure_of(refusal, now=time.time())
        if not self.answer.pieces and not self.answer.usage:
            self._unbilled = REFUSED
            return failure
        kept = f"; the {len(self.answer.text):,} characters that came are kept"
        return replace(failure, message=failure.message + kept)

    def _broken(self, error: Exception) -> Outcome:
        if self.answer.complete:
            return self._judged()
        refused = isinstance(error, Unreached) and error.refused
        base_url = self._target.base_url if self._target else self._endpoint.base_url
        if refused:
            self._unbilled = NOTHING
            return Failed(kind=FailureKind.UNAVAILABLE, message=f"{base_url} cannot be reached: {error}")
        said = str(error) if isinstance(error, Unreached) else f"{type(error).__name__}: {error}"
        kept = f"; the {len(self.answer.text):,} characters that came are kept" if self.answer.pieces else ""
        message = f"the connection to {base_url} broke before the answer ended ({said}){kept}"
        return Failed(kind=FailureKind.TRANSIENT, message=message)

    def _without_key(self, outcome: Outcome) -> Outcome:
        """Servers quote a wrong key in their refusal."""
        if isinstance(outcome, Failed):
            return replace(outcome, message=self._hide_key(outcome.message))
        return outcome

    def _hide_key(self, text: str) -> str:
        key = self._target.key if self._target else None
        return text.replace(key, "[secret]") if key else text

    def _write_text(self) -> None:
        text, self._unwritten = whole("".join(self._unwritten)), []
        self._files.append(self._path, text.encode())
        self._written_at = time.monotonic()


def _stop(running: asyncio.Future[Outcome]) -> None:
    running.cancel()


def _endpoint(invocation: Invocation) -> Endpoint:
    endpoint = invocation.interface.invoke.endpoint
    if endpoint is None:
        raise UserError(f"calling {invocation.interface.name}: its file names no `invoke.protocol`")
    return endpoint


def _opened(target: Target) -> Talk:
    """The talk in the target's protocol. Takes a second the first time, so it belongs off the event loop."""
    match target.endpoint.protocol:
        case HttpProtocol.OPENAI:
            from brain_daemon.adapters.http_openai import OpenAITalk  # noqa: PLC0415 - half a second, and an extra

            return OpenAITalk(target)
        case HttpProtocol.ANTHROPIC:
            from brain_daemon.adapters.http_anthropic import AnthropicTalk  # noqa: PLC0415 - a second, and an extra

            return AnthropicTalk(target)


async def _closed(talk: Talk, grace_seconds: float) -> None:
    """Close every connection, and do not let a server that does not answer the goodbye hold the attempt."""
    try:
        async with asyncio.timeout(grace_seconds):
            await talk.close()
    except Exception:  # noqa: BLE001, S110 - nobody is left whom a failed goodbye could tell anything
        pass
