"""`brain acquire`: an agent that calls a provider by itself asks whether it may send so much now."""

import asyncio
import math
import sys
import time
from contextlib import closing
from typing import Any

import click

from brain_daemon.model.attempt import Attempt
from brain_daemon.model.quantities import DURATION_ALLOWED, parse_duration
from brain_daemon.record.wording import utc
from brain_daemon.service.acquiring import Answer, Granted, OverBudget, Wait, Wanted, acquire
from brain_daemon.service.brain import Brain
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import say

WAIT_CODE = 3
BUDGET_CODE = 4
_MOST = 10**12


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise click.BadParameter(f"found {text!r}, allowed is {DURATION_ALLOWED}") from None


@click.command("acquire")
@click.option("--interface", required=True, metavar="NAME", help="Whom you are about to send something to.")
@click.option(
    "--tokens",
    type=click.IntRange(min=0, max=_MOST),
    default=0,
    metavar="N",
    help="What it may take, the answer included.",
)
@click.option("--requests", type=click.IntRange(min=1, max=_MOST), default=1, metavar="N", help="How many; 1.")
@click.option("--task", metavar="ID", help="The task you have claimed, or the claim. Inside a task it is that task.")
@click.option("--as", "agent", metavar="NAME", help="Who you are; also BRAIN_AGENT.")
@click.option(
    "--wait",
    callback=_seconds,
    default="0s",
    metavar="TIME",
    help="Wait for your turn, at most so long: 90s, 5m.",
)
@click.option("--request", metavar="ID", help="A name for this request: asked again under it, nothing is taken twice.")
@json_option
@click.pass_obj
def acquire_command(
    call: Call,
    interface: str,
    tokens: int,
    requests: int,
    task: str | None,
    agent: str | None,
    wait: float,
    request: str | None,
    as_json: bool,
) -> None:
    """Ask whether so much may be sent now, and take it. Prints `granted`, `wait SECONDS` or `stopped`; why, on standard error.

    Exit 0: granted. Exit 3: wait so long, or for what the reason names. Exit 4: a budget stops it.

    Example: brain acquire --interface openai_api --tokens 3000 --task task-001 --wait 2m
    """
    named = {} if request is None else {"request_id": request}
    wanted = Wanted(
        interface=interface,
        tokens=tokens,
        requests=requests,
        task=task,
        agent=agent or call.environment.get("BRAIN_AGENT"),
        **named,
    )
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        answer, attempt = asyncio.run(acquire(brain, wanted, call.environment, wait))
    if as_json:
        print_json(_facts(wanted, answer, attempt))
    else:
        _print(answer)
    sys.exit({Granted: 0, OverBudget: BUDGET_CODE}.get(type(answer), WAIT_CODE))


def _facts(wanted: Wanted, answer: Answer, attempt: Attempt | None) -> dict[str, Any]:
    told = {} if isinstance(answer, Granted) else {"why": answer.why, "until": answer.until}
    until = told.get("until")
    seconds = answer.seconds(time.time()) if isinstance(answer, Wait) else None
    return {
        "outcome": _word(answer),
        "interface": wanted.interface,
        "requests": wanted.requests,
        "tokens": wanted.tokens,
        "task_id": None if attempt is None else attempt.task_id,
        "attempt_id": None if attempt is None else attempt.attempt_id,
        "request": wanted.request_id,
        "again": isinstance(answer, Granted) and answer.again,
        "wait_seconds": None if seconds is None else round(seconds, 3),
        "until": utc(until) if isinstance(until, float) else None,
        "why": told.get("why"),
    }


def _word(answer: Answer) -> str:
    match answer:
        case Granted():
            return "granted"
        case OverBudget():
            return "stopped"
        case _:
            return "wait"


def _print(answer: Answer) -> None:
    if isinstance(answer, Granted):
        say("granted")
        return
    seconds = answer.seconds(time.time()) if isinstance(answer, Wait) else None
    say(_word(answer) if seconds is None else f"{_word(answer)} {math.ceil(seconds)}")
    until = "" if answer.until is None or seconds is not None else f", until {utc(answer.until)}"
    say(f"{answer.why}{until}", err=True)
