"""Runs of workflows on the real daemon: order, outputs, conditions, failures, resumption, and what lies in the records."""

import asyncio
import json
import textwrap
from collections.abc import Callable

import pytest

from brain_daemon.model.outcome import Mode
from brain_daemon.service import actions, board, recording
from brain_daemon.service import workflow_requests as requests

BIG = 1 << 20

# Fails until the file that its prompt names is there.
NEEDS = ("sh", "-c", 'read path; test -e "$path" && echo found')


def yaml(text: str) -> str:
    """The YAML of a workflow, without its margin."""
    return textwrap.dedent(text)


@pytest.fixture
def say(brain) -> Callable[..., str]:
    """`say(yaml)` drops a task that runs this workflow and works until nothing is left; the text of its result."""
    brain.echo()
    brain.program("needs", *NEEDS, more="good_at: {default: 0}\nidempotent: true\n")

    def run(text: str, task_id: str = "job", **params: object) -> str:
        brain.write("brain/workflows/w.yaml", yaml(text))
        given = f"params: {json.dumps(params)}\n" if params else ""
        brain.drop(f"{task_id}.md", f"---\nworkflow: w\n{given}---\n# A run\n")
        brain.run_once()
        return brain.recorded(task_id).text

    return run


def text_of(brain, task_id: str) -> str:
    return brain.recorded(task_id).text.rstrip("\n")


async def test_a_run_is_begun_without_waiting_for_the_next_scan(brain, monkeypatch):
    """Nothing from outside wakes the daemon between the look that finds it and the one that begins it."""
    monkeypatch.setattr(board, "_EVERY_SECONDS", 3_600.0)
    monkeypatch.setattr(recording, "_IDLE_SECONDS", 3_600.0)
    brain.echo()
    brain.write("brain/workflows/w.yaml", 'steps: [{id: a, prompt: "a"}, {id: b, prompt: "{a}"}]')
    async with brain.running(scan="1h") as running:
        supervisor = running.supervisor
        await running.until(lambda: not supervisor._tasks and not supervisor._recorder.busy, "nothing to be left to do")
        brain.drop("job.md", "---\nworkflow: w\n---\n# A run\n")
        await running.ended("job")


def test_outputs_flow_from_step_to_step(brain, say):
    """A prompt gets the parameters and the outputs of the steps before, and the run's result is the last output."""
    text = say(
        """
        steps:
          - {id: plan, prompt: "Plan {topic}"}
          - {id: left, prompt: "L({plan})"}
          - {id: right, prompt: "R({plan})", output: other}
          - {id: join, prompt: "{left} + {other}"}
        """,
        topic="bees",
    )
    assert text.startswith("## join\n\nL(Plan bees) + R(Plan bees)\n\n## Steps\n")
    assert text_of(brain, "job-left") == "L(Plan bees)"
    assert (brain.recorded("job-join").values["parent"], brain.recorded("job-join").values["chain"]) == (
        "job-left",
        "job",
    )
    assert {row.mode for row in brain.rows()} == {Mode.WORKFLOW}
    assert sorted(row.task_id for row in brain.rows()) == ["job", "job-join", "job-left", "job-plan", "job-right"]
    assert brain.dirty() == "?? brain/workflows/\n"


def test_braces_and_placeholders_in_outputs_are_text(brain, say):
    """What a step gave is never read for names, and never taken for a template that nobody filled in."""
    say(
        """
        steps:
          - {id: odd, prompt: "{{x}}"}
          - {id: empty, prompt: "[]"}
          - {id: next, prompt: "{odd}"}
          - {id: both, prompt: "# [title]\\n\\n{{{{{next}}}}} {empty}"}
        """
    )
    assert text_of(brain, "job-next") == "{x}"
    assert text_of(brain, "job-both") == "# [title]\n\n{{{x}}} []"


def test_an_output_of_a_megabyte_is_handed_over_with_a_pointer(brain, say):
    """The next step gets its beginning and where the whole of it stands; the whole is there to the last character."""
    brain.write("long.txt", "x" * (BIG - 5) + "final")
    brain.program("long", "cat", str(brain.root / "long.txt"), more="good_at: {default: 0}\n")
    say(
        """
        steps:
          - {id: long, prompt: "go on", interface: long}
          - {id: use, prompt: "Use {long}"}
        """
    )
    prompt = text_of(brain, "job-use")
    assert len(prompt) < 5_000
    path = prompt.rpartition("stands in ")[2].rstrip(")")
    whole = (brain.root / path).read_text().rstrip("\n")
    assert (len(whole), whole[-5:]) == (BIG, "final")
    assert "handoff_from: [job-long]" in (brain.completed / "job-use.md").read_text()


