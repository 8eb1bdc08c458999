"""`brain workflow` as a person meets it: what is refused, what is printed, and the codes it ends with."""

import pytest

GOOD = """\
name: small
params: [topic]
steps:
  - {id: plan, prompt: "Plan {topic}"}
  - {id: each, for_each: [a, b], prompt: "{item} of {plan}"}
  - {id: end, prompt: "{each}"}
"""
BAD = "steps:\n  - {id: a, prompt: '{b}'}\n  - {id: b, prompt: '{a}', agent: nobody}\n"
BREAKS = "name: breaks\nsteps:\n  - {id: a, prompt: one}\n  - {id: b, prompt: '{a}', interface: broken}\n"


@pytest.fixture
def files(brain):
    """A brain that echoes, with a workflow, a faulty one and one that fails."""
    brain.echo()
    brain.program("broken", "false", more="good_at: {default: 0}\n")
    brain.write("brain/workflows/small.yaml", GOOD)
    brain.write("brain/workflows/bad.yaml", BAD)
    brain.write("brain/workflows/breaks.yaml", BREAKS)
    return brain


def test_check_says_all_that_is_wrong_with_its_line(files, cli):
    """One sentence each, exit code 1; a good file gets a line and 0."""
    said = cli("workflow", "check", "bad")
    assert said.code == 1
    assert "bad, line 1: a circle, in which nothing can start: a -> b -> a" in said.out
    assert "bad, line 3: `b` is for `nobody`, and no agent" in said.out
    assert cli("workflow", "check", "small").out == "small: ok, 3 steps; parameters: topic\n"
    assert cli("workflow", "check", "small", "--json").json[0]["order"] == ["plan", "each", "end"]


def test_a_faulty_file_or_a_missing_parameter_is_refused_before_anything_is_written(files, cli):
    """Exit code 2, and pending/ stays as it is."""
    before = files.names(files.pending)
    assert (cli("workflow", "run", "bad").code, cli("workflow", "run", "small").code) == (2, 2)
    assert "missing: topic; give --param topic=..." in cli("workflow", "run", "small").complaint
    assert (
        "there is no parameter `tpic`; did you mean `topic`?"
        in cli("workflow", "run", "small", "--param", "tpic=x").complaint
    )
    assert "there is no workflow file 'none'" in cli("workflow", "run", "none").complaint
    assert files.names(files.pending) == before


def test_run_prints_the_outputs_and_tells_each_step_on_the_way(files, cli):
    """Without a daemon the run is worked through here; standard output has the result alone."""
    said = cli("workflow", "run", "small", "--param", "topic=bees")
    assert (said.code, said.out) == (0, "a of Plan bees\n\nb of Plan bees\n"), said.complaint
    assert "end completed" in said.complaint
    run = said.complaint.splitlines()[0].removeprefix("run ")
    status = cli("workflow", "status", run)
    assert f"Run {run} of small: completed, $0 so far" in status.out
    facts = cli("workflow", "status", "small", "--json").json
    assert facts["outputs"] == {"end": "a of Plan bees\n\nb of Plan bees"}
    assert [(step["id"], step["state"], step["completed"]) for step in facts["steps"]] == [
        ("plan", "completed", 1),
        ("each", "completed", 2),
        ("end", "completed", 1),
    ]
    assert cli("workflow", "list").out.count(run) == 1
    assert cli("chain", run, "--json").json["tasks"][0]["task_id"] == run


def test_a_failed_run_ends_with_1_and_is_resumed_without_doing_anything_twice(files, cli):
    """What was mended outside of the file is tried again."""
    said = cli("workflow", "run", "breaks")
    assert said.code == 1
    run = said.complaint.splitlines()[0].removeprefix("run ")
    files.program("broken", "cat", more="good_at: {default: 0}\n")
    again = cli("workflow", "resume", run)
    assert (again.code, again.out) == (0, "one\n"), again.complaint
    assert [row.task_id for row in files.rows()].count(f"{run}-a") == 1
    assert cli("workflow", "resume", run).code == 1


def test_a_changed_file_is_said_and_asked_about(files, cli):
    """Without an answer nothing happens; with one, changed steps and what follows them are done anew, in the same chain."""
    run = cli("workflow", "run", "breaks").complaint.splitlines()[0].removeprefix("run ")
    files.write(
        "brain/workflows/breaks.yaml",
        BREAKS.replace("interface: broken", "interface: echo") + "  - {id: c, prompt: '{b}!'}\n",
    )
    asked = cli("workflow", "resume", run)
    assert asked.code == 2
    assert "(changed: b, c)" in asked.complaint
    assert "(changed: b, c)" in cli("workflow", "status", run).out
    done = cli("workflow", "resume", run, "--changed")
    assert (done.code, done.out) == (0, "one!\n"), done.complaint
    assert [row.task_id for row in files.rows() if row.task_id.endswith("-a")] == [f"{run}-a"]
    assert f"{run}-r2-c" in [task["task_id"] for task in cli("chain", run, "--json").json["tasks"]]


def test_a_run_is_cancelled_with_its_tasks(files, cli):
    """Without a daemon as well."""
    files.write("brain/workflows/waits.yaml", "name: waits\nsteps:\n  - {id: a, requires: [vision], prompt: look}\n")
    said = cli("workflow", "run", "waits")
    assert said.code == 1
    assert "has not ended: a is held: nobody offers vision" in said.complaint
    assert cli("workflow", "cancel", "waits").out.endswith("cancelled, with 1 of its tasks\n")
    assert cli("workflow", "status", "waits", "--json").json["state"] == "failed"
    assert cli("workflow", "cancel", "waits").code == 1


def test_a_run_can_be_dropped_without_waiting(files, cli):
    """The id is all that is printed; resume goes on with it."""
    run = cli("workflow", "run", "small", "--param", "topic=x", "--no-wait").out.strip()
    assert (files.pending / f"{run}.md").exists()
    done = cli("workflow", "resume", run)
    assert (done.code, done.out) == (0, "a of Plan x\n\nb of Plan x\n"), done.complaint
