"""Tasks that spawn tasks, with a real shell script as the parent."""

import asyncio
import json
import shlex
from decimal import Decimal
from pathlib import Path

import pytest

from brain_daemon.model.errors import Refused, UserError
from brain_daemon.service import actions
from brain_daemon.service.chains import find_chain
from brain_daemon.service.handing_down import hand_down, inside
from brain_daemon.service.snapshot import take
from brain_daemon.store import offspring as records
from brain_daemon.store.tokens import Tokens


def boss(brain, tmp_path: Path, script: str, *, name: str = "boss", more: str = "") -> None:
    """An interface that is a script; a second call of it finds BRAIN_CHILDREN_FILE set."""
    path = tmp_path / f"{name}.sh"
    path.write_text(f"#!/bin/sh\nset -e\nmkdir -p spawn\n{script}\n")
    path.chmod(0o755)
    brain.program(name, str(path), more=more)


def leave(name: str, text: str) -> str:
    """A line of a script that leaves a task in spawn/."""
    return f"printf %s {shlex.quote(text)} > spawn/{name}\n"


def ask(brain, front: str = "", interface: str = "boss", name: str = "job") -> None:
    brain.drop(f"{name}.md", f"---\ninterface: {interface}\n{front}\n---\n# Fan out\n\nDo it.\n")


WAITING = 'if [ -n "$BRAIN_CHILDREN_FILE" ]; then cat "$BRAIN_CHILDREN_FILE"; cat context/job-*.md; cat; exit 0; fi\n'
CHILD = "---\ninterface: echo\n---\n# A part\n\nSay it.\n"


def warnings(brain, task_id: str = "job") -> list[str]:
    return brain.recorded(task_id).values.get("warnings", [])


def test_a_parent_waits_and_is_given_the_results_of_its_children(brain, tmp_path):
    """Once each, labelled with their origin, as text and as files; one that was refused stops nothing; the total is one."""
    brain.echo()
    brain.echo("broken", "fail: permanent")
    script = WAITING + leave("a.md", CHILD) + leave("b.md", CHILD.replace("echo", "broken").replace("A part", "B"))
    boss(brain, tmp_path, script + leave("c.md", CHILD.replace("---\n#", "permissions: full\n---\n#")))
    ask(brain, "wait_for_children: true")
    assert brain.run_once() == 1
    assert brain.names(brain.completed) == ["job-a.md", "job.md"]
    assert brain.names(brain.failed) == ["job-b.md"]
    text = brain.recorded("job").text
    told = json.loads(text[: text.index("]") + 1])
    assert [(one["task_id"], one["status"], one["file"]) for one in told] == [
        ("job-a", "completed", "context/job-a.md"),
        ("job-b", "failed", "context/job-b.md"),
    ]
    assert "Do it." in text
    assert "> # A part" in text
    assert "echo was told to fail" in text
    assert warnings(brain) == ["spawn/c.md was refused: it asks for `permissions: full`, and its parent may only write"]
    child = brain.recorded("job-a").values
    assert (child["parent"], child["chain"], child["depth"]) == ("job", "job", 1)
    opened = brain.open()
    chain = find_chain(opened, "job")
    assert chain.children("job") == ["job-a", "job-b"]
    assert [(link.task_id, link.attempts) for link in chain.links] == [("job", 2), ("job-a", 1), ("job-b", 1)]
    opened.close()
    assert len(brain.rows()) == 4
    assert "Chain-Id: job" in brain.git("log", "--format=%b", "--grep", "job-a", "-1")


SESSION = """---
name: agent
invoke:
  kind: command
  command: [{script}]
  resume: [--resume, "{{client_session}}"]
output:
  format: json
  text: out.text
  client_session: out.session
---
# Agent
"""
IN_SESSION = r"""#!/bin/sh
prompt=$(cat | tr '\n"' ' .')
if [ $# -gt 0 ]; then printf '{"session": "%s", "text": "%s"}' "$2" "$1 $prompt"; exit 0; fi
mkdir -p spawn; printf -- '---\ninterface: echo\n---\n# A part\n' > spawn/a.md
printf '{"session": "s-1", "text": "first"}'
"""


