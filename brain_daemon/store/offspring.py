"""What each task has spawned, in the journal: written before a child stands in pending/, so that each is put there once.

One document for the tasks of one run of a parent (its attempts up to an end). A child that was accepted keeps its text there
until its file is in pending/; one that was refused keeps why. Only the daemon writes. Failures: StorageError as the journal has
it; a document that cannot be read counts as none.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from decimal import Decimal

from brain_daemon.store.journal import Journal

_PREFIX = "spawned "


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A file that an attempt has left in spawn/: `name` is the file's, `sha256` that of its bytes, `attempt` the attempt's number.

    Accepted it has a `task_id`, and `text` until it stands in pending/; else `refused` says why.
    """

    name: str
    sha256: str
    attempt: int
    task_id: str | None = None
    refused: str = ""
    budget_usd: Decimal | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offspring:
    """All that one run of a task has spawned; `run` is the number of its first attempt, `generation` as in policy/spawning.py."""

    parent: str
    run: int
    generation: int
    children: tuple[Child, ...] = ()

    @property
    def accepted(self) -> tuple[Child, ...]:
        return tuple(one for one in self.children if one.task_id is not None)

    @property
    def undelivered(self) -> tuple[Child, ...]:
        return tuple(one for one in self.children if one.text)

    def delivered(self) -> "Offspring":
        """All of them stand in pending/."""
        return replace(self, children=tuple(replace(one, text="") for one in self.children))

    def find(self, name: str, sha256: str) -> Child | None:
        """The child that this file has become already."""
        return next((one for one in self.children if (one.name, one.sha256) == (name, sha256)), None)


def offspring_of(journal: Journal, parent: str) -> Offspring | None:
    """What the last run of a task has spawned; None if nothing."""
    return _read(journal.get(_key(parent)))


def keep(journal: Journal, offspring: Offspring) -> None:
    """Durable on return."""
    document = {**asdict(offspring), "children": [_document(one) for one in offspring.children]}
    journal.set(_key(offspring.parent), json.dumps(document))


def forget(journal: Journal, parent: str) -> None:
    """Nobody asks for it any more."""
    journal.unset(_key(parent))


def every(journal: Journal) -> Iterator[Offspring]:
    """What all tasks have spawned, as far as it is not forgotten."""
    for text in journal.values(_PREFIX).values():
        found = _read(text)
        if found is not None:
            yield found


def _key(parent: str) -> str:
    return f"{_PREFIX}{parent.casefold()}"


def _document(child: Child) -> dict[str, object]:
    budget = None if child.budget_usd is None else f"{child.budget_usd:f}"
    return {key: value for key, value in {**asdict(child), "budget_usd": budget}.items() if value not in (None, "")}


def _read(text: str | None) -> Offspring | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
        children = [
            Child(**{**one, "budget_usd": Decimal(one["budget_usd"]) if "budget_usd" in one else None})
            for one in found["children"]
        ]
        return Offspring(**{**found, "children": tuple(children)})
    except (ValueError, TypeError, KeyError, ArithmeticError):
        return None
