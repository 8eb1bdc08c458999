"""APIs: what is sent, what comes of each way a server can answer, and what is kept. The providers' own libraries, a real server."""

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from brain_daemon.adapters import http
from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.http import HttpAdapter
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import Cancelled, CostBasis, Failed, FailureKind, Succeeded, TimedOut, Usage
from brain_daemon.model.parsing import parse_task
from brain_daemon.store.files import Files

KEY = "made-up-key-of-a-test"
HOSTILE = "Grüße 中😀 \N{RIGHT-TO-LEFT OVERRIDE}fin\n"
BOTH = pytest.mark.parametrize("protocol", ["openai", "anthropic"])
PATIENCE_SECONDS = 60.0


@dataclass
class Request:
    """What the server was sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Server:
    """An HTTP server that answers as a test says; `gone` is set when a caller has closed its connection."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    script: Any = None
    serving: set[asyncio.Future[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append(Request(head[0].split()[1], headers, json.loads(body or b"{}")))
            watching = asyncio.ensure_future(self._watch(reader))
            try:
                await self.script(Reply(writer, self))
            finally:
                writer.close()
                await watching

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        self.gone.set()


@dataclass
class Reply:
    """One answer, written step by step."""

    writer: asyncio.StreamWriter
    server: Server

    async def start(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Because", f"Content-Type: {kind}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join(lines) + "\r\n\r\n")

    async def raw(self, text: str) -> None:
        self.writer.write(text.encode())
        await self.writer.drain()

    async def event(self, value: dict[str, Any]) -> None:
        await self.raw(f"event: {value.get('type', 'message')}\ndata: {json.dumps(value)}\n\n")

    async def error(self, status: int, body: object, **headers: str) -> None:
        await self.start(status, "application/json", **headers)
        await self.raw(json.dumps(body))

    async def until_gone(self) -> None:
        await asyncio.wait_for(self.server.gone.wait(), PATIENCE_SECONDS)


class OpenAIWords:
    """Events in OpenAI's words."""

    def begin(self):
        return [self._chunk({"role": "assistant", "content": ""})]

    def piece(self, text):
        return self._chunk({"content": text})

    def end(self, reason="stop", tokens=(100, 20)):
        usage = {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "prompt_tokens_details": {"cached_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 7},
        }
        return [self._chunk({}, reason), {"id": "r1", "model": "gpt-5-2025-08-07", "choices": [], "usage": usage}]

    def _chunk(self, delta, reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {"id": "r1", "object": "chat.completion.chunk", "model": "gpt-5-2025-08-07", "choices": [choice]}


class AnthropicWords:
    """Events in Anthropic's words."""

    def begin(self):
        usage = {
            "input_tokens": 30,
            "cache_read_input_tokens": 60,
            "cache_creation_input_tokens": 10,
            "output_tokens": 1,
        }
        message = {"id": "r1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "usage": usage}
        return [{"type": "message_start", "message": message}, {"type": "ping"}]

    def piece(self, text):
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}

    def end(self, reason="end_turn", tokens=(100, 20)):
        delta = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": tokens[1]}}
        return [delta, {"type": "message_stop"}]


WORDS = {"openai": OpenAIWords(), "anthropic": AnthropicWords()}
MODELS = {"openai": "gpt-5", "anthropic": "claude-haiku-4-5"}


def says(protocol, *pieces, end=True, **ending):
    """A script that says these pieces."""

    async def script(reply):
        await reply.start(x_request_id="q1", request_id="q1")
        words = WORDS[protocol]
        for event in (*words.begin(), *map(words.piece, pieces), *(words.end(**ending) if end else ())):
            await reply.event(event)

    return script


def refuses(status, body, **headers):
    async def script(reply):
        await reply.error(status, body, **headers)

    return script


@pytest.fixture
async def server():
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=4 << 20)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    await asyncio.wait_for(asyncio.gather(*made.serving), PATIENCE_SECONDS)
    await listening.wait_closed()


def interface(protocol, url, *, front="", invoke="") -> InterfaceSpec:
    text = (
        f"---\nname: mine\nauth: {{method: api_key, env: MY_KEY}}\n{front or 'cost: {model: ' + MODELS[protocol] + '}'}\n"
        f"invoke:\n  kind: http\n  protocol: {protocol}\n  base_url: {url}\n{invoke}---\n# Mine\n"
    )
    made = parse_interface("mine.md", text.encode())
    assert isinstance(made, InterfaceSpec), made
    return made


@pytest.fixture
def invocation(tmp_path):
    def make(spec, **changes):
        made = Invocation(
            attempt_id="t.a1.00000000",
            task=parse_task("t.md", b"# Title\n\nbody\n"),
            interface=spec,
            prompt="hello",
            root=str(tmp_path),
            folder=str(tmp_path / "attempt"),
            workspace=str(tmp_path / "work"),
            environment={"MY_KEY": KEY, "OTHER_KEY": "stays"},
            timeout_seconds=PATIENCE_SECONDS,
            grace_seconds=1.0,
            model=spec.cost.model,
        )
        return replace(made, **changes)

    return make


@pytest.fixture
def invoke(server, invocation):
    """Calls the server by a protocol and returns how it ended."""

    async def call(protocol, *, cancel=None, front="", inside="", **changes):
        spec = interface(protocol, server.url, front=front, invoke=inside)
        return await HttpAdapter(Files()).invoke(invocation(spec, **changes), cancel or Cancel())

    return call


def until_written(path):
    """Wait until something of an answer stands in the attempt's folder."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def facts(tmp_path):
    return json.loads((tmp_path / "attempt" / "response.json").read_text())


@BOTH
async def test_a_good_answer_comes_back_to_the_byte_with_its_tokens_cost_and_name(protocol, server, invoke, tmp_path):
    """Input is all input with the cached part in it, by either protocol; the price is the list's, with cached input cheaper."""
    server.script = says(protocol, HOSTILE, "", "done.")
    ended = await invoke(protocol)
    assert ended.outcome == Succeeded(text=HOSTILE + "done.")
    assert ended.text == HOSTILE + "done."
    reasoning = {"openai": 7, "anthropic": None}[protocol]
    assert ended.usage == Usage(
        input_tokens=100, cached_input_tokens=60, output_tokens=20, reasoning_tokens=reasoning, requests=1
    )
    assert ended.cost.basis is CostBasis.PRICED
    # GPT-5: $1.25, $0.125 cached, $10; Haiku 4.5: $1, $0.10 cached, $5, a million each
    assert ended.cost.usd == {"openai": Decimal("0.000258"), "anthropic": Decimal("0.000146")}[protocol]
    assert ended.model == {"openai": "gpt-5-2025-08-07", "anthropic": "claude-haiku-4-5"}[protocol]
    assert (tmp_path / "attempt" / "stdout").read_text() == HOSTILE + "done."
    assert (tmp_path / "attempt" / "prompt.md").read_text() == "hello"
    assert (facts(tmp_path)["response_id"], facts(tmp_path)["request_id"]) == ("r1", "q1")


@BOTH
async def test_what_is_sent_is_one_streamed_request_with_the_key_in_its_header(protocol, server, invoke, tmp_path):
    """The key stands nowhere else: not in the body, not in the attempt's folder, and nobody else's key is there."""
    server.script = says(protocol, "yes")
    await invoke(protocol, inside="  system: Be brief.\n  max_output_tokens: 4000\n")
    (request,) = server.requests
    assert request.path == {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}[protocol]
    assert KEY in (request.headers.get("authorization", "") + request.headers.get("x-api-key", ""))
    assert request.body["stream"] is True
    assert request.body["model"] == MODELS[protocol]
    assert request.body["max_tokens"] == 4000
    assert request.body["messages"][-1] == {"role": "user", "content": "hello"}
    assert "Be brief." in json.dumps(request.body)
    assert KEY not in json.dumps(request.body)
    assert "stays" not in json.dumps([request.headers, request.body])
    for file in (tmp_path / "attempt").iterdir():
        assert KEY not in file.read_text()


@BOTH
async def test_a_prompt_of_a_megabyte_arrives_whole(protocol, server, invoke):
    """Length is nothing to this adapter; limits are declared."""
    server.script = says(protocol, "read")
    prompt = "é中😀 long " * 100_000
    ended = await invoke(protocol, prompt=prompt)
    assert isinstance(ended.outcome, Succeeded)
    assert server.requests[0].body["messages"][-1]["content"] == prompt


async def test_a_character_cut_in_two_by_the_server_is_whole_again(server, invoke):
    """Some servers stream UTF-16 halves; half a character alone becomes a replacement sign, and nothing breaks."""
    server.script = says("openai", "a\ud83d", "\ude00b", "\ud83d")
    assert (await invoke("openai")).text == "a😀b\N{REPLACEMENT CHARACTER}"


CLASSES = [
    (401, {"error": {"message": "bad key", "code": "invalid_api_key"}}, {}, "auth", None),
    (403, {"error": {"message": "no access"}}, {}, "auth", None),
    (429, {"error": {"message": "slow", "code": "rate_limit_exceeded"}}, {"Retry_After": "7"}, "rate_limit", 7.0),
    (429, {"error": {"message": "slow"}}, {"retry_after_ms": "1500", "Retry_After": "2"}, "rate_limit", 1.5),
    (429, {"error": {"message": "pay", "code": "insufficient_quota"}}, {}, "quota", None),
    (500, {"error": {"message": "oops"}}, {}, "transient", None),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, {}, "transient", None),
    (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}, {}, "context_too_long", None),
    (404, {"error": {"message": "no such model"}}, {}, "permanent", None),
    (400, {"error": {"message": "bad"}}, {}, "permanent", None),
]


@BOTH
@pytest.mark.parametrize(("status", "body", "headers", "kind", "wait"), CLASSES)
async def test_each_refusal_has_its_class_and_costs_nothing(
    protocol, server, invoke, status, body, headers, kind, wait
):
    """One request is made and no more: the libraries' own retries are off."""
    server.script = refuses(status, body, **headers)
    ended = await invoke(protocol)
    assert isinstance(ended.outcome, Failed)
    assert (ended.outcome.kind, ended.outcome.retry_after_seconds) == (FailureKind(kind), wait)
    assert body["error"]["message"] in ended.outcome.message
    assert len(server.requests) == 1
    assert ended.usage == Usage(input_tokens=0, output_tokens=0, requests=1)
    assert ended.cost.usd == 0


async def test_a_key_that_the_server_quotes_is_not_passed_on(server, invoke, tmp_path):
    """Providers like to say which key was wrong."""
    server.script = refuses(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    ended = await invoke("openai")
    assert ended.outcome == Failed(kind=FailureKind.AUTH, message="HTTP 401: Incorrect API key provided: [secret]")
    assert KEY not in (tmp_path / "attempt" / "response.json").read_text()


@BOTH
async def test_an_error_inside_a_stream_that_began_well_is_read_too(protocol, server, invoke):
    """What had come is kept, and its tokens are estimated."""

    async def script(reply):
        await says(protocol, "half of ", end=False)(reply)
        await reply.event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})

    server.script = script
    ended = await invoke(protocol)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.TRANSIENT
    assert "Overloaded" in ended.outcome.message
    assert ended.text == "half of "
    assert ended.usage.estimated


