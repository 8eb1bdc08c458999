"""What aimock cannot say, said by a small server: cached tokens, spent quotas, waits of hours, logins, and whether a long prompt came whole.

The first part of the path chooses what is said (`http://127.0.0.1:PORT/cached/v1/messages`), the rest is the vendor's. The
bodies of errors and the names of headers are modelled on public issue threads about the real services.
"""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.clients.servers import usage

CACHED_TEXT = "from the cache é中😀"
LAST_WORDS = "It is done."
INPUT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS = 9312, 8000, 77, 21
HOURS_SECONDS = 10_800
SOON_SECONDS = 5
CALLING = (100, 20)
"""Input and output tokens of the answer that calls a tool before the limit is met."""
_PAYLOAD = re.compile(r"<<<(.*?)>>>", re.DOTALL)

Answer = tuple[int, Mapping[str, str], bytes]


class Stub(ThreadingHTTPServer):
    """The server; `url(scenario)` is a base address for a client. `resets_at` is the epoch that spent quotas name, `asked` the scenarios in order.

    `is_spent`: the limit in the middle of a run has been met. `logged_in`: the login of `expired` works again.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.resets_at = int(time.time()) + HOURS_SECONDS
        self.asked: list[str] = []
        self.is_spent = False
        self.logged_in = False
        self.closing = threading.Event()

    def url(self, scenario: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{scenario}"


@contextlib.contextmanager
def stub() -> Iterator[Stub]:
    """A running stub; it ends with the block."""
    server = Stub()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Stub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply((404, {}, b"{}"))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        scenario, _, rest = self.path.lstrip("/").partition("/")
        self.server.asked.append(scenario)
        body = json.loads(asked) if asked.startswith(b"{") else {}
        answer = _SCENARIOS.get(scenario, _unknown)
        self._reply(answer(_vendor(rest), body, self.server))

    def _reply(self, answer: Answer) -> None:
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing: what was asked stands in `asked`."""


def _vendor(path: str) -> str:
    if "messages" in path:
        return "anthropic"
    if "responses" in path:
        return "responses"
    return "gemini" if "models/" in path else "chat"


