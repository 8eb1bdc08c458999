"""What a run does next: branches, joins, skips, retries, fallbacks and ends, from the states of its steps alone."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.workflow import Step, Workflow
from brain_daemon.model.workflow_form import read_values
from brain_daemon.policy.workflow import Fail, Finish, Plan, Stand, StepState, answered_by, next_steps


def workflow(**steps: dict) -> Workflow:
    """A workflow of these steps, each with the keys given and a prompt."""
    read = read_values({"steps": [{"id": name, "prompt": "do it", **keys} for name, keys in steps.items()]}, "w")
    assert read.workflow is not None, read.faults
    return read.workflow


def states(work: Workflow, **known: str | StepState) -> dict[str, StepState]:
    """The states of all steps; a word stands for a state, `failed` for one that failed once in this go."""
    found = {step.id: StepState() for step in work.steps}
    for name, state in known.items():
        tries = 1 if state == "failed" else 0
        found[name] = state if isinstance(state, StepState) else StepState(stand=Stand(state), tries=tries)
    return found


def plan(work: Workflow, *, holds: Callable[[Step], bool] = lambda _step: True, **known: str | StepState) -> Plan:
    return next_steps(work, states(work, **known), holds)


def test_steps_that_wait_for_nothing_begin_at_once():
    """Parallel branches need no word: what waits for nothing begins."""
    assert plan(workflow(a={}, b={}, c={"depends_on": "a"})) == Plan(begin=("a", "b"))


def test_a_join_begins_when_all_it_waits_for_has_settled():
    """One branch that still runs holds it up."""
    work = workflow(a={}, b={}, c={"depends_on": ["a", "b"]})
    assert plan(work, a="completed", b="running") == Plan()
    assert plan(work, a="completed", b="completed").begin == ("c",)


def test_a_step_waits_for_the_outputs_it_names():
    """A name in a prompt, a `when` or a `for_each` is a dependency."""
    work = workflow(a={}, b={"prompt": "on {a}"}, c={"when": "steps.a.status == 'failed'"}, d={"for_each": "a"})
    assert plan(work).begin == ("a",)
    assert plan(work, a="completed").begin == ("b", "c", "d")


def test_a_condition_that_does_not_hold_skips_the_step_and_what_hangs_on_it_alone():
    """A join runs where one of its branches ran."""
    work = workflow(
        a={}, yes={"depends_on": "a", "when": "a"}, no={"depends_on": "a", "when": "!a"}, tail={"depends_on": "no"},
        join={"depends_on": ["yes", "tail"]},
    )  # fmt: skip
    answer = plan(work, holds=lambda step: step.id == "yes", a="completed")
    assert answer.begin == ("yes",)
    assert [name for name, _ in answer.skip] == ["no", "tail"]
    assert plan(work, a="completed", yes="completed", no="skipped", tail="skipped").begin == ("join",)


def test_a_failed_step_ends_the_run_when_all_that_runs_has_ended():
    """Nothing new begins, and nothing under way is thrown away."""
    work = workflow(a={}, b={}, c={"depends_on": "b"})
    assert plan(work, a="failed", b="running") == Plan()
    assert plan(work, a="failed", b="completed") == Plan(end=Fail(steps=("a",)))


def test_continue_goes_on_without_an_output():
    """What waits for the step runs, and finds no output."""
    work = workflow(a={"on_error": "continue"}, b={"depends_on": "a"})
    assert plan(work, a="failed").begin == ("b",)
    assert answered_by(work, states(work, a="failed"), "a") is None
    assert plan(work, a="failed", b="completed").end == Finish()


def test_a_step_is_tried_again_as_often_as_it_asks():
    """`retry 2` is three tries in all."""
    work = workflow(a={"on_error": "retry 2"})
    for tries, again in ((1, True), (2, True), (3, False)):
        answer = plan(work, a=StepState(stand=Stand.FAILED, tries=tries))
        assert answer == (Plan(again=("a",)) if again else Plan(end=Fail(steps=("a",))))


def test_a_cancelled_step_is_not_tried_again():
    """A person said no."""
    work = workflow(a={"on_error": "retry 2"})
    assert plan(work, a=StepState(stand=Stand.FAILED, tries=1, final=True)).end == Fail(steps=("a",))


def test_a_fallback_runs_only_where_its_step_failed_and_its_output_stands_for_it():
    """What waits for the step waits for the one that stands in, and gets its output."""
    work = workflow(a={"on_error": "fallback b"}, b={}, c={"prompt": "{a}"})
    assert plan(work).begin == ("a",)
    assert plan(work, a="failed") == Plan(begin=("b",))
    assert plan(work, a="failed", b="running") == Plan()
    assert plan(work, a="failed", b="completed").begin == ("c",)
    assert answered_by(work, states(work, a="failed", b="completed"), "a") == "b"
    done = plan(work, a="completed")
    assert (done.begin, [name for name, _ in done.skip]) == (("c",), ["b"])
    assert plan(work, a="failed", b="failed").end == Fail(steps=("a", "b"))


def test_a_resumed_run_tries_what_broke_it_and_leaves_the_rest_alone():
    """A failure of before the run was resumed counts no try: only what nothing was done about begins again."""
    stale = StepState(stand=Stand.FAILED, tries=0, final=True)
    work = workflow(a={}, b={"on_error": "continue"}, c={"on_error": "fallback d"}, d={})
    assert plan(work, a=stale, b=stale, c=stale, d="completed").again == ("a",)
    assert plan(work, a="completed", b=stale, c=stale, d=stale).again == ("d",)


@given(st.integers(min_value=0, max_value=10_000))
def test_every_run_ends_and_begins_each_step_at_most_once(seed):
    """Whatever the graph and whichever steps fail, a run finishes or fails after a bounded number of plans."""
    draw = random.Random(seed)
    names = [f"s{number}" for number in range(draw.randint(1, 12))]
    steps = {}
    for number, name in enumerate(names):
        keys: dict = {"depends_on": draw.sample(names[:number], min(number, draw.randint(0, 2)))}
        keys["on_error"] = draw.choice(["fail", "continue", "continue", "retry 2"])
        if draw.random() < 0.2:
            keys["when"] = "params"
        steps[name] = keys
    if len(names) > 2:
        steps[names[0]]["on_error"] = f"fallback {names[1]}"
        steps[names[1]]["depends_on"] = []
    work = workflow(**steps)
    now = states(work)
    begun: list[str] = []
    for _ in range(200):
        answer = next_steps(work, now, lambda step: hash(step.id) % 2 == 0)
        if answer.end is not None:
            break
        for name, why in answer.skip:
            now[name] = StepState(stand=Stand.SKIPPED, why=why)
        for name in (*answer.begin, *answer.again):
            begun += [name] if now[name].stand is Stand.WAITING else []
            now[name] = StepState(stand=Stand.RUNNING, tries=now[name].tries)
        running = [name for name, state in now.items() if state.stand is Stand.RUNNING]
        assert running or answer.skip
        if running:
            name = draw.choice(running)
            ended = draw.choice([Stand.COMPLETED, Stand.COMPLETED, Stand.FAILED])
            now[name] = StepState(stand=ended, tries=now[name].tries + (ended is Stand.FAILED))
    assert answer.end is not None
    assert len(begun) == len(set(begun))


@pytest.mark.parametrize("stand", [Stand.COMPLETED, Stand.SKIPPED])
def test_a_run_with_nothing_left_has_finished(stand):
    """Skipped steps are done with too."""
    assert plan(workflow(a={}), a=StepState(stand=stand)).end == Finish()
