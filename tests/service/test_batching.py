"""Batch files: what a row may say, ids that make the same file the same batch, and that one bad row starts nothing."""

import json

import pytest
import yaml

from brain_daemon.model.errors import UserError
from brain_daemon.model.outcome import Mode
from brain_daemon.model.parsing import ParseLimits
from brain_daemon.service.batching import Batch, read_file

ROWS = [
    {"id": "first", "prompt": "Count to three.", "type": "quick", "priority": "high"},
    {"prompt": "Sum it up.\n\nIn two lines.", "depends_on": "first", "timeout": 60},
]


def read(tmp_path, name: str, text: str) -> Batch:
    (tmp_path / name).write_text(text)
    return read_file(str(tmp_path / name), ParseLimits())


def spelt(kind: str) -> str:
    if kind == "json":
        return json.dumps(ROWS)
    if kind == "yaml":
        return yaml.safe_dump(ROWS, sort_keys=False)
    return 'id,prompt,type,priority,depends_on,timeout\nfirst,Count to three.,quick,high,,\n,"Sum it up.\n\nIn two lines.",,,first,60\n'


@pytest.mark.parametrize("kind", ["json", "yaml", "csv"])
def test_the_three_forms_say_the_same(tmp_path, kind):
    """Text, keys and references between rows come out alike."""
    batch = read(tmp_path, f"b.{kind}", spelt(kind))
    one, two = batch.rows
    assert (one.task.type, one.task.priority, one.name) == ("quick", "high", "first")
    assert two.task.depends_on == (one.task.id,)
    assert two.task.timeout_seconds == 60
    assert two.task.text.strip() == "Sum it up.\n\nIn two lines."
    assert {row.task.mode for row in batch.rows} == {Mode.BATCH}
    assert {row.task.chain for row in batch.rows} == {batch.id}
    assert [row.task.id for row in batch.rows] == [f"{batch.id}-1", f"{batch.id}-2"]


def test_the_same_content_is_the_same_batch_and_another_is_another(tmp_path):
    """Under whatever name the file lies."""
    same = read(tmp_path, "a.json", spelt("json")), read(tmp_path, "b.json", spelt("json"))
    assert same[0].id == same[1].id
    assert read(tmp_path, "c.json", spelt("json") + "\n").id != same[0].id


def test_defaults_hold_for_every_row_that_does_not_say_otherwise(tmp_path):
    """A map of `defaults` and `tasks`; a task may be a text alone."""
    batch = read(
        tmp_path,
        "b.yaml",
        "defaults: {type: research, chain: mine}\ntasks:\n  - One.\n  - {prompt: Two., type: code}\n",
    )
    assert [(row.task.type, row.task.chain) for row in batch.rows] == [("research", "mine"), ("code", "mine")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("b.json", "[{]", "not JSON"),
        ("b.json", "[]", "0 rows"),
        ("b.json", '{"jobs": []}', "jobs"),
        ("b.txt", "hello", ".json, .yaml or .csv"),
        ("b.json", '[{"type": "code"}]', "row 1: it needs one text"),
        ("b.json", '["Fine.", {"prompt": "Bad.", "priority": "soon"}]', "row 2:"),
        ("b.json", '[{"id": "a", "prompt": "A."}, {"id": "a", "prompt": "B."}]', "another row has too"),
        ("b.csv", "prompt,type\nA.,code,extra\n", "line 2"),
        ("b.yaml", "- {prompt: [}\n", "line 1"),
        ("b.json", json.dumps([{"prompt": "A.", "k" * 200: "x"}]), "row 1: a key of 200 characters"),
    ],
)
def test_what_is_no_batch_is_refused_with_its_place(tmp_path, name, text, said):
    """A usage error that names the row or the line."""
    with pytest.raises(UserError, match="batch") as refused:
        read(tmp_path, name, text)
    assert said in str(refused.value)


def test_every_faulty_row_is_named_at_once(tmp_path):
    """Nobody mends a file of a hundred rows one error at a time."""
    rows = json.dumps([{"prompt": "x", "attempts": "no"}, {"prompt": "y"}, {"prompt": "z", "timeout": "never"}])
    with pytest.raises(UserError) as refused:
        read(tmp_path, "b.json", rows)
    assert "2 of 3 rows" in str(refused.value)
    assert "row 1:" in str(refused.value)
    assert "row 3:" in str(refused.value)
