"""`brain costs`: what attempts cost.

It reads the index and counts the rows of the ledger's text beside it: where the two differ it says so, since the text is the
record. A cost nobody knows is said in words and is in no sum.
"""

import os
import re
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.errors import UserError
from brain_daemon.model.quantities import parse_duration
from brain_daemon.record import ledger
from brain_daemon.record.day_file import read_name
from brain_daemon.record.ledger import GroupBy, Totals, chains_of, group, sums_csv, total, with_roots
from brain_daemon.record.wording import dollars
from brain_daemon.service.brain import Brain
from brain_daemon.store.layout import Layout
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import Column, say, show

_FIGURES = (
    Column("ATTEMPTS", right=True),
    Column("TOKENS IN", right=True),
    Column("CACHED", right=True),
    Column("OUT", right=True),
    Column("COST", right=True),
    Column("UNKNOWN", right=True),
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@click.command("costs")
@click.option(
    "--by",
    type=click.Choice([one.value for one in GroupBy]),
    default="interface",
    show_default=True,
    help="One row for each.",
)
@click.option("--chain", metavar="ID", help="Only the attempts of one chain.")
@click.option("--since", metavar="DAY", help="Only from this UTC day on: 2026-11-20, today, or an age such as 7d.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV for spreadsheets.")
@json_option
@click.pass_obj
def costs_command(call: Call, by: str, chain: str | None, since: str | None, as_csv: bool, as_json: bool) -> None:
    """Sum up what attempts cost; failed, cancelled and repeated ones count. Unknown costs are said, never counted as nothing.

    Example: brain costs --by type --since 7d
    """
    if as_csv and as_json:
        raise UserError("summing up costs: --csv and --json exclude each other; give one of them.")
    first = None if since is None else first_day(since, datetime.now(UTC).date())
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        rows = [CostRow.from_values(values) for values in brain.journal.outcomes(since=first)]
        warnings = _differences(brain.layout, first, len(rows))
        if chain is not None or by == GroupBy.CHAIN:
            # What was called after a task may have run before --since.
            every = rows if first is None else map(CostRow.from_values, brain.journal.outcomes())
            rows = list(with_roots(rows, chains_of(every)))
    rows = [row for row in rows if chain is None or row.chain_id == chain]
    groups, sums = group(rows, GroupBy(by)), total(rows)
    if as_json:
        print_json(
            {
                "by": by,
                "since": first,
                "chain": chain,
                "groups": [{"key": key, **_totals_facts(found)} for key, found in groups.items()],
                "total": _totals_facts(sums),
                "warnings": warnings,
            }
        )
        return
    if as_csv:
        click.echo(sums_csv(groups, GroupBy(by)), nl=False)
    else:
        _print_costs(by, groups, sums)
    for warning in warnings:
        say(f"note: {warning}", err=True)


def first_day(text: str, today: date) -> str:
    """The ISO day `--since` means: a day, `today`, or an age."""
    word = text.strip().lower()
    try:
        if word == "today":
            return today.isoformat()
        if _DAY.fullmatch(word):
            return date.fromisoformat(word).isoformat()
        if not word.isdigit():
            return (today - timedelta(seconds=parse_duration(word))).isoformat()
    except (ValueError, OverflowError):
        pass
    raise UserError(
        f"summing up costs: --since is {text!r}; allowed are a day such as 2026-11-20, today, or an age such as 7d."
    )


def _differences(layout: Layout, first: str | None, indexed: int) -> list[str]:
    """What is to be said where the index and the ledger's text have different numbers of rows."""
    folder = layout.inside("logs", "costs")
    written = 0
    for name in sorted(os.listdir(folder)):
        day = read_name(name)
        if day is None or not name.endswith(".csv") or (first is not None and day[0] < first):
            continue
        with open(os.path.join(folder, name), "rb") as handle:
            written += ledger.count(handle.read())
    if written == indexed:
        return []
    remedy = "`brain verify` names them, `brain reindex` builds the index anew"
    return [f"the index has {indexed} rows and the text in logs/costs/ has {written}: {remedy}"]


def _print_costs(by: str, groups: Mapping[str | None, Totals], sums: Totals) -> None:
    if not sums.rows:
        say("Nothing has been run yet.")
        return
    rows = [(key or f"(no {by})", *_figures(found)) for key, found in groups.items()]
    if len(rows) > 1:
        rows.append(("all", *_figures(sums)))
    show((Column(by.upper()), *_FIGURES), rows)
    if sums.unknown:
        attempts = "1 attempt is" if sums.unknown == 1 else f"{sums.unknown} attempts are"
        say(f"\nThe cost of {attempts} unknown and in no sum: the true cost is higher.")


def _figures(found: Totals) -> tuple[str, ...]:
    return (
        f"{found.rows:,}",
        f"{found.input_tokens:,}",
        f"{found.cached_input_tokens:,}",
        f"{found.output_tokens:,}",
        "-" if found.unknown == found.rows else dollars(found.known_usd),
        f"{found.unknown:,}" if found.unknown else "-",
    )


def _totals_facts(found: Totals) -> dict[str, Any]:
    return {
        "attempts": found.rows,
        "input_tokens": found.input_tokens,
        "cached_input_tokens": found.cached_input_tokens,
        "output_tokens": found.output_tokens,
        "cost_usd": known_cost(found),
        "cost_by_basis": {basis.value: format(usd, "f") for basis, usd in found.usd.items()},
        "unknown_costs": found.unknown,
    }


def known_cost(found: Totals) -> str | None:
    """Dollars as a decimal; None where nothing at all is known of them."""
    return None if found.rows and found.unknown == found.rows else format(found.known_usd, "f")
