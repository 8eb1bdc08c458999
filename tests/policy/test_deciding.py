"""What was decided before an attempt, for comparing afterwards."""

from brain_daemon.model.interface import Tier
from brain_daemon.policy.deciding import by_history, by_table, decision
from brain_daemon.policy.learning import Lesson
from brain_daemon.policy.routing import Choice, Ranked


def ranked(
    name: str, rung: int = 0, *, good: int | None = None, listed: int | None = None, last: bool = False
) -> Ranked:
    lesson = (
        None
        if good is None
        else Lesson(task_type="code", alpha=1 + good, beta=11 - good, declared=0.5, good=good, judged=10)
    )
    return Ranked(name=name, tier=Tier.FREE, rung=rung, reason="r", lesson=lesson, listed=listed, last_resort=last)


def test_the_table_would_take_the_first_it_lists_wherever_that_was_ranked() -> None:
    """Also where history has put another one first."""
    assert by_table(Choice(ranked=(ranked("b", listed=1), ranked("a", listed=0), ranked("c")))) == "a"
    assert by_table(Choice(ranked=(ranked("c"),))) is None


def test_history_would_take_the_best_that_is_no_dearer_and_no_last_resort() -> None:
    """Of those it knows."""
    places = (
        ranked("a", good=4),
        ranked("b", good=7),
        ranked("dear", 1, good=10),
        ranked("poor", good=9, last=True),
        ranked("new"),
    )
    assert by_history(Choice(ranked=places)) == "b"
    assert by_history(Choice(ranked=(ranked("new"),))) is None


def test_only_what_is_known_has_a_key() -> None:
    """So that a result block stays short."""
    choice = Choice(ranked=(ranked("a"),))
    assert decision(choice, "a", proved=False) == {"decided": "a"}
    assert decision(choice, "a", proved=True, overridden=True) == {"decided": "a", "overridden": True, "proof": True}
