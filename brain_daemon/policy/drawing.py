"""For one task: which of the equals of a rung goes first, by a draw its id makes.

`policy/routing.py` answers a question that many tasks share, and its answer may be kept; the draw is each task's own. It only
moves an interface among those of its rung whose place nothing else has decided, so what admission may reach stays the same:
a choice that has no room has none after a draw either. Pure; nothing fails.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from brain_daemon.model.task import Prefer
from brain_daemon.policy.learning import WEIGHTS, Lesson, scores
from brain_daemon.policy.routing import Choice, Ranked


def drawn(choice: Choice, task_id: str, prefer: Prefer = Prefer.COST, *, explained: bool = True) -> Choice:
    """The choice with its open places ordered for this task; `explained` adds the draws to the reasons."""
    runs = [list(run) for _, run in groupby(choice.ranked, key=_group)]
    if all(len(run) < 2 or not _may_move(run[0]) for run in runs):
        return choice
    ranked = [one for run in runs for one in (_by_draw(run, task_id, prefer, explained) if _may_move(run[0]) else run)]
    return replace(choice, ranked=tuple(ranked))


def _may_move(ranked: Ranked) -> bool:
    return ranked.open and ranked.lesson is not None


def _group(ranked: Ranked) -> tuple[bool, int]:
    return _may_move(ranked), ranked.rung


def _by_draw(run: Sequence[Ranked], task_id: str, prefer: Prefer, explained: bool) -> Iterator[Ranked]:
    lessons: Mapping[str, Lesson] = {one.name: one.lesson for one in run if one.lesson is not None}
    found = scores(lessons, task_id, WEIGHTS[prefer])
    for one in sorted(run, key=lambda one: (-found[one.name][0], one.name)):
        yield replace(one, reason=f"{one.reason}; draw {found[one.name][1]:.2f}") if explained else one
