"""A task's budget ends a program in the middle: what it tells while it runs, what is kept, what it costs. Real processes."""

import asyncio
import os
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.command import CommandAdapter
from brain_daemon.adapters.reading import SoFar, compile_rules
from brain_daemon.adapters.watching import used_so_far
from brain_daemon.model.interface import InterfaceSpec, Tier
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import Cancelled, CostBasis, Failed, FailureKind, Succeeded, TimedOut, Usage
from brain_daemon.model.parsing import parse_task
from brain_daemon.store.files import Files

TOP = Path(__file__).parents[2]
TRANSCRIPTS = TOP / "tests" / "data" / "transcripts"

REPLAY = """
import sys, time
lines = open(sys.argv[1], encoding="utf-8").readlines()
for line in lines[: int(sys.argv[2])]:
    print(line, end="", flush=True)
if len(lines) > int(sys.argv[2]):
    time.sleep(300)
"""
"""The first lines of a file, and then silence; all of them, and an end."""

STEPS = (
    "output:\n  format: jsonl\n  text: out[-1].answer\n  cost_usd: out[-1].total\n"
    "  so_far:\n    cost_usd: total(out[].step)\n    text: join('', out[].said)\n"
)


def stepping(path: Path, *lines: str, whole: bool = False, tier: str = "paid", output: str = STEPS) -> InterfaceSpec:
    """An interface that prints these lines; then it is silent, or at its end if `whole`."""
    path.write_text("".join(f"{line}\n" for line in (*lines, *(() if whole else ("never printed",)))))
    return _parsed(
        f"---\nname: mine\ntype: llm\ncost: {{tier: {tier}, model: nobody-knows}}\n{output}invoke:\n  kind: command\n"
        f"  command: ['{sys.executable}', -c, 'REPLAY', '{path}', '{len(lines)}']\n---\n# Mine\n"
    )


def _parsed(text: str) -> InterfaceSpec:
    made = parse_interface("mine.md", text.encode())
    assert isinstance(made, InterfaceSpec), made
    return replace(
        made,
        invoke=replace(made.invoke, command=tuple(REPLAY if one == "REPLAY" else one for one in made.invoke.command)),
    )


def shipped(name: str, transcript: str, lines: int) -> InterfaceSpec:
    """A shipped interface on a paid key, whose client is played by its transcript up to a line."""
    made = parse_interface(f"{name}.md", (TOP / "tools" / "interfaces" / f"{name}.md").read_bytes())
    assert isinstance(made, InterfaceSpec), made
    command = (sys.executable, "-c", REPLAY, str(TRANSCRIPTS / transcript), str(lines))
    prices = {"input_per_million": Decimal(3), "output_per_million": Decimal(15)}
    return replace(
        made,
        cost=replace(made.cost, tier=Tier.PAID, **prices),
        invoke=replace(made.invoke, command=command, model=(), session=(), permissions=()),
    )


@pytest.fixture
def invoke(tmp_path):
    """Runs an interface under a budget and returns how it ended."""

    async def run(spec, budget_usd: str | None, cancel=None, **changes):
        invocation = Invocation(
            attempt_id="t.a1.00000000",
            task=parse_task("t.md", b"# Title\n\nbody\n"),
            interface=spec,
            prompt="hello",
            root=str(tmp_path),
            folder=str(tmp_path / "attempt"),
            workspace=str(tmp_path / "work"),
            environment={"PATH": os.environ["PATH"]},
            timeout_seconds=60.0,
            grace_seconds=0.2,
            budget_usd=None if budget_usd is None else Decimal(budget_usd),
        )
        return await CommandAdapter(Files()).invoke(replace(invocation, **changes), cancel or Cancel())

    return run


async def test_a_run_is_ended_when_what_it_tells_is_more_than_the_budget(invoke, tmp_path):
    """The text so far is kept, the cost is what was told, and the words say so."""
    spec = stepping(tmp_path / "lines", '{"said": "Once "}', '{"step": 0.02}', '{"said": "upon"}', '{"step": 0.04}')
    ended = await invoke(spec, "0.05")
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.BUDGET
    assert ended.outcome.message == (
        "ended in the middle: about $0.06 was spent, more than $0.05, which is what this run may cost; "
        "the 9 characters that had come are kept"
    )
    assert (ended.text, ended.cost.usd, ended.cost.basis) == ("Once upon", Decimal("0.06"), CostBasis.REPORTED)
    assert ended.usage.estimated


async def test_within_its_budget_it_ends_by_itself(invoke, tmp_path):
    """And is charged what it tells at its end."""
    spec = stepping(tmp_path / "lines", '{"step": 0.02}', '{"answer": "done", "total": 0.03}', whole=True)
    ended = await invoke(spec, "0.05")
    assert ended.outcome == Succeeded(text="done")
    assert ended.cost.usd == Decimal("0.03")


@pytest.mark.parametrize(
    ("budget", "tier", "output"),
    [(None, "paid", STEPS), ("0.05", "free", STEPS), ("0.05", "subscription", STEPS), ("0.05", "paid", "")],
    ids=["no budget", "free", "a subscription", "it tells nothing"],
)
async def test_nothing_is_watched_where_the_cost_is_no_matter_or_cannot_be_seen(invoke, tmp_path, budget, tier, output):
    """The run goes on until its time is over."""
    spec = stepping(tmp_path / "lines", '{"step": 9}', tier=tier, output=output)
    assert (await invoke(spec, budget, timeout_seconds=0.4)).outcome == TimedOut(after_seconds=0.4)


