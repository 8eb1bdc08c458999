"""`brain usage`: what today has used of each interface, what is left of its limits, and what the rate limiter has given to whom.

It reads the index, the accounts that admission asks, and the rates: all are true whether a daemon runs or not.
"""

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any

import click

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.frontmatter import Malformed
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.policy.breaker import HalfOpen, Open, word
from brain_daemon.policy.buckets import Bucket, Rates
from brain_daemon.record import usage
from brain_daemon.record.day_file import read_name
from brain_daemon.record.ledger import GroupBy, Totals, group
from brain_daemon.record.metrics import DayTally, Used
from brain_daemon.record.wording import dollars, utc
from brain_daemon.service.brain import Brain
from brain_daemon.service.breakers import kept
from brain_daemon.service.budget_standing import standing
from brain_daemon.service.findings import finding_of
from brain_daemon.service.quotas import Quotas
from brain_daemon.service.rate_limiter import RateLimiter, RateState
from brain_daemon.service.snapshot import reading
from brain_daemon.store.layout import Layout
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.commands.costs import known_cost
from brain_daemon.surfaces.commands.status import budget_facts
from brain_daemon.surfaces.tables import STATE_STYLES, Column, say, show

_USAGE = (
    Column("INTERFACE"),
    Column("SENT", right=True),
    Column("REQUESTS", right=True),
    Column("TOKENS", right=True),
    Column("COST", right=True),
    Column("LEFT", right=True),
    Column("STATUS", styles=STATE_STYLES),
)


_TASKS = (
    Column("TASK"),
    Column("REQUESTS", right=True),
    Column("TOKENS", right=True),
    Column("DENIED", right=True),
)
_TASKS_SHOWN = 20
_TASKS_TOLD = 1_000


@click.command("usage")
@json_option
@click.pass_obj
def usage_command(call: Call, as_json: bool) -> None:
    """Show what today (UTC) has used of each interface, what is left of its limits, and what tasks have asked of the rate limiter.

    Example: brain usage
    """
    today = time.strftime("%Y-%m-%d", time.gmtime())
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        rows = [CostRow.from_values(values) for values in brain.journal.outcomes(day=today)]
        entries = brain.registry().entries
        requests, errors = _requests(brain.layout, today), _last_errors(brain.layout, today)
        found = _findings(brain, [entry.spec for entry in entries.values()])
        with reading(brain.layout) as journal:
            budgets = [] if journal is None else list(standing(journal, brain.config.budgets, time.time()))
        with closing(RateLimiter(brain)) as limiter:
            rates = {name: limiter.state(entry.spec) for name, entry in entries.items()}
            asked = limiter.task_accounts(_TASKS_TOLD)
    used = DayTally(today, rows).used()
    spent = group(rows, GroupBy.INTERFACE)
    facts = []
    for name in sorted({*entries, *used}):
        entry = entries.get(name)
        limit = entry.spec.limits.messages_per_day if entry else None
        status = ("available" if entry.usable else f"offline: {entry.why_not}") if entry else "not registered"
        counted = used.get(name, Used())
        counted = counted._replace(requests=max(counted.requests, requests.get(name, 0)))
        facts.append(
            {
                **_usage_facts(
                    name, counted, spent.get(name, Totals()), limit, found.get(name, usage.NO_FINDING).messages_left
                ),
                **_finding_facts(found.get(name, usage.NO_FINDING)),
                "rate": _rate_facts(rates.get(name, RateState(rates=Rates()))),
                "last_error": errors.get(name),
                "status": status,
            }
        )
    tasks = [
        {"task_id": task_id, "requests": one.requests, "tokens": one.tokens, "denials": one.denials}
        for task_id, one in asked.items()
    ]
    if as_json:
        told = [budget_facts(one) for one in budgets]
        print_json({"day": today, "interfaces": facts, "budgets": told, "tasks": tasks})
        return
    show(_USAGE, [_usage_row(one) for one in facts])
    for one in facts:
        for line in _finding_lines(one):
            say(f"{one['interface']}: {line}")
        if one["last_error"]:
            say(f"{one['interface']}: its last error was: {one['last_error']}")
    for budget in budgets:
        if budget.is_warned:
            say(budget.sentence)
    if tasks:
        say()
        show(_TASKS, [_task_row(one) for one in tasks[:_TASKS_SHOWN]])
    if len(tasks) > _TASKS_SHOWN:
        say(f"and {len(tasks) - _TASKS_SHOWN} more: `brain usage --json`")


def _requests(layout: Layout, today: str) -> Mapping[str, int]:
    """Requests at the provider, which only context/usage.md keeps."""
    try:
        with open(os.path.join(layout.context, "usage.md"), "rb") as handle:
            told = usage.parse(handle.read())
    except (OSError, Malformed):
        return {}
    interfaces = told["interfaces"] if told.get("day") == today else {}
    counts = {name: one["requests_today"] for name, one in interfaces.items()}
    return {name: number for name, number in counts.items() if isinstance(number, int)}


