"""Workflow files: what they may say, what is refused and with which words, and the texts of prompts."""

import json
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.model.workflow import MAX_FILE_BYTES, Then, changed_steps, names_used, resolved_params, task_id
from brain_daemon.model.workflow_form import Reading, lines_of, read_values, read_workflow
from brain_daemon.model.workflow_text import escaped, items_of, looked_up, template

AGENTS = {"echo", "claude_code", "haiku_general"}


def read(text: str, name: str = "w.yaml") -> Reading:
    return read_workflow(name, textwrap.dedent(text).encode(), AGENTS)


def faults(text: str) -> list[str]:
    """What is wrong with a file, each with its line."""
    return [f"{fault.line}: {fault.message}" for fault in read(text).faults]


@given(st.text())
def test_escaped_text_stands_for_itself(text):
    """Whatever is escaped is read back equal, without a name."""
    assert template(escaped(text)).fill(lambda name: name) == text


@given(st.text(), st.text())
def test_what_is_filled_in_is_never_read_again(before, value):
    """Braces in a value are braces."""
    assert template(escaped(before) + "{x}" + escaped(before)).fill(lambda _name: value) == before + value + before


@pytest.mark.parametrize("text", ["{", "}", "a { b", '{"a": 1}', "{a b}", "{1}", "{{{", "}}}"])
def test_a_lone_brace_is_refused_with_what_to_write(text):
    """What looks like a name and is none would be left standing."""
    with pytest.raises(ValueError, match="write it twice"):
        template(text)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('["a", {"b": 1}, 2]', ["a", {"b": 1}, 2]),
        ('```json\n["a"]\n```', ["a"]),
        ("a\n\n  b  \n", ["a", "b"]),
        ('{"a": 1}', ['{"a": 1}']),
        ("[]", []),
        ("", []),
        ("[" * 5000, ["[" * 5000]),
    ],
)
def test_items_are_those_of_a_json_list_or_the_lines(text, items):
    """A list in a code fence is a list too."""
    assert items_of(text) == items


def test_fields_are_looked_up_in_values_and_in_json_text():
    """What is not there is nothing."""
    assert looked_up('{"a": [{"b": 3}]}', ["a", "0", "b"]) == 3
    assert looked_up("no json", ["a"]) is None
    assert looked_up({"a": 1}, ["b"]) is None


def test_a_file_says_the_same_as_yaml_as_json_and_below_its_own_key():
    """Three ways to write one workflow."""
    values = {"name": "n", "steps": [{"id": "a", "prompt": "x", "timeout": 30, "idempotent": True}]}
    text = "name: n\nsteps:\n  - {id: a, prompt: x, timeout: 30, idempotent: true}\n"
    flat = read(text).workflow
    assert flat is not None
    assert read(json.dumps({"workflow": values}), "w.json").workflow == flat
    assert read("workflow:\n" + textwrap.indent(text, "  ")).workflow == flat
    assert read("\ufeff---\n" + text).workflow == flat


def test_a_step_says_all_that_a_step_can():
    """Scalars stand for lists of one, and the options are those of a task."""
    work = read(
        """
        params: {topic: , depth: 3, list: [a, b]}
        steps:
          - {id: a, prompt: "{topic} {depth} {list}", agent: Haiku-General, requires: [file_ops], budget_usd: 0.5, on_error: retry 2}
          - {id: b, prompt: "{a}", depends_on: a, when: "steps.a.status == 'completed'", on_error: fallback c, verify: "true"}
          - {id: c, prompt: "x", for_each: [1, 2], type: code, timeout: 30m}
        """
    ).workflow
    assert work is not None
    a, b, _ = work.steps
    assert (a.on_error.then, a.on_error.retries, b.on_error.step) == (Then.RETRY, 2, "c")
    assert work.waits_for == {"a": (), "b": ("a",), "c": ()}
    assert [step.id for step in work.in_order] == ["a", "b", "c"]
    assert resolved_params(work, {"topic": "bees"}) == {"topic": "bees", "depth": "3", "list": '["a", "b"]'}
    assert resolved_params(work, {"topc": "x"}) == [
        "there is no parameter `topc`; did you mean `topic`?",
        "missing: topic; give --param topic=...",
    ]


