"""A workflow of thirty steps whose daemon is killed again and again: nothing is lost, and nothing is done twice on the record."""

import contextlib
import os
import random
import signal
import time
from collections import Counter

import pytest

from brain_daemon.model.attempt import AttemptState, Decision
from brain_daemon.model.outcome import Status
from tests.depth import deep

KILLS = deep(4, 10)
ITEMS = 5
# Read here: while a test runs the environment has nothing of ours.
SEED = int(os.environ.get("BRAIN_TEST_SEED", time.time_ns() % 1_000_000))
CRASH_PAUSE = "50ms"
"""The longest wait of a daemon that has died again and again: by the usual setting the tenth life would begin after minutes."""

DEADLINE_SECONDS = 240.0
"""For each life of the daemon: thirty steps take four seconds on a machine that is free, and forty times as long on a crowded one."""


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


def is_committed(brain, task_id: str) -> bool:
    """Whether the task has ended and git has it: a file in completed/ may be one whose commit a killed daemon still owed."""
    opened = brain.open()
    try:
        attempts = opened.journal.attempts_of(task_id)
    finally:
        opened.close()
    return bool(attempts) and (attempts[-1].state, attempts[-1].decision) == (AttemptState.COMMITTED, Decision.FINISH)


def each_has_one_effect(brain, wanted: int) -> None:
    """As many tasks as are wanted have completed, each of them once: in the ledger, in git, and the same attempt in both."""
    rows = brain.rows()
    twice = [name for name, times in Counter(row.attempt_id for row in rows).items() if times > 1]
    assert twice == [], "an attempt is paid for twice"
    completed = {row.task_id: row.attempt_id for row in rows if row.status is Status.COMPLETED}
    effects = Counter(row.task_id for row in rows if row.status is Status.COMPLETED)
    assert len(effects) == wanted, effects
    assert set(effects.values()) == {1}, effects
    trailers = brain.git(
        "log",
        "--format=%(trailers:key=Status,valueonly,separator=)%x09"
        "%(trailers:key=Task-Id,valueonly,separator=)%x09%(trailers:key=Attempt-Id,valueonly,separator=)",
    )
    told = [line.split("\t") for line in trailers.splitlines()]
    committed = [(task, attempt) for status, task, attempt in told if status == "completed"]
    assert sorted(committed) == sorted(completed.items())


@pytest.mark.timeout(2_400)
def test_a_workflow_survives_its_kills_and_every_step_has_one_effect(brain, daemon):
    """Killed with SIGKILL at random points of its way and started again, the run ends as if nothing had happened."""
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    # What the daemon adds for an attempt that was cut short begins with a rule.
    brain.program("slow", "sh", "-c", f"sleep {draw.choice((0.02, 0.05))}; sed '/^---$/,$d'", more="idempotent: true\n")
    brain.program("broken", "false", more="good_at: {default: 0}\nidempotent: true\n")
    brain.write("brain/workflows/thirty.yaml", thirty_steps())
    brain.drop("job.md", "---\nworkflow: thirty\nparams: {topic: bees}\n---\n# A run\n")
    total = 27 + ITEMS
    for goal in sorted(draw.choices(range(total), k=KILLS)):
        with daemon(parallel="3", keep_output="1h", crash_pause=CRASH_PAUSE) as running:
            running.wait_for(
                lambda goal=goal: len(brain.names(brain.completed)) >= goal or brain.where("job") == ["completed"],
                DEADLINE_SECONDS,
            )
            time.sleep(draw.random() * 0.1)
            with contextlib.suppress(ProcessLookupError):
                running.process.send_signal(signal.SIGKILL)
            running.process.wait()
    with daemon(parallel="3", crash_pause=CRASH_PAUSE) as running:
        running.wait_for(lambda: is_committed(brain, "job"), DEADLINE_SECONDS)
        running.signal(signal.SIGTERM)
        assert running.exit_code(DEADLINE_SECONDS) == 0
    assert brain.recorded("job-end").text.rstrip("\n") == wanted()
    assert brain.recorded("job").text.startswith(f"## end\n\n{wanted()}\n")
    each_has_one_effect(brain, total + 1)
    ended = Counter(
        name for folder in (brain.completed, brain.failed) for name in brain.names(folder) if name.endswith(".md")
    )
    assert set(ended.values()) == {1}
    assert len(ended) == total + 2  # the broken step is in failed/
    assert brain.names(brain.pending) == [".gitkeep"] or not [
        n for n in brain.names(brain.pending) if n.startswith("job")
    ]
    assert not [name for name in brain.names(brain.active) if name.startswith("job")]
