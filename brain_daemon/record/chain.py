"""A chain as a tree: its tasks with what each took and cost, from the ledger's rows and what is not on the ledger yet.

Every attempt counts once, whether it failed, was parked or was run again, so the total of a chain is the sum of its rows. A task
hangs below its parent; one whose parent is not of the chain stands at the top. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from brain_daemon.model.cost_row import CostRow
from brain_daemon.model.outcome import Reason
from brain_daemon.record.ledger import Totals, total


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A task of the chain as it stands: pending, held, active, parked, waiting (for its children), completed or failed."""

    task_id: str
    state: str
    parent: str | None = None
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One task of a chain. `seconds` and `totals` count all its rows, `attempts` those that were started; `interface` is that of the
    last one."""

    task_id: str
    state: str
    title: str
    parent: str | None
    depth: int
    interface: str | None
    reason: str | None
    attempts: int
    seconds: float
    totals: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The links in the order of the tree, parents before children; `totals` are those of all rows."""

    chain_id: str
    links: tuple[Link, ...]
    totals: Totals
    seconds: float

    def children(self, task_id: str) -> list[str]:
        """The tasks that hang below this one."""
        return [link.task_id for link in self.links if link.parent == task_id]


def chain_of(chain_id: str, rows: Sequence[CostRow], members: Iterable[Member]) -> Chain:
    """The chain that rows and members of it make; a task that has rows needs no member, a member's state goes before its rows'."""
    known = {one.task_id: one for one in members}
    by_task: dict[str, list[CostRow]] = {}
    for row in rows:
        by_task.setdefault(row.task_id, []).append(row)
    parents = {
        name: known[name].parent if name in known else by_task[name][-1].parent_id for name in {**by_task, **known}
    }
    links = [
        _link(name, depth, parents[name] if depth else None, known.get(name), by_task.get(name, []))
        for name, depth in _walk(parents)
    ]
    return Chain(chain_id=chain_id, links=tuple(links), totals=total(rows), seconds=sum(one.seconds for one in links))


def mermaid(chain: Chain) -> str:
    """The chain as a Mermaid flowchart."""
    names = {link.task_id: f"t{number}" for number, link in enumerate(chain.links)}
    lines = ["flowchart TD"]
    lines += [f'    {names[link.task_id]}["{_label(link)}"]' for link in chain.links]
    lines += [f"    {names[link.parent]} --> {names[link.task_id]}" for link in chain.links if link.parent]
    return "\n".join(lines) + "\n"


def _link(name: str, depth: int, parent: str | None, member: Member | None, rows: Sequence[CostRow]) -> Link:
    last = rows[-1] if rows else None
    state = member.state if member else (last.status.value if last else "pending")
    return Link(
        task_id=name,
        state=state,
        title=member.title if member else "",
        parent=parent,
        depth=depth,
        interface=last.interface if last else None,
        reason=last.reason.value if last and last.reason and state == "failed" else None,
        attempts=len({row.attempt_id for row in rows if _was_started(row)}),
        seconds=sum(row.duration_seconds or 0.0 for row in rows),
        totals=total(rows),
    )


def _was_started(row: CostRow) -> bool:
    """Not so of a task that ended because of another one, or was cancelled while it waited: it has a row, and no attempt was made."""
    return bool(row.duration_seconds) or (row.interface is not None and row.reason is not Reason.CANCELLED)


def _walk(parents: Mapping[str, str | None]) -> Iterator[tuple[str, int]]:
    """Each task with its depth, a parent right before its children; parents in a circle are roots."""
    below: dict[str, list[str]] = {}
    for name, parent in parents.items():
        if parent is not None and parent in parents and parent != name:
            below.setdefault(parent, []).append(name)
    roots = [name for name, parent in parents.items() if parent not in parents or parent == name]
    seen: set[str] = set()
    for root in (*roots, *parents):
        stack = [(root, 0)]
        while stack:
            name, depth = stack.pop()
            if name in seen:
                continue
            seen.add(name)
            yield name, depth
            stack += [(child, depth + 1) for child in reversed(below.get(name, []))]


def _label(link: Link) -> str:
    """What stands in a box: no quote, bracket or line end of a task id can break it, since ids have none."""
    by = f" by {link.interface}" if link.interface else ""
    return f"{link.task_id}: {link.state}{by}"
