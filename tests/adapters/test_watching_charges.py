"""What a run that its budget ended is charged: no less than what it was ended for."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.reading import compile_rules
from brain_daemon.adapters.watching import Watch
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import Cancelled, Cost, CostBasis, Ended, Usage
from brain_daemon.model.parsing import parse_task

PAGE = """---
name: mine
type: llm
cost: {tier: paid, input_per_million: 1000000, output_per_million: 1000000}
output:
  format: jsonl
  so_far:
    input_tokens: total(out[].took)
    text: join('', out[].said)
invoke: {command: [cat]}
---
# Mine
"""


@pytest.fixture
def stopped(tmp_path):
    """A watch of a run that had taken 13 tokens, as it told, and had said at least seven more: at a dollar each, $10 was allowed."""
    spec = parse_interface("mine.md", PAGE.encode())
    assert isinstance(spec, InterfaceSpec), spec
    printed = Path(tmp_path / "stdout")
    printed.write_text('{"took": 13, "said": "one two three four five six seven"}\n')
    invocation = Invocation(
        attempt_id="t.a1.00000000", task=parse_task("t.md", b"# T\n"), interface=spec, prompt="hello", root=str(tmp_path),
        folder=str(tmp_path), workspace=str(tmp_path), environment={}, timeout_seconds=60.0, grace_seconds=0.2,
        budget_usd=Decimal(10),
    )  # fmt: skip
    watch = Watch(invocation, compile_rules(spec.output), str(printed))

    async def look() -> None:
        stop = asyncio.Event()
        watching = asyncio.create_task(watch.stop_when_over(stop))
        await asyncio.wait_for(stop.wait(), 60.0)
        await watching

    return watch, look


def ended(usd: str | None) -> Ended:
    """As its client told of itself."""
    return Ended(
        outcome=Cancelled(), started_at=0.0, finished_at=1.0, duration_seconds=1.0, usage=Usage(input_tokens=13, output_tokens=0),
        cost=Cost(usd=None if usd is None else Decimal(usd), basis=CostBasis.REPORTED),
    )  # fmt: skip


@pytest.mark.parametrize("told", ["13", None])
async def test_the_clients_own_figure_from_before_the_stop_is_raised(stopped, told):
    """Tokens and dollars are those that the stop tells of."""
    watch, look = stopped
    await look()
    charged = watch.charged(ended(told))
    assert charged.cost.usd == watch.spent_usd
    assert charged.usage.total_tokens == watch.spent_usd > 13
    assert charged.outcome == Cancelled()


async def test_a_higher_figure_of_the_client_stands(stopped):
    """It knows what was billed beyond what it had printed."""
    watch, look = stopped
    await look()
    assert watch.charged(ended("50")) == ended("50")


def test_a_run_that_was_not_stopped_is_charged_what_it_told(stopped):
    """Nobody has looked yet."""
    watch, _ = stopped
    assert watch.charged(ended("3")) == ended("3")