def test_a_client_with_sessions_goes_on_in_its_own(brain, tmp_path):
    """With the results as its prompt, and not with the task again."""
    brain.echo()
    script = tmp_path / "agent.sh"
    script.write_text(IN_SESSION)
    script.chmod(0o755)
    brain.write("tools/interfaces/agent.md", SESSION.format(script=script))
    ask(brain, "wait_for_children: true", interface="agent")
    assert brain.run_once() == 0
    text = brain.recorded("job").text
    assert text.startswith("--resume You waited for the tasks you have spawned.")
    assert "## job-a: completed" in text
    assert "Do it." not in text
    assert "goes on in the session s-1" in brain.recorded("job").values["routing"]["reason"]


async def test_a_waiting_parent_holds_no_slot_and_everybody_says_why_it_waits(brain, tmp_path):
    """Its only slot goes to its child; a restart in between changes nothing."""
    boss(brain, tmp_path, WAITING + leave("a.md", CHILD))
    async with brain.running(parallel=1) as daemon:
        ask(brain, "wait_for_children: true")
        await daemon.until(lambda: "waits for 1 child" in brain.board.read_text(), "the parent to wait")
        held = {one.task_id: one.why for one in take(daemon.brain.layout).held}
        assert held["job"] == "parked: waits for 1 child"
        assert not daemon.brain.journal.questions().get("asked-job")
    brain.echo()
    async with brain.running(parallel=1) as daemon:
        await daemon.ended("job", "job-a")
        assert not [one for one in daemon.brain.journal.questions() if "job" in one]
    assert '"status": "completed"' in brain.recorded("job").text


async def test_a_child_is_taken_up_while_its_parent_runs(brain, tmp_path):
    """The parent finds the answer beside its file, and may see its child end."""
    brain.echo()
    script = leave("a.md", CHILD) + (
        "n=0; until [ -e spawn/a.md.answer.json ] || [ $n -gt 600 ]; do sleep 0.05; n=$((n+1)); done\n"
        "cat spawn/a.md.answer.json"
    )
    boss(brain, tmp_path, script)
    async with brain.running() as daemon:
        ask(brain)
        await daemon.ended("job", "job-a")
    assert json.loads(brain.recorded("job").text) == {"task_id": "job-a", "refused": None}


async def test_a_task_hands_down_children_while_it_runs(brain, tmp_path):
    """Whoever submits one in it is told its id, or why it is refused, at once."""
    brain.echo()
    boss(brain, tmp_path, "env > marks; until [ -e enough ]; do sleep 0.05; done")
    async with brain.running() as daemon:
        ask(brain)
        job = await daemon.until(lambda: daemon.supervisor._jobs.running.get("job"), "the parent to run")
        workspace = Path(daemon.brain.layout.workspace(job.attempt.attempt_id))
        await daemon.until(lambda: (workspace / "marks").exists() and (workspace / "marks").read_text(), "its marks")
        marks = dict(line.split("=", 1) for line in (workspace / "marks").read_text().splitlines() if "=" in line)
        found = inside(daemon.brain.layout, marks)
        assert found is not None
        assert await asyncio.to_thread(hand_down, found, CHILD, 30.0) == "job-1"
        assert await asyncio.to_thread(hand_down, found, CHILD.replace("---\n#", "id: mine\n---\n#"), 30.0) == "mine"
        with pytest.raises(
            Refused, match=r"spawning a task of job: it waits for job, which is its own parent or above it\."
        ):
            await asyncio.to_thread(hand_down, found, CHILD.replace("---\n#", "depends_on: [job]\n---\n#"), 30.0)
        (workspace / "enough").touch()
        await daemon.ended("job", "job-1", "mine")
    assert brain.recorded("mine").values["parent"] == "job"
    assert warnings(brain) == ["spawn/3.md was refused: it waits for job, which is its own parent or above it"]
    assert hand_down(found, CHILD, 0.0) is None


def test_only_a_running_attempt_is_inside(brain, tmp_path):
    """A person is not, a forged token is refused, and half of the marks is nobody's."""
    opened = brain.open()
    marks = {"BRAIN_TASK_ID": "job", "BRAIN_ATTEMPT_ID": "job.a1.0123abcd", "BRAIN_WORKSPACE": str(tmp_path)}
    token = Tokens(opened.layout, opened.files).of("job.a1.0123abcd")
    assert inside(opened.layout, {}) is None
    found = inside(opened.layout, {**marks, "BRAIN_PROOF": token})
    assert found is not None
    assert (found.task_id, found.workspace) == ("job", str(tmp_path))
    assert inside(opened.layout, marks) == found
    with pytest.raises(Refused, match="is not that of the attempt"):
        inside(opened.layout, {**marks, "BRAIN_PROOF": "0" * 64})
    with pytest.raises(UserError, match="no task of the daemon"):
        inside(opened.layout, {"BRAIN_TASK_ID": "job"})
    opened.close()