@BOTH
async def test_a_stream_without_its_end_is_no_answer(protocol, server, invoke):
    """Half a text with a clean end of the connection is transient, and the half is kept."""
    server.script = says(protocol, "The answer is", end=False)
    ended = await invoke(protocol)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.TRANSIENT
    assert "13 characters" in ended.outcome.message
    assert ended.text == "The answer is"
    assert ended.usage.estimated
    assert ended.usage.output_tokens


@BOTH
async def test_a_connection_that_breaks_in_the_middle_is_no_answer(protocol, server, invoke):
    """A length that is not kept, or a reset: transient, and the half is kept."""

    async def script(reply):
        await reply.start(Content_Length="100000")
        for event in (*WORDS[protocol].begin(), WORDS[protocol].piece("half")):
            await reply.event(event)

    server.script = script
    ended = await invoke(protocol)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.TRANSIENT
    assert ended.text == "half"


@BOTH
async def test_a_stream_that_is_not_what_it_should_be_is_transient(protocol, server, invoke):
    """A line that is no JSON, as from a proxy's error page, breaks nothing but this attempt."""

    async def script(reply):
        await reply.start()
        await reply.raw("event: message_start\ndata: <html>Bad gateway</html>\n\n")

    server.script = script
    ended = await invoke(protocol)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.TRANSIENT


