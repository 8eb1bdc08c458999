"""Conditions that look into an output, and a step that is held, with real runs."""

import contextlib
from types import SimpleNamespace

import pytest

from brain_daemon.model.errors import StorageError
from brain_daemon.model.redaction import Redactor
from brain_daemon.policy.workflow import Plan
from brain_daemon.service import workflow_requests as requests
from brain_daemon.service.intake import Intake
from brain_daemon.service.workflows import Workflows

RUN = "---\nworkflow:\n  steps:\n{steps}\n---\n# The run\n"


def run(brain, *steps: str) -> dict[str, tuple[str, str]]:
    """Work through a workflow of these steps; how each stands and why."""
    brain.drop("job.md", RUN.format(steps="\n".join(f"    - {step}" for step in steps)))
    brain.run_once()
    return stands(brain)


def stands(brain) -> dict[str, tuple[str, str]]:
    with contextlib.closing(brain.open()) as opened:
        shown = requests.view(opened, requests.record_of(opened, "job"))
    return {step.id: (step.stands, step.why) for step in shown.steps}


def test_a_condition_sees_an_output_that_is_json_where_it_looks_into_it(brain):
    """By its name and as a step's output; elsewhere it stays text, and so does what is no JSON."""
    brain.echo()
    found = run(
        brain,
        """{id: js, prompt: '{{"score": 7, "open": [{{"n": 1}}]}}'}""",
        "{id: plain, prompt: 'seven'}",
        "{id: high, prompt: x, when: 'js.score > `5`'}",
        "{id: low, prompt: x, when: 'js.score < `5`'}",
        "{id: first, prompt: x, when: 'js.open[0].n == `1` && steps.js.output.score == `7`'}",
        """{id: text, prompt: x, when: "contains(js, 'score') && contains(steps.js.output, 'open')"}""",
        "{id: none, prompt: x, when: 'plain.score > `5`'}",
    )
    assert {name: state for name, (state, _) in found.items()} == {
        "js": "completed",
        "plain": "completed",
        "high": "completed",
        "low": "skipped",
        "first": "completed",
        "text": "completed",
        "none": "skipped",
    }


def test_a_condition_looks_into_a_parameter_too(brain):
    """A text that is JSON, by its name and among the parameters."""
    brain.echo()
    brain.drop(
        "job.md",
        """---
workflow:
  params: [what]
  steps:
    - {id: yes, prompt: x, when: 'what.deep[0] == `2` && params.what.deep'}
    - {id: no, prompt: x, when: "what == 'x'"}
params: {what: '{"deep": [2]}'}
---
# The run
""",
    )
    assert brain.run_once() == 0
    assert {name: state for name, (state, _) in stands(brain).items()} == {"yes": "completed", "no": "skipped"}


@pytest.mark.parametrize("each", ["", "for_each: [a, b], "])
def test_a_step_whose_tasks_are_held_is_held_and_says_why(brain, each):
    """What waits for it still waits."""
    brain.echo()
    found = run(brain, f"{{id: blind, {each}prompt: Look., requires: [vision]}}", "{id: end, prompt: '{blind}'}")
    state, why = found["blind"]
    assert state == "held"
    assert "vision" in why
    assert found["end"] == ("waiting", "")


def test_a_step_that_waits_for_a_person_is_held(brain):
    """Its task is in active/, and nobody is at work on it."""
    asks = "mkdir -p questions; echo 'Which one is better?' > questions/one.md"
    brain.program("asks", "/bin/sh", "-c", asks, more="good_at: {default: 0}\n")
    state, why = run(brain, "{id: ask, prompt: Which one is better?, interface: asks}")["ask"]
    assert brain.where("job-ask") == ["active"]
    assert state == "held"
    assert why


def test_a_step_that_is_recorded_between_two_looks_is_not_missed(brain, monkeypatch):
    """Whoever works through a queue asks for news and for what is about to be news; the record may come between the two."""
    with contextlib.closing(brain.open()) as opened:
        made = Workflows(opened, Intake(opened, Redactor(())), lambda _attempt, _task: None, lambda _name: None)
        made._runs["job"] = SimpleNamespace(progress=SimpleNamespace(under_way=["job-a"]))
        ids = {"ended": ["job-a.a1.00000000"]}
        monkeypatch.setattr(opened.journal, "ids_in", lambda state, _limit: ids.get(state.value, []))

        def no_news_yet(_self) -> bool:
            ids.clear()
            return False

        monkeypatch.setattr(Workflows, "has_news", property(no_news_yet))
        assert made.has_work
        assert not made.has_work


def test_what_changes_while_a_run_is_looked_at_is_news(brain):
    """A step that fails behind the look at it, and before that look is noted."""
    with contextlib.closing(brain.open()) as opened:
        made = Workflows(opened, Intake(opened, Redactor(())), lambda _attempt, _task: None, lambda _name: None)
        stands = {"job-a": "running"}

        def walk(_begin) -> Plan:
            stands["job-a"] = "failed"
            return Plan()

        progress = SimpleNamespace(under_way=["job-a"], state_of=stands.__getitem__, walk=walk, workflow=None)
        found = SimpleNamespace(root=SimpleNamespace(attempt_id="job.a1.00000000"), progress=progress, seen=None)
        made._advance(found)
        assert found.seen != made._standing(found)


def test_a_run_whose_end_the_disk_refuses_is_ended_with_the_next_look(brain, monkeypatch):
    """Nothing of its tasks changes any more, and nobody else would look at it again."""
    brain.echo()
    end, refused = Workflows._end, [StorageError("no space")]

    def end_or_not(self, *arguments) -> None:
        if refused:
            raise refused.pop()
        end(self, *arguments)

    monkeypatch.setattr(Workflows, "_end", end_or_not)
    found = run(brain, "{id: a, prompt: x}")
    assert not refused
    assert found["a"] == ("completed", "")
    assert brain.where("job") == ["completed"]
