"""What the two protocols say, as one small set of events, and the tokens they count.

Readers take the decoded JSON of one chunk and trust nothing in it: a value of another type than expected is passed over,
since compatible servers leave out, add and change what they like. Sources: the chat completion chunk of OpenAI's API
reference, the stream events of Anthropic's messages API. The endings they have in common are judged by `ending`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from brain_daemon.model.interface import HttpProtocol
from brain_daemon.model.outcome import Failed, FailureKind, Usage

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the answer; a `hidden` one is the model's thinking, which costs and is not kept."""

    text: str
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the server calls the answer, the model and the request."""

    response_id: str | None = None
    model: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts as the server tells them; later ones replace earlier ones of the same name."""

    usage: Json


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why the model stopped, in the server's word; the first one counts."""

    reason: str


@dataclass(frozen=True, slots=True)
class Complete:
    """The sign that nothing of the answer is missing."""


Event = Piece | Named | Counted | Stopped | Complete


@dataclass(slots=True)
class Answer:
    """An answer so far; `size_bytes` is all of it, the hidden part included, which is counted and not kept."""

    pieces: list[str] = field(default_factory=list)
    size_bytes: int = 0
    hidden_bytes: int = 0
    names: Named = Named()
    usage: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    complete: bool = False

    def take(self, event: Event) -> None:
        match event:
            case Piece(text=text, hidden=hidden):
                size_bytes = len(text.encode("utf-8", "surrogatepass"))
                self.size_bytes += size_bytes
                if hidden:
                    self.hidden_bytes += size_bytes
                else:
                    self.pieces.append(text)
            case Named():
                self.names = Named(
                    response_id=event.response_id or self.names.response_id,
                    model=event.model or self.names.model,
                    request_id=event.request_id or self.names.request_id,
                )
            case Counted(usage=usage):
                self.usage |= {name: value for name, value in usage.items() if value is not None}
            case Stopped(reason=reason):
                self.reason = self.reason or reason
            case Complete():
                self.complete = True

    @property
    def text(self) -> str:
        """The answer so far, every character whole: some servers cut between the two halves of one."""
        return whole("".join(self.pieces))


def whole(text: str) -> str:
    """`text` with halves of characters joined, and a replacement sign for each half that stands alone."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def openai_events(chunk: Json) -> Iterator[Event]:
    """One chunk of a chat completion."""
    yield Named(response_id=_text(chunk.get("id")), model=_text(chunk.get("model")))
    choice = _map(_first(chunk.get("choices")))
    delta = _map(choice.get("delta"))
    # The last three are other servers' names for thinking that OpenAI itself does not show.
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        text = _text(delta.get(name))
        if text:
            yield Piece(text, hidden=name.startswith("reasoning"))
    if _text(delta.get("refusal")):
        yield Stopped("refusal")
    if isinstance(chunk.get("usage"), Mapping):
        yield Counted(chunk["usage"])
    reason = _text(choice.get("finish_reason"))
    if reason:
        yield Stopped(reason)
        yield Complete()


def anthropic_events(event: Json) -> Iterator[Event]:
    """One event of a message stream."""
    match event.get("type"):
        case "message_start":
            message = _map(event.get("message"))
            yield Named(response_id=_text(message.get("id")), model=_text(message.get("model")))
            yield Counted(_map(message.get("usage")))
        case "content_block_start":
            block = _map(event.get("content_block"))
            if block.get("type") == "text" and block.get("text"):
                yield Piece(str(block["text"]))
        case "content_block_delta":
            delta = _map(event.get("delta"))
            shown, hidden = _text(delta.get("text")), _text(delta.get("thinking"))
            if shown or hidden:
                yield Piece(shown or hidden or "", hidden=not shown)
        case "message_delta":
            yield Counted(_map(event.get("usage")))
            reason = _text(_map(event.get("delta")).get("stop_reason"))
            if reason:
                yield Stopped(reason)
        case "message_stop":
            yield Complete()
        case _:
            return


def usage_of(protocol: HttpProtocol, told: Json) -> Usage:
    """The server's counts in our words: all input with the cached part, output with the reasoning part."""
    if protocol is HttpProtocol.ANTHROPIC:
        cached = _count(told.get("cache_read_input_tokens"))
        parts = (_count(told.get("input_tokens")), cached, _count(told.get("cache_creation_input_tokens")))
        return Usage(
            input_tokens=None if parts[0] is None else sum(part or 0 for part in parts),
            cached_input_tokens=cached,
            output_tokens=_count(told.get("output_tokens")),
            requests=1,
        )
    return Usage(
        input_tokens=_count(told.get("prompt_tokens")),
        cached_input_tokens=_count(_map(told.get("prompt_tokens_details")).get("cached_tokens")),
        output_tokens=_count(told.get("completion_tokens")),
        reasoning_tokens=_count(_map(told.get("completion_tokens_details")).get("reasoning_tokens")),
        requests=1,
    )


def reported_usd(told: Json) -> Decimal | None:
    """US dollars, where the server bills and says so (OpenRouter's `usage.cost`)."""
    cost = told.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < float("inf"):
        return None
    return Decimal(repr(cost))


# Why a model stopped short, in the words of the two protocols and of the servers that speak them.
_ENDINGS: Mapping[str, tuple[FailureKind, str]] = {
    "length": (FailureKind.OUTPUT_LIMIT, "its answer was cut at the length it may have"),
    "max_tokens": (FailureKind.OUTPUT_LIMIT, "its answer was cut at the length it may have"),
    "model_context_window_exceeded": (FailureKind.CONTEXT_TOO_LONG, "prompt and answer do not fit the model's window"),
    "content_filter": (FailureKind.PERMANENT, "the provider's filter ended the answer"),
    "refusal": (FailureKind.PERMANENT, "the model refused"),
    "tool_calls": (FailureKind.PERMANENT, "the model asked for a tool, and none was offered"),
    "tool_use": (FailureKind.PERMANENT, "the model asked for a tool, and none was offered"),
    "pause_turn": (FailureKind.TURN_LIMIT, "the model wants another turn"),
    "error": (FailureKind.TRANSIENT, "the server ended the answer with an error"),
}


def ending(answer: Answer) -> Failed | None:
    """Why an answer whose stream has ended is none; None for a good one."""
    kept = f"; the {len(answer.text):,} characters that came are kept" if answer.pieces else ""
    if answer.reason is not None and answer.reason in _ENDINGS:
        kind, said = _ENDINGS[answer.reason]
        return Failed(kind=kind, message=f"{said} ({answer.reason}){kept}")
    if not answer.complete:
        return Failed(kind=FailureKind.TRANSIENT, message=f"the stream ended before the answer did{kept}")
    if not answer.text.strip():
        return Failed(kind=FailureKind.TRANSIENT, message=f"it ended without an answer ({answer.reason})")
    return None


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) and value else None


def _map(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
