"""What was decided before an attempt, in a form that can be compared afterwards with where it ran.

Pure; nothing fails.
"""

from collections.abc import Mapping
from typing import Any

from brain_daemon.policy.routing import Choice, Ranked

PROOF = "proof"
"""The key that says: the task has a `verify:` line, so a completed attempt has passed it."""


def decision(choice: Choice, decided: str, *, proved: bool, overridden: bool = False) -> Mapping[str, Any]:
    """The keys for an attempt's routing: where admission sent the task, where routing.md and history by itself would have.

    `overridden` says that a person decided otherwise than the policies. What nobody knows, or does not hold, has no key.
    """
    told = {
        "decided": decided or None,
        "by_table": by_table(choice),
        "by_history": by_history(choice),
        "overridden": overridden or None,
        PROOF: proved or None,
    }
    return {key: value for key, value in told.items() if value is not None}


def by_table(choice: Choice) -> str | None:
    """The first that routing.md lists for the type and that can do the task; None where it lists none."""
    listed = {one.name: one.listed for one in choice.ranked if one.listed is not None}
    return min(listed, key=lambda name: listed[name]) if listed else None


def by_history(choice: Choice) -> str | None:
    """Whom history expects to do best, no dearer than the first choice; None where it knows nobody of them."""
    first = choice.ranked[0]
    known = [one for one in choice.ranked if one.rung <= first.rung and not one.last_resort and _judged(one)]
    return max(known, key=_expected).name if known else None


def _judged(one: Ranked) -> bool:
    return one.lesson is not None and one.lesson.judged > 0


def _expected(one: Ranked) -> float:
    assert one.lesson is not None
    return one.lesson.expected
