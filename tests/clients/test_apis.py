"""The shipped registrations of APIs against a server that nobody here wrote, by the providers' own libraries."""

import asyncio
import uuid
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.http import HttpAdapter
from brain_daemon.adapters.http_target import check_http
from brain_daemon.adapters.prices import listed_usd
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import (
    FREE,
    Cancelled,
    CostBasis,
    Failed,
    FailureKind,
    Succeeded,
    TimedOut,
    Usage,
)
from brain_daemon.model.parsing import parse_task
from brain_daemon.store.files import Files
from tests.clients.rig import until

SHIPPED = Path(__file__).resolve().parents[2] / "tools" / "interfaces"
ADDRESSES = {
    "openai_api": "OPENAI_BASE_URL",
    "anthropic_api": "ANTHROPIC_BASE_URL",
    "gemini_api": "GEMINI_OPENAI_BASE_URL",
    "ollama": "OLLAMA_BASE_URL",
}
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
UNICODE = 'é中😀 שלום 👨\u200d👩\u200d👧 n\u0303\n\n```python\nprint("\\n")\n```\n\ttab, "quotes", \\ and | pipes'
ALL = pytest.mark.parametrize("name", ADDRESSES)
ONE_OF_EACH = pytest.mark.parametrize("name", ["openai_api", "anthropic_api"])


def spec_of(name: str) -> InterfaceSpec:
    made = parse_interface(f"{name}.md", (SHIPPED / f"{name}.md").read_bytes())
    assert isinstance(made, InterfaceSpec), made
    return made


@pytest.fixture
def environment(mock, tmp_path):
    """As a person sets it who sends all calls to a server of his own."""
    return {"HOME": str(tmp_path), **dict.fromkeys(KEYS, "made-up-key-of-a-test"), **dict.fromkeys(ADDRESSES.values(), mock.url)}  # fmt: skip


@pytest.fixture
def ask(environment, tmp_path):
    """Asks a registration and returns how it ended."""

    async def call(name, prompt, cancel=None, **changes):
        spec = spec_of(name)
        invocation = Invocation(
            attempt_id="t.a1.00000000",
            task=parse_task("t.md", b"# Title\n\nbody\n"),
            interface=spec,
            prompt=prompt,
            root=str(tmp_path),
            folder=str(tmp_path / "attempt"),
            workspace=str(tmp_path / "work"),
            environment=environment,
            timeout_seconds=60.0,
            model=spec.cost.model,
        )
        return await HttpAdapter(Files()).invoke(replace(invocation, **changes), cancel or Cancel())

    return call


@pytest.fixture
def marker():
    """A word that stands in this test's prompt alone."""
    return f"marker-{uuid.uuid4().hex}"


@ALL
async def test_an_api_answers_to_the_byte_and_is_counted_and_priced(name, ask, mock, marker):
    """The tokens are those the server says it sent, the cost is the list's for them; a local one is free."""
    mock.say(marker, UNICODE, tokens=(1234, 56))
    ended = await ask(name, f"{marker}, please")
    assert ended.outcome == Succeeded(text=UNICODE)
    assert (ended.usage.input_tokens, ended.usage.output_tokens, ended.usage.estimated) == (1234, 56, False)
    assert len(mock.sent(marker)) == 1
    if name == "ollama":
        assert ended.cost == FREE
    else:
        usd = listed_usd(Usage(input_tokens=1234, output_tokens=56), (spec_of(name).cost.model or "",))
        assert usd is not None
        assert ended.cost.basis is CostBasis.PRICED
        assert ended.cost.usd == usd.quantize(Decimal("0.000001"))


@ONE_OF_EACH
async def test_an_api_reads_a_megabyte(name, ask, mock, marker):
    """Whole, and answered."""
    mock.say(marker, "read")
    ended = await ask(name, "é中😀 long " * 70_000 + marker)
    assert ended.outcome == Succeeded(text="read")


