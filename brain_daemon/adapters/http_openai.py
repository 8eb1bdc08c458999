"""OpenAI's chat completions, by the library `openai`: OpenAI itself and every server that speaks its language.

Compatible servers differ in what they accept. A parameter that a server refuses by name is left out or said in its other
name, and the request made once more; a refused request costs nothing.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import openai

from brain_daemon.adapters.http_errors import ApiRefused, Unreached
from brain_daemon.adapters.http_events import Event, Named, openai_events
from brain_daemon.adapters.http_talk import CONNECT_SECONDS, NO_KEY, Ask, why_unreached
from brain_daemon.adapters.http_target import Target, connecting

_LENGTHS = ("max_completion_tokens", "max_tokens")  # the newer name, which few but OpenAI know; the older one


class OpenAITalk:
    """One server that speaks the protocol `openai`."""

    def __init__(self, target: Target) -> None:
        self._is_openai = target.base_url.startswith("https://api.openai.com/")
        self._client = openai.AsyncOpenAI(
            api_key=target.key or NO_KEY,
            base_url=target.base_url,
            timeout=openai.Timeout(None, connect=CONNECT_SECONDS),
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(**connecting(target)),
        )
        # The library fills these from the environment; no server is told what its interface does not list.
        self._client.organization = target.variables.get("OPENAI_ORG_ID")
        self._client.project = target.variables.get("OPENAI_PROJECT_ID")

    async def events(self, ask: Ask) -> AsyncGenerator[Event, None]:
        with _translated():
            stream = await self._started(_body(ask, _LENGTHS[0] if self._is_openai else _LENGTHS[1]))
            try:
                yield Named(request_id=stream.response.headers.get("x-request-id"))
                async for chunk in stream:
                    for event in openai_events(_plain(chunk)):
                        yield event
            finally:
                await stream.close()

    async def close(self) -> None:
        await self._client.close()

    async def _started(self, body: dict[str, Any]) -> Any:
        create: Any = self._client.chat.completions.create
        while True:
            try:
                return await create(**body)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                changed = _without_what_is_refused(body, str(error.body or error))
                if changed is None:
                    raise
                body = changed


def _body(ask: Ask, length: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": ask.system}] if ask.system else []
    body: dict[str, Any] = {
        "model": ask.model,
        "messages": [*messages, {"role": "user", "content": ask.prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return body if ask.max_output_tokens is None else body | {length: ask.max_output_tokens}


def _without_what_is_refused(body: dict[str, Any], said: str) -> dict[str, Any] | None:
    """The request once more, without the parameter that was refused; None where that is not what was said."""
    if "stream_options" in body and "stream_options" in said:
        return {name: value for name, value in body.items() if name != "stream_options"}
    newer, older = _LENGTHS
    if older in body and newer in said:
        return {newer if name == older else name: value for name, value in body.items()}
    return None


def _plain(chunk: Any) -> dict[str, Any]:
    return chunk.to_dict(warnings=False) if isinstance(chunk, openai.BaseModel) else {}


@contextmanager
def _translated() -> Iterator[None]:
    """The library's errors in our words; what it does not translate itself (a line that is no JSON) broke the stream."""
    try:
        yield
    except openai.APIStatusError as error:
        raise ApiRefused(error.status_code, error.body, dict(error.response.headers)) from error
    except openai.APIConnectionError as error:
        why, refused = why_unreached(error)
        raise Unreached(why, refused=refused) from error
    except openai.APIError as error:
        raise ApiRefused(None, error.body) from error
    except (openai.OpenAIError, ValueError) as error:
        raise Unreached(f"{type(error).__name__}: {error}", refused=False) from error