def _last_errors(layout: Layout, today: str) -> Mapping[str, str]:
    """What each interface's last failed attempt of today said, from logs/errors/; a line that is not ours says nothing."""
    folder = layout.inside("logs", "errors")
    parts = sorted((part[1], name) for name in os.listdir(folder) if (part := read_name(name)) and part[0] == today)
    found: dict[str, str] = {}
    for _, name in parts:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as handle:
            for line in handle:
                try:
                    told = json.loads(line)
                    reason, message = str(told["reason"]), str(told["message"])
                    found[told["interface"]] = message if message.startswith(f"{reason}:") else f"{reason}: {message}"
                except (ValueError, KeyError, TypeError):
                    continue
    return found


def _findings(brain: Brain, specs: Sequence[InterfaceSpec]) -> dict[str, usage.Finding]:
    """What the accounts and the journal say now; only how many slots one bears is the daemon's own to tell."""
    told = usage.findings_from(brain.journal.get(usage.FINDINGS))
    words = {
        name: (word(one), one.why) for name, one in kept(brain.journal).items() if isinstance(one, Open | HalfOpen)
    }
    with closing(Quotas(brain, lambda: specs)) as quotas:
        quotas.look(books=quotas.is_new)
        return {
            spec.name: finding_of(
                spec,
                quotas.counted(spec),
                word=words.get(spec.name),
                slots=told.get(spec.name, usage.NO_FINDING).slots,
            )
            for spec in specs
        }


def _usage_facts(name: str, used: Used, spent: Totals, limit: int | None, left: int | None) -> dict[str, Any]:
    """`left` is what the account has left, with what other brains have used of it; None: only this brain's own use is known."""
    return {
        "interface": name,
        "messages_today": used.messages,
        "requests_today": used.requests,
        "tokens_today": used.tokens,
        "cost_usd": known_cost(spent),
        "unknown_costs": spent.unknown,
        "limit": limit,
        "limit_remaining": None if limit is None else max(0, limit - used.messages) if left is None else left,
    }


def _finding_facts(finding: usage.Finding) -> dict[str, Any]:
    """What the daemon last found; a share is 1 where nothing is left."""
    return {
        "breaker": finding.breaker,
        "breaker_why": finding.why or None,
        "slots": finding.slots,
        "quotas": [
            {
                "quota": one.quota,
                "share": one.share,
                "resets_at": None if one.resets_at is None else utc(one.resets_at),
            }
            for one in finding.quotas
        ],
    }


def _rate_facts(state: RateState) -> dict[str, Any]:
    """The two buckets, null without a limit, and the account of today."""
    return {
        "requests": _bucket_facts(state.rates.requests),
        "tokens": _bucket_facts(state.rates.tokens),
        "waiting": state.waiting,
        "granted_requests": state.account.requests,
        "granted_tokens": state.account.tokens,
        "denials": state.account.denials,
    }


def _bucket_facts(bucket: Bucket | None) -> dict[str, Any] | None:
    if bucket is None:
        return None
    missing = bucket.capacity - bucket.level
    return {
        "limit": round(bucket.capacity),
        "left": round(bucket.level, 3),
        "full_in_seconds": round(missing / bucket.per_second, 3),
    }


def _rate_lines(rate: Mapping[str, Any]) -> Iterable[str]:
    """What is left of a rate that somebody has asked for today; nothing of one that nobody has."""
    if not (rate["granted_requests"] or rate["denials"] or rate["waiting"]):
        return
    left = [
        f"{max(0, math.floor(rate[name]['left'])):,} of {rate[name]['limit']:,} {name}"
        for name in ("requests", "tokens")
        if rate[name] is not None
    ]
    waiting = [f"{rate['waiting']:,} waiting"] if rate["waiting"] else []
    yield ", ".join(
        (
            f"{' and '.join(left)} a minute left" if left else "no limit a minute",
            f"{rate['granted_requests']:,} granted",
            f"{rate['denials']:,} denied",
            *waiting,
        )
    )


def _task_row(one: Mapping[str, Any]) -> tuple[str, ...]:
    return one["task_id"], *(f"{one[key]:,}" for key in ("requests", "tokens", "denials"))


def _finding_lines(one: Mapping[str, Any]) -> Iterable[str]:
    if one["breaker"] != "closed":
        yield f"its circuit breaker is {one['breaker']}: {one['breaker_why']}"
    yield from _rate_lines(one["rate"])
    for quota in one["quotas"]:
        reset = f", has room again at {quota['resets_at']}" if quota["resets_at"] and quota["share"] > 0 else ""
        yield f"{quota['share']:.0%} of {quota['quota']} used{reset}"


def _usage_row(one: Mapping[str, Any]) -> tuple[str, ...]:
    known = [] if one["cost_usd"] is None else [dollars(Decimal(one["cost_usd"]))]
    cost = " + ".join([*known, *([f"{one['unknown_costs']} unknown"] if one["unknown_costs"] else [])])
    left = "-" if one["limit"] is None else f"{one['limit_remaining']:,} of {one['limit']:,}"
    figures: Iterable[str] = (f"{one[key]:,}" for key in ("messages_today", "requests_today", "tokens_today"))
    return one["interface"], *figures, cost, left, one["status"].partition(":")[0]
