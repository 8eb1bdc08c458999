"""The commands of agents that pull their work: claim, renew, complete, fail."""

import os
import sys
from contextlib import closing
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from brain_daemon.model.cost_row import is_plausible_usd
from brain_daemon.model.outcome import FailureKind, Usage
from brain_daemon.model.quantities import DURATION_ALLOWED, parse_duration
from brain_daemon.record.wording import utc
from brain_daemon.service import agents, handing_in, leases
from brain_daemon.service.agents import Agent, Claimed, Nothing
from brain_daemon.service.brain import Brain
from brain_daemon.store.journal import Hold
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import say

_SHOWN_HELD = 10
_MAX_RESULT_BYTES = 64 << 20


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    """A duration longer than nothing."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if not seconds:
        raise click.BadParameter(f"found {text!r}, allowed is {DURATION_ALLOWED}, longer than 0")
    return seconds


def _dollars(_context: click.Context, _option: click.Parameter, text: str | None) -> Decimal | None:
    """An exact amount of US dollars."""
    if text is None:
        return None
    try:
        usd = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        usd = Decimal(-1)
    if not usd.is_finite() or not is_plausible_usd(usd):
        raise click.BadParameter(f"found {text!r}, allowed are US dollars such as 0.0045")
    return usd


def _words(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Several options or commas: one list."""
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


def _who(call: Call, agent: str | None) -> str | None:
    return agent or call.environment.get("BRAIN_AGENT")


_as_option = click.option("--as", "agent", metavar="NAME", help="Who you are; also BRAIN_AGENT.")
_lease_option = click.option(
    "--lease",
    callback=_seconds,
    default="2h",
    metavar="TIME",
    help="How long you may be silent: 30m, 2h (default).",
    show_default=False,
)
_tokens = click.IntRange(min=0, max=10**15)


@click.command("claim")
@_as_option
@_lease_option
@click.option("--type", "types", multiple=True, callback=_words, metavar="WORD,...", help="Only tasks of these types.")
@click.option(
    "--requires",
    multiple=True,
    callback=_words,
    metavar="NAME,...",
    help="What you can do: capabilities a task may require of you.",
)
@json_option
@click.pass_obj
def claim_command(
    call: Call, /, agent: str | None, lease: float, types: tuple[str, ...], requires: tuple[str, ...], as_json: bool
) -> None:
    """Take the best pending task there is for you: print its id, its lease and its prompt. Exit 1 where there is none.

    Example: brain claim --as codex-tab-2 --lease 2h --requires code_execution --json
    """
    who = Agent(name=_who(call, agent) or "agent", lease_seconds=lease, types=types, offers=requires)
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        found = agents.claim(brain, who)
    if isinstance(found, Nothing):
        _say_nothing(found, as_json=as_json)
        sys.exit(1)
    if as_json:
        print_json(_claim_facts(call, found))
    else:
        _page(found)


def _claim_facts(call: Call, claimed: Claimed) -> dict[str, Any]:
    task, attempt = claimed.task, claimed.attempt
    return {
        "task_id": task.id,
        "attempt_id": attempt.attempt_id,
        "attempt": attempt.number,
        "claimed_by": attempt.claimant,
        "lease_until": utc(attempt.lease_until or 0.0),
        "title": task.title,
        "type": task.type,
        "priority": task.priority.value,
        "requires": list(task.requires),
        "model": task.model,
        "chain": task.chain,
        "verify": task.verify,
        "workspace": claimed.workspace
        if task.workspace in ("scratch", "brain")
        else os.path.expanduser(task.workspace),
        "out": os.path.join(claimed.workspace, "out"),
        "brain": call.brain_root,
        "prompt": task.text,
    }


def _page(claimed: Claimed) -> None:
    """The prompt on standard output under a head of a few lines; what to do with it on standard error."""
    task, attempt = claimed.task, claimed.attempt
    say(f"{task.id}  {task.title}")
    say(f"claim {attempt.attempt_id}, lease until {utc(attempt.lease_until or 0.0)}")
    say(f"files to keep: {os.path.join(claimed.workspace, 'out')}")
    say()
    say(task.text.rstrip("\n"))
    say(
        f"\nwhen done: brain complete {attempt.attempt_id} -f RESULT.md"
        f"\n     else: brain fail {attempt.attempt_id} --why TEXT   brain renew {attempt.attempt_id}",
        err=True,
    )


