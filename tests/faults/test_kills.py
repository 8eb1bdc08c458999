"""Real kills of the real daemon: a part of what `make crash-lab` does, and programs that outlive the daemon that started them."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.acts import WITNESS
from tests.faults.kill_lab import Victim, ended, running, session, starts
from tests.faults.promises import violations
from tests.faults.ward import Scenario, Ward

SEED = int(os.environ.get("SEED", "1"))
SESSIONS = 8

# Says that it starts, and says so too if another process of the same task has not ended.
_PROGRAM = f"""\
---
name: program
idempotent: {{repeatable}}
invoke:
  kind: command
  command:
    - sh
    - -c
    - 'echo "$BRAIN_ATTEMPT_ID" >> {WITNESS}; mkdir "{WITNESS}.$BRAIN_TASK_ID" || echo >> {WITNESS}.doubled; (sleep {{seconds}}; rmdir "{WITNESS}.$BRAIN_TASK_ID") & wait; cat'
---
# Program
"""


@pytest.fixture
def ward(tmp_path) -> Ward:
    return Ward(str(tmp_path))


def _programs(count: int, seconds: float, *, repeatable: bool) -> Scenario:
    return Scenario(
        name=f"{count} programs",
        interfaces={"program.md": _PROGRAM.format(repeatable=str(repeatable).lower(), seconds=seconds)},
        tasks={f"p{number}.md": f"# Program {number}\n" for number in range(count)},
        repeatable=repeatable,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", range(SESSIONS))
def test_kills_at_points_and_at_random_moments_break_no_promise(ward, nursery, number):
    """Twenty-five kills over a hundred and fifty tasks: all are done, or asked about where they must not be repeated; none started twice."""
    tally = session(ward, nursery, kills=25, tasks=150, seed=SEED * 100_000 + number, repeatable=number % 2 == 0)
    assert tally.count == 25
    assert not tally.broken, "\n".join([f"SEED={SEED}", *tally.lines, *tally.broken])


@pytest.mark.slow
def test_the_programs_of_a_killed_daemon_are_waited_for_and_never_doubled(ward):
    """A program that outlives its daemon keeps its task; only when it has ended does the next attempt start."""
    scenario = _programs(4, 1.0, repeatable=True)
    patient = ward.admit(scenario)
    victim = Victim(patient, BRAIN_PARALLEL="4")
    with running(victim):
        victim.wait_for(lambda: len(starts(patient)) == 4, "four starts")
        victim.kill()
    with running(victim):
        victim.wait_for(lambda: ended(patient) == 4, "the end of all tasks")
        victim.stop()
    assert violations(patient, scenario) == []
    assert len(starts(patient)) == 8
    assert not Path(f"{patient.witness}.doubled").exists()


@pytest.mark.slow
def test_what_a_program_left_open_is_a_question_once_it_has_ended(ward):
    """A task that must not be repeated stays active while its orphan lives, and becomes a question then; a tick runs it again."""
    scenario = _programs(2, 0.7, repeatable=False)
    patient = ward.admit(scenario)
    victim = Victim(patient)
    with running(victim):
        victim.wait_for(lambda: len(starts(patient)) == 2, "two starts")
        victim.kill()
    questions = Path(patient.root, "prompts", "pending.md")
    with running(victim):
        victim.wait_for(lambda: questions.exists() and questions.read_text().count("**release**") == 2, "two questions")
        assert len(starts(patient)) == 2
        questions.write_text(re.sub(r"- \[ \] \*\*release\*\*", "- [x] **release**", questions.read_text()))
        victim.wait_for(lambda: ended(patient) == 2, "the end of both tasks")
        victim.stop()
    assert violations(patient, replace(scenario, repeatable=True)) == []
    assert not Path(f"{patient.witness}.doubled").exists()