def test_children_call_each_other_by_their_files_and_none_waits_for_ever(brain, tmp_path):
    """Names of siblings become their ids; circles, unknown names and what waits for a refused one are refused."""
    brain.echo()
    front = "---\ninterface: echo\n{}\n---\n# A part\n"
    script = (
        leave("a.md", front.format("depends_on: [b]"))
        + leave("b.md", front.format("id: second"))
        + leave("c.md", front.format("depends_on: [d]"))
        + leave("d.md", front.format("depends_on: [c]"))
        + leave("e.md", front.format("depends_on: [nobody]"))
        + leave("f.md", front.format("depends_on: [g]"))
        + leave("g.md", front.format("status: draft"))
        + leave("h.md", front.format("priority: urgent"))
        + leave("i.md", front.format("id: job"))
    )
    boss(brain, tmp_path, script)
    ask(brain)
    assert brain.run_once() == 0
    assert brain.names(brain.completed) == ["job-a.md", "job.md", "second.md"]
    assert b"depends_on: [second]" in (brain.completed / "job-a.md").read_bytes()
    said = [one.removeprefix("spawn/").replace(" was refused", "", 1) for one in warnings(brain)]
    assert said == [
        "c.md: it waits in a circle: job-c -> job-d -> job-c",
        "d.md: it waits in a circle: job-c -> job-d -> job-c",
        "e.md: it waits for nobody, and no task is called so",
        "f.md: it waits for job-g, which was refused",
        "g.md: it is a draft, and nobody would ever say that it is ready",
        "h.md: line 3, field priority: priority is urgent, but must be high, medium or low Found: urgent Allowed: high, medium or low",
        "i.md: a task is called job already: leave `id` away",
    ]


def test_a_budget_is_shared_and_never_exceeded(brain, tmp_path):
    """Who says nothing gets an equal part, the parent is one of those who share; more than is left is refused."""
    brain.echo()
    script = leave("a.md", CHILD) + leave("b.md", CHILD.replace("---\n#", "budget_usd: 0.40\n---\n#"))
    boss(brain, tmp_path, script + leave("c.md", CHILD.replace("---\n#", "budget_usd: 5\n---\n#")))
    ask(brain, "budget_usd: 1")
    assert brain.run_once() == 0
    assert b'budget_usd: "0.40"' in (brain.completed / "job-b.md").read_bytes()
    assert warnings(brain)[0].startswith("spawn/c.md was refused: it asks for $5")


def test_the_same_file_is_the_same_child_in_every_attempt_of_a_run(brain, tmp_path):
    """An attempt that is tried again spawns nothing twice; another run of the task does."""
    brain.echo()
    script = leave("a.md", CHILD) + 'if [ ! -e "$HOME/tried" ]; then touch "$HOME/tried"; exit 75; fi'
    boss(brain, tmp_path, f"HOME={tmp_path}\n{script}", more="idempotent: true\n")
    ask(brain, "wait_for_children: true\nattempts: 3")
    assert brain.run_once() == 0
    assert brain.names(brain.completed) == ["job-a.md", "job.md"]
    opened = brain.open()
    actions.retry(opened, "job")
    opened.close()
    assert brain.run_once() == 0
    assert brain.names(brain.completed) == ["job-a-2.md", "job-a.md", "job.md"]


def test_no_child_is_nothing_to_wait_for(brain, tmp_path):
    """The task simply completes, with one attempt."""
    boss(brain, tmp_path, "echo done")
    ask(brain, "wait_for_children: true")
    assert brain.run_once() == 0
    assert len(brain.rows()) == 1