def test_for_each_makes_a_task_of_every_item_and_joins_them_in_order(brain, say):
    """Items come from a JSON list, from lines, or from the file itself; an object's fields have names."""
    text = say(
        """
        steps:
          - {id: list, prompt: '{{"a": 1}}'}
          - {id: objects, prompt: '[{{"n": "one"}}, {{"n": "two"}}]'}
          - {id: each, for_each: objects, prompt: "{index}:{item.n}"}
          - {id: lines, for_each: topics, prompt: "<{item}>"}
          - {id: fixed, for_each: [a, b], prompt: "{item}{list.a}"}
          - {id: again, for_each: each, prompt: "again {item}"}
          - {id: join, prompt: "{again}/{lines}/{fixed}"}
        """,
        topics="red\n\ngreen",
    )
    assert text.startswith("## join\n\nagain 1:one\n\nagain 2:two/<red>\n\n<green>/a1\n\nb1\n")
    assert text_of(brain, "job-each-2") == "2:two"


def test_an_empty_list_is_done_at_once(brain, say):
    """Nothing to do is no failure; what follows finds an empty output."""
    assert say('steps: [{id: e, for_each: none, prompt: "{item}"}, {id: end, prompt: "({e})"}]', none="[]").startswith(
        "## end\n\n()\n"
    )


def test_conditions_choose_the_branch(brain, say):
    """A branch that is not taken leaves no task; the join runs with what there is."""
    text = say(
        """
        steps:
          - {id: pick, prompt: "{what}"}
          - {id: yes, prompt: "took {pick}", when: "pick == 'good'"}
          - {id: no, prompt: "refused {pick}", when: "steps.pick.output != 'good'"}
          - {id: end, prompt: "[{yes}|{no}]", depends_on: [yes, no]}
        """,
        what="good",
    )
    assert text.startswith("## end\n\n[took good|]\n")
    assert brain.where("job-no") == []
    assert "| no | skipped: `steps.pick.output != 'good'` does not hold |  |" in text


def test_a_fallback_stands_in_for_a_failed_step(brain, say):
    """Its output goes where the other's would have gone."""
    text = say(
        """
        steps:
          - {id: risky, interface: needs, prompt: "/nowhere", on_error: fallback safe}
          - {id: safe, prompt: "safe"}
          - {id: unused, prompt: "not needed"}
          - {id: fine, prompt: "fine", on_error: fallback unused}
          - {id: end, prompt: "{risky} {fine}"}
        """
    )
    assert text.startswith("## end\n\nsafe fine\n")
    assert brain.where("job-unused") == []
    assert brain.recorded("job").values["status"] == "completed"


def test_a_failed_step_fails_the_run_with_its_reason(brain, say):
    """Parallel steps are finished, what follows never begins, and the run says which step it was."""
    text = say(
        """
        steps:
          - {id: bad, interface: needs, prompt: "/nowhere"}
          - {id: good, prompt: "good"}
          - {id: after, prompt: "{bad} {good}"}
        """
    )
    assert text.startswith("step `bad` failed (tool_failed: ")
    assert (brain.where("job-good"), brain.where("job-after")) == (["completed"], [])
    assert brain.recorded("job").values["reason"] == "tool_failed"


def test_continue_goes_on_with_nothing(brain, say):
    """The output of a failed step is empty."""
    text = say(
        """
        steps:
          - {id: bad, interface: needs, prompt: "/nowhere", on_error: continue}
          - {id: end, prompt: "({bad})"}
        """
    )
    assert text.startswith("## end\n\n()\n")


def test_a_step_is_tried_again_as_often_as_it_asks(brain, say):
    """`retry 2` makes three tries, each on the ledger."""
    say('steps: [{id: bad, interface: needs, prompt: "/nowhere", attempts: 1, on_error: retry 2}]')
    assert [row.task_id for row in brain.rows()].count("job-bad") == 3
    assert brain.where("job") == ["failed"]


def test_retrying_a_failed_run_does_only_what_is_missing(brain, say, tmp_path):
    """`brain retry` of the run's task is enough: completed steps stay, the broken one is tried again."""
    flag = tmp_path / "flag"
    say(
        f"""
        steps:
          - {{id: first, prompt: "one"}}
          - {{id: bad, interface: needs, prompt: "{flag}", depends_on: first}}
          - {{id: end, prompt: "{{first}} {{bad}}"}}
        """
    )
    assert brain.where("job") == ["failed"]
    flag.touch()
    opened = brain.open()
    actions.retry(opened, "job")
    opened.close()
    brain.run_once()
    assert text_of(brain, "job").startswith("## end\n\none found\n")
    tasks = [row.task_id for row in brain.rows()]
    assert (tasks.count("job-first"), tasks.count("job-end"), tasks.count("job-bad")) == (1, 1, 2)


def test_a_run_goes_by_what_it_was_begun_with(brain, say, tmp_path):
    """A file that changes between a failure and a retry changes nothing; whoever wants the change asks for it."""
    flag = tmp_path / "flag"
    say(f'steps: [{{id: bad, interface: needs, prompt: "{flag}"}}, {{id: end, prompt: "old {{bad}}"}}]')
    brain.write("brain/workflows/w.yaml", 'steps: [{id: other, prompt: "new"}]')
    flag.touch()
    opened = brain.open()
    actions.retry(opened, "job")
    opened.close()
    brain.run_once()
    assert text_of(brain, "job").startswith("## end\n\nold found\n")


