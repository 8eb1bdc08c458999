"""`brain chain`: tasks that belong together with their one true total. `brain graph`: who waits for whom in the queue."""

import sys
from contextlib import closing
from typing import Any

import click

from brain_daemon.policy.graph import Graph, graph_to
from brain_daemon.policy.graph import mermaid as graph_chart
from brain_daemon.record.chain import Chain, Link, mermaid
from brain_daemon.record.ledger import Totals
from brain_daemon.record.wording import dollars, duration
from brain_daemon.service.brain import Brain
from brain_daemon.service.chains import find_chain, queue_graph
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import STATE_STYLES, Column, say, show

_COLUMNS = (
    # Where room is short the state is broken into lines, and never the tree.
    Column("TASK", tree=True, whole=True),
    Column("STATE", styles=STATE_STYLES),
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


@click.command("graph")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print it as a Mermaid flowchart.")
@json_option
@click.pass_obj
def graph_command(call: Call, as_mermaid: bool, as_json: bool) -> None:
    """Show which tasks wait for which, and in which levels they can run. A circle of tasks is spelled out (exit code 1).

    Example: brain graph --mermaid
    """
    with closing(Brain.open(call.brain_root, call.environment)) as brain:
        graph = queue_graph(brain)
    if as_json:
        print_json(graph_to(graph))
    elif as_mermaid:
        click.echo(graph_chart(graph), nl=False)
    else:
        _print_graph(graph)
    if graph.cycles:
        sys.exit(1)


def _print_graph(graph: Graph) -> None:
    if not graph.nodes:
        say("No task waits.")
    waits = {node.task.id: ", ".join(node.task.waits_for) for node in graph.nodes}
    states = {node.task.id: node.state for node in graph.nodes}
    levels = {task_id: str(number) for number, level in enumerate(graph.levels, 1) for task_id in level}
    ordered = sorted(waits, key=lambda task_id: (int(levels.get(task_id, "0")) or len(waits) + 1, task_id))
    rows = [[levels.get(task_id, "-"), task_id, states[task_id], waits[task_id]] for task_id in ordered]
    show((Column("LEVEL", right=True), Column("TASK"), Column("STATE", styles=STATE_STYLES), Column("WAITS FOR")), rows)
    for circle in graph.cycles:
        say(f"a circle, in which nothing can start: {' -> '.join(circle)}. Take one `depends_on` out.")
    for name in graph.unknown:
        say(f"note: nobody is called {name}; what waits for it starts when such a task has completed.")


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
