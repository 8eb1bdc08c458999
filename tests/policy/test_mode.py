"""How a request is met: a table of moments with what a person would expect, and the order of the rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.policy.mode import (
    VARIABLES,
    ModeChoice,
    RequestMode,
    Situation,
    choose_mode,
    is_night,
    variables_on,
)

TELL, RUN = RequestMode.DIRECTIVE, RequestMode.ORCHESTRATED
BATCH, CLAUDE_BATCH, OVERNIGHT, API = ((name,) for name in VARIABLES)


def at(hour: int, *, terminal: bool = True, hook: bool = False, **fields) -> Situation:
    return Situation(hour=hour, terminal=terminal, agent_at_hand=hook, **fields)


# What each moment is, the moment, and what the person in it would want. The last two are wanted otherwise than decided.
CASES = [
    ("at the desk in the morning", at(9), TELL),
    ("at the desk at noon", at(12), TELL),
    ("at the desk in the afternoon", at(16), TELL),
    ("at the desk in the evening", at(21), TELL),
    ("at the desk, early", at(6), TELL),
    ("started at the desk before midnight", at(23), RUN),
    ("started at the desk at ten at night", at(22), RUN),
    ("started at the desk after midnight", at(0), RUN),
    ("started at the desk in the small hours", at(3), RUN),
    ("started at the desk before six", at(5), RUN),
    ("at night, but the person wants to be told", at(23, preference=TELL), TELL),
    ("at night, told with a flag", at(2, flag=TELL), TELL),
    ("in a pipe by day", at(10, terminal=False), RUN),
    ("from cron at night", at(3, terminal=False), RUN),
    ("from cron by day", at(14, terminal=False), RUN),
    ("from a CI job that wants a word only", at(14, terminal=False, flag=TELL), TELL),
    ("from a CI job, by its settings a word only", at(14, terminal=False, setting=TELL), TELL),
    ("a batch at the desk", at(11, variables=BATCH), RUN),
    ("a batch of the client at the desk", at(11, variables=CLAUDE_BATCH), RUN),
    ("left overnight, begun in the evening", at(20, variables=OVERNIGHT), RUN),
    ("left overnight, at night", at(1, variables=OVERNIGHT), RUN),
    ("asked through a service", at(10, terminal=False, variables=API), RUN),
    ("asked through a service, at night", at(23, terminal=False, variables=API), RUN),
    ("a batch of several names", at(10, variables=BATCH + API), RUN),
    ("a batch, but only a word is wanted", at(10, variables=BATCH, flag=TELL), TELL),
    ("a batch in a brain that is only asked for words", at(10, variables=BATCH, setting=TELL), TELL),
    ("a batch in a session that preferred words before", at(10, variables=BATCH, preference=TELL), RUN),
    ("a workflow file at the desk", at(10, workflow="release.yaml"), RUN),
    ("a workflow file in a pipe", at(10, terminal=False, workflow="release.yaml"), RUN),
    ("a workflow file at night", at(23, workflow="release.yaml"), RUN),
    ("a workflow file, but words are preferred", at(10, workflow="release.yaml", preference=TELL), TELL),
    ("a workflow file, a word asked for", at(10, workflow="release.yaml", flag=TELL), TELL),
    ("run it, says the person at the desk", at(10, flag=RUN), RUN),
    ("run it, says the brain", at(10, setting=RUN), RUN),
    ("run it, says the session", at(10, preference=RUN), RUN),
    ("a word, says the brain, run it, says the call", at(10, setting=TELL, flag=RUN), RUN),
    ("run it, says the brain, a word, says the call", at(10, setting=RUN, flag=TELL), TELL),
    ("a word, says the session, in a pipe", at(10, terminal=False, preference=TELL), TELL),
    ("an agent asks, a person beside it, by day", at(10, hook=True), TELL),
    ("an agent asks, a person beside it, late", at(23, hook=True), TELL),
    ("an agent asks, nobody beside it, by day", at(10, terminal=False, hook=True), TELL),
    ("an agent asks, nobody beside it, at night", at(2, terminal=False, hook=True), RUN),
    ("an agent asks in a batch", at(10, hook=True, variables=CLAUDE_BATCH), RUN),
    ("an agent asks, left overnight", at(23, hook=True, variables=OVERNIGHT), RUN),
    ("an agent asks, run it, says the session", at(10, hook=True, preference=RUN), RUN),
    ("an agent asks, run it, says the brain", at(10, hook=True, setting=RUN), RUN),
    ("an agent asks at night, a word, says the brain", at(2, terminal=False, hook=True, setting=TELL), TELL),
    ("an agent asks about a workflow", at(10, hook=True, workflow="release.yaml"), RUN),
    ("an agent asks, told with a flag", at(2, terminal=False, hook=True, flag=TELL), TELL),
    ("from within a task by day", at(10, terminal=False, task_id="task-1"), TELL),
    ("from within a task at night", at(2, terminal=False, task_id="task-1"), TELL),
    ("from within a task of a batch", at(2, terminal=False, task_id="task-1", variables=BATCH), TELL),
    ("from within a task of a brain that runs all", at(2, terminal=False, task_id="task-1", setting=RUN), TELL),
    ("from within a task, run it, says the call", at(10, terminal=False, task_id="task-1", flag=RUN), RUN),
    ("a person who works at night and wants a word", at(23), TELL),
    ("a person who pages the directive through less", at(10, terminal=False), TELL),
]


def test_the_mode_is_the_one_a_person_would_want():
    """In more than 95 % of the moments of the table; the moment alone cannot tell the two that differ."""
    assert len(CASES) >= 40
    wrong = [what for what, seen, wanted in CASES if choose_mode(seen).mode is not wanted]
    assert len(wrong) / len(CASES) < 0.05, wrong
    assert wrong == [what for what, _, _ in CASES[-2:]]


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (at(10, flag=RUN), "asked for with this call"),
        (at(10, task_id="task-1"), "asked from within the task task-1, which is being done already"),
        (at(10, setting=RUN), "the setting request_mode says so"),
        (at(10, variables=BATCH + API), "BATCH_MODE and API_REQUEST is set"),
        (at(10, preference=RUN), "preferred in this session"),
        (at(10, workflow="a.yaml"), "there is the workflow file a.yaml"),
        (at(10, terminal=False), "nobody is at a terminal"),
        (at(22), "it is night"),
        (at(10), "a person is at the terminal, by day"),
        (at(10, hook=True), "an agent is at hand"),
        (at(2, hook=True, terminal=False), "it is night and nobody is at a terminal"),
    ],
)
def test_each_rule_gives_its_reason(seen, why):
    """The log says which rule decided."""
    assert choose_mode(seen).why == why


modes = st.none() | st.sampled_from(list(RequestMode))


@given(
    seen=st.builds(
        Situation,
        terminal=st.booleans(),
        hour=st.integers(0, 23),
        flag=modes,
        setting=modes,
        preference=modes,
        variables=st.sampled_from([(), BATCH, BATCH + OVERNIGHT]),
        workflow=st.none() | st.just("a.yaml"),
        task_id=st.none() | st.just("task-1"),
        agent_at_hand=st.booleans(),
    )
)
def test_what_was_said_for_this_call_always_wins(seen):
    """Every moment has an answer, and the flag is stronger than all of it."""
    choice = choose_mode(seen)
    assert isinstance(choice, ModeChoice)
    assert choice.why
    assert seen.flag is None or choice.mode is seen.flag


@pytest.mark.parametrize(
    ("value", "on"),
    [("1", True), ("true", True), ("YES", True), ("nightly", True), ("", False), ("0", False), (" Off ", False)],
)
def test_a_variable_is_on_unless_it_says_no(value, on):
    """`BATCH_MODE=0` turns nothing on."""
    assert variables_on({"BATCH_MODE": value, "OTHER": "1"}) == (("BATCH_MODE",) if on else ())


def test_the_night_is_from_22_to_6():
    """The hour at which it begins is in it, the one at which it ends is not."""
    assert [hour for hour in range(24) if is_night(hour)] == [0, 1, 2, 3, 4, 5, 22, 23]