def test_a_changed_file_redoes_what_changed_and_what_follows_in_the_same_chain(brain, say, tmp_path):
    """Unchanged steps keep what they did, under the new run."""
    text = """
        steps:
          - {id: a, prompt: "a"}
          - {id: b, prompt: "b OLD"}
          - {id: c, prompt: "{a}{b}"}
          - {id: bad, interface: needs, prompt: "/nowhere", depends_on: c}
        """
    say(text)
    brain.write("brain/workflows/w.yaml", yaml(text.replace("OLD", "NEW").replace("/nowhere", str(brain.root))))
    opened = brain.open()
    record = requests.record_of(opened, "job")
    found = requests.changes(opened, record)
    assert (found.changed, found.following) == (("b", "bad"), ("c",))
    requests.resume_changed(opened, record, found)
    opened.close()
    brain.run_once()
    assert text_of(brain, "job-r2-c") == "ab NEW"
    assert brain.where("job-r2-a") == []
    assert brain.recorded("job-r2").values["status"] == "completed"
    assert brain.recorded("job-r2-c").values["chain"] == "job"


def test_a_faulty_workflow_fails_before_any_step(brain, say):
    """All that is wrong is said at once, with its line."""
    text = say(
        """\
        steps:
          - {id: a, prompt: "{b}"}
          - {id: b, prompt: "{a}", agent: nobody}
        """
    )
    assert "brain/workflows/w.yaml, line 1: a circle, in which nothing can start: a -> b -> a" in text
    assert "line 3: `b` is for `nobody`" in text
    assert brain.recorded("job").values["reason"] == "malformed"
    assert [row.task_id for row in brain.rows()] == ["job"]


def test_a_missing_parameter_fails_before_any_step(brain, say):
    """Nothing runs with a hole in its prompt."""
    assert "missing: topic" in say('steps: [{id: a, prompt: "on {topic}"}]')
    assert brain.where("job-a") == []


def test_steps_written_in_the_task_itself_run_too(brain):
    """A dropped file may hold the whole workflow."""
    brain.echo()
    brain.drop(
        "inline.md",
        "---\nlocal_only: true\nworkflow:\n  params: {who: world}\n  steps:\n    - {id: hi, prompt: 'hello {who}'}\n---\n",
    )
    brain.write(
        "tools/interfaces/echo.md",
        (brain.root / "tools/interfaces/echo.md").read_text().replace("type: tool\n", "type: tool\nlocal: true\n"),
    )
    brain.run_once()
    assert text_of(brain, "inline-hi") == "hello world"
    assert (
        "local_only: true" in (brain.completed / "inline-hi.md").read_text()
        or 'local_only: "true"' in (brain.completed / "inline-hi.md").read_text()
    )


def test_a_file_outside_of_the_brain_is_not_read(brain, tmp_path):
    """A task may come from elsewhere: it names files of the brain only."""
    brain.echo()
    (tmp_path / "out.yaml").write_text('steps: [{id: a, prompt: "a"}]')
    brain.drop("out.md", "---\nworkflow: ../out.yaml\n---\n# Out\n")
    brain.run_once()
    assert "no workflow of this brain is called `../out.yaml`" in brain.recorded("out").text


async def test_a_cancelled_run_ends_its_tasks(brain):
    """What runs is ended, what has completed stays, what follows never begins."""
    brain.echo()
    brain.echo("slow", "delay_seconds: 600", more="good_at: {default: 0}\n")
    brain.write(
        "brain/workflows/w.yaml",
        'steps: [{id: a, prompt: "a"}, {id: b, interface: slow, prompt: "{a}"}, {id: c, prompt: "{b}"}]',
    )
    async with brain.running() as running:
        brain.drop("job.md", "---\nworkflow: w\n---\n# A run\n")
        await running.started("job-b")
        await asyncio.to_thread(_cancel, brain)
        await running.ended("job", "job-b")
        await running.until(lambda: _closed(running.brain), "the run to be closed")
    assert (brain.where("job-a"), brain.where("job-b"), brain.where("job-c")) == (["completed"], ["failed"], [])
    assert brain.recorded("job").values["reason"] == brain.recorded("job-b").values["reason"] == "cancelled"


def _closed(opened) -> bool:
    return requests.record_of(opened, "job").closed


def _cancel(brain) -> None:
    opened = brain.open()
    actions.cancel(opened, "job")
    opened.close()


async def test_a_step_that_a_person_takes_out_of_pending_fails_the_run(brain):
    """A run does not wait for ever for what nobody will do."""
    brain.echo()
    brain.write("brain/workflows/w.yaml", 'steps: [{id: a, requires: [vision], prompt: "a"}]')
    async with brain.running() as running:
        brain.drop("job.md", "---\nworkflow: w\n---\n# A run\n")
        await running.until((brain.pending / "job-a.md").exists, "the step")
        await running.until(lambda: "job-a.md" in running.held(), "the step to be held")
        (brain.pending / "job-a.md").unlink()
        await running.ended("job")
    assert "its task job-a was taken out of pending/" in brain.recorded("job").text
