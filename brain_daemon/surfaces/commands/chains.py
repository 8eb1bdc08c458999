"""`brain chain`: the tasks that belong together, what each took and cost, and the one true total."""

from contextlib import closing
from typing import Any

import click

from brain_daemon.record.chain import Chain, Link, mermaid
from brain_daemon.record.ledger import Totals
from brain_daemon.record.wording import dollars, duration
from brain_daemon.service.brain import Brain
from brain_daemon.service.chains import find_chain
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import STATE_STYLES, Column, say, show

_COLUMNS = (
    Column("TASK"),
    Column("STATE", whole=True, styles=STATE_STYLES),
    Column("BY"),
    Column("ATTEMPTS", right=True),
    Column("TOKENS", right=True),
    Column("COST", right=True),
    Column("TIME", right=True),
)


@click.command("chain")
@click.argument("chain_id", metavar="ID")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print the tree as a Mermaid flowchart.")
@json_option
@click.pass_obj
def chain_command(call: Call, chain_id: str, as_mermaid: bool, as_json: bool) -> None:
    """Show a chain as a tree; ID is a chain's or that of a task in it. Every attempt counts once, the failed ones too.

    Example: brain chain nightly-report
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        chain = find_chain(brain, chain_id)
    if as_json:
        print_json(_facts(chain))
    elif as_mermaid:
        click.echo(mermaid(chain), nl=False)
    else:
        _print(chain)


def _print(chain: Chain) -> None:
    rows = [_cells(branch + link.task_id, link) for branch, link in zip(_branches(chain), chain.links, strict=True)]
    tokens = chain.totals.input_tokens + chain.totals.output_tokens
    attempts = sum(link.attempts for link in chain.links)
    rows.append(["total", "", "", str(attempts), str(tokens), _cost(chain.totals), duration(chain.seconds)])
    show(_COLUMNS, rows, f"Chain {chain.chain_id}")
    if chain.totals.unknown:
        say(f"note: the cost of {chain.totals.unknown} attempts is unknown, so the true total is higher.")


def _cells(name: str, link: Link) -> list[str]:
    tokens = link.totals.input_tokens + link.totals.output_tokens
    state = f"{link.state} ({link.reason})" if link.reason else link.state
    time = duration(link.seconds) if link.attempts else ""
    return [name, state, link.interface or "", str(link.attempts), str(tokens), _cost(link.totals), time]


def _cost(totals: Totals) -> str:
    if not totals.rows:
        return ""
    return dollars(totals.known_usd) if totals.rows > totals.unknown else "unknown"


def _branches(chain: Chain) -> list[str]:
    """What stands before each name so that the tree is seen: the lines of all levels above it."""
    links = chain.links
    branches = []
    for at, link in enumerate(links):
        lines = "".join("│  " if _goes_on(links, at, level) else "   " for level in range(1, link.depth))
        branches.append(lines + (("├─ " if _goes_on(links, at, link.depth) else "└─ ") if link.depth else ""))
    return branches


def _goes_on(links: tuple[Link, ...], at: int, level: int) -> bool:
    """Whether a later task hangs at this level of the same branch."""
    later = next((link.depth for link in links[at + 1 :] if link.depth <= level), 0)
    return later == level


def _facts(chain: Chain) -> dict[str, Any]:
    return {
        "chain": chain.chain_id,
        "tasks": [
            {
                "task_id": link.task_id,
                "state": link.state,
                "reason": link.reason,
                "interface": link.interface,
                "parent": link.parent,
                "children": chain.children(link.task_id),
                "depth": link.depth,
                "attempts": link.attempts,
                "duration_seconds": round(link.seconds, 3),
                **_sums(link.totals),
            }
            for link in chain.links
        ],
        "total": {"duration_seconds": round(chain.seconds, 3), **_sums(chain.totals)},
    }


def _sums(totals: Totals) -> dict[str, Any]:
    return {
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "cost_usd": str(totals.known_usd),
        "unknown_costs": totals.unknown,
    }
