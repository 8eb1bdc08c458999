"""A workflow of thirty steps whose daemon is killed again and again: nothing is lost, and nothing is done twice on the record."""

import contextlib
import os
import random
import signal
import time
from collections import Counter

from brain_daemon.model.outcome import Status

KILLS = 10
ITEMS = 5


def thirty_steps() -> str:
    """Three branches that join, one not taken, a step that fails and one that stands in for it, and five items."""
    steps = [
        'id: plan, prompt: "P({topic})"',
        'id: list, prompt: "one\\ntwo\\nthree\\nfour\\nfive", depends_on: plan',
        'id: each, for_each: list, prompt: "<{item}>"',
        'id: risky, interface: broken, prompt: "{plan}", attempts: 1, on_error: fallback safe',
        'id: safe, prompt: "S({plan})"',
        'id: never, prompt: "{plan}", when: "topic == \'wasps\'"',
        'id: taken, prompt: "T({plan})", when: "topic == \'bees\'"',
    ]
    for branch in "abc":
        before = "plan"
        for number in range(1, 8):
            steps.append(f'id: {branch}{number}, prompt: "{{{before}}}{branch}"')
            before = f"{branch}{number}"
    steps.append('id: gather, prompt: "{a7}|{b7}|{c7}", output: gathered')
    steps.append('id: end, prompt: "{gathered}|{each}|{risky}|{never}|{taken}"')
    assert len(steps) == 30
    return "name: thirty\nsteps:\n" + "".join(f"  - {{{step}}}\n" for step in steps)


def wanted() -> str:
    """What the last step must have been asked."""
    branches = "|".join("P(bees)" + branch * 7 for branch in "abc")
    items = "\n\n".join(f"<{item}>" for item in ("one", "two", "three", "four", "five"))
    return f"{branches}|{items}|S(P(bees))||T(P(bees))"


def test_a_workflow_survives_ten_kills_and_every_step_has_one_effect(brain, daemon):
    """Killed with SIGKILL at ten random points of its way and started again, the run ends as if nothing had happened."""
    seed = int(os.environ.get("BRAIN_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}")
    draw = random.Random(seed)
    # What the daemon adds for an attempt that was cut short begins with a rule.
    brain.program("slow", "sh", "-c", f"sleep {draw.choice((0.02, 0.05))}; sed '/^---$/,$d'", more="idempotent: true\n")
    brain.program("broken", "false", more="good_at: {default: 0}\nidempotent: true\n")
    brain.write("brain/workflows/thirty.yaml", thirty_steps())
    brain.drop("job.md", "---\nworkflow: thirty\nparams: {topic: bees}\n---\n# A run\n")
    total = 27 + ITEMS
    for goal in sorted(draw.choices(range(total), k=KILLS)):
        with daemon(parallel="3", keep_output="1h") as running:
            running.wait_for(
                lambda goal=goal: len(brain.names(brain.completed)) >= goal or brain.where("job") == ["completed"]
            )
            time.sleep(draw.random() * 0.1)
            with contextlib.suppress(ProcessLookupError):
                running.process.send_signal(signal.SIGKILL)
            running.process.wait()
    with daemon(parallel="3") as running:
        running.wait_for(lambda: brain.where("job") == ["completed"], 120)
        running.signal(signal.SIGTERM)
        running.exit_code()
    assert brain.recorded("job-end").text.rstrip("\n") == wanted()
    assert brain.recorded("job").text.startswith(f"## end\n\n{wanted()}\n")
    effects = Counter(row.task_id for row in brain.rows() if row.status is Status.COMPLETED)
    assert len(effects) == total + 1, effects
    assert set(effects.values()) == {1}, effects
    commits = Counter(
        brain.git("log", "--format=%(trailers:key=Task-Id,valueonly)%(trailers:key=Status,valueonly)").split()
    )
    assert commits["completed"] == total + 1, commits
    ended = Counter(
        name for folder in (brain.completed, brain.failed) for name in brain.names(folder) if name.endswith(".md")
    )
    assert set(ended.values()) == {1}
    assert len(ended) == total + 2  # the broken step is in failed/
    assert brain.names(brain.pending) == [".gitkeep"] or not [
        n for n in brain.names(brain.pending) if n.startswith("job")
    ]
    assert not [name for name in brain.names(brain.active) if name.startswith("job")]