@pytest.mark.parametrize(
    ("protocol", "reason", "kind"),
    [
        ("openai", "length", "output_limit"),
        ("openai", "content_filter", "permanent"),
        ("openai", "tool_calls", "permanent"),
        ("anthropic", "max_tokens", "output_limit"),
        ("anthropic", "refusal", "permanent"),
        ("anthropic", "model_context_window_exceeded", "context_too_long"),
    ],
)
async def test_an_answer_that_was_cut_short_is_no_success(server, invoke, protocol, reason, kind):
    """The server says so itself; its text and its tokens, which were paid for, are kept."""
    server.script = says(protocol, "as far as it goes", reason=reason)
    ended = await invoke(protocol)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind(kind)
    assert reason in ended.outcome.message
    assert (ended.text, ended.usage.output_tokens, ended.usage.estimated) == ("as far as it goes", 20, False)


@BOTH
async def test_an_end_without_an_answer_is_no_success(protocol, server, invoke):
    """Nothing but blanks is not positive evidence."""
    server.script = says(protocol, " \n")
    ended = await invoke(protocol)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.TRANSIENT


@BOTH
async def test_nobody_there_is_said_with_the_address(protocol, server, invocation):
    """Unavailable: the next interface may try, and nothing was used."""
    closed = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = closed.sockets[0].getsockname()[1]
    closed.close()
    await closed.wait_closed()
    spec = interface(protocol, f"http://127.0.0.1:{port}/v1")
    ended = await HttpAdapter(Files()).invoke(invocation(spec), Cancel())
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.UNAVAILABLE
    assert f"http://127.0.0.1:{port}/v1 cannot be reached" in ended.outcome.message
    assert ended.usage == Usage(input_tokens=0, output_tokens=0, requests=0)