def _json(status: int, body: object, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()


def _unknown(vendor: str, body: Mapping[str, Any], server: Stub) -> Answer:
    return _json(404, {"error": {"message": "the stub knows no such scenario"}})


def _cached(vendor: str, body: Mapping[str, Any], server: Stub) -> Answer:
    """A good answer most of whose input came from a cache."""
    return _ANSWERS[vendor](CACHED_TEXT, body)


def _digest(vendor: str, body: Mapping[str, Any], server: Stub) -> Answer:
    """The SHA-256 of what stands between <<< and >>> in the prompt, as it arrived."""
    found = [match for text in _texts(body) for match in _PAYLOAD.findall(text)]
    return _ANSWERS[vendor](hashlib.sha256(found[-1].encode()).hexdigest() if found else "nothing", body)


def _texts(value: object) -> Iterator[str]:
    """Every string in a JSON document, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _quota(vendor: str, body: Mapping[str, Any], server: Stub) -> Answer:
    """The amount for hours, a day or a plan is used up."""
    resets = str(server.resets_at)
    if vendor == "anthropic":
        prefix = "anthropic_ratelimit_unified_"
        headers = {
            "status": "rejected", "representative_claim": "five_hour", "reset": resets, "5h_status": "rejected",
            "5h_reset": resets, "5h_utilization": "1.0", "overage_status": "rejected",
        }  # fmt: skip
        error = {"type": "rate_limit_error", "message": "This request would exceed your account's rate limit."}
        told = {f"{prefix}{name}": value for name, value in headers.items()}
        return _json(
            429, {"type": "error", "error": error}, retry_after=str(HOURS_SECONDS), x_should_retry="false", **told
        )
    if vendor == "responses":
        error = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus"}
        return _json(429, {"error": {**error, "resets_at": server.resets_at, "resets_in_seconds": HOURS_SECONDS}})
    if vendor == "gemini":
        violation = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "250"}
        failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
        message = "You exceeded your current quota, please check your plan and billing details."
        return _json(
            429, {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": [failure]}}
        )
    message = "You exceeded your current quota, please check your plan and billing details."
    return _json(429, {"error": {"message": message, "type": "insufficient_quota", "code": "insufficient_quota"}})


def _middle(vendor: str, body: Mapping[str, Any], server: Stub) -> Answer:
    """Claude runs a tool; what comes of that meets the five-hour limit, which ends a few seconds later."""
    if not body.get("tools"):
        return _anthropic("A title", body)
    if '"tool_result"' not in json.dumps(body):
        return _tool_call(body)
    if not server.is_spent:
        server.is_spent, server.resets_at = True, int(time.time()) + SOON_SECONDS
    return _quota(vendor, body, server) if time.time() < server.resets_at else _anthropic(LAST_WORDS, body)


def _expired(vendor: str, body: Mapping[str, Any], server: Stub) -> Answer:
    """The login has run out, until it is renewed."""
    if server.logged_in:
        return _cached(vendor, body, server)
    error = {"type": "authentication_error", "message": "OAuth token has expired."}
    return _json(401, {"type": "error", "error": error})


def _later(vendor: str, body: Mapping[str, Any], server: Stub) -> Answer:
    """An ordinary rate limit that says: in three hours."""
    error: dict[str, object] = {
        "message": "Too many requests.",
        "type": "rate_limit_error",
        "code": "rate_limit_exceeded",
    }
    if vendor == "gemini":
        wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{HOURS_SECONDS}s"}
        error = {"code": 429, "message": "Too many requests.", "status": "RESOURCE_EXHAUSTED", "details": [wait]}
    return _json(429, {"type": "error", "error": error}, retry_after=str(HOURS_SECONDS))


def _silent(vendor: str, body: Mapping[str, Any], server: Stub) -> Answer:
    """Nothing for as long as anybody would wait."""
    server.closing.wait()
    return _json(503, {})


_SCENARIOS: dict[str, Callable[[str, Mapping[str, Any], Stub], Answer]] = {
    "cached": _cached,
    "digest": _digest,
    "quota": _quota,
    "later": _later,
    "middle": _middle,
    "expired": _expired,
    "silent": _silent,
}


def _events(*events: Mapping[str, Any], named: bool = True, end: str = "") -> Answer:
    """A stream of server-sent events, all at once; each has its type as its name where the vendor does it so."""
    lines = (
        (f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
        for event in events
    )
    return 200, {"Content-Type": "text/event-stream"}, ("".join(lines) + end).encode()


def _anthropic(text: str, body: Mapping[str, Any]) -> Answer:
    told = {
        "input_tokens": INPUT_TOKENS - CACHED_TOKENS, "cache_read_input_tokens": CACHED_TOKENS,
        "cache_creation_input_tokens": 0, "output_tokens": 1,
    }  # fmt: skip
    message = {
        "id": "msg_stub", "type": "message", "role": "assistant", "model": body.get("model"), "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": told,
    }  # fmt: skip
    return _events(
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {**told, "output_tokens": OUTPUT_TOKENS},
        },
        {"type": "message_stop"},
    )


def _tool_call(body: Mapping[str, Any]) -> Answer:
    """Claude is told to leave a file in the folder it works in."""
    told = {"input_tokens": CALLING[0], "output_tokens": 1}
    message = {
        "id": "msg_tool", "type": "message", "role": "assistant", "model": body.get("model"), "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": told,
    }  # fmt: skip
    arguments = json.dumps({"command": "echo begun > begun.txt", "description": "Begin"})
    return _events(
        {"type": "message_start", "message": message},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": arguments},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {**told, "output_tokens": CALLING[1]},
        },
        {"type": "message_stop"},
    )


def _responses(text: str, body: Mapping[str, Any]) -> Answer:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"type": "message", "role": "assistant", "id": "msg_stub", "status": "completed", "content": content}
    told = {
        **usage(INPUT_TOKENS, OUTPUT_TOKENS), "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "output_tokens_details": {"reasoning_tokens": REASONING_TOKENS},
    }  # fmt: skip
    response = {"id": "resp_stub", "object": "response", "status": "completed", "output": [item], "usage": told}
    return _events(
        {"type": "response.created", "response": {"id": "resp_stub", "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response},
    )


def _gemini(text: str, body: Mapping[str, Any]) -> Answer:
    told = {
        "promptTokenCount": INPUT_TOKENS, "cachedContentTokenCount": CACHED_TOKENS,
        "candidatesTokenCount": OUTPUT_TOKENS - REASONING_TOKENS, "thoughtsTokenCount": REASONING_TOKENS,
        "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
    }  # fmt: skip
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
    return _events({"candidates": [candidate], "usageMetadata": told, "modelVersion": "gemini-2.5-flash"}, named=False)


def _chat(text: str, body: Mapping[str, Any]) -> Answer:
    told = {
        "prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "completion_tokens_details": {"reasoning_tokens": REASONING_TOKENS},
    }  # fmt: skip
    shared = {"id": "chatcmpl-stub", "created": 1_795_000_000, "model": body.get("model")}
    if not body.get("stream"):
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        return _json(200, {**shared, "object": "chat.completion", "choices": [choice], "usage": told})
    chunk = {**shared, "object": "chat.completion.chunk"}
    said = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    return _events(
        {**chunk, "choices": [said]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**chunk, "choices": [], "usage": told},
        named=False,
        end="data: [DONE]\n\n",
    )


_ANSWERS: dict[str, Callable[[str, Mapping[str, Any]], Answer]] = {
    "anthropic": _anthropic,
    "responses": _responses,
    "gemini": _gemini,
    "chat": _chat,
}