async def test_a_cancel_reaches_all_below_and_a_release_goes_on_with_what_there_is(brain, tmp_path):
    """What has ended stays as it is; a released parent is told which child has not ended, and one that was taken away is gone."""
    brain.echo()
    lost = "---\ninterface: nobody\n---\n# Held\n"
    inner = "---\ninterface: inner\nwait_for_children: true\n---\n# Below\n"
    boss(brain, tmp_path, WAITING + leave("x.md", lost), name="inner")
    boss(brain, tmp_path, WAITING + leave("a.md", CHILD) + leave("b.md", inner))
    async with brain.running() as daemon:
        ask(brain, "wait_for_children: true")
        await daemon.until((brain.pending / "job-b-x.md").exists, "the grandchild")
        await daemon.until(lambda: len(daemon.supervisor._parking) == 2, "both to wait")
        await daemon.ended("job-a")
        assert "with 2 that it has spawned" in actions.cancel(daemon.brain, "job")
        await daemon.ended("job", "job-b", "job-b-x")
        assert brain.names(brain.failed) == ["job-b-x.md", "job-b.md", "job.md"]
        assert "its parent job-b was cancelled" in brain.recorded("job-b-x").text
        daemon.supervisor._spawner.keep_house()
        assert list(records.every(daemon.brain.journal)) == []

        boss(brain, tmp_path, WAITING.replace("cat context/job-*.md; ", "") + leave("x.md", lost), name="second")
        ask(brain, "wait_for_children: true", interface="second", name="two")
        ask(brain, "wait_for_children: true", interface="second", name="three")
        await daemon.until(lambda: len(daemon.supervisor._parking) == 2, "both to wait")
        actions.release(daemon.brain, "two")
        (brain.pending / "three-x.md").unlink()
        await daemon.ended("two", "three")
        assert '"status": "not ended"' in brain.recorded("two").text
        assert '"status": "gone"' in brain.recorded("three").text


async def test_a_cancelled_run_ends_what_it_has_spawned(brain, tmp_path):
    """Also what was taken up while the cancel was on its way."""
    boss(brain, tmp_path, leave("a.md", "---\ninterface: nobody\n---\n# Held\n") + "sleep 600")
    async with brain.running() as daemon:
        ask(brain)
        await daemon.until((brain.pending / "job-a.md").exists, "the child")
        daemon.supervisor._jobs.cancel("job", "no more")
        await daemon.ended("job", "job-a")
    assert brain.names(brain.failed) == ["job-a.md", "job.md"]


def test_generations_end_where_the_setting_says(brain, tmp_path):
    """A grandchild may be, its child may not."""
    again = "---\ninterface: again\n---\n# Again\n"
    boss(brain, tmp_path, leave("x.md", again), name="again")
    ask(brain, interface="again")
    assert brain.run_once(spawn_depth=2) == 0
    assert brain.names(brain.completed) == ["job-x-x.md", "job-x.md", "job.md"]
    assert brain.recorded("job-x-x").values["depth"] == 2
    (said,) = warnings(brain, "job-x-x")
    assert said.endswith("job-x-x was spawned itself, and the setting spawn_depth allows 2 generations")


def test_a_folder_that_is_not_ours_keeps_its_own_files(brain, tmp_path):
    """There only what is named after the attempt is spawned."""
    brain.echo()
    place = tmp_path / "repository"
    (place / "spawn").mkdir(parents=True)
    (place / "spawn" / "theirs.md").write_text("# Theirs\n")
    boss(brain, tmp_path, f"printf %s {shlex.quote(CHILD)} > spawn/$BRAIN_ATTEMPT_ID.1.md")
    ask(brain, f"workspace: {place}")
    assert brain.run_once() == 0
    assert brain.names(brain.completed) == ["job-1.md", "job.md"]
    assert (place / "spawn" / "theirs.md").exists()


def test_what_a_child_may_cost_is_taken_from_what_its_parent_may(brain, tmp_path):
    """The parent that goes on has what its children have left it."""
    opened = brain.open()
    child = records.Child(
        name="a.md", sha256="00", attempt=1, task_id="job-a", budget_usd=Decimal("0.25"), text="# A\n"
    )
    kept = records.Offspring(parent="Job", run=1, generation=0, children=(child,))
    records.keep(opened.journal, kept)
    assert records.offspring_of(opened.journal, "job") == kept
    assert list(records.every(opened.journal)) == [kept]
    opened.journal.set("spawned damaged", "{}")
    assert records.offspring_of(opened.journal, "damaged") is None
    opened.close()
    boss(brain, tmp_path, "echo done")
    assert brain.run_once() == 0
    assert brain.names(brain.completed) == ["job-a.md"]
