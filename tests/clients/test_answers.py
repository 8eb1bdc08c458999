"""Real clients through the daemon: fifty tasks with their answers, tokens and money; long prompts; cached tokens."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal

from tests.clients.programs import CLIENTS, OPENCODE_PRICES
from tests.clients.rig import left_behind
from tests.clients.stub import CACHED_TEXT, CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS

UNICODE = 'é中😀 שלום 👨\u200d👩\u200d👧 می\u200cخواهم ﬁ n\u0303\n\n```python\nprint("\\n")\n```\n\ttab, "quotes", \\ and | pipes'
PROMPT_BYTES = 1_000_000
TASKS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One task, what the server is to answer, and the tokens it says."""

    task_id: str
    client: str
    answer: str
    tokens: tuple[int, int]


def test_fifty_tasks_over_five_clients_are_answered_to_the_byte_and_counted(rig, mock):
    """Every text, every token count and every cost is what the server sent; no process is left."""
    names = list(CLIENTS)
    exchanges = [
        Exchange(
            task_id=f"task-{number:02d}",
            client=names[number % len(names)],
            answer=f"{number}: {UNICODE} {'x' * number}",
            tokens=(1000 + 37 * number, 10 + number),
        )
        for number in range(TASKS)
    ]
    brain = rig(mock.url)
    for one in exchanges:
        mock.say(f"say-{one.task_id}", one.answer, tokens=one.tokens)
        brain.drop(one.task_id, one.client, f"# Say {one.task_id}\n\nsay-{one.task_id}, please")
    assert brain.run_once() == 0
    assert left_behind(brain.home) == []
    results = brain.results()
    assert sorted(results) == [one.task_id for one in exchanges]
    for one in exchanges:
        values, text = results[one.task_id].values, results[one.task_id].text
        assert (values["status"], values["interface"], text) == ("completed", one.client, one.answer)
        counted = (values["usage"]["input_tokens"], values["usage"]["output_tokens"])
        assert counted == one.tokens == _sent(mock, one)
        assert (values["cost_basis"], values["cost_usd"]) == _priced(one)


def _sent(mock, exchange: Exchange) -> tuple[int, int]:
    """What the server says it sent to the one request that the answer needed."""
    (sent,) = mock.sent(f"say-{exchange.task_id}")
    return sent.usage["input_tokens"], sent.usage["output_tokens"]


def _priced(exchange: Exchange) -> tuple[str, Decimal | None]:
    if exchange.client == "opencode":
        input_usd, output_usd = (Decimal(price) / 1_000_000 for price in OPENCODE_PRICES)
        return "reported", exchange.tokens[0] * input_usd + exchange.tokens[1] * output_usd
    return {"llm": ("unknown", None), "gemini_cli": ("free", Decimal(0))}.get(
        exchange.client, ("subscription", Decimal(0))
    )


def test_a_prompt_of_a_million_bytes_arrives_whole(rig, stubbed):
    """The server answers each client with the SHA-256 of what it was sent."""
    payload = _long_text()
    brain = rig(stubbed.url("digest"), task_size="2MB")
    for name in CLIENTS:
        brain.drop(name, name, f"# Long\n\n<<<{payload}>>>")
    brain.run_once()
    digest = hashlib.sha256(payload.encode()).hexdigest()
    # The file of such a task is too long for a result block, which then stands beside it.
    assert {name: brain.task(name).text for name in CLIENTS} == dict.fromkeys(CLIENTS, digest)


def test_input_tokens_are_all_of_them_and_cached_ones_a_part(rig, stubbed):
    """Whether a client counts the cached ones in or out, the result says it in one way."""
    brain = rig(stubbed.url("cached"))
    for name in CLIENTS:
        brain.drop(name, name, "# Cached\n\nSay it again.")
    brain.run_once()
    results = brain.results()
    assert {name: result.text for name, result in results.items()} == dict.fromkeys(CLIENTS, CACHED_TEXT)
    for name, result in results.items():
        usage = result.values["usage"]
        expected = {
            "input_tokens": INPUT_TOKENS,
            "cached_input_tokens": CACHED_TOKENS,
            "output_tokens": OUTPUT_TOKENS,
            "reasoning_tokens": 0
            if name == "claude_code"
            else REASONING_TOKENS,  # the stub's Anthropic tells none apart
        }
        assert {key: usage.get(key) for key in expected} == expected, name


def _long_text() -> str:
    lines = "".join(f"{number:06d} {'=' * 72}\n" for number in range(PROMPT_BYTES // 80 + 1)).encode()
    tail = "é中😀".encode()
    return (lines[: PROMPT_BYTES - len(tail)] + tail).decode()