def drips(protocol):
    """A script that says a word, and then a word every 20 ms for as long as anybody listens."""

    async def script(reply):
        await says(protocol, "first ", end=False)(reply)
        while not reply.server.gone.is_set():
            await reply.event(WORDS[protocol].piece("word "))
            await asyncio.sleep(0.02)

    return script


def falls_silent(protocol):
    async def script(reply):
        await says(protocol, "first ", end=False)(reply)
        await reply.until_gone()

    return script


@BOTH
async def test_the_deadline_ends_an_answer_that_goes_on(protocol, server, invoke):
    """The connection is closed, and what had come is kept with its estimated tokens."""
    server.script = drips(protocol)
    ended = await invoke(protocol, timeout_seconds=1.0)
    assert ended.outcome == TimedOut(after_seconds=1.0)
    assert ended.text.startswith("first word ")
    assert ended.usage.estimated
    await asyncio.wait_for(server.gone.wait(), PATIENCE_SECONDS)


@BOTH
async def test_silence_ends_an_answer_that_stopped_coming(protocol, server, invoke):
    """Its own deadline, long before the whole one."""
    server.script = falls_silent(protocol)
    ended = await invoke(protocol, inactivity_seconds=0.5)
    assert ended.outcome == TimedOut(after_seconds=0.5, inactive=True)
    assert ended.text == "first "
    await asyncio.wait_for(server.gone.wait(), PATIENCE_SECONDS)


@BOTH
async def test_words_now_and_then_are_no_silence(protocol, server, invoke):
    """The deadline for silence starts anew with each piece."""

    async def script(reply):
        await says(protocol, end=False)(reply)
        for _ in range(8):
            await reply.event(WORDS[protocol].piece("word "))
            await asyncio.sleep(0.3)
        for event in WORDS[protocol].end():
            await reply.event(event)

    server.script = script
    ended = await invoke(protocol, inactivity_seconds=2.0)
    assert ended.outcome == Succeeded(text="word " * 8)


async def test_a_server_that_never_answers_at_all_is_left_at_the_deadline_for_silence(server, invoke):
    """It took the request and says nothing."""

    async def script(reply):
        await reply.until_gone()

    server.script = script
    ended = await invoke("openai", inactivity_seconds=0.3)
    assert ended.outcome == TimedOut(after_seconds=0.3, inactive=True)


async def test_a_whole_answer_whose_connection_stays_open_is_an_answer(server, invoke, monkeypatch):
    """The finish reason says that all is there; only the counts are missing, and they are estimated."""
    monkeypatch.setattr(http, "AFTER_THE_END_SECONDS", 0.1)

    async def script(reply):
        await says("openai", "all of it", end=False)(reply)
        await reply.event(OpenAIWords().end()[0])
        await reply.until_gone()

    server.script = script
    ended = await invoke("openai")
    assert ended.outcome == Succeeded(text="all of it")
    assert ended.usage.estimated
    assert ended.usage.input_tokens


