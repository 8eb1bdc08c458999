"""`brain simulate`: what a queue would cost and how long it would wait, by the policies of this brain and by others beside them.

Nothing is run, sent or written. The brain's interfaces, table and history are read; how fast and how well an interface works
is what history says of it, or the file.
"""

import math
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import UserError
from brain_daemon.model.quantities import parse_duration
from brain_daemon.policy.evidence import gather
from brain_daemon.policy.scenario import Figures, InterfaceUse
from brain_daemon.policy.simulation import simulate
from brain_daemon.record.wording import dollars, duration
from brain_daemon.service.brain import Brain
from brain_daemon.service.near_limit import ANSWERS
from brain_daemon.service.scenarios import Known, Scenario, contenders, of_ledger, read_file, rules_of
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.commands.costs import first_day
from brain_daemon.surfaces.tables import Column, say, show

_POLICIES = (
    Column("POLICY"),
    Column("COMPLETED", right=True),
    Column("FAILED", right=True),
    Column("WAITING", right=True),
    Column("COST", right=True),
    Column("WAIT P50", right=True),
    Column("WAIT P95", right=True),
    Column("TAKES", right=True),
)


@click.command("simulate")
@click.argument("queue", metavar="[FILE]", required=False)
@click.option("--since", metavar="DAY", help="The tasks of the ledger from this UTC day on, instead of a file.")
@click.option(
    "--policy", "policies", multiple=True, metavar="NAME", help="ladder, round_robin, always:NAME ...; repeatable."
)
@click.option(
    "--slots", type=click.IntRange(min=1), help="Attempts at the same time; else the file's, else `parallel`."
)
@click.option(
    "--answer",
    type=click.Choice(tuple(ANSWERS)),
    help="What you say when you are asked near a limit; else nothing, and the setting `quota_silence` holds.",
)
@click.option("--until", metavar="DURATION", help="Start nothing later than this after the first task.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed is other luck.")
@json_option
@click.pass_obj
def simulate_command(
    call: Call,
    queue: str | None,
    since: str | None,
    policies: tuple[str, ...],
    slots: int | None,
    answer: str | None,
    until: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Work through a queue on paper: cost, waiting and use of each interface, one policy beside the other.

    FILE is YAML, JSON or CSV; without one, the ledger's tasks since a day are worked through again.

    Example: brain simulate night.yaml --policy ladder --policy always:claude_code
    """
    if (queue is None) is (since is None):
        raise UserError("simulating: name a queue file, or a day with --since; one of them.")
    horizon = math.inf if until is None else _seconds(until)
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        scenario, known = _scenario(brain, queue, since)
        slots = slots or scenario.slots or brain.config.parallel
        rules = rules_of(brain.config, answer)
    first = min((one.at_seconds for one in scenario.arrivals), default=0.0)
    began = time.perf_counter()
    results = [
        simulate(
            scenario.arrivals,
            scenario.worlds,
            known.table,
            contender,
            slots=slots,
            seed=seed,
            until_seconds=first + horizon,
            rules=rules,
        )
        for contender in contenders(policies, scenario)
    ]
    if as_json:
        print_json(_facts(scenario, results, slots, seed, time.perf_counter() - began))
        return
    _print(scenario, results)


def _scenario(brain: Brain, queue: str | None, since: str | None) -> tuple[Scenario, Known]:
    table, _ = brain.routing_table()
    rows = [CostRow.from_values(values) for values in brain.journal.outcomes()]
    specs = {name: entry.spec for name, entry in brain.registry().entries.items() if entry.usable}
    known = Known(specs=specs, table=table, history=gather(rows, type_of=table.type_of))
    if queue is not None:
        return read_file(queue, known), known
    first = first_day(since or "", datetime.now(UTC).date())
    return of_ledger([row for row in rows if row.day >= first], known), known


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"simulating: --until: {error}.") from error


def _print(scenario: Scenario, results: Sequence[Figures]) -> None:
    if not scenario.arrivals:
        say("There is no task to simulate.")
        return
    show(_POLICIES, [_policy_row(one) for one in results])
    say()
    heads = (Column("ATTEMPTS"), *(Column(one.contender, right=True) for one in results))
    show(heads, [_use_row(name, results) for name in (world.spec.name for world in scenario.worlds)])
    for one in results:
        if one.refused:
            say(f"note: {one.contender}: nobody could take {one.refused:,} of the tasks")
        if one.unknown_costs:
            say(f"note: {one.contender}: the cost of {one.unknown_costs:,} attempts is unknown and in no sum")
    for warning in scenario.warnings:
        say(f"note: {warning}", err=True)


def _policy_row(one: Figures) -> Sequence[str]:
    waits = (_span(seconds) for seconds in (one.wait_p50_seconds, one.wait_p95_seconds, one.seconds))
    return (
        one.contender,
        f"{one.completed:,}",
        f"{one.failed:,}",
        f"{one.waiting + one.refused:,}",
        dollars(one.usd),
        *waits,
    )


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _use_row(name: str, results: Sequence[Figures]) -> Sequence[str]:
    return (name, *(_use(next(use for use in one.interfaces if use.name == name)) for one in results))


def _use(use: InterfaceUse) -> str:
    """Attempts, and how far its fullest-used window was used."""
    share = max((window.share for window in use.windows), default=None)
    return f"{use.attempts:,}" if share is None else f"{use.attempts:,} ({share:.0%})"


def _facts(scenario: Scenario, results: Sequence[Figures], slots: int, seed: int, seconds: float) -> dict[str, Any]:
    return {
        "tasks": len(scenario.arrivals),
        "slots": slots,
        "seed": seed,
        "simulated_in_seconds": round(seconds, 3),
        "policies": [_policy_facts(one) for one in results],
        "warnings": list(scenario.warnings),
    }


def _policy_facts(one: Figures) -> dict[str, Any]:
    return {
        "policy": one.contender,
        "completed": one.completed,
        "failed": one.failed,
        "refused": one.refused,
        "waiting": one.waiting,
        "attempts": one.attempts,
        "cost_usd": format(one.usd, "f"),
        "unknown_costs": one.unknown_costs,
        "wait_p50_seconds": _rounded(one.wait_p50_seconds),
        "wait_p95_seconds": _rounded(one.wait_p95_seconds),
        "seconds": _rounded(one.seconds),
        "interfaces": [
            {
                "interface": use.name,
                "attempts": use.attempts,
                "completed": use.completed,
                "cost_usd": format(use.usd, "f"),
                "busy_seconds": _rounded(use.busy_seconds),
                "windows": [
                    {
                        "per": window.per,
                        "unit": window.unit,
                        "used": format(window.used, "f"),
                        "offered": format(window.offered, "f"),
                        "fullest": format(window.fullest, "f"),
                    }
                    for window in use.windows
                ],
            }
            for use in one.interfaces
        ],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