@ONE_OF_EACH
@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {"type": "authentication_error", "code": "invalid_api_key"}, "auth"),
        (429, {"type": "rate_limit_error", "code": "rate_limit_exceeded"}, "rate_limit"),
        (429, {"type": "insufficient_quota", "code": "insufficient_quota"}, "quota"),
        (500, {"type": "api_error", "code": "server_error"}, "transient"),
        (503, {"type": "overloaded_error", "code": "overloaded"}, "transient"),
        (400, {"type": "invalid_request_error", "code": "bad"}, "permanent"),
    ],
)
async def test_an_api_that_refuses_is_asked_once_and_understood(name, ask, mock, marker, status, error, kind):
    """Its own words are passed on, and what was refused costs nothing."""
    mock.refuse(marker, status, f"no, for the reason {kind}", **error)
    ended = await ask(name, marker)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind(kind)
    assert f"no, for the reason {kind}" in ended.outcome.message
    assert len(mock.sent(marker)) == 1
    assert ended.cost.usd == 0
    if status == 429:
        assert ended.outcome.retry_after_seconds is not None


@ONE_OF_EACH
async def test_an_api_that_breaks_off_has_given_no_answer(name, ask, mock, marker):
    """Half a text is kept and is a failure that may be tried again."""
    mock.say(marker, "drip " * 40, truncateAfterChunks=8, latency=20)
    ended = await ask(name, marker)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.TRANSIENT
    assert ended.text.startswith("drip drip")
    assert ended.usage.estimated


@ONE_OF_EACH
async def test_a_slow_api_is_left_at_the_deadline(name, ask, mock, marker):
    """What had come is kept."""
    mock.say(marker, "drip " * 400, latency=50)
    ended = await ask(name, marker, timeout_seconds=2.0)
    assert ended.outcome == TimedOut(after_seconds=2.0)
    assert ended.text.startswith("drip drip")


@ONE_OF_EACH
async def test_a_silent_api_is_left_long_before(name, ask, mock, marker):
    """Nothing between two pieces for longer than its file allows, which says minutes."""
    mock.say(marker, "drip " * 400, latency=5000)
    spec = spec_of(name)
    assert spec.invoke.inactivity_seconds == 300.0
    hasty = replace(spec, invoke=replace(spec.invoke, inactivity_seconds=1.0))
    ended = await ask(name, marker, interface=hasty)
    assert ended.outcome == TimedOut(after_seconds=1.0, inactive=True)


@ONE_OF_EACH
async def test_a_cancel_ends_an_api_in_the_middle(name, ask, mock, marker, tmp_path):
    """As soon as the first words are there."""
    mock.say(marker, "drip " * 400, latency=50)
    cancel = Cancel()
    running = asyncio.ensure_future(ask(name, marker, cancel))
    written = tmp_path / "attempt" / "stdout"
    await asyncio.to_thread(until, lambda: written.exists() and written.stat().st_size, "the first words", 30.0)
    cancel.set()
    ended = await running
    assert ended.outcome == Cancelled()
    assert ended.text.startswith("drip")


@ONE_OF_EACH
async def test_a_budget_ends_an_api_in_the_middle(name, ask, mock, marker):
    """By the list price of its model."""
    mock.say(marker, "drip " * 4000, tokens=(10, 5), latency=5)
    ended = await ask(name, marker, budget_usd=Decimal("0.001"))
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.BUDGET
    assert ended.text.startswith("drip drip")
    assert len(ended.text) < len("drip " * 4000)
    assert ended.cost.usd is not None
    assert Decimal("0.001") < ended.cost.usd < Decimal("0.002")


@ALL
def test_the_check_of_an_api_finds_its_server(name, environment):
    """Its list has few models, and it answers for none by name, so nothing is said of the model."""
    assert check_http(spec_of(name), environment) == ""


@pytest.fixture(scope="session", autouse=True)
def met():
    """These tests need the one server alone, and none of the clients' runs."""
