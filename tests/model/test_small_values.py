"""Small values that travel between the floors: what is stored is what comes back."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from brain_daemon.model.attempt import Attempt, AttemptState, decode_ended, encode_ended
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import Ended, QuotaReport, Succeeded, TimedOut
from brain_daemon.model.parsing import parse_task
from brain_daemon.model.reset_time import reset_instant
from brain_daemon.model.schema import workflow_schema
from brain_daemon.model.workflow import task_id as step_task_id
from brain_daemon.model.workflow_text import looked_up, shown
from brain_daemon.policy.budgets import Budget, Scope
from brain_daemon.policy.resuming import resumption


def test_what_a_client_reported_of_its_quota_is_stored_and_comes_back() -> None:
    """With and without amounts."""
    reports = (
        QuotaReport(name="five_hour", utilisation=0.5, resets_at=9.0),
        QuotaReport(name="week", used=Decimal(3), limit=Decimal(10)),
    )
    ended = Ended(outcome=Succeeded(text="ok"), started_at=0.0, finished_at=1.0, duration_seconds=1.0, reports=reports)
    assert decode_ended(encode_ended(ended)) == ended


@pytest.mark.parametrize(("value", "text"), [(None, ""), ("a", "a"), ([1, "ü"], '[1, "ü"]')])
def test_a_value_stands_in_a_prompt_as_people_write_it(value: object, text: str) -> None:
    """Nothing is nothing, a text is itself, anything else is JSON."""
    assert shown(value) == text


def test_a_budget_is_shown_as_it_is_written() -> None:
    """For `brain config`."""
    assert str(Budget(scope=Scope.DAY, usd=Decimal(5), hard=True)) == "day $5 hard"
    assert str(Budget(scope=Scope.CHAIN, name="nightly", tokens=1_000)) == "chain nightly 1,000 tokens"


@pytest.mark.parametrize(
    "said", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "Feb 30 at 3pm (UTC)", "today at 2:30am"]
)
def test_an_instant_that_cannot_be_is_none(said: str) -> None:
    """Before the first year of the calendar, after its last, a day that no month has, a minute that the clock skips."""
    berlin = ZoneInfo("Europe/Berlin")
    spring = datetime(2026, 3, 29, 1, 0, tzinfo=berlin).timestamp()
    found = reset_instant(said, now=spring, zone=berlin)
    assert found is None or abs(found - spring) < 86_400


def test_what_leads_nowhere_in_a_value_is_nothing() -> None:
    """A number holds nothing, a text that is no JSON neither."""
    assert looked_up({"a": 5}, ["a", "b"]) is None
    assert looked_up("no json", ["a"]) is None
    assert looked_up([[1, 2]], ["0", "1"]) == 2


def test_an_answer_to_an_attempt_that_ran_out_of_time_is_told_all_the_same() -> None:
    """Whatever became of the attempt, what a person said is not lost."""
    ended = Ended(outcome=TimedOut(after_seconds=1.0), started_at=0.0, finished_at=1.0, duration_seconds=1.0)
    late = Attempt(
        attempt_id="t.a1.x",
        task_id="t",
        number=1,
        state=AttemptState.ENDED,
        name="t.md",
        sha256="",
        spec=b"",
        claimant="daemon",
        claimed_at=0.0,
        interface="a",
        ended=ended,
        answer="blue",
    )
    found = resumption([late], "a", "text", can_resume=False)
    assert found is not None
    assert "blue" in found.prompt


def test_the_schema_of_a_workflow_names_the_keys_of_its_steps() -> None:
    """Those of a task among them."""
    steps = workflow_schema()["$defs"]["StepForm"]["properties"]
    assert {"prompt", "depends_on", "timeout"} <= steps.keys()


def test_a_step_with_a_long_name_has_an_id_that_fits() -> None:
    """And another one than its neighbour."""
    first, second = (step_task_id("run", "s" * 300, number) for number in (1, 2))
    assert len(first.encode()) <= 200
    assert first != second


@pytest.mark.parametrize(
    ("inside", "said"),
    [("", "`invoke.folder` is missing"), ("  folder: /shared\n  answer_file: '{task_id}.md'\n", "answer_file")],
)
def test_a_shared_folder_needs_its_name_and_an_answer_of_its_own(inside: str, said: str) -> None:
    """The answer may not be the request."""
    text = f"---\nname: desk\ninvoke:\n  kind: file_drop\n{inside}---\n# Desk\n"
    found = parse_interface("desk.md", text.encode())
    assert said in found.message


def test_a_workflow_in_front_matter_may_be_a_map() -> None:
    """It is kept as it stands."""
    parsed = parse_task("run.md", b"---\nworkflow:\n  name: weekly\n---\n# Run\n")
    assert parsed.workflow == {"name": "weekly"}


def test_a_title_that_this_program_was_given_is_no_template() -> None:
    """A request's words may look like a heading nobody has filled in."""
    parsed = parse_task("r.md", b"---\nmode: request\ntitle: Given\n---\nGo on.\n")
    assert parsed.title == "Given"


def test_a_good_name_of_an_answer_is_taken() -> None:
    """It holds the task's id."""
    text = "---\nname: desk\ninvoke:\n  kind: file_drop\n  folder: /shared\n  answer_file: 'done/{task_id}.txt'\n---\n# Desk\n"
    assert isinstance(parse_interface("desk.md", text.encode()), InterfaceSpec)


def test_a_workflow_in_front_matter_may_be_the_name_of_its_file() -> None:
    """It is kept as it stands."""
    parsed = parse_task("run.md", b"---\nworkflow: weekly\n---\n# Run\n")
    assert parsed.workflow == "weekly"