@BOTH
async def test_a_cancel_closes_the_connection_at_once_and_wins(protocol, server, invoke, tmp_path):
    """In the middle of a stream; what had come is kept, whatever the server says afterwards."""
    server.script = drips(protocol)
    cancel = Cancel()
    running = asyncio.ensure_future(invoke(protocol, cancel=cancel))
    await asyncio.to_thread(until_written, tmp_path / "attempt" / "stdout")
    cancel.set()
    ended = await running
    assert ended.outcome == Cancelled()
    assert "first" in ended.text
    assert ended.usage.estimated
    await asyncio.wait_for(server.gone.wait(), PATIENCE_SECONDS)


async def test_a_cancel_before_the_start_sends_nothing(server, invoke):
    """It is over before it began."""
    cancel = Cancel()
    cancel.set()
    ended = await invoke("openai", cancel=cancel)
    assert ended.outcome == Cancelled()
    assert server.requests == []


async def test_the_end_of_the_daemon_passes_through_and_closes_the_connection(server, invoke, tmp_path):
    """A cancelled caller is no cancelled task: nothing is made of it."""
    server.script = drips("openai")
    running = asyncio.ensure_future(invoke("openai"))
    await asyncio.to_thread(until_written, tmp_path / "attempt" / "stdout")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(server.gone.wait(), PATIENCE_SECONDS)


@BOTH
async def test_a_budget_ends_a_run_in_the_middle(protocol, server, invoke):
    """The stream is closed, the money is counted, and what was produced is kept."""
    server.script = drips(protocol)
    front = "cost: {model: " + MODELS[protocol] + ", input_per_million: 1, output_per_million: 1000}"
    ended = await invoke(protocol, front=front, budget_usd=Decimal("0.05"))
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.BUDGET
    assert "more than $0.05" in ended.outcome.message
    assert f"{len(ended.text):,} characters" in ended.outcome.message
    assert ended.text.startswith("first word word")
    assert ended.cost.usd is not None
    assert Decimal("0.05") < ended.cost.usd < Decimal("0.2")
    await asyncio.wait_for(server.gone.wait(), PATIENCE_SECONDS)


async def test_a_prompt_that_alone_passes_the_budget_is_not_sent(server, invoke):
    """Nothing is spent on what could not be finished."""
    ended = await invoke("openai", prompt="word " * 10_000, budget_usd=Decimal("0.001"))
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.BUDGET
    assert "nothing was sent" in ended.outcome.message
    assert (server.requests, ended.cost.usd) == ([], 0)


async def test_a_budget_that_is_kept_ends_nothing(server, invoke):
    """The answer is whole and its real cost is charged."""
    server.script = says("openai", *("word " for _ in range(200)))
    ended = await invoke("openai", budget_usd=Decimal("0.5"))
    assert isinstance(ended.outcome, Succeeded)
    assert ended.usage.output_tokens == 20


async def test_a_budget_without_a_known_price_is_said(server, invoke):
    """Nothing can be stopped by a price that nobody knows; the cost is unknown and never zero."""
    server.script = says("openai", "yes")
    ended = await invoke("openai", front="cost: {model: nobody-knows-1}", model="nobody-knows-1", budget_usd=Decimal(1))
    assert isinstance(ended.outcome, Succeeded)
    assert "no price of nobody-knows-1 is known" in " ".join(ended.warnings)


async def test_a_free_server_has_no_budget(server, invoke):
    """What costs nothing is never stopped for its cost."""
    server.script = says("openai", "yes")
    ended = await invoke("openai", front="cost: {model: m, tier: free}", budget_usd=Decimal(0))
    assert isinstance(ended.outcome, Succeeded)
    assert ended.cost.basis is CostBasis.FREE


async def test_an_answer_beyond_the_limit_is_ended(server, invoke):
    """Everything has a limit."""
    server.script = drips("openai")
    ended = await invoke("openai", output_bytes=50)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.OUTPUT_LIMIT
    assert len(ended.text) < 100
    await asyncio.wait_for(server.gone.wait(), PATIENCE_SECONDS)


async def test_thinking_counts_and_is_not_part_of_the_answer(server, invoke):
    """Other servers stream it beside the text."""

    async def script(reply):
        await reply.start()
        thought = {"index": 0, "delta": {"reasoning_content": "let me see"}}
        await reply.event({"id": "r1", "model": "m", "choices": [thought]})
        for event in (WORDS["openai"].piece("four"), *WORDS["openai"].end()):
            await reply.event(event)

    server.script = script
    assert (await invoke("openai")).outcome == Succeeded(text="four")