def test_names_without_a_params_block_are_parameters():
    """A short file needs no declaration."""
    work = read('steps: [{id: a, prompt: "{topic} {b}"}, {id: b, prompt: "{topic} {depth}"}]').workflow
    assert work is not None
    assert [param.name for param in work.wanted_params()] == ["topic", "depth"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: []", "1: `steps` is a list, but must be a list of 1 to 500 steps"),
        ("name: x", "None: `steps` is missing: add it"),
        ("steps:\n  - {id: a}\n", "2: `steps[0].prompt` is missing: add it"),
        ("steps:\n  - {id: 1a, prompt: x}\n", "2: `steps[0].id` is `1a`, but must be a name of letters"),
        (
            "steps:\n  - {id: a, prompt: x}\n  - id: A\n    prompt: y\n",
            "3: two steps are called `A`: give one another id",
        ),
        (
            "steps:\n  - {id: a, prompt: x, output: o}\n  - id: b\n    prompt: y\n    output: o\n",
            "5: `a` and `b` both give the output `o`: call one of them otherwise",
        ),
        (
            "params: [t]\nsteps:\n  - {id: a, prompt: '{tt}'}\n",
            "3: `a` uses `tt`, which is no parameter and no step's output",
        ),
        (
            "steps:\n  - {id: a, prompt: x, output: o}\n  - {id: b, prompt: '{a}'}\n",
            "3: `b` uses `a`, a step whose output is called `o`",
        ),
        (
            "steps:\n  - {id: a, prompt: x, depends_on: [bb]}\n  - {id: bbb, prompt: x}\n",
            "2: `a` waits for `bb`, and no step is called that; did you mean `bbb`?",
        ),
        (
            "steps:\n  - {id: a, prompt: '{c}'}\n  - {id: b, prompt: '{a}'}\n  - {id: c, prompt: '{b}'}\n",
            "1: a circle, in which nothing can start: a -> c -> b -> a",
        ),
        ("steps:\n  - {id: a, prompt: '{a}'}\n", "2: `a` uses its own output `a`"),
        (
            "steps:\n  - {id: a, prompt: x, agent: haiku}\n",
            "2: `a` is for `haiku`, and no agent of context/routing.md and no interface is called that",
        ),
        ("steps:\n  - {id: a, prompt: x, on_error: fallback z}\n", "2: the fallback of `a`, `z`, is no step here"),
        (
            "steps:\n  - {id: a, prompt: x, on_error: explode}\n",
            "2: `steps[0].on_error` is `explode`, but must be fail,",
        ),
        ("steps:\n  - {id: a, prompt: x, when: 'a =='}\n", "2: `when` of `a`: not JMESPath at character"),
        ("steps:\n  - {id: a, prompt: x, when: steps.zz.status}\n", "2: `when` of `a` asks about `zz`"),
        ("steps:\n  - {id: a, prompt: x, timeout: soon}\n", "2: `timeout` is `soon`, but must be a duration"),
        (
            "steps:\n  - id: a\n    prompt: x\n    depend_on: b\n",
            "4: `depend_on` is not a key known here: did you mean `depends_on`?",
        ),
        (
            "steps:\n  - {id: a, prompt: x, for_each: [1]}\n  - {id: a-2, prompt: x}\n",
            "3: `a-2` is what an item of the step `a` is called: give it another id",
        ),
        ("steps:\n  - {id: a, prompt: &x y}\n", "2: anchors are not read"),
        ("steps:\n  - {id: a, prompt: 'a { b'}\n", "2: `steps[0].prompt`: the brace at `{ b`"),
        (f"# {'x' * MAX_FILE_BYTES}", "None: it has "),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, said):
    """Before anything runs."""
    assert any(one.startswith(said) for one in faults(text)), faults(text)


def test_all_that_is_wrong_is_said_at_once():
    """One look is enough to mend a file."""
    assert (
        len(faults("steps:\n  - {id: a, prompt: x, agent: no, depends_on: no}\n  - {id: a, prompt: y, timeout: no}\n"))
        == 4
    )


def test_an_unknown_key_that_is_like_none_of_ours_is_only_noted():
    """Files of other programs carry keys of their own."""
    found = read("version: 2\nsteps:\n  - {id: a, prompt: x, color: red}\n")
    assert found.workflow is not None
    assert found.warnings == (
        "`version` is not a key known here and is ignored",
        "`steps[0].color` is not a key known here and is ignored",
    )


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_a_workflow_or_a_fault(data):
    """Nothing here raises."""
    for name in ("w.yaml", "w.json"):
        found = read_workflow(name, data)
        assert (found.workflow is None) == bool(found.faults)


def test_changed_steps_are_named_with_those_that_follow():
    """A step that says something else, or is new, and whatever waits for one."""

    def work(**prompts: str):
        return read_values({"steps": [{"id": name, "prompt": text} for name, text in prompts.items()]}, "w").workflow

    before, now = work(a="x", b="{a}", c="y"), work(a="x", b="{a}!", c="y", d="{b}", e="{c}")
    assert changed_steps(before, now) == (("b", "e", "d"), ()) or changed_steps(before, now) == (("b", "d", "e"), ())
    before, now = work(a="x", b="{a}", c="{b}"), work(a="z", b="{a}", c="{b}")
    assert changed_steps(before, now) == (("a",), ("b", "c"))


def test_a_tasks_id_never_outgrows_what_an_id_may_be():
    """Long ones end in their hash, and differ."""
    ids = {task_id("r" * 100, "s" * 50, number) for number in range(20)}
    assert len(ids) == 20
    assert max(map(len, ids)) <= 120


def test_lines_are_found_in_flow_and_block_text():
    """Whoever writes a file in one line gets that line."""
    assert lines_of("a:\n  - b: 1\n    c: {d: 2}\n") == {"a": 1, "a[0]": 2, "a[0].b": 2, "a[0].c": 3, "a[0].c.d": 3}


def test_a_short_id_is_the_run_and_the_step():
    """An item has its number."""
    assert task_id("run", "step") == "run-step"
    assert task_id("run", "step", 3) == "run-step-3"


def test_the_item_of_a_step_is_no_name_of_the_workflow():
    """Nothing else gives it, and nobody else may be asked for it."""
    text = b"steps:\n  - {id: a, prompt: '{item} {topic}', for_each: '{things}', agent: p}\n"
    found = read_workflow("w.yaml", text)
    names = {name for step in found.workflow.steps for name, _ in names_used(step)}
    assert names == {"topic", "things"}