def _say_nothing(nothing: Nothing, *, as_json: bool) -> None:
    if as_json:
        return print_json({"task_id": None, "why": nothing.reason, "held": [_held_facts(one) for one in nothing.held]})
    say(nothing.reason, err=True)
    for one in nothing.held[:_SHOWN_HELD]:
        until = "" if one.until is None else f" (until {utc(one.until)})"
        say(f"  {one.task_id}: {one.reason}{until}", err=True)
    if len(nothing.held) > _SHOWN_HELD:
        say(f"  and {len(nothing.held) - _SHOWN_HELD} more: `brain list`", err=True)
    return None


def _held_facts(hold: Hold) -> dict[str, Any]:
    return {"task_id": hold.task_id, "why": hold.reason, "until": None if hold.until is None else utc(hold.until)}


@click.command("renew")
@click.argument("claimed", metavar="ID")
@_lease_option
@_as_option
@json_option
@click.pass_obj
def renew_command(call: Call, /, claimed: str, lease: float, agent: str | None, as_json: bool) -> None:
    """Keep a claimed task for longer, counted from now. ID is the task's, or the claim's.

    Example: brain renew task-001 --lease 1h
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        attempt = leases.renew(brain, claimed, lease, _who(call, agent))
    until = utc(attempt.lease_until or 0.0)
    if as_json:
        print_json({"task_id": attempt.task_id, "attempt_id": attempt.attempt_id, "lease_until": until})
    else:
        say(f"{attempt.task_id}: yours until {until}")


@click.command("complete")
@click.argument("claimed", metavar="ID")
@click.option("-f", "--file", "source", metavar="FILE", help="The result; `-` or nothing is standard input.")
@click.option("--model", metavar="NAME", help="The model that did it.")
@click.option("--input-tokens", type=_tokens, metavar="N", help="All input, cached included.")
@click.option("--output-tokens", type=_tokens, metavar="N")
@click.option("--cost-usd", callback=_dollars, metavar="USD", help="What it cost, where you know.")
@click.option("--session", metavar="ID", help="Your session, to find the work again.")
@_as_option
@json_option
@click.pass_obj
def complete_command(
    call: Call,
    /,
    claimed: str,
    source: str | None,
    model: str | None,
    input_tokens: int | None,
    output_tokens: int | None,
    cost_usd: Decimal | None,
    session: str | None,
    agent: str | None,
    as_json: bool,
) -> None:
    """Hand in the result of a claimed task. ID is the task's, or the claim's where it was claimed more than once.

    A result that comes too late (somebody has taken the task since) is kept beside it, and the exit code is 1.

    Example: brain complete task-001 -f result.md --model sonnet --input-tokens 5200 --output-tokens 830 --cost-usd 0.028
    """
    report = handing_in.Report(
        text=_result(source),
        model=model,
        usage=Usage(input_tokens=input_tokens, output_tokens=output_tokens),
        cost_usd=cost_usd,
        session=session,
    )
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        said = handing_in.complete(brain, claimed, report, folder=os.getcwd(), agent=_who(call, agent))
    _say_done(claimed, said, as_json=as_json)


def _result(source: str | None) -> str:
    if source in (None, "-"):
        if sys.stdin.isatty():
            raise click.UsageError("there is no result: give -f FILE, or the text on standard input")
        data = sys.stdin.buffer.read(_MAX_RESULT_BYTES + 1)
    else:
        try:
            with open(source or "", "rb") as handle:
                data = handle.read(_MAX_RESULT_BYTES + 1)
        except OSError as error:
            raise click.UsageError(f"the result {source} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_RESULT_BYTES:
        raise click.UsageError(
            f"the result is larger than {_MAX_RESULT_BYTES:,} bytes: put it into the claim's out/ folder instead"
        )
    return data.decode("utf-8", "replace").removesuffix("\n")


@click.command("fail")
@click.argument("claimed", metavar="ID")
@click.option("--why", required=True, metavar="TEXT", help="What stood in the way.")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in FailureKind]),
    default=FailureKind.PERMANENT.value,
    show_default=True,
    help="What kind of failure: a passing one gives the task another try.",
)
@_as_option
@json_option
@click.pass_obj
def fail_command(call: Call, /, claimed: str, why: str, kind: str, agent: str | None, as_json: bool) -> None:
    """Say that a claimed task could not be done.

    Example: brain fail task-001 --why "the repository does not build" --kind transient
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        said = handing_in.fail(brain, claimed, why, FailureKind(kind), _who(call, agent))
    _say_done(claimed, said, as_json=as_json)


def _say_done(claimed: str, said: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": claimed, "done": True, "said": said})
    else:
        say(said)