async def test_a_server_that_does_not_know_the_counts_option_is_asked_without_it(server, invoke):
    """Older servers refuse `stream_options`; the tokens are estimated then."""

    async def script(reply):
        if "stream_options" in server.requests[-1].body:
            await reply.error(400, {"error": {"message": "Unrecognized request argument supplied: stream_options"}})
        else:
            await reply.start()
            for event in (WORDS["openai"].piece("yes"), WORDS["openai"].end()[0]):
                await reply.event(event)

    server.script = script
    ended = await invoke("openai")
    assert ended.outcome == Succeeded(text="yes")
    assert len(server.requests) == 2
    assert ended.usage.estimated


async def test_a_server_that_wants_the_newer_name_of_the_length_gets_it(server, invoke):
    """OpenAI's newer models refuse `max_tokens` and say which name they want."""

    async def script(reply):
        if "max_tokens" in server.requests[-1].body:
            message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
            await reply.error(400, {"error": {"message": message}})
        else:
            await says("openai", "yes")(reply)

    server.script = script
    ended = await invoke("openai", inside="  max_output_tokens: 500\n")
    assert isinstance(ended.outcome, Succeeded)
    assert server.requests[1].body["max_completion_tokens"] == 500


async def test_a_model_of_anthropics_that_may_say_less_is_asked_for_less(server, invoke):
    """The protocol wants a bound; a refusal names the model's own."""

    async def script(reply):
        if server.requests[-1].body["max_tokens"] > 8192:
            message = "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for x"
            await reply.error(400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}})
        else:
            await says("anthropic", "yes")(reply)

    server.script = script
    assert isinstance((await invoke("anthropic")).outcome, Succeeded)
    assert [request.body["max_tokens"] for request in server.requests] == [32000, 8192]


async def test_a_server_that_bills_itself_is_believed(server, invoke):
    """OpenRouter's counts carry the US dollars."""

    async def script(reply):
        await reply.start()
        usage = {"prompt_tokens": 5, "completion_tokens": 1, "cost": 0.00123}
        for event in (
            WORDS["openai"].piece("yes"),
            WORDS["openai"].end()[0],
            {"id": "r1", "choices": [], "usage": usage},
        ):
            await reply.event(event)

    server.script = script
    ended = await invoke("openai")
    assert (ended.cost.usd, ended.cost.basis) == (Decimal("0.00123"), CostBasis.REPORTED)


async def test_a_variable_goes_before_the_address_in_the_file(server, invocation):
    """Gateways and local servers, without editing a file that ships."""
    server.script = says("openai", "here")
    spec = interface("openai", "http://192.0.2.1/v1", invoke="  base_url_env: MY_URL\n")
    environment = {"MY_KEY": KEY, "MY_URL": server.url}
    ended = await HttpAdapter(Files()).invoke(invocation(spec, environment=environment), Cancel())
    assert ended.outcome == Succeeded(text="here")
    assert HttpAdapter(Files()).argv(invocation(spec)) == ("http:openai", "http://192.0.2.1/v1")


async def test_without_its_key_nothing_is_sent(server, invoke, monkeypatch):
    """A key in the process's own environment, which the libraries would take by themselves, is not used instead."""
    monkeypatch.setenv("OPENAI_API_KEY", "somebody-elses")
    ended = await invoke("openai", environment={})
    assert ended.outcome == Failed(kind=FailureKind.AUTH, message="no key: there is neither the variable MY_KEY")
    assert server.requests == []


@BOTH
async def test_what_the_libraries_find_in_the_environment_reaches_no_server(protocol, server, invoke, monkeypatch):
    """Keys, accounts and addresses come from the interface alone."""
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, "somebody-elses")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://192.0.2.1")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    server.script = says(protocol, "yes")
    front = "cost: {model: m, tier: free}"
    assert isinstance((await invoke(protocol, front=front)).outcome, Succeeded)
    assert "somebody-elses" not in json.dumps(server.requests[0].headers)


async def test_a_missing_library_is_said_with_the_line_that_helps(server, invoke, monkeypatch):
    """The interface is offline, the daemon is not."""
    monkeypatch.setattr(http, "missing_extra", lambda spec: "it needs the Python package openai: ...")
    ended = await invoke("openai")
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.UNAVAILABLE
    assert server.requests == []


def test_the_libraries_are_not_loaded_with_the_program(tmp_path):
    """They take longer to load than all the rest, and only some people use them."""
    import subprocess

    script = (
        "import sys, brain_daemon.service.supervisor, brain_daemon.adapters.http;"
        "print([name for name in ('openai', 'anthropic', 'genai_prices', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