async def test_what_is_said_has_a_price_where_nothing_is_told(invoke, tmp_path):
    """By the prices of its file: some words are a few thousandths of a cent, and that is marked as estimated."""
    output = "output:\n  format: jsonl\n  text: out[-1].answer\n  so_far:\n    text: join(' ', out[].said)\n"
    spec = stepping(tmp_path / "lines", '{"said": "one two three four"}', '{"said": "five six"}', output=output)
    spec = replace(spec, cost=replace(spec.cost, input_per_million=Decimal(1), output_per_million=Decimal(1000)))
    ended = await invoke(spec, "0.004")
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.BUDGET
    assert (ended.text, ended.usage.estimated, ended.cost.basis) == (
        "one two three four five six",
        True,
        CostBasis.PRICED,
    )
    assert Decimal("0.004") < ended.cost.usd < Decimal("0.02")


async def test_a_price_nobody_knows_ends_nothing_and_is_said(invoke, tmp_path):
    """Not a silent zero."""
    output = "output:\n  format: jsonl\n  text: out[-1].answer\n  so_far:\n    output_tokens: total(out[].tokens)\n"
    spec = stepping(tmp_path / "lines", '{"tokens": 900000}', output=output)
    ended = await invoke(spec, "0.01", timeout_seconds=0.4)
    assert ended.outcome == TimedOut(after_seconds=0.4)
    assert "no price of nobody-knows is known, so the budget could not end the run in the middle" in ended.warnings


async def test_a_prompt_that_alone_is_dearer_is_not_sent(invoke, tmp_path):
    """Nothing was started, so nothing is charged."""
    spec = stepping(tmp_path / "lines", "{}")
    spec = replace(spec, cost=replace(spec.cost, input_per_million=Decimal(1000), output_per_million=Decimal(1000)))
    ended = await invoke(spec, "0.01", prompt="word " * 1000)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.BUDGET
    assert "the prompt alone would cost about $" in ended.outcome.message
    assert (ended.cost.usd, (tmp_path / "attempt" / "stdout").exists()) == (0, False)


async def test_a_cancel_of_a_person_goes_before_the_budget(invoke, tmp_path):
    """Whatever was spent by then."""
    spec, cancel = stepping(tmp_path / "lines", '{"step": 0.001}'), Cancel()
    running = asyncio.ensure_future(invoke(spec, "0.05", cancel))
    while not (tmp_path / "attempt" / "stdout").exists():  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.01)
    cancel.set()
    assert (await running).outcome == Cancelled()


@pytest.mark.parametrize(
    ("name", "transcript", "lines", "budget", "text", "usd"),
    [
        ("opencode", "opencode.tool.stdout", 3, "0.004", "", "0.004542"),
        ("opencode", "opencode.tool.stdout", 5, "0.0045", "TOOL-DONE-8802", "0.004542"),
        ("claude_code", "claude-stream.ok.stdout", 2, "0.004", "MOCK-OK-7731 é中😀 done.", "0.004542"),
        ("codex", "codex.tool.stdout", 4, "0.00005", "TOOL-DONE-8802", None),
    ],
)
async def test_shipped_clients_are_ended_by_what_their_transcripts_tell(
    invoke, name, transcript, lines, budget, text, usd
):
    """Claude by its messages, opencode by its steps, codex by what it has said."""
    ended = await invoke(shipped(name, transcript, lines), budget)
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.kind is FailureKind.BUDGET
    assert ended.text == text
    assert ended.cost.usd == Decimal(usd) if usd else ended.cost.usd > Decimal(budget)


async def test_a_shipped_client_within_its_budget_is_left_alone(invoke):
    """Twice the step is under a cent."""
    ended = await invoke(shipped("opencode", "opencode.tool.stdout", 6), "0.01")
    assert (ended.outcome, ended.cost.usd) == (Succeeded(text="TOOL-DONE-8802"), Decimal("0.009084"))


def test_only_whole_lines_are_read_and_nothing_is_made_of_what_is_no_figure(tmp_path):
    """Half an object is none yet; a negative cost and a word are not told."""
    reader = compile_rules(stepping(tmp_path / "lines").output)
    assert reader.so_far(b'{"step": 1}\n{"step": 2').cost_usd == 1
    assert reader.so_far(b'{"step": -1}\nnoise\n') == SoFar()
    assert compile_rules(replace(reader.rules, so_far=())).so_far(b'{"step": 1}\n') == SoFar()


def test_messages_that_come_in_pieces_count_once():
    """Claude repeats the counts of a message with each block of it."""
    spec = shipped("claude_code", "claude-stream.ok.stdout", 1)
    event = '{"type": "assistant", "message": {"id": "%s", "content": [{"type": "text", "text": "x"}], "usage": {"input_tokens": 10, "output_tokens": %d}}}\n'
    found = compile_rules(spec.output).so_far((event % ("a", 1) + event % ("a", 5) + event % ("b", 2)).encode())
    assert (found.usage.input_tokens, found.usage.output_tokens, found.text) == (20, 7, "xxx")


def test_what_was_used_is_at_the_least_what_was_sent_and_said():
    """A client tells its first tokens late."""
    used = used_so_far(SoFar(usage=Usage(output_tokens=1), text="some more words than that"), "a prompt")
    assert used.input_tokens > 0
    assert used.output_tokens > 1
