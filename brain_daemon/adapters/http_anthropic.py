"""Anthropic's messages, by the library `anthropic`.

The protocol wants a bound on every answer. Where the interface names none, a large one is asked for; a model that may not
say so much names its own bound in the refusal, and the request is made once more with that.
"""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic

from brain_daemon.adapters.http_errors import ApiRefused, Unreached, error_message
from brain_daemon.adapters.http_events import Event, Named, anthropic_events
from brain_daemon.adapters.http_talk import CONNECT_SECONDS, NO_KEY, Ask, why_unreached
from brain_daemon.adapters.http_target import Target, connecting
from brain_daemon.model.interface import AuthMethod

DEFAULT_OUTPUT_TOKENS = 32_000
_TOO_MANY = re.compile(r"max_tokens: \d+ > (\d+)")


class AnthropicTalk:
    """One server that speaks the protocol `anthropic`."""

    def __init__(self, target: Target) -> None:
        token = target.key if target.method is AuthMethod.OAUTH else None
        self._client = anthropic.AsyncAnthropic(
            api_key=None if token else target.key or NO_KEY,
            auth_token=token,
            base_url=target.base_url.removesuffix("/v1"),
            timeout=anthropic.Timeout(None, connect=CONNECT_SECONDS),
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(**connecting(target)),
        )

    async def events(self, ask: Ask) -> AsyncGenerator[Event, None]:
        with _translated():
            stream = await self._started(_body(ask))
            try:
                yield Named(request_id=stream.response.headers.get("request-id"))
                async for event in stream:
                    for one in anthropic_events(_plain(event)):
                        yield one
            finally:
                await stream.close()

    async def close(self) -> None:
        await self._client.close()

    async def _started(self, body: dict[str, Any]) -> Any:
        create: Any = self._client.messages.create
        try:
            return await create(**body)
        except anthropic.BadRequestError as error:
            allowed = _TOO_MANY.search(error_message(error.body))
            if allowed is None:
                raise
            return await create(**body | {"max_tokens": int(allowed[1])})


def _body(ask: Ask) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": ask.model,
        "max_tokens": ask.max_output_tokens or DEFAULT_OUTPUT_TOKENS,
        "messages": [{"role": "user", "content": ask.prompt}],
        "stream": True,
    }
    return body | {"system": ask.system} if ask.system else body


def _plain(event: Any) -> dict[str, Any]:
    return event.to_dict(warnings=False) if isinstance(event, anthropic.BaseModel) else {}


@contextmanager
def _translated() -> Iterator[None]:
    """The library's errors in our words; what it does not translate itself (a line that is no JSON) broke the stream."""
    try:
        yield
    except anthropic.APIStatusError as error:
        raise ApiRefused(error.status_code, error.body, dict(error.response.headers)) from error
    except anthropic.APIConnectionError as error:
        why, refused = why_unreached(error)
        raise Unreached(why, refused=refused) from error
    except anthropic.APIError as error:
        raise ApiRefused(None, error.body) from error
    except (anthropic.AnthropicError, ValueError) as error:
        raise Unreached(f"{type(error).__name__}: {error}", refused=False) from error
