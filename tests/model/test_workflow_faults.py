"""Workflows that cannot be: each is refused with a sentence, and none of them raises."""

import pytest

from brain_daemon.model.workflow_form import read_workflow

STEP = "steps:\n  - {id: a, prompt: do it%s}\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.yaml", STEP % ", on_error: [1, 2]"),
        ("w.yaml", STEP % ", on_error: explode"),
        ("w.yaml", STEP % ", on_error: retry 0"),
        ("w.yaml", STEP % ", for_each: 'no name!'"),
        ("w.yaml", "steps:\n  - {id: a, prompt: [1]}\n"),
        ("w.yaml", STEP % ", type: [1]"),
        ("w.yaml", STEP % ", agent: {a: b}"),
        ("w.yaml", STEP % ", output: [1]"),
        ("w.yaml", STEP % ", when: [1]"),
        ("w.yaml", STEP % ", agent: a, interface: b"),
        ("w.yaml", "steps: []\n"),
        ("w.yaml", "steps: text\n"),
        ("w.yaml", "steps: [1]\n"),
        ("w.yaml", "steps:\n  a: text\n"),
        ("w.yaml", "params: [topic]\n" + STEP % ", output: topic"),
        ("w.yaml", STEP % ", output: item"),
        ("w.yaml", "steps:\n  - {id: a, prompt: x, output: o}\n  - {id: b, prompt: y, output: o}\n"),
        ("w.yaml", "steps:\n  - {id: a, prompt: x}\n  - {id: a, prompt: y}\n"),
        ("w.yaml", "steps: [\n"),
        ("w.json", "{"),
        ("w.json", "[1]"),
        ("w.json", "[" * 100_000),
        ("w.json", '{"steps": 1, "steps": 2}'),
        ("w.json", '{"workflow": 5}'),
    ],
)
def test_a_workflow_that_cannot_be_is_refused_in_words(name: str, text: str) -> None:
    """The fault says what is wrong; nothing is guessed."""
    reading = read_workflow(name, text.encode())
    assert reading.faults
    assert all(fault.message for fault in reading.faults)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.yaml", STEP % ", on_error: {retry: 2}"),
        ("w.yaml", STEP % ", on_error: continue"),
        ("w.json", '{\n\t"steps": [{"id": "a",\n\t"prompt": "do it"}]\n}'),
        ("w.json", '{"steps": [{"id": "a", "prompt": "x\x7fy"}]}'),
        ("w.yaml", "workflow: nightly\n" + STEP % ""),
        ("w.yaml", "steps:\n  a: {prompt: do it}\n"),
        ("w.json", '{"steps": [{"id": "a", "prompt": "do it", "idempotent": true}]}'),
        ("w.yaml", "params: [topic]\n" + STEP % ", when: params.topic == 'x'"),
    ],
)
def test_the_forms_that_people_write_are_understood(name: str, text: str) -> None:
    """A map of steps, a name alone, JSON, a retry as a map."""
    reading = read_workflow(name, text.encode())
    assert not reading.faults, reading.faults


@pytest.mark.parametrize("depth", [13, 300, 450, 20_000])
def test_json_that_nests_too_deeply_is_refused_like_yaml(depth):
    """However deep: what reads it afterwards would fall over it."""
    data = b'{"steps": ' + b"[" * depth + b"]" * depth + b"}"
    (fault,) = read_workflow("w.json", data).faults
    assert "deep" in fault.message


def test_json_at_the_greatest_depth_is_read_on():
    """Its fault is another one: a step that is no map."""
    faults = read_workflow("w.json", b'{"steps": ' + b"[" * 11 + b"]" * 11 + b"}").faults
    assert not any("deep" in fault.message for fault in faults)
