"""What the two protocols say in a stream, read from JSON that may be anything."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.adapters.http_events import (
    Answer,
    Complete,
    Counted,
    Piece,
    Stopped,
    anthropic_events,
    ending,
    openai_events,
    reported_usd,
    usage_of,
    whole,
)
from brain_daemon.model.interface import HttpProtocol
from brain_daemon.model.outcome import FailureKind, Usage


def answer(*events):
    made = Answer()
    for event in events:
        made.take(event)
    return made


def test_a_chunk_with_a_piece_and_the_end_gives_both():
    """Small servers send one chunk with everything in it."""
    choice = {"delta": {"content": "hi"}, "finish_reason": "stop"}
    made = answer(*openai_events({"id": "r", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 3}}))
    assert (made.text, made.complete, made.reason, made.usage) == ("hi", True, "stop", {"prompt_tokens": 3})
    assert (made.names.response_id, made.names.model) == ("r", "m")


def test_a_refusal_is_no_answer_though_it_ends_well():
    """OpenAI streams it beside the content and says `stop`."""
    chunks = ({"choices": [{"delta": {"refusal": "I can't"}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
    made = answer(*(event for chunk in chunks for event in openai_events(chunk)))
    failed = ending(made)
    assert failed is not None
    assert failed.kind is FailureKind.PERMANENT
    assert made.text == "I can't"


def test_thinking_is_counted_and_not_kept():
    """By either protocol's name for it."""
    (thought,) = anthropic_events(
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "so"}}
    )
    assert thought == Piece("so", hidden=True)
    made = answer(thought, Piece("four"))
    assert (made.text, made.hidden_bytes, made.size_bytes) == ("four", 2, 6)


def test_anthropics_counts_are_put_together():
    """Input is told at the start, without what came from the cache; the output at the end."""
    start = {"input_tokens": 30, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10, "output_tokens": 1}
    made = answer(Counted(start), Counted({"output_tokens": 20, "input_tokens": None}))
    assert usage_of(HttpProtocol.ANTHROPIC, made.usage) == Usage(
        input_tokens=100, cached_input_tokens=60, output_tokens=20, requests=1
    )


def test_counts_that_are_not_told_are_unknown():
    """Never zero."""
    assert usage_of(HttpProtocol.OPENAI, {}) == Usage(requests=1)
    assert usage_of(HttpProtocol.ANTHROPIC, {"output_tokens": 3}) == Usage(output_tokens=3, requests=1)
    assert usage_of(HttpProtocol.OPENAI, {"prompt_tokens": -1, "completion_tokens": "many"}) == Usage(requests=1)


@pytest.mark.parametrize(
    ("cost", "usd"),
    [(0.5, Decimal("0.5")), (0, Decimal(0)), (True, None), ("0.5", None), ({"total": 1}, None), (-1, None)],
)
def test_a_cost_is_believed_if_it_is_a_number(cost, usd):
    """Other servers put other things under that name."""
    assert reported_usd({"cost": cost}) == usd


def test_an_answer_without_its_sign_of_the_end_is_cut():
    """A reason alone does not do where the protocol promises more."""
    failed = ending(answer(Piece("half"), Stopped("end_turn")))
    assert failed is not None
    assert failed.kind is FailureKind.TRANSIENT
    assert ending(answer(Piece("all"), Stopped("end_turn"), Complete())) is None


@given(st.text(st.characters(codec=None), max_size=40), st.integers(0, 40))
def test_a_text_cut_anywhere_is_whole_again(text, at):
    """Also between the two halves of a character, and the result can be written as UTF-8."""
    halves = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    made = answer(Piece(halves[:at]), Piece(halves[at:]))
    assert made.text == whole(text)
    made.text.encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "choices", "delta", "content", "usage", "message", "finish_reason", "text", "id"])
        | st.text(max_size=3),
        inner,
        max_size=5,
    ),
    max_leaves=15,
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["type", "choices", "usage", "delta", "message", "id", "content_block"]), json_values
    )
)
def test_nothing_that_a_server_streams_breaks_the_reading(chunk):
    """What is not understood is passed over."""
    for read in (openai_events, anthropic_events):
        made = answer(*read(chunk))
        ending(made)
        for protocol in HttpProtocol:
            usage_of(protocol, made.usage)
